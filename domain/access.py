"""Who may do what: roles, scopes, and the one policy (DESIGN section 3).

`decide` is the policy, a pure function. `authorise` puts a caller in front of it: an active
principal with a live token whose own scopes allow the act. Everything that reads or writes asks
here, and `scrinia verify` asks again for every event in the ledger.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from ipaddress import ip_network
from typing import Any

from domain.addresses import is_within
from domain.commitment import ContentRef
from domain.errors import (
    ForbiddenError,
    NotFoundError,
    SecondFactorMissingError,
    UnauthenticatedError,
)

POLICY = "roles/1"
BOOTSTRAP_POLICY = "bootstrap/1"
SYSTEM_POLICY = "system/1"
SELF_POLICY = "self/1"
SELF_PERMISSION = "self"
SIGN_IN_POLICY = "signin/1"
SIGN_IN_PERMISSION = "signin"
VIA_SESSION = "session"
AUTHZ_GRANTS_MAX = 8

PROMPT_READ = "prompt.read"
PROMPT_WRITE = "prompt.write"
LABEL_WRITE = "label.write"
ENVIRONMENT_PROMOTE = "environment.promote"
CHANGE_REVIEW = "change.review"
AUDIT_READ = "audit.read"
ACCESS_READ = "access.read"
ACCESS_WRITE = "access.write"
PROJECT_WRITE = "project.write"
PROJECTION_OPERATE = "projection.operate"
CHANGE_PROPOSE = "change.propose"
CHANGE_COMMENT = "change.comment"
CHECK_WRITE = "check.write"
CONSUMER_WRITE = "consumer.write"
ENVIRONMENT_BREAK_GLASS = "environment.break_glass"

ROLES_BY_PERMISSION: Mapping[str, frozenset[str]] = {
    PROMPT_READ: frozenset(
        {"viewer", "developer", "reviewer", "releaser", "auditor", "checker", "admin"}
    ),
    PROMPT_WRITE: frozenset({"developer", "admin"}),
    LABEL_WRITE: frozenset({"developer", "releaser", "admin"}),
    ENVIRONMENT_PROMOTE: frozenset({"releaser", "admin"}),
    ENVIRONMENT_BREAK_GLASS: frozenset({"admin"}),
    CHANGE_PROPOSE: frozenset({"developer", "releaser", "admin"}),
    CHANGE_COMMENT: frozenset({"developer", "reviewer", "releaser", "auditor", "admin"}),
    CHANGE_REVIEW: frozenset({"reviewer", "admin"}),
    CHECK_WRITE: frozenset({"checker", "admin"}),
    CONSUMER_WRITE: frozenset({"viewer", "developer", "releaser", "admin"}),
    AUDIT_READ: frozenset({"auditor", "admin"}),
    ACCESS_READ: frozenset({"auditor", "admin"}),
    ACCESS_WRITE: frozenset({"admin"}),
    PROJECT_WRITE: frozenset({"admin"}),
    PROJECTION_OPERATE: frozenset({"operator", "admin"}),
}
# What a grant in an environment gives there; anywhere in its project it gives to read.
IN_ENVIRONMENT = frozenset({ENVIRONMENT_PROMOTE, ENVIRONMENT_BREAK_GLASS})
PERMISSIONS = tuple(ROLES_BY_PERMISSION)
ROLES = (
    "viewer", "developer", "reviewer", "releaser", "checker", "auditor", "operator", "admin",
)  # fmt: skip


@dataclass(frozen=True)
class Resource:
    """What an act is on. `text` is how authz, audit and events write it.

    `path` is a prompt's name, or a folder with a `/` after it; `environment` is the label an act
    moves, where that label is one of its project's environments.
    """

    text: str
    project: str | None = None
    path: str | None = None
    environment: str | None = None


REGISTRY = Resource("registry")


def project_resource(project: str) -> Resource:
    """A project as a whole."""
    return Resource(f"projects/{project}", project)


def prompt_resource(project: str, name: str, environment: str | None = None) -> Resource:
    """A prompt, or the move of one of its environments' labels."""
    return Resource(f"projects/{project}/prompts/{name}", project, name, environment)


def principal_resource(principal_id: str) -> Resource:
    """A principal; only registry-wide grants reach it."""
    return Resource(f"principals/{principal_id}")


def role_resource(name: str) -> Resource:
    """A custom role."""
    return Resource(f"roles/{name}")


def access_request_resource(request_id: str) -> Resource:
    """An access request; what one may do with it hangs on what it is about."""
    return Resource(f"access-requests/{request_id}")


def key_resource(key_id: str) -> Resource:
    """One of the registry's own keys."""
    return Resource(f"keys/{key_id}")


def webhook_resource(webhook_id: str, project: str | None) -> Resource:
    """A webhook of a project, or of the whole registry."""
    if project is None:
        return Resource(f"webhooks/{webhook_id}")
    return Resource(f"projects/{project}/webhooks/{webhook_id}", project)


def change_resource(project: str, change_id: str) -> Resource:
    """A change request; what one may do with it hangs on the prompts it is about."""
    return Resource(f"projects/{project}/change-requests/{change_id}", project)


def resource_from_text(text: str, environment: str | None = None) -> Resource:
    """The resource that `text` was written for."""
    parts = text.split("/", 3)
    match parts:
        case ["projects", project]:
            return project_resource(project)
        case ["projects", project, "prompts", name]:
            return prompt_resource(project, name, environment)
        case ["projects", project, "folders", folder]:
            return Resource(text, project, folder + "/")
        case ["projects", project, "environments", label]:
            return Resource(text, project, None, label)
        case ["projects", project, "webhooks" | "change-requests", _]:
            return Resource(text, project)
    return Resource(text)


@dataclass(frozen=True)
class Scope:
    """Where a grant or token counts: registry (all None), project, folder or environment."""

    project: str | None = None
    folder: str | None = None
    environment: str | None = None

    def covers(self, permission: str, resource: Resource) -> bool:
        """Whether something given here reaches an act on `resource`."""
        if self.project is None:
            return True
        if self.project != resource.project:
            return False
        if self.environment is not None:
            return permission == PROMPT_READ or (
                permission in IN_ENVIRONMENT and self.environment == resource.environment
            )
        if self.folder is not None:
            return resource.path is not None and resource.path.startswith(self.folder + "/")
        return True

    @property
    def resource(self) -> Resource:
        """The scope as the thing on which access is given."""
        if self.project is None:
            return REGISTRY
        if self.folder is not None:
            text = f"projects/{self.project}/folders/{self.folder}"
            return Resource(text, self.project, self.folder + "/")
        if self.environment is not None:
            text = f"projects/{self.project}/environments/{self.environment}"
            return Resource(text, self.project, None, self.environment)
        return project_resource(self.project)

    def as_data(self) -> dict[str, Any]:
        """JSON form: the fields that are set."""
        fields = (
            ("project", self.project),
            ("folder", self.folder),
            ("environment", self.environment),
        )
        return {name: value for name, value in fields if value is not None}


@dataclass(frozen=True)
class Grant:
    """A role in a scope, until `expires_at` (None: until revoked).

    `permissions`: what a custom role permits now; None for the roles that are built in.
    """

    id: str
    role: str
    scope: Scope
    expires_at: datetime | None
    permissions: frozenset[str] | None = None

    def has(self, permission: str) -> bool:
        """Whether its role permits this, wherever and whenever it counts."""
        if self.permissions is None:
            return self.role in ROLES_BY_PERMISSION[permission]
        return permission in self.permissions

    def suffices(self, permission: str, resource: Resource, now: datetime) -> bool:
        """Whether this grant alone allows the act."""
        return (
            self.has(permission)
            and (self.expires_at is None or now < self.expires_at)
            and self.scope.covers(permission, resource)
        )


@dataclass(frozen=True)
class TokenScope:
    """What a restricted token may still do: these permissions (None: any) in this scope."""

    permissions: frozenset[str] | None
    scope: Scope

    def covers(self, permission: str, resource: Resource) -> bool:
        """Whether the token may be used for the act."""
        allowed = self.permissions is None or permission in self.permissions
        return allowed and self.scope.covers(permission, resource)


@dataclass(frozen=True)
class Token:
    """An API token: never the secret, only its SHA-256 (hex). `scopes` None: unrestricted.

    `networks`: it counts from these addresses only (CIDR; None: from anywhere).
    """

    id: str
    secret_sha256: str
    scopes: tuple[TokenScope, ...] | None
    expires_at: datetime | None
    revoked: bool = False
    description: ContentRef | None = None
    networks: tuple[str, ...] | None = None

    @property
    def of_session(self) -> bool:
        """Whether it is a session's: what is shown of one changes, so there is no one secret."""
        return not self.secret_sha256

    def admits(self, address: str | None) -> bool:
        """Whether it may be used from an address (None: not known)."""
        return self.networks is None or is_within(address, map(ip_network, self.networks))

    def is_live(self, now: datetime) -> bool:
        """Neither revoked nor expired."""
        return not self.revoked and (self.expires_at is None or now < self.expires_at)


@dataclass(frozen=True)
class Authorization:
    """The policy's answer: the ids of the grants that each sufficed, none where denied."""

    grants: tuple[str, ...]

    @property
    def allowed(self) -> bool:
        """Whether any grant sufficed."""
        return bool(self.grants)


def decide(
    grants: Iterable[Grant], permission: str, resource: Resource, now: datetime
) -> Authorization:
    """The one policy: which of a principal's grants allow `permission` on `resource` at `now`."""
    return Authorization(
        tuple(sorted(g.id for g in grants if g.suffices(permission, resource, now)))
    )


def roles_allowing(
    grants: Iterable[Grant], permission: str, resource: Resource, now: datetime
) -> frozenset[str]:
    """By which roles a principal's grants allow `permission` on `resource` at `now`."""
    return frozenset(g.role for g in grants if g.suffices(permission, resource, now))


@dataclass(frozen=True)
class Caller:
    """Who asks, as authentication found out: ids only, checked again on every decision.

    `token_id` is the session's where `via` is VIA_SESSION; `until`: what was shown of it counts no
    longer (None: as long as it does).
    """

    principal_id: str
    token_id: str
    via: str = "token"
    until: datetime | None = None


# Who disables webhooks that fail. No token speaks for it: only a part of the registry can be it.
SYSTEM_CALLER = Caller("system", "", via="delivery")
SYSTEM_ACTOR = {"type": "system", "id": "system", "via": "delivery", "credential": None}
SYSTEM_EXPIRY_ACTOR = {**SYSTEM_ACTOR, "via": "expiry"}
SYSTEM_SCHEDULE = {**SYSTEM_ACTOR, "via": "schedule"}
SYSTEM_DOOR_ACTOR = {**SYSTEM_ACTOR, "via": "sign-in"}
SYSTEM_HOST_ACTOR = {**SYSTEM_ACTOR, "via": "host"}
SYSTEM_RESTORE_ACTOR = {**SYSTEM_ACTOR, "via": "restore"}
RESTORE_PERMISSION = "restore"


@dataclass(frozen=True)
class Rights:
    """A principal's standing: what `authorise` needs of the aggregate, and nothing else.

    `limited`: it is in a session that lacks the second factor the registry asks for.
    """

    active: bool
    grants: tuple[Grant, ...]
    token: Token | None
    groups: frozenset[str] = frozenset()
    limited: bool = False


def authenticate(rights: Rights | None, now: datetime, *, limited: bool = False) -> Rights:
    """UnauthenticatedError unless there is an active principal with a live token.

    SecondFactorMissingError for a session that lacks one, but for what may be done without
    (`limited`).
    """
    if rights is None or not rights.active or rights.token is None or not rights.token.is_live(now):
        raise UnauthenticatedError(
            "Send 'Authorization: Bearer scr_…' with a token that is neither revoked nor expired."
        )
    if rights.limited and not limited:
        raise SecondFactorMissingError(
            "This registry asks for a second factor: enrol one ('scrinia totp enrol') and sign in"
            " with it."
        )
    return rights


def check_whole(rights: Rights) -> None:
    """ForbiddenError for a token that was narrowed to anything."""
    if rights.token is None or rights.token.scopes is not None:
        raise ForbiddenError("This takes a token that is not narrowed to anything.")


def lasting(rights: Rights | None) -> Rights | None:
    """The standing by which something is done later for somebody who asked for it once.

    None where they or the credential they asked with were taken out of use meanwhile; that it has
    expired since does not matter, what it was narrowed to does.
    """
    if rights is None or not rights.active or rights.token is None or rights.token.revoked:
        return None
    return rights


def permitted(rights: Rights, permission: str, resource: Resource, now: datetime) -> Authorization:
    """The policy's answer for an authenticated caller, within the token's own scopes."""
    token = rights.token
    scopes = token.scopes if token is not None else None
    if scopes is not None and not any(scope.covers(permission, resource) for scope in scopes):
        return Authorization(())
    return decide(rights.grants, permission, resource, now)


def permitted_all(
    rights: Rights, permission: str, resources: Iterable[Resource], now: datetime
) -> Authorization:
    """The policy's answer for several things at once: every grant that sufficed for one of them."""
    answers = [permitted(rights, permission, one, now) for one in resources]
    if not answers or not all(answer.allowed for answer in answers):
        return Authorization(())
    return Authorization(tuple(sorted({grant for answer in answers for grant in answer.grants})))


def authorise(rights: Rights, permission: str, resource: Resource, now: datetime) -> Authorization:
    """The policy's answer, or the refusal: 404 where one may not even read, 403 else."""
    answer = permitted(rights, permission, resource, now)
    if answer.allowed:
        return answer
    if resource.project is not None and not _may_know(rights, resource, now):
        raise not_found(resource)
    place = f" in {resource.environment}" if resource.environment is not None else ""
    if decide(rights.grants, permission, resource, now).allowed:
        raise ForbiddenError(
            f"Your roles allow {permission} on {resource.text}{place}, this token's own scopes do"
            " not: use another token.",
            permission=permission,
            resource=resource.text,
        )
    raise ForbiddenError(
        f"This needs {permission} on {resource.text}{place}: ask an admin for a role that has it"
        f" ({', '.join(sorted(ROLES_BY_PERMISSION[permission]))}).",
        permission=permission,
        resource=resource.text,
    )


def _may_know(rights: Rights, resource: Resource, now: datetime) -> bool:
    if permitted(rights, PROMPT_READ, resource, now).allowed:
        return True
    return resource.path is None and resource.project in readable_projects(
        rights, [resource.project or ""], now
    )


def not_found(resource: Resource) -> NotFoundError:
    """The one answer for what is absent and for what one may not know of."""
    return NotFoundError(f"There is no {resource.text}, or you may not read it.")


def readable_folders(rights: Rights, project: str, now: datetime) -> tuple[str, ...] | None:
    """The folders of a project a caller may read; None: all of it; empty: nothing."""
    return folders_with(rights, PROMPT_READ, project, now)


def folders_with(
    rights: Rights, permission: str, project: str, now: datetime
) -> tuple[str, ...] | None:
    """The folders of a project in which a caller has a permission; None: all; empty: nowhere."""
    if permitted(rights, permission, project_resource(project), now).allowed:
        return None
    token_scopes = rights.token.scopes if rights.token else None
    asked = {g.scope.folder for g in rights.grants if g.scope.project == project}
    asked |= {s.scope.folder for s in token_scopes or () if s.scope.project == project}
    folders = sorted(folder for folder in asked if folder is not None)
    return tuple(
        folder
        for folder in folders
        if permitted(rights, permission, Resource("", project, folder + "/"), now).allowed
    )


def readable_projects(rights: Rights, projects: Iterable[str], now: datetime) -> list[str]:
    """Those of `projects` in which a caller may read anything at all."""
    return [p for p in projects if readable_folders(rights, p, now) != ()]


def places_with(rights: Rights, permission: str, now: datetime) -> tuple[str, ...] | None:
    """The resources at and below which a caller has a permission; None: the whole registry."""
    if permitted(rights, permission, REGISTRY, now).allowed:
        return None
    scopes = [grant.scope for grant in rights.grants]
    scopes += [one.scope for one in (rights.token.scopes if rights.token else None) or ()]
    places: list[str] = []
    for project in sorted({scope.project for scope in scopes if scope.project is not None}):
        folders = folders_with(rights, permission, project, now)
        if folders is None:
            places.append(f"projects/{project}")
            continue
        for folder in folders:
            places += [
                f"projects/{project}/prompts/{folder}",
                f"projects/{project}/folders/{folder}",
            ]
    return tuple(places)
