"""Who may do what, in memory: authentication and read authorisation touch no database.

Holds the same aggregates the registry decides on, kept fresh by the follower, and asks the same
policy. What it says only admits reads and tells a command's caller; every command is authorised
again from the streams themselves.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar, cast
from uuid import UUID

from eventsourcing.domain import Aggregate

from domain.access import (
    Authorization,
    Caller,
    Resource,
    Rights,
    authenticate,
    authorise,
    permitted,
)
from domain.errors import UnauthenticatedError
from domain.granting import hash_secret
from domain.principal import Principal
from domain.role import Role
from domain.standing import standing
from ledger.mapper import RecordedEvent, SigningMapper
from ledger.recorder import LedgerRecorder
from ledger.trust import TrustedKeys, check_authentic

KINDS = ("principal", "role")
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
    """All principals and custom roles by id, tokens by SHA-256, holders of grants and tokens.

    `given` says where a grant (by its id), a membership (`principal/group`) or what a custom role
    permits (`roles/name`) comes from.
    """

    def __init__(self) -> None:
        self.principals: dict[str, Known] = {}
        self.roles: dict[UUID, Role] = {}
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
    ) -> None:
        """Fold what there is up to a position, checking signatures where keys are given."""
        for kind in KINDS:
            for stored in recorder.select_kind(kind, until):
                if keys is not None:
                    check_authentic(stored, keys)
                self._take(mapper.recorded(stored))
        self.position = until

    def load(self, kind: type[AggregateT], aggregate_id: UUID) -> AggregateT | None:
        """A principal or role (`domain.standing.Streams`)."""
        if kind is Role:
            return cast("AggregateT | None", self.roles.get(aggregate_id))
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

    def rights_with(self, secret: str, now: datetime) -> Rights:
        """The standing a token gives, in one look-up: the path of every hot read."""
        return self.rights(self.caller_with(secret), now)

    def rights(self, caller: Caller, now: datetime) -> Rights:
        """The standing of a caller; UnauthenticatedError where it has none any more."""
        if caller not in self._standings:
            self._standings[caller] = standing(self, caller.principal_id, caller.token_id)
        return authenticate(self._standings[caller], now)

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
        """The active members of a group, by id."""
        return [
            principal_id
            for principal_id, known in sorted(self.principals.items())
            if group_id in known.principal.groups and known.principal.active
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
