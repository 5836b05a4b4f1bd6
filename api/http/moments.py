"""Moments as clients write them: RFC 3339, and nothing that only looks like a time."""

import re
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, WithJsonSchema

_RFC3339 = re.compile(
    r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(?:\.\d{1,9})?(?P<offset>[Zz]|[+-]\d\d:\d\d)?"
)


def parse_rfc3339(text: str) -> datetime:
    """The moment `text` writes, in UTC; without an offset it stays naive. Raises ValueError."""
    found = _RFC3339.fullmatch(text)
    if found is None:
        raise ValueError("write an RFC 3339 time, such as 2026-11-25T12:00:00Z")
    moment = datetime.fromisoformat(text.upper())
    try:
        return moment.astimezone(UTC) if found["offset"] else moment
    except OverflowError:
        raise ValueError("the time lies outside of the years 1 to 9999") from None


def _read(value: Any) -> Any:
    if isinstance(value, str):
        return parse_rfc3339(value)
    raise ValueError("write an RFC 3339 time as a string")


def _with_offset(value: datetime) -> datetime:
    if value.tzinfo is None:
        raise ValueError("the time has no UTC offset: add one, such as Z")
    return value


Moment = Annotated[
    datetime,
    BeforeValidator(_read),
    AfterValidator(_with_offset),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]
