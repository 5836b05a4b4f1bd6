"""Domain events to signed stored events and back.

Extends the library's Mapper: canonical bytes, one signature over exactly these bytes, and a closed
registry of types (`domain/topics.py`) instead of importing whatever a row names.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from eventsourcing.domain import (
    Aggregate,
    CanInitAggregate,
    CanMutateAggregate,
    DomainEventProtocol,
)
from eventsourcing.persistence import JSONTranscoder, Mapper, Notification, StoredEvent
from eventsourcing.utils import get_topic

from domain.decision import Provenance
from domain.topics import AGGREGATES, event_classes, short_type
from ledger import payload
from ledger.errors import UnknownTypeError
from ledger.signing import Signer

_BASE_FIELDS = frozenset({"originator_id", "originator_version", "timestamp", "originator_topic"})
_PYTHON_NAMES = {"from": "from_"}


@dataclass(frozen=True)
class SignedEvent(StoredEvent):
    """A stored event with what proves it. `originator_id` is the stream, `state` the payload."""

    event_id: str
    time: str
    key_id: str
    signature: bytes
    leaf_hash: bytes


@dataclass(frozen=True)
class SignedNotification(Notification):
    """A signed event at its position (`id`) in the ledger."""

    event_id: str
    time: str
    key_id: str
    signature: bytes
    leaf_hash: bytes


@dataclass(frozen=True)
class Stamped:
    """A domain event with all that its payload says beside its own data."""

    event: CanMutateAggregate[UUID]
    stream: str
    event_id: UUID
    prev: str
    provenance: Provenance
    request: dict[str, Any]

    @property
    def originator_id(self) -> UUID:
        """The aggregate's id."""
        return self.event.originator_id

    @property
    def originator_version(self) -> int:
        """The stream position."""
        return self.event.originator_version


@dataclass(frozen=True, slots=True)
class RecordedEvent:
    """An event as everybody downstream of the ledger sees it: position, payload, domain event."""

    position: int
    payload: dict[str, Any]
    event: CanMutateAggregate[UUID]
    leaf_hash: bytes

    @property
    def type(self) -> str:
        """`io.scrinia.{kind}.{verb}.v{n}`."""
        text: str = self.payload["type"]
        return text

    @property
    def kind_verb(self) -> str:
        """`{kind}.{verb}`: `label.moved`, `version.committed`, …"""
        return short_type(self.type)

    @property
    def stream(self) -> str:
        """`{kind}/{uuid}`."""
        text: str = self.payload["stream"]
        return text

    @property
    def resource(self) -> str:
        """What it was done on, as authz, audit and subjects write it."""
        text: str = self.payload["authz"]["resource"]
        return text

    @property
    def time(self) -> str:
        """RFC 3339, UTC."""
        text: str = self.payload["time"]
        return text


@dataclass(frozen=True)
class EventType:
    """What a stored type resolves to; `version` is the form the row was written in."""

    event_class: type[CanMutateAggregate[UUID]]
    stream_kind: str
    aggregate_topic: str


class TypeRegistry:
    """The closed set of types. Older forms of a type resolve to its class and are upcast."""

    def __init__(self, aggregates: dict[str, type[Aggregate]] | None = None) -> None:
        self._types: dict[str, EventType] = {}
        for kind, aggregate in (aggregates or AGGREGATES).items():
            for event_class in event_classes(aggregate):
                known = EventType(event_class, kind, get_topic(aggregate))
                self._types[_unversioned(get_topic(event_class))] = known

    def resolve(self, type_: str) -> EventType:
        """The type's class; UnknownTypeError for anything not in the list."""
        known = self._types.get(_unversioned(type_))
        if known is None or not 1 <= _form(type_) <= _form(get_topic(known.event_class)):
            raise UnknownTypeError(
                f"Unknown event type {type_!r}: run a newer Scrinia on this ledger."
            )
        return known


def _unversioned(type_: str) -> str:
    return type_.rpartition(".v")[0]


def _form(type_: str) -> int:
    number = type_.rpartition(".v")[2]
    return int(number) if number.isdecimal() else 0


class SigningMapper(Mapper[UUID]):
    """The library's mapper, signing what it writes and resolving only what it knows."""

    def __init__(
        self, ledger_id: str, signer: Signer | None, types: TypeRegistry | None = None
    ) -> None:
        super().__init__(JSONTranscoder())
        self._ledger_id = ledger_id
        self._signer = signer
        self.types = types or TypeRegistry()

    def to_stored_event(self, domain_event: DomainEventProtocol[UUID]) -> SignedEvent:
        """Canonical bytes and their signature; takes a Stamped event only."""
        if not isinstance(domain_event, Stamped) or self._signer is None:
            raise TypeError("only a stamped event can be signed, and only with a key")
        fields = self._payload(domain_event)
        body = payload.encode(fields)
        signature = self._signer.sign(payload.pre_authentication_encoding(body))
        key_id = self._signer.key_id
        return SignedEvent(
            originator_id=domain_event.stream,
            originator_version=domain_event.originator_version,
            topic=fields["type"],
            state=body,
            event_id=fields["id"],
            time=fields["time"],
            key_id=key_id,
            signature=signature,
            leaf_hash=payload.leaf_hash(body, key_id, signature),
        )

    def _payload(self, stamped: Stamped) -> dict[str, Any]:
        event = stamped.event
        return {
            "spec": payload.SPEC,
            "ledger": self._ledger_id,
            "id": str(stamped.event_id),
            "type": get_topic(type(event)),
            "stream": stamped.stream,
            "stream_position": event.originator_version,
            "prev": stamped.prev,
            "time": payload.format_time(event.timestamp),
            "actor": stamped.provenance.actor,
            "authz": stamped.provenance.authz,
            "request": stamped.request,
            "data": {
                name.rstrip("_"): value
                for name, value in vars(event).items()
                if name not in _BASE_FIELDS
            },
        }

    def to_domain_event(self, stored_event: StoredEvent) -> CanMutateAggregate[UUID]:
        """The domain event in a stored event's payload."""
        return self.domain_event(payload.decode(stored_event.state))

    def domain_event(self, fields: dict[str, Any]) -> CanMutateAggregate[UUID]:
        """The domain event in decoded payload fields, upcast to the form of today."""
        known = self.types.resolve(fields["type"])
        state: dict[str, Any] = {
            _PYTHON_NAMES.get(name, name): value for name, value in fields["data"].items()
        }
        for form in range(_form(fields["type"]), getattr(known.event_class, "class_version", 1)):
            getattr(known.event_class, f"upcast_v{form}_v{form + 1}")(state)
        state["originator_id"] = UUID(fields["stream"].partition("/")[2])
        state["originator_version"] = fields["stream_position"]
        state["timestamp"] = datetime.fromisoformat(fields["time"])
        if issubclass(known.event_class, CanInitAggregate):
            state["originator_topic"] = known.aggregate_topic
        event: CanMutateAggregate[UUID] = object.__new__(known.event_class)
        object.__setattr__(event, "__dict__", state)
        return event

    def recorded(self, notification: SignedNotification) -> RecordedEvent:
        """A stored event as the followers see it."""
        fields = payload.decode(notification.state)
        return RecordedEvent(
            notification.id, fields, self.domain_event(fields), notification.leaf_hash
        )
