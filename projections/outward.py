"""What leaves the registry from one elected process: the loop that relays and exports share.

Whatever is outside may be away for hours: commands go on, and the part catches up in order from
where it stands.
"""

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import ClassVar

from eventsourcing.persistence import PersistenceError

from ledger.follower import Follower, wait_at_most
from ledger.outage import Outage
from projections.elections import Elections
from projections.errors import ForeignStreamError, OvertakenError
from projections.views import Views

RETRY_SECONDS_MIN = 0.1
RETRY_SECONDS_MAX = 5.0
WATCH_SECONDS = 1.0
log = logging.getLogger("scrinia.outward")


class Outward(ABC):
    """A part that tells something outside. `names` are its tracking rows'."""

    lease: ClassVar[str]
    outside: ClassVar[str]
    broken: ClassVar[tuple[type[Exception], ...]] = (OSError, TimeoutError)

    def __init__(
        self, names: Sequence[str], views: Views, follower: Follower, elections: Elections
    ) -> None:
        self._views = views
        self._follower = follower
        self._elections = elections
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"scrinia-{self.lease}")
        self._closing = asyncio.Event()
        self._away = Outage(log, self.outside)
        self._unkept = Outage(log, f"keeping how far {self.outside} was told")
        self.positions = {name: views.position(name) for name in names}
        self.connected = False

    async def run(self) -> None:
        """Tell until `close`."""
        pause = RETRY_SECONDS_MIN
        while not self._closing.is_set():
            try:
                if self._works:
                    await self._session()
                else:
                    await self._look()
                    await wait_at_most(self._closing, WATCH_SECONDS)
                self._unkept.over()
                pause = RETRY_SECONDS_MIN
                continue
            except PersistenceError as error:
                self._unkept.failed(error)
            except self.broken as error:
                self._away.failed(error)
            except OvertakenError:
                log.info("another process tells %s now", self.outside)
            except ForeignStreamError as error:
                log.error("%s", error.detail)
            except Exception:
                log.exception("telling %s failed; trying again", self.outside)
            await wait_at_most(self._closing, pause)
            pause = min(2 * pause, RETRY_SECONDS_MAX)
        self._thread.shutdown()

    def close(self) -> None:
        """End `run` after the batch under way."""
        self._closing.set()

    @property
    def _works(self) -> bool:
        """Whether this process is to tell, now."""
        return self._elections.held(self.lease) and not self._closing.is_set()

    @abstractmethod
    async def _session(self) -> None:
        """One connection, from opening it to its loss or the lease's; `_opened` in between."""

    def _opened(self) -> None:
        self.connected = True
        self._away.over()
        self._unkept.over()

    async def _look(self) -> None:
        """See how far it has come, by whichever process."""
        loop = asyncio.get_running_loop()
        self.positions = await loop.run_in_executor(self._thread, self._tracked)

    def _tracked(self) -> dict[str, int]:
        return {name: self._views.position(name) for name in self.positions}

    async def _track(self, name: str, position: int) -> None:
        """Keep how far it has come; OvertakenError where another process has moved it."""
        start = self.positions[name]
        if position == start:
            return
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._thread, self._views.track, name, start, position)
        self.positions[name] = position
