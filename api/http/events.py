"""Events: the ledger as CloudEvents, by pages or live (Server-Sent Events)."""

from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Annotated

import orjson
from aiohttp import web
from aiohttp_sse import EventSourceResponse
from pydantic import Field

from api.http import edge
from api.http.problems import EdgeError
from api.http.route import Route
from api.http.schemas import EventPageAnswer, ProjectName, PromptName, Request
from domain import access
from domain.access import ACCESS_READ, PROMPT_READ, Caller
from domain.errors import ForbiddenError, NotFoundError, UnauthenticatedError
from domain.names import check_project_name, check_prompt_name
from ledger.ids import now
from ledger.mapper import RecordedEvent
from projections.feed import FeedFilter, MayRead, cloud_event

PING_SECONDS = 10.0
RETRY_MS = 1000
_ACCESS_KINDS = frozenset(
    {
        "principal",
        "actorkey",
        "role",
        "grant",
        "token",
        "key",
        "ledger",
        "webhook",
        "epoch",
        "signin",
        "login",
        "password",
        "totp",
        "recovery",
        "session",
        "signinrules",
        "accessrules",
        "accessrequest",
    }
)
# They name prompts and folders all over a project.
_ACROSS_FOLDERS = frozenset({"change", "owners"})


class EventsQuery(Request):
    """After which position, and which events."""

    model_config = {"strict": False, "extra": "forbid"}
    after: Annotated[int, Field(ge=0, le=2**62)] | None = Field(
        None, description="A position; default 0 for a page, the head for a live feed."
    )
    limit: Annotated[int, Field(ge=1, le=500)] = 50
    kind: Annotated[str, Field(pattern=r"^[a-z]+(\.[a-z]+)?$")] | None = Field(
        None, description="A kind or kind.verb."
    )
    project: ProjectName | None = None
    prompt: PromptName | None = None


async def events(request: web.Request) -> web.StreamResponse:
    """A page of events, or with `Accept: text/event-stream` the live feed."""
    who = edge.caller(request)
    wanted = edge.query(request, EventsQuery)
    if wanted.prompt is not None and wanted.project is None:
        raise EdgeError(400, "invalid_parameter", "prompt needs its project.")
    filtered = FeedFilter(
        kind=wanted.kind,
        project=check_project_name(wanted.project) if wanted.project is not None else None,
        prompt=check_prompt_name(wanted.prompt) if wanted.prompt is not None else None,
    )
    check_readable(edge.services(request).access.rights(who, now()), filtered)
    last = _last_event_id(request)
    await edge.fresh_memory(request)
    filtered = await _with_parts(request, filtered)
    feed = edge.services(request).feed
    if "text/event-stream" in request.headers.get("Accept", ""):
        start = wanted.after if last is None else last
        await edge.followed(request, start or 0, "invalid_parameter")
        return await _stream(request, who, feed.head if start is None else start, filtered)
    after = wanted.after or 0
    await edge.followed(request, after, "invalid_parameter")
    page = await feed.page(after, wanted.limit, filtered, _may_read(request, who))
    cursor = None if page.next_after is None else str(page.next_after)
    body = {"items": page.items, "next_cursor": cursor, "head": page.head}
    return edge.view_answer(request, body, page.head)


async def _with_parts(request: web.Request, wanted: FeedFilter) -> FeedFilter:
    """A prompt's filter with what it is composed of now."""
    if wanted.project is None or wanted.prompt is None:
        return wanted
    try:
        parts = await edge.services(request).serving.composed_of(wanted.project, wanted.prompt)
    except NotFoundError:
        parts = frozenset()  # a feed may begin before its prompt does
    return replace(wanted, composed_of=parts)


def _may_read(request: web.Request, who: Caller) -> MayRead:
    view = edge.services(request).access

    def may_read(recorded: RecordedEvent) -> bool:
        return _permitted(view.rights(who, now()), recorded, now())

    return may_read


def _permitted(rights: access.Rights, recorded: RecordedEvent, moment: datetime) -> bool:
    resource = access.resource_from_text(recorded.resource)
    if recorded.kind_verb.partition(".")[0] in _ACCESS_KINDS:
        return access.permitted(rights, ACCESS_READ, resource, moment).allowed
    if recorded.kind_verb.partition(".")[0] in _ACROSS_FOLDERS:
        whole = access.project_resource(resource.project or "")
        return access.permitted(rights, PROMPT_READ, whole, moment).allowed
    if resource.path is None and resource.project is not None:
        return access.readable_folders(rights, resource.project, moment) != ()
    return access.permitted(rights, PROMPT_READ, resource, moment).allowed


def check_readable(rights: access.Rights, wanted: FeedFilter) -> None:
    """NotFoundError where a reader names a project or prompt it may not read."""
    if wanted.project is None:
        return
    if wanted.prompt is not None:
        resource = access.prompt_resource(wanted.project, wanted.prompt)
        allowed = access.permitted(rights, PROMPT_READ, resource, now()).allowed
    else:
        resource = access.project_resource(wanted.project)
        allowed = access.readable_folders(rights, wanted.project, now()) != ()
    if not allowed:
        raise access.not_found(resource)


def _last_event_id(request: web.Request) -> int | None:
    last = request.headers.get("Last-Event-ID")
    if last is None:
        return None
    if not last.isascii() or not last.isdecimal() or len(last) > 18:
        raise EdgeError(400, "invalid_header", "Last-Event-ID is a ledger position.")
    return int(last)


async def _stream(
    request: web.Request, who: Caller, start: int, wanted: FeedFilter
) -> web.StreamResponse:
    services = edge.services(request)
    headers = {"X-Request-Id": request[edge.REQUEST_ID], "Scrinia-Position": str(start)}
    response = EventSourceResponse(headers=headers, ping_interval=PING_SECONDS)
    await response.prepare(request)

    def still_allowed() -> bool:
        try:
            check_readable(services.access.rights(who, now()), wanted)
        except (UnauthenticatedError, ForbiddenError, NotFoundError):
            return False
        return response.is_connected()

    async with response:
        refreshed = partial(_with_parts, request) if wanted.prompt is not None else None
        live = services.feed.live(start, wanted, still_allowed, _may_read(request, who), refreshed)
        try:
            async for recorded in live:
                await response.send(
                    orjson.dumps(cloud_event(recorded)).decode(),
                    id=str(recorded.position),
                    event=recorded.kind_verb,
                    retry=RETRY_MS,
                )
        except (ConnectionResetError, UnauthenticatedError):
            pass
    return response


ROUTES = (
    Route(
        "GET", "/v1/events", events, "Events, by pages or live", "events", query=EventsQuery,
        answers={200: EventPageAnswer}, headers=("Last-Event-ID", "Scrinia-Min-Position"),
    ),
)  # fmt: skip
