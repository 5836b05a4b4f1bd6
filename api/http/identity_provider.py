"""An OpenID Connect provider, asked: where it is, its keys, a code for an ID token, what that says.

OpenID Connect Core 1.0 sections 3.1.2, 3.1.3; Discovery 1.0; PKCE is RFC 7636; what an ID token has
to satisfy is Core 3.1.3.7, and which algorithms may sign it RFC 8725.
"""

import asyncio
import hmac
import time
from base64 import b64encode, urlsafe_b64encode
from contextlib import suppress
from hashlib import sha256
from typing import Any
from urllib.parse import quote_plus, urlencode, urlsplit

import aiohttp
import orjson
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import JWKRegistry, KeySet

from api.http.problems import EdgeError
from api.provider_settings import ProviderSettings
from domain.errors import InvalidCredentialsError

ALGORITHMS = ("RS256", "PS256", "ES256", "EdDSA", "Ed25519")
ANSWER_BYTES_MAX = 1024 * 1024
TIMEOUT_SECONDS = 10.0
KEYS_SECONDS = 3600.0
KEYS_AGAIN_SECONDS = 60.0
FAILED_SECONDS = 5.0
CLOCK_SECONDS_ASIDE = 60
_METHODS = "token_endpoint_auth_methods_supported"
LOOPBACK = ("localhost", "127.0.0.1", "::1")


class IdentityProvider:
    """The provider, with its metadata and keys kept for an hour."""

    def __init__(self, settings: ProviderSettings) -> None:
        self.settings = settings
        self._session: aiohttp.ClientSession | None = None
        self._metadata: dict[str, Any] = {}
        self._keys: KeySet | None = None
        self._known_at = -KEYS_SECONDS
        self._failed_at = -FAILED_SECONDS
        self._asking = asyncio.Lock()

    async def close(self) -> None:
        """Close connections."""
        if self._session is not None:
            await self._session.close()

    async def authorization_url(
        self, redirect_uri: str, state: str, nonce: str, verifier: str
    ) -> str:
        """Where a browser is sent to sign in; EdgeError 503 where the provider does not answer."""
        await self._know()
        challenge = urlsafe_b64encode(sha256(verifier.encode()).digest()).decode().rstrip("=")
        asked = {
            "response_type": "code", "client_id": self.settings.client_id,
            "redirect_uri": redirect_uri, "scope": self.settings.scopes, "state": state,
            "nonce": nonce, "code_challenge": challenge, "code_challenge_method": "S256",
        }  # fmt: skip
        endpoint = str(self._metadata["authorization_endpoint"])
        return endpoint + ("&" if urlsplit(endpoint).query else "?") + urlencode(asked)

    async def claims(self, code: str, redirect_uri: str, verifier: str, nonce: str) -> Any:
        """What the ID token for a code says; InvalidCredentialsError where it proves nothing."""
        await self._know()
        form = {
            "grant_type": "authorization_code", "code": code, "redirect_uri": redirect_uri,
            "client_id": self.settings.client_id, "code_verifier": verifier,
        }  # fmt: skip
        headers = self._authenticate(form)
        answer = await self._ask("POST", str(self._metadata["token_endpoint"]), form, headers)
        token = answer.get("id_token")
        if not isinstance(token, str):
            raise InvalidCredentialsError("The identity provider let nobody in with this code.")
        return await self._checked(token, nonce)

    def _authenticate(self, form: dict[str, str]) -> dict[str, str]:
        """Show the client's secret as the provider takes it (Core 9); the headers for it.

        In the form where the provider says that it may be; else `client_secret_basic`, the default
        of Discovery 1.0, for which RFC 6749 section 2.3.1 encodes both parts.
        """
        secret, methods = self.settings.client_secret, self._metadata.get(_METHODS)
        if secret is None:
            return {}
        if isinstance(methods, list) and "client_secret_post" in methods:
            form["client_secret"] = secret
            return {}
        both = f"{quote_plus(self.settings.client_id)}:{quote_plus(secret)}"
        return {"Authorization": f"Basic {b64encode(both.encode()).decode()}"}

    async def _checked(self, token: str, nonce: str) -> dict[str, Any]:
        try:
            claims = self._verified(token)
        except JoseError:
            # Keys change; who asks for a new one is not let ask all the time.
            await self._know(older_than=KEYS_AGAIN_SECONDS)
            try:
                claims = self._verified(token)
            except JoseError as error:
                raise InvalidCredentialsError(f"The ID token proves nothing: {error}.") from None
        said, audience = claims.get("nonce"), claims["aud"]
        several = isinstance(audience, list) and len(audience) > 1
        if not isinstance(said, str) or not hmac.compare_digest(
            said.encode("utf-8", "surrogatepass"), nonce.encode()
        ):
            raise InvalidCredentialsError("The ID token is of another sign-in.")
        if claims.get("azp", self.settings.client_id) != self.settings.client_id or (
            several and "azp" not in claims
        ):
            raise InvalidCredentialsError("The ID token is for somebody else.")
        return claims

    def _verified(self, token: str) -> dict[str, Any]:
        if self._keys is None:
            raise JoseError("the provider has no keys")
        decoded = jwt.decode(token, self._keys, algorithms=ALGORITHMS)
        registry = jwt.JWTClaimsRegistry(
            leeway=CLOCK_SECONDS_ASIDE,
            iss={"essential": True, "value": self.settings.issuer},
            aud={"essential": True, "value": self.settings.client_id},
            exp={"essential": True}, iat={"essential": True}, sub={"essential": True},
        )  # fmt: skip
        registry.validate(decoded.claims)
        return dict(decoded.claims)

    async def _know(self, older_than: float = KEYS_SECONDS) -> None:
        """Have the provider's metadata and keys, asked anew where they are older than this."""
        async with self._asking:
            if time.monotonic() - self._known_at < older_than:
                return
            if time.monotonic() - self._failed_at < FAILED_SECONDS:
                raise _unusable("it did not a moment ago")
            try:
                await self._learn()
            except EdgeError:
                self._failed_at = time.monotonic()
                raise

    async def _learn(self) -> None:
        """Ask for metadata and keys."""
        issuer = self.settings.issuer
        metadata = await self._ask("GET", issuer.rstrip("/") + "/.well-known/openid-configuration")
        if metadata.get("issuer") != issuer:
            raise _unusable(f"it calls itself {metadata.get('issuer')!r}")
        for name in ("authorization_endpoint", "token_endpoint", "jwks_uri"):
            _check_url(metadata.get(name))
        keys = await self._ask("GET", str(metadata["jwks_uri"]))
        self._keys = _usable_keys(keys)
        self._metadata, self._known_at = metadata, time.monotonic()

    async def _ask(
        self, method: str, url: str, form: Any = None, headers: dict[str, str] | None = None
    ) -> dict[str, Any]:
        _check_url(url)
        if self._session is None:
            timeout = aiohttp.ClientTimeout(total=TIMEOUT_SECONDS)
            self._session = aiohttp.ClientSession(timeout=timeout)
        try:
            async with self._session.request(
                method, url, data=form, headers=headers, allow_redirects=False
            ) as response:
                raw = await response.content.read(ANSWER_BYTES_MAX + 1)
                if response.status >= 500 or len(raw) > ANSWER_BYTES_MAX:
                    raise _unusable(f"{response.status}, {len(raw)} bytes")
        except (aiohttp.ClientError, TimeoutError) as error:
            raise _unusable(type(error).__name__) from None
        try:
            answer = orjson.loads(raw)
        except orjson.JSONDecodeError:
            answer = None
        if not isinstance(answer, dict):
            raise _unusable("it answers with something else than JSON")
        return answer


def _usable_keys(told: dict[str, Any]) -> KeySet:
    """The keys of a set, without those of kinds that are not known here (RFC 7517 section 5)."""
    listed, usable = told.get("keys"), []
    for one in listed if isinstance(listed, list) else []:
        with suppress(JoseError, KeyError, TypeError, ValueError, AttributeError):
            usable.append(JWKRegistry.import_key(one))
    if not usable:
        raise _unusable("none of its keys can be read")
    return KeySet(usable)


def _check_url(url: Any) -> None:
    try:
        parts = urlsplit(url if isinstance(url, str) else "")
    except ValueError:
        raise _unusable(f"{url!r} is no address") from None
    inside = parts.scheme == "http" and parts.hostname in LOOPBACK
    if not parts.hostname or (parts.scheme != "https" and not inside):
        raise _unusable(f"{url!r} is no https address")


def _unusable(why: str) -> EdgeError:
    return EdgeError(
        503, "provider_unavailable", f"The identity provider does not answer as it should: {why}."
    )
