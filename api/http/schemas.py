"""What goes in and out over HTTP, as models: requests are validated, answers are documented.

Only shapes live here. What a content, name or scope may be is the domain's to say, so that every
way in gives the same answer.
"""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, WithJsonSchema

from api.http.content_schema import CONTENT_SCHEMA, anchored
from api.http.moments import Moment
from domain.commit_commands import COMMIT_ITEMS_MAX
from domain.composition import COMPOSITION_PROMPTS_MAX
from domain.deciding import TEXT_BYTES_MAX
from domain.locales import LOCALE_PATTERN
from domain.messages import ROLES as MESSAGE_ROLES
from domain.names import (
    BRANCH_PATTERN,
    LABEL_PATTERN,
    PROJECT_PATTERN,
    PROMPT_NAME_CHARS_MAX,
    PROMPT_PATTERN,
    SEGMENT_CHARS_MAX,
    TAG_PATTERN,
    TAGS_MAX,
    check_prompt_name,
)
from domain.partials import REFERENCE_PATTERN
from domain.prompt import OWNERS_MAX
from domain.rollout import ATTRIBUTES_MAX, KEY_CHARS_MAX, VALUE_CHARS_MAX
from domain.semver import RANGE_CHARS_MAX
from domain.version import MAIN_BRANCH
from projections.composing import LockedPart

TEXT_CHARS_MAX = TEXT_BYTES_MAX // 4
RENDERED_VARIABLES_MAX = 1024
RESOLVE_ITEMS_MAX = 100
LOCKFILE_PARTS_MAX = 4 * COMPOSITION_PROMPTS_MAX
DIGEST_PATTERN = "^sha256:[0-9a-f]{64}$"
# A range has an operator; domain/semver.py says what else it is.
RANGE_PATTERN = r"^\s*[~^<>=]"


class Request(BaseModel):
    """A request body: unknown fields are refused, nothing is converted."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Answer(BaseModel):
    """An answer's documentation."""

    model_config = ConfigDict(extra="allow")


def _no_lone_surrogate(text: str) -> str:
    text.encode()
    return text


Content = Annotated[dict[str, Any], WithJsonSchema(CONTENT_SCHEMA)]
FreeText = Annotated[str, Field(max_length=TEXT_CHARS_MAX), AfterValidator(_no_lone_surrogate)]
ProjectName = Annotated[
    str, WithJsonSchema({"type": "string", "pattern": anchored(PROJECT_PATTERN)})
]
PromptName = Annotated[
    str,
    WithJsonSchema(
        {
            "type": "string",
            "pattern": anchored(PROMPT_PATTERN),
            "maxLength": PROMPT_NAME_CHARS_MAX,
            "description": f"Segments of at most {SEGMENT_CHARS_MAX} characters.",
        }
    ),
]
LabelName = Annotated[str, WithJsonSchema({"type": "string", "pattern": anchored(LABEL_PATTERN)})]
BranchName = Annotated[str, WithJsonSchema({"type": "string", "pattern": anchored(BRANCH_PATTERN)})]
Tag = Annotated[str, WithJsonSchema({"type": "string", "pattern": anchored(TAG_PATTERN)})]
Tags = Annotated[list[Tag], Field(max_length=TAGS_MAX)]
VersionNumber = Annotated[int, Field(ge=1, le=2**31)]
Locale = Annotated[str, Field(pattern=anchored(LOCALE_PATTERN))]
VersionRange = Annotated[str, Field(max_length=RANGE_CHARS_MAX, pattern=RANGE_PATTERN)]
VersionChoice = VersionNumber | VersionRange
Id = Annotated[UUID, Field(strict=False)]
TargetingKey = Annotated[str, Field(min_length=1, max_length=KEY_CHARS_MAX)]
AttributeText = Annotated[str, Field(max_length=VALUE_CHARS_MAX)]
Attributes = Annotated[dict[AttributeText, AttributeText], Field(max_length=ATTRIBUTES_MAX)]
TARGETING_KEY: str | None = Field(
    None, description="Who asks, the same every time: decides which version of a rollout."
)
ATTRIBUTES: dict[str, str] | None = Field(None, description="What targeting rules may look at.")
SIMILAR: bool = Field(
    False, description="Answer too which other prompts are almost the same (`similar`)."
)
DECLARE: bool = Field(
    False, description="Declare the variables that the texts use and the content does not."
)


class CommandQuery(Request):
    """What every command takes."""

    model_config = {"strict": False, "extra": "forbid"}
    dry_run: bool = Field(
        False,
        description="Decide it in full and commit nothing; `changed` says what would be, ids and"
        " numbers in the answer are not kept.",
    )


class CreateProjectRequest(Request):
    """A new project."""

    project: ProjectName
    description: FreeText | None = None


class CreatePromptRequest(Request):
    """A new prompt with its version 1."""

    name: PromptName
    content: Content
    message: FreeText | None = None
    description: FreeText | None = None
    tags: Tags = []
    draft: bool = Field(False, description="Not to be promoted until its status is active.")
    declare_variables: bool = DECLARE
    report_similar: bool = SIMILAR


class CommitVersionRequest(Request):
    """The next version."""

    content: Content
    message: FreeText | None = None
    branch: BranchName = MAIN_BRANCH
    expected_version: VersionNumber | None = None
    declare_variables: bool = DECLARE
    report_similar: bool = SIMILAR


class CommitItemRequest(Request):
    """One prompt's next version among several; with `create` its first, where there is none.

    An `expected_version` of 0: only where there is no such prompt yet.
    """

    project: ProjectName
    name: PromptName
    content: Content
    message: FreeText | None = None
    branch: BranchName = MAIN_BRANCH
    expected_version: Annotated[int, Field(ge=0, le=2**31)] | None = None
    create: bool = False
    declare_variables: bool = DECLARE


class CommitManyRequest(Request):
    """Versions of several prompts, all or none; `message` where an item has none."""

    items: Annotated[list[CommitItemRequest], Field(min_length=1, max_length=COMMIT_ITEMS_MAX)]
    message: FreeText | None = None


class MetadataPatch(Request):
    """JSON Merge Patch (RFC 7386): fields left out stay, null clears."""

    description: FreeText | None = None
    tags: Tags | None = None
    owners: Annotated[list[Id], Field(max_length=OWNERS_MAX)] | None = Field(
        None, description="Principals who answer for the prompt."
    )
    status: Literal["active", "deprecated", "archived"] = "active"


class MoveRequest(Request):
    """The name that a prompt is to go by, in its project, and why."""

    name: PromptName
    reason: FreeText | None = None


class DeprecateRequest(Request):
    """What is to be used instead, until when this may be, and why."""

    successor: PromptName | None = None
    sunset_at: Moment | None = None
    reason: FreeText | None = None


class ReasonRequest(Request):
    """Why, if you like."""

    reason: FreeText | None = None


class SignatureRequest(Request):
    """One's own signature over an intent: Ed25519, hex, by a key one has registered."""

    key_id: Annotated[str, Field(pattern="^sha256:[0-9a-f]{64}$")]
    signature: Annotated[str, Field(pattern="^[0-9a-f]{128}$")]


class RemoveLabelRequest(ReasonRequest):
    """Why, and one's own signature."""

    signature: SignatureRequest | None = None


class RollbackRequest(Request):
    """Which label to return, to which version (left out: the target before)."""

    label: LabelName
    to: VersionNumber | None = None
    reason: FreeText | None = None
    signature: SignatureRequest | None = Field(
        None, description="One's own, over the intent of promoting what it returns to."
    )


class LockedGuardrail(Request):
    """What puts a guardrail in its place again."""

    name: str
    position: Literal["prepend", "append"]
    role: Annotated[str, Field(pattern=f"^({'|'.join(MESSAGE_ROLES)})$")]


class LockedPartRequest(Request):
    """One line of a lockfile: an item of a resolved prompt's `partials`, as it was answered."""

    kind: Literal["partial", "guardrail"]
    reference: Annotated[str, Field(max_length=250, pattern=anchored(REFERENCE_PATTERN))]
    ref: str | None = None
    project: ProjectName | None = None
    name: PromptName
    version: VersionNumber
    digest: str = Field(pattern=DIGEST_PATTERN)
    guardrail: LockedGuardrail | None = None

    @property
    def part(self) -> LockedPart:
        """What composing goes by."""
        name = check_prompt_name(self.name)
        return LockedPart(
            self.kind,
            self.reference,
            name,
            self.version,
            self.digest,
            self.guardrail.model_dump() if self.guardrail else None,
        )


Lockfile = Annotated[list[LockedPartRequest], Field(max_length=LOCKFILE_PARTS_MAX)]


class ResolveItem(Request):
    """One prompt to resolve: by one of label (default `production`), version, digest.

    A version that is a range (`^1.2`) chooses among what the label has pointed to.

    A name that cannot be one is a problem at the item's place, not of the whole request.
    """

    project: str
    name: str
    label: str | None = None
    version: VersionChoice | None = None
    digest: str | None = Field(None, pattern=DIGEST_PATTERN)
    locale: Locale | None = Field(None, description="A language tag; beats Accept-Language.")
    targeting_key: TargetingKey | None = TARGETING_KEY
    attributes: Attributes | None = ATTRIBUTES
    lockfile: Lockfile | None = Field(
        None, description="Compose of exactly this, whatever labels point at now."
    )


class ResolveRequest(Request):
    """Prompts to resolve, answered in order."""

    items: Annotated[list[ResolveItem], Field(min_length=1, max_length=RESOLVE_ITEMS_MAX)]


class RenderRequest(Request):
    """What to fill a prompt with, and in which form it is wanted."""

    variables: Annotated[dict[str, Any], Field(max_length=RENDERED_VARIABLES_MAX)] = {}
    label: LabelName | None = None
    version: VersionChoice | None = None
    digest: str | None = Field(None, pattern=DIGEST_PATTERN)
    format: Literal["messages", "text", "openai", "anthropic", "gemini"] = "messages"
    allow_extra: bool = False
    locale: Locale | None = Field(None, description="A language tag; beats Accept-Language.")
    targeting_key: TargetingKey | None = TARGETING_KEY
    attributes: Attributes | None = ATTRIBUTES
    lockfile: Lockfile | None = Field(
        None, description="Compose of exactly this, whatever labels point at now."
    )


class FaultAnswer(Answer):
    """One thing wrong with the request."""

    pointer: str
    code: str
    detail: str


class Problem(Answer):
    """RFC 9457 problem+json."""

    type: str
    title: str
    status: int
    code: str
    detail: str
    request_id: str
    errors: list[FaultAnswer]


class CommandAnswer(Answer):
    """What a command came to: the ledger position to wait for, and whether anything changed."""

    position: int
    changed: bool


class VersionCommandAnswer(CommandAnswer):
    """A committed version; `change` says how its semver follows from the one before."""

    ref: str
    project: str
    name: str
    version: int
    branch: str
    semver: str | None
    change: dict[str, Any] | None
    digest: str


class CommitManyAnswer(CommandAnswer):
    """What became of each item, in the order of the request."""

    items: list[dict[str, Any]]


class LabelCommandAnswer(CommandAnswer):
    """A label that was moved."""

    ref: str
    label: str
    version: int | None


class ResolvedAnswer(Answer):
    """A resolved prompt."""

    ref: str
    project: str
    name: str
    version: int
    semver: str | None
    digest: str
    label: str | None
    locale: str | None
    locales: dict[str, Any]
    content: dict[str, Any]
    partials: list[Any]
    promoted_by: str | None
    promoted_at: datetime | None
    expires_at: datetime | None
    deprecation: dict[str, Any] | None
    position: int


class ResolvedItemsAnswer(Answer):
    """Results or problems, in the order of the request."""

    items: list[dict[str, Any]]


class RenderedAnswer(Answer):
    """A rendered prompt: under `messages`, `text` or a provider's name, as asked.

    `left_out`: fields of the content that the provider has no place for.
    """

    ref: str
    version: int
    digest: str
    partials: list[Any]


class ProjectAnswer(Answer):
    """A project."""

    project: str
    description: str | None
    environments: list[str]


class MetadataAnswer(Answer):
    """A prompt without its content."""

    project: str
    name: str
    description: str | None
    tags: list[str]
    owners: list[str]
    status: str
    deprecation: dict[str, Any] | None
    labels: dict[str, int]
    latest_version: int
    created_by: str
    created_by_name: str | None
    created_at: datetime
    updated_by: str
    updated_by_name: str | None
    updated_at: datetime


class VersionAnswer(Answer):
    """A version."""

    ref: str
    version: int
    branch: str
    semver: str | None
    change: dict[str, Any] | None
    digest: str | None
    message: str | None
    author: str
    author_name: str | None
    committed_at: datetime
    position: int


class LabelAnswer(Answer):
    """A label."""

    label: str
    version: int
    expires_at: datetime | None
    rollout: dict[str, Any] | None
    environment: bool
    promoted_by: str
    promoted_by_name: str | None
    promoted_at: datetime
    position: int


class PageAnswer(Answer):
    """A page of a list."""

    items: list[dict[str, Any]]
    next_cursor: str | None


class EventPageAnswer(PageAnswer):
    """A page of CloudEvents; `head` is the last position there is."""

    head: int


class DiffAnswer(Answer):
    """Two versions by line (`unified`), and by what the change means (`semantic`)."""

    unified: str
    added: int
    removed: int
    semantic: dict[str, Any]


class ObjectAnswer(Answer):
    """An object."""
