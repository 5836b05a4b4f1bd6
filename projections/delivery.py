"""Delivery: one elected process tells every webhook what was committed, in order, at least once.

A teller for each webhook (`projections/teller.py`): nobody overtakes, and a receiver that is away
holds up no other.
"""

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any

from eventsourcing.persistence import PersistenceError

from ledger.follower import Follower, wait_and_clear
from projections.backlog import Backlog
from projections.courier import Courier
from projections.deliveries import Deliveries
from projections.desk import Desk
from projections.elections import Elections
from projections.teller import WATCH_SECONDS, Disable, Teller, Telling
from projections.webhooks import WebhookView

LEASE = "webhooks"
DRAIN_SECONDS = 5.0
log = logging.getLogger("scrinia.webhooks")


class Delivery:
    """Tells every enabled webhook while this process holds the lease."""

    def __init__(
        self,
        webhooks: WebhookView,
        deliveries: Deliveries,
        follower: Follower,
        elections: Elections,
        courier: Courier,
        disable: Disable,
        give_up_seconds: float,
    ) -> None:
        self._webhooks = webhooks
        self._follower = follower
        self._elections = elections
        self._desk = Desk(deliveries)
        self._telling = Telling(
            self._desk, webhooks, Backlog(follower), follower, courier, disable, give_up_seconds,
            self._holds,
        )  # fmt: skip
        self._tellers: dict[str, asyncio.Task[None]] = {}
        self._changed = asyncio.Event()
        self._closed = asyncio.Event()
        webhooks.on_change(self._changed.set)

    @property
    def position(self) -> int:
        """How far the webhook that is furthest behind was told; the head where there is none."""
        states = self._desk.states
        told = [self._desk.told(states[one]) for one in self._webhooks.enabled if one in states]
        return min(told, default=self._follower.position)

    def close(self) -> None:
        """End `run` after the attempts under way."""
        self._closed.set()
        self._changed.set()

    def _holds(self, webhook_id: str) -> bool:
        known = self._webhooks.known.get(webhook_id)
        working = self._elections.held(LEASE) and not self._closed.is_set()
        return working and known is not None and known.webhook.enabled

    async def run(self) -> None:
        """Tell until `close`."""
        while not self._closed.is_set():
            try:
                if self._webhooks.known or self._desk.states:
                    await self._unless_closed(self._look())
                self._staff()
                self._desk.outage.over()
            except PersistenceError as error:
                self._desk.outage.failed(error)
            except Exception:
                log.exception("webhooks are not told now; trying again")
            await wait_and_clear(self._changed, WATCH_SECONDS)
        await self._dismiss()

    async def _look(self) -> None:
        await self._desk.look()
        for webhook_id in self._webhooks.deleted & self._desk.states.keys():
            if self._elections.held(LEASE):
                await self._desk.forget(webhook_id)

    async def _unless_closed(self, work: Coroutine[Any, Any, None]) -> None:
        """Do not wait for a database that is away once the process is to end."""
        task = asyncio.create_task(work)
        closed = asyncio.create_task(self._closed.wait())
        try:
            await asyncio.wait({task, closed}, return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                task.result()
        finally:
            for one in (task, closed):
                one.cancel()

    def _staff(self) -> None:
        """One teller for each that is to be told here, and none for others."""
        wanted = {one for one in self._webhooks.enabled if self._holds(one)}
        for webhook_id in set(self._tellers) - wanted:
            self._tellers.pop(webhook_id).cancel()
        for webhook_id in wanted:
            task = self._tellers.get(webhook_id)
            if task is None or task.done():
                teller = Teller(webhook_id, self._telling)
                self._tellers[webhook_id] = asyncio.create_task(teller.run())

    async def _dismiss(self) -> None:
        """Let attempts under way end, where what comes of them can be kept."""
        tasks = list(self._tellers.values())
        if tasks and not self._desk.outage.lasts:
            await asyncio.wait(tasks, timeout=DRAIN_SECONDS)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._desk.close()
