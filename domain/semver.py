"""Semantic versions of prompts, and ranges of them (https://semver.org, ranges as npm writes them).

A prompt's version is three numbers and nothing else: there are no pre-releases or builds.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from domain.errors import InvalidRangeError

Level = Literal["major", "minor", "patch"]
RANGE_CHARS_MAX = 100
_SEMVER = re.compile(r"(0|[1-9]\d{0,8})\.(0|[1-9]\d{0,8})\.(0|[1-9]\d{0,8})")
_COMPARATOR = re.compile(
    r"(\^|~|>=|<=|>|<|=)\s*(0|[1-9]\d{0,8})(?:\.(0|[1-9]\d{0,8}))?(?:\.(0|[1-9]\d{0,8}))?"
)
Triple = tuple[int, int, int]


@dataclass(frozen=True, order=True)
class Semver:
    """`major.minor.patch`."""

    major: int
    minor: int
    patch: int

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}.{self.patch}"

    @classmethod
    def parse(cls, text: str) -> "Semver":
        """The version written so; ValueError where it is none."""
        found = _SEMVER.fullmatch(text)
        if found is None:
            raise ValueError(f"{text!r} is no semantic version")
        return cls(*map(int, found.groups()))

    def after(self, level: Level) -> "Semver":
        """The version that follows by a change of this level."""
        match level:
            case "major":
                return Semver(self.major + 1, 0, 0)
            case "minor":
                return Semver(self.major, self.minor + 1, 0)
        return Semver(self.major, self.minor, self.patch + 1)


FIRST = Semver(1, 0, 0)


@dataclass(frozen=True)
class Range:
    """Versions between bounds: from `low` on, below `high` (None: no end); any of several spans."""

    spans: tuple[tuple[Semver, Semver | None], ...]

    def holds(self, version: Semver) -> bool:
        """Whether a version is in it."""
        return any(low <= version and (high is None or version < high) for low, high in self.spans)

    def newest(self, versions: Iterable[tuple[Semver | None, int]]) -> int | None:
        """The number of the newest of some (semver, number) that is in it."""
        found = [(semver, number) for semver, number in versions if semver and self.holds(semver)]
        return max(found)[1] if found else None


@lru_cache(maxsize=512)
def parse_range(text: str) -> Range:
    """A range: comparators that all hold, alternatives between `||`.

    `^1.2` is from 1.2.0 below 2.0.0 (`^0.2` below 0.3.0), `~1.2` from 1.2.0 below 1.3.0, the
    others compare; parts left out of `=1.2` may be anything. InvalidRangeError for what is none.
    """
    if len(text) > RANGE_CHARS_MAX:
        raise _no_range(text)
    spans = [_span(text, alternative) for alternative in text.split("||")]
    return Range(tuple(spans))


def _span(text: str, alternative: str) -> tuple[Semver, Semver | None]:
    low, high = Semver(0, 0, 0), None
    at = 0
    body = alternative.strip()
    while at < len(body):
        found = _COMPARATOR.match(body, at)
        if found is None:
            raise _no_range(text)
        begin, end = _bounds(found)
        low = max(low, begin)
        high = end if high is None or (end is not None and end < high) else high
        at = found.end()
        separator = re.match(r"\s*,\s*|\s+|$", body[at:])
        if separator is None:
            raise _no_range(text)
        at += separator.end()
    if not body:
        raise _no_range(text)
    return low, high


def _bounds(found: re.Match[str]) -> tuple[Semver, Semver | None]:
    operator, *parts = found.groups()
    known = [int(part) for part in parts if part is not None]
    low = Semver(*[*known, 0, 0][:3])
    above = _above(known)
    match operator:
        case "^":
            zeros = next((i for i, part in enumerate(known) if part), len(known) - 1)
            return low, _above(known[: zeros + 1])
        case "~":
            return low, _above(known[:2])
        case ">=":
            return low, None
        case ">":
            return above, None
        case "<=":
            return Semver(0, 0, 0), above
        case "<":
            return Semver(0, 0, 0), low
    return low, above


def _above(known: list[int]) -> Semver:
    """The first version that does not begin with these parts."""
    return Semver(*([*known[:-1], known[-1] + 1, 0, 0])[:3])


def _no_range(text: str) -> InvalidRangeError:
    return InvalidRangeError(
        f"{text[:RANGE_CHARS_MAX]!r} is no version range: write ^1.2, ~1.2.3, >=1.2 <3, =1.4 or"
        " several between ||."
    )
