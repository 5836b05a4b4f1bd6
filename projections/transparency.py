"""Keeps the log sealed: a signed checkpoint at most a second after the first unsealed event."""

import asyncio
import logging
from concurrent.futures import Executor

from ledger.errors import ForkedError
from ledger.follower import Follower
from ledger.sealing import Sealer

SEAL_DELAY_SECONDS = 1.0
log = logging.getLogger("scrinia.transparency")


class Transparency:
    """Feeds the sealer from the follower; at shutdown seals what is left."""

    def __init__(self, sealer: Sealer, follower: Follower, readers: Executor) -> None:
        self._sealer = sealer
        self._follower = follower
        self._readers = readers
        self._closing = asyncio.Event()
        self.fault: ForkedError | None = None

    @property
    def position(self) -> int:
        """How far the log is sealed."""
        return self._sealer.sealed

    async def run(self) -> None:
        """Seal until `close`. Stops with `fault` set where sealing would fork the log."""
        while self.fault is None and not self._closing.is_set():
            if await self._follower.wait_beyond(self._sealer.sealed, SEAL_DELAY_SECONDS):
                await self._pause()
                await self._try_to_seal()
        if self.fault is None:
            await self._try_to_seal()

    async def _try_to_seal(self) -> None:
        try:
            await self.seal()
        except ForkedError as fault:
            self.fault = fault
            log.critical("sealing stopped: %s", fault.detail)
        except Exception:
            log.exception("sealing failed; trying again")

    def close(self) -> None:
        """End `run` after a last checkpoint."""
        self._closing.set()

    async def seal(self) -> None:
        """Take in everything followed so far and sign it."""
        loop = asyncio.get_running_loop()
        while batch := await self._follower.read(self._sealer.size):
            self._sealer.take([recorded.leaf_hash for recorded in batch])
        if self._sealer.size > self._sealer.sealed:
            await loop.run_in_executor(self._readers, self._sealer.seal)

    async def _pause(self) -> None:
        try:
            async with asyncio.timeout(SEAL_DELAY_SECONDS * 0.8):
                await self._closing.wait()
        except TimeoutError:
            pass
