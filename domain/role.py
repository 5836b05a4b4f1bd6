"""Custom roles: named sets of permissions, beside the ones that are built in."""

from datetime import datetime
from uuid import UUID, uuid5

from eventsourcing.domain import Aggregate, event

from domain.commitment import ContentRef

_NAMESPACE = UUID("0d6f3b1c-8f39-5c57-9d0e-2f1e6f0f5a34")


def role_id(name: str) -> UUID:
    """The id of a role's stream."""
    return uuid5(_NAMESPACE, name)


class Role(Aggregate):
    """A named set of permissions; its id is derived from its name."""

    TOPIC = "io.scrinia.role"

    class Created(Aggregate.Created):
        """A role came to be."""

        TOPIC = "io.scrinia.role.defined.v1"
        name: str
        permissions: list[str]
        description: ContentRef | None

    class Changed(Aggregate.Event):
        """A role has these permissions from now on, wherever it was given; none: it is no more."""

        TOPIC = "io.scrinia.role.changed.v1"
        permissions: list[str]
        description: ContentRef | None

    def __init__(self, name: str, permissions: list[str], description: ContentRef | None) -> None:
        self.name = name
        self.permissions = frozenset(permissions)
        self.description = description

    @classmethod
    def define(
        cls, name: str, permissions: list[str], description: ContentRef | None, at: datetime
    ) -> "Role":
        """A new role."""
        return cls._create(
            cls.Created,
            id=role_id(name),
            timestamp=at,
            name=name,
            permissions=permissions,
            description=description,
        )

    def change(self, permissions: list[str], description: ContentRef | None, at: datetime) -> None:
        """Have other permissions, or none any more."""
        self.trigger_event(
            self.Changed, timestamp=at, permissions=permissions, description=description
        )

    @event(Changed)
    def _apply_changed(self, permissions: list[str], description: ContentRef | None) -> None:
        self.permissions = frozenset(permissions)
        self.description = description
