"""A prompt: its numbered versions, the labels that point at them, its description and tags.

Knows nothing of actors or permissions; refuses only what its own history does not allow.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from eventsourcing.domain import Aggregate, event

from domain.commitment import ContentRef
from domain.errors import (
    ArchivedError,
    LabelNotSetError,
    NeverLiveError,
    NoEarlierTargetError,
    StaleVersionError,
    VersionNotFoundError,
)
from domain.names import LABEL_LATEST

MAIN_BRANCH = "main"
OWNERS_MAX = 16
Act = Literal["set", "promotion", "rollback"]


@dataclass(frozen=True)
class Version:
    """One immutable version. `stream_position` is where in the prompt's stream it was committed."""

    number: int
    content_type: str
    content: ContentRef
    message: ContentRef | None
    committed_at: datetime
    stream_position: int


@dataclass(frozen=True)
class LabelMove:
    """One change of a label: from and to are version numbers, None where it pointed nowhere."""

    from_version: int | None
    to_version: int | None
    act: Act | Literal["removal"]
    reason: ContentRef | None
    moved_at: datetime
    stream_position: int


@dataclass(frozen=True)
class Label:
    """A label now: its target (None: removed), what rollback can return to, and every move."""

    target: int | None
    returns: tuple[int, ...]
    history: tuple[LabelMove, ...]

    def moved(self, move: LabelMove) -> "Label":
        """This label after `move`. A rollback forgets the targets it leaves."""
        target = move.to_version
        returns = self.returns
        if target is None:
            pass
        elif move.act == "rollback" and target in returns:
            last = len(returns) - returns[::-1].index(target)
            returns = returns[:last]
        elif returns[-1:] != (target,):
            returns = (*returns, target)
        return Label(target, returns, (*self.history, move))


class Prompt(Aggregate):
    """A named thing under version control."""

    TOPIC = "io.scrinia.prompt"

    class Created(Aggregate.Created):
        """A prompt came to be, without a version yet."""

        TOPIC = "io.scrinia.prompt.created.v1"
        project: str
        name: str
        description: ContentRef | None
        tags: list[str]

    class VersionCommitted(Aggregate.Event):
        """The next version. `parents` are version numbers."""

        TOPIC = "io.scrinia.version.committed.v1"
        number: int
        branch: str
        parents: list[int]
        content_type: str
        content: ContentRef
        message: ContentRef | None

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
        self, project: str, name: str, description: ContentRef | None, tags: list[str]
    ) -> None:
        self.project = project
        self.name = name
        self.description = description
        self.tags = tuple(tags)
        self.owners: tuple[str, ...] = ()
        self.archived = False
        self.versions: list[Version] = []
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
        )

    # Questions

    @property
    def latest(self) -> Version:
        """The newest version."""
        return self.versions[-1]

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
        return LabelNotSetError(
            f"'{label}' is not set on {self.project}/{self.name}. Labels set: {known};"
            f" newest version: {len(self.versions)}. Set it: PUT /v1/projects/{self.project}"
            f'/prompts/{self.name}/-/labels/{label} {{"version": {len(self.versions)}}}.',
            labels=labels,
            latest_version=len(self.versions),
        )

    # Decisions: each triggers one event or, where nothing would change, none

    def commit(
        self,
        content_type: str,
        content: ContentRef,
        message: ContentRef | None,
        at: datetime,
    ) -> None:
        """Add the next version on `main`."""
        self.check_not_archived()
        number = len(self.versions) + 1
        self.trigger_event(
            self.VersionCommitted,
            timestamp=at,
            number=number,
            branch=MAIN_BRANCH,
            parents=[number - 1] if number > 1 else [],
            content_type=content_type,
            content=content,
            message=message,
        )

    def check_expected(self, expected_version: int | None) -> None:
        """StaleVersionError unless the newest version is the one the committer has seen."""
        if expected_version is not None and expected_version != len(self.versions):
            raise StaleVersionError(
                f"The newest version is {len(self.versions)}, not {expected_version}:"
                " read it, merge your change and commit again.",
                current_version=len(self.versions),
            )

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
        content_type: str,
        content: ContentRef,
        message: ContentRef | None,
        timestamp: datetime,
        originator_version: int,
    ) -> None:
        self.versions.append(
            Version(number, content_type, content, message, timestamp, originator_version)
        )

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
