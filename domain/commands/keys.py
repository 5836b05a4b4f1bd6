"""The registry's own keys, as commands."""

from dataclasses import dataclass
from uuid import UUID


@dataclass(frozen=True)
class RegisterKey:
    """Let another of the registry's own keys count: Ed25519, 32 bytes."""

    ledger_id: UUID
    purpose: str
    public_key: bytes


@dataclass(frozen=True)
class RetireKey:
    """End one of the registry's own keys."""

    ledger_id: UUID
    key_id: str
