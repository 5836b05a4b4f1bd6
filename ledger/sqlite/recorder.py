"""The ledger on SQLite: one file, one writer connection, WAL and synchronous=FULL.

Reads come from the library's connection pool; the writer's own connection takes the lock with
BEGIN IMMEDIATE, so nothing it has read can have moved when it writes.
"""

import json
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

from eventsourcing.persistence import IntegrityError, OperationalError, StoredEvent
from eventsourcing.sqlite import SQLiteApplicationRecorder, SQLiteDatastore

from domain.commitment import Content
from domain.credential import Credential
from ledger.errors import AlreadySealedError, ClosedError
from ledger.ids import now
from ledger.mapper import SignedEvent, SignedNotification
from ledger.payload import format_time, parse_time
from ledger.recorder import (
    CLOCK_SKEW_SECONDS_MAX,
    EVENT_COLUMNS,
    IDEMPOTENCY_HOURS,
    LedgerRecorder,
    Recalled,
    Remembered,
    StoredCheckpoint,
    Unit,
    Verdict,
)

LOCK_TIMEOUT_SECONDS = 10
_ROWS_A_STATEMENT = 500


def connect(path: Path, *, read_only: bool = False) -> sqlite3.Connection:
    """A connection in autocommit mode that waits for locks; durable where it writes."""
    mode = "ro" if read_only else "rwc"
    connection = sqlite3.connect(
        f"file:{path}?mode={mode}",
        uri=True,
        isolation_level=None,
        check_same_thread=False,
        timeout=LOCK_TIMEOUT_SECONDS,
    )
    if not read_only:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
    return connection


class SQLiteLedgerRecorder(SQLiteApplicationRecorder, LedgerRecorder):
    """Signed events, contents, remembered answers and checkpoints in one file."""

    def __init__(self, path: Path, *, originator_id_type: Any = "text") -> None:
        datastore = SQLiteDatastore(
            f"file:{path}", lock_timeout=LOCK_TIMEOUT_SECONDS, originator_id_type=originator_id_type
        )
        super().__init__(datastore, events_table_name="events")
        self._writer = connect(path)
        self._lock = threading.RLock()

    def close(self) -> None:
        """Close every connection."""
        self._writer.close()
        self.datastore.close()

    def durability(self) -> dict[str, str | int]:
        """What the writer's own connection reports: journal_mode and synchronous (2 is FULL)."""
        return {
            pragma: self._writer.execute(f"PRAGMA {pragma}").fetchone()[0]
            for pragma in ("journal_mode", "synchronous")
        }

    # Append

    def append_units(self, units: Sequence[Unit], *, again: bool = False) -> list[Verdict]:
        """See LedgerRecorder. One transaction, acknowledged after fsync."""
        with self._transaction() as cursor:
            return self._append(cursor, units, again)

    def insert_events(
        self, stored_events: Sequence[StoredEvent], **kwargs: Any
    ) -> Sequence[int] | None:
        """The library's append: all or nothing, IntegrityError where a place is taken."""
        events = tuple(e for e in stored_events if isinstance(e, SignedEvent))
        if len(events) != len(stored_events):
            raise TypeError("this recorder stores signed events only")
        with self._transaction() as cursor:
            verdicts = self._append(cursor, [Unit(events, {})], again=False, check_clock=False)
        return list(verdicts[0].positions)

    def take_rows(self, events: Sequence[SignedEvent], contents: Sequence[Content]) -> None:
        """See LedgerRecorder."""
        unit = Unit(tuple(events), {}, tuple(contents))
        with self._transaction() as cursor:
            self._append(cursor, [unit], again=False, check_clock=False)

    def take_answers(self, answers: Sequence[tuple[Any, ...]]) -> None:
        """See LedgerRecorder."""
        with self._transaction() as cursor:
            _insert(cursor, "idempotency", answers, "OR IGNORE")

    def take_credentials(self, credentials: Sequence[Credential]) -> None:
        """See LedgerRecorder."""
        with self._transaction() as cursor:
            cursor.execute("DELETE FROM credentials")
            _keep(cursor, credentials)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """See LedgerRecorder."""
        with self._transaction():
            yield

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Cursor]:
        with self._lock:
            cursor = self._writer.cursor()
            try:
                if not self._writer.in_transaction:  # else that of `alone`
                    cursor.execute("BEGIN IMMEDIATE")
                yield cursor
                if self._writer.in_transaction:
                    cursor.execute("COMMIT")
            except sqlite3.IntegrityError as error:
                raise IntegrityError(error) from error
            except sqlite3.Error as error:
                raise OperationalError(error) from error
            finally:
                if self._writer.in_transaction:
                    self._writer.rollback()

    def _append(
        self,
        cursor: sqlite3.Cursor,
        units: Sequence[Unit],
        again: bool,
        check_clock: bool = True,
    ) -> list[Verdict]:
        closed = cursor.execute("SELECT reason FROM closed").fetchone()
        if closed is not None:
            raise ClosedError(f"This ledger {closed[0]}")
        stored = self._stored_positions(cursor, units) if again else {}
        heads = self._heads(cursor, {s for unit in units for s in unit.conditions})
        head, running = cursor.execute(
            "SELECT position, running_time FROM events ORDER BY position DESC LIMIT 1"
        ).fetchone() or (0, "")
        verdicts: list[Verdict] = []
        rows: list[tuple[Any, ...]] = []
        accepted: list[tuple[Unit, Verdict]] = []
        for unit in units:
            answered = self._answered(cursor, unit)
            verdict = self._known(unit, stored, answered if again else 0)
            verdict = verdict or self._refusal(unit, heads, check_clock, answered)
            if verdict is None:
                verdict = Verdict(True, tuple(range(head + 1, head + 1 + len(unit.events))))
                for position, event in zip(verdict.positions, unit.events, strict=True):
                    running = max(running, event.time)
                    rows.append(_row(position, running, event))
                head += len(unit.events)
                accepted.append((unit, verdict))
            verdicts.append(verdict)
        _insert(cursor, "events", rows)
        _insert(cursor, "contents", [
            (c.commitment, c.salt, c.body) for unit, _ in accepted for c in unit.contents
        ])  # fmt: skip
        _keep(cursor, [c for unit, _ in accepted for c in unit.credentials])
        self._remember(cursor, accepted)
        return verdicts

    def _stored_positions(self, cursor: sqlite3.Cursor, units: Sequence[Unit]) -> dict[str, int]:
        found: dict[str, int] = {}
        ids = [event.event_id for unit in units for event in unit.events]
        for chunk in _chunks(ids):
            marks = ",".join("?" * len(chunk))
            found.update(
                cursor.execute(
                    f"SELECT event_id, position FROM events WHERE event_id IN ({marks})", chunk
                )
            )
        return found

    def _heads(self, cursor: sqlite3.Cursor, streams: set[str]) -> dict[str, int | None]:
        """Where streams end: one seek each, however long they are."""
        return dict(
            cursor.execute(
                "SELECT value, (SELECT max(stream_position) FROM events WHERE stream = value)"
                " FROM json_each(?)",
                (json.dumps(sorted(streams)),),
            )
        )

    def _answered(self, cursor: sqlite3.Cursor, unit: Unit) -> int:
        """How many of a unit's answers are remembered already."""
        horizon = _idempotency_horizon()
        return sum(
            cursor.execute(
                "SELECT count(*) FROM idempotency WHERE principal = ? AND key = ? AND time >= ?",
                (remembered.principal, remembered.key, horizon),
            ).fetchone()[0]
            for remembered in unit.remembered
        )

    def _known(self, unit: Unit, stored: dict[str, int], answered: int) -> Verdict | None:
        if unit.events and unit.events[0].event_id in stored:
            return Verdict(True, tuple(stored[event.event_id] for event in unit.events))
        if not unit.events and answered == len(unit.remembered) > 0:
            return Verdict(True)
        return None

    def _refusal(
        self, unit: Unit, heads: dict[str, int | None], check_clock: bool, answered: int
    ) -> Verdict | None:
        moved = tuple(s for s, seen in unit.conditions.items() if (heads[s] or 0) != seen)
        if moved or answered:
            return Verdict(False, moved=moved)
        clock = now()
        for event in unit.events if check_clock else ():
            if abs((clock - parse_time(event.time)).total_seconds()) > CLOCK_SKEW_SECONDS_MAX:
                return Verdict(False)
        return None

    def _remember(self, cursor: sqlite3.Cursor, accepted: Sequence[tuple[Unit, Verdict]]) -> None:
        rows = [
            _remembered_row(remembered, verdict)
            for unit, verdict in accepted
            for remembered in unit.remembered
        ]
        if rows:
            cursor.execute("DELETE FROM idempotency WHERE time < ?", (_idempotency_horizon(),))
            _insert(cursor, "idempotency", rows)

    # Read

    def select_events(
        self,
        originator_id: Any,
        *,
        gt: int | None = None,
        lte: int | None = None,
        desc: bool = False,
        limit: int | None = None,
    ) -> Sequence[SignedNotification]:
        """The library's stream read."""
        order = "DESC" if desc else "ASC"
        return self._select(
            "WHERE stream = ? AND stream_position > ? AND stream_position <= ?"
            f" ORDER BY stream_position {order} LIMIT ?",
            (str(originator_id), gt or 0, lte if lte is not None else 2**62, _limit(limit)),
        )

    def select_stream(
        self, stream: str, *, after: int = 0, until_position: int | None = None
    ) -> Sequence[SignedNotification]:
        """See LedgerRecorder."""
        return self._select(
            "WHERE stream = ? AND stream_position > ? AND position <= ? ORDER BY stream_position",
            (stream, after, 2**62 if until_position is None else until_position),
        )

    def select_notifications(
        self,
        start: int | None,
        limit: int,
        stop: int | None = None,
        topics: Sequence[str] = (),
        *,
        inclusive_of_start: bool = True,
    ) -> Sequence[SignedNotification]:
        """The library's ledger read."""
        first = 1 if start is None else start + (not inclusive_of_start)
        last = 2**62 if stop is None else stop
        among = f" AND type IN ({','.join('?' * len(topics))})" if topics else ""
        return self._select(
            f"WHERE position >= ? AND position <= ?{among} ORDER BY position LIMIT ?",
            (first, last, *topics, limit),
        )

    def select_after(self, position: int, limit: int) -> Sequence[SignedNotification]:
        """See LedgerRecorder."""
        return self.select_notifications(position, limit, inclusive_of_start=False)

    def _select(self, clauses: str, params: tuple[Any, ...]) -> list[SignedNotification]:
        rows = self._query(f"SELECT {EVENT_COLUMNS} FROM events {clauses}", params)
        return [SignedNotification(self.convert_originator_id(row[0]), *row[1:]) for row in rows]

    def _query(self, sql: str, params: Sequence[Any] = ()) -> list[Any]:
        """One SELECT is a read transaction by itself: no BEGIN around it."""
        with self.datastore.get_connection(commit=False) as connection:
            cursor = connection.cursor()
            cursor.execute(sql, params)
            rows: list[Any] = cursor.fetchall()
            return rows

    def select_contents(self, commitments: Iterable[str]) -> list[Content]:
        """See LedgerRecorder."""
        found: list[Content] = []
        for chunk in _chunks(list(set(commitments))):
            marks = ",".join("?" * len(chunk))
            rows = self._query(
                f"SELECT commitment, salt, body FROM contents WHERE commitment IN ({marks})", chunk
            )
            found += [Content(row[0], row[1], row[2]) for row in rows]
        return found

    def credential(self, principal_id: str, kind: str) -> bytes | None:
        """See LedgerRecorder."""
        rows = self._query(
            "SELECT verifier FROM credentials WHERE principal = ? AND kind = ?",
            (principal_id, kind),
        )
        return bytes(rows[0][0]) if rows else None

    def recall(self, keys: Iterable[tuple[str, str]]) -> dict[tuple[str, str], Recalled]:
        """See LedgerRecorder."""
        horizon = _idempotency_horizon()
        found: dict[tuple[str, str], Recalled] = {}
        for principal, key in keys:
            for row in self._query(
                "SELECT request_hash, answer, position FROM idempotency"
                " WHERE principal = ? AND key = ? AND time >= ?",
                (principal, key, horizon),
            ):
                found[principal, key] = Recalled(row[0], row[1], row[2])
        return found

    def head(self) -> int:
        """See LedgerRecorder."""
        return int(self._query("SELECT coalesce(max(position), 0) FROM events")[0][0])

    def max_notification_id(self) -> int | None:  # type: ignore[override]
        """The library's head: None in an empty ledger."""
        return self.head() or None

    def position_at(self, time: str) -> int:
        """See LedgerRecorder. The running maximum grows with the position: a binary search."""
        low, high = 0, self.head()
        while low < high:
            middle = (low + high + 1) // 2
            found = self._query("SELECT running_time FROM events WHERE position = ?", (middle,))
            low, high = (middle, high) if found[0][0] <= time else (low, middle - 1)
        return low

    def select_kind(self, kind: str, until: int, after: int = 0) -> Sequence[SignedNotification]:
        """See LedgerRecorder."""
        return self._select(
            "WHERE stream >= ? AND stream < ? AND position <= ? AND position > ? ORDER BY position",
            (f"{kind}/", f"{kind}0", until, after),  # '0' follows '/'
        )

    # Checkpoints

    def last_checkpoint(self) -> StoredCheckpoint | None:
        """See LedgerRecorder."""
        return self._checkpoint("ORDER BY size DESC LIMIT 1", ())

    def checkpoint_at(self, size: int) -> StoredCheckpoint | None:
        """See LedgerRecorder."""
        return self._checkpoint("WHERE size = ?", (size,))

    def _checkpoint(self, clause: str, params: tuple[int, ...]) -> StoredCheckpoint | None:
        rows = self._query(f"SELECT size, note, frontier FROM checkpoints {clause}", params)
        return StoredCheckpoint(*rows[0]) if rows else None

    def store_checkpoint(self, checkpoint: StoredCheckpoint) -> None:
        """See LedgerRecorder."""
        try:
            with self._transaction() as cursor:
                cursor.execute(
                    "INSERT INTO checkpoints VALUES (?, ?, ?)",
                    (checkpoint.size, checkpoint.note, checkpoint.frontier),
                )
        except IntegrityError:
            raise AlreadySealedError(
                f"A checkpoint of size {checkpoint.size} or more is kept already."
            ) from None


T = TypeVar("T")


def _chunks(items: Sequence[T]) -> Iterator[Sequence[T]]:
    for start in range(0, len(items), _ROWS_A_STATEMENT):
        yield items[start : start + _ROWS_A_STATEMENT]


def _idempotency_horizon() -> str:
    return format_time(now() - timedelta(hours=IDEMPOTENCY_HOURS))


def _limit(limit: int | None) -> int:
    return -1 if limit is None else limit


def _row(position: int, running: str, event: SignedEvent) -> tuple[Any, ...]:
    return (
        position,
        str(event.originator_id),
        event.originator_version,
        event.topic,
        event.event_id,
        event.time,
        running,
        event.state,
        event.key_id,
        event.signature,
        event.leaf_hash,
    )


def _keep(cursor: sqlite3.Cursor, credentials: Sequence[Credential]) -> None:
    for one in credentials:
        if one.verifier is None:
            cursor.execute("DELETE FROM credentials WHERE principal = ? AND kind = ?",
                           (one.principal_id, one.kind))  # fmt: skip
        else:
            cursor.execute("INSERT OR REPLACE INTO credentials VALUES (?, ?, ?)",
                           (one.principal_id, one.kind, one.verifier))  # fmt: skip


def _remembered_row(remembered: Remembered, verdict: Verdict) -> tuple[Any, ...]:
    position = remembered.position
    if remembered.event_index is not None:
        position = verdict.positions[remembered.event_index]
    return (
        remembered.principal,
        remembered.key,
        remembered.request_hash,
        remembered.answer,
        position or 0,
        format_time(now()),
    )


def _insert(
    cursor: sqlite3.Cursor, table: str, rows: Sequence[tuple[Any, ...]], how: str = ""
) -> None:
    """Several rows a statement: each execute hands the interpreter lock over once."""
    for chunk in _chunks(rows):
        marks = ",".join(["(" + ",".join("?" * len(chunk[0])) + ")"] * len(chunk))
        cursor.execute(
            f"INSERT {how} INTO {table} VALUES {marks}", [value for row in chunk for value in row]
        )
