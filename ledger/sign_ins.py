"""Deciding sign-ins again: may somebody at the door have come in as the ledger says?

Whether a password or a code was right cannot be seen from the log; that the one which counted was
shown, that a second factor was asked for where there was one, and that nothing counted twice, can.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, cast

from domain import access
from domain.principal import Principal
from domain.sign_in import LOCK_MINUTES, RECOVERY_HOURS, SignIn
from domain.user_session import ACCESS_MINUTES, HOURS_MAX, UserSession
from ledger.facts import Facts
from ledger.mapper import RecordedEvent

STEP_SECONDS = 30
_AT_THE_DOOR = (
    SignIn.TotpUsed, SignIn.RecoveryUsed, SignIn.PasswordSet, SignIn.TotpRemoved, SignIn.Linked,
    UserSession.Created, UserSession.Refreshed, UserSession.Ended, Principal.Joined, Principal.Left,
)  # fmt: skip


def sign_in_fault(facts: Facts, recorded: RecordedEvent) -> str | None:
    """Why an event was not for somebody at the door to make; None where it was."""
    event, actor = recorded.event, recorded.payload["actor"]
    if not isinstance(event, _AT_THE_DOOR):
        return f"claims {access.SIGN_IN_POLICY}, which does not allow {recorded.kind_verb}"
    owner = _owner(facts, recorded)
    principal = facts.principals.get(owner)
    authz = recorded.payload["authz"]
    claimed = (authz["permission"], authz["resource"], authz["grants"])
    own = access.principal_resource(owner).text
    if actor["id"] != owner or claimed != (access.SIGN_IN_PERMISSION, own, []):
        return f"claims {access.SIGN_IN_POLICY} for somebody else"
    if principal is None or not principal.active or principal.type != actor["type"]:
        return "signs in somebody who may not come in"
    if actor["type"] != "person":
        return "signs in somebody who may not come in"
    if actor["via"] not in _VIA[type(event)]:
        return f"came to be by {actor['via']}, which does not make it"
    return _CHECKS.get(type(event), _nothing)(facts, recorded)


def _owner(facts: Facts, recorded: RecordedEvent) -> str:
    event = cast("Any", recorded.event)
    if isinstance(event, UserSession.Created):
        return event.principal_id
    session = facts.sessions.get(str(event.originator_id))
    return session.principal_id if session is not None else str(event.originator_id)


def _nothing(_: Facts, __: RecordedEvent) -> str | None:
    return None


def _begun(facts: Facts, recorded: RecordedEvent) -> str | None:
    event = cast("UserSession.Created", recorded.event)
    at, sign_in = datetime.fromisoformat(recorded.time), facts.sign_ins.get(event.principal_id)
    if sign_in is None or sign_in.login_id is None or event.generation != sign_in.generation:
        return "begins a session for somebody who does not sign in"
    if recorded.payload["actor"]["credential"] != str(event.originator_id):
        return "begins another session than it says"
    fault = _factors_fault(facts, recorded, sign_in)
    if fault is not None:
        return fault
    until = datetime.fromisoformat(event.expires_at)
    if not at < until <= at + timedelta(hours=HOURS_MAX):
        return f"lasts longer than {HOURS_MAX} hours"
    return _access_fault(event.access_expires_at, at, until)


def _factors_fault(facts: Facts, recorded: RecordedEvent, sign_in: SignIn) -> str | None:
    event = cast("UserSession.Created", recorded.event)
    via = recorded.payload["actor"]["via"]
    if via == "oidc":
        return None if event.factors == ["oidc"] and sign_in.subject else "was not let in so"
    if sign_in.password is None or sign_in.is_locked(datetime.fromisoformat(recorded.time)):
        return "was let in by a password that does not count"
    if sign_in.totp is None:
        return None if event.factors == ["password"] else "claims a factor there is not"
    # Of the same unit and command, just before: the code that was used.
    shown = facts.shown.get(event.principal_id)
    if shown is None or shown != (recorded.payload["request"]["id"], event.factors[-1]):
        return "lacks the second factor"
    return None if event.factors[:1] == ["password"] and len(event.factors) == 2 else "lacks one"


def _access_fault(text: str, at: datetime, until: datetime) -> str | None:
    end = datetime.fromisoformat(text)
    fits = at < end <= min(until, at + timedelta(minutes=ACCESS_MINUTES))
    return None if fits else f"gives access for longer than {ACCESS_MINUTES} minutes"


def _of_live_session(facts: Facts, recorded: RecordedEvent) -> UserSession | str:
    session = facts.sessions[str(recorded.event.originator_id)]
    at, sign_in = datetime.fromisoformat(recorded.time), facts.sign_ins.get(session.principal_id)
    if session.is_over(at):
        return "is about a session that was over"
    if sign_in is None or not sign_in.counts(str(session.id), session.generation):
        return "is about a session that was taken away"
    return session


def _refreshed(facts: Facts, recorded: RecordedEvent) -> str | None:
    event, session = cast("Any", recorded.event), _of_live_session(facts, recorded)
    if isinstance(session, str):
        return session
    if event.number != session.number + 1:
        return "is not the next exchange of its session"
    at = datetime.fromisoformat(recorded.time)
    return _access_fault(event.access_expires_at, at, session.expires_at)


def _ended(facts: Facts, recorded: RecordedEvent) -> str | None:
    session = _of_live_session(facts, recorded)
    if isinstance(session, str):
        return session
    cause, via = cast("Any", recorded.event).cause, recorded.payload["actor"]["via"]
    if via == "refresh" and cause != "logout":
        reuse = cause == "reuse" and session.number > 1
        return None if reuse else "ends a session at the door that was not used again"
    if via == "refresh":
        return None
    return None if cause == "replaced" else "ends a session while another begins"


def _totp_used(facts: Facts, recorded: RecordedEvent) -> str | None:
    event = cast("SignIn.TotpUsed", recorded.event)
    sign_in = facts.sign_ins[str(event.originator_id)]
    if sign_in.totp is None or event.step <= sign_in.totp_step:
        return "uses a code that was used, or of no second factor"
    return None if is_step_of(event.step, recorded.time) else "uses a code of another time"


def _recovery_used(facts: Facts, recorded: RecordedEvent) -> str | None:
    event = cast("SignIn.RecoveryUsed", recorded.event)
    sign_in, at = facts.sign_ins[str(event.originator_id)], datetime.fromisoformat(recorded.time)
    if event.of == "codes":
        known = event.secret_sha256 in sign_in.recovery_codes
    else:
        recovery = sign_in.recovery
        known = (
            recovery is not None
            and recovery.secret_sha256 == event.secret_sha256
            and at < recovery.expires_at
        )
    return None if known else "uses a code that does not count"


def _after_recovery(facts: Facts, recorded: RecordedEvent) -> str | None:
    event = cast("Any", recorded.event)
    request, code = facts.shown.get(str(event.originator_id), ("", ""))
    lets = (
        ("issued", "issued without factor") if isinstance(event, SignIn.PasswordSet)
        else ("issued without factor",)
    )  # fmt: skip
    if request != recorded.payload["request"]["id"] or code not in lets:
        return "was done without the code that lets one"
    if isinstance(event, SignIn.PasswordSet) and event.keeps is not None:
        return "keeps a session over a recovery"
    return None


def of_oneself_fault(facts: Facts, recorded: RecordedEvent) -> str | None:
    """Why a change of one's own password or second factor is none that can be made."""
    event = cast("Any", recorded.event)
    sign_in = facts.sign_ins.get(str(event.originator_id))
    own = (None, recorded.payload["actor"]["credential"])
    if isinstance(event, SignIn.PasswordSet) and event.keeps not in own:
        return "keeps another session than the one it was done in"
    if isinstance(event, SignIn.TotpEnrolled):
        if event.session not in own:
            return "was shown in another session than it says"
        if sign_in is None or sign_in.totp is not None:
            return "enrols a second factor beside another"
        if not is_step_of(event.step, recorded.time):
            return "enrols by a code of another time"
    return None


def said_fault(facts: Facts, recorded: RecordedEvent) -> str | None:
    """Why an event on signing in says what cannot be, whoever made it."""
    event = cast("Any", recorded.event)
    sign_in = facts.sign_ins.get(str(event.originator_id))
    if isinstance(event, SignIn.PasswordSet):
        passwords = sign_in.passwords if sign_in is not None else 0
        return None if event.number == passwords + 1 else "is not the next password"
    if isinstance(event, SignIn.RecoveryIssued):
        latest = datetime.fromisoformat(recorded.time) + timedelta(hours=RECOVERY_HOURS)
        late = datetime.fromisoformat(event.expires_at) > latest
        return f"lasts longer than {RECOVERY_HOURS} hours" if late else None
    return None


def is_step_of(step: int, time: str) -> bool:
    """Whether a TOTP time step is one around a moment: what is allowed, and one for the way."""
    return abs(step - int(datetime.fromisoformat(time).timestamp()) // STEP_SECONDS) <= 2


def _linked(facts: Facts, recorded: RecordedEvent) -> str | None:
    sign_in = facts.sign_ins[str(recorded.event.originator_id)]
    return "links another account than the one that signs in" if sign_in.subject else None


def _followed(facts: Facts, recorded: RecordedEvent) -> str | None:
    named = facts.sign_ins.get(cast("Any", recorded.event).group_id)
    known = named is not None and named.login_id is not None
    return None if known else "follows a group that no identity provider knows"


_VIA: dict[type[Any], tuple[str, ...]] = {
    SignIn.TotpUsed: ("password",), SignIn.RecoveryUsed: ("password", "recovery"),
    SignIn.PasswordSet: ("recovery",), SignIn.TotpRemoved: ("recovery",),
    SignIn.Linked: ("oidc",), UserSession.Created: ("password", "oidc"),
    UserSession.Refreshed: ("refresh",), UserSession.Ended: ("refresh", "password", "oidc"),
    Principal.Joined: ("oidc",), Principal.Left: ("oidc",),
}  # fmt: skip
_CHECKS: dict[type[Any], Callable[[Facts, RecordedEvent], str | None]] = {
    SignIn.TotpUsed: _totp_used, SignIn.RecoveryUsed: _recovery_used,
    SignIn.PasswordSet: _after_recovery, SignIn.TotpRemoved: _after_recovery,
    SignIn.Linked: _linked, UserSession.Created: _begun, UserSession.Refreshed: _refreshed,
    UserSession.Ended: _ended, Principal.Joined: _followed, Principal.Left: _followed,
}  # fmt: skip


def is_lock(facts: Facts, recorded: RecordedEvent) -> bool:
    """Whether an event locks somebody out for as long as that is done."""
    event = recorded.event
    if not isinstance(event, SignIn.Locked):
        return False
    sign_in, at = (
        facts.sign_ins.get(str(event.originator_id)),
        datetime.fromisoformat(recorded.time),
    )
    until = datetime.fromisoformat(event.until)
    locks = sign_in is not None and sign_in.password is not None and not sign_in.is_locked(at)
    return locks and at <= until <= at + timedelta(minutes=LOCK_MINUTES)
