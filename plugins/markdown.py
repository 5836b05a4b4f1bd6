"""Markdown files, with YAML front matter or without.

Front matter may hold `name`, `description`, `tags` and every content field (`type`, `messages`,
`fields`, `variables`, `config`, `tools`, `output_schema`, `template_format`). The body is the text;
in a chat it is a last user message, in a structured prompt the task, where it is not empty.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from domain.texts import texts_of
from plugins.importer import (
    Found,
    ImportedPrompt,
    SkippedFile,
    UnreadableFile,
    files_below,
    read_text,
)
from plugins.naming import prompt_name_from, template_fields
from plugins.yaml import parse_mapping

_FRONT_MATTER = re.compile(r"\A---[ \t]*\r?\n(.*?\r?\n)?---[ \t]*(?:\r?\n|\Z)", re.DOTALL)
_ABOUT = ("name", "description", "tags")
_NOT_PROMPTS = ("readme.md", "license.md", "changelog.md", "contributing.md")


class MarkdownImporter:
    """Reads a `.md` file, or a folder of them."""

    name = "markdown"
    priority = 20

    def recognises(self, path: Path) -> bool:
        """A `.md` file, or a folder with one anywhere below."""
        return any(file.suffix.lower() == ".md" for file in files_below(path))

    def read(self, path: Path) -> Iterator[Found]:
        """One prompt for each Markdown file."""
        for file in files_below(path):
            if file.suffix.lower() != ".md" or file.name.lower() in _NOT_PROMPTS:
                yield SkippedFile(str(file), "not a prompt in Markdown")
                continue
            relative = file.relative_to(path) if path.is_dir() else Path(file.name)
            try:
                yield self._prompt(str(file), relative, read_text(file))
            except (OSError, ValueError) as error:
                yield UnreadableFile(str(file), str(error))

    def _prompt(self, source: str, relative: Path, text: str) -> ImportedPrompt:
        matter = _FRONT_MATTER.match(text)
        fields = parse_mapping(matter.group(1) or "{}") if matter else {}
        body = text[matter.end() :] if matter else text
        content = _content({k: v for k, v in fields.items() if k not in _ABOUT}, body)
        if "template_format" not in content and "variables" not in content:
            content.update(template_fields(text for _, text in _texts(content)))
        tags = fields.get("tags")
        return ImportedPrompt(
            source=source,
            name=fields.get("name") or prompt_name_from(relative, ".md"),
            content=content,
            description=fields.get("description"),
            tags=tuple(str(tag) for tag in tags) if isinstance(tags, list) else None,
        )


def _content(fields: dict[str, Any], body: str) -> dict[str, Any]:
    content = {"type": "text", **fields}
    text = body.strip("\r\n")
    match content["type"]:
        case "chat" if text:
            message = {"role": "user", "content": text}
            content["messages"] = [*(fields.get("messages") or []), message]
        case "structured" if text:
            content["fields"] = {**(fields.get("fields") or {}), "task": text}
        case "text":
            content["text"] = body
    return content


def _texts(content: dict[str, Any]) -> list[tuple[str, str]]:
    try:
        return texts_of(content)
    except (KeyError, TypeError, AttributeError):
        return []
