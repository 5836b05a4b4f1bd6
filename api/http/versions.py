"""Versions: commit, list, read."""

import re
from typing import Annotated, Any

import orjson
from aiohttp import web
from pydantic import Field

from api.http import edge
from api.http.commanding import submit
from api.http.history import entry_for
from api.http.problems import EdgeError
from api.http.route import Route
from api.http.schemas import (
    BranchName,
    CommitItemRequest,
    CommitManyAnswer,
    CommitManyRequest,
    CommitVersionRequest,
    PageAnswer,
    Request,
    VersionAnswer,
    VersionCommandAnswer,
)
from api.http.similar import beside_commit
from api.http.texts import add_names
from domain import commands
from domain.access import PROMPT_READ, PROMPT_WRITE
from domain.commitment import Content
from domain.content import PromptContent, digest_of
from domain.errors import Fault, InvalidContentError
from domain.names import check_project_name
from domain.texts import variables_of
from domain.version import Version
from projections.cursors import decode_cursor, encode_cursor
from projections.history import History, check_erased

_VERSION = re.compile(r"[1-9][0-9]{0,8}")


class VersionsQuery(Request):
    """Which page, newest first."""

    model_config = {"strict": False, "extra": "forbid"}
    branch: BranchName | None = Field(None, description="Only those committed on this branch.")
    limit: Annotated[int, Field(ge=1, le=500)] = 50
    cursor: str | None = None


def version_number(request: web.Request) -> int:
    """The version in the path; EdgeError 400 where it cannot be one."""
    number = request.match_info["number"]
    if not _VERSION.fullmatch(number):
        raise EdgeError(400, "invalid_parameter", "A version is a number from 1 on.")
    return int(number)


async def commit_version(request: web.Request) -> web.StreamResponse:
    """Commit the next version; the same content again changes nothing."""
    who = edge.caller(request)
    wanted = await edge.body(request, CommitVersionRequest)
    command = commands.CommitVersion(
        project=edge.project_name(request),
        name=edge.prompt_name(request),
        content=await edge.content(request, wanted.content, declare=wanted.declare_variables),
        message=wanted.message,
        expected_version=wanted.expected_version,
        branch=wanted.branch,
    )
    own = (command.project, command.name)
    value = command.content.value
    beside = await beside_commit(request, who, value, own, wanted.report_similar)
    return await submit(request, who, command, beside=beside)


async def commit_many(request: web.Request) -> web.StreamResponse:
    """Commit versions of several prompts in one transaction, partials first: all or none."""
    who = edge.caller(request)
    wanted = await edge.body(request, CommitManyRequest)
    items = [
        commands.CommitItem(
            project=check_project_name(item.project),
            name=item.name,
            content=await _content_of(request, index, item),
            message=item.message,
            expected_version=item.expected_version,
            branch=item.branch,
            create=item.create,
        )
        for index, item in enumerate(wanted.items)
    ]
    return await submit(request, who, commands.CommitMany(tuple(items), wanted.message))


async def _content_of(request: web.Request, index: int, item: CommitItemRequest) -> PromptContent:
    try:
        return await edge.content(request, item.content, declare=item.declare_variables)
    except InvalidContentError as error:
        at = f"/items/{index}/content"
        faults = [Fault(at + f.pointer, f.code, f.detail) for f in error.faults]
        raise InvalidContentError(f"{at}: {error.detail}", faults) from None


async def list_versions(request: web.Request) -> web.StreamResponse:
    """A page of a prompt's versions, newest first."""
    wanted = edge.query(request, VersionsQuery)
    entry = await entry_for(request)
    history = entry.history
    newest = len(history.prompt.versions)
    if wanted.cursor is not None:
        newest = decode_cursor(wanted.cursor, int)[0]
    found = [
        version
        for version in history.prompt.versions[:newest]
        if wanted.branch in (None, version.branch)
    ]
    versions = found[-wanted.limit :][::-1]
    held = await _texts(request, versions)
    items = [_version_item(history, version, held) for version in versions]
    await add_names(request, items, "author")
    more = len(found) > wanted.limit
    next_cursor = encode_cursor(versions[-1].number - 1) if more else None
    position = edge.services(request).follower.position
    return edge.view_answer(request, {"items": items, "next_cursor": next_cursor}, position)


async def get_version(request: web.Request) -> web.StreamResponse:
    """One version with its content, author and message."""
    edge.no_query(request)
    number = version_number(request)
    entry = await entry_for(request)
    version = entry.history.prompt.version_numbered(number)
    held = await _texts(request, [version])
    found = held.get(version.content["commitment"])
    content = check_erased(entry.history.prompt, version, found.body if found else None)
    item = {
        **_version_item(entry.history, version, held),
        "variables": await edge.read(request, _variables, content),
        "content": orjson.Fragment(content),
    }
    await add_names(request, [item], "author")
    return edge.view_answer(request, item, edge.services(request).follower.position)


def _variables(content: bytes) -> list[str]:
    return variables_of(orjson.loads(content))


async def _texts(request: web.Request, versions: list[Version]) -> dict[str, Content]:
    refs = [ref for v in versions for ref in (v.content, v.message) if ref is not None]
    commitments = [ref["commitment"] for ref in refs]
    return await edge.read(request, edge.services(request).recorder.contents, commitments)


def _version_item(history: History, version: Version, held: dict[str, Content]) -> dict[str, Any]:
    content = held.get(version.content["commitment"])
    message = held.get(version.message["commitment"]) if version.message else None
    prompt = history.prompt
    return {
        "ref": f"{prompt.project}/{prompt.name}@{version.number}",
        "project": prompt.project,
        "name": prompt.name,
        "version": version.number,
        "branch": version.branch,
        "semver": str(version.semver) if version.semver else None,
        "change": version.change,
        "locales": {name: {"stale": stale} for name, stale in version.locales.items()},
        "type": version.content_type,
        "digest": digest_of(content.body) if content else None,
        "message": message.body.decode() if message else None,
        "author": history.actor_at(version.stream_position),
        "committed_at": history.events[version.stream_position - 1].time,
        "parents": list(version.parents),
        "labels": sorted(k for k, v in prompt.labels_set.items() if v == version.number),
        "position": history.position_at(version.stream_position),
    }


_COMMITS = "/v1/commits"
_VERSIONS = "/v1/projects/{project}/prompts/{name}/-/versions"
ROUTES = (
    Route(
        "POST", _COMMITS, commit_many, "Commit to several prompts", "versions", PROMPT_WRITE,
        body=CommitManyRequest, answers={200: CommitManyAnswer, 201: CommitManyAnswer},
        command=True,
    ),
    Route(
        "POST", _VERSIONS, commit_version, "Commit a version", "versions", PROMPT_WRITE,
        body=CommitVersionRequest, answers={200: VersionCommandAnswer, 201: VersionCommandAnswer},
        command=True,
    ),
    Route(
        "GET", _VERSIONS, list_versions, "List versions", "versions", PROMPT_READ,
        query=VersionsQuery, answers={200: PageAnswer}, headers=("Scrinia-Min-Position",),
    ),
    Route(
        "GET", _VERSIONS + "/{number}", get_version, "Read a version", "versions", PROMPT_READ,
        answers={200: VersionAnswer, 410: "Erased"}, headers=("Scrinia-Min-Position",),
    ),
)  # fmt: skip
