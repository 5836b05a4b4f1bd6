"""Versions and branches, as commands."""

from dataclasses import dataclass, field
from typing import Any

from domain.content import PromptContent
from domain.version import MAIN_BRANCH


@dataclass(frozen=True)
class CommitVersion:
    """Commit the next version; with `expected_version`, only on top of that one."""

    project: str
    name: str
    content: PromptContent
    message: str | None = None
    expected_version: int | None = None
    branch: str = MAIN_BRANCH


@dataclass(frozen=True)
class CommitItem:
    """One prompt's next version among several; `create`: its first, where there is none."""

    project: str
    name: str
    content: PromptContent
    message: str | None = None
    expected_version: int | None = None
    branch: str = MAIN_BRANCH
    create: bool = False


@dataclass(frozen=True)
class CommitMany:
    """Commit versions of several prompts, all or none; `message` where an item has none."""

    items: tuple[CommitItem, ...]
    message: str | None = None


@dataclass(frozen=True)
class CreateBranch:
    """Begin a branch at a version (None: the head of `main`)."""

    project: str
    name: str
    branch: str
    version: int | None = None


@dataclass(frozen=True)
class DeleteBranch:
    """End a branch."""

    project: str
    name: str
    branch: str


@dataclass(frozen=True)
class MergeBranch:
    """Merge the branch `source` into `target`.

    Conflicts are settled by `resolutions` (`domain/merge.py`), or by the merged `content`.
    `expected_version` and `source_version`: only if these are the branches' heads.
    """

    project: str
    name: str
    source: str
    target: str = MAIN_BRANCH
    message: str | None = None
    content: PromptContent | None = None
    resolutions: dict[str, dict[str, Any]] = field(default_factory=dict)
    expected_version: int | None = None
    source_version: int | None = None
