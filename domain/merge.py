"""Three-way merge of contents: by line inside texts, by message in chats, by field elsewhere.

What both sides changed differently is a conflict with both sides in it; nothing is ever guessed. A
conflict is settled by its id: one side is taken, or a value given. The line merge is diff3's
(Khanna, Kunal, Pierce: A Formal Investigation of Diff3, 2007): changes that touch are a conflict.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any

from domain.errors import Fault, InvalidError
from domain.json_values import same, written

MERGE_LINES_MAX = 10_000
_LINE = re.compile(r"[^\n]*\n|[^\n]+")
_ABSENT: Any = object()


@dataclass(frozen=True)
class Conflict:
    """What both sides changed differently. `id` names it; `pointer` is where in the content.

    base, target and source are lines as one text, messages as a list, or a value; None: absent.
    """

    id: str
    pointer: str
    base: Any
    target: Any
    source: Any

    def as_data(self) -> dict[str, Any]:
        """JSON form."""
        return {
            "id": self.id, "pointer": self.pointer,
            "base": self.base, "target": self.target, "source": self.source,
        }  # fmt: skip


@dataclass(frozen=True)
class Merged:
    """A merged content, and the conflicts that nobody settled (then the content is no result)."""

    content: dict[str, Any]
    conflicts: tuple[Conflict, ...]


def merge_contents(
    base: Mapping[str, Any],
    target: Mapping[str, Any],
    source: Mapping[str, Any],
    resolutions: Mapping[str, Mapping[str, Any]] | None = None,
) -> Merged:
    """`target` with what `source` changed since `base`.

    `resolutions`: conflict id → `{"take": "base" | "target" | "source"}` or `{"value": …}`.
    InvalidError for one that settles nothing.
    """
    merge = _Merge(resolutions or {})
    content = merge.value("", base, target, source)
    unknown = sorted((resolutions or {}).keys() - merge.settled)
    if unknown:
        faults = [
            Fault(f"/resolutions/{name}", "unknown_conflict", "no conflict has this id")
            for name in unknown
        ]
        raise InvalidError(f"There is no conflict {unknown[0]!r} in this merge.", faults)
    return Merged(content, tuple(merge.conflicts))


class _Merge:
    """One merge under way."""

    def __init__(self, resolutions: Mapping[str, Mapping[str, Any]]) -> None:
        self._resolutions = resolutions
        self.settled: set[str] = set()
        self.conflicts: list[Conflict] = []

    def value(self, at: str, base: Any, target: Any, source: Any) -> Any:
        """The merged value at a pointer; _ABSENT where it is gone."""
        if _same(target, source) or _same(base, source):
            return target
        if _same(base, target):
            return source
        if all(isinstance(side, dict) for side in (base, target, source)):
            return self._object(at, base, target, source)
        if all(isinstance(side, str) for side in (base, target, source)):
            return "".join(self._lines(at, base, target, source))
        if at == "/messages" and all(isinstance(side, list) for side in (base, target, source)):
            return self._messages(base, target, source)
        return self._conflict(at, base, target, source)

    def _object(
        self, at: str, base: dict[str, Any], target: dict[str, Any], source: dict[str, Any]
    ) -> dict[str, Any]:
        merged: dict[str, Any] = {}
        for key in dict.fromkeys((*target, *source, *base)):
            sides = (side.get(key, _ABSENT) for side in (base, target, source))
            value = self.value(f"{at}/{_escaped(key)}", *sides)
            if value is not _ABSENT:
                merged[key] = value
        return merged

    def _lines(self, at: str, base: str, target: str, source: str) -> Iterator[str]:
        sides = [_LINE.findall(side) for side in (base, target, source)]
        if sum(map(len, sides)) > MERGE_LINES_MAX:
            yield self._conflict(at, base, target, source, kind=str)
            return
        for number, (_, old, ours, theirs) in enumerate(_regions(*sides)):
            kept = _unopposed(old, ours, theirs)
            if kept is None:
                was, our, their = ("".join(side) for side in (old, ours, theirs))
                yield self._conflict(f"{at}#{number}", was, our, their, kind=str)
            else:
                yield from kept

    def _messages(self, base: list[Any], target: list[Any], source: list[Any]) -> list[Any]:
        merged: list[Any] = []
        regions = _regions(base, target, source, key=written)
        for number, (begin, old, ours, theirs) in enumerate(regions):
            kept = _unopposed(old, ours, theirs)
            if kept is not None:
                merged += kept
            elif _alike(old, ours, theirs):
                merged += self._each_message(begin, old, ours, theirs)
            else:
                was, our, their = (list(side) for side in (old, ours, theirs))
                merged += self._conflict(f"/messages#{number}", was, our, their, kind=list)
        return merged

    def _each_message(
        self, begin: int, old: Sequence[Any], ours: Sequence[Any], theirs: Sequence[Any]
    ) -> list[Any]:
        return [
            self.value(f"/messages/{begin + index}", *sides)
            for index, sides in enumerate(zip(old, ours, theirs, strict=True))
        ]

    def _conflict(
        self, name: str, base: Any, target: Any, source: Any, kind: type | None = None
    ) -> Any:
        """The settled value, or the target's with the conflict noted; InvalidError for a value of
        another kind than what was in conflict.
        """
        sides = {"base": base, "target": target, "source": source}
        if name in self._resolutions:
            self.settled.add(name)
            resolution = self._resolutions[name]
            if "take" in resolution:
                return sides[resolution["take"]]
            if kind is not None and not isinstance(resolution["value"], kind):
                wanted = "a text" if kind is str else "a list of messages"
                at = f"/resolutions/{name}/value"
                raise InvalidError(f"{at}: {wanted}.", [Fault(at, "wrong_type", wanted)])
            return resolution["value"]
        shown = (None if side is _ABSENT else side for side in sides.values())
        self.conflicts.append(Conflict(name, name.partition("#")[0], *shown))
        return target


def _same(one: Any, other: Any) -> bool:
    if one is _ABSENT or other is _ABSENT:
        return one is other
    return same(one, other)


def _escaped(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1").replace("#", "%23")


def _unopposed(
    old: Sequence[Any], ours: Sequence[Any], theirs: Sequence[Any]
) -> Sequence[Any] | None:
    """The side that counts where at most one changed, or both alike; None for a conflict."""
    if list(ours) == list(theirs) or list(old) == list(theirs):
        return ours
    return theirs if list(old) == list(ours) else None


def _alike(*sides: Sequence[Any]) -> bool:
    """Whether all sides have the same messages by role, so that each is one merged text."""
    roles = [[message.get("role") for message in side] for side in sides]
    return roles[0] == roles[1] == roles[2] and None not in roles[0]


def _regions(
    base: Sequence[Any], target: Sequence[Any], source: Sequence[Any], key: Any = str
) -> Iterator[tuple[int, Sequence[Any], Sequence[Any], Sequence[Any]]]:
    """The three sides cut into regions, in order: what all have alike, and what lies between.

    Each with where it begins in the base.
    """
    at_base = at_target = at_source = 0
    for old, ours, theirs, size in _anchors(base, target, source, key):
        if (at_base, at_target, at_source) != (old, ours, theirs):
            yield at_base, base[at_base:old], target[at_target:ours], source[at_source:theirs]
        alike = base[old : old + size]
        if size:
            yield old, alike, alike, alike
        at_base, at_target, at_source = old + size, ours + size, theirs + size


def _anchors(
    base: Sequence[Any], target: Sequence[Any], source: Sequence[Any], key: Any
) -> Iterator[tuple[int, int, int, int]]:
    """Runs that all three have: where in each, how long; at last the end of each, of length 0."""
    keys = [[key(item) for item in side] for side in (base, target, source)]
    in_target = _matches(keys[0], keys[1])
    in_source = _matches(keys[0], keys[2])
    run: tuple[int, int, int, int] | None = None
    for old in sorted(in_target.keys() & in_source.keys()):
        ours, theirs = in_target[old], in_source[old]
        if run and (old, ours, theirs) == (run[0] + run[3], run[1] + run[3], run[2] + run[3]):
            run = (*run[:3], run[3] + 1)
        else:
            if run:
                yield run
            run = (old, ours, theirs, 1)
    if run:
        yield run
    yield len(base), len(target), len(source), 0


def _matches(base: list[str], side: list[str]) -> dict[int, int]:
    blocks = SequenceMatcher(None, base, side).get_matching_blocks()
    return {a + index: b + index for a, b, size in blocks for index in range(size)}
