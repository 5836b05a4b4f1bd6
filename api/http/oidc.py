"""Signing in at an identity provider: out, and back with a code (OpenID Connect with PKCE)."""

import hmac
import logging
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as Base64Error
from contextlib import suppress
from html import escape
from secrets import token_urlsafe
from typing import Annotated, Any
from unicodedata import normalize
from uuid import UUID

from aiohttp import web
from pydantic import Field

from api.http import edge
from api.http.commanding import commit
from api.http.identity_provider import IdentityProvider
from api.http.problems import EdgeError
from api.http.route import Route
from api.http.schemas import Request
from api.http.sign_in import client_of, session_answer
from domain import commands
from domain.access import Caller
from domain.errors import InvalidCredentialsError, InvalidError
from domain.sign_in_commands import checked_login
from domain.sign_in_secrets import fold_login
from ledger.ids import now

STATE_COOKIE = "__Host-scrinia-oidc"
STATE_SECONDS = 600
log = logging.getLogger("scrinia.sign-in")


VISIBLE = r"^[ -~]*$"  # RFC 6749 appendix A: all that these are made of


class OutQuery(Request):
    """Where to come back to."""

    model_config = {"strict": False, "extra": "forbid"}
    return_to: Annotated[
        str, Field(max_length=512, pattern=r"^/([^/\\\x00-\x20][^\\\x00-\x20]*)?$")
    ] = Field("/docs", description="A path on this server.")


class BackQuery(Request):
    """What the provider says; it may say more."""

    model_config = {"strict": False, "extra": "ignore"}
    code: Annotated[str, Field(max_length=2048, pattern=VISIBLE)] | None = None
    state: Annotated[str, Field(max_length=256, pattern=VISIBLE)] = ""
    error: Annotated[str, Field(max_length=256, pattern=VISIBLE)] | None = None


async def go_to_provider(request: web.Request) -> web.StreamResponse:
    """Send a browser to the identity provider."""
    wanted, provider = edge.query(request, OutQuery), _provider(request)
    secrets = edge.services(request).door.secrets
    state = token_urlsafe(32)
    url = await provider.authorization_url(
        _redirect_uri(request), state, secrets.of_state("nonce", state),
        secrets.of_state("verifier", state),
    )  # fmt: skip
    response = web.Response(status=302, headers={"Location": url, "Cache-Control": "no-store"})
    until = str(int(time.time()) + STATE_SECONDS)
    place = urlsafe_b64encode(wanted.return_to.encode()).decode().rstrip("=")
    kept = f"{state}.{until}.{place}"
    # Lax: it has to come along when the provider sends the browser back.
    response.set_cookie(
        STATE_COOKIE, f"{kept}.{secrets.of_state('cookie', kept)}", max_age=STATE_SECONDS,
        secure=True, httponly=True, samesite="Lax", path="/",
    )  # fmt: skip
    return response


async def come_back(request: web.Request) -> web.StreamResponse:
    """Take a browser back from the identity provider, signed in."""
    wanted, provider = edge.query(request, BackQuery), _provider(request)
    services = edge.services(request)
    secrets = services.door.secrets
    return_to = _expected(request, wanted.state)
    if wanted.error is not None or wanted.code is None:
        raise InvalidCredentialsError(
            f"The identity provider let nobody in ({wanted.error or 'no code'}): try again."
        )
    claims = await provider.claims(
        wanted.code, _redirect_uri(request), secrets.of_state("verifier", wanted.state),
        secrets.of_state("nonce", wanted.state),
    )  # fmt: skip
    settings = provider.settings
    login_id = secrets.login_id(checked_login(_login(claims, settings.login_claim), "person"))
    sign_in = services.access.sign_in_of(login_id)
    if sign_in is None:
        raise InvalidCredentialsError(
            "Nobody here has the login name that the identity provider says: ask an admin."
        )
    groups, among = _groups(request, claims, settings.groups_claim)
    command = commands.BeginProvidedSession(
        sign_in.id, login_id, secrets.subject(settings.issuer, str(claims["sub"])),
        client_of(request), services.door.session_hours, groups, among,
        services.access.surplus_session(sign_in.id, now()),
    )  # fmt: skip
    outcome = await commit(request, Caller(str(sign_in.id), "", "oidc"), command)
    response = session_answer(outcome, cookie=True)
    # A page of this server's, since a browser sends no SameSite=Strict cookie where it was sent on
    # from elsewhere.
    response.content_type = "text/html"
    target = escape(return_to, quote=True)
    response.text = (
        f'<meta http-equiv="refresh" content="0;url={target}"><a href="{target}">Go on</a>'
    )
    response.set_status(200)
    response.headers["Content-Security-Policy"] = "default-src 'none'"
    response.set_cookie(
        STATE_COOKIE, "", max_age=0, secure=True, httponly=True, samesite="Lax", path="/"
    )
    return response


def _provider(request: web.Request) -> IdentityProvider:
    provider = edge.services(request).door.provider
    if provider is None:
        raise EdgeError(404, "no_provider", "No identity provider is set: see SCRINIA_OIDC_ISSUER.")
    return provider


def _redirect_uri(request: web.Request) -> str:
    return f"{edge.services(request).door.public_origin}/v1/auth/oidc/callback"


def _expected(request: web.Request, state: str) -> str:
    """Where the browser that was sent out with this state wants to go; InvalidCredentialsError."""
    kept, _, mac = request.cookies.get(STATE_COOKIE, "").rpartition(".")
    parts = kept.split(".")
    own = edge.services(request).door.secrets.of_state("cookie", kept)
    known = hmac.compare_digest(own.encode(), mac.encode("utf-8", "surrogateescape"))
    whole = len(parts) == 3 and known
    if (
        whole
        and hmac.compare_digest(parts[0].encode(), state.encode("utf-8", "surrogateescape"))
        and time.time() < int(parts[1])
    ):
        return _place(parts[2])
    raise InvalidCredentialsError("This sign-in did not begin here, or too long ago: try again.")


def _place(text: str) -> str:
    try:
        return urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode()
    except (Base64Error, UnicodeDecodeError):
        return "/"


def _login(claims: dict[str, Any], name: str) -> str:
    """The login name in the claims; InvalidCredentialsError where there is none to rely on."""
    login = claims.get(name)
    if not isinstance(login, str) or not login.strip():
        raise InvalidCredentialsError(f"The identity provider says no {name}.")
    if name == "email" and claims.get("email_verified") is not True:
        raise InvalidCredentialsError("The identity provider has not verified the mail address.")
    if fold_login(login) != normalize("NFC", login.strip()).lower():
        # Names that people type are folded far (ß is ss); a provider's word is for one name only.
        raise InvalidCredentialsError(f"The {name} that the provider says reads as others.")
    return login


def _groups(
    request: web.Request, claims: dict[str, Any], name: str | None
) -> tuple[tuple[UUID, ...] | None, tuple[UUID, ...]]:
    """Of the groups that have a name there, those somebody is in, and all of them."""
    if name is None:
        return None, ()
    services = edge.services(request)
    said, elsewhere = claims.get(name), claims.get("_claim_names")
    if said is None and isinstance(elsewhere, dict) and name in elsewhere:
        log.warning("somebody's groups are told elsewhere (too many for a token): left as they are")
        return None, ()
    wanted = set()
    for one in said if isinstance(said, list) else [said]:
        with suppress(InvalidError):  # what cannot be a name is nobody's
            if isinstance(one, str):
                wanted.add(services.door.secrets.login_id(checked_login(one, "group")))
    named = services.access.named_groups()
    mine = tuple(group_id for login_id, group_id in named.items() if login_id in wanted)
    return mine, tuple(named.values())


ROUTES = (
    Route(
        "GET", "/v1/auth/oidc", go_to_provider, "Sign in at the identity provider", "sign-in",
        query=OutQuery, answers={302: "To the identity provider"}, public=True, refusals=(404,),
    ),
    Route(
        "GET", "/v1/auth/oidc/callback", come_back, "Come back from the identity provider",
        "sign-in", query=BackQuery, answers={200: "Signed in, with cookies; goes on by itself"},
        public=True, refusals=(401, 404),
    ),
)  # fmt: skip
