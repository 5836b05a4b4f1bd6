"""The scrub: one elected process looks at every event again, all the time and slowly.

Servers check signatures of what is new and of what decides access; an old event that is changed in
the database would else be noticed only by `scrinia verify` (DESIGN section 4).
"""

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor

from eventsourcing.persistence import PersistenceError

from ledger import payload
from ledger.follower import Follower, wait_at_most
from ledger.mapper import SignedNotification
from ledger.outage import Outage
from ledger.recorder import LedgerRecorder
from ledger.trust import TrustedKeys, is_authentic
from projections.elections import Elections

LEASE = "scrub"
EVENTS_AT_ONCE = 100
PAUSE_SECONDS_MAX = 60.0
FAULTS_KEPT_MAX = 100
log = logging.getLogger("scrinia.scrub")


class Scrub:
    """Walks from the first event to the head within `pass_seconds`, then again."""

    def __init__(
        self,
        recorder: LedgerRecorder,
        keys: TrustedKeys,
        follower: Follower,
        elections: Elections,
        pass_seconds: float,
    ) -> None:
        self._recorder = recorder
        self._keys = keys
        self._follower = follower
        self._elections = elections
        self._pass_seconds = pass_seconds
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="scrinia-scrub")
        self._closing = asyncio.Event()
        self._outage = Outage(log, "the scrub")
        self.position = 0
        self.passes = 0
        self.faults: list[int] = []

    async def run(self) -> None:
        """Scrub until `close`."""
        loop = asyncio.get_running_loop()
        while not self._closing.is_set():
            if self._elections.held(LEASE):
                try:
                    await loop.run_in_executor(self._thread, self._look)
                    self._outage.over()
                except PersistenceError as error:
                    self._outage.failed(error)
                except Exception:
                    log.exception("the scrub could not read; trying again")
            await self._rest()
        self._thread.shutdown()

    def close(self) -> None:
        """End `run`."""
        self._closing.set()

    def _look(self) -> None:
        head = self._follower.position
        stored = self._recorder.select_after(self.position, EVENTS_AT_ONCE)
        for event in stored:
            if event.id > head:
                break
            self.position = event.id
            if not self._is_intact(event) and event.id not in self.faults:
                log.critical("position %d is not what was signed: run 'scrinia verify'", event.id)
                self.faults = [*self.faults, event.id][-FAULTS_KEPT_MAX:]
        if self.position >= head:
            self.position = 0
            self.passes += 1

    def _is_intact(self, event: SignedNotification) -> bool:
        leaf = payload.leaf_hash(event.state, event.key_id, event.signature)
        return leaf == event.leaf_hash and is_authentic(event, self._keys)

    async def _rest(self) -> None:
        """As long as lets a whole pass take `pass_seconds`."""
        batches = max(1.0, self._follower.position / EVENTS_AT_ONCE)
        await wait_at_most(self._closing, min(self._pass_seconds / batches, PAUSE_SECONDS_MAX))
