"""What authorisations rest on, folded event by event: who is who, what is where, what was agreed.

Of prompts only what rules ask about is kept, since all of a ledger passes here.
"""

from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, TypeVar, cast
from uuid import UUID

from eventsourcing.domain import Aggregate

from domain import access
from domain.access_request import AccessRequest
from domain.access_rules import AccessRules
from domain.change_request import ChangeRequest
from domain.check import VersionChecks
from domain.consumer import Consumers
from domain.label import LIVED
from domain.name import Name
from domain.principal import Principal
from domain.project import Project
from domain.prompt import Prompt
from domain.role import Role
from domain.rollout import Rollout
from domain.sign_in import LoginName, Recovery, SignIn
from domain.sign_in_rules import SignInRules
from domain.user_session import UserSession
from domain.version import merged_in
from domain.webhook import Webhook
from ledger.mapper import RecordedEvent

AggregateT = TypeVar("AggregateT", bound=Aggregate)


@dataclass
class LabelFacts:
    """Where a label points and until when, and what lived there by the rules of its time."""

    target: int | None = None
    until: datetime | None = None
    lived: set[int] = field(default_factory=set)

    def live(self, at: datetime) -> int | None:
        """Where it points at a moment."""
        over = self.until is not None and self.until <= at
        return None if over else self.target


@dataclass(frozen=True)
class VersionFacts:
    """Who committed a version, what it came from, what it commits to, its semver."""

    author: str
    parents: tuple[int, ...]
    commitment: str
    semver: str | None


@dataclass
class PromptFacts:
    """A prompt as far as rules ask about it."""

    project: str
    name: str
    versions: list[VersionFacts] = field(default_factory=list)
    labels: dict[str, LabelFacts] = field(default_factory=dict)
    rollouts: dict[str, Rollout] = field(default_factory=dict)
    archived: bool = False
    draft: bool = False

    def authors(self, number: int) -> frozenset[str]:
        """Who committed a version, and what it merged."""
        merged = merged_in(lambda one: self.versions[one - 1].parents, number)
        return frozenset(self.versions[one - 1].author for one in {number, *merged})

    def live(self, at: datetime) -> dict[str, int]:
        """Where labels point at a moment."""
        found = ((label, state.live(at)) for label, state in self.labels.items())
        return {label: target for label, target in found if target is not None}


@dataclass
class Facts:
    """Everything that was so before the next event; keys are ids out of streams."""

    principals: dict[str, Principal] = field(default_factory=dict)
    projects: dict[str, Project] = field(default_factory=dict)
    prompts: dict[str, PromptFacts] = field(default_factory=dict)
    claims: dict[str, tuple[str, str]] = field(default_factory=dict)
    owners: dict[tuple[str, str], str] = field(default_factory=dict)
    webhooks: dict[str, access.Scope] = field(default_factory=dict)
    changes: dict[str, ChangeRequest] = field(default_factory=dict)
    checks: dict[str, VersionChecks] = field(default_factory=dict)
    roles: dict[str, Role] = field(default_factory=dict)
    consumers: dict[str, Consumers] = field(default_factory=dict)
    logins: dict[str, LoginName] = field(default_factory=dict)
    sign_ins: dict[str, SignIn] = field(default_factory=dict)
    sign_in_rules: dict[str, SignInRules] = field(default_factory=dict)
    sessions: dict[str, UserSession] = field(default_factory=dict)
    access_rules: dict[str, AccessRules] = field(default_factory=dict)
    access_requests: dict[str, AccessRequest] = field(default_factory=dict)
    # Per principal, the code used last: in which request, as which factor.
    shown: dict[str, tuple[str, str]] = field(default_factory=dict)
    _names: dict[str, Project] = field(default_factory=dict)

    def project(self, name: str) -> Project | None:
        """A project by its name."""
        return self._names.get(name)

    def load(self, kind: type[AggregateT], aggregate_id: UUID) -> AggregateT | None:
        """What a standing rests on (`domain.standing.Streams`)."""
        known: dict[type[Any], dict[str, Any]] = {
            Principal: self.principals, Role: self.roles, UserSession: self.sessions,
            SignIn: self.sign_ins, SignInRules: self.sign_in_rules,
            AccessRules: self.access_rules,
        }  # fmt: skip
        return cast("AggregateT | None", known[kind].get(str(aggregate_id)))

    def apply(self, recorded: RecordedEvent) -> None:
        """Fold an event."""
        kind, _, stream_id = recorded.stream.partition("/")
        if kind == "prompt":
            self._apply_prompt(recorded, stream_id)
        elif kind == "project":
            _mutate(self.projects, stream_id, recorded)
            project = self.projects[stream_id]
            self._names[project.name] = project
        elif (folded := self._folded(kind)) is not None:
            known = self.sign_ins.get(stream_id)
            recovery = known.recovery if known is not None else None
            _mutate(folded, stream_id, recorded)
            if isinstance(recorded.event, SignIn.TotpUsed | SignIn.RecoveryUsed):
                factor = _factor(recorded.event, recovery)
                self.shown[stream_id] = (recorded.payload["request"]["id"], factor)
            elif isinstance(recorded.event, SignIn.PasswordSet | UserSession.Created):
                self.shown.clear()
        else:
            self._apply_other(recorded, stream_id)

    def _folded(self, kind: str) -> dict[str, Any] | None:
        """The aggregates of a kind of stream, of those that are kept as they are."""
        known: dict[str, dict[str, Any]] = {
            "principal": self.principals, "consumers": self.consumers, "role": self.roles,
            "change": self.changes, "checks": self.checks, "login": self.logins,
            "signin": self.sign_ins, "signinrules": self.sign_in_rules, "session": self.sessions,
            "accessrules": self.access_rules, "accessrequest": self.access_requests,
        }  # fmt: skip
        return known.get(kind)

    def _apply_other(self, recorded: RecordedEvent, stream_id: str) -> None:
        event = recorded.event
        if isinstance(event, Webhook.Created):
            self.webhooks[stream_id] = access.Scope(**event.scope)
        elif isinstance(event, Webhook.Deleted):
            del self.webhooks[stream_id]
        elif isinstance(event, Name.Created):
            self.claims[stream_id] = (event.project, event.name)
            self.owners[event.project, event.name] = event.prompt_id

    def _apply_prompt(self, recorded: RecordedEvent, stream_id: str) -> None:
        event = recorded.event
        if isinstance(event, Prompt.Created):
            made = PromptFacts(event.project, event.name, draft=event.draft)
            self.prompts[stream_id] = made
            return
        prompt = self.prompts[stream_id]
        if isinstance(event, Prompt.VersionCommitted):
            author = recorded.payload["actor"]["id"]
            parents, commitment = tuple(event.parents), event.content["commitment"]
            prompt.versions.append(VersionFacts(author, parents, commitment, event.semver))
        elif isinstance(event, Prompt.Moved):
            prompt.name = event.to
        elif isinstance(event, Prompt.Archived | Prompt.Restored):
            prompt.archived = isinstance(event, Prompt.Archived)
        elif isinstance(event, Prompt.Activated):
            prompt.draft = False
        elif isinstance(event, Prompt.RolloutSet):
            prompt.rollouts[event.label] = Rollout.of(event)
        elif isinstance(event, Prompt.RolloutPaused):
            known = prompt.rollouts[event.label]
            prompt.rollouts[event.label] = replace(known, paused=event.cause)
        elif isinstance(event, Prompt.RolloutStopped):
            prompt.rollouts.pop(event.label, None)
        elif isinstance(event, Prompt.LabelMoved | Prompt.LabelRemoved | Prompt.LabelExpired):
            _apply_label(prompt, event)


def _apply_label(prompt: PromptFacts, event: Any) -> None:
    label = prompt.labels.setdefault(event.label, LabelFacts())
    prompt.rollouts.pop(event.label, None)
    label.target = getattr(event, "to", None)
    expires_at = getattr(event, "expires_at", None)
    label.until = datetime.fromisoformat(expires_at) if expires_at else None
    if isinstance(event, Prompt.LabelMoved) and event.act == LIVED:
        label.lived.add(event.to)


def _factor(event: SignIn.TotpUsed | SignIn.RecoveryUsed, recovery: Recovery | None) -> str:
    """What a code that was used is good for."""
    if isinstance(event, SignIn.TotpUsed):
        return "totp"
    if event.of == "codes":
        return "recovery"
    without = recovery is not None and recovery.second_factor
    return "issued without factor" if without else "issued"


def _mutate(known: dict[str, AggregateT], stream_id: str, recorded: RecordedEvent) -> None:
    before = cast("Aggregate | None", known.get(stream_id))
    known[stream_id] = cast("Any", recorded.event.mutate(before))
