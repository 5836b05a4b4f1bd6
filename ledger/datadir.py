"""The data directory: where each file lies, and how a new one is filled (`scrinia init`)."""

from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import orjson

from domain import genesis
from domain.access import Caller
from domain.decision import Ids
from domain.keys import CHECKPOINT_PURPOSE, EVENT_PURPOSE, PublicKey
from ledger.batch import Batch, Submission
from ledger.errors import KeyFileError, NoLedgerError
from ledger.ids import now
from ledger.keyfiles import create_key, write_private
from ledger.mapper import SigningMapper
from ledger.note import VerifierKey
from ledger.repository import Repository
from ledger.sealing import Sealer, origin_of
from ledger.signing import Signer
from ledger.sqlite import SQLiteLedgerRecorder, create_ledger


@dataclass(frozen=True)
class DataDirectory:
    """The files of one registry on one machine."""

    path: Path
    database: Path | None = None

    @property
    def ledger(self) -> Path:
        """The ledger: all that cannot be rebuilt, keys apart."""
        return self.database or self.path / "ledger.db"

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
    def admin_token(self) -> Path:
        """The first admin's token."""
        return self.path / "admin.token"

    @property
    def address(self) -> Path:
        """Where the running server listens."""
        return self.path / "address"

    @property
    def lock(self) -> Path:
        """Held by the running server."""
        return self.path / "serve.lock"

    @property
    def exists(self) -> bool:
        """Whether a registry was begun here."""
        return self.ledger.exists()


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


def initialise(directory: DataDirectory, token_file: Path, ids: Ids) -> str:
    """Begin a registry in an empty directory: keys, first admin, token file; the ledger's id.

    The token file is written first and the ledger last, so that whatever is interrupted can be
    deleted and begun again without anything being lost.
    """
    _check_empty(directory, token_file)
    directory.path.mkdir(mode=0o700, parents=True, exist_ok=True)
    directory.event_key.parent.mkdir(mode=0o700, exist_ok=True)
    ledger_id = str(ids.new_id())
    event = create_key(directory.event_key, EVENT_PURPOSE)
    checkpoint = create_key(directory.checkpoint_key, CHECKPOINT_PURPOSE)
    key = VerifierKey(origin_of(ledger_id), checkpoint.public_key)
    directory.trust.write_bytes(Trust(ledger_id, event.key_id, str(key)).to_bytes())
    fresh = directory.ledger.with_suffix(".new")
    token = _write_genesis(fresh, ledger_id, event, checkpoint, directory.checkpoint, ids)
    write_private(token_file, token + "\n")
    fresh.replace(directory.ledger)
    return ledger_id


def _check_empty(directory: DataDirectory, token_file: Path) -> None:
    for path in (directory.ledger, directory.event_key, directory.checkpoint_key, token_file):
        if path.exists():
            raise KeyFileError(f"{path} exists already: init never overwrites anything.")


def _write_genesis(
    path: Path, ledger_id: str, event: Signer, checkpoint: Signer, exported: Path, ids: Ids
) -> str:
    create_ledger(path, ledger_id)
    recorder = SQLiteLedgerRecorder(path)
    try:
        mapper = SigningMapper(ledger_id, event)
        repository = Repository(recorder, mapper, ledger_id)
        decision = genesis.begin(
            UUID(ledger_id),
            PublicKey(event.key_id, EVENT_PURPOSE, event.public_key.hex()),
            PublicKey(checkpoint.key_id, CHECKPOINT_PURPOSE, checkpoint.public_key.hex()),
            now(),
            ids,
        )
        batch = Batch(repository, mapper, event, ids, ledger_id)
        request = {"id": str(ids.new_id())}
        batch.take(Submission(None, Caller("system", "init"), request), decision, set())
        unit = batch.unit(batch.groups[0])
        recorder.append_units([unit])
        sealer = Sealer(recorder, checkpoint, ledger_id, exported)
        sealer.take([signed.leaf_hash for signed in unit.events])
        sealer.seal()
    finally:
        recorder.close()
    return decision.answer.secret["token"]
