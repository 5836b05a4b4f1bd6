"""Principals, grants, tokens, as commands."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID


@dataclass(frozen=True)
class CreatePrincipal:
    """Make a principal without grants; `login`: the name it signs in by."""

    type: str
    name: str
    login: str | None = None


@dataclass(frozen=True)
class RenamePrincipal:
    """Show a principal by another name."""

    principal_id: UUID
    name: str


@dataclass(frozen=True)
class SuspendPrincipal:
    """Let a principal do nothing until it is resumed; `admins` as of `DeactivatePrincipal`."""

    principal_id: UUID
    reason: str | None = None
    admins: tuple[UUID, ...] = ()


@dataclass(frozen=True)
class ResumePrincipal:
    """Let a principal do again what it is allowed to."""

    principal_id: UUID
    reason: str | None = None


@dataclass(frozen=True)
class DeactivatePrincipal:
    """Take every right from a principal, for good.

    `admins`: who else administers the registry, as far as the caller has seen; one has to remain.
    """

    principal_id: UUID
    reason: str | None = None
    admins: tuple[UUID, ...] = ()


@dataclass(frozen=True)
class DefineRole:
    """Have a custom role permit these, wherever it was and will be given; () ends it."""

    name: str
    permissions: tuple[str, ...]
    description: str | None = None


@dataclass(frozen=True)
class RegisterActorKey:
    """Sign with a key of one's own (Ed25519, 32 bytes) from now on; possession is shown already."""

    principal_id: UUID
    public_key: bytes


@dataclass(frozen=True)
class RetireActorKey:
    """Let a principal sign with one of its keys no more."""

    principal_id: UUID
    key_id: str
    reason: str | None = None


@dataclass(frozen=True)
class JoinGroup:
    """Let the grants of a group count for a principal."""

    principal_id: UUID
    group_id: UUID


@dataclass(frozen=True)
class LeaveGroup:
    """Let the grants of a group count for a principal no more."""

    principal_id: UUID
    group_id: UUID
    reason: str | None = None


@dataclass(frozen=True)
class GiveGrant:
    """Give a principal a role in a scope."""

    principal_id: UUID
    role: str
    project: str | None = None
    folder: str | None = None
    environment: str | None = None
    expires_at: datetime | None = None


@dataclass(frozen=True)
class RevokeGrant:
    """Take a grant from the principal that holds it; `admins` as of `DeactivatePrincipal`."""

    principal_id: UUID
    grant_id: str
    reason: str | None = None
    admins: tuple[UUID, ...] = ()


@dataclass(frozen=True)
class IssueToken:
    """Issue an API token. `scopes` None: whatever the principal may do; `networks`: from there."""

    principal_id: UUID
    description: str | None = None
    scopes: tuple[dict[str, Any], ...] | None = None
    expires_at: datetime | None = None
    networks: tuple[str, ...] | None = None


@dataclass(frozen=True)
class RevokeToken:
    """Take an API token away."""

    principal_id: UUID
    token_id: str
    reason: str | None = None
