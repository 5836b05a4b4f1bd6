"""Reads: noted as they are answered, and on record where an environment asks for it."""

import re
from datetime import datetime
from typing import Annotated

from aiohttp import web
from pydantic import Field

from api.http import edge
from api.http.moments import Moment
from api.http.problems import EdgeError
from api.http.route import Route
from api.http.schemas import Id, LabelName, PageAnswer, ProjectName, PromptName, Request
from api.http.texts import add_names
from domain import access
from domain.access import AUDIT_READ, REGISTRY, Caller, prompt_resource
from domain.names import check_label, check_project_name, check_prompt_name
from ledger.ids import now
from projections.answers import Resolved
from projections.reads import Reader, ReadFilter

_INSTANCE = re.compile(r"[A-Za-z0-9._-]{1,64}")


class ReadsQuery(Request):
    """Which reads, which page; `to` is exclusive."""

    model_config = {"strict": False, "extra": "forbid"}
    project: ProjectName | None = None
    prompt: PromptName | None = None
    label: LabelName | None = None
    principal_id: Id | None = None
    from_: Annotated[Moment | None, Field(alias="from")] = None
    to: Moment | None = None
    limit: Annotated[int, Field(ge=1, le=500)] = 50
    cursor: str | None = None


def instance_of(request: web.Request) -> str:
    """`Scrinia-Instance`: which of its instances a client is; EdgeError 400."""
    instance = request.headers.get("Scrinia-Instance", "")
    if instance and not _INSTANCE.fullmatch(instance):
        raise EdgeError(
            400, "invalid_header", "Scrinia-Instance is 1 to 64 of A-Z, a-z, 0-9, '.', '_', '-'."
        )
    return instance


def note_read(
    request: web.Request, who: Caller, project: str, resolved: Resolved, at: datetime
) -> None:
    """Somebody is answered by a label: note what they are served."""
    if resolved.label is None:
        return
    services = edge.services(request)
    reader = Reader(
        project, resolved.name, resolved.label, who.principal_id, who.token_id,
        instance_of(request) if "Scrinia-Instance" in request.headers else "",
    )  # fmt: skip
    on_record = services.projects.of(project).logs_reads(resolved.label)
    services.reads.note(reader, resolved.version, services.follower.position, at, on_record)


def _check_names(wanted: ReadsQuery) -> None:
    """Nothing is at a name that cannot be; InvalidError."""
    if wanted.project is not None:
        check_project_name(wanted.project)
    if wanted.prompt is not None:
        check_prompt_name(wanted.prompt)
    if wanted.label is not None:
        check_label(wanted.label, reserved=True)


async def list_reads(request: web.Request) -> web.StreamResponse:
    """A page of the reads on record, oldest first: who was served which version in which minute."""
    who = edge.caller(request)
    wanted = edge.query(request, ReadsQuery)
    if wanted.prompt is not None and wanted.project is None:
        raise EdgeError(400, "invalid_parameter", "prompt needs its project.")
    _check_names(wanted)
    services = edge.services(request)
    places = access.places_with(services.access.rights(who, now()), AUDIT_READ, now())
    if places == ():
        services.access.authorise(who, AUDIT_READ, REGISTRY, now())
    if wanted.project is not None:
        own = f"projects/{wanted.project}"
        places = tuple(
            place for place in places or (own,) if place == own or place.startswith(own + "/")
        )
    resource = None
    if wanted.project is not None and wanted.prompt is not None:
        resource = prompt_resource(wanted.project, wanted.prompt).text
    filtered = ReadFilter(
        places, resource, wanted.label,
        str(wanted.principal_id) if wanted.principal_id is not None else None,
        wanted.from_.isoformat() if wanted.from_ is not None else None,
        wanted.to.isoformat() if wanted.to is not None else None, wanted.limit, wanted.cursor,
    )  # fmt: skip
    await services.reads.flush()
    items, next_cursor = await edge.read(request, services.reads.page, filtered)
    await add_names(request, items, "principal_id")
    body = {"items": items, "next_cursor": next_cursor}
    return edge.view_answer(request, body, services.follower.position)


ROUTES = (
    Route(
        "GET", "/v1/access/reads", list_reads, "List reads on record", "audit", AUDIT_READ,
        query=ReadsQuery, answers={200: PageAnswer},
    ),
)  # fmt: skip
