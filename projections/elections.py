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

from eventsourcing.persistence import PersistenceError

from ledger.follower import wait_at_most
from ledger.outage import Outage
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
        self._begun = False
        self._outage = Outage(log, "holding leases")

    def held(self, name: str) -> bool:
        """Whether the part is this process's now."""
        return time.monotonic() < self._until.get(name, 0.0)

    async def stand(self) -> None:
        """Take what is free, renew what is held."""
        asked = time.monotonic()
        loop = asyncio.get_running_loop()
        won = await loop.run_in_executor(self._thread, self._stand)
        self._until = dict.fromkeys(won, asked + LEASE_SECONDS)

    def _stand(self) -> list[str]:
        if not self._begun:
            for holder in self._views.lease_holders():
                if _died_here(holder):
                    self._views.drop_leases(holder)
            self._begun = True
        return self._views.take_leases(self._names, self.holder, LEASE_SECONDS)

    async def run(self) -> None:
        """Stand again and again until `close`; then give back what is held."""
        while not self._closing.is_set():
            try:
                await self.stand()
                self._outage.over()
            except PersistenceError as error:
                self._outage.failed(error)
            except Exception:
                log.exception("no leases now; trying again")
            await wait_at_most(self._closing, RENEW_SECONDS)
        if not self._outage.lasts:
            await self._give_back()
        self._thread.shutdown()

    async def _give_back(self) -> None:
        self._until = {}
        loop = asyncio.get_running_loop()
        try:
            await loop.run_in_executor(self._thread, self._views.drop_leases, self.holder)
        except Exception:
            log.warning("leases were not given back: they expire")

    def close(self) -> None:
        """End `run`."""
        self._closing.set()


def _died_here(holder: str) -> bool:
    """Whether a holder was a process of this machine that is gone: its lease need not expire.

    Where this is mistaken (machines with one name), two work for a moment, which does no harm.
    """
    host, _, rest = holder.partition("/")
    pid = rest.partition("/")[0]
    if host != socket.gethostname() or not pid.isdecimal():
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except (PermissionError, OverflowError):
        return False
    return False
