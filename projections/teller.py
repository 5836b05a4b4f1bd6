"""One webhook, told of one event after the other, the next only when the last was taken."""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import datetime

from eventsourcing.persistence import PersistenceError

from domain.commands import DisableFailingWebhook
from domain.errors import DomainError
from domain.webhook import Webhook
from ledger.errors import LedgerError
from ledger.follower import Follower
from ledger.ids import now
from ledger.mapper import RecordedEvent
from ledger.payload import format_time
from projections.backlog import Backlog
from projections.courier import Courier, Message
from projections.deliveries import Attempt, DeliveryState, Ended
from projections.desk import Desk
from projections.errors import OvertakenError
from projections.outbound import Sent
from projections.webhooks import WebhookView

RETRY_SECONDS_MIN = 1.0
RETRY_SECONDS_MAX = 1800.0
JITTER = (0.5, 1.5)
PAUSE_SECONDS_MAX = RETRY_SECONDS_MAX * JITTER[1]
WATCH_SECONDS = 1.0
PAUSE_SECONDS = 1.0
OTHER_KEY_SECONDS = 10.0
KEEP_POSITION_EVENTS = 1000
FOLLOW_SECONDS_MAX = 5.0
GONE = 410
_CHANCE = random.Random()  # noqa: S311  # spreads load, hides nothing
log = logging.getLogger("scrinia.webhooks")
Disable = Callable[[DisableFailingWebhook], Awaitable[int]]


def retry_seconds(attempts: int, retry_after: float | None = None) -> float:
    """The pause after so many failures: doubling to RETRY_SECONDS_MAX, each time JITTER as long.

    Not sooner than the receiver asked for, as far as that is within RETRY_SECONDS_MAX.
    """
    doubled = min(RETRY_SECONDS_MAX, RETRY_SECONDS_MIN * 2.0 ** min(attempts - 1, 20))
    return max(doubled * _CHANCE.uniform(*JITTER), min(retry_after or 0.0, RETRY_SECONDS_MAX))


@dataclass(frozen=True)
class Telling:
    """What every teller works with. `holds`: whether this process may tell a webhook now."""

    desk: Desk
    webhooks: WebhookView
    backlog: Backlog
    follower: Follower
    courier: Courier
    disable: Disable
    give_up_seconds: float
    holds: Callable[[str], bool]


class Teller:
    """Tells one webhook while this process may."""

    def __init__(self, webhook_id: str, telling: Telling) -> None:
        self._id = webhook_id
        self._with = telling

    async def run(self) -> None:
        """Tell until the webhook, the lease or the process ends."""
        desk = self._with.desk
        while self._with.holds(self._id):
            try:
                if desk.outage.lasts:  # somebody else looks when it is over
                    await asyncio.sleep(PAUSE_SECONDS)
                elif self._id not in desk.states:
                    await desk.begin(self._id, self._with.webhooks.known[self._id].position)
                else:
                    await self._step(desk.states[self._id])
                continue
            except OvertakenError:
                await desk.look()
            except PersistenceError as error:
                desk.outage.failed(error)
            except Exception:
                log.exception("webhook %s is not told now; trying again", self._id)
            await asyncio.sleep(PAUSE_SECONDS)

    async def _step(self, state: DeliveryState) -> None:
        """The next event there is for it, or a moment's wait."""
        webhook = self._with.webhooks.known[self._id].webhook
        if state.edition != webhook.edition:
            state = replace(state, attempts=0, failing_since=None, next_at=None, ended=None)
        if state.ended is not None:
            await self._end(webhook, state.ended)
            return
        pause = (state.next_at or 0.0) - now().timestamp()
        if 0 < pause <= PAUSE_SECONDS_MAX:  # a longer one is a clock's fault
            await asyncio.sleep(min(pause, WATCH_SECONDS))
            return
        head = self._with.follower.position
        recorded = await self._next(webhook, state, head)
        if recorded is None:
            await self._rest(state, head)
        elif not self._with.courier.can_sign(webhook):
            log.error("webhook %s has secrets of another keys/webhook.key", self._id)
            await asyncio.sleep(OTHER_KEY_SECONDS)
        elif self._with.holds(self._id):
            await self._attempt(webhook, state, recorded)

    async def _next(
        self, webhook: Webhook, state: DeliveryState, until: int
    ) -> RecordedEvent | None:
        """The first event it was not told of and wants."""
        while (after := self._with.desk.told(state)) < until:
            for recorded in await self._with.backlog.after(after):
                label = recorded.payload["data"].get("label")
                if webhook.wants(recorded.kind_verb, recorded.resource, label):
                    return recorded
                after = recorded.position
            self._with.desk.pass_over(state, after)
            await asyncio.sleep(0)
        return None

    async def _rest(self, state: DeliveryState, position: int) -> None:
        """Nothing up to there is for it: wait for more, and write that down now and then."""
        if state.attempts:  # what failed is wanted no more
            await self._with.desk.move(state, DeliveryState(self._id, position))
            return
        quiet = not await self._with.follower.wait_beyond(position, WATCH_SECONDS)
        behind = position - state.position
        if behind >= KEEP_POSITION_EVENTS or (quiet and behind > 0):
            await self._with.desk.move(state, replace(state, position=position))

    async def _attempt(
        self, webhook: Webhook, state: DeliveryState, recorded: RecordedEvent
    ) -> None:
        moment, edition = now(), webhook.edition
        sent = await self._with.courier.send(webhook, Message.of(recorded))
        attempt = Attempt(
            recorded.position, recorded.payload["id"], recorded.kind_verb, state.attempts + 1,
            format_time(moment), sent,
        )  # fmt: skip
        if sent.delivered:
            after = DeliveryState(self._id, recorded.position)
        else:
            after = replace(self._failed(state, moment, sent), edition=edition)
        await self._with.desk.move(state, after, attempt)

    def _failed(self, state: DeliveryState, moment: datetime, sent: Sent) -> DeliveryState:
        """When to try again, or that it has failed too long.

        Time in which nobody tried (the registry was down, a clock jumped) is not time it failed.
        """
        at = moment.timestamp()
        since = min(state.failing_since or at, at)
        overdue = at - state.next_at if state.next_at is not None else 0.0
        if overdue > RETRY_SECONDS_MAX:
            since = min(since + overdue, at)
        attempts = state.attempts + 1
        ended: Ended | None = None
        if sent.status == GONE:
            ended = "gone"
        elif at >= since + self._with.give_up_seconds:
            ended = "failing"
        pause = retry_seconds(attempts, sent.retry_after_seconds)
        next_at = min(at + sent.seconds + pause, max(at, since + self._with.give_up_seconds))
        return replace(state, attempts=attempts, failing_since=since, next_at=next_at, ended=ended)

    async def _end(self, webhook: Webhook, cause: Ended) -> None:
        """Disable it: that it is over is kept already, so nobody sends to it meanwhile."""
        hours = self._with.give_up_seconds / 3600
        reason = {
            "gone": "The receiver answered 410 Gone.",
            "failing": f"No delivery was taken for {hours:g} hours.",
        }[cause]
        command = DisableFailingWebhook(webhook.id, cause, webhook.edition, reason)
        try:
            position = await self._with.disable(command)
            await self._with.follower.wait_beyond(position - 1, FOLLOW_SECONDS_MAX)
            log.warning("webhook %s is disabled: %s", self._id, reason)
        except (DomainError, LedgerError) as error:
            log.warning("webhook %s was not disabled: %s", self._id, error)
            await asyncio.sleep(FOLLOW_SECONDS_MAX)
