"""Labels, as commands."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from domain.intent import Signed


@dataclass(frozen=True)
class SetLabel:
    """Point a label at a version; a promotion where the label is an environment.

    `expires_at`: when it points nowhere again (None: when it is moved). `break_glass`: an emergency
    that the environment's rules are not asked about; somebody reviews it afterwards. `force`:
    registered consumers that it breaks are not asked; takes a reason. `signature`: one's own.
    """

    project: str
    name: str
    label: str
    version: int
    reason: str | None = None
    if_match: int | None = None
    expires_at: datetime | None = None
    break_glass: bool = False
    force: bool = False
    signature: Signed | None = None


@dataclass(frozen=True)
class ExpireLabel:
    """Let a label point nowhere whose time is over. The registry's own."""

    project: str
    name: str
    label: str


@dataclass(frozen=True)
class RemoveLabel:
    """Let a label point nowhere."""

    project: str
    name: str
    label: str
    reason: str | None = None
    if_match: int | None = None
    signature: Signed | None = None


@dataclass(frozen=True)
class PreviewPromotion:
    """Say what would keep an environment's label from moving; `rules`: by these instead.

    `force`: whatever registered consumers it breaks.
    """

    project: str
    name: str
    label: str
    version: int
    expires_at: datetime | None = None
    rules: dict[str, Any] | None = None
    force: bool = False


@dataclass(frozen=True)
class Rollback:
    """Return a label to an earlier target, or to the version `to`."""

    project: str
    name: str
    label: str
    to: int | None = None
    reason: str | None = None
    signature: Signed | None = None
