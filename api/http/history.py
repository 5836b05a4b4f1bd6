"""A prompt's past: its history now or as of a moment, its trail, and diffs between versions."""

from collections.abc import Sequence
from functools import partial
from typing import Annotated, Any

from aiohttp import web
from pydantic import Field

from api.http import edge
from api.http.audit import records_of
from api.http.route import Route
from api.http.schemas import DiffAnswer, PageAnswer, Request
from domain.access import PROMPT_READ, Rights, not_found, permitted, prompt_resource
from domain.content import PromptContent
from domain.diff import diff_contents
from domain.name import Name
from domain.names import BRANCH_PATTERN, check_label, name_id
from domain.prompt import Prompt
from domain.semantic_diff import semantic_diff
from domain.version import Version
from ledger.ids import now
from projections.answers import Kind, Resolved
from projections.audit import Audit, AuditFilter, find_records
from projections.entry import Entry
from projections.history import History, fold_history
from projections.past import position_of

BRANCH_PREFIX = "branch:"
REF_PATTERN = rf"^([1-9][0-9]{{0,8}}|[a-z][a-z0-9_-]{{0,35}}|{BRANCH_PREFIX}{BRANCH_PATTERN})$"


class HistoryQuery(Request):
    """Which page."""

    model_config = {"strict": False, "extra": "forbid"}
    limit: Annotated[int, Field(ge=1, le=500)] = 50
    cursor: str | None = None


class DiffQuery(Request):
    """Two versions, each by number, label, or `branch:` and a branch."""

    model_config = {"strict": False, "extra": "forbid"}
    from_: Annotated[str, Field(alias="from", pattern=REF_PATTERN)]
    to: Annotated[str, Field(pattern=REF_PATTERN)]


async def entry_for(request: web.Request) -> Entry:
    """The prompt in the path, for a caller who may read it, as fresh as was asked for."""
    who = edge.caller(request)
    project, name = edge.project_name(request), edge.prompt_name(request)
    services = edge.services(request)
    services.access.authorise(who, PROMPT_READ, prompt_resource(project, name), now())
    await edge.fresh_memory(request)
    entry = await services.serving.entry(project, name)
    check_moved(services.access.rights(who, now()), project, name, entry.key[1])
    return entry


def check_moved(rights: Rights, project: str, name: str, own: str) -> None:
    """NotFoundError where a name leads to a prompt that lies where one may not read."""
    if own != name:
        resource = prompt_resource(project, own)
        if not permitted(rights, PROMPT_READ, resource, now()).allowed:
            raise not_found(prompt_resource(project, name))


async def answered(
    request: web.Request,
    rights: Rights,
    place: tuple[str, str],
    by: tuple[Kind, str | int],
    tags: Sequence[str],
    *,
    raw: bool = False,
) -> Resolved:
    """What resolving answers, from memory wherever it can be; of a prompt that moved, only to those
    who may read it where it is.
    """
    serving = edge.services(request).serving
    resolved = None if raw or by[0] == "range" else serving.cached(*place, *by, tags)
    if resolved is None:
        entry = await serving.entry(*place)
        check_moved(rights, *place, entry.key[1])
        resolved = None if raw else serving.cached(*place, *by, tags)
    if resolved is None:
        resolved = await serving.resolve(*place, *by, tags, raw=raw)
    check_moved(rights, *place, resolved.name)
    return resolved


async def past_history(
    request: web.Request, project: str, name: str, as_of: str
) -> tuple[History, int]:
    """A prompt as of a moment, and the position that this means."""
    services = edge.services(request)
    moment = edge.parse_moment(as_of)
    rights = edge.rights(request, now())

    def load() -> tuple[History, int]:
        position = position_of(services.recorder, moment)
        claim = services.repository.load(Name, name_id(project, name), until_position=position)
        if claim.aggregate is None:
            raise not_found(prompt_resource(project, name))
        events = services.repository.history(
            Prompt, claim.aggregate.prompt_id, until_position=position
        )
        return fold_history(events, (project, name)), position

    found = await edge.read(request, load)
    own = (await services.serving.entry(project, name)).key[1]
    check_moved(rights, project, name, own)
    return found


async def get_history(request: web.Request) -> web.StreamResponse:
    """Everything that happened to a prompt, oldest first."""
    wanted = edge.query(request, HistoryQuery)
    entry = await entry_for(request)
    await edge.fresh_view(request, Audit.name)
    services = edge.services(request)
    prompt = entry.history.prompt
    question = partial(
        find_records,
        wanted=AuditFilter(
            exact_resources=tuple(
                prompt_resource(prompt.project, name).text for name in prompt.names
            ),
            limit=wanted.limit,
            cursor=wanted.cursor,
        ),
    )
    (rows, next_cursor), position = await edge.read(
        request, services.views.read, question, Audit.name
    )
    records = await records_of(request, rows)
    for record in records:
        del record["authz"], record["request_id"]
    return edge.view_answer(request, {"items": records, "next_cursor": next_cursor}, position)


async def get_diff(request: web.Request) -> web.StreamResponse:
    """Two versions by line, word for word, and by what the change means."""
    wanted = edge.query(request, DiffQuery)
    entry = await entry_for(request)
    prompt = entry.history.prompt
    before, after = _version(prompt, wanted.from_), _version(prompt, wanted.to)
    body = await diff_of(request, entry, before.number, after.number)
    return edge.view_answer(request, body, edge.services(request).follower.position)


async def diff_of(
    request: web.Request, entry: Entry, from_number: int, to_number: int
) -> dict[str, Any]:
    """Two versions by line, word for word, and by what the change means; ErasedError."""
    services = edge.services(request)
    prompt = entry.history.prompt
    before, after = (prompt.version_numbered(number) for number in (from_number, to_number))
    old = await services.serving.content(entry, before)
    new = await services.serving.content(entry, after)
    refs = [f"{prompt.project}/{prompt.name}@{version.number}" for version in (before, after)]
    diff = await edge.read(request, diff_contents, old, new, *refs)
    sides = [PromptContent.stored(side).value for side in (old, new)]
    semantic = await edge.read(request, semantic_diff, *sides)
    return {
        "from": before.number,
        "to": after.number,
        "unified": diff.unified,
        "added": diff.added,
        "removed": diff.removed,
        "semantic": semantic,
    }


def _version(prompt: Prompt, ref: str) -> Version:
    if ref.isdecimal():
        return prompt.version_numbered(int(ref))
    if ref.startswith(BRANCH_PREFIX):
        return prompt.head(ref.removeprefix(BRANCH_PREFIX))
    return prompt.target_of(check_label(ref, reserved=True), now())


_PROMPT = "/v1/projects/{project}/prompts/{name}"
ROUTES = (
    Route(
        "GET", _PROMPT + "/-/history", get_history, "What happened to a prompt", "history",
        PROMPT_READ, query=HistoryQuery, answers={200: PageAnswer},
        headers=("Scrinia-Min-Position",),
    ),
    Route(
        "GET", _PROMPT + "/-/diff", get_diff, "Compare two versions", "history", PROMPT_READ,
        query=DiffQuery, answers={200: DiffAnswer, 410: "Erased"},
        headers=("Scrinia-Min-Position",),
    ),
)  # fmt: skip
