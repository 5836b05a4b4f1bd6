"""The one way through the house: every command is decided here, by one method.

Each method authorises by the one policy (`domain/access.py`), loads what it needs through the
session, lets the aggregate decide, and returns events with their provenance. Pure: state, time, ids
and randomness come in through ports; refusals are DomainErrors and leave nothing behind.
"""

from collections.abc import Callable
from typing import Any

from domain import commands
from domain.access_request_commands import AccessRequestCommands
from domain.change_commands import ChangeCommands
from domain.check_commands import CheckCommands
from domain.commit_commands import CommitCommands
from domain.consumer_commands import ConsumerCommands
from domain.decision import Decision
from domain.environment_commands import EnvironmentCommands
from domain.key_commands import KeyCommands
from domain.project_commands import ProjectCommands
from domain.prompt_commands import PromptCommands
from domain.rollout_commands import RolloutCommands
from domain.session_commands import SessionCommands
from domain.version_commands import VersionCommands
from domain.webhook_commands import WebhookCommands


class Registry(
    ProjectCommands,
    PromptCommands,
    VersionCommands,
    RolloutCommands,
    CommitCommands,
    EnvironmentCommands,
    CheckCommands,
    ChangeCommands,
    ConsumerCommands,
    AccessRequestCommands,
    SessionCommands,
    WebhookCommands,
    KeyCommands,
):
    """The registry as one caller meets it at one moment."""

    def decide(self, command: commands.Command) -> Decision:
        """Decide one command; DomainError where it is refused."""
        method: Callable[[Any], Decision] = getattr(self, _METHODS[type(command)])
        decision = method(command)
        if not isinstance(command, commands.ApplyAccess | commands.LiftAccessRules):
            self.check_alone(decision)
        return decision


_METHODS: dict[type[Any], str] = {
    commands.CreateProject: "create_project",
    commands.SetGuardrail: "set_guardrail",
    commands.RemoveGuardrail: "remove_guardrail",
    commands.CreatePrompt: "create_prompt",
    commands.CommitVersion: "commit_version",
    commands.CommitMany: "commit_many",
    commands.CreateBranch: "create_branch",
    commands.DeleteBranch: "delete_branch",
    commands.MergeBranch: "merge_branch",
    commands.ForkPrompt: "fork_prompt",
    commands.DescribePrompt: "describe_prompt",
    commands.ArchivePrompt: "archive_prompt",
    commands.RestorePrompt: "restore_prompt",
    commands.MovePrompt: "move_prompt",
    commands.DeprecatePrompt: "deprecate_prompt",
    commands.ExpireLabel: "expire_label",
    commands.SetLabel: "set_label",
    commands.RemoveLabel: "remove_label",
    commands.Rollback: "rollback",
    commands.SetRollout: "set_rollout",
    commands.StopRollout: "stop_rollout",
    commands.TakeRampStep: "take_ramp_step",
    commands.SetEnvironment: "set_environment",
    commands.RemoveEnvironment: "remove_environment",
    commands.SetOwners: "set_owners",
    commands.PreviewPromotion: "preview_promotion",
    commands.RecordCheck: "record_check",
    commands.ProposeChange: "propose_change",
    commands.ReviseChange: "revise_change",
    commands.CommentOnChange: "comment_on_change",
    commands.ApproveChange: "approve_change",
    commands.RetractApproval: "retract_approval",
    commands.RejectChange: "reject_change",
    commands.WithdrawChange: "withdraw_change",
    commands.ApplyChange: "apply_change",
    commands.ApplyDueChange: "apply_due_change",
    commands.PreviewChange: "preview_change",
    commands.ReviewEmergency: "review_emergency",
    commands.CreatePrincipal: "create_principal",
    commands.DeactivatePrincipal: "deactivate_principal",
    commands.RenamePrincipal: "rename_principal",
    commands.SuspendPrincipal: "suspend_principal",
    commands.ResumePrincipal: "resume_principal",
    commands.RegisterConsumer: "register_consumer",
    commands.RemoveConsumer: "remove_consumer",
    commands.RegisterActorKey: "register_actor_key",
    commands.RetireActorKey: "retire_actor_key",
    commands.DefineRole: "define_role",
    commands.JoinGroup: "join_group",
    commands.LeaveGroup: "leave_group",
    commands.GiveGrant: "give_grant",
    commands.RevokeGrant: "revoke_grant",
    commands.IssueToken: "issue_token",
    commands.RevokeToken: "revoke_token",
    commands.CreateWebhook: "create_webhook",
    commands.ChangeWebhook: "change_webhook",
    commands.RotateWebhookSecret: "rotate_webhook_secret",
    commands.DeleteWebhook: "delete_webhook",
    commands.DisableFailingWebhook: "disable_failing_webhook",
    commands.SetLogin: "set_login",
    commands.WithdrawSignIn: "withdraw_sign_in",
    commands.RevokeSessions: "revoke_sessions",
    commands.IssueRecovery: "issue_recovery",
    commands.UseRecovery: "use_recovery",
    commands.SetPassword: "set_password",
    commands.EnrolTotp: "enrol_totp",
    commands.RemoveTotp: "remove_totp",
    commands.LockSignIn: "lock_sign_in",
    commands.SetSignInRules: "set_sign_in_rules",
    commands.BeginSession: "begin_session",
    commands.BeginProvidedSession: "begin_provided_session",
    commands.RefreshSession: "refresh_session",
    commands.EndSession: "end_session",
    commands.SetAccessRules: "set_access_rules",
    commands.LiftAccessRules: "lift_access_rules",
    commands.RequestAccess: "request_access",
    commands.ApproveAccess: "approve_access",
    commands.RejectAccess: "reject_access",
    commands.ApplyAccess: "apply_access",
    commands.RegisterKey: "register_key",
    commands.RetireKey: "retire_key",
}
