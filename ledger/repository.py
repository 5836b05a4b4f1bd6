"""Aggregates out of their streams: a cache for the writer, private copies for each command."""

from collections import OrderedDict
from copy import copy
from dataclasses import dataclass
from typing import Generic, TypeVar, cast
from uuid import UUID

from eventsourcing.domain import Aggregate, CanMutateAggregate

from domain.access_request import AccessRequest
from domain.access_rules import AccessRules
from domain.change_request import ChangeRequest
from domain.check import VersionChecks
from domain.commitment import Content
from domain.consumer import Consumers
from domain.decision import AggregateT
from domain.keys import KeyRing
from domain.principal import Principal
from domain.project import Project
from domain.role import Role
from domain.sign_in import LoginName, SignIn
from domain.sign_in_rules import SignInRules
from domain.topics import STREAM_KINDS
from domain.user_session import UserSession
from domain.webhook import Webhook
from ledger import payload
from ledger.errors import TamperedError
from ledger.mapper import RecordedEvent, SignedNotification, SigningMapper
from ledger.payload import NO_PREVIOUS, previous_hash
from ledger.recorder import LedgerRecorder
from ledger.trust import TrustedKeys, check_stream, is_authentic

DECISIVE = (
    Principal, Role, KeyRing, Project, Webhook, ChangeRequest, VersionChecks, Consumers,
    LoginName, SignIn, SignInRules, UserSession,
    AccessRules, AccessRequest,
)  # fmt: skip
CACHED_STREAMS_MAX = 20_000
ACTORS_KEPT_MAX = 100_000
CACHED_CONTENT_BYTES_MAX = 32 * 1024 * 1024
_A = TypeVar("_A", bound=Aggregate)


def stream_of(kind: type[Aggregate], aggregate_id: UUID) -> str:
    """The name of an aggregate's stream."""
    return f"{STREAM_KINDS[kind]}/{aggregate_id}"


@dataclass(frozen=True)
class Loaded(Generic[_A]):
    """An aggregate with where its stream stands: hash of the last payload, its ledger position."""

    aggregate: _A | None
    prev: str = NO_PREVIOUS
    position: int = 0

    @property
    def stream_position(self) -> int:
        """The stream position seen; 0 where the stream is empty."""
        return self.aggregate.version if self.aggregate is not None else 0


def private_copy(aggregate: AggregateT) -> AggregateT:
    """A copy whose changes the original does not see.

    State is made of immutable values in one level of lists and dicts, so copying that level
    suffices and costs no more than the containers.
    """
    duplicate = copy(aggregate)
    for name, value in vars(aggregate).items():
        if isinstance(value, list | dict):
            setattr(duplicate, name, value.copy())
    return duplicate


def fold(events: list[CanMutateAggregate[UUID]]) -> Aggregate | None:
    """The aggregate that these events of one stream make."""
    aggregate: Aggregate | None = None
    for event in events:
        aggregate = event.mutate(aggregate)
    return aggregate


class Repository:
    """Streams as aggregates. `load` reads the store, `cached` keeps what the writer saw last.

    Only the writer thread uses the cache. Streams that decide who may do what (`DECISIVE`:
    principals, keys, projects with their rules, approvals, checks, webhooks with their scope) are
    loaded with their signatures checked, all others with their `prev` chain (DESIGN section 4).
    """

    def __init__(self, recorder: LedgerRecorder, mapper: SigningMapper, ledger_id: str) -> None:
        self._recorder = recorder
        self._mapper = mapper
        self._ledger_id = UUID(ledger_id)
        self._cache: OrderedDict[str, Loaded[Aggregate]] = OrderedDict()
        self._contents: OrderedDict[str, Content] = OrderedDict()
        self._actors: OrderedDict[tuple[str, int], str] = OrderedDict()
        self._contents_bytes = 0

    def load(
        self, kind: type[AggregateT], aggregate_id: UUID, *, until_position: int | None = None
    ) -> Loaded[AggregateT]:
        """Read a stream, as of a position in the ledger or now; TamperedError if not authentic."""
        stored = self._checked(kind, stream_of(kind, aggregate_id), until_position)
        aggregate = fold([self._mapper.to_domain_event(event) for event in stored])
        prev = previous_hash(stored[-1].state) if stored else NO_PREVIOUS
        position = stored[-1].id if stored else 0
        return Loaded(cast("AggregateT | None", aggregate), prev, position)

    def history(
        self, kind: type[Aggregate], aggregate_id: UUID, *, until_position: int | None = None
    ) -> list[RecordedEvent]:
        """The events of a stream, checked as `load` checks them."""
        stored = self._checked(kind, stream_of(kind, aggregate_id), until_position)
        return [self._mapper.recorded(event) for event in stored]

    def actor(self, stream: str, stream_position: int) -> str:
        """Who did what stands at a position of a stream; TamperedError if it is not authentic."""
        known = self._actors.get((stream, stream_position))
        if known is not None:
            return known
        stored = self._recorder.select_stream(stream, after=stream_position - 1)[0]
        if not is_authentic(stored, self.trusted_keys()):
            raise TamperedError(f"{stream} holds a forged event: run 'scrinia verify'.")
        actor = str(payload.decode(stored.state)["actor"]["id"])
        self._actors[stream, stream_position] = actor
        if len(self._actors) > ACTORS_KEPT_MAX:
            self._actors.popitem(last=False)
        return actor

    def _checked(
        self, kind: type[Aggregate], stream: str, until_position: int | None
    ) -> list[SignedNotification]:
        stored = list(self._recorder.select_stream(stream, until_position=until_position))
        check_stream(stored)
        if kind in DECISIVE:
            keys = self.trusted_keys()
            if not all(is_authentic(event, keys) for event in stored):
                raise TamperedError(f"{stream} holds a forged event: run 'scrinia verify'.")
        return stored

    def trusted_keys(self, until_position: int | None = None) -> TrustedKeys:
        """The ledger's keys, as of a position or now, each checked by the ones before it."""
        keys = TrustedKeys()
        stream = stream_of(KeyRing, self._ledger_id)
        for stored in self._recorder.select_stream(stream, until_position=until_position):
            recorded = self._mapper.recorded(stored)
            if isinstance(recorded.event, KeyRing.Created):
                keys.apply(recorded)
                signed = is_authentic(stored, keys)
            else:
                signed = is_authentic(stored, keys)
                keys.apply(recorded)
            if not signed:
                raise TamperedError(f"Position {stored.id}: a key event is forged.")
        return keys

    def cached(self, kind: type[AggregateT], aggregate_id: UUID) -> Loaded[AggregateT]:
        """As the writer saw it last, else from the store. Never change what it returns."""
        stream = stream_of(kind, aggregate_id)
        loaded = self._cache.get(stream)
        if loaded is None:
            loaded = cast("Loaded[Aggregate]", self.load(kind, aggregate_id))
            self.keep(stream, loaded)
        else:
            self._cache.move_to_end(stream)
        return cast("Loaded[AggregateT]", loaded)

    def keep(self, stream: str, loaded: Loaded[Aggregate]) -> None:
        """Remember a stream's state as just committed or read."""
        self._cache[stream] = loaded
        self._cache.move_to_end(stream)
        while len(self._cache) > CACHED_STREAMS_MAX:
            self._cache.popitem(last=False)

    def outdated(self, stream: str, stream_position: int) -> None:
        """Drop a stream that has come further than what is held of it."""
        loaded = self._cache.get(stream)
        if loaded is not None and loaded.stream_position < stream_position:
            del self._cache[stream]

    def forget(self, streams: tuple[str, ...] | None = None) -> None:
        """Drop streams that moved elsewhere; None drops all."""
        if streams is None:
            self._cache.clear()
        for stream in streams or ():
            self._cache.pop(stream, None)

    def content(self, commitment: str) -> Content | None:
        """A text beside the log."""
        held = self._contents.get(commitment)
        return held or self._recorder.contents([commitment]).get(commitment)

    def keep_content(self, content: Content) -> None:
        """Remember a text as just committed: the next commit is compared with it."""
        self._contents[content.commitment] = content
        self._contents_bytes += len(content.body)
        while self._contents_bytes > CACHED_CONTENT_BYTES_MAX:
            self._contents_bytes -= len(self._contents.popitem(last=False)[1].body)
