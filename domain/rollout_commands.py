"""Commands on rollouts, decided: set, stepped up, stopped."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import rfc8785

from domain import access, commands
from domain.access import Rights
from domain.change_request import ChangeRequest
from domain.commitment import ContentRef, seal
from domain.deciding import check_match, checked_moment
from domain.decision import Answer, Decision
from domain.errors import ConflictError, Fault, InvalidError, RulesNotMetError
from domain.gate import Approval
from domain.label_commands import LabelCommands, label_etag
from domain.promoting import Wish, check_reason
from domain.prompt import Prompt
from domain.rollout import (
    TARGETING_MEDIA_TYPE,
    Reading,
    Rollout,
    Step,
    Weights,
    reallocate,
    rules_data,
    weights_data,
    whole,
)
from domain.standing import standing


@dataclass(frozen=True)
class Agreed:
    """The change request whose approvals let a rollout, and for which version they count."""

    version: int | None = None
    approvals: tuple[Approval, ...] = ()
    editors: tuple[str, ...] = ()


class RolloutCommands(LabelCommands):
    """One method per command."""

    def set_rollout(self, command: commands.SetRollout) -> Decision:
        """Split a label among versions, each of which its rules have to let."""
        prompt, provenance, act = self._label(command)
        check_match(command.if_match, label_etag(prompt, command.label))
        prompt.check_not_archived()
        if act == "promotion":
            prompt.check_not_draft()
        target = prompt.target_of(command.label, self._now).number
        fields = self._read(prompt, target, command)
        if command.force:
            check_reason(command.reason, "says why consumers may break")
        before = prompt.rollouts.get(command.label)
        if before is None or not _is_same(before, fields):
            served = {version for _, _, version in fields["ranges"]} | set(fields["targeted"])
            agreed = self._agreed(prompt, command)
            self._check_versions(
                prompt, command.label, served - {target}, self._rights(), agreed,
                force=command.force,
            )  # fmt: skip
            prompt.set_rollout(command.label, self._now, fields)
        made = before is None
        return self._decision(provenance, Answer(rollout_body(prompt, command.label), made), prompt)

    def _read(self, prompt: Prompt, target: int, command: commands.SetRollout) -> dict[str, Any]:
        """What the event says; InvalidError with all that is wrong, VersionNotFoundError."""
        reading = Reading()
        weights = reading.weights(command.weights, "/rollout")
        rules = reading.rules(command.rules)
        steps = [
            Step(
                checked_moment(at, f"/ramp/{n}/at") or at, reading.weights(w, f"/ramp/{n}/weights")
            )
            for n, (at, w) in enumerate(command.ramp)
        ]
        ramp = reading.ramp(steps, self._now)
        state = prompt.labels[command.label]
        known = {target, *state.returns}
        if command.safe is not None and command.safe not in known:
            reading.fault("/safe", "never_live", "has to have been the label's target before")
        if reading.faults:
            first = reading.faults[0]
            raise InvalidError(f"{first.pointer}: {first.detail}.", reading.faults)
        targeted = sorted({rule.version for rule in rules})
        named = [*weights, *targeted, *(version for step in ramp for version in step.weights)]
        for version in (*named, *((command.shadow,) if command.shadow is not None else ())):
            prompt.version_numbered(version)
        before = prompt.rollouts.get(command.label)
        ranges = reallocate(before.ranges if before is not None else whole(target), weights)
        return {
            "weights": weights_data(weights),
            "ranges": [list(one) for one in ranges],
            "targeting": self._targeting(before, rules_data(rules)),
            "targeted": targeted,
            "shadow": command.shadow,
            "safe": command.safe,
            "ramp": [step.as_data() for step in ramp],
            "by": self._caller.principal_id,
            "credential": self._caller.token_id,
            "change_id": str(command.change_id) if command.change_id is not None else None,
            "forced": command.force,
            "reason": self._text(command.reason, "/reason"),
        }

    def _targeting(self, before: Rollout | None, rules: list[dict[str, Any]]) -> ContentRef | None:
        if not rules:
            return None
        body = rfc8785.dumps(rules)
        held = before.targeting if before is not None else None
        if self._is_held(held, body):
            return held
        ref, row = seal(self._ids.salt(), body, TARGETING_MEDIA_TYPE)
        self._contents.append(row)
        return ref

    def _agreed(self, prompt: Prompt, command: commands.SetRollout) -> Agreed:
        """What the change request it names has agreed on; InvalidError where that is another."""
        if command.change_id is None:
            return Agreed()
        change = self._session.load(ChangeRequest, command.change_id)
        about = change.items if change is not None and change.project == prompt.project else ()
        item = next((one for one in about if one.prompt_id == str(prompt.id)), None)
        if change is None or item is None or change.environment != command.label:
            detail = "is no change request about this prompt and label"
            raise InvalidError(
                f"/change_id {detail}.", [Fault("/change_id", "other_change", detail)]
            )
        until = prompt.labels[command.label].expires_at
        why_not = change.why_no_split(self._now, until, forced=command.force)
        if why_not is not None:
            raise ConflictError(f"The change request {why_not}: it does not let this.")
        return Agreed(item.version, change.counted, tuple(change.editors))

    def _check_versions(
        self,
        prompt: Prompt,
        label: str,
        versions: Iterable[int],
        rights: Rights,
        agreed: Agreed,
        *,
        force: bool,
    ) -> None:
        """RulesNotMetError unless the label might point at each of these, one after the other."""
        state = prompt.labels[label]
        for version in sorted(versions):
            self._check_moves(label, [(prompt, version)])
            mine = agreed if agreed.version == version else Agreed()
            wish = Wish(
                label, version, state.expires_at, rollback=state.lived(version),
                approvals=mine.approvals, editors=mine.editors, force=force,
            )  # fmt: skip
            self._check_gate(prompt, wish, rights)

    def stop_rollout(self, command: commands.StopRollout) -> Decision:
        """End a rollout at once; the label goes to the safe version that was named, if any.

        Nothing keeps it from ending: where rules do not let the safe version, the label stays.
        """
        prompt, provenance, _ = self._label(command)
        target = prompt.target_of(command.label).number
        rollout, refused = prompt.rollouts.get(command.label), None
        if rollout is not None:
            reason = self._text(command.reason, "/reason")
            prompt.stop_rollout(command.label, reason, self._now)
            if rollout.safe is not None and rollout.safe != target:
                refused = self._return_to(prompt, command.label, rollout.safe, reason)
        body = {**rollout_body(prompt, command.label), "safe_refused": refused}
        return self._decision(provenance, Answer(body), prompt)

    def _return_to(
        self, prompt: Prompt, label: str, safe: int, reason: ContentRef | None
    ) -> str | None:
        """Return a label to a version that was live before; why not, where rules refuse it."""
        until = prompt.labels[label].expires_at
        try:
            self._check_moves(label, [(prompt, safe)])
            self._check_gate(prompt, Wish(label, safe, until, rollback=True), self._rights())
        except (RulesNotMetError, ConflictError) as refusal:
            return str(refusal)
        prompt.set_label(label, safe, "rollback", reason, self._now, until)
        return None

    def take_ramp_step(self, command: commands.TakeRampStep) -> Decision:
        """Take a step that is due, by the rights its asker has now; else let the ramp wait."""
        prompt = self._named(command.project, command.name)
        permission, resource = self._need(command.project, prompt.name, command.label)
        pausing = self._as_system(permission, resource, access.SYSTEM_SCHEDULE)
        rollout = prompt.rollouts.get(command.label)
        step = rollout.ramp[0] if rollout is not None and rollout.ramp else None
        if rollout is None or step is None or rollout.paused or self._now < step.at:
            raise ConflictError("No step of this rollout is due.")
        answer = Answer({"name": prompt.name, "label": command.label})
        rights = access.lasting(standing(self._session, rollout.by, rollout.credential))
        cause = self._obstacle_to(
            prompt, command.label, rollout, rights, permission, resource, step
        )
        if cause is not None or rights is None:
            prompt.pause_rollout(command.label, cause or "not_permitted", self._now)
            return self._decision(pausing, answer, prompt)
        actor = {
            **access.SYSTEM_SCHEDULE, "credential": rollout.credential, "on_behalf_of": rollout.by,
        }  # fmt: skip
        allowed = access.permitted(rights, permission, resource, self._now)
        provenance = self._provenance(permission, resource, allowed, actor)
        prompt.set_rollout(command.label, self._now, _next(rollout, step))
        return self._decision(provenance, answer, prompt)

    def _obstacle_to(
        self,
        prompt: Prompt,
        label: str,
        rollout: Rollout,
        rights: Rights | None,
        permission: str,
        resource: access.Resource,
        step: Step,
    ) -> str | None:
        """Why a step that is due is not taken."""
        if rights is None or not access.permitted(rights, permission, resource, self._now).allowed:
            return "not_permitted"
        if prompt.archived or prompt.labels[label].expired(self._now):
            return "not_served"
        agreed = self._still_agreed(prompt, label, rollout)
        target = prompt.labels[label].target
        served = [one for one in {*step.weights, *rollout.targeted} if one != target]
        try:
            self._check_versions(
                prompt, label, served, rights, agreed,
                force=rollout.forced,
            )  # fmt: skip
        except (RulesNotMetError, ConflictError):
            return "rules_not_met"
        return None

    def _still_agreed(self, prompt: Prompt, label: str, rollout: Rollout) -> Agreed:
        if rollout.change_id is None:
            return Agreed()
        wanted = commands.SetRollout(
            prompt.project, prompt.name, label, {}, change_id=UUID(rollout.change_id),
            force=rollout.forced,
        )  # fmt: skip
        try:
            return self._agreed(prompt, wanted)
        except (InvalidError, ConflictError):
            return Agreed()


def _is_same(before: Rollout, fields: Mapping[str, Any]) -> bool:
    """Whether a rollout is set to what it is."""
    after = [tuple(one) for one in fields["ranges"]], fields["targeting"], fields["shadow"]
    steps = [step.as_data() for step in before.ramp]
    if before.ramp and (before.by, before.credential) != (fields["by"], fields["credential"]):
        return False  # by whose rights its steps are taken
    return (
        (before.paused, before.forced) == (None, fields["forced"])
        and (list(before.ranges), before.targeting, before.shadow) == after
        and (before.safe, steps, before.change_id)
        == (fields["safe"], fields["ramp"], fields["change_id"])
    )


def _next(rollout: Rollout, step: Step) -> dict[str, Any]:
    """What the event of a step says: other weights, one step less, everything else as it was."""
    weights: Weights = step.weights
    return {
        "weights": weights_data(weights),
        "ranges": [list(one) for one in reallocate(rollout.ranges, weights)],
        "targeting": rollout.targeting,
        "targeted": list(rollout.targeted),
        "shadow": rollout.shadow,
        "safe": rollout.safe,
        "ramp": [one.as_data() for one in rollout.ramp[1:]],
        "by": rollout.by,
        "credential": rollout.credential,
        "change_id": rollout.change_id,
        "forced": rollout.forced,
        "reason": None,
    }


def rollout_body(prompt: Prompt, label: str) -> dict[str, Any]:
    """What commands on a rollout answer."""
    return {
        "ref": f"{prompt.project}/{prompt.name}@{label}",
        "project": prompt.project,
        "name": prompt.name,
        "label": label,
        "version": prompt.labels[label].target,
        "rollout": rollout_data(prompt.rollouts.get(label)),
    }


def rollout_data(rollout: Rollout | None) -> dict[str, Any] | None:
    """A rollout as it is answered, but for the rules, which are content."""
    if rollout is None:
        return None
    return {
        "weights": weights_data(rollout.weights),
        "ranges": [list(one) for one in rollout.ranges],
        "shadow": rollout.shadow,
        "safe": rollout.safe,
        "ramp": [step.as_data() for step in rollout.ramp],
        "paused": rollout.paused,
        "by": rollout.by,
        "change_id": rollout.change_id,
    }
