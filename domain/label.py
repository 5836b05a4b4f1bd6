"""A prompt's label: where it points, where it pointed, what a rollback can return to."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from domain.commitment import ContentRef

Act = Literal["set", "promotion", "rollback"]


@dataclass(frozen=True)
class LabelMove:
    """One change of a label: from and to are version numbers, None where it pointed nowhere."""

    from_version: int | None
    to_version: int | None
    act: Act | Literal["removal"]
    reason: ContentRef | None
    moved_at: datetime
    stream_position: int


@dataclass(frozen=True)
class Label:
    """A label now: its target (None: removed), what rollback can return to, and every move."""

    target: int | None
    returns: tuple[int, ...]
    history: tuple[LabelMove, ...]

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
