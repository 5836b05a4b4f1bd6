"""SCIM 2.0 (RFC 7643, RFC 7644) as models: what provisioning sends, and what it is answered.

What is sent may hold more than is known here, which is let be (RFC 7644 section 3.3).
"""

from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

SCIM_MEDIA_TYPE = "application/scim+json"
SCIM_USER = "urn:ietf:params:scim:schemas:core:2.0:User"
SCIM_GROUP = "urn:ietf:params:scim:schemas:core:2.0:Group"
SCIM_ERROR = "urn:ietf:params:scim:api:messages:2.0:Error"
SCIM_LIST = "urn:ietf:params:scim:api:messages:2.0:ListResponse"
SCIM_PATCH = "urn:ietf:params:scim:api:messages:2.0:PatchOp"
OPERATIONS_MAX = 200
MEMBERS_MAX = 1000
COUNT_MAX = 500
Text = Annotated[
    str,
    Field(
        min_length=1,
        max_length=254,
        pattern=r"^[^\x00-\x1f\x7f]*[^\s\x00-\x1f\x7f][^\x00-\x1f\x7f]*$",
    ),
]
Part = Annotated[str, Field(max_length=254, pattern=r"^[^\x00-\x1f\x7f]*$")]


def _truth(value: Any) -> Any:
    """`true` and `false` as words too, as Microsoft Entra sends them."""
    words = {"true": True, "false": False}
    return words.get(value.lower(), value) if isinstance(value, str) else value


Truth = Annotated[bool, BeforeValidator(_truth)]


def _present(value: Any) -> Any:
    """An empty text is none (RFC 7643 section 2.5 says so of what is unassigned)."""
    return None if isinstance(value, str) and not value.strip() else value


class Sent(BaseModel):
    """Something sent: what is not known is let be, names have no case (RFC 7643 section 2.1)."""

    model_config = ConfigDict(extra="ignore", strict=True)

    @model_validator(mode="before")
    @classmethod
    def _without_case(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        known = {name.lower(): name for name in cls.model_fields}
        return {known.get(str(name).lower(), name): one for name, one in value.items()}


class ScimName(Sent):
    """A person's name, or its parts."""

    formatted: Part | None = None
    givenName: Part | None = None
    familyName: Part | None = None

    @property
    def is_whole(self) -> bool:
        """Whether it says all of a name, so that it may stand for another one."""
        return bool(self.formatted) or (self.givenName is not None and self.familyName is not None)

    @property
    def whole(self) -> str:
        """As it is written out, or from its parts; empty where there is none."""
        parts = " ".join(part for part in (self.givenName, self.familyName) if part)
        return (self.formatted or "").strip() or parts.strip()


class UserRequest(Sent):
    """A user: a person who signs in by `userName`."""

    schemas: list[str] = []
    userName: Text
    displayName: Annotated[Text | None, BeforeValidator(_present)] = None
    name: ScimName | None = None
    active: Truth | None = None

    @property
    def shown(self) -> str:
        """The name to show."""
        return self.displayName or (self.name or ScimName()).whole or self.userName


class UserChange(Sent):
    """What of a user is changed; what is null is left."""

    userName: Text | None = None
    displayName: Annotated[Text | None, BeforeValidator(_present)] = None
    active: Truth | None = None


class MemberRequest(Sent):
    """A member, by id."""

    value: Annotated[str, Field(max_length=64), AfterValidator(str.lower)]


class GroupRequest(Sent):
    """A group that an identity provider knows as `displayName`."""

    schemas: list[str] = []
    displayName: Text
    members: Annotated[list[MemberRequest], Field(max_length=MEMBERS_MAX)] | None = None


class OperationRequest(Sent):
    """One change: `add`, `replace` or `remove`, in any case."""

    op: Annotated[str, Field(pattern=r"^(?i:add|replace|remove)$")]
    path: Annotated[str, Field(max_length=254)] | None = None
    value: Any = None


class PatchRequest(Sent):
    """Changes, in order (RFC 7644 section 3.5.2)."""

    schemas: list[str] = []
    Operations: Annotated[list[OperationRequest], Field(min_length=1, max_length=OPERATIONS_MAX)]


class ScimAnswer(BaseModel):
    """A resource, or something about the service."""

    model_config = ConfigDict(extra="allow")
    schemas: list[str]


class ScimListAnswer(ScimAnswer):
    """A page of resources."""

    totalResults: int
    startIndex: int
    itemsPerPage: int
    Resources: list[dict[str, Any]]


class ScimProblem(ScimAnswer):
    """Why not (RFC 7644 section 3.12)."""

    status: str
    detail: str
