"""Composition: guardrails, what uses a prompt, what a move would change, lockfiles."""

from collections.abc import Sequence
from functools import partial
from typing import Annotated, Any, Literal

import orjson
from aiohttp import web
from pydantic import Field

from api.http import edge
from api.http.commanding import submit
from api.http.content_schema import anchored
from api.http.history import check_moved, entry_for
from api.http.problems import EdgeError
from api.http.route import Route
from api.http.schemas import (
    CommandAnswer,
    LabelName,
    ObjectAnswer,
    PageAnswer,
    PromptName,
    ReasonRequest,
    Request,
    VersionNumber,
)
from domain import access, commands
from domain.access import PROJECT_WRITE, PROMPT_READ, not_found, project_resource, prompt_resource
from domain.composition import Source
from domain.errors import DomainError, LockfileMismatchError
from domain.interface import change_of
from domain.locales import chosen_locale
from domain.messages import ROLES
from domain.names import check_label
from domain.partials import REFERENCE_PATTERN, parse_reference
from domain.project_commands import POSITIONS, guardrail_body
from domain.version import Version
from ledger.ids import now
from projections.answers import Kind, Resolved, encode_answer
from projections.catalog import Catalog
from projections.composing import LockedPart, assemble, locked_lookup, part_of, source_of
from projections.uses import Use, Uses, uses_of

IMPACT_MAX = 256


class GuardrailRequest(Request):
    """What is composed in, where: below a folder, or into every prompt of the project."""

    prompt: Annotated[str, Field(pattern=anchored(REFERENCE_PATTERN), max_length=250)]
    folder: PromptName | None = None
    position: Annotated[str, Field(pattern=f"^({'|'.join(POSITIONS)})$")] = "prepend"
    role: Annotated[str, Field(pattern=f"^({'|'.join(ROLES)})$")] = "system"


class UsesQuery(Request):
    """Only what some label or `latest` means now, or every version ever committed."""

    model_config = {"strict": False, "extra": "forbid"}
    versions: Literal["live", "all"] = "live"
    as_of: str | None = Field(None, description="Not to be had: backlinks know the present only.")


class ImpactQuery(Request):
    """Which label would be moved, to which version."""

    model_config = {"strict": False, "extra": "forbid"}
    label: LabelName = "production"
    version: VersionNumber
    as_of: str | None = Field(None, description="Not to be had: backlinks know the present only.")


# Guardrails


async def list_guardrails(request: web.Request) -> web.StreamResponse:
    """The guardrails of a project, by name."""
    who = edge.caller(request)
    project = edge.project_name(request)
    edge.no_query(request)
    services = edge.services(request)
    rights = services.access.rights(who, now())
    if access.readable_folders(rights, project, now()) == ():
        raise not_found(project_resource(project))
    await edge.fresh_memory(request)
    known = services.projects.of(project).project
    if known is None:
        raise not_found(project_resource(project))
    items = [guardrail_body(one) for _, one in sorted(known.guardrails.items())]
    body = {"items": items, "next_cursor": None}
    return edge.view_answer(request, body, services.follower.position)


async def set_guardrail(request: web.Request) -> web.StreamResponse:
    """Compose a text prompt into every prompt of a project, or below a folder."""
    who = edge.caller(request)
    wanted = await edge.body(request, GuardrailRequest)
    command = commands.SetGuardrail(
        project=edge.project_name(request),
        guardrail=check_label(request.match_info["guardrail"]),
        prompt=wanted.prompt,
        folder=wanted.folder,
        position=wanted.position,
        role=wanted.role,
    )
    return await submit(request, who, command)


async def remove_guardrail(request: web.Request) -> web.StreamResponse:
    """Compose a guardrail into nothing any more."""
    who = edge.caller(request)
    wanted = await edge.body(request, ReasonRequest, optional=True)
    name = check_label(request.match_info["guardrail"])
    command = commands.RemoveGuardrail(edge.project_name(request), name, wanted.reason)
    return await submit(request, who, command)


# Backlinks


async def users_of(
    request: web.Request, project: str, names: Sequence[str]
) -> tuple[list[Use], int]:
    """What names a prompt, as far as the view has come, which is waited for where asked."""
    await edge.fresh_view(request, Uses.name)
    await edge.fresh_view(request, Catalog.name)
    services = edge.services(request)
    question = partial(uses_of, project=project, targets=names)
    found: tuple[list[Use], int] = await edge.read(
        request, services.views.read, question, Uses.name
    )
    return found


async def candidates(request: web.Request, project: str, names: Sequence[str]) -> tuple[str, ...]:
    """Prompts that may be composed of one by what the ledger has now, for the registry to check."""
    await edge.caught_up_view(request, Uses.name)
    await edge.caught_up_view(request, Catalog.name)
    uses, _ = await users_of(request, project, names)
    return tuple(sorted({use.name for use in uses if use.live}))


def _check_present(as_of: str | None) -> None:
    if as_of is not None:
        raise EdgeError(
            400, "invalid_parameter", "Backlinks know the present only: leave as_of out."
        )


def _as_guardrail(
    request: web.Request, project: str, names: Sequence[str], label: str | None = None
) -> list[dict[str, Any]]:
    """The guardrails that are a prompt, by any label or by one: composed into all they cover."""
    known = edge.services(request).projects.of(project).project
    rails = known.guardrails.values() if known is not None else ()
    meant = [(rail, parse_reference(rail.reference)) for rail in rails]
    return [
        guardrail_body(rail)
        for rail, reference in meant
        if reference.name in names and label in (None, reference.at)
    ]


async def used_by(request: web.Request) -> web.StreamResponse:
    """The versions that are composed of a prompt, those the caller may read; and `guardrails`."""
    wanted = edge.query(request, UsesQuery)
    _check_present(wanted.as_of)
    who = edge.caller(request)
    entry = await entry_for(request)
    project = entry.key[0]
    uses, position = await users_of(request, project, entry.history.prompt.names)
    rights = edge.services(request).access.rights(who, now())
    items = [
        {
            "ref": f"{project}/{use.name}@{use.number}", "project": project, "name": use.name,
            "version": use.number, "reference": use.reference, "labels": list(use.labels),
            "live": use.live,
        }
        for use in uses
        if (use.live or wanted.versions == "all")
        and access.permitted(rights, PROMPT_READ, prompt_resource(project, use.name), now()).allowed
    ]  # fmt: skip
    guardrails = _as_guardrail(request, project, entry.history.prompt.names)
    body = {"items": items, "guardrails": guardrails, "next_cursor": None}
    return edge.view_answer(request, body, position)


async def impact(request: web.Request) -> web.StreamResponse:
    """What would change, and what would break, if a label of this prompt moved to a version.

    `more`: it stopped at IMPACT_MAX, and there may be others. `guardrails`: those by this label,
    which change everything they cover.
    """
    wanted = edge.query(request, ImpactQuery)
    _check_present(wanted.as_of)
    who = edge.caller(request)
    entry = await entry_for(request)
    project, name = entry.key
    services = edge.services(request)
    rights = services.access.rights(who, now())
    version = entry.history.prompt.version_numbered(wanted.version)
    body = await services.serving.content(entry, version)
    source, label = source_of(entry.history, version, body), check_label(wanted.label)
    moved = {f"{one}@{label}": source for one in entry.history.prompt.names}
    items: list[dict[str, Any]] = []
    waiting, seen = [(name, wanted.label)], {(name, wanted.label)}
    while waiting and len(items) < IMPACT_MAX:
        target, label = waiting.pop(0)
        names = (await services.serving.entry(project, target)).history.prompt.names
        for use in (await users_of(request, project, names))[0]:
            if not use.live or parse_reference(use.reference).at != label:
                continue
            for at in use.labels:
                if (use.name, at) in seen:
                    continue
                seen.add((use.name, at))
                waiting.append((use.name, at))
                resource = prompt_resource(project, use.name)
                if access.permitted(rights, PROMPT_READ, resource, now()).allowed:
                    items.append(await _affected(request, project, use.name, at, moved))
    answer = {
        "label": wanted.label, "version": wanted.version, "items": items, "more": bool(waiting),
        "guardrails": _as_guardrail(request, project, entry.history.prompt.names, wanted.label),
    }  # fmt: skip
    return edge.view_answer(request, answer, services.follower.position)


async def _affected(
    request: web.Request, project: str, name: str, label: str, moved: dict[str, Source]
) -> dict[str, Any]:
    """How a prompt's answer under a label would change: a level with reasons, or what breaks."""
    item: dict[str, Any] = {"name": name, "label": label, "ref": f"{project}/{name}@{label}"}
    serving = edge.services(request).serving
    try:
        before = (await serving.resolve(project, name, "label", label)).body
        after = await serving.resolve_with(project, name, label, moved)
    except DomainError as error:
        return item | {"breaks": True, "code": error.code, "detail": error.detail}
    change = change_of(orjson.loads(before)["content"], orjson.loads(after))
    return item | {"breaks": False, "level": change.level, "reasons": list(change.reasons)}


# Lockfiles


async def resolve_locked(
    request: web.Request,
    who: access.Caller,
    place: tuple[str, str],
    by: tuple[Kind, str | int],
    lockfile: list[LockedPart],
    tags: Sequence[str],
) -> Resolved:
    """A version composed of exactly what a lockfile names; LockfileMismatchError."""
    project, name = place
    services = edge.services(request)
    entry = await services.serving.entry(*place)
    check_moved(services.access.rights(who, now()), project, name, entry.key[1])
    version, move, label = await services.serving.choose(entry, *by)
    body = await services.serving.content(entry, version)
    locale = chosen_locale(tags, version.locales)
    prompt = entry.history.prompt
    rails, _ = services.projects.of(project).covering(prompt.name, prompt.former)
    covering = {rail.reference for rail in rails}
    locked = {part.reference: part for part in lockfile}
    own_rails = [part.reference for part in lockfile if part.kind == "guardrail"]
    for reference in own_rails:
        if reference not in covering:
            await _check_readable(request, who, project, reference)
    waiting = [*version.partials, *own_rails]
    sources: dict[str, Source] = {}
    while waiting:
        reference = str(parse_reference(waiting.pop()))
        if reference in locked and reference not in sources:
            found, meant = await _locked_source(request, project, locked[reference], locale)
            sources[reference] = found
            waiting += meant.partials
    lookup, guardrails = locked_lookup(lockfile, sources)
    root = source_of(entry.history, version, body, locale)
    assembled = assemble(root, lookup, guardrails, locale)
    return encode_answer(entry.history, version, assembled, label, move)


async def _check_readable(
    request: web.Request, who: access.Caller, project: str, reference: str
) -> None:
    """NotFoundError where a guardrail that is none of the prompt's is not the caller's to read."""
    services, name = edge.services(request), parse_reference(reference).name
    resource = prompt_resource(project, (await services.serving.entry(project, name)).key[1])
    rights = services.access.rights(who, now())
    if not access.permitted(rights, PROMPT_READ, resource, now()).allowed:
        raise not_found(prompt_resource(project, name))


async def _locked_source(
    request: web.Request, project: str, part: LockedPart, locale: str | None
) -> tuple[Source, Version]:
    """The version that a line names, where its reference ever meant it; LockfileMismatchError."""
    serving, reference = edge.services(request).serving, parse_reference(part.reference)
    entry = await serving.entry(project, reference.name)
    prompt = entry.history.prompt
    if not prompt.ever_meant(reference, part.version):
        raise LockfileMismatchError(f"{reference} never meant version {part.version}.")
    version = prompt.version_numbered(part.version)
    body = await serving.content(entry, version)
    return part_of(entry.history, version, body, locale), version


_PROJECT = "/v1/projects/{project}"
_PROMPT = _PROJECT + "/prompts/{name}"
_GUARDRAIL = _PROJECT + "/guardrails/{guardrail}"
ROUTES = (
    Route(
        "GET", _PROJECT + "/guardrails", list_guardrails, "List guardrails", "composition",
        PROMPT_READ, answers={200: PageAnswer}, headers=("Scrinia-Min-Position",),
    ),
    Route(
        "PUT", _GUARDRAIL, set_guardrail, "Set a guardrail", "composition", PROJECT_WRITE,
        body=GuardrailRequest, answers={200: CommandAnswer, 201: CommandAnswer}, command=True,
    ),
    Route(
        "DELETE", _GUARDRAIL, remove_guardrail, "Remove a guardrail", "composition", PROJECT_WRITE,
        body=ReasonRequest, body_optional=True, answers={200: CommandAnswer}, command=True,
    ),
    Route(
        "GET", _PROMPT + "/-/used-by", used_by, "What is composed of a prompt", "composition",
        PROMPT_READ, query=UsesQuery, answers={200: PageAnswer},
        headers=("Scrinia-Min-Position",),
    ),
    Route(
        "GET", _PROMPT + "/-/impact", impact, "What a move would change", "composition",
        PROMPT_READ, query=ImpactQuery, answers={200: ObjectAnswer, 410: "Erased"},
        headers=("Scrinia-Min-Position",),
    ),
)  # fmt: skip
