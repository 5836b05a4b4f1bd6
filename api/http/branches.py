"""Branches: create, list, compare, delete, merge; and forks."""

from typing import Annotated, Any, Literal

from aiohttp import web
from pydantic import Field, model_validator

from api.http import edge
from api.http.commanding import submit
from api.http.history import entry_for
from api.http.route import Route
from api.http.schemas import (
    BranchName,
    CommandAnswer,
    Content,
    FreeText,
    LabelName,
    ObjectAnswer,
    ProjectName,
    PromptName,
    Request,
    Tags,
    VersionCommandAnswer,
    VersionNumber,
)
from domain import commands
from domain.access import PROMPT_READ, PROMPT_WRITE
from domain.content import PromptContent
from domain.merge import merge_contents
from domain.names import check_label, check_project_name, check_prompt_name
from domain.prompt import Prompt
from domain.version import MAIN_BRANCH, Version, ancestors, merge_base
from projections.entry import Entry

RESOLUTIONS_MAX = 1024


class CreateBranchRequest(Request):
    """A new branch."""

    branch: BranchName
    version: VersionNumber | None = Field(None, description="Where it begins; the head of main.")


class AgainstQuery(Request):
    """Compared with which branch."""

    model_config = {"strict": False, "extra": "forbid"}
    against: BranchName = MAIN_BRANCH


class Resolution(Request):
    """How a conflict is settled: a side is taken, or a value given."""

    take: Literal["base", "target", "source"] | None = None
    value: Any = None

    @model_validator(mode="after")
    def _one_way(self) -> "Resolution":
        if (self.take is not None) == ("value" in self.model_fields_set):
            raise ValueError("give one of take and value")
        return self


class MergeRequest(Request):
    """Merge the branch `source` into `target`. Conflicts are settled by id, or by the content."""

    source: BranchName
    target: BranchName = MAIN_BRANCH
    message: FreeText | None = None
    resolutions: Annotated[dict[str, Resolution], Field(max_length=RESOLUTIONS_MAX)] = {}
    content: Content | None = None
    expected_version: VersionNumber | None = None
    source_version: VersionNumber | None = None

    @model_validator(mode="after")
    def _of_what_was_seen(self) -> "MergeRequest":
        if self.resolutions and self.content is not None:
            raise ValueError("give resolutions or content, not both")
        settled = self.resolutions or self.content is not None
        if settled and None in (self.expected_version, self.source_version):
            raise ValueError("what settles a merge names expected_version and source_version")
        return self


class ForkRequest(Request):
    """A new prompt out of a version of this one (by number or label, else the newest)."""

    project: ProjectName | None = Field(None, description="Default: the same.")
    name: PromptName
    version: VersionNumber | None = None
    label: LabelName | None = None
    message: FreeText | None = None
    description: FreeText | None = None
    tags: Tags = []

    @model_validator(mode="after")
    def _one_version(self) -> "ForkRequest":
        if self.version is not None and self.label is not None:
            raise ValueError("give one of version and label")
        return self


# Reading


async def list_branches(request: web.Request) -> web.StreamResponse:
    """The branches of a prompt, each compared with `main`."""
    edge.no_query(request)
    entry = await entry_for(request)
    prompt = entry.history.prompt
    items = [_compared(prompt, branch, MAIN_BRANCH) for branch in sorted(prompt.heads)]
    position = edge.services(request).follower.position
    return edge.view_answer(request, {"items": items, "next_cursor": None}, position)


async def get_branch(request: web.Request) -> web.StreamResponse:
    """A branch compared with another, and what a merge into that one would meet."""
    wanted = edge.query(request, AgainstQuery)
    entry = await entry_for(request)
    prompt = entry.history.prompt
    body = _compared(prompt, request.match_info["branch"], wanted.against)
    sides = [prompt.versions[body[key] - 1] for key in ("base", "against_version", "version")]
    contents = [await _content(request, entry, version) for version in sides]
    merged = await edge.read(request, merge_contents, *contents)
    body["conflicts"] = [conflict.as_data() for conflict in merged.conflicts]
    return edge.view_answer(request, body, edge.services(request).follower.position)


async def _content(request: web.Request, entry: Entry, version: Version) -> dict[str, Any]:
    body = await edge.services(request).serving.content(entry, version)
    return PromptContent.stored(body).value


def _compared(prompt: Prompt, branch: str, against: str) -> dict[str, Any]:
    head, other = prompt.head(branch), prompt.head(against)
    mine, theirs = (ancestors(prompt.versions, one.number) for one in (head, other))
    return {
        "branch": branch,
        "version": head.number,
        "semver": str(head.semver) if head.semver else None,
        "against": against,
        "against_version": other.number,
        "base": merge_base(prompt.versions, head.number, other.number),
        "ahead": sorted(mine - theirs),
        "behind": sorted(theirs - mine),
    }


# Commands


async def create_branch(request: web.Request) -> web.StreamResponse:
    """Begin a branch."""
    who = edge.caller(request)
    wanted = await edge.body(request, CreateBranchRequest)
    command = commands.CreateBranch(
        edge.project_name(request), edge.prompt_name(request), wanted.branch, wanted.version
    )
    return await submit(request, who, command)


async def delete_branch(request: web.Request) -> web.StreamResponse:
    """End a branch; its versions stay."""
    who = edge.caller(request)
    command = commands.DeleteBranch(
        edge.project_name(request), edge.prompt_name(request), request.match_info["branch"]
    )
    return await submit(request, who, command)


async def merge_branch(request: web.Request) -> web.StreamResponse:
    """Merge a branch into another; conflicts come back as data with both sides."""
    who = edge.caller(request)
    wanted = await edge.body(request, MergeRequest)
    content = None
    if wanted.content is not None:
        content = await edge.content(request, wanted.content, declare=False)
    command = commands.MergeBranch(
        project=edge.project_name(request),
        name=edge.prompt_name(request),
        source=wanted.source,
        target=wanted.target,
        message=wanted.message,
        content=content,
        resolutions={
            name: one.model_dump(exclude_unset=True) for name, one in wanted.resolutions.items()
        },
        expected_version=wanted.expected_version,
        source_version=wanted.source_version,
    )
    return await submit(request, who, command)


async def fork_prompt(request: web.Request) -> web.StreamResponse:
    """Make a prompt out of a version of another, in this project or another."""
    who = edge.caller(request)
    wanted = await edge.body(request, ForkRequest)
    project = edge.project_name(request)
    command = commands.ForkPrompt(
        project=project,
        name=edge.prompt_name(request),
        to_project=check_project_name(wanted.project or project),
        to_name=check_prompt_name(wanted.name),
        version=wanted.version,
        label=None if wanted.label is None else check_label(wanted.label, reserved=True),
        message=wanted.message,
        description=wanted.description,
        tags=tuple(wanted.tags),
    )
    return await submit(request, who, command)


_PROMPT = "/v1/projects/{project}/prompts/{name}"
_BRANCHES = _PROMPT + "/-/branches"
ROUTES = (
    Route(
        "GET", _BRANCHES, list_branches, "List branches", "branches", PROMPT_READ,
        answers={200: ObjectAnswer}, headers=("Scrinia-Min-Position",),
    ),
    Route(
        "POST", _BRANCHES, create_branch, "Create a branch", "branches", PROMPT_WRITE,
        body=CreateBranchRequest, answers={200: CommandAnswer, 201: CommandAnswer}, command=True,
    ),
    Route(
        "GET", _BRANCHES + "/{branch}", get_branch, "Compare a branch", "branches", PROMPT_READ,
        query=AgainstQuery, answers={200: ObjectAnswer, 410: "Erased"},
        headers=("Scrinia-Min-Position",),
    ),
    Route(
        "DELETE", _BRANCHES + "/{branch}", delete_branch, "Delete a branch", "branches",
        PROMPT_WRITE, answers={200: CommandAnswer}, command=True,
    ),
    Route(
        "POST", _PROMPT + "/-/merge", merge_branch, "Merge a branch", "branches", PROMPT_WRITE,
        body=MergeRequest, answers={200: VersionCommandAnswer, 201: VersionCommandAnswer},
        command=True,
    ),
    Route(
        "POST", _PROMPT + "/-/fork", fork_prompt, "Fork a prompt", "branches", PROMPT_WRITE,
        body=ForkRequest, answers={201: VersionCommandAnswer}, command=True,
    ),
)  # fmt: skip
