"""JSON values compared as JSON does: 1 is not true, the order of keys does not count."""

import json
from typing import Any


def written(value: Any) -> str:
    """A value as one text; equal for equal values only."""
    return json.dumps(value, sort_keys=True)


def same(one: Any, other: Any) -> bool:
    """Whether two JSON values are the same."""
    return one is other or written(one) == written(other)
