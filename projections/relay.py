"""The relay: one elected process tells NATS what was committed, after it was committed."""

from collections.abc import Sequence

from nats.aio.client import Client
from nats.errors import Error as NatsError

from ledger.follower import READ_EVENTS_MAX, Follower
from projections.destinations import NatsSettings
from projections.elections import Elections
from projections.errors import ForeignStreamError
from projections.jetstream import (
    BUCKET,
    STREAM,
    EventStream,
    LabelBucket,
    Sink,
    connect,
)
from projections.outward import WATCH_SECONDS, Outward
from projections.views import Views

LEASE = "relay"
FOLLOW_SECONDS_MAX = 3.0
START_ANEW = f"Delete stream {STREAM} and bucket {BUCKET}: they are filled anew."


class Relay(Outward):
    """Keeps every sink up to date while this process holds the lease."""

    lease = LEASE
    outside = "NATS"
    broken = (NatsError, OSError, TimeoutError)

    def __init__(
        self,
        settings: NatsSettings,
        ledger_id: str,
        views: Views,
        follower: Follower,
        elections: Elections,
    ) -> None:
        self._settings = settings
        self.sinks: Sequence[Sink] = (EventStream(ledger_id), LabelBucket())
        super().__init__([sink.name for sink in self.sinks], views, follower, elections)

    async def _session(self) -> None:
        client = await connect(self._settings)
        try:
            await self._look()
            standing = await self._open(client)
            self._opened()
            while self._works:
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
                # Before it is made: a crash between leaves it to fill.
                await self._track(sink.name, 0)
            tracked = self.positions[sink.name]
            found = await sink.open(js, tracked, self._settings.replicas)
            await self._check_same(sink, found)
            # What one sink lost with its server's last moments, the other may have lost too.
            lost_to = min(lost_to, found) if found < tracked else lost_to
            standing[sink.name] = min(found, lost_to)
        return standing

    async def _check_same(self, sink: Sink, found: int) -> None:
        """ForeignStreamError unless what is in NATS is this ledger's beginning."""
        if not await self._follower.wait_beyond(found - 1, FOLLOW_SECONDS_MAX):
            raise ForeignStreamError(
                f"NATS has position {found}, this ledger {self._follower.position}: it was"
                f" restored from an older backup, or the stream is another's. {START_ANEW}"
            )
        if found and not sink.agrees((await self._follower.read(found - 1, 1))[0]):
            raise ForeignStreamError(
                f"NATS has another event at position {found}: this ledger lost some and began a"
                f" new epoch. {START_ANEW}"
            )

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
            await self._track(sink.name, standing[sink.name])
