"""Principals: people, services, groups of them, plugins and the system; grants and API tokens.

A group is a principal that can be given grants and cannot act: its grants count for its members.
"""

from dataclasses import replace
from datetime import datetime
from typing import Any
from uuid import UUID

from eventsourcing.domain import Aggregate, event

from domain.access import Grant, Rights, Scope, Token, TokenScope
from domain.commitment import ContentRef
from domain.errors import InactivePrincipalError, NotFoundError, TooManyError

PRINCIPAL_TYPES = ("person", "service", "group", "plugin", "system")
MADE_BY_HAND = ("person", "service", "plugin", "group")
GROUPS_MAX = 64
KEYS_MAX = 8


def parse_time(text: str | None) -> datetime | None:
    """An RFC 3339 time out of an event; None stays None."""
    return None if text is None else datetime.fromisoformat(text)


def administers(grant: Grant) -> bool:
    """Whether a grant makes its holder an admin of the registry for good."""
    return grant.role == "admin" and grant.scope == Scope() and grant.expires_at is None


class Principal(Aggregate):
    """Somebody or something that acts, known to the log by an id alone."""

    TOPIC = "io.scrinia.principal"

    class Created(Aggregate.Created):
        """A principal came to be. The display name is content."""

        TOPIC = "io.scrinia.principal.created.v1"
        principal_type: str
        name: ContentRef

    class Deactivated(Aggregate.Event):
        """The principal can do nothing any more."""

        TOPIC = "io.scrinia.principal.deactivated.v1"
        reason: ContentRef | None

    class Suspended(Aggregate.Event):
        """The principal can do nothing until it is resumed."""

        TOPIC = "io.scrinia.principal.suspended.v1"
        reason: ContentRef | None

    class Resumed(Aggregate.Event):
        """The principal can do again what it is allowed to."""

        TOPIC = "io.scrinia.principal.resumed.v1"
        reason: ContentRef | None

    class Renamed(Aggregate.Event):
        """The principal is shown by another name. The name is content."""

        TOPIC = "io.scrinia.principal.renamed.v1"
        name: ContentRef

    class GrantGiven(Aggregate.Event):
        """A role in a scope, until `expires_at` (RFC 3339) or for good."""

        TOPIC = "io.scrinia.grant.given.v1"
        grant_id: str
        role: str
        scope: dict[str, Any]
        expires_at: str | None

    class GrantRevoked(Aggregate.Event):
        """A grant counts no more."""

        TOPIC = "io.scrinia.grant.revoked.v1"
        grant_id: str
        reason: ContentRef | None

    class TokenIssued(Aggregate.Event):
        """An API token. `scopes`: null, or a list of {"permissions"?, "project"?, …}; `networks`:
        null, or the networks (CIDR) it counts from.
        """

        TOPIC = "io.scrinia.token.issued.v2"
        class_version = 2
        token_id: str
        secret_sha256: str
        description: ContentRef | None
        scopes: list[dict[str, Any]] | None
        expires_at: str | None
        networks: list[str] | None

        @staticmethod
        def upcast_v1_v2(state: dict[str, Any]) -> None:
            """They counted from anywhere then."""
            state["networks"] = None

    class TokenRevoked(Aggregate.Event):
        """A token counts no more."""

        TOPIC = "io.scrinia.token.revoked.v1"
        token_id: str
        reason: ContentRef | None

    class Joined(Aggregate.Event):
        """The principal is a member of a group, whose grants count for it."""

        TOPIC = "io.scrinia.principal.joined.v1"
        group_id: str

    class Left(Aggregate.Event):
        """The principal is no member of a group any more."""

        TOPIC = "io.scrinia.principal.left.v1"
        group_id: str
        reason: ContentRef | None

    class KeyRegistered(Aggregate.Event):
        """The principal signs with this key too (Ed25519, hex)."""

        TOPIC = "io.scrinia.actorkey.registered.v1"
        key_id: str
        public_key: str

    class KeyRetired(Aggregate.Event):
        """The principal signs with this key no more."""

        TOPIC = "io.scrinia.actorkey.retired.v1"
        key_id: str
        reason: ContentRef | None

    def __init__(self, principal_type: str, name: ContentRef) -> None:
        self.type = principal_type
        self.name = name
        self.active = True
        self.gone = False
        self.grants: dict[str, Grant] = {}
        self.tokens: dict[str, Token] = {}
        self.groups: tuple[str, ...] = ()
        self.keys: dict[str, str] = {}

    @classmethod
    def create(
        cls, principal_id: UUID, principal_type: str, name: ContentRef, at: datetime
    ) -> "Principal":
        """A new principal without grants."""
        return cls._create(
            cls.Created, id=principal_id, timestamp=at, principal_type=principal_type, name=name
        )

    def rights(self, token_id: str | None) -> Rights:
        """Its own standing, with a token; `domain/standing.py` adds what its groups have."""
        token = self.tokens.get(token_id) if token_id is not None else None
        return Rights(self.active, tuple(self.grants.values()), token)

    @property
    def is_admin(self) -> bool:
        """Whether it can be counted on to administer the registry: by itself, for good."""
        can_act = self.active and self.type != "group"
        return can_act and any(administers(grant) for grant in self.grants.values())

    def deactivate(self, reason: ContentRef | None, at: datetime) -> bool:
        """Take every right away, for good; False where already done."""
        if self.gone:
            return False
        self.trigger_event(self.Deactivated, timestamp=at, reason=reason)
        return True

    def suspend(self, reason: ContentRef | None, at: datetime) -> bool:
        """Let it do nothing for now; False where it can do nothing already."""
        if not self.active:
            return False
        self.trigger_event(self.Suspended, timestamp=at, reason=reason)
        return True

    def resume(self, reason: ContentRef | None, at: datetime) -> bool:
        """Let it do again what it is allowed to; False where it can. InactivePrincipalError."""
        self._check_active()
        if self.active:
            return False
        self.trigger_event(self.Resumed, timestamp=at, reason=reason)
        return True

    def rename(self, name: ContentRef, at: datetime) -> None:
        """Be shown by another name."""
        self._check_active()
        self.trigger_event(self.Renamed, timestamp=at, name=name)

    def give(self, grant: Grant, at: datetime) -> bool:
        """Add a grant; False where an equal one (same role, scope, expiry) is in force."""
        self._check_active()
        if any(replace(held, id=grant.id) == grant for held in self.grants.values()):
            return False
        self.trigger_event(
            self.GrantGiven,
            timestamp=at,
            grant_id=grant.id,
            role=grant.role,
            scope=grant.scope.as_data(),
            expires_at=grant.expires_at.isoformat() if grant.expires_at else None,
        )
        return True

    def held(self, role: str, scope: Scope, expires_at: datetime | None) -> Grant | None:
        """The grant in force with exactly this role, scope and expiry."""
        for grant in self.grants.values():
            if (grant.role, grant.scope, grant.expires_at) == (role, scope, expires_at):
                return grant
        return None

    def join(self, group_id: str, at: datetime) -> bool:
        """Be a member of a group; False where it is already. TooManyError."""
        self._check_active()
        if group_id in self.groups:
            return False
        if len(self.groups) >= GROUPS_MAX:
            raise TooManyError(f"A principal is in at most {GROUPS_MAX} groups.")
        self.trigger_event(self.Joined, timestamp=at, group_id=group_id)
        return True

    def leave(self, group_id: str, reason: ContentRef | None, at: datetime) -> bool:
        """Be no member of a group any more; False where it is none."""
        if group_id not in self.groups:
            return False
        self.trigger_event(self.Left, timestamp=at, group_id=group_id, reason=reason)
        return True

    def register_key(self, key_id: str, public_key: str, at: datetime) -> bool:
        """Sign with a key too; False where it does already. TooManyError."""
        self._check_active()
        if key_id in self.keys:
            return False
        if len(self.keys) >= KEYS_MAX:
            raise TooManyError(f"A principal has at most {KEYS_MAX} keys: retire one.")
        self.trigger_event(self.KeyRegistered, timestamp=at, key_id=key_id, public_key=public_key)
        return True

    def retire_key(self, key_id: str, reason: ContentRef | None, at: datetime) -> None:
        """Sign with a key no more; NotFoundError."""
        if key_id not in self.keys:
            raise NotFoundError(f"There is no key {key_id} in force.")
        self.trigger_event(self.KeyRetired, timestamp=at, key_id=key_id, reason=reason)

    def revoke(self, grant_id: str, reason: ContentRef | None, at: datetime) -> None:
        """Take a grant away; NotFoundError where this principal does not hold it."""
        if grant_id not in self.grants:
            raise NotFoundError(f"There is no grant {grant_id} in force.")
        self.trigger_event(self.GrantRevoked, timestamp=at, grant_id=grant_id, reason=reason)

    def issue_token(self, token: Token, description: ContentRef | None, at: datetime) -> None:
        """Register a token by its SHA-256."""
        self._check_active()
        self.trigger_event(
            self.TokenIssued,
            timestamp=at,
            token_id=token.id,
            secret_sha256=token.secret_sha256,
            description=description,
            scopes=None if token.scopes is None else [_scope_data(s) for s in token.scopes],
            expires_at=token.expires_at.isoformat() if token.expires_at else None,
            networks=None if token.networks is None else list(token.networks),
        )

    def revoke_token(self, token_id: str, reason: ContentRef | None, at: datetime) -> bool:
        """Take a token away; False where already done, NotFoundError where there is none."""
        token = self.tokens.get(token_id)
        if token is None:
            raise NotFoundError(f"There is no token {token_id}.")
        if token.revoked:
            return False
        self.trigger_event(self.TokenRevoked, timestamp=at, token_id=token_id, reason=reason)
        return True

    def _check_active(self) -> None:
        if self.gone:
            raise InactivePrincipalError(
                f"Principal {self.id} is deactivated and can be given nothing: create a new one."
            )

    @event(KeyRegistered)
    def _apply_key_registered(self, key_id: str, public_key: str) -> None:
        self.keys[key_id] = public_key

    @event(KeyRetired)
    def _apply_key_retired(self, key_id: str) -> None:
        del self.keys[key_id]

    @event(Joined)
    def _apply_joined(self, group_id: str) -> None:
        self.groups = (*self.groups, group_id)

    @event(Left)
    def _apply_left(self, group_id: str) -> None:
        self.groups = tuple(one for one in self.groups if one != group_id)

    @event(Deactivated)
    def _apply_deactivated(self) -> None:
        self.active = False
        self.gone = True

    @event(Suspended)
    def _apply_suspended(self) -> None:
        self.active = False

    @event(Resumed)
    def _apply_resumed(self) -> None:
        self.active = not self.gone  # whatever a ledger says: deactivated is for good

    @event(Renamed)
    def _apply_renamed(self, name: ContentRef) -> None:
        self.name = name

    @event(GrantGiven)
    def _apply_grant_given(
        self, grant_id: str, role: str, scope: dict[str, Any], expires_at: str | None
    ) -> None:
        self.grants[grant_id] = Grant(grant_id, role, Scope(**scope), parse_time(expires_at))

    @event(GrantRevoked)
    def _apply_grant_revoked(self, grant_id: str) -> None:
        del self.grants[grant_id]

    @event(TokenIssued)
    def _apply_token_issued(
        self,
        token_id: str,
        secret_sha256: str,
        description: ContentRef | None,
        scopes: list[dict[str, Any]] | None,
        expires_at: str | None,
        networks: list[str] | None,
    ) -> None:
        self.tokens[token_id] = Token(
            id=token_id,
            secret_sha256=secret_sha256,
            scopes=None if scopes is None else tuple(scope_from(s) for s in scopes),
            expires_at=parse_time(expires_at),
            description=description,
            networks=None if networks is None else tuple(networks),
        )

    @event(TokenRevoked)
    def _apply_token_revoked(self, token_id: str) -> None:
        self.tokens[token_id] = replace(self.tokens[token_id], revoked=True)


def _scope_data(scope: TokenScope) -> dict[str, Any]:
    data = scope.scope.as_data()
    if scope.permissions is not None:
        data["permissions"] = sorted(scope.permissions)
    return data


def scope_from(data: dict[str, Any]) -> TokenScope:
    """A token's scope out of an event."""
    permissions = data.get("permissions")
    places = {name: value for name, value in data.items() if name != "permissions"}
    return TokenScope(None if permissions is None else frozenset(permissions), Scope(**places))
