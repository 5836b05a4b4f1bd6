"""`views.db`: one file of read models, which can be deleted and is built again."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from eventsourcing.sqlite import (
    SQLiteConnection,
    SQLiteConnectionPool,
    SQLiteDatastore,
)

from projections.full_text import SQLiteFullText
from projections.views import DIFFERENCES_MAX, Beside, Cursor, Locked, SqlProjection, Views

LOCK_TIMEOUT_SECONDS = 30


class _ViewsPool(SQLiteConnectionPool):
    """Connections that do not wait for the disk: what power loss takes is folded again."""

    def _create_connection(self) -> SQLiteConnection:
        connection = super()._create_connection()
        connection.cursor().execute("PRAGMA synchronous=NORMAL")
        return connection


class SQLiteViews(Views):
    """One file of views, through the library's connection pool."""

    store = "projections.sqlite"
    full_text = SQLiteFullText()
    clock = "((julianday('now') - 2440587.5) * 86400.0)"

    def __init__(self, path: Path) -> None:
        self.path = path
        self._datastore = SQLiteDatastore(f"file:{path}")
        self._datastore.close()
        self._datastore.pool = _ViewsPool(db_name=f"file:{path}", lock_timeout=LOCK_TIMEOUT_SECONDS)
        with self._datastore.transaction(commit=True) as cursor:
            cursor.execute("CREATE TABLE IF NOT EXISTS lock (one INTEGER PRIMARY KEY)")
        self.create()

    def close(self) -> None:
        """See Views."""
        self._datastore.close()

    @contextmanager
    def writing(self) -> Iterator[Cursor]:
        """See Views. A statement that changes nothing takes the write lock from the beginning."""
        with self._datastore.transaction(commit=True) as cursor:
            cursor.execute("DELETE FROM lock")
            yield cursor

    defining = writing

    @contextmanager
    def reading(self) -> Iterator[Cursor]:
        """See Views."""
        with self._datastore.transaction(commit=False) as cursor:
            yield cursor

    @contextmanager
    def beside(self, projection: SqlProjection) -> Iterator[Beside]:
        """See Views. In a database file of their own, so that they take no lock of this one."""
        with TemporaryDirectory(dir=self.path.parent, prefix="rebuild-") as folder:
            side = SQLiteViews(Path(folder) / f"{projection.name}.db")
            try:
                side.prepare(projection)
                yield _Beside(self.path, side, projection)
            finally:
                side.close()


class _Beside(Beside):
    def __init__(self, live: Path, side: SQLiteViews, projection: SqlProjection) -> None:
        self._live = live
        self._side = side
        self._projection = projection

    @property
    def views(self) -> Views:
        """See Beside."""
        return self._side

    @contextmanager
    def locked(self) -> Iterator[Locked]:
        """See Beside. BEGIN IMMEDIATE would take the lock of both files."""
        connection = sqlite3.connect(
            self._live, isolation_level=None, timeout=LOCK_TIMEOUT_SECONDS, check_same_thread=False
        )
        try:
            connection.execute("ATTACH ? AS rebuilt", (str(self._side.path),))
            connection.execute("BEGIN")
            connection.execute("DELETE FROM main.lock")
            yield _Locked(connection, self._projection)
            connection.execute("COMMIT")
        finally:
            connection.close()


class _Locked(Locked):
    def __init__(self, connection: sqlite3.Connection, projection: SqlProjection) -> None:
        self._db = connection
        self._projection = projection

    @property
    def position(self) -> int:
        """See Locked."""
        row = self._db.execute(
            "SELECT notification_id FROM main.tracking WHERE application_name = ?",
            (self._projection.name,),
        ).fetchone()
        return int(row[0]) if row else 0

    def replace(self, position: int) -> None:
        """See Locked."""
        for table in self._projection.tables:
            self._db.execute(f"DELETE FROM main.{table}")
            self._db.execute(f"INSERT INTO main.{table} SELECT * FROM rebuilt.{table}")
        self._db.execute(
            "INSERT OR REPLACE INTO main.tracking VALUES (?, ?)", (self._projection.name, position)
        )

    def differences(self, table: str) -> tuple[int, list[list[Any]], list[list[Any]]]:
        """See Locked."""
        rows = self._db.execute(f"SELECT count(*) FROM main.{table}").fetchone()[0]
        return rows, self._only("main", "rebuilt", table), self._only("rebuilt", "main", table)

    def _only(self, one: str, other: str, table: str) -> list[list[Any]]:
        found = self._db.execute(
            f"SELECT * FROM {one}.{table} EXCEPT SELECT * FROM {other}.{table}"
            f" LIMIT {DIFFERENCES_MAX}"
        )
        return [list(row) for row in found]
