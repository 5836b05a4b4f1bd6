"""Where ids, salts and secrets come from: the operating system's randomness and clock."""

import secrets
from base64 import b32encode
from datetime import UTC, datetime
from time import time_ns
from uuid import UUID

from domain.commitment import SALT_BYTES
from domain.sign_in_secrets import SignInSecrets, recovery_code_text
from domain.webhook_signing import derive_secret, key_id_of
from ledger.errors import KeyFileError

TOKEN_PREFIX = "scr_"  # noqa: S105  # a prefix that makes leaks easy to find
TOKEN_SECRET_BYTES = 32
RECOVERY_CODE_BYTES = 10


def uuid7(unix_ms: int, random: bytes) -> UUID:
    """A UUIDv7 (RFC 9562, 5.7) of 48 bits of milliseconds and 74 of the 80 random bits given."""
    value = int.from_bytes(unix_ms.to_bytes(6, "big") + random, "big")
    value = value & ~(0xF000 << 64) | 0x7000 << 64
    value = value & ~(0xC000 << 48) | 0x8000 << 48
    return UUID(int=value)


def now() -> datetime:
    """The clock: UTC, microseconds."""
    return datetime.now(UTC)


class SystemIds:
    """The production source of ids, salts and secrets.

    `webhook_key` and `sign_in_key`: 32 bytes each, where they serve.
    """

    def __init__(self, webhook_key: bytes | None = None, sign_in_key: bytes | None = None) -> None:
        self._webhook_key = webhook_key
        self._sign_in = SignInSecrets(sign_in_key) if sign_in_key is not None else None

    def new_id(self) -> UUID:
        """A new UUIDv7."""
        return uuid7(time_ns() // 1_000_000, secrets.token_bytes(10))

    def salt(self) -> bytes:
        """A salt for one commitment."""
        return secrets.token_bytes(SALT_BYTES)

    def secret(self) -> str:
        """A new API token."""
        return TOKEN_PREFIX + secrets.token_urlsafe(TOKEN_SECRET_BYTES)

    def webhook_secret(self, webhook_id: UUID, number: int) -> tuple[str, str]:
        """The webhook key's id and the secret; KeyFileError where there is no key."""
        if self._webhook_key is None:
            raise KeyFileError("There is no webhook key here.")
        return key_id_of(self._webhook_key), derive_secret(self._webhook_key, webhook_id, number)

    def login_id(self, login: str) -> UUID:
        """The stream of a login name; KeyFileError where there is no sign-in key."""
        return self.sign_in.login_id(login)

    def session_tokens(self, session_id: UUID, number: int) -> tuple[str, str]:
        """A session's access and refresh token of a number; KeyFileError as `login_id`."""
        return self.sign_in.tokens(session_id, number)

    def sealed_verifier(self, principal_id: str, number: int, verifier: bytes) -> bytes:
        """A verifier as it is kept; KeyFileError as `login_id`."""
        return self.sign_in.sealed(principal_id, number, verifier)

    def recovery_code(self) -> str:
        """A code people can type: base32 without padding, in groups of four."""
        return recovery_code_text(b32encode(secrets.token_bytes(RECOVERY_CODE_BYTES)).decode())

    def sign_in_key_id(self) -> str:
        """What events call the sign-in key; KeyFileError as `login_id`."""
        return self.sign_in.key_id

    @property
    def sign_in(self) -> SignInSecrets:
        """What derives from the sign-in key; KeyFileError where there is none."""
        if self._sign_in is None:
            raise KeyFileError("There is no sign-in key here.")
        return self._sign_in
