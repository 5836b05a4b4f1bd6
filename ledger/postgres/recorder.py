"""The ledger on PostgreSQL: one function call an append, reads from a pool.

All the deciding happens in `scrinia.append` (`migrations/0002_append.pre.sql`): it takes the lock,
checks, inserts and commits in one round trip, so that no lock ever waits for a client.
"""

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Any

import psycopg
from eventsourcing.persistence import IntegrityError, OperationalError, StoredEvent
from psycopg.pq import TransactionStatus
from psycopg_pool import ConnectionPool, PoolClosed, PoolTimeout

from domain.commitment import Content
from domain.credential import Credential
from ledger.errors import AlreadySealedError, ClosedError, StoreUnreachableError
from ledger.mapper import SignedEvent, SignedNotification
from ledger.recorder import (
    CLOCK_SKEW_SECONDS_MAX,
    EVENT_COLUMNS,
    FORMAT,
    IDEMPOTENCY_HOURS,
    LedgerRecorder,
    Recalled,
    StoredCheckpoint,
    Unit,
    Verdict,
)

# What a server says that answers, and what is said of a host that does not exist.
_WRONG_SETTING = ("authentication failed", "no password supplied", "does not exist",
                  "failed to resolve host", "no pg_hba.conf entry")  # fmt: skip
CLOSED_SQLSTATE = "SC001"  # raised by `append` in migrations/0002
POOL_CONNECTIONS_MAX = 8
POOL_WAIT_SECONDS = 5.0
POOL_RECONNECT_SECONDS = 2.0  # then whoever asks next tries at once
READ_TRIES_MAX = 4
READ_RETRY_SECONDS = 0.25
ALONE_SECONDS_MAX = 5
# A dead host is noticed within about 10 s, by reads and by the writer.
CONNECTION_OPTIONS: dict[str, Any] = {
    "connect_timeout": 5,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 2,
    "tcp_user_timeout": 10_000,
}
Connection = psycopg.Connection[tuple[Any, ...]]

_APPEND = b"""
SELECT * FROM scrinia.append(
    %b, %b, %b, %b, %b::int4[], %b::text[], %b::int8[],
    %b::int4[], %b::text[], %b::int8[], %b::text[], %b::text[], %b::text[], %b::bytea[],
    %b::text[], %b::bytea[], %b::bytea[],
    %b::int4[], %b::text[], %b::bytea[], %b::bytea[],
    %b::int4[], %b::text[], %b::text[], %b::text[], %b::bytea[], %b::int4[], %b::int8[])
"""


_APPEND_WITH_CREDENTIALS = (
    _APPEND.replace(b"scrinia.append(", b"scrinia.append_with_credentials(").rstrip().rstrip(b")")
    + b",\n    %b::int4[], %b::text[], %b::text[], %b::bytea[])\n"
)


def options_for(*, pooled: bool) -> dict[str, Any]:
    """Connection options; a transaction pooler cannot keep prepared statements apart."""
    return {**CONNECTION_OPTIONS, "prepare_threshold": None} if pooled else CONNECTION_OPTIONS


def connect(url: str, **options: Any) -> Connection:
    """A connection in autocommit mode; StoreUnreachableError where there is none to be had."""
    try:
        return psycopg.connect(url, autocommit=True, **{**CONNECTION_OPTIONS, **options})
    except psycopg.OperationalError as error:
        raise unreachable(error) from None


def unreachable(error: Exception) -> StoreUnreachableError:
    """What a lost connection is to everybody else. The text never holds a password."""
    first = str(error).strip().partition("\n")[0]
    if any(sign in first for sign in _WRONG_SETTING):
        return StoreUnreachableError(
            f"The database refuses: {first}. Check SCRINIA_DATABASE_URL; 'scrinia migrate' makes"
            " the role and the schema it names."
        )
    return StoreUnreachableError(f"The database does not answer: {first}. Try again soon.")


class PostgresLedgerRecorder(LedgerRecorder):
    """Signed events, contents, remembered answers and checkpoints in schema `scrinia`."""

    def __init__(
        self, url: str, *, pooled: bool = False, originator_id: Callable[[str], Any] = str
    ) -> None:
        self._url = url
        self._options = options_for(pooled=pooled)
        self._originator_id = originator_id
        self._pool = ConnectionPool(
            url,
            kwargs={"autocommit": True, **self._options},
            min_size=1,
            max_size=POOL_CONNECTIONS_MAX,
            timeout=POOL_WAIT_SECONDS,
            reconnect_timeout=POOL_RECONNECT_SECONDS,
            open=True,
        )
        self._writer: Connection | None = None
        self._lock = threading.RLock()

    def close(self) -> None:
        """Close every connection."""
        self._pool.close()
        self._drop_writer()

    # Append

    def append_units(self, units: Sequence[Unit], *, again: bool = False) -> list[Verdict]:
        """See LedgerRecorder. One round trip, acknowledged after the WAL is flushed."""
        return self._append(units, again, CLOCK_SKEW_SECONDS_MAX)

    def insert_events(
        self, stored_events: Sequence[StoredEvent], **kwargs: Any
    ) -> Sequence[int] | None:
        """The library's append: all or nothing, IntegrityError where a place is taken."""
        events = tuple(e for e in stored_events if isinstance(e, SignedEvent))
        if len(events) != len(stored_events):
            raise TypeError("this recorder stores signed events only")
        return list(self._append([Unit(events, {})], False, float("inf"))[0].positions)

    def take_rows(self, events: Sequence[SignedEvent], contents: Sequence[Content]) -> None:
        """See LedgerRecorder."""
        self._append([Unit(tuple(events), {}, tuple(contents))], False, float("inf"))

    def take_answers(self, answers: Sequence[tuple[Any, ...]]) -> None:
        """See LedgerRecorder."""
        columns = [list(column) for column in zip(*answers, strict=True)]
        with self._writing() as connection:
            connection.execute(
                "SELECT scrinia.take_answers(%b::text[], %b::text[], %b::text[], %b::bytea[],"
                " %b::int8[], %b::text[])",
                columns,
            )

    def take_credentials(self, credentials: Sequence[Credential]) -> None:
        """See LedgerRecorder."""
        with self._writing() as connection:
            connection.execute(
                "SELECT scrinia.take_credentials(%b::text[], %b::text[], %b::bytea[])",
                _credential_columns(credentials),
            )

    def _append(self, units: Sequence[Unit], again: bool, skew: float) -> list[Verdict]:
        arguments, statement = _append_arguments(units, again, skew), _APPEND
        if any(unit.credentials for unit in units):
            arguments += _credential_arguments(units)
            statement = _APPEND_WITH_CREDENTIALS
        with self._writing() as connection:
            cursor = connection.cursor(binary=True)
            row = cursor.execute(statement, arguments).fetchone()
            if connection.info.transaction_status is TransactionStatus.INTRANS:
                connection.execute("COMMIT")  # that of `alone`
        if row is None:
            raise OperationalError("append answered nothing")
        return _verdicts(units, *row)

    @contextmanager
    def _writing(self) -> Iterator[Connection]:
        with self._lock:
            try:
                if self._writer is None:
                    self._writer = connect(self._url, **self._options)
                yield self._writer
            except psycopg.IntegrityError as error:
                raise IntegrityError(error) from error
            except (psycopg.OperationalError, psycopg.InterfaceError) as error:
                self._drop_writer()
                raise unreachable(error) from error
            except psycopg.Error as error:
                self._drop_writer()
                if error.sqlstate == CLOSED_SQLSTATE:
                    raise ClosedError(error.diag.message_primary or "") from None
                raise OperationalError(error) from error

    def _drop_writer(self) -> None:
        if self._writer is not None:
            self._writer.close()
        self._writer = None

    @contextmanager
    def alone(self) -> Iterator[None]:
        """See LedgerRecorder. The server ends the transaction of a client that falls asleep."""
        with self._writing() as connection:
            connection.execute("BEGIN")
            try:
                connection.execute("SELECT scrinia.lock_head(%s)", (ALONE_SECONDS_MAX,))
                yield
            finally:
                if connection.info.transaction_status is not TransactionStatus.IDLE:
                    self._end(connection)

    def _end(self, connection: Connection) -> None:
        """Leave a transaction that was not committed; a connection that is lost has left it."""
        try:
            connection.execute("ROLLBACK")
        except psycopg.Error:
            if self._writer is connection:
                self._drop_writer()

    def begin(self, ledger_id: str) -> str:
        """Claim an empty database within `alone`; the id of the ledger it holds then."""
        with self._writing() as connection:
            row = connection.execute(
                "SELECT scrinia.begin_ledger(%s, %s)", (ledger_id, FORMAT)
            ).fetchone()
        return str(row[0]) if row else ""

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
            "WHERE stream = %s AND stream_position > %s AND stream_position <= %s"
            f" ORDER BY stream_position {order} LIMIT %s",
            (str(originator_id), gt or 0, lte if lte is not None else 2**62, limit),
        )

    def select_stream(
        self, stream: str, *, after: int = 0, until_position: int | None = None
    ) -> Sequence[SignedNotification]:
        """See LedgerRecorder."""
        return self._select(
            "WHERE stream = %s AND stream_position > %s AND position <= %s"
            " ORDER BY stream_position",
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
        among, params = (" AND type = ANY(%s)", [list(topics)]) if topics else ("", [])
        return self._select(
            f"WHERE position >= %s AND position <= %s{among} ORDER BY position LIMIT %s",
            (first, last, *params, limit),
        )

    def select_after(self, position: int, limit: int) -> Sequence[SignedNotification]:
        """See LedgerRecorder."""
        return self.select_notifications(position, limit, inclusive_of_start=False)

    def select_kind(self, kind: str, until: int, after: int = 0) -> Sequence[SignedNotification]:
        """See LedgerRecorder."""
        return self._select(
            "WHERE stream >= %s AND stream < %s AND position <= %s AND position > %s"
            " ORDER BY position",
            (f"{kind}/", f"{kind}0", until, after),  # '0' follows '/'
        )

    def _select(self, clauses: str, params: Sequence[Any]) -> list[SignedNotification]:
        rows = self._query(f"SELECT {EVENT_COLUMNS} FROM scrinia.events {clauses}", params)
        return [SignedNotification(self._originator_id(row[0]), *row[1:]) for row in rows]

    def _query(self, sql: str, params: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Rows of one read; a connection that broke meanwhile is replaced and asked again."""
        for attempt in range(1, READ_TRIES_MAX + 1):
            try:
                with self._pool.connection() as connection:
                    return connection.cursor(binary=True).execute(sql.encode(), params).fetchall()
            except (PoolTimeout, PoolClosed) as error:  # has waited long enough
                raise unreachable(error) from error
            except psycopg.OperationalError as error:
                if attempt == READ_TRIES_MAX:
                    raise unreachable(error) from error
                time.sleep(READ_RETRY_SECONDS * (attempt - 1))
                self._pool.check()
        return []

    def select_contents(self, commitments: Iterable[str]) -> list[Content]:
        """See LedgerRecorder."""
        rows = self._query(
            "SELECT commitment, salt, body FROM scrinia.contents WHERE commitment = ANY(%s)",
            (list(set(commitments)),),
        )
        return [Content(*row) for row in rows]

    def credential(self, principal_id: str, kind: str) -> bytes | None:
        """See LedgerRecorder."""
        rows = self._query(
            "SELECT verifier FROM scrinia.credentials WHERE principal = %s AND kind = %s",
            (principal_id, kind),
        )
        return bytes(rows[0][0]) if rows else None

    def recall(self, keys: Iterable[tuple[str, str]]) -> dict[tuple[str, str], Recalled]:
        """See LedgerRecorder."""
        pairs = list(keys)
        rows = self._query(
            "SELECT principal, key, request_hash, answer, position"
            " FROM unnest(%s::text[], %s::text[]) AS wanted(principal, key)"
            " JOIN scrinia.idempotency USING (principal, key)"
            " WHERE time >= clock_timestamp() - make_interval(hours => %s)",
            ([p for p, _ in pairs], [k for _, k in pairs], IDEMPOTENCY_HOURS),
        )
        return {(row[0], row[1]): Recalled(*row[2:]) for row in rows}

    def head(self) -> int:
        """See LedgerRecorder."""
        return int(self._query("SELECT position FROM scrinia.ledger_head")[0][0])

    def max_notification_id(self) -> int | None:
        """The library's head: None in an empty ledger."""
        return self.head() or None

    def position_at(self, time: str) -> int:
        """See LedgerRecorder."""
        return int(self._query("SELECT scrinia.position_at(%s)", (time,))[0][0])

    def subscribe(self, gt: int | None = None, topics: Sequence[str] = ()) -> Any:
        """Not offered: `ledger/follower.py` follows with one connection for a whole process."""
        raise NotImplementedError

    def durability(self) -> dict[str, str]:
        """What the server promises a commit."""
        names = ("fsync", "full_page_writes", "synchronous_commit")
        return {name: self._query(f"SHOW {name}")[0][0] for name in names}

    # Checkpoints

    def last_checkpoint(self) -> StoredCheckpoint | None:
        """See LedgerRecorder."""
        return self._checkpoint("ORDER BY size DESC LIMIT 1", ())

    def checkpoint_at(self, size: int) -> StoredCheckpoint | None:
        """See LedgerRecorder."""
        return self._checkpoint("WHERE size = %s", (size,))

    def _checkpoint(self, clause: str, params: tuple[int, ...]) -> StoredCheckpoint | None:
        rows = self._query(f"SELECT size, note, frontier FROM scrinia.checkpoints {clause}", params)
        return StoredCheckpoint(*rows[0]) if rows else None

    def store_checkpoint(self, checkpoint: StoredCheckpoint) -> None:
        """See LedgerRecorder."""
        stored = self._query(
            "SELECT scrinia.store_checkpoint(%s, %s, %s)",
            (checkpoint.size, checkpoint.note, checkpoint.frontier),
        )
        if not stored[0][0]:
            raise AlreadySealedError(
                f"A checkpoint of size {checkpoint.size} or more is kept already."
            )


def _append_arguments(units: Sequence[Unit], again: bool, skew: float) -> tuple[Any, ...]:
    """The arguments of `scrinia.append`: one list a column."""
    conditions = [(u, s, p) for u, unit in enumerate(units) for s, p in unit.conditions.items()]
    events = [(u, event) for u, unit in enumerate(units) for event in unit.events]
    contents = [(u, content) for u, unit in enumerate(units) for content in unit.contents]
    answers = []
    first = 0
    for u, unit in enumerate(units):
        for kept in unit.remembered:
            at = None if kept.event_index is None else first + kept.event_index
            answers.append((u, kept, at))
        first += len(unit.events)
    return (
        len(units), again, skew, IDEMPOTENCY_HOURS,
        [u for u, _, _ in conditions], [s for _, s, _ in conditions],
        [p for _, _, p in conditions],
        [u for u, _ in events], [str(e.originator_id) for _, e in events],
        [e.originator_version for _, e in events], [e.topic for _, e in events],
        [e.event_id for _, e in events], [e.time for _, e in events],
        [e.state for _, e in events], [e.key_id for _, e in events],
        [e.signature for _, e in events], [e.leaf_hash for _, e in events],
        [u for u, _ in contents], [c.commitment for _, c in contents],
        [c.salt for _, c in contents], [c.body for _, c in contents],
        [u for u, _, _ in answers], [a.principal for _, a, _ in answers],
        [a.key for _, a, _ in answers], [a.request_hash for _, a, _ in answers],
        [a.answer for _, a, _ in answers], [at for _, _, at in answers],
        [a.position for _, a, _ in answers],
    )  # fmt: skip


def _credential_arguments(units: Sequence[Unit]) -> tuple[Any, ...]:
    owned = [(u, credential) for u, unit in enumerate(units) for credential in unit.credentials]
    return [u for u, _ in owned], *_credential_columns([c for _, c in owned])


def _credential_columns(credentials: Sequence[Credential]) -> list[list[Any]]:
    return [
        [c.principal_id for c in credentials], [c.kind for c in credentials],
        [c.verifier for c in credentials],
    ]  # fmt: skip


def _verdicts(
    units: Sequence[Unit],
    head: int,
    accepted: list[bool],
    stored: list[int | None],
    moved_units: list[int],
    moved_streams: list[str],
) -> list[Verdict]:
    fresh = iter(range(head + 1, head + 1 + sum(len(unit.events) for unit in units)))
    verdicts = []
    for index, unit in enumerate(units):
        first = stored[index]
        if not accepted[index]:
            moved = tuple(s for u, s in zip(moved_units, moved_streams, strict=True) if u == index)
            verdicts.append(Verdict(False, moved=moved))
        elif first is not None:
            verdicts.append(Verdict(True, tuple(range(first, first + len(unit.events)))))
        else:
            verdicts.append(Verdict(True, tuple(islice(fresh, len(unit.events)))))
    return verdicts
