"""Commands on projects, prompts and their labels, decided."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any
from uuid import UUID

from domain import access, commands
from domain.deciding import check_match, checked_moment
from domain.decision import Answer, Decision, changes_of
from domain.errors import Fault, InUseError, InvalidError, NameTakenError
from domain.name import Name
from domain.names import (
    check_prompt_name,
    check_tags,
    name_id,
)
from domain.partials import parse_reference
from domain.principal import Principal
from domain.prompt import Prompt
from domain.prompt_deciding import PromptDeciding, deprecation_body, version_body

USERS_SHOWN = 10


class PromptCommands(PromptDeciding):
    """One method per command."""

    def create_prompt(self, command: commands.CreatePrompt) -> Decision:
        """Make a prompt with its version 1; NameTakenError where the name is in use."""
        name = check_prompt_name(command.name)
        resource = access.prompt_resource(command.project, name)
        provenance = self._authorise(access.PROMPT_WRITE, resource)
        claim, prompt = self._create(
            command.project, name, command.description, command.tags, draft=command.draft
        )
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
            prompt.activate(self._now)
        changes = self._changes(prompt, command.patch)
        if changes or status is None:
            prompt.check_not_archived()
        if changes:
            prompt.describe(changes, self._now)
        if status == "deprecated" and prompt.deprecation is None:
            prompt.deprecate(None, None, None, self._now)
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
            if (known := self._session.load(Principal, owner)) is None or known.gone
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
            user = self._named(prompt.project, name)
            if user.id == prompt.id:
                continue
            live = {*user.labels_set.values(), user.latest.number} if not user.archived else set()
            shown = self._may(access.PROMPT_READ, access.prompt_resource(prompt.project, name))
            found += [
                f"{name}@{number}" if shown else "a prompt you may not read"
                for number in sorted(live)
                if any(
                    parse_reference(reference).name in prompt.names
                    for reference in user.version_numbered(number).partials
                )
            ]
        return found + [
            f"guardrail {guardrail.name}"
            for guardrail in self._project(prompt.project).guardrails.values()
            if parse_reference(guardrail.reference).name in prompt.names
        ]

    def move_prompt(self, command: commands.MovePrompt) -> Decision:
        """Let a prompt go by another name; NameTakenError where another ever went by it."""
        prompt, provenance = self._prompt(command, access.PROMPT_WRITE)
        prompt.check_not_archived()
        to = check_prompt_name(command.to)
        there = self._authorise(access.PROMPT_WRITE, access.prompt_resource(prompt.project, to))
        body = {"project": prompt.project, "name": to, "from": prompt.name}
        if to == prompt.name:
            return self._decision(provenance, Answer(body), prompt)
        old = self._session.load(Name, name_id(prompt.project, prompt.name))
        new = self._session.load(Name, name_id(prompt.project, to))
        if old is None or (new is not None and new.prompt_id != prompt.id):
            raise NameTakenError(f"{prompt.project}/{to} is or was another prompt's name.")
        if new is None:
            new = Name.claim(prompt.project, to, prompt.id, self._now)
        else:
            new.reclaim(self._now)
        old.redirect_to(to, self._now)
        prompt.move(to, self._text(command.reason, "/reason"), self._now)
        changes = (
            *changes_of(old),
            *(replace(change, provenance=there) for change in changes_of(new)),
            *changes_of(prompt),
        )
        return Decision(changes, tuple(self._contents), provenance, Answer(body))

    def deprecate_prompt(self, command: commands.DeprecatePrompt) -> Decision:
        """Tell consumers not to use a prompt any more; InvalidError for a wrong successor."""
        prompt, provenance = self._prompt(command, access.PROMPT_WRITE)
        successor = command.successor
        if successor is not None:
            self._check_successor(prompt, check_prompt_name(successor))
        sunset_at = checked_moment(command.sunset_at, "/sunset_at")
        reason = self._text(command.reason, "/reason")
        prompt.deprecate(successor, sunset_at, reason, self._now)
        return self._decision(provenance, Answer(_status_body(prompt)), prompt)

    def _check_successor(self, prompt: Prompt, successor: str) -> None:
        resource = access.prompt_resource(prompt.project, successor)
        other = self._find(prompt.project, successor)
        if other is None or other.id == prompt.id or not self._may(access.PROMPT_READ, resource):
            raise InvalidError(
                f"/successor: there is no other prompt {successor} here that you may read.",
                [Fault("/successor", "unknown_prompt", "names another prompt of the project")],
            )

    def restore_prompt(self, command: commands.RestorePrompt) -> Decision:
        """Accept changes to a prompt again."""
        prompt, provenance = self._prompt(command, access.PROMPT_WRITE)
        if prompt.archived:
            prompt.restore(self._text(command.reason, "/reason"), self._now)
        return self._decision(provenance, Answer(_status_body(prompt)), prompt)


def _status_body(prompt: Prompt) -> dict[str, Any]:
    return {
        "project": prompt.project,
        "name": prompt.name,
        "status": prompt.status,
        "deprecation": deprecation_body(prompt),
    }
