"""What a version holds: its shape, its limits, its canonical bytes and public digest (DESIGN 5).

A content is kept exactly as it was authored; nothing is filled in, so its digest depends on nothing
but what somebody wrote. `PromptContent.parse` finds all faults, not the first.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import rfc8785

from domain import template, variables
from domain.composition import references_in
from domain.errors import Fault, InvalidContentError, NoCanonicalFormError, TooLargeError
from domain.foreign import FOREIGN_FORMATS
from domain.locales import BODY_FIELD, LOCALE_PATTERN, LOCALES_MAX, is_locale
from domain.messages import MESSAGES_MAX, ROLES
from domain.partials import PARTIALS_MAX, parse_reference, partials_in
from domain.texts import (
    STRUCTURED_FIELDS,
    format_of,
    placeholders_of,
    texts_of,
    undeclared_uses,
    variables_used,
)
from domain.variables import VARIABLES_MAX

CONTENT_BYTES_MAX = 1024 * 1024
CONTENT_DEPTH_MAX = 64
TOOLS_MAX = 256
EXAMPLES_MAX = 256

TYPES = ("text", "chat", "structured")
TEMPLATE_FORMATS = ("mustache", "none", *FOREIGN_FORMATS)
_SHARED_FIELDS = frozenset(
    {"type", "template_format", "variables", "config", "tools", "output_schema", "locales"}
)


@dataclass(frozen=True)
class PromptContent:
    """A checked content: the authored value, its RFC 8785 bytes and `sha256:` digest."""

    value: dict[str, Any]
    canonical: bytes

    @classmethod
    def parse(cls, value: Any, *, declare: bool = False) -> "PromptContent":
        """Check an authored content; with `declare`, declare what its texts use and it does not.

        Raises InvalidContentError with every fault, NoCanonicalFormError for what JSON cannot hold
        exactly, TooLargeError past CONTENT_BYTES_MAX canonical bytes.
        """
        if not isinstance(value, dict):
            raise InvalidContentError("A content is a JSON object with a 'type'.")
        check_finite_depth(value)
        canonical = _canonical_within_limit(value)
        faults: list[Fault] = []
        _check(value, faults)
        uses = undeclared_uses(value) if not faults else {}
        if uses and declare:
            added = {name: {"type": use} for name, (_, use) in sorted(uses.items())}
            more = {**value, "variables": {**value.get("variables", {}), **added}}
            return cls.parse(more, declare=len(more["variables"]) <= VARIABLES_MAX)
        faults += [
            Fault(
                pointer, "undeclared_variable",
                f"uses {name!r}, which 'variables' does not declare: declare it, or ask for it to"
                " be declared",
            )
            for name, (pointer, _) in uses.items()
        ]  # fmt: skip
        if faults:
            raise InvalidContentError(
                f"The content has {len(faults)} fault(s); the first: {faults[0].pointer or '/'}"
                f" {faults[0].detail}.",
                faults,
            )
        return cls(value, canonical)

    @classmethod
    def stored(cls, canonical: bytes) -> "PromptContent":
        """A content that was checked when it was committed, out of its canonical bytes."""
        return cls(json.loads(canonical), canonical)

    @property
    def type(self) -> str:
        """`text`, `chat` or `structured`."""
        kind: str = self.value["type"]
        return kind

    @property
    def digest(self) -> str:
        """The public name of exactly this content."""
        return digest_of(self.canonical)


def digest_of(canonical: bytes) -> str:
    """`sha256:` and the hex SHA-256 of a content's canonical bytes."""
    return "sha256:" + sha256(canonical).hexdigest()


def _canonical_within_limit(value: dict[str, Any]) -> bytes:
    canonical = canonical_json(value)
    if len(canonical) > CONTENT_BYTES_MAX:
        raise TooLargeError(
            f"The content has {len(canonical)} bytes, more than {CONTENT_BYTES_MAX}."
        )
    return canonical


def canonical_json(value: Any, pointer: str = "/content") -> bytes:
    """RFC 8785 bytes of `value`; NoCanonicalFormError names the field that has none."""
    try:
        return rfc8785.dumps(value)
    except rfc8785.CanonicalizationError as error:
        at = _find_uncanonical(value, pointer)
        detail = f"{at} has no canonical JSON form: {error}."
        raise NoCanonicalFormError(detail, [Fault(at, "no_canonical_form", str(error))]) from None


def _find_uncanonical(value: Any, at: str) -> str:
    """The pointer of the first string, number or key that has no canonical form."""
    waiting = [(value, at)]
    while waiting:
        node, pointer = waiting.pop()
        if isinstance(node, dict):
            if not all(_is_canonical(key) for key in node):
                return pointer
            items = [(v, f"{pointer}/{_pointer(str(k))}") for k, v in node.items()]
            waiting += reversed(items)
        elif isinstance(node, list):
            items = [(v, f"{pointer}/{i}") for i, v in enumerate(node)]
            waiting += reversed(items)
        elif not _is_canonical(node):
            return pointer
    return at


def _is_canonical(leaf: Any) -> bool:
    try:
        rfc8785.dumps(leaf)
    except rfc8785.CanonicalizationError:
        return False
    return True


def _pointer(key: str) -> str:
    return key.encode("utf-8", "replace").decode().replace("~", "~0").replace("/", "~1")


def check_finite_depth(value: Any) -> None:
    """Raise InvalidContentError for a value nested deeper than CONTENT_DEPTH_MAX."""
    level = [value]
    for _ in range(CONTENT_DEPTH_MAX):
        level = [
            item
            for node in level
            if isinstance(node, dict | list)
            for item in (node.values() if isinstance(node, dict) else node)
        ]
        if not level:
            return
    raise InvalidContentError(f"The value nests deeper than {CONTENT_DEPTH_MAX} levels.")


def _check(value: dict[str, Any], faults: list[Fault]) -> None:
    kind = value.get("type")
    if kind not in TYPES:
        known = ", ".join(TYPES)
        faults.append(Fault("/type", "unknown_type", f"must be one of {known}"))
        return
    body = BODY_FIELD[kind]
    for field in sorted(value.keys() - _SHARED_FIELDS - {body}):
        faults.append(
            Fault(f"/{_pointer(field)}", "unknown_field", f"not a field of a {kind} prompt")
        )
    if body not in value:
        faults.append(Fault(f"/{body}", "missing", f"a {kind} prompt needs it"))
    else:
        _BODY_CHECKS[kind](value[body], faults)
    _check_shared(value, faults)
    if "locales" in value and not faults:
        _check_locales(value, faults)
    if not faults:
        _check_placeholder_types(value, faults)
    if not faults and format_of(value) == "mustache":
        _check_templates(value, faults)
    if not faults and len(references_in(value)) > PARTIALS_MAX:
        faults.append(Fault("", "too_many", f"names at most {PARTIALS_MAX} partials itself"))


def _check_text(text: Any, faults: list[Fault]) -> None:
    if not isinstance(text, str):
        faults.append(Fault("/text", "wrong_type", "must be a string"))


def _check_messages(messages: Any, faults: list[Fault]) -> None:
    if not isinstance(messages, list) or not 1 <= len(messages) <= MESSAGES_MAX:
        faults.append(Fault("/messages", "wrong_type", f"must be a list of 1 to {MESSAGES_MAX}"))
        return
    for index, message in enumerate(messages):
        at = f"/messages/{index}"
        if not isinstance(message, dict):
            faults.append(Fault(at, "wrong_type", "must be an object"))
        elif "placeholder" in message:
            _check_placeholder(message, at, faults)
        elif "partial" in message:
            _check_partial(message, at, faults)
        else:
            _check_message(message, at, faults)


def _check_placeholder(message: dict[str, Any], at: str, faults: list[Fault]) -> None:
    name = message["placeholder"]
    if message.keys() != {"placeholder"}:
        faults.append(Fault(at, "unknown_field", "a placeholder has no other field"))
    if not isinstance(name, str) or not variables.is_name(name):
        detail = f"a placeholder's name is {variables.VARIABLE_PATTERN}"
        faults.append(Fault(f"{at}/placeholder", "invalid_name", detail))


def _check_partial(message: dict[str, Any], at: str, faults: list[Fault]) -> None:
    if message.keys() != {"partial"}:
        faults.append(Fault(at, "unknown_field", "a partial has no other field"))
    try:
        parse_reference(message["partial"] if isinstance(message["partial"], str) else "")
    except template.TemplateError as error:
        faults.append(Fault(f"{at}/partial", "invalid_reference", str(error)))


def _check_message(message: dict[str, Any], at: str, faults: list[Fault]) -> None:
    if message.keys() != {"role", "content"}:
        faults.append(
            Fault(
                at,
                "wrong_fields",
                "a message has exactly 'role' and 'content', or 'placeholder', or 'partial'",
            )
        )
    if message.get("role") not in ROLES:
        faults.append(Fault(f"{at}/role", "unknown_role", f"must be one of {', '.join(ROLES)}"))
    if not isinstance(message.get("content"), str):
        faults.append(Fault(f"{at}/content", "wrong_type", "must be a string"))


def _check_fields(fields: Any, faults: list[Fault]) -> None:
    if not isinstance(fields, dict) or not fields:
        faults.append(Fault("/fields", "wrong_type", "must be an object with at least one field"))
        return
    for name in sorted(fields.keys() - set(STRUCTURED_FIELDS)):
        known = ", ".join(STRUCTURED_FIELDS)
        faults.append(
            Fault(f"/fields/{_pointer(name)}", "unknown_field", f"must be one of {known}")
        )
    for name in ("role", "task", "context", "output_format"):
        if name in fields and not isinstance(fields[name], str):
            faults.append(Fault(f"/fields/{name}", "wrong_type", "must be a string"))
    constraints = fields.get("constraints", [])
    if not isinstance(constraints, list) or not all(isinstance(c, str) for c in constraints):
        faults.append(Fault("/fields/constraints", "wrong_type", "must be a list of strings"))
    _check_examples(fields.get("examples", []), faults)


def _check_examples(examples: Any, faults: list[Fault]) -> None:
    if not isinstance(examples, list) or len(examples) > EXAMPLES_MAX:
        detail = f"must be a list of at most {EXAMPLES_MAX}"
        faults.append(Fault("/fields/examples", "wrong_type", detail))
        return
    for index, example in enumerate(examples):
        good = (
            isinstance(example, dict)
            and example.keys() == {"input", "output"}
            and all(isinstance(text, str) for text in example.values())
        )
        if not good:
            detail = "an example has exactly the strings 'input' and 'output'"
            faults.append(Fault(f"/fields/examples/{index}", "wrong_type", detail))


def _check_shared(value: dict[str, Any], faults: list[Fault]) -> None:
    if value.get("template_format", "mustache") not in TEMPLATE_FORMATS:
        known = ", ".join(TEMPLATE_FORMATS)
        faults.append(Fault("/template_format", "unknown_format", f"must be one of {known}"))
    for field in ("config", "output_schema"):
        if field in value and not isinstance(value[field], dict):
            faults.append(Fault(f"/{field}", "wrong_type", "must be an object"))
    tools = value.get("tools", [])
    if (
        not isinstance(tools, list)
        or len(tools) > TOOLS_MAX
        or not all(isinstance(t, dict) for t in tools)
    ):
        faults.append(
            Fault("/tools", "wrong_type", f"must be a list of at most {TOOLS_MAX} objects")
        )
    if "variables" in value:
        variables.check_declarations(value["variables"], faults)


def _check_locales(value: dict[str, Any], faults: list[Fault]) -> None:
    """Translations: of the body, with a note for people; the same placeholders as the base."""
    locales, body = value["locales"], BODY_FIELD[value["type"]]
    if not isinstance(locales, dict) or len({str(name).lower() for name in locales}) < len(locales):
        faults.append(Fault("/locales", "wrong_type", "must be an object of tag to translation"))
        return
    if len(locales) > LOCALES_MAX:
        faults.append(Fault("/locales", "too_many", f"at most {LOCALES_MAX} locales"))
    for name, translation in locales.items():
        at = f"/locales/{_pointer(name)}"
        if not is_locale(name):
            faults.append(Fault(at, "invalid_name", f"a locale is {LOCALE_PATTERN}"))
        if not isinstance(translation, dict) or body not in translation:
            faults.append(Fault(at, "missing", f"a translation has its own '{body}'"))
            continue
        for field in sorted(translation.keys() - {body, "note"}):
            faults.append(Fault(f"{at}/{_pointer(field)}", "unknown_field", "not of a translation"))
        if not isinstance(translation.get("note", ""), str):
            faults.append(Fault(f"{at}/note", "wrong_type", "must be a string"))
        _check_translation(at, value, translation, faults)


def _check_translation(
    at: str, value: dict[str, Any], translation: dict[str, Any], faults: list[Fault]
) -> None:
    found: list[Fault] = []
    _BODY_CHECKS[value["type"]](translation[BODY_FIELD[value["type"]]], found)
    faults += [Fault(at + one.pointer, one.code, one.detail) for one in found]
    if not found and not placeholders_of(translation) <= placeholders_of(value):
        detail = "has a placeholder that the base has not"
        faults.append(Fault(f"{at}/messages", "unknown_placeholder", detail))


def _check_placeholder_types(value: dict[str, Any], faults: list[Fault]) -> None:
    """A message list fills a placeholder, and nothing else does."""
    holes = placeholders_of(value)
    for name in sorted(holes & _shown(value)):
        detail = f"{name!r} is a placeholder: it holds messages, and no text can show it"
        faults.append(Fault("/messages", "placeholder_in_text", detail))
    for name, spec in value.get("variables", {}).items():
        if (spec.get("type") == "messages") != (name in holes):
            detail = "a variable of type messages is what a placeholder of its name is filled with"
            faults.append(Fault(f"/variables/{name}/type", "wrong_type", detail))


def _shown(value: dict[str, Any]) -> frozenset[str]:
    try:
        return variables_used(value)
    except template.TemplateError:  # a fault of its own
        return frozenset()


def _check_templates(value: dict[str, Any], faults: list[Fault]) -> None:
    for pointer, text in texts_of(value):
        try:
            template.check_template(text)
            partials_in(text)
        except template.TemplateError as error:
            faults.append(Fault(pointer, "invalid_template", str(error)))


_BODY_CHECKS: dict[str, Callable[[Any, list[Fault]], None]] = {
    "text": _check_text,
    "chat": _check_messages,
    "structured": _check_fields,
}
