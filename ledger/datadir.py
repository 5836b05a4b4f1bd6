"""The data directory: where each file of a registry lies on one machine."""

from dataclasses import dataclass
from pathlib import Path

import orjson

from ledger.errors import NoLedgerError


@dataclass(frozen=True)
class DataDirectory:
    """The files of one registry on one machine."""

    path: Path

    @property
    def ledger(self) -> Path:
        """The ledger, all that cannot be rebuilt, keys apart; where it is not kept elsewhere."""
        return self.path / "ledger.db"

    @property
    def views(self) -> Path:
        """The read models: can be deleted and rebuilt."""
        return self.path / "views.db"

    @property
    def checkpoint(self) -> Path:
        """The newest signed checkpoint, for anybody to copy."""
        return self.path / "checkpoint"

    @property
    def trust(self) -> Path:
        """The public side: ledger id, first event key, checkpoint verifier key."""
        return self.path / "trust.json"

    @property
    def event_key(self) -> Path:
        """The private key that signs events."""
        return self.path / "keys" / "event.key"

    @property
    def checkpoint_key(self) -> Path:
        """The private key that signs checkpoints."""
        return self.path / "keys" / "checkpoint.key"

    @property
    def webhook_key(self) -> Path:
        """The key that webhooks' secrets are derived from."""
        return self.path / "keys" / "webhook.key"

    @property
    def sign_in_key(self) -> Path:
        """The key that session tokens, second factors and the places of login names derive from."""
        return self.path / "keys" / "sign-in.key"

    @property
    def key_files(self) -> tuple[Path, ...]:
        """All of them: every host of a registry has the same."""
        return self.event_key, self.checkpoint_key, self.webhook_key, self.sign_in_key

    @property
    def admin_token(self) -> Path:
        """The first admin's token."""
        return self.path / "admin.token"

    @property
    def address(self) -> Path:
        """Where the running server listens."""
        return self.path / "address"

    @property
    def lock(self) -> Path:
        """Shared by whatever runs on the ledger, alone with whoever moves it away."""
        return self.path / "serve.lock"

    @property
    def init_lock(self) -> Path:
        """Held by whoever begins a registry here."""
        return self.path / "init.lock"


@dataclass(frozen=True)
class Trust:
    """What somebody must know from elsewhere to verify a ledger. Nothing in it is secret."""

    ledger_id: str
    event_key_id: str
    checkpoint_key: str

    def to_bytes(self) -> bytes:
        """JSON, as kept in `trust.json`."""
        fields = {
            "ledger": self.ledger_id,
            "event_key": self.event_key_id,
            "checkpoint_key": self.checkpoint_key,
        }
        return orjson.dumps(fields, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)

    @classmethod
    def read(cls, path: Path) -> "Trust":
        """Read `trust.json`; NoLedgerError where it is missing or malformed."""
        try:
            fields = orjson.loads(path.read_bytes())
            return cls(fields["ledger"], fields["event_key"], fields["checkpoint_key"])
        except (OSError, ValueError, KeyError, TypeError):
            raise NoLedgerError(
                f"{path} is missing or damaged: copy it from a backup or another machine."
            ) from None
