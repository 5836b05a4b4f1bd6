"""Translations inside a content: which is served to whom, and which have fallen behind.

A locale is a language tag (RFC 5646); looking one up cuts subtags off its end until there is one
(RFC 4647, section 3.4). A translation overrides the text, the messages, or some of the fields.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from domain.json_values import same
from domain.texts import base_words

LOCALES_MAX = 64
LOCALE_PATTERN = r"[A-Za-z]{2,3}(?:-[A-Za-z0-9]{2,8}){0,4}"
BODY_FIELD = {"text": "text", "chat": "messages", "structured": "fields"}
_LOCALE = re.compile(LOCALE_PATTERN)


def is_locale(text: str) -> bool:
    """Whether a text is a language tag."""
    return _LOCALE.fullmatch(text) is not None


def chosen_locale(wanted: Iterable[str], available: Iterable[str]) -> str | None:
    """The translation for someone who wants these, best first; None: the base language."""
    known = {name.lower(): name for name in available}
    for tag in wanted:
        parts = tag.lower().split("-")
        while parts:
            found = known.get("-".join(parts))
            if found is not None:
                return found
            parts.pop()
            if parts and len(parts[-1]) == 1:
                parts.pop()
    return None


def localised(content: Mapping[str, Any], locale: str | None) -> dict[str, Any]:
    """A content in one language, without the others; fields not translated stay as they are."""
    base = {name: value for name, value in content.items() if name != "locales"}
    if locale is None:
        return base
    body = BODY_FIELD[content["type"]]
    translation = content["locales"][locale]
    if body == "fields":
        return {**base, body: {**base[body], **translation.get(body, {})}}
    return {**base, body: translation.get(body, base[body])}


def staleness(
    before: Mapping[str, Any] | None, was_stale: Mapping[str, bool], after: Mapping[str, Any]
) -> dict[str, bool]:
    """Locale → whether the base changed since it was translated.

    A translation that is as it was goes stale with a change of the base, and stays so; one that was
    touched is current. Whitespace does not count as a change of the base. `before` None (erased):
    what was stale still is.
    """
    locales = after.get("locales", {})
    if before is None:
        return {name: was_stale.get(name, False) for name in locales}
    moved = _base(before) != _base(after)
    old = before.get("locales", {})
    return {
        name: name in old and same(old[name], translation) and (moved or was_stale.get(name, False))
        for name, translation in locales.items()
    }


def merged_staleness(
    target: Mapping[str, bool],
    source: Mapping[str, bool],
    theirs: Mapping[str, Any],
    after: Mapping[str, Any],
) -> dict[str, bool]:
    """What a merge makes of both sides' staleness: a translation taken over is as it was there."""
    other = theirs.get("locales", {})
    return {
        name: source[name] if name in other and same(other[name], translation) else target[name]
        for name, translation in after.get("locales", {}).items()
    }


def _base(content: Mapping[str, Any]) -> list[Any]:
    """A base language's texts without regard to whitespace, and their layout."""
    layout = [
        {name: value for name, value in message.items() if name != "content"}
        for message in content.get("messages", ())
    ]
    return [base_words(content), layout]
