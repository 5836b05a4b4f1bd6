"""What takes two people, as commands: the rules of it, and asking for it."""

from dataclasses import dataclass
from uuid import UUID

from domain.access_rules import Protected
from domain.commands.access import GiveGrant, IssueToken, JoinGroup
from domain.commands.sign_in import IssueRecovery, SetLogin


@dataclass(frozen=True)
class SetAccessRules:
    """Have one person alone give these permissions to nobody; (): as before there were rules.

    `admins`: who else administers the registry, as far as the caller has seen.
    """

    second_person: tuple[Protected, ...]
    admins: tuple[UUID, ...] = ()


@dataclass(frozen=True)
class LiftAccessRules:
    """On the registry's host: let one person alone give anything again."""

    reason: str


Wanted = GiveGrant | JoinGroup | IssueToken | SetLogin | IssueRecovery | SetAccessRules


@dataclass(frozen=True)
class RequestAccess:
    """Ask for what takes a second person."""

    wanted: Wanted
    reason: str | None = None


@dataclass(frozen=True)
class ApproveAccess:
    """Agree to what somebody else asked for."""

    request_id: UUID
    comment: str | None = None


@dataclass(frozen=True)
class RejectAccess:
    """Say no to what was asked for, or take back what one asked for."""

    request_id: UUID
    comment: str | None = None


@dataclass(frozen=True)
class ApplyAccess:
    """Do what one asked for and somebody agreed to; `admins` as of `SetAccessRules`."""

    request_id: UUID
    admins: tuple[UUID, ...] = ()
