"""Commits of other processes, heard of through LISTEN: one direct connection a process.

Only a wake-up: the follower reads by position, and polls behind it, so a lost notification costs at
most a second.
"""

import asyncio
import logging
from collections.abc import Callable

import psycopg

from ledger.outage import Outage
from ledger.postgres.recorder import CONNECTION_OPTIONS

RECONNECT_SECONDS_MIN = 0.1
RECONNECT_SECONDS_MAX = 5.0
CHANNEL = "scrinia"
log = logging.getLogger("scrinia.wakeup")


class PostgresWakeup:
    """Calls `wake` whenever somebody has committed. `url` must not lead through a pooler."""

    def __init__(self, url: str, wake: Callable[[], None]) -> None:
        self._url = url
        self._wake = wake
        self.connected = False
        self._outage = Outage(log, "listening for other processes")

    async def run(self) -> None:
        """Listen until cancelled, with a new connection after each that breaks."""
        pause = RECONNECT_SECONDS_MIN
        while True:
            try:
                await self._listen()
            except (psycopg.Error, OSError) as error:
                self._outage.failed(error)
            pause = (
                RECONNECT_SECONDS_MIN if self.connected else min(2 * pause, RECONNECT_SECONDS_MAX)
            )
            self.connected = False
            await asyncio.sleep(pause)

    async def _listen(self) -> None:
        connection = await psycopg.AsyncConnection.connect(
            self._url, autocommit=True, **CONNECTION_OPTIONS
        )
        async with connection:
            await connection.execute(f"LISTEN {CHANNEL}".encode())
            self.connected = True
            self._outage.over()
            self._wake()
            async for _ in connection.notifies():
                self._wake()
