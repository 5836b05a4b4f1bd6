"""What deciding a command needs and what comes out: the ports and the result."""

from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar
from uuid import UUID

from eventsourcing.domain import Aggregate, CanMutateAggregate

from domain.commitment import Content
from domain.credential import Credential

AggregateT = TypeVar("AggregateT", bound=Aggregate)


class Session(Protocol):
    """The state a decision rests on. Every stream loaded becomes a condition of the unit."""

    def load(self, kind: type[AggregateT], aggregate_id: UUID) -> AggregateT | None:
        """A private copy of an aggregate, None where its stream is empty."""

    def before(self, kind: type[AggregateT], aggregate_id: UUID) -> AggregateT | None:
        """An aggregate as it was before this decision. Never change what it returns."""

    def content(self, commitment: str) -> Content | None:
        """A text that an event refers to, None where it was erased."""

    def actor(self, kind: type[Aggregate], aggregate_id: UUID, stream_position: int) -> str:
        """The id of the principal who did what stands at a position of a loaded stream."""


class Ids(Protocol):
    """Where ids, salts and secrets come from."""

    def new_id(self) -> UUID:
        """A new UUIDv7 (RFC 9562)."""

    def salt(self) -> bytes:
        """SALT_BYTES random bytes."""

    def secret(self) -> str:
        """A new API token: `scr_` and 256 random bits."""

    def webhook_secret(self, webhook_id: UUID, number: int) -> tuple[str, str]:
        """The id of the webhook key, and the webhook's secret of this number from it."""

    def login_id(self, login: str) -> UUID:
        """The stream of a login name, in the form names are compared in."""

    def session_tokens(self, session_id: UUID, number: int) -> tuple[str, str]:
        """A session's access and refresh token of this number."""

    def sealed_verifier(self, principal_id: str, number: int, verifier: bytes) -> bytes:
        """A password's verifier as it is kept, bound to whose and the how-manieth it is."""

    def recovery_code(self) -> str:
        """A new code to do without a second factor: RECOVERY_CODE_BYTES random bytes."""

    def sign_in_key_id(self) -> str:
        """What events call the key that second factors' secrets derive from."""


@dataclass(frozen=True)
class Before:
    """What a decision found, whatever it has decided meanwhile (`domain.standing.Streams`)."""

    session: Session

    def load(self, kind: type[AggregateT], aggregate_id: UUID) -> AggregateT | None:
        """An aggregate as it was, None where its stream was empty."""
        return self.session.before(kind, aggregate_id)


@dataclass(frozen=True)
class Provenance:
    """By whom and by what right, in the form the ledger writes."""

    actor: dict[str, Any]
    authz: dict[str, Any]


@dataclass(frozen=True)
class Answer:
    """What the caller is told; the ledger adds `position` and `changed`.

    `made` tells 201 from 200. `secret` maps a field of the body to what is shown once and never
    stored.
    """

    body: dict[str, Any]
    made: bool = False
    secret: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Change:
    """An aggregate as it is now and the events that made it so, in order; maybe none.

    `provenance`: where these events have another than the decision, of which they are one of many.
    """

    aggregate: Aggregate
    events: tuple[CanMutateAggregate[UUID], ...]
    provenance: Provenance | None = None


@dataclass(frozen=True)
class Decision:
    """Changes in order, the texts they commit to, who decided them, the answer, and what checks
    secrets from now on.

    The last change is of the aggregate the answer speaks of: an answer without events takes the
    position of that aggregate's stream.
    """

    changes: tuple[Change, ...]
    contents: tuple[Content, ...]
    provenance: Provenance
    answer: Answer
    credentials: tuple[Credential, ...] = ()


def changes_of(*aggregates: Aggregate) -> tuple[Change, ...]:
    """Collect what was decided on these aggregates, in this order."""
    return tuple(Change(a, tuple(a.collect_events())) for a in aggregates)
