"""Which webhooks there are, in memory: every process knows them as far as it has followed."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from domain.webhook import Webhook
from ledger.mapper import RecordedEvent, SigningMapper
from ledger.recorder import LedgerRecorder
from ledger.trust import TrustedKeys, check_authentic


@dataclass(frozen=True)
class KnownWebhook:
    """A webhook, when it was made (RFC 3339) and at which position."""

    webhook: Webhook
    created_at: str
    position: int


class WebhookView:
    """All webhooks by id, and the ids of those that were deleted."""

    def __init__(self) -> None:
        self.known: dict[str, KnownWebhook] = {}
        self.deleted: set[str] = set()
        self._tell: list[Callable[[], None]] = []

    def load(
        self, recorder: LedgerRecorder, mapper: SigningMapper, until: int, keys: TrustedKeys
    ) -> None:
        """Fold all webhook events up to a position, checking signatures."""
        for stored in recorder.select_kind("webhook", until):
            check_authentic(stored, keys)
            self._take(mapper.recorded(stored))

    def on_change(self, tell: Callable[[], None]) -> None:
        """Have something called after every batch that changed a webhook."""
        self._tell.append(tell)

    def apply(self, batch: Sequence[RecordedEvent]) -> None:
        """Follow the ledger."""
        concerned = [recorded for recorded in batch if recorded.stream.startswith("webhook/")]
        for recorded in concerned:
            self._take(recorded)
        if concerned:
            for tell in self._tell:
                tell()

    def _take(self, recorded: RecordedEvent) -> None:
        webhook_id = str(recorded.event.originator_id)
        known = self.known.get(webhook_id)
        webhook = recorded.event.mutate(known.webhook if known else None)
        if not isinstance(webhook, Webhook) or webhook.deleted:
            self.known.pop(webhook_id, None)
            self.deleted.add(webhook_id)
        elif known is None:
            self.known[webhook_id] = KnownWebhook(webhook, recorded.time, recorded.position)

    @property
    def enabled(self) -> list[str]:
        """Ids of those that are told."""
        return [one for one, known in self.known.items() if known.webhook.enabled]
