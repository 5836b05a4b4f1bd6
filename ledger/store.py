"""Where a ledger is kept: found, begun, opened for work, and read row by row for verification.

`ledger/sqlite/` and `ledger/postgres/` each fill this contract and `ledger/recorder.py`'s.
"""

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

from domain.credential import Credential
from ledger.recorder import FORMAT, LedgerRecorder

ROWS_AT_ONCE = 500
FILLING = "is being filled: let 'scrinia copy' or 'restore' end, or run it again."
__all__ = ["FILLING", "FORMAT", "AnswerRow", "LedgerStore", "RawLedger", "Row"]


class Row(NamedTuple):
    """An event's row, untrusted: any column may hold anything."""

    position: Any
    stream: Any
    stream_position: Any
    type: Any
    event_id: Any
    time: Any
    running_time: Any
    payload: bytes
    key_id: Any
    signature: bytes
    leaf_hash: Any


class AnswerRow(NamedTuple):
    """A remembered answer's row; `time` is RFC 3339 UTC with microseconds."""

    principal: str
    key: str
    request_hash: str
    answer: bytes
    position: int
    time: str


class RawLedger(ABC):
    """One moment of a ledger as its rows lie there, whatever constraints the tables still have."""

    @abstractmethod
    def count(self) -> int:
        """How many events there are."""

    @abstractmethod
    def rows(self) -> Iterator[list[Row]]:
        """All events by position, ROWS_AT_ONCE at a time."""

    @abstractmethod
    def texts(self, commitments: Collection[str]) -> dict[str, list[tuple[bytes, bytes]]]:
        """Salt and body of the texts that are there: of every row that claims a commitment."""

    @abstractmethod
    def commitments(self) -> Iterator[str]:
        """Of every text there is."""

    @abstractmethod
    def checkpoints(self) -> list[tuple[int, bytes, bytes]]:
        """Size, note and compact range of every checkpoint, by size."""

    @abstractmethod
    def answers(self) -> Iterator[AnswerRow]:
        """Every remembered answer."""

    @abstractmethod
    def credentials(self) -> Iterator[Credential]:
        """What checks the secrets people choose."""

    @abstractmethod
    def identities(self) -> list[tuple[Any, Any]]:
        """Ledger id and format as the database states them: one row, if all is well."""


class LedgerStore(ABC):
    """A database that holds a ledger or may come to."""

    @property
    @abstractmethod
    def place(self) -> str:
        """Where it is, for messages; never a secret."""

    @abstractmethod
    def exists(self) -> bool:
        """Whether a ledger was begun here.

        Raises MigrationError where none can be yet, ClosedError where it is closed.
        """

    @abstractmethod
    def ledger_id(self) -> str:
        """The id of the ledger; NoLedgerError where there is none, else as `exists`."""

    @abstractmethod
    def begin(self, ledger_id: str) -> AbstractContextManager[LedgerRecorder]:
        """A new ledger to write the first unit to; it counts from the end of the block on.

        ForkedError where another ledger is here already.
        """

    @abstractmethod
    def recorder(self) -> LedgerRecorder:
        """The ledger opened for reading and appending."""

    @abstractmethod
    def fill(self, ledger_id: str) -> AbstractContextManager[LedgerRecorder]:
        """A store to copy this ledger's rows into, in order; it counts once the block has ended.

        It holds nothing, or what an interrupted filling has left. ForkedError where another ledger
        is here.
        """

    @abstractmethod
    def close(self, reason: str) -> int:
        """Refuse every append and every new server from now on, saying why; the head."""

    @abstractmethod
    def reopen(self) -> None:
        """Take back what `close` did."""

    @abstractmethod
    def reading(self) -> AbstractContextManager[RawLedger]:
        """The ledger's rows at one moment."""
