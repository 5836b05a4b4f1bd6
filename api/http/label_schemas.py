"""What goes into moving a label, or into splitting it, as models."""

from typing import Annotated, Any

from pydantic import Field

from api.http.moments import Moment
from api.http.schemas import (
    AttributeText,
    FreeText,
    Id,
    ReasonRequest,
    Request,
    SignatureRequest,
    VersionNumber,
)
from domain.rollout import (
    CONDITIONS_MAX,
    RULES_MAX,
    STEPS_MAX,
    VALUES_MAX,
    VERSIONS_MAX,
)

Weights = Annotated[
    dict[Annotated[str, Field(pattern="^[1-9][0-9]{0,8}$")], Annotated[int, Field(ge=0, le=1000)]],
    Field(min_length=1, max_length=VERSIONS_MAX),
]
Values = Annotated[list[AttributeText], Field(min_length=1, max_length=VALUES_MAX)]


class ConditionRequest(Request):
    """An attribute, and one thing that has to be so of it."""

    attribute: Annotated[AttributeText, Field(min_length=1)]
    in_: Values | None = Field(None, alias="in")
    not_in: Values | None = None
    prefix: Values | None = None
    suffix: Values | None = None


class TargetingRuleRequest(Request):
    """A version for whoever satisfies all conditions."""

    if_: Annotated[list[ConditionRequest], Field(min_length=1, max_length=CONDITIONS_MAX)] = Field(
        alias="if"
    )
    version: VersionNumber

    def as_data(self) -> dict[str, Any]:
        """As the domain reads it."""
        return self.model_dump(by_alias=True, exclude_none=True)


class RampStepRequest(Request):
    """Other weights, from a moment on."""

    at: Moment
    weights: Weights


class SetLabelRequest(Request):
    """Where a label is to point, and until when; or the versions it is split among (`rollout`)."""

    version: VersionNumber | None = None
    rollout: Weights | None = Field(
        None, description="Version to its share of 1000; instead of `version`."
    )
    reason: FreeText | None = None
    expires_at: Moment | None = Field(None, description="Left out: until it is moved.")
    break_glass: bool = Field(
        False, description="An emergency: the rules are not asked, a review is due afterwards."
    )
    force: bool = Field(False, description="Registered consumers that it breaks are not asked.")
    signature: SignatureRequest | None = None
    rules: Annotated[list[TargetingRuleRequest], Field(max_length=RULES_MAX)] = Field(
        [], description="Of a rollout: asked before the split, the first that fits decides."
    )
    ramp: Annotated[list[RampStepRequest], Field(max_length=STEPS_MAX)] = Field(
        [], description="Of a rollout: the weights that follow by themselves."
    )
    shadow: VersionNumber | None = Field(
        None, description="Of a rollout: a version answered beside, never instead."
    )
    safe: VersionNumber | None = Field(
        None, description="Of a rollout: where stopping it leads; left out: the label's target."
    )
    change_id: Id | None = Field(
        None, description="Of a rollout: the open change request whose approvals let it."
    )

    @property
    def contradiction(self) -> str | None:
        """What does not go together in it."""
        if (self.version is None) == (self.rollout is None):
            return "version"
        if self.rollout is not None:
            other: dict[str, Any] = {"expires_at": self.expires_at, "signature": self.signature,
                     "break_glass": self.break_glass or None}  # fmt: skip
        else:
            other = {"rules": self.rules or None, "ramp": self.ramp or None, "shadow": self.shadow,
                     "safe": self.safe, "change_id": self.change_id}  # fmt: skip
        return next((name for name, given in other.items() if given is not None), None)


class StopRolloutRequest(ReasonRequest):
    """Why it is stopped."""
