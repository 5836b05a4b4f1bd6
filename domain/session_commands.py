"""Commands on sessions, decided: begun, refreshed, ended."""

import hmac
from typing import Any
from uuid import UUID

from domain import access, commands
from domain.credential import PASSWORD, Credential
from domain.deciding import Deciding
from domain.decision import Answer, Decision, Provenance
from domain.errors import (
    InvalidCredentialsError,
    SecondFactorRequiredError,
    SessionOverError,
    SignInLockedError,
)
from domain.granting import hash_secret
from domain.principal import GROUPS_MAX, Principal
from domain.second_person import reached_by
from domain.sign_in import SignIn
from domain.user_session import REFRESHES_MAX, UserSession

NO_ENTRY = "Login name, password or code are not right."


class SessionCommands(Deciding):
    """One method per command."""

    def begin_session(self, command: commands.BeginSession) -> Decision:
        """Sign in by password, and by the second factor where there is one."""
        sign_in = self._admitted(command)
        if sign_in.is_locked(self._now):
            raise SignInLockedError("Too many tries failed: try again later.")
        if sign_in.password is None or sign_in.password != command.checked:
            raise InvalidCredentialsError(NO_ENTRY)
        session_id = self._ids.new_id()
        provenance = self._as_signing_in(command.principal_id, "password", str(session_id))
        factors = ["password", *self._second_factor(sign_in, command)]
        if command.verifier is not None:
            owner = str(sign_in.id)
            kept = self._ids.sealed_verifier(owner, command.checked, command.verifier)
            self._credentials.append(Credential(owner, PASSWORD, kept))
        return self._begun(provenance, session_id, sign_in, factors, command)

    def _second_factor(self, sign_in: SignIn, command: commands.BeginSession) -> list[str]:
        if sign_in.totp is None:
            return []
        if command.code_sha256 is not None:
            if command.code_sha256 not in sign_in.recovery_codes:
                raise InvalidCredentialsError(NO_ENTRY)
            sign_in.tell(
                SignIn.RecoveryUsed, self._now, of="codes", secret_sha256=command.code_sha256
            )
            return ["recovery"]
        if command.step is None or command.nonce != sign_in.totp.nonce:
            raise SecondFactorRequiredError(
                "Send the code of your second factor too ('code', --code)."
            )
        if command.step <= sign_in.totp_step:
            raise InvalidCredentialsError("This code was used already: wait for the next one.")
        sign_in.tell(SignIn.TotpUsed, self._now, step=command.step)
        return ["totp"]

    def begin_provided_session(self, command: commands.BeginProvidedSession) -> Decision:
        """Sign in by an identity provider's word; groups it knows follow what it says."""
        sign_in = self._admitted(command)
        session_id = self._ids.new_id()
        provenance = self._as_signing_in(command.principal_id, "oidc", str(session_id))
        if sign_in.subject is None:
            sign_in.tell(SignIn.Linked, self._now, subject=command.subject)
        elif not hmac.compare_digest(sign_in.subject, command.subject):
            raise InvalidCredentialsError(
                "Another account signs in as this person: withdraw the login name and set it anew."
            )
        member = self._session.load(Principal, command.principal_id)
        if member is not None and command.groups is not None:
            self._follow_groups(member, command.groups, command.among)
        return self._begun(
            provenance, session_id, sign_in, ["oidc"], command, *([member] if member else [])
        )

    def _follow_groups(
        self, member: Principal, groups: tuple[UUID, ...], among: tuple[UUID, ...]
    ) -> None:
        """Be in exactly these of the groups that the provider has names for.

        Into those that have what takes two people, nobody is let by the provider's word.
        """
        for group_id in among:
            group, named = (
                self._session.load(Principal, group_id), self._session.load(SignIn, group_id)
            )  # fmt: skip
            if group is None or group.gone or named is None or named.login_id is None:
                continue
            if group_id in groups and len(member.groups) < GROUPS_MAX:
                if not reached_by(self._session, str(group_id), self._now):
                    member.join(str(group_id), self._now)
            elif group_id not in groups:
                member.leave(str(group_id), None, self._now)

    def _admitted(self, command: commands.BeginSession | commands.BeginProvidedSession) -> SignIn:
        """The sign-in of somebody who may come in by this name; InvalidCredentialsError."""
        principal = self._session.load(Principal, command.principal_id)
        sign_in = self._session.load(SignIn, command.principal_id)
        active = principal is not None and principal.active and principal.type == "person"
        if sign_in is None or sign_in.login_id != str(command.login_id) or not active:
            raise InvalidCredentialsError(NO_ENTRY)
        return sign_in

    def _begun(
        self,
        provenance: Provenance,
        session_id: UUID,
        sign_in: SignIn,
        factors: list[str],
        command: commands.BeginSession | commands.BeginProvidedSession,
        *before: Principal,
    ) -> Decision:
        tokens = self._ids.session_tokens(session_id, 1)
        session = UserSession.begin(
            session_id, sign_in.id, sign_in.generation, factors, hash_secret(tokens[0]),
            command.client, command.hours, self._now,
        )  # fmt: skip
        ended = self._replaced(command.replacing, sign_in)
        return self._decision(provenance, _told(session, tokens), session, *ended, sign_in, *before)

    def _replaced(self, session_id: UUID | None, sign_in: SignIn) -> list[UserSession]:
        """One's oldest session, ended to make room."""
        oldest = self._session.load(UserSession, session_id) if session_id is not None else None
        if oldest is None or oldest.principal_id != str(sign_in.id) or oldest.is_over(self._now):
            return []
        if not sign_in.counts(str(oldest.id), oldest.generation):
            return []
        oldest.end("replaced", self._now)
        return [oldest]

    def refresh_session(self, command: commands.RefreshSession) -> Decision:
        """Exchange a refresh token; one that was exchanged before ends the session."""
        session, provenance = self._at_the_door(command.session_id)
        given = command.number
        if given == session.number:
            if session.number >= REFRESHES_MAX:
                raise SessionOverError(f"Refreshed {REFRESHES_MAX} times: sign in again.")
            tokens = self._ids.session_tokens(session.id, session.number + 1)
            session.refresh(hash_secret(tokens[0]), command.client, self._now)
        elif session.is_retry(given, command.client, self._now):
            tokens = self._ids.session_tokens(session.id, session.number)
        elif given < session.number:
            session.end("reuse", self._now)
            body = {"session_id": str(session.id), "ended": "reuse"}
            return self._decision(provenance, Answer(body), session)
        else:
            raise SessionOverError("The refresh token is not known: sign in again.")
        return self._decision(provenance, _told(session, tokens), session)

    def _at_the_door(self, session_id: UUID) -> tuple[UserSession, Provenance]:
        """A session whose refresh token was shown; SessionOverError."""
        session = self._session.load(UserSession, session_id)
        if session is None or session.is_over(self._now) or not self._is_kept(session):
            raise SessionOverError("The session is over: sign in again.")
        owner = UUID(session.principal_id)
        return session, self._as_signing_in(owner, "refresh", str(session.id))

    def _is_kept(self, session: UserSession) -> bool:
        """Whether its owner is active and has not ended it by other means."""
        principal = self._session.load(Principal, UUID(session.principal_id))
        sign_in = self._session.load(SignIn, UUID(session.principal_id))
        return (
            principal is not None
            and principal.active
            and sign_in is not None
            and sign_in.counts(str(session.id), session.generation)
        )

    def end_session(self, command: commands.EndSession) -> Decision:
        """End a session: one's own, or as who gives access."""
        if command.number is not None:
            return self._sign_out(command.session_id, command.number)
        session = self._session.load(UserSession, command.session_id)
        resource = access.Resource(f"sessions/{command.session_id}")
        if session is not None and session.principal_id == self._caller.principal_id:
            provenance = self._as_oneself(UUID(session.principal_id), limited=True)
            own = self._caller.token_id == str(session.id)
            cause = "logout" if own else "revoked"
        else:
            holder = access.principal_resource(session.principal_id) if session else resource
            provenance = self._authorise(access.ACCESS_WRITE, holder)
            cause = "revoked"
        if session is None:
            raise access.not_found(resource)
        if session.ended is None:
            session.end(cause, self._now)
        return self._decision(provenance, Answer(_ended(session)), session)

    def _sign_out(self, session_id: UUID, number: int) -> Decision:
        """End a session by its refresh token, also by an old one: as who has that may."""
        session, provenance = self._at_the_door(session_id)
        if number > session.number:
            raise SessionOverError("The refresh token is not known: sign in again.")
        session.end("logout", self._now)
        return self._decision(provenance, Answer(_ended(session)), session)


def _ended(session: UserSession) -> dict[str, Any]:
    return {"session_id": str(session.id), "principal_id": session.principal_id}


def _told(session: UserSession, tokens: tuple[str, str]) -> Answer:
    body: dict[str, Any] = {
        "session_id": str(session.id),
        "principal_id": session.principal_id,
        "access_token": None,
        "refresh_token": None,
        "access_expires_at": session.access_expires_at.isoformat(),
        "expires_at": session.expires_at.isoformat(),
    }
    secret = {"access_token": tokens[0], "refresh_token": tokens[1]}
    return Answer(body, made=session.number == 1, secret=secret)
