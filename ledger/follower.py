"""Following the ledger: one read, one decode and one check of each event for everybody here.

The follower wakes on commits of this process and is woken for those of others, with a poll behind
it. Listeners (the in-memory views) are applied on the event loop, in order, before anybody who
waits for a position is told; slower followers (SQL projections, feeds, the sealer) read at their
own pace from its buffer of recent events, or from the store when they are further behind.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor

from eventsourcing.persistence import PersistenceError

from ledger import payload
from ledger.errors import TamperedError
from ledger.mapper import RecordedEvent, SignedNotification, SigningMapper
from ledger.outage import Outage
from ledger.recorder import LedgerRecorder
from ledger.trust import TrustedKeys, is_authentic

READ_EVENTS_MAX = 500
RECENT_EVENTS_MAX = 4096
POLL_SECONDS = 1.0
CLOSING_PAUSE_SECONDS = 0.01

log = logging.getLogger("scrinia.follower")
Listener = Callable[[Sequence[RecordedEvent]], None]


class Follower:
    """Reads every event once, checks it, and hands it on."""

    def __init__(
        self,
        recorder: LedgerRecorder,
        mapper: SigningMapper,
        keys: TrustedKeys,
        readers: Executor,
        position: int,
    ) -> None:
        self._recorder = recorder
        self._mapper = mapper
        self._keys = keys
        self._readers = readers
        self._listeners: list[Listener] = []
        self._recent: list[RecordedEvent] = []
        self._own_leaves: dict[int, bytes] = {}
        self._wake = asyncio.Event()
        self._moved = asyncio.Condition()
        self._closing = False
        self._outage = Outage(log, "reading the ledger")
        self._heard = time.monotonic()
        self.position = position
        self.fault: TamperedError | None = None

    def listen(self, listener: Listener) -> None:
        """Have a view applied to every batch, on the event loop. It must not block or fail."""
        self._listeners.append(listener)

    def committed(self, own_leaves: dict[int, bytes]) -> None:
        """This process has committed events with these leaf hashes at these positions."""
        if self.fault is None:
            fresh = ((p, leaf) for p, leaf in own_leaves.items() if p > self.position)
            self._own_leaves.update(fresh)
        self._wake.set()

    def wake(self) -> None:
        """Somebody, perhaps another process, has committed."""
        self._wake.set()

    async def run(self) -> None:
        """Follow until `close`. Stops with `fault` set at an event that is not authentic."""
        while not self._closing:
            try:
                while await self._step():
                    pass
                self._outage.over()
            except TamperedError as fault:
                self.fault = fault
                log.critical("following stopped: %s", fault)
                return
            except PersistenceError as error:
                self._outage.failed(error)
            except Exception:
                log.exception("reading the ledger failed; trying again")
            await wait_and_clear(self._wake, POLL_SECONDS)
        await self._finish()

    async def _finish(self) -> None:
        while not self._outage.lasts and await self._step():
            pass
        async with self._moved:
            self._moved.notify_all()

    def close(self) -> None:
        """End `run`, after what is committed has been followed."""
        self._closing = True
        self._wake.set()

    @property
    def silence_seconds(self) -> float:
        """How long ago the ledger was read last, to its end: what is newer is not known here."""
        return time.monotonic() - self._heard

    @property
    def closed(self) -> bool:
        """Whether nothing more will be followed."""
        return self._closing or self.fault is not None

    async def _step(self) -> bool:
        loop = asyncio.get_running_loop()
        batch = await loop.run_in_executor(self._readers, self._read_checked)
        if len(batch) < READ_EVENTS_MAX:
            self._heard = time.monotonic()
        if not batch:
            return False
        for listener in self._listeners:
            listener(batch)
        self._recent += batch
        del self._recent[:-RECENT_EVENTS_MAX]
        self.position = batch[-1].position
        for passed in [p for p in self._own_leaves if p <= self.position]:
            del self._own_leaves[passed]
        async with self._moved:
            self._moved.notify_all()
        return True

    def _read_checked(self) -> list[RecordedEvent]:
        batch: list[RecordedEvent] = []
        for stored in self._recorder.select_after(self.position, READ_EVENTS_MAX):
            recorded = self._mapper.recorded(stored)
            if not self._is_own(stored) and not is_authentic(stored, self._keys):
                raise TamperedError(
                    f"Position {stored.id} is not signed by a key of this ledger:"
                    " run 'scrinia verify' before anything else."
                )
            self._keys.apply(recorded)
            batch.append(recorded)
        return batch

    def _is_own(self, stored: SignedNotification) -> bool:
        """Whether these are the very bytes this process has just signed."""
        leaf = self._own_leaves.pop(stored.id, None)
        if leaf is None:
            return False
        return payload.leaf_hash(stored.state, stored.key_id, stored.signature) == leaf

    async def read(self, after: int, limit: int = READ_EVENTS_MAX) -> Sequence[RecordedEvent]:
        """Up to `limit` events after a position and not beyond `position`, from memory if there."""
        recent = self._recent
        if recent and recent[0].position <= after + 1:
            start = after + 1 - recent[0].position
            return recent[start : start + limit]
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._readers, self._read_stored, after, limit)

    def _read_stored(self, after: int, limit: int) -> list[RecordedEvent]:
        limit = min(limit, max(0, self.position - after))
        stored = self._recorder.select_after(after, limit) if limit else []
        return [self._mapper.recorded(one) for one in stored]

    async def wait_beyond(self, position: int, timeout_seconds: float) -> bool:
        """Wait until something after `position` was followed; False at the timeout or the end."""
        if self._closing:
            await asyncio.sleep(CLOSING_PAUSE_SECONDS)
        try:
            async with asyncio.timeout(timeout_seconds), self._moved:
                await self._moved.wait_for(lambda: self.position > position or self._closing)
        except TimeoutError:
            return False
        return self.position > position


async def wait_at_most(event: asyncio.Event, timeout_seconds: float) -> None:
    """Wait for an event, but no longer than this."""
    try:
        async with asyncio.timeout(timeout_seconds):
            await event.wait()
    except TimeoutError:
        pass


async def wait_and_clear(event: asyncio.Event, timeout_seconds: float) -> None:
    """Wait for an event at most so long, and be ready for the next one."""
    await wait_at_most(event, timeout_seconds)
    event.clear()
