"""What a prompt's state answers and refuses; `domain/prompt.py` decides and folds it."""

from dataclasses import dataclass
from datetime import datetime

from domain.commitment import ContentRef
from domain.errors import (
    ArchivedError,
    BranchNotFoundError,
    DraftError,
    LabelNotSetError,
    NeverLiveError,
    NoEarlierTargetError,
    StaleVersionError,
    VersionNotFoundError,
)
from domain.label import Label
from domain.names import LABEL_LATEST
from domain.partials import Reference
from domain.rollout import Rollout
from domain.semver import Range
from domain.version import MAIN_BRANCH, Version


@dataclass(frozen=True)
class Deprecation:
    """Since when a prompt is not to be used any more, until when it may be, what instead."""

    since: datetime
    sunset_at: datetime | None
    successor: str | None
    reason: ContentRef | None


class PromptState:
    """A prompt as it stands."""

    project: str
    name: str
    former: tuple[str, ...]
    archived: bool
    draft: bool
    deprecation: Deprecation | None
    versions: list[Version]
    heads: dict[str, int]
    labels: dict[str, Label]
    rollouts: dict[str, Rollout]

    @property
    def names(self) -> tuple[str, ...]:
        """The name it goes by, and those that lead to it."""
        return (self.name, *self.former)

    @property
    def status(self) -> str:
        """`draft`, `active`, `deprecated` or `archived`."""
        if self.archived:
            return "archived"
        if self.deprecation is not None:
            return "deprecated"
        return "draft" if self.draft else "active"

    @property
    def latest(self) -> Version:
        """The newest version on `main`."""
        return self.head(MAIN_BRANCH)

    def head(self, branch: str) -> Version:
        """The newest version of a branch, or the one it begins at; BranchNotFoundError."""
        if branch not in self.heads:
            known = ", ".join(sorted(self.heads))
            raise BranchNotFoundError(
                f"{self.project}/{self.name} has no branch {branch!r}; there are: {known}."
            )
        return self.versions[self.heads[branch] - 1]

    def version_numbered(self, number: int) -> Version:
        """The version `number`; VersionNotFoundError names the newest there is."""
        if not 1 <= number <= len(self.versions):
            raise VersionNotFoundError(
                f"{self.project}/{self.name} has versions 1 to {len(self.versions)}, not {number}."
            )
        return self.versions[number - 1]

    def target_of(self, label: str, at: datetime | None = None) -> Version:
        """The version a label points at; LabelNotSetError says which labels are set.

        With `at`, a label that has expired by then points nowhere.
        """
        if label == LABEL_LATEST:
            return self.latest
        return self.versions[self._state_of(label, at).require_target() - 1]

    def ever_meant(self, reference: Reference, number: int) -> bool:
        """Whether a reference to this prompt means, or meant at some time, a version."""
        if reference.number is not None:
            return reference.number == number
        if reference.at == LABEL_LATEST:
            return 0 < number <= len(self.versions) and (
                self.versions[number - 1].branch == MAIN_BRANCH
            )
        label = self.labels.get(reference.at)
        return label is not None and any(move.to_version == number for move in label.history)

    def target_in(self, label: str, wanted: Range, at: datetime | None = None) -> Version:
        """The newest version in a range among those a label pointed to and no rollback left.

        LabelNotSetError; VersionNotFoundError names the versions there are.
        """
        state = self._state_of(label, at)
        live = [self.versions[number - 1] for number in sorted(set(state.returns))]
        number = wanted.newest((version.semver, version.number) for version in live)
        if number is None:
            known = ", ".join(str(v.semver) for v in live if v.semver) or "none with a semver"
            raise VersionNotFoundError(
                f"No version in this range was live under '{label}' of {self.project}/{self.name};"
                f" there are: {known}."
            )
        return self.versions[number - 1]

    @property
    def labels_set(self) -> dict[str, int]:
        """Label → version number, of the labels that point somewhere, by name."""
        return {
            label: state.target
            for label, state in sorted(self.labels.items())
            if state.target is not None
        }

    def _state_of(self, label: str, at: datetime | None) -> Label:
        """A label that points somewhere; LabelNotSetError."""
        state = self.labels.get(label)
        if state is None or state.target is None or (at is not None and state.expired(at)):
            raise self._label_not_set(label)
        return state

    def _label_not_set(self, label: str) -> LabelNotSetError:
        labels = self.labels_set
        known = ", ".join(f"{k} -> {v}" for k, v in labels.items()) or "none"
        if not self.versions:
            return LabelNotSetError(
                f"'{label}' is not set on {self.project}/{self.name}, which had no version then.",
                labels=labels,
                latest_version=None,
            )
        newest = self.latest.number
        return LabelNotSetError(
            f"'{label}' is not set on {self.project}/{self.name}. Labels set: {known};"
            f" newest version: {newest}. Set it: PUT /v1/projects/{self.project}"
            f'/prompts/{self.name}/-/labels/{label} {{"version": {newest}}}.',
            labels=labels,
            latest_version=newest,
        )

    # Refusals

    def check_expected(self, expected_version: int | None, branch: str = MAIN_BRANCH) -> None:
        """StaleVersionError unless the branch's head is the version the committer has seen."""
        head = self.head(branch).number
        if expected_version is not None and expected_version != head:
            raise StaleVersionError(
                f"The newest version of {branch} is {head}, not {expected_version}:"
                " read it, merge your change and commit again.",
                current_version=head,
            )

    def rollback_target(self, label: str, to: int | None, at: datetime | None = None) -> int:
        """Where a rollback of `label` goes.

        Without `to`: the target live before the current one was promoted, skipping what a rollback
        left, so that two rollbacks go two back. NoEarlierTargetError where there is none,
        NeverLiveError where `to` never was the label's target.
        """
        state = self._state_of(label, at)
        if to is not None:
            if all(move.to_version != to for move in state.history):
                raise NeverLiveError(
                    f"Version {to} never was the target of '{label}': promote it instead."
                )
            return to
        if len(state.returns) < 2:
            raise NoEarlierTargetError(
                f"'{label}' has had no target before version {state.target}: promote another one."
            )
        return state.returns[-2]

    def until(self, label: str, at: datetime) -> datetime | None:
        """Until when a label points where it does; None without an end, or where that is over."""
        state = self.labels.get(label)
        expires_at = state.expires_at if state is not None else None
        return expires_at if expires_at is not None and at < expires_at else None

    def check_not_archived(self) -> None:
        """ArchivedError where the prompt takes no changes."""
        if self.archived:
            raise ArchivedError(
                f"{self.project}/{self.name} is archived: restore it before changing it."
            )

    def check_not_draft(self) -> None:
        """DraftError where the prompt is not to be promoted yet."""
        if self.draft:
            raise DraftError(
                f"{self.project}/{self.name} is a draft: set its status to active before promoting"
                " it."
            )
