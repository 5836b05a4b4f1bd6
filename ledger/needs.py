"""Which permission on which resource an event needs, by the state before it, whatever it claims."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

from domain import access
from domain.access import REGISTRY, Resource
from domain.access_request import AccessRequest
from domain.access_rules import AccessRules
from domain.change_request import ChangeRequest
from domain.check import VersionChecks
from domain.consumer import Consumers
from domain.keys import KeyRing
from domain.name import Name
from domain.principal import Principal
from domain.project import Project
from domain.prompt import Prompt
from domain.role import Role
from domain.second_person import Intent
from domain.sign_in import LoginName, SignIn
from domain.sign_in_rules import SignInRules
from domain.user_session import UserSession
from domain.webhook import Webhook
from ledger.facts import Facts
from ledger.mapper import RecordedEvent


@dataclass(frozen=True)
class Need:
    """What an event needs: the permission, the resource as written, the resources as asked."""

    permission: str
    text: str
    asked: tuple[Resource, ...]


def need_of(facts: Facts, recorded: RecordedEvent) -> Need | None:
    """What would allow an event; None where nothing can."""
    derive = _NEEDS.get(type(recorded.event))
    return derive(facts, recorded) if derive else None


def _need(permission: str, resource: Resource) -> Need:
    return Need(permission, resource.text, (resource,))


def _on_registry(_: Facts, recorded: RecordedEvent) -> Need:
    project = cast("Project.Created", recorded.event).name
    return Need(access.PROJECT_WRITE, access.project_resource(project).text, (REGISTRY,))


def _on_project(facts: Facts, recorded: RecordedEvent) -> Need | None:
    project = facts.projects.get(str(recorded.event.originator_id))
    if project is None:
        return None
    return _need(access.PROJECT_WRITE, access.project_resource(project.name))


def _on_environment(facts: Facts, recorded: RecordedEvent) -> Need | None:
    project = facts.projects.get(str(recorded.event.originator_id))
    if project is None:
        return None
    environment = cast("Any", recorded.event).environment
    return _need(access.PROJECT_WRITE, access.Scope(project.name, None, environment).resource)


def _on_new_prompt(_: Facts, recorded: RecordedEvent) -> Need:
    event = cast("Any", recorded.event)
    resource = access.prompt_resource(event.project, event.name)
    return _need(access.PROMPT_WRITE, resource)


def _on_name(facts: Facts, recorded: RecordedEvent) -> Need | None:
    named = facts.claims.get(str(recorded.event.originator_id))
    if named is None:
        return None
    resource = access.prompt_resource(*named)
    return _need(access.PROMPT_WRITE, resource)


def _on_prompt(facts: Facts, recorded: RecordedEvent) -> Need | None:
    prompt = facts.prompts.get(str(recorded.event.originator_id))
    if prompt is None:
        return None
    return _need(access.PROMPT_WRITE, access.prompt_resource(prompt.project, prompt.name))


def _on_label(facts: Facts, recorded: RecordedEvent) -> Need | None:
    prompt = facts.prompts.get(str(recorded.event.originator_id))
    project = facts.project(prompt.project) if prompt is not None else None
    if prompt is None or project is None:
        return None
    label = cast("Any", recorded.event).label
    if label not in project.environments:
        return _need(access.LABEL_WRITE, access.prompt_resource(prompt.project, prompt.name))
    emergency = getattr(recorded.event, "act", None) == "emergency"
    permission = access.ENVIRONMENT_BREAK_GLASS if emergency else access.ENVIRONMENT_PROMOTE
    return _need(permission, access.prompt_resource(prompt.project, prompt.name, label))


def _on_checks(facts: Facts, recorded: RecordedEvent) -> Need | None:
    event = cast("Any", recorded.event)
    checks = facts.checks.get(str(event.originator_id), event)
    prompt = facts.prompts.get(checks.prompt_id)
    if prompt is None:
        return None
    return _need(access.CHECK_WRITE, access.prompt_resource(prompt.project, prompt.name))


def _on_consumers(facts: Facts, recorded: RecordedEvent) -> Need | None:
    event = cast("Any", recorded.event)
    consumers = facts.consumers.get(str(event.originator_id), event)
    prompt = facts.prompts.get(consumers.prompt_id)
    if prompt is None:
        return None
    return _need(access.CONSUMER_WRITE, access.prompt_resource(prompt.project, prompt.name))


def _on_new_change(facts: Facts, recorded: RecordedEvent) -> Need | None:
    event = cast("ChangeRequest.Created", recorded.event)
    emergency = event.meaning == "emergency"
    permission = access.ENVIRONMENT_BREAK_GLASS if emergency else access.CHANGE_PROPOSE
    return _on_items(facts, str(event.originator_id), event, permission, event.items)


def _on_change(facts: Facts, recorded: RecordedEvent) -> Need | None:
    event = recorded.event
    change = facts.changes.get(str(event.originator_id))
    if change is None:
        return None
    permission = _OF_CHANGES[type(event)]
    if isinstance(event, ChangeRequest.Applied) and change.emergency:
        permission = access.ENVIRONMENT_BREAK_GLASS
    items = [item.as_data() for item in change.items]
    if isinstance(event, ChangeRequest.Revised):
        items += event.items
    return _on_items(facts, str(event.originator_id), change, permission, items)


def _on_items(
    facts: Facts, change_id: str, about: Any, permission: str, items: list[dict[str, Any]]
) -> Need | None:
    """A permission on each prompt of a request, in its environment."""
    prompts = [facts.prompts.get(item["prompt_id"]) for item in items]
    if not prompts or any(prompt is None or prompt.project != about.project for prompt in prompts):
        return None
    asked = tuple(
        access.prompt_resource(about.project, prompt.name, about.environment)
        for prompt in prompts
        if prompt is not None
    )
    return Need(permission, access.change_resource(about.project, change_id).text, asked)


_OF_CHANGES: dict[type[Any], str] = {
    ChangeRequest.Revised: access.CHANGE_PROPOSE,
    ChangeRequest.Commented: access.CHANGE_COMMENT,
    ChangeRequest.Approved: access.CHANGE_REVIEW,
    ChangeRequest.Retracted: access.CHANGE_REVIEW,
    ChangeRequest.Rejected: access.CHANGE_REVIEW,
    ChangeRequest.Reviewed: access.CHANGE_REVIEW,
    ChangeRequest.Withdrawn: access.CHANGE_PROPOSE,
    ChangeRequest.Suspended: access.ENVIRONMENT_PROMOTE,
    ChangeRequest.Applied: access.ENVIRONMENT_PROMOTE,
}


def _on_principal(_: Facts, recorded: RecordedEvent) -> Need:
    return _need_of_principal(str(recorded.event.originator_id))


def _on_login(facts: Facts, recorded: RecordedEvent) -> Need | None:
    event = cast("Any", recorded.event)
    name = facts.logins.get(str(event.originator_id))
    holder = getattr(event, "principal_id", name.principal_id if name is not None else None)
    return None if holder is None else _need_of_principal(holder)


def _on_session(facts: Facts, recorded: RecordedEvent) -> Need | None:
    session = facts.sessions.get(str(recorded.event.originator_id))
    return None if session is None else _need_of_principal(session.principal_id)


def _need_of_principal(principal_id: str) -> Need:
    return _need(access.ACCESS_WRITE, access.principal_resource(principal_id))


def _on_sign_in_rules(_: Facts, __: RecordedEvent) -> Need:
    return Need(access.ACCESS_WRITE, "sign-in-rules", (REGISTRY,))


def _on_access_rules(_: Facts, __: RecordedEvent) -> Need:
    return Need(access.ACCESS_WRITE, "access-rules", (REGISTRY,))


def _on_access_request(facts: Facts, recorded: RecordedEvent) -> Need | None:
    event = recorded.event
    request_id = str(event.originator_id)
    asked = event if isinstance(event, AccessRequest.Created) else None
    about = facts.access_requests.get(request_id, asked)
    if about is None:
        return None
    resource = access.access_request_resource(request_id)
    try:
        place = Intent.of(about).place
    except TypeError:  # somebody's word, in a log that is verified
        return None
    return Need(access.ACCESS_WRITE, resource.text, (place,))


def _on_role(facts: Facts, recorded: RecordedEvent) -> Need:
    event = cast("Any", recorded.event)
    role = facts.roles.get(str(event.originator_id), event)
    return Need(access.ACCESS_WRITE, access.role_resource(role.name).text, (REGISTRY,))


def _on_new_grant(_: Facts, recorded: RecordedEvent) -> Need:
    scope = access.Scope(**cast("Principal.GrantGiven", recorded.event).scope)
    return _need(access.ACCESS_WRITE, scope.resource)


def _on_grant(facts: Facts, recorded: RecordedEvent) -> Need | None:
    principal = facts.principals.get(str(recorded.event.originator_id))
    grant_id = cast("Principal.GrantRevoked", recorded.event).grant_id
    grant = principal.grants.get(grant_id) if principal else None
    if grant is None:
        return None
    return _need(access.ACCESS_WRITE, grant.scope.resource)


def _on_new_webhook(_: Facts, recorded: RecordedEvent) -> Need:
    event = cast("Webhook.Created", recorded.event)
    return _need_of_webhook(str(event.originator_id), access.Scope(**event.scope))


def _on_webhook(facts: Facts, recorded: RecordedEvent) -> Need | None:
    webhook_id = str(recorded.event.originator_id)
    scope = facts.webhooks.get(webhook_id)
    return None if scope is None else _need_of_webhook(webhook_id, scope)


def _need_of_webhook(webhook_id: str, scope: access.Scope) -> Need:
    resource = access.webhook_resource(webhook_id, scope.project)
    return Need(access.PROJECT_WRITE, resource.text, (scope.resource,))


def _on_key(_: Facts, recorded: RecordedEvent) -> Need:
    key_id = cast("KeyRing.KeyRetired", recorded.event).key_id
    return Need(access.ACCESS_WRITE, access.key_resource(key_id).text, (REGISTRY,))


_NEEDS: dict[type[Any], Callable[[Facts, RecordedEvent], Need | None]] = {
    Project.Created: _on_registry,
    Project.GuardrailSet: _on_project,
    Project.GuardrailRemoved: _on_project,
    Project.EnvironmentSet: _on_environment,
    Project.EnvironmentRemoved: _on_environment,
    Project.OwnersSet: _on_project,
    VersionChecks.Created: _on_checks,
    VersionChecks.Recorded: _on_checks,
    Consumers.Created: _on_consumers,
    Consumers.Registered: _on_consumers,
    Consumers.Removed: _on_consumers,
    ChangeRequest.Created: _on_new_change,
    **dict.fromkeys(_OF_CHANGES, _on_change),
    Name.Created: _on_new_prompt,
    Name.Redirected: _on_name,
    Name.Reclaimed: _on_name,
    Prompt.Moved: _on_prompt,
    Prompt.Created: _on_new_prompt,
    Prompt.VersionCommitted: _on_prompt,
    Prompt.BranchCreated: _on_prompt,
    Prompt.BranchDeleted: _on_prompt,
    Prompt.Described: _on_prompt,
    Prompt.Archived: _on_prompt,
    Prompt.Restored: _on_prompt,
    Prompt.LabelMoved: _on_label,
    Prompt.LabelRemoved: _on_label,
    Prompt.LabelExpired: _on_label,
    Prompt.RolloutSet: _on_label,
    Prompt.RolloutPaused: _on_label,
    Prompt.RolloutStopped: _on_label,
    Prompt.Activated: _on_prompt,
    Prompt.Deprecated: _on_prompt,
    Principal.Created: _on_principal,
    Principal.Deactivated: _on_principal,
    Principal.Suspended: _on_principal,
    Principal.Resumed: _on_principal,
    Principal.Renamed: _on_principal,
    Principal.Joined: _on_principal,
    Principal.Left: _on_principal,
    Principal.KeyRetired: _on_principal,
    LoginName.Created: _on_login,
    LoginName.Reclaimed: _on_login,
    LoginName.Released: _on_login,
    SignIn.Created: _on_principal,
    SignIn.Changed: _on_principal,
    SignIn.Withdrawn: _on_principal,
    SignIn.Revoked: _on_principal,
    SignIn.Locked: _on_principal,
    SignIn.RecoveryIssued: _on_principal,
    SignIn.TotpRemoved: _on_principal,
    SignInRules.Created: _on_sign_in_rules,
    SignInRules.Changed: _on_sign_in_rules,
    UserSession.Ended: _on_session,
    AccessRules.Created: _on_access_rules,
    AccessRules.Changed: _on_access_rules,
    AccessRequest.Created: _on_access_request,
    AccessRequest.Approved: _on_access_request,
    AccessRequest.Rejected: _on_access_request,
    AccessRequest.Applied: _on_access_request,
    Role.Created: _on_role,
    Role.Changed: _on_role,
    Principal.TokenIssued: _on_principal,
    Principal.TokenRevoked: _on_principal,
    Principal.GrantGiven: _on_new_grant,
    Principal.GrantRevoked: _on_grant,
    KeyRing.KeyRegistered: _on_key,
    KeyRing.KeyRetired: _on_key,
    Webhook.Created: _on_new_webhook,
    Webhook.Changed: _on_webhook,
    Webhook.Rotated: _on_webhook,
    Webhook.Enabled: _on_webhook,
    Webhook.Disabled: _on_webhook,
    Webhook.Deleted: _on_webhook,
}
