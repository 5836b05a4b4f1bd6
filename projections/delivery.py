"""Delivery: one elected process tells every webhook what was committed, in order, at least once.

Each webhook is told one event after the other, the next only when the last was taken (2xx): nobody
overtakes, and a receiver that is away holds up no other.
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime
from functools import partial
from importlib.metadata import version
from typing import Any, TypeVar

from eventsourcing.persistence import PersistenceError

from domain.commands import DisableFailingWebhook
from domain.commitment import Content
from domain.errors import DomainError
from domain.webhook import Webhook
from ledger.errors import LedgerError
from ledger.follower import READ_EVENTS_MAX, Follower, wait_and_clear
from ledger.ids import now
from ledger.mapper import RecordedEvent
from ledger.outage import Outage
from ledger.payload import format_time
from projections.courier import Courier, Message
from projections.deliveries import Attempt, Deliveries, DeliveryState
from projections.elections import Elections
from projections.errors import OvertakenError
from projections.outbound import Sent
from projections.webhooks import WebhookView

LEASE = "webhooks"
RETRY_SECONDS_MIN = 1.0
RETRY_SECONDS_MAX = 1800.0
WATCH_SECONDS = 1.0
KEEP_POSITION_EVENTS = 1000
DRAIN_SECONDS = 5.0
PAUSE_SECONDS = 1.0
FOLLOW_SECONDS_MAX = 5.0
GONE = 410
USER_AGENT = f"Scrinia/{version('scrinia-server')}"
_CHANCE = random.Random()  # noqa: S311  # spreads load, hides nothing
log = logging.getLogger("scrinia.webhooks")
T = TypeVar("T")
Contents = Callable[[Sequence[str]], Mapping[str, Content]]
Disable = Callable[[DisableFailingWebhook], Awaitable[int]]


def retry_seconds(attempts: int, retry_after: float | None = None) -> float:
    """The pause after so many failures: doubling, capped, half to one and a half times as long.

    Not sooner than the receiver asked for, as long as that is within the cap.
    """
    doubled = min(RETRY_SECONDS_MAX, RETRY_SECONDS_MIN * 2.0 ** min(attempts - 1, 20))
    jittered = doubled * _CHANCE.uniform(0.5, 1.5)
    return min(max(jittered, retry_after or 0.0), RETRY_SECONDS_MAX)


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
        self._deliveries = deliveries
        self._follower = follower
        self._elections = elections
        self._courier = courier
        self._disable = disable
        self._give_up_seconds = give_up_seconds
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="scrinia-webhooks")
        self._telling: dict[str, asyncio.Task[None]] = {}
        self._changed = asyncio.Event()
        self._closing = False
        self._outage = Outage(log, "keeping what webhooks were told")
        self._passed: dict[str, tuple[int, int]] = {}
        self.states: dict[str, DeliveryState] = {}
        webhooks.on_change(self._changed.set)

    @property
    def position(self) -> int:
        """How far the webhook that is furthest behind was told; the head where there is none."""
        told = [self._told(self.states[o]) for o in self._webhooks.enabled if o in self.states]
        return min(told, default=self._follower.position)

    def _told(self, state: DeliveryState) -> int:
        """How far it was told, with what it did not want and nobody wrote down yet."""
        revision, position = self._passed.get(state.webhook_id, (0, 0))
        return position if revision == state.revision else state.position

    def close(self) -> None:
        """End `run` after the attempts under way."""
        self._closing = True
        self._changed.set()

    async def run(self) -> None:
        """Tell until `close`."""
        while not self._closing:
            try:
                await self._look()
                self._staff()
                await self._forget()
                self._outage.over()
            except PersistenceError as error:
                self._outage.failed(error)
            except Exception:
                log.exception("webhooks are not told now; trying again")
            await wait_and_clear(self._changed, WATCH_SECONDS)
        await self._dismiss()
        self._thread.shutdown()

    async def _look(self) -> None:
        """See how far each was told, by whichever process, and where one was rewound."""
        if not self._webhooks.known:
            return
        for webhook_id, state in (await self._do(self._deliveries.states)).items():
            held = self.states.get(webhook_id)
            if held is None or state.revision > held.revision:
                self.states[webhook_id] = state

    def _staff(self) -> None:
        """One task for each that is to be told here, and none for others."""
        wanted = set(self._webhooks.enabled) if self._elections.held(LEASE) else set()
        for webhook_id in set(self._telling) - wanted:
            self._telling.pop(webhook_id).cancel()
        for webhook_id in wanted:
            task = self._telling.get(webhook_id)
            if task is None or task.done():
                self._telling[webhook_id] = asyncio.create_task(self._tell(webhook_id))

    async def _forget(self) -> None:
        """Drop what is kept of those that were deleted."""
        for webhook_id in self._webhooks.deleted & self.states.keys():
            if self._elections.held(LEASE):
                await self._do(self._deliveries.forget, webhook_id)
            del self.states[webhook_id]

    async def _dismiss(self) -> None:
        tasks = list(self._telling.values())
        if tasks:
            await asyncio.wait(tasks, timeout=DRAIN_SECONDS)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _do(self, work: Callable[..., T], *args: Any) -> T:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, partial(work, *args))

    # One webhook

    async def _tell(self, webhook_id: str) -> None:
        while self._holds(webhook_id):
            try:
                if self._outage.lasts:
                    await self._look()  # before anything is sent of which nothing could be kept
                if webhook_id not in self.states:
                    await self._begin(webhook_id)
                await self._step(webhook_id)
                continue
            except OvertakenError:
                await self._look()
            except PersistenceError as error:
                self._outage.failed(error)
            except Exception:
                log.exception("webhook %s is not told now; trying again", webhook_id)
            await asyncio.sleep(PAUSE_SECONDS)

    async def _begin(self, webhook_id: str) -> None:
        """It is told of what came after it."""
        begin = self._webhooks.known[webhook_id].position
        await self._do(self._deliveries.begin, webhook_id, begin)
        await self._look()

    def _holds(self, webhook_id: str) -> bool:
        known = self._webhooks.known.get(webhook_id)
        working = self._elections.held(LEASE) and not self._closing
        return working and known is not None and known.webhook.enabled

    async def _step(self, webhook_id: str) -> None:
        """The next event there is for it, or a moment's wait."""
        webhook = self._webhooks.known[webhook_id].webhook
        state = self.states[webhook_id]
        if state.version != webhook.version:
            state = replace(state, attempts=0, failing_since=None, next_at=None)
        pause = (state.next_at or 0.0) - now().timestamp()
        if pause > 0:
            await asyncio.sleep(min(pause, WATCH_SECONDS))
            return
        head = self._follower.position
        recorded = await self._next(webhook, self._told(state), head)
        if recorded is None:
            await self._pass(state, head)
        elif self._holds(webhook_id):
            await self._attempt(webhook, state, recorded)

    async def _next(self, webhook: Webhook, after: int, until: int) -> RecordedEvent | None:
        """The first event after a position that it wants."""
        while after < until:
            for recorded in await self._follower.read(after, READ_EVENTS_MAX):
                after = recorded.position
                label = recorded.payload["data"].get("label")
                if webhook.wants(recorded.kind_verb, recorded.resource, label):
                    return recorded
        return None

    async def _pass(self, state: DeliveryState, position: int) -> None:
        """Nothing up to there is for it: wait for more, and write that down now and then."""
        self._passed[state.webhook_id] = (state.revision, position)
        quiet = not await self._follower.wait_beyond(position, WATCH_SECONDS)
        behind = position - state.position
        if behind >= KEEP_POSITION_EVENTS or (quiet and behind > 0):
            await self._move(state, replace(state, position=position))

    async def _attempt(
        self, webhook: Webhook, state: DeliveryState, recorded: RecordedEvent
    ) -> None:
        moment = now()
        sent = await self._courier.send(webhook, Message.of(recorded))
        attempt = Attempt(
            recorded.position, recorded.payload["id"], recorded.kind_verb, state.attempts + 1,
            format_time(moment), sent,
        )  # fmt: skip
        if sent.delivered:
            taken = DeliveryState(state.webhook_id, recorded.position)
            await self._move(state, taken, attempt)
            return
        failed = replace(self._failed(state, moment, sent), version=webhook.version)
        await self._move(state, failed, attempt)
        if sent.status == GONE:
            await self._end(webhook, "gone", "The receiver answered 410 Gone.")
        elif failed.next_at is None:
            hours = self._give_up_seconds / 3600
            await self._end(webhook, "failing", f"No delivery was taken for {hours:g} hours.")

    def _failed(self, state: DeliveryState, moment: datetime, sent: Sent) -> DeliveryState:
        """When to try again; never where it has failed too long."""
        since = state.failing_since or moment.timestamp()
        attempts = state.attempts + 1
        last = since + self._give_up_seconds
        ended = sent.status == GONE or moment.timestamp() >= last
        pause = retry_seconds(attempts, sent.retry_after_seconds)
        next_at = None if ended else min(now().timestamp() + pause, last)
        return replace(state, attempts=attempts, failing_since=since, next_at=next_at)

    async def _move(
        self, before: DeliveryState, after: DeliveryState, attempt: Attempt | None = None
    ) -> None:
        moved = await self._do(self._deliveries.move, before, after, attempt)
        self.states[moved.webhook_id] = moved
        self._outage.over()

    async def _end(self, webhook: Webhook, cause: Any, reason: str) -> None:
        """Disable it, if nobody has changed it meanwhile; what it was not told stays to be told."""
        command = DisableFailingWebhook(webhook.id, cause, webhook.version, reason)
        try:
            position = await self._disable(command)
            await self._follower.wait_beyond(position - 1, FOLLOW_SECONDS_MAX)
            log.warning("webhook %s is disabled: %s", webhook.id, reason)
        except (DomainError, LedgerError) as error:
            log.warning("webhook %s was not disabled: %s", webhook.id, error)
            await asyncio.sleep(PAUSE_SECONDS)
