"""Near-duplicates of a text: on demand, and beside what a commit is answered."""

from functools import partial
from typing import Annotated, Any

from aiohttp import web
from pydantic import Field

from api.http import edge
from api.http.route import Route
from api.http.schemas import Content, PageAnswer, ProjectName, Request
from api.http.search import readable_places
from domain.access import PROMPT_READ, Caller
from ledger.ids import now
from projections.catalog import Catalog
from projections.search import Search
from projections.similar import THRESHOLD_DEFAULT, candidates, similar, telling

ON_COMMIT_MAX = 5


class SimilarRequest(Request):
    """A content, and how similar others must be to count."""

    content: Content
    project: ProjectName | None = Field(None, description="Only in this one.")
    threshold: Annotated[float, Field(ge=0, le=1, strict=False)] = THRESHOLD_DEFAULT
    limit: Annotated[int, Field(ge=1, le=50)] = 10


async def find_similar(request: web.Request) -> web.StreamResponse:
    """Prompts in use whose words are almost those of a content, the most similar first."""
    who = edge.caller(request)
    edge.no_query(request)
    wanted = await edge.body(request, SimilarRequest)
    content = await edge.content(request, wanted.content, declare=True)
    items, position = await similar_to(
        request, who, content.value, wanted.project, wanted.threshold
    )
    body = {"items": items[: wanted.limit], "next_cursor": None}
    return edge.view_answer(request, body, position)


async def similar_to(
    request: web.Request,
    who: Caller,
    content: dict[str, Any],
    project: str | None = None,
    threshold: float = THRESHOLD_DEFAULT,
) -> tuple[list[dict[str, Any]], int]:
    """What the caller may read that is like a content, and how far the index has come."""
    services = edge.services(request)
    await edge.fresh_view(request, Catalog.name)
    await edge.fresh_view(request, Search.name)
    places = await readable_places(request, services.access.rights(who, now()), project)
    query = await edge.read(request, telling, content)
    if not query:
        return [], services.runner.positions[Search.name]
    full_text = services.views.full_text
    question = partial(candidates, query=query, places=places, full_text=full_text)
    rows, position = await edge.read(request, services.views.read, question, Search.name)
    found = await edge.read(request, similar, content, rows, services.recorder.contents, threshold)
    return found, position


async def beside_commit(
    request: web.Request, who: Caller, content: dict[str, Any], own: tuple[str, str], wanted: bool
) -> dict[str, Any]:
    """What a commit is answered beside its own: near-duplicates among other prompts, if asked."""
    if not wanted:
        return {}
    items, _ = await similar_to(request, who, content)
    others = [item for item in items if (item["project"], item["name"]) != own]
    return {"similar": others[:ON_COMMIT_MAX]}


ROUTES = (
    Route(
        "POST", "/v1/similar", find_similar, "Near-duplicates", "prompts", PROMPT_READ,
        body=SimilarRequest, answers={200: PageAnswer}, headers=("Scrinia-Min-Position",),
    ),
)  # fmt: skip
