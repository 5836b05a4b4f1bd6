"""Backups: a ledger at one moment as a SQLite file, with what it takes to verify it.

A backup of either store is restored into either store. It is consistent while servers run. Secrets
(keys, the admin's token) go along only when asked for, and are best kept apart.
"""

import shutil
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from ledger.copying import Progress, copy_ledger
from ledger.datadir import DataDirectory, Trust
from ledger.errors import ForkedError, NoLedgerError
from ledger.keyfiles import write_private
from ledger.note import claimed_size
from ledger.sqlite.recorder import connect
from ledger.sqlite.store import SQLiteStore
from ledger.store import LedgerStore, RawLedger


@dataclass(frozen=True)
class Backup:
    """A folder with `ledger.db`, `trust.json`, `checkpoint` and perhaps `secrets/`."""

    path: Path

    @property
    def store(self) -> SQLiteStore:
        """The ledger in it."""
        return SQLiteStore(self.path / "ledger.db")

    @property
    def directory(self) -> DataDirectory:
        """It read as a data directory, for verification."""
        return DataDirectory(self.path)

    @property
    def secrets(self) -> Path:
        """Keys and token, where they were asked for."""
        return self.path / "secrets"


def back_up(
    store: LedgerStore, directory: DataDirectory, backup: Backup, progress: Progress
) -> int:
    """Copy what the store holds now, and what is public, into a new folder; how many events."""
    backup.path.mkdir(mode=0o700, parents=True)
    with store.reading() as ledger:
        events = copy_ledger(ledger, backup.store, progress)
        bring_up_checkpoint(ledger, backup.directory)
    shutil.copy(directory.trust, backup.directory.trust)
    _make_one_file(backup.store.path)
    return events


def _make_one_file(path: Path) -> None:
    """Without a write-ahead log beside it, and for its owner alone."""
    with closing(connect(path)) as connection:
        connection.execute("PRAGMA journal_mode=DELETE")
    path.chmod(0o600)


def back_up_secrets(directory: DataDirectory, token_file: Path, backup: Backup) -> None:
    """Keys and the admin's token beside it, mode 0600."""
    backup.secrets.mkdir(mode=0o700)
    for file in (*directory.key_files, token_file):
        if file.exists():
            write_private(backup.secrets / file.name, file.read_text())


def restore(
    backup: Backup, store: LedgerStore, directory: DataDirectory, progress: Progress
) -> int:
    """Copy a backup into a store that holds nothing or its beginning; how many events it has.

    What the data directory has already (trust file, keys, a newer checkpoint) stays as it is.
    """
    if not backup.store.path.exists():
        raise NoLedgerError(f"{backup.path} is no backup: it has no ledger.db.")
    directory.path.mkdir(mode=0o700, parents=True, exist_ok=True)
    if directory.trust.exists():
        held, kept = Trust.read(directory.trust), Trust.read(backup.directory.trust)
        if held.ledger_id != kept.ledger_id:
            raise ForkedError(f"{directory.path} belongs to ledger {held.ledger_id}.")
    with backup.store.reading() as ledger:
        events = copy_ledger(ledger, store, progress)
        bring_up_checkpoint(ledger, directory)
    if not directory.trust.exists():
        shutil.copy(backup.directory.trust, directory.trust)
    return events


def bring_up_checkpoint(ledger: RawLedger, directory: DataDirectory) -> None:
    """Export the newest checkpoint into a data directory that has an older one, or none."""
    checkpoints = ledger.checkpoints()
    if not checkpoints:
        return
    size, note, _ = checkpoints[-1]
    if not directory.checkpoint.exists() or claimed_size(directory.checkpoint.read_bytes()) < size:
        directory.checkpoint.write_bytes(note)


def restore_secrets(backup: Backup, directory: DataDirectory, token_file: Path) -> None:
    """Put keys and token where they belong, where there are none."""
    directory.event_key.parent.mkdir(mode=0o700, exist_ok=True)
    for file in (*directory.key_files, token_file):
        kept = backup.secrets / file.name
        if kept.exists() and not file.exists():
            write_private(file, kept.read_text())
