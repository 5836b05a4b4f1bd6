"""What takes two people: the rules of it, asking for it, agreeing, and doing it."""

from collections.abc import Iterator
from typing import Annotated, Any

from aiohttp import web
from pydantic import Field, WithJsonSchema

from api.http import edge
from api.http.access import issue_command, view_at
from api.http.access_schemas import (
    GiveGrantRequest,
    IssueTokenRequest,
    PermissionName,
)
from api.http.commanding import submit
from api.http.logins import LoginNameRequest, RecoveryRequest
from api.http.problems import EdgeError
from api.http.route import Route
from api.http.schemas import (
    Answer,
    CommandAnswer,
    FreeText,
    Id,
    LabelName,
    ObjectAnswer,
    PageAnswer,
    Request,
)
from api.http.texts import add_names, text_in, texts_of
from domain import access, commands
from domain.access import ACCESS_READ, ACCESS_WRITE
from domain.access_request import REQUEST_STATUSES, AccessRequest, RequestStatus
from domain.access_rules import PROTECTED_MAX, Protected
from domain.errors import Fault
from domain.second_person import ACTIONS, Intent
from ledger.ids import now
from projections.cursors import page_of


class ProtectedRequest(Request):
    """A permission that one person alone gives to nobody; `environment`: in that one only."""

    permission: PermissionName
    environment: LabelName | None = None


class AccessRulesRequest(Request):
    """All of what takes two people to give, `access.write` among it; an empty list: nothing."""

    second_person: Annotated[list[ProtectedRequest], Field(max_length=PROTECTED_MAX)]


class AccessRulesAnswer(Answer):
    """What takes two people to give."""

    second_person: list[dict[str, Any]]


class AccessRulesQuery(Request):
    """At which moment (default: now)."""

    as_of: str | None = Field(None, description="A ledger position or an RFC 3339 time.")


class MembershipRequest(Request):
    """Who is to be in which group."""

    principal_id: Id
    group_id: Id


class LoginRequest(LoginNameRequest):
    """By which name a principal is to sign in."""

    principal_id: Id


class RecoveryForRequest(RecoveryRequest):
    """For whom a recovery code is to be handed out."""

    principal_id: Id


class AskRequest(Request):
    """What is asked for, in the form of the command that does it: exactly one."""

    grant: GiveGrantRequest | None = None
    membership: MembershipRequest | None = None
    token: IssueTokenRequest | None = None
    login: LoginRequest | None = None
    recovery: RecoveryForRequest | None = None
    rules: AccessRulesRequest | None = None
    reason: FreeText | None = Field(None, description="Why, for who is to agree.")


class CommentRequest(Request):
    """What there is to say to it."""

    comment: FreeText | None = None


class AccessRequestCommandAnswer(CommandAnswer):
    """The request, and what became of it."""

    request_id: str
    action: Annotated[str, WithJsonSchema({"enum": list(ACTIONS)})]
    status: Annotated[str, WithJsonSchema({"enum": list(REQUEST_STATUSES)})]


class AccessRequestsQuery(Request):
    """Which requests, oldest first, which page."""

    model_config = {"strict": False, "extra": "forbid"}
    status: RequestStatus | None = None
    awaiting: Annotated[str, Field(pattern="^me$")] | None = Field(
        None, description="Only what the caller may approve, or has asked for and may apply."
    )
    limit: Annotated[int, Field(ge=1, le=500)] = 50
    cursor: str | None = None


# Rules


async def get_access_rules(request: web.Request) -> web.StreamResponse:
    """What takes two people to give, now or as of a moment."""
    edge.caller(request)
    wanted = edge.query(request, AccessRulesQuery)
    await edge.fresh_memory(request)
    view, _ = await view_at(request, wanted.as_of)
    body = {"second_person": [one.as_data() for one in view.second_person]}
    return edge.view_answer(request, body, view.position)


async def set_access_rules(request: web.Request) -> web.StreamResponse:
    """Have one person alone give these permissions to nobody."""
    who = edge.caller(request)
    wanted = await edge.body(request, AccessRulesRequest)
    return await submit(request, who, _rules(request, wanted), followed=True)


def _rules(request: web.Request, wanted: AccessRulesRequest) -> commands.SetAccessRules:
    protected = tuple(Protected(one.permission, one.environment) for one in wanted.second_person)
    return commands.SetAccessRules(protected, edge.services(request).access.admins())


# Requests


async def request_access(request: web.Request) -> web.StreamResponse:
    """Ask for what takes a second person; it is checked as if it were done now."""
    who = edge.caller(request)
    wanted = await edge.body(request, AskRequest)
    given = list(_wanted(request, wanted))
    if len(given) != 1:
        detail = "name exactly one of grant, membership, token, login, recovery, rules"
        fault = Fault("/grant", "contradiction", detail)
        raise EdgeError(422, "invalid_request", f"{detail.capitalize()}.", [fault])
    command = commands.RequestAccess(given[0], wanted.reason)
    return await submit(request, who, command, followed=True)


def _wanted(request: web.Request, wanted: AskRequest) -> Iterator[commands.Wanted]:
    """The commands that a body names."""
    if wanted.grant is not None:
        yield commands.GiveGrant(**dict(wanted.grant))
    if wanted.membership is not None:
        yield commands.JoinGroup(**dict(wanted.membership))
    if wanted.token is not None:
        yield issue_command(wanted.token)
    if wanted.login is not None:
        yield commands.SetLogin(**dict(wanted.login))
    if wanted.recovery is not None:
        yield commands.IssueRecovery(**dict(wanted.recovery))
    if wanted.rules is not None:
        yield _rules(request, wanted.rules)


async def approve_access(request: web.Request) -> web.StreamResponse:
    """Agree to what somebody else asked for."""
    who = edge.caller(request)
    wanted = await edge.body(request, CommentRequest, optional=True)
    command = commands.ApproveAccess(edge.path_id(request), wanted.comment)
    return await submit(request, who, command, followed=True)


async def reject_access(request: web.Request) -> web.StreamResponse:
    """Say no to what somebody asked for, or take back what one asked for oneself."""
    who = edge.caller(request)
    wanted = await edge.body(request, CommentRequest, optional=True)
    command = commands.RejectAccess(edge.path_id(request), wanted.comment)
    return await submit(request, who, command, followed=True)


async def apply_access(request: web.Request) -> web.StreamResponse:
    """Do what one asked for and somebody agreed to; answers as the command for it does."""
    who = edge.caller(request)
    admins = edge.services(request).access.admins()
    command = commands.ApplyAccess(edge.path_id(request), admins)
    response = await submit(request, who, command, followed=True)
    response.headers["Cache-Control"] = "no-store"
    return response


async def list_access_requests(request: web.Request) -> web.StreamResponse:
    """A page of what one asked for, and of what one may see or give."""
    who = edge.caller(request)
    wanted = edge.query(request, AccessRequestsQuery)
    await edge.fresh_memory(request)
    view = edge.services(request).access
    rights, at = view.rights(who, now()), now()
    visible = {
        str(one.id): one
        for one in view.requests.values()
        if wanted.status in (None, one.status(at)) and _may_see(rights, who, one)
        if wanted.awaiting is None or _awaits(rights, who, one)
    }
    page, next_cursor = page_of(sorted(visible), wanted.cursor, wanted.limit)
    items = await _described(request, [visible[one] for one in page])
    return edge.view_answer(request, {"items": items, "next_cursor": next_cursor}, view.position)


async def get_access_request(request: web.Request) -> web.StreamResponse:
    """One request; for who asked for it, and who may see or give what it is about."""
    who = edge.caller(request)
    edge.no_query(request)
    await edge.fresh_memory(request)
    view, request_id = edge.services(request).access, edge.path_id(request)
    one = view.requests.get(request_id)
    if one is None or not _may_see(view.rights(who, now()), who, one):
        raise access.not_found(access.access_request_resource(str(request_id)))
    return edge.view_answer(request, (await _described(request, [one]))[0], view.position)


def _may_see(rights: access.Rights, who: access.Caller, one: AccessRequest) -> bool:
    place = Intent.of(one).place
    return one.asked_by == who.principal_id or any(
        access.permitted(rights, permission, place, now()).allowed
        for permission in (ACCESS_READ, ACCESS_WRITE)
    )


def _awaits(rights: access.Rights, who: access.Caller, one: AccessRequest) -> bool:
    if one.asked_by == who.principal_id:
        return one.status(now()) == "approved"
    place = Intent.of(one).place
    may = access.permitted(rights, ACCESS_WRITE, place, now()).allowed
    return may and one.status(now()) == "open"


async def _described(request: web.Request, shown: list[AccessRequest]) -> list[dict[str, Any]]:
    texts = await texts_of(request, (ref for one in shown for ref in (one.reason, one.text)))
    items: list[dict[str, Any]] = [
        {
            "request_id": str(one.id),
            "action": one.action,
            "status": one.status(now()),
            "details": {name: told for name, told in one.intent.items() if name != "login_id"},
            "text": text_in(texts, one.text),
            "reason": text_in(texts, one.reason),
            "asked_by": one.asked_by,
            "asked_at": one.asked_at.isoformat(),
            "lapses_at": one.lapses_at.isoformat(),
            "approved_by": one.approved_by,
            "rejected_by": one.rejected_by,
        }
        for one in shown
    ]
    await add_names(request, items, "asked_by", "approved_by", "rejected_by")
    await add_names(request, [item["details"] for item in items], "principal_id", "group_id")
    return items


_FRESH = ("Scrinia-Min-Position",)
_ONE = "/v1/access/requests/{id}"
_DONE: dict[int, Any] = {200: AccessRequestCommandAnswer}
ROUTES = (
    Route(
        "GET", "/v1/access/rules", get_access_rules, "Read what takes two people", "access",
        query=AccessRulesQuery, answers={200: AccessRulesAnswer}, headers=_FRESH,
    ),
    Route(
        "PUT", "/v1/access/rules", set_access_rules, "Set what takes two people", "access",
        ACCESS_WRITE, body=AccessRulesRequest, answers={200: CommandAnswer, 201: CommandAnswer},
        command=True,
    ),
    Route(
        "POST", "/v1/access/requests", request_access, "Ask for access", "access", ACCESS_WRITE,
        body=AskRequest, answers={201: AccessRequestCommandAnswer}, command=True,
    ),
    Route(
        "GET", "/v1/access/requests", list_access_requests, "List access requests", "access",
        query=AccessRequestsQuery, answers={200: PageAnswer}, headers=_FRESH,
    ),
    Route(
        "GET", _ONE, get_access_request, "Read an access request", "access",
        answers={200: ObjectAnswer}, headers=_FRESH,
    ),
    Route(
        "POST", _ONE + "/approve", approve_access, "Approve an access request", "access",
        ACCESS_WRITE, body=CommentRequest, body_optional=True, answers=_DONE, command=True,
    ),
    Route(
        "POST", _ONE + "/reject", reject_access, "Reject an access request", "access",
        ACCESS_WRITE, body=CommentRequest, body_optional=True, answers=_DONE, command=True,
    ),
    Route(
        "POST", _ONE + "/apply", apply_access, "Apply an access request", "access", ACCESS_WRITE,
        answers={200: CommandAnswer, 201: CommandAnswer}, command=True,
    ),
)  # fmt: skip
