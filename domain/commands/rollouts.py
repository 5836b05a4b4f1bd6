"""Rollouts, as commands."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID


@dataclass(frozen=True)
class SetRollout:
    """Let who asks under a label get one of several versions.

    `weights`: version → its share of 1000. `rules`: asked before, in order, the first that fits
    decides. `ramp`: moments and the weights from then on. `shadow`: answered beside. `safe`: where
    stopping leads (None: the label's own target). `force`: registered consumers that it breaks are
    not asked; takes a reason. `change_id`: the open change request whose approvals let it.
    """

    project: str
    name: str
    label: str
    weights: dict[str, int]
    rules: tuple[dict[str, Any], ...] = ()
    ramp: tuple[tuple[datetime, dict[str, int]], ...] = ()
    shadow: int | None = None
    safe: int | None = None
    reason: str | None = None
    if_match: int | None = None
    force: bool = False
    change_id: UUID | None = None


@dataclass(frozen=True)
class StopRollout:
    """Let everybody get the label's own target again, or the safe version that was named."""

    project: str
    name: str
    label: str
    reason: str | None = None


@dataclass(frozen=True)
class TakeRampStep:
    """Take the next step of a rollout's ramp, which is due. The registry's own."""

    project: str
    name: str
    label: str
