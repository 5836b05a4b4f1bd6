"""PostgreSQL under faults: races, lost connections, lost replies, and what its roles may not do."""

import asyncio
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest
from eventsourcing.persistence import PersistenceError

from api.main import store_of
from ledger.errors import ForkedError, MigrationError
from ledger.postgres.migrate import migrate
from ledger.postgres.recorder import PostgresLedgerRecorder
from tests.contracts.recorder import event, unit
from tests.harness import ROOT, Api, Process, registry, settings_in, text_content, verify
from tests.servers import Postgres


@pytest.fixture
def url(postgres: Postgres) -> str:
    return postgres.database()


def _ended(postgres: Postgres, database_url: str, condition: str = "true") -> int:
    """End a database's connections, as a failing network would; how many."""
    with psycopg.connect(postgres.url("postgres", "postgres"), autocommit=True) as admin:
        rows = admin.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            f" WHERE datname = %s AND {condition}".encode(),
            (database_url.rpartition("/")[2],),
        ).fetchall()
    return len(rows)


# Roles


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE scrinia.events SET time = ''",
        "DELETE FROM scrinia.events",
        "TRUNCATE scrinia.events",
        "INSERT INTO scrinia.events SELECT * FROM scrinia.events",
        "UPDATE scrinia.contents SET body = ''",
        "DELETE FROM scrinia.contents",
        "DELETE FROM scrinia.checkpoints",
        "INSERT INTO scrinia.checkpoints VALUES (9, '', '')",
        "UPDATE scrinia.ledger_head SET position = 9",
        "DELETE FROM scrinia.idempotency",
        "ALTER TABLE scrinia.events DISABLE TRIGGER ALL",
        "DROP TABLE scrinia.events",
        "CREATE TABLE scrinia.other (x int)",
        "SET ROLE postgres",
    ],
)
def test_the_server_role_cannot_touch_the_ledger(url: str, statement: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        with pytest.raises((psycopg.errors.InsufficientPrivilege, psycopg.errors.RaiseException)):
            connection.execute(statement.encode())


@pytest.mark.parametrize("table", ["events", "contents", "checkpoints"])
def test_not_even_the_owner_changes_a_row(postgres: Postgres, url: str, table: str) -> None:
    with psycopg.connect(postgres.as_admin(url), autocommit=True) as connection:
        for statement in (f"DELETE FROM scrinia.{table}", f"TRUNCATE scrinia.{table}"):
            with pytest.raises(psycopg.errors.RaiseException, match="never changed"):
                connection.execute(statement.encode())


def test_append_takes_no_other_isolation_and_makes_itself_durable(url: str) -> None:
    recorder = PostgresLedgerRecorder(url)
    try:
        recorder.append_units([unit(event("a/1", 1))])
        writer = recorder._writer
        writer.execute("SET synchronous_commit TO off")
        writer.execute("SET default_transaction_isolation TO 'repeatable read'")
        with pytest.raises(PersistenceError, match="READ COMMITTED"):
            recorder.append_units([unit(event("a/1", 2))])
    finally:
        recorder.close()
    with psycopg.connect(url) as connection:
        connection.execute("SET synchronous_commit TO off")
        nothing = [[] for _ in range(24)]
        connection.execute(
            "SELECT * FROM scrinia.append(0, false, 5, 24,"
            " %s::int[], %s::text[], %s::bigint[], %s::int[], %s::text[], %s::bigint[], %s::text[],"
            " %s::text[], %s::text[], %s::bytea[], %s::text[], %s::bytea[], %s::bytea[], %s::int[],"
            " %s::text[], %s::bytea[], %s::bytea[], %s::int[], %s::text[], %s::text[], %s::text[],"
            " %s::bytea[], %s::int[], %s::bigint[])",
            nothing,
        )
        assert connection.execute("SHOW synchronous_commit").fetchone() == ("on",)


# Migrations


def test_eight_migrations_at_once_make_one_database(postgres: Postgres) -> None:
    name = postgres.empty_database()
    admin, server = postgres.url("postgres", name), postgres.url(f"{name}_server", name)
    with ThreadPoolExecutor(8) as pool:
        applied = list(pool.map(lambda _: migrate(admin, server).applied, range(8)))
    assert sum(map(len, applied)) == len(max(applied, key=len)) > 0
    again = migrate(admin, server)
    assert again.applied == [] and "keeps its password" in again.notes[0]


def test_eight_processes_that_start_together(tmp_path: Path, url: str) -> None:
    env = {"SCRINIA_DATABASE_URL": url}
    environment = Process(tmp_path / "data", env).environment
    (tmp_path / "logs").mkdir()
    processes = []
    for number in range(8):
        with (tmp_path / "logs" / str(number)).open("wb") as log:
            processes.append(subprocess.Popen(
                [sys.executable, "-m", "api.cli.main", "serve"],
                cwd=ROOT, env=environment, stdout=log, stderr=log,
            ))  # fmt: skip
    try:
        deadline = time.monotonic() + 60
        while not all(b"listens" in p.read_bytes() for p in (tmp_path / "logs").iterdir()):
            assert all(p.poll() is None for p in processes), _logs(tmp_path)
            assert time.monotonic() < deadline, _logs(tmp_path)
            time.sleep(0.1)
    finally:
        for process in processes:
            process.terminate()
        assert [process.wait(30) for process in processes] == [0] * 8, _logs(tmp_path)
    assert "Traceback" not in _logs(tmp_path)
    assert verify(tmp_path / "data", url).faults == []


def _logs(folder: Path) -> str:
    return "\n".join(path.read_text() for path in (folder / "logs").iterdir())


def test_what_a_database_lacks_is_said(postgres: Postgres, tmp_path: Path) -> None:
    name = postgres.empty_database()
    admin = postgres.url("postgres", name)
    settings = settings_in(tmp_path, database_url=admin)
    with pytest.raises(MigrationError, match="scrinia migrate"):
        store_of(settings).exists()
    with pytest.raises(MigrationError, match="another role"):
        migrate(admin, admin)
    with pytest.raises(MigrationError, match="name the same one"):
        migrate(admin, postgres.url("x", "elsewhere"))


def test_a_second_directory_cannot_begin_a_second_ledger(tmp_path: Path, url: str) -> None:
    first = Process(tmp_path / "one" / "data", {"SCRINIA_DATABASE_URL": url})
    first.data_dir.parent.mkdir()
    first.cli("init")
    second = Process(tmp_path / "two" / "data", {"SCRINIA_DATABASE_URL": url})
    for command in ("init", "serve"):
        done = second.cli(command, check=False)
        assert done.returncode == 1 and "Traceback" not in done.stderr, done.stderr
    store = store_of(settings_in(tmp_path, database_url=url))
    with pytest.raises(ForkedError, match="holds ledger"), store.begin("another"):
        pass


# Lost connections


async def test_a_killed_listen_connection_comes_back(
    tmp_path: Path, postgres: Postgres, url: str
) -> None:
    async with registry(tmp_path, database_url=url) as api:
        await api.make_prompt("acme/mail")
        for _ in range(3):
            listening = "query LIKE 'LISTEN%%'"
            assert await asyncio.to_thread(_ended, postgres, url, listening) == 1
            start = time.monotonic()
            await _written_elsewhere(api, url)
            assert time.monotonic() - start < 5
            deadline = time.monotonic() + 10
            while await asyncio.to_thread(_listening, postgres, url) == 0:
                assert time.monotonic() < deadline, "it does not listen again"
                await asyncio.sleep(0.05)


def _listening(postgres: Postgres, url: str) -> int:
    with psycopg.connect(postgres.url("postgres", "postgres")) as admin:
        return admin.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = %s AND query LIKE 'LISTEN%%'",
            (url.rpartition("/")[2],),
        ).fetchone()[0]


async def _written_elsewhere(api: Api, url: str) -> None:
    """A commit of another process, seen by this one."""
    services = api.services
    last = (await asyncio.to_thread(services.recorder.select_after, 0, 10_000))[-1]
    path = f"/v1/projects/acme/prompts/mail/-/labels/l{last.id}"
    committer = services.committer
    notify = committer._on_commit
    committer._on_commit = lambda leaves: None  # as if somebody else had written it
    try:
        moved = await api.ok("PUT", path, {"version": 1})
    finally:
        committer._on_commit = notify
    assert await services.follower.wait_beyond(moved["position"] - 1, 5)


async def test_every_connection_lost_again_and_again(
    tmp_path: Path, postgres: Postgres, url: str
) -> None:
    """Commands and reads go on over new connections; with one key nothing happens twice."""
    async with registry(tmp_path, database_url=url) as api:
        await api.make_prompt("acme/mail", "0")
        path = "/v1/projects/acme/prompts/mail"
        stop = asyncio.Event()

        async def cut() -> None:
            while not stop.is_set():
                await asyncio.to_thread(_ended, postgres, url)
                await asyncio.sleep(0.15)

        cutting = asyncio.create_task(cut())
        for number in range(1, 41):
            body, key = {"content": text_content(str(number))}, {"Idempotency-Key": f"k{number}"}
            async with asyncio.timeout(20):
                while True:
                    answer = await api.call("POST", f"{path}/-/versions", body, headers=key)
                    if answer.status == 201:
                        break
                    assert answer.status == 503, answer.body
            assert answer.body["version"] == number + 1
        stop.set()
        await cutting
        assert (await api.ok("GET", f"{path}?label=latest"))["version"] == 41
        page = await api.call("GET", "/v1/projects/acme/prompts")
        while page.status == 503:
            page = await api.call("GET", "/v1/projects/acme/prompts")
        assert page.body["items"][0]["latest_version"] == 41
    assert verify(tmp_path / "data", url).faults == []


async def test_a_commit_whose_reply_is_lost_counts_once(tmp_path: Path, url: str) -> None:
    """The connection dies after COMMIT: the batch is submitted again, byte for byte."""
    async with registry(tmp_path, database_url=url) as api:
        await api.make_prompt("acme/mail", "0")
        recorder = api.services.recorder
        append = recorder._append
        lost = []

        def losing(units: list, again: bool, skew: float) -> list:
            verdicts = append(units, again, skew)
            if not lost:
                lost.append(again)
                recorder._drop_writer()
                raise PersistenceError("server closed the connection unexpectedly")
            return verdicts

        recorder._append = losing
        path = "/v1/projects/acme/prompts/mail/-/versions"
        made = await api.ok("POST", path, {"content": text_content("1")})
        assert (made["version"], lost) == (2, [False])
        assert len((await api.ok("GET", path))["items"]) == 2


# Two writers


def test_two_processes_never_build_on_what_was_not_there(tmp_path: Path, url: str) -> None:
    """The wrong-base test: two processes, few prompts, every version on the one before it."""
    env = {"SCRINIA_DATABASE_URL": url, "SCRINIA_PROCESSES": "2"}
    server = Process(tmp_path / "data", env)
    server.start()
    setup = server.client()
    setup.ok("POST", "/v1/projects", {"project": "acme"})
    for number in range(3):
        body = {"name": f"p{number}", "content": text_content("0")}
        setup.ok("POST", "/v1/projects/acme/prompts", body)
    told: dict[tuple[int, int], str] = {}

    def write(writer: int) -> None:
        client = server.client()
        for turn in range(25):
            prompt, text = (writer + turn) % 3, f"{writer}-{turn}"
            path = f"/v1/projects/acme/prompts/p{prompt}/-/versions"
            answer = client.ok("POST", path, {"content": text_content(text)})
            assert (prompt, answer["version"]) not in told
            told[prompt, answer["version"]] = text

    threads = [threading.Thread(target=write, args=(n,)) for n in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(told) == 12 * 25, "a command was refused: no writer may starve"
    for (prompt, version), text in told.items():
        answer = setup.ok("GET", f"/v1/projects/acme/prompts/p{prompt}?version={version}")
        assert answer["content"]["text"] == text
    for prompt in range(3):
        versions = sorted(v for p, v in told if p == prompt)
        assert versions == list(range(2, len(versions) + 2))
    assert server.stop() == 0
    assert verify(tmp_path / "data", url).faults == []
