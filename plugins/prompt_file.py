"""Prompts as files people edit: Markdown with YAML front matter, exactly there and back.

A text prompt's text is the body, byte for byte; whatever else the content has, and description and
tags, stands in the front matter. Nothing is filled in when read, so reading what was written gives
the same content.
"""

import re
from dataclasses import dataclass
from typing import Any

import yaml

from plugins.yaml import parse_mapping

# As editors on any system leave it; what follows is the body, byte for byte.
_FRONT_MATTER = re.compile(r"\A\ufeff?---\r?\n(.*?\n)??---(?:\r?\n|\Z)", re.DOTALL)
_FENCE = re.compile(r"\A\ufeff?---\r?\n")
# Characters that a block of lines cannot hold unescaped.
_UNPLAIN = re.compile(
    r"[^\n\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]"
)
_ABOUT = ("description", "tags")


@dataclass(frozen=True)
class PromptFile:
    """What a file says: the content, and what the prompt is for."""

    content: dict[str, Any]
    description: str | None
    tags: tuple[str, ...]


class _Dumper(yaml.SafeDumper):
    """Blocks for texts of several lines, escapes for what only escapes keep; no aliases."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _write_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = '"' if _UNPLAIN.search(text) else "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _write_text)


def write_prompt(file: PromptFile) -> str:
    """The file's text."""
    content = dict(file.content)
    body = content.pop("text") if content["type"] == "text" else ""
    about = {"description": file.description, "tags": list(file.tags)}
    matter = {name: value for name, value in about.items() if value} | content
    written = yaml.dump(
        matter, Dumper=_Dumper, allow_unicode=True, sort_keys=False, width=10**9, indent=2
    )
    return f"---\n{written}---\n{body}"


def read_prompt(text: str) -> PromptFile:
    """What a file's text says; ValueError where it is no such file."""
    matter = _FRONT_MATTER.match(text)
    if matter is None and _FENCE.match(text):
        raise ValueError("the front matter that begins with '---' is never closed with one")
    fields = parse_mapping(matter.group(1) or "{}") if matter else {}
    body = text[matter.end() :] if matter else text
    description, tags = fields.get("description"), fields.get("tags") or []
    if not isinstance(tags, list) or not isinstance(description, str | None):
        raise ValueError("'description' is a text and 'tags' a list of texts")
    content = {"type": "text"} | {k: v for k, v in fields.items() if k not in _ABOUT}
    if content["type"] == "text":
        content["text"] = body
    elif body.strip():
        raise ValueError(f"a {content['type']} prompt has no text after its front matter")
    return PromptFile(content, description, tuple(str(tag) for tag in tags))
