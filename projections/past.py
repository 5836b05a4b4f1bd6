"""Lists and grants as of a past position: folded on demand, the last few kept."""

from collections import OrderedDict
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Lock
from typing import Any

from domain.errors import InvalidMomentError
from ledger.follower import READ_EVENTS_MAX
from ledger.ids import now
from ledger.mapper import SigningMapper
from ledger.payload import format_time
from ledger.recorder import LedgerRecorder
from projections.access import AccessView
from projections.catalog import Catalog
from projections.runner import portions
from projections.sqlite.views import SQLiteViews
from projections.views import Cursor, Views

PAST_CATALOGS_MAX = 4


def position_of(recorder: LedgerRecorder, moment: int | datetime) -> int:
    """The position that `as_of` means; InvalidMomentError beyond the head or in the future."""
    if isinstance(moment, int):
        head = recorder.head()
        if not 0 <= moment <= head:
            raise InvalidMomentError(f"Position {moment} is not between 0 and the head, {head}.")
        return moment
    if moment.tzinfo is None:
        raise InvalidMomentError("The time has no UTC offset: add one, such as Z.")
    if moment > now():
        raise InvalidMomentError(f"{moment.isoformat()} is in the future.")
    return recorder.position_at(format_time(moment))


class PastCatalogs:
    """Catalogs as they were. Thread-safe; folding takes time in proportion to the position."""

    def __init__(self, recorder: LedgerRecorder, mapper: SigningMapper) -> None:
        self._recorder = recorder
        self._mapper = mapper
        self._kept: OrderedDict[int, tuple[TemporaryDirectory[str], Views]] = OrderedDict()
        self._lock = Lock()

    def read(self, position: int, question: Callable[[Cursor], Any]) -> Any:
        """The answer to a question about the catalog at a position."""
        with self._lock:
            return self._at(position).read(question, Catalog.name)[0]

    def close(self) -> None:
        """Forget all of them."""
        while self._kept:
            self._drop()

    def _at(self, position: int) -> Views:
        if position in self._kept:
            self._kept.move_to_end(position)
            return self._kept[position][1]
        folder = TemporaryDirectory(prefix="scrinia-past-")
        views = SQLiteViews(Path(folder.name) / "catalog.db")
        self._fold(views, position)
        self._kept[position] = (folder, views)
        if len(self._kept) > PAST_CATALOGS_MAX:
            self._drop()
        return views

    def _drop(self) -> None:
        folder, views = self._kept.popitem(last=False)[1]
        views.close()
        folder.cleanup()

    def _fold(self, views: Views, until: int) -> None:
        catalog = Catalog()
        position = views.prepare(catalog)
        while position < until:
            stored = self._recorder.select_after(position, min(READ_EVENTS_MAX, until - position))
            batch = [self._mapper.recorded(one) for one in stored]
            for part, texts in portions([catalog], batch, self._recorder.contents):
                views.apply(catalog, position, part, texts)
                position = part[-1].position


def access_at(recorder: LedgerRecorder, mapper: SigningMapper, until: int) -> AccessView:
    """All principals with their grants and tokens as of a position."""
    view = AccessView()
    view.load_all(recorder, mapper, until)
    return view
