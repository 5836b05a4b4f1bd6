"""Several processes on one ledger: one port, one of everything that there may be one of."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.harness import Process, Sync, text_content

PROMPT = "/v1/projects/acme/prompts/mail"


@pytest.fixture
def three(tmp_path: Path, database_url: str | None) -> Iterator[Process]:
    env = {"SCRINIA_DATABASE_URL": database_url or "", "SCRINIA_PROCESSES": "3"}
    server = Process(tmp_path / "data", env)
    server.start()
    yield server
    if server.process.poll() is None:
        server.stop()


def _children(server: Process) -> list[psutil.Process]:
    return psutil.Process(server.process.pid).children()


def _each_once(server: Process, count: int = 3) -> list[Sync]:
    """Clients with a connection of their own to each process."""
    found: dict[str, Sync] = {}
    deadline = time.monotonic() + 20
    while len(found) < count and time.monotonic() < deadline:
        client = server.client()
        answer = client.call("GET", "/v1/whoami")
        found.setdefault(answer.headers["X-Request-Id"].partition("-")[0], client)
    assert len(found) == count, "the port is not shared"
    return list(found.values())


def test_what_one_process_commits_every_process_serves(three: Process) -> None:
    first, *others = _each_once(three)
    first.ok("POST", "/v1/projects", {"project": "acme"})
    first.ok("POST", "/v1/projects/acme/prompts", {"name": "mail", "content": text_content("1")})
    for number in range(2, 30):
        writer = (first, *others)[number % 3]
        made = writer.ok("POST", f"{PROMPT}/-/versions", {"content": text_content(str(number))})
        assert made["version"] == number
        writer.ok("PUT", f"{PROMPT}/-/labels/production", {"version": number})
        for reader in (first, *others):
            reader.position = writer.position
            assert reader.ok("GET", PROMPT)["version"] == number
            metadata = reader.ok("GET", f"{PROMPT}/-/metadata")
            assert metadata["labels"] == {"production": number}
    assert three.stop() == 0


def test_a_killed_process_is_replaced_and_its_parts_are_taken_over(three: Process) -> None:
    client = three.client()
    client.ok("POST", "/v1/projects", {"project": "acme"})
    client.ok("POST", "/v1/projects/acme/prompts", {"name": "mail", "content": text_content("0")})
    for turn in range(1, 4):
        victims = _children(three)
        for victim in victims[: 1 + turn % 2]:
            victim.send_signal(signal.SIGKILL)
        client = three.client()
        made = _retried(client, {"content": text_content(str(turn))})
        assert made["version"] == turn + 1
        start = time.monotonic()
        page = client.call("GET", "/v1/projects/acme/prompts")
        while page.status == 503 and time.monotonic() - start < 8:
            page = client.call("GET", "/v1/projects/acme/prompts")
        assert page.body["items"][0]["latest_version"] == turn + 1
        assert time.monotonic() - start < 5.5, "the read models were not taken over in time"
        deadline = time.monotonic() + 10
        while len(_children(three)) < 3 and time.monotonic() < deadline:
            time.sleep(0.1)
    assert three.stop() == 0


def _retried(client: Sync, body: dict) -> dict:
    key = {"Idempotency-Key": os.urandom(8).hex()}
    for _ in range(50):
        try:
            return client.ok("POST", f"{PROMPT}/-/versions", body, headers=key)
        except (OSError, AssertionError):
            time.sleep(0.1)
    raise AssertionError("nobody answers")


def test_processes_go_with_their_supervisor(three: Process) -> None:
    children = _children(three)
    three.kill()
    _, alive = psutil.wait_procs(children, timeout=15)
    assert not alive


def test_a_port_that_is_taken_is_said_so(three: Process, tmp_path: Path) -> None:
    other = Process(tmp_path / "other", {"SCRINIA_BIND": three.url.removeprefix("http://")})
    done = other.cli("serve", "--processes", "2", check=False)
    assert done.returncode == 1 and "in use" in done.stderr
    assert "Traceback" not in done.stderr
