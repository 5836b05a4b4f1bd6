"""Whatever is changed in the database, `verify` finds it and says where: on both stores.

Every change happens in a transaction that is rolled back; the ledger is read through it.
"""

import asyncio
import random
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest

from ledger.datadir import DataDirectory, Trust
from ledger.postgres.store import PostgresRows
from ledger.sqlite.store import SQLiteRows, as_text
from ledger.store import RawLedger
from ledger.verify import CODES, Report, Verification
from tests.harness import STORES, new_database, registry, text_content
from tests.servers import Postgres

SAMPLES = 12
Change = str | tuple[str, tuple]


@dataclass
class Bare:
    """A ledger without triggers, indexes and constraints, as an insider with the file would see."""

    directory: DataDirectory
    older: bytes
    connection: Any
    raw: RawLedger

    def execute(self, sql: str, params: tuple = ()) -> Any:
        if isinstance(self.connection, psycopg.Connection):
            query = sql.replace("%", "%%").replace("?", "%b")
            return self.connection.cursor(binary=True).execute(query, params)
        return self.connection.execute(sql, params)

    def rows(self, sql: str) -> list[tuple]:
        return self.execute(sql).fetchall()

    def verify(self, checkpoint: Path | None = None) -> Report:
        notes = [checkpoint or self.directory.checkpoint]
        trust = Trust.read(self.directory.trust)
        return Verification(self.raw, trust, notes, lambda done, of: None).run()

    def tampered(self, *changes: Change, checkpoint: Path | None = None) -> Report:
        self.execute("BEGIN")
        try:
            for change in changes:
                self.execute(*([change] if isinstance(change, str) else change))
            return self.verify(checkpoint)
        finally:
            self.execute("ROLLBACK")


async def _fill(folder: Path, database_url: str | None) -> None:
    async with registry(folder, database_url=database_url) as api:
        for name in ("support/triage", "support/reply", "mail"):
            await api.make_prompt(f"acme/{name}", "one", description="d", tags=["t"])
            path = f"/v1/projects/acme/prompts/{name}"
            for number in range(6):
                body = {"content": text_content(f"{name} {number}"), "message": f"m{number}"}
                await api.ok("POST", f"{path}/-/versions", body)
                if number % 2:
                    body = {"version": number + 1, "reason": "go"}
                    await api.ok("PUT", f"{path}/-/labels/production", body)
            await asyncio.sleep(1.2)
        await api.make_caller({"role": "viewer", "project": "acme"})
        await api.services.transparency.seal()


@pytest.fixture(scope="module", params=STORES)
def ledger(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Bare]:
    """A ledger of more than 40 events over more than 5 streams, sealed more than once."""
    folder = tmp_path_factory.mktemp("original")
    url = new_database(request)
    asyncio.run(_fill(folder, url))
    directory = DataDirectory(folder / "data")
    if url is None:
        connection = sqlite3.connect(directory.ledger, isolation_level=None)
        connection.text_factory = as_text
        bare = Bare(directory, b"", connection, SQLiteRows(connection))
    else:
        server: Postgres = request.getfixturevalue("postgres")
        connection = psycopg.connect(server.as_admin(url), autocommit=True)
        connection.execute("SET search_path TO scrinia")
        bare = Bare(directory, b"", connection, PostgresRows(connection))
    count, streams = bare.rows("SELECT count(*), count(DISTINCT stream) FROM events")[0]
    assert count >= 40 and streams >= 5
    notes = bare.rows("SELECT note FROM checkpoints ORDER BY size")
    assert len(notes) >= 3
    bare.older = notes[0][0]
    _strip(bare)
    yield bare
    connection.close()


def _strip(bare: Bare) -> None:
    if isinstance(bare.connection, sqlite3.Connection):
        for (name,) in bare.rows("SELECT name FROM sqlite_master WHERE type = 'trigger'"):
            bare.execute(f"DROP TRIGGER {name}")
    for table in ("events", "contents", "checkpoints"):
        bare.execute(f"CREATE TABLE bare AS SELECT * FROM {table}")
        bare.execute(f"DROP TABLE {table}")
        bare.execute(f"ALTER TABLE bare RENAME TO {table}")


def _found(report: Report) -> set[tuple[int | None, str]]:
    assert all(fault.code in CODES for fault in report.faults)
    return {(fault.position, fault.code) for fault in report.faults}


def test_an_untouched_ledger_gives_no_fault(ledger: Bare) -> None:
    report = ledger.tampered()
    assert report.faults == []
    assert report.events >= 40 and report.sealed == report.events


@pytest.mark.parametrize("column", ["payload", "signature", "key_id", "leaf_hash"])
def test_every_byte_of_an_event(ledger: Bare, column: str) -> None:
    """Each byte of one event; flipped one at a time in a shorter ledger, to be quick."""
    position = 20
    (value,) = ledger.rows(f"SELECT {column} FROM events WHERE position = 20")[0]
    expected = {"payload": "E_SIG", "signature": "E_SIG", "key_id": "E_KEY",
                "leaf_hash": "E_LEAF"}[column]  # fmt: skip
    raw = value.encode() if isinstance(value, str) else value
    for index in range(len(raw)):
        flipped = raw[:index] + bytes([raw[index] ^ 1]) + raw[index + 1 :]
        report = ledger.tampered(
            # Only the events up to the changed one matter: a shorter ledger is verified faster.
            "DELETE FROM events WHERE position > 20",
            "DELETE FROM checkpoints WHERE size > 20",
            (
                f"UPDATE events SET {column} = ? WHERE position = ?",
                (flipped.decode() if isinstance(value, str) else flipped, position),
            ),
        )
        assert (position, expected) in _found(report), index


def test_bytes_of_every_event_and_text_sampled(ledger: Bare) -> None:
    chance = random.Random(7)
    expected = {"payload": "E_SIG", "signature": "E_SIG", "leaf_hash": "E_LEAF", "key_id": "E_KEY"}
    for column, code in expected.items():
        rows = ledger.rows(f"SELECT position, {column} FROM events")
        for position, value in chance.sample(rows, SAMPLES):
            if column == "key_id":
                flipped = value[:-1] + ("0" if value[-1] != "0" else "1")
            else:
                flipped = _flip(value, chance)
            change = (f"UPDATE events SET {column} = ? WHERE position = ?", (flipped, position))
            found = _found(ledger.tampered(change))
            assert (position, code) in found or (position, "E_KEY") in found
    for column in ("salt", "body"):
        rows = ledger.rows(f"SELECT commitment, {column} FROM contents")
        for commitment, value in chance.sample(rows, SAMPLES):
            change = (f"UPDATE contents SET {column} = ? WHERE commitment = ?",
                      (_flip(value, chance), commitment))  # fmt: skip
            (fault,) = ledger.tampered(change).faults
            assert (fault.code, commitment in fault.detail) == ("E_COMMIT", True)


def _flip(value: bytes, chance: random.Random) -> bytes:
    index = chance.randrange(len(value))
    return value[:index] + bytes([value[index] ^ 1 << chance.randrange(8)]) + value[index + 1 :]


@pytest.mark.parametrize("column", ["salt", "body"])
def test_every_byte_of_a_text(ledger: Bare, column: str) -> None:
    rows = ledger.rows(f"SELECT commitment, {column} FROM contents ORDER BY length(body)")
    commitment, value = rows[len(rows) // 2]
    for index in range(len(value)):
        flipped = value[:index] + bytes([value[index] ^ 1]) + value[index + 1 :]
        report = ledger.tampered(
            (f"UPDATE contents SET {column} = ? WHERE commitment = ?", (flipped, commitment))
        )
        (fault,) = report.faults
        assert (fault.code, commitment in fault.detail) == ("E_COMMIT", True)
        assert fault.position is not None


def test_each_removed_event(ledger: Bare) -> None:
    (head,) = ledger.rows("SELECT max(position) FROM events")[0]
    for position in range(1, head):
        report = ledger.tampered(f"DELETE FROM events WHERE position = {position}")
        assert (position, "E_GAP") in _found(report)
    last = ledger.tampered(f"DELETE FROM events WHERE position = {head}")
    assert (head, "E_BEHIND") in _found(last)


def test_a_removed_text_and_a_planted_one(ledger: Bare) -> None:
    commitment = ledger.rows("SELECT commitment FROM contents LIMIT 1 OFFSET 5")[0][0]
    report = ledger.tampered(
        ("DELETE FROM contents WHERE commitment = ?", (commitment,)),
        ("INSERT INTO contents VALUES ('beef', ?, ?)", (b"\0", b"\0")),
    )
    assert {code for _, code in _found(report)} == {"E_CONTENT_MISSING", "E_CONTENT_ORPHAN"}
    assert next(f.position for f in report.faults if f.code == "E_CONTENT_MISSING") is not None


def test_a_second_text_under_one_commitment(ledger: Bare) -> None:
    commitment, salt, body = ledger.rows("SELECT * FROM contents ORDER BY commitment LIMIT 1")[0]
    insert = "INSERT INTO contents VALUES (?, ?, ?)"
    forged = ledger.tampered((insert, (commitment, salt, b'{"text":"forged"}')))
    assert {fault.code for fault in forged.faults} == {"E_DUP", "E_COMMIT"}
    assert all(fault.position is not None for fault in forged.faults)
    (doubled,) = ledger.tampered((insert, (commitment, salt, body))).faults
    assert (doubled.code, doubled.position is not None) == ("E_DUP", True)


def test_what_a_database_states_of_itself(ledger: Bare) -> None:
    for change in ("UPDATE ledger SET id = 'other'", "DELETE FROM ledger",
                   "UPDATE ledger SET format = 99"):  # fmt: skip
        assert _found(ledger.tampered(change)) == {(None, "E_LEDGER")}, change


def test_checkpoints_that_went_doubled_or_have_another_tree(ledger: Bare) -> None:
    (newest,) = ledger.rows("SELECT max(size) FROM checkpoints")[0]
    gone = ledger.tampered(f"DELETE FROM checkpoints WHERE size = {newest}")
    assert _found(gone) == {(newest, "E_CHECKPOINT")}
    twice = ledger.tampered(
        f"INSERT INTO checkpoints SELECT * FROM checkpoints WHERE size = {newest}"
    )
    assert _found(twice) == {(newest, "E_DUP")}
    other = ledger.tampered(("UPDATE checkpoints SET frontier = ? WHERE size = ?", (b"\0", newest)))
    assert _found(other) == {(newest, "E_CHECKPOINT")}


def test_a_long_gap_is_told_from_end_to_end(ledger: Bare) -> None:
    report = ledger.tampered("UPDATE events SET position = position + 5000 WHERE position > 30")
    (gap,) = [fault for fault in report.faults if fault.code == "E_GAP"]
    assert (gap.position, "31 to 5030" in gap.detail) == (31, True)


def _swap(first: int, second: int) -> list[str]:
    return [
        f"UPDATE events SET position = -1 WHERE position = {first}",
        f"UPDATE events SET position = {first} WHERE position = {second}",
        f"UPDATE events SET position = {second} WHERE position = -1",
    ]


def _pairs(ledger: Bare, *, same_stream: bool) -> list[tuple[int, int]]:
    """Neighbouring events of one stream; or of different streams, neighbours and far apart."""
    rows = ledger.rows("SELECT position, stream FROM events ORDER BY position")
    if not same_stream:
        pairs = [*zip(rows, rows[1:], strict=False), *zip(rows, rows[20:], strict=False)]
        return [(a[0], b[0]) for a, b in pairs if a[1] != b[1]]
    found: list[tuple[int, int]] = []
    last: dict[str, int] = {}
    for position, stream in rows:
        if stream in last:
            found.append((last[stream], position))
        last[stream] = position
    return found


def test_each_swap_within_a_stream(ledger: Bare) -> None:
    pairs = _pairs(ledger, same_stream=True)
    assert len(pairs) >= 30
    for first, second in pairs:
        found = _found(ledger.tampered(*_swap(first, second)))
        assert (first, "E_STREAM_GAP") in found and (first, "E_PREV") in found


def test_each_swap_between_streams_with_every_column_set_right(ledger: Bare) -> None:
    recompute = (
        "UPDATE events SET running_time = (SELECT max(e.time) FROM events e"
        " WHERE e.position <= events.position)"
    )
    pairs = _pairs(ledger, same_stream=False)
    assert len(pairs) >= 25
    sizes = [0, *(size for (size,) in ledger.rows("SELECT size FROM checkpoints ORDER BY size"))]
    for first, second in pairs:
        report = ledger.tampered(*_swap(first, second), recompute)
        roots = [fault for fault in report.faults if fault.code == "E_ROOT"]
        sealed_before = max(size for size in sizes if size < first)
        assert roots and roots[0].position == sealed_before + 1, (first, second)
        assert f"to {report.sealed}" in roots[-1].detail


def test_a_duplicated_event(ledger: Bare) -> None:
    at_the_end = ledger.tampered(
        "INSERT INTO events SELECT (SELECT max(position) + 1 FROM events), stream,"
        " stream_position, type, event_id, time, running_time, payload, key_id, signature,"
        " leaf_hash FROM events WHERE position = 9"
    )
    head = at_the_end.events
    assert {(head, "E_DUP"), (head, "E_STREAM_GAP")} <= _found(at_the_end)
    in_place = ledger.tampered("INSERT INTO events SELECT * FROM events WHERE position = 9")
    assert (9, "E_DUP") in _found(in_place)


def test_an_inserted_event_without_the_key(ledger: Bare) -> None:
    (payload,) = ledger.rows(
        "SELECT payload FROM events WHERE type LIKE '%grant.given%' ORDER BY position DESC LIMIT 1"
    )[0]
    report = ledger.tampered(
        (
            "INSERT INTO events SELECT (SELECT max(position) + 1 FROM events), 'principal/x', 1,"
            " type, 'new', time, running_time, ?, key_id, signature, leaf_hash FROM events"
            " WHERE payload = ?",
            (payload.replace(b"viewer", b"admin"), payload),
        )
    )
    assert (report.events, "E_SIG") in _found(report)


def test_a_stream_removed_and_everything_renumbered(ledger: Bare) -> None:
    stream = ledger.rows("SELECT stream FROM events WHERE stream LIKE 'prompt/%' LIMIT 1")[0][0]
    report = ledger.tampered(
        f"DELETE FROM events WHERE stream = '{stream}'",
        "CREATE TABLE n AS SELECT row_number() OVER (ORDER BY position) AS fresh, * FROM events",
        "DELETE FROM events",
        "INSERT INTO events SELECT fresh, stream, stream_position, type, event_id, time,"
        " running_time, payload, key_id, signature, leaf_hash FROM n",
    )
    found = _found(report)
    codes = {code for _, code in found}
    (newest,) = ledger.rows("SELECT max(size) FROM checkpoints")[0]
    assert {"E_ROOT", "E_BEHIND", "E_CONTENT_ORPHAN"} <= codes and (newest, "E_BEHIND") in found
    assert "E_GAP" not in codes


def test_an_older_checkpoint_put_back(ledger: Bare, tmp_path: Path) -> None:
    put_back = tmp_path / "checkpoint"
    put_back.write_bytes(ledger.older)
    (oldest,), (newest,) = ledger.rows(
        "SELECT min(size) FROM checkpoints UNION ALL SELECT max(size) FROM checkpoints"
    )
    assert _found(ledger.tampered(checkpoint=put_back)) == {(oldest, "E_CHECKPOINT")}
    in_database = ledger.tampered(
        "DELETE FROM checkpoints WHERE size > (SELECT min(size) FROM checkpoints)"
    )
    assert _found(in_database) == {(newest, "E_CHECKPOINT")}
    cut = ledger.tampered("DELETE FROM events WHERE position > 30",
                          "DELETE FROM checkpoints WHERE size > 30")  # fmt: skip
    assert "E_BEHIND" in {code for _, code in _found(cut)}


def test_a_checkpoint_of_somebody_else(ledger: Bare) -> None:
    other = b"B" if ledger.older[-9:-8] == b"A" else b"A"
    forged = ledger.older[:-9] + other + ledger.older[-8:]
    report = ledger.tampered(("UPDATE checkpoints SET note = ?", (forged,)))
    assert "E_NOTE" in {code for _, code in _found(report)}


def test_columns_that_repeat_the_payload(ledger: Bare) -> None:
    for column in ("stream", "type", "event_id", "time", "running_time"):
        report = ledger.tampered(f"UPDATE events SET {column} = 'x' WHERE position = 12")
        assert (12, "E_COLUMN") in _found(report), column
    report = ledger.tampered("UPDATE events SET stream_position = 99 WHERE position = 12")
    assert (12, "E_COLUMN") in _found(report)


def test_several_faults_are_all_listed(ledger: Bare) -> None:
    longest = "SELECT commitment FROM contents ORDER BY length(body) DESC LIMIT 1"
    commitment = ledger.rows(longest)[0][0]
    report = ledger.tampered(
        ("UPDATE events SET signature = ? WHERE position = 8", (b"\0",)),
        ("UPDATE events SET leaf_hash = ? WHERE position = 15", (b"\0",)),
        "UPDATE events SET type = 'x' WHERE position = 22",
        ("UPDATE contents SET salt = ? WHERE commitment = ?", (b"\0", commitment)),
        "DELETE FROM events WHERE position = 33",
    )
    found = _found(report)
    assert {(8, "E_SIG"), (15, "E_LEAF"), (22, "E_COLUMN"), (33, "E_GAP")} <= found
    assert "E_COMMIT" in {code for _, code in found}
