"""What goes into the access routes, as models."""

from typing import Annotated, Literal

from pydantic import Field, WithJsonSchema

from api.http.moments import Moment
from api.http.schemas import FreeText, Id, LabelName, ProjectName, PromptName, Request
from domain.access import PERMISSIONS, ROLES


class CreatePrincipalRequest(Request):
    """A new principal. The name is shown to people and never enters an event."""

    type: Literal["person", "service"]
    name: Annotated[FreeText, Field(min_length=1)]


class PatchPrincipalRequest(Request):
    """Deactivate a principal. There is no way back."""

    active: Literal[False]
    reason: FreeText | None = None


class GiveGrantRequest(Request):
    """A role in a scope: registry (no place), project, folder or environment."""

    principal_id: Id
    role: Annotated[str, WithJsonSchema({"enum": list(ROLES)})]
    project: ProjectName | None = None
    folder: PromptName | None = None
    environment: LabelName | None = None
    expires_at: Moment | None = None


class TokenScopeRequest(Request):
    """What a restricted token may do, and where."""

    permissions: list[Annotated[str, WithJsonSchema({"enum": list(PERMISSIONS)})]] | None = None
    project: ProjectName | None = None
    folder: PromptName | None = None
    environment: LabelName | None = None


class IssueTokenRequest(Request):
    """A new API token."""

    principal_id: Id
    description: FreeText | None = None
    scopes: Annotated[list[TokenScopeRequest], Field(min_length=1, max_length=32)] | None = None
    expires_at: Moment | None = None
