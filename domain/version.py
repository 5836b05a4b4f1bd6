"""A prompt's versions as a graph: on which branch, out of which versions."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from domain.commitment import ContentRef
from domain.semver import Semver

MAIN_BRANCH = "main"


@dataclass(frozen=True)
class Version:
    """One immutable version. `stream_position` is where in the prompt's stream it was committed.

    `parents` are numbers: none for the first, two for a merge (the branch merged into comes first).
    Versions on other branches than `main` have no semver; `change` (level, reasons) says how it
    follows from the one before. `locales`: its translations, and whether each is stale.
    """

    number: int
    branch: str
    parents: tuple[int, ...]
    semver: Semver | None
    change: Mapping[str, Any] | None
    partials: tuple[str, ...]
    locales: Mapping[str, bool]
    content_type: str
    content: ContentRef
    message: ContentRef | None
    committed_at: datetime
    stream_position: int


def ancestors(versions: Sequence[Version], number: int) -> set[int]:
    """A version and all that it came from; `versions` are a prompt's, from number 1 on."""
    return _reached(lambda one: versions[one - 1].parents, [number])


def merged_in(parents_of: Callable[[int], Sequence[int]], number: int) -> set[int]:
    """What came in by a merge: all that its branch had and the one merged into had not."""
    parents = parents_of(number)
    if len(parents) < 2:
        return set()
    return _reached(parents_of, parents[1:]) - _reached(parents_of, parents[:1])


def _reached(parents_of: Callable[[int], Sequence[int]], starts: Sequence[int]) -> set[int]:
    found: set[int] = set()
    waiting = list(starts)
    while waiting:
        one = waiting.pop()
        if one not in found:
            found.add(one)
            waiting.extend(parents_of(one))
    return found


def merge_base(versions: Sequence[Version], one: int, other: int) -> int:
    """The newest version that both came from; every prompt has one, its version 1."""
    return max(ancestors(versions, one) & ancestors(versions, other))
