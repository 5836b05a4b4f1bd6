"""What a server refuses to start on, and what it stops on."""

import asyncio
import json
import shutil
import sqlite3
import time
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from api.main import initialise_if_missing, running, store_of
from ledger.initialising import initialise
from ledger.errors import ForkedError, KeyFileError, TamperedError
from ledger.ids import SystemIds
from tests.contracts.recorder import event, unit
from tests.harness import Api, Process, registry, settings_in

REAL_PROCESSES = True


async def _run(folder: Path) -> None:
    async with running(settings_in(folder)):
        pass


async def test_a_database_behind_its_exported_checkpoint(tmp_path: Path) -> None:
    async with registry(tmp_path) as api:
        await api.make_prompt("acme/one")
    shutil.copytree(tmp_path / "data", tmp_path / "backup")
    async with registry(tmp_path) as api:
        await api.make_prompt("acme/two")
    checkpoint = (tmp_path / "data" / "checkpoint").read_bytes()
    shutil.rmtree(tmp_path / "data")
    shutil.copytree(tmp_path / "backup", tmp_path / "data")
    await _run(tmp_path)
    (tmp_path / "data" / "checkpoint").write_bytes(checkpoint)
    with pytest.raises(ForkedError, match="behind"):
        await _run(tmp_path)


async def test_a_database_of_another_history(tmp_path: Path) -> None:
    async with registry(tmp_path) as api:
        await api.make_prompt("acme/one")
    other = tmp_path / "other"
    async with registry(other) as api:
        await api.make_prompt("acme/one")
    shutil.copy(other / "data" / "checkpoint", tmp_path / "data" / "checkpoint")
    with pytest.raises(ForkedError):
        await _run(tmp_path)


async def test_an_older_exported_checkpoint_is_brought_up_to_date(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    initialise_if_missing(settings)
    first = settings.directory.checkpoint.read_bytes()
    async with registry(tmp_path) as api:
        await api.make_prompt("acme/one")
    newest = settings.directory.checkpoint.read_bytes()
    settings.directory.checkpoint.write_bytes(first)
    await _run(tmp_path)
    assert settings.directory.checkpoint.read_bytes() == newest != first


async def test_keys_that_others_can_read(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    initialise_if_missing(settings)
    for path in (settings.directory.event_key, settings.directory.checkpoint_key,
                 settings.token_file):  # fmt: skip
        assert path.stat().st_mode & 0o777 == 0o600
    settings.directory.event_key.chmod(0o644)
    with pytest.raises(KeyFileError, match="chmod 600"):
        await _run(tmp_path)


def test_init_never_overwrites(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    assert initialise_if_missing(settings)
    assert not initialise_if_missing(settings)
    with pytest.raises(KeyFileError, match="never overwrites"):
        initialise(store_of(settings), settings.directory, settings.token_file, SystemIds())


async def test_a_forged_event_stops_the_followers_and_is_said_so(api: Api) -> None:
    await api.make_prompt("acme/mail")
    last = (await asyncio.to_thread(api.services.recorder.select_after, 0, 1000))[-1]
    forged = replace(event("principal/forged", 1), topic=last.topic, state=last.state + b" ",
                     key_id=last.key_id, signature=last.signature)  # fmt: skip
    await asyncio.to_thread(api.services.recorder.append_units, [unit(forged)])
    async with asyncio.timeout(10):
        while (answer := await api.call("GET", "/readyz")).status == 200:
            await asyncio.sleep(0.05)
    assert answer.status == 503
    resolved = await api.call("GET", "/v1/projects/acme/prompts/mail?version=1",
                              headers={"Scrinia-Min-Position": "0"})  # fmt: skip
    assert resolved.status == 200, "reading goes on from memory"


async def test_a_forged_event_that_waits_for_the_next_start(tmp_path: Path) -> None:
    async with registry(tmp_path) as api:
        await api.make_prompt("acme/one")
    with sqlite3.connect(tmp_path / "data" / "ledger.db") as database:
        database.execute(
            "INSERT INTO events SELECT position + 1, stream, stream_position + 1, type, 'forged',"
            " time, running_time, payload, key_id, x'00', leaf_hash FROM events"
            " WHERE position = (SELECT max(position) FROM events)"
        )
    database.close()
    with pytest.raises(TamperedError, match="verify"):
        await _run(tmp_path)


async def test_sealing_goes_on_after_a_passing_failure(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = api.services.recorder
    store = recorder.store_checkpoint
    failures = iter([True, True])

    def failing(checkpoint: object) -> None:
        if next(failures, False):
            raise OSError("disk full")
        store(checkpoint)

    monkeypatch.setattr(recorder, "store_checkpoint", failing)
    await api.make_prompt("acme/one")
    async with asyncio.timeout(20):
        while api.services.transparency.position < api.position:
            await asyncio.sleep(0.05)


def test_no_secret_is_left_anywhere(server: Process) -> None:
    principal = server.cli("principal", "create", "ci").stdout.strip()
    token = server.cli("token", "issue", principal).stdout.strip()
    guest = Process(server.data_dir, {"SCRINIA_TOKEN": token}, real=True)
    guest.cli("whoami")
    server.stop()
    secrets = [token.encode(), server.token.encode()]
    secrets += [p.read_bytes().split()[2] for p in (server.data_dir / "keys").iterdir()]
    for path in [*server.data_dir.iterdir(), server.data_dir.parent / "serve.log"]:
        if path.is_file() and path.name != "admin.token":
            content = path.read_bytes()
            assert not any(secret in content for secret in secrets), path


def test_the_first_lines_of_serve_say_how_to_go_on(server: Process) -> None:
    file = server.data_dir.parent / "serve.log"
    until = time.monotonic() + 20
    while "/v1/whoami" not in (log := file.read_text()) and time.monotonic() < until:
        time.sleep(0.05)  # it answers a moment before it says so
    assert f"Scrinia listens on {server.url}" in log
    assert f"Admin token: {server.data_dir / 'admin.token'}" in log
    assert "curl -H" in log and "/v1/whoami" in log


async def test_a_changed_text_is_refused_and_the_rest_goes_on(tmp_path: Path) -> None:
    async with registry(tmp_path) as api:
        await api.make_prompt("acme/mail", "one")
        await api.make_prompt("acme/other", "two")
    with sqlite3.connect(tmp_path / "data" / "ledger.db") as database:
        database.execute("DROP TRIGGER contents_no_update")
        database.execute(
            "UPDATE contents SET body = CAST(replace(CAST(body AS TEXT), 'one', 'won') AS BLOB)"
        )
    database.close()
    async with registry(tmp_path) as api:
        for path in ("?version=1", "/-/versions/1", "/-/diff?from=1&to=1"):
            answer = await api.call("GET", f"/v1/projects/acme/prompts/mail{path}")
            assert (answer.status, answer.code) == (503, "tampered"), path
        assert (await api.call("GET", "/v1/projects/acme/prompts/other?version=1")).status == 200


async def test_environments_taken_out_of_the_ledger_open_no_door(tmp_path: Path) -> None:
    """A project's event is changed so that `production` is a label like any other: no start."""
    async with registry(tmp_path) as api:
        await api.make_prompt("acme/mail", "one")
        await api.services.transparency.seal()
    with sqlite3.connect(tmp_path / "data" / "ledger.db") as database:
        database.execute("DROP TRIGGER events_no_update")
        database.execute(
            "UPDATE events SET payload = CAST(replace(CAST(payload AS TEXT), ',\"production\"', '')"
            " AS BLOB) WHERE type LIKE '%project.created%'"
        )
    database.close()
    with pytest.raises(TamperedError, match="forged"):
        async with registry(tmp_path):
            pass


async def test_one_digest_that_is_not_there_costs_no_memory(tmp_path: Path) -> None:
    async with registry(tmp_path, serving_bytes_max=300_000) as api:
        await api.make_prompt("acme/big", "0" * 100_000)
        path = "/v1/projects/acme/prompts/big"
        for number in range(1, 12):
            body = {"content": {"type": "text", "text": str(number) * 50_000}}
            known = await api.ok("POST", f"{path}/-/versions", body)
        unknown = await api.call("GET", f"{path}?digest=sha256:{'0' * 64}")
        assert unknown.status == 404
        assert (await api.ok("GET", f"{path}?digest={known['digest']}"))["version"] == 12
        for number in range(1, 13):
            await api.ok("GET", f"{path}?version={number}")
            assert api.services.serving.bytes <= 300_000 + 250_000


async def test_an_old_event_that_was_changed_is_found_while_the_server_runs(
    tmp_path: Path, database_url: str | None, request: pytest.FixtureRequest
) -> None:
    async with registry(tmp_path, database_url=database_url, scrub_hours=0.0001) as api:
        await api.make_prompt("acme/mail")
        scrub = api.services.scrub
        async with asyncio.timeout(20):
            while scrub.passes < 2:
                await asyncio.sleep(0.05)
        assert scrub.faults == []
        change = "UPDATE {} SET leaf_hash = signature WHERE position = 3"
        if database_url is None:
            with sqlite3.connect(tmp_path / "data" / "ledger.db") as database:
                database.execute("DROP TRIGGER events_no_update")
                database.execute(change.format("events"))
            database.close()
        else:
            admin = request.getfixturevalue("postgres").as_admin(database_url)
            with psycopg.connect(admin) as connection:
                connection.execute("ALTER TABLE scrinia.events DISABLE TRIGGER ALL")
                connection.execute(change.format("scrinia.events").encode())
        async with asyncio.timeout(20):
            while scrub.faults != [3]:
                await asyncio.sleep(0.05)
        assert "scrinia_scrub_faults 1.0" in (await api.call("GET", "/metrics")).body.decode()


def test_json_logs_tell_of_commands_and_never_of_secrets(tmp_path: Path) -> None:
    server = Process(tmp_path / "data", {"SCRINIA_LOG_FORMAT": "json"}, real=True)
    server.start()
    client = server.client()
    made = client.call("POST", "/v1/projects", {"project": "acme"})
    principal = client.ok("POST", "/v1/principals", {"type": "service", "name": "x"})
    token = client.ok("POST", "/v1/tokens", {"principal_id": principal["principal_id"]})["token"]
    assert server.stop() == 0
    text = (tmp_path / "serve.log").read_text()
    lines = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    told = {line["message"]: line for line in lines if line["logger"] == "scrinia.commands"}
    assert set(told) == {"CreateProject", "CreatePrincipal", "IssueToken"}
    first = told["CreateProject"]
    assert first["request_id"] == made.headers["X-Request-Id"]
    assert (first["position"], first["changed"]) == (made.body["position"], True)
    assert token not in text and server.token not in text
