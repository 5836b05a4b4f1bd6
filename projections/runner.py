"""The batching runner: keeps every SQL projection up to date, in one elected process.

One read of each batch for all views, one transaction and one tracking row per view: measured at 32
times the rate of a transaction per event.
"""

import asyncio
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from eventsourcing.persistence import PersistenceError

from domain.commitment import Content, refs_in
from ledger.follower import READ_EVENTS_MAX, Follower, wait_and_clear
from ledger.mapper import RecordedEvent
from ledger.outage import Outage
from projections.elections import Elections
from projections.errors import NotCaughtUpError, OvertakenError, UnknownProjectionError
from projections.views import SqlProjection, Views

RETRY_SECONDS = 1.0
GATHER_SECONDS = 0.01
WATCH_SECONDS = 0.02
IDLE_WATCH_SECONDS = 1.0
TEXTS_BYTES_MAX = 8 * 1024 * 1024
LEASE = "projections"
log = logging.getLogger("scrinia.projections")
Contents = Callable[[Sequence[str]], Mapping[str, Content]]


def portions(
    projections: Sequence[SqlProjection], batch: Sequence[RecordedEvent], contents: Contents
) -> Iterator[tuple[list[RecordedEvent], dict[str, str]]]:
    """A batch in parts, each with the texts that folding it needs; erased ones are missing.

    A part's texts have at most TEXTS_BYTES_MAX, unless one event alone needs more.
    """
    part: list[RecordedEvent] = []
    wanted: set[str] = set()
    size = 0
    for recorded in batch:
        needed = {c for projection in projections for c in projection.commitments(recorded)}
        added = _bytes_of(recorded, needed) if needed else 0
        if part and size + added > TEXTS_BYTES_MAX:
            yield part, _texts(wanted, contents)
            part, wanted, size = [], set(), 0
        part.append(recorded)
        wanted |= needed
        size += added
    if part:
        yield part, _texts(wanted, contents)


def _bytes_of(recorded: RecordedEvent, commitments: set[str]) -> int:
    refs = refs_in(recorded.payload["data"])
    return sum(ref["size"] for ref in refs if ref["commitment"] in commitments)


def _texts(wanted: set[str], contents: Contents) -> dict[str, str]:
    held = contents(sorted(wanted)) if wanted else {}
    return {commitment: content.body.decode() for commitment, content in held.items()}


class Runner:
    """Runs projections in one thread of their own.

    The first event after a pause is folded at once; under load, what arrives within GATHER_SECONDS
    is folded together.
    """

    def __init__(
        self,
        views: Views,
        projections: Sequence[SqlProjection],
        follower: Follower,
        contents: Contents,
        elections: Elections,
    ) -> None:
        self._views = views
        self._elections = elections
        self._waiting = 0
        self._outage = Outage(log, "folding the read models")
        self._asked = asyncio.Event()
        self._follower = follower
        self._contents = contents
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="scrinia-views")
        self._moved = asyncio.Condition()
        self._closing = False
        self.projections = {projection.name: projection for projection in projections}
        self.positions = {p.name: views.prepare(p) for p in projections}

    async def run(self) -> None:
        """Keep up with the follower, or with the process that does, until `close`."""
        while not self._closing:
            try:
                if self._elections.held(LEASE):
                    await self._keep_up()
                else:
                    await self._watch()
                self._outage.over()
            except OvertakenError:
                await asyncio.sleep(GATHER_SECONDS)
                await self._look()
            except PersistenceError as error:
                self._outage.failed(error)
                await asyncio.sleep(RETRY_SECONDS)
            except Exception:
                log.exception("a projection failed; trying again in %s s", RETRY_SECONDS)
                await asyncio.sleep(RETRY_SECONDS)
        self._thread.shutdown()

    async def _keep_up(self) -> None:
        behind = min(self.positions.values())
        if behind < self._follower.position or await self._follower.wait_beyond(behind, 1):
            await self._step(behind)

    async def _watch(self) -> None:
        """Another process folds: see how far it has come, often only where somebody waits."""
        await self._look()
        if self._waiting:
            await asyncio.sleep(WATCH_SECONDS)
        else:
            await wait_and_clear(self._asked, IDLE_WATCH_SECONDS)

    async def _look(self) -> None:
        loop = asyncio.get_running_loop()
        self.positions = await loop.run_in_executor(self._thread, self._stored_positions)
        await self._tell()

    def _stored_positions(self) -> dict[str, int]:
        return {name: self._views.position(name) for name in self.projections}

    def close(self) -> None:
        """End `run` after the batch under way."""
        self._closing = True
        self._asked.set()

    async def _step(self, after: int) -> None:
        batch = await self._follower.read(after, READ_EVENTS_MAX)
        if not batch:
            return
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._thread, self._apply, batch)
        await self._tell()
        if len(batch) < READ_EVENTS_MAX:
            await asyncio.sleep(GATHER_SECONDS)

    async def _tell(self) -> None:
        async with self._moved:
            self._moved.notify_all()

    def _apply(self, batch: Sequence[RecordedEvent]) -> None:
        for part, texts in portions(list(self.projections.values()), batch, self._contents):
            for name, projection in self.projections.items():
                start = self.positions[name]
                fresh = [recorded for recorded in part if recorded.position > start]
                if fresh and fresh[0].position == start + 1:
                    self._views.apply(projection, start, fresh, texts)
                    self.positions[name] = fresh[-1].position

    async def wait_for(self, name: str, position: int, timeout_seconds: float) -> None:
        """Wait until a projection has read `position`; NotCaughtUpError at the time limit."""
        if name not in self.projections:
            raise UnknownProjectionError(f"There is no projection {name!r}.")
        self._waiting += 1
        self._asked.set()
        try:
            async with asyncio.timeout(timeout_seconds), self._moved:
                await self._moved.wait_for(lambda: self.positions[name] >= position)
        except TimeoutError:
            raise NotCaughtUpError(
                f"The {name} view has read {self.positions[name]}, not yet {position}: try again."
            ) from None
        finally:
            self._waiting -= 1
