"""Prompts: create, describe, archive, move, as commands."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from domain.content import PromptContent


@dataclass(frozen=True)
class CreatePrompt:
    """Make a prompt and commit its version 1."""

    project: str
    name: str
    content: PromptContent
    message: str | None = None
    description: str | None = None
    tags: tuple[str, ...] = ()
    draft: bool = False


@dataclass(frozen=True)
class ForkPrompt:
    """Make a prompt out of a version of this one (by number or label, else the newest)."""

    project: str
    name: str
    to_project: str
    to_name: str
    version: int | None = None
    label: str | None = None
    message: str | None = None
    description: str | None = None
    tags: tuple[str, ...] = ()


@dataclass(frozen=True)
class DescribePrompt:
    """Change description, tags, owners or status: `patch` is a JSON Merge Patch of them.

    `users`: as of `ArchivePrompt`, for where it archives.
    """

    project: str
    name: str
    patch: dict[str, Any] = field(default_factory=dict)
    if_match: int | None = None
    users: tuple[str, ...] = ()


@dataclass(frozen=True)
class MovePrompt:
    """Let a prompt go by another name of its project; the old one goes on leading to it."""

    project: str
    name: str
    to: str
    reason: str | None = None


@dataclass(frozen=True)
class DeprecatePrompt:
    """Tell consumers not to use a prompt any more: until when they may, what instead."""

    project: str
    name: str
    successor: str | None = None
    sunset_at: datetime | None = None
    reason: str | None = None


@dataclass(frozen=True)
class ArchivePrompt:
    """Refuse further changes to a prompt.

    `users`: prompts of the project that may be composed of it, as far as the caller has seen.
    """

    project: str
    name: str
    reason: str | None = None
    users: tuple[str, ...] = ()


@dataclass(frozen=True)
class RestorePrompt:
    """Accept changes to an archived prompt again."""

    project: str
    name: str
    reason: str | None = None
