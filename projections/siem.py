"""What a SIEM is sent: every event of the ledger, and what each process refused.

The ledger's events go from one elected process, in order, with a tracking row: a SIEM that was away
gets them when it is back. Refusals (401, 403) are in no ledger: each process sends its own, as far
as its queue holds.
"""

import asyncio
from collections.abc import Callable
from typing import Any

from ledger.follower import Follower
from ledger.ids import now
from ledger.mapper import RecordedEvent
from ledger.payload import format_time
from projections.elections import Elections
from projections.outward import RETRY_SECONDS_MAX, WATCH_SECONDS, Outward
from projections.siem_sinks import Record, SiemSink
from projections.views import Views

LEASE = "siem"
EVENTS_AT_ONCE = 200
REFUSALS_QUEUED_MAX = 1000
NewSink = Callable[[], SiemSink]


def record_of(recorded: RecordedEvent) -> Record:
    """An event as audit record: who did what on what, and by what right. Texts stay commitments."""
    fields = recorded.payload
    body = {
        "position": recorded.position,
        "event_id": fields["id"],
        "time": recorded.time,
        "actor": fields["actor"],
        "action": recorded.kind_verb,
        "resource": recorded.resource,
        "data": fields["data"],
        "authz": fields["authz"],
        "request_id": fields["request"].get("id"),
        "ledger": fields["ledger"],
    }
    return Record("audit", recorded.time, recorded.kind_verb, body, fields["request"].get("trace"))


class SiemExport(Outward):
    """Sends the ledger's events while this process holds the lease."""

    lease = LEASE
    outside = "the SIEM"

    def __init__(
        self, new_sink: NewSink, views: Views, follower: Follower, elections: Elections
    ) -> None:
        self._new_sink = new_sink
        super().__init__([LEASE], views, follower, elections)

    async def _session(self) -> None:
        sink = self._new_sink()
        await sink.open()
        try:
            await self._look()
            self._opened()
            while self._works:
                await self._step(sink)
        finally:
            self.connected = False
            await sink.close()

    async def _step(self, sink: SiemSink) -> None:
        behind = self.positions[LEASE]
        if behind >= self._follower.position:
            await self._follower.wait_beyond(behind, WATCH_SECONDS)
            return
        batch = await self._follower.read(behind, EVENTS_AT_ONCE)
        await sink.send([record_of(recorded) for recorded in batch])
        await self._track(LEASE, batch[-1].position)


class RefusalExport:
    """Sends what this process refused; counts what its queue does not hold."""

    def __init__(self, new_sink: NewSink) -> None:
        self._new_sink = new_sink
        self._queue: asyncio.Queue[Record] = asyncio.Queue(REFUSALS_QUEUED_MAX)
        self.dropped = 0

    def tell(self, code: str, facts: dict[str, Any]) -> None:
        """Have one sent soon: the error's code, and who was refused what. Never blocks."""
        time = format_time(now())
        try:
            self._queue.put_nowait(Record("security", time, code, {**facts, "time": time}))
        except asyncio.QueueFull:
            self.dropped += 1

    async def run(self) -> None:
        """Send until cancelled."""
        while True:
            first = await self._queue.get()
            await self._send([first, *self._waiting()])

    def _waiting(self) -> list[Record]:
        found: list[Record] = []
        while not self._queue.empty() and len(found) < EVENTS_AT_ONCE:
            found.append(self._queue.get_nowait())
        return found

    async def _send(self, entries: list[Record]) -> None:
        """Again and again until it is taken; meanwhile the queue fills."""
        while True:
            sink = self._new_sink()
            try:
                await sink.open()
                await sink.send(entries)
            except (OSError, TimeoutError):
                await asyncio.sleep(RETRY_SECONDS_MAX)
            else:
                return
            finally:
                await sink.close()
