"""A prompt with its past: who did each of its events, and where in the ledger."""

from dataclasses import dataclass
from typing import Any

from domain.access import not_found, prompt_resource
from domain.errors import ErasedError
from domain.prompt import Prompt
from domain.version import Version
from ledger.mapper import RecordedEvent


@dataclass
class History:
    """A prompt with who did each of its events and where in the ledger, by stream position."""

    prompt: Prompt
    events: list[RecordedEvent]

    def apply(self, recorded: RecordedEvent) -> None:
        """Take in the next event of the stream."""
        recorded.event.mutate(self.prompt)
        self.events.append(recorded)

    def actor_at(self, stream_position: int) -> str:
        """Who did the event at a stream position."""
        actor: str = self.events[stream_position - 1].payload["actor"]["id"]
        return actor

    def position_at(self, stream_position: int) -> int:
        """Where in the ledger the event at a stream position is."""
        return self.events[stream_position - 1].position


def fold_history(events: list[RecordedEvent], key: tuple[str, str]) -> History:
    """A prompt out of its whole stream; NotFoundError where the stream is empty."""
    prompt: Any = None
    for recorded in events:
        prompt = recorded.event.mutate(prompt)
    if prompt is None:
        raise not_found(prompt_resource(*key))
    return History(prompt, events)


def check_erased(prompt: Prompt, version: Version, body: bytes | None) -> bytes:
    """The body, or ErasedError where there is none."""
    if body is None:
        raise ErasedError(
            f"The content of {prompt.project}/{prompt.name}@{version.number} was erased."
        )
    return body
