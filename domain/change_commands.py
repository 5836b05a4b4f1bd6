"""Commands on change requests, decided."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from domain import access, commands
from domain.access import ENVIRONMENT_PROMOTE, Authorization, Resource, Rights
from domain.change_request import ITEMS_MAX, ChangeRequest, Item
from domain.commands.changes import ChangeItem
from domain.deciding import check_match, checked_moment, moment_text
from domain.decision import Answer, Change, Decision, Provenance, changes_of
from domain.errors import (
    ChangeClosedError,
    ConflictError,
    Fault,
    ForbiddenError,
    InvalidError,
    RulesNotMetError,
)
from domain.gate import Unmet
from domain.intent import Signed, approval_intent, promotion_intent
from domain.names import check_label, check_prompt_name
from domain.promoting import Promoting, Wish, check_reason, item_of, missing_data, withheld
from domain.prompt import Prompt
from domain.standing import standing

OUTCOMES = ("accepted", "objected")
_OBSTACLES = {
    "no_environment": "Its environment is a label like any other by now.",
    "expired": "The labels would have expired already.",
}


@dataclass(frozen=True)
class About:
    """A change request with the prompts it is about, in the order of its items."""

    change: ChangeRequest
    prompts: tuple[Prompt, ...]

    @property
    def resource(self) -> Resource:
        """The request itself."""
        return access.change_resource(self.change.project, str(self.change.id))

    @property
    def resources(self) -> list[Resource]:
        """What it would move."""
        where = self.change.environment
        return [access.prompt_resource(p.project, p.name, where) for p in self.prompts]

    @property
    def pairs(self) -> list[tuple[Item, Prompt]]:
        """Each item with its prompt."""
        return list(zip(self.change.items, self.prompts, strict=True))


class ChangeCommands(Promoting):
    """One method per command."""

    def propose_change(self, command: commands.ProposeChange) -> Decision:
        """Propose a promotion, or a release of several."""
        label = check_label(command.environment)
        self._authorise_items(command.project, command.items, label, access.CHANGE_PROPOSE)
        if self._environment(command.project, label) is None:
            detail = f"{label} is no environment of {command.project}"
            raise InvalidError(f"{detail}.", [Fault("/environment", "unknown_environment", detail)])
        prompts = self._proposed(command.project, command.items, label)
        change_id = self._ids.new_id()
        about = access.change_resource(command.project, str(change_id))
        resources = [access.prompt_resource(p.project, p.name, label) for p in prompts]
        provenance = self._authorise_all(access.CHANGE_PROPOSE, about, resources)
        if command.force:
            check_reason(command.reason, "says why consumers may break")
        scheduled_at = checked_moment(command.scheduled_at, "/scheduled_at", after=self._now)
        if command.automatic or scheduled_at is not None:
            self._authorise_all(ENVIRONMENT_PROMOTE, about, resources)
            self._check_unsigned(command.project, label)
        change = ChangeRequest.propose(
            change_id, self._now, project=command.project, kind="promotion", environment=label,
            items=[one.as_data() for one in self._items(prompts, command.items, label)],
            by=self._caller.principal_id, credential=self._caller.token_id,
            title=self._seal_text(command.title, "/title"),
            reason=self._text(command.reason, "/reason"),
            automatic=command.automatic or scheduled_at is not None,
            scheduled_at=moment_text(scheduled_at),
            expires_at=self._expiry(command.expires_at, scheduled_at),
            review_due_at=None, forced=command.force, meaning="authored",
        )  # fmt: skip
        return self._answer(provenance, About(change, tuple(prompts)), made=True)

    def revise_change(self, command: commands.ReviseChange) -> Decision:
        """Propose other versions, or the same on what is live now; approvals begin anew."""
        about, _ = self._change(command, access.CHANGE_PROPOSE)
        change = about.change
        check_match(command.if_match, change.version)
        wanted = command.items or tuple(
            ChangeItem(prompt.name, item.version) for item, prompt in about.pairs
        )
        label = change.environment
        self._authorise_items(change.project, wanted, label, access.CHANGE_PROPOSE)
        prompts = self._proposed(change.project, wanted, label)
        revised = About(change, tuple(prompts))
        provenance = self._authorise_all(
            access.CHANGE_PROPOSE, about.resource, [*about.resources, *_places(prompts, label)]
        )
        scheduled_at = checked_moment(command.scheduled_at, "/scheduled_at", after=self._now)
        if scheduled_at is None and "scheduled_at" not in command.given:
            scheduled_at = change.scheduled_at
        expires_at = command.expires_at
        if "expires_at" not in command.given:
            expires_at = change.expires_at
        automatic = change.automatic or scheduled_at is not None
        if automatic:
            self._authorise_all(ENVIRONMENT_PROMOTE, about.resource, _places(prompts, label))
            self._check_unsigned(change.project, label)
        change.revise(
            self._items(prompts, wanted, label), self._caller.principal_id, self._now,
            credential=self._caller.token_id, automatic=automatic,
            scheduled_at=moment_text(scheduled_at),
            expires_at=self._expiry(expires_at, scheduled_at),
            reason=self._text(command.reason, "/reason"),
        )  # fmt: skip
        return self._answer(provenance, revised)

    def _check_unsigned(self, project: str, label: str) -> None:
        """ConflictError where nothing is applied by itself: nobody is there to sign it."""
        if self._environment(project, label) and self._project(project).rules_of(label).signed:
            raise ConflictError(
                f"{label} asks for the promoter's own signature, so nothing is applied there by"
                " itself: leave automatic and scheduled_at out."
            )

    def comment_on_change(self, command: commands.CommentOnChange) -> Decision:
        """Say something of the request, or of a place in it."""
        about, provenance = self._change(command, access.CHANGE_COMMENT)
        _check_anchor(about, command.anchor)
        comment_id = str(self._ids.new_id())
        text = self._seal_text(command.text, "/text")
        who = self._caller.principal_id
        about.change.comment(comment_id, who, text, command.anchor, self._now)
        return self._answer(provenance, about, made=True, comment_id=comment_id)

    def approve_change(self, command: commands.ApproveChange) -> Decision:
        """Approve what is proposed now; ForbiddenError for whoever wrote or proposed it."""
        about, provenance = self._change(command, access.CHANGE_REVIEW)
        change = about.change
        if command.revision is not None and command.revision != change.revision:
            raise ConflictError(
                f"Revision {change.revision} is proposed now, not {command.revision}: look at it.",
                revision=change.revision,
            )
        self._check_independent(about)
        signature = self._own_signature(command.signature, approval_intent(change))
        comment = self._text(command.comment, "/comment")
        hours = self._project(change.project).rules_of(change.environment).approvals.max_age_hours
        since = self._now - timedelta(hours=hours) if hours is not None else None
        change.approve(self._caller.principal_id, comment, self._now, signature, since=since)
        return self._answer(provenance, about)

    def _check_independent(self, about: About) -> None:
        """ForbiddenError for who had a part in it, but where the rules let authors approve.

        Nobody ever reviews an emergency of their own.
        """
        project = self._project(about.change.project)
        who = self._caller.principal_id
        authors = project.rules_of(about.change.environment).approvals.authors
        if authors and not (about.change.emergency and who in about.change.editors):
            return
        wrote = who in about.change.editors or any(
            who in self._authors(prompt, prompt.version_numbered(item.version))
            for item, prompt in about.pairs
            if item.version is not None
        )
        if wrote:
            raise ForbiddenError("You wrote, proposed or did this: somebody else looks at it.")

    def retract_approval(self, command: commands.RetractApproval) -> Decision:
        """Take one's approval back."""
        about, provenance = self._change(command, access.CHANGE_REVIEW)
        reason = self._text(command.reason, "/reason")
        about.change.retract(self._caller.principal_id, reason, self._now)
        return self._answer(provenance, about)

    def reject_change(self, command: commands.RejectChange) -> Decision:
        """Say no to what is proposed now."""
        about, provenance = self._change(command, access.CHANGE_REVIEW)
        comment = self._text(command.comment, "/comment")
        about.change.reject(self._caller.principal_id, comment, self._now)
        return self._answer(provenance, about)

    def withdraw_change(self, command: commands.WithdrawChange) -> Decision:
        """Propose it no more; only whoever proposed or revised it may."""
        about, provenance = self._change(command, access.CHANGE_PROPOSE)
        if self._caller.principal_id not in about.change.editors:
            raise ForbiddenError("Only whoever proposed it withdraws it: reject it instead.")
        reason = self._text(command.reason, "/reason")
        about.change.withdraw(self._caller.principal_id, reason, self._now)
        return self._answer(provenance, about)

    def review_emergency(self, command: commands.ReviewEmergency) -> Decision:
        """Look at an emergency afterwards; ForbiddenError for whoever made it."""
        about, provenance = self._change(command, access.CHANGE_REVIEW)
        if command.outcome not in OUTCOMES:
            detail = f"must be one of {', '.join(OUTCOMES)}"
            raise InvalidError(f"/outcome {detail}.", [Fault("/outcome", "unknown", detail)])
        if about.change.review_due_at is None:
            raise ChangeClosedError("This is no emergency: there is nothing to review.")
        self._check_independent(about)
        comment = self._text(command.comment, "/comment")
        who = self._caller.principal_id
        about.change.review_emergency(who, command.outcome, comment, self._now)
        return self._answer(provenance, about)

    def preview_change(self, command: commands.PreviewChange) -> Decision:
        """Say what keeps a request from being applied. Appends nothing."""
        about, provenance = self._change(command, access.PROMPT_READ)
        return self._answer(provenance, about)

    # Applying

    def apply_change(self, command: commands.ApplyChange) -> Decision:
        """Let what is proposed be live; RulesNotMetError with all that is missing."""
        about, provenance = self._change(command, ENVIRONMENT_PROMOTE)
        check_match(command.if_match, about.change.version)
        rights = self._rights()
        return self._apply(about, rights, self._caller.principal_id, provenance, command.signatures)

    def apply_due_change(self, command: commands.ApplyDueChange) -> Decision:
        """Apply what its proposer asked to be applied by itself, by the rights they have now."""
        about = self._about(command.project, command.change_id)
        change = about.change
        suspending = self._as_system(ENVIRONMENT_PROMOTE, about.resource, access.SYSTEM_SCHEDULE)
        if change.status != "open" or not change.automatic:
            raise ChangeClosedError("This change request is not applied by itself.")
        if change.scheduled_at is not None and self._now < change.scheduled_at:
            raise ConflictError(f"It is scheduled for {moment_text(change.scheduled_at)}.")
        rights = access.lasting(standing(self._session, change.asked_by, change.credential))
        answer = Authorization(())
        if rights is not None:
            answer = access.permitted_all(rights, ENVIRONMENT_PROMOTE, about.resources, self._now)
        moved = [p for item, p in about.pairs if self._target(p, change.environment) != item.base]
        stuck = next((why.code for p in about.prompts if (why := withheld(p)) is not None), None)
        cause = self._obstacle(change) or stuck
        if cause is None and moved:
            cause = "base_moved"
        if rights is None or not answer.allowed:
            cause = cause or "not_permitted"
        if rights is None or cause is not None:
            change.suspend(cause or "not_permitted", self._now)
            return self._answer(suspending, about)
        actor = {
            **access.SYSTEM_SCHEDULE, "credential": change.credential,
            "on_behalf_of": change.asked_by,
        }  # fmt: skip
        provenance = self._provenance(ENVIRONMENT_PROMOTE, about.resource, answer, actor)
        return self._apply(about, rights, change.asked_by, provenance, {})

    def _obstacle(self, change: ChangeRequest) -> str | None:
        """What no approval helps against: its environment is none any more, its time is over."""
        if self._environment(change.project, change.environment) is None:
            return "no_environment"
        if change.expires_at is not None and change.expires_at <= self._now:
            return "expired"
        return None

    def _apply(
        self,
        about: About,
        rights: Rights,
        by: str,
        provenance: Provenance,
        signatures: Mapping[str, Signed],
    ) -> Decision:
        change = about.change
        obstacle = self._obstacle(change)
        if obstacle is not None:
            raise ConflictError(
                f"{_OBSTACLES[obstacle]} Revise the change request, or withdraw it."
            )
        signed = {
            item.prompt_id: self._own_signature(signatures.get(item.name), _intent(change, pair))
            for pair in about.pairs
            for item in pair[:1]
        }
        change.apply(by, "released", self._now)
        for _, prompt in about.pairs:
            prompt.check_not_archived()
            prompt.check_not_draft()
        missing = self._missing(about, rights, signed)
        if missing:
            raise _not_met(missing)
        targets = [(p, item.version) for item, p in about.pairs if item.version is not None]
        self._check_moves(change.environment, targets)
        moves: list[Change] = []
        for item, prompt in about.pairs:
            self._move_item(change, item, prompt, signed[item.prompt_id])
            place = access.prompt_resource(prompt.project, prompt.name, change.environment)
            answer = access.permitted(rights, ENVIRONMENT_PROMOTE, place, self._now)
            own = self._provenance(ENVIRONMENT_PROMOTE, place, answer, provenance.actor)
            moves.append(replace(changes_of(prompt)[0], provenance=own))
        body = self._body(about, [])
        return Decision(
            (*moves, *changes_of(change)), tuple(self._contents), provenance, Answer(body)
        )

    def _move_item(
        self, change: ChangeRequest, item: Item, prompt: Prompt, signature: dict[str, str] | None
    ) -> None:
        label, change_id = change.environment, str(change.id)
        if item.version is None:
            if label in prompt.labels:
                prompt.remove_label(label, change.reason, self._now, change_id, signature)
            return
        prompt.set_label(
            label, item.version, "promotion", change.reason, self._now, change.expires_at,
            change_id, forced=change.forced, signature=signature,
        )  # fmt: skip

    def _missing(
        self,
        about: About,
        promoter: Rights,
        signed: Mapping[str, dict[str, str] | None] | None = None,
    ) -> list[tuple[Prompt, Unmet]]:
        """What keeps each prompt's label from moving."""
        change = about.change
        rules = self._project(change.project).rules_of(change.environment)
        missing: list[tuple[Prompt, Unmet]] = []
        if change.status == "open" and signed is None:  # who applies is told by a refusal
            missing += self._held_up(
                change.environment, [(prompt, item.version) for item, prompt in about.pairs]
            )
        for item, prompt in about.pairs:
            wish = Wish(
                change.environment, item.version, change.expires_at,
                approvals=change.counted, editors=change.editors, force=change.forced,
                signed=bool(signed and signed[item.prompt_id]),
            )  # fmt: skip
            missing += [(prompt, one) for one in self._unmet(prompt, wish, promoter, rules)]
            if change.scheduled_at is not None and self._now < change.scheduled_at:
                at = moment_text(change.scheduled_at)
                missing.append((prompt, Unmet("scheduled", f"is scheduled for {at}")))
        return missing

    # What they share

    def _authorise_items(
        self, project: str, items: Sequence[ChangeItem], label: str, permission: str
    ) -> None:
        """InvalidError for none, too many or one twice; then authorise each before it is loaded."""
        names = [check_prompt_name(item.name) for item in items]
        if not 1 <= len(names) <= ITEMS_MAX or len(set(names)) < len(names):
            detail = f"1 to {ITEMS_MAX} prompts, each once"
            raise InvalidError(f"/items: {detail}.", [Fault("/items", "wrong_number", detail)])
        for name in names:
            self._authorise(permission, access.prompt_resource(project, name, label))

    def _proposed(self, project: str, items: Sequence[ChangeItem], label: str) -> list[Prompt]:
        """The prompts of these names; one that moved only for who may read it where it is."""
        prompts = []
        for item in items:
            prompt = self._named(project, item.name)
            there = access.prompt_resource(project, prompt.name, label)
            if not self._may(access.PROMPT_READ, there):
                raise access.not_found(access.prompt_resource(project, item.name))
            prompts.append(prompt)
        return prompts

    def _items(
        self, prompts: Sequence[Prompt], wanted: Sequence[ChangeItem], label: str
    ) -> tuple[Item, ...]:
        if len({prompt.id for prompt in prompts}) < len(prompts):
            detail = "two names of one prompt"
            raise InvalidError(f"/items: {detail}.", [Fault("/items", "repeated", detail)])
        found = []
        for prompt, item in zip(prompts, wanted, strict=True):
            prompt.check_not_archived()
            prompt.check_not_draft()
            found.append(item_of(prompt, item.version, self._target(prompt, label)))
        return tuple(found)

    def _target(self, prompt: Prompt, label: str) -> int | None:
        return self._live(prompt).get(label)

    def _expiry(self, given: datetime | None, scheduled_at: datetime | None) -> str | None:
        after = max(self._now, scheduled_at) if scheduled_at is not None else self._now
        return moment_text(checked_moment(given, "/expires_at", after=after))

    def _about(self, project: str, change_id: UUID) -> About:
        change = self._session.load(ChangeRequest, change_id)
        if change is None or change.project != project:
            raise access.not_found(access.change_resource(project, str(change_id)))
        prompts = (self._session.load(Prompt, UUID(item.prompt_id)) for item in change.items)
        return About(change, tuple(prompt for prompt in prompts if prompt is not None))

    def _change(self, command: Any, permission: str) -> tuple[About, Provenance]:
        """The request, and that the caller has the permission on everything it is about."""
        rights = self._rights()
        about = self._about(command.project, command.change_id)
        if not access.permitted_all(rights, access.PROMPT_READ, about.resources, self._now).allowed:
            raise access.not_found(about.resource)
        return about, self._authorise_all(permission, about.resource, about.resources)

    def _answer(
        self, provenance: Provenance, about: About, *, made: bool = False, **more: Any
    ) -> Decision:
        change = about.change
        missing = self._missing(about, self._rights_of_asker()) if change.status == "open" else []
        body = {**self._body(about, missing), **more}
        return self._decision(provenance, Answer(body, made=made), change)

    def _body(self, about: About, missing: list[tuple[Prompt, Unmet]]) -> dict[str, Any]:
        """A request; `base` is what was live when it was proposed, `live` what is."""
        change = about.change
        return {
            "change_id": str(change.id),
            "project": change.project,
            "environment": change.environment,
            "status": change.status,
            "revision": change.revision,
            "forced": change.forced,
            "automatic": change.automatic,
            "items": [
                {
                    "name": item.name, "version": item.version, "base": item.base,
                    "live": self._target(prompt, change.environment),
                }
                for item, prompt in about.pairs
            ],
            "approved_by": list(change.approvals),
            "missing": _missing_data(missing),
        }  # fmt: skip

    def _rights_of_asker(self) -> Rights:
        """Whoever looks is taken for who would apply it."""
        if self._caller == access.SYSTEM_CALLER:
            return Rights(False, (), None)
        return self._rights()


def _check_anchor(about: About, anchor: dict[str, Any] | None) -> None:
    """InvalidError for a place in what the request does not propose."""
    places = {(item.name, item.version) for item in about.change.items}
    if anchor is not None and (anchor["name"], anchor["version"]) not in places:
        known = ", ".join(f"{name}@{version}" for name, version in sorted(places, key=str))
        detail = f"is of what is proposed: {known}"
        raise InvalidError(f"/anchor {detail}.", [Fault("/anchor", "unknown_item", detail)])


def _intent(change: ChangeRequest, pair: tuple[Item, Prompt]) -> bytes:
    item, prompt = pair
    until, change_id = change.expires_at, str(change.id)
    return promotion_intent(prompt, change.environment, item.version, until, change_id)


def _places(prompts: Iterable[Prompt], label: str) -> list[Resource]:
    return [access.prompt_resource(p.project, p.name, label) for p in prompts]


def _not_met(missing: list[tuple[Prompt, Unmet]]) -> RulesNotMetError:
    said = "; ".join(f"{prompt.name}: {one.detail}" for prompt, one in missing)
    return RulesNotMetError(f"It cannot be applied yet: {said}.", missing=_missing_data(missing))


def _missing_data(missing: Iterable[tuple[Prompt, Unmet]]) -> list[dict[str, Any]]:
    return [
        {"name": prompt.name, **entry} for prompt, one in missing for entry in missing_data([one])
    ]
