"""Signing in, as commands: login names, passwords, second factors, sessions."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID


@dataclass(frozen=True)
class SetLogin:
    """Let a person sign in by a name; of a group it is the name an identity provider knows."""

    principal_id: UUID
    login: str


@dataclass(frozen=True)
class WithdrawSignIn:
    """Let a principal sign in no more: name, password and second factor go, sessions end."""

    principal_id: UUID
    reason: str | None = None


@dataclass(frozen=True)
class RevokeSessions:
    """End every session of a principal."""

    principal_id: UUID
    reason: str | None = None


@dataclass(frozen=True)
class IssueRecovery:
    """Hand out a one-time code to set a password with; `second_factor`: and to go on without."""

    principal_id: UUID
    second_factor: bool = False
    reason: str | None = None


@dataclass(frozen=True)
class UseRecovery:
    """Set a password with a one-time code (its SHA-256, hex); `verifier`: of the new password."""

    principal_id: UUID
    code_sha256: str
    verifier: bytes


@dataclass(frozen=True)
class SetPassword:
    """Have another password; `checked`: the number of the one that was shown."""

    principal_id: UUID
    checked: int
    verifier: bytes


@dataclass(frozen=True)
class EnrolTotp:
    """Be asked for a second factor from now on; `step`: of the code that was shown."""

    principal_id: UUID
    checked: int
    nonce: str
    step: int


@dataclass(frozen=True)
class RemoveTotp:
    """Be asked for no second factor; `checked`: the password's number, where one shows it."""

    principal_id: UUID
    checked: int | None = None
    reason: str | None = None


@dataclass(frozen=True)
class LockSignIn:
    """Refuse passwords until a moment: too many failed."""

    principal_id: UUID
    until: datetime


@dataclass(frozen=True)
class SetSignInRules:
    """Whether sessions need a second factor before they may do anything."""

    second_factor: bool


@dataclass(frozen=True)
class BeginSession:
    """Sign in by the password of a number, with the TOTP code of a step or a recovery code.

    `nonce`: of the second factor that the code is of. `verifier`: of the same password, where it is
    to be kept in another form from now on. `replacing`: one's oldest session, where there are
    SESSIONS_MAX.
    """

    principal_id: UUID
    login_id: UUID
    checked: int
    client: str
    hours: float
    step: int | None = None
    nonce: str | None = None
    code_sha256: str | None = None
    verifier: bytes | None = None
    replacing: UUID | None = None


@dataclass(frozen=True)
class BeginProvidedSession:
    """Sign in by an identity provider's word: `subject` (a keyed hash) is the account there.

    `groups`: the groups it says, of those that have a name there; None where it says nothing.
    """

    principal_id: UUID
    login_id: UUID
    subject: str
    client: str
    hours: float
    groups: tuple[UUID, ...] | None = None
    among: tuple[UUID, ...] = ()
    replacing: UUID | None = None


@dataclass(frozen=True)
class RefreshSession:
    """Exchange the refresh token of a number, which is known to be the registry's, for new ones."""

    session_id: UUID
    number: int
    client: str


@dataclass(frozen=True)
class EndSession:
    """End a session: one's own, or another's.

    `number`: of the refresh token that was shown for it, where no access token counts any more.
    """

    session_id: UUID
    number: int | None = None
