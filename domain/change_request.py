"""Change requests: a promotion that is proposed, discussed, approved and applied.

Each event says what it means (21 CFR 11.50): authored, reviewed, approved, released, emergency.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from eventsourcing.domain import Aggregate, event

from domain.commitment import ContentRef
from domain.errors import ChangeClosedError, TooManyError
from domain.gate import Approval

ITEMS_MAX = 64
COMMENTS_MAX = 500
Status = Literal["open", "suspended", "rejected", "withdrawn", "applied"]
STATUSES = ("open", "suspended", "rejected", "withdrawn", "applied")


@dataclass(frozen=True)
class Item:
    """One prompt of a request: what is to be live, bound to exact bytes.

    `version` None: the label is to be removed. `base`: what was live when it was proposed.
    """

    prompt_id: str
    name: str
    version: int | None
    commitment: str | None
    base: int | None

    def as_data(self) -> dict[str, Any]:
        """JSON form."""
        return dict(vars(self))


@dataclass(frozen=True)
class Comment:
    """What somebody said, and where: at a place in a prompt's diff, or of the whole."""

    id: str
    by: str
    at: datetime
    text: ContentRef
    anchor: dict[str, Any] | None


@dataclass(frozen=True)
class Verdict:
    """An approval or rejection of a revision; `signature` is the reviewer's own, of an approval."""

    by: str
    at: datetime
    revision: int
    comment: ContentRef | None
    signature: dict[str, str] | None = None


class ChangeRequest(Aggregate):
    """A proposed promotion of one prompt, or a release of several, into one environment."""

    TOPIC = "io.scrinia.change"

    class Created(Aggregate.Created):
        """A promotion was proposed, or made already and to be reviewed (`meaning` says which)."""

        TOPIC = "io.scrinia.change.proposed.v1"
        project: str
        kind: str
        environment: str
        items: list[dict[str, Any]]
        by: str
        credential: str | None
        title: ContentRef
        reason: ContentRef | None
        automatic: bool
        scheduled_at: str | None
        expires_at: str | None
        review_due_at: str | None
        forced: bool
        meaning: str

    class Revised(Aggregate.Event):
        """Other versions or another base are proposed: what was approved before is void."""

        TOPIC = "io.scrinia.change.revised.v1"
        items: list[dict[str, Any]]
        by: str
        credential: str | None
        automatic: bool
        scheduled_at: str | None
        expires_at: str | None
        reason: ContentRef | None
        meaning: str

    class Commented(Aggregate.Event):
        """Somebody said something."""

        TOPIC = "io.scrinia.change.commented.v1"
        comment_id: str
        by: str
        text: ContentRef
        anchor: dict[str, Any] | None

    class Approved(Aggregate.Event):
        """Somebody approved a revision; `signature` (key_id, signature) is over the intent."""

        TOPIC = "io.scrinia.change.approved.v1"
        by: str
        revision: int
        comment: ContentRef | None
        signature: dict[str, str] | None
        meaning: str

    class Retracted(Aggregate.Event):
        """Somebody took their approval back."""

        TOPIC = "io.scrinia.change.retracted.v1"
        by: str
        reason: ContentRef | None

    class Rejected(Aggregate.Event):
        """Somebody who may approve does not; a revision opens the request again."""

        TOPIC = "io.scrinia.change.rejected.v1"
        by: str
        revision: int
        comment: ContentRef | None
        meaning: str

    class Withdrawn(Aggregate.Event):
        """Whoever proposed it does not any more."""

        TOPIC = "io.scrinia.change.withdrawn.v1"
        by: str
        reason: ContentRef | None

    class Suspended(Aggregate.Event):
        """What is applied by itself waits for a revision; `cause` says why."""

        TOPIC = "io.scrinia.change.suspended.v1"
        cause: str

    class Applied(Aggregate.Event):
        """What was proposed is live; the labels moved in the same unit."""

        TOPIC = "io.scrinia.change.applied.v1"
        by: str
        meaning: str

    class Reviewed(Aggregate.Event):
        """An emergency was looked at afterwards: `accepted` or `objected`."""

        TOPIC = "io.scrinia.change.reviewed.v1"
        by: str
        outcome: str
        comment: ContentRef | None
        meaning: str

    def __init__(
        self,
        project: str,
        kind: str,
        environment: str,
        items: list[dict[str, Any]],
        by: str,
        credential: str | None,
        title: ContentRef,
        reason: ContentRef | None,
        automatic: bool,
        scheduled_at: str | None,
        expires_at: str | None,
        review_due_at: str | None,
        forced: bool,
        meaning: str,
        timestamp: datetime,
    ) -> None:
        self.project = project
        self.kind = kind
        self.environment = environment
        self.items = tuple(Item(**item) for item in items)
        self.proposed_by = by
        self.proposed_at = timestamp
        self.editors: tuple[str, ...] = (by,)
        self.credential = credential
        self.title = title
        self.reason = reason
        self.automatic = automatic
        self.scheduled_at = _moment(scheduled_at)
        self.expires_at = _moment(expires_at)
        self.review_due_at = _moment(review_due_at)
        self.forced = forced
        self.emergency = meaning == "emergency"
        self.status: Status = "open"
        self.suspended_for: str | None = None
        self.revision = 1
        self.approvals: dict[str, Verdict] = {}
        self.rejection: Verdict | None = None
        self.comments: list[Comment] = []
        self.applied_by: str | None = None
        self.applied_at: datetime | None = None
        self.review: tuple[str, str] | None = None

    @property
    def counted(self) -> tuple[Approval, ...]:
        """The approvals of what is proposed now, as the gate looks at them."""
        return tuple(
            Approval(one.by, one.at, one.signature is not None) for one in self.approvals.values()
        )

    def why_no_split(self, at: datetime, until: datetime | None, *, forced: bool) -> str | None:
        """Why its approvals do not let a split of the label that is there until a moment (None:
        without an end); None where they do. A split is live at once, as what is applied would be.
        """
        if self.status != "open" or self.emergency:
            return f"is {self.status}"
        if self.scheduled_at is not None and at < self.scheduled_at:
            return f"is scheduled for {self.scheduled_at.isoformat()}"
        if self.expires_at is not None and (until is None or until > self.expires_at):
            return f"expires at {self.expires_at.isoformat()}, and the label does not"
        if forced and not self.forced:
            return "was not agreed to break consumers"
        return None

    @property
    def asked_by(self) -> str:
        """Who asked for what is proposed now: whoever proposed or last revised it."""
        return self.editors[-1]

    @classmethod
    def propose(cls, change_id: UUID, at: datetime, **fields: Any) -> "ChangeRequest":
        """A new request; see the event for its fields."""
        return cls._create(cls.Created, id=change_id, timestamp=at, **fields)

    def revise(self, items: tuple[Item, ...], by: str, at: datetime, **fields: Any) -> None:
        """Propose something else, or the same on what is live now; ChangeClosedError."""
        self._check_status("open", "suspended", "rejected")
        self.trigger_event(
            self.Revised, timestamp=at, items=[item.as_data() for item in items], by=by,
            meaning="authored", **fields,
        )  # fmt: skip

    def comment(
        self,
        comment_id: str,
        by: str,
        text: ContentRef,
        anchor: dict[str, Any] | None,
        at: datetime,
    ) -> None:
        """Say something, whatever became of the request; TooManyError."""
        if len(self.comments) >= COMMENTS_MAX:
            raise TooManyError(f"A change request has at most {COMMENTS_MAX} comments.")
        self.trigger_event(
            self.Commented, timestamp=at, comment_id=comment_id, by=by, text=text, anchor=anchor
        )

    def approve(
        self,
        by: str,
        comment: ContentRef | None,
        at: datetime,
        signature: dict[str, str] | None = None,
        *,
        since: datetime | None = None,
    ) -> bool:
        """Approve what is proposed now; False where this principal has. ChangeClosedError.

        `since`: an approval from before does not count any more and is given anew.
        """
        self._check_status("open")
        held = self.approvals.get(by)
        lasting = held is not None and (since is None or held.at >= since)
        if held is not None and lasting and (held.signature is not None or signature is None):
            return False
        self.trigger_event(
            self.Approved, timestamp=at, by=by, revision=self.revision, comment=comment,
            signature=signature, meaning="approved",
        )  # fmt: skip
        return True

    def retract(self, by: str, reason: ContentRef | None, at: datetime) -> bool:
        """Take an approval back; False where there is none. ChangeClosedError."""
        self._check_status("open", "suspended")
        if by not in self.approvals:
            return False
        self.trigger_event(self.Retracted, timestamp=at, by=by, reason=reason)
        return True

    def reject(self, by: str, comment: ContentRef | None, at: datetime) -> None:
        """Say no to what is proposed now; ChangeClosedError."""
        self._check_status("open", "suspended")
        self.trigger_event(
            self.Rejected, timestamp=at, by=by, revision=self.revision, comment=comment,
            meaning="reviewed",
        )  # fmt: skip

    def withdraw(self, by: str, reason: ContentRef | None, at: datetime) -> bool:
        """Propose it no more; False where that is so already. ChangeClosedError."""
        if self.status == "withdrawn":
            return False
        self._check_status("open", "suspended", "rejected")
        self.trigger_event(self.Withdrawn, timestamp=at, by=by, reason=reason)
        return True

    def suspend(self, cause: str, at: datetime) -> None:
        """Wait for a revision."""
        self._check_status("open")
        self.trigger_event(self.Suspended, timestamp=at, cause=cause)

    def apply(self, by: str, meaning: str, at: datetime) -> None:
        """Be live; ChangeClosedError, so that one of two who race does it."""
        self._check_status("open")
        self.trigger_event(self.Applied, timestamp=at, by=by, meaning=meaning)

    def review_emergency(
        self, by: str, outcome: str, comment: ContentRef | None, at: datetime
    ) -> None:
        """Look at an emergency afterwards; ChangeClosedError where there is nothing to look at."""
        if self.review_due_at is None or self.review is not None:
            raise ChangeClosedError("This change request waits for no review.")
        self.trigger_event(
            self.Reviewed, timestamp=at, by=by, outcome=outcome, comment=comment,
            meaning="reviewed",
        )  # fmt: skip

    def _check_status(self, *allowed: Status) -> None:
        if self.status not in allowed:
            how = "revise it" if self.status in ("rejected", "suspended") else "propose another"
            if self.review_due_at is not None:
                how = "it waits for a review" if self.review is None else "it was reviewed"
            raise ChangeClosedError(
                f"The change request is {self.status}: {how}.", state=self.status
            )

    @event(Revised)
    def _apply_revised(
        self,
        items: list[dict[str, Any]],
        by: str,
        credential: str | None,
        automatic: bool,
        scheduled_at: str | None,
        expires_at: str | None,
    ) -> None:
        self.automatic = automatic
        self.items = tuple(Item(**item) for item in items)
        self.editors = (*(one for one in self.editors if one != by), by)
        self.credential = credential
        self.scheduled_at = _moment(scheduled_at)
        self.expires_at = _moment(expires_at)
        self.status = "open"
        self.suspended_for = None
        self.revision += 1
        self.approvals = {}
        self.rejection = None

    @event(Commented)
    def _apply_commented(
        self,
        comment_id: str,
        by: str,
        text: ContentRef,
        anchor: dict[str, Any] | None,
        timestamp: datetime,
    ) -> None:
        self.comments.append(Comment(comment_id, by, timestamp, text, anchor))

    @event(Approved)
    def _apply_approved(
        self,
        by: str,
        revision: int,
        comment: ContentRef | None,
        signature: dict[str, str] | None,
        timestamp: datetime,
    ) -> None:
        self.approvals[by] = Verdict(by, timestamp, revision, comment, signature)

    @event(Retracted)
    def _apply_retracted(self, by: str) -> None:
        del self.approvals[by]

    @event(Rejected)
    def _apply_rejected(
        self, by: str, revision: int, comment: ContentRef | None, timestamp: datetime
    ) -> None:
        self.status = "rejected"
        self.rejection = Verdict(by, timestamp, revision, comment)

    @event(Withdrawn)
    def _apply_withdrawn(self) -> None:
        self.status = "withdrawn"

    @event(Suspended)
    def _apply_suspended(self, cause: str) -> None:
        self.status = "suspended"
        self.suspended_for = cause

    @event(Applied)
    def _apply_applied(self, by: str, timestamp: datetime) -> None:
        self.status = "applied"
        self.applied_by = by
        self.applied_at = timestamp

    @event(Reviewed)
    def _apply_reviewed(self, by: str, outcome: str) -> None:
        self.review = (by, outcome)


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
