"""Consumers: services that say which label of a prompt they use, in which versions, how.

A promotion that would break one is refused unless it is forced. They are a stream of their own, so
that saying so keeps no commit waiting.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID, uuid5

from eventsourcing.domain import Aggregate, event

from domain.commitment import ContentRef
from domain.errors import NotFoundError, TooManyError
from domain.semver import Semver, parse_range
from domain.variables import declarations

CONSUMERS_MAX = 256
VARIABLES_MAX = 256


@dataclass(frozen=True)
class Consumer:
    """One service: which label it reads, in which range (None: any), which variables it passes.

    `variables` None: it does not say. `by` registered it.
    """

    name: str
    label: str
    range: str | None
    variables: tuple[str, ...] | None
    by: str
    at: datetime

    def broken_by(self, semver: Semver | None, content: Mapping[str, Any] | None) -> str | None:
        """Why it could not go on with a version; None where it could.

        `content` None: only the range is looked at.
        """
        if self.range is not None and (semver is None or not parse_range(self.range).holds(semver)):
            return f"uses {self.range}, this is {semver or 'a version without a semver'}"
        if self.variables is None or content is None:
            return None
        declared = declarations(content.get("variables") or {})
        passed = set(self.variables)
        lacking = [one.name for one in declared.values() if one.required and one.name not in passed]
        if lacking:
            return f"does not pass {', '.join(sorted(lacking))}"
        unknown = sorted(passed - declared.keys())
        return f"passes {', '.join(unknown)}, which it does not take" if unknown else None


def consumers_id(prompt_id: UUID) -> UUID:
    """The id of the stream of a prompt's consumers."""
    return uuid5(prompt_id, "consumers")


class Consumers(Aggregate):
    """The registered consumers of one prompt, by name."""

    TOPIC = "io.scrinia.consumers"

    class Created(Aggregate.Created):
        """The first consumer of a prompt is about to register."""

        TOPIC = "io.scrinia.consumers.opened.v1"
        prompt_id: str

    class Registered(Aggregate.Event):
        """A service uses a label of the prompt like this, from now on."""

        TOPIC = "io.scrinia.consumer.registered.v1"
        consumer: str
        label: str
        range: str | None
        variables: list[str] | None
        by: str

    class Removed(Aggregate.Event):
        """A service does not use the prompt any more."""

        TOPIC = "io.scrinia.consumer.removed.v1"
        consumer: str
        reason: ContentRef | None

    def __init__(self, prompt_id: str) -> None:
        self.prompt_id = prompt_id
        self.consumers: dict[str, Consumer] = {}

    @classmethod
    def open(cls, prompt_id: UUID, at: datetime) -> "Consumers":
        """None yet."""
        return cls._create(
            cls.Created, id=consumers_id(prompt_id), timestamp=at, prompt_id=str(prompt_id)
        )

    def of(self, label: str) -> Iterable[Consumer]:
        """Those that use a label, by name."""
        return [one for _, one in sorted(self.consumers.items()) if one.label == label]

    def register(self, consumer: Consumer) -> bool:
        """Let a service use the prompt like this; False where it does already. TooManyError."""
        held = self.consumers.get(consumer.name)
        if held is None and len(self.consumers) >= CONSUMERS_MAX:
            raise TooManyError(f"A prompt has at most {CONSUMERS_MAX} registered consumers.")
        fields = ("label", "range", "variables", "by")
        if held and all(getattr(held, name) == getattr(consumer, name) for name in fields):
            return False
        variables = None if consumer.variables is None else list(consumer.variables)
        self.trigger_event(
            self.Registered, timestamp=consumer.at, consumer=consumer.name, label=consumer.label,
            range=consumer.range, variables=variables, by=consumer.by,
        )  # fmt: skip
        return True

    def remove(self, name: str, reason: ContentRef | None, at: datetime) -> None:
        """Let a service use it no more; NotFoundError."""
        if name not in self.consumers:
            raise NotFoundError(f"There is no registered consumer {name!r} of this prompt.")
        self.trigger_event(self.Removed, timestamp=at, consumer=name, reason=reason)

    @event(Registered)
    def _apply_registered(
        self,
        consumer: str,
        label: str,
        range: str | None,  # noqa: A002  # as the field is called
        variables: list[str] | None,
        by: str,
        timestamp: datetime,
    ) -> None:
        passed = None if variables is None else tuple(variables)
        self.consumers[consumer] = Consumer(consumer, label, range, passed, by, timestamp)

    @event(Removed)
    def _apply_removed(self, consumer: str) -> None:
        del self.consumers[consumer]
