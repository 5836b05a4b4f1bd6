"""Variables a prompt declares, and whether given values fit them."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from domain.errors import Fault, InvalidVariablesError

VARIABLES_MAX = 256
VARIABLE_TYPES = ("string", "number", "integer", "boolean", "list", "object")
VARIABLE_PATTERN = r"[A-Za-z_][A-Za-z0-9_-]{0,63}"
_NAME = re.compile(VARIABLE_PATTERN)
_FIELDS = frozenset({"type", "required", "default", "description"})


def is_name(name: str) -> bool:
    """Whether `name` can name a variable or a placeholder."""
    return _NAME.fullmatch(name) is not None


@dataclass(frozen=True)
class Variable:
    """One declared variable. `has_default` tells an absent default from a null one."""

    name: str
    type: str
    required: bool
    has_default: bool
    default: Any


def fits(type_: str, value: Any) -> bool:
    """Whether a JSON value is of a declared type (a boolean is no number)."""
    match type_:
        case "string":
            return isinstance(value, str)
        case "boolean":
            return isinstance(value, bool)
        case "integer":
            return isinstance(value, int) and not isinstance(value, bool)
        case "number":
            return isinstance(value, int | float) and not isinstance(value, bool)
        case "list":
            return isinstance(value, list)
        case "object":
            return isinstance(value, dict)
    return False


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
    for field in spec.keys() - _FIELDS:
        faults.append(Fault(f"{at}/{field}", "unknown_field", "not a field of a variable"))
    type_ = spec.get("type", "string")
    if type_ not in VARIABLE_TYPES:
        known = ", ".join(VARIABLE_TYPES)
        faults.append(Fault(f"{at}/type", "unknown_type", f"must be one of {known}"))
    elif "default" in spec and not fits(type_, spec["default"]):
        faults.append(Fault(f"{at}/default", "wrong_type", f"must be of type {type_}"))
    if not isinstance(spec.get("required", False), bool):
        faults.append(Fault(f"{at}/required", "wrong_type", "must be true or false"))
    if not isinstance(spec.get("description", ""), str):
        faults.append(Fault(f"{at}/description", "wrong_type", "must be a string"))


def declarations(declared: Mapping[str, Mapping[str, Any]]) -> dict[str, Variable]:
    """Checked declarations by name. Required unless said otherwise or given a default."""
    return {
        name: Variable(
            name=name,
            type=spec.get("type", "string"),
            required=spec.get("required", "default" not in spec),
            has_default="default" in spec,
            default=spec.get("default"),
        )
        for name, spec in declared.items()
    }


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
        if value is None and not variable.required:
            values[variable.name] = None
        elif fits(variable.type, value):
            values[variable.name] = value
        else:
            faults.append(Fault(at, "wrong_type", f"must be of type {variable.type}"))
    elif variable.has_default:
        values[variable.name] = variable.default
    elif variable.required:
        faults.append(Fault(at, "missing", f"required, of type {variable.type}"))
    else:
        values[variable.name] = None
