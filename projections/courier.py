"""What a webhook is sent: Standard Webhooks headers and signatures around the feed's CloudEvent."""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
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

    def __init__(self, key: bytes, sender: Sender, contents: Contents, readers: Executor) -> None:
        self._key = key
        self._key_id = key_id_of(key)
        self._contents = contents
        self._readers = readers
        self.sender = sender
        self.results: Counter[str] = Counter(delivered=0)

    def can_sign(self, webhook: Webhook) -> bool:
        """Whether its newest secret comes from the key that is here."""
        return webhook.secrets[-1].key_id == self._key_id

    async def send(self, webhook: Webhook, message: Message) -> Sent:
        """Send once; a webhook that cannot be sent to says why in `error`."""
        commitment = webhook.url["commitment"]
        loop = asyncio.get_running_loop()
        held = await loop.run_in_executor(self._readers, self._contents, [commitment])
        if commitment not in held:
            sent = Sent(None, "url_erased", 0.0)
        elif not self.can_sign(webhook):
            sent = Sent(None, "other_webhook_key", 0.0)
        else:
            url = held[commitment].body.decode()
            headers = self._headers(webhook, message)
            sent = await self.sender.post(url, message.body, headers)
        self.results["delivered" if sent.delivered else sent.error or "refused"] += 1
        return sent

    def _headers(self, webhook: Webhook, message: Message) -> dict[str, str]:
        moment = now()
        timestamp = int(moment.timestamp())
        secrets = [
            derive_secret(self._key, webhook.id, secret.number)
            for secret in webhook.signing(moment)
            if secret.key_id == self._key_id
        ]
        signatures = [sign(secret, message.id, timestamp, message.body) for secret in secrets]
        headers = {
            "Content-Type": "application/json",
            "User-Agent": USER_AGENT,
            "webhook-id": message.id,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": " ".join(signatures),
        }
        return headers | ({"traceparent": message.trace} if message.trace else {})
