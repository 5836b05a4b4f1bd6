"""Checks: what gates, evaluations and outside CI say of a version."""

from typing import Annotated, Any, Literal

from aiohttp import web
from pydantic import Field

from api.http import edge
from api.http.commanding import submit
from api.http.history import entry_for
from api.http.route import Route
from api.http.schemas import CommandAnswer, FreeText, LabelName, PageAnswer, Request
from api.http.texts import add_names, text_in, texts_of
from api.http.versions import version_number
from domain import commands
from domain.access import CHECK_WRITE, PROMPT_READ
from domain.check import Check, VersionChecks, checks_id
from domain.check_commands import URL_CHARS_MAX


class CheckRequest(Request):
    """What a check found; `evidence_digest` is the SHA-256 of what `evidence_url` leads to."""

    name: LabelName
    state: Literal["pending", "passed", "failed"]
    summary: FreeText | None = None
    evidence_url: (
        Annotated[str, Field(max_length=URL_CHARS_MAX, pattern="^https?://[!-~]+$")] | None
    ) = None
    evidence_digest: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None = None


async def record_check(request: web.Request) -> web.StreamResponse:
    """Say what a check found on a version; a later word of the same name replaces it."""
    who = edge.caller(request)
    wanted = await edge.body(request, CheckRequest)
    command = commands.RecordCheck(
        project=edge.project_name(request),
        name=edge.prompt_name(request),
        version=version_number(request),
        check=wanted.name,
        state=wanted.state,
        summary=wanted.summary,
        evidence_url=wanted.evidence_url,
        evidence_digest=wanted.evidence_digest,
    )
    return await submit(request, who, command)


async def list_checks(request: web.Request) -> web.StreamResponse:
    """The checks of a version by name, each with its newest word."""
    edge.no_query(request)
    number = version_number(request)
    entry = await entry_for(request)
    prompt = entry.history.prompt
    prompt.version_numbered(number)
    services = edge.services(request)
    loaded = await edge.read(
        request, services.repository.load, VersionChecks, checks_id(prompt.id, number)
    )
    checks = loaded.aggregate.checks if loaded.aggregate is not None else {}
    refs = [ref for one in checks.values() for ref in (one.summary, one.evidence_url)]
    texts = await texts_of(request, refs)
    items = [_item(check, texts) for _, check in sorted(checks.items())]
    await add_names(request, items, "by")
    body = {"items": items, "next_cursor": None}
    return edge.view_answer(request, body, services.follower.position)


def _item(check: Check, texts: dict[str, str]) -> dict[str, Any]:
    return {
        "name": check.name,
        "state": check.state,
        "by": check.by,
        "at": check.at.isoformat(),
        "summary": text_in(texts, check.summary),
        "evidence_url": text_in(texts, check.evidence_url),
        "evidence_digest": check.evidence_digest,
    }


_CHECKS = "/v1/projects/{project}/prompts/{name}/-/versions/{number}/checks"
ROUTES = (
    Route(
        "GET", _CHECKS, list_checks, "The checks of a version", "checks", PROMPT_READ,
        answers={200: PageAnswer}, headers=("Scrinia-Min-Position",),
    ),
    Route(
        "POST", _CHECKS, record_check, "Record a check", "checks", CHECK_WRITE, body=CheckRequest,
        answers={201: CommandAnswer}, command=True,
    ),
)  # fmt: skip
