"""The edge: what every request goes through, and how handlers read and answer.

One middleware gives the request its id, counts it, and turns every refusal into a problem. The
functions below parse what arrives (unknown things are refused) and build answers.
"""

import asyncio
import logging
import re
import zlib
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import UUID

import orjson
from aiohttp import web
from pydantic import BaseModel, ValidationError

from api.http.counting import Latencies, RequestIds
from api.http.limits import RateLimit, Taken
from api.http.moments import parse_rfc3339
from api.http.problems import (
    EdgeError,
    ProblemDetails,
    problem_of,
    problem_response,
    scim_response,
    validation_problem,
)
from api.http.scim_schemas import SCIM_MEDIA_TYPE
from api.http.services import SERVICES, Services
from api.logs import SECURITY
from domain.access import Caller, Rights
from domain.addresses import is_within
from domain.content import PromptContent
from domain.errors import Fault, UnauthenticatedError
from domain.names import check_label, check_project_name, check_prompt_name
from ledger.ids import now
from projections.errors import NotCaughtUpError

if TYPE_CHECKING:
    from api.telemetry import Telemetry  # of an extra that need not be there

log = logging.getLogger("scrinia.http")

MIN_POSITION_WAIT_SECONDS = 5.0
CALLER_WAIT_SECONDS = 1.0
CONTENT_INLINE_BYTES = 32 * 1024
PATH_LOGGED_MAX = 512
SCIM = "/scim/"
BODY_MEDIA_TYPES = ("application/json", "application/merge-patch+json", SCIM_MEDIA_TYPE)
UNLIMITED = ("/healthz", "/readyz")
ACCESS_COOKIE = "__Host-scrinia"
CALLER: web.RequestKey[Caller] = web.RequestKey("caller", Caller)
REQUEST_ID: web.RequestKey[str] = web.RequestKey("request_id", str)
_ETAG = re.compile(r'"([0-9]{1,18})"')

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
ModelT = TypeVar("ModelT", bound=BaseModel)
T = TypeVar("T")


class Edge:
    """The middleware and its counters: requests by (method, route, status), command latencies."""

    def __init__(
        self, telemetry: "Telemetry | None", requests: RateLimit | None, refusals: RateLimit
    ) -> None:
        self._ids = RequestIds()
        self._requests_limit = requests
        self._refusals_limit = refusals
        self.telemetry = telemetry
        self.requests: Counter[tuple[str, str, int]] = Counter()
        self.commands = Latencies()

    @web.middleware
    async def middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Give an id, answer or refuse, count; in a span where somebody traces."""
        if self.telemetry is None:
            return await self._handle(request, handler)
        with self.telemetry.request(request) as span:
            response = await self._handle(request, handler)
            self.telemetry.answered(span, response.status)
            return response

    async def _handle(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        request_id = self._ids.next(request.headers.get("X-Request-Id"))
        request[REQUEST_ID] = request_id
        taken = self._taken(request)
        try:
            if taken is not None and not taken.allowed:
                raise _too_many(taken)
            if "Scrinia-Min-Position" in request.headers:
                await _meet_caller(request)
            response = await handler(request)
        except Exception as error:
            response = self._refuse(request, error, request_id)
        if not response.prepared:
            response.headers["X-Request-Id"] = request_id
            if taken is not None:
                response.headers.update(taken.headers)
        resource = request.match_info.route.resource
        route = resource.canonical if resource is not None else "none"
        self.requests[request.method, route, response.status] += 1
        return response

    def _taken(self, request: web.Request) -> Taken | None:
        """One more request of a credential, of an address where none is shown; None: no limit."""
        if self._requests_limit is None or request.path in UNLIMITED:
            return None
        shown = request.headers.get("Authorization", "").partition(" ")[2].strip()
        if _by_cookie(request):
            shown = request.cookies[ACCESS_COOKIE]
        known = shown.isascii() and services(request).access.knows(shown)
        return self._requests_limit.take(shown if known else address_of(request) or "")

    def _refuse(self, request: web.Request, error: Exception, request_id: str) -> web.Response:
        details = problem_of(error)
        if details.status == 401:
            taken = self._refusals_limit.take(address_of(request) or "")
            if not taken.allowed:
                details = problem_of(_too_many(taken))
        if details.status == 500:
            log.error(
                "request %s failed", request_id, exc_info=error, extra={"request_id": request_id}
            )
        if details.status in (401, 403, 429):
            _tell_refusal(request, details)
        headers = {}
        if isinstance(error, web.HTTPMethodNotAllowed):
            headers["Allow"] = error.headers["Allow"]
        if request.path.startswith(SCIM):
            return scim_response(details, request_id, headers)
        return problem_response(details, request_id, headers)


def _too_many(taken: Taken) -> EdgeError:
    return EdgeError(
        429, "too_many_requests",
        f"More than {taken.limit} a minute: wait {taken.seconds} seconds.",
        facts={"retry_after_seconds": taken.seconds},
    )  # fmt: skip


def _tell_refusal(request: web.Request, details: ProblemDetails) -> None:
    """For the log and the SIEM: who was refused what, from where; never with which token."""
    caller = request.get(CALLER)
    facts = {
        "action": details.code, "method": request.method, "path": request.path[:PATH_LOGGED_MAX],
        "remote": address_of(request), "principal": caller.principal_id if caller else None,
        "request_id": request[REQUEST_ID], **details.facts,
    }  # fmt: skip
    SECURITY.info(
        "%s: %s %s from %s", details.code, facts["method"], facts["path"], facts["remote"],
        extra=facts,
    )  # fmt: skip
    if (refusals := services(request).refusals) is not None:
        refusals.tell(details.code, facts)


EDGE: web.AppKey[Edge] = web.AppKey("edge", Edge)


def services(request: web.Request) -> Services:
    """The running parts."""
    return request.app[SERVICES]


# Reading


def caller(request: web.Request) -> Caller:
    """Who asks; UnauthenticatedError where the token is missing or counts for nobody."""
    view, moment = services(request).access, now()
    found = view.caller_with(bearer(request))
    standing = view.rights(found, moment)
    request[CALLER] = found
    _admit(request, standing, moment)
    return found


def limited_caller(request: web.Request) -> Caller:
    """As `caller`, for what may be done in a session without the second factor too."""
    view, moment = services(request).access, now()
    found = view.caller_with(bearer(request))
    standing = view.check_limited(found, moment)
    request[CALLER] = found
    _admit(request, standing, moment)
    return found


def rights(request: web.Request, moment: datetime) -> Rights:
    """The standing a token gives where it is used: the path of every hot read."""
    view = services(request).access
    request[CALLER] = who = view.caller_with(bearer(request))
    found = view.rights(who, moment)
    _admit(request, found, moment)
    return found


def _admit(request: web.Request, found: Rights, moment: datetime) -> None:
    """Note a token's use; UnauthenticatedError where it does not count from this address."""
    parts = services(request)
    if parts.follower.silence_seconds > parts.door.max_staleness_seconds:
        raise NotCaughtUpError(
            "The database is away for so long that nobody can tell whether this token still counts."
        )
    token = found.token
    if token is None:
        return
    if token.networks is not None and not token.admits(address_of(request)):
        raise UnauthenticatedError("This token counts from other addresses only.")
    if not token.of_session:
        parts.token_uses.note(token.id, moment)


def address_of(request: web.Request) -> str | None:
    """Where a request comes from: the last hop that is no proxy of one's own."""
    address, proxies = request.remote, services(request).proxies
    told = request.headers.getall("X-Forwarded-For", ()) if proxies else ()
    hops = [_without_port(hop.strip()) for line in told for hop in line.split(",") if hop.strip()]
    while hops and is_within(address, proxies):
        address = hops.pop()
    return address


def _without_port(hop: str) -> str:
    """The address of `192.0.2.1:4711` and `[2001:db8::1]:4711`, as some proxies write them."""
    if hop.startswith("["):
        return hop[1:].partition("]")[0]
    return hop.partition(":")[0] if hop.count(":") == 1 else hop


async def _meet_caller(request: web.Request) -> None:
    """A token issued elsewhere a moment ago: wait for it where the client says how far to read.

    Without a look at the database, since nobody knows yet who asks.
    """
    wanted = min_position(request)
    follower = services(request).follower
    if wanted is None or follower.position >= wanted:
        return
    if "Authorization" not in request.headers and not _by_cookie(request):
        return
    if not services(request).access.knows(bearer(request)):
        await follower.wait_beyond(wanted - 1, CALLER_WAIT_SECONDS)


def bearer(request: web.Request) -> str:
    """The token in the Authorization header, or in a browser's cookie; UnauthenticatedError.

    With a cookie, what changes anything has to come from a page of this server: EdgeError 403.
    """
    if _by_cookie(request):
        check_origin(request)
        return request.cookies[ACCESS_COOKIE]
    scheme, _, secret = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not secret or not secret.isascii():
        raise UnauthenticatedError("Send 'Authorization: Bearer scr_…'.")
    return secret.strip()


def _by_cookie(request: web.Request) -> bool:
    cookie = request.cookies.get(ACCESS_COOKIE, "") if "Cookie" in request.headers else ""
    return "Authorization" not in request.headers and bool(cookie) and cookie.isascii()


def check_origin(request: web.Request) -> None:
    """EdgeError 403 where a browser sends a cookie from a page of somebody else.

    By the header Origin, which browsers send with everything but GET and HEAD; beside it SameSite
    keeps the cookie from being sent at all.
    """
    if request.method in ("GET", "HEAD"):
        return
    origin = request.headers.get("Origin", "").lower()
    scheme, _, host = origin.partition("://")
    own = services(request).door.public_origin or f"{scheme or 'http'}://{request.host.lower()}"
    if origin != own or not host:
        raise EdgeError(
            403,
            "cross_origin",
            f"With a cookie, commands come from pages of this server: 'Origin: {own}'.",
        )


def ledger_uuid(request: web.Request) -> UUID:
    """The ledger's id."""
    return UUID(services(request).ledger_id)


def path_id(request: web.Request, name: str = "id") -> UUID:
    """The id in the path; EdgeError 400 where it is no UUID."""
    try:
        return UUID(request.match_info[name])
    except ValueError:
        raise EdgeError(400, "invalid_parameter", "An id is a UUID.") from None


def project_name(request: web.Request) -> str:
    """The project in the path; InvalidNameError where it cannot be one."""
    return check_project_name(request.match_info["project"])


def prompt_name(request: web.Request) -> str:
    """The prompt in the path; InvalidNameError where it cannot be one."""
    return check_prompt_name(request.match_info["name"])


def check_path(request: web.Request) -> None:
    """InvalidNameError unless the path names what can be a project and a prompt."""
    project_name(request)
    prompt_name(request)


def label_name(request: web.Request, *, reserved: bool = False) -> str:
    """The label in the path; InvalidNameError where it cannot be one."""
    return check_label(request.match_info["label"], reserved=reserved)


async def body(request: web.Request, model: type[ModelT], *, optional: bool = False) -> ModelT:
    """The body as `model`. EdgeError: 400 no JSON, 415 another media type, 422 another form."""
    raw = await read_body(request)
    if not raw and optional:
        return model()
    if request.content_type not in BODY_MEDIA_TYPES:
        raise EdgeError(415, "unsupported_media_type", "Send application/json.")
    try:
        return model.model_validate_json(raw)
    except ValidationError as error:
        raise validation_problem(error) from None


async def read_body(request: web.Request) -> bytes:
    """The body; EdgeError 400 where it does not arrive as its headers say."""
    try:
        return await request.read()
    except (web.RequestPayloadError, zlib.error) as error:
        raise EdgeError(
            400, "malformed_body", f"The body does not arrive as its headers say: {error}."
        ) from None


async def content(request: web.Request, value: Any, *, declare: bool) -> PromptContent:
    """A checked content; a long one is checked in the reader threads, so that nobody waits."""
    parse = partial(PromptContent.parse, value, declare=declare)
    if len(await request.read()) <= CONTENT_INLINE_BYTES:
        return parse()
    return await read(request, parse)


def query(request: web.Request, model: type[ModelT]) -> ModelT:
    """The query as `model`; EdgeError 400 for unknown, repeated or malformed parameters."""
    given: dict[str, Any] = {}
    lists = {n for n, f in model.model_fields.items() if "list[" in str(f.annotation)}
    for name in request.query:
        values = request.query.getall(name)
        if name not in lists and len(values) > 1:
            raise EdgeError(400, "invalid_parameter", f"Give {name} once.")
        if any("\0" in value for value in values):
            raise EdgeError(400, "invalid_parameter", f"{name} holds a NUL character.")
        given[name] = values if name in lists else values[0]
    try:
        return model.model_validate(given)
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False, include_input=False)
        faults = [Fault("/".join(str(p) for p in f["loc"]), f["type"], f["msg"]) for f in found]
        detail = f"{faults[0].pointer}: {faults[0].detail}."
        raise EdgeError(400, "invalid_parameter", detail, faults) from None


def no_query(request: web.Request) -> None:
    """EdgeError 400 where a route without parameters is given some."""
    if request.query_string:
        raise EdgeError(400, "invalid_parameter", "This route takes no query parameters.")


def if_match(request: web.Request) -> int | None:
    """The ETag in `If-Match` as a stream position; -1 where it can match nothing."""
    header = request.headers.get("If-Match")
    if header is None or header.strip() == "*":
        return None
    found = _ETAG.fullmatch(header.strip())
    return int(found.group(1)) if found else -1


def min_position(request: web.Request) -> int | None:
    """`Scrinia-Min-Position`; EdgeError 400 where it is no position."""
    header = request.headers.get("Scrinia-Min-Position")
    if header is None:
        return None
    if not header.isascii() or not header.isdecimal() or len(header) > 18:
        raise EdgeError(400, "invalid_header", "Scrinia-Min-Position is a ledger position.")
    return int(header)


async def fresh_memory(request: web.Request) -> None:
    """Wait until the in-memory views have what `Scrinia-Min-Position` asks for."""
    wanted = min_position(request)
    if wanted is not None:
        await followed(request, wanted, "invalid_header")


async def followed(request: web.Request, position: int, code: str) -> None:
    """Wait until this server has read a position: a client may know one that it has not yet.

    EdgeError 400 with `code` where the ledger has no such position; NotCaughtUpError.
    """
    follower = services(request).follower
    if follower.position >= position:
        return
    await _check_exists(request, position, code)
    if not await follower.wait_beyond(position - 1, MIN_POSITION_WAIT_SECONDS):
        raise NotCaughtUpError(
            f"This server has read {follower.position}, not yet {position}: try again."
        )


async def _check_exists(request: web.Request, position: int, code: str) -> None:
    head = await read(request, services(request).recorder.head)
    if position > head:
        raise EdgeError(400, code, f"Position {position} is beyond the ledger's head, {head}.")


async def fresh_view(request: web.Request, name: str) -> None:
    """Wait until a SQL view has what `Scrinia-Min-Position` asks for."""
    wanted = min_position(request)
    runner = services(request).runner
    if wanted is not None and runner.positions[name] < wanted:
        await _check_exists(request, wanted, "invalid_header")
        await runner.wait_for(name, wanted, MIN_POSITION_WAIT_SECONDS)


async def caught_up_view(request: web.Request, name: str) -> None:
    """Wait until a SQL view has what the ledger has now; NotCaughtUpError."""
    head = await read(request, services(request).recorder.head)
    if services(request).runner.positions[name] < head:
        await services(request).runner.wait_for(name, head, MIN_POSITION_WAIT_SECONDS)


async def read(request: web.Request, work: Callable[..., T], *args: Any) -> T:
    """Run a blocking read in the reader threads."""
    loop = asyncio.get_running_loop()
    return await loop.run_in_executor(services(request).readers, work, *args)


# Answering


def answer(
    value: Any, *, status: int = 200, headers: Mapping[str, str] | None = None
) -> web.Response:
    """A JSON answer."""
    return web.Response(
        status=status,
        body=orjson.dumps(value),
        content_type="application/json",
        headers=headers,
    )


def view_answer(request: web.Request, value: Any, position: int, **headers: str) -> web.Response:
    """A JSON answer of a view that has read as far as `position`."""
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    return answer(
        value, headers={"Scrinia-Position": str(position), "Cache-Control": "no-cache", **named}
    )


def parse_moment(text: str) -> int | datetime:
    """`as_of`: a position or an RFC 3339 time; EdgeError 400 where it is neither."""
    if text.isascii() and text.isdecimal() and len(text) <= 18:
        return int(text)
    try:
        return parse_rfc3339(text.replace(" ", "+"))
    except ValueError:
        raise EdgeError(
            400, "invalid_parameter", "as_of is a ledger position or an RFC 3339 time."
        ) from None
