"""Access: principals, grants, tokens, whoami."""

from collections.abc import Iterable
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from aiohttp import web
from pydantic import Field

from api.http import edge
from api.http.access_schemas import (
    CreatePrincipalRequest,
    GiveGrantRequest,
    IssueTokenRequest,
    PatchPrincipalRequest,
    PrincipalAnswer,
)
from api.http.commanding import submit
from api.http.problems import EdgeError
from api.http.route import Route
from api.http.schemas import CommandAnswer, Id, ObjectAnswer, PageAnswer, ReasonRequest, Request
from api.http.texts import add_names, names_of, text_in, texts_of
from domain import access, commands
from domain.access import ACCESS_READ, ACCESS_WRITE, REGISTRY, Grant, Token, not_found
from domain.errors import Fault
from domain.principal import Principal
from ledger.ids import now
from projections.access import AccessView, Known
from projections.cursors import page_of
from projections.past import access_at, position_of


class PrincipalsQuery(Request):
    """Which page."""

    model_config = {"strict": False, "extra": "forbid"}
    limit: Annotated[int, Field(ge=1, le=500)] = 50
    cursor: str | None = None


class HeldQuery(PrincipalsQuery):
    """Whose, and which page."""

    principal_id: Id | None = None


class GrantsQuery(HeldQuery):
    """Whose, at which moment (default: now), which page."""

    as_of: str | None = Field(None, description="A ledger position or an RFC 3339 time.")


async def whoami(request: web.Request) -> web.StreamResponse:
    """Who the token speaks for and what it may do."""
    who = edge.caller(request)
    edge.no_query(request)
    await edge.fresh_memory(request)
    view = edge.services(request).access
    principal = view.principals[who.principal_id].principal
    names = await names_of(request, [who.principal_id])
    token = principal.tokens.get(who.token_id)
    body = {
        "principal_id": who.principal_id,
        "type": principal.type,
        "name": names.get(who.principal_id),
        "groups": list(principal.groups),
        "grants": [grant_item(who.principal_id, g) for g in view.rights(who, now()).grants],
        "token": _token_item(who.principal_id, token) if token is not None else None,
        "session_id": who.token_id if token is None else None,
    }
    return edge.view_answer(request, body, view.position)


# Principals


async def list_principals(request: web.Request) -> web.StreamResponse:
    """A page of principals, oldest first."""
    who = edge.caller(request)
    wanted = edge.query(request, PrincipalsQuery)
    await edge.fresh_memory(request)
    view = edge.services(request).access
    view.authorise(who, ACCESS_READ, REGISTRY, now())
    page, next_cursor = page_of(sorted(view.principals), wanted.cursor, wanted.limit)
    known = [view.principals[principal_id] for principal_id in page]
    names = await names_of(request, page)
    sign_ins = await _sign_ins(request, [k.principal for k in known])
    items = [
        {
            "principal_id": str(k.principal.id),
            "type": k.principal.type,
            "name": names.get(str(k.principal.id)),
            "active": k.principal.active,
            "created_at": k.created_at,
            "sign_in": sign_ins[str(k.principal.id)],
        }
        for k in known
    ]
    return edge.view_answer(request, {"items": items, "next_cursor": next_cursor}, view.position)


async def create_principal(request: web.Request) -> web.StreamResponse:
    """Make a person, a service or a plugin, without grants; or a group."""
    who = edge.caller(request)
    wanted = await edge.body(request, CreatePrincipalRequest)
    command = commands.CreatePrincipal(wanted.type, wanted.name, wanted.login)
    return await submit(request, who, command, followed=True)


async def change_principal(request: web.Request) -> web.StreamResponse:
    """Show a principal by another name; or take every right from it, for good."""
    who = edge.caller(request)
    wanted = await edge.body(request, PatchPrincipalRequest)
    if (wanted.name is None) == (wanted.active is None):
        fault = Fault("/name", "contradiction", "another name, or active: false")
        raise EdgeError(422, "invalid_request", "/name: another name, or active: false.", [fault])
    if wanted.name is not None:
        rename = commands.RenamePrincipal(edge.path_id(request), wanted.name)
        return await submit(request, who, rename, followed=True)
    admins = edge.services(request).access.admins()
    command = commands.DeactivatePrincipal(edge.path_id(request), wanted.reason, admins)
    return await submit(request, who, command, followed=True)


async def suspend_principal(request: web.Request) -> web.StreamResponse:
    """Let a principal do nothing until it is resumed."""
    who = edge.caller(request)
    wanted = await edge.body(request, ReasonRequest, optional=True)
    admins = edge.services(request).access.admins()
    command = commands.SuspendPrincipal(edge.path_id(request), wanted.reason, admins)
    return await submit(request, who, command, followed=True)


async def resume_principal(request: web.Request) -> web.StreamResponse:
    """Let a principal do again what it is allowed to."""
    who = edge.caller(request)
    wanted = await edge.body(request, ReasonRequest, optional=True)
    command = commands.ResumePrincipal(edge.path_id(request), wanted.reason)
    return await submit(request, who, command, followed=True)


def principal_in_path(request: web.Request, who: access.Caller) -> Known:
    """The principal in the path, for itself and for who has access.read; NotFoundError."""
    view = edge.services(request).access
    principal_id = str(edge.path_id(request))
    if principal_id != who.principal_id:
        view.authorise(who, ACCESS_READ, REGISTRY, now())
    known = view.principals.get(principal_id)
    if known is None:
        raise not_found(access.principal_resource(principal_id))
    return known


async def get_principal(request: web.Request) -> web.StreamResponse:
    """One principal, with the groups it is in, or its members; oneself, or with access.read."""
    who = edge.caller(request)
    edge.no_query(request)
    await edge.fresh_memory(request)
    view = edge.services(request).access
    known = principal_in_path(request, who)
    principal, principal_id = known.principal, str(known.principal.id)
    members = view.members(principal_id) if principal.type == "group" else []
    names = await names_of(request, [principal_id, *principal.groups, *members])
    body = {
        "principal_id": principal_id,
        "type": principal.type,
        "name": names.pop(principal_id, None),
        "active": principal.active,
        "suspended": not principal.active and not principal.gone,
        "created_at": known.created_at,
        "groups": list(principal.groups),
        "members": members,
        "names": names,
        "sign_in": (await _sign_ins(request, [principal]))[principal_id],
    }
    return edge.view_answer(request, body, view.position)


async def join_group(request: web.Request) -> web.StreamResponse:
    """Let the grants of a group count for a principal."""
    who = edge.caller(request)
    command = commands.JoinGroup(edge.path_id(request), edge.path_id(request, "group_id"))
    return await submit(request, who, command, followed=True)


async def leave_group(request: web.Request) -> web.StreamResponse:
    """Let the grants of a group count for a principal no more."""
    who = edge.caller(request)
    wanted = await edge.body(request, ReasonRequest, optional=True)
    group_id = edge.path_id(request, "group_id")
    command = commands.LeaveGroup(edge.path_id(request), group_id, wanted.reason)
    return await submit(request, who, command, followed=True)


async def _sign_ins(
    request: web.Request, principals: Iterable[Principal]
) -> dict[str, dict[str, Any] | None]:
    """How each signs in: the login name, and whether there is a password and a second factor."""
    view = edge.services(request).access
    known = {str(p.id): view.sign_ins.get(p.id) for p in principals}
    texts = await texts_of(request, (one.login for one in known.values() if one is not None))
    told: dict[str, dict[str, Any] | None] = dict.fromkeys(known)
    for principal_id, one in known.items():
        if one is not None and one.login is not None:
            told[principal_id] = {
                "login": text_in(texts, one.login),
                "password": one.password is not None,
                "second_factor": one.totp is not None,
                "recovery_codes": len(one.recovery_codes),
                "locked_until": one.locked_until.isoformat() if one.locked_until else None,
            }
    return told


async def _holder(request: web.Request, who: access.Caller, held_id: str, kind: str) -> UUID:
    """Whose grant or token this is; where it is nobody's, only who may know is told so."""
    await edge.fresh_memory(request)
    view = edge.services(request).access
    holder = view.holder_of(held_id)
    if holder is None:
        view.authorise(who, ACCESS_WRITE, REGISTRY, now())
        raise not_found(access.Resource(f"{kind}/{held_id}"))
    return holder


# Grants


async def list_grants(request: web.Request) -> web.StreamResponse:
    """A page of the grants in force that the caller may see, now or as of a moment."""
    who = edge.caller(request)
    wanted = edge.query(request, GrantsQuery)
    await edge.fresh_memory(request)
    live = edge.services(request).access
    rights = live.rights(who, now())
    view, moment = await view_at(request, wanted.as_of)
    visible = {
        grant.id: grant_item(principal_id, grant)
        for principal_id, grant in _grants(view, wanted.principal_id)
        if grant.expires_at is None or grant.expires_at > moment
        if access.permitted(rights, ACCESS_READ, grant.scope.resource, now()).allowed
    }
    if access.places_with(rights, ACCESS_READ, now()) == ():
        live.authorise(who, ACCESS_READ, REGISTRY, now())
    page, next_cursor = page_of(sorted(visible), wanted.cursor, wanted.limit)
    items = [visible[grant_id] for grant_id in page]
    await add_names(request, items, "principal_id")
    return edge.view_answer(request, {"items": items, "next_cursor": next_cursor}, view.position)


async def view_at(request: web.Request, as_of: str | None) -> tuple[AccessView, datetime]:
    """Who may do what now or as of a moment, and that moment."""
    services = edge.services(request)
    if as_of is None:
        return services.access, now()
    moment = edge.parse_moment(as_of)
    position = await edge.read(request, position_of, services.recorder, moment)
    view = await edge.read(request, access_at, services.recorder, services.mapper, position)
    if isinstance(moment, datetime):
        return view, moment
    stored = await edge.read(request, services.recorder.select_after, position - 1, 1)
    return view, datetime.fromisoformat(stored[0].time) if stored else now()


def _grants(view: AccessView, principal_id: UUID | None) -> Iterable[tuple[str, Grant]]:
    for known_id, known in view.principals.items():
        wanted = principal_id is None or known_id == str(principal_id)
        if wanted and not known.principal.gone:
            for grant in known.principal.grants.values():
                yield known_id, grant


def grant_item(principal_id: str, grant: Grant) -> dict[str, Any]:
    """A grant as it is answered."""
    return {
        "grant_id": grant.id,
        "principal_id": principal_id,
        "role": grant.role,
        "scope": grant.scope.as_data(),
        "expires_at": grant.expires_at.isoformat() if grant.expires_at else None,
    }


async def give_grant(request: web.Request) -> web.StreamResponse:
    """Give a role in a scope."""
    who = edge.caller(request)
    wanted = await edge.body(request, GiveGrantRequest)
    return await submit(request, who, commands.GiveGrant(**dict(wanted)), followed=True)


async def revoke_grant(request: web.Request) -> web.StreamResponse:
    """Take a grant away."""
    who = edge.caller(request)
    grant_id = str(edge.path_id(request))
    wanted = await edge.body(request, ReasonRequest, optional=True)
    holder = await _holder(request, who, grant_id, "grants")
    admins = edge.services(request).access.admins()
    command = commands.RevokeGrant(holder, grant_id, wanted.reason, admins)
    return await submit(request, who, command, followed=True)


# Tokens


async def list_tokens(request: web.Request) -> web.StreamResponse:
    """A page of tokens, without secrets: all of them for who has access.read, else one's own."""
    who = edge.caller(request)
    wanted = edge.query(request, HeldQuery)
    await edge.fresh_memory(request)
    view = edge.services(request).access
    everybody = view.permitted(who, ACCESS_READ, REGISTRY, now())
    asked = str(wanted.principal_id) if wanted.principal_id is not None else None
    if not everybody and asked not in (None, who.principal_id):
        view.authorise(who, ACCESS_READ, REGISTRY, now())
    owners = [asked or who.principal_id] if asked or not everybody else list(view.principals)
    tokens = {
        token.id: (owner, token)
        for owner in owners
        if owner in view.principals
        for token in view.principals[owner].principal.tokens.values()
    }
    page, next_cursor = page_of(sorted(tokens), wanted.cursor, wanted.limit)
    items = await _described(request, [tokens[token_id] for token_id in page])
    return edge.view_answer(request, {"items": items, "next_cursor": next_cursor}, view.position)


async def _described(request: web.Request, owned: list[tuple[str, Token]]) -> list[dict[str, Any]]:
    """Tokens with their descriptions."""
    texts = await texts_of(request, (token.description for _, token in owned))
    uses = await edge.read(
        request, edge.services(request).token_uses.last, [token.id for _, token in owned]
    )
    items = [
        _token_item(owner, token)
        | {"last_used_at": uses.get(token.id), "description": text_in(texts, token.description)}
        for owner, token in owned
    ]
    await add_names(request, items, "principal_id")
    return items


def _token_item(principal_id: str, token: Token) -> dict[str, Any]:
    scopes = None
    if token.scopes is not None:
        scopes = [
            {
                **scope.scope.as_data(),
                "permissions": None if scope.permissions is None else sorted(scope.permissions),
            }
            for scope in token.scopes
        ]
    return {
        "token_id": token.id,
        "principal_id": principal_id,
        "scopes": scopes,
        "expires_at": token.expires_at.isoformat() if token.expires_at else None,
        "networks": None if token.networks is None else list(token.networks),
        "revoked": token.revoked,
    }


async def issue_token(request: web.Request) -> web.StreamResponse:
    """Issue an API token; the secret is in this answer and never again."""
    who = edge.caller(request)
    wanted = await edge.body(request, IssueTokenRequest)
    response = await submit(request, who, issue_command(wanted), followed=True)
    response.headers["Cache-Control"] = "no-store"
    return response


def issue_command(wanted: IssueTokenRequest) -> commands.IssueToken:
    """The command that a body stands for."""
    scopes = None
    if wanted.scopes is not None:
        scopes = tuple(scope.model_dump(exclude_none=True) for scope in wanted.scopes)
    return commands.IssueToken(
        wanted.principal_id, wanted.description, scopes, wanted.expires_at,
        None if wanted.networks is None else tuple(wanted.networks),
    )  # fmt: skip


async def revoke_token(request: web.Request) -> web.StreamResponse:
    """Take a token away."""
    who = edge.caller(request)
    token_id = str(edge.path_id(request))
    wanted = await edge.body(request, ReasonRequest, optional=True)
    holder = await _holder(request, who, token_id, "tokens")
    command = commands.RevokeToken(holder, token_id, wanted.reason)
    return await submit(request, who, command, followed=True)


_FRESH = ("Scrinia-Min-Position",)
ROUTES = (
    Route(
        "GET", "/v1/whoami", whoami, "Who am I", "access", answers={200: ObjectAnswer},
        headers=_FRESH,
    ),
    Route(
        "GET", "/v1/principals", list_principals, "List principals", "access", ACCESS_READ,
        query=PrincipalsQuery, answers={200: PageAnswer}, headers=_FRESH,
    ),
    Route(
        "POST", "/v1/principals", create_principal, "Create a principal", "access", ACCESS_WRITE,
        body=CreatePrincipalRequest, answers={201: CommandAnswer}, command=True,
    ),
    Route(
        "PATCH", "/v1/principals/{id}", change_principal, "Rename or deactivate a principal",
        "access", ACCESS_WRITE, body=PatchPrincipalRequest, answers={200: CommandAnswer},
        command=True,
    ),
    Route(
        "POST", "/v1/principals/{id}/suspend", suspend_principal, "Suspend a principal", "access",
        ACCESS_WRITE, body=ReasonRequest, body_optional=True, answers={200: CommandAnswer},
        command=True,
    ),
    Route(
        "POST", "/v1/principals/{id}/resume", resume_principal, "Resume a principal", "access",
        ACCESS_WRITE, body=ReasonRequest, body_optional=True, answers={200: CommandAnswer},
        command=True,
    ),
    Route(
        "GET", "/v1/principals/{id}", get_principal, "Read a principal", "access", ACCESS_READ,
        answers={200: PrincipalAnswer}, headers=_FRESH,
    ),
    Route(
        "PUT", "/v1/principals/{id}/groups/{group_id}", join_group, "Add to a group", "access",
        ACCESS_WRITE, answers={200: CommandAnswer, 201: CommandAnswer}, command=True,
    ),
    Route(
        "DELETE", "/v1/principals/{id}/groups/{group_id}", leave_group, "Take out of a group",
        "access", ACCESS_WRITE, body=ReasonRequest, body_optional=True,
        answers={200: CommandAnswer}, command=True,
    ),
    Route(
        "GET", "/v1/grants", list_grants, "List grants", "access", ACCESS_READ, query=GrantsQuery,
        answers={200: PageAnswer}, headers=_FRESH,
    ),
    Route(
        "POST", "/v1/grants", give_grant, "Give a grant", "access", ACCESS_WRITE,
        body=GiveGrantRequest, answers={200: CommandAnswer, 201: CommandAnswer}, command=True,
    ),
    Route(
        "DELETE", "/v1/grants/{id}", revoke_grant, "Revoke a grant", "access", ACCESS_WRITE,
        body=ReasonRequest, body_optional=True, answers={200: CommandAnswer}, command=True,
        headers=_FRESH,
    ),
    Route(
        "GET", "/v1/tokens", list_tokens, "List tokens", "access", query=HeldQuery,
        answers={200: PageAnswer}, headers=_FRESH,
    ),
    Route(
        "POST", "/v1/tokens", issue_token, "Issue a token", "access", ACCESS_WRITE,
        body=IssueTokenRequest, answers={201: CommandAnswer}, command=True,
    ),
    Route(
        "DELETE", "/v1/tokens/{id}", revoke_token, "Revoke a token", "access", ACCESS_WRITE,
        body=ReasonRequest, body_optional=True, answers={200: CommandAnswer}, command=True,
        headers=_FRESH,
    ),
)  # fmt: skip
