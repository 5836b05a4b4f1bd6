"""How a registry begins: keys, trust, token file and the first unit (`scrinia init`)."""

from contextlib import closing
from pathlib import Path
from uuid import UUID

from domain import genesis
from domain.access import Caller
from domain.decision import Ids
from domain.keys import (
    CHECKPOINT_PURPOSE,
    EVENT_PURPOSE,
    SIGN_IN_PURPOSE,
    WEBHOOK_PURPOSE,
    PublicKey,
)
from ledger.batch import Batch, Submission
from ledger.datadir import DataDirectory, Trust
from ledger.epochs import origin_of
from ledger.errors import ForkedError, KeyFileError
from ledger.ids import now
from ledger.keyfiles import create_key, create_secret, write_private
from ledger.mapper import SigningMapper
from ledger.note import VerifierKey
from ledger.recorder import LedgerRecorder, Unit
from ledger.repository import Repository
from ledger.sealing import Sealer
from ledger.signing import Signer
from ledger.store import LedgerStore


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
    create_secret(directory.sign_in_key, SIGN_IN_PURPOSE)
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
