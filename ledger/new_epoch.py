"""Going on after a restore that lost events (`scrinia restore --new-epoch`)."""

from contextlib import closing
from uuid import UUID

from domain import epoch
from domain.access import Caller
from domain.decision import Ids
from domain.keys import CHECKPOINT_PURPOSE, EVENT_PURPOSE, KeyRing
from ledger.backup import Backup
from ledger.batch import Batch, Submission
from ledger.datadir import DataDirectory
from ledger.epochs import origin_of
from ledger.errors import ForkedError, KeyFileError, NoLedgerError, NoteError
from ledger.ids import now
from ledger.keyfiles import load_key
from ledger.mapper import SigningMapper
from ledger.note import Checkpoint, claimed_size, open_note
from ledger.recorder import LedgerRecorder
from ledger.repository import Repository, private_copy
from ledger.sealing import Sealer
from ledger.signing import Signer
from ledger.store import LedgerStore
from ledger.trust import TrustedKeys


def check_loss(backup: Backup, lost: bytes, *, new_epoch: bool) -> None:
    """ForkedError unless a new epoch is asked for exactly where `lost` shows more than a backup."""
    if not backup.store.path.exists():
        raise NoLedgerError(f"{backup.path} is no backup: it has no ledger.db.")
    with backup.store.reading() as ledger:
        kept = ledger.count()
    shown = claimed_size(lost)
    if not new_epoch:
        if shown > kept:
            raise ForkedError(
                f"A checkpoint shows {shown} events, the backup has {kept}: find a newer backup, or"
                " go on without the rest by --new-epoch, which says so in the ledger."
            )
        return
    if shown <= kept:
        raise ForkedError(
            f"No checkpoint shows more than the backup's {kept} events, so nothing is known to be"
            " lost: restore without --new-epoch, or give --lost-checkpoint if there is one."
        )
    ledger_id = backup.store.ledger_id()
    with closing(backup.store.recorder()) as recorder:
        mapper = SigningMapper(ledger_id, None)
        _opened(lost, ledger_id, Repository(recorder, mapper, ledger_id).trusted_keys())


def check_keys(backup: Backup, directory: DataDirectory) -> None:
    """KeyFileError where the keys that sign an epoch's first event are at neither place."""
    for file in (directory.event_key, directory.checkpoint_key):
        if not file.exists() and not (backup.secrets / file.name).exists():
            raise KeyFileError(f"A new epoch is signed: put {file.name} into {file.parent} first.")


def begin_epoch(
    store: LedgerStore, directory: DataDirectory, lost: bytes, reason: str | None, ids: Ids
) -> int:
    """Append the event that says what `lost`, a checkpoint, shows and the store lacks; the epoch.

    KeyFileError without the registry's keys, ForkedError where the checkpoint is not of this
    ledger's current epoch, or shows nothing that is missing.
    """
    event = load_key(directory.event_key, EVENT_PURPOSE)
    sealing = load_key(directory.checkpoint_key, CHECKPOINT_PURPOSE)
    ledger_id = store.ledger_id()
    with closing(store.recorder()) as recorder:
        repository = Repository(recorder, SigningMapper(ledger_id, event), ledger_id)
        checkpoint = _opened(lost, ledger_id, repository.trusted_keys())
        number = _append(recorder, repository, event, ledger_id, checkpoint, lost, reason, ids)
        trusted = repository.trusted_keys()
        sealer = Sealer(recorder, sealing, ledger_id, directory.checkpoint, trusted)
        sealer.resume()
        unsealed = recorder.select_after(sealer.size, recorder.head())
        sealer.take([one.leaf_hash for one in unsealed])
        sealer.seal()
    return number


def _opened(lost: bytes, ledger_id: str, trusted: TrustedKeys) -> Checkpoint:
    try:
        checkpoint = Checkpoint.parse(open_note(lost, trusted.verifier_keys(ledger_id)))
    except NoteError as error:
        raise ForkedError(f"The lost checkpoint is not this ledger's: {error.detail}") from None
    if checkpoint.origin != origin_of(ledger_id, trusted.epochs[-1].number):
        raise ForkedError("The lost checkpoint is of another epoch than the backup.")
    return checkpoint


def _append(
    recorder: LedgerRecorder, repository: Repository, signer: Signer, ledger_id: str,
    checkpoint: Checkpoint, lost: bytes, reason: str | None, ids: Ids,
) -> int:  # fmt: skip
    mapper = SigningMapper(ledger_id, signer)
    batch = Batch(repository, mapper, signer, ids, ledger_id)
    held = batch.state(KeyRing, UUID(ledger_id)).aggregate
    if held is None:
        raise ForkedError("The ledger has no keys: run 'scrinia verify'.")
    ring = private_copy(held)
    decision = epoch.begin_epoch(
        ring, recorder.head(), checkpoint.size, lost.decode(), reason, now(), ids
    )
    request = {"id": str(ids.new_id())}
    batch.take(Submission(None, Caller("system", "", "restore"), request), decision, set())
    if not recorder.append_units([batch.unit(batch.groups[0])])[0].accepted:
        raise ForkedError("Somebody else writes to this ledger: stop every server first.")
    return ring.epoch
