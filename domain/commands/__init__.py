"""Commands: imperative wishes, as plain data. `domain/registry.py` decides them."""

from domain.commands.access import (
    CreatePrincipal,
    DeactivatePrincipal,
    DefineRole,
    GiveGrant,
    IssueToken,
    JoinGroup,
    LeaveGroup,
    RegisterActorKey,
    RenamePrincipal,
    ResumePrincipal,
    RetireActorKey,
    RevokeGrant,
    RevokeToken,
    SuspendPrincipal,
)
from domain.commands.access_requests import (
    ApplyAccess,
    ApproveAccess,
    LiftAccessRules,
    RejectAccess,
    RequestAccess,
    SetAccessRules,
    Wanted,
)
from domain.commands.changes import (
    ApplyChange,
    ApplyDueChange,
    ApproveChange,
    ChangeItem,
    CommentOnChange,
    PreviewChange,
    ProposeChange,
    RecordCheck,
    RejectChange,
    RetractApproval,
    ReviewEmergency,
    ReviseChange,
    WithdrawChange,
)
from domain.commands.consumers import RegisterConsumer, RemoveConsumer
from domain.commands.environments import RemoveEnvironment, SetEnvironment, SetOwners
from domain.commands.keys import RegisterKey, RetireKey
from domain.commands.labels import ExpireLabel, PreviewPromotion, RemoveLabel, Rollback, SetLabel
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
from domain.commands.rollouts import SetRollout, StopRollout, TakeRampStep
from domain.commands.sign_in import (
    BeginProvidedSession,
    BeginSession,
    EndSession,
    EnrolTotp,
    IssueRecovery,
    LockSignIn,
    RefreshSession,
    RemoveTotp,
    RevokeSessions,
    SetLogin,
    SetPassword,
    SetSignInRules,
    UseRecovery,
    WithdrawSignIn,
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
    | SetEnvironment | RemoveEnvironment | SetOwners | PreviewPromotion | RecordCheck
    | ProposeChange | ReviseChange | CommentOnChange | ApproveChange | RetractApproval
    | RejectChange | WithdrawChange | ApplyChange | ApplyDueChange | PreviewChange
    | ReviewEmergency | DefineRole | JoinGroup | LeaveGroup | RegisterConsumer
    | RemoveConsumer | RegisterActorKey | RetireActorKey | SetLogin | WithdrawSignIn
    | RevokeSessions | IssueRecovery | UseRecovery | SetPassword | EnrolTotp | RemoveTotp
    | LockSignIn | SetSignInRules | BeginSession | BeginProvidedSession | RefreshSession
    | EndSession | SetRollout | StopRollout | TakeRampStep
    | RenamePrincipal | SuspendPrincipal | ResumePrincipal | SetAccessRules | RequestAccess
    | ApproveAccess | RejectAccess | ApplyAccess | LiftAccessRules
)  # fmt: skip

__all__ = [
    "ApplyAccess",
    "ApplyChange",
    "ApplyDueChange",
    "ApproveAccess",
    "ApproveChange",
    "ArchivePrompt",
    "BeginProvidedSession",
    "BeginSession",
    "ChangeItem",
    "ChangeWebhook",
    "Command",
    "CommentOnChange",
    "CommitItem",
    "CommitMany",
    "CommitVersion",
    "CreateBranch",
    "CreatePrincipal",
    "CreateProject",
    "CreatePrompt",
    "CreateWebhook",
    "DeactivatePrincipal",
    "DefineRole",
    "DeleteBranch",
    "DeleteWebhook",
    "DeprecatePrompt",
    "DescribePrompt",
    "DisableFailingWebhook",
    "EndSession",
    "EnrolTotp",
    "ExpireLabel",
    "ForkPrompt",
    "GiveGrant",
    "IssueRecovery",
    "IssueToken",
    "JoinGroup",
    "LeaveGroup",
    "LiftAccessRules",
    "LockSignIn",
    "MergeBranch",
    "MovePrompt",
    "PreviewChange",
    "PreviewPromotion",
    "ProposeChange",
    "RecordCheck",
    "RefreshSession",
    "RegisterActorKey",
    "RegisterConsumer",
    "RegisterKey",
    "RejectAccess",
    "RejectChange",
    "RemoveConsumer",
    "RemoveEnvironment",
    "RemoveGuardrail",
    "RemoveLabel",
    "RemoveTotp",
    "RenamePrincipal",
    "RequestAccess",
    "RestorePrompt",
    "ResumePrincipal",
    "RetireActorKey",
    "RetireKey",
    "RetractApproval",
    "ReviewEmergency",
    "ReviseChange",
    "RevokeGrant",
    "RevokeSessions",
    "RevokeToken",
    "Rollback",
    "RotateWebhookSecret",
    "SetAccessRules",
    "SetEnvironment",
    "SetGuardrail",
    "SetLabel",
    "SetLogin",
    "SetOwners",
    "SetPassword",
    "SetRollout",
    "SetSignInRules",
    "StopRollout",
    "SuspendPrincipal",
    "TakeRampStep",
    "UseRecovery",
    "Wanted",
    "WithdrawChange",
    "WithdrawSignIn",
]
