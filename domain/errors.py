"""Every way the domain says no.

One tree. Each concrete class carries a stable `code`; its first docstring line is the title a user
reads, and the `detail` given when raising says what to do. `api/http/problems.py` is the only place
that turns the branches into HTTP statuses.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar


@dataclass(frozen=True)
class Fault:
    """One thing wrong with an input: a JSON pointer into it, a stable code, a sentence."""

    pointer: str
    code: str
    detail: str


class DomainError(Exception):
    """The request was refused."""

    code: ClassVar[str] = "refused"

    def __init__(self, detail: str, faults: Sequence[Fault] = (), **facts: Any) -> None:
        super().__init__(detail)
        self.detail = detail
        self.faults = tuple(faults)
        self.facts = facts

    @property
    def title(self) -> str:
        """The class's first docstring line."""
        return (type(self).__doc__ or "").strip().splitlines()[0]


class MalformedError(DomainError):
    """The request cannot be understood."""

    code = "malformed"


class InvalidNameError(MalformedError):
    """A name does not follow the naming rules."""

    code = "invalid_name"


class NoCanonicalFormError(MalformedError):
    """A value has no canonical JSON form."""

    code = "no_canonical_form"


class InvalidRangeError(MalformedError):
    """The version range cannot be understood."""

    code = "invalid_range"


class InvalidMomentError(MalformedError):
    """`as_of` names no moment that has passed."""

    code = "invalid_moment"


class InvalidError(DomainError):
    """The request is well-formed but not valid."""

    code = "invalid"


class InvalidContentError(InvalidError):
    """The prompt's content is not valid."""

    code = "invalid_content"


class InvalidVariablesError(InvalidError):
    """The variables do not fit what the prompt declares."""

    code = "invalid_variables"


class UnsupportedFormatError(InvalidError):
    """Templates of this format are not rendered here."""

    code = "unsupported_format"


class InvalidScopeError(InvalidError):
    """The scope or role of a grant or token makes no sense."""

    code = "invalid_scope"


class InvalidWebhookError(InvalidError):
    """The webhook's URL or filters are not valid."""

    code = "invalid_webhook"


class TooLargeError(DomainError):
    """A named limit was exceeded."""

    code = "too_large"


class RenderLimitError(TooLargeError):
    """Rendering exceeded its work or output limit."""

    code = "render_limit"


class UnauthenticatedError(DomainError):
    """The token is missing, unknown, expired or revoked."""

    code = "unauthenticated"


class InvalidCredentialsError(UnauthenticatedError):
    """Login name, password or code are not right."""

    code = "invalid_credentials"


class SecondFactorRequiredError(UnauthenticatedError):
    """The password is right, and a second factor is needed too."""

    code = "second_factor_required"


class SessionOverError(UnauthenticatedError):
    """The session is over."""

    code = "session_over"


class SignInLockedError(DomainError):
    """Too many tries to sign in failed."""

    code = "sign_in_locked"


class ForbiddenError(DomainError):
    """The principal may see this but not do that to it."""

    code = "forbidden"


class SecondPersonNeededError(ForbiddenError):
    """One person alone may not do this here."""

    code = "second_person_needed"


class SecondFactorMissingError(ForbiddenError):
    """The session needs a second factor before it may do anything."""

    code = "second_factor_missing"


class NotFoundError(DomainError):
    """There is no such thing here, or you may not know of it."""

    code = "not_found"


class VersionNotFoundError(NotFoundError):
    """The prompt has no such version."""

    code = "version_not_found"


class BranchNotFoundError(NotFoundError):
    """The prompt has no such branch."""

    code = "branch_not_found"


class LabelNotSetError(NotFoundError):
    """The label points at no version of this prompt."""

    code = "label_not_set"


class ErasedError(DomainError):
    """The content was erased; its history remains."""

    code = "erased"


class ConflictError(DomainError):
    """The state of the registry does not allow this."""

    code = "conflict"


class NameTakenError(ConflictError):
    """The name is already in use."""

    code = "name_taken"


class BranchExistsError(ConflictError):
    """The prompt has a branch of this name."""

    code = "branch_exists"


class MergeConflictError(ConflictError):
    """Both sides changed the same, differently."""

    code = "merge_conflict"


class CompositionError(ConflictError):
    """The prompt cannot be composed of what it names."""

    code = "composition_failed"


class PartialNotFoundError(CompositionError):
    """A partial or guardrail names what is not there."""

    code = "partial_not_found"


class PartialCycleError(CompositionError):
    """Prompts would be composed of themselves."""

    code = "partial_cycle"


class PartialMismatchError(CompositionError):
    """A partial is of another kind than the place where it stands."""

    code = "partial_mismatch"


class CompositionLimitError(CompositionError):
    """A composition is too deep, too large or of too many prompts."""

    code = "composition_limit"


class LockfileMismatchError(CompositionError):
    """The lockfile does not fit the prompt, or what it names."""

    code = "lockfile_mismatch"


class InUseError(ConflictError):
    """Other prompts are composed of this one."""

    code = "in_use"


class TooManyError(ConflictError):
    """A named limit on how many there may be is reached."""

    code = "too_many"


class StaleVersionError(ConflictError):
    """Somebody committed a version in the meantime."""

    code = "stale_version"


class ArchivedError(ConflictError):
    """The prompt is archived."""

    code = "prompt_archived"


class DraftError(ConflictError):
    """The prompt is a draft."""

    code = "prompt_draft"


class NoEarlierTargetError(ConflictError):
    """The label has no earlier target to roll back to."""

    code = "no_earlier_target"


class NeverLiveError(ConflictError):
    """The version never was the label's target."""

    code = "never_live"


class RulesNotMetError(ConflictError):
    """The environment's rules do not let its label move."""

    code = "rules_not_met"


class ChangeClosedError(ConflictError):
    """The change request is in another state than this needs."""

    code = "change_closed"


class AccessRequestClosedError(ConflictError):
    """The access request is in another state than this needs."""

    code = "access_request_closed"


class LastAdminError(ConflictError):
    """Nobody would be left to administer the registry."""

    code = "last_admin"


class InactivePrincipalError(ConflictError):
    """The principal is deactivated."""

    code = "principal_inactive"


class PreconditionFailedError(DomainError):
    """`If-Match` does not match the current state."""

    code = "precondition_failed"
