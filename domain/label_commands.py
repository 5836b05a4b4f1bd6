"""Commands on labels, decided."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

from domain import access, commands
from domain.change_request import ChangeRequest
from domain.deciding import check_match, checked_moment, moment_text
from domain.decision import Answer, Decision, Provenance, changes_of
from domain.environment import Rules, read_rules
from domain.errors import ConflictError, Fault, InvalidError
from domain.intent import promotion_intent
from domain.label import Act
from domain.names import check_label
from domain.promoting import Promoting, Wish, check_reason, item_of, missing_data
from domain.prompt import Prompt


class LabelCommands(Promoting):
    """One method per command."""

    def set_label(self, command: commands.SetLabel) -> Decision:
        """Point a label at a version: a promotion where it is an environment."""
        if command.break_glass:
            return self._break_glass(command)
        prompt, provenance, act = self._label(command)
        check_match(command.if_match, label_etag(prompt, command.label))
        first = prompt.labels.get(command.label) is None
        return self._move(prompt, provenance, command, command.version, act, made=first)

    def remove_label(self, command: commands.RemoveLabel) -> Decision:
        """Let a label point nowhere; LabelNotSetError where it never did."""
        prompt, provenance, _ = self._label(command)
        check_match(command.if_match, label_etag(prompt, command.label))
        if command.label not in prompt.labels:
            prompt.target_of(command.label)
        before = prompt.labels[command.label].target
        intent = promotion_intent(prompt, command.label, None, None, None)
        signature = self._own_signature(command.signature, intent)
        if before is not None:
            wish = Wish(command.label, None, signed=signature is not None)
            self._check_gate(prompt, wish, self._rights())
        reason = self._text(command.reason, "/reason")
        prompt.remove_label(command.label, reason, self._now, signature=signature)
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

    def preview_promotion(self, command: commands.PreviewPromotion) -> Decision:
        """Say what would keep an environment's label from moving to a version. Appends nothing."""
        label = check_label(command.label)
        prompt, provenance = self._prompt(command, access.PROMPT_READ)
        project = self._environment(prompt.project, label)
        if project is None:
            raise _no_environment(prompt.project, label)
        prompt.version_numbered(command.version)
        rules = project.rules_of(label)
        if command.rules is not None:
            rules = _given_rules(command.rules)
        until = checked_moment(command.expires_at, "/expires_at", after=self._now)
        wish = Wish(label, command.version, until, force=command.force)
        missing = [why for _, why in self._held_up(label, [(prompt, command.version)])]
        missing += self._unmet(prompt, wish, self._rights(), rules)
        broken = self.broken(prompt, label, prompt.version_numbered(command.version))
        resource = access.prompt_resource(prompt.project, prompt.name, label)
        may = self._may(access.ENVIRONMENT_PROMOTE, resource)
        body = {
            "project": prompt.project,
            "name": prompt.name,
            "label": label,
            "from": self._live(prompt).get(label),
            "version": command.version,
            "permitted": may,
            "missing": missing_data(missing),
            "broken": [{"consumer": name, "detail": why} for name, why in sorted(broken.items())],
            "allowed": may and not missing,
            "rules": rules.as_data(),
            "intent": promotion_intent(prompt, label, command.version, until, None).decode(),
        }
        return self._decision(provenance, Answer(body), prompt)

    def _break_glass(self, command: commands.SetLabel) -> Decision:
        """An emergency: the label moves at once, and a change request waits for a review."""
        label = check_label(command.label)
        prompt, provenance = self._prompt(command, access.ENVIRONMENT_BREAK_GLASS, label)
        project = self._environment(prompt.project, label)
        if project is None:
            raise _no_environment(prompt.project, label)
        check_reason(command.reason, "says why an emergency does not wait for approvals")
        hours = project.rules_of(label).review_hours
        if hours is None:
            raise ConflictError(f"The rules of {label} know no emergencies: propose a change.")
        check_match(command.if_match, label_etag(prompt, label))
        current = self._live(prompt).get(label)
        if current == command.version and label in prompt.rollouts:
            raise ConflictError(
                f"{label} points there and is split: stop the rollout, it needs less."
            )
        due = self._now + timedelta(hours=hours)
        change_id = self._ids.new_id()
        decision = self._move(
            prompt, provenance, command, command.version, "emergency", change_id=str(change_id)
        )
        if not decision.changes[-1].events:
            return decision
        change = ChangeRequest.propose(
            change_id, self._now, project=prompt.project, kind="promotion", environment=label,
            items=[item_of(prompt, command.version, current).as_data()],
            by=self._caller.principal_id, credential=self._caller.token_id,
            title=self._seal_text(f"Emergency: {prompt.name}@{command.version}", "/title"),
            reason=self._text(command.reason, "/reason"), automatic=False, scheduled_at=None,
            expires_at=moment_text(command.expires_at), review_due_at=due.isoformat(),
            forced=True, meaning="emergency",
        )  # fmt: skip
        change.apply(self._caller.principal_id, "emergency", self._now)
        about = access.change_resource(prompt.project, str(change_id))
        authz = {**provenance.authz, "resource": about.text}
        opened = replace(changes_of(change)[0], provenance=replace(provenance, authz=authz))
        body = {
            **decision.answer.body,
            "change_id": str(change_id),
            "review_due_at": moment_text(due),
        }
        return replace(
            decision, changes=(opened, *decision.changes), contents=tuple(self._contents),
            answer=replace(decision.answer, body=body),
        )  # fmt: skip

    # What they share

    def _label(self, command: Any) -> tuple[Prompt, Provenance, Act]:
        label = check_label(command.label)
        permission, resource = self._need(command.project, command.name, label)
        prompt, provenance = self._prompt(command, permission, resource.environment)
        return prompt, provenance, "set" if resource.environment is None else "promotion"

    def _need(self, project: str, name: str, label: str) -> tuple[str, access.Resource]:
        """What moving a label takes, and on what: more where it is an environment."""
        if self._environment(project, label) is not None:
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
        change_id: str | None = None,
    ) -> Decision:
        state = prompt.labels.get(command.label)
        current = state.target if state else None
        prompt.check_not_archived()
        if act in ("promotion", "emergency"):
            prompt.check_not_draft()
        force, signed = act == "emergency", command.signature
        if isinstance(command, commands.SetLabel):
            force = force or command.force
            expires_at = checked_moment(command.expires_at, "/expires_at", after=self._now)
        else:
            expires_at = prompt.until(command.label, self._now)
        if force:
            check_reason(command.reason, "says why consumers may break")
        if current != version or (state is not None and state.expires_at != expires_at):
            self._check_moves(command.label, [(prompt, version)])
            intent = promotion_intent(prompt, command.label, version, expires_at, None)
            signature = self._own_signature(signed, intent)
            if act != "emergency":
                wish = Wish(
                    command.label, version, expires_at, rollback=act == "rollback", force=force,
                    signed=signature is not None,
                )  # fmt: skip
                self._check_gate(prompt, wish, self._rights())
            reason = self._text(command.reason, "/reason")
            prompt.set_label(
                command.label, version, act, reason, self._now, expires_at, change_id,
                forced=force, signature=signature,
            )  # fmt: skip
        elif command.label in prompt.rollouts:  # all of it is to serve what some get
            reason = self._text(command.reason, "/reason")
            prompt.stop_rollout(command.label, reason, self._now)
        body = _label_body(prompt, command.label, current)
        return self._decision(provenance, Answer(body, made=made), prompt)


def _no_environment(project: str, label: str) -> InvalidError:
    detail = f"{label} is no environment of {project}"
    return InvalidError(f"{detail}.", [Fault("/label", "unknown_environment", detail)])


def _given_rules(data: Mapping[str, Any]) -> Rules:
    faults: list[Fault] = []
    rules = read_rules(dict(data), faults)
    if faults:
        raise InvalidError(f"/rules{faults[0].pointer}: {faults[0].detail}.", faults)
    return rules


def label_etag(prompt: Prompt, label: str) -> int:
    """The stream position of what a label was last told, its rollout included; 0: nothing yet."""
    state, rollout = prompt.labels.get(label), prompt.rollouts.get(label)
    moved = state.history[-1].stream_position if state else 0
    return max(moved, rollout.stream_position if rollout is not None else 0)


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
