"""Where in a content the texts are, and which variables they use."""

from collections.abc import Mapping
from typing import Any

from domain import template
from domain.foreign import FOREIGN_FORMATS, names_in_foreign
from domain.variables import CONTAINER_TYPES

STRUCTURED_FIELDS = ("role", "task", "context", "constraints", "output_format", "examples")


def texts_of(value: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Every text of a checked content that is a template, with its JSON pointer, in order.

    The base language's first, then those of translations.
    """
    found = base_texts(value)
    for locale, translation in value.get("locales", {}).items():
        at = f"/locales/{locale}"
        found += [(at + p, text) for p, text in base_texts({"type": value["type"], **translation})]
    return found


def base_texts(value: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The texts of the base language."""
    match value["type"]:
        case "text":
            return [("/text", value["text"])] if "text" in value else []
        case "chat":
            return [
                (f"/messages/{index}/content", message["content"])
                for index, message in enumerate(value.get("messages", ()))
                if "content" in message
            ]
    found: list[tuple[str, str]] = []
    for name in STRUCTURED_FIELDS:
        _collect_texts(f"/fields/{name}", value.get("fields", {}).get(name), found)
    return found


def base_words(value: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The texts of the base language without regard to whitespace."""
    return [(pointer, " ".join(text.split())) for pointer, text in base_texts(value)]


def _collect_texts(pointer: str, node: Any, found: list[tuple[str, str]]) -> None:
    if isinstance(node, str):
        found.append((pointer, node))
    elif isinstance(node, list):
        for index, item in enumerate(node):
            _collect_texts(f"{pointer}/{index}", item, found)
    elif isinstance(node, dict):
        for key in sorted(node):
            _collect_texts(f"{pointer}/{key}", node[key], found)


def format_of(content: Mapping[str, Any]) -> str:
    """The language of a content's templates."""
    name: str = content.get("template_format", "mustache")
    return name


def placeholders_of(content: Mapping[str, Any]) -> frozenset[str]:
    """The names of a chat's message placeholders."""
    messages = content.get("messages", [])
    return frozenset(m["placeholder"] for m in messages if "placeholder" in m)


def variables_used(content: Mapping[str, Any]) -> frozenset[str]:
    """The names of all variables a content's templates use, in foreign ones as well as is seen."""
    template_format = format_of(content)
    texts = (text for _, text in texts_of(content))
    if template_format in FOREIGN_FORMATS:
        return frozenset().union(*(names_in_foreign(template_format, text) for text in texts))
    if template_format == "none":
        return frozenset()
    return frozenset().union(*(template.names_in(text) for text in texts))


def variables_of(content: Mapping[str, Any]) -> list[str]:
    """The names of all variables a content declares, uses or has as placeholders, sorted."""
    declared = content.get("variables", {}).keys()
    return sorted(declared | variables_used(content) | placeholders_of(content))


def undeclared_uses(content: Mapping[str, Any]) -> dict[str, tuple[str, template.Use]]:
    """Variables that a mustache content uses for certain and does not declare: where, as what."""
    if format_of(content) != "mustache":
        return {}
    declared = content.get("variables", {})
    scalars = {n for n, spec in declared.items() if spec.get("type") not in CONTAINER_TYPES}
    found: dict[str, tuple[str, template.Use]] = {}
    for pointer, text in texts_of(content):
        for name, use in template.uses_in(text, scalars).items():
            if name not in declared:
                found.setdefault(name, (pointer, use))
    return found
