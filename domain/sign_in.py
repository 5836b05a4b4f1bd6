"""How a principal signs in: login name, password, second factor, recovery, lock-out.

A stream beside the principal's own, under the same id, so that what somebody at the door does
keeps nobody from working who is inside. Secrets are not in it: a password's verifier is in the
table of credentials, a second factor's secret is derived from the registry's key (ADR 16).
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from eventsourcing.domain import Aggregate, event

from domain.commitment import ContentRef

RECOVERY_HOURS = 72
RECOVERY_CODES = 10
LOCK_MINUTES = 15


@dataclass(frozen=True)
class Recovery:
    """A one-time code somebody was handed: its SHA-256 (hex), until when, what it resets."""

    secret_sha256: str
    expires_at: datetime
    second_factor: bool


@dataclass(frozen=True)
class Totp:
    """A second factor (RFC 6238): the nonce its secret is derived by, and the key."""

    nonce: str
    key_id: str


class SignIn(Aggregate):
    """Whether and how one principal signs in; its id is the principal's.

    A session counts while it is of this `generation`, or is the one `kept`; those of a generation
    up to `revoked` were taken away, and what they asked to be done later is not done.
    """

    TOPIC = "io.scrinia.signin"

    class Created(Aggregate.Created):
        """The principal has a login name for the first time. The name is content."""

        TOPIC = "io.scrinia.signin.granted.v1"
        login: ContentRef
        login_id: str
        key_id: str

    class Changed(Aggregate.Event):
        """The principal signs in by another login name, or by one again."""

        TOPIC = "io.scrinia.signin.changed.v1"
        login: ContentRef
        login_id: str
        key_id: str

    class Withdrawn(Aggregate.Event):
        """The principal signs in no more: name, password and second factor are gone."""

        TOPIC = "io.scrinia.signin.withdrawn.v1"
        reason: ContentRef | None

    class Revoked(Aggregate.Event):
        """Every session of the principal was ended."""

        TOPIC = "io.scrinia.signin.revoked.v1"
        reason: ContentRef | None

    class Locked(Aggregate.Event):
        """Too many failed: nobody signs in here by password until `until` (RFC 3339)."""

        TOPIC = "io.scrinia.signin.locked.v1"
        until: str

    class RecoveryIssued(Aggregate.Event):
        """A one-time code to set a password with, and to go on without the second factor."""

        TOPIC = "io.scrinia.recovery.issued.v1"
        secret_sha256: str
        expires_at: str
        second_factor: bool
        reason: ContentRef | None

    class RecoveryUsed(Aggregate.Event):
        """A one-time code was used: `issued` by an admin, or of the `codes` for a lost device."""

        TOPIC = "io.scrinia.recovery.used.v1"
        of: str
        secret_sha256: str

    class PasswordSet(Aggregate.Event):
        """The password of this number counts from now on; sessions end but for `keeps`."""

        TOPIC = "io.scrinia.password.set.v1"
        number: int
        keeps: str | None

    class TotpEnrolled(Aggregate.Event):
        """A second factor is asked for; `recovery_sha256`: of the codes to do without it.

        `session`: the one it was shown in, which has it from now on; all others end.
        """

        TOPIC = "io.scrinia.totp.enrolled.v1"
        session: str | None
        nonce: str
        key_id: str
        step: int
        recovery_sha256: list[str]

    class TotpUsed(Aggregate.Event):
        """The code of this time step was used; neither it nor an earlier one counts again."""

        TOPIC = "io.scrinia.totp.used.v1"
        step: int

    class TotpRemoved(Aggregate.Event):
        """No second factor any more."""

        TOPIC = "io.scrinia.totp.removed.v1"
        reason: ContentRef | None

    class Linked(Aggregate.Event):
        """The identity provider's account that signs in as this principal, as a keyed hash."""

        TOPIC = "io.scrinia.signin.linked.v1"
        subject: str

    def __init__(self, login: ContentRef, login_id: str, key_id: str) -> None:
        self.login: ContentRef | None = login
        self.login_id: str | None = login_id
        self.key_id = key_id
        self.generation = 1
        self.revoked = 0
        self.kept: str | None = None
        self.locked_until: datetime | None = None
        self.password: int | None = None
        self.passwords = 0
        self.totp: Totp | None = None
        self.totp_step = 0
        self.proven: str | None = None
        self.recovery_codes: frozenset[str] = frozenset()
        self.recovery: Recovery | None = None
        self.subject: str | None = None

    @classmethod
    def grant(
        cls, principal_id: UUID, login: ContentRef, login_id: UUID, key_id: str, at: datetime
    ) -> "SignIn":
        """A principal's first login name; `key_id`: of what its place derives from."""
        return cls._create(
            cls.Created, id=principal_id, timestamp=at, login=login, login_id=str(login_id),
            key_id=key_id,
        )  # fmt: skip

    def is_locked(self, now: datetime) -> bool:
        """Whether passwords are refused at a moment."""
        return self.locked_until is not None and now < self.locked_until

    def counts(self, session_id: str, generation: int) -> bool:
        """Whether a session begun in a generation is not over by what happened since."""
        return generation == self.generation or (
            session_id == self.kept and generation > self.revoked
        )

    def tell(self, kind: type[Aggregate.Event], at: datetime, **fields: Any) -> None:
        """Say what happened; whether it may is for `domain/sign_in_commands.py`."""
        self.trigger_event(kind, timestamp=at, **fields)

    @event(Changed)
    def _apply_changed(self, login: ContentRef, login_id: str, key_id: str) -> None:
        self.login, self.login_id, self.key_id = login, login_id, key_id

    @event(Withdrawn)
    def _apply_withdrawn(self) -> None:
        self.login = self.login_id = self.password = self.totp = self.recovery = None
        self.subject = None
        self.recovery_codes = frozenset()
        self._end_all()

    @event(Revoked)
    def _apply_revoked(self) -> None:
        self._end_all()

    def _end_all(self) -> None:
        self.revoked = self.generation
        self.generation += 1
        self.kept = None

    @event(Locked)
    def _apply_locked(self, until: str) -> None:
        self.locked_until = datetime.fromisoformat(until)

    @event(RecoveryIssued)
    def _apply_recovery_issued(
        self, secret_sha256: str, expires_at: str, second_factor: bool
    ) -> None:
        self.recovery = Recovery(secret_sha256, datetime.fromisoformat(expires_at), second_factor)

    @event(RecoveryUsed)
    def _apply_recovery_used(self, of: str, secret_sha256: str) -> None:
        if of == "issued":
            self.recovery = None
            self.locked_until = None
            self._end_all()
        else:
            self.recovery_codes -= {secret_sha256}

    @event(PasswordSet)
    def _apply_password_set(self, number: int, keeps: str | None) -> None:
        self.password = self.passwords = number
        self.generation += 1
        self.kept = keeps

    @event(TotpEnrolled)
    def _apply_totp_enrolled(
        self,
        session: str | None,
        nonce: str,
        key_id: str,
        step: int,
        recovery_sha256: list[str],
    ) -> None:
        self.proven = self.kept = session
        self.generation += 1
        self.totp = Totp(nonce, key_id)
        self.totp_step = step
        self.recovery_codes = frozenset(recovery_sha256)

    @event(TotpUsed)
    def _apply_totp_used(self, step: int) -> None:
        self.totp_step = step

    @event(TotpRemoved)
    def _apply_totp_removed(self) -> None:
        self.totp = self.proven = None
        self.recovery_codes = frozenset()

    @event(Linked)
    def _apply_linked(self, subject: str) -> None:
        self.subject = subject


class LoginName(Aggregate):
    """Whose a login name is; its id is a keyed hash of the name, so that nobody guesses names."""

    TOPIC = "io.scrinia.login"

    class Created(Aggregate.Created):
        """The name was taken for the first time."""

        TOPIC = "io.scrinia.login.claimed.v1"
        principal_id: str

    class Reclaimed(Aggregate.Event):
        """The name is somebody's again."""

        TOPIC = "io.scrinia.login.reclaimed.v1"
        principal_id: str

    class Released(Aggregate.Event):
        """The name is nobody's any more."""

        TOPIC = "io.scrinia.login.released.v1"

    def __init__(self, principal_id: str) -> None:
        self.principal_id: str | None = principal_id

    @classmethod
    def claim(cls, login_id: UUID, principal_id: UUID, at: datetime) -> "LoginName":
        """Take a name that nobody ever took."""
        return cls._create(cls.Created, id=login_id, timestamp=at, principal_id=str(principal_id))

    def reclaim(self, principal_id: UUID, at: datetime) -> None:
        """Take a name that was released."""
        self.trigger_event(self.Reclaimed, timestamp=at, principal_id=str(principal_id))

    def release(self, at: datetime) -> None:
        """Let anybody take the name."""
        self.trigger_event(self.Released, timestamp=at)

    @event(Reclaimed)
    def _apply_reclaimed(self, principal_id: str) -> None:
        self.principal_id = principal_id

    @event(Released)
    def _apply_released(self) -> None:
        self.principal_id = None
