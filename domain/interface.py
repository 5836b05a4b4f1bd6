"""What changed between two contents for those who use the prompt, and how much it matters.

The rules of DESIGN section 5: what may break a consumer is major, what cannot is minor, whitespace
alone is patch. Reasons are codes; they name no user text, so that events can carry them.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from domain.json_values import same
from domain.schemas import allows_no_more
from domain.semver import Level
from domain.texts import base_texts, base_words, format_of, placeholders_of
from domain.variables import Variable, declarations

# Every reason, with the level it makes a change.
REASONS: dict[str, Level] = {
    "base_erased": "major",
    "type_changed": "major",
    "template_format_changed": "major",
    "variable_removed": "major",
    "variable_added_required": "major",
    "variable_now_required": "major",
    "variable_type_changed": "major",
    "variable_values_removed": "major",
    "variable_schema_narrowed": "major",
    "message_roles_changed": "major",
    "output_schema_incompatible": "major",
    "variable_added_optional": "minor",
    "variable_now_optional": "minor",
    "variable_values_added": "minor",
    "variable_schema_widened": "minor",
    "variable_default_changed": "minor",
    "variable_described": "minor",
    "text_changed": "minor",
    "config_changed": "minor",
    "tools_changed": "minor",
    "output_schema_changed": "minor",
    "locales_changed": "minor",
    "whitespace_changed": "patch",
    "nothing_changed": "patch",
}
_LEVELS: tuple[Level, ...] = ("patch", "minor", "major")


@dataclass(frozen=True)
class Change:
    """How much a change matters, and every reason for it, the weightiest first."""

    level: Level
    reasons: tuple[str, ...]


def change_of(before: Mapping[str, Any] | None, after: Mapping[str, Any]) -> Change:
    """What a new content changes of the one before (None: erased, so that nobody can tell)."""
    if before is None:
        return Change("major", ("base_erased",))
    found = set(_reasons(before, after)) or {"nothing_changed"}
    ordered = sorted(found, key=list(REASONS).index)
    return Change(max((REASONS[r] for r in ordered), key=_LEVELS.index), tuple(ordered))


def _reasons(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[str]:
    if before["type"] != after["type"]:
        yield "type_changed"
    if format_of(before) != format_of(after):
        yield "template_format_changed"
    yield from _variable_reasons(_interface(before), _interface(after))
    if _roles(before) != _roles(after):
        yield "message_roles_changed"
    yield from _text_reasons(before, after)
    for field in ("config", "tools", "locales"):
        if not same(before.get(field), after.get(field)):
            yield f"{field}_changed"
    yield from _schema_reasons(before.get("output_schema"), after.get("output_schema"))


def _interface(content: Mapping[str, Any]) -> dict[str, tuple[Variable, str]]:
    """Every variable with its description; a placeholder is one, of messages."""
    specs = dict(content.get("variables", {}))
    for name in placeholders_of(content) - specs.keys():
        specs[name] = {"type": "messages"}
    return {n: (v, specs[n].get("description", "")) for n, v in declarations(specs).items()}


def _variable_reasons(
    before: Mapping[str, tuple[Variable, str]], after: Mapping[str, tuple[Variable, str]]
) -> Iterator[str]:
    if before.keys() - after.keys():
        yield "variable_removed"
    for name, (variable, description) in after.items():
        if name not in before:
            yield f"variable_added_{'required' if variable.required else 'optional'}"
            continue
        was, described = before[name]
        if description != described:
            yield "variable_described"
        yield from _one_variable(was, variable)


def _one_variable(was: Variable, now: Variable) -> Iterator[str]:
    if was.type != now.type:
        yield "variable_type_changed"
        return
    if was.required != now.required:
        yield f"variable_now_{'required' if now.required else 'optional'}"
    if was.has_default != now.has_default or not same(was.default, now.default):
        yield "variable_default_changed"
    if set(was.values) - set(now.values):
        yield "variable_values_removed"
    if set(now.values) - set(was.values):
        yield "variable_values_added"
    old, new = ({} if v.schema is None else v.schema for v in (was, now))
    if not same(old, new):
        yield f"variable_schema_{'widened' if allows_no_more(old, new) else 'narrowed'}"


def _roles(content: Mapping[str, Any]) -> list[str]:
    return [
        message.get("role") or " ".join(map(str, next(iter(message.items()))))
        for message in content.get("messages", ())
    ]


def _text_reasons(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[str]:
    if base_texts(before) == base_texts(after):
        return
    yield "whitespace_changed" if base_words(before) == base_words(after) else "text_changed"


def _schema_reasons(before: Any, after: Any) -> Iterator[str]:
    if same(before, after):
        return
    if before is None or (after is not None and allows_no_more(after, before)):
        yield "output_schema_changed"
    else:
        yield "output_schema_incompatible"
