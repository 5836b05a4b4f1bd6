"""A folder of files in step with a project, both ways."""

import json
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugins.prompt_file import PromptFile, read_prompt, write_prompt
from tests.harness import Process, text_content

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=60) | st.text(
    st.sampled_from("a\n\r \t#:-|'\"\u2028\x85\ufeff{}"), max_size=20
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False,
                                                                        allow_infinity=False)
    | TEXTS | st.sampled_from(["no", "2024-01-01", "1e5", "~", "0x1", "null", "12:30"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


@given(text=TEXTS, config=st.dictionaries(TEXTS, JSON, max_size=3), about=TEXTS)
def test_a_file_says_exactly_what_was_written(text: str, config: dict, about: str) -> None:
    contents = (
        {"type": "text", "text": text, "config": config},
        {"type": "chat", "messages": [{"role": "user", "content": text}], "tools": [config]},
    )
    for content in contents:
        file = PromptFile(content, about or None, ("a", "b"))
        read = read_prompt(write_prompt(file))
        assert read == file
        assert json.dumps(read.content, sort_keys=True) == json.dumps(content, sort_keys=True)


def head(server: Process) -> int:
    return server.client().ok("GET", "/v1/events?limit=1")["head"]


@pytest.mark.timeout(180)
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)  # the client is the same
def test_pulling_and_pushing_many_real_prompts_changes_nothing(
    server: Process, tmp_path: Path, collections: Path
) -> None:
    """262 prompts there and back make no event; one edited file makes exactly one version."""
    folder = tmp_path / "copy"
    shutil.copytree(collections / "github-models", tmp_path / "all" / "models")
    for path in (collections / "fabric", tmp_path / "all"):
        server.cli("import", str(path), "--project", "acme")
    server.cli("pull", "acme", str(folder))
    files = sorted(folder.rglob("*.md"))
    assert len(files) == 262
    before = head(server)
    server.cli("push", str(folder))
    assert "262 in step" in server.cli("status", str(folder), "--check").stdout
    for file in files:
        file.write_bytes(file.read_bytes())
    again = tmp_path / "again"
    shutil.copytree(folder, again)
    shutil.rmtree(again / ".scrinia")
    server.cli("pull", "acme", str(again), "--force")
    assert [f.read_bytes() for f in sorted(again.rglob("*.md"))] == [f.read_bytes() for f in files]
    assert head(server) == before
    files[7].write_text(files[7].read_text().replace("content: |", "content: |\n    Edited.", 1))
    changed = server.cli("status", str(folder), "--check", check=False)
    assert changed.returncode == 1 and "modified" in changed.stdout
    assert "dry run" in server.cli("push", str(folder), "--dry-run").stdout
    assert head(server) == before
    server.cli("push", str(folder), "-m", "by hand")
    assert head(server) == before + 1
    server.cli("push", str(folder))
    assert head(server) == before + 1


@pytest.mark.timeout(120)
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)  # the client is the same
def test_neither_side_overwrites_the_other(server: Process, tmp_path: Path) -> None:
    client = server.client()
    client.ok("POST", "/v1/projects", {"project": "acme"})
    path = "/v1/projects/acme/prompts"
    for name in ("a", "b/c", "d"):
        client.ok("POST", path, {"name": name, "content": text_content(f"{name}\n")})
    copy = tmp_path / "copy"
    server.cli("pull", "acme", str(copy))
    assert (copy / "b" / "c.md").read_text() == "---\ntype: text\n---\nb/c\n"
    client.ok("POST", f"{path}/a/-/versions", {"content": text_content("newer")})
    client.ok("POST", f"{path}/d/-/archive")
    client.ok("PATCH", f"{path}/b/c/-/metadata", {"description": "what for", "tags": ["x"]})
    (copy / "a.md").write_text("---\ntype: text\n---\nmine")
    refused = server.cli("push", str(copy), check=False)
    assert refused.returncode == 1 and "conflict  a" in refused.stdout
    assert client.ok("GET", f"{path}/a?label=latest")["content"]["text"] == "newer"
    pulled = server.cli("pull", "acme", str(copy), check=False)
    assert pulled.returncode == 3 and (copy / "a.md").read_text().endswith("mine")
    assert not (copy / "d.md").exists()
    assert "description: what for" in (copy / "b" / "c.md").read_text()
    server.cli("pull", "acme", str(copy), "--force")
    assert (copy / "a.md").read_text().endswith("newer")
    (copy / "new.md").write_text("---\ndescription: fresh\ntags: [t]\n---\nHi {{x}} {{> a@2}}")
    undeclared = server.cli("push", str(copy), check=False)
    assert undeclared.returncode == 1 and "invalid_content" in undeclared.stderr
    (copy / "b" / "c.md").unlink()
    pushed = server.cli("push", str(copy), "--declare").stdout
    assert "1.0.0     new" in pushed and "deleted   b/c" in pushed
    made = client.ok("GET", f"{path}/new/-/metadata")
    assert (made["description"], made["tags"]) == ("fresh", ["t"])
    assert client.ok("GET", f"{path}/new?label=latest")["content"]["text"] == "Hi {{x}} newer"
    for wrong, code in ((["status", str(tmp_path)], 2), (["pull", "other", str(copy)], 2)):
        assert server.cli(*wrong, check=False).returncode == code


@pytest.mark.timeout(120)
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)  # the client is the same
def test_what_was_pushed_is_known_even_where_the_rest_was_refused(
    server: Process, tmp_path: Path
) -> None:
    client = server.client()
    client.ok("POST", "/v1/projects", {"project": "acme"})
    path = "/v1/projects/acme/prompts"
    for name in ("a", "a.md/b", "c/d.md"):
        client.ok("POST", path, {"name": name, "content": text_content(name)})
    copy = tmp_path / "copy"
    server.cli("pull", "acme", str(copy))
    files = {f.relative_to(copy).as_posix() for f in copy.rglob("*.md")}
    assert files == {"a.md", "a.md_/b.md", "c/d.md.md"}
    (copy / "a.md").write_text(f"---\ndescription: {'x' * 70_000}\n---\nedited")
    refused = server.cli("push", str(copy), check=False)
    assert refused.returncode == 1
    assert client.ok("GET", f"{path}/a?label=latest")["version"] == 2
    assert "modified  a " in server.cli("status", str(copy)).stdout
    (copy / "a.md").write_text("---\ndescription: short\n---\nedited")
    assert "described a" in server.cli("push", str(copy)).stdout
    assert "3 in step" in server.cli("status", str(copy), "--check").stdout
    client.ok("POST", f"{path}/a/-/move", {"name": "moved"})
    (copy / "a.md").write_text("mine")
    server.cli("pull", "acme", str(copy), check=False)
    shutil.copy(copy / "a.md", copy / "fresh.md")
    taken = tmp_path / "taken"
    server.cli("pull", "acme", str(taken))
    (taken / "a.md").write_text("another prompt, by a name of old")
    assert server.cli("push", str(taken), check=False).returncode == 1
    assert client.ok("GET", f"{path}/moved?label=latest")["content"]["text"] == "edited"


@pytest.mark.timeout(60)
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)  # the client is the same
def test_nothing_is_written_where_a_link_leads_out(server: Process, tmp_path: Path) -> None:
    client = server.client()
    client.ok("POST", "/v1/projects", {"project": "acme"})
    content = text_content("x")
    client.ok("POST", "/v1/projects/acme/prompts", {"name": "out/b", "content": content})
    copy, outside = tmp_path / "copy", tmp_path / "outside"
    copy.mkdir()
    outside.mkdir()
    (copy / "out").symlink_to(outside)
    refused = server.cli("pull", "acme", str(copy), check=False)
    assert refused.returncode != 0 and "leads out of" in refused.stderr
    assert not list(outside.iterdir())


def test_files_of_other_editors_are_read() -> None:
    for written in ("\ufeff---\r\ntags: [a]\r\n---\r\nHi\r\n", "---\ntags: [a]\n---\nHi\r\n"):
        file = read_prompt(written)
        assert (file.content["text"], file.tags) == ("Hi\r\n", ("a",))
    assert read_prompt("---\ntype: text\n---").content["text"] == ""
    with pytest.raises(ValueError, match="never closed"):
        read_prompt("---\ntype: text\n--- \nHi")
