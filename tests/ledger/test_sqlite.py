"""The embedded store keeps the ledger's contract and the library's, and refuses to be changed."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import pytest
from eventsourcing.persistence import StoredEvent
from eventsourcing.tests.persistence import ApplicationRecorderTestCase

from domain.commitment import Content, commit
from ledger.errors import NoLedgerError, TamperedError
from ledger.ids import now
from ledger.mapper import SignedEvent
from ledger.payload import format_time
from ledger.recorder import StoredCheckpoint
from ledger.sqlite.recorder import SQLiteLedgerRecorder
from ledger.sqlite.store import create_ledger, ledger_id
from tests.contracts.recorder import LedgerRecorderContract, event, unit


@pytest.fixture
def path(tmp_path: Path) -> Path:
    create_ledger(tmp_path / "ledger.db", "test")
    return tmp_path / "ledger.db"


@pytest.fixture
def recorder(path: Path) -> Iterator[SQLiteLedgerRecorder]:
    recorder = SQLiteLedgerRecorder(path)
    recorder.path = path
    yield recorder
    recorder.close()


class TestSQLiteLedgerRecorder(LedgerRecorderContract):
    @contextmanager
    def another(self, recorder: SQLiteLedgerRecorder) -> Iterator[SQLiteLedgerRecorder]:
        other = SQLiteLedgerRecorder(recorder.path)
        yield other
        other.close()


class _Unsigned(SQLiteLedgerRecorder):
    """Takes the library's plain events, as its own test case writes them."""

    def create_table(self) -> None:
        pass

    def insert_events(self, stored_events, **kwargs):
        signed = [
            SignedEvent(
                str(e.originator_id),
                e.originator_version,
                e.topic,
                e.state,
                str(uuid4()),
                format_time(now()),
                "",
                b"",
                b"",
            )
            for e in stored_events
        ]
        return super().insert_events(signed, **kwargs)


class TestLibraryContract(ApplicationRecorderTestCase):
    """The library's own suite for application recorders."""

    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path: Path) -> None:
        self.folder = tmp_path

    def create_recorder(self) -> SQLiteLedgerRecorder:
        create_ledger(self.folder / "ledger.db", "test")
        return _Unsigned(self.folder / "ledger.db", originator_id_type="uuid")

    # These two print figures and check nothing; ours are in bench/.
    test_performance = None
    test_concurrent_throughput = None


def test_the_writer_is_durable(recorder: SQLiteLedgerRecorder) -> None:
    assert recorder.durability() == {"journal_mode": "wal", "synchronous": 2}


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE events SET time = ''",
        "DELETE FROM events",
        "DELETE FROM events WHERE position = 2",
        "INSERT OR REPLACE INTO events SELECT * FROM events WHERE position = 1",
        "INSERT INTO events SELECT 4, 'x/1', 1, type, 'id', time, running_time, payload, key_id,"
        " signature, leaf_hash FROM events WHERE position = 1",
        "INSERT OR REPLACE INTO events SELECT 3, 'x/1', 1, type, event_id, time, running_time,"
        " payload, key_id, signature, leaf_hash FROM events WHERE position = 1",
        "UPDATE contents SET body = x'00'",
        "DELETE FROM contents",
        "INSERT OR REPLACE INTO contents SELECT commitment, x'00', x'00' FROM contents",
        "UPDATE checkpoints SET note = x'00'",
        "DELETE FROM checkpoints",
    ],
)
def test_triggers_refuse_every_change(
    recorder: SQLiteLedgerRecorder, path: Path, statement: str
) -> None:
    text = Content(commit(b"salt", b"body"), b"salt", b"body")
    recorder.append_units([unit(event("a/1", 1), event("b/1", 1), contents=(text,))])
    recorder.store_checkpoint(StoredCheckpoint(2, b"note", b"f"))
    connection = sqlite3.connect(path)
    with pytest.raises(sqlite3.IntegrityError):
        connection.execute(statement)
    connection.close()
    assert recorder.head() == 2
    assert recorder.contents([text.commitment]) == {text.commitment: text}
    assert recorder.last_checkpoint() == StoredCheckpoint(2, b"note", b"f")


def test_a_ledger_without_its_id_is_never_called_empty(path: Path) -> None:
    with sqlite3.connect(path) as database:
        database.execute("DELETE FROM ledger")
    database.close()
    with pytest.raises(TamperedError, match="keep it"):
        ledger_id(path)


def test_unsigned_events_are_not_taken(recorder: SQLiteLedgerRecorder) -> None:
    with pytest.raises(TypeError):
        recorder.insert_events([StoredEvent("a/1", 1, "t", b"{}")])


def test_what_is_no_ledger_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(NoLedgerError, match="scrinia init"):
        ledger_id(tmp_path / "ledger.db")
    (tmp_path / "other.db").write_text("something else entirely, long enough to be no database")
    with pytest.raises(NoLedgerError):
        ledger_id(tmp_path / "other.db")
