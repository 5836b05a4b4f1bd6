"""What makes a grant or a token sensible, and how a token comes to be."""

from datetime import datetime
from hashlib import sha256
from ipaddress import ip_network
from typing import Any

from domain.access import (
    ENVIRONMENT_PROMOTE,
    PERMISSIONS,
    ROLES,
    ROLES_BY_PERMISSION,
    Grant,
    Scope,
    Token,
    TokenScope,
)
from domain.decision import Ids
from domain.errors import Fault, InvalidNameError, InvalidScopeError
from domain.names import check_label, check_project_name, check_prompt_name
from domain.project import Project
from domain.role import Role

TOKEN_SCOPES_MAX = 32
TOKEN_NETWORKS_MAX = 32
REGISTRY_ONLY_ROLES = frozenset({"operator"})


def check_grant(grant: Grant, custom: Role | None, project: Project | None, now: datetime) -> None:
    """InvalidScopeError unless the role makes sense in the scope and the expiry lies ahead.

    `custom`: the role of this name, where it is none that is built in.
    """
    faults: list[Fault] = []
    role, scope, expires_at = grant.role, grant.scope, grant.expires_at
    defined = custom is not None and bool(custom.permissions)
    if role not in ROLES and not defined:
        built_in = ", ".join(ROLES)
        detail = f"must be one of {built_in}, or a role that was defined"
        faults.append(Fault("/role", "unknown_role", detail))
    if role in REGISTRY_ONLY_ROLES and scope.project is not None:
        faults.append(Fault("/role", "registry_only", f"{role} counts in the registry only"))
    check_scope(scope, "", faults)
    if scope.environment is not None:
        can = role in ROLES_BY_PERMISSION[ENVIRONMENT_PROMOTE]
        if custom is not None:
            can = ENVIRONMENT_PROMOTE in custom.permissions
        if not can:
            able = ", ".join(sorted(ROLES_BY_PERMISSION[ENVIRONMENT_PROMOTE]))
            detail = f"in an environment a role must be able to promote: {able}"
            faults.append(Fault("/role", "cannot_promote", detail))
        if project is not None and scope.environment not in project.environments:
            known = ", ".join(project.environments)
            faults.append(Fault("/environment", "unknown_environment", f"must be one of {known}"))
    _check_expiry(expires_at, now, faults)
    raise_faults(faults)


def new_token(
    scopes: tuple[dict[str, Any], ...] | None,
    expires_at: datetime | None,
    networks: tuple[str, ...] | None,
    now: datetime,
    ids: Ids,
) -> tuple[Token, str]:
    """A token and its secret; InvalidScopeError lists what is wrong with the scopes or expiry."""
    faults: list[Fault] = []
    parsed = (
        None
        if scopes is None
        else tuple(
            _token_scope(scope, f"/scopes/{index}", faults) for index, scope in enumerate(scopes)
        )
    )
    if scopes is not None and not 1 <= len(scopes) <= TOKEN_SCOPES_MAX:
        detail = f"leave it out, or give 1 to {TOKEN_SCOPES_MAX} scopes"
        faults.append(Fault("/scopes", "wrong_number", detail))
    checked = None if networks is None else _networks(networks, faults)
    _check_expiry(expires_at, now, faults)
    raise_faults(faults)
    secret = ids.secret()
    token = Token(str(ids.new_id()), hash_secret(secret), parsed, expires_at, networks=checked)
    return token, secret


def _networks(given: tuple[str, ...], faults: list[Fault]) -> tuple[str, ...]:
    """Networks in the form they are compared in."""
    found: list[str] = []
    for index, text in enumerate(given):
        try:
            found.append(str(ip_network(text)))
        except ValueError:
            detail = "an address or a network in CIDR form, such as 10.1.0.0/16"
            faults.append(Fault(f"/networks/{index}", "invalid_network", detail))
    if not 1 <= len(given) <= TOKEN_NETWORKS_MAX:
        detail = f"leave it out, or give 1 to {TOKEN_NETWORKS_MAX}"
        faults.append(Fault("/networks", "wrong_number", detail))
    return tuple(found)


def hash_secret(secret: str) -> str:
    """How a token is known to the registry: SHA-256, hex (right for 256 random bits)."""
    return sha256(secret.encode()).hexdigest()


def _token_scope(data: dict[str, Any], pointer: str, faults: list[Fault]) -> TokenScope:
    permissions = data.get("permissions")
    for permission in permissions or ():
        if permission not in PERMISSIONS:
            known = ", ".join(PERMISSIONS)
            detail = f"must be one of {known}"
            faults.append(Fault(f"{pointer}/permissions", "unknown_permission", detail))
    scope = Scope(data.get("project"), data.get("folder"), data.get("environment"))
    check_scope(scope, pointer, faults)
    if permissions is None and scope == Scope():
        faults.append(Fault(pointer, "narrows_nothing", "name permissions or a place"))
    if permissions is not None and not permissions:
        faults.append(Fault(f"{pointer}/permissions", "empty", "leave it out, or name some"))
    return TokenScope(None if permissions is None else frozenset(permissions), scope)


def check_scope(scope: Scope, pointer: str, faults: list[Fault]) -> None:
    """Add to `faults` what contradicts itself in a scope, and what cannot be a name."""
    if scope.project is None and (scope.folder is not None or scope.environment is not None):
        faults.append(Fault(f"{pointer}/project", "missing", "a folder or environment needs it"))
    if scope.folder is not None and scope.environment is not None:
        faults.append(
            Fault(f"{pointer}/folder", "contradiction", "folder or environment, not both")
        )
    checks = (
        ("project", scope.project, check_project_name),
        ("folder", scope.folder, check_prompt_name),
        ("environment", scope.environment, check_label),
    )
    for field, value, check in checks:
        try:
            if value is not None:
                check(value)
        except InvalidNameError as error:
            faults.append(Fault(f"{pointer}/{field}", error.code, error.detail))


def _check_expiry(expires_at: datetime | None, now: datetime, faults: list[Fault]) -> None:
    if expires_at is None:
        return
    if expires_at.tzinfo is None:
        faults.append(Fault("/expires_at", "no_offset", "needs a UTC offset, such as Z"))
    elif expires_at <= now:
        faults.append(Fault("/expires_at", "past", "must lie in the future"))


def raise_faults(faults: list[Fault]) -> None:
    """InvalidScopeError with all of them, where there are any."""
    if faults:
        first = faults[0]
        raise InvalidScopeError(f"{first.pointer}: {first.detail}.", faults)
