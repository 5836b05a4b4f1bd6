"""Somebody who signs in, for each operation of signing in: what leads to something there."""

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


@dataclass
class Door:
    """Who acts, on which id, with which body."""

    caller: Sync
    id: str
    body: dict[str, Any] | None


def door_of(admin: Sync, operation_id: str) -> Door | None:
    """None where the operation is about something else."""
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
