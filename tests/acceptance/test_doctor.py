"""`scrinia doctor` finds what is wrong and says what to do."""

import json
from pathlib import Path

import psycopg

from tests.harness import Process
from tests.servers import Nats, Postgres


def examine(server: Process, code: int = 0) -> dict[str, list[tuple[str, str]]]:
    done = server.cli("--json", "doctor", check=False)
    assert done.returncode == code, done.stdout + done.stderr
    found: dict[str, list[tuple[str, str]]] = {}
    for finding in json.loads(done.stdout)["findings"]:
        found.setdefault(finding["check"], []).append((finding["state"], finding["detail"]))
    return found


def test_a_healthy_installation(server: Process, nats: Nats) -> None:
    server.env["SCRINIA_NATS_URL"] = nats.url
    on_postgres = bool(server.env["SCRINIA_DATABASE_URL"])
    found = examine(server, 3 if on_postgres else 0)
    if on_postgres:
        found.pop("durability")  # the tests' server runs without fsync
    assert {state for findings in found.values() for state, _ in findings} == {"ok"}
    assert {"keys", "ledger", "seal", "disk", "read models", "nats"} <= set(found)


def test_what_is_wrong_is_named(tmp_path: Path) -> None:
    server = Process(tmp_path / "data", {"SCRINIA_NATS_URL": "nats://127.0.0.1:1"})
    assert "scrinia init" in examine(server, 3)["data directory"][0][1]
    server.cli("init")
    (tmp_path / "data" / "keys" / "event.key").chmod(0o644)
    (tmp_path / "data" / "admin.token").chmod(0o644)
    (tmp_path / "data").chmod(0o755)
    found = examine(server, 3)
    assert "chmod 600" in found["keys"][0][1] and found["keys"][0][0] == "failed"
    assert "chmod 700" in found["data directory"][0][1]
    assert found["nats"][0][0] == "failed" and "SCRINIA_NATS_URL" in found["nats"][0][1]


def test_a_database_that_forgets_or_is_too_mighty(tmp_path: Path, postgres: Postgres) -> None:
    url = postgres.database()
    server = Process(tmp_path / "data", {"SCRINIA_DATABASE_URL": url})
    server.cli("init")
    found = examine(server, 3)  # the tests' server runs without fsync
    assert found["durability"][0][0] == "failed" and "fsync=off" in found["durability"][0][1]
    assert found["roles"][0][0] == found["pooler"][0][0] == found["clock"][0][0] == "ok"
    with psycopg.connect(postgres.as_admin(url), autocommit=True) as admin:
        role = url.partition("//")[2].partition("@")[0]
        admin.execute(f"ALTER ROLE {role} SUPERUSER".encode())
    assert examine(server, 3)["roles"][0][0] == "failed"


def test_a_lost_ledger_is_not_replaced_by_an_empty_one(tmp_path: Path) -> None:
    server = Process(tmp_path / "data")
    server.start()
    server.client().ok("POST", "/v1/projects", {"project": "acme"})
    server.cli("backup", str(tmp_path / "backup"))
    assert server.stop() == 0
    for file in server.data_dir.glob("ledger.db*"):
        file.unlink()
    before = {file.name for file in server.data_dir.iterdir()}
    done = server.cli("doctor", check=False)
    assert done.returncode == 3 and "There is no ledger" in done.stdout
    assert {file.name for file in server.data_dir.iterdir()} == before
    refused = server.cli("serve", check=False)
    assert refused.returncode == 1 and "restore a backup" in refused.stderr
    (server.data_dir / "checkpoint").unlink()  # it shows the event after the backup
    assert "restored" in server.cli("restore", str(tmp_path / "backup")).stdout
