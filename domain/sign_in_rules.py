"""What the registry asks of everybody who signs in: one stream, so that it has a history."""

from datetime import datetime
from uuid import UUID

from eventsourcing.domain import Aggregate, event

RULES_ID = UUID("f5d1b7c2-4e0a-5d64-8a53-91b6f1a9c0de")


class SignInRules(Aggregate):
    """Whether sessions need a second factor before they may do anything."""

    TOPIC = "io.scrinia.signinrules"

    class Created(Aggregate.Created):
        """The rules were set for the first time."""

        TOPIC = "io.scrinia.signinrules.set.v1"
        second_factor: bool

    class Changed(Aggregate.Event):
        """The rules are others from now on."""

        TOPIC = "io.scrinia.signinrules.changed.v1"
        second_factor: bool

    def __init__(self, second_factor: bool) -> None:
        self.second_factor = second_factor

    @classmethod
    def begin(cls, second_factor: bool, at: datetime) -> "SignInRules":
        """The first rules."""
        return cls._create(cls.Created, id=RULES_ID, timestamp=at, second_factor=second_factor)

    def change(self, second_factor: bool, at: datetime) -> None:
        """Other rules."""
        self.trigger_event(self.Changed, timestamp=at, second_factor=second_factor)

    @event(Changed)
    def _apply_changed(self, second_factor: bool) -> None:
        self.second_factor = second_factor
