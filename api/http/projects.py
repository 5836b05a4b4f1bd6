"""Projects: create, list, read."""

from functools import partial
from typing import Annotated, Any

from aiohttp import web
from pydantic import Field

from api.http import edge
from api.http.commanding import submit
from api.http.labels import AsOfQuery
from api.http.prompts import ask_catalog
from api.http.route import Route
from api.http.schemas import CommandAnswer, CreateProjectRequest, PageAnswer, ProjectAnswer
from domain import access, commands
from domain.access import PROJECT_WRITE, not_found, project_resource, readable_projects
from ledger.ids import now
from projections.cursors import decode_cursor, encode_cursor
from projections.listing import list_projects


class ProjectsQuery(AsOfQuery):
    """At which moment (default: now), which page."""

    limit: Annotated[int, Field(ge=1, le=500)] = 50
    cursor: str | None = None


async def create_project(request: web.Request) -> web.StreamResponse:
    """Make a project with the default environments."""
    who = edge.caller(request)
    wanted = await edge.body(request, CreateProjectRequest)
    command = commands.CreateProject(wanted.project, wanted.description)
    return await submit(request, who, command)


async def list_projects_of(request: web.Request) -> web.StreamResponse:
    """The projects in which the caller may read something."""
    who = edge.caller(request)
    wanted = edge.query(request, ProjectsQuery)
    items, position = await _readable(request, who, wanted.as_of)
    after = decode_cursor(wanted.cursor, str)[0] if wanted.cursor is not None else ""
    rest = [item for item in items if item["project"] > after]
    page = rest[: wanted.limit]
    more = len(rest) > wanted.limit
    next_cursor = encode_cursor(page[-1]["project"]) if more else None
    return edge.view_answer(request, {"items": page, "next_cursor": next_cursor}, position)


async def get_project(request: web.Request) -> web.StreamResponse:
    """One project."""
    who = edge.caller(request)
    project = edge.project_name(request)
    edge.no_query(request)
    items, position = await _readable(request, who, None)
    for item in items:
        if item["project"] == project:
            return edge.view_answer(request, item, position)
    raise not_found(project_resource(project))


async def _readable(
    request: web.Request, who: access.Caller, as_of: str | None
) -> tuple[list[dict[str, Any]], int]:
    rights = edge.services(request).access.rights(who, now())
    items, position = await ask_catalog(request, partial(list_projects), as_of)
    readable = set(readable_projects(rights, [item["project"] for item in items], now()))
    return [item for item in items if item["project"] in readable], position


ROUTES = (
    Route(
        "GET", "/v1/projects", list_projects_of, "List projects", "projects", query=ProjectsQuery,
        answers={200: PageAnswer}, headers=("Scrinia-Min-Position",),
    ),
    Route(
        "POST", "/v1/projects", create_project, "Create a project", "projects", PROJECT_WRITE,
        body=CreateProjectRequest, answers={201: CommandAnswer}, command=True,
    ),
    Route(
        "GET", "/v1/projects/{project}", get_project, "Read a project", "projects",
        access.PROMPT_READ, answers={200: ProjectAnswer}, headers=("Scrinia-Min-Position",),
    ),
)  # fmt: skip
