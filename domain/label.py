"""A prompt's label: where it points, where it pointed, what a rollback can return to."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from domain.commitment import ContentRef

Act = Literal["set", "promotion", "rollback", "emergency"]
# What satisfied the rules of its time: an emergency did not, and a rollback returns to what did.
LIVED: Act = "promotion"


@dataclass(frozen=True)
class LabelMove:
    """One change of a label: from and to are version numbers, None where it pointed nowhere."""

    from_version: int | None
    to_version: int | None
    act: Act | Literal["removal", "expiry"]
    reason: ContentRef | None
    moved_at: datetime
    stream_position: int
    expires_at: datetime | None = None
    change_id: str | None = None


@dataclass(frozen=True)
class Label:
    """A label now: its target (None: removed), what rollback can return to, and every move."""

    target: int | None
    returns: tuple[int, ...]
    history: tuple[LabelMove, ...]

    @property
    def expires_at(self) -> datetime | None:
        """Until when it points where it points (None: until it is moved)."""
        return self.history[-1].expires_at if self.history else None

    def lived(self, number: int) -> bool:
        """Whether a version was its target before, by a promotion that satisfied the rules."""
        return any(move.to_version == number and move.act == LIVED for move in self.history)

    def expired(self, at: datetime) -> bool:
        """Whether its time is over."""
        return self.expires_at is not None and self.expires_at <= at

    def require_target(self) -> int:
        """The version it points at; ValueError where it points nowhere."""
        if self.target is None:
            raise ValueError("the label points nowhere")
        return self.target

    def moved(self, move: LabelMove) -> "Label":
        """This label after `move`. A rollback forgets the targets it leaves."""
        target = move.to_version
        returns = self.returns
        if target is None:
            pass
        elif move.act == "rollback" and target in returns:
            last = len(returns) - returns[::-1].index(target)
            returns = returns[:last]
        elif returns[-1:] != (target,):
            returns = (*returns, target)
        return Label(target, returns, (*self.history, move))
