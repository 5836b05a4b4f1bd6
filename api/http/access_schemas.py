"""What goes into the access routes, as models."""

from typing import Annotated, Any, Literal

from pydantic import Field, WithJsonSchema

from api.http.content_schema import anchored
from api.http.moments import Moment
from api.http.schemas import Answer, FreeText, Id, LabelName, ProjectName, PromptName, Request
from domain.access import PERMISSIONS, ROLES
from domain.names import LABEL_PATTERN
from domain.sign_in_commands import LOGIN_CHARS_MAX

RoleName = Annotated[
    str,
    WithJsonSchema(
        {
            "type": "string",
            "pattern": anchored(LABEL_PATTERN),
            "description": f"{', '.join(ROLES)}, or a role that was defined.",
        }
    ),
]
PermissionName = Annotated[str, WithJsonSchema({"enum": list(PERMISSIONS)})]


class CreatePrincipalRequest(Request):
    """A new principal. The name is shown to people and never enters an event."""

    type: Literal["person", "service", "plugin", "group"]
    name: Annotated[FreeText, Field(min_length=1)]
    login: Annotated[FreeText, Field(min_length=1, max_length=LOGIN_CHARS_MAX)] | None = Field(
        None, description="The name a person signs in by; of a group, an identity provider's."
    )


class PatchPrincipalRequest(Request):
    """Another name; or deactivate it, from which there is no way back."""

    name: Annotated[FreeText, Field(min_length=1)] | None = None
    active: Literal[False] | None = None
    reason: FreeText | None = None


class GiveGrantRequest(Request):
    """A role in a scope: registry (no place), project, folder or environment."""

    principal_id: Id
    role: RoleName
    project: ProjectName | None = None
    folder: PromptName | None = None
    environment: LabelName | None = None
    expires_at: Moment | None = None


class TokenScopeRequest(Request):
    """What a restricted token may do, and where."""

    permissions: list[PermissionName] | None = None
    project: ProjectName | None = None
    folder: PromptName | None = None
    environment: LabelName | None = None


class IssueTokenRequest(Request):
    """A new API token."""

    principal_id: Id
    description: FreeText | None = None
    scopes: Annotated[list[TokenScopeRequest], Field(min_length=1, max_length=32)] | None = None
    expires_at: Moment | None = None
    networks: (
        Annotated[list[Annotated[str, Field(max_length=64)]], Field(min_length=1, max_length=32)]
        | None
    ) = Field(None, description="Addresses or networks (CIDR) from which alone it counts.")


class DefineRoleRequest(Request):
    """What a custom role permits, wherever it is given."""

    permissions: Annotated[list[PermissionName], Field(min_length=1, max_length=len(PERMISSIONS))]
    description: FreeText | None = None


class PrincipalAnswer(Answer):
    """A principal; `members` are a group's."""

    principal_id: str
    type: str
    name: str | None
    active: bool
    suspended: bool
    groups: list[str]
    members: list[str]
    sign_in: dict[str, Any] | None


class RoleAnswer(Answer):
    """A role and what it permits."""

    role: str
    permissions: list[str]
    built_in: bool


class ExplainAnswer(Answer):
    """Whether a principal may do something, and why: grant by grant, with where it comes from."""

    allowed: bool
    principal_id: str
    permission: str
    resource: str
    grants: list[dict[str, Any]]
