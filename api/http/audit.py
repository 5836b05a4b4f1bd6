"""The audit trail: query by pages, export whole as NDJSON."""

from dataclasses import replace
from functools import partial
from typing import Annotated, Any

import orjson
from aiohttp import web
from pydantic import Field

from api.http import edge
from api.http.moments import Moment
from api.http.route import Route
from api.http.schemas import Id, PageAnswer, Request
from api.http.texts import names_of
from domain import access
from domain.access import AUDIT_READ, REGISTRY
from ledger.ids import now
from ledger.payload import format_time
from projections.audit import Audit, AuditFilter, find_records, to_records

EXPORT_PAGE_RECORDS = 500


class ExportQuery(Request):
    """Which records: `resource` matches itself and all below it, `to` is exclusive."""

    model_config = {"strict": False, "extra": "forbid"}
    actor: Id | None = Field(None, description="A principal's id, or nothing.")
    action: Annotated[str, Field(pattern=r"^[a-z]+(\.[a-z]+)?$")] | None = Field(
        None, description="`kind.verb` or `kind`."
    )
    resource: Annotated[str, Field(max_length=400)] | None = None
    from_: Annotated[Moment | None, Field(alias="from")] = None
    to: Moment | None = None


class AuditQuery(ExportQuery):
    """Which records, which page."""

    limit: Annotated[int, Field(ge=1, le=500)] = 50
    cursor: str | None = None


def _filter(request: web.Request, wanted: ExportQuery) -> AuditFilter:
    services, who = edge.services(request), edge.caller(request)
    places = access.places_with(services.access.rights(who, now()), AUDIT_READ, now())
    if places == ():
        services.access.authorise(who, AUDIT_READ, REGISTRY, now())
    return AuditFilter(
        places=places,
        actor=str(wanted.actor) if wanted.actor is not None else None,
        action=wanted.action,
        resource=wanted.resource,
        since=format_time(wanted.from_) if wanted.from_ is not None else None,
        until=format_time(wanted.to) if wanted.to is not None else None,
    )


async def query_audit(request: web.Request) -> web.StreamResponse:
    """A page of audit records, oldest first."""
    edge.caller(request)
    wanted = edge.query(request, AuditQuery)
    filtered = replace(_filter(request, wanted), limit=wanted.limit, cursor=wanted.cursor)
    await edge.fresh_view(request, Audit.name)
    records, next_cursor, position = await _records(request, filtered)
    return edge.view_answer(request, {"items": records, "next_cursor": next_cursor}, position)


async def export_audit(request: web.Request) -> web.StreamResponse:
    """All matching audit records, one JSON object a line."""
    edge.caller(request)
    wanted = edge.query(request, ExportQuery)
    filtered = replace(_filter(request, wanted), limit=EXPORT_PAGE_RECORDS)
    await edge.fresh_view(request, Audit.name)
    response = web.StreamResponse(headers={"X-Request-Id": request[edge.REQUEST_ID]})
    response.content_type = "application/x-ndjson"
    records, next_cursor, position = await _records(request, filtered)
    response.headers["Scrinia-Position"] = str(position)
    await response.prepare(request)
    await response.write(b"".join(orjson.dumps(r) + b"\n" for r in records))
    while next_cursor is not None:
        page = replace(filtered, cursor=next_cursor)
        records, next_cursor, _ = await _records(request, page)
        await response.write(b"".join(orjson.dumps(r) + b"\n" for r in records))
    await response.write_eof()
    return response


async def _records(
    request: web.Request, wanted: AuditFilter
) -> tuple[list[dict[str, Any]], str | None, int]:
    services = edge.services(request)
    question = partial(find_records, wanted=wanted)
    (rows, next_cursor), position = await edge.read(
        request, services.views.read, question, Audit.name
    )
    return await records_of(request, rows), next_cursor, position


async def records_of(request: web.Request, rows: list[Any]) -> list[dict[str, Any]]:
    """Rows as they are answered, with their texts and the names that actors have now."""
    contents = edge.services(request).recorder.contents
    records = await edge.read(request, to_records, rows, contents)
    names = await names_of(request, (record["actor"]["id"] for record in records))
    return [{**one, "actor_name": names.get(one["actor"]["id"])} for one in records]


ROUTES = (
    Route(
        "GET", "/v1/audit", query_audit, "Query the audit trail", "audit", AUDIT_READ,
        query=AuditQuery, answers={200: PageAnswer}, headers=("Scrinia-Min-Position",),
    ),
    Route(
        "GET", "/v1/audit/export", export_audit, "Export the audit trail", "audit", AUDIT_READ,
        query=ExportQuery, answers={200: "One audit record a line (application/x-ndjson)"},
        headers=("Scrinia-Min-Position",),
    ),
)  # fmt: skip
