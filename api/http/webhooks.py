"""Webhooks: who is told of events by HTTP, how that went, telling again."""

import asyncio
from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import uuid4

from aiohttp import web
from pydantic import Field

from api.http import edge
from api.http.commanding import submit
from api.http.problems import EdgeError
from api.http.route import Route
from api.http.schemas import (
    CommandAnswer,
    FreeText,
    LabelName,
    ObjectAnswer,
    PageAnswer,
    ProjectName,
    PromptName,
    ReasonRequest,
    Request,
)
from api.http.texts import text_in, texts_of
from domain import access, commands
from domain.access import (
    ACCESS_READ,
    PROJECT_WRITE,
    REGISTRY,
    Caller,
    Resource,
    Rights,
    Scope,
)
from domain.errors import TooLargeError
from domain.names import check_project_name
from domain.webhook import FILTERS_MAX, OVERLAP_HOURS_MAX, URL_CHARS_MAX, Webhook, check_url
from ledger.ids import now
from ledger.payload import format_time
from projections.courier import Message
from projections.cursors import decode_cursor, encode_cursor
from projections.deliveries import DeliveryState
from projections.webhooks import KnownWebhook

TESTS_MAX = 4
WEBHOOKS_MAX = 500
TESTS: web.AppKey[asyncio.Semaphore] = web.AppKey("webhook tests", asyncio.Semaphore)
TypeName = Annotated[str, Field(pattern=r"^[a-z]+(\.[a-z]+)?$")]
Types = Annotated[list[TypeName], Field(max_length=FILTERS_MAX)]
Labels = Annotated[list[LabelName], Field(max_length=FILTERS_MAX)]
Url = Annotated[str, Field(min_length=1, max_length=URL_CHARS_MAX)]


class CreateWebhookRequest(Request):
    """Where to, and of what: a place (none is the whole registry), types and labels (none: all)."""

    url: Url
    project: ProjectName | None = None
    folder: PromptName | None = None
    types: Types = Field([], description="Kinds (`label`) or kind.verbs (`label.moved`).")
    labels: Labels = Field([], description="Only events that speak of one of these labels.")
    description: FreeText | None = None


class WebhookPatch(Request):
    """JSON Merge Patch (RFC 7386): fields left out stay."""

    url: Url = ""
    types: Types = []
    labels: Labels = []
    description: FreeText | None = None
    enabled: bool = True
    reason: FreeText | None = Field(None, description="Why it is enabled or disabled.")


class RotateRequest(Request):
    """How long the secret before still signs beside the new one."""

    overlap_hours: Annotated[int, Field(ge=0, le=OVERLAP_HOURS_MAX)] = 24


class RedeliverRequest(Request):
    """Tell again of everything after this position."""

    after: Annotated[int, Field(ge=0, le=2**62)]


class WebhooksQuery(Request):
    """Of which project, which page."""

    model_config = {"strict": False, "extra": "forbid"}
    project: ProjectName | None = None
    limit: Annotated[int, Field(ge=1, le=500)] = 50
    cursor: str | None = None


class DeliveriesQuery(Request):
    """Only what failed, which page."""

    model_config = {"strict": False, "extra": "forbid"}
    failed: bool = False
    limit: Annotated[int, Field(ge=1, le=500)] = 50
    cursor: str | None = None


# Reading


async def list_webhooks(request: web.Request) -> web.StreamResponse:
    """A page of the webhooks the caller may see, oldest first."""
    who = edge.caller(request)
    wanted = edge.query(request, WebhooksQuery)
    if wanted.project is not None:
        check_project_name(wanted.project)
    await edge.fresh_memory(request)
    services = edge.services(request)
    rights = services.access.rights(who, now())
    if access.places_with(rights, ACCESS_READ, now()) == ():
        services.access.authorise(who, ACCESS_READ, REGISTRY, now())
    after = decode_cursor(wanted.cursor, str)[0] if wanted.cursor is not None else ""
    visible = [
        webhook_id
        for webhook_id, known in sorted(services.webhooks.known.items())
        if webhook_id > after
        if wanted.project in (None, known.webhook.scope.project)
        if access.permitted(rights, ACCESS_READ, known.webhook.scope.resource, now()).allowed
    ]
    page = visible[: wanted.limit]
    items = await _items(request, [services.webhooks.known[one] for one in page])
    next_cursor = encode_cursor(page[-1]) if len(visible) > wanted.limit else None
    body = {"items": items, "next_cursor": next_cursor}
    return edge.view_answer(request, body, services.follower.position)


async def get_webhook(request: web.Request) -> web.StreamResponse:
    """One webhook, and how far it was told."""
    known = await _known(request, edge.caller(request), ACCESS_READ)
    edge.no_query(request)
    items = await _items(request, [known])
    position = edge.services(request).follower.position
    return edge.view_answer(request, items[0], position, ETag=f'"{known.webhook.version}"')


async def list_deliveries(request: web.Request) -> web.StreamResponse:
    """A page of attempts, the newest first."""
    known = await _known(request, edge.caller(request), ACCESS_READ)
    wanted = edge.query(request, DeliveriesQuery)
    services = edge.services(request)
    items, next_cursor = await edge.read(
        request, services.deliveries.page, str(known.webhook.id), wanted.limit, wanted.cursor,
        wanted.failed,
    )  # fmt: skip
    body = {"items": items, "next_cursor": next_cursor}
    return edge.view_answer(request, body, services.follower.position)


async def _known(request: web.Request, who: Caller, permission: str) -> KnownWebhook:
    """The webhook in the path, if the caller may.

    Where it may not even know of the webhook's place, the refusal is the same as where there is no
    such webhook.
    """
    webhook_id = str(edge.path_id(request))
    await edge.fresh_memory(request)
    services = edge.services(request)
    rights = services.access.rights(who, now())
    known = services.webhooks.known.get(webhook_id)
    if known is None or not _may_know(rights, known.webhook.scope):
        raise access.not_found(Resource(f"webhooks/{webhook_id}"))
    access.authorise(rights, permission, known.webhook.scope.resource, now())
    return known


def _may_know(rights: Rights, scope: Scope) -> bool:
    if scope.project is None:
        return access.permitted(rights, ACCESS_READ, REGISTRY, now()).allowed
    return access.readable_folders(rights, scope.project, now()) != ()


async def _items(request: web.Request, known: list[KnownWebhook]) -> list[dict[str, Any]]:
    services = edge.services(request)
    refs = [ref for one in known for ref in (one.webhook.url, one.webhook.description)]
    texts = await texts_of(request, refs)
    states = await edge.read(request, services.deliveries.states) if known else {}
    head = services.follower.position
    items = []
    for one in known:
        webhook = one.webhook
        state = states.get(str(webhook.id)) or DeliveryState(str(webhook.id), one.position)
        items.append(_item(one, texts) | _progress(state, head, webhook.edition))
    return items


def _item(known: KnownWebhook, texts: dict[str, str]) -> dict[str, Any]:
    webhook: Webhook = known.webhook
    return {
        "webhook_id": str(webhook.id),
        "url": text_in(texts, webhook.url),
        "project": webhook.scope.project,
        "folder": webhook.scope.folder,
        "types": list(webhook.types),
        "labels": list(webhook.labels),
        "description": text_in(texts, webhook.description),
        "enabled": webhook.enabled,
        "created_at": known.created_at,
        "secrets": [
            {"number": s.number, "until": s.until and s.until.isoformat()}
            for s in webhook.signing(now())
        ],
    }


def _progress(state: DeliveryState, head: int, edition: int) -> dict[str, Any]:
    failing = state.attempts > 0 and state.edition == edition
    return {
        "position": state.position,
        "lag": max(0, head - state.position),
        "attempts": state.attempts if failing else 0,
        "failing_since": _time(state.failing_since) if failing else None,
        "next_attempt_at": _time(state.next_at) if failing else None,
    }


def _time(seconds: float | None) -> str | None:
    return None if seconds is None else format_time(datetime.fromtimestamp(seconds, UTC))


# Commands


async def create_webhook(request: web.Request) -> web.StreamResponse:
    """Make a webhook; its secret is in this answer and never again."""
    who = edge.caller(request)
    wanted = await edge.body(request, CreateWebhookRequest)
    _check_url(request, wanted.url)
    if len(edge.services(request).webhooks.known) >= WEBHOOKS_MAX:
        raise TooLargeError(f"There are {WEBHOOKS_MAX} webhooks: delete one that nobody needs.")
    command = commands.CreateWebhook(
        wanted.url, wanted.project, wanted.folder, tuple(wanted.types), tuple(wanted.labels),
        wanted.description,
    )  # fmt: skip
    return _unstored(await submit(request, who, command, followed=True))


async def change_webhook(request: web.Request) -> web.StreamResponse:
    """Change where to and of what; enable or disable."""
    who = edge.caller(request)
    wanted = await edge.body(request, WebhookPatch)
    patch = wanted.model_dump(exclude_unset=True, exclude={"reason"})
    if "url" in patch:
        _check_url(request, wanted.url)
    command = commands.ChangeWebhook(
        edge.path_id(request), patch, wanted.reason, edge.if_match(request)
    )
    return await submit(request, who, command, followed=True)


async def rotate_webhook_secret(request: web.Request) -> web.StreamResponse:
    """Sign with a new secret, which is in this answer and never again."""
    who = edge.caller(request)
    wanted = await edge.body(request, RotateRequest, optional=True)
    command = commands.RotateWebhookSecret(
        edge.path_id(request), wanted.overlap_hours, edge.if_match(request)
    )
    return _unstored(await submit(request, who, command, followed=True))


async def delete_webhook(request: web.Request) -> web.StreamResponse:
    """End a webhook for good."""
    who = edge.caller(request)
    wanted = await edge.body(request, ReasonRequest, optional=True)
    command = commands.DeleteWebhook(edge.path_id(request), wanted.reason, edge.if_match(request))
    return await submit(request, who, command, followed=True)


def _check_url(request: web.Request, url: str) -> None:
    """What will never be sent to is refused at once; every attempt looks again."""
    edge.services(request).courier.sender.guard.check_url(check_url(url))


def _unstored(response: web.Response) -> web.Response:
    response.headers["Cache-Control"] = "no-store"
    return response


# Telling


async def deliver_test(request: web.Request) -> web.StreamResponse:
    """Send a test message now, and say what came of it; nothing is kept of it."""
    known = await _known(request, edge.caller(request), PROJECT_WRITE)
    edge.no_query(request)
    services = edge.services(request)
    message = Message.test(str(uuid4()), str(known.webhook.id))
    tests = request.app[TESTS]
    if tests.locked():
        raise EdgeError(
            503, "tests_under_way", f"{TESTS_MAX} tests are under way: try again in a moment."
        )
    async with tests:
        sent = await services.courier.send(known.webhook, message)
    body = {
        "webhook_id": str(known.webhook.id), "delivered": sent.delivered, "status": sent.status,
        "error": sent.error, "seconds": round(sent.seconds, 3),
    }  # fmt: skip
    return edge.answer(body)


async def redeliver(request: web.Request) -> web.StreamResponse:
    """Tell a webhook again of everything after a position, or let it skip what lies before."""
    known = await _known(request, edge.caller(request), PROJECT_WRITE)
    edge.no_query(request)
    wanted = await edge.body(request, RedeliverRequest)
    await edge.followed(request, wanted.after, "invalid_parameter")
    services = edge.services(request)
    await edge.read(request, services.deliveries.rewind, str(known.webhook.id), wanted.after)
    items = await _items(request, [known])
    return edge.answer(items[0], status=202)


_FRESH = ("Scrinia-Min-Position",)
_CHANGE = ("If-Match",)
_ONE = "/v1/webhooks/{id}"
ROUTES = (
    Route(
        "GET", "/v1/webhooks", list_webhooks, "List webhooks", "webhooks", ACCESS_READ,
        query=WebhooksQuery, answers={200: PageAnswer}, headers=_FRESH,
    ),
    Route(
        "POST", "/v1/webhooks", create_webhook, "Create a webhook", "webhooks", PROJECT_WRITE,
        body=CreateWebhookRequest, answers={201: CommandAnswer}, command=True,
    ),
    Route(
        "GET", _ONE, get_webhook, "Read a webhook", "webhooks", ACCESS_READ,
        answers={200: ObjectAnswer}, headers=_FRESH,
    ),
    Route(
        "PATCH", _ONE, change_webhook, "Change a webhook", "webhooks", PROJECT_WRITE,
        body=WebhookPatch, answers={200: CommandAnswer}, command=True,
        headers=_CHANGE,
    ),
    Route(
        "DELETE", _ONE, delete_webhook, "Delete a webhook", "webhooks", PROJECT_WRITE,
        body=ReasonRequest, body_optional=True, answers={200: CommandAnswer}, command=True,
        headers=_CHANGE,
    ),
    Route(
        "POST", _ONE + "/rotate-secret", rotate_webhook_secret, "Rotate a secret", "webhooks",
        PROJECT_WRITE, body=RotateRequest, body_optional=True, answers={201: CommandAnswer},
        command=True, headers=_CHANGE,
    ),
    Route(
        "POST", _ONE + "/test", deliver_test, "Send a test message", "webhooks", PROJECT_WRITE,
        answers={200: ObjectAnswer}, headers=_FRESH,
    ),
    Route(
        "GET", _ONE + "/deliveries", list_deliveries, "List deliveries", "webhooks", ACCESS_READ,
        query=DeliveriesQuery, answers={200: PageAnswer}, headers=_FRESH,
    ),
    Route(
        "POST", _ONE + "/redeliver", redeliver, "Deliver again", "webhooks", PROJECT_WRITE,
        body=RedeliverRequest, answers={202: ObjectAnswer}, headers=_FRESH,
    ),
)  # fmt: skip
