"""Prompt names out of file names, and templates out of texts."""

import re
from collections.abc import Iterable
from pathlib import PurePath
from typing import Any

from domain.variables import VARIABLE_PATTERN

_TAG = re.compile(r"\{\{\s*(" + VARIABLE_PATTERN + r")\s*\}\}")
_UNFIT = re.compile(r"[^a-z0-9._-]+")
_EDGES = re.compile(r"^[^a-z0-9]+|[^a-z0-9]+$")


def prompt_name_from(path: PurePath, *suffixes: str) -> str:
    """A prompt name for a relative path: lower case, odd characters as '-', a suffix cut off."""
    parts = list(path.parts)
    for suffix in suffixes:
        if parts[-1].lower().endswith(suffix):
            parts[-1] = parts[-1][: -len(suffix)]
            break
    return "/".join(_segment(part) for part in parts)


def _segment(part: str) -> str:
    dashed = _UNFIT.sub("-", part.lower()).replace("..", ".")
    return _EDGES.sub("", dashed) or "unnamed"


def detect_template(texts: Iterable[str]) -> tuple[str, list[str]]:
    """`mustache` and its variables where every tag is `{{identifier}}`, else `none`."""
    names: list[str] = []
    for text in texts:
        if "{{" in _TAG.sub("", text):
            return "none", []
        names += _TAG.findall(text)
    return "mustache", sorted(set(names))


def template_fields(texts: Iterable[str]) -> dict[str, Any]:
    """The content fields that say how these texts are filled."""
    template_format, names = detect_template(texts)
    fields: dict[str, Any] = {"template_format": template_format}
    if names:
        fields["variables"] = {name: {"type": "string", "required": True} for name in names}
    return fields
