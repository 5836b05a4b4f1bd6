"""Rebuild a view from zero beside the live one, then swap it in or compare row by row.

The new tables grow in a database file of their own while the live view goes on. Then, under the
write lock of `views.db`, the last events are folded and either the rows are exchanged in one
transaction or both sides are compared at the very same position. Works while a server runs.
"""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ledger.follower import READ_EVENTS_MAX
from ledger.mapper import SigningMapper
from ledger.recorder import LedgerRecorder
from projections.runner import texts_for
from projections.views import SqlProjection, Views

Progress = Callable[[int, int], None]
DIFFERENCES_MAX = 20


@dataclass(frozen=True)
class TableComparison:
    """One table, live against rebuilt: row counts, and some rows that only one side has."""

    table: str
    rows: int
    only_live: list[list[Any]]
    only_rebuilt: list[list[Any]]

    @property
    def equal(self) -> bool:
        """Whether both sides have exactly the same rows."""
        return not self.only_live and not self.only_rebuilt


def _no_progress(done: int, total: int) -> None:
    pass


class Rebuilder:
    """Folds one projection from position 1 on, outside the live view."""

    def __init__(
        self,
        recorder: LedgerRecorder,
        mapper: SigningMapper,
        views: Views,
        projection: SqlProjection,
    ) -> None:
        self._recorder = recorder
        self._mapper = mapper
        self._views = views
        self._projection = projection

    def rebuild(self, progress: Progress = _no_progress) -> int:
        """Replace the live view by one built from zero; its position."""
        self._views.prepare(self._projection)
        with self._rebuilt(progress) as (side, path), _attached(self._views.path, path) as live:
            _lock(live)
            position = self._fold(side, self._recorder.head(), progress)
            for table in self._projection.tables:
                live.execute(f"DELETE FROM main.{table}")
                live.execute(f"INSERT INTO main.{table} SELECT * FROM rebuilt.{table}")
            live.execute(
                "INSERT OR REPLACE INTO main.tracking (application_name, notification_id)"
                " VALUES (?, ?)",
                (self._projection.name, position),
            )
            live.execute("COMMIT")
        return position

    def compare(self, progress: Progress = _no_progress) -> tuple[int, list[TableComparison]]:
        """Compare the live view with one built from zero up to the live view's position."""
        position = self._views.prepare(self._projection)
        with (
            self._rebuilt(progress, position) as (side, path),
            _attached(self._views.path, path) as live,
        ):
            _lock(live)
            row = live.execute(
                "SELECT notification_id FROM main.tracking WHERE application_name = ?",
                (self._projection.name,),
            ).fetchone()
            position = self._fold(side, row[0] if row else 0, progress)
            found = [_compare(live, table) for table in self._projection.tables]
            live.execute("ROLLBACK")
        return position, found

    @contextmanager
    def _rebuilt(
        self, progress: Progress, until: int | None = None
    ) -> Iterator[tuple[Views, Path]]:
        with TemporaryDirectory(dir=self._views.path.parent, prefix="rebuild-") as folder:
            path = Path(folder) / f"{self._projection.name}.db"
            side = Views(path)
            try:
                side.prepare(self._projection)
                self._fold(side, self._recorder.head() if until is None else until, progress)
                yield side, path
            finally:
                side.close()

    def _fold(self, side: Views, until: int, progress: Progress) -> int:
        position = side.position(self._projection.name)
        while position < until:
            limit = min(READ_EVENTS_MAX, until - position)
            stored = self._recorder.select_after(position, limit)
            batch = [self._mapper.recorded(one) for one in stored]
            texts = texts_for([self._projection], batch, self._recorder.contents)
            side.apply(self._projection, position, batch, texts)
            position = batch[-1].position
            progress(position, until)
        return position


@contextmanager
def _attached(live: Path, rebuilt: Path) -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(live, isolation_level=None, timeout=30, check_same_thread=False)
    try:
        connection.execute("ATTACH ? AS rebuilt", (str(rebuilt),))
        yield connection
    finally:
        connection.close()


def _lock(live: sqlite3.Connection) -> None:
    """Take the live file's write lock alone: BEGIN IMMEDIATE would lock the attached one too."""
    live.execute("BEGIN")
    live.execute("UPDATE main.forms SET form = form WHERE projection = ''")


def _compare(live: sqlite3.Connection, table: str) -> TableComparison:
    def only(one: str, other: str) -> list[list[Any]]:
        rows = live.execute(
            f"SELECT * FROM {one}.{table} EXCEPT SELECT * FROM {other}.{table}"
            f" LIMIT {DIFFERENCES_MAX}"
        )
        return [list(row) for row in rows]

    rows = live.execute(f"SELECT count(*) FROM main.{table}").fetchone()[0]
    return TableComparison(table, rows, only("main", "rebuilt"), only("rebuilt", "main"))
