"""Line diffs between contents, in the form people read them."""

import difflib
import json
from dataclasses import dataclass
from typing import Any

from domain.texts import texts_of

DIFF_LINES_MAX = 20_000
CONTEXT_LINES = 3


@dataclass(frozen=True)
class Diff:
    """A unified diff and how many lines it adds and removes."""

    unified: str
    added: int
    removed: int


def readable_lines(content: dict[str, Any]) -> list[str]:
    """A content as lines: each text under its pointer, then the rest as sorted JSON."""
    lines: list[str] = []
    texts = texts_of(content)
    for pointer, text in texts:
        role = _role(content, pointer)
        lines += [f"[{pointer}{role}]", *text.splitlines(), ""]
    rest = {k: v for k, v in content.items() if k not in ("text", "messages", "fields")}
    if content["type"] == "chat":
        rest["placeholders"] = [m["placeholder"] for m in content["messages"] if "placeholder" in m]
    return lines + json.dumps(rest, ensure_ascii=False, indent=2, sort_keys=True).splitlines()


def _role(content: dict[str, Any], pointer: str) -> str:
    if not pointer.startswith("/messages/"):
        return ""
    role: str = content["messages"][int(pointer.split("/")[2])]["role"]
    return f" {role}"


def diff_contents(before: bytes, after: bytes, from_ref: str, to_ref: str) -> Diff:
    """The diff of two canonical contents; past DIFF_LINES_MAX lines, everything counts as new."""
    old, new = (readable_lines(json.loads(body)) for body in (before, after))
    if len(old) + len(new) > DIFF_LINES_MAX and old != new:
        lines = [
            f"--- {from_ref}",
            f"+++ {to_ref}",
            *(f"-{x}" for x in old),
            *(f"+{x}" for x in new),
        ]
    else:
        lines = list(difflib.unified_diff(old, new, from_ref, to_ref, n=CONTEXT_LINES, lineterm=""))
    added = sum(line.startswith("+") for line in lines[2:])
    removed = sum(line.startswith("-") for line in lines[2:])
    return Diff("\n".join(lines) + "\n" if lines else "", added, removed)
