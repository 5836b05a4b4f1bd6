"""The command line as people meet it: edits are never lost, mistakes get one clear line."""

import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.harness import ROOT, Process, text_content
from tests.launching import COMMAND
from tests.servers import free_port


@pytest.fixture
def acme(server: Process) -> Process:
    client = server.client()
    client.ok("POST", "/v1/projects", {"project": "acme"})
    content = text_content(
        "{{n}}{{xs}}", variables={"n": {}, "xs": {"type": "list", "default": []}}
    )
    client.ok("POST", "/v1/projects/acme/prompts", {"name": "text", "content": content})
    chat = {"type": "chat", "messages": [{"role": "user", "content": "hi"}]}
    client.ok("POST", "/v1/projects/acme/prompts", {"name": "chat", "content": chat})
    return server


def _editing(server: Process, script: str) -> Process:
    return Process(server.data_dir, {"EDITOR": f"sh -c '{script}'"})


def test_an_edit_is_committed_or_kept(acme: Process) -> None:
    good = _editing(acme, "echo more >> $0")
    assert "acme/text@2 committed" in good.cli("prompt", "edit", "acme/text", "-m", "x").stdout
    untouched = _editing(acme, "true")
    assert "Left as it was" in untouched.cli("prompt", "edit", "acme/text").stdout
    for prompt, script, message in (
        ("acme/chat", "echo {bad > $0", "Not JSON"),
        ("acme/text", 'echo "{{#a}}long work" > $0', "invalid_content"),
    ):
        refused = _editing(acme, script).cli("prompt", "edit", prompt, check=False)
        assert refused.returncode in (1, 2) and message in refused.stderr
        assert "Traceback" not in refused.stderr
        kept = Path(refused.stderr.split("kept in ")[1].split("\n")[0].rstrip("."))
        assert kept.read_text()
        kept.unlink()


def test_variables_are_taken_by_their_declared_type(acme: Process) -> None:
    done = acme.cli("prompt", "render", "acme/text@1", "-v", "n=5", "-v", "xs=[1]")
    assert done.stdout == "5[1]\n"
    digest = acme.client().ok("GET", "/v1/projects/acme/prompts/text?version=1")["digest"]
    assert acme.cli("prompt", "render", f"acme/text@{digest}", "-v", "n=true").stdout == "true[]\n"


def test_mistakes_get_one_clear_line(acme: Process, tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    for args, code, message in (
        (("prompt", "create", "acme/b", str(tmp_path / "binary")), 2, "not UTF-8"),
        (("promote", "acme/chat", "--to", "nosuch"), 2, "no environment of acme"),
        (("prompt", "show", "acme"), 2, "PROJECT/NAME"),
        (("prompt", "show", "acme/none"), 1, "not_found"),
        (("projections", "rebuild", "none"), 1, "there are: catalog, audit"),
        (("import", str(tmp_path), "--project", "p", "--format", "none"), 1, "No format"),
    ):
        done = acme.cli(*args, check=False)
        assert (done.returncode, message in done.stderr) == (code, True), done.stderr
        assert "Traceback" not in done.stderr


def test_json_everywhere(acme: Process) -> None:
    listed = json.loads(acme.cli("prompt", "list", "acme", "--json").stdout)
    assert [item["name"] for item in listed["items"]] == ["chat", "text"]
    refused = acme.cli("prompt", "show", "acme/none", "--json", check=False)
    assert json.loads(refused.stderr)["code"] == "not_found"


def test_long_trails_are_shown_whole(acme: Process) -> None:
    client = acme.client()
    for number in range(510):
        body = {"content": {"type": "chat", "messages": [{"role": "user", "content": str(number)}]}}
        client.ok("POST", "/v1/projects/acme/prompts/chat/-/versions", body)
    items = json.loads(acme.cli("audit", "--json").stdout)["items"]
    assert items[-1]["position"] == client.position
    assert "More: --after 50" in acme.cli("events").stdout


def test_nobodys_text_steers_a_reviewers_terminal(acme: Process) -> None:
    """What hides or turns around lines is shown as what cannot be shown; programs get it as is."""
    steering = "fine\x1b[1A\x1b[2K\u202eevil"
    body = {"content": text_content(steering), "message": steering}
    acme.client().ok("POST", "/v1/projects/acme/prompts/text/-/versions", body)
    for command in (["log", "acme/text"], ["diff", "acme/text", "1", "2"]):
        shown = acme.cli("prompt", *command).stdout
        assert "fine\ufffd[1A\ufffd[2K\ufffdevil" in shown, shown
    assert acme.cli("prompt", "render", "acme/text@2").stdout == steering + "\n"
    reader, terminal = pty.openpty()
    subprocess.run(
        [*COMMAND, "prompt", "render", "acme/text@2"], cwd=ROOT, env=acme.environment, check=True,
        stdout=terminal, timeout=60,
    )  # fmt: skip
    os.close(terminal)
    assert os.read(reader, 4096).decode().rstrip() == "fine\ufffd[1A\ufffd[2K\ufffdevil"
    os.close(reader)


def test_help_and_completion_read_no_server() -> None:
    scrinia = str(Path(sys.executable).parent / "scrinia")
    shown = subprocess.run([scrinia, "--help"], capture_output=True, text=True, check=True).stdout
    assert "change-request" in shown and "Prove it" in shown
    asked = {
        "_SCRINIA_COMPLETE": "bash_complete",
        "COMP_WORDS": "scrinia access-",
        "COMP_CWORD": "1",
    }
    done = subprocess.run([scrinia], capture_output=True, text=True, env={**os.environ, **asked})
    assert done.stdout.split() == ["plain,access-rules", "plain,access-request"]
    trace = subprocess.run(
        [sys.executable, "-X", "importtime", scrinia, "--help"], capture_output=True, text=True
    )
    assert "api.cli.main" in trace.stderr
    assert not {"aiohttp.web", "psycopg", "api.main"} & set(re.findall(r"[\w.]+", trace.stderr))


def test_a_reference_that_was_left_empty_is_a_mistake(acme: Process) -> None:
    for command in (("promote", "acme/text@"), ("prompt", "show", "acme/text@")):
        done = acme.cli(*command, check=False)
        assert (done.returncode, "ends with @" in done.stderr) == (2, True)


def test_an_impossible_label_imports_nothing(acme: Process, tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("text")
    for label in ("bad label", "latest"):
        done = acme.cli(
            "import", str(tmp_path), "--project", "fresh", "--label", label, check=False
        )
        assert done.returncode == 2, done.stderr
    assert "fresh" not in acme.cli("project", "list").stdout


def test_the_local_token_goes_to_the_local_server_alone(acme: Process) -> None:
    stranger = Process(acme.data_dir, {"SCRINIA_URL": "http://127.0.0.1:9"})
    done = stranger.cli("whoami", check=False)
    assert (done.returncode, "SCRINIA_TOKEN" in done.stderr) == (5, True)


@pytest.mark.parametrize(
    ("env", "message"),
    [
        ({"SCRINIA_BIND": "127.0.0.1:99999"}, "SCRINIA_BIND"),
        ({"SCRINIA_BIND": "nonsense::x"}, "SCRINIA_BIND"),
        ({"SCRINIA_LOG_LEVEL": "loud"}, "SCRINIA_LOG_LEVEL"),
        ({"SCRINIA_DATABASE_URL": "mysql://x"}, "SCRINIA_DATABASE_URL"),
        ({"SCRINIA_DATABASE_URL": "postgresql://x@127.0.0.1:1/x"}, "does not answer"),
    ],
)
def test_settings_that_cannot_be_are_named(tmp_path: Path, env: dict, message: str) -> None:
    done = Process(tmp_path / "data", env).cli("serve", check=False)
    assert done.returncode in (1, 2) and message in done.stderr
    assert "Traceback" not in done.stderr


def test_a_damaged_file_is_a_finding_not_a_crash(tmp_path: Path) -> None:
    server = Process(tmp_path / "data")
    server.start()
    assert server.stop() == 0
    ledger = tmp_path / "data" / "ledger.db"
    good = ledger.read_bytes()
    ledger.write_bytes(good[:8192] + os.urandom(len(good) - 8192))
    for command, code in ((("verify",), 4), (("serve",), 1)):
        done = server.cli(*command, check=False)
        assert done.returncode == code and "Traceback" not in done.stderr, done.stderr
    ledger.unlink()
    done = server.cli("verify", check=False)
    assert (done.returncode, "scrinia init" in done.stderr) == (1, True)


def test_a_port_in_use_is_one_clear_line(acme: Process, tmp_path: Path) -> None:
    other = Process(tmp_path / "other", {"SCRINIA_BIND": acme.url.removeprefix("http://")})
    done = other.cli("serve", check=False)
    assert done.returncode == 1 and "in use" in done.stderr and "Traceback" not in done.stderr


def test_an_ipv6_address_works_from_end_to_end(tmp_path: Path) -> None:
    server = Process(tmp_path / "data", {"SCRINIA_BIND": "[::1]:0"})
    assert server.start().startswith("http://[::1]:")
    assert "admin" in server.cli("whoami").stdout
    assert server.stop() == 0


def test_following_goes_on_over_restarts(tmp_path: Path) -> None:
    port = free_port()
    server = Process(tmp_path / "data", {"SCRINIA_BIND": f"127.0.0.1:{port}"})
    server.start()
    log = tmp_path / "followed"
    with log.open("wb") as out:
        following = subprocess.Popen(
            [sys.executable, "-m", "api.cli.main", "--json", "events", "--follow", "--after", "0"],
            cwd=ROOT, env=server.environment, stdout=out, stderr=subprocess.DEVNULL,
        )  # fmt: skip
    try:
        for turn, end in enumerate((server.stop, server.kill, None)):
            head = server.client().ok("POST", "/v1/projects", {"project": f"p{turn}"})["position"]
            deadline = time.monotonic() + 20
            while f'"position":{head}' not in log.read_text():
                assert time.monotonic() < deadline, log.read_text()
                time.sleep(0.05)
            if end is not None:
                end()
                server.start()
    finally:
        following.send_signal(signal.SIGINT)
        assert following.wait(10) == 0
        server.stop()
    positions = [json.loads(line)["position"] for line in log.read_text().splitlines()]
    assert positions == list(range(1, head + 1))
