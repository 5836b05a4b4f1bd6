"""Keyset cursors: opaque to clients, the last row's sort key inside."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from typing import Any

import orjson

from projections.errors import InvalidCursorError

CURSOR_CHARS_MAX = 1024
POSITION_MAX = 2**62


def encode_cursor(*key: Any) -> str:
    """A cursor that continues after the row with this sort key."""
    return urlsafe_b64encode(orjson.dumps(key)).decode().rstrip("=")


def decode_cursor(cursor: str, *types: type) -> list[Any]:
    """The sort key in a cursor; InvalidCursorError unless it has these types."""
    try:
        if len(cursor) > CURSOR_CHARS_MAX:
            raise ValueError
        key = orjson.loads(urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        if not isinstance(key, list) or [type(part) for part in key] != list(types):
            raise ValueError
        if any("\0" in part if isinstance(part, str) else abs(part) > POSITION_MAX for part in key):
            raise ValueError
    except (ValueError, UnicodeEncodeError):
        raise InvalidCursorError(
            "Give the next_cursor of the page before, with the same filters and sort."
        ) from None
    return key


def page_of(ids: Sequence[str], cursor: str | None, limit: int) -> tuple[list[str], str | None]:
    """A page of ids that are in order, and the next one's cursor; InvalidCursorError."""
    after = decode_cursor(cursor, str)[0] if cursor is not None else ""
    rest = [one for one in ids if one > after]
    page = rest[:limit]
    return page, encode_cursor(page[-1]) if len(rest) > limit else None
