"""What is derived from the registry's sign-in key: session tokens, TOTP secrets, keyed hashes.

Nothing of it is kept anywhere (NIST SP 800-108, HMAC in counter mode, one block, as for webhooks'
secrets): a dump of the database holds no token and no second factor, only SHA-256s and names that
cannot be guessed without the key.
"""

import hmac
import re
from base64 import b32encode, urlsafe_b64encode
from hashlib import sha256
from unicodedata import normalize
from uuid import UUID

ACCESS_PREFIX = "scr_"
REFRESH_PREFIX = "scr_refresh_"
TOTP_SECRET_BYTES = 20  # RFC 4226 section 4, R6: as long as the hash
_LABEL = b"scrinia sign-in v1"
_REFRESH = re.compile(REFRESH_PREFIX + r"([0-9a-f]{32})_([1-9][0-9]{0,8})_[0-9a-f]{64}")


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
        refresh = self._derive(b"refresh", context).hex()
        return ACCESS_PREFIX + access, f"{REFRESH_PREFIX}{session_id.hex}_{number}_{refresh}"

    def refresh_of(self, token: str) -> tuple[UUID, int] | None:
        """Session and number of a refresh token; None where it is no token of this key's."""
        found = _REFRESH.fullmatch(token)
        if found is None:
            return None
        session_id, number = UUID(hex=found[1]), int(found[2])
        own = self.tokens(session_id, number)[1]
        return (session_id, number) if hmac.compare_digest(own, token) else None

    def sealed(self, principal_id: str, number: int, verifier: bytes) -> bytes:
        """A password's verifier as it is kept: with its number, and a seal that binds it to both.

        So a row that was written or moved by somebody without the key lets nobody in.
        """
        seal = self._verifier_seal(principal_id, number, verifier)
        return b"%d %s %s" % (number, seal, verifier)

    def opened(self, principal_id: str, kept: bytes | None) -> tuple[int, bytes] | None:
        """Number and verifier out of what is kept; None where there is nothing that counts."""
        parts = (kept or b"").split(b" ", 2)
        if len(parts) != 3 or not parts[0].isdigit() or len(parts[0]) > 9:
            return None
        number, verifier = int(parts[0]), parts[2]
        own = self._verifier_seal(principal_id, number, verifier)
        return (number, verifier) if hmac.compare_digest(own, parts[1]) else None

    def _verifier_seal(self, principal_id: str, number: int, verifier: bytes) -> bytes:
        context = (principal_id.encode(), str(number).encode(), verifier)
        return self._derive(b"verifier", *context).hex().encode()

    def totp_secret(self, principal_id: UUID, nonce: str) -> bytes:
        """A second factor's secret, TOTP_SECRET_BYTES long."""
        return self._derive(b"totp", principal_id.bytes, nonce.encode())[:TOTP_SECRET_BYTES]

    def login_id(self, login: str) -> UUID:
        """The stream of a login name, in its folded form (`fold_login`): a UUIDv8 (RFC 9562)."""
        value = int.from_bytes(self._derive(b"login", login.encode())[:16], "big")
        return UUID(int=value & ~(0xF000 << 64) & ~(0xC000 << 48) | 0x8000 << 64 | 0x8000 << 48)

    def client(self, *facts: str) -> str:
        """A keyed hash of what a client shows of itself: hex."""
        parts = (fact.encode("utf-8", "surrogateescape") for fact in facts)
        return self._derive(b"client", *parts).hex()

    def request(self, sent: bytes) -> str:
        """A keyed hash of a request that holds a password: hex."""
        return self._derive(b"request", sent).hex()

    def subject(self, issuer: str, subject: str) -> str:
        """A keyed hash of an account at an identity provider: hex."""
        account = subject.encode("utf-8", "surrogatepass")
        return self._derive(b"subject", issuer.encode(), account).hex()

    def of_state(self, purpose: str, state: str) -> str:
        """What belongs to one trip to an identity provider: its nonce, its verifier (RFC 7636)."""
        context = (purpose.encode(), state.encode("utf-8", "surrogateescape"))
        return self._derive(b"state", *context).hex()

    def _derive(self, purpose: bytes, *context: bytes) -> bytes:
        parts = b"".join(len(part).to_bytes(4, "big") + part for part in (purpose, *context))
        return hmac.digest(self._key, b"\0\0\0\1" + _LABEL + b"\0" + parts + b"\0\0\1\0", sha256)


def fold_login(login: str) -> str:
    """A login name as it is compared: without case and outer spaces, however it was composed."""
    return normalize("NFKC", login.strip()).casefold()


def recovery_code_text(code: str) -> str:
    """A recovery code as it is compared: in groups of four, whatever people put between them."""
    plain = "".join(one for one in code.lower() if one.isalnum())
    return "-".join(plain[at : at + 4] for at in range(0, len(plain), 4))


def base32(secret: bytes) -> str:
    """A TOTP secret as authenticator apps take it."""
    return b32encode(secret).decode()
