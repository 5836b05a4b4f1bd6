"""Deciding every authorisation again: was this event allowed by the grants in force before it?

Which permission on which resource an event type needs is derived here from the state folded so far,
not taken from the event; then the one policy is asked, at the event's own time.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, cast

from eventsourcing.domain import Aggregate

from domain import access
from domain.access import (
    AUTHZ_GRANTS_MAX,
    BOOTSTRAP_POLICY,
    POLICY,
    REGISTRY,
    SYSTEM_POLICY,
    Resource,
)
from domain.genesis import GENESIS_EVENTS, SYSTEM_ACTOR
from domain.keys import KeyRing
from domain.name import Name
from domain.principal import Principal
from domain.project import Project
from domain.prompt import Prompt
from domain.webhook import SYSTEM_CAUSES, Webhook
from ledger.mapper import RecordedEvent


@dataclass(frozen=True)
class Need:
    """What an event needs: the permission, the resource as written, the resource as asked."""

    permission: str
    text: str
    asked: Resource


@dataclass
class Authority:
    """The state that authorisations rest on, folded event by event."""

    principals: dict[str, Principal] = field(default_factory=dict)
    environments: dict[str, tuple[str, ...]] = field(default_factory=dict)
    projects: dict[str, str] = field(default_factory=dict)
    names: dict[str, tuple[str, str]] = field(default_factory=dict)
    claims: dict[str, tuple[str, str]] = field(default_factory=dict)
    webhooks: dict[str, access.Scope] = field(default_factory=dict)
    owners: dict[tuple[str, str], str] = field(default_factory=dict)
    expiries: dict[tuple[str, str], datetime | None] = field(default_factory=dict)

    def fault(self, recorded: RecordedEvent) -> str | None:
        """Why the event was not allowed; None where it was."""
        authz = recorded.payload["authz"]
        if authz["policy"] == BOOTSTRAP_POLICY:
            return self._bootstrap_fault(recorded)
        if authz["policy"] == SYSTEM_POLICY:
            return self._system_fault(recorded)
        if isinstance(recorded.event, Prompt.LabelExpired) or (
            isinstance(recorded.event, Webhook.Disabled) and recorded.event.cause != "command"
        ):
            return "is the registry's own act, claimed by somebody else"
        if authz["policy"] != POLICY:
            return f"unknown policy {authz['policy']!r}"
        need = self._need(recorded)
        if isinstance(recorded.event, Prompt.Moved) and not self._owns(recorded, recorded.event.to):
            return "moves to a name that was never claimed for it"
        if need is None:
            return f"no grant can allow {recorded.kind_verb}"
        if (need.permission, need.text) != (authz["permission"], authz["resource"]):
            return f"needs {need.permission} on {need.text}, claims {authz['permission']}"
        return self._decision_fault(recorded, need)

    def _bootstrap_fault(self, recorded: RecordedEvent) -> str | None:
        if recorded.position > GENESIS_EVENTS or recorded.payload["actor"] != SYSTEM_ACTOR:
            return "claims the bootstrap policy, which ends with the ledger's first unit"
        return None

    def _system_fault(self, recorded: RecordedEvent) -> str | None:
        """What the registry itself does: it disables webhooks that fail, ends labels whose time is
        over, and says what was lost.
        """
        event, authz = recorded.event, recorded.payload["authz"]
        if isinstance(event, Webhook.Disabled) and event.cause in SYSTEM_CAUSES:
            need, actor = self._need(recorded), access.SYSTEM_ACTOR
        elif isinstance(event, Prompt.LabelExpired) and self._is_over(recorded, event.label):
            need, actor = self._need(recorded), access.SYSTEM_EXPIRY_ACTOR
        elif isinstance(event, KeyRing.EpochBegun):
            need = Need(access.RESTORE_PERMISSION, REGISTRY.text, REGISTRY)
            actor = access.SYSTEM_RESTORE_ACTOR
        else:
            return f"claims {SYSTEM_POLICY}, which does not allow {recorded.kind_verb}"
        claimed = (authz["permission"], authz["resource"], authz["grants"])
        if need is None or claimed != (need.permission, need.text, []):
            return "claims another permission, resource or grant than the registry's own act has"
        if recorded.payload["actor"] != actor:
            return f"claims {SYSTEM_POLICY} for another actor than the registry"
        return None

    def _owns(self, recorded: RecordedEvent, name: str) -> bool:
        """Whether a name was claimed for an event's prompt, by somebody who may write there."""
        stream_id = str(recorded.event.originator_id)
        project, _ = self.names.get(stream_id, ("", ""))
        return self.owners.get((project, name)) == stream_id

    def _is_over(self, recorded: RecordedEvent, label: str) -> bool:
        """Whether a label's time is over when an event says so."""
        until = self.expiries.get((str(recorded.event.originator_id), label))
        return until is not None and until <= datetime.fromisoformat(recorded.time)

    def _decision_fault(self, recorded: RecordedEvent, need: Need) -> str | None:
        actor, authz = recorded.payload["actor"], recorded.payload["authz"]
        principal = self.principals.get(actor["id"])
        if principal is None:
            return f"unknown actor {actor['id']}"
        if actor["type"] != principal.type:
            return f"actor is a {principal.type}, claims {actor['type']}"
        rights = principal.rights(actor["credential"])
        moment = datetime.fromisoformat(recorded.time)
        if not rights.active or rights.token is None or not rights.token.is_live(moment):
            return "the actor was deactivated, or the token not live"
        answer = access.permitted(rights, need.permission, need.asked, moment)
        if not answer.allowed:
            return f"no grant in force allowed {need.permission} on {need.text}"
        if list(answer.grants[:AUTHZ_GRANTS_MAX]) != authz["grants"]:
            return "names other grants than those that sufficed"
        return None

    def _need(self, recorded: RecordedEvent) -> Need | None:
        derive = _NEEDS.get(type(recorded.event))
        return derive(self, recorded) if derive else None

    def apply(self, recorded: RecordedEvent) -> None:
        """Fold an event."""
        event = recorded.event
        stream_id = str(event.originator_id)
        if recorded.stream.startswith("principal/"):
            before = cast("Aggregate | None", self.principals.get(stream_id))
            self.principals[stream_id] = cast("Principal", event.mutate(before))
        elif isinstance(event, Project.Created):
            self.projects[stream_id] = event.name
            self.environments[event.name] = tuple(event.environments)
        elif isinstance(event, Webhook.Created):
            self.webhooks[stream_id] = access.Scope(**event.scope)
        elif isinstance(event, Webhook.Deleted):
            del self.webhooks[stream_id]
        elif isinstance(event, Prompt.LabelRemoved | Prompt.LabelExpired):
            self.expiries.pop((stream_id, event.label), None)
        elif isinstance(event, Prompt.LabelMoved):
            until = datetime.fromisoformat(event.expires_at) if event.expires_at else None
            self.expiries[stream_id, event.label] = until
        elif isinstance(event, Name.Created):
            self.claims[stream_id] = (event.project, event.name)
            self.owners[event.project, event.name] = event.prompt_id
        elif isinstance(event, Prompt.Moved):
            self.names[stream_id] = (self.names[stream_id][0], event.to)
        elif isinstance(event, Prompt.Created):
            self.names[stream_id] = (event.project, event.name)


def _on_registry(_: Authority, recorded: RecordedEvent) -> Need:
    project = cast("Project.Created", recorded.event).name
    return Need(access.PROJECT_WRITE, access.project_resource(project).text, REGISTRY)


def _on_project(authority: Authority, recorded: RecordedEvent) -> Need | None:
    named = authority.projects.get(str(recorded.event.originator_id))
    if named is None:
        return None
    resource = access.project_resource(named)
    return Need(access.PROJECT_WRITE, resource.text, resource)


def _on_new_prompt(_: Authority, recorded: RecordedEvent) -> Need:
    event = cast("Any", recorded.event)
    resource = access.prompt_resource(event.project, event.name)
    return Need(access.PROMPT_WRITE, resource.text, resource)


def _on_name(authority: Authority, recorded: RecordedEvent) -> Need | None:
    named = authority.claims.get(str(recorded.event.originator_id))
    if named is None:
        return None
    resource = access.prompt_resource(*named)
    return Need(access.PROMPT_WRITE, resource.text, resource)


def _on_prompt(authority: Authority, recorded: RecordedEvent) -> Need | None:
    named = authority.names.get(str(recorded.event.originator_id))
    if named is None:
        return None
    resource = access.prompt_resource(*named)
    return Need(access.PROMPT_WRITE, resource.text, resource)


def _on_label(authority: Authority, recorded: RecordedEvent) -> Need | None:
    named = authority.names.get(str(recorded.event.originator_id))
    if named is None:
        return None
    label = cast("Any", recorded.event).label
    if label in authority.environments.get(named[0], ()):
        resource = access.prompt_resource(*named, environment=label)
        return Need(access.ENVIRONMENT_PROMOTE, resource.text, resource)
    resource = access.prompt_resource(*named)
    return Need(access.LABEL_WRITE, resource.text, resource)


def _on_principal(_: Authority, recorded: RecordedEvent) -> Need:
    resource = access.principal_resource(str(recorded.event.originator_id))
    return Need(access.ACCESS_WRITE, resource.text, resource)


def _on_new_grant(_: Authority, recorded: RecordedEvent) -> Need:
    scope = access.Scope(**cast("Principal.GrantGiven", recorded.event).scope)
    return Need(access.ACCESS_WRITE, scope.resource.text, scope.resource)


def _on_grant(authority: Authority, recorded: RecordedEvent) -> Need | None:
    principal = authority.principals.get(str(recorded.event.originator_id))
    grant_id = cast("Principal.GrantRevoked", recorded.event).grant_id
    grant = principal.grants.get(grant_id) if principal else None
    if grant is None:
        return None
    return Need(access.ACCESS_WRITE, grant.scope.resource.text, grant.scope.resource)


def _on_new_webhook(_: Authority, recorded: RecordedEvent) -> Need:
    event = cast("Webhook.Created", recorded.event)
    return _need_of_webhook(str(event.originator_id), access.Scope(**event.scope))


def _on_webhook(authority: Authority, recorded: RecordedEvent) -> Need | None:
    webhook_id = str(recorded.event.originator_id)
    scope = authority.webhooks.get(webhook_id)
    return None if scope is None else _need_of_webhook(webhook_id, scope)


def _need_of_webhook(webhook_id: str, scope: access.Scope) -> Need:
    resource = access.webhook_resource(webhook_id, scope.project)
    return Need(access.PROJECT_WRITE, resource.text, scope.resource)


def _on_key(_: Authority, recorded: RecordedEvent) -> Need:
    key_id = cast("KeyRing.KeyRetired", recorded.event).key_id
    return Need(access.ACCESS_WRITE, access.key_resource(key_id).text, REGISTRY)


_NEEDS: dict[type[Any], Callable[[Authority, RecordedEvent], Need | None]] = {
    Project.Created: _on_registry,
    Project.GuardrailSet: _on_project,
    Project.GuardrailRemoved: _on_project,
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
    Prompt.Activated: _on_prompt,
    Prompt.Deprecated: _on_prompt,
    Principal.Created: _on_principal,
    Principal.Deactivated: _on_principal,
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
