"""Neutral messages: what a rendered prompt is made of, and what placeholders are filled with.

A message is `{"role", "content"}`; its content a string, or a list of parts:
`{"type": "text", "text"}`, `{"type": "image", "url"}`, `{"type": "audio", "url"}`.
"""

from typing import Any

ROLES = ("system", "developer", "user", "assistant", "tool")
MESSAGES_MAX = 512
PARTS_MAX = 256
Message = dict[str, Any]
_PART_FIELD = {"text": "text", "image": "url", "audio": "url"}


def messages_problem(value: Any) -> str | None:
    """What keeps a value from being a list of messages; None where it is one."""
    if not isinstance(value, list) or len(value) > MESSAGES_MAX:
        return f"must be a list of at most {MESSAGES_MAX} messages"
    if not all(_is_message(message) for message in value):
        return "must be a list of messages, each with 'role' and 'content'"
    return None


def _is_message(message: Any) -> bool:
    return (
        isinstance(message, dict)
        and message.keys() == {"role", "content"}
        and message["role"] in ROLES
        and (isinstance(message["content"], str) or _are_parts(message["content"]))
    )


def _are_parts(parts: Any) -> bool:
    return (
        isinstance(parts, list)
        and 1 <= len(parts) <= PARTS_MAX
        and all(isinstance(part, dict) and _is_part(part) for part in parts)
    )


def _is_part(part: dict[str, Any]) -> bool:
    kind = part.get("type")
    field = _PART_FIELD.get(kind) if isinstance(kind, str) else None
    return field is not None and part.keys() == {"type", field} and isinstance(part[field], str)


def text_of(content: str | list[dict[str, str]]) -> str:
    """A message's content as one text: images and audio appear as their URLs."""
    if isinstance(content, str):
        return content
    return "".join(part[_PART_FIELD[part["type"]]] for part in content)
