"""Search: words in any version ever committed, and in prompts' metadata."""

from functools import partial
from typing import Annotated, Literal

from aiohttp import web
from pydantic import Field, StringConstraints

from api.http import edge
from api.http.moments import Moment
from api.http.problems import EdgeError
from api.http.route import Route
from api.http.schemas import Id, LabelName, PageAnswer, ProjectName, PromptName, Request, Tag
from api.http.texts import add_names
from domain import access
from domain.access import PROMPT_READ, Rights, not_found, project_resource
from domain.names import check_project_name
from domain.variables import VARIABLE_PATTERN
from ledger.ids import now
from ledger.payload import format_time
from projections.catalog import Catalog
from projections.listing import list_projects
from projections.search import Search, SearchFilter, find, to_items
from projections.words import parse_query

QUERY_CHARS_MAX = 500


class SearchQuery(Request):
    """What to look for, where, in which order, which page."""

    model_config = {"strict": False, "extra": "forbid"}
    q: Annotated[str, StringConstraints(min_length=1, max_length=QUERY_CHARS_MAX)] = Field(
        description='Words (all of them), "a phrase", -without, begin*, this OR that.'
    )
    match: Literal["words", "parts"] = Field(
        "words", description="`parts`: terms may be parts of words, for languages without spaces."
    )
    versions: Literal["newest", "all"] = Field(
        "newest", description="Of each prompt the newest version that matches, or every one."
    )
    project: ProjectName | None = None
    folder: PromptName | None = None
    tag: list[Tag] = Field([], description="Prompts with all of these tags.", max_length=64)
    any_tag: list[Tag] = Field([], description="Prompts with any of these tags.", max_length=64)
    label: LabelName | None = Field(None, description="Only what this label points to now.")
    owner: Id | None = None
    author: Id | None = None
    status: Literal["current", "draft", "active", "deprecated", "archived", "all"] = Field(
        "current", description="`current` is all but archived."
    )
    type: Literal["text", "chat", "structured"] | None = None
    model: Annotated[str, StringConstraints(max_length=200)] | None = None
    variable: Annotated[str, Field(pattern=f"^(?:{VARIABLE_PATTERN})$")] | None = None
    since: Moment | None = Field(None, description="Committed at or after this time.")
    sort: Literal["relevance", "name", "committed_at", "-committed_at"] = "relevance"
    limit: Annotated[int, Field(ge=1, le=100)] = 20
    cursor: str | None = None
    as_of: str | None = Field(None, description="Not to be had: search knows the present only.")


async def search(request: web.Request) -> web.StreamResponse:
    """Prompts and versions by their words, with excerpts."""
    who = edge.caller(request)
    wanted = edge.query(request, SearchQuery)
    if wanted.as_of is not None:
        raise EdgeError(400, "invalid_parameter", "Search knows the present only: leave as_of out.")
    if wanted.folder is not None and wanted.project is None:
        raise EdgeError(400, "invalid_parameter", "folder needs its project.")
    services = edge.services(request)
    rights = services.access.rights(who, now())
    asked = parse_query(wanted.q)
    await edge.fresh_view(request, Catalog.name)
    await edge.fresh_view(request, Search.name)
    filtered = SearchFilter(
        query=asked, places=await readable_places(request, rights, wanted.project),
        substring=wanted.match == "parts", every_version=wanted.versions == "all",
        folder=wanted.folder, tags=tuple(wanted.tag), any_tags=tuple(wanted.any_tag),
        label=wanted.label, owner=str(wanted.owner) if wanted.owner else None,
        author=str(wanted.author) if wanted.author else None, status=wanted.status,
        content_type=wanted.type, model=wanted.model, variable=wanted.variable,
        since=format_time(wanted.since) if wanted.since else None, sort=wanted.sort,
        limit=wanted.limit, cursor=wanted.cursor,
    )  # fmt: skip
    question = partial(find, wanted=filtered, full_text=services.views.full_text)
    (rows, next_cursor), position = await edge.read(
        request, services.views.read, question, Search.name
    )
    items = await edge.read(request, to_items, rows, asked, services.recorder.contents)
    await add_names(request, items, "author")
    return edge.view_answer(request, {"items": items, "next_cursor": next_cursor}, position)


async def readable_places(
    request: web.Request, rights: Rights, project: str | None
) -> dict[str, tuple[str, ...] | None]:
    """Where the caller may read; NotFoundError for a project in which it may not."""
    if project is not None:
        names = [check_project_name(project)]
    else:
        views = edge.services(request).views
        found, _ = await edge.read(request, views.read, list_projects, Catalog.name)
        names = [item["project"] for item in found]
    places = {
        name: folders
        for name in names
        if (folders := access.readable_folders(rights, name, now())) != ()
    }
    if project is not None and not places:
        raise not_found(project_resource(project))
    return places


ROUTES = (
    Route(
        "GET", "/v1/search", search, "Search", "prompts", PROMPT_READ, query=SearchQuery,
        answers={200: PageAnswer}, headers=("Scrinia-Min-Position",),
    ),
)  # fmt: skip
