"""What a change means for those who use a prompt, and word for word what changed in its texts.

Tokens are estimated (a quarter of the UTF-8 bytes), since every model counts its own. The stable
prefix is the text before the first tag, as a provider's prompt cache sees it: tools, then messages.
"""

import json
import re
from collections.abc import Iterator, Mapping
from difflib import SequenceMatcher
from typing import Any

from domain.composition import references_in
from domain.interface import change_of
from domain.json_values import same, written
from domain.schemas import allows_no_more
from domain.texts import base_texts, format_of, texts_of

WORDS_MAX = 8_000
LINES_MAX = 20_000
TOKEN_BYTES = 4
_LINE = re.compile(r"[^\n]*\n|[^\n]+")
_WORD = re.compile(r"\s+|\w+|[^\w\s]")
_FIRST_TAG = {
    "mustache": re.compile(r"\{\{"),
    "handlebars": re.compile(r"\{\{"),
    "jinja2": re.compile(r"\{[{%]"),
    "f-string": re.compile(r"\{"),
}
Words = list[dict[str, str]]


def semantic_diff(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """Two checked contents compared: a JSON object whose parts docs/prompts.md describes."""
    change = change_of(before, after)
    old, new = ({str(one) for one in references_in(content)} for content in (before, after))
    return {
        "change": {"level": change.level, "reasons": list(change.reasons)},
        "variables": _by_key(before.get("variables", {}), after.get("variables", {})),
        "messages": {"before": _layout(before), "after": _layout(after)},
        "config": _by_key(before.get("config", {}), after.get("config", {})),
        "tools": _by_key(_tools(before), _tools(after)),
        "output_schema": _schema(before.get("output_schema"), after.get("output_schema")),
        "partials": {"added": sorted(new - old), "removed": sorted(old - new)},
        "tokens": {"before": _tokens(before), "after": _tokens(after), "estimated": True},
        "prefix": _prefix(before, after),
        "texts": _texts(before, after),
    }


def _by_key(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "added": {key: after[key] for key in sorted(after.keys() - before.keys())},
        "removed": {key: before[key] for key in sorted(before.keys() - after.keys())},
        "changed": {
            key: {"before": before[key], "after": after[key]}
            for key in sorted(before.keys() & after.keys())
            if not same(before[key], after[key])
        },
    }


def _layout(content: Mapping[str, Any]) -> list[str]:
    """A chat's messages by role, placeholder or partial; a structured prompt's fields."""
    if content["type"] == "structured":
        return list(content["fields"])
    return [
        message.get("role") or ":".join(map(str, next(iter(message.items()))))
        for message in content.get("messages", ())
    ]


def _tools(content: Mapping[str, Any]) -> dict[str, Any]:
    """Tools by name, OpenAI's nested one too; those without by their place."""
    named: dict[str, Any] = {}
    for index, tool in enumerate(content.get("tools", ())):
        function = tool.get("function")
        inner = function.get("name") if isinstance(function, dict) else None
        name = tool.get("name", inner)
        named[name if isinstance(name, str) and name not in named else f"#{index}"] = tool
    return named


def _schema(before: Any, after: Any) -> dict[str, bool]:
    """Whether it changed, and whether what comes out now would have been allowed before."""
    changed = not same(before, after)
    fits = before is None or (after is not None and allows_no_more(after, before))
    return {"changed": changed, "compatible": not changed or fits}


def _tokens(content: Mapping[str, Any]) -> int:
    texts = "".join(text for _, text in base_texts(content)) + _tools_text(content)
    return -(-len(texts.encode()) // TOKEN_BYTES)


def _tools_text(content: Mapping[str, Any]) -> str:
    return written(content["tools"]) if content.get("tools") else ""


def _prefix(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, int]:
    """Characters of each stable prefix, and how many at the beginning both have."""
    old, new = _stable(before), _stable(after)
    kept = _common(old, new)
    return {
        "before": len(old), "after": len(new), "kept": kept, "lost": len(old) - kept,
        "lost_tokens": -(-len(old[kept:].encode()) // TOKEN_BYTES),
    }  # fmt: skip


def _common(one: str, other: str) -> int:
    """How many characters at the beginning are the same."""
    length = min(len(one), len(other))
    differing = (index for index in range(length) if one[index] != other[index])
    return next(differing, length)


def _stable(content: Mapping[str, Any]) -> str:
    pieces = [_tools_text(content)] if content.get("tools") else []
    tag = _FIRST_TAG.get(format_of(content))
    for piece in _in_order(content):
        if piece is None:
            break
        found = tag.search(piece) if tag else None
        pieces.append(piece[: found.start()] if found else piece)
        if found:
            break
    return "\n".join(pieces)


def _in_order(content: Mapping[str, Any]) -> Iterator[str | None]:
    """The texts as a model reads them; None where something from elsewhere comes."""
    if content["type"] == "chat":
        for message in content["messages"]:
            yield f"{message['role']}:{message['content']}" if "content" in message else None
    else:
        yield from (text for _, text in base_texts(content))


# Words


def _texts(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Each text that changed, by pointer, as pieces that stayed, went and came."""
    old, new = dict(texts_of(before)), dict(texts_of(after))
    return [
        {"pointer": pointer, "words": word_diff(old.get(pointer, ""), new.get(pointer, ""))}
        for pointer in dict.fromkeys((*old, *new))
        if old.get(pointer) != new.get(pointer)
    ]


def word_diff(before: str, after: str) -> Words:
    """`[{"op": "equal" | "delete" | "insert", "text"}]`: lines first, words in changed lines only.

    Past LINES_MAX lines, or WORDS_MAX words changed, changes are not looked into any further.
    """
    old, new = _LINE.findall(before), _LINE.findall(after)
    if len(old) + len(new) > LINES_MAX:
        return _joined([("delete", before), ("insert", after)])
    pieces: list[tuple[str, str]] = []
    looked_into = 0
    for op, a, b, c, d in SequenceMatcher(None, old, new).get_opcodes():
        gone, come = "".join(old[a:b]), "".join(new[c:d])
        if op == "equal":
            pieces.append(("equal", gone))
            continue
        words = _WORD.findall(gone), _WORD.findall(come)
        looked_into += sum(map(len, words))
        few = looked_into <= WORDS_MAX and all(words)
        pieces += _words(*words) if few else [("delete", gone), ("insert", come)]
    return _joined(pieces)


def _words(old: list[str], new: list[str]) -> list[tuple[str, str]]:
    pieces: list[tuple[str, str]] = []
    for op, a, b, c, d in SequenceMatcher(None, old, new).get_opcodes():
        if op == "equal":
            pieces.append(("equal", "".join(old[a:b])))
        else:
            pieces += [("delete", "".join(old[a:b])), ("insert", "".join(new[c:d]))]
    return pieces


def _joined(pieces: list[tuple[str, str]]) -> Words:
    """Without empty pieces, neighbours of one kind as one."""
    joined: Words = []
    for op, text in pieces:
        if text and joined and joined[-1]["op"] == op:
            joined[-1]["text"] += text
        elif text:
            joined.append({"op": op, "text": text})
    return joined


def summary(diff: Mapping[str, Any]) -> list[str]:
    """A semantic diff in lines for people."""
    change, tokens, prefix = diff["change"], diff["tokens"], diff["prefix"]
    lines = [f"{change['level']}: {', '.join(change['reasons'])}"]
    for part in ("variables", "config", "tools"):
        for key, value in diff[part]["added"].items():
            lines.append(f"{part}: + {key} {_short(value)}")
        for key, value in diff[part]["removed"].items():
            lines.append(f"{part}: - {key} {_short(value)}")
        for key, sides in diff[part]["changed"].items():
            lines.append(f"{part}: {key} {_short(sides['before'])} -> {_short(sides['after'])}")
    if diff["messages"]["before"] != diff["messages"]["after"]:
        sides = (", ".join(diff["messages"][side]) for side in ("before", "after"))
        lines.append(f"messages: {' -> '.join(sides)}")
    if diff["output_schema"]["changed"]:
        fits = "compatible" if diff["output_schema"]["compatible"] else "incompatible"
        lines.append(f"output_schema: changed, {fits}")
    lines += [f"partials: + {one}" for one in diff["partials"]["added"]]
    lines += [f"partials: - {one}" for one in diff["partials"]["removed"]]
    lines.append(f"tokens: about {tokens['before']} -> {tokens['after']}")
    if prefix["lost"]:
        lines.append(
            f"cache: {prefix['lost']} of {prefix['before']} characters of the stable prefix lost"
            f" (about {prefix['lost_tokens']} tokens)"
        )
    return lines


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else text[:79] + "…"
