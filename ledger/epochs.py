"""Epochs: a ledger that lost its end and goes on says so, and seals under another name.

A log that has signed a tree may never sign one that contradicts it (C2SP tlog-checkpoint). So where
a backup is older than what was sealed, the log of before ends, and the events after it are sealed
under an origin of their own; the first of them names what was lost and carries its last checkpoint.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from domain.keys import KeyRing
from ledger.errors import NoteError
from ledger.note import Checkpoint, VerifierKey, open_note


@dataclass(frozen=True)
class Epoch:
    """`start` is its first position. `lost_to`: how far the epoch before had come when it ended."""

    number: int
    start: int
    lost_to: int


FIRST = Epoch(1, 1, 0)


def origin_of(ledger_id: str, epoch: int = 1) -> str:
    """The origin line of an epoch's checkpoints, also its key name."""
    origin = f"scrinia/ledgers/{ledger_id}"
    return origin if epoch == 1 else f"{origin}/e{epoch}"


def epoch_of(epochs: Sequence[Epoch], size: int) -> Epoch:
    """The epoch that seals a tree of this size."""
    return next(epoch for epoch in reversed(epochs) if size >= epoch.start or epoch is epochs[0])


def is_recorded_loss(epochs: Sequence[Epoch], number: int, size: int) -> bool:
    """Whether a checkpoint of this size, sealed in epoch `number`, shows what was recorded lost."""
    for epoch in epochs:
        if epoch.number == number + 1:
            return epoch.start <= size <= epoch.lost_to
    return False


def lost_checkpoint(
    event: KeyRing.EpochBegun, ledger_id: str, keys: list[VerifierKey]
) -> Checkpoint:
    """The last checkpoint of the epoch that an event ends; NoteError unless it shows the loss."""
    checkpoint = Checkpoint.parse(open_note(event.checkpoint.encode(), keys))
    stated = (checkpoint.origin, checkpoint.size)
    if stated != (origin_of(ledger_id, event.epoch - 1), event.lost_to):
        raise NoteError(f"The checkpoint shows {checkpoint.size} events of {checkpoint.origin}.")
    return checkpoint
