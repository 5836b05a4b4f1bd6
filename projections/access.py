"""Who may do what, in memory: authentication and read authorisation touch no database.

Holds the same aggregates the registry decides on, kept fresh by the follower, and asks the same
policy. What it says only admits reads and tells a command's caller; every command is authorised
again from the streams themselves.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

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
from ledger.mapper import RecordedEvent, SigningMapper
from ledger.recorder import LedgerRecorder
from ledger.trust import TrustedKeys, check_authentic


@dataclass(frozen=True)
class Known:
    """A principal and when and by whom each grant and token came to be (ledger positions)."""

    principal: Principal
    created_at: str


class AccessView:
    """All principals by id, their tokens by SHA-256, their grants by id."""

    def __init__(self) -> None:
        self.principals: dict[str, Known] = {}
        self.position = 0
        self._tokens: dict[str, Caller] = {}
        self._holders: dict[str, str] = {}

    def load(
        self,
        recorder: LedgerRecorder,
        mapper: SigningMapper,
        until: int,
        keys: TrustedKeys | None = None,
    ) -> None:
        """Fold all principal events up to a position, checking signatures where keys are given."""
        for stored in recorder.select_kind("principal", until):
            if keys is not None:
                check_authentic(stored, keys)
            self._take(mapper.recorded(stored))
        self.position = until

    def apply(self, batch: Sequence[RecordedEvent]) -> None:
        """Follow the ledger."""
        for recorded in batch:
            if recorded.stream.startswith("principal/"):
                self._take(recorded)
        self.position = batch[-1].position

    def _take(self, recorded: RecordedEvent) -> None:
        event = recorded.event
        principal_id = str(event.originator_id)
        known = self.principals.get(principal_id)
        principal = event.mutate(known.principal if known else None)
        if isinstance(event, Principal.Created) and isinstance(principal, Principal):
            self.principals[principal_id] = Known(principal, recorded.time)
        elif isinstance(event, Principal.GrantGiven):
            self._holders[event.grant_id] = principal_id
        elif isinstance(event, Principal.TokenIssued):
            self._tokens[event.secret_sha256] = Caller(principal_id, event.token_id)
            self._holders[event.token_id] = principal_id

    def caller_with(self, secret: str, now: datetime) -> Caller:
        """Who a token belongs to; UnauthenticatedError where it counts for nobody now.

        The secret is looked up by its SHA-256, so the time this takes says nothing about it.
        """
        caller = self._tokens.get(hash_secret(secret))
        if caller is None:
            raise _unknown_token()
        self.rights(caller, now)
        return caller

    def knows(self, secret: str) -> bool:
        """Whether a token was ever issued, as far as this process has followed."""
        return hash_secret(secret) in self._tokens

    def rights_with(self, secret: str, now: datetime) -> Rights:
        """The standing a token gives, in one look-up: the path of every hot read."""
        caller = self._tokens.get(hash_secret(secret))
        if caller is None:
            raise _unknown_token()
        return self.rights(caller, now)

    def rights(self, caller: Caller, now: datetime) -> Rights:
        """The standing of a caller; UnauthenticatedError where it has none any more."""
        known = self.principals.get(caller.principal_id)
        rights = known.principal.rights(caller.token_id) if known else None
        return authenticate(rights, now)

    def authorise(
        self, caller: Caller, permission: str, resource: Resource, now: datetime
    ) -> Authorization:
        """The policy's answer to a read, or its refusal."""
        return authorise(self.rights(caller, now), permission, resource, now)

    def permitted(self, caller: Caller, permission: str, resource: Resource, now: datetime) -> bool:
        """The policy's answer as yes or no."""
        return permitted(self.rights(caller, now), permission, resource, now).allowed

    def holder_of(self, grant_or_token_id: str) -> UUID | None:
        """The principal a grant or token was given to, in force or not."""
        holder = self._holders.get(grant_or_token_id)
        return UUID(holder) if holder else None


def _unknown_token() -> UnauthenticatedError:
    return UnauthenticatedError("The token is not known here: check it, or issue another.")
