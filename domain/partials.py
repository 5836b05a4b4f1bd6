"""Partials: how texts name other prompts, and how those are put where their tags stand.

A tag `{{> path@production}}` names a prompt of the same project by label or version number (without
`@`: production). Composing writes its text in place of the tag, as a mustache engine would render
it (https://mustache.github.io/mustache.5.html): indented where the tag stands alone on its line,
its own delimiters and the host's apart.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from domain.errors import InvalidNameError
from domain.names import LABEL_PATTERN, PROMPT_PATTERN, check_label, check_prompt_name
from domain.template import DELIMITERS, TagScanner, TemplateError, nodes_of

LABEL_DEFAULT = "production"
PARTIALS_MAX = 64
REFERENCE_PATTERN = rf"{PROMPT_PATTERN}(?:@(?:[1-9][0-9]{{0,8}}|{LABEL_PATTERN}))?"
_NUMBER = re.compile(r"[1-9][0-9]{0,8}")
_LINE_BEGIN = re.compile(r"^(.)", re.MULTILINE)


@dataclass(frozen=True)
class Reference:
    """A prompt by name and label or version number, written `name@at`."""

    name: str
    at: str

    def __str__(self) -> str:
        return f"{self.name}@{self.at}"

    @property
    def number(self) -> int | None:
        """The version number, where it is one."""
        return int(self.at) if self.at.isdecimal() else None


def parse_reference(text: str) -> Reference:
    """The reference written so; TemplateError where it is none."""
    name, at_sign, at = text.partition("@")
    try:
        check_prompt_name(name)
        if at_sign and not _NUMBER.fullmatch(at):
            check_label(at, reserved=True)
    except InvalidNameError:
        raise TemplateError(
            f"{text[:200]!r} names no prompt: write path@label, path@3 or path"
        ) from None
    return Reference(name, at or LABEL_DEFAULT)


def partials_in(text: str) -> list[Reference]:
    """The partials of a template, each once, in order; TemplateError for one that names none."""
    if "{{" not in text:
        return []
    keys = (node.key for node in nodes_of(text) if type(node).__name__ == "_PartialNode")
    return [parse_reference(key) for key in dict.fromkeys(keys)]


def inline(text: str, text_of: Callable[[Reference], str]) -> str:
    """A template with each partial's text in place of its tag, in default delimiters throughout.

    TemplateError where a literal `{{` could not be told from a tag then.
    """
    if "{{" not in text:
        return text
    return "".join(_apart(_Inlining(text, text_of).pieces()))


def _apart(pieces: list[str]) -> Iterator[str]:
    """The pieces, so that no brace at the end of one makes a tag with the next."""
    waiting = ""
    for piece in filter(None, pieces):
        if waiting.endswith("{") and piece.startswith("{"):
            bare = waiting.rstrip("{")
            braces = waiting[len(bare) :]
            waiting = f"{bare}{{{{=<% %>=}}}}{braces}<%={{{{ }}}}=%>"
        yield waiting
        waiting = piece
    yield waiting


class _Inlining:
    """One pass over a template."""

    def __init__(self, text: str, text_of: Callable[[Reference], str]) -> None:
        self._text = text
        self._text_of = text_of
        self._delimiters = DELIMITERS

    def pieces(self) -> list[str]:
        """What the composed template is made of."""
        found: list[str] = []
        scanner, at = TagScanner(DELIMITERS), 0
        while (tag := scanner.search(self._text, at)) is not None:
            blanks = tag.groups["whitespace"] or ""
            opening = tag.begin + len(blanks)
            literal = self._literal(at, opening)
            at = tag.finish
            if tag.groups["change"] is not None:
                self._delimiters = _pair(tag.groups["delims"])
                scanner = TagScanner(self._delimiters, scanner.tags)
                found += [literal, "{{! }}"]
            elif tag.groups["tag"] == ">":
                body = self._text_of(parse_reference(tag.groups["tag_key"] or ""))
                if self._stands_alone(tag.begin, tag.finish):
                    literal = literal[: len(literal) - len(blanks)]
                    body = _LINE_BEGIN.sub(lambda first: blanks + first[1], body)  # noqa: B023
                    at = self._after_line_end(at)
                found += [literal, body]
            else:
                found += [literal, self._tag(opening, tag.finish, tag.groups)]
        scanner.check_closed()
        return [*found, self._literal(at, len(self._text))]

    def _literal(self, begin: int, end: int) -> str:
        literal = self._text[begin:end]
        if self._delimiters != DELIMITERS and "{{" in literal:
            raise TemplateError("a text with {{ outside of tags cannot be composed")
        return literal

    def _tag(self, opening: int, finish: int, groups: dict[str, Any]) -> str:
        """A tag as it is in default delimiters."""
        if self._delimiters == DELIMITERS:
            return self._text[opening:finish]
        if groups["tag"] == "!":
            return "{{! }}"
        name = groups["raw_name"] or groups["tag_key"]
        if "}}" in name:
            raise TemplateError("a tag with }} in it cannot be composed")
        return f"{{{{{'&' if groups['raw'] else groups['tag']}{name}}}}}"

    def _stands_alone(self, begin: int, finish: int) -> bool:
        begins = begin == 0 or self._text[begin - 1] in "\r\n"
        return begins and (finish == len(self._text) or self._text[finish] in "\r\n")

    def _after_line_end(self, at: int) -> int:
        at += self._text[at : at + 1] == "\r"
        return at + (self._text[at : at + 1] == "\n")


def _pair(written: str | None) -> tuple[str, str]:
    parts = (written or "").split()
    if len(parts) != 2:
        raise TemplateError("a change of delimiters names two")
    return parts[0], parts[1]
