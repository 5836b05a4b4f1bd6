"""GitHub Models `.prompt.yml` files: chat prompts with a model and its parameters.

Format: https://docs.github.com/en/github-models/use-github-models/storing-prompts-in-github-repositories
`model`, `modelParameters` and `responseFormat` become `config`, `jsonSchema` the output schema;
`testData` and `evaluators` are noted and left out.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

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

SUFFIXES = (".prompt.yml", ".prompt.yaml")
_LEFT_OUT = ("testData", "evaluators")


class GitHubModelsImporter:
    """Reads a `.prompt.yml` file, or a folder of them."""

    name = "github-models"
    priority = 30

    def recognises(self, path: Path) -> bool:
        """A `.prompt.yml`, or a folder with one anywhere below."""
        return any(file.name.endswith(SUFFIXES) for file in files_below(path))

    def read(self, path: Path) -> Iterator[Found]:
        """One chat prompt for each file."""
        for file in files_below(path):
            if not file.name.endswith(SUFFIXES):
                yield SkippedFile(str(file), "not a .prompt.yml file")
                continue
            relative = file.relative_to(path) if path.is_dir() else Path(file.name)
            try:
                yield self._prompt(str(file), relative, parse_mapping(read_text(file)))
            except (OSError, ValueError) as error:
                yield UnreadableFile(str(file), str(error))

    def _prompt(self, source: str, relative: Path, fields: dict[str, Any]) -> ImportedPrompt:
        messages = fields.get("messages")
        if not isinstance(messages, list):
            raise ValueError("has no list of messages")
        texts = [str(m.get("content", "")) for m in messages if isinstance(m, dict)]
        content: dict[str, Any] = {"type": "chat", "messages": messages, **template_fields(texts)}
        config = _config(fields)
        if config:
            content["config"] = config
        schema = _schema(fields.get("jsonSchema"))
        if schema is not None:
            content["output_schema"] = schema
        return ImportedPrompt(
            source=source,
            name=prompt_name_from(relative, *SUFFIXES),
            content=content,
            description=fields.get("description"),
            notes=tuple(f"{name} left out" for name in _LEFT_OUT if name in fields),
        )


def _config(fields: dict[str, Any]) -> dict[str, Any]:
    parameters = fields.get("modelParameters") or {}
    if not isinstance(parameters, dict):
        raise ValueError("modelParameters is no mapping")
    model = {"model": fields["model"]} if "model" in fields else {}
    shape = {"responseFormat": fields["responseFormat"]} if "responseFormat" in fields else {}
    return {**model, **parameters, **shape}


def _schema(text: Any) -> dict[str, Any] | None:
    if text is None:
        return None
    value = json.loads(text) if isinstance(text, str) else text
    schema = value.get("schema", value) if isinstance(value, dict) else None
    if not isinstance(schema, dict):
        raise ValueError("jsonSchema is no JSON Schema")
    return schema
