"""The command line as people meet it: edits are never lost, mistakes get one clear line."""

import json
from pathlib import Path

import pytest

from tests.harness import Process, text_content


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
