"""Where ids, salts and secrets come from: the operating system's randomness and clock."""

import secrets
from datetime import UTC, datetime
from time import time_ns
from uuid import UUID

from domain.commitment import SALT_BYTES
from domain.webhook_signing import derive_secret, key_id_of
from ledger.errors import KeyFileError

TOKEN_PREFIX = "scr_"  # noqa: S105  # a prefix that makes leaks easy to find
TOKEN_SECRET_BYTES = 32


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
    """The production source of ids, salts and secrets. `webhook_key`: 32 bytes, where it serves."""

    def __init__(self, webhook_key: bytes | None = None) -> None:
        self._webhook_key = webhook_key

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
