"""Environments and their rules; who owns folders."""

from datetime import datetime
from typing import Any

from aiohttp import web

from api.http import edge
from api.http.commanding import submit
from api.http.environment_schemas import (
    EnvironmentAnswer,
    EnvironmentCommandAnswer,
    SetEnvironmentRequest,
    SetOwnersRequest,
)
from api.http.labels import AsOfQuery
from api.http.route import Route
from api.http.schemas import CommandAnswer, PageAnswer, ReasonRequest
from api.http.texts import names_of
from domain import access, commands
from domain.access import PROJECT_WRITE, PROMPT_READ, not_found, project_resource
from domain.environment_commands import environment_body
from domain.names import check_label, project_id
from domain.project import Project
from ledger.ids import now
from projections.past import position_of


async def _project(request: web.Request) -> tuple[Project, int]:
    """The project in the path, now or as of a moment, for who may read something in it."""
    who = edge.caller(request)
    name = edge.project_name(request)
    wanted = edge.query(request, AsOfQuery)
    services = edge.services(request)
    if access.readable_folders(services.access.rights(who, now()), name, now()) == ():
        raise not_found(project_resource(name))
    await edge.fresh_memory(request)
    if wanted.as_of is None:
        project, position = services.projects.of(name).project, services.follower.position
    else:
        project, position = await edge.read(
            request, _past_project, request, name, edge.parse_moment(wanted.as_of)
        )
    if project is None:
        raise not_found(project_resource(name))
    return project, position


def _past_project(
    request: web.Request, name: str, moment: int | datetime
) -> tuple[Project | None, int]:
    services = edge.services(request)
    position = position_of(services.recorder, moment)
    loaded = services.repository.load(Project, project_id(name), until_position=position)
    return loaded.aggregate, position


async def list_environments(request: web.Request) -> web.StreamResponse:
    """A project's environments with their rules, in promotion order, now or as of a moment."""
    project, position = await _project(request)
    items = [environment_body(project, label) for label in project.environments]
    return edge.view_answer(request, {"items": items, "next_cursor": None}, position)


async def get_environment(request: web.Request) -> web.StreamResponse:
    """An environment's rules, now or as of a moment."""
    label = edge.label_name(request)
    project, position = await _project(request)
    if label not in project.environments:
        raise not_found(access.Scope(project.name, None, label).resource)
    etag = f'"{project.rules_changed.get(label, 0)}"'
    return edge.view_answer(request, environment_body(project, label), position, ETag=etag)


async def set_environment(request: web.Request) -> web.StreamResponse:
    """Make an environment, or give it other rules: what is left out needs nothing."""
    who = edge.caller(request)
    wanted = await edge.body(request, SetEnvironmentRequest)
    command = commands.SetEnvironment(
        project=edge.project_name(request),
        environment=edge.label_name(request),
        rules=wanted.rules(),
        order=wanted.order,
        reason=wanted.reason,
        if_match=edge.if_match(request),
    )
    return await submit(request, who, command)


async def remove_environment(request: web.Request) -> web.StreamResponse:
    """Let an environment be a label like any other; it stays where it points."""
    who = edge.caller(request)
    wanted = await edge.body(request, ReasonRequest, optional=True)
    command = commands.RemoveEnvironment(
        project=edge.project_name(request),
        environment=check_label(request.match_info["label"]),
        reason=wanted.reason,
        if_match=edge.if_match(request),
    )
    return await submit(request, who, command)


async def get_owners(request: web.Request) -> web.StreamResponse:
    """Who owns the project and its folders; the innermost owned folder counts for a prompt."""
    project, position = await _project(request)
    rights = edge.services(request).access.rights(edge.caller(request), now())
    readable = access.readable_folders(rights, project.name, now())
    owned = [
        (folder, owners)
        for folder, owners in sorted(project.owners.items(), key=lambda one: one[0] or "")
        if readable is None or _lies_in(folder, readable)
    ]
    names = await names_of(request, {one for _, owners in owned for one in owners})
    items: list[dict[str, Any]] = [
        {
            "folder": folder,
            "owners": list(owners),
            "names": {one: names[one] for one in owners if one in names},
        }
        for folder, owners in owned
    ]
    return edge.view_answer(request, {"items": items, "next_cursor": None}, position)


def _lies_in(folder: str | None, readable: tuple[str, ...]) -> bool:
    return folder is not None and any(
        folder == one or folder.startswith(one + "/") for one in readable
    )


async def set_owners(request: web.Request) -> web.StreamResponse:
    """Let a folder be owned by these principals, by nobody where there are none."""
    who = edge.caller(request)
    wanted = await edge.body(request, SetOwnersRequest)
    command = commands.SetOwners(
        edge.project_name(request), wanted.folder, tuple(wanted.owners), wanted.reason
    )
    return await submit(request, who, command)


_PROJECT = "/v1/projects/{project}"
_ENVIRONMENT = _PROJECT + "/environments/{label}"
_FRESH = ("Scrinia-Min-Position",)
ROUTES = (
    Route(
        "GET", _PROJECT + "/environments", list_environments, "List environments", "environments",
        PROMPT_READ, query=AsOfQuery, answers={200: PageAnswer}, headers=_FRESH,
    ),
    Route(
        "GET", _ENVIRONMENT, get_environment, "An environment's rules", "environments",
        PROMPT_READ, query=AsOfQuery, answers={200: EnvironmentAnswer}, headers=_FRESH,
    ),
    Route(
        "PUT", _ENVIRONMENT, set_environment, "Set an environment's rules", "environments",
        PROJECT_WRITE, body=SetEnvironmentRequest, command=True, headers=("If-Match",),
        answers={200: EnvironmentCommandAnswer, 201: EnvironmentCommandAnswer},
    ),
    Route(
        "DELETE", _ENVIRONMENT, remove_environment, "Remove an environment", "environments",
        PROJECT_WRITE, body=ReasonRequest, body_optional=True, answers={200: CommandAnswer},
        command=True, headers=("If-Match",),
    ),
    Route(
        "GET", _PROJECT + "/owners", get_owners, "Who owns folders", "environments", PROMPT_READ,
        query=AsOfQuery, answers={200: PageAnswer}, headers=_FRESH,
    ),
    Route(
        "PUT", _PROJECT + "/owners", set_owners, "Set who owns a folder", "environments",
        PROJECT_WRITE, body=SetOwnersRequest, answers={200: CommandAnswer}, command=True,
    ),
)  # fmt: skip
