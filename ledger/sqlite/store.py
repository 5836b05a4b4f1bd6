"""A ledger's file: found, begun, and read row by row."""

import sqlite3
from collections.abc import Collection, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any

from domain.credential import Credential
from ledger.errors import ClosedError, ForkedError, NoLedgerError, TamperedError
from ledger.recorder import LedgerRecorder
from ledger.sqlite.recorder import SQLiteLedgerRecorder, connect
from ledger.store import FORMAT, ROWS_AT_ONCE, AnswerRow, LedgerStore, RawLedger, Row


class SQLiteStore(LedgerStore):
    """One file; `scrinia init` makes it beside its final place and moves it there when complete."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def place(self) -> str:
        """See LedgerStore."""
        return str(self.path)

    def exists(self) -> bool:
        """See LedgerStore."""
        if not self.path.exists():
            return False
        check_open(self.path)
        return True

    def ledger_id(self) -> str:
        """See LedgerStore."""
        self.exists()
        return ledger_id(self.path)

    @contextmanager
    def begin(self, ledger_id: str) -> Iterator[LedgerRecorder]:
        """See LedgerStore."""
        if self.path.exists():
            raise ForkedError(f"{self.path} exists already: nothing is begun or filled over it.")
        fresh = self.path.with_suffix(".new")
        create_ledger(fresh, ledger_id)
        with closing(SQLiteLedgerRecorder(fresh)) as recorder:
            yield recorder
        fresh.replace(self.path)

    def recorder(self) -> SQLiteLedgerRecorder:
        """See LedgerStore. NoLedgerError where there is no file: only `begin` makes one."""
        if not self.path.exists():
            raise NoLedgerError(f"There is no ledger at {self.path}: run 'scrinia init' first.")
        _bring_up_to_date(self.path)
        return SQLiteLedgerRecorder(self.path)

    def fill(self, ledger_id: str) -> AbstractContextManager[LedgerRecorder]:
        """See LedgerStore. Beside its place, like a new one, until it is full."""
        return self.begin(ledger_id)

    def close(self, reason: str) -> int:
        """See LedgerStore."""
        with closing(connect(self.path)) as connection:
            connection.execute("INSERT OR REPLACE INTO closed VALUES (1, ?)", (reason,))
            head = connection.execute("SELECT coalesce(max(position), 0) FROM events").fetchone()
        return int(head[0])

    def reopen(self) -> None:
        """See LedgerStore."""
        with closing(connect(self.path)) as connection:
            connection.execute("DELETE FROM closed")

    @contextmanager
    def reading(self) -> Iterator[RawLedger]:
        """See LedgerStore."""
        if not self.path.exists():
            raise NoLedgerError(f"There is no ledger at {self.path}: run 'scrinia init' first.")
        connection = connect(self.path, read_only=True)
        connection.text_factory = as_text
        try:
            connection.execute("BEGIN")
            yield SQLiteRows(connection)
        except sqlite3.DatabaseError as error:
            raise TamperedError(
                f"{self.path} is damaged ({error}): keep it, and restore a backup elsewhere."
            ) from None
        finally:
            connection.close()


def create_ledger(path: Path, ledger_id: str) -> None:
    """Make the tables of a new ledger; ForkedError where the file holds another one."""
    connection = connect(path)
    try:
        connection.executescript(_schema())
        connection.execute("INSERT OR IGNORE INTO ledger VALUES (1, ?, ?)", (ledger_id, FORMAT))
        held = connection.execute("SELECT id FROM ledger").fetchone()[0]
    finally:
        connection.close()
    if held != ledger_id:
        raise ForkedError(f"{path} holds ledger {held}, not {ledger_id}.")


def _bring_up_to_date(path: Path) -> None:
    """Make the tables that a ledger begun by an earlier version lacks."""
    with closing(connect(path)) as connection:
        connection.executescript(_schema())


def _schema() -> str:
    return files("ledger.sqlite").joinpath("schema.sql").read_text()


def check_open(path: Path) -> None:
    """ClosedError where the ledger in a file takes nothing more."""
    with closing(connect(path, read_only=True)) as connection:
        try:
            row = connection.execute("SELECT reason FROM closed").fetchone()
        except sqlite3.DatabaseError:
            return
    if row is not None:
        raise ClosedError(f"{path} {row[0]}")


def ledger_id(path: Path) -> str:
    """The id of the ledger in a file; NoLedgerError where there is none."""
    if not path.exists():
        raise NoLedgerError(f"There is no ledger at {path}: run 'scrinia init' first.")
    connection = connect(path, read_only=True)
    try:
        row = connection.execute("SELECT id, format FROM ledger").fetchone()
    except sqlite3.DatabaseError as error:
        raise NoLedgerError(f"{path} is no ledger: {error}.") from None
    finally:
        connection.close()
    if row is None:
        raise TamperedError(f"{path} has lost its ledger's id: keep it and run 'scrinia verify'.")
    if row[1] != FORMAT:
        raise NoLedgerError(f"{path} has format {row[1]}, this version reads {FORMAT}.")
    return str(row[0])


class SQLiteRows(RawLedger):
    """Rows as SQLite stores them, which may be of any type whatever the column says."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._db = connection

    def count(self) -> int:
        """See RawLedger."""
        return int(self._db.execute("SELECT count(*) FROM events").fetchone()[0])

    def rows(self) -> Iterator[list[Row]]:
        """See RawLedger."""
        cursor = self._db.execute(
            "SELECT position, stream, stream_position, type, event_id, time, running_time,"
            " payload, key_id, signature, leaf_hash FROM events ORDER BY position, rowid"
        )
        while found := cursor.fetchmany(ROWS_AT_ONCE):
            yield [_row(raw) for raw in found]

    def texts(self, commitments: Collection[str]) -> dict[str, list[tuple[bytes, bytes]]]:
        """See RawLedger."""
        found: dict[str, list[tuple[bytes, bytes]]] = {}
        for commitment in commitments:
            rows = self._db.execute(
                "SELECT salt, body FROM contents WHERE commitment = ?", (commitment,)
            )
            found[commitment] = [(_as_bytes(salt), _as_bytes(body)) for salt, body in rows]
        return found

    def commitments(self) -> Iterator[str]:
        """See RawLedger."""
        for (commitment,) in self._db.execute("SELECT commitment FROM contents"):
            yield commitment

    def checkpoints(self) -> list[tuple[int, bytes, bytes]]:
        """See RawLedger."""
        found = self._db.execute("SELECT size, note, frontier FROM checkpoints ORDER BY size")
        return [(size, _as_bytes(note), _as_bytes(tree)) for size, note, tree in found]

    def answers(self) -> Iterator[AnswerRow]:
        """See RawLedger."""
        for row in self._db.execute(
            "SELECT principal, key, request_hash, answer, position, time FROM idempotency"
        ):
            yield AnswerRow._make(row)

    def credentials(self) -> Iterator[Credential]:
        """See RawLedger."""
        try:
            rows = self._db.execute("SELECT principal, kind, verifier FROM credentials").fetchall()
        except sqlite3.OperationalError:  # of a version before there were any
            return
        for principal, kind, verifier in rows:
            yield Credential(principal, kind, _as_bytes(verifier))

    def identities(self) -> list[tuple[Any, Any]]:
        """See RawLedger."""
        return self._db.execute("SELECT id, format FROM ledger").fetchall()


def as_text(stored: bytes) -> str:
    """A text factory for columns that may hold anything."""
    return stored.decode("utf-8", "surrogateescape")


def _as_bytes(value: Any) -> bytes:
    if isinstance(value, bytes):
        return value
    return str(value).encode("utf-8", "surrogateescape")


def _row(raw: tuple[Any, ...]) -> Row:
    *plain, body, key_id, signature, leaf = raw
    return Row._make((*plain, _as_bytes(body), key_id, _as_bytes(signature), leaf))
