"""Schema `scrinia_views`: read models which can be dropped and are built again."""

import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from functools import lru_cache
from typing import Any

import psycopg
from psycopg_pool import ConnectionPool, PoolClosed, PoolTimeout

from ledger.postgres.migrate import VIEWS_SCHEMA
from ledger.postgres.recorder import (
    POOL_CONNECTIONS_MAX,
    POOL_RECONNECT_SECONDS,
    POOL_WAIT_SECONDS,
    READ_RETRY_SECONDS,
    READ_TRIES_MAX,
    connect,
    options_for,
    unreachable,
)
from projections.full_text import PostgresFullText
from projections.views import DIFFERENCES_MAX, Beside, Cursor, Locked, SqlProjection, Views

_DEFINING_LOCK = 0x5C21_11A1  # who makes tables in these schemas takes it; any constant will do
WRITE_SECONDS_MAX = 3.0
DEFINE_SECONDS_MAX = 30.0
_SNAPSHOT = "ISOLATION LEVEL REPEATABLE READ READ ONLY"


class Row:
    """A row that answers to index, slice and column name."""

    __slots__ = ("_names", "_values")

    def __init__(self, names: dict[str, int], values: Sequence[Any]) -> None:
        self._names = names
        self._values = values

    def __getitem__(self, key: int | slice | str) -> Any:
        return self._values[self._names[key] if isinstance(key, str) else key]

    def __iter__(self) -> Iterator[Any]:
        return iter(self._values)


def named_rows(cursor: psycopg.Cursor[Any]) -> Any:
    """A psycopg row factory that makes `Row`s."""
    names = {column.name: i for i, column in enumerate(cursor.description or ())}
    return lambda values: Row(names, values)


@lru_cache(maxsize=1024)
def _psycopg_sql(sql: str) -> bytes:
    """A statement of the projections in psycopg's form: `%s` for a parameter."""
    return sql.replace("%", "%%").replace("?", "%s").encode()


class PostgresCursor:
    """A cursor that speaks the projections' SQL."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self.connection = connection
        self._cursor = connection.cursor(row_factory=named_rows)

    def execute(self, sql: str, params: Sequence[Any] = (), /) -> None:
        """See Cursor. A text here cannot hold NUL: a description that does gets U+FFFD."""
        stored = [p.replace("\0", "\ufffd") if isinstance(p, str) else p for p in params]
        self._cursor.execute(_psycopg_sql(sql), stored)

    def fetchone(self) -> Any:
        """See Cursor."""
        return self._cursor.fetchone()

    def fetchall(self) -> list[Any]:
        """See Cursor."""
        return self._cursor.fetchall()


class _SchemaViews(Views):
    """Views in one schema of a database, whichever connection they come through."""

    store = "projections.postgres"
    full_text = PostgresFullText()
    clock = "extract(epoch FROM clock_timestamp())::double precision"
    schema_name: str

    def connection(self) -> AbstractContextManager[psycopg.Connection[Any]]:
        """A connection for one transaction."""
        raise NotImplementedError

    @contextmanager
    def writing(self) -> Iterator[Cursor]:
        """See Views."""
        with self.connection() as connection, connection.transaction():
            connection.execute(self._setting(WRITE_SECONDS_MAX))
            yield PostgresCursor(connection)

    def _setting(self, seconds: float) -> bytes:
        """The schema, and an end for whoever falls asleep over a lock or waits for such a one."""
        wait = int(seconds * 1000)
        return (
            f"SET LOCAL search_path TO {self.schema_name}, public;"
            f" SET LOCAL idle_in_transaction_session_timeout = {wait};"
            f" SET LOCAL lock_timeout = {wait}"
        ).encode()

    @contextmanager
    def defining(self) -> Iterator[Cursor]:
        """See Views."""
        with self.connection() as connection, connection.transaction():
            connection.execute(self._setting(DEFINE_SECONDS_MAX))
            cursor = PostgresCursor(connection)
            cursor.execute(f"SELECT pg_advisory_xact_lock({_DEFINING_LOCK})")
            yield cursor

    def folding(self, cursor: Cursor) -> AbstractContextManager[Any]:
        """See Views. Statements are sent without waiting for each answer."""
        if not isinstance(cursor, PostgresCursor):
            raise TypeError("a cursor of these views folds")
        return cursor.connection.pipeline()


class PostgresViews(_SchemaViews):
    """The live views, through a pool. `direct_url` must not lead through a transaction pooler."""

    schema_name = VIEWS_SCHEMA

    def __init__(self, url: str, direct_url: str | None = None) -> None:
        self._direct_url = direct_url or url
        self._pool = ConnectionPool(
            url,
            kwargs={"autocommit": True, **options_for(pooled=direct_url is not None)},
            min_size=1,
            max_size=POOL_CONNECTIONS_MAX,
            timeout=POOL_WAIT_SECONDS,
            reconnect_timeout=POOL_RECONNECT_SECONDS,
            open=True,
        )
        self.create()

    def close(self) -> None:
        """See Views."""
        self._pool.close()

    @contextmanager
    def connection(self) -> Iterator[psycopg.Connection[Any]]:
        """See _SchemaViews."""
        try:
            with self._pool.connection() as connection:
                yield connection
        except (psycopg.OperationalError, PoolTimeout) as error:
            raise unreachable(error) from error

    @contextmanager
    def reading(self) -> Iterator[Cursor]:
        """See Views. A connection that broke while it lay idle is replaced."""
        with self.connection_that_answers() as connection:
            yield PostgresCursor(connection)
            connection.execute("COMMIT")

    @contextmanager
    def connection_that_answers(self) -> Iterator[psycopg.Connection[Any]]:
        """A connection in a transaction of one moment."""
        begin = f"BEGIN {_SNAPSHOT}; ".encode() + self._setting(DEFINE_SECONDS_MAX)
        for attempt in range(1, READ_TRIES_MAX + 1):
            begun = False
            try:
                with self._pool.connection() as connection:
                    connection.execute(begin)
                    begun = True
                    yield connection
                return
            except (PoolTimeout, PoolClosed) as error:
                raise unreachable(error) from error
            except psycopg.OperationalError as error:
                if begun or attempt == READ_TRIES_MAX:
                    raise unreachable(error) from error
            time.sleep(READ_RETRY_SECONDS * (attempt - 1))
            self._pool.check()

    @contextmanager
    def beside(self, projection: SqlProjection) -> Iterator[Beside]:
        """See Views. Temporary tables of one connection: whatever happens, they go with it."""
        with closing(connect(self._direct_url)) as connection:
            side = _TemporaryViews(connection)
            side.create()
            side.prepare(projection)
            yield _Beside(side, projection)


class _TemporaryViews(_SchemaViews):
    """Views in temporary tables of one connection."""

    schema_name = "pg_temp"

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self.database = connection

    def close(self) -> None:
        """The connection is its maker's."""

    @contextmanager
    def connection(self) -> Iterator[psycopg.Connection[Any]]:
        """See _SchemaViews."""
        yield self.database

    reading = _SchemaViews.writing

    def beside(self, projection: SqlProjection) -> AbstractContextManager[Beside]:
        """Not offered: these are what grows beside."""
        raise TypeError("temporary views have nothing beside them")


class _Beside(Beside):
    def __init__(self, side: _TemporaryViews, projection: SqlProjection) -> None:
        self._side = side
        self._projection = projection

    @property
    def views(self) -> Views:
        """See Beside."""
        return self._side

    @contextmanager
    def locked(self) -> Iterator[Locked]:
        """See Beside. The live tracking row is locked: no runner passes it."""
        with self._side.database.transaction():
            self._side.database.execute(
                f"SET LOCAL idle_in_transaction_session_timeout = {int(DEFINE_SECONDS_MAX * 1000)}"
            )
            yield _Locked(self._side.database, self._projection)


class _Locked(Locked):
    def __init__(self, connection: psycopg.Connection[Any], projection: SqlProjection) -> None:
        self._db = connection
        self._projection = projection
        connection.execute(
            f"INSERT INTO {VIEWS_SCHEMA}.tracking VALUES (%s, 0)"
            " ON CONFLICT (application_name) DO UPDATE"
            " SET notification_id = tracking.notification_id".encode(),
            (projection.name,),
        )

    @property
    def position(self) -> int:
        """See Locked."""
        row = self._db.execute(
            f"SELECT notification_id FROM {VIEWS_SCHEMA}.tracking"
            " WHERE application_name = %s".encode(),
            (self._projection.name,),
        ).fetchone()
        return int(row[0]) if row else 0

    def replace(self, position: int) -> None:
        """See Locked."""
        for table in self._projection.tables:
            self._db.execute(f"DELETE FROM {VIEWS_SCHEMA}.{table}".encode())
            self._db.execute(
                f"INSERT INTO {VIEWS_SCHEMA}.{table} SELECT * FROM pg_temp.{table}".encode()
            )
        self._db.execute(
            f"UPDATE {VIEWS_SCHEMA}.tracking SET notification_id = %s"
            " WHERE application_name = %s".encode(),
            (position, self._projection.name),
        )

    def differences(self, table: str) -> tuple[int, list[list[Any]], list[list[Any]]]:
        """See Locked."""
        live, grown = f"{VIEWS_SCHEMA}.{table}", f"pg_temp.{table}"
        row = self._db.execute(f"SELECT count(*) FROM {live}".encode()).fetchone()
        return int(row[0]) if row else 0, self._only(live, grown), self._only(grown, live)

    def _only(self, one: str, other: str) -> list[list[Any]]:
        found = self._db.execute(
            f"SELECT * FROM {one} EXCEPT SELECT * FROM {other} LIMIT {DIFFERENCES_MAX}".encode()
        )
        return [list(row) for row in found]
