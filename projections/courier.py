"""What a webhook is sent: Standard Webhooks headers and signatures around the feed's CloudEvent."""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version

import orjson

from domain.commitment import Content
from domain.webhook import Webhook
from domain.webhook_signing import derive_secret, key_id_of, sign
from ledger.ids import now
from ledger.mapper import RecordedEvent
from ledger.payload import format_time
from projections.feed import cloud_event
from projections.outbound import Sender, Sent

USER_AGENT = f"Scrinia/{version('scrinia-server')}"
TEST_TYPE = "io.scrinia.webhook.test.v1"
log = logging.getLogger("scrinia.webhooks")
Contents = Callable[[Sequence[str]], Mapping[str, Content]]


@dataclass(frozen=True)
class Message:
    """What is sent: `webhook-id`, body, and the trace the command came with."""

    id: str
    body: bytes
    trace: str | None = None

    @classmethod
    def of(cls, recorded: RecordedEvent) -> "Message":
        """An event's; the same each time it is sent."""
        event = cloud_event(recorded)
        body = orjson.dumps({**event, "timestamp": event["time"]})
        return cls(event["id"], body, recorded.payload["request"].get("trace"))

    @classmethod
    def test(cls, message_id: str, webhook_id: str) -> "Message":
        """One that tells of nothing, to see whether it arrives."""
        body = {
            "type": TEST_TYPE,
            "timestamp": format_time(now()),
            "data": {"webhook_id": webhook_id},
        }
        return cls(message_id, orjson.dumps(body))


class Courier:
    """Signs messages for webhooks and sends them. `key`: what their secrets derive from."""

    def __init__(self, key: bytes, sender: Sender, contents: Contents) -> None:
        self._key = key
        self._key_id = key_id_of(key)
        self._contents = contents
        self.sender = sender
        self.results: Counter[str] = Counter(delivered=0)

    async def send(self, webhook: Webhook, message: Message) -> Sent:
        """Send once; a webhook that cannot be sent to says why in `error`."""
        loop = asyncio.get_running_loop()
        commitment = webhook.url["commitment"]
        held = await loop.run_in_executor(None, self._contents, [commitment])
        headers = self._headers(webhook, message)
        if commitment not in held:
            sent = Sent(None, "url_erased", 0.0)
        elif headers is None:
            sent = Sent(None, "other_webhook_key", 0.0)
        else:
            sent = await self.sender.post(held[commitment].body.decode(), message.body, headers)
        self.results["delivered" if sent.delivered else sent.error or "refused"] += 1
        return sent

    def _headers(self, webhook: Webhook, message: Message) -> dict[str, str] | None:
        moment = now()
        timestamp = int(moment.timestamp())
        signatures = [
            sign(
                derive_secret(self._key, webhook.id, s.number), message.id, timestamp, message.body
            )
            for s in webhook.signing(moment)
            if s.key_id == self._key_id
        ]
        if not signatures:
            log.error("webhook %s has secrets of another keys/webhook.key: rotate it", webhook.id)
            return None
        headers = {
            "Content-Type": "application/json",
            "User-Agent": USER_AGENT,
            "webhook-id": message.id,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": " ".join(signatures),
        }
        return headers | ({"traceparent": message.trace} if message.trace else {})
