"""The read models' own database, `views.db`: tables and tracking, rebuildable at any time.

A projection moves with its tracking row in one transaction, and only from the position it started
from, so that two runners can never apply a batch twice.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from hashlib import sha256
from importlib.resources import files
from pathlib import Path
from typing import Any, ClassVar

from eventsourcing.sqlite import (
    SQLiteConnection,
    SQLiteConnectionPool,
    SQLiteCursor,
    SQLiteDatastore,
    SQLiteTrackingRecorder,
)

from ledger.mapper import RecordedEvent
from projections.errors import OvertakenError

LOCK_TIMEOUT_SECONDS = 30
Texts = Mapping[str, str]
Cursor = SQLiteCursor


class SqlProjection(ABC):
    """A fold of events into tables. `name` also names its `.sql` file beside this one."""

    name: ClassVar[str]
    tables: ClassVar[tuple[str, ...]]

    @classmethod
    def schema(cls) -> str:
        """The DDL of its tables, each created only if it is missing."""
        return files("projections").joinpath(f"{cls.name}.sql").read_text()

    @classmethod
    def form(cls) -> str:
        """Changes whenever the tables do; a view of another form is rebuilt from zero."""
        return sha256(cls.schema().encode()).hexdigest()[:16]

    def commitments(self, recorded: RecordedEvent) -> Sequence[str]:
        """The texts this event's fold needs."""
        return ()

    @abstractmethod
    def apply(self, cursor: Cursor, recorded: RecordedEvent, texts: Texts) -> None:
        """Fold one event into the tables. Nothing but its arguments may matter."""


class _ViewsPool(SQLiteConnectionPool):
    """Connections that do not wait for the disk: what power loss takes is folded again."""

    def _create_connection(self) -> SQLiteConnection:
        connection = super()._create_connection()
        connection.cursor().execute("PRAGMA synchronous=NORMAL")
        return connection


class Views(SQLiteTrackingRecorder):
    """One file of views. Thread-safe: every call takes a connection of the library's pool."""

    def __init__(self, path: Path) -> None:
        self.path = path
        datastore = SQLiteDatastore(f"file:{path}")
        datastore.close()
        datastore.pool = _ViewsPool(db_name=f"file:{path}", lock_timeout=LOCK_TIMEOUT_SECONDS)
        super().__init__(datastore)
        self.create_table()
        with self.datastore.transaction(commit=True) as cursor:
            cursor.execute(
                "CREATE TABLE IF NOT EXISTS forms (projection TEXT PRIMARY KEY, form TEXT) STRICT"
            )

    def close(self) -> None:
        """Close every connection."""
        self.datastore.close()

    def prepare(self, projection: SqlProjection) -> int:
        """Create a projection's tables, from nothing if their form changed; its position."""
        with self.writing() as cursor:
            cursor.execute("SELECT form FROM forms WHERE projection = ?", (projection.name,))
            row = cursor.fetchone()
            if row is None or row[0] != projection.form():
                for table in projection.tables:
                    cursor.execute(f"DROP TABLE IF EXISTS {table}")
                cursor.execute(
                    "DELETE FROM tracking WHERE application_name = ?", (projection.name,)
                )
            for statement in projection.schema().split(";\n"):
                cursor.execute(statement)
            cursor.execute(
                "INSERT OR REPLACE INTO forms VALUES (?, ?)", (projection.name, projection.form())
            )
        return self.position(projection.name)

    def position(self, name: str) -> int:
        """How far a projection has come."""
        return self.max_tracking_id(name) or 0

    @contextmanager
    def writing(self) -> Iterator[Cursor]:
        """A transaction that holds the write lock from its beginning."""
        with self.datastore.transaction(commit=True) as cursor:
            cursor.execute("UPDATE forms SET form = form WHERE projection = ''")
            yield cursor

    def advance(self, cursor: Cursor, name: str, start: int, end: int) -> None:
        """Move a tracking row; OvertakenError unless it stands at `start`."""
        if self._max_tracking_id(name, cursor) != (start or None):
            raise OvertakenError(f"Projection {name} is no longer at position {start}.")
        cursor.execute(
            "INSERT OR REPLACE INTO tracking (application_name, notification_id) VALUES (?, ?)",
            (name, end),
        )

    def apply(
        self, projection: SqlProjection, start: int, batch: Sequence[RecordedEvent], texts: Texts
    ) -> None:
        """Fold a batch and track it, in one transaction."""
        with self.writing() as cursor:
            self.advance(cursor, projection.name, start, batch[-1].position)
            for recorded in batch:
                projection.apply(cursor, recorded, texts)

    def query(self, sql: str, params: Sequence[Any] = ()) -> list[Any]:
        """Rows of one read."""
        with self.datastore.transaction(commit=False) as cursor:
            cursor.execute(sql, params)
            rows: list[Any] = cursor.fetchall()
            return rows

    def read(self, question: Callable[[Cursor], Any], name: str) -> tuple[Any, int]:
        """The answer to several reads of one moment, and that moment's position."""
        with self.datastore.transaction(commit=False) as cursor:
            position = self._max_tracking_id(name, cursor) or 0
            return question(cursor), position
