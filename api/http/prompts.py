"""Prompts: resolve (the hot path), list, create, metadata, archive, restore."""

import asyncio
from datetime import datetime
from functools import partial
from typing import Annotated, Any

import orjson
from aiohttp import web
from pydantic import Field, StringConstraints

from api.http import edge
from api.http.commanding import submit
from api.http.composing import candidates, resolve_locked
from api.http.history import answered, entry_for, past_history
from api.http.languages import languages
from api.http.problems import EdgeError, problem_of
from api.http.reads import note_read
from api.http.rollouts import answered_for, asker_of, attributes_in
from api.http.route import Route
from api.http.schemas import (
    DIGEST_PATTERN,
    TARGETING_KEY,
    CommandAnswer,
    CreatePromptRequest,
    DeprecateRequest,
    LabelName,
    Locale,
    MetadataAnswer,
    MetadataPatch,
    MoveRequest,
    PageAnswer,
    PromptName,
    ReasonRequest,
    Request,
    ResolvedAnswer,
    ResolvedItemsAnswer,
    ResolveItem,
    ResolveRequest,
    Tag,
    TargetingKey,
    VersionChoice,
    VersionCommandAnswer,
)
from api.http.similar import beside_commit
from api.http.texts import add_names
from domain import access, commands
from domain.access import PROMPT_READ, PROMPT_WRITE, Caller, not_found, prompt_resource
from domain.errors import DomainError
from domain.names import check_label, check_project_name, check_prompt_name
from domain.rollout import ATTRIBUTES_MAX
from domain.semver import parse_range
from ledger.ids import now
from projections.answers import (
    Kind,
    Resolved,
    encode_answer,
    select_label,
    select_range,
)
from projections.catalog import Catalog
from projections.listing import Page, PromptFilter, list_prompts, prompt_metadata
from projections.past import position_of
from projections.past_prompts import Past
from projections.rollouts import assigned_in, with_assignment

LABEL_DEFAULT = "production"


class ResolveQuery(Request):
    """Which version: at most one of label (default `production`), version and digest.

    A version that is a range (`^1.2`) chooses among what the label has pointed to.
    """

    model_config = {"strict": False, "extra": "forbid"}
    label: LabelName | None = None
    version: VersionChoice | None = Field(None, description="A number, or a range such as ^1.2.")
    digest: str | None = Field(None, pattern=DIGEST_PATTERN)
    as_of: str | None = Field(None, description="A ledger position or an RFC 3339 time.")
    locale: Locale | None = Field(None, description="A language tag; beats Accept-Language.")
    raw: bool = Field(False, description="As authored: every language, without composition.")
    targeting_key: TargetingKey | None = TARGETING_KEY
    attribute: list[str] = Field(
        [], description="`name:value`, for targeting rules.", max_length=ATTRIBUTES_MAX
    )


class ListQuery(Request):
    """Which prompts, in which order, which page."""

    model_config = {"strict": False, "extra": "forbid"}
    folder: PromptName | None = None
    tag: list[Tag] = Field([], description="Prompts with all of these tags.", max_length=64)
    any_tag: list[Tag] = Field([], description="Prompts with any of these tags.", max_length=64)
    q: Annotated[str, StringConstraints(max_length=200)] | None = Field(
        None, description="A part of the name or description, in any case."
    )
    label: LabelName | None = None
    status: Annotated[str, Field(pattern="^(current|draft|active|deprecated|archived|all)$")] = (
        Field("current", description="`current` is all but archived.")
    )
    sort: Annotated[str, Field(pattern="^-?(name|updated_at|created_at)$")] = "name"
    limit: Annotated[int, Field(ge=1, le=500)] = 50
    cursor: str | None = None
    as_of: str | None = Field(None, description="A ledger position or an RFC 3339 time.")


# Resolve


async def resolve(request: web.Request) -> web.StreamResponse:
    """Answer a prompt: from memory wherever it can be."""
    services = edge.services(request)
    moment = now()
    rights = edge.rights(request, moment)
    project, name = request.match_info["project"], request.match_info["name"]
    access.authorise(rights, PROMPT_READ, prompt_resource(project, name), moment)
    kind: Kind = "label"
    selector: str | int = LABEL_DEFAULT
    raw, locale, asker = False, None, None
    if request.query_string:
        wanted = edge.query(request, ResolveQuery)
        if wanted.as_of is not None:
            return await _resolve_past(request, project, name, wanted)
        kind, selector = select(wanted.label, wanted.version, wanted.digest)
        raw, locale = wanted.raw, wanted.locale
        asker = asker_of(wanted.targeting_key, attributes_in(wanted.attribute), kind)
    tags = languages(request, locale)
    if "Scrinia-Min-Position" in request.headers:
        await edge.fresh_memory(request)
    hot = not raw and asker is None
    resolved = services.serving.hit(project, name, kind, selector, tags) if hot else None
    if resolved is None:
        edge.check_path(request)
        place, by = (project, name), (kind, selector)
        if asker is not None:
            label = str(selector)
            resolved = await answered_for(request, rights, place, label, asker, tags, raw=raw)
        else:
            resolved = await answered(request, rights, place, by, tags, raw=raw)
    note_read(request, request[edge.CALLER], project, resolved, moment)
    return _resolved_answer(request, resolved, services.follower.position)


def select(
    label: str | None, version: int | str | None, digest: str | None
) -> tuple[Kind, str | int]:
    """What to resolve by; EdgeError 400 where two ways contradict each other."""
    if isinstance(version, str) and digest is None:
        parse_range(version)
        return "range", f"{check_label(label or LABEL_DEFAULT)} {version}"
    if sum(given is not None for given in (label, version, digest)) > 1:
        raise EdgeError(400, "invalid_parameter", "Give one of label, version and digest.")
    if version is not None:
        return "version", version
    if digest is not None:
        return "digest", digest
    return "label", check_label(label or LABEL_DEFAULT, reserved=True)


def _resolved_answer(request: web.Request, resolved: Resolved, position: int) -> web.Response:
    headers = resolved.headers.copy()
    headers["Scrinia-Position"] = str(position)
    if request.match_info["name"] != resolved.name:  # a former name: say where it is now
        own = f"/v1/projects/{request.match_info['project']}/prompts/{resolved.name}"
        headers["Content-Location"] = own
        headers.add("Link", f'<{own}>; rel="canonical"')
    known = request.headers.get("If-None-Match")
    if known is not None and _matches(known, resolved.etag):
        del headers["Content-Type"]
        return web.Response(status=304, headers=headers)
    return web.Response(body=resolved.body, headers=headers)


def _matches(header: str, etag: str) -> bool:
    candidates = (candidate.strip().removeprefix("W/") for candidate in header.split(","))
    return any(candidate in (etag, "*") for candidate in candidates)


async def _resolve_past(
    request: web.Request, project: str, name: str, wanted: ResolveQuery
) -> web.Response:
    edge.check_path(request)
    kind, selector = select(wanted.label, wanted.version, wanted.digest)
    if kind not in ("label", "range") or wanted.as_of is None:
        raise EdgeError(400, "invalid_parameter", "as_of goes with a label, not with a version.")
    asker = asker_of(wanted.targeting_key, attributes_in(wanted.attribute), kind)
    label = str(selector).partition(" ")[0]
    history, moment = await past_history(request, project, name, wanted.as_of)
    chosen = select_label if kind == "label" else select_range
    asked = edge.parse_moment(wanted.as_of)
    at = asked if isinstance(asked, datetime) else None
    version, move = chosen(history.prompt, str(selector), at)
    services = edge.services(request)
    assignment = None
    if asker is not None:
        version, move, assignment = await edge.read(
            request, assigned_in, services.recorder, history.prompt, label, version, move, asker
        )
    past = Past(services.repository, moment, at)
    tags = languages(request, wanted.locale)
    assembled = await edge.read(request, past.assembled, history, version, wanted.raw, tags)
    resolved = encode_answer(history, version, assembled, label, move)
    if assignment is not None:
        resolved = with_assignment(resolved, assignment, None)
    return _resolved_answer(request, resolved, moment)


async def resolve_many(request: web.Request) -> web.StreamResponse:
    """Resolve several prompts; each result or problem stands where its item stood."""
    who = edge.caller(request)
    edge.no_query(request)
    wanted = await edge.body(request, ResolveRequest)
    await edge.fresh_memory(request)
    items = [await _resolve_item(request, who, item) for item in wanted.items]
    return edge.view_answer(request, {"items": items}, edge.services(request).follower.position)


async def _resolve_item(request: web.Request, who: Caller, item: ResolveItem) -> Any:
    services = edge.services(request)
    try:
        project, name = check_project_name(item.project), check_prompt_name(item.name)
        kind, selector = select(item.label, item.version, item.digest)
        services.access.authorise(who, PROMPT_READ, prompt_resource(project, name), now())
        tags = languages(request, item.locale)
        asker = asker_of(item.targeting_key, item.attributes, kind)
        if asker is not None:
            rights, place = services.access.rights(who, now()), (project, name)
            split = await answered_for(request, rights, place, str(selector), asker, tags)
            note_read(request, who, project, split, now())
            return orjson.Fragment(split.body)
        if item.lockfile is not None:
            locked = [one.part for one in item.lockfile]
            place, by = (project, name), (kind, selector)
            answer = await resolve_locked(request, who, place, by, locked, tags)
            note_read(request, who, project, answer, now())
            return orjson.Fragment(answer.body)
        rights = services.access.rights(who, now())
        resolved = await answered(request, rights, (project, name), (kind, selector), tags)
        note_read(request, who, project, resolved, now())
        return orjson.Fragment(resolved.body)
    except (DomainError, EdgeError) as error:
        return problem_of(error).as_json(request[edge.REQUEST_ID])


# List and metadata


async def list_prompts_of(request: web.Request) -> web.StreamResponse:
    """A page of a project's prompts: those the caller may read."""
    who = edge.caller(request)
    project = edge.project_name(request)
    wanted = edge.query(request, ListQuery)
    services = edge.services(request)
    rights = services.access.rights(who, now())
    folders = access.readable_folders(rights, project, now())
    if folders == ():
        raise not_found(access.project_resource(project))
    question = partial(
        _page_of,
        wanted=PromptFilter(
            project=project,
            folders=folders,
            folder=check_prompt_name(wanted.folder) if wanted.folder is not None else None,
            tags=tuple(wanted.tag),
            any_tags=tuple(wanted.any_tag),
            query=wanted.q,
            label=check_label(wanted.label, reserved=True) if wanted.label is not None else None,
            status=wanted.status,
            sort=wanted.sort,
            limit=wanted.limit,
            cursor=wanted.cursor,
        ),
    )
    page, position = await ask_catalog(request, question, wanted.as_of)
    await add_names(request, page.items, "created_by", "updated_by")
    return edge.view_answer(
        request, {"items": page.items, "next_cursor": page.next_cursor}, position
    )


def _page_of(cursor: Any, wanted: PromptFilter) -> Page:
    cursor.execute("SELECT 1 FROM catalog_projects WHERE project = ?", (wanted.project,))
    if cursor.fetchone() is None:
        raise not_found(access.project_resource(wanted.project))
    page = list_prompts(cursor, wanted)
    for item in page.items:
        del item["stream_position"]
    return page


async def ask_catalog(request: web.Request, question: Any, as_of: str | None) -> tuple[Any, int]:
    """Ask the catalog, live or as of a past moment; the answer and its position."""
    services = edge.services(request)
    if as_of is None:
        await edge.fresh_view(request, Catalog.name)
        answer: tuple[Any, int] = await edge.read(
            request, services.views.read, question, Catalog.name
        )
        return answer
    moment = edge.parse_moment(as_of)
    position = await edge.read(request, position_of, services.recorder, moment)
    loop = asyncio.get_running_loop()
    work = loop.run_in_executor(services.operators, services.past.read, position, question)
    return await work, position


async def get_metadata(request: web.Request) -> web.StreamResponse:
    """A prompt without its content."""
    who = edge.caller(request)
    edge.no_query(request)
    project, name = (await entry_for(request)).key
    resource = prompt_resource(project, name)
    question = partial(prompt_metadata, project=project, name=name)
    metadata, position = await ask_catalog(request, question, None)
    if metadata is None:
        raise not_found(resource)
    metadata["forked_from"] = await _origin(request, who, project, name)
    await add_names(request, [metadata], "created_by", "updated_by")
    etag = f'"{metadata.pop("stream_position")}"'
    return edge.view_answer(request, metadata, position, ETag=etag)


async def _origin(request: web.Request, who: Caller, project: str, name: str) -> str | None:
    """What a prompt was forked from, where the caller may read that too."""
    services = edge.services(request)
    origin = (await services.serving.entry(project, name)).history.prompt.origin
    if origin is None:
        return None
    resource = prompt_resource(origin["project"], origin["name"])
    rights = services.access.rights(who, now())
    if not access.permitted(rights, PROMPT_READ, resource, now()).allowed:
        return None
    return f"{origin['project']}/{origin['name']}@{origin['version']}"


# Commands


async def create_prompt(request: web.Request) -> web.StreamResponse:
    """Make a prompt with its version 1."""
    who = edge.caller(request)
    wanted = await edge.body(request, CreatePromptRequest)
    command = commands.CreatePrompt(
        project=edge.project_name(request),
        name=wanted.name,
        content=await edge.content(request, wanted.content, declare=wanted.declare_variables),
        message=wanted.message,
        description=wanted.description,
        tags=tuple(wanted.tags),
        draft=wanted.draft,
    )
    own = (command.project, command.name)
    value = command.content.value
    beside = await beside_commit(request, who, value, own, wanted.report_similar)
    return await submit(request, who, command, beside=beside)


async def patch_metadata(request: web.Request) -> web.StreamResponse:
    """Change description or tags by JSON Merge Patch."""
    who = edge.caller(request)
    wanted = await edge.body(request, MetadataPatch)
    command = commands.DescribePrompt(
        project=edge.project_name(request),
        name=edge.prompt_name(request),
        patch=wanted.model_dump(exclude_unset=True),
        if_match=edge.if_match(request),
        users=await _users(request) if wanted.status == "archived" else (),
    )
    return await submit(request, who, command)


async def archive_prompt(request: web.Request) -> web.StreamResponse:
    """Refuse further changes; what the prompt serves, it goes on serving."""
    who = edge.caller(request)
    wanted = await edge.body(request, ReasonRequest, optional=True)
    command = commands.ArchivePrompt(
        edge.project_name(request), edge.prompt_name(request), wanted.reason, await _users(request)
    )
    return await submit(request, who, command)


async def _users(request: web.Request) -> tuple[str, ...]:
    project, name = edge.project_name(request), edge.prompt_name(request)
    entry = await edge.services(request).serving.entry(project, name)
    return await candidates(request, project, entry.history.prompt.names)


async def move_prompt(request: web.Request) -> web.StreamResponse:
    """Let a prompt go by another name of its project; the old one goes on leading to it."""
    who = edge.caller(request)
    wanted = await edge.body(request, MoveRequest)
    command = commands.MovePrompt(
        edge.project_name(request), edge.prompt_name(request), wanted.name, wanted.reason
    )
    return await submit(request, who, command)


async def deprecate_prompt(request: web.Request) -> web.StreamResponse:
    """Tell consumers not to use a prompt any more; PATCH its status to `active` to take it back."""
    who = edge.caller(request)
    wanted = await edge.body(request, DeprecateRequest, optional=True)
    command = commands.DeprecatePrompt(
        project=edge.project_name(request),
        name=edge.prompt_name(request),
        successor=wanted.successor,
        sunset_at=wanted.sunset_at,
        reason=wanted.reason,
    )
    return await submit(request, who, command)


async def restore_prompt(request: web.Request) -> web.StreamResponse:
    """Accept changes again."""
    who = edge.caller(request)
    wanted = await edge.body(request, ReasonRequest, optional=True)
    command = commands.RestorePrompt(
        edge.project_name(request), edge.prompt_name(request), wanted.reason
    )
    return await submit(request, who, command)


_PROMPTS = "/v1/projects/{project}/prompts"
_PROMPT = _PROMPTS + "/{name}"

HOT_ROUTES = (
    Route(
        "GET", _PROMPT, resolve, "Resolve a prompt", "prompts", PROMPT_READ,
        query=ResolveQuery, answers={200: ResolvedAnswer, 304: "Not modified", 410: "Erased"},
        headers=("Scrinia-Min-Position", "If-None-Match", "Scrinia-Instance"),
    ),
)  # fmt: skip
ROUTES = (
    Route(
        "POST", "/v1/resolve", resolve_many, "Resolve many prompts", "prompts", PROMPT_READ,
        body=ResolveRequest, answers={200: ResolvedItemsAnswer},
        headers=("Scrinia-Min-Position",),
    ),
    Route(
        "GET", _PROMPTS, list_prompts_of, "List prompts", "prompts", PROMPT_READ,
        query=ListQuery, answers={200: PageAnswer}, headers=("Scrinia-Min-Position",),
    ),
    Route(
        "POST", _PROMPTS, create_prompt, "Create a prompt", "prompts", PROMPT_WRITE,
        body=CreatePromptRequest, answers={201: VersionCommandAnswer}, command=True,
    ),
    Route(
        "GET", _PROMPT + "/-/metadata", get_metadata, "Read metadata", "prompts", PROMPT_READ,
        answers={200: MetadataAnswer}, headers=("Scrinia-Min-Position",),
    ),
    Route(
        "PATCH", _PROMPT + "/-/metadata", patch_metadata, "Change metadata", "prompts",
        PROMPT_WRITE, body=MetadataPatch, answers={200: CommandAnswer}, command=True,
        headers=("If-Match",),
    ),
    Route(
        "POST", _PROMPT + "/-/archive", archive_prompt, "Archive", "prompts", PROMPT_WRITE,
        body=ReasonRequest, body_optional=True, answers={200: CommandAnswer}, command=True,
    ),
    Route(
        "POST", _PROMPT + "/-/move", move_prompt, "Move or rename", "prompts", PROMPT_WRITE,
        body=MoveRequest, answers={200: CommandAnswer}, command=True,
    ),
    Route(
        "POST", _PROMPT + "/-/deprecate", deprecate_prompt, "Deprecate", "prompts", PROMPT_WRITE,
        body=DeprecateRequest, body_optional=True, answers={200: CommandAnswer}, command=True,
    ),
    Route(
        "POST", _PROMPT + "/-/restore", restore_prompt, "Restore", "prompts", PROMPT_WRITE,
        body=ReasonRequest, body_optional=True, answers={200: CommandAnswer}, command=True,
    ),
)  # fmt: skip
