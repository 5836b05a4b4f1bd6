"""Keeps the log sealed: a signed checkpoint at most a second after the first unsealed event.

One elected process seals; the others export what it has sealed.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor

from eventsourcing.persistence import PersistenceError

from ledger.errors import AlreadySealedError, ForkedError, KeyRetiredError
from ledger.follower import Follower, wait_at_most
from ledger.outage import Outage
from ledger.sealing import Sealer
from projections.elections import Elections

SEAL_DELAY_SECONDS = 1.0
LEASE = "sealing"
log = logging.getLogger("scrinia.transparency")


class Transparency:
    """Feeds the sealer from the follower; at shutdown seals what is left."""

    def __init__(
        self, sealer: Sealer, follower: Follower, readers: Executor, elections: Elections
    ) -> None:
        self._sealer = sealer
        self._elections = elections
        self._follower = follower
        self._readers = readers
        self._closing = asyncio.Event()
        self._outage = Outage(log, "sealing")
        self.fault: ForkedError | None = None

    @property
    def position(self) -> int:
        """How far the log is sealed."""
        return self._sealer.sealed

    async def run(self) -> None:
        """Seal until `close`. Stops with `fault` set where sealing would fork the log."""
        while self.fault is None and not self._closing.is_set():
            if not self._elections.held(LEASE):
                await self._pause()
                await self._try(self._catch_up)
            elif await self._follower.wait_beyond(self._sealer.sealed, SEAL_DELAY_SECONDS):
                await self._pause()
                await self._try(self.seal)
        # Whoever goes last: a checkpoint never shrinks.
        if self.fault is None and not self._outage.lasts:
            await self._try(self.seal)

    async def _try(self, work: Callable[[], Awaitable[None]]) -> None:
        try:
            await work()
            self._outage.over()
        except AlreadySealedError:
            pass
        except ForkedError as fault:
            self.fault = fault
            log.critical("sealing stopped: %s", fault.detail)
        except (PersistenceError, KeyRetiredError) as error:
            self._outage.failed(error)
        except Exception:
            log.exception("sealing failed; trying again")

    def close(self) -> None:
        """End `run` after a last checkpoint."""
        self._closing.set()

    async def _catch_up(self) -> None:
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._readers, self._sealer.catch_up)

    async def seal(self) -> None:
        """Take in everything followed so far, after what others have sealed, and sign it."""
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._readers, self._sealer.catch_up)
        while batch := await self._follower.read(self._sealer.size):
            self._sealer.take([recorded.leaf_hash for recorded in batch])
        if self._sealer.size > self._sealer.sealed:
            await loop.run_in_executor(self._readers, self._sealer.seal)

    async def _pause(self) -> None:
        await wait_at_most(self._closing, SEAL_DELAY_SECONDS * 0.8)
