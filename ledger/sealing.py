"""Sealing: the log's tree as signed checkpoints, in the database and as a file beside it.

The smallest part of a transparency log. The sealer refuses to sign a tree that is smaller than, or
different from, one signed before, and a database that is behind its exported checkpoint is not
started on: both mean that history was cut or replaced.
"""

import os
from collections.abc import Sequence
from pathlib import Path

from domain.keys import CHECKPOINT_PURPOSE
from ledger import note
from ledger.epochs import is_recorded_loss, origin_of
from ledger.errors import ForkedError, KeyRetiredError, NoteError
from ledger.merkle import CompactRange
from ledger.note import Checkpoint
from ledger.recorder import LedgerRecorder, StoredCheckpoint
from ledger.signing import Signer
from ledger.trust import TrustedKeys


class Sealer:
    """Folds leaf hashes into the tree and signs its head. Not thread-safe: one task owns it."""

    def __init__(
        self,
        recorder: LedgerRecorder,
        signer: Signer,
        ledger_id: str,
        exported: Path,
        trusted: TrustedKeys,
    ) -> None:
        self._recorder = recorder
        self._signer = signer
        self._ledger_id = ledger_id
        self._trusted = trusted
        self._origin = origin_of(ledger_id, trusted.epochs[-1].number)
        self._exported = exported
        self._sealed = 0
        self._tree = CompactRange()

    @property
    def size(self) -> int:
        """How many leaves the tree has, sealed or not."""
        return self._tree.size

    @property
    def sealed(self) -> int:
        """The size of the last checkpoint."""
        return self._sealed

    def resume(self) -> None:
        """Continue from the last checkpoint; ForkedError where database and file disagree."""
        self._check_exported()
        self.catch_up()

    def catch_up(self) -> None:
        """Take over what another process has sealed meanwhile, and export it here too.

        ForkedError where the database has less than this process has seen, or a damaged tree.
        """
        last = self._recorder.last_checkpoint()
        if (last.size if last else 0) < self._sealed:
            raise ForkedError(
                f"The database is behind the checkpoint of {self._sealed} events that this server"
                " has seen: run 'scrinia verify'."
            )
        if last is None or last.size == self._sealed:
            return
        tree = _tree_of(last)
        if tree is None or self._open(last.note).root != tree.root():
            raise ForkedError("The last checkpoint's tree is damaged: run 'scrinia verify'.")
        self._tree = tree
        self._sealed = last.size
        self._export(last.note)

    def _check_exported(self) -> None:
        if not self._exported.exists():
            return
        exported = self._open(self._exported.read_bytes())
        number = self._trusted.epoch_named(self._ledger_id, exported.origin)
        if number is not None and is_recorded_loss(self._trusted.epochs, number, exported.size):
            return
        kept = self._recorder.checkpoint_at(exported.size)
        if self._recorder.head() < exported.size or kept is None:
            raise ForkedError(
                f"The database is behind the checkpoint of {exported.size} events that"
                f" {self._exported} shows was signed: restore a newer backup."
            )
        if self._open(kept.note).root != exported.root:
            raise ForkedError(f"The database is not the one that {self._exported} was signed for.")

    def _open(self, signed: bytes) -> Checkpoint:
        try:
            keys = self._trusted.verifier_keys(self._ledger_id)
            return Checkpoint.parse(note.open_note(signed, keys))
        except NoteError as error:
            raise ForkedError(f"A checkpoint is not this ledger's: {error.detail}") from None

    def take(self, leaves: Sequence[bytes]) -> None:
        """Add the next leaf hashes to the tree."""
        self._tree.extend(leaves)

    def seal(self) -> Checkpoint:
        """Sign the tree as it is now, keep it in the database, then export it.

        KeyRetiredError where this server's checkpoint key does not count any more, or not yet.
        """
        if self._trusted.at(self._signer.key_id, CHECKPOINT_PURPOSE, self._tree.size) is None:
            raise KeyRetiredError(
                "This server's checkpoint key is not in force: give it the key file that is."
            )
        checkpoint = Checkpoint(self._origin, self._tree.size, self._tree.root())
        signed = note.sign(checkpoint.text(), self._origin, self._signer)
        if checkpoint.size > self._sealed:
            self._recorder.store_checkpoint(
                StoredCheckpoint(checkpoint.size, signed, self._tree.to_bytes())
            )
            self._sealed = checkpoint.size
            self._export(signed)
        return checkpoint

    def _export(self, signed: bytes) -> None:
        fresh = self._exported.with_suffix(f".{os.getpid()}.new")
        with fresh.open("wb") as file:
            file.write(signed)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(self._exported)


def _tree_of(checkpoint: StoredCheckpoint) -> CompactRange | None:
    try:
        return CompactRange.from_bytes(checkpoint.size, checkpoint.frontier)
    except ValueError:
        return None
