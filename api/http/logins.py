"""Who may sign in, as admins see to it: login names, recovery codes, sessions, rules for all."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from aiohttp import web
from pydantic import Field

from api.http import edge
from api.http.commanding import submit
from api.http.route import Route
from api.http.schemas import (
    Answer,
    CommandAnswer,
    FreeText,
    PageAnswer,
    ReasonRequest,
    Request,
)
from domain import commands
from domain.access import ACCESS_READ, ACCESS_WRITE, REGISTRY
from domain.sign_in_commands import LOGIN_CHARS_MAX
from domain.user_session import UserSession
from ledger.ids import now
from projections.cursors import page_of


class LoginNameRequest(Request):
    """The name somebody signs in by; compared without case. Of a group: an identity provider's."""

    login: Annotated[FreeText, Field(min_length=1, max_length=LOGIN_CHARS_MAX)]


class RecoveryRequest(Request):
    """What the code lets its holder do beside setting a password."""

    second_factor: bool = Field(False, description="Go on without the second factor.")
    reason: FreeText | None = None


class SignInRulesRequest(Request):
    """What is asked of every session before it may do anything."""

    second_factor: Literal["required", "optional"]


class RecoveryAnswer(CommandAnswer):
    """The code, here and never again, and until when it counts."""

    code: str | None = None
    expires_at: datetime | None = None


class SignInRulesAnswer(Answer):
    """What is asked of every session."""

    second_factor: Literal["required", "optional"]


class SessionsQuery(Request):
    """Whose, and which page."""

    model_config = {"strict": False, "extra": "forbid"}
    principal_id: UUID | None = Field(None, description="Default: one's own.")
    limit: Annotated[int, Field(ge=1, le=500)] = 50
    cursor: str | None = None


# Names and recovery


async def set_login(request: web.Request) -> web.StreamResponse:
    """Let a person sign in by a name, or an identity provider know a group by one."""
    who = edge.caller(request)
    wanted = await edge.body(request, LoginNameRequest)
    command = commands.SetLogin(edge.path_id(request), wanted.login)
    return await submit(request, who, command, followed=True)


async def withdraw_sign_in(request: web.Request) -> web.StreamResponse:
    """Let a principal sign in no more: name, password and second factor go, sessions end."""
    who = edge.caller(request)
    wanted = await edge.body(request, ReasonRequest, optional=True)
    command = commands.WithdrawSignIn(edge.path_id(request), wanted.reason)
    return await submit(request, who, command, followed=True)


async def issue_recovery(request: web.Request) -> web.StreamResponse:
    """Hand out a one-time code to set a password with; it is in this answer and never again."""
    who = edge.caller(request)
    wanted = await edge.body(request, RecoveryRequest, optional=True)
    command = commands.IssueRecovery(edge.path_id(request), wanted.second_factor, wanted.reason)
    response = await submit(request, who, command, followed=True)
    response.headers["Cache-Control"] = "no-store"
    return response


async def remove_totp(request: web.Request) -> web.StreamResponse:
    """Ask somebody for no second factor any more."""
    who = edge.caller(request)
    wanted = await edge.body(request, ReasonRequest, optional=True)
    principal_id = edge.path_id(request)
    if str(principal_id) == who.principal_id:
        edge.services(request).access.authorise(who, ACCESS_WRITE, REGISTRY, now())
    command = commands.RemoveTotp(principal_id, None, wanted.reason)
    return await submit(request, who, command, followed=True)


# Sessions


async def list_sessions(request: web.Request) -> web.StreamResponse:
    """A page of the sessions that are not over: one's own, or somebody's with access.read."""
    who = edge.caller(request)
    wanted = edge.query(request, SessionsQuery)
    await edge.fresh_memory(request)
    view = edge.services(request).access
    whose = str(wanted.principal_id or who.principal_id)
    if whose != who.principal_id:
        view.authorise(who, ACCESS_READ, REGISTRY, now())
    sessions = {str(one.id): one for one in view.sessions_of(whose, now())}
    page, next_cursor = page_of(sorted(sessions), wanted.cursor, wanted.limit)
    items = [_session_item(sessions[one], who.token_id) for one in page]
    return edge.view_answer(request, {"items": items, "next_cursor": next_cursor}, view.position)


def _session_item(session: UserSession, own: str) -> dict[str, Any]:
    return {
        "session_id": str(session.id),
        "principal_id": session.principal_id,
        "factors": sorted(session.factors),
        "created_at": session.created_on.isoformat(),
        "refreshed_at": session.refreshed_at.isoformat(),
        "expires_at": session.expires_at.isoformat(),
        "current": str(session.id) == own,
    }


async def end_session(request: web.Request) -> web.StreamResponse:
    """End a session: one's own, or somebody's with access.write."""
    who = edge.limited_caller(request)
    command = commands.EndSession(edge.path_id(request))
    return await submit(request, who, command, followed=True)


async def revoke_sessions(request: web.Request) -> web.StreamResponse:
    """End every session of a principal: oneself, or somebody with access.write."""
    who = edge.limited_caller(request)
    wanted = await edge.body(request, ReasonRequest, optional=True)
    command = commands.RevokeSessions(edge.path_id(request), wanted.reason)
    return await submit(request, who, command, followed=True)


# Rules


async def get_sign_in_rules(request: web.Request) -> web.StreamResponse:
    """Whether sessions need a second factor before they may do anything."""
    edge.caller(request)
    edge.no_query(request)
    await edge.fresh_memory(request)
    view = edge.services(request).access
    body = {"second_factor": "required" if view.second_factor_required else "optional"}
    return edge.view_answer(request, body, view.position)


async def set_sign_in_rules(request: web.Request) -> web.StreamResponse:
    """Ask every session for a second factor, or none."""
    who = edge.caller(request)
    wanted = await edge.body(request, SignInRulesRequest)
    command = commands.SetSignInRules(wanted.second_factor == "required")
    return await submit(request, who, command, followed=True)


_FRESH = ("Scrinia-Min-Position",)
_OF = "/v1/principals/{id}"
_DONE: dict[int, Any] = {200: CommandAnswer}
ROUTES = (
    Route(
        "PUT", _OF + "/login", set_login, "Give a login name", "sign-in", ACCESS_WRITE,
        body=LoginNameRequest, answers={200: CommandAnswer, 201: CommandAnswer}, command=True,
    ),
    Route(
        "DELETE", _OF + "/login", withdraw_sign_in, "Take the login name", "sign-in",
        ACCESS_WRITE, body=ReasonRequest, body_optional=True, answers=_DONE, command=True,
    ),
    Route(
        "POST", _OF + "/recovery", issue_recovery, "Hand out a recovery code", "sign-in",
        ACCESS_WRITE, body=RecoveryRequest, body_optional=True, answers={201: RecoveryAnswer},
        command=True,
    ),
    Route(
        "DELETE", _OF + "/totp", remove_totp, "Remove somebody's second factor", "sign-in",
        ACCESS_WRITE, body=ReasonRequest, body_optional=True, answers=_DONE, command=True,
    ),
    Route(
        "DELETE", _OF + "/sessions", revoke_sessions, "End all of somebody's sessions", "sign-in",
        body=ReasonRequest, body_optional=True, answers=_DONE, command=True,
    ),
    Route(
        "GET", "/v1/sessions", list_sessions, "List sessions", "sign-in", query=SessionsQuery,
        answers={200: PageAnswer}, headers=_FRESH,
    ),
    Route(
        "DELETE", "/v1/sessions/{id}", end_session, "End a session", "sign-in",
        answers=_DONE, command=True,
    ),
    Route(
        "GET", "/v1/auth/rules", get_sign_in_rules, "Read the rules of signing in", "sign-in",
        answers={200: SignInRulesAnswer}, headers=_FRESH,
    ),
    Route(
        "PUT", "/v1/auth/rules", set_sign_in_rules, "Set the rules of signing in", "sign-in",
        ACCESS_WRITE, body=SignInRulesRequest, answers={200: CommandAnswer, 201: CommandAnswer},
        command=True,
    ),
)  # fmt: skip
