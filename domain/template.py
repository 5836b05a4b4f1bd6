"""Mustache, strictly: missing names are errors, values are never parsed, nothing is HTML-escaped.

Stands on pystache's parser and render engine (https://mustache.github.io/mustache.5.html). The
engine runs under a budget, because sections over lists multiply: a template of 100 bytes can ask
for more output than there is memory.
"""

import json
from collections.abc import Iterator, Set
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

from pystache.common import PystacheError
from pystache.context import ContextStack, KeyNotFoundError
from pystache.parser import ParsingError, _Parser
from pystache.renderengine import RenderEngine

from domain.errors import InvalidVariablesError, RenderLimitError

RENDER_STEPS_MAX = 200_000
RENDER_OUTPUT_CHARS_MAX = 8 * 1024 * 1024
SECTION_DEPTH_MAX = 32
DELIMITERS = ("{{", "}}")
TEMPLATE_TAGS_MAX = 10_000
PARSE_CACHE_TEMPLATES = 512

# What a variable is used as, the more telling use later.
Use = Literal["boolean", "list", "string", "object"]
_USES: tuple[Use, ...] = ("boolean", "list", "string", "object")


class TemplateError(ValueError):
    """The text is no template this registry can render; the message says why."""


@dataclass(frozen=True)
class _Tag:
    """A tag as pystache's parser asks for it: like a match of its regular expression."""

    begin: int
    finish: int
    groups: dict[str, str | None]

    def start(self) -> int:
        return self.begin

    def end(self) -> int:
        return self.finish

    def groupdict(self) -> dict[str, str | None]:
        return dict(self.groups)


class TagScanner:
    """Finds tags in one pass, in place of pystache's regular expression.

    That one takes time in the square of the text's length where a tag is never closed or blanks
    are many. `unclosed` is the character of a tag that is never closed, and so none, once met.
    """

    def __init__(self, delimiters: tuple[str, str], tags: int = 0) -> None:
        self._opening, self._closing = delimiters
        self.tags = tags
        self.unclosed: int | None = None

    def search(self, text: str, start: int) -> _Tag | None:
        """The first tag at or after a character; TemplateError past TEMPLATE_TAGS_MAX of them."""
        at = text.find(self._opening, start)
        if at < 0:
            return None
        self.tags += 1
        if self.tags > TEMPLATE_TAGS_MAX:
            raise TemplateError(f"more than {TEMPLATE_TAGS_MAX} tags")
        inside = at + len(self._opening)
        found = self._read(text, at, inside)
        if found is None:
            self.unclosed = at
            return None
        groups, finish = found
        begin = at
        while begin > start and text[begin - 1] in " \t":
            begin -= 1
        return _Tag(begin, finish, {**_NO_GROUPS, **groups, "whitespace": text[begin:at]})

    def _read(self, text: str, at: int, inside: int) -> tuple[dict[str, str | None], int] | None:
        """The parts of the tag and where it ends; None where it is never closed."""
        first = text[inside : inside + 1]
        closing = {"=": "=", "{": "}"}.get(first, "") + self._closing
        begin = inside + 1 if first in ("=", "{") else inside
        end = text.find(closing, begin)
        if end < 0:
            return None
        content, finish = text[begin:end].strip(), end + len(closing)
        if not content:
            raise TemplateError(f"the tag at character {at} names nothing")
        if first == "=":
            return {"change": "=", "delims": content}, finish
        if first == "{":
            return {"raw": "{", "raw_name": content}, finish
        kind = content[0] if content[0] in "!>&/#^" else ""
        key = content[len(kind) :].strip()
        if not key and kind != "!":
            raise TemplateError(f"the tag at character {at} names nothing")
        return {"tag": kind, "tag_key": key}, finish

    def check_closed(self) -> None:
        """TemplateError where a tag was met that is never closed."""
        if self.unclosed is not None:
            raise TemplateError(f"the tag at character {self.unclosed} is never closed")


_NO_GROUPS: dict[str, str | None] = dict.fromkeys(
    ("whitespace", "change", "delims", "raw", "raw_name", "tag", "tag_key")
)


class _LinearParser(_Parser):  # type: ignore[misc]  # pystache has no types
    """pystache's parser with our scanner."""

    def _compile_delimiters(self) -> None:
        if len(self._delimiters) != 2:
            raise TemplateError("a change of delimiters names two")
        before: TagScanner | None = getattr(self, "_template_re", None)
        opening, closing = self._delimiters
        self._template_re = TagScanner((opening, closing), before.tags if before else 0)


@lru_cache(maxsize=PARSE_CACHE_TEMPLATES)
def _parsed(text: str) -> Any:
    try:
        parser = _LinearParser(raise_on_mismatch=True)
        parsed = parser.parse(text)
        _count_literals(parsed)
        parsed.scanner = parser._template_re
        return parsed
    except (ParsingError, IndexError, RecursionError) as error:
        raise TemplateError(f"not a mustache template: {error}") from None


@dataclass(frozen=True)
class _Text:
    """A literal text as a node, so that it is counted however often it is shown."""

    text: str

    def render(self, engine: "_BudgetedEngine", context: ContextStack) -> str:
        engine.spend(0, len(self.text))
        return self.text


def _count_literals(parsed: Any) -> None:
    waiting = [parsed]
    while waiting:
        tree = waiting.pop()._parse_tree
        for index, node in enumerate(tree):
            if isinstance(node, str):
                tree[index] = _Text(node)
            elif (inner := _inside(node)) is not None:
                waiting.append(inner)


def _walk(parsed: Any, names: set[str], depth: int) -> None:
    if depth > SECTION_DEPTH_MAX:
        raise TemplateError(f"sections nest deeper than {SECTION_DEPTH_MAX}")
    for node in parsed._parse_tree:
        kind = type(node).__name__
        if kind in _NAMING:
            names.add(node.key)
        inner = _inside(node)
        if inner is not None:
            _walk(inner, names, depth + 1)


_NAMING = ("_EscapeNode", "_LiteralNode", "_SectionNode", "_InvertedNode")


def _inside(node: Any) -> Any:
    return getattr(node, "parsed", None) or getattr(node, "parsed_section", None)


@lru_cache(maxsize=PARSE_CACHE_TEMPLATES)
def names_in(text: str) -> frozenset[str]:
    """The variables a template may use: the first part of every name in it, `.` left out.

    Raises TemplateError where the text cannot be parsed or nests deeper than SECTION_DEPTH_MAX. A
    name inside a section may belong to the section's value instead; partials' names are their own.
    """
    if "{{" not in text:
        return frozenset()
    names: set[str] = set()
    _walk(_parsed(text), names, 0)
    return frozenset(name.split(".")[0] for name in names if name != ".")


def check_template(text: str) -> None:
    """TemplateError for what `names_in` refuses, and for a tag that is never closed.

    Older versions may hold such a tag: it stands there as it is written.
    """
    names_in(text)
    if "{{" in text:
        _parsed(text).scanner.check_closed()


@lru_cache(maxsize=PARSE_CACHE_TEMPLATES)
def required_names_in(text: str) -> frozenset[str]:
    """The variables a template uses outside of any section, and its outermost sections."""
    names_in(text)
    keys = (node.key for node in _parsed(text)._parse_tree if type(node).__name__ in _NAMING)
    return frozenset(key.split(".")[0] for key in keys if key != ".")


def nodes_of(text: str) -> Iterator[Any]:
    """Every node of a parsed template, in order, those in sections too; TemplateError."""
    names_in(text)
    waiting = [iter(_parsed(text)._parse_tree)]
    while waiting:
        for node in waiting[-1]:
            yield node
            inner = _inside(node)
            if inner is not None:
                waiting.append(iter(inner._parse_tree))
                break
        else:
            waiting.pop()


def uses_in(text: str, scalars: Set[str] = frozenset()) -> dict[str, Use]:
    """The variables a template uses for certain, and as what.

    Those in a section are left out where they may belong to its value: everywhere but in sections
    of `scalars` (names known to hold no names) and in inverted ones.
    """
    if not names_in(text):
        return {}
    found: dict[str, set[Use]] = {}
    _collect_uses(_parsed(text), scalars, found)
    return {name: max(uses, key=_USES.index) for name, uses in found.items()}


def _collect_uses(parsed: Any, scalars: Set[str], found: dict[str, set[Use]]) -> None:
    for node in parsed._parse_tree:
        kind = type(node).__name__
        if kind not in _NAMING or node.key == ".":
            continue
        name, dot, _ = node.key.partition(".")
        inner = _inside(node)
        if dot:
            use: Use = "object"
        elif inner is None or _shows(inner, node.key):
            use = "string"
        else:
            use = "list" if kind == "_SectionNode" and _names_anything(inner) else "boolean"
        found.setdefault(name, set()).add(use)
        if inner is not None and (kind == "_InvertedNode" or (not dot and name in scalars)):
            _collect_uses(inner, scalars, found)


def _shows(parsed: Any, key: str) -> bool:
    """Whether a section shows its own value by name: what an optional text is written as."""
    return any(getattr(node, "key", "") == key and _inside(node) is None
               for node in parsed._parse_tree)  # fmt: skip


def _names_anything(parsed: Any) -> bool:
    return any(type(node).__name__ in _NAMING for node in parsed._parse_tree)


def as_text(value: Any) -> str:
    """How a value that is no string appears in the output: JSON's form; null is empty."""
    if value is None:
        return ""
    return json.dumps(value, ensure_ascii=False)


def _value_or_none(stack: ContextStack, name: str) -> Any:
    """What a section is over: nothing where there is no such name, as the specification says."""
    try:
        return stack.get(name)
    except KeyNotFoundError:
        return None


def _refuse_partial(name: str) -> str:
    raise TemplateError(f"the partial {name!r} is not composed")


class _BudgetedEngine(RenderEngine):  # type: ignore[misc]  # pystache has no types
    """pystache's engine, counting what it does."""

    def __init__(self, budget: "Budget") -> None:
        super().__init__(
            literal=str,
            escape=str,
            resolve_context=_value_or_none,
            resolve_partial=_refuse_partial,
            to_str=as_text,
        )
        self.spend = budget.spend

    def fetch_string(self, context: ContextStack, name: str) -> str:
        value = context.get(name)
        text = value if isinstance(value, str) else as_text(value)
        self.spend(1, len(text))
        return text

    def fetch_section_data(self, context: ContextStack, name: str) -> list[Any]:
        items: list[Any] = super().fetch_section_data(context, name)
        self.spend(1 + len(items), 0)
        return items


class Budget:
    """What one rendering may still do, over all of its texts."""

    def __init__(self) -> None:
        self.steps_left = RENDER_STEPS_MAX
        self.chars_left = RENDER_OUTPUT_CHARS_MAX

    def spend(self, steps: int, chars: int) -> None:
        """Take from it; RenderLimitError where it is used up."""
        self.steps_left -= steps
        self.chars_left -= chars
        if self.steps_left < 0 or self.chars_left < 0:
            raise RenderLimitError(
                f"Rendering needs more than {RENDER_STEPS_MAX} steps or"
                f" {RENDER_OUTPUT_CHARS_MAX} characters: shorten the lists or the values."
            )


def render(text: str, values: dict[str, Any], budget: Budget | None = None) -> str:
    """Fill `text` with `values`; InvalidVariablesError names the first name that has no value."""
    engine = _BudgetedEngine(budget or Budget())
    try:
        rendered: str = _parsed(text).render(engine, ContextStack(values))
    except KeyNotFoundError as error:
        raise InvalidVariablesError(
            f"The template uses {error.key[:200]!r}, which no variable provides."
        ) from None
    except PystacheError as error:
        raise TemplateError(str(error)) from None
    return rendered
