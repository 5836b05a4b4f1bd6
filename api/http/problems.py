"""The one place where refusals become HTTP: problem+json (RFC 9457) with stable codes.

The table is matched from the top; what is in no table is a 500 whose text stays in the log.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson
from aiohttp import web
from pydantic import ValidationError

from api.http.scim_schemas import SCIM_ERROR, SCIM_MEDIA_TYPE
from domain import errors as domain
from domain.errors import Fault
from ledger import errors as ledger
from projections import errors as projections

RETRY_AFTER_SECONDS = 1

STATUSES: tuple[tuple[type[Exception], int], ...] = (
    (domain.MalformedError, 400),
    (domain.UnauthenticatedError, 401),
    (domain.ForbiddenError, 403),
    (domain.NotFoundError, 404),
    (domain.ConflictError, 409),
    (domain.ErasedError, 410),
    (domain.PreconditionFailedError, 412),
    (domain.TooLargeError, 413),
    (domain.InvalidError, 422),
    (domain.SignInLockedError, 429),
    (ledger.IdempotencyMismatchError, 422),
    (ledger.PayloadTooLargeError, 413),
    (ledger.LedgerBusyError, 503),
    (ledger.LedgerUnavailableError, 503),
    (ledger.LedgerClosedError, 503),
    (ledger.ClosedError, 503),
    (ledger.StoreUnreachableError, 503),
    (ledger.KeyRetiredError, 503),
    (ledger.TamperedError, 503),
    (projections.NotCaughtUpError, 503),
    (projections.RefusedAddressError, 422),
    (projections.InvalidCursorError, 400),
    (projections.InvalidQueryError, 400),
    (projections.UnknownProjectionError, 404),
)


class EdgeError(Exception):
    """A request that did not reach the domain: a status, a stable code, what to do."""

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        faults: Iterable[Fault] = (),
        facts: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.detail = detail
        self.faults = tuple(faults)
        self.facts = facts or {}


EDGE_CODES: Mapping[str, tuple[int, str]] = {
    "malformed_json": (400, "The body is not JSON."),
    "malformed_body": (400, "The body does not arrive as its headers say."),
    "invalid_request": (422, "The body does not have the documented form."),
    "invalid_parameter": (400, "A parameter is unknown, malformed or contradicts another."),
    "invalid_header": (400, "A header is malformed."),
    "unsupported_media_type": (415, "The body's media type is not accepted here."),
    "body_too_large": (413, "The body is larger than the server takes."),
    "route_not_found": (404, "There is no such route."),
    "method_not_allowed": (405, "The route does not have this method."),
    "tests_under_way": (503, "As many test messages as there may be are being sent."),
    "cross_origin": (403, "A cookie came with a page of somebody else."),
    "invalid_filter": (400, "The filter cannot be understood."),
    "invalid_path": (400, "The path names nothing that can be changed."),
    "too_many_requests": (429, "More requests than there may be."),
    "no_provider": (404, "There is no identity provider."),
    "provider_unavailable": (503, "The identity provider does not answer as it should."),
    "sign_in_busy": (503, "As many passwords as may be are being checked."),
    "internal": (500, "Something went wrong in the server; its log knows more."),
}


@dataclass(frozen=True)
class ProblemDetails:
    """What a problem says."""

    status: int
    code: str
    title: str
    detail: str
    faults: tuple[Fault, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)

    def as_json(self, request_id: str) -> dict[str, Any]:
        """RFC 9457 members, `code`, `errors`, `request_id` and the facts of the refusal."""
        return {
            **self.facts,
            "type": f"/docs/errors#{self.code}",
            "title": self.title,
            "status": self.status,
            "code": self.code,
            "detail": self.detail,
            "request_id": request_id,
            "errors": [
                {"pointer": f.pointer, "code": f.code, "detail": f.detail} for f in self.faults
            ],
        }


def problem_of(error: Exception) -> ProblemDetails:
    """What an exception means to the client."""
    if isinstance(error, EdgeError):
        title = EDGE_CODES[error.code][1]
        return ProblemDetails(
            error.status, error.code, title, error.detail, error.faults, error.facts
        )
    if isinstance(error, web.HTTPException):
        return _router_problem(error)
    for kind, status in STATUSES:
        if isinstance(error, kind):
            return ProblemDetails(
                status,
                error.code,  # type: ignore[attr-defined]
                error.title,  # type: ignore[attr-defined]
                error.detail,  # type: ignore[attr-defined]
                getattr(error, "faults", ()),
                getattr(error, "facts", {}),
            )
    title = EDGE_CODES["internal"][1]
    return ProblemDetails(
        500, "internal", title, "Report the request_id to whoever runs the server."
    )


def _router_problem(error: web.HTTPException) -> ProblemDetails:
    code, detail = {
        404: ("route_not_found", "See /docs for the routes there are."),
        405: ("method_not_allowed", "See the Allow header for the methods there are."),
        413: ("body_too_large", "Send a smaller body."),
        415: ("unsupported_media_type", "Send application/json."),
    }.get(error.status, ("malformed_json", error.reason))
    status = error.status if error.status in (404, 405, 413, 415) else 400
    return ProblemDetails(status, code, EDGE_CODES[code][1], detail)


def validation_problem(error: ValidationError) -> EdgeError:
    """Pydantic's findings as an EdgeError: 400 where it is no JSON, else 422 with all of them."""
    found = error.errors(include_url=False, include_context=False, include_input=False)
    if found and found[0]["type"] == "json_invalid":
        return EdgeError(400, "malformed_json", f"The body is not JSON: {found[0]['msg']}.")
    faults = [
        Fault("/" + "/".join(str(part) for part in f["loc"]), f["type"], f["msg"]) for f in found
    ]
    detail = f"{faults[0].pointer}: {faults[0].detail}."
    return EdgeError(422, "invalid_request", detail, faults)


def problem_response(
    details: ProblemDetails, request_id: str, headers: Mapping[str, str] | None = None
) -> web.Response:
    """A problem as an answer."""
    response = web.Response(
        status=details.status,
        body=orjson.dumps(details.as_json(request_id)),
        content_type="application/problem+json",
        headers=headers,
    )
    if details.status == 401:
        response.headers["WWW-Authenticate"] = "Bearer"
    if details.status in (429, 503):
        seconds = details.facts.get("retry_after_seconds", RETRY_AFTER_SECONDS)
        response.headers["Retry-After"] = str(seconds)
    return response


def scim_response(
    details: ProblemDetails, request_id: str, headers: Mapping[str, str] | None = None
) -> web.Response:
    """A problem as RFC 7644 section 3.12 has it: what cannot be understood is 400 there."""
    response = problem_response(details, request_id, headers)
    status = 400 if details.status == 422 else details.status
    response.set_status(status)
    error = {
        "schemas": [SCIM_ERROR], "status": str(status), "detail": details.detail,
        "scimType": _SCIM_TYPES.get(details.code),
    }  # fmt: skip
    response.body = orjson.dumps({name: value for name, value in error.items() if value})
    response.content_type = SCIM_MEDIA_TYPE
    return response


_SCIM_TYPES = {
    "name_taken": "uniqueness", "invalid_filter": "invalidFilter", "malformed_json":
    "invalidSyntax", "invalid_request": "invalidValue", "invalid": "invalidValue",
    "invalid_path": "invalidPath", "principal_inactive": "mutability",
}  # fmt: skip


def documented_codes() -> dict[str, tuple[int, str]]:
    """Every code a client can meet: its status and title, for `/docs/errors`."""
    codes = dict(EDGE_CODES)
    for root in (domain.DomainError, ledger.LedgerError, projections.ProjectionError):
        for kind in _subclasses(root):
            for base, status in STATUSES:
                if issubclass(kind, base):
                    title = (kind.__doc__ or "").strip().splitlines()[0]
                    codes.setdefault(kind.code, (status, title))  # type: ignore[attr-defined]
                    break
    return codes


def _subclasses(kind: type[Any]) -> Iterable[type[Any]]:
    for subclass in kind.__subclasses__():
        yield subclass
        yield from _subclasses(subclass)
