"""Environments, their rules, and who owns folders, as commands."""

from dataclasses import dataclass, field
from typing import Any
from uuid import UUID


@dataclass(frozen=True)
class SetEnvironment:
    """Have an environment with these rules (`domain/environment.py` says their form).

    `order`: its place among the project's, from 1 (None: where it is, a new one last).
    """

    project: str
    environment: str
    rules: dict[str, Any] = field(default_factory=dict)
    order: int | None = None
    reason: str | None = None
    if_match: int | None = None


@dataclass(frozen=True)
class RemoveEnvironment:
    """Let an environment be a label like any other."""

    project: str
    environment: str
    reason: str | None = None
    if_match: int | None = None


@dataclass(frozen=True)
class SetOwners:
    """Let a folder (None: the whole project) be owned by these principals, () by nobody."""

    project: str
    folder: str | None = None
    owners: tuple[UUID, ...] = ()
    reason: str | None = None
