"""Expiry: one elected process ends labels whose time is over, with an event that says so.

Readers look at the clock themselves and serve no expired label; this tells everybody else.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor

from domain.access import prompt_resource
from domain.errors import DomainError
from ledger.errors import LedgerError
from ledger.follower import wait_at_most
from ledger.ids import now
from ledger.outage import Outage
from projections.elections import Elections
from projections.views import Cursor, Views

LEASE = "expiry"
LOOK_SECONDS = 2.0
AT_ONCE_MAX = 100
log = logging.getLogger("scrinia.expiry")

# Has the registry end a label: project, prompt, label.
Expire = Callable[[str, str, str], Awaitable[object]]


class Expiry:
    """Looks for labels whose time is over while this process holds the lease."""

    def __init__(
        self, views: Views, readers: Executor, elections: Elections, expire: Expire
    ) -> None:
        self._views = views
        self._readers = readers
        self._elections = elections
        self._expire = expire
        self._closing = asyncio.Event()
        self._outage = Outage(log, "the expiry of labels")

    async def run(self) -> None:
        """Look until `close`."""
        while not self._closing.is_set():
            if self._elections.held(LEASE):
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
        due = await loop.run_in_executor(self._readers, self._due)
        for project, name, label in due:
            try:
                await self._expire(project, name, label)
            except (DomainError, LedgerError) as error:
                where = prompt_resource(project, name).text
                log.warning("%s@%s is not ended: %s", where, label, error)

    def _due(self) -> list[tuple[str, str, str]]:
        with self._views.reading() as cursor:
            return due_labels(cursor, now().isoformat(timespec="microseconds"))


def due_labels(cursor: Cursor, at: str) -> list[tuple[str, str, str]]:
    """Project, prompt and label of those whose time is over at a moment (RFC 3339, UTC)."""
    cursor.execute(
        "SELECT c.project, c.name, l.label FROM catalog_labels l"
        " JOIN catalog_prompts c ON c.prompt_id = l.prompt_id"
        " WHERE l.expires_at <= ? ORDER BY l.expires_at LIMIT ?",
        (at, AT_ONCE_MAX),
    )
    return [(row["project"], row["name"], row["label"]) for row in cursor.fetchall()]
