"""Whom and what it takes for operations that take somebody else than the admin alone: somebody who
signs in, somebody who agrees.
"""

import uuid
from dataclasses import dataclass
from typing import Any

from tests.harness import Sync
from tests.sign_in.people import PASSWORD, code_of

BY_SESSION = ("logout", "set_password", "propose_totp", "enrol_totp", "remove_own_totp")
ABOUT_PEOPLE = (
    "set_login", "withdraw_sign_in", "issue_recovery", "remove_totp", "revoke_sessions",
    "end_session", "login", "refresh", "recover",
)  # fmt: skip


ABOUT_REQUESTS = (
    "set_access_rules", "request_access", "get_access_request", "approve_access", "reject_access",
    "apply_access",
)  # fmt: skip
TWO_PEOPLE = {
    "second_person": [{"permission": "access.write"}, {"permission": "projection.operate"}],
}


@dataclass
class Door:
    """Who acts, on which id, with which body."""

    caller: Sync
    id: str
    body: dict[str, Any] | None


def door_of(admin: Sync, operation_id: str) -> Door | None:
    """None where the operation is about something else."""
    if operation_id in ABOUT_REQUESTS:
        return _door_of_requests(admin, operation_id)
    if operation_id not in BY_SESSION + ABOUT_PEOPLE:
        return None
    login = uuid.uuid4().hex
    made = admin.ok("POST", "/v1/principals", {"type": "person", "name": "x"})
    principal_id = made["principal_id"]
    path = f"/v1/principals/{principal_id}"
    if operation_id == "set_login":
        return Door(admin, principal_id, {"login": login})
    admin.ok("PUT", f"{path}/login", {"login": login})
    code = admin.ok("POST", f"{path}/recovery")["code"]
    known = {"login": login, "password": PASSWORD}
    if operation_id == "recover":
        return Door(admin, principal_id, known | {"code": code})
    admin.ok("POST", "/v1/auth/recover", known | {"code": code})
    if operation_id == "login":
        return Door(admin, principal_id, known)
    session = admin.ok("POST", "/v1/auth/login", known)
    caller = Sync(admin.url, session["access_token"])
    bodies = {
        "refresh": {"refresh_token": session["refresh_token"]},
        "set_password": {"current": PASSWORD, "new": "another password"},
        "propose_totp": {"password": PASSWORD},
        "remove_own_totp": {"password": PASSWORD},
    }
    if operation_id == "enrol_totp":
        proposed = caller.ok("POST", "/v1/auth/totp", {"password": PASSWORD})
        nonce, shown = proposed["nonce"], code_of(proposed["secret"])
        bodies["enrol_totp"] = {"password": PASSWORD, "nonce": nonce, "code": shown}
    subject = session["session_id"] if operation_id == "end_session" else principal_id
    by = caller if operation_id in BY_SESSION else admin
    return Door(by, subject, bodies.get(operation_id))


def _door_of_requests(admin: Sync, operation_id: str) -> Door:
    """What one person asked for where it takes two, and the other one."""
    other = _second_person(admin)
    made = admin.ok("POST", "/v1/principals", {"type": "service", "name": "x"})
    grant = {"principal_id": made["principal_id"], "role": "operator"}
    if operation_id in ("set_access_rules", "request_access"):
        body = TWO_PEOPLE if operation_id == "set_access_rules" else {"grant": grant}
        return Door(admin, made["principal_id"], body)
    asked = admin.ok("POST", "/v1/access/requests", {"grant": grant})
    request_id = str(asked["request_id"])
    if operation_id == "apply_access":
        other.ok("POST", f"/v1/access/requests/{request_id}/approve")
    return Door(other if operation_id == "approve_access" else admin, request_id, None)


_SECOND: dict[str, Sync] = {}


def _second_person(admin: Sync) -> Sync:
    """Another admin of the registry, made once: from then on it would take two."""
    if admin.url not in _SECOND:
        made = admin.ok("POST", "/v1/principals", {"type": "person", "name": "x"})
        about = {"principal_id": made["principal_id"]}
        admin.ok("POST", "/v1/grants", about | {"role": "admin"})
        _SECOND[admin.url] = Sync(admin.url, admin.ok("POST", "/v1/tokens", about)["token"])
        admin.ok("PUT", "/v1/access/rules", TWO_PEOPLE)
    return _SECOND[admin.url]
