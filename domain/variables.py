"""Variables a prompt declares, and whether given values fit them."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import jsonschema_rs

from domain.errors import Fault, InvalidVariablesError
from domain.messages import messages_problem
from domain.schema_weight import SCHEMA_WEIGHT_MAX, is_light

VARIABLES_MAX = 256
VARIABLE_TYPES = (
    "string", "number", "integer", "boolean", "enum", "list", "object", "image", "audio",
    "messages",
)  # fmt: skip
MEDIA_TYPES = ("image", "audio")
CONTAINER_TYPES = ("list", "object", "messages")
VARIABLE_PATTERN = r"[A-Za-z_][A-Za-z0-9_-]{0,63}"
ENUM_VALUES_MAX = 256
SCHEMA_ERRORS_SHOWN = 5
SCHEMA_CACHE = 256
_NAME = re.compile(VARIABLE_PATTERN)
_FIELDS = frozenset({"type", "required", "default", "description"})
_FIELD_OF = {"enum": "values", "list": "schema", "object": "schema"}
_WEB_URL = re.compile(r"https?://[^\s\"<>]+")
_DATA_URL = re.compile(r"data:(image|audio)/[A-Za-z0-9.+-]+;base64,[A-Za-z0-9+/]+={0,2}")


def is_name(name: str) -> bool:
    """Whether `name` can name a variable or a placeholder."""
    return _NAME.fullmatch(name) is not None


@dataclass(frozen=True)
class Variable:
    """One declared variable. `has_default` tells an absent default from a null one.

    `values` are an enum's; `schema` is the JSON Schema of a list or object.
    """

    name: str
    type: str
    required: bool
    has_default: bool
    default: Any
    values: tuple[str, ...] = ()
    schema: Mapping[str, Any] | None = None

    def problem(self, value: Any) -> str | None:
        """What keeps a value from fitting; None where it fits."""
        if self.type == "enum":
            return None if value in self.values else f"must be one of {', '.join(self.values)}"
        if self.type == "messages":
            return messages_problem(value)
        if not fits(self.type, value):
            return f"must be of type {self.type}{_URL_HINT.get(self.type, '')}"
        return None if self.schema is None else schema_problem(self.schema, value)


_URL_HINT = dict.fromkeys(MEDIA_TYPES, ": an http(s) URL, or a data: URL in base64")


def fits(type_: str, value: Any) -> bool:
    """Whether a JSON value is of a declared type (a boolean is no number)."""
    match type_:
        case "string" | "enum":
            return isinstance(value, str)
        case "boolean":
            return isinstance(value, bool)
        case "integer":
            return isinstance(value, int) and not isinstance(value, bool)
        case "number":
            return isinstance(value, int | float) and not isinstance(value, bool)
        case "list" | "messages":
            return isinstance(value, list)
        case "object":
            return isinstance(value, dict)
        case "image" | "audio":
            return isinstance(value, str) and _is_media_url(type_, value)
    return False


def _is_media_url(type_: str, value: str) -> bool:
    data = _DATA_URL.fullmatch(value)
    return data.group(1) == type_ if data else _WEB_URL.fullmatch(value) is not None


# JSON Schema (https://json-schema.org): nothing is fetched, patterns run in linear time


def is_schema(schema: Any) -> bool:
    """Whether a value is a JSON Schema of its own, and not too much work (SCHEMA_WEIGHT_MAX)."""
    if not isinstance(schema, dict) or not is_light(schema):
        return False
    try:
        _validator(_frozen(schema))
    except (jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError, ValueError):
        return False
    return True


def schema_problem(schema: Mapping[str, Any], value: Any) -> str | None:
    """The first errors of a value against a JSON Schema, as one sentence; None where it fits."""
    try:
        found = [
            f"{'/'.join(map(str, error.instance_path)) or 'the value'}: {error.message[:200]}"
            for _, error in zip(
                range(SCHEMA_ERRORS_SHOWN),
                _validator(_frozen(schema)).iter_errors(value),
                strict=False,
            )
        ]
    except ValueError as error:
        return f"cannot be checked: {error}"
    return "; ".join(found) or None


def _frozen(schema: Mapping[str, Any]) -> str:
    return json.dumps(schema, sort_keys=True)


@lru_cache(maxsize=SCHEMA_CACHE)
def _validator(schema: str) -> Any:
    return jsonschema_rs.validator_for(
        schema, offline=True, pattern_options=jsonschema_rs.RegexOptions()
    )


# Declarations


def check_declarations(declared: Any, faults: list[Fault]) -> None:
    """Append a fault for everything wrong with a content's `variables` object."""
    if not isinstance(declared, dict):
        faults.append(Fault("/variables", "wrong_type", "must be an object of name to variable"))
        return
    if len(declared) > VARIABLES_MAX:
        faults.append(Fault("/variables", "too_many", f"at most {VARIABLES_MAX} variables"))
        return
    for name, spec in declared.items():
        _check_declaration(name, spec, faults)


def _check_declaration(name: str, spec: Any, faults: list[Fault]) -> None:
    at = f"/variables/{name}"
    if not is_name(name):
        faults.append(Fault(at, "invalid_name", f"a variable's name is {VARIABLE_PATTERN}"))
    if not isinstance(spec, dict):
        faults.append(Fault(at, "wrong_type", "must be an object"))
        return
    type_ = spec.get("type", "string")
    if type_ not in VARIABLE_TYPES:
        known = ", ".join(VARIABLE_TYPES)
        faults.append(Fault(f"{at}/type", "unknown_type", f"must be one of {known}"))
        return
    for field in sorted(spec.keys() - _FIELDS - {_FIELD_OF.get(type_)}):
        faults.append(Fault(f"{at}/{field}", "unknown_field", f"not a field of a {type_}"))
    if not isinstance(spec.get("required", False), bool):
        faults.append(Fault(f"{at}/required", "wrong_type", "must be true or false"))
    if not isinstance(spec.get("description", ""), str):
        faults.append(Fault(f"{at}/description", "wrong_type", "must be a string"))
    known_faults = len(faults)
    _check_detail(at, type_, spec, faults)
    if "default" in spec and len(faults) == known_faults:
        problem = declarations({name: spec})[name].problem(spec["default"])
        if problem is not None:
            faults.append(Fault(f"{at}/default", "wrong_type", problem))


def _check_detail(at: str, type_: str, spec: dict[str, Any], faults: list[Fault]) -> None:
    values = spec.get("values")
    if type_ == "enum" and not (
        isinstance(values, list)
        and 1 <= len(values) <= ENUM_VALUES_MAX
        and all(isinstance(value, str) for value in values)
        and len(set(values)) == len(values)
    ):
        detail = f"must be a list of 1 to {ENUM_VALUES_MAX} different strings"
        faults.append(Fault(f"{at}/values", "wrong_type", detail))
    if _FIELD_OF.get(type_) == "schema" and "schema" in spec and not is_schema(spec["schema"]):
        detail = (
            "must be a JSON Schema that refers to no other document nor to itself, of at most"
            f" {SCHEMA_WEIGHT_MAX} nodes with its references written out"
        )
        faults.append(Fault(f"{at}/schema", "invalid_schema", detail))


def declarations(declared: Mapping[str, Mapping[str, Any]]) -> dict[str, Variable]:
    """Checked declarations by name. Required unless said otherwise or given a default."""
    return {
        name: Variable(
            name=name,
            type=spec.get("type", "string"),
            required=spec.get("required", "default" not in spec),
            has_default="default" in spec,
            default=spec.get("default"),
            values=tuple(spec.get("values", ())),
            schema=spec.get("schema"),
        )
        for name, spec in declared.items()
    }


# Values


def bind(
    declared: Mapping[str, Variable],
    used: frozenset[str],
    given: Mapping[str, Any],
    *,
    allow_extra: bool = False,
) -> dict[str, Any]:
    """The values a template renders with: given ones, else defaults, else null where optional.

    Names that the text uses without declaring them count as required, of any type.
    Raises InvalidVariablesError listing every missing, mistyped and (unless allowed) extra value.
    """
    faults: list[Fault] = []
    values: dict[str, Any] = {}
    for variable in declared.values():
        _bind_one(variable, given, values, faults)
    for name in sorted(used - declared.keys()):
        if name in given:
            values[name] = given[name]
        else:
            faults.append(Fault(f"/variables/{name}", "missing", "the text uses it: give a value"))
    if not allow_extra:
        for name in sorted(given.keys() - declared.keys() - used):
            faults.append(Fault(f"/variables/{name}", "unknown", "the prompt has no such variable"))
    if faults:
        names = ", ".join(fault.pointer.removeprefix("/variables/") for fault in faults)
        raise InvalidVariablesError(f"Variables do not fit: {names}.", faults)
    return values


def _bind_one(
    variable: Variable, given: Mapping[str, Any], values: dict[str, Any], faults: list[Fault]
) -> None:
    at = f"/variables/{variable.name}"
    if variable.name in given:
        value = given[variable.name]
        problem = None if value is None and not variable.required else variable.problem(value)
        if problem is None:
            values[variable.name] = value
        else:
            faults.append(Fault(at, "wrong_type", problem))
    elif variable.has_default:
        values[variable.name] = variable.default
    elif variable.required:
        faults.append(Fault(at, "missing", f"required, of type {variable.type}"))
    else:
        values[variable.name] = None
