"""Webhooks, as commands."""

from dataclasses import dataclass, field
from typing import Any, Literal
from uuid import UUID


@dataclass(frozen=True)
class CreateWebhook:
    """Tell a URL of the events in a scope; `types` and `labels` () is all."""

    url: str
    project: str | None = None
    folder: str | None = None
    types: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    description: str | None = None


@dataclass(frozen=True)
class ChangeWebhook:
    """Change url, types, labels, description or enabled: `patch` is a JSON Merge Patch of them."""

    webhook_id: UUID
    patch: dict[str, Any] = field(default_factory=dict)
    reason: str | None = None
    if_match: int | None = None


@dataclass(frozen=True)
class RotateWebhookSecret:
    """Sign with a new secret, `overlap_hours` beside the one before."""

    webhook_id: UUID
    overlap_hours: int = 24
    if_match: int | None = None


@dataclass(frozen=True)
class DeleteWebhook:
    """End a webhook for good."""

    webhook_id: UUID
    reason: str | None = None
    if_match: int | None = None


@dataclass(frozen=True)
class DisableFailingWebhook:
    """Stop a webhook that failed too long, if it still is as it was then. The registry's own."""

    webhook_id: UUID
    cause: Literal["failing", "gone"]
    edition: int
    reason: str | None = None
