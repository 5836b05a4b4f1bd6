"""Access requests: something that takes two people to give, asked for by one of them."""

from datetime import datetime, timedelta
from typing import Any, Literal
from uuid import UUID

from eventsourcing.domain import Aggregate, event

from domain.commitment import ContentRef
from domain.errors import AccessRequestClosedError

ACCESS_REQUEST_DAYS = 7
RequestStatus = Literal["open", "approved", "rejected", "applied", "lapsed"]
UNNOTED = "unnoted"  # what an approval of the first form says of whom it is about
REQUEST_STATUSES = ("open", "approved", "rejected", "applied", "lapsed")


class AccessRequest(Aggregate):
    """An intent (`domain/second_person.py`), who asked for it and who agreed.

    Who asked does it, once somebody else has agreed; until ACCESS_REQUEST_DAYS after asking.
    """

    TOPIC = "io.scrinia.accessrequest"

    class Created(Aggregate.Created):
        """Somebody asked. `text`: what the intent says in words, such as a login name."""

        TOPIC = "io.scrinia.accessrequest.created.v1"
        action: str
        intent: dict[str, Any]
        text: ContentRef | None
        by: str
        reason: ContentRef | None

    class Approved(Aggregate.Event):
        """Somebody else agreed. `target_sha256`: what was so of whom it is about."""

        TOPIC = "io.scrinia.accessrequest.approved.v2"
        class_version = 2
        by: str
        comment: ContentRef | None
        target_sha256: str | None

        @staticmethod
        def upcast_v1_v2(state: dict[str, Any]) -> None:
            """Only of who was given more was anything noted then."""
            held = state["credentials_sha256"]
            state["target_sha256"] = held if held is not None else UNNOTED

    class Rejected(Aggregate.Event):
        """Somebody said no, or who asked wants it no more."""

        TOPIC = "io.scrinia.accessrequest.rejected.v1"
        by: str
        comment: ContentRef | None

    class Applied(Aggregate.Event):
        """It is done, by the event that follows."""

        TOPIC = "io.scrinia.accessrequest.applied.v1"
        by: str

    def __init__(
        self,
        action: str,
        intent: dict[str, Any],
        text: ContentRef | None,
        by: str,
        reason: ContentRef | None,
        timestamp: datetime,
    ) -> None:
        self.action = action
        self.intent = intent
        self.text = text
        self.asked_by = by
        self.asked_at = timestamp
        self.reason = reason
        self.decided: RequestStatus = "open"
        self.approved_by: str | None = None
        self.target_sha256: str | None = None
        self.rejected_by: str | None = None

    @classmethod
    def ask(cls, request_id: UUID, at: datetime, **fields: Any) -> "AccessRequest":
        """A new request; see the event for its fields."""
        return cls._create(cls.Created, id=request_id, timestamp=at, **fields)

    @property
    def lapses_at(self) -> datetime:
        """From when on it can be approved and applied no more."""
        return self.asked_at + timedelta(days=ACCESS_REQUEST_DAYS)

    def status(self, now: datetime) -> RequestStatus:
        """What became of it by a moment."""
        waits = self.decided in ("open", "approved")
        return "lapsed" if waits and now >= self.lapses_at else self.decided

    def approve(
        self, by: str, comment: ContentRef | None, target_sha256: str | None, at: datetime
    ) -> bool:
        """Agree; False where the same principal has. AccessRequestClosedError."""
        if self.approved_by == by and self.status(at) == "approved":
            return False
        self._check_status(at, "open")
        self.trigger_event(
            self.Approved, timestamp=at, by=by, comment=comment,
            target_sha256=target_sha256,
        )  # fmt: skip
        return True

    def reject(self, by: str, comment: ContentRef | None, at: datetime) -> bool:
        """Say no; False where that was said already. AccessRequestClosedError."""
        if self.decided == "rejected":
            return False
        self._check_status(at, "open", "approved")
        self.trigger_event(self.Rejected, timestamp=at, by=by, comment=comment)
        return True

    def apply(self, by: str, at: datetime) -> None:
        """Be done; AccessRequestClosedError."""
        self._check_status(at, "approved")
        self.trigger_event(self.Applied, timestamp=at, by=by)

    def _check_status(self, at: datetime, *allowed: RequestStatus) -> None:
        status = self.status(at)
        if status not in allowed:
            how = {
                "open": "somebody else has to approve it first",
                "approved": "who asked for it applies it",
            }.get(status, "ask again")
            raise AccessRequestClosedError(f"The access request is {status}: {how}.", state=status)

    @event(Approved)
    def _apply_approved(self, by: str, target_sha256: str | None) -> None:
        self.decided = "approved"
        self.approved_by = by
        self.target_sha256 = target_sha256

    @event(Rejected)
    def _apply_rejected(self, by: str) -> None:
        self.decided = "rejected"
        self.rejected_by = by

    @event(Applied)
    def _apply_applied(self) -> None:
        self.decided = "applied"
