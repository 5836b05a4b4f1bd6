"""The one way through the house: every command is decided here, by one method.

Each method authorises by the one policy (`domain/access.py`), loads what it needs through the
session, lets the aggregate decide, and returns events with their provenance. Pure: state, time, ids
and randomness come in through ports; refusals are DomainErrors and leave nothing behind.
"""

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any
from uuid import UUID

from eventsourcing.domain import Aggregate

from domain import access, commands
from domain.access import AUTHZ_GRANTS_MAX, POLICY, Caller, Resource
from domain.commitment import (
    CONTENT_MEDIA_TYPE,
    TEXT_MEDIA_TYPE,
    Content,
    ContentRef,
    is_same,
    seal,
)
from domain.content import PromptContent
from domain.decision import Answer, Decision, Ids, Provenance, Session, changes_of
from domain.errors import (
    Fault,
    InvalidError,
    NameTakenError,
    NoCanonicalFormError,
    PreconditionFailedError,
    TooLargeError,
)
from domain.granting import check_grant, new_token, raise_faults
from domain.name import Name
from domain.names import (
    check_label,
    check_project_name,
    check_prompt_name,
    check_tags,
    name_id,
    project_id,
)
from domain.principal import PRINCIPAL_TYPES, Principal
from domain.project import Project
from domain.prompt import Act, Prompt

TEXT_BYTES_MAX = 64 * 1024


class Registry:
    """The registry as one caller meets it at one moment."""

    def __init__(self, session: Session, caller: Caller, now: datetime, ids: Ids) -> None:
        self._session = session
        self._caller = caller
        self._now = now
        self._ids = ids
        self._contents: list[Content] = []

    def decide(self, command: commands.Command) -> Decision:
        """Decide one command; DomainError where it is refused."""
        method: Callable[[Any], Decision] = getattr(self, _METHODS[type(command)])
        return method(command)

    # Projects and prompts

    def create_project(self, command: commands.CreateProject) -> Decision:
        """Make a project; NameTakenError where there is one of this name."""
        name = check_project_name(command.project)
        resource = access.project_resource(name)
        provenance = self._authorise(access.PROJECT_WRITE, resource, on=access.REGISTRY)
        if self._session.load(Project, project_id(name)) is not None:
            raise NameTakenError(
                f"There is a project {name} already: use it or choose another name."
            )
        description = self._text(command.description, "/description")
        project = Project.create(name, description, self._now)
        body = {"project": name, "environments": list(project.environments)}
        return self._decision(provenance, Answer(body, made=True), project)

    def create_prompt(self, command: commands.CreatePrompt) -> Decision:
        """Make a prompt with its version 1; NameTakenError where the name is in use."""
        name = check_prompt_name(command.name)
        resource = access.prompt_resource(command.project, name)
        provenance = self._authorise(access.PROMPT_WRITE, resource)
        self._project(command.project)
        if self._session.load(Name, name_id(command.project, name)) is not None:
            raise NameTakenError(
                f"There is a prompt {command.project}/{name} already: commit a version to it."
            )
        prompt_id = self._ids.new_id()
        claim = Name.claim(command.project, name, prompt_id, self._now)
        description = self._text(command.description, "/description")
        tags = check_tags(list(command.tags))
        prompt = Prompt.create(prompt_id, command.project, name, description, tags, self._now)
        self._commit(prompt, command.content, command.message)
        answer = Answer(_version_body(prompt, command.content), made=True)
        return self._decision(provenance, answer, prompt, claim)

    def commit_version(self, command: commands.CommitVersion) -> Decision:
        """Commit the next version; nothing happens where the newest has the same content."""
        prompt, provenance = self._prompt(command, access.PROMPT_WRITE)
        prompt.check_not_archived()
        prompt.check_expected(command.expected_version)
        same = self._is_held(prompt.latest.content, command.content.canonical)
        if not same:
            self._commit(prompt, command.content, command.message)
        answer = Answer(_version_body(prompt, command.content), made=not same)
        return self._decision(provenance, answer, prompt)

    def describe_prompt(self, command: commands.DescribePrompt) -> Decision:
        """Change description, tags, owners or status; nothing happens where they are so already."""
        prompt, provenance = self._prompt(command, access.PROMPT_WRITE)
        _check_match(command.if_match, prompt.version)
        status = command.patch.get("status")
        if status == "active":
            prompt.restore(None, self._now)
        changes = self._changes(prompt, command.patch)
        if changes or status is None:
            prompt.check_not_archived()
        if changes:
            prompt.describe(changes, self._now)
        if status == "archived":
            prompt.archive(None, self._now)
        body = {**_status_body(prompt), "tags": list(prompt.tags), "owners": list(prompt.owners)}
        return self._decision(provenance, Answer(body), prompt)

    def _changes(self, prompt: Prompt, patch: dict[str, Any]) -> dict[str, dict[str, Any]]:
        """What a patch changes: field → {"from", "to"}."""
        changes: dict[str, dict[str, Any]] = {}
        if "description" in patch:
            self._describe(prompt, patch["description"], changes)
        if "tags" in patch:
            tags = check_tags(list(patch["tags"] or ()))
            if tags != list(prompt.tags):
                changes["tags"] = {"from": list(prompt.tags), "to": tags}
        if "owners" in patch:
            owners = self._owners(patch["owners"] or ())
            if owners != list(prompt.owners):
                changes["owners"] = {"from": list(prompt.owners), "to": owners}
        return changes

    def _owners(self, given: Iterable[UUID]) -> list[str]:
        """Principals that exist and count, each once, in the order given."""
        owners = list(given)
        faults = [
            Fault(f"/owners/{index}", "unknown_principal", f"{owner} is no active principal")
            for index, owner in enumerate(owners)
            if (known := self._session.load(Principal, owner)) is None or not known.active
        ]
        if faults:
            raise InvalidError(f"{faults[0].pointer}: {faults[0].detail}.", faults)
        return list(dict.fromkeys(str(owner) for owner in owners))

    def archive_prompt(self, command: commands.ArchivePrompt) -> Decision:
        """Refuse further changes to a prompt."""
        prompt, provenance = self._prompt(command, access.PROMPT_WRITE)
        if not prompt.archived:
            prompt.archive(self._text(command.reason, "/reason"), self._now)
        return self._decision(provenance, Answer(_status_body(prompt)), prompt)

    def restore_prompt(self, command: commands.RestorePrompt) -> Decision:
        """Accept changes to a prompt again."""
        prompt, provenance = self._prompt(command, access.PROMPT_WRITE)
        if prompt.archived:
            prompt.restore(self._text(command.reason, "/reason"), self._now)
        return self._decision(provenance, Answer(_status_body(prompt)), prompt)

    # Labels

    def set_label(self, command: commands.SetLabel) -> Decision:
        """Point a label at a version: a promotion where it is an environment."""
        prompt, provenance, act = self._label(command)
        _check_match(command.if_match, _label_etag(prompt, command.label))
        first = prompt.labels.get(command.label) is None
        return self._move(prompt, provenance, command, command.version, act, made=first)

    def remove_label(self, command: commands.RemoveLabel) -> Decision:
        """Let a label point nowhere; LabelNotSetError where it never did."""
        prompt, provenance, _ = self._label(command)
        _check_match(command.if_match, _label_etag(prompt, command.label))
        if command.label not in prompt.labels:
            prompt.target_of(command.label)
        before = prompt.labels[command.label].target
        prompt.remove_label(command.label, self._text(command.reason, "/reason"), self._now)
        body = _label_body(prompt, command.label, before)
        return self._decision(provenance, Answer(body), prompt)

    def rollback(self, command: commands.Rollback) -> Decision:
        """Return a label to an earlier target."""
        prompt, provenance, _ = self._label(command)
        prompt.check_not_archived()
        target = prompt.rollback_target(command.label, command.to)
        return self._move(prompt, provenance, command, target, "rollback")

    # Access

    def create_principal(self, command: commands.CreatePrincipal) -> Decision:
        """Make a principal."""
        principal_id = self._ids.new_id()
        resource = access.principal_resource(str(principal_id))
        provenance = self._authorise(access.ACCESS_WRITE, resource, on=access.REGISTRY)
        if command.type not in PRINCIPAL_TYPES[:2]:
            raise InvalidError("A principal made by hand is a 'person' or a 'service'.")
        name = self._seal_text(command.name, "/name")
        principal = Principal.create(principal_id, command.type, name, self._now)
        body = {"principal_id": str(principal_id), "type": command.type, "active": True}
        return self._decision(provenance, Answer(body, made=True), principal)

    def deactivate_principal(self, command: commands.DeactivatePrincipal) -> Decision:
        """Take every right from a principal."""
        resource = access.principal_resource(str(command.principal_id))
        provenance = self._authorise(access.ACCESS_WRITE, resource)
        principal = self._principal(command.principal_id)
        if principal.active:
            principal.deactivate(self._text(command.reason, "/reason"), self._now)
        body = {"principal_id": str(principal.id), "type": principal.type, "active": False}
        return self._decision(provenance, Answer(body), principal)

    def give_grant(self, command: commands.GiveGrant) -> Decision:
        """Give a role in a scope; nothing happens where an equal grant is in force."""
        scope = access.Scope(command.project, command.folder, command.environment)
        provenance = self._authorise(access.ACCESS_WRITE, scope.resource)
        project = self._project(command.project) if command.project is not None else None
        check_grant(command.role, scope, project, command.expires_at, self._now)
        principal = self._principal(command.principal_id)
        held = principal.held(command.role, scope, command.expires_at)
        grant = held or access.Grant(
            str(self._ids.new_id()), command.role, scope, command.expires_at
        )
        if held is None:
            principal.give(grant, self._now)
        answer = Answer(_grant_body(principal, grant), made=held is None)
        return self._decision(provenance, answer, principal)

    def revoke_grant(self, command: commands.RevokeGrant) -> Decision:
        """Take a grant away."""
        principal = self._session.load(Principal, command.principal_id)
        grant = principal.grants.get(command.grant_id) if principal else None
        resource = grant.scope.resource if grant else access.REGISTRY
        provenance = self._authorise(access.ACCESS_WRITE, resource)
        if principal is None or grant is None:
            raise access.not_found(Resource(f"grants/{command.grant_id}"))
        principal.revoke(grant.id, self._text(command.reason, "/reason"), self._now)
        return self._decision(provenance, Answer(_grant_body(principal, grant)), principal)

    def issue_token(self, command: commands.IssueToken) -> Decision:
        """Issue an API token; its secret is in the answer, once."""
        resource = access.principal_resource(str(command.principal_id))
        provenance = self._authorise(access.ACCESS_WRITE, resource)
        principal = self._principal(command.principal_id)
        token, secret = new_token(command.scopes, command.expires_at, self._now, self._ids)
        self._check_places(token.scopes or ())
        principal.issue_token(token, self._text(command.description, "/description"), self._now)
        body = {
            "token_id": token.id,
            "principal_id": str(principal.id),
            "expires_at": command.expires_at and command.expires_at.isoformat(),
            "token": None,
        }
        answer = Answer(body, made=True, secret={"token": secret})
        return self._decision(provenance, answer, principal)

    def revoke_token(self, command: commands.RevokeToken) -> Decision:
        """Take an API token away."""
        resource = access.principal_resource(str(command.principal_id))
        provenance = self._authorise(access.ACCESS_WRITE, resource)
        principal = self._principal(command.principal_id)
        reason = self._text(command.reason, "/reason")
        principal.revoke_token(command.token_id, reason, self._now)
        body = {"token_id": command.token_id, "principal_id": str(principal.id)}
        return self._decision(provenance, Answer(body), principal)

    # What the commands share

    def _authorise(
        self, permission: str, resource: Resource, on: Resource | None = None
    ) -> Provenance:
        caller = self._session.load(Principal, UUID(self._caller.principal_id))
        rights = caller.rights(self._caller.token_id) if caller else None
        rights = access.authenticate(rights, self._now)
        answer = access.authorise(rights, permission, on or resource, self._now)
        actor = {
            "type": caller.type if caller else "",
            "id": self._caller.principal_id,
            "via": self._caller.via,
            "credential": self._caller.token_id,
        }
        authz = {
            "policy": POLICY,
            "permission": permission,
            "resource": resource.text,
            "grants": list(answer.grants[:AUTHZ_GRANTS_MAX]),
        }
        return Provenance(actor, authz)

    def _check_places(self, scopes: tuple[access.TokenScope, ...]) -> None:
        """InvalidScopeError where a scope names a project or environment that is not there."""
        faults: list[Fault] = []
        for index, scope in enumerate(scopes):
            name, environment = scope.scope.project, scope.scope.environment
            project = self._session.load(Project, project_id(name)) if name else None
            if name and project is None:
                fault = Fault(f"/scopes/{index}/project", "unknown_project", f"{name} is none")
                faults.append(fault)
            elif project and environment and environment not in project.environments:
                known = ", ".join(project.environments)
                detail = f"must be one of {known}"
                faults.append(Fault(f"/scopes/{index}/environment", "unknown_environment", detail))
        raise_faults(faults)

    def _project(self, name: str) -> Project:
        project = self._session.load(Project, project_id(name))
        if project is None:
            raise access.not_found(access.project_resource(name))
        return project

    def _prompt(
        self, command: Any, permission: str, environment: str | None = None
    ) -> tuple[Prompt, Provenance]:
        name = check_prompt_name(command.name)
        resource = access.prompt_resource(command.project, name, environment)
        provenance = self._authorise(permission, resource)
        claim = self._session.load(Name, name_id(command.project, name))
        prompt = self._session.load(Prompt, claim.prompt_id) if claim else None
        if prompt is None:
            raise access.not_found(resource)
        return prompt, provenance

    def _label(self, command: Any) -> tuple[Prompt, Provenance, Act]:
        label = check_label(command.label)
        project = self._session.load(Project, project_id(command.project))
        if project is not None and label in project.environments:
            return *self._prompt(command, access.ENVIRONMENT_PROMOTE, label), "promotion"
        return *self._prompt(command, access.LABEL_WRITE), "set"

    def _principal(self, principal_id: UUID) -> Principal:
        principal = self._session.load(Principal, principal_id)
        if principal is None:
            raise access.not_found(access.principal_resource(str(principal_id)))
        return principal

    def _commit(self, prompt: Prompt, content: PromptContent, message: str | None) -> None:
        ref, row = seal(self._ids.salt(), content.canonical, CONTENT_MEDIA_TYPE)
        self._contents.append(row)
        prompt.commit(content.type, ref, self._text(message, "/message"), self._now)

    def _describe(
        self, prompt: Prompt, text: str | None, changes: dict[str, dict[str, Any]]
    ) -> None:
        old = prompt.description
        if text is None:
            unchanged = old is None
        else:
            unchanged = self._is_held(old, _bytes(text, "/description"))
        if not unchanged:
            changes["description"] = {"from": old, "to": self._text(text, "/description")}

    def _move(
        self,
        prompt: Prompt,
        provenance: Provenance,
        command: commands.SetLabel | commands.Rollback,
        version: int,
        act: Act,
        *,
        made: bool = False,
    ) -> Decision:
        state = prompt.labels.get(command.label)
        current = state.target if state else None
        prompt.check_not_archived()
        if current != version:
            reason = self._text(command.reason, "/reason")
            prompt.set_label(command.label, version, act, reason, self._now)
        body = _label_body(prompt, command.label, current)
        return self._decision(provenance, Answer(body, made=made), prompt)

    def _is_held(self, ref: ContentRef | None, body: bytes) -> bool:
        """Whether `body` is what an event already committed to."""
        if ref is None or ref["size"] != len(body):
            return False
        return is_same(self._session.content(ref["commitment"]), body)

    def _text(self, text: str | None, pointer: str) -> ContentRef | None:
        return None if text is None else self._seal_text(text, pointer)

    def _seal_text(self, text: str, pointer: str) -> ContentRef:
        ref, row = seal(self._ids.salt(), _bytes(text, pointer), TEXT_MEDIA_TYPE)
        self._contents.append(row)
        return ref

    def _decision(
        self, provenance: Provenance, answer: Answer, subject: Aggregate, *before: Aggregate
    ) -> Decision:
        return Decision(changes_of(*before, subject), tuple(self._contents), provenance, answer)


def _bytes(text: str, pointer: str) -> bytes:
    try:
        encoded = text.encode()
    except UnicodeEncodeError:
        raise NoCanonicalFormError(f"{pointer} holds a lone surrogate; send valid text.") from None
    if len(encoded) > TEXT_BYTES_MAX:
        raise TooLargeError(f"{pointer} has more than {TEXT_BYTES_MAX} bytes.")
    return encoded


def _check_match(if_match: int | None, current: int) -> None:
    if if_match is not None and if_match != current:
        raise PreconditionFailedError(
            f'The current ETag is "{current}": read it again and decide on what it says now.',
            current=current,
        )


def _label_etag(prompt: Prompt, label: str) -> int:
    state = prompt.labels.get(label)
    return state.history[-1].stream_position if state else 0


def _version_body(prompt: Prompt, content: PromptContent) -> dict[str, Any]:
    number = prompt.latest.number
    return {
        "ref": f"{prompt.project}/{prompt.name}@{number}",
        "project": prompt.project,
        "name": prompt.name,
        "version": number,
        "semver": None,
        "digest": content.digest,
    }


def _label_body(prompt: Prompt, label: str, before: int | None) -> dict[str, Any]:
    return {
        "ref": f"{prompt.project}/{prompt.name}@{label}",
        "project": prompt.project,
        "name": prompt.name,
        "label": label,
        "from": before,
        "version": prompt.labels[label].target,
    }


def _status_body(prompt: Prompt) -> dict[str, Any]:
    status = "archived" if prompt.archived else "active"
    return {"project": prompt.project, "name": prompt.name, "status": status}


def _grant_body(principal: Principal, grant: access.Grant) -> dict[str, Any]:
    return {
        "grant_id": grant.id,
        "principal_id": str(principal.id),
        "role": grant.role,
        "scope": grant.scope.as_data(),
        "expires_at": grant.expires_at and grant.expires_at.isoformat(),
    }


_METHODS: dict[type[Any], str] = {
    commands.CreateProject: "create_project",
    commands.CreatePrompt: "create_prompt",
    commands.CommitVersion: "commit_version",
    commands.DescribePrompt: "describe_prompt",
    commands.ArchivePrompt: "archive_prompt",
    commands.RestorePrompt: "restore_prompt",
    commands.SetLabel: "set_label",
    commands.RemoveLabel: "remove_label",
    commands.Rollback: "rollback",
    commands.CreatePrincipal: "create_principal",
    commands.DeactivatePrincipal: "deactivate_principal",
    commands.GiveGrant: "give_grant",
    commands.RevokeGrant: "revoke_grant",
    commands.IssueToken: "issue_token",
    commands.RevokeToken: "revoke_token",
}
