"""Ledgers on the move: copied, backed up under load, restored elsewhere, byte for byte."""

import asyncio
import json
import shutil
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from api.main import store_of
from ledger.errors import ClosedError, ForkedError
from ledger.copying import copy_ledger
from ledger.store import LedgerStore
from tests.harness import Process, registry, settings_in, text_content, verify
from tests.servers import Postgres


def rows_of(store: LedgerStore) -> dict[str, list[Any]]:
    """Everything a ledger holds, as it lies there."""
    with store.reading() as ledger:
        events = [row for rows in ledger.rows() for row in rows]
        commitments = sorted(ledger.commitments())
        return {
            "events": events,
            "texts": [(c, ledger.texts([c])[c]) for c in commitments],
            "checkpoints": ledger.checkpoints(),
            "answers": sorted(ledger.answers()),
            "identities": ledger.identities(),
        }


def fill(server: Process, prompts: int = 3) -> None:
    client = server.client()
    client.ok("POST", "/v1/projects", {"project": "acme"})
    for number in range(prompts):
        body = {"name": f"p{number}", "content": text_content(f"text {number}")}
        key = {"Idempotency-Key": f"key-{number}"}
        client.ok("POST", "/v1/projects/acme/prompts", body, headers=key)
        path = f"/v1/projects/acme/prompts/p{number}/-/labels/production"
        client.ok("PUT", path, {"version": 1, "reason": "go"})


def test_a_ledger_moves_to_postgres_and_goes_on_there(tmp_path: Path, postgres: Postgres) -> None:
    here = Process(tmp_path / "data")
    here.start()
    fill(here)
    source = f"sqlite:///{tmp_path / 'data' / 'ledger.db'}"
    target = postgres.database()
    running = here.cli("copy", "--from", source, "--to", target, check=False)
    assert (running.returncode, "stop it first" in running.stderr) == (1, True)
    assert here.stop() == 0
    before = rows_of(store_of(settings_in(tmp_path)))
    moved = json.loads(here.cli("--json", "copy", "--from", source, "--to", target).stdout)
    assert moved["events"] == len(before["events"])
    assert rows_of(store_of(settings_in(tmp_path, database_url=target))) == before
    refused = here.cli("serve", check=False)
    assert (refused.returncode, "was moved to" in refused.stderr) == (1, True)
    for command, code in (
        (("backup", str(tmp_path / "late")), 1),
        (("worker",), 1),
        (("doctor",), 3),
    ):
        done = here.cli(*command, check=False)
        assert done.returncode == code, command
        assert "was moved to" in done.stdout + done.stderr, command
    assert "no fault" in here.cli("verify").stdout
    there = Process(tmp_path / "data", {"SCRINIA_DATABASE_URL": target})
    there.start()
    client = there.client()
    assert client.ok("GET", "/v1/projects/acme/prompts/p1")["content"]["text"] == "text 1"
    body = {"name": "p0", "content": text_content("text 0")}
    again = client.call("POST", "/v1/projects/acme/prompts", body,
                        headers={"Idempotency-Key": "key-0"})  # fmt: skip
    assert (again.status, again.headers["Idempotency-Replayed"]) == (201, "true")
    client.ok("POST", "/v1/projects/acme/prompts/p1/-/versions", {"content": text_content("on")})
    assert there.stop() == 0
    assert verify(tmp_path / "data", target).faults == []
    ahead = here.cli("copy", "--from", source, "--to", target, check=False)
    assert (ahead.returncode, "ahead" in ahead.stderr) == (1, True)
    refused = here.cli("serve", check=False)
    assert (refused.returncode, "was moved to" in refused.stderr) == (1, True)


def test_a_copy_that_broke_off_goes_on_and_another_ledger_is_refused(
    tmp_path: Path, postgres: Postgres
) -> None:
    for name in ("one", "two"):
        server = Process(tmp_path / name / "data")
        server.data_dir.parent.mkdir()
        server.start()
        fill(server)
        assert server.stop() == 0
    target = store_of(settings_in(tmp_path, database_url=postgres.database()))
    one, two = (store_of(settings_in(tmp_path / name)) for name in ("one", "two"))

    def broken(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with one.reading() as ledger, pytest.raises(KeyboardInterrupt):
        copy_ledger(ledger, target, broken)
    with two.reading() as ledger, pytest.raises(ForkedError):
        copy_ledger(ledger, target, lambda done, total: None)
    with one.reading() as ledger:
        copy_ledger(ledger, target, lambda done, total: None)
    assert rows_of(target) == rows_of(one)
    one.close("was moved elsewhere")
    with pytest.raises(ClosedError, match="elsewhere"):
        one.exists()


def test_a_backup_under_load_is_restored_elsewhere(
    server: Process, tmp_path: Path, postgres: Postgres
) -> None:
    fill(server, 10)
    stop = threading.Event()
    acknowledged = []

    def load() -> None:
        client = server.client()
        while not stop.is_set():
            body = {"content": text_content(f"{threading.get_ident()} {time.monotonic_ns()}")}
            acknowledged.append(client.ok("POST", "/v1/projects/acme/prompts/p1/-/versions", body))

    threads = [threading.Thread(target=load) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        time.sleep(0.5)
        before = len(acknowledged)
        backup = tmp_path / "backup"
        done = json.loads(server.cli("--json", "backup", str(backup), "--with-secrets").stdout)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert len(acknowledged) > before > 0, "there was no load"
    twice = server.cli("backup", str(backup), check=False)
    assert (twice.returncode, "exists already" in twice.stderr) == (2, True)
    for name, url in (("sqlite", ""), ("postgres", postgres.database())):
        other = Process(tmp_path / name / "data", {"SCRINIA_DATABASE_URL": url})
        other.data_dir.parent.mkdir()
        restored = json.loads(other.cli("--json", "restore", str(backup)).stdout)
        assert (restored["events"], restored["missing_keys"]) == (done["events"], [])
        settings = settings_in(tmp_path / name, database_url=url or None)
        assert rows_of(store_of(settings)) == rows_of(store_of(settings_in_backup(backup)))
        other.start()
        client = other.client()
        held = client.ok("GET", "/v1/projects/acme/prompts/p1?label=latest")["version"]
        assert held >= max(answer["version"] for answer in acknowledged[:before])
        assert client.ok("POST", "/v1/projections/catalog/compare")["equal"]
        assert other.stop() == 0
        assert "no fault" in other.cli("verify").stdout


def settings_in_backup(backup: Path) -> Any:
    return settings_in(backup.parent, database_url=f"sqlite:///{backup / 'ledger.db'}")


def test_what_is_ahead_is_not_overwritten(tmp_path: Path, postgres: Postgres) -> None:
    url = postgres.database()
    server = Process(tmp_path / "data", {"SCRINIA_DATABASE_URL": url})
    server.start()
    fill(server)
    server.cli("backup", str(tmp_path / "backup"))
    files = {file.name for file in (tmp_path / "backup").iterdir()}
    assert files == {"ledger.db", "trust.json", "checkpoint"}
    assert (tmp_path / "backup" / "ledger.db").stat().st_mode & 0o077 == 0
    server.client().ok("POST", "/v1/projects", {"project": "later"})
    assert server.stop() == 0
    refused = server.cli("restore", str(tmp_path / "backup"), check=False)
    assert (refused.returncode, "ahead" in refused.stderr) == (1, True)
    assert "no fault" in server.cli("verify").stdout
    server.start()
    server.client().ok("POST", "/v1/projects", {"project": "on"})
    assert server.stop() == 0


def test_an_older_backup_beside_a_newer_checkpoint_is_not_served(tmp_path: Path) -> None:
    async def commit(name: str) -> None:
        async with registry(tmp_path) as api:
            await api.make_prompt(f"acme/{name}")

    asyncio.run(commit("one"))
    server = Process(tmp_path / "data")
    server.cli("backup", str(tmp_path / "backup"))
    asyncio.run(commit("two"))
    for file in tmp_path.joinpath("data").glob("*.db*"):
        file.unlink()
    restored = server.cli("restore", str(tmp_path / "backup"), check=False)
    assert (restored.returncode, "--new-epoch" in restored.stderr) == (1, True)
    shutil.copy(tmp_path / "backup" / "ledger.db", tmp_path / "data" / "ledger.db")
    refused = server.cli("serve", check=False)
    assert (refused.returncode, "behind" in refused.stderr) == (1, True)


async def test_a_ledger_that_was_closed_under_a_server_says_so(
    tmp_path: Path, database_url: str | None
) -> None:
    """Moved away by another host: commands are refused at once, with where it went."""
    async with registry(tmp_path, database_url=database_url) as api:
        await api.make_prompt("acme/p")
        store_of(settings_in(tmp_path, database_url=database_url)).close("was moved to Rome.")
        began = time.monotonic()
        answer = await api.call("POST", "/v1/projects", {"project": "late"})
        assert (answer.status, answer.code) == (503, "closed")
        assert "was moved to Rome" in answer.body["detail"] and time.monotonic() - began < 1
        assert (await api.call("GET", "/v1/projects/acme/prompts/p?label=latest")).status == 200
