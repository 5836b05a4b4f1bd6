"""What is derived from the registry's sign-in key: session tokens, TOTP secrets, keyed hashes.

Nothing of it is kept anywhere (NIST SP 800-108, HMAC in counter mode, one block, as for webhooks'
secrets): a dump of the database holds no token and no second factor, only SHA-256s and names that
cannot be guessed without the key.
"""

import hmac
from base64 import b32encode, urlsafe_b64encode
from hashlib import sha256
from uuid import UUID

ACCESS_PREFIX = "scr_"
REFRESH_PREFIX = "scr_refresh_"
RECOVERY_PREFIX = "scr_recovery_"
TOTP_SECRET_BYTES = 20  # RFC 4226 section 4, R6: as long as the hash
_LABEL = b"scrinia sign-in v1"


class SignInSecrets:
    """The derivations of one key (32 bytes)."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    @property
    def key_id(self) -> str:
        """What events call the key: 32 hex digits that say nothing about it."""
        return self._derive(b"key id").hex()[:32]

    def tokens(self, session_id: UUID, number: int) -> tuple[str, str]:
        """The access and the refresh token of a session, of this number (1, 2, …)."""
        context = session_id.bytes + number.to_bytes(4, "big")
        access = urlsafe_b64encode(self._derive(b"access", context)).decode().rstrip("=")
        refresh = urlsafe_b64encode(self._derive(b"refresh", context)).decode().rstrip("=")
        return ACCESS_PREFIX + access, f"{REFRESH_PREFIX}{session_id.hex}_{refresh}"

    def totp_secret(self, principal_id: UUID, nonce: str) -> bytes:
        """A second factor's secret, TOTP_SECRET_BYTES long."""
        return self._derive(b"totp", principal_id.bytes, nonce.encode())[:TOTP_SECRET_BYTES]

    def login_id(self, login: str) -> UUID:
        """The stream of a login name, in its folded form (`fold_login`): a UUIDv8 (RFC 9562)."""
        value = int.from_bytes(self._derive(b"login", login.encode())[:16], "big")
        return UUID(int=value & ~(0xF000 << 64) & ~(0xC000 << 48) | 0x8000 << 64 | 0x8000 << 48)

    def client(self, *facts: str) -> str:
        """A keyed hash of what a client shows of itself: hex."""
        return self._derive(b"client", *(fact.encode() for fact in facts)).hex()

    def subject(self, issuer: str, subject: str) -> str:
        """A keyed hash of an account at an identity provider: hex."""
        return self._derive(b"subject", issuer.encode(), subject.encode()).hex()

    def of_state(self, purpose: str, state: str) -> str:
        """What belongs to one trip to an identity provider: its nonce, its verifier (RFC 7636)."""
        return self._derive(b"state", purpose.encode(), state.encode()).hex()

    def _derive(self, purpose: bytes, *context: bytes) -> bytes:
        parts = b"".join(len(part).to_bytes(4, "big") + part for part in (purpose, *context))
        return hmac.digest(self._key, b"\0\0\0\1" + _LABEL + b"\0" + parts + b"\0\0\1\0", sha256)


def fold_login(login: str) -> str:
    """A login name as it is compared: without case and outer spaces."""
    return login.strip().casefold()


def session_of(refresh_token: str) -> UUID | None:
    """The session a refresh token says it is of; None where it is none."""
    session, _, secret = refresh_token.removeprefix(REFRESH_PREFIX).partition("_")
    if not refresh_token.startswith(REFRESH_PREFIX) or not secret or len(session) != 32:
        return None
    try:
        return UUID(hex=session)
    except ValueError:
        return None


def base32(secret: bytes) -> str:
    """A TOTP secret as authenticator apps take it."""
    return b32encode(secret).decode()
