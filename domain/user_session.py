"""Sessions: a short-lived access token, and a refresh token that changes with every use.

RFC 9700 section 4.14.2: a refresh token that was exchanged once and comes again may be stolen, so
the whole family ends. Tokens are derived from the registry's key (`domain/sign_in_secrets.py`): a
client that lost the reply gets the same ones again within GRACE_SECONDS.
"""

from datetime import datetime, timedelta
from uuid import UUID

from eventsourcing.domain import Aggregate, event

ACCESS_MINUTES = 15
GRACE_SECONDS = 10.0
HOURS_MAX = 720
REFRESHES_MAX = 2000
SESSIONS_MAX = 64
# What a session was begun with, beside a password: those of the second line count as two.
FACTORS = ("password", "totp", "recovery", "oidc")
SECOND_FACTORS = frozenset({"totp", "recovery", "oidc"})


class UserSession(Aggregate):
    """One sign-in of one principal, until it ends, expires or is overtaken by its `SignIn`."""

    TOPIC = "io.scrinia.session"

    class Created(Aggregate.Created):
        """Somebody signed in. Times are RFC 3339; `client`: a keyed hash of what asked."""

        TOPIC = "io.scrinia.session.begun.v1"
        principal_id: str
        generation: int
        factors: list[str]
        access_sha256: str
        access_expires_at: str
        expires_at: str
        client: str

    class Refreshed(Aggregate.Event):
        """The refresh token was exchanged, by `client`, for those of this number."""

        TOPIC = "io.scrinia.session.refreshed.v1"
        number: int
        access_sha256: str
        access_expires_at: str
        client: str

    class Ended(Aggregate.Event):
        """The session is over: by its owner (`logout`), an admin (`revoked`), by `reuse` of a
        refresh token, or since there are newer ones (`replaced`).
        """

        TOPIC = "io.scrinia.session.ended.v1"
        cause: str

    def __init__(
        self,
        principal_id: str,
        generation: int,
        factors: list[str],
        access_sha256: str,
        access_expires_at: str,
        expires_at: str,
        client: str,
    ) -> None:
        self.principal_id = principal_id
        self.generation = generation
        self.factors = frozenset(factors)
        self.number = 1
        self.access_sha256 = access_sha256
        self.refreshed_at = self.created_on
        self.access_expires_at = datetime.fromisoformat(access_expires_at)
        self.expires_at = datetime.fromisoformat(expires_at)
        self.client = client
        self.ended: str | None = None
        self.ended_at: datetime | None = None

    @classmethod
    def begin(
        cls,
        session_id: UUID,
        principal_id: UUID,
        generation: int,
        factors: list[str],
        access_sha256: str,
        client: str,
        hours: float,
        at: datetime,
    ) -> "UserSession":
        """A new session; `access_sha256`: of its first access token, hex."""
        expires_at = at + timedelta(hours=hours)
        return cls._create(
            cls.Created,
            id=session_id,
            timestamp=at,
            principal_id=str(principal_id),
            generation=generation,
            factors=factors,
            access_sha256=access_sha256,
            access_expires_at=_access_end(at, expires_at).isoformat(),
            expires_at=expires_at.isoformat(),
            client=client,
        )

    @property
    def has_second_factor(self) -> bool:
        """Whether it was begun with more than a password."""
        return bool(self.factors & SECOND_FACTORS)

    def is_over(self, now: datetime) -> bool:
        """Ended, or past its time; whether its `SignIn` still counts it is not asked here."""
        return self.ended is not None or now >= self.expires_at

    def is_retry(self, number: int, client: str, now: datetime) -> bool:
        """Whether whoever exchanged the token before this one sends it again, the reply lost."""
        late = (now - self.refreshed_at).total_seconds() > GRACE_SECONDS
        return number == self.number - 1 and client == self.client and not late

    def refresh(self, access_sha256: str, client: str, at: datetime) -> None:
        """Exchange the refresh token."""
        self.trigger_event(
            self.Refreshed,
            timestamp=at,
            number=self.number + 1,
            access_sha256=access_sha256,
            access_expires_at=_access_end(at, self.expires_at).isoformat(),
            client=client,
        )

    def end(self, cause: str, at: datetime) -> None:
        """Let no token of it count any more."""
        self.trigger_event(self.Ended, timestamp=at, cause=cause)

    @event(Refreshed)
    def _apply_refreshed(
        self,
        number: int,
        access_sha256: str,
        access_expires_at: str,
        client: str,
        timestamp: datetime,
    ) -> None:
        self.number = number
        self.access_sha256, self.client = access_sha256, client
        self.access_expires_at = datetime.fromisoformat(access_expires_at)
        self.refreshed_at = timestamp

    @event(Ended)
    def _apply_ended(self, cause: str, timestamp: datetime) -> None:
        self.ended, self.ended_at = cause, timestamp


def _access_end(at: datetime, expires_at: datetime) -> datetime:
    return min(at + timedelta(minutes=ACCESS_MINUTES), expires_at)
