"""Which process does what only one may do: leases with an expiry, one a part.

A lease only says who should work. That a paused holder can do no harm is each part's own matter:
every effect is conditional on the position it started from.
"""

import asyncio
import logging
import os
import socket
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from secrets import token_hex

from projections.views import Views

LEASE_SECONDS = 2.0
RENEW_SECONDS = 0.5
log = logging.getLogger("scrinia.elections")


class Elections:
    """This process's leases. `names` are the parts it can do; none where it takes no part."""

    def __init__(self, views: Views, names: Sequence[str]) -> None:
        self._views = views
        self._names = tuple(names)
        self._until: dict[str, float] = {}
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="scrinia-lease")
        self._closing = asyncio.Event()
        self.holder = f"{socket.gethostname()}/{os.getpid()}/{token_hex(4)}"

    def held(self, name: str) -> bool:
        """Whether the part is this process's now."""
        return time.monotonic() < self._until.get(name, 0.0)

    async def stand(self) -> None:
        """Take what is free, renew what is held."""
        asked = time.monotonic()
        loop = asyncio.get_running_loop()
        won = await loop.run_in_executor(
            self._thread, self._views.take_leases, self._names, self.holder, LEASE_SECONDS
        )
        self._until = dict.fromkeys(won, asked + LEASE_SECONDS)

    async def run(self) -> None:
        """Stand again and again until `close`; then give back what is held."""
        while not self._closing.is_set():
            try:
                await self.stand()
            except Exception:
                log.exception("no leases now; trying again")
            try:
                async with asyncio.timeout(RENEW_SECONDS):
                    await self._closing.wait()
            except TimeoutError:
                pass
        await self._give_back()

    async def _give_back(self) -> None:
        self._until = {}
        loop = asyncio.get_running_loop()
        try:
            await loop.run_in_executor(self._thread, self._views.drop_leases, self.holder)
        except Exception:
            log.warning("leases were not given back: they expire")
        self._thread.shutdown()

    def close(self) -> None:
        """End `run`."""
        self._closing.set()
