"""Whatever is changed in the database file, `verify` finds it and says where."""

import asyncio
import random
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from ledger.datadir import DataDirectory
from ledger.verify import CODES, Report, verify_data_directory
from tests.harness import registry, text_content

SAMPLES = 12


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ledger of more than 40 events over more than 5 streams, sealed more than once."""
    folder = tmp_path_factory.mktemp("original")

    async def fill() -> None:
        async with registry(folder) as api:
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

    asyncio.run(fill())
    (folder / "older").write_bytes((folder / "data" / "checkpoint").read_bytes())
    with sqlite3.connect(folder / "data" / "ledger.db") as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        older = database.execute("SELECT note FROM checkpoints ORDER BY size LIMIT 1").fetchone()[0]
        (folder / "older").write_bytes(older)
        count, streams = database.execute(
            "SELECT count(*), count(DISTINCT stream) FROM events"
        ).fetchone()
        assert count >= 40 and streams >= 5
        assert database.execute("SELECT count(*) FROM checkpoints").fetchone()[0] >= 3
        _bare(database)
    database.close()
    return folder


def _bare(database: sqlite3.Connection) -> None:
    """Drop every trigger, index and constraint, as an insider with the file would."""
    for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'"):
        database.execute(f"DROP TRIGGER {name}")
    for table in ("events", "contents", "checkpoints"):
        database.execute(f"CREATE TABLE bare AS SELECT * FROM {table}")
        database.execute(f"DROP TABLE {table}")
        database.execute(f"ALTER TABLE bare RENAME TO {table}")


@pytest.fixture
def tamper(original: Path, tmp_path: Path) -> Callable[..., Report]:
    def apply(*changes: str | tuple[str, tuple] | Callable) -> Report:
        directory = tmp_path / "data"
        shutil.rmtree(directory, ignore_errors=True)
        shutil.copytree(original / "data", directory)
        database = sqlite3.connect(directory / "ledger.db", isolation_level=None)
        for change in changes:
            if callable(change):
                change(directory)
            elif isinstance(change, tuple):
                database.execute(*change)
            else:
                database.execute(change)
        database.close()
        return verify_data_directory(DataDirectory(directory))

    return apply


def _found(report: Report) -> set[tuple[int | None, str]]:
    assert all(fault.code in CODES for fault in report.faults)
    return {(fault.position, fault.code) for fault in report.faults}


def _rows(original: Path, sql: str) -> list[tuple]:
    with sqlite3.connect(original / "data" / "ledger.db") as database:
        return database.execute(sql).fetchall()


def test_an_untouched_ledger_gives_no_fault(tamper: Callable[..., Report]) -> None:
    report = tamper()
    assert report.faults == []
    assert report.events >= 40 and report.sealed == report.events


@pytest.mark.parametrize("column", ["payload", "signature", "key_id", "leaf_hash"])
def test_every_byte_of_an_event(
    tamper: Callable[..., Report], original: Path, tmp_path: Path, column: str
) -> None:
    """Each byte of one event; flipped one at a time in one file, to be quick."""
    position = 20
    kind = "TEXT" if column == "key_id" else "BLOB"
    value = _rows(original, f"SELECT CAST({column} AS BLOB) FROM events WHERE position = 20")[0][0]
    directory = DataDirectory(tmp_path / "data")
    tamper()
    database = sqlite3.connect(directory.ledger, isolation_level=None)
    # Only the events up to the changed one matter: a shorter ledger is verified faster.
    database.execute("DELETE FROM events WHERE position > 20")
    database.execute("DELETE FROM checkpoints WHERE size > 20")
    for index in range(len(value)):
        flipped = value[:index] + bytes([value[index] ^ 1]) + value[index + 1 :]
        database.execute(
            f"UPDATE events SET {column} = CAST(? AS {kind}) WHERE position = ?",
            (flipped, position),
        )
        report = verify_data_directory(directory)
        expected = {"payload": "E_SIG", "signature": "E_SIG", "key_id": "E_KEY",
                    "leaf_hash": "E_LEAF"}[column]  # fmt: skip
        assert (position, expected) in _found(report), index
    database.close()


def test_bytes_of_every_event_and_text_sampled(
    tamper: Callable[..., Report], original: Path
) -> None:
    chance = random.Random(7)
    expected = {"payload": "E_SIG", "signature": "E_SIG", "leaf_hash": "E_LEAF"}
    for column, code in expected.items():
        rows = _rows(original, f"SELECT position, {column} FROM events")
        for position, value in chance.sample(rows, SAMPLES):
            change = (f"UPDATE events SET {column} = ? WHERE position = ?",
                      (_flip(value, chance), position))  # fmt: skip
            found = _found(tamper(change))
            assert (position, code) in found or (position, "E_KEY") in found
    for column in ("salt", "body"):
        rows = _rows(original, f"SELECT commitment, {column} FROM contents")
        for commitment, value in chance.sample(rows, SAMPLES):
            change = (f"UPDATE contents SET {column} = ? WHERE commitment = ?",
                      (_flip(value, chance), commitment))  # fmt: skip
            (fault,) = tamper(change).faults
            assert (fault.code, commitment in fault.detail) == ("E_COMMIT", True)


def _flip(value: bytes, chance: random.Random) -> bytes:
    index = chance.randrange(len(value))
    return value[:index] + bytes([value[index] ^ 1 << chance.randrange(8)]) + value[index + 1 :]


@pytest.mark.parametrize("column", ["salt", "body"])
def test_every_byte_of_a_text(
    tamper: Callable[..., Report], original: Path, tmp_path: Path, column: str
) -> None:
    rows = _rows(original, f"SELECT commitment, {column} FROM contents ORDER BY length(body)")
    commitment, value = rows[len(rows) // 2]
    directory = DataDirectory(tmp_path / "data")
    tamper()
    database = sqlite3.connect(directory.ledger, isolation_level=None)
    for index in range(len(value)):
        flipped = value[:index] + bytes([value[index] ^ 1]) + value[index + 1 :]
        database.execute(
            f"UPDATE contents SET {column} = ? WHERE commitment = ?", (flipped, commitment)
        )
        report = verify_data_directory(directory)
        (fault,) = report.faults
        assert (fault.code, commitment in fault.detail) == ("E_COMMIT", True)
        assert fault.position is not None
    database.close()


def test_each_removed_event(tamper: Callable[..., Report], original: Path) -> None:
    (head,) = _rows(original, "SELECT max(position) FROM events")[0]
    for position in range(1, head):
        report = tamper(f"DELETE FROM events WHERE position = {position}")
        assert (position, "E_GAP") in _found(report)
    last = tamper(f"DELETE FROM events WHERE position = {head}")
    assert (head, "E_BEHIND") in _found(last)


def test_a_removed_text_and_a_planted_one(tamper: Callable[..., Report], original: Path) -> None:
    commitment = _rows(original, "SELECT commitment FROM contents LIMIT 1 OFFSET 5")[0][0]
    report = tamper(
        ("DELETE FROM contents WHERE commitment = ?", (commitment,)),
        "INSERT INTO contents VALUES ('beef', x'00', x'00')",
    )
    assert {code for _, code in _found(report)} == {"E_CONTENT_MISSING", "E_CONTENT_ORPHAN"}
    assert next(f.position for f in report.faults if f.code == "E_CONTENT_MISSING") is not None


def _swap(first: int, second: int) -> list[str]:
    return [
        f"UPDATE events SET position = -1 WHERE position = {first}",
        f"UPDATE events SET position = {first} WHERE position = {second}",
        f"UPDATE events SET position = {second} WHERE position = -1",
    ]


def _pairs(original: Path, *, same_stream: bool) -> list[tuple[int, int]]:
    """Neighbouring events of one stream, or neighbours in the ledger of different streams."""
    rows = _rows(original, "SELECT position, stream FROM events ORDER BY position")
    if not same_stream:
        neighbours = zip(rows, rows[1:], strict=False)
        return [(a[0], b[0]) for a, b in neighbours if a[1] != b[1] and a[0] > 5]
    found: list[tuple[int, int]] = []
    last: dict[str, int] = {}
    for position, stream in rows:
        if stream in last:
            found.append((last[stream], position))
        last[stream] = position
    return found


def test_each_swap_within_a_stream(tamper: Callable[..., Report], original: Path) -> None:
    pairs = _pairs(original, same_stream=True)
    assert len(pairs) >= 30
    for first, second in pairs:
        found = _found(tamper(*_swap(first, second)))
        assert (first, "E_STREAM_GAP") in found and (first, "E_PREV") in found


def test_each_swap_between_streams_with_every_column_set_right(
    tamper: Callable[..., Report], original: Path
) -> None:
    recompute = (
        "UPDATE events SET running_time = (SELECT max(e.time) FROM events e"
        " WHERE e.position <= events.position)"
    )
    pairs = _pairs(original, same_stream=False)
    assert len(pairs) >= 5
    for first, second in pairs:
        report = tamper(*_swap(first, second), recompute)
        roots = [fault for fault in report.faults if fault.code == "E_ROOT"]
        assert roots and roots[0].position <= first
        assert f"to {report.sealed}" in roots[-1].detail


def test_a_duplicated_event(tamper: Callable[..., Report]) -> None:
    at_the_end = tamper(
        "INSERT INTO events SELECT (SELECT max(position) + 1 FROM events), stream,"
        " stream_position, type, event_id, time, running_time, payload, key_id, signature,"
        " leaf_hash FROM events WHERE position = 9"
    )
    head = at_the_end.events
    assert {(head, "E_DUP"), (head, "E_STREAM_GAP")} <= _found(at_the_end)
    in_place = tamper("INSERT INTO events SELECT * FROM events WHERE position = 9")
    assert (9, "E_DUP") in _found(in_place)


def test_an_inserted_event_without_the_key(tamper: Callable[..., Report]) -> None:
    report = tamper(
        "INSERT INTO events SELECT (SELECT max(position) + 1 FROM events), 'principal/x', 1, type,"
        " 'new', time, running_time, CAST(replace(CAST(payload AS TEXT), 'viewer', 'admin') AS"
        " BLOB), key_id, signature, leaf_hash FROM events WHERE type LIKE '%grant.given%'"
        " ORDER BY position DESC LIMIT 1"
    )
    assert (report.events, "E_SIG") in _found(report)


def test_a_stream_removed_and_everything_renumbered(
    tamper: Callable[..., Report], original: Path
) -> None:
    stream = _rows(original, "SELECT stream FROM events WHERE stream LIKE 'prompt/%' LIMIT 1")[0][0]
    report = tamper(
        f"DELETE FROM events WHERE stream = '{stream}'",
        "CREATE TABLE n AS SELECT row_number() OVER (ORDER BY position) AS fresh, * FROM events",
        "DELETE FROM events",
        "INSERT INTO events SELECT fresh, stream, stream_position, type, event_id, time,"
        " running_time, payload, key_id, signature, leaf_hash FROM n",
    )
    codes = {code for _, code in _found(report)}
    assert {"E_ROOT", "E_BEHIND", "E_CONTENT_ORPHAN"} <= codes
    assert "E_GAP" not in codes


def test_an_older_checkpoint_put_back(tamper: Callable[..., Report], original: Path) -> None:
    def put_back(directory: Path) -> None:
        (directory / "checkpoint").write_bytes((original / "older").read_bytes())

    assert {code for _, code in _found(tamper(put_back))} == {"E_CHECKPOINT"}
    in_database = tamper("DELETE FROM checkpoints WHERE size > (SELECT min(size) FROM checkpoints)")
    assert in_database.sealed < in_database.events
    cut = tamper("DELETE FROM events WHERE position > 30",
                 "DELETE FROM checkpoints WHERE size > 30")  # fmt: skip
    assert "E_BEHIND" in {code for _, code in _found(cut)}


def test_a_checkpoint_of_somebody_else(tamper: Callable[..., Report]) -> None:
    report = tamper("UPDATE checkpoints SET note = replace(CAST(note AS TEXT), 'A', 'B')")
    assert "E_NOTE" in {code for _, code in _found(report)}


def test_columns_that_repeat_the_payload(tamper: Callable[..., Report]) -> None:
    for column in ("stream", "type", "event_id", "time", "running_time"):
        report = tamper(f"UPDATE events SET {column} = 'x' WHERE position = 12")
        assert (12, "E_COLUMN") in _found(report), column
    report = tamper("UPDATE events SET stream_position = 99 WHERE position = 12")
    assert (12, "E_COLUMN") in _found(report)


def test_several_faults_are_all_listed(tamper: Callable[..., Report], original: Path) -> None:
    commitment = _rows(
        original, "SELECT commitment FROM contents ORDER BY length(body) DESC LIMIT 1"
    )[0][0]
    report = tamper(
        "UPDATE events SET signature = x'00' WHERE position = 8",
        "UPDATE events SET leaf_hash = x'00' WHERE position = 15",
        "UPDATE events SET type = 'x' WHERE position = 22",
        ("UPDATE contents SET salt = x'00' WHERE commitment = ?", (commitment,)),
        "DELETE FROM events WHERE position = 33",
    )
    found = _found(report)
    assert {(8, "E_SIG"), (15, "E_LEAF"), (22, "E_COLUMN"), (33, "E_GAP")} <= found
    assert "E_COMMIT" in {code for _, code in found}
