"""When each token was last used: for who looks after tokens, never in the ledger.

Not a fold of events. Each process notes its own and writes them down together; where the table is
lost, it begins anew.
"""

import asyncio
import logging
from concurrent.futures import Executor
from datetime import datetime

from ledger.follower import wait_at_most
from ledger.outage import Outage
from projections.views import Views

FLUSH_SECONDS = 30.0
log = logging.getLogger("scrinia.tokens")


class TokenUses:
    """Token id → the newest use. `note` costs a dictionary's entry."""

    def __init__(self, views: Views, readers: Executor) -> None:
        self._views = views
        self._readers = readers
        self._noted: dict[str, datetime] = {}
        self._closing = asyncio.Event()
        self._outage = Outage(log, "the last uses of tokens")
        with views.defining() as cursor:
            cursor.execute(
                "CREATE TABLE IF NOT EXISTS token_uses (token_id TEXT PRIMARY KEY,"
                " used_at TEXT NOT NULL)"
            )

    def note(self, token_id: str, at: datetime) -> None:
        """A token was used."""
        self._noted[token_id] = at

    async def run(self) -> None:
        """Write down what was noted, until `close`."""
        loop = asyncio.get_running_loop()
        while not self._closing.is_set():
            await wait_at_most(self._closing, FLUSH_SECONDS)
            noted, self._noted = self._noted, {}
            try:
                await loop.run_in_executor(self._readers, self._write, noted)
                self._outage.over()
            except Exception as error:
                self._noted = noted | self._noted
                self._outage.failed(error)

    def close(self) -> None:
        """End `run` once what was noted is written."""
        self._closing.set()

    def _write(self, noted: dict[str, datetime]) -> None:
        if not noted:
            return
        with self._views.writing() as cursor:
            for token_id, at in noted.items():
                cursor.execute(
                    "INSERT INTO token_uses VALUES (?, ?) ON CONFLICT (token_id) DO UPDATE"
                    " SET used_at = excluded.used_at WHERE token_uses.used_at < excluded.used_at",
                    (token_id, at.isoformat(timespec="seconds")),
                )

    def last(self, token_ids: list[str]) -> dict[str, str]:
        """When tokens were last used (RFC 3339), of those that ever were, on any process."""
        found: dict[str, str] = {}
        if token_ids:
            marks = ",".join("?" * len(token_ids))
            with self._views.reading() as cursor:
                cursor.execute(f"SELECT * FROM token_uses WHERE token_id IN ({marks})", token_ids)
                found = {row["token_id"]: row["used_at"] for row in cursor.fetchall()}
        noted = {
            one: self._noted[one].isoformat(timespec="seconds")
            for one in token_ids
            if one in self._noted
        }
        return {one: max(found.get(one, ""), noted.get(one, "")) for one in found | noted}
