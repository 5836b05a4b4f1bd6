"""A prompt: its numbered versions, the labels that point at them, its description and tags.

Knows nothing of actors or permissions; refuses only what its own history does not allow.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any
from uuid import UUID

from eventsourcing.domain import Aggregate, event

from domain.commitment import ContentRef
from domain.errors import (
    BranchExistsError,
    TooManyError,
)
from domain.interface import Change
from domain.label import Act, Label, LabelMove
from domain.prompt_events import PromptEvents
from domain.prompt_state import Deprecation, PromptState
from domain.rollout import Rollout
from domain.semver import FIRST, Semver
from domain.version import MAIN_BRANCH, Version

OWNERS_MAX = 16
BRANCHES_MAX = 256


class Prompt(PromptState, PromptEvents, Aggregate):
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
        draft: bool

        @staticmethod
        def upcast_v1_v2(state: dict[str, Any]) -> None:
            """Nothing was forked then, nor a draft."""
            state["origin"] = None
            state["draft"] = False

    def __init__(
        self,
        project: str,
        name: str,
        description: ContentRef | None,
        tags: list[str],
        origin: dict[str, Any] | None,
        draft: bool,
    ) -> None:
        self.project = project
        self.name = name
        self.description = description
        self.tags = tuple(tags)
        self.owners: tuple[str, ...] = ()
        self.archived = False
        self.draft = draft
        self.deprecation: Deprecation | None = None
        self.former: tuple[str, ...] = ()
        self.origin = origin
        self.versions: list[Version] = []
        self.heads: dict[str, int] = {}
        self.labels: dict[str, Label] = {}
        self.rollouts: dict[str, Rollout] = {}

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
        *,
        draft: bool = False,
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
            draft=draft,
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
        self,
        label: str,
        number: int,
        act: Act,
        reason: ContentRef | None,
        at: datetime,
        expires_at: datetime | None = None,
        change_id: str | None = None,
        *,
        forced: bool = False,
        signature: dict[str, str] | None = None,
    ) -> bool:
        """Point a label at a version, until it expires; False where it does so already, unsplit."""
        self.check_not_archived()
        self.version_numbered(number)
        state = self.labels.get(label)
        current = state.target if state else None
        as_it_is = state is not None and current == number and state.expires_at == expires_at
        if as_it_is and label not in self.rollouts:
            return False
        self.trigger_event(
            self.LabelMoved,
            timestamp=at,
            label=label,
            from_=current,
            to=number,
            act=act,
            reason=reason,
            expires_at=expires_at.isoformat() if expires_at else None,
            change_id=change_id,
            forced=forced,
            signature=signature,
        )
        return True

    def expire_label(self, label: str, at: datetime) -> bool:
        """Let a label point nowhere whose time is over; False for any other."""
        state = self.labels.get(label)
        if state is None or state.target is None or not state.expired(at):
            return False
        self.trigger_event(self.LabelExpired, timestamp=at, label=label, from_=state.target)
        return True

    def remove_label(
        self,
        label: str,
        reason: ContentRef | None,
        at: datetime,
        change_id: str | None = None,
        signature: dict[str, str] | None = None,
    ) -> bool:
        """Let a label point nowhere; False where it already does."""
        self.check_not_archived()
        state = self.labels.get(label)
        if state is None or state.target is None:
            return False
        self.trigger_event(
            self.LabelRemoved, timestamp=at, label=label, from_=state.target, reason=reason,
            change_id=change_id, signature=signature,
        )  # fmt: skip
        return True

    def set_rollout(self, label: str, at: datetime, fields: dict[str, Any]) -> None:
        """Let who asks under a label get one of several versions."""
        self.check_not_archived()
        self.trigger_event(self.RolloutSet, timestamp=at, label=label, **fields)

    def pause_rollout(self, label: str, cause: str, at: datetime) -> None:
        """Take no steps of a ramp any more until it is set anew."""
        self.trigger_event(self.RolloutPaused, timestamp=at, label=label, cause=cause)

    def stop_rollout(self, label: str, reason: ContentRef | None, at: datetime) -> bool:
        """Let everybody get the label's own target; False where they do."""
        if label not in self.rollouts:
            return False
        self.trigger_event(self.RolloutStopped, timestamp=at, label=label, reason=reason)
        return True

    def describe(self, changes: Mapping[str, dict[str, Any]], at: datetime) -> None:
        """Change description, tags or owners: field → {"from", "to"}."""
        self.check_not_archived()
        self.trigger_event(self.Described, timestamp=at, changes=dict(changes))

    def move(self, to: str, reason: ContentRef | None, at: datetime) -> None:
        """Go by another name from now on."""
        self.check_not_archived()
        self.trigger_event(
            self.Moved,
            timestamp=at,
            from_=self.name,
            to=to,
            labels=self.labels_set,
            reason=reason,
        )

    def activate(self, at: datetime) -> bool:
        """Be neither draft nor deprecated; False where it is neither."""
        self.check_not_archived()
        if not self.draft and self.deprecation is None:
            return False
        self.trigger_event(self.Activated, timestamp=at)
        return True

    def deprecate(
        self,
        successor: str | None,
        sunset_at: datetime | None,
        reason: ContentRef | None,
        at: datetime,
    ) -> bool:
        """Tell consumers to go elsewhere; False where they are told exactly this already."""
        self.check_not_archived()
        known = self.deprecation
        if known is not None and (known.successor, known.sunset_at) == (successor, sunset_at):
            return False
        self.trigger_event(
            self.Deprecated,
            timestamp=at,
            successor=successor,
            sunset_at=sunset_at.isoformat() if sunset_at else None,
            reason=reason,
        )
        return True

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

    # Facts

    @event(PromptEvents.VersionCommitted)
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

    @event(PromptEvents.BranchCreated)
    def _apply_branch_created(self, branch: str, from_: int) -> None:
        self.heads[branch] = from_

    @event(PromptEvents.BranchDeleted)
    def _apply_branch_deleted(self, branch: str) -> None:
        del self.heads[branch]

    @event(PromptEvents.LabelMoved)
    def _apply_label_moved(
        self,
        label: str,
        from_: int | None,
        to: int,
        act: Act,
        reason: ContentRef | None,
        expires_at: str | None,
        change_id: str | None,
        timestamp: datetime,
        originator_version: int,
    ) -> None:
        until = datetime.fromisoformat(expires_at) if expires_at else None
        self.rollouts.pop(label, None)
        move = LabelMove(from_, to, act, reason, timestamp, originator_version, until, change_id)
        self.labels[label] = self.labels.get(label, Label(None, (), ())).moved(move)

    @event(PromptEvents.LabelRemoved)
    def _apply_label_removed(
        self,
        label: str,
        from_: int,
        reason: ContentRef | None,
        change_id: str | None,
        timestamp: datetime,
        originator_version: int,
    ) -> None:
        self.rollouts.pop(label, None)
        move = LabelMove(
            from_, None, "removal", reason, timestamp, originator_version, change_id=change_id
        )
        self.labels[label] = self.labels[label].moved(move)

    @event(PromptEvents.LabelExpired)
    def _apply_label_expired(
        self, label: str, from_: int, timestamp: datetime, originator_version: int
    ) -> None:
        self.rollouts.pop(label, None)
        move = LabelMove(from_, None, "expiry", None, timestamp, originator_version)
        self.labels[label] = self.labels[label].moved(move)

    @event(PromptEvents.RolloutPaused)
    def _apply_rollout_paused(self, label: str, cause: str) -> None:
        self.rollouts[label] = replace(self.rollouts[label], paused=cause)

    @event(PromptEvents.RolloutStopped)
    def _apply_rollout_stopped(self, label: str) -> None:
        del self.rollouts[label]

    @event(PromptEvents.Described)
    def _apply_described(self, changes: dict[str, dict[str, Any]]) -> None:
        if "description" in changes:
            self.description = changes["description"]["to"]
        if "tags" in changes:
            self.tags = tuple(changes["tags"]["to"])
        if "owners" in changes:
            self.owners = tuple(changes["owners"]["to"])

    @event(PromptEvents.Archived)
    def _apply_archived(self) -> None:
        self.archived = True

    @event(PromptEvents.Restored)
    def _apply_restored(self) -> None:
        self.archived = False

    @event(PromptEvents.Moved)
    def _apply_moved(self, from_: str, to: str) -> None:
        self.former = (*(name for name in self.former if name != to), from_)
        self.name = to

    @event(PromptEvents.Activated)
    def _apply_activated(self) -> None:
        self.draft = False
        self.deprecation = None

    @event(PromptEvents.Deprecated)
    def _apply_deprecated(
        self,
        successor: str | None,
        sunset_at: str | None,
        reason: ContentRef | None,
        timestamp: datetime,
    ) -> None:
        until = datetime.fromisoformat(sunset_at) if sunset_at else None
        self.deprecation = Deprecation(timestamp, until, successor, reason)


LABEL_EVENTS = (Prompt.LabelMoved, Prompt.LabelRemoved, Prompt.LabelExpired)
ROLLOUT_EVENTS = (Prompt.RolloutSet, Prompt.RolloutPaused, Prompt.RolloutStopped)
