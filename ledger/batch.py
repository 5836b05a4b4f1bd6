"""One batch of commands: decided in order on private copies, grouped into units, signed.

Commands are one unit when one writes a stream that another reads or writes, so that a command
decided on another's outcome can never be accepted without it.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, cast
from uuid import UUID

import orjson
from eventsourcing.domain import Aggregate

from domain.access import Caller
from domain.commands import Command
from domain.commitment import Content
from domain.decision import AggregateT, Change, Decision, Ids, Session
from domain.errors import DomainError
from domain.keys import EVENT_PURPOSE, KeyRing
from ledger import payload
from ledger.errors import KeyRetiredError
from ledger.mapper import SignedEvent, SigningMapper, Stamped
from ledger.payload import previous_hash
from ledger.recorder import Remembered, Unit, Verdict
from ledger.repository import Loaded, Repository, private_copy, stream_of
from ledger.signing import Signer

Decide = Callable[[Session, Command, Caller, datetime, Ids], Decision]


@dataclass(frozen=True)
class Idempotency:
    """A client's key for a command and the SHA-256 (hex) of the request it came with."""

    key: str
    request_hash: str


@dataclass(frozen=True)
class Submission:
    """A command on its way: who sends it, in which request, how heavy it is (None: genesis).

    `dry_run`: decide it and append nothing.
    """

    command: Command | None
    caller: Caller
    request: dict[str, Any]
    idempotency: Idempotency | None = None
    bytes: int = 0
    dry_run: bool = False


@dataclass(frozen=True)
class Outcome:
    """What became of a command: the answer, complete."""

    body: dict[str, Any]
    made: bool
    position: int
    changed: bool
    replayed: bool = False
    secrets: tuple[str, ...] = ()
    dry_run: bool = False

    def replay(self) -> "Outcome":
        """The same answer given again: secrets are said to be gone, never repeated."""
        return replace(self, body=_without_secrets(self.body, self.secrets), replayed=True)


def _without_secrets(body: dict[str, Any], secrets: tuple[str, ...]) -> dict[str, Any]:
    if not secrets:
        return body
    note = "A secret is shown once: issue another, or rotate to one, if it was lost."
    return {**body, **dict.fromkeys(secrets), "note": note}


@dataclass
class Decided:
    """A command with what was decided: signed events, streams read and written.

    `order` is its place in the batch; `subject` the stream whose position an answer without events
    takes, `subject_position` that position where the batch did not move it.
    """

    order: int
    submission: Submission
    decision: Decision
    events: tuple[SignedEvent, ...]
    reads: set[str]
    writes: set[str]
    subject: str
    subject_position: int

    def answer(self) -> bytes:
        """The answer as it is remembered: without its position and without secrets."""
        answer = self.decision.answer
        return orjson.dumps(
            {
                "body": answer.body,
                "made": answer.made and bool(self.events),
                "changed": bool(self.events),
                "secrets": sorted(answer.secret),
            }
        )

    def outcome(self, position: int) -> Outcome:
        """The answer as it is given, the only time with its secrets."""
        answer = self.decision.answer
        changed = bool(self.events)
        body = {**answer.body, **answer.secret, "position": position, "changed": changed}
        secrets = tuple(sorted(answer.secret))
        return Outcome(body, answer.made and changed, position, changed, secrets=secrets)


def recall_outcome(answer: bytes, position: int) -> Outcome:
    """A remembered answer as it is given again."""
    kept = orjson.loads(answer)
    body = {**kept["body"], "position": position, "changed": kept["changed"]}
    secrets = tuple(kept["secrets"])
    return Outcome(body, kept["made"], position, kept["changed"], secrets=secrets).replay()


@dataclass
class Group:
    """Commands that stand or fall together, in order, and all they read and wrote."""

    members: list[Decided] = field(default_factory=list)
    reads: set[str] = field(default_factory=set)
    writes: set[str] = field(default_factory=set)

    def take(self, members: list[Decided]) -> None:
        """Add members."""
        self.members += members
        for member in members:
            self.reads |= member.reads
            self.writes |= member.writes

    def touches(self, decided: Decided) -> bool:
        """Whether one writes what the other reads or writes."""
        return bool(self.writes & (decided.reads | decided.writes) or self.reads & decided.writes)


class Batch:
    """The working state of one batch. `decide` adds a command or raises its refusal.

    `grounds` maps a submission that appends nothing, refused or tried out (by `id`), to the streams
    that its answer rests on.
    """

    def __init__(
        self,
        repository: Repository,
        mapper: SigningMapper,
        signer: Signer,
        ids: Ids,
        ledger_id: str,
    ) -> None:
        self._repository = repository
        self._mapper = mapper
        self._signer = signer
        self._ids = ids
        self._ledger_id = UUID(ledger_id)
        self._keys = stream_of(KeyRing, self._ledger_id)
        self._working: dict[str, Loaded[Aggregate]] = {}
        self._seen: dict[str, int] = {}
        self._contents: dict[str, Content] = {}
        self._decided = 0
        self.groups: list[Group] = []
        self.grounds: dict[int, set[str]] = {}

    def decide(self, submission: Submission, decide: Decide, now: datetime) -> None:
        """Decide one command on top of those before it; nothing stays of a refused one."""
        decision, reads = self._decision(submission, decide, now)
        self.take(submission, decision, reads)

    def try_out(self, submission: Submission, decide: Decide, now: datetime) -> Outcome:
        """What a command would come to on top of those before it; nothing stays of it."""
        decision, reads = self._decision(submission, decide, now)
        self.grounds[id(submission)] = reads
        changed = False
        for change in decision.changes:
            stream = stream_of(type(change.aggregate), change.aggregate.id)
            prev = self._before(stream).prev
            changed |= bool(self._sign(change, stream, prev, submission, decision))
        answer = decision.answer
        subject = decision.changes[-1].aggregate
        position = self._before(stream_of(type(subject), subject.id)).position
        told = {"position": position, "changed": changed, "dry_run": True}
        body = {**answer.body, **dict.fromkeys(answer.secret), **told}
        return Outcome(body, False, position, changed, dry_run=True)

    def _decision(
        self, submission: Submission, decide: Decide, now: datetime
    ) -> tuple[Decision, set[str]]:
        """A decision and the streams it rests on."""
        if submission.command is None:
            raise ValueError("a submission to decide has a command")
        self._check_key()
        session = CommandSession(self)
        try:
            decision = decide(session, submission.command, submission.caller, now, self._ids)
        except DomainError:
            self.grounds[id(submission)] = set(session.copies)
            raise
        return decision, set(session.copies)

    def take(self, submission: Submission, decision: Decision, reads: set[str]) -> None:
        """Sign a decision's events and let the next command see their outcome."""
        events: list[SignedEvent] = []
        adopted: dict[str, Loaded[Aggregate]] = {}
        for change in decision.changes:
            stream = stream_of(type(change.aggregate), change.aggregate.id)
            if stream in adopted:
                raise ValueError(f"a decision changes {stream} twice")
            before = self._before(stream)
            signed = self._sign(change, stream, before.prev, submission, decision)
            if signed:
                prev = previous_hash(signed[-1].state)
                adopted[stream] = Loaded(change.aggregate, prev)
                events += signed
        subject = decision.changes[-1].aggregate
        subject_stream = stream_of(type(subject), subject.id)
        position = self._before(subject_stream).position
        self._working.update(adopted)
        if events:
            self._contents.update((c.commitment, c) for c in decision.contents)
        self._join(
            Decided(
                self._decided, submission, decision, tuple(events), reads | {self._keys},
                set(adopted), subject_stream, position,
            )
        )  # fmt: skip
        self._decided += 1

    def state(self, kind: type[AggregateT], aggregate_id: UUID) -> Loaded[AggregateT]:
        """A stream as this batch sees it; noted as a condition when first read."""
        stream = stream_of(kind, aggregate_id)
        loaded = self._working.get(stream)
        if loaded is None:
            loaded = cast("Loaded[Aggregate]", self._repository.cached(kind, aggregate_id))
            self._seen.setdefault(stream, loaded.stream_position)
            self._working[stream] = loaded
        return cast("Loaded[AggregateT]", loaded)

    def content(self, commitment: str) -> Content | None:
        """A text, of this batch or of the store."""
        return self._contents.get(commitment) or self._repository.content(commitment)

    def actor(self, stream: str, stream_position: int) -> str:
        """Who did what stands there, by an event of this batch or of the store."""
        for group in self.groups:
            for event in (event for member in group.members for event in member.events):
                if (event.originator_id, event.originator_version) == (stream, stream_position):
                    return str(payload.decode(event.state)["actor"]["id"])
        return self._repository.actor(stream, stream_position)

    def unit(self, group: Group) -> Unit:
        """What the recorder is given for a group."""
        events: list[SignedEvent] = []
        remembered: list[Remembered] = []
        last_of: dict[str, int] = {}
        for member in group.members:
            for event in member.events:
                last_of[str(event.originator_id)] = len(events)
                events.append(event)
            index = len(events) - 1 if member.events else last_of.get(member.subject)
            if member.submission.idempotency is not None:
                remembered.append(_remember(member, member.submission.idempotency, index))
        contents = tuple(
            content
            for member in group.members
            if member.events
            for content in member.decision.contents
        )
        credentials = tuple(
            credential
            for member in group.members
            if member.events
            for credential in member.decision.credentials
        )
        streams = group.reads | group.writes
        conditions = {stream: self._seen.get(stream, 0) for stream in streams}
        return Unit(tuple(events), conditions, contents, credentials, tuple(remembered))

    def standing(self, submission: Submission) -> Unit:
        """What has to hold for an answer without events: that nothing it rests on has moved."""
        streams = self.grounds.get(id(submission), set())
        return Unit((), {stream: self._seen.get(stream, 0) for stream in streams})

    def settle(self, group: Group, unit: Unit, verdict: Verdict) -> list[Outcome]:
        """The outcomes of an accepted group; the repository remembers its new states."""
        last_of = {
            str(event.originator_id): position
            for event, position in zip(unit.events, verdict.positions, strict=True)
        }
        for stream in group.writes:
            final = self._working[stream]
            self._repository.keep(stream, Loaded(final.aggregate, final.prev, last_of[stream]))
        for content in unit.contents:
            self._repository.keep_content(content)
        positions = iter(verdict.positions)
        moved: dict[str, int] = {}
        outcomes: list[Outcome] = []
        for member in group.members:
            position = moved.get(member.subject, member.subject_position)
            for event in member.events:
                position = moved[str(event.originator_id)] = next(positions)
            outcomes.append(member.outcome(position))
        return outcomes

    def _before(self, stream: str) -> Loaded[Aggregate]:
        self._seen.setdefault(stream, 0)
        return self._working.get(stream, Loaded(None))

    def _sign(
        self, change: Change, stream: str, prev: str, submission: Submission, decision: Decision
    ) -> list[SignedEvent]:
        signed: list[SignedEvent] = []
        for event in change.events:
            stamped = Stamped(
                event, stream, self._ids.new_id(), prev, change.provenance or decision.provenance,
                submission.request,
            )  # fmt: skip
            signed.append(self._mapper.to_stored_event(stamped))
            prev = previous_hash(signed[-1].state)
        return signed

    def _check_key(self) -> None:
        ring = self.state(KeyRing, self._ledger_id).aggregate
        key = ring.keys.get(self._signer.key_id) if ring is not None else None
        if key is None or key.retired or key.purpose != EVENT_PURPOSE:
            raise KeyRetiredError(
                "This server's event key is not in force: give it the key file that is."
            )

    def _join(self, decided: Decided) -> None:
        touched = [group for group in self.groups if group.touches(decided)]
        if not touched:
            joined = Group()
            self.groups.append(joined)
        else:
            joined, *others = touched
            for group in others:
                joined.take(group.members)
                self.groups.remove(group)
        joined.take([decided])
        joined.members.sort(key=lambda member: member.order)


class CommandSession:
    """The `Session` port for one command: private copies of the batch's state."""

    def __init__(self, batch: Batch) -> None:
        self._batch = batch
        self.copies: dict[str, Aggregate | None] = {}

    def load(self, kind: type[AggregateT], aggregate_id: UUID) -> AggregateT | None:
        """See `domain.decision.Session`."""
        stream = stream_of(kind, aggregate_id)
        if stream not in self.copies:
            aggregate = self._batch.state(kind, aggregate_id).aggregate
            self.copies[stream] = None if aggregate is None else private_copy(aggregate)
        return cast("AggregateT | None", self.copies[stream])

    def before(self, kind: type[AggregateT], aggregate_id: UUID) -> AggregateT | None:
        """See `domain.decision.Session`."""
        self.load(kind, aggregate_id)  # a condition of the unit, as all that is looked at
        return self._batch.state(kind, aggregate_id).aggregate

    def content(self, commitment: str) -> Content | None:
        """See `domain.decision.Session`."""
        return self._batch.content(commitment)

    def actor(self, kind: type[Aggregate], aggregate_id: UUID, stream_position: int) -> str:
        """See `domain.decision.Session`."""
        return self._batch.actor(stream_of(kind, aggregate_id), stream_position)


def _remember(member: Decided, idempotency: Idempotency, index: int | None) -> Remembered:
    return Remembered(
        principal=member.submission.caller.principal_id,
        key=idempotency.key,
        request_hash=idempotency.request_hash,
        answer=member.answer(),
        event_index=index,
        position=member.subject_position,
    )
