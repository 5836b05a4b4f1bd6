"""The relay: one elected process tells NATS what was committed, after it was committed.

NATS may be away for hours: commands go on, and the relay catches up in order from where it stands.
"""

import asyncio
import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from nats.aio.client import Client
from nats.errors import Error as NatsError

from ledger.follower import READ_EVENTS_MAX, Follower
from projections.elections import Elections
from projections.errors import ForeignStreamError, OvertakenError
from projections.jetstream import EventStream, LabelBucket, NatsSettings, Sink, connect
from projections.views import Views

LEASE = "relay"
RETRY_SECONDS_MIN = 0.1
RETRY_SECONDS_MAX = 5.0
WATCH_SECONDS = 1.0
FOLLOW_SECONDS_MAX = 3.0
log = logging.getLogger("scrinia.relay")


class Relay:
    """Keeps every sink up to date while this process holds the lease."""

    def __init__(
        self,
        settings: NatsSettings,
        ledger_id: str,
        views: Views,
        follower: Follower,
        elections: Elections,
    ) -> None:
        self._settings = settings
        self._views = views
        self._follower = follower
        self._elections = elections
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="scrinia-relay")
        self._closing = asyncio.Event()
        self.sinks: Sequence[Sink] = (EventStream(ledger_id), LabelBucket())
        self.positions = {sink.name: views.position(sink.name) for sink in self.sinks}
        self.connected = False

    async def run(self) -> None:
        """Relay until `close`."""
        pause = RETRY_SECONDS_MIN
        while not self._closing.is_set():
            try:
                if self._elections.held(LEASE):
                    await self._session()
                else:
                    await self._look()
                    await self._rest(WATCH_SECONDS)
                pause = RETRY_SECONDS_MIN
                continue
            except (NatsError, OSError, TimeoutError) as error:
                log.warning(
                    "NATS: %s; trying again in %.1f s", str(error) or type(error).__name__, pause
                )
            except OvertakenError:
                log.info("another process relays now")
            except ForeignStreamError as error:
                log.error("%s", error.detail)
            except Exception:
                log.exception("the relay failed; trying again in %.1f s", pause)
            await self._rest(pause)
            pause = min(2 * pause, RETRY_SECONDS_MAX)
        self._thread.shutdown()

    def close(self) -> None:
        """End `run` after the batch under way."""
        self._closing.set()

    async def _rest(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._closing.wait()
        except TimeoutError:
            pass

    async def _look(self) -> None:
        """Another process relays: see how far it has come."""
        loop = asyncio.get_running_loop()
        self.positions = await loop.run_in_executor(self._thread, self._tracked)

    def _tracked(self) -> dict[str, int]:
        return {sink.name: self._views.position(sink.name) for sink in self.sinks}

    async def _session(self) -> None:
        """One connection, from opening the sinks to the loss of it or of the lease."""
        client = await connect(self._settings)
        try:
            await self._look()
            standing = await self._open(client)
            self.connected = True
            while self._elections.held(LEASE) and not self._closing.is_set():
                await self._step(standing)
        finally:
            self.connected = False
            await client.close()

    async def _open(self, client: Client) -> dict[str, int]:
        """Where each sink really stands."""
        js = client.jetstream()
        standing: dict[str, int] = {}
        lost_to = self._follower.position
        for sink in self.sinks:
            if await sink.is_missing(js):
                await self._track(sink, 0)  # before it is made: a crash between leaves it to fill
            tracked = self.positions[sink.name]
            found = await sink.open(js, tracked, self._settings.replicas)
            if not await self._follower.wait_beyond(found - 1, FOLLOW_SECONDS_MAX):
                raise ForeignStreamError(
                    f"NATS has position {found}, this ledger {self._follower.position}: it was"
                    " restored from an older backup, or the stream is another's."
                )
            # What one sink lost with its server's last moments, the other may have lost too.
            lost_to = min(lost_to, found) if found < tracked else lost_to
            standing[sink.name] = min(found, lost_to)
        return standing

    async def _step(self, standing: dict[str, int]) -> None:
        behind = min(standing.values())
        if behind >= self._follower.position:
            await self._follower.wait_beyond(behind, WATCH_SECONDS)
            return
        batch = await self._follower.read(behind, READ_EVENTS_MAX)
        for sink in self.sinks:
            fresh = [recorded for recorded in batch if recorded.position > standing[sink.name]]
            if fresh:
                await sink.send(fresh)
                standing[sink.name] = fresh[-1].position
            await self._track(sink, standing[sink.name])

    async def _track(self, sink: Sink, position: int) -> None:
        start = self.positions[sink.name]
        if position == start:
            return
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._thread, self._views.track, sink.name, start, position)
        self.positions[sink.name] = position
