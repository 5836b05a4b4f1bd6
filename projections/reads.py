"""Who was served which version: by label and reader the last time, and, where asked for, on record.

No fold of events, and never in the ledger. Each process notes what it serves and writes it down
every few seconds; what it noted last goes with it when it is killed. Both tables are bounded.
"""

import asyncio
import logging
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from ledger.follower import wait_at_most
from ledger.ids import now
from ledger.outage import Outage
from projections.audit import within
from projections.cursors import decode_cursor, encode_cursor
from projections.views import Cursor, Views

FLUSH_SECONDS = 5.0
NOTED_MAX = 50_000
READER_HOURS = 24
LOG_ROWS_MAX = 1_000_000
SWEEP_SECONDS = 600.0
log = logging.getLogger("scrinia.reads")


class Reader(NamedTuple):
    """Who read a label of a prompt: with which credential, in which instance of a client."""

    project: str
    name: str
    label: str
    principal: str
    credential: str
    instance: str


@dataclass(frozen=True)
class ReadFilter:
    """Which entries of the record. `places` as of an audit; RFC 3339 times, `until` exclusive."""

    places: tuple[str, ...] | None = None
    resource: str | None = None
    label: str | None = None
    principal: str | None = None
    since: str | None = None
    until: str | None = None
    limit: int = 50
    cursor: str | None = None


class Reads:
    """What was served: noted on the event loop, written and asked in the reader threads."""

    def __init__(self, views: Views, readers: Executor, days: float) -> None:
        self._views = views
        self._readers = readers
        self._days = days
        self._last: dict[Reader, tuple[int, int, datetime]] = {}
        self._record: dict[tuple[Reader, int, int], list[Any]] = {}
        self._writing = asyncio.Lock()
        self._swept = float("-inf")
        self._closing = asyncio.Event()
        self._outage = Outage(log, "what was read")
        with views.defining() as cursor:
            cursor.execute(
                "CREATE TABLE IF NOT EXISTS label_readers (resource TEXT NOT NULL, label TEXT NOT"
                " NULL, principal TEXT NOT NULL, credential TEXT NOT NULL, instance TEXT NOT NULL,"
                " version BIGINT NOT NULL, position BIGINT NOT NULL, seen_at TEXT NOT NULL,"
                " PRIMARY KEY (resource, label, principal, credential, instance))"
            )
            cursor.execute(
                "CREATE TABLE IF NOT EXISTS read_log (id TEXT PRIMARY KEY, minute TEXT NOT NULL,"
                " resource TEXT NOT NULL, label TEXT NOT NULL, version BIGINT NOT NULL, principal"
                " TEXT NOT NULL, credential TEXT NOT NULL, instance TEXT NOT NULL, first_at TEXT"
                " NOT NULL, last_at TEXT NOT NULL, reads BIGINT NOT NULL)"
            )

    def note(
        self, reader: Reader, version: int, position: int, at: datetime, on_record: bool
    ) -> None:
        """Somebody was served a version; `position`: how far this process had read."""
        if len(self._last) < NOTED_MAX or reader in self._last:
            self._last[reader] = (version, position, at)
        if not on_record:
            return
        key = (reader, version, int(at.timestamp()) // 60)
        entry = self._record.get(key)
        if entry is not None:
            entry[1] = at
            entry[2] += 1
        elif len(self._record) < NOTED_MAX:
            self._record[key] = [at, at, 1]
        else:
            self._outage.failed(OverflowError(f"more than {NOTED_MAX} readers at once"))

    async def run(self) -> None:
        """Write down what was noted, until `close`."""
        while not self._closing.is_set():
            await wait_at_most(self._closing, FLUSH_SECONDS)
            try:
                await self.flush()
                self._outage.over()
            except Exception as error:
                self._outage.failed(error)

    def close(self) -> None:
        """End `run` once what was noted is written."""
        self._closing.set()

    async def flush(self) -> None:
        """Write down what was noted; what cannot be written is noted still."""
        async with self._writing:
            last, self._last = self._last, {}
            record, self._record = self._record, {}
            if not last and not record:
                return
            loop = asyncio.get_running_loop()
            try:
                await loop.run_in_executor(self._readers, self._write, last, record)
            except Exception:
                self._last = last | self._last
                for key, (first, until, reads) in record.items():
                    newer = self._record.get(key, [first, until, 0])
                    self._record[key] = [first, newer[1], reads + newer[2]]
                raise

    def _write(
        self,
        last: dict[Reader, tuple[int, int, datetime]],
        record: dict[tuple[Reader, int, int], list[Any]],
    ) -> None:
        with self._views.writing() as cursor:
            for reader, seen in last.items():
                _write_reader(cursor, reader, *seen)
            for (reader, version, minute), entry in record.items():
                _write_log(cursor, reader, version, minute, entry)
            self._sweep(cursor)

    def _sweep(self, cursor: Cursor) -> None:
        """Let go of readers that were not seen for a day, and of what is on record for too long."""
        moment = now()
        if moment.timestamp() < self._swept + SWEEP_SECONDS:
            return
        self._swept = moment.timestamp()
        unseen = moment - timedelta(hours=READER_HOURS)
        cursor.execute("DELETE FROM label_readers WHERE seen_at < ?", (unseen.isoformat(),))
        old = (moment - timedelta(days=self._days)).isoformat()
        cursor.execute("DELETE FROM read_log WHERE last_at < ?", (old,))
        cursor.execute("SELECT count(*) FROM read_log")
        surplus = int(cursor.fetchone()[0]) - LOG_ROWS_MAX
        if surplus > 0:
            log.warning("%d reads leave the record: it is full", surplus)
            cursor.execute(
                "DELETE FROM read_log WHERE id IN (SELECT id FROM read_log ORDER BY id LIMIT ?)",
                (surplus,),
            )

    def readers_of(self, resources: Sequence[str]) -> list[dict[str, Any]]:
        """Who read a prompt (under any of its names) within a day, by label and reader."""
        marks = ",".join("?" * len(resources))
        with self._views.reading() as cursor:
            cursor.execute(
                f"SELECT label, principal, credential, instance, version, position, seen_at"
                f" FROM label_readers WHERE resource IN ({marks})"
                " ORDER BY label, principal, credential, instance",
                list(resources),
            )
            return [
                {
                    "label": row["label"], "principal_id": row["principal"],
                    "credential": row["credential"], "instance": row["instance"] or None,
                    "version": row["version"], "position": row["position"],
                    "seen_at": row["seen_at"],
                }
                for row in cursor.fetchall()
            ]  # fmt: skip

    def page(self, wanted: ReadFilter) -> tuple[list[dict[str, Any]], str | None]:
        """A page of the record, oldest first, and the next one's cursor."""
        where, params = _conditions(wanted)
        with self._views.reading() as cursor:
            cursor.execute(
                f"SELECT * FROM read_log WHERE {' AND '.join(where)} ORDER BY id LIMIT ?",
                [*params, wanted.limit + 1],
            )
            rows = cursor.fetchall()
        more, rows = len(rows) > wanted.limit, rows[: wanted.limit]
        items = [
            {
                "resource": row["resource"], "label": row["label"], "version": row["version"],
                "principal_id": row["principal"], "credential": row["credential"],
                "instance": row["instance"] or None, "first_at": row["first_at"],
                "last_at": row["last_at"], "reads": row["reads"],
            }
            for row in rows
        ]  # fmt: skip
        return items, encode_cursor(rows[-1]["id"]) if more else None


def _resource(reader: Reader) -> str:
    return f"projects/{reader.project}/prompts/{reader.name}"


def _write_reader(
    cursor: Cursor, reader: Reader, version: int, position: int, at: datetime
) -> None:
    cursor.execute(
        "INSERT INTO label_readers VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
        " ON CONFLICT (resource, label, principal, credential, instance) DO UPDATE"
        " SET version = excluded.version, position = excluded.position,"
        " seen_at = excluded.seen_at WHERE label_readers.seen_at <= excluded.seen_at",
        (_resource(reader), reader.label, reader.principal, reader.credential, reader.instance,
         version, position, at.isoformat()),
    )  # fmt: skip


def _write_log(
    cursor: Cursor, reader: Reader, version: int, minute: int, entry: Sequence[Any]
) -> None:
    """One row for each minute in which a reader was served a version, by whichever process."""
    first, last, reads = entry
    start = datetime.fromtimestamp(minute * 60, first.tzinfo).isoformat()
    parts = (start, _resource(reader), reader.label, str(version), reader.principal,
             reader.credential, reader.instance)  # fmt: skip
    cursor.execute(
        "INSERT INTO read_log VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE"
        " SET reads = read_log.reads + excluded.reads,"
        " first_at = CASE WHEN excluded.first_at < read_log.first_at THEN excluded.first_at"
        " ELSE read_log.first_at END,"
        " last_at = CASE WHEN excluded.last_at > read_log.last_at THEN excluded.last_at"
        " ELSE read_log.last_at END",
        (" ".join(parts), start, _resource(reader), reader.label, version, reader.principal,
         reader.credential, reader.instance, first.isoformat(), last.isoformat(), reads),
    )  # fmt: skip


def _conditions(wanted: ReadFilter) -> tuple[list[str], list[Any]]:
    where, params = ["1 = 1"], list[Any]()
    if wanted.places is not None:
        clause, bounds = within(wanted.places)
        where.append(clause)
        params += bounds
    for column, value in (
        ("resource", wanted.resource), ("label", wanted.label), ("principal", wanted.principal),
    ):  # fmt: skip
        if value is not None:
            where.append(f"{column} = ?")
            params.append(value)
    for bound, value in (("last_at >= ?", wanted.since), ("first_at < ?", wanted.until)):
        if value is not None:
            where.append(bound)
            params.append(value)
    if wanted.cursor is not None:
        where.append("id > ?")
        params += decode_cursor(wanted.cursor, str)
    return where, params
