"""Who may do what, in memory: authentication and read authorisation touch no database.

Holds the same aggregates the registry decides on, kept fresh by the follower, and asks the same
policy. What it says only admits reads and tells a command's caller; every command is authorised
again from the streams themselves.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar, cast
from uuid import UUID

from eventsourcing.domain import Aggregate

from domain.access import (
    VIA_SESSION,
    Authorization,
    Caller,
    Resource,
    Rights,
    authenticate,
    authorise,
    permitted,
)
from domain.access_request import AccessRequest
from domain.access_rules import ACCESS_RULES_ID, AccessRules, Protected
from domain.errors import UnauthenticatedError
from domain.granting import hash_secret
from domain.principal import Principal
from domain.role import Role
from domain.sign_in import LoginName, SignIn
from domain.sign_in_rules import RULES_ID, SignInRules
from domain.standing import standing
from domain.user_session import SESSIONS_MAX, UserSession
from ledger.mapper import RecordedEvent, SigningMapper
from ledger.recorder import LedgerRecorder
from ledger.trust import TrustedKeys, check_authentic

KINDS = (
    "principal", "role", "login", "signin", "signinrules", "session", "accessrules",
    "accessrequest",
)  # fmt: skip
ACCESS_TOKENS_KEPT = 2
AggregateT = TypeVar("AggregateT", bound=Aggregate)


@dataclass(frozen=True)
class Given:
    """The event that gave something: where in the ledger, when (RFC 3339) and by whom."""

    type: str
    position: int
    time: str
    by: str


@dataclass(frozen=True)
class Known:
    """A principal and when it came to be."""

    principal: Principal
    created_at: str


class AccessView:
    """All principals, roles and sign-ins by id, tokens by SHA-256, holders of grants and tokens.

    `given` says where a grant (by its id), a membership (`principal/group`) or what a custom role
    permits (`roles/name`) comes from. Of sessions those are kept that are not over.
    """

    def __init__(self) -> None:
        self.principals: dict[str, Known] = {}
        self.roles: dict[UUID, Role] = {}
        self.logins: dict[UUID, LoginName] = {}
        self.sign_ins: dict[UUID, SignIn] = {}
        self.sessions: dict[UUID, UserSession] = {}
        self.requests: dict[UUID, AccessRequest] = {}
        self._rules: dict[UUID, SignInRules] = {}
        self._access_rules: dict[UUID, AccessRules] = {}
        self._shown: dict[UUID, list[str]] = {}
        self._sessions_of: dict[str, set[UUID]] = {}
        self.given: dict[str, Given] = {}
        self.position = 0
        self._tokens: dict[str, Caller] = {}
        self._holders: dict[str, str] = {}
        self._standings: dict[Caller, Rights | None] = {}

    def load_all(
        self,
        recorder: LedgerRecorder,
        mapper: SigningMapper,
        until: int,
        keys: TrustedKeys | None = None,
        *,
        sessions_after: int | None = None,
    ) -> None:
        """Fold what there is up to a position, checking signatures where keys are given.

        `sessions_after`: the position after which sessions may have begun that are not over; None:
        whether there are any does not matter.
        """
        for kind in KINDS:
            after = 0
            if kind == "session":
                after = until if sessions_after is None else sessions_after
            for stored in recorder.select_kind(kind, until, after):
                if keys is not None:
                    check_authentic(stored, keys)
                self._take(mapper.recorded(stored))
        self.position = until

    def load(self, kind: type[AggregateT], aggregate_id: UUID) -> AggregateT | None:
        """What a standing rests on (`domain.standing.Streams`)."""
        others: dict[type[Any], dict[UUID, Any]] = {
            Role: self.roles, SignIn: self.sign_ins, UserSession: self.sessions,
            SignInRules: self._rules, AccessRules: self._access_rules,
        }  # fmt: skip
        if kind in others:
            return cast("AggregateT | None", others[kind].get(aggregate_id))
        known = self.principals.get(str(aggregate_id))
        return cast("AggregateT | None", known.principal if known is not None else None)

    def apply(self, batch: Sequence[RecordedEvent]) -> None:
        """Follow the ledger."""
        for recorded in batch:
            if recorded.stream.partition("/")[0] in KINDS:
                self._take(recorded)
        self.position = batch[-1].position

    def _take(self, recorded: RecordedEvent) -> None:
        event = recorded.event
        self._standings.clear()
        given = Given(
            recorded.kind_verb, recorded.position, recorded.time, recorded.payload["actor"]["id"]
        )
        if isinstance(event, Role.Created | Role.Changed):
            role = cast("Role", event.mutate(self.roles.get(event.originator_id)))
            self.roles[event.originator_id] = role
            self.given[f"roles/{role.name}"] = given
            return
        if not recorded.stream.startswith("principal/"):
            self._take_sign_in(recorded)
            return
        principal_id = str(event.originator_id)
        known = self.principals.get(principal_id)
        principal = event.mutate(known.principal if known else None)
        if isinstance(event, Principal.Created) and isinstance(principal, Principal):
            self.principals[principal_id] = Known(principal, recorded.time)
        elif isinstance(event, Principal.GrantGiven):
            self._holders[event.grant_id] = principal_id
            self.given[event.grant_id] = given
        elif isinstance(event, Principal.Joined):
            self.given[f"{principal_id}/{event.group_id}"] = given
        elif isinstance(event, Principal.TokenIssued):
            self._tokens[event.secret_sha256] = Caller(principal_id, event.token_id)
            self._holders[event.token_id] = principal_id

    def _take_sign_in(self, recorded: RecordedEvent) -> None:
        event = recorded.event
        kept: dict[str, dict[UUID, Any]] = {
            "login": self.logins, "signin": self.sign_ins, "signinrules": self._rules,
            "session": self.sessions, "accessrules": self._access_rules,
            "accessrequest": self.requests,
        }  # fmt: skip
        known = kept[recorded.stream.partition("/")[0]]
        before = known.get(event.originator_id)
        if isinstance(event, UserSession.Created):
            self._forget_sessions(datetime.fromisoformat(recorded.time))
            self._sessions_of.setdefault(event.principal_id, set()).add(event.originator_id)
        elif before is None and known is self.sessions:
            return  # over before this process looked
        known[event.originator_id] = event.mutate(before)
        if isinstance(event, UserSession.Created | UserSession.Refreshed):
            self._take_access_token(event.originator_id, event.access_sha256)

    def _take_access_token(self, session_id: UUID, access_sha256: str) -> None:
        """A session's newest access token; the one before counts until its own end."""
        session = self.sessions[session_id]
        caller = Caller(
            session.principal_id, str(session_id), VIA_SESSION, session.access_expires_at
        )
        shown = self._shown.setdefault(session_id, [])
        shown.append(access_sha256)
        self._tokens[access_sha256] = caller
        while len(shown) > ACCESS_TOKENS_KEPT:
            del self._tokens[shown.pop(0)]

    def _forget_sessions(self, at: datetime) -> None:
        """Those that are over, as far as the oldest that is not: what it costs is what it frees."""
        while self.sessions:
            session_id, session = next(iter(self.sessions.items()))
            if not session.is_over(at):
                return
            del self.sessions[session_id]
            self._sessions_of[session.principal_id].discard(session_id)
            for access_sha256 in self._shown.pop(session_id, ()):
                del self._tokens[access_sha256]

    @property
    def second_factor_required(self) -> bool:
        """Whether the registry asks every session for a second factor."""
        rules = self._rules.get(RULES_ID)
        return rules is not None and rules.second_factor

    @property
    def second_person(self) -> tuple[Protected, ...]:
        """What one person alone gives to nobody."""
        rules = self._access_rules.get(ACCESS_RULES_ID)
        return rules.second_person if rules is not None else ()

    def sign_in_of(self, login_id: UUID) -> SignIn | None:
        """The sign-in of the person who has a login name; None where nobody has."""
        name = self.logins.get(login_id)
        known = self.principals.get(name.principal_id or "") if name is not None else None
        if known is None or known.principal.type != "person":
            return None
        return self.sign_ins.get(known.principal.id)

    def named_groups(self) -> dict[UUID, UUID]:
        """The groups that an identity provider has names for, by the names' streams."""
        found: dict[UUID, UUID] = {}
        for principal_id, sign_in in self.sign_ins.items():
            known = self.principals.get(str(principal_id))
            if known is None or known.principal.type != "group" or sign_in.login_id is None:
                continue
            if not known.principal.gone:
                found[UUID(sign_in.login_id)] = principal_id
        return found

    def sessions_of(self, principal_id: str, now: datetime) -> list[UserSession]:
        """The sessions of a principal that are not over, the oldest first."""
        sign_in = self.sign_ins.get(UUID(principal_id))
        mine = (self.sessions[one] for one in sorted(self._sessions_of.get(principal_id, ())))
        return [
            session
            for session in mine
            if not session.is_over(now)
            and sign_in is not None
            and sign_in.counts(str(session.id), session.generation)
        ]

    def surplus_session(self, principal_id: UUID, now: datetime) -> UUID | None:
        """The oldest session of somebody who has as many as there may be; else None."""
        sessions = self.sessions_of(str(principal_id), now)
        return sessions[0].id if len(sessions) >= SESSIONS_MAX else None

    def caller_with(self, secret: str) -> Caller:
        """Who a token belongs to; UnauthenticatedError where it is unknown: `rights` says the rest.

        The secret is looked up by its SHA-256, so the time this takes says nothing about it.
        """
        caller = self._tokens.get(hash_secret(secret))
        if caller is None:
            raise _unknown_token()
        return caller

    def knows(self, secret: str) -> bool:
        """Whether a token was ever issued, as far as this process has followed."""
        return hash_secret(secret) in self._tokens

    def rights(self, caller: Caller, now: datetime) -> Rights:
        """The standing of a caller; UnauthenticatedError where it has none any more."""
        return authenticate(self._standing(caller, now), now)

    def check_limited(self, caller: Caller, now: datetime) -> Rights:
        """As `rights`, for what may be done without the second factor too."""
        return authenticate(self._standing(caller, now), now, limited=True)

    def _standing(self, caller: Caller, now: datetime) -> Rights | None:
        if caller.until is not None and now >= caller.until:
            return None
        if caller not in self._standings:
            self._standings[caller] = standing(self, caller.principal_id, caller.token_id)
        return self._standings[caller]

    def authorise(
        self, caller: Caller, permission: str, resource: Resource, now: datetime
    ) -> Authorization:
        """The policy's answer to a read, or its refusal."""
        return authorise(self.rights(caller, now), permission, resource, now)

    def permitted(self, caller: Caller, permission: str, resource: Resource, now: datetime) -> bool:
        """The policy's answer as yes or no."""
        return permitted(self.rights(caller, now), permission, resource, now).allowed

    def admins(self) -> tuple[UUID, ...]:
        """Who administers the registry: by themselves, for good."""
        return tuple(
            known.principal.id for known in self.principals.values() if known.principal.is_admin
        )

    def members(self, group_id: str) -> list[str]:
        """The members of a group, by id."""
        return [
            principal_id
            for principal_id, known in sorted(self.principals.items())
            if group_id in known.principal.groups and not known.principal.gone
        ]

    def signs_elsewhere(self, key_id: str, principal_id: UUID) -> bool:
        """Whether another principal signs with a key, as far as this process has followed."""
        return any(
            key_id in known.principal.keys and known.principal.id != principal_id
            for known in self.principals.values()
        )

    def holder_of(self, grant_or_token_id: str) -> UUID | None:
        """The principal a grant or token was given to, in force or not."""
        holder = self._holders.get(grant_or_token_id)
        return UUID(holder) if holder else None


def _unknown_token() -> UnauthenticatedError:
    return UnauthenticatedError("The token is not known here: check it, or issue another.")
