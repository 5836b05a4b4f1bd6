"""The read models' database: tables and tracking, rebuildable at any time.

A projection moves with its tracking row in one transaction, and only from the position it started
from, so that two runners can never apply a batch twice. `projections/sqlite/` and
`projections/postgres/` hold the tables; the SQL of the projections counts on both: `?` for a
parameter, `ON CONFLICT` for an upsert, text compared by code point.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from hashlib import sha256
from importlib.resources import files
from typing import Any, ClassVar, Protocol

from eventsourcing.persistence import IntegrityError, Tracking, TrackingRecorder

from ledger.mapper import RecordedEvent
from projections.errors import OvertakenError
from projections.full_text import FullText

DIFFERENCES_MAX = 20
# Of parts that are no folds (projections/deliveries.py, token_uses.py).
STATE_TABLES = ("webhook_states", "webhook_attempts", "token_uses", "sign_in_tries",
                "label_readers", "read_log")  # fmt: skip
Texts = Mapping[str, str]


class Cursor(Protocol):
    """What projections fold into and questions are asked of; rows answer to index and name."""

    def execute(self, sql: str, params: Sequence[Any] = ..., /) -> Any:
        """Run one statement."""

    def fetchone(self) -> Any:
        """The next row, or None."""

    def fetchall(self) -> list[Any]:
        """All rows."""


class SqlProjection(ABC):
    """A fold of events into tables. `name` also names its `.sql` file in each store's folder."""

    name: ClassVar[str]
    tables: ClassVar[tuple[str, ...]]
    edition: ClassVar[int] = 1  # one more where the fold gives other rows for old events

    def commitments(self, recorded: RecordedEvent) -> Sequence[str]:
        """The texts this event's fold needs."""
        return ()

    @abstractmethod
    def apply(self, cursor: Cursor, recorded: RecordedEvent, texts: Texts) -> None:
        """Fold one event into the tables. Nothing but its arguments may matter."""


class Views(TrackingRecorder, ABC):
    """A database of views. Thread-safe: every call takes a connection of its own."""

    store: ClassVar[str]
    full_text: ClassVar[FullText]
    clock: ClassVar[str]  # SQL for the seconds since 1970 by the database's clock

    @classmethod
    def schema(cls, projection: SqlProjection) -> str:
        """The DDL of a projection's tables in this store, each created only if it is missing."""
        return files(cls.store).joinpath(f"{projection.name}.sql").read_text()

    @classmethod
    def form(cls, projection: SqlProjection) -> str:
        """Changes whenever tables or fold do; a view of another form is rebuilt from zero."""
        edition = f"\n{projection.edition}" if projection.edition > 1 else ""
        return sha256((cls.schema(projection) + edition).encode()).hexdigest()[:16]

    @abstractmethod
    def close(self) -> None:
        """Close every connection."""

    @abstractmethod
    def writing(self) -> AbstractContextManager[Cursor]:
        """A transaction that writes."""

    @abstractmethod
    def defining(self) -> AbstractContextManager[Cursor]:
        """A transaction that makes or drops tables, while nobody else does."""

    @abstractmethod
    def reading(self) -> AbstractContextManager[Cursor]:
        """A transaction that sees one moment."""

    @abstractmethod
    def beside(self, projection: SqlProjection) -> AbstractContextManager["Beside"]:
        """Empty tables for a projection next to the live ones, gone at the end."""

    def folding(self, cursor: Cursor) -> AbstractContextManager[Any]:
        """Around many statements whose answers nobody needs."""
        return nullcontext()

    def create(self) -> None:
        """Make the tables that belong to no projection, where they are missing."""
        with self.defining() as cursor:
            cursor.execute(
                "CREATE TABLE IF NOT EXISTS tracking (application_name TEXT PRIMARY KEY,"
                " notification_id BIGINT NOT NULL)"
            )
            cursor.execute(
                "CREATE TABLE IF NOT EXISTS forms (projection TEXT PRIMARY KEY, form TEXT)"
            )
            cursor.execute(
                "CREATE TABLE IF NOT EXISTS leases (name TEXT PRIMARY KEY, holder TEXT NOT NULL,"
                " expires_at DOUBLE PRECISION NOT NULL)"
            )

    def forget_all(self) -> None:
        """Everything begins at position 1 again: another history has taken the place of this."""
        with self.defining() as cursor:
            for table in ("tracking", "forms", "leases", *STATE_TABLES):
                cursor.execute(f"DROP TABLE IF EXISTS {table}")
        self.create()

    def prepare(self, projection: SqlProjection) -> int:
        """Create a projection's tables, from nothing if their form changed; its position."""
        form = self.form(projection)
        with self.defining() as cursor:
            cursor.execute("SELECT form FROM forms WHERE projection = ?", (projection.name,))
            row = cursor.fetchone()
            if row is None or row[0] != form:
                for table in projection.tables:
                    cursor.execute(f"DROP TABLE IF EXISTS {table}")
                cursor.execute(
                    "DELETE FROM tracking WHERE application_name = ?", (projection.name,)
                )
                for statement in self.schema(projection).split(";\n"):
                    if statement.strip():
                        cursor.execute(statement)
                cursor.execute(
                    "INSERT INTO forms VALUES (?, ?)"
                    " ON CONFLICT (projection) DO UPDATE SET form = excluded.form",
                    (projection.name, form),
                )
        return self.position(projection.name)

    def position(self, name: str) -> int:
        """How far a projection has come."""
        return self.max_tracking_id(name) or 0

    def max_tracking_id(self, application_name: str) -> int | None:
        """See TrackingRecorder."""
        with self.reading() as cursor:
            return _tracked(cursor, application_name)

    def insert_tracking(self, tracking: Tracking) -> None:
        """See TrackingRecorder."""
        name, position = tracking.application_name, tracking.notification_id
        with self.writing() as cursor:
            cursor.execute(
                "INSERT INTO tracking VALUES (?, ?) ON CONFLICT (application_name) DO UPDATE"
                " SET notification_id = excluded.notification_id"
                " WHERE tracking.notification_id < excluded.notification_id RETURNING 1",
                (name, position),
            )
            if cursor.fetchone() is None:
                raise IntegrityError(f"{name} is at {position} or beyond already")

    def advance(self, cursor: Cursor, name: str, start: int, end: int) -> None:
        """Move a tracking row; OvertakenError unless it stands at `start`."""
        if start == 0:
            cursor.execute(
                "INSERT INTO tracking VALUES (?, ?) ON CONFLICT (application_name) DO UPDATE"
                " SET notification_id = excluded.notification_id"
                " WHERE tracking.notification_id = 0 RETURNING 1",
                (name, end),
            )
        else:
            cursor.execute(
                "UPDATE tracking SET notification_id = ?"
                " WHERE application_name = ? AND notification_id = ? RETURNING 1",
                (end, name, start),
            )
        if cursor.fetchone() is None:
            raise OvertakenError(f"Projection {name} is no longer at position {start}.")

    def track(self, name: str, start: int, end: int) -> None:
        """Move the tracking row of what is not in these tables; OvertakenError as `advance`."""
        with self.writing() as cursor:
            self.advance(cursor, name, start, end)

    def apply(
        self, projection: SqlProjection, start: int, batch: Sequence[RecordedEvent], texts: Texts
    ) -> None:
        """Fold a batch and track it, in one transaction."""
        with self.writing() as cursor:
            self.advance(cursor, projection.name, start, batch[-1].position)
            with self.folding(cursor):
                for recorded in batch:
                    projection.apply(cursor, recorded, texts)

    def take_leases(self, names: Sequence[str], holder: str, seconds: float) -> list[str]:
        """Take or renew for `seconds` those leases that nobody else holds; which ones."""
        taken = []
        with self.writing() as cursor:
            for name in names:
                cursor.execute(
                    f"INSERT INTO leases VALUES (?, ?, {self.clock} + ?) ON CONFLICT (name)"
                    " DO UPDATE SET holder = excluded.holder, expires_at = excluded.expires_at"
                    f" WHERE leases.holder = excluded.holder OR leases.expires_at < {self.clock}"
                    " RETURNING name",
                    (name, holder, seconds),
                )
                taken += [row[0] for row in cursor.fetchall()]
        return taken

    def lease_holders(self) -> list[str]:
        """Whoever holds something, in force or not."""
        with self.reading() as cursor:
            cursor.execute("SELECT DISTINCT holder FROM leases")
            return [row[0] for row in cursor.fetchall()]

    def drop_leases(self, holder: str) -> None:
        """Give back everything a holder has."""
        with self.writing() as cursor:
            cursor.execute("DELETE FROM leases WHERE holder = ?", (holder,))

    def read(self, question: Callable[[Cursor], Any], name: str) -> tuple[Any, int]:
        """The answer to several reads of one moment, and that moment's position."""
        with self.reading() as cursor:
            position = _tracked(cursor, name) or 0
            return question(cursor), position


def _tracked(cursor: Cursor, name: str) -> int | None:
    cursor.execute("SELECT notification_id FROM tracking WHERE application_name = ?", (name,))
    row = cursor.fetchone()
    return None if row is None else int(row[0])


class Beside(ABC):
    """A projection's tables growing from zero next to the live ones."""

    @property
    @abstractmethod
    def views(self) -> Views:
        """The growing ones."""

    @abstractmethod
    def locked(self) -> AbstractContextManager["Locked"]:
        """The live tables held still: nothing moves them until the end."""


class Locked(ABC):
    """The live tables of a projection, held still, with the grown ones at hand."""

    @property
    @abstractmethod
    def position(self) -> int:
        """Where the live tables stand."""

    @abstractmethod
    def replace(self, position: int) -> None:
        """Put the grown rows in the place of the live ones, at this position."""

    @abstractmethod
    def differences(self, table: str) -> tuple[int, list[list[Any]], list[list[Any]]]:
        """Live rows in number; up to DIFFERENCES_MAX that only live, only grown tables have."""
