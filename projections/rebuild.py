"""Rebuild a view from zero beside the live one, then swap it in or compare row by row.

The new tables grow on their own while the live view goes on. Then, while the live view is held
still, the last events are folded and either the rows are exchanged in one transaction or both sides
are compared at the very same position. Works while a server runs.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ledger.follower import READ_EVENTS_MAX
from ledger.mapper import SigningMapper
from ledger.recorder import LedgerRecorder
from projections.runner import portions
from projections.views import SqlProjection, Views

Progress = Callable[[int, int], None]


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
        with self._views.beside(self._projection) as beside:
            self._fold(beside.views, self._recorder.head(), progress)
            with beside.locked() as live:
                position = self._fold(beside.views, self._recorder.head(), progress)
                live.replace(position)
        return position

    def compare(self, progress: Progress = _no_progress) -> tuple[int, list[TableComparison]]:
        """Compare the live view with one built from zero up to the live view's position."""
        position = self._views.prepare(self._projection)
        with self._views.beside(self._projection) as beside:
            self._fold(beside.views, position, progress)
            with beside.locked() as live:
                position = self._fold(beside.views, live.position, progress)
                found = [
                    TableComparison(table, *live.differences(table))
                    for table in self._projection.tables
                ]
        return position, found

    def _fold(self, side: Views, until: int, progress: Progress) -> int:
        position = side.position(self._projection.name)
        while position < until:
            limit = min(READ_EVENTS_MAX, until - position)
            stored = self._recorder.select_after(position, limit)
            batch = [self._mapper.recorded(one) for one in stored]
            for part, texts in portions([self._projection], batch, self._recorder.contents):
                side.apply(self._projection, position, part, texts)
                position = part[-1].position
            progress(position, until)
        return position
