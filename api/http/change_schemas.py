"""What goes into and out of change requests, as models."""

from typing import Annotated, Any, Literal

from pydantic import Field

from api.http.environment_schemas import RulesRequest
from api.http.moments import Moment
from api.http.schemas import (
    Answer,
    CommandAnswer,
    FreeText,
    LabelName,
    PromptName,
    Request,
    SignatureRequest,
    VersionNumber,
)
from domain.change_request import ITEMS_MAX, STATUSES

TITLE_CHARS_MAX = 200
StatusName = Annotated[str, Field(pattern=f"^({'|'.join(STATUSES)})$")]


class ChangeItemRequest(Request):
    """A prompt and the version that is to be live (null: its label is to be removed)."""

    name: PromptName
    version: VersionNumber | None


Items = Annotated[list[ChangeItemRequest], Field(min_length=1, max_length=ITEMS_MAX)]


class ProposeChangeRequest(Request):
    """A promotion of one prompt, or a release of several, into an environment.

    `automatic`: it is applied when the rules let it. `scheduled_at`: not before then, and then by
    itself. `expires_at`: the labels point nowhere again.
    """

    environment: LabelName = "production"
    items: Items
    title: Annotated[FreeText, Field(min_length=1, max_length=TITLE_CHARS_MAX, pattern=r"\S")]
    reason: FreeText | None = None
    automatic: bool = False
    scheduled_at: Moment | None = None
    expires_at: Moment | None = None
    force: bool = Field(False, description="Registered consumers that it breaks are not asked.")


class ReviseChangeRequest(Request):
    """Other versions (left out: the same, on what is live now). Approvals begin anew.

    Times that are left out stay; null takes them away.
    """

    items: Items | None = None
    scheduled_at: Moment | None = None
    expires_at: Moment | None = None
    reason: FreeText | None = None


class AnchorRequest(Request):
    """Where in a prompt's diff: a JSON pointer into the content, a line of the unified diff."""

    name: PromptName
    version: VersionNumber
    pointer: Annotated[str, Field(max_length=200)] | None = None
    line: Annotated[int, Field(ge=1, le=2**31)] | None = None


class CommentRequest(Request):
    """What there is to say, and of which place."""

    text: Annotated[FreeText, Field(min_length=1)]
    anchor: AnchorRequest | None = None


class ApproveRequest(Request):
    """`revision`: the one that was looked at; another one proposed meanwhile is not approved."""

    revision: Annotated[int, Field(ge=1, le=2**31)] | None = None
    comment: FreeText | None = None
    signature: SignatureRequest | None = None


class ApplyRequest(Request):
    """One's own signature of each promotion, by the prompt's name in the request."""

    signatures: Annotated[
        dict[Annotated[str, Field(max_length=200)], SignatureRequest],
        Field(max_length=ITEMS_MAX),
    ] = {}


class RejectRequest(Request):
    """Why not."""

    comment: FreeText | None = None


class ReviewRequest(Request):
    """What looking at an emergency afterwards came to."""

    outcome: Literal["accepted", "objected"]
    comment: FreeText | None = None


class PreviewRequest(Request):
    """Which version would be promoted; `rules`: by these instead of those in force.

    `force`: whatever registered consumers it breaks.
    """

    label: LabelName = "production"
    version: VersionNumber
    expires_at: Moment | None = None
    force: bool = False
    rules: RulesRequest | None = None


class PreviewAnswer(Answer):
    """Whether it may be promoted, and what is missing; the diff against what is live."""

    label: str
    version: int
    permitted: bool
    allowed: bool
    missing: list[dict[str, str]]
    broken: list[dict[str, str]]
    rules: dict[str, Any]
    diff: dict[str, Any] | None


class ChangeCommandAnswer(CommandAnswer):
    """A change request as it is now, and what keeps it from being applied."""

    change_id: str
    status: str
    revision: int
    items: list[dict[str, Any]]
    missing: list[dict[str, str]]


class ChangeAnswer(Answer):
    """A change request with everything that was said of it."""

    change_id: str
    project: str
    environment: str
    status: str
    revision: int
    title: str | None
    reason: str | None
    proposed_by: str
    proposed_by_name: str | None
    proposed_at: str
    editors: list[str]
    items: list[dict[str, Any]]
    missing: list[dict[str, str]]
    forced: bool
    automatic: bool
    scheduled_at: str | None
    expires_at: str | None
    suspended_for: str | None
    emergency: bool
    review_due_at: str | None
    overdue: bool
    review: dict[str, str | None] | None
    approvals: list[dict[str, Any]]
    rejection: dict[str, Any] | None
    comments: list[dict[str, Any]]
    applied_by: str | None
    applied_by_name: str | None
    applied_at: str | None
    intents: dict[str, Any]
