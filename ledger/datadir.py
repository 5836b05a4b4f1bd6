"""The data directory: where each file lies, and how a new one is filled (`scrinia init`)."""

from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import orjson

from domain import genesis
from domain.access import Caller
from domain.decision import Ids
from domain.keys import CHECKPOINT_PURPOSE, EVENT_PURPOSE, WEBHOOK_PURPOSE, PublicKey
from ledger.batch import Batch, Submission
from ledger.epochs import origin_of
from ledger.errors import ForkedError, KeyFileError, NoLedgerError
from ledger.ids import now
from ledger.keyfiles import create_key, create_secret, write_private
from ledger.mapper import SigningMapper
from ledger.note import VerifierKey
from ledger.recorder import LedgerRecorder, Unit
from ledger.repository import Repository
from ledger.sealing import Sealer
from ledger.signing import Signer
from ledger.store import LedgerStore


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
    def key_files(self) -> tuple[Path, ...]:
        """All of them: every host of a registry has the same."""
        return self.event_key, self.checkpoint_key, self.webhook_key

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


def initialise(store: LedgerStore, directory: DataDirectory, token_file: Path, ids: Ids) -> str:
    """Begin a registry: keys, trust and token files, then the ledger's first unit; the ledger's id.

    The token file is written before the ledger counts, so that whatever is interrupted can be
    deleted and begun again without anything being lost.
    """
    _check_empty(store, directory, token_file)
    directory.path.mkdir(mode=0o700, parents=True, exist_ok=True)
    directory.event_key.parent.mkdir(mode=0o700, exist_ok=True)
    ledger_id = str(ids.new_id())
    event = create_key(directory.event_key, EVENT_PURPOSE)
    checkpoint = create_key(directory.checkpoint_key, CHECKPOINT_PURPOSE)
    create_secret(directory.webhook_key, WEBHOOK_PURPOSE)
    key = VerifierKey(origin_of(ledger_id), checkpoint.public_key)
    directory.trust.write_bytes(Trust(ledger_id, event.key_id, str(key)).to_bytes())
    with store.begin(ledger_id) as recorder:
        unit, token = _genesis(recorder, ledger_id, event, checkpoint, ids)
        write_private(token_file, token + "\n")
        if not recorder.append_units([unit])[0].accepted:
            raise ForkedError(f"Somebody else has just begun a ledger in {store.place}.")
    with closing(store.recorder()) as recorder:
        trusted = Repository(recorder, SigningMapper(ledger_id, None), ledger_id).trusted_keys()
        sealer = Sealer(recorder, checkpoint, ledger_id, directory.checkpoint, trusted)
        sealer.take([signed.leaf_hash for signed in unit.events])
        sealer.seal()
    return ledger_id


def _check_empty(store: LedgerStore, directory: DataDirectory, token_file: Path) -> None:
    if store.exists():
        raise KeyFileError(
            f"There is a ledger in {store.place} already: init never overwrites one."
        )
    for path in (*directory.key_files, token_file):
        if path.exists():
            raise KeyFileError(
                f"{path} exists already, of a registry whose ledger is not in {store.place}."
                " Nothing is overwritten: set SCRINIA_DATABASE_URL to where that ledger is,"
                " restore a backup, move it there by 'scrinia copy', or choose another"
                " SCRINIA_DATA_DIR."
            )


def _genesis(
    recorder: LedgerRecorder, ledger_id: str, event: Signer, checkpoint: Signer, ids: Ids
) -> tuple[Unit, str]:
    mapper = SigningMapper(ledger_id, event)
    decision = genesis.begin(
        UUID(ledger_id),
        PublicKey(event.key_id, EVENT_PURPOSE, event.public_key.hex()),
        PublicKey(checkpoint.key_id, CHECKPOINT_PURPOSE, checkpoint.public_key.hex()),
        now(),
        ids,
    )
    batch = Batch(Repository(recorder, mapper, ledger_id), mapper, event, ids, ledger_id)
    request = {"id": str(ids.new_id())}
    batch.take(Submission(None, Caller("system", "init"), request), decision, set())
    return batch.unit(batch.groups[0]), decision.answer.secret["token"]
