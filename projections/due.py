"""What falls due: one elected process has the registry do it, as a command like any other."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Executor

from domain.errors import DomainError
from ledger.errors import LedgerError
from ledger.follower import wait_at_most
from ledger.ids import now
from ledger.outage import Outage
from projections.elections import Elections
from projections.views import Cursor, Views

LOOK_SECONDS = 2.0
log = logging.getLogger("scrinia.due")

# What is due at a moment (RFC 3339, UTC), as the arguments of what has it done.
Find = Callable[[Cursor, str], Sequence[tuple[str, ...]]]
Do = Callable[..., Awaitable[object]]


class Due:
    """Looks for what is due while this process holds the lease `name`."""

    def __init__(
        self, name: str, views: Views, readers: Executor, elections: Elections, find: Find, do: Do
    ) -> None:
        self._name = name
        self._views = views
        self._readers = readers
        self._elections = elections
        self._find = find
        self._do = do
        self._closing = asyncio.Event()
        self._outage = Outage(log, f"the {name}")

    async def run(self) -> None:
        """Look until `close`."""
        while not self._closing.is_set():
            if self._elections.held(self._name):
                try:
                    await self._look()
                    self._outage.over()
                except Exception as error:
                    self._outage.failed(error)
            await wait_at_most(self._closing, LOOK_SECONDS)

    def close(self) -> None:
        """End `run`."""
        self._closing.set()

    async def _look(self) -> None:
        loop = asyncio.get_running_loop()
        for one in await loop.run_in_executor(self._readers, self._due):
            try:
                await self._do(*one)
            except (DomainError, LedgerError) as error:
                log.warning("the %s of %s is refused: %s", self._name, "/".join(one), error)

    def _due(self) -> Sequence[tuple[str, ...]]:
        with self._views.reading() as cursor:
            return self._find(cursor, now().isoformat(timespec="microseconds"))
