"""Signing in and out: password and second factor, sessions, and what people change of their own."""

import hmac
import logging
from datetime import datetime
from secrets import token_hex
from typing import Annotated, Any
from urllib.parse import quote
from uuid import UUID

from aiohttp import web
from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.twofactor.hotp import HOTP
from pydantic import AfterValidator, Field, WithJsonSchema

from api.http import edge
from api.http.commanding import commit, submit
from api.http.passwords import PASSWORD_CHARS_MAX, PASSWORD_CHARS_MIN
from api.http.route import Route
from api.http.schemas import Answer, CommandAnswer, FreeText, Request
from api.http.texts import text_in, texts_of
from api.http.tries import came_in, count_try
from domain import commands
from domain.access import VIA_SESSION, Caller, check_whole
from domain.credential import PASSWORD
from domain.errors import (
    ConflictError,
    InvalidCredentialsError,
    SessionOverError,
    UnauthenticatedError,
)
from domain.granting import hash_secret
from domain.session_commands import NO_ENTRY
from domain.sign_in import SignIn
from domain.sign_in_commands import LOGIN_CHARS_MAX
from domain.sign_in_secrets import base32, fold_login, recovery_code_text
from ledger.batch import Outcome
from ledger.ids import now

log = logging.getLogger("scrinia.sign-in")

REFRESH_COOKIE = "__Host-scrinia-refresh"
TOTP_DIGITS = 6
TOTP_STEP_SECONDS = 30
TOTP_STEPS_ASIDE = 1  # RFC 6238 section 5.2: one step for clocks and slow fingers

LoginText = Annotated[FreeText, Field(min_length=1, max_length=LOGIN_CHARS_MAX)]
OldPassword = Annotated[FreeText, Field(min_length=1, max_length=PASSWORD_CHARS_MAX)]


def _is_long_enough(password: str) -> str:
    if not PASSWORD_CHARS_MIN <= len(password) <= PASSWORD_CHARS_MAX:
        raise ValueError(f"a password has {PASSWORD_CHARS_MIN} to {PASSWORD_CHARS_MAX} characters")
    return password


NewPassword = Annotated[
    FreeText,
    AfterValidator(_is_long_enough),
    WithJsonSchema(
        {"type": "string", "minLength": PASSWORD_CHARS_MIN, "maxLength": PASSWORD_CHARS_MAX}
    ),
]


class LoginRequest(Request):
    """Who wants to come in."""

    login: LoginText
    password: OldPassword
    code: Annotated[FreeText, Field(max_length=64)] | None = Field(
        None, description="Of the second factor, or one of its recovery codes."
    )
    cookie: bool = Field(False, description="For browsers: the tokens go into cookies.")


class RefreshRequest(Request):
    """The refresh token; a browser has it in a cookie."""

    refresh_token: Annotated[str, Field(max_length=256)] | None = None


class RecoverRequest(Request):
    """A one-time code that an admin handed out, and the password to have from now on."""

    login: LoginText
    code: Annotated[FreeText, Field(max_length=256)]
    password: NewPassword


class PasswordRequest(Request):
    """The password there is, and the one to have from now on."""

    current: OldPassword
    new: NewPassword


class OwnPasswordRequest(Request):
    """The password, shown once more."""

    password: OldPassword


class EnrolTotpRequest(Request):
    """The nonce of a proposed secret, and a code made from that secret."""

    password: OldPassword
    nonce: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
    code: Annotated[FreeText, Field(max_length=64)]


class SessionAnswer(Answer):
    """A session and its tokens; those are null where they are in cookies."""

    session_id: str
    principal_id: str
    access_token: str | None
    refresh_token: str | None
    access_expires_at: datetime
    expires_at: datetime


class EnrolledAnswer(CommandAnswer):
    """The recovery codes, here and never again."""

    recovery_codes: list[str] | None = None


class TotpAnswer(Answer):
    """A proposed secret: nothing is enrolled until a code of it comes back."""

    nonce: str
    secret: str
    uri: str


# In and out


async def login(request: web.Request) -> web.StreamResponse:
    """Sign in by password, and by the second factor where there is one."""
    edge.no_query(request)
    wanted, services = await edge.body(request, LoginRequest), edge.services(request)
    login_id = services.door.secrets.login_id(fold_login(wanted.login))
    sign_in = services.access.sign_in_of(login_id)
    await count_try(request, str(login_id), sign_in)
    # An unknown name costs what a wrong password does, in every step.
    number, verifier = await _kept(request, sign_in.id if sign_in is not None else login_id)
    checked = await services.door.passwords.check(verifier, wanted.password)
    if not checked.right or sign_in is None:
        raise InvalidCredentialsError(NO_ENTRY)
    command = commands.BeginSession(
        sign_in.id, login_id, number, client_of(request), services.door.session_hours,
        verifier=checked.verifier, replacing=services.access.surplus_session(sign_in.id, now()),
        **_shown(request, sign_in, wanted.code),
    )  # fmt: skip
    outcome = await commit(request, Caller(str(sign_in.id), "", "password"), command)
    await came_in(request, str(login_id))
    return session_answer(outcome, cookie=wanted.cookie)


async def _kept(request: web.Request, principal_id: UUID) -> tuple[int, bytes | None]:
    """The number and the verifier of the password somebody has, as one row says both."""
    services = edge.services(request)
    row = await edge.read(request, services.recorder.credential, str(principal_id), PASSWORD)
    opened = services.door.secrets.opened(str(principal_id), row)
    return opened if opened is not None else (0, None)


async def refresh(request: web.Request) -> web.StreamResponse:
    """Exchange the refresh token for new tokens; one that comes a second time ends the session."""
    edge.no_query(request)
    wanted = await edge.body(request, RefreshRequest, optional=True)
    token, cookie = wanted.refresh_token, False
    if token is None and REFRESH_COOKIE in request.cookies:
        edge.check_origin(request)
        token, cookie = request.cookies[REFRESH_COOKIE], True
    session_id, number = _refresh_token(request, token)
    command = commands.RefreshSession(session_id, number, client_of(request))
    outcome = await commit(request, Caller("", str(session_id), "refresh"), command)
    if outcome.body.get("ended") is not None:
        raise SessionOverError(
            "This refresh token was used before, so somebody else may have it: the session has"
            " ended. Sign in again."
        )
    return session_answer(outcome, cookie=cookie)


async def logout(request: web.Request) -> web.StreamResponse:
    """End the session that the token is of; in a browser its refresh cookie will do."""
    try:
        who = edge.limited_caller(request)
    except UnauthenticatedError:
        if REFRESH_COOKIE not in request.cookies:
            raise
        response = await _end_at_the_door(request)
    else:
        if who.via != VIA_SESSION:
            raise ConflictError("This is an API token, of no session: revoke it instead.")
        command = commands.EndSession(UUID(who.token_id))
        response = await submit(request, who, command, followed=True)
    for name in (edge.ACCESS_COOKIE, REFRESH_COOKIE):
        response.set_cookie(
            name, "", max_age=0, secure=True, httponly=True, samesite="Strict", path="/"
        )
    return response


async def _end_at_the_door(request: web.Request) -> web.Response:
    """Sign out where access is over, as it is after minutes, by the refresh cookie.

    Nobody is known yet whose Idempotency-Key it would be; to do it again does no more.
    """
    edge.no_query(request)
    edge.check_origin(request)
    session_id, number = _refresh_token(request, request.cookies[REFRESH_COOKIE])
    command = commands.EndSession(session_id, number)
    outcome = await commit(request, Caller("", str(session_id), "refresh"), command)
    return edge.answer(outcome.body, headers={"Scrinia-Position": str(outcome.position)})


def _refresh_token(request: web.Request, token: str | None) -> tuple[UUID, int]:
    """The session and number of a refresh token; SessionOverError before anybody waits for it."""
    found = edge.services(request).door.secrets.refresh_of(token) if token is not None else None
    if found is None:
        raise SessionOverError("Send the refresh token that signing in gave you.")
    return found


def session_answer(outcome: Outcome, *, cookie: bool) -> web.Response:
    """A session's tokens, in the body or in cookies that scripts cannot read."""
    body = outcome.body
    tokens = {edge.ACCESS_COOKIE: body["access_token"], REFRESH_COOKIE: body["refresh_token"]}
    if cookie:
        body = {**body, "access_token": None, "refresh_token": None}
    response = edge.answer(
        body, status=201 if outcome.made else 200,
        headers={"Scrinia-Position": str(outcome.position), "Cache-Control": "no-store"},
    )  # fmt: skip
    for name, token in tokens.items() if cookie else ():
        response.set_cookie(
            name, token, secure=True, httponly=True, samesite="Strict", path="/",
            expires=_cookie_time(body["expires_at"]),
        )  # fmt: skip
    return response


def _cookie_time(expires_at: str) -> str:
    return datetime.fromisoformat(expires_at).strftime("%a, %d %b %Y %H:%M:%S GMT")


def client_of(request: web.Request) -> str:
    """What a client shows of itself, as a keyed hash: who sends a token again is the same one."""
    agent, address = request.headers.get("User-Agent", ""), edge.address_of(request) or ""
    return edge.services(request).door.secrets.client(agent, address)


# Second factors


def _shown(request: web.Request, sign_in: SignIn, code: str | None) -> dict[str, Any]:
    """What a code shows: the step and nonce of TOTP, or a recovery code's SHA-256.

    InvalidCredentialsError where it is no code at this time.
    """
    if code is None or sign_in.totp is None:
        return {}
    digits, nonce = code.replace(" ", ""), sign_in.totp.nonce
    if len(digits) != TOTP_DIGITS:
        return {"code_sha256": hash_secret(recovery_code_text(code))}
    secret = edge.services(request).door.secrets.totp_secret(sign_in.id, nonce)
    step = matching_step(secret, digits, now())
    if step is None:
        raise InvalidCredentialsError(NO_ENTRY)
    return {"step": step, "nonce": nonce}


def matching_step(secret: bytes, digits: str, at: datetime) -> int | None:
    """The time step around a moment whose code (RFC 6238) this is; None where it is none."""
    current = int(at.timestamp()) // TOTP_STEP_SECONDS
    # SHA-1 is what authenticator apps know; RFC 4226 says why it does no harm here.
    codes = HOTP(secret, TOTP_DIGITS, SHA1(), enforce_key_length=True)  # noqa: S303
    found = None
    for step in range(current - TOTP_STEPS_ASIDE, current + TOTP_STEPS_ASIDE + 1):
        if hmac.compare_digest(codes.generate(step), digits.encode()):
            found = step
    return found


async def propose_totp(request: web.Request) -> web.StreamResponse:
    """A secret for an authenticator app, as text and as `otpauth` URI."""
    who, secrets = edge.limited_caller(request), edge.services(request).door.secrets
    edge.no_query(request)
    wanted = await edge.body(request, OwnPasswordRequest)
    sign_in, _ = await _check_own(request, who, wanted.password)
    _check_no_factor(sign_in)
    await came_in(request, _own_place(sign_in))
    nonce = token_hex(16)
    secret = base32(secrets.totp_secret(sign_in.id, nonce))
    account = quote(f"Scrinia:{await _login_of(request, sign_in)}")
    uri = f"otpauth://totp/{account}?secret={secret}&issuer=Scrinia"
    body = {"nonce": nonce, "secret": secret, "uri": uri}
    return edge.answer(body, headers={"Cache-Control": "no-store"})


def _check_no_factor(sign_in: SignIn) -> None:
    """ConflictError, before a code is looked at: nobody may learn here which one is right."""
    if sign_in.totp is not None:
        raise ConflictError("There is a second factor already: remove it first.")


async def _login_of(request: web.Request, sign_in: SignIn) -> str:
    """The login name as it was given; the id where that text is gone."""
    texts = await texts_of(request, [sign_in.login])
    return text_in(texts, sign_in.login) or str(sign_in.id)


async def enrol_totp(request: web.Request) -> web.StreamResponse:
    """Be asked for a second factor from now on; the recovery codes are in this answer only."""
    who, secrets = edge.limited_caller(request), edge.services(request).door.secrets
    wanted = await edge.body(request, EnrolTotpRequest)
    sign_in, number = await _check_own(request, who, wanted.password)
    _check_no_factor(sign_in)
    secret = secrets.totp_secret(sign_in.id, wanted.nonce)
    step = matching_step(secret, wanted.code.replace(" ", ""), now())
    if step is None:
        raise InvalidCredentialsError("This is no code of the proposed secret at this time.")
    await came_in(request, _own_place(sign_in))
    command = commands.EnrolTotp(sign_in.id, number, wanted.nonce, step)
    return _unstored(await submit(request, who, command, followed=True))


async def remove_own_totp(request: web.Request) -> web.StreamResponse:
    """Be asked for no second factor any more."""
    who = edge.caller(request)
    wanted = await edge.body(request, OwnPasswordRequest)
    sign_in, number = await _check_own(request, who, wanted.password)
    await came_in(request, _own_place(sign_in))
    return await submit(request, who, commands.RemoveTotp(sign_in.id, number), followed=True)


# Passwords


async def recover(request: web.Request) -> web.StreamResponse:
    """Set a password with a one-time code: the first one, or where it was forgotten."""
    edge.no_query(request)
    wanted, services = await edge.body(request, RecoverRequest), edge.services(request)
    login_id = services.door.secrets.login_id(fold_login(wanted.login))
    sign_in = services.access.sign_in_of(login_id)
    # Nobody guesses 256 bits, so a name is not shut by who tries.
    await count_try(request, None)
    verifier = await services.door.passwords.new(wanted.password)
    whose = sign_in.id if sign_in is not None else login_id
    command = commands.UseRecovery(whose, hash_secret(wanted.code.strip()), verifier)
    outcome = await commit(request, Caller(str(whose), "", "recovery"), command)
    await came_in(request, str(login_id))
    return edge.answer(outcome.body, headers={"Scrinia-Position": str(outcome.position)})


async def set_password(request: web.Request) -> web.StreamResponse:
    """Have another password; every other session ends."""
    who = edge.limited_caller(request)
    wanted = await edge.body(request, PasswordRequest)
    sign_in, number = await _check_own(request, who, wanted.current)
    await came_in(request, _own_place(sign_in))
    verifier = await edge.services(request).door.passwords.new(wanted.new)
    command = commands.SetPassword(sign_in.id, number, verifier)
    return await submit(request, who, command, followed=True)


async def _check_own(request: web.Request, who: Caller, password: str) -> tuple[SignIn, int]:
    """The caller's sign-in and its password's number; InvalidCredentialsError, ConflictError."""
    services = edge.services(request)
    sign_in = services.access.sign_ins.get(UUID(who.principal_id))
    if sign_in is None or sign_in.password is None:
        raise ConflictError("You have no password: an admin hands out a code to set one with.")
    check_whole(services.access.check_limited(who, now()))  # before the password is looked at
    await count_try(request, _own_place(sign_in))
    number, verifier = await _kept(request, sign_in.id)
    if not (await services.door.passwords.check(verifier, password)).right:
        raise InvalidCredentialsError("This is not the current password.")
    return sign_in, number


def _own_place(sign_in: SignIn) -> str:
    """Where tries of somebody who is in already are counted."""
    return f"own {sign_in.id}"


def _unstored(response: web.Response) -> web.Response:
    response.headers["Cache-Control"] = "no-store"
    return response


_OWN_TOTP = "/v1/auth/totp"
ROUTES = (
    Route(
        "POST", "/v1/auth/login", login, "Sign in", "sign-in", body=LoginRequest,
        answers={201: SessionAnswer}, public=True, refusals=(401,),
    ),
    Route(
        "POST", "/v1/auth/refresh", refresh, "Refresh a session", "sign-in", body=RefreshRequest,
        body_optional=True, answers={200: SessionAnswer}, public=True, refusals=(401, 403),
    ),
    Route(
        "POST", "/v1/auth/logout", logout, "Sign out", "sign-in", answers={200: CommandAnswer},
        command=True,
    ),
    Route(
        "POST", "/v1/auth/recover", recover, "Set a password with a code", "sign-in",
        body=RecoverRequest, answers={200: CommandAnswer}, public=True, refusals=(401,),
    ),
    Route(
        "POST", "/v1/auth/password", set_password, "Change one's password", "sign-in",
        body=PasswordRequest, answers={200: CommandAnswer}, command=True,
    ),
    Route(
        "POST", _OWN_TOTP, propose_totp, "Propose a second factor", "sign-in",
        body=OwnPasswordRequest, answers={200: TotpAnswer}, refusals=(409,),
    ),
    Route(
        "PUT", _OWN_TOTP, enrol_totp, "Enrol a second factor", "sign-in", body=EnrolTotpRequest,
        answers={201: EnrolledAnswer}, command=True,
    ),
    Route(
        "DELETE", _OWN_TOTP, remove_own_totp, "Remove one's second factor", "sign-in",
        body=OwnPasswordRequest, answers={200: CommandAnswer}, command=True,
    ),
)  # fmt: skip
