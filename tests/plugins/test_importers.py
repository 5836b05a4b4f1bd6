"""Importers: found by entry point, chosen by what a path looks like, stopped by no single file."""

from pathlib import Path

import pytest

from plugins.importer import (
    ImportedPrompt,
    SkippedFile,
    UnknownFormatError,
    UnreadableFile,
    choose,
    importers,
)
from plugins.naming import detect_template, prompt_name_from


def _files(folder: Path, files: dict[str, str | bytes]) -> Path:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder


def test_the_shipped_importers_are_found_by_entry_point() -> None:
    assert {"fabric", "github-models", "markdown", "text"} <= set(importers())


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"patterns/a/system.md": "x"}, "fabric"),
        ({"a/system.md": "x", "b.md": "y"}, "fabric"),
        ({"a.prompt.yml": "messages: []", "README.md": ""}, "github-models"),
        ({"a.md": "x", "b.txt": "y"}, "markdown"),
        ({"b.txt": "y"}, "text"),
    ],
)
def test_auto_picks_one_importer_for_a_path(
    tmp_path: Path, files: dict[str, str], expected: str
) -> None:
    assert choose(_files(tmp_path, files), "auto").name == expected


def test_what_nobody_recognises_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(UnknownFormatError, match="--format"):
        choose(_files(tmp_path, {"a.bin": b"\0"}), "auto")
    with pytest.raises(UnknownFormatError, match="fabric"):
        choose(tmp_path, "nothing")


def test_fabric_keeps_bytes_and_lists_what_it_leaves(tmp_path: Path) -> None:
    folder = _files(tmp_path, {
        "one/system.md": b"a\r\nb \xc3\xa4\n", "one/user.md": b"", "one/README.md": b"x",
        "two/system.md": b"{{input}} {{lang_code}}", "two/user.md": b"u",
        "three/system.md": b"{{plugin:x}}", "four/other.md": b"", "five/system.md": b"\xff",
        "notes.md": b"x",
    })  # fmt: skip
    found = list(choose(folder, "fabric").read(folder))
    prompts = {one.name: one.content for one in found if isinstance(one, ImportedPrompt)}
    assert prompts["one"]["messages"] == [{"role": "system", "content": "a\r\nb ä\n"}]
    assert prompts["two"]["messages"][1] == {"role": "user", "content": "u"}
    assert list(prompts["two"]["variables"]) == ["input", "lang_code"]
    assert prompts["three"]["template_format"] == "none"
    skipped = {Path(one.source).name for one in found if isinstance(one, SkippedFile)}
    assert skipped == {"user.md", "README.md", "four", "notes.md"}
    (unreadable,) = [one for one in found if isinstance(one, UnreadableFile)]
    assert unreadable.source.endswith("five") and "UTF-8" in unreadable.reason


def test_github_models_map_settings_and_schema(tmp_path: Path) -> None:
    text = (
        "name: X\ndescription: D\nmodel: m\nmodelParameters: {temperature: 0.5}\n"
        'responseFormat: json_schema\njsonSchema: \'{"name": "n", "schema": {"type": "object"}}\'\n'
        "messages: [{role: user, content: 'Hi {{who}} 2026-01-01'}]\ntestData: []\n"
    )
    folder = _files(tmp_path, {
        "My Prompt.prompt.yml": text, "bad.prompt.yml": "a: [", "alias.prompt.yml": "a: &x 1\nb: *x",
        "none.prompt.yml": "name: x",
    })  # fmt: skip
    found = list(choose(folder, "auto").read(folder))
    (prompt,) = [one for one in found if isinstance(one, ImportedPrompt)]
    assert (prompt.name, prompt.description) == ("my-prompt", "D")
    config = {"model": "m", "temperature": 0.5, "responseFormat": "json_schema"}
    assert prompt.content["config"] == config
    assert prompt.content["output_schema"] == {"type": "object"}
    assert prompt.content["variables"] == {"who": {"type": "string", "required": True}}
    assert prompt.notes == ("testData left out",)
    assert sum(isinstance(one, UnreadableFile) for one in found) == 3


def test_markdown_with_and_without_front_matter(tmp_path: Path) -> None:
    folder = _files(tmp_path, {
        "a/Plain Text.md": "# Hi {{x}}\n",
        "b.md": "---\nname: other/name\ntags: [t]\ntype: structured\nfields: {role: R}\n---\nDo {{it}}\n",
        "c.md": "---\ntype: chat\nmessages: [{role: system, content: S}]\n---\nU\n",
        "d.md": "---\nnot: [closed\n---\nx",
        "README.md": "x",
    })  # fmt: skip
    found = list(choose(folder, "markdown").read(folder))
    prompts = {one.name: one for one in found if isinstance(one, ImportedPrompt)}
    assert prompts["a/plain-text"].content["text"] == "# Hi {{x}}\n"
    assert prompts["a/plain-text"].tags is None
    assert prompts["other/name"].content["fields"] == {"role": "R", "task": "Do {{it}}"}
    assert prompts["other/name"].tags == ("t",)
    assert prompts["c"].content["messages"][1] == {"role": "user", "content": "U"}
    assert [Path(o.source).name for o in found if isinstance(o, UnreadableFile)] == ["d.md"]


def test_names_and_templates() -> None:
    assert prompt_name_from(Path("Some Dir/Ünï..x!.MD"), ".md") == "some-dir/n-.x"
    assert detect_template(["{{a}} {{ b }}", "{{a}}"]) == ("mustache", ["a", "b"])
    assert detect_template(["{{#a}}x{{/a}}"]) == ("none", [])
    assert detect_template(["no tags"]) == ("mustache", [])
    assert detect_template(["{{ open"]) == ("none", [])


def test_links_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    root = tmp_path / "patterns"
    for name in ("good", "linked"):
        (root / name).mkdir(parents=True)
    (root / "good" / "system.md").write_text("fine")
    (root / "linked" / "system.md").symlink_to(tmp_path / "secret")
    (root / "folder").symlink_to(root / "good")
    found = list(choose(root, "fabric").read(root))
    assert [p.name for p in found if isinstance(p, ImportedPrompt)] == ["good"]
    skipped = {Path(s.source).name for s in found if isinstance(s, SkippedFile)}
    assert {"linked", "folder"} <= skipped
