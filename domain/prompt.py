"""A prompt: its numbered versions, the labels that point at them, its description and tags.

Knows nothing of actors or permissions; refuses only what its own history does not allow.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from eventsourcing.domain import Aggregate, event

from domain.commitment import ContentRef
from domain.errors import (
    ArchivedError,
    BranchExistsError,
    BranchNotFoundError,
    LabelNotSetError,
    NeverLiveError,
    NoEarlierTargetError,
    StaleVersionError,
    TooManyError,
    VersionNotFoundError,
)
from domain.interface import Change
from domain.label import Act, Label, LabelMove
from domain.names import LABEL_LATEST
from domain.semver import FIRST, Range, Semver
from domain.version import MAIN_BRANCH, Version

OWNERS_MAX = 16
BRANCHES_MAX = 256


class Prompt(Aggregate):
    """A named thing under version control."""

    TOPIC = "io.scrinia.prompt"

    class Created(Aggregate.Created):
        """A prompt came to be, without a version yet; `origin` is what it was forked from."""

        TOPIC = "io.scrinia.prompt.created.v2"
        class_version = 2
        project: str
        name: str
        description: ContentRef | None
        tags: list[str]
        origin: dict[str, Any] | None

        @staticmethod
        def upcast_v1_v2(state: dict[str, Any]) -> None:
            """Nothing was forked then."""
            state["origin"] = None

    class VersionCommitted(Aggregate.Event):
        """The next version. `parents` are version numbers.

        `semver` is None on other branches than `main`; `change` says how it follows from the one
        before: a level and reasons (`domain/interface.py`). `partials` are the references in it,
        `locales` its translations, each with whether it is older than the base.
        """

        TOPIC = "io.scrinia.version.committed.v2"
        class_version = 2
        number: int
        branch: str
        parents: list[int]
        content_type: str
        content: ContentRef
        message: ContentRef | None
        semver: str | None
        change: dict[str, Any] | None
        partials: list[str]
        locales: dict[str, bool]

        @staticmethod
        def upcast_v1_v2(state: dict[str, Any]) -> None:
            """From before there were semantic versions."""
            state["semver"] = f"0.0.{state['number']}"
            state["change"] = None
            state["partials"] = []
            state["locales"] = {}

    class BranchCreated(Aggregate.Event):
        """A line of versions of its own begins at a version."""

        TOPIC = "io.scrinia.branch.created.v1"
        branch: str
        from_: int

    class BranchDeleted(Aggregate.Event):
        """A branch takes no more versions; those it has stay."""

        TOPIC = "io.scrinia.branch.deleted.v1"
        branch: str
        head: int

    class LabelMoved(Aggregate.Event):
        """A label points at another version than before."""

        TOPIC = "io.scrinia.label.moved.v1"
        label: str
        from_: int | None
        to: int
        act: Act
        reason: ContentRef | None

    class LabelRemoved(Aggregate.Event):
        """A label points nowhere any more."""

        TOPIC = "io.scrinia.label.removed.v1"
        label: str
        from_: int
        reason: ContentRef | None

    class Described(Aggregate.Event):
        """Description, tags or owners changed: field → {"from", "to"}."""

        TOPIC = "io.scrinia.prompt.described.v1"
        changes: dict[str, dict[str, Any]]

    class Archived(Aggregate.Event):
        """The prompt takes no more changes; what it serves, it goes on serving."""

        TOPIC = "io.scrinia.prompt.archived.v1"
        reason: ContentRef | None

    class Restored(Aggregate.Event):
        """The prompt takes changes again."""

        TOPIC = "io.scrinia.prompt.restored.v1"
        reason: ContentRef | None

    def __init__(
        self,
        project: str,
        name: str,
        description: ContentRef | None,
        tags: list[str],
        origin: dict[str, Any] | None,
    ) -> None:
        self.project = project
        self.name = name
        self.description = description
        self.tags = tuple(tags)
        self.owners: tuple[str, ...] = ()
        self.archived = False
        self.origin = origin
        self.versions: list[Version] = []
        self.heads: dict[str, int] = {}
        self.labels: dict[str, Label] = {}

    @classmethod
    def create(
        cls,
        prompt_id: UUID,
        project: str,
        name: str,
        description: ContentRef | None,
        tags: list[str],
        at: datetime,
        origin: dict[str, Any] | None = None,
    ) -> "Prompt":
        """A new prompt; commit version 1 in the same unit."""
        return cls._create(
            cls.Created,
            id=prompt_id,
            timestamp=at,
            project=project,
            name=name,
            description=description,
            tags=tags,
            origin=origin,
        )

    # Questions

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

    def target_of(self, label: str) -> Version:
        """The version a label points at; LabelNotSetError says which labels are set."""
        if label == LABEL_LATEST:
            return self.latest
        state = self.labels.get(label)
        if state is None or state.target is None:
            raise self._label_not_set(label)
        return self.versions[state.target - 1]

    def target_in(self, label: str, wanted: Range) -> Version:
        """The newest version in a range among those a label pointed to and no rollback left.

        LabelNotSetError; VersionNotFoundError names the versions there are.
        """
        state = self.labels.get(label)
        if state is None or state.target is None:
            raise self._label_not_set(label)
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

    # Decisions: each triggers one event or, where nothing would change, none

    def commit(
        self,
        content_type: str,
        content: ContentRef,
        message: ContentRef | None,
        at: datetime,
        *,
        change: Change | None = None,
        branch: str = MAIN_BRANCH,
        merged: int | None = None,
        partials: tuple[str, ...] = (),
        locales: Mapping[str, bool] | None = None,
    ) -> None:
        """Add the next version to a branch, on top of its head and of the version `merged`.

        `change` is what it changes of the head of `main`; the first version changes nothing.
        """
        self.check_not_archived()
        parents = [self.head(branch).number] if self.versions else []
        semver = self._semver_after(change) if branch == MAIN_BRANCH else None
        self.trigger_event(
            self.VersionCommitted,
            timestamp=at,
            number=len(self.versions) + 1,
            branch=branch,
            parents=[*parents, *([merged] if merged is not None else [])],
            content_type=content_type,
            content=content,
            message=message,
            semver=str(semver) if semver else None,
            change={"level": change.level, "reasons": list(change.reasons)}
            if semver and change
            else None,
            partials=list(partials),
            locales=dict(locales or {}),
        )

    def _semver_after(self, change: Change | None) -> Semver:
        before = self.latest.semver if self.versions else None
        if before is None or change is None:
            return FIRST
        return before.after(change.level)

    def check_expected(self, expected_version: int | None, branch: str = MAIN_BRANCH) -> None:
        """StaleVersionError unless the branch's head is the version the committer has seen."""
        head = self.head(branch).number
        if expected_version is not None and expected_version != head:
            raise StaleVersionError(
                f"The newest version of {branch} is {head}, not {expected_version}:"
                " read it, merge your change and commit again.",
                current_version=head,
            )

    def create_branch(self, branch: str, number: int, at: datetime) -> bool:
        """Begin a branch at a version; False where it begins there and has nothing else yet.

        BranchExistsError where the name is in use, TooManyError past BRANCHES_MAX.
        """
        self.check_not_archived()
        self.version_numbered(number)
        if branch in self.heads:
            if self.heads[branch] == number and self.versions[number - 1].branch != branch:
                return False
            raise BranchExistsError(
                f"{self.project}/{self.name} has a branch {branch!r}, at version"
                f" {self.heads[branch]}: commit to it, or delete it first."
            )
        if len(self.heads) >= BRANCHES_MAX:
            raise TooManyError(f"A prompt has at most {BRANCHES_MAX} branches: delete merged ones.")
        self.trigger_event(self.BranchCreated, timestamp=at, branch=branch, from_=number)
        return True

    def delete_branch(self, branch: str, at: datetime) -> None:
        """Take no more versions on a branch; BranchNotFoundError."""
        self.check_not_archived()
        head = self.head(branch).number
        self.trigger_event(self.BranchDeleted, timestamp=at, branch=branch, head=head)

    def set_label(
        self, label: str, number: int, act: Act, reason: ContentRef | None, at: datetime
    ) -> bool:
        """Point a label at a version; False where it already does."""
        self.check_not_archived()
        self.version_numbered(number)
        state = self.labels.get(label)
        current = state.target if state else None
        if current == number:
            return False
        self.trigger_event(
            self.LabelMoved,
            timestamp=at,
            label=label,
            from_=current,
            to=number,
            act=act,
            reason=reason,
        )
        return True

    def remove_label(self, label: str, reason: ContentRef | None, at: datetime) -> bool:
        """Let a label point nowhere; False where it already does."""
        self.check_not_archived()
        state = self.labels.get(label)
        if state is None or state.target is None:
            return False
        self.trigger_event(
            self.LabelRemoved, timestamp=at, label=label, from_=state.target, reason=reason
        )
        return True

    def rollback_target(self, label: str, to: int | None) -> int:
        """Where a rollback of `label` goes.

        Without `to`: the target live before the current one was promoted, skipping what a rollback
        left, so that two rollbacks go two back. NoEarlierTargetError where there is none,
        NeverLiveError where `to` never was the label's target.
        """
        state = self.labels.get(label)
        if state is None or state.target is None:
            raise self._label_not_set(label)
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

    def describe(self, changes: Mapping[str, dict[str, Any]], at: datetime) -> None:
        """Change description, tags or owners: field → {"from", "to"}."""
        self.check_not_archived()
        self.trigger_event(self.Described, timestamp=at, changes=dict(changes))

    def archive(self, reason: ContentRef | None, at: datetime) -> bool:
        """Refuse further changes; False where it already does."""
        if self.archived:
            return False
        self.trigger_event(self.Archived, timestamp=at, reason=reason)
        return True

    def restore(self, reason: ContentRef | None, at: datetime) -> bool:
        """Accept changes again; False where it already does."""
        if not self.archived:
            return False
        self.trigger_event(self.Restored, timestamp=at, reason=reason)
        return True

    def check_not_archived(self) -> None:
        """ArchivedError where the prompt takes no changes."""
        if self.archived:
            raise ArchivedError(
                f"{self.project}/{self.name} is archived: restore it before changing it."
            )

    # Facts

    @event(VersionCommitted)
    def _apply_version_committed(
        self,
        number: int,
        branch: str,
        parents: list[int],
        content_type: str,
        content: ContentRef,
        message: ContentRef | None,
        semver: str | None,
        change: dict[str, Any] | None,
        partials: list[str],
        locales: dict[str, bool],
        timestamp: datetime,
        originator_version: int,
    ) -> None:
        parsed = Semver.parse(semver) if semver is not None else None
        self.heads[branch] = number
        self.versions.append(
            Version(
                number, branch, tuple(parents), parsed, change, tuple(partials), locales,
                content_type, content, message, timestamp, originator_version,
            )
        )  # fmt: skip

    @event(BranchCreated)
    def _apply_branch_created(self, branch: str, from_: int) -> None:
        self.heads[branch] = from_

    @event(BranchDeleted)
    def _apply_branch_deleted(self, branch: str) -> None:
        del self.heads[branch]

    @event(LabelMoved)
    def _apply_label_moved(
        self,
        label: str,
        from_: int | None,
        to: int,
        act: Act,
        reason: ContentRef | None,
        timestamp: datetime,
        originator_version: int,
    ) -> None:
        move = LabelMove(from_, to, act, reason, timestamp, originator_version)
        self.labels[label] = self.labels.get(label, Label(None, (), ())).moved(move)

    @event(LabelRemoved)
    def _apply_label_removed(
        self,
        label: str,
        from_: int,
        reason: ContentRef | None,
        timestamp: datetime,
        originator_version: int,
    ) -> None:
        move = LabelMove(from_, None, "removal", reason, timestamp, originator_version)
        self.labels[label] = self.labels[label].moved(move)

    @event(Described)
    def _apply_described(self, changes: dict[str, dict[str, Any]]) -> None:
        if "description" in changes:
            self.description = changes["description"]["to"]
        if "tags" in changes:
            self.tags = tuple(changes["tags"]["to"])
        if "owners" in changes:
            self.owners = tuple(changes["owners"]["to"])

    @event(Archived)
    def _apply_archived(self) -> None:
        self.archived = True

    @event(Restored)
    def _apply_restored(self) -> None:
        self.archived = False
