"""Commands on projects, prompts and their labels, decided."""

from collections.abc import Iterable
from typing import Any
from uuid import UUID

from domain import access, commands
from domain.deciding import check_match
from domain.decision import Answer, Decision, Provenance
from domain.errors import Fault, InUseError, InvalidError
from domain.label import Act
from domain.names import (
    check_label,
    check_prompt_name,
    check_tags,
    project_id,
)
from domain.partials import parse_reference
from domain.principal import Principal
from domain.project import Project
from domain.prompt import Prompt
from domain.prompt_deciding import PromptDeciding, version_body

USERS_SHOWN = 10


class PromptCommands(PromptDeciding):
    """One method per command."""

    def create_prompt(self, command: commands.CreatePrompt) -> Decision:
        """Make a prompt with its version 1; NameTakenError where the name is in use."""
        name = check_prompt_name(command.name)
        resource = access.prompt_resource(command.project, name)
        provenance = self._authorise(access.PROMPT_WRITE, resource)
        claim, prompt = self._create(command.project, name, command.description, command.tags)
        self._commit(prompt, command.content, command.message)
        body = version_body(prompt, prompt.latest, command.content.digest)
        answer = Answer(body, made=True)
        return self._decision(provenance, answer, prompt, claim)

    def describe_prompt(self, command: commands.DescribePrompt) -> Decision:
        """Change description, tags, owners or status; nothing happens where they are so already."""
        prompt, provenance = self._prompt(command, access.PROMPT_WRITE)
        check_match(command.if_match, prompt.version)
        status = command.patch.get("status")
        if status == "active":
            prompt.restore(None, self._now)
        changes = self._changes(prompt, command.patch)
        if changes or status is None:
            prompt.check_not_archived()
        if changes:
            prompt.describe(changes, self._now)
        if status == "archived":
            self._archive(prompt, None, command.users)
        body = {**_status_body(prompt), "tags": list(prompt.tags), "owners": list(prompt.owners)}
        return self._decision(provenance, Answer(body), prompt)

    def _changes(self, prompt: Prompt, patch: dict[str, Any]) -> dict[str, dict[str, Any]]:
        """What a patch changes: field → {"from", "to"}."""
        changes: dict[str, dict[str, Any]] = {}
        if "description" in patch:
            self._describe(prompt.description, patch["description"], changes)
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
        """Refuse further changes to a prompt; InUseError where others are composed of it."""
        prompt, provenance = self._prompt(command, access.PROMPT_WRITE)
        self._archive(prompt, command.reason, command.users)
        return self._decision(provenance, Answer(_status_body(prompt)), prompt)

    def _archive(self, prompt: Prompt, reason: str | None, candidates: Iterable[str]) -> None:
        if prompt.archived:
            return
        users = self._users(prompt, candidates)
        if users:
            raise InUseError(
                f"{prompt.project}/{prompt.name} is in use: {', '.join(users[:USERS_SHOWN])}."
                " Take it out of what they serve first.",
                users=users,
            )
        prompt.archive(self._text(reason, "/reason"), self._now)

    def _users(self, prompt: Prompt, candidates: Iterable[str]) -> list[str]:
        """Which candidates are composed of a prompt by what they serve now, as `name@version`."""
        found: list[str] = []
        for name in candidates:
            if name == prompt.name:
                continue
            user = self._named(prompt.project, name)
            live = {*user.labels_set.values(), user.latest.number} if not user.archived else set()
            shown = self._may(access.PROMPT_READ, access.prompt_resource(prompt.project, name))
            found += [
                f"{name}@{number}" if shown else "a prompt you may not read"
                for number in sorted(live)
                if any(
                    parse_reference(reference).name == prompt.name
                    for reference in user.version_numbered(number).partials
                )
            ]
        return found + [
            f"guardrail {guardrail.name}"
            for guardrail in self._project(prompt.project).guardrails.values()
            if parse_reference(guardrail.reference).name == prompt.name
        ]

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
        check_match(command.if_match, _label_etag(prompt, command.label))
        first = prompt.labels.get(command.label) is None
        return self._move(prompt, provenance, command, command.version, act, made=first)

    def remove_label(self, command: commands.RemoveLabel) -> Decision:
        """Let a label point nowhere; LabelNotSetError where it never did."""
        prompt, provenance, _ = self._label(command)
        check_match(command.if_match, _label_etag(prompt, command.label))
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

    # What they share

    def _label(self, command: Any) -> tuple[Prompt, Provenance, Act]:
        label = check_label(command.label)
        project = self._session.load(Project, project_id(command.project))
        if project is not None and label in project.environments:
            return *self._prompt(command, access.ENVIRONMENT_PROMOTE, label), "promotion"
        return *self._prompt(command, access.LABEL_WRITE), "set"

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
            self._check_move(prompt, command.label, version)
            reason = self._text(command.reason, "/reason")
            prompt.set_label(command.label, version, act, reason, self._now)
        body = _label_body(prompt, command.label, current)
        return self._decision(provenance, Answer(body, made=made), prompt)


def _label_etag(prompt: Prompt, label: str) -> int:
    state = prompt.labels.get(label)
    return state.history[-1].stream_position if state else 0


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
