"""A backup older than what was sealed: refused, unless a new epoch says what was lost."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from api.main import store_of
from api.settings import Settings
from ledger.ids import SystemIds
from ledger.new_epoch import begin_epoch
from ledger.note import Checkpoint, claimed_size
from tests.harness import Process, settings_in, text_content, verify
from tests.servers import Postgres


def commit(server: Process, texts: list[str]) -> int:
    client = server.client()
    path = "/v1/projects/acme/prompts/p/-/versions"
    for text in texts:
        position = client.ok("POST", path, {"content": text_content(text)})["position"]
    return position


def _settings(server: Process) -> Settings:
    url = server.env["SCRINIA_DATABASE_URL"] or None
    return settings_in(server.data_dir.parent, database_url=url)


class Loss:
    """A registry whose database is gone: a backup, and checkpoints of what came after it."""

    def __init__(self, folder: Path, database: Callable[[], str]) -> None:
        self.folder = folder
        self.database = database
        self.old = Process(folder / "old" / "data", {"SCRINIA_DATABASE_URL": database()})
        self.old.data_dir.parent.mkdir()
        self.old.start()
        client = self.old.client()
        client.ok("POST", "/v1/projects", {"project": "acme"})
        client.ok("POST", "/v1/projects/acme/prompts", {"name": "p", "content": text_content("1")})
        self.kept = commit(self.old, ["2", "3"])
        self.old.cli("backup", str(folder / "backup"), "--with-secrets")
        commit(self.old, ["lost"])
        self.middle = self.seal("middle")
        self.lost = commit(self.old, ["lost too", "and lost"])
        self.last = self.seal("last")
        assert self.old.stop() == 0

    def seal(self, name: str) -> Path:
        """Stop the old registry, keep its newest checkpoint, start it again."""
        assert self.old.stop() == 0
        kept = self.folder / name
        shutil.copy(self.old.data_dir / "checkpoint", kept)
        self.old.start()
        return kept

    def new(self, name: str, checkpoint: Path | None) -> Process:
        """Another machine with nothing but a checkpoint."""
        url = self.database()
        made = Process(self.folder / name / "data", {"SCRINIA_DATABASE_URL": url})
        made.data_dir.mkdir(parents=True, mode=0o700)
        if checkpoint is not None:
            shutil.copy(checkpoint, made.data_dir / "checkpoint")
        return made

    def restore(self, server: Process, *options: str, check: bool = True) -> Any:
        return server.cli("restore", str(self.folder / "backup"), *options, check=check)


@pytest.fixture(scope="module")
def loss(tmp_path_factory: pytest.TempPathFactory) -> Loss:
    return Loss(tmp_path_factory.mktemp("loss"), lambda: "")


def test_a_new_epoch_says_what_was_lost_and_goes_on_here(loss: Loss) -> None:
    _check_a_new_epoch(loss)


def test_a_new_epoch_says_what_was_lost_and_goes_on_on_postgres(
    tmp_path: Path, postgres: Postgres
) -> None:
    _check_a_new_epoch(Loss(tmp_path, postgres.database))


def _check_a_new_epoch(loss: Loss) -> None:
    server = loss.new("new", loss.last)
    refused = loss.restore(server, check=False)
    assert refused.returncode == 1 and "--new-epoch" in refused.stderr
    assert not store_of(_settings(server)).exists()
    done = loss.restore(server, "--new-epoch", "-m", "the disk died")
    assert f"{loss.kept + 1} events restored" in done.stdout
    server.start()
    client = server.client()
    [event] = [e for e in client.ok("GET", f"/v1/events?after={loss.kept}")["items"]]
    assert event["type"] == "io.scrinia.epoch.begun.v1"
    data = event["data"]
    assert (data["epoch"], data["recovered"], data["lost_to"]) == (2, loss.kept, loss.lost)
    assert data["checkpoint"] == loss.last.read_text()
    prompt = client.ok("GET", "/v1/projects/acme/prompts/p?label=latest")
    assert prompt["content"]["text"] == "3"
    head = commit(server, ["4"] + [str(number) for number in range(10, 20)])
    assert head > loss.lost
    client.position = head
    [record] = client.ok("GET", "/v1/audit?action=epoch")["items"]
    assert record["reason"] == "the disk died" and record["actor"]["via"] == "restore"
    assert server.stop() == 0
    exported = (server.data_dir / "checkpoint").read_text()
    assert exported.splitlines()[0].endswith("/e2") and claimed_size(exported.encode()) == head
    for kept in (loss.middle, loss.last, server.data_dir / "checkpoint"):
        checked = server.cli("verify", "--checkpoint", str(kept))
        assert f"Epoch 2 begins at position {loss.kept + 1}" in checked.stdout
    server.start()
    assert server.client().ok("GET", "/readyz")["status"] == "ready"
    assert server.stop() == 0


def test_what_an_epoch_does_not_admit_is_a_fault(loss: Loss) -> None:
    server = loss.new("admits", loss.middle)
    loss.restore(server, "--new-epoch", "-m", "x")
    checked = server.cli("verify", "--checkpoint", str(loss.last), check=False)
    assert checked.returncode == 4 and "E_EPOCH" in checked.stdout
    shutil.copy(loss.last, server.data_dir / "checkpoint")
    refused = server.cli("serve", check=False)
    assert refused.returncode == 1 and "behind the checkpoint" in refused.stderr


def test_the_newest_checkpoint_counts_wherever_it_was_kept(loss: Loss) -> None:
    server = loss.new("newest", loss.middle)
    loss.restore(server, "--new-epoch", "-m", "x", "--lost-checkpoint", str(loss.last))
    report = verify(server.data_dir)
    assert report.faults == [] and report.epochs[1].lost_to == loss.lost


def test_without_a_loss_there_is_no_new_epoch(loss: Loss) -> None:
    server = loss.new("without", None)
    refused = loss.restore(server, "--new-epoch", "-m", "x", check=False)
    assert refused.returncode == 1 and "nothing is known to be lost" in refused.stderr
    assert not store_of(_settings(server)).exists()


def test_without_the_keys_nothing_is_begun(loss: Loss) -> None:
    bare = loss.folder / "bare"
    shutil.copytree(loss.folder / "backup", bare, ignore=shutil.ignore_patterns("secrets"))
    server = loss.new("keyless", loss.last)
    refused = server.cli("restore", str(bare), "--new-epoch", "-m", "x", check=False)
    assert refused.returncode == 1 and "event.key" in refused.stderr
    assert not store_of(_settings(server)).exists()


def test_another_ledgers_checkpoint_shows_nothing(loss: Loss) -> None:
    other = Process(loss.folder / "other" / "data")
    other.data_dir.parent.mkdir()
    other.start()
    client = other.client()
    for number in range(loss.lost):
        client.ok("POST", "/v1/projects", {"project": f"p{number}"})
    assert other.stop() == 0
    server = loss.new("foreign", None)
    checkpoint = str(other.data_dir / "checkpoint")
    refused = loss.restore(
        server, "--new-epoch", "-m", "x", "--lost-checkpoint", checkpoint, check=False
    )
    assert refused.returncode == 1 and "not this ledger's" in refused.stderr
    assert not store_of(_settings(server)).exists()


def test_an_epoch_that_lies_is_a_fault(loss: Loss, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever has the keys can write such an event: what it carries gives it away."""
    server = loss.new("lies", None)
    loss.restore(server)
    settings = _settings(server)
    note = loss.middle.read_bytes()
    shown = Checkpoint.parse(note.decode().partition("\n\n")[0] + "\n")
    lie = Checkpoint(shown.origin, shown.size + 100, shown.root)
    monkeypatch.setattr("ledger.new_epoch._opened", lambda *given: lie)
    begin_epoch(store_of(settings), settings.directory, note, None, SystemIds())
    assert [fault.code for fault in verify(server.data_dir).faults] == ["E_EPOCH"]


def test_a_second_loss_begins_a_third_epoch(loss: Loss) -> None:
    server = loss.new("second", loss.last)
    loss.restore(server, "--new-epoch", "-m", "x")
    server.start()
    commit(server, ["a"])
    again = loss.folder / "again"
    server.cli("backup", str(again), "--with-secrets")
    commit(server, ["b"])
    assert server.stop() == 0
    third = loss.new("third", server.data_dir / "checkpoint")
    third.cli("restore", str(again), "--new-epoch", "-m", "x")
    third.start()
    commit(third, ["c"])
    assert third.stop() == 0
    report = verify(third.data_dir)
    assert report.faults == [] and [e.number for e in report.epochs] == [1, 2, 3]
    assert third.cli("verify", "--checkpoint", str(loss.middle)).returncode == 0
