"""What SCIM's PATCH operations change (RFC 7644 section 3.5.2).

Names of attributes are compared without regard to case and may be written with their schema before
them (RFC 7644 section 3.10); what is not kept of a user is let be, as in a whole user.
"""

import re
from typing import Any

from pydantic import ValidationError

from api.http.problems import EdgeError, validation_problem
from api.http.scim_schemas import (
    SCIM_GROUP,
    SCIM_USER,
    GroupRequest,
    MemberRequest,
    OperationRequest,
    ScimName,
)

_MEMBER = re.compile(r'members\[\s*value\s+[eE][qQ]\s+"([^"]{1,64})"\s*\]', re.IGNORECASE)
_PATH = re.compile(r"(?:urn:[\w.:-]+:)?([A-Za-z][\w$-]*)(?:\[[^\[\]]*\])?(?:\.[A-Za-z][\w$-]*)?")
_READ_ONLY = ("id", "meta", "schemas", "groups")


def user_changes(operation: OperationRequest) -> dict[str, Any]:
    """What one operation changes of a person; EdgeError 400 `invalid_path`."""
    path, value = _plain(operation.path, SCIM_USER), operation.value
    if path is None and isinstance(value, dict):
        changes: dict[str, Any] = {}
        for name, one in value.items():
            if name.lower() in _READ_ONLY:
                continue  # a whole user may be sent
            path = None if name.lower() == SCIM_USER.lower() and isinstance(one, dict) else name
            changes |= user_changes(
                OperationRequest(op=operation.op, path=path and path[:254], value=one)
            )
        return changes
    attribute = _PATH.fullmatch(path or "")
    if attribute is None or attribute[1].lower() in _READ_ONLY:
        raise EdgeError(400, "invalid_path", "Change userName, displayName, name or active.")
    kept = _kept(path or "", value)
    if kept and operation.op.lower() == "remove":
        raise EdgeError(400, "invalid_path", f"{attribute[1]} cannot be removed.")
    return kept


def _kept(path: str, value: Any) -> dict[str, Any]:
    """The part of a change to a user that is kept here; EdgeError 400 `invalid_path`."""
    match path.lower():
        case "active":
            return {"active": value}
        case "username":
            return {"userName": value}
        case "displayname" | "name.formatted":
            return {"displayName": value}
        case "name":
            try:
                named = ScimName.model_validate(value or {})
            except ValidationError as error:
                raise validation_problem(error) from None
            whole = named.whole
            return {"displayName": whole} if whole and named.is_whole else {}
        case "name.givenname" | "name.familyname":
            return {path[5:].lower(): value}
        case other if re.match(r"(active|username|displayname)\b", other):
            raise EdgeError(400, "invalid_path", f"{path[:64]} has no parts.")
        case _:
            return {}


def _plain(path: str | None, schema: str) -> str | None:
    """A path without its schema before it."""
    if path is not None and path.lower().startswith(f"{schema.lower()}:"):
        return path[len(schema) + 1 :]
    return path


def group_changes(
    operation: OperationRequest, name: str | None, members: list[str]
) -> tuple[str | None, list[str]]:
    """Name and members after one operation; EdgeError 400 `invalid_path`."""
    path, value, removes = (
        _plain(operation.path, SCIM_GROUP), operation.value, operation.op.lower() == "remove"
    )  # fmt: skip
    if path is None and isinstance(value, dict) and not removes:
        for part, one in value.items():
            if part.lower() in ("displayname", "members"):
                single = OperationRequest(op=operation.op, path=part, value=one)
                name, members = group_changes(single, name, members)
        return name, members
    attribute = (path or "").lower()
    if attribute == "displayname" and not removes:
        return _name(value), members
    one = _MEMBER.fullmatch(path or "")
    if removes and one is not None:
        return name, [member for member in members if member != one[1].lower()]
    if attribute != "members":
        known = _PATH.fullmatch(path or "")
        if known is None or known[1].lower() in (*_READ_ONLY, "displayname", "members"):
            raise EdgeError(400, "invalid_path", "Change displayName or members.")
        return name, members  # is not kept, as of users
    if value is None and not removes:
        raise EdgeError(400, "invalid_path", "Say which members.")
    listed = [] if value is None else _member_ids(value)
    if removes:
        return name, [member for member in members if value is not None and member not in listed]
    if operation.op.lower() == "replace":
        return name, listed
    return name, [*members, *(member for member in listed if member not in members)]


def _name(value: Any) -> str:
    try:
        return GroupRequest.model_validate({"displayName": value}).displayName
    except ValidationError as error:
        raise validation_problem(error) from None


def _member_ids(value: Any) -> list[str]:
    given = value if isinstance(value, list) else [value]
    try:
        return [MemberRequest.model_validate(one).value for one in given]
    except ValidationError as error:
        raise validation_problem(error) from None
