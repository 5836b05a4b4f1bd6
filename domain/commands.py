"""Everything one can wish of the registry, in the imperative. `domain/registry.py` decides."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from domain.content import PromptContent
from domain.version import MAIN_BRANCH


@dataclass(frozen=True)
class CreateProject:
    """Make a project with the default environments."""

    project: str
    description: str | None = None


@dataclass(frozen=True)
class SetGuardrail:
    """Compose a prompt's text into every prompt of a project, or below a folder."""

    project: str
    guardrail: str
    prompt: str
    folder: str | None = None
    position: str = "prepend"
    role: str = "system"


@dataclass(frozen=True)
class RemoveGuardrail:
    """Compose a guardrail into nothing any more."""

    project: str
    guardrail: str
    reason: str | None = None


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


@dataclass(frozen=True)
class SetLabel:
    """Point a label at a version; a promotion where the label is an environment.

    `expires_at`: when it points nowhere again (None: when it is moved).
    """

    project: str
    name: str
    label: str
    version: int
    reason: str | None = None
    if_match: int | None = None
    expires_at: datetime | None = None


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


@dataclass(frozen=True)
class Rollback:
    """Return a label to an earlier target, or to the version `to`."""

    project: str
    name: str
    label: str
    to: int | None = None
    reason: str | None = None


@dataclass(frozen=True)
class CreatePrincipal:
    """Make a principal without grants."""

    type: str
    name: str


@dataclass(frozen=True)
class DeactivatePrincipal:
    """Take every right from a principal, for good."""

    principal_id: UUID
    reason: str | None = None


@dataclass(frozen=True)
class GiveGrant:
    """Give a principal a role in a scope."""

    principal_id: UUID
    role: str
    project: str | None = None
    folder: str | None = None
    environment: str | None = None
    expires_at: datetime | None = None


@dataclass(frozen=True)
class RevokeGrant:
    """Take a grant from the principal that holds it."""

    principal_id: UUID
    grant_id: str
    reason: str | None = None


@dataclass(frozen=True)
class IssueToken:
    """Issue an API token. `scopes` None: whatever the principal may do."""

    principal_id: UUID
    description: str | None = None
    scopes: tuple[dict[str, Any], ...] | None = None
    expires_at: datetime | None = None


@dataclass(frozen=True)
class RevokeToken:
    """Take an API token away."""

    principal_id: UUID
    token_id: str
    reason: str | None = None


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


@dataclass(frozen=True)
class RegisterKey:
    """Let another of the registry's own keys count: Ed25519, 32 bytes."""

    ledger_id: UUID
    purpose: str
    public_key: bytes


@dataclass(frozen=True)
class RetireKey:
    """End one of the registry's own keys."""

    ledger_id: UUID
    key_id: str


Command = (
    CreateProject | SetGuardrail | RemoveGuardrail | CreatePrompt | CommitVersion | CommitMany
    | CreateBranch | DeleteBranch | MergeBranch | ForkPrompt | DescribePrompt | ArchivePrompt
    | RestorePrompt | MovePrompt | DeprecatePrompt | ExpireLabel
    | SetLabel | RemoveLabel | Rollback | CreatePrincipal | DeactivatePrincipal | GiveGrant
    | RevokeGrant | IssueToken | RevokeToken | CreateWebhook | ChangeWebhook
    | RotateWebhookSecret | DeleteWebhook | DisableFailingWebhook | RegisterKey | RetireKey
)  # fmt: skip
