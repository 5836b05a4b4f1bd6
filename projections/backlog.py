"""Events from long ago, decoded once for all webhooks that are told of them."""

import asyncio
from collections import OrderedDict
from collections.abc import Sequence

from ledger.follower import READ_EVENTS_MAX, RECENT_EVENTS_MAX, Follower
from ledger.mapper import RecordedEvent

CHUNK_EVENTS = 256  # fewer than the follower remembers, so that a chunk is always full
CHUNKS_KEPT_MAX = 32


class Backlog:
    """Reads from the follower's memory, and what is older by chunks of the ledger."""

    def __init__(self, follower: Follower) -> None:
        self._follower = follower
        self._chunks: OrderedDict[int, Sequence[RecordedEvent]] = OrderedDict()
        self._reading = asyncio.Lock()

    async def after(self, position: int) -> Sequence[RecordedEvent]:
        """Some events after a position, none at the head."""
        if position >= self._follower.position - RECENT_EVENTS_MAX:
            return await self._follower.read(position, READ_EVENTS_MAX)
        number, offset = divmod(position, CHUNK_EVENTS)
        return (await self._chunk(number))[offset:]

    async def _chunk(self, number: int) -> Sequence[RecordedEvent]:
        async with self._reading:  # whoever comes second finds what the first has read
            chunk = self._chunks.get(number)
            if chunk is None:
                chunk = await self._follower.read(number * CHUNK_EVENTS, CHUNK_EVENTS)
                self._chunks[number] = chunk
            self._chunks.move_to_end(number)
            while len(self._chunks) > CHUNKS_KEPT_MAX:
                self._chunks.popitem(last=False)
        return chunk
