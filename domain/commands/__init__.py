"""Commands: imperative wishes, as plain data. `domain/registry.py` decides them."""

from domain.commands.access import (
    CreatePrincipal,
    DeactivatePrincipal,
    GiveGrant,
    IssueToken,
    RevokeGrant,
    RevokeToken,
)
from domain.commands.keys import RegisterKey, RetireKey
from domain.commands.labels import ExpireLabel, RemoveLabel, Rollback, SetLabel
from domain.commands.projects import CreateProject, RemoveGuardrail, SetGuardrail
from domain.commands.prompts import (
    ArchivePrompt,
    CreatePrompt,
    DeprecatePrompt,
    DescribePrompt,
    ForkPrompt,
    MovePrompt,
    RestorePrompt,
)
from domain.commands.versions import (
    CommitItem,
    CommitMany,
    CommitVersion,
    CreateBranch,
    DeleteBranch,
    MergeBranch,
)
from domain.commands.webhooks import (
    ChangeWebhook,
    CreateWebhook,
    DeleteWebhook,
    DisableFailingWebhook,
    RotateWebhookSecret,
)

Command = (
    CreateProject | SetGuardrail | RemoveGuardrail | CreatePrompt | CommitVersion | CommitMany
    | CreateBranch | DeleteBranch | MergeBranch | ForkPrompt | DescribePrompt | ArchivePrompt
    | RestorePrompt | MovePrompt | DeprecatePrompt | ExpireLabel
    | SetLabel | RemoveLabel | Rollback | CreatePrincipal | DeactivatePrincipal | GiveGrant
    | RevokeGrant | IssueToken | RevokeToken | CreateWebhook | ChangeWebhook
    | RotateWebhookSecret | DeleteWebhook | DisableFailingWebhook | RegisterKey | RetireKey
)  # fmt: skip

__all__ = [
    "ArchivePrompt",
    "ChangeWebhook",
    "Command",
    "CommitItem",
    "CommitMany",
    "CommitVersion",
    "CreateBranch",
    "CreatePrincipal",
    "CreateProject",
    "CreatePrompt",
    "CreateWebhook",
    "DeactivatePrincipal",
    "DeleteBranch",
    "DeleteWebhook",
    "DeprecatePrompt",
    "DescribePrompt",
    "DisableFailingWebhook",
    "ExpireLabel",
    "ForkPrompt",
    "GiveGrant",
    "IssueToken",
    "MergeBranch",
    "MovePrompt",
    "RegisterKey",
    "RemoveGuardrail",
    "RemoveLabel",
    "RestorePrompt",
    "RetireKey",
    "RevokeGrant",
    "RevokeToken",
    "Rollback",
    "RotateWebhookSecret",
    "SetGuardrail",
    "SetLabel",
]
