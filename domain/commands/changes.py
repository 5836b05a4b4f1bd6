"""Checks and change requests, as commands."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from domain.intent import Signed


@dataclass(frozen=True)
class RecordCheck:
    """Say what a check found on a version, with its evidence (`digest`: SHA-256, hex)."""

    project: str
    name: str
    version: int
    check: str
    state: str
    summary: str | None = None
    evidence_url: str | None = None
    evidence_digest: str | None = None


@dataclass(frozen=True)
class ChangeItem:
    """A prompt and the version that is to be live (None: the label is to be removed)."""

    name: str
    version: int | None


@dataclass(frozen=True)
class ProposeChange:
    """Propose to promote one prompt, or several together, into an environment.

    `automatic`: apply it when the rules let it. `scheduled_at`: not before then, and then by
    itself. `expires_at`: the labels point nowhere again. `force`: registered consumers that it
    breaks are not asked; takes a reason.
    """

    project: str
    environment: str
    items: tuple[ChangeItem, ...]
    title: str
    reason: str | None = None
    automatic: bool = False
    scheduled_at: datetime | None = None
    expires_at: datetime | None = None
    force: bool = False


@dataclass(frozen=True)
class ReviseChange:
    """Propose other versions (None: the same, on what is live now); approvals begin anew.

    `given`: which of `scheduled_at` and `expires_at` are to be as they are here, also if None; the
    others stay.
    """

    project: str
    change_id: UUID
    items: tuple[ChangeItem, ...] | None = None
    scheduled_at: datetime | None = None
    expires_at: datetime | None = None
    reason: str | None = None
    if_match: int | None = None
    given: frozenset[str] = frozenset()


@dataclass(frozen=True)
class CommentOnChange:
    """Say something of a change request: `anchor` is {"name", "version", "pointer"?, "line"?}."""

    project: str
    change_id: UUID
    text: str
    anchor: dict[str, Any] | None = None


@dataclass(frozen=True)
class ApproveChange:
    """Approve what is proposed now. `revision`: the one looked at; `signature`: one's own."""

    project: str
    change_id: UUID
    revision: int | None = None
    comment: str | None = None
    signature: Signed | None = None


@dataclass(frozen=True)
class RetractApproval:
    """Take one's approval back."""

    project: str
    change_id: UUID
    reason: str | None = None


@dataclass(frozen=True)
class RejectChange:
    """Say no to what is proposed now."""

    project: str
    change_id: UUID
    comment: str | None = None


@dataclass(frozen=True)
class WithdrawChange:
    """Propose it no more."""

    project: str
    change_id: UUID
    reason: str | None = None


@dataclass(frozen=True)
class ApplyChange:
    """Let what is proposed be live, all of it in one transaction.

    `signatures`: the caller's own, of each promotion, by the prompt's name in the request.
    """

    project: str
    change_id: UUID
    if_match: int | None = None
    signatures: Mapping[str, Signed] = field(default_factory=dict)


@dataclass(frozen=True)
class ApplyDueChange:
    """Apply what its proposer asked to be applied by itself. The registry's own."""

    project: str
    change_id: UUID


@dataclass(frozen=True)
class PreviewChange:
    """Say what keeps a change request from being applied."""

    project: str
    change_id: UUID


@dataclass(frozen=True)
class ReviewEmergency:
    """Look at an emergency afterwards: `accepted` or `objected`."""

    project: str
    change_id: UUID
    outcome: str
    comment: str | None = None
