"""Roles, and why somebody may do something or not."""

from typing import Annotated, Any

from aiohttp import web
from pydantic import Field

from api.http import edge
from api.http.access import grant_item, view_at
from api.http.access_schemas import DefineRoleRequest, ExplainAnswer, PermissionName
from api.http.commanding import submit
from api.http.problems import EdgeError
from api.http.route import Route
from api.http.schemas import CommandAnswer, Id, PageAnswer, Request
from domain import access, commands
from domain.access import ACCESS_READ, ACCESS_WRITE, PERMISSIONS, REGISTRY, ROLES, Resource
from domain.errors import DomainError
from domain.explanation import Reason, explain
from domain.names import check_label, check_prompt_name
from domain.standing import standing
from ledger.ids import now
from projections.access import AccessView

RESOURCE_CHARS_MAX = 300


class ExplainQuery(Request):
    """Who, what, on which resource (as events and audit write it), when (default: now)."""

    model_config = {"strict": False, "extra": "forbid"}
    principal: Id
    permission: PermissionName
    resource: Annotated[str, Field(max_length=RESOURCE_CHARS_MAX)] = "registry"
    environment: str | None = Field(None, description="Of a prompt's label that is one.")
    as_of: str | None = Field(None, description="A ledger position or an RFC 3339 time.")


# Roles


async def list_roles(request: web.Request) -> web.StreamResponse:
    """Every role and what it permits, those that are built in first."""
    edge.caller(request)
    edge.no_query(request)
    await edge.fresh_memory(request)
    view = edge.services(request).access
    items: list[dict[str, Any]] = [
        {
            "role": role,
            "permissions": sorted(p for p in PERMISSIONS if role in access.ROLES_BY_PERMISSION[p]),
            "built_in": True,
        }
        for role in ROLES
    ]
    for role in sorted(view.roles.values(), key=lambda one: one.name):
        if role.permissions:
            permissions = sorted(role.permissions)
            items.append({"role": role.name, "permissions": permissions, "built_in": False})
    return edge.view_answer(request, {"items": items, "next_cursor": None}, view.position)


async def define_role(request: web.Request) -> web.StreamResponse:
    """Have a custom role permit these, wherever it was and will be given."""
    who = edge.caller(request)
    wanted = await edge.body(request, DefineRoleRequest)
    name = check_label(request.match_info["role"])
    command = commands.DefineRole(name, tuple(wanted.permissions), wanted.description)
    return await submit(request, who, command, followed=True)


async def remove_role(request: web.Request) -> web.StreamResponse:
    """Let a custom role permit nothing any more."""
    who = edge.caller(request)
    name = check_label(request.match_info["role"])
    return await submit(request, who, commands.DefineRole(name, ()), followed=True)


# Why


async def explain_access(request: web.Request) -> web.StreamResponse:
    """Whether a principal may do something, now or as of a moment, and why, grant by grant."""
    who = edge.caller(request)
    wanted = edge.query(request, ExplainQuery)
    if wanted.permission not in PERMISSIONS:
        raise EdgeError(400, "invalid_parameter", f"There is no permission {wanted.permission}.")
    await edge.fresh_memory(request)
    live = edge.services(request).access
    resource = _resource(wanted)
    asking = live.rights(who, now())
    own = str(wanted.principal) == who.principal_id
    if not own:
        place = REGISTRY if resource.project is None else access.project_resource(resource.project)
        live.authorise(who, ACCESS_READ, place, now())
    view, moment = await view_at(request, wanted.as_of)
    rights = standing(view, str(wanted.principal), None)
    if rights is None:
        raise access.not_found(access.principal_resource(str(wanted.principal)))
    reasons = explain(rights, wanted.permission, resource, moment)
    roles = [role for role in ROLES if role in access.ROLES_BY_PERMISSION[wanted.permission]]
    body = {
        "allowed": any(one.why_not is None for one in reasons),
        "principal_id": str(wanted.principal),
        "active": rights.active,
        "permission": wanted.permission,
        "resource": resource.text,
        "environment": resource.environment,
        "as_of": moment.isoformat(),
        "grants": [
            _reason_item(view, str(wanted.principal), one)
            for one in reasons
            if own or access.permitted(asking, ACCESS_READ, one.grant.scope.resource, now()).allowed
        ],
        "roles_with_it": roles,
    }
    return edge.view_answer(request, body, view.position)


def _resource(wanted: ExplainQuery) -> Resource:
    """EdgeError 400 for what is no resource."""
    text = wanted.resource
    resource = access.resource_from_text(text, wanted.environment)
    try:
        if wanted.environment is not None:
            check_label(wanted.environment)
        if resource.path is not None:
            check_prompt_name(resource.path.removesuffix("/"))
    except DomainError:
        resource = Resource(text)
    if resource.project is None and text != REGISTRY.text:
        detail = (
            "resource is 'registry', 'projects/{project}' or below it 'prompts/{name}',"
            " 'folders/{folder}' or 'environments/{label}'."
        )
        raise EdgeError(400, "invalid_parameter", detail)
    return resource


def _reason_item(view: AccessView, principal_id: str, reason: Reason) -> dict[str, Any]:
    """A grant with the events behind it."""
    grant = reason.grant
    holder = str(view.holder_of(grant.id))
    behind = [grant.id]
    if holder != principal_id:
        behind.append(f"{principal_id}/{holder}")
    if grant.role not in ROLES:
        behind.append(f"roles/{grant.role}")
    events = [dict(vars(view.given[key])) for key in behind if key in view.given]
    return {
        **grant_item(holder, grant),
        "allows": reason.why_not is None,
        "why_not": reason.why_not,
        "through_group": holder if holder != principal_id else None,
        "events": events,
    }


_FRESH = ("Scrinia-Min-Position",)
ROUTES = (
    Route(
        "GET", "/v1/access/explain", explain_access, "Why may somebody", "access", ACCESS_READ,
        query=ExplainQuery, answers={200: ExplainAnswer}, headers=_FRESH,
    ),
    Route(
        "GET", "/v1/roles", list_roles, "List roles", "access", answers={200: PageAnswer},
        headers=_FRESH,
    ),
    Route(
        "PUT", "/v1/roles/{role}", define_role, "Define a role", "access", ACCESS_WRITE,
        body=DefineRoleRequest, answers={200: CommandAnswer, 201: CommandAnswer}, command=True,
    ),
    Route(
        "DELETE", "/v1/roles/{role}", remove_role, "Remove a role", "access", ACCESS_WRITE,
        answers={200: CommandAnswer}, command=True,
    ),
)  # fmt: skip
