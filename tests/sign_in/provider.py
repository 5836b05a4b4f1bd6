"""A small OpenID Connect provider: real discovery, codes, PKCE and signed ID tokens."""

import json
import secrets
import time
from base64 import b64decode, urlsafe_b64encode
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from hashlib import sha256
from typing import Any
from urllib.parse import parse_qs, unquote_plus, urlencode, urlsplit

from aiohttp import web
from joserfc import jws
from joserfc.jwk import ECKey, KeySet, RSAKey

CLIENT_ID = "scrinia-test"
CLIENT_SECRET = "between us"
Twist = Callable[[dict[str, Any]], None]


class Provider:
    """Who is at the screen is `user`; `twist` changes an ID token's claims before it is signed."""

    def __init__(self) -> None:
        self.issuer = ""
        self.user: dict[str, Any] = {"sub": "u-1", "email": "ada@example.com",
                                     "email_verified": True}  # fmt: skip
        self.key = RSAKey.generate_key(2048, {"kid": "one"})
        self.published = [self.key]
        self.twist: Twist = lambda claims: None
        self.sign: Callable[[dict[str, Any]], str] = self._sign
        self.asked: list[str] = []
        self.metadata: dict[str, Any] = {}
        self.also: list[Any] = []  # beside its keys
        self.shown: list[str] = []  # how the client showed its secret
        self._codes: dict[str, dict[str, str]] = {}

    def rotate(self) -> None:
        self.key = ECKey.generate_key("P-256", {"kid": secrets.token_hex(4)})
        self.published = [self.key]

    def _sign(self, claims: dict[str, Any]) -> str:
        algorithm = "ES256" if isinstance(self.key, ECKey) else "RS256"
        header = {"alg": algorithm, "kid": self.key.kid}
        payload = json.dumps(claims).encode()  # with any text that JSON can say
        return jws.serialize_compact(header, payload, self.key, algorithms=[algorithm])

    async def discovery(self, request: web.Request) -> web.Response:
        self.asked.append("discovery")
        return web.json_response({
            "issuer": self.issuer, "jwks_uri": f"{self.issuer}/keys",
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token", **self.metadata,
        })  # fmt: skip

    async def keys(self, request: web.Request) -> web.Response:
        self.asked.append("keys")
        told = KeySet(self.published).as_dict(private=False)
        return web.json_response({"keys": [*self.also, *told["keys"]]})

    def authorize(self, url: str) -> str:
        """What a browser at the authorization endpoint is sent back to."""
        asked = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
        assert asked["response_type"] == "code" and asked["client_id"] == CLIENT_ID
        assert asked["code_challenge_method"] == "S256" and "openid" in asked["scope"].split()
        code = secrets.token_hex(8)
        self._codes[code] = asked
        return asked["redirect_uri"] + "?" + urlencode({"code": code, "state": asked["state"]})

    def _client(self, request: web.Request, form: Any) -> tuple[Any, Any]:
        """As the client shows itself: by `client_secret_basic` or `client_secret_post`."""
        scheme, _, both = request.headers.get("Authorization", "").partition(" ")
        self.shown.append(scheme or "form")
        if scheme == "Basic":
            name, _, secret = b64decode(both).decode().partition(":")
            return unquote_plus(name), unquote_plus(secret)
        return form.get("client_id"), form.get("client_secret")

    async def token(self, request: web.Request) -> web.Response:
        form = await request.post()
        asked = self._codes.pop(str(form.get("code")), None)
        digest = sha256(str(form.get("code_verifier", "")).encode()).digest()
        challenge = urlsafe_b64encode(digest).decode().rstrip("=")
        good = asked is not None and (
            challenge == asked["code_challenge"]
            and form.get("redirect_uri") == asked["redirect_uri"]
            and self._client(request, form) == (CLIENT_ID, CLIENT_SECRET)
        )
        if not good:
            return web.json_response({"error": "invalid_grant"}, status=400)
        now = int(time.time())
        claims = {
            "iss": self.issuer, "aud": CLIENT_ID, "iat": now, "exp": now + 300,
            "nonce": asked["nonce"], **self.user,
        }  # fmt: skip
        self.twist(claims)
        return web.json_response({"access_token": "x", "id_token": self.sign(claims)})


@asynccontextmanager
async def provider() -> AsyncIterator[Provider]:
    made = Provider()
    app = web.Application()
    app.router.add_get("/.well-known/openid-configuration", made.discovery)
    app.router.add_get("/keys", made.keys)
    app.router.add_post("/token", made.token)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    made.issuer = f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}"
    try:
        yield made
    finally:
        await runner.cleanup()
