"""How far each webhook was told, as this process knows it, and the one thread that keeps it.

One thread, so that what is read can never be older than what was written before.
"""

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

from ledger.outage import Outage
from projections.deliveries import Attempt, Deliveries, DeliveryState
from projections.errors import OvertakenError

log = logging.getLogger("scrinia.webhooks")
T = TypeVar("T")


class Desk:
    """What the tellers of a process share. `states` by webhook id."""

    def __init__(self, deliveries: Deliveries) -> None:
        self._deliveries = deliveries
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="scrinia-webhooks")
        self._passed: dict[str, int] = {}
        self.outage = Outage(log, "keeping what webhooks were told")
        self.states: dict[str, DeliveryState] = {}

    async def look(self) -> None:
        """Take over what is kept, whoever wrote it, and whatever was remembered here.

        A database may have lost its last moments: what it says is what everybody goes on from.
        """
        kept = await self._do(self._deliveries.states)
        for webhook_id in self.states.keys() - kept.keys():
            self._drop(webhook_id)
        for webhook_id, state in kept.items():
            if self.states.get(webhook_id) != state:
                self._drop(webhook_id)
                self.states[webhook_id] = state

    def _drop(self, webhook_id: str) -> None:
        self.states.pop(webhook_id, None)
        self._passed.pop(webhook_id, None)

    def told(self, state: DeliveryState) -> int:
        """How far one was told, with what it did not want and nobody wrote down yet."""
        return max(state.position, self._passed.get(state.webhook_id, 0))

    def pass_over(self, state: DeliveryState, position: int) -> None:
        """Nothing up to there is for it; OvertakenError where it was rewound meanwhile."""
        held = self.states.get(state.webhook_id)
        if held is None or held.revision != state.revision:
            raise OvertakenError(f"Webhook {state.webhook_id} was rewound.")
        self._passed[state.webhook_id] = max(position, self.told(state))

    async def begin(self, webhook_id: str, position: int) -> None:
        """It is told of what comes after a position."""
        await self._do(self._deliveries.begin, webhook_id, position)
        await self.look()

    async def move(
        self, before: DeliveryState, after: DeliveryState, attempt: Attempt | None = None
    ) -> None:
        """Keep a new state; OvertakenError where another has taken its place."""
        moved = await self._do(self._deliveries.move, before, after, attempt)
        self.states[moved.webhook_id] = moved
        self.outage.over()

    async def forget(self, webhook_id: str) -> None:
        """Drop what is kept of one that was deleted."""
        await self._do(self._deliveries.forget, webhook_id)
        self._drop(webhook_id)

    async def _do(self, work: Callable[..., T], *args: Any) -> T:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, partial(work, *args))

    def close(self) -> None:
        """Nothing more is kept; what is under way ends by itself."""
        self._thread.shutdown(wait=False, cancel_futures=True)
