"""The interface between the ledger and its stores: units with conditions in, verdicts out.

`ledger/sqlite/` and `ledger/postgres/` implement it; the suite in `tests/contracts/recorder.py`
runs against both.
"""

from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

from eventsourcing.persistence import ApplicationRecorder

from domain.commitment import Content, commit
from domain.credential import Credential
from ledger.errors import TamperedError
from ledger.mapper import SignedEvent, SignedNotification

CLOCK_SKEW_SECONDS_MAX = 5.0
IDEMPOTENCY_HOURS = 24
FORMAT = 1
# In the order of SignedNotification's fields.
EVENT_COLUMNS = (
    "stream, stream_position, type, payload, position, event_id, time, key_id, signature, leaf_hash"
)


@dataclass(frozen=True)
class Remembered:
    """An answer kept for the retry of a command.

    `event_index` is the command's last event in its unit, whose position completes the answer;
    None where the command made no event and `position` says it.
    """

    principal: str
    key: str
    request_hash: str
    answer: bytes
    event_index: int | None
    position: int | None


@dataclass(frozen=True)
class Recalled:
    """A remembered answer, complete with its position."""

    request_hash: str
    answer: bytes
    position: int


@dataclass(frozen=True)
class Unit:
    """What is accepted or refused whole.

    `conditions` maps every stream its decisions read or wrote to the stream position they saw
    (0: absent).
    """

    events: tuple[SignedEvent, ...]
    conditions: dict[str, int]
    contents: tuple[Content, ...] = ()
    credentials: tuple[Credential, ...] = ()
    remembered: tuple[Remembered, ...] = ()


@dataclass(frozen=True)
class Verdict:
    """Accepted: the events' positions. Refused: `moved` streams, or a clock too far off."""

    accepted: bool
    positions: tuple[int, ...] = ()
    moved: tuple[str, ...] = field(default=())


@dataclass(frozen=True)
class StoredCheckpoint:
    """A sealed head: tree size, signed note, the compact range's hashes (32 bytes each)."""

    size: int
    note: bytes
    frontier: bytes


class LedgerRecorder(ApplicationRecorder):
    """An append-only store of signed events in one gapless order."""

    @abstractmethod
    def append_units(self, units: Sequence[Unit], *, again: bool = False) -> list[Verdict]:
        """Append in one durable transaction, one verdict per unit, under one writer lock.

        `again`: the outcome of an earlier call with these same units is not known; those whose
        event ids are there already are accepted with the positions they have.
        """

    @abstractmethod
    def take_rows(self, events: Sequence[SignedEvent], contents: Sequence[Content]) -> None:
        """Append another store's next events and texts as they are, whatever their time."""

    @abstractmethod
    def take_answers(self, answers: Sequence[tuple[Any, ...]]) -> None:
        """Remember another store's answers as they are: rows of `ledger.store.AnswerRow`."""

    @abstractmethod
    def take_credentials(self, credentials: Sequence[Credential]) -> None:
        """Have exactly these, as another store has them."""

    @abstractmethod
    def credential(self, principal_id: str, kind: str) -> bytes | None:
        """A principal's verifier of a kind; None where there is none."""

    @abstractmethod
    def alone(self) -> AbstractContextManager[None]:
        """Keep every other writer out, so that what is read within cannot move before the append.

        One `append_units` within commits it. Only where deciding without it lost too often.
        """

    @abstractmethod
    def durability(self) -> Mapping[str, str | int]:
        """The database's settings that decide whether an acknowledged command survives."""

    @abstractmethod
    def close(self) -> None:
        """Close every connection."""

    @abstractmethod
    def select_stream(
        self, stream: str, *, after: int = 0, until_position: int | None = None
    ) -> Sequence[SignedNotification]:
        """A stream's events with a higher stream position, up to a position in the ledger."""

    @abstractmethod
    def select_after(self, position: int, limit: int) -> Sequence[SignedNotification]:
        """Up to `limit` events after `position`, in order."""

    @abstractmethod
    def select_kind(self, kind: str, until: int, after: int = 0) -> Sequence[SignedNotification]:
        """The events of all streams of a kind between two positions, in the ledger's order."""

    def contents(self, commitments: Iterable[str]) -> dict[str, Content]:
        """The texts that are still there, by commitment; TamperedError where one was changed."""
        found = self.select_contents(commitments)
        for content in found:
            if commit(content.salt, content.body) != content.commitment:
                raise TamperedError(
                    f"Text {content.commitment} is not what was committed to: run 'scrinia verify'."
                )
        return {content.commitment: content for content in found}

    @abstractmethod
    def select_contents(self, commitments: Iterable[str]) -> list[Content]:
        """The rows of texts as they lie there."""

    @abstractmethod
    def recall(self, keys: Iterable[tuple[str, str]]) -> dict[tuple[str, str], Recalled]:
        """Remembered answers by (principal, key), those of the last 24 h."""

    @abstractmethod
    def head(self) -> int:
        """The last position; 0 in an empty ledger."""

    @abstractmethod
    def position_at(self, time: str) -> int:
        """The last position whose running maximum of time is not later than `time`."""

    @abstractmethod
    def last_checkpoint(self) -> StoredCheckpoint | None:
        """The newest sealed head."""

    @abstractmethod
    def checkpoint_at(self, size: int) -> StoredCheckpoint | None:
        """The sealed head of exactly this size."""

    @abstractmethod
    def store_checkpoint(self, checkpoint: StoredCheckpoint) -> None:
        """Keep a sealed head; AlreadySealedError where one of this or a larger size is kept."""
