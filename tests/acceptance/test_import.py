"""The real collections come in whole, and a second time without an event."""

import json
import re
from pathlib import Path

import pytest
import yaml

from tests.harness import Process


def _head(server: Process) -> int:
    return server.client().ok("GET", "/v1/events?limit=1")["head"]


def test_fabric_comes_in_byte_for_byte_and_twice_changes_nothing(
    server: Process, collections: Path
) -> None:
    args = ("import", str(collections / "fabric"), "--project", "fabric", "--label", "production")
    report = json.loads(server.cli("--json", *args).stdout)
    assert (len(report["imported"]), report["failed"]) == (255, [])
    assert {s["source"].rsplit("/", 1)[1].lower() for s in report["skipped"]} == {
        "readme.md",
        "user.md",
        "pattern_explanations.md",
    }
    client = server.client()
    patterns = collections / "fabric" / "patterns"
    largest = 0
    for folder in sorted(p for p in patterns.iterdir() if p.is_dir()):
        answer = client.ok("GET", f"/v1/projects/fabric/prompts/{folder.name}")
        expected = [{"role": "system", "content": (folder / "system.md").read_bytes().decode()}]
        user = folder / "user.md"
        if user.is_file() and user.read_bytes():
            expected.append({"role": "user", "content": user.read_bytes().decode()})
        assert answer["content"]["messages"] == expected
        assert answer["label"] == "production"
        largest = max(largest, len(expected[0]["content"].encode()))
    assert largest > 230_000
    formats = {one["template_format"] for one in report["imported"]}
    assert formats == {"mustache", "none"}
    before = _head(server)
    again = json.loads(server.cli("--json", *args).stdout)
    assert {one["state"] for one in again["imported"]} == {"unchanged"}
    assert _head(server) == before
    assert "no fault" in server.cli("verify").stdout


def test_github_models_come_in_with_settings_and_variables(
    server: Process, collections: Path
) -> None:
    args = ("import", str(collections / "github-models"), "--project", "models")
    report = json.loads(server.cli("--json", *args, "--label", "production").stdout)
    assert (len(report["imported"]), report["failed"]) == (7, [])
    variables = {one["name"]: one["variables"] for one in report["imported"]}
    assert variables["generate-example"] == ["existingExamples", "typeDefinitions"]
    client = server.client()
    prompt = client.ok("GET", "/v1/projects/models/prompts/generate-example")["content"]
    assert prompt["config"] == {"model": "openai/gpt-4o", "temperature": 0.9, "maxTokens": 2000}
    assert [m["role"] for m in prompt["messages"]] == ["system", "user"]
    body = {"variables": {"existingExamples": "{{typeDefinitions}}", "typeDefinitions": "T"}}
    rendered = client.ok("POST", "/v1/projects/models/prompts/generate-example/-/render", body)
    assert "{{typeDefinitions}}" in rendered["messages"][1]["content"]
    for one in report["imported"]:
        (file,) = (collections / "github-models").rglob(f"{one['name']}.prompt.y*ml")
        source = yaml.safe_load(file.read_text())
        held = client.ok("GET", f"/v1/projects/models/prompts/{one['name']}")["content"]
        settings = {"model": source["model"]} if "model" in source else {}
        assert held.get("config", {}) == settings | source.get("modelParameters", {})
        assert held["messages"] == [
            {"role": m["role"], "content": m["content"]} for m in source["messages"]
        ]
        named = set(re.findall(r"{{\s*(\w+)\s*}}", str(source["messages"])))
        assert set(one["variables"]) == named
    metadata = client.ok("GET", "/v1/projects/models/prompts/generate-example/-/metadata")
    assert metadata["description"].startswith("Generates creative example code")
    before = _head(server)
    server.cli(*args, "--label", "production")
    assert _head(server) == before


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("broken/system.md", b"\xff\xfe", "not UTF-8"),
        ("Bad Name/system.md", b"text", "invalid_name"),
        ("huge/system.md", b"x" * (1024 * 1024 + 1), "too_large"),
    ],
)
def test_a_file_that_cannot_be_read_is_reported_and_the_rest_goes_on(
    server: Process, tmp_path: Path, name: str, content: bytes, reason: str
) -> None:
    folder = tmp_path / "patterns"
    for path, data in {"good/system.md": b"fine", name: content}.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    done = server.cli("--json", "import", str(folder), "--project", "p", check=False)
    report = json.loads(done.stdout)
    assert done.returncode == 3
    assert [one["name"] for one in report["imported"]] == ["good"]
    assert reason in report["failed"][0]["reason"]


def test_the_examples_of_this_repository_come_in(server: Process) -> None:
    folder = Path(__file__).parents[2] / "examples" / "prompts"
    done = server.cli("--json", "import", str(folder), "--project", "examples", "--format", "auto")
    report = json.loads(done.stdout)
    assert len(report["imported"]) >= 12 and report["failed"] == []
    client = server.client()
    client.ok("POST", "/v1/projects", {"project": "later"})  # the list is read as of after this
    items = client.ok("GET", "/v1/projects/examples/prompts?limit=100")["items"]
    assert {item["type"] for item in items} == {"text", "chat", "structured"}
