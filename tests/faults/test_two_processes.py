"""Two processes on one store, one of them late: it never answers from what it no longer knows."""

import asyncio
import signal
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import aiohttp
import psycopg
import pytest
from aiohttp import web

from api.http.routes import make_app
from api.main import running, store_of, views_of
from ledger.initialising import initialise
from ledger.errors import LedgerError
from ledger.ids import SystemIds
from tests.harness import ROOT, Api, Process, registry, settings_in, text_content, verify
from tests.servers import Postgres

PROMPT = "/v1/projects/acme/prompts/mail"
LABEL = f"{PROMPT}/-/labels/production"


@pytest.fixture
async def other(api: Api, tmp_path: Path, database_url: str | None) -> AsyncIterator[Api]:
    """A second process's parts over the store of `api`."""
    async with running(settings_in(tmp_path, database_url=database_url)) as services:
        runner = web.AppRunner(make_app(services), access_log=None, shutdown_timeout=1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = site._server.sockets[0].getsockname()[1]
        async with aiohttp.ClientSession() as session:
            yield Api(session, f"http://127.0.0.1:{port}", api.token, services=services)
        services.feed.close()
        await runner.cleanup()


def deafen(api: Api) -> None:
    """From now on this process hears nothing of what is committed."""
    api.services.follower._read_checked = list


async def test_nothing_to_do_is_decided_on_what_is_not_on_what_was(api: Api, other: Api) -> None:
    await api.make_prompt("acme/mail", "one")
    await api.ok("POST", f"{PROMPT}/-/versions", {"content": text_content("two")})
    await other.ok("PUT", LABEL, {"version": 1})
    deafen(other)
    await api.ok("PUT", LABEL, {"version": 2})
    answer = await other.ok("PUT", LABEL, {"version": 1})
    assert (answer["changed"], answer["from"]) == (True, 2)
    again = await other.ok("PUT", LABEL, {"version": 1})
    assert not again["changed"]
    same = await api.ok("POST", f"{PROMPT}/-/versions", {"content": text_content("two")})
    assert not same["changed"]


async def test_a_refusal_rests_on_what_is_not_on_what_was(api: Api, other: Api) -> None:
    await api.make_prompt("acme/first", "one")
    body = {"content": text_content("two")}
    assert (await other.call("POST", f"{PROMPT}/-/versions", body)).status == 404
    deafen(other)
    await api.make_prompt("acme/mail", "one")
    assert (await other.call("POST", f"{PROMPT}/-/versions", body)).status == 201
    assert (await other.call("POST", "/v1/projects", {"project": "late"})).status == 201
    assert (await api.call("POST", "/v1/projects", {"project": "late"})).status == 409


async def test_a_token_issued_elsewhere_counts_where_one_says_how_far_to_read(
    api: Api, other: Api
) -> None:
    read = other.services.follower._read_checked

    def late() -> list:
        time.sleep(0.15)
        return read()

    other.services.follower._read_checked = late
    for _ in range(5):
        caller = await api.make_caller({"role": "viewer"})
        guest = other.as_token(caller.api.token)
        headers = {"Scrinia-Min-Position": str(api.position)}
        assert (await guest.call("GET", "/v1/whoami", headers=headers)).status == 200
    assert (await other.as_token("scr_nobody").call(
        "GET", "/v1/whoami", headers={"Scrinia-Min-Position": "999999"}
    )).status == 401  # fmt: skip


async def test_a_holder_that_fell_asleep_over_a_lock_is_woken(
    tmp_path: Path, postgres: Postgres
) -> None:
    settings = settings_in(tmp_path, database_url=postgres.database())
    settings.data_dir.mkdir()
    with closing(views_of(settings)) as first, closing(views_of(settings)) as second:
        asleep, wake = threading.Event(), threading.Event()

        def sleeper() -> None:
            try:
                with first.writing() as cursor:
                    cursor.execute("INSERT INTO leases VALUES ('x', 'sleeper', 0)")
                    asleep.set()
                    wake.wait(20)
            except (LedgerError, psycopg.Error):
                pass

        thread = threading.Thread(target=sleeper)
        thread.start()
        assert asleep.wait(10)
        start = time.monotonic()
        taken: list[str] = []
        while taken != ["x"] and time.monotonic() < start + 10:
            try:
                taken = second.take_leases(["x"], "awake", 2.0)
            except LedgerError:
                pass
        assert (taken, time.monotonic() - start < 5) == (["x"], True)
        wake.set()
        thread.join()


def test_two_that_begin_at_once_make_one_ledger(tmp_path: Path, postgres: Postgres) -> None:
    for round_ in range(3):
        url = postgres.database()
        outcomes: list[object] = []
        barrier = threading.Barrier(3)

        def begin(name: str) -> None:
            settings = settings_in(tmp_path / f"{round_}-{name}", database_url=url)
            settings.data_dir.mkdir(parents=True)
            barrier.wait()
            try:
                outcomes.append(
                    initialise(
                        store_of(settings), settings.directory, settings.token_file, SystemIds()
                    )
                )
            except LedgerError as error:
                outcomes.append(error)

        threads = [threading.Thread(target=begin, args=(name,)) for name in "abc"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        made = [outcome for outcome in outcomes if isinstance(outcome, str)]
        assert len(made) == 1 and len(outcomes) == 3, outcomes
        store = store_of(settings_in(tmp_path, database_url=url))
        assert store.ledger_id() == made[0]
        with store.reading() as ledger:
            assert ledger.count() == 5


def test_comparing_before_anything_was_folded_does_no_harm(
    tmp_path: Path, database_url: str | None
) -> None:
    server = Process(tmp_path / "data", {"SCRINIA_DATABASE_URL": database_url or ""})
    server.cli("init")
    for name in ("catalog", "audit"):
        server.cli("projections", "compare", name)
    server.start()
    client = server.client()
    client.ok("POST", "/v1/projects", {"project": "acme"})
    assert [p["project"] for p in client.ok("GET", "/v1/projects")["items"]] == ["acme"]
    assert server.stop() == 0


def test_a_supervisor_can_be_stopped_at_any_moment(tmp_path: Path) -> None:
    server = Process(tmp_path / "data", {"SCRINIA_PROCESSES": "3"})
    server.cli("init")
    for wait in (0.3, 0.5, 0.6, 0.7, 0.8, 0.9, 1.1, 1.4):
        process = subprocess.Popen(
            [sys.executable, "-m", "api.cli.main", "serve"], cwd=ROOT, env=server.environment,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        time.sleep(wait)
        process.send_signal(signal.SIGTERM)
        assert process.wait(15) in (0, -signal.SIGTERM, 1), wait


def test_a_copy_closes_a_source_that_another_directory_serves(
    tmp_path: Path, postgres: Postgres
) -> None:
    source, target = postgres.database(), postgres.database()
    server = Process(tmp_path / "one" / "data", {"SCRINIA_DATABASE_URL": source})
    server.data_dir.parent.mkdir()
    server.start()
    client = server.client()
    client.ok("POST", "/v1/projects", {"project": "acme"})
    elsewhere = Process(tmp_path / "two" / "data", {"SCRINIA_DATABASE_URL": source})
    elsewhere.data_dir.mkdir(parents=True)
    for name in ("trust.json", "checkpoint"):
        (elsewhere.data_dir / name).write_bytes((server.data_dir / name).read_bytes())
    time.sleep(1.5)  # until everything is sealed
    elsewhere.cli("copy", "--from", source, "--to", target)
    refused = client.call("POST", "/v1/projects", {"project": "late"})
    assert refused.status == 503, "a command was acknowledged by a ledger that had moved away"
    server.stop()
    assert verify(elsewhere.data_dir, target).faults == []


async def test_reads_come_back_with_the_database(tmp_path: Path) -> None:
    postgres = Postgres()
    postgres.start()
    try:
        options = {"database_url": postgres.database(), "max_staleness": 4}
        async with registry(tmp_path, **options) as api:
            await api.make_prompt("acme/mail")
            await api.ok("GET", "/v1/projects/acme/prompts")
            hot = "/v1/projects/acme/prompts/mail?label=latest"
            await api.ok("GET", hot)
            await asyncio.to_thread(postgres.kill)
            api.position = 0
            assert (await api.call("GET", hot)).status == 200, "memory needs no database"
            body = {"content": text_content("two")}
            until = time.monotonic() + 10
            while time.monotonic() < until:
                start = time.monotonic()
                answers = await asyncio.gather(
                    *(api.call("POST", f"/v1/projects/acme/prompts/n{n}/-/versions", body)
                      for n in range(4))
                )  # fmt: skip
                assert {answer.status for answer in answers} == {503}
                assert time.monotonic() - start < 30, "each command waited for its own"
            stale = await api.call("GET", hot)
            assert (stale.status, stale.code) == (503, "not_caught_up"), "revoked or not?"
            await asyncio.to_thread(postgres.start)
            back = time.monotonic()
            while (await api.call("GET", "/v1/projects/acme/prompts")).status == 503:
                assert time.monotonic() - back < 8
                await asyncio.sleep(0.1)
            assert (await api.call("GET", hot)).status == 200
    finally:
        postgres.stop()


@pytest.mark.parametrize("setting", ["SCRINIA_DATABASE_URL", "SCRINIA_ADMIN_DATABASE_URL"])
@pytest.mark.parametrize("password", ["hunter%2", "a/hunter", "hunter@x", "x@hunter", "hunter"])
def test_a_password_is_never_shown(tmp_path: Path, setting: str, password: str) -> None:
    env = {"SCRINIA_DATABASE_URL": "postgresql://u:p@127.0.0.1:1/x",
           setting: f"postgresql://u:{password}@127.0.0.1:1/x"}  # fmt: skip
    server = Process(tmp_path / "data", env)
    for command in (("serve",), ("migrate", "--admin-url", f"postgresql://a:{password}@[::1]:1/x"),
                    ("doctor",), ("verify",)):  # fmt: skip
        done = server.cli(*command, check=False)
        assert done.returncode != 0
        assert "hunter" not in done.stdout + done.stderr, done.stderr


def test_a_second_server_leaves_the_address_of_the_first(tmp_path: Path) -> None:
    first = Process(tmp_path / "data")
    first.start()
    second = subprocess.Popen(
        [sys.executable, "-m", "api.cli.main", "serve"], cwd=ROOT, env=first.environment,
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert "listens on" in second.stdout.readline()
    assert (tmp_path / "data" / "address").read_text().strip() == first.url
    second.terminate()
    assert second.wait(20) == 0
    assert "admin" in first.cli("whoami").stdout
    assert first.stop() == 0
    assert not (tmp_path / "data" / "address").exists()


async def test_an_outage_is_told_once_by_each_part(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    postgres = Postgres()
    postgres.start()
    try:
        async with registry(tmp_path, database_url=postgres.database()) as api:
            await api.make_prompt("acme/mail")
            caplog.clear()
            await asyncio.to_thread(postgres.kill)
            start = time.monotonic()
            answer = await api.call("GET", "/v1/projects/acme/prompts")
            assert (answer.status, time.monotonic() - start < 10) == (503, True)
            await asyncio.sleep(6)
            away = [r for r in caplog.records if "trying again" in r.getMessage()]
            assert 1 <= len(away) <= 8 and not any(r.exc_info for r in caplog.records)
            await asyncio.to_thread(postgres.start)
            async with asyncio.timeout(15):
                while not any("works again" in r.getMessage() for r in caplog.records):
                    await asyncio.sleep(0.1)
    finally:
        postgres.stop()


def test_a_server_ends_also_while_its_database_is_away(tmp_path: Path) -> None:
    postgres = Postgres()
    postgres.start()
    try:
        env = {"SCRINIA_DATABASE_URL": postgres.database(), "SCRINIA_PROCESSES": "2"}
        server = Process(tmp_path / "data", env)
        server.start()
        server.client().ok("POST", "/v1/projects", {"project": "acme"})
        postgres.kill()
        time.sleep(1)
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(20) == 0
        log = (tmp_path / "serve.log").read_text()
        assert "Traceback" not in log, log[-3000:]
    finally:
        postgres.stop()
