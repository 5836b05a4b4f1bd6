"""A ledger's database: found, begun, and read row by row."""

from collections.abc import Collection, Iterator
from contextlib import closing, contextmanager
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict

from domain.credential import Credential
from ledger.errors import (
    ClosedError,
    ForkedError,
    MigrationError,
    NoLedgerError,
    TamperedError,
)
from ledger.postgres.migrate import pending
from ledger.postgres.recorder import Connection, PostgresLedgerRecorder, connect
from ledger.recorder import LedgerRecorder
from ledger.store import FILLING, FORMAT, ROWS_AT_ONCE, AnswerRow, LedgerStore, RawLedger, Row


class PostgresStore(LedgerStore):
    """One database that `scrinia migrate` has prepared."""

    def __init__(self, url: str, *, pooled: bool = False) -> None:
        self._url = url
        self._pooled = pooled

    @property
    def place(self) -> str:
        """See LedgerStore."""
        parts = conninfo_to_dict(self._url)
        return f"database {parts.get('dbname')} on {parts.get('host', 'localhost')}"

    def exists(self) -> bool:
        """See LedgerStore."""
        with closing(connect(self._url)) as connection:
            self._check_migrated(connection)
            closed = connection.execute("SELECT reason FROM scrinia.closed").fetchone()
            if closed is not None:
                raise ClosedError(f"{self.place} {closed[0]}")
            row = connection.execute("SELECT position FROM scrinia.ledger_head").fetchone()
        return row is not None and row[0] > 0

    def _check_migrated(self, connection: Connection) -> None:
        try:
            missing = pending(connection)
        except psycopg.Error as error:
            raise MigrationError(f"{self.place} cannot be read: {error}") from None
        if missing:
            names = ", ".join(f"{m.number:04d} {m.name}" for m in missing)
            raise MigrationError(f"{self.place} lacks {names}: run 'scrinia migrate' first.")

    def ledger_id(self) -> str:
        """See LedgerStore."""
        if not self.exists():
            raise NoLedgerError(f"There is no ledger in {self.place}: run 'scrinia init' first.")
        with closing(connect(self._url)) as connection:
            row = connection.execute("SELECT id, format FROM scrinia.ledger").fetchone()
        if row is None:
            raise TamperedError(f"{self.place} has lost its ledger's id: run 'scrinia verify'.")
        if row[1] != FORMAT:
            raise NoLedgerError(f"{self.place} has format {row[1]}, this version reads {FORMAT}.")
        return str(row[0])

    @contextmanager
    def begin(self, ledger_id: str) -> Iterator[LedgerRecorder]:
        """See LedgerStore."""
        self.exists()
        with closing(self.recorder()) as recorder, recorder.alone():
            self._claim(recorder, ledger_id)
            yield recorder

    @contextmanager
    def fill(self, ledger_id: str) -> Iterator[LedgerRecorder]:
        """See LedgerStore. Closed to servers until it is full; a refusal leaves it as it was."""
        with closing(connect(self._url)) as connection:
            self._check_migrated(connection)
            before = connection.execute("SELECT reason, filling FROM scrinia.closed").fetchone()
            self._close(connection, FILLING, filling=True)
            try:
                with closing(self.recorder()) as recorder:
                    with recorder.alone():
                        self._claim(recorder, ledger_id)
                        recorder.append_units([])  # commits the claim
                    yield recorder
            except ForkedError:
                if before is not None:
                    self._close(connection, before[0], filling=before[1])
                else:
                    connection.execute("SELECT scrinia.reopen()")
                raise
            connection.execute("SELECT scrinia.reopen()")

    def _claim(self, recorder: PostgresLedgerRecorder, ledger_id: str) -> None:
        held = recorder.begin(ledger_id)
        if held != ledger_id:
            raise ForkedError(f"{self.place} holds ledger {held}, not {ledger_id}.")

    def _close(self, connection: Connection, reason: str, *, filling: bool) -> None:
        connection.execute("SELECT scrinia.close_ledger(%s, %s)", (reason, filling))

    def recorder(self) -> PostgresLedgerRecorder:
        """See LedgerStore."""
        return PostgresLedgerRecorder(self._url, pooled=self._pooled)

    def close(self, reason: str) -> int:
        """See LedgerStore."""
        with closing(connect(self._url)) as connection:
            self._close(connection, reason, filling=False)
            row = connection.execute("SELECT position FROM scrinia.ledger_head").fetchone()
        return int(row[0]) if row else 0

    def reopen(self) -> None:
        """See LedgerStore."""
        with closing(connect(self._url)) as connection:
            connection.execute("SELECT scrinia.reopen()")

    @contextmanager
    def reading(self) -> Iterator[RawLedger]:
        """See LedgerStore."""
        with closing(connect(self._url)) as connection, connection.transaction():
            connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            yield PostgresRows(connection)


class PostgresRows(RawLedger):
    """Rows of one snapshot, through a server-side cursor."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._db = connection

    def count(self) -> int:
        """See RawLedger."""
        row = self._db.execute("SELECT count(*) FROM scrinia.events").fetchone()
        return int(row[0]) if row else 0

    def rows(self) -> Iterator[list[Row]]:
        """See RawLedger."""
        with self._db.cursor("scrinia_rows", binary=True) as cursor:
            cursor.execute(
                "SELECT position, stream, stream_position, type, event_id, time, running_time,"
                " payload, key_id, signature, leaf_hash FROM scrinia.events ORDER BY position, ctid"
            )
            while found := cursor.fetchmany(ROWS_AT_ONCE):
                yield [Row._make(raw) for raw in found]

    def texts(self, commitments: Collection[str]) -> dict[str, list[tuple[bytes, bytes]]]:
        """See RawLedger."""
        held: dict[str, list[tuple[bytes, bytes]]] = {}
        rows = self._db.cursor(binary=True).execute(
            "SELECT commitment, salt, body FROM scrinia.contents WHERE commitment = ANY(%s)",
            (list(commitments),),
        )
        for commitment, salt, body in rows:
            held.setdefault(commitment, []).append((salt, body))
        return held

    def commitments(self) -> Iterator[str]:
        """See RawLedger."""
        with self._db.cursor("scrinia_commitments") as cursor:
            for (commitment,) in cursor.execute("SELECT commitment FROM scrinia.contents"):
                yield commitment

    def checkpoints(self) -> list[tuple[int, bytes, bytes]]:
        """See RawLedger."""
        return (
            self._db.cursor(binary=True)
            .execute("SELECT size, note, frontier FROM scrinia.checkpoints ORDER BY size")
            .fetchall()
        )

    def answers(self) -> Iterator[AnswerRow]:
        """See RawLedger."""
        with self._db.cursor("scrinia_answers", binary=True) as cursor:
            for row in cursor.execute(
                "SELECT principal, key, request_hash, answer, position,"
                " to_char(time AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')"
                " FROM scrinia.idempotency"
            ):
                yield AnswerRow._make(row)

    def credentials(self) -> Iterator[Credential]:
        """See RawLedger."""
        for row in self._db.cursor(binary=True).execute(
            "SELECT principal, kind, verifier FROM scrinia.credentials"
        ):
            yield Credential(*row)

    def identities(self) -> list[tuple[Any, Any]]:
        """See RawLedger."""
        return self._db.execute("SELECT id, format FROM scrinia.ledger").fetchall()
