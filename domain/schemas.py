"""Whether everything one JSON Schema allows is allowed by another.

Compares the keywords below by set inclusion (https://json-schema.org/draft/2020-12); a keyword it
does not know counts as incompatible unless both schemas have it alike.
"""

from collections.abc import Mapping
from typing import Any

from domain.json_values import same, written

_ANNOTATIONS = frozenset(
    {"title", "description", "default", "examples", "$comment", "deprecated", "readOnly",
     "writeOnly", "$schema", "$id"}
)  # fmt: skip
_LOWER = ("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties")
_UPPER = ("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties")
_NARROWING = ("pattern", "format", "multipleOf", "uniqueItems")
_KNOWN = frozenset(
    {"type", "enum", "const", "properties", "required", "additionalProperties", "items",
     *_LOWER, *_UPPER, *_NARROWING}
)  # fmt: skip
_ANYTHING: dict[str, Any] = {}


def allows_no_more(new: Any, old: Any) -> bool:
    """Whether whatever `new` allows, `old` allows too, as far as can be told from the keywords.

    What is no schema allows nobody can say what: False.
    """
    try:
        return _within(new, old)
    except (TypeError, AttributeError, ValueError):
        return False


def _within(new: Any, old: Any) -> bool:
    if new is old or old is True or old == _ANYTHING or new is False or same(new, old):
        return True
    if not isinstance(new, dict) or not isinstance(old, dict):
        return new is True and _within(_ANYTHING, old) if isinstance(old, dict) else False
    return (
        _unknown_alike(new, old)
        and _type_within(new, old)
        and _values_within(new, old)
        and _bounds_within(new, old)
        and _object_within(new, old)
        and ("items" not in old or _within(new.get("items", True), old["items"]))
    )


def _unknown_alike(new: Mapping[str, Any], old: Mapping[str, Any]) -> bool:
    unknown = (new.keys() | old.keys()) - _KNOWN - _ANNOTATIONS
    if any(name.startswith("unevaluated") for name in unknown):
        return False  # what it means depends on the keywords beside it
    return all(same(new.get(name), old.get(name)) for name in unknown)


def _types(schema: Mapping[str, Any]) -> set[str]:
    named = schema.get("type")
    return set(named) if isinstance(named, list) else {str(named)}


def _type_within(new: Mapping[str, Any], old: Mapping[str, Any]) -> bool:
    if "type" not in old:
        return True
    if "type" not in new:
        return False
    allowed = _types(old)
    if "number" in allowed:
        allowed.add("integer")
    return _types(new) <= allowed


def _values_within(new: Mapping[str, Any], old: Mapping[str, Any]) -> bool:
    allowed = _listed(old)
    if allowed is None:
        return True
    offered = _listed(new)
    known = set(map(written, allowed))
    return offered is not None and all(written(value) in known for value in offered)


def _listed(schema: Mapping[str, Any]) -> list[Any] | None:
    if "const" in schema:
        return [schema["const"]]
    values = schema.get("enum")
    return values if isinstance(values, list) else None


def _bounds_within(new: Mapping[str, Any], old: Mapping[str, Any]) -> bool:
    for name in _LOWER:
        if name in old and (name not in new or new[name] < old[name]):
            return False
    for name in _UPPER:
        if name in old and (name not in new or new[name] > old[name]):
            return False
    return all(name not in old or same(new.get(name), old[name]) for name in _NARROWING)


def _object_within(new: Mapping[str, Any], old: Mapping[str, Any]) -> bool:
    if not set(old.get("required", ())) <= set(new.get("required", ())):
        return False
    were, are = old.get("properties", {}), new.get("properties", {})
    rest_was, rest_is = (one.get("additionalProperties", True) for one in (old, new))
    for name in were.keys() | are.keys():
        if not _within(are.get(name, rest_is), were.get(name, rest_was)):
            return False
    return _within(rest_is, rest_was)
