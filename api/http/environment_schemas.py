"""An environment's rules, as models: their form here, their sense in `domain/environment.py`."""

from typing import Annotated, Any

from pydantic import Field, WithJsonSchema

from api.http.access_schemas import RoleName
from api.http.moments import Moment
from api.http.schemas import Answer, CommandAnswer, FreeText, Id, LabelName, PromptName, Request
from domain.environment import APPROVALS_MAX, CHECKS_MAX, ENVIRONMENTS_MAX, HOURS_MAX
from domain.freeze import DAYS, FREEZES_MAX
from domain.project import FOLDER_OWNERS_MAX

Hours = Annotated[int, Field(ge=1, le=HOURS_MAX)]
Roles = Annotated[list[RoleName], Field(max_length=16)]
Clock = Annotated[str, Field(pattern="^(?:([01][0-9]|2[0-3]):[0-5][0-9]|24:00)$")]
Day = Annotated[str, WithJsonSchema({"enum": list(DAYS)})]


class ApprovalsRequest(Request):
    """How many approvals, whose, and how long each counts.

    `roles`: an approver holds `change.review` by one of these. `owners`: one of them owns the
    prompt's folder. `authors`: whoever wrote or proposed it may approve too. `signed`: each carries
    the approver's own signature.
    """

    count: Annotated[int, Field(ge=0, le=APPROVALS_MAX)] = 0
    roles: Roles = []
    owners: bool = False
    authors: bool = False
    signed: bool = False
    max_age_hours: Hours | None = None


class CheckRuleRequest(Request):
    """A check that has passed on the version, at most so long ago."""

    name: LabelName
    max_age_hours: Hours | None = None


class FreezeRequest(Request):
    """A span (`starts_at`, `ends_at`), or a weekly window (`days`, `from`, `to`, `time_zone`).

    A weekly window whose end is not after its start goes on into the next day.
    """

    starts_at: Moment | None = None
    ends_at: Moment | None = None
    days: Annotated[list[Day], Field(max_length=7)] | None = None
    from_: Annotated[Clock | None, Field(alias="from")] = None
    to: Clock | None = None
    time_zone: Annotated[str, Field(max_length=64)] | None = None


class RulesRequest(Request):
    """What a promotion into the environment needs; what is left out needs nothing."""

    promoter_roles: Roles = []
    from_environment: LabelName | None = None
    approvals: ApprovalsRequest = ApprovalsRequest()
    checks: Annotated[list[CheckRuleRequest], Field(max_length=CHECKS_MAX)] = []
    freezes: Annotated[list[FreezeRequest], Field(max_length=FREEZES_MAX)] = []
    label_hours_max: Hours | None = None
    guarded_rollback: bool = False
    signed: bool = Field(False, description="Each promotion carries the promoter's signature.")
    review_hours: Hours | None = Field(
        24, description="An emergency is reviewed within this time; null: there are none."
    )
    access_log: bool = Field(
        False, description="Reads by its label are put on record (`GET /v1/access/reads`)."
    )

    def rules(self) -> dict[str, Any]:
        """As `domain.environment.read_rules` takes it."""
        return self.model_dump(mode="json", by_alias=True, include=set(RulesRequest.model_fields))


class SetEnvironmentRequest(RulesRequest):
    """An environment's rules, and its place among the project's environments, from 1."""

    order: Annotated[int, Field(ge=1, le=ENVIRONMENTS_MAX)] | None = None
    reason: FreeText | None = None


class SetOwnersRequest(Request):
    """Who owns a folder (left out: the whole project); nobody where empty."""

    folder: PromptName | None = None
    owners: Annotated[list[Id], Field(max_length=FOLDER_OWNERS_MAX)]
    reason: FreeText | None = None


class EnvironmentAnswer(Answer):
    """An environment and its rules."""

    environment: str
    order: int
    promoter_roles: list[str]
    from_environment: str | None
    approvals: dict[str, Any]
    checks: list[dict[str, Any]]
    freezes: list[dict[str, Any]]
    label_hours_max: int | None
    guarded_rollback: bool
    signed: bool
    review_hours: int | None
    access_log: bool


class EnvironmentCommandAnswer(CommandAnswer, EnvironmentAnswer):
    """An environment as it is now."""
