"""The feed: events as CloudEvents 1.0, by pages and live.

One shape for SSE, JSON pages and (later) NATS and webhooks. A reader is a position that walks the
follower's events; nothing is queued per reader, so a slow one costs nothing but its own time.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from ledger.follower import READ_EVENTS_MAX, Follower
from ledger.mapper import RecordedEvent

SCAN_EVENTS_MAX = 10_000
WAIT_SECONDS = 1.0

MayRead = Callable[[RecordedEvent], bool]


@dataclass(frozen=True)
class FeedFilter:
    """Which events: `kind` is a kind or kind.verb, `prompt` a name within `project`.

    `composed_of`: prompts of the project whose events go with those of `prompt`.
    """

    kind: str | None = None
    project: str | None = None
    prompt: str | None = None
    composed_of: frozenset[str] = frozenset()

    def matches(self, recorded: RecordedEvent) -> bool:
        """Whether a reader asked for this event."""
        if self.kind is not None:
            kind_verb = recorded.kind_verb
            if self.kind not in (kind_verb, kind_verb.partition(".")[0]):
                return False
        if self.project is None:
            return True
        subject = recorded.resource
        project = f"projects/{self.project}"
        if self.prompt is not None:
            name = subject.removeprefix(f"{project}/prompts/")
            return name != subject and (name == self.prompt or name in self.composed_of)
        return subject == project or subject.startswith(project + "/")


def cloud_event(recorded: RecordedEvent) -> dict[str, Any]:
    """An event as CloudEvents 1.0 JSON (https://github.com/cloudevents/spec, structured mode)."""
    fields = recorded.payload
    trace = fields["request"].get("trace")
    return {
        "specversion": "1.0",
        "id": fields["id"],
        "source": f"/ledgers/{fields['ledger']}",
        "type": fields["type"],
        "subject": recorded.resource,
        "time": fields["time"],
        "datacontenttype": "application/json",
        "position": recorded.position,
        "sequence": f"{recorded.position:020d}",
        "stream": recorded.stream,
        **({"traceparent": trace} if trace else {}),
        "data": fields["data"],
    }


Refresh = Callable[[FeedFilter], Awaitable[FeedFilter]]


@dataclass(frozen=True)
class FeedPage:
    """Some events, the position to continue after (None: at the head), and the head."""

    items: list[dict[str, Any]]
    next_after: int | None
    head: int


class Feed:
    """Pages and live streams of the events a reader may see."""

    def __init__(self, follower: Follower) -> None:
        self._follower = follower
        self._closing = False

    def close(self) -> None:
        """End every live stream within WAIT_SECONDS."""
        self._closing = True

    @property
    def head(self) -> int:
        """The last position that can be read."""
        return self._follower.position

    async def page(self, after: int, limit: int, wanted: FeedFilter, may_read: MayRead) -> FeedPage:
        """Up to `limit` events after a position; looks at no more than SCAN_EVENTS_MAX."""
        items: list[dict[str, Any]] = []
        position = after
        while position < self.head and position - after < SCAN_EVENTS_MAX:
            for recorded in await self._follower.read(position, READ_EVENTS_MAX):
                position = recorded.position
                if wanted.matches(recorded) and may_read(recorded):
                    items.append(cloud_event(recorded))
                    if len(items) == limit:
                        return FeedPage(items, self._next(position), self.head)
        return FeedPage(items, self._next(position), self.head)

    def _next(self, position: int) -> int | None:
        return position if position < self.head else None

    async def live(
        self,
        after: int,
        wanted: FeedFilter,
        still_allowed: Callable[[], bool],
        may_read: MayRead,
        refreshed: Refresh | None = None,
    ) -> AsyncIterator[RecordedEvent]:
        """Events after a position as they come, each once, in order; ends with the right to it.

        `refreshed` gives the filter anew after each event, since that may change what belongs.
        """
        position = after
        while still_allowed() and not self._closing:
            batch = await self._follower.read(position) if position < self.head else []
            for recorded in batch:
                position = recorded.position
                if not still_allowed():
                    return
                matched = wanted.matches(recorded) and may_read(recorded)
                if matched:
                    yield recorded
                if refreshed is not None and (matched or recorded.stream.startswith("project/")):
                    wanted = await refreshed(wanted)
            if not batch:
                if self._follower.closed:
                    return
                await self._follower.wait_beyond(position, WAIT_SECONDS)
