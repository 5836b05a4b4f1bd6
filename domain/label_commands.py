"""Commands on labels, decided."""

from typing import Any

from domain import access, commands
from domain.deciding import check_match, checked_moment, moment_text
from domain.decision import Answer, Decision, Provenance
from domain.label import Act
from domain.names import check_label, project_id
from domain.project import Project
from domain.prompt import Prompt
from domain.prompt_deciding import PromptDeciding


class LabelCommands(PromptDeciding):
    """One method per command."""

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
        target = prompt.rollback_target(command.label, command.to, self._now)
        return self._move(prompt, provenance, command, target, "rollback")

    def expire_label(self, command: commands.ExpireLabel) -> Decision:
        """Let a label point nowhere whose time is over; nothing happens to any other."""
        prompt = self._named(command.project, command.name)
        permission, resource = self._need(command.project, prompt.name, command.label)
        provenance = self._as_system(permission, resource, access.SYSTEM_EXPIRY_ACTOR)
        prompt.expire_label(command.label, self._now)
        body = {"project": prompt.project, "name": prompt.name, "label": command.label}
        return self._decision(provenance, Answer(body), prompt)

    # What they share

    def _label(self, command: Any) -> tuple[Prompt, Provenance, Act]:
        label = check_label(command.label)
        permission, resource = self._need(command.project, command.name, label)
        prompt, provenance = self._prompt(command, permission, resource.environment)
        return prompt, provenance, "set" if resource.environment is None else "promotion"

    def _need(self, project: str, name: str, label: str) -> tuple[str, access.Resource]:
        """What moving a label takes, and on what: more where it is an environment."""
        known = self._session.load(Project, project_id(project))
        if known is not None and label in known.environments:
            return access.ENVIRONMENT_PROMOTE, access.prompt_resource(project, name, label)
        return access.LABEL_WRITE, access.prompt_resource(project, name)

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
        if act == "promotion":
            prompt.check_not_draft()
        given = command.expires_at if isinstance(command, commands.SetLabel) else None
        expires_at = checked_moment(given, "/expires_at", after=self._now)
        if current != version or (state is not None and state.expires_at != expires_at):
            self._check_move(prompt, command.label, version)
            reason = self._text(command.reason, "/reason")
            prompt.set_label(command.label, version, act, reason, self._now, expires_at)
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
        "expires_at": moment_text(prompt.labels[label].expires_at),
    }
