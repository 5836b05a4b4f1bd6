"""The PostgreSQL store keeps the ledger's contract and the library's, and refuses to be changed."""

from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID, uuid4

import psycopg
import pytest
from eventsourcing.tests.persistence import ApplicationRecorderTestCase

from ledger.ids import now
from ledger.mapper import SignedEvent
from ledger.payload import format_time
from ledger.postgres.recorder import PostgresLedgerRecorder
from tests.contracts.recorder import LedgerRecorderContract, event, unit
from tests.servers import Postgres


@pytest.fixture
def url(postgres: Postgres) -> str:
    return postgres.database()


@pytest.fixture
def recorder(url: str) -> Iterator[PostgresLedgerRecorder]:
    recorder = PostgresLedgerRecorder(url)
    recorder.url = url
    yield recorder
    recorder.close()


class TestPostgresLedgerRecorder(LedgerRecorderContract):
    @contextmanager
    def another(self, recorder: PostgresLedgerRecorder) -> Iterator[PostgresLedgerRecorder]:
        other = PostgresLedgerRecorder(recorder.url)
        yield other
        other.close()


class _Unsigned(PostgresLedgerRecorder):
    """Takes the library's plain events, as its own test case writes them."""

    def insert_events(self, stored_events, **kwargs):
        signed = [
            SignedEvent(
                str(e.originator_id), e.originator_version, e.topic, e.state, str(uuid4()),
                format_time(now()), "", b"", b"",
            )
            for e in stored_events
        ]  # fmt: skip
        return super().insert_events(signed, **kwargs)


class TestLibraryContract(ApplicationRecorderTestCase):
    """The library's own suite for application recorders."""

    @pytest.fixture(autouse=True)
    def _database(self, postgres: Postgres) -> Iterator[None]:
        self.recorders = []
        self.url = postgres.database()
        yield
        for recorder in self.recorders:
            recorder.close()

    def create_recorder(self) -> PostgresLedgerRecorder:
        self.recorders.append(_Unsigned(self.url, originator_id=UUID))
        return self.recorders[-1]

    # These two print figures and check nothing; ours are in bench/.
    test_performance = None
    test_concurrent_throughput = None
