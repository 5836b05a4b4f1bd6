"""Commands on how principals sign in, decided: names, passwords, second factors, recovery."""

import hmac
from datetime import timedelta
from uuid import UUID

from eventsourcing.domain import Aggregate

from domain import access, commands
from domain.credential import PASSWORD, Credential
from domain.deciding import Deciding
from domain.decision import Answer, Decision
from domain.errors import (
    ConflictError,
    InactivePrincipalError,
    InvalidCredentialsError,
    InvalidError,
    NameTakenError,
    NotFoundError,
)
from domain.granting import hash_secret
from domain.principal import Principal
from domain.sign_in import LOCK_MINUTES, RECOVERY_CODES, RECOVERY_HOURS, LoginName, SignIn
from domain.sign_in_rules import RULES_ID, SignInRules
from domain.sign_in_secrets import fold_login

LOGIN_CHARS_MAX = 254
WITH_NAMES = ("person", "group")


class SignInCommands(Deciding):
    """One method per command."""

    def set_login(self, command: commands.SetLogin) -> Decision:
        """Let a person sign in by a name, or an identity provider know a group by one."""
        resource = access.principal_resource(str(command.principal_id))
        provenance = self._authorise(access.ACCESS_WRITE, resource)
        principal = self._principal(command.principal_id)
        if principal.gone:
            raise InactivePrincipalError(f"Principal {principal.id} is deactivated.")
        login_id = self._login_id(principal, command.login)
        sign_in = self._session.load(SignIn, principal.id)
        body = {"principal_id": str(principal.id)}
        if sign_in is not None and sign_in.login_id == str(login_id):
            return self._decision(provenance, Answer(body), sign_in)
        names = self._names_for(principal, sign_in, login_id)
        login = self._seal_text(command.login.strip(), "/login")
        if sign_in is None:
            key_id = self._ids.sign_in_key_id()
            sign_in = SignIn.grant(principal.id, login, login_id, key_id, self._now)
        else:
            sign_in.tell(
                SignIn.Changed, self._now, login=login, login_id=str(login_id),
                key_id=self._ids.sign_in_key_id(),
            )  # fmt: skip
        return self._decision(provenance, Answer(body, made=True), sign_in, *names)

    def _login_id(self, principal: Principal, login: str) -> UUID:
        if principal.type not in WITH_NAMES:
            raise InvalidError("People sign in, and groups have a name at an identity provider.")
        return self._ids.login_id(checked_login(login, principal.type))

    def _first_login(self, principal: Principal, login: str) -> list[Aggregate]:
        """The login name of a principal that is being made; NameTakenError."""
        login_id = self._login_id(principal, login)
        names = self._names_for(principal, None, login_id)
        sealed = self._seal_text(login.strip(), "/login")
        key_id = self._ids.sign_in_key_id()
        return [*names, SignIn.grant(principal.id, sealed, login_id, key_id, self._now)]

    def _names_for(
        self, principal: Principal, sign_in: SignIn | None, login_id: UUID
    ) -> list[LoginName]:
        """The name taken and the one let go of; NameTakenError."""
        name = self._session.load(LoginName, login_id)
        if name is not None and name.principal_id is not None:
            raise NameTakenError("Somebody else has this login name already.")
        if name is None:
            name = LoginName.claim(login_id, principal.id, self._now)
        else:
            name.reclaim(principal.id, self._now)
        return [*self._released(sign_in), name]

    def _released(self, sign_in: SignIn | None) -> list[LoginName]:
        held = sign_in.login_id if sign_in is not None else None
        name = self._session.load(LoginName, UUID(held)) if held is not None else None
        if name is None:
            return []
        name.release(self._now)
        return [name]

    def withdraw_sign_in(self, command: commands.WithdrawSignIn) -> Decision:
        """Let a principal sign in no more."""
        resource = access.principal_resource(str(command.principal_id))
        provenance = self._authorise(access.ACCESS_WRITE, resource)
        sign_in = self._sign_in(command.principal_id)
        subject, *before = reversed(self._withdrawn(sign_in.id, command.reason) or [sign_in])
        return self._decision(
            provenance, Answer({"principal_id": str(sign_in.id)}), subject, *before
        )

    def _withdrawn(self, principal_id: UUID, reason: str | None = None) -> list[Aggregate]:
        """The login name let go of and the password forgotten, where there is a name."""
        sign_in = self._session.load(SignIn, principal_id)
        if sign_in is None or sign_in.login_id is None:
            return []
        names = self._released(sign_in)
        sign_in.tell(SignIn.Withdrawn, self._now, reason=self._text(reason, "/reason"))
        self._credentials.append(Credential(str(sign_in.id), PASSWORD, None))
        return [*names, sign_in]

    def revoke_sessions(self, command: commands.RevokeSessions) -> Decision:
        """End every session of a principal: one's own, or as who gives access."""
        if self._caller.principal_id == str(command.principal_id):
            provenance = self._as_oneself(command.principal_id, limited=True)
        else:
            resource = access.principal_resource(str(command.principal_id))
            provenance = self._authorise(access.ACCESS_WRITE, resource)
        sign_in = self._sign_in(command.principal_id)
        sign_in.tell(SignIn.Revoked, self._now, reason=self._text(command.reason, "/reason"))
        return self._decision(provenance, Answer({"principal_id": str(sign_in.id)}), sign_in)

    # Recovery

    def issue_recovery(self, command: commands.IssueRecovery) -> Decision:
        """Hand out a one-time code; it is in the answer, once."""
        resource = access.principal_resource(str(command.principal_id))
        provenance = self._authorise(access.ACCESS_WRITE, resource)
        principal, sign_in = self._principal(command.principal_id), self._named_sign_in(command)
        if principal.type != "person" or not principal.active:
            raise InvalidError("Only people who are active sign in.")
        code, expires_at = self._ids.secret(), self._now + timedelta(hours=RECOVERY_HOURS)
        sign_in.tell(
            SignIn.RecoveryIssued, self._now, secret_sha256=hash_secret(code),
            expires_at=expires_at.isoformat(), second_factor=command.second_factor,
            reason=self._text(command.reason, "/reason"),
        )  # fmt: skip
        body = {
            "principal_id": str(sign_in.id), "expires_at": expires_at.isoformat(), "code": None,
        }  # fmt: skip
        return self._decision(provenance, Answer(body, made=True, secret={"code": code}), sign_in)

    def use_recovery(self, command: commands.UseRecovery) -> Decision:
        """Set a password with a one-time code."""
        sign_in = self._session.load(SignIn, command.principal_id)
        recovery = sign_in.recovery if sign_in is not None else None
        principal = self._session.load(Principal, command.principal_id)
        known = recovery is not None and hmac.compare_digest(
            recovery.secret_sha256, command.code_sha256
        )
        active = principal is not None and principal.active
        if sign_in is None or recovery is None or not known or not active:
            raise InvalidCredentialsError("This code is not known here, or was used already.")
        if self._now >= recovery.expires_at:
            raise InvalidCredentialsError("The code has expired: ask an admin for another one.")
        provenance = self._as_signing_in(command.principal_id, "recovery", None)
        sign_in.tell(SignIn.RecoveryUsed, self._now, of="issued", secret_sha256=command.code_sha256)
        if recovery.second_factor and sign_in.totp is not None:
            sign_in.tell(SignIn.TotpRemoved, self._now, reason=None)
        self._change_password(sign_in, command.verifier, None)
        return self._decision(provenance, Answer({"principal_id": str(sign_in.id)}), sign_in)

    # Passwords and second factors

    def set_password(self, command: commands.SetPassword) -> Decision:
        """Have another password; every session but the one it is done in ends."""
        provenance = self._as_oneself(command.principal_id, limited=True)
        sign_in = self._sign_in(command.principal_id)
        _check_current(sign_in, command.checked)
        self._change_password(sign_in, command.verifier, self._own_session())
        return self._decision(provenance, Answer({"principal_id": str(sign_in.id)}), sign_in)

    def _own_session(self) -> str | None:
        return self._caller.token_id if self._caller.via == access.VIA_SESSION else None

    def _change_password(self, sign_in: SignIn, verifier: bytes, keeps: str | None) -> None:
        number = sign_in.passwords + 1
        sign_in.tell(SignIn.PasswordSet, self._now, number=number, keeps=keeps)
        owner = str(sign_in.id)
        kept = self._ids.sealed_verifier(owner, number, verifier)
        self._credentials.append(Credential(owner, PASSWORD, kept))

    def enrol_totp(self, command: commands.EnrolTotp) -> Decision:
        """Be asked for a second factor from now on; the codes to do without are in the answer."""
        provenance = self._as_oneself(command.principal_id, limited=True)
        sign_in = self._sign_in(command.principal_id)
        _check_current(sign_in, command.checked)
        if sign_in.totp is not None:
            raise ConflictError("There is a second factor already: remove it first.")
        codes = [self._ids.recovery_code() for _ in range(RECOVERY_CODES)]
        sign_in.tell(
            SignIn.TotpEnrolled, self._now, session=self._own_session(), nonce=command.nonce,
            key_id=self._ids.sign_in_key_id(), step=command.step,
            recovery_sha256=[hash_secret(code) for code in codes],
        )  # fmt: skip
        answer = Answer(
            {"principal_id": str(sign_in.id), "recovery_codes": None}, made=True,
            secret={"recovery_codes": codes},
        )  # fmt: skip
        return self._decision(provenance, answer, sign_in)

    def remove_totp(self, command: commands.RemoveTotp) -> Decision:
        """Be asked for no second factor any more: by oneself with the password, or by an admin."""
        if self._caller.principal_id == str(command.principal_id):
            provenance = self._as_oneself(command.principal_id)
            sign_in = self._sign_in(command.principal_id)
            if command.checked is None:
                raise ConflictError("One's own is removed with the password: DELETE /v1/auth/totp.")
            _check_current(sign_in, command.checked)
        else:
            resource = access.principal_resource(str(command.principal_id))
            provenance = self._authorise(access.ACCESS_WRITE, resource)
            sign_in = self._sign_in(command.principal_id)
        if sign_in.totp is not None:
            reason = self._text(command.reason, "/reason")
            sign_in.tell(SignIn.TotpRemoved, self._now, reason=reason)
        return self._decision(provenance, Answer({"principal_id": str(sign_in.id)}), sign_in)

    # Rules and locks

    def set_sign_in_rules(self, command: commands.SetSignInRules) -> Decision:
        """Whether sessions need a second factor before they may do anything."""
        resource = access.Resource("sign-in-rules")
        provenance = self._authorise(access.ACCESS_WRITE, resource, on=access.REGISTRY)
        rules = self._session.load(SignInRules, RULES_ID)
        made = rules is None
        if rules is None:
            rules = SignInRules.begin(command.second_factor, self._now)
        elif rules.second_factor != command.second_factor:
            rules.change(command.second_factor, self._now)
        body = {"second_factor": "required" if command.second_factor else "optional"}
        return self._decision(provenance, Answer(body, made=made), rules)

    def lock_sign_in(self, command: commands.LockSignIn) -> Decision:
        """Refuse passwords for at most LOCK_MINUTES; nothing happens where they are already."""
        resource = access.principal_resource(str(command.principal_id))
        provenance = self._as_system(access.ACCESS_WRITE, resource, access.SYSTEM_DOOR_ACTOR)
        sign_in = self._sign_in(command.principal_id)
        if sign_in.password is not None and not sign_in.is_locked(self._now):
            until = min(command.until, self._now + timedelta(minutes=LOCK_MINUTES))
            sign_in.tell(SignIn.Locked, self._now, until=until.isoformat())
        return self._decision(provenance, Answer({"principal_id": str(sign_in.id)}), sign_in)

    def _sign_in(self, principal_id: UUID) -> SignIn:
        sign_in = self._session.load(SignIn, principal_id)
        if sign_in is None:
            raise NotFoundError(f"Principal {principal_id} has no login name.")
        return sign_in

    def _named_sign_in(self, command: commands.IssueRecovery) -> SignIn:
        sign_in = self._sign_in(command.principal_id)
        if sign_in.login_id is None:
            raise NotFoundError(f"Principal {command.principal_id} has no login name.")
        return sign_in


def checked_login(login: str, principal_type: str) -> str:
    """A login name as it is compared; InvalidError. Groups have names of their own."""
    folded = fold_login(login)
    if not 1 <= len(folded) <= LOGIN_CHARS_MAX or not folded.isprintable():
        raise InvalidError(f"A login name has 1 to {LOGIN_CHARS_MAX} printable characters.")
    return f"group\0{login.strip()}" if principal_type == "group" else folded


def _check_current(sign_in: SignIn, checked: int | None) -> None:
    """InvalidCredentialsError where the password shown is not the one that counts."""
    if sign_in.password is None or sign_in.password != checked:
        raise InvalidCredentialsError("This is not the current password.")
