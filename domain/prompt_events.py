"""Everything that can happen to a prompt after its creation, as events."""

from typing import Any

from eventsourcing.domain import Aggregate

from domain.commitment import ContentRef
from domain.label import Act
from domain.rollout import Rollout


class PromptEvents:
    """The events that `domain/prompt.py` triggers and folds."""

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
        """A label points at another version than before, until `expires_at` (None: until moved).

        `change_id`: the change request whose approvals let it. `forced`: registered consumers that
        it breaks were not asked. `signature`: the promoter's own, over the intent.
        """

        TOPIC = "io.scrinia.label.moved.v3"
        class_version = 3
        label: str
        from_: int | None
        to: int
        act: Act
        reason: ContentRef | None
        expires_at: str | None
        change_id: str | None
        forced: bool
        signature: dict[str, str] | None

        @staticmethod
        def upcast_v1_v2(state: dict[str, Any]) -> None:
            """Labels did not expire then."""
            state["expires_at"] = None

        @staticmethod
        def upcast_v2_v3(state: dict[str, Any]) -> None:
            """There were neither change requests nor consumers nor keys of actors."""
            state["change_id"] = None
            state["forced"] = False
            state["signature"] = None

    class LabelRemoved(Aggregate.Event):
        """A label points nowhere any more; `change_id` and `signature` as of `LabelMoved`."""

        TOPIC = "io.scrinia.label.removed.v2"
        class_version = 2
        label: str
        from_: int
        reason: ContentRef | None
        change_id: str | None
        signature: dict[str, str] | None

        @staticmethod
        def upcast_v1_v2(state: dict[str, Any]) -> None:
            """There were neither change requests nor keys of actors."""
            state["change_id"] = None
            state["signature"] = None

    class LabelExpired(Aggregate.Event):
        """A label points nowhere any more, since its time was over."""

        TOPIC = "io.scrinia.label.expired.v1"
        label: str
        from_: int

    class RolloutSet(Aggregate.Event):
        """Who asks under a label gets one of several versions from now on.

        `weights` is what each version gets of 1000; `ranges` which buckets (first, one past the
        last, version). `targeting`: rules that are asked before, as content, `targeted` the
        versions in them. `ramp`: what follows by itself, as `by` asked for with `credential`.
        """

        TOPIC = "io.scrinia.rollout.set.v1"
        label: str
        weights: dict[str, int]
        ranges: list[list[int]]
        targeting: ContentRef | None
        targeted: list[int]
        shadow: int | None
        safe: int | None
        ramp: list[dict[str, Any]]
        by: str
        credential: str
        change_id: str | None
        forced: bool
        reason: ContentRef | None

        def apply(self, aggregate: Any) -> None:
            """Fold it into a prompt."""
            aggregate.rollouts[self.label] = Rollout.of(self)

    class RolloutPaused(Aggregate.Event):
        """A step of the ramp was due and not to be taken: those to come wait."""

        TOPIC = "io.scrinia.rollout.paused.v1"
        label: str
        cause: str

    class RolloutStopped(Aggregate.Event):
        """Everybody gets the label's own target again, or the safe version that follows."""

        TOPIC = "io.scrinia.rollout.stopped.v1"
        label: str
        reason: ContentRef | None

    class Described(Aggregate.Event):
        """Description, tags or owners changed: field → {"from", "to"}."""

        TOPIC = "io.scrinia.prompt.described.v1"
        changes: dict[str, dict[str, Any]]

    class Archived(Aggregate.Event):
        """The prompt takes no more changes; what it serves, it goes on serving."""

        TOPIC = "io.scrinia.prompt.archived.v1"
        reason: ContentRef | None

    class Moved(Aggregate.Event):
        """The prompt goes by another name; `labels` are those set, with their targets."""

        TOPIC = "io.scrinia.prompt.moved.v1"
        from_: str
        to: str
        labels: dict[str, int]
        reason: ContentRef | None

    class Activated(Aggregate.Event):
        """A draft is ready to be promoted, or a deprecated prompt is to be used again."""

        TOPIC = "io.scrinia.prompt.activated.v1"

    class Deprecated(Aggregate.Event):
        """The prompt is not to be used any more, but `successor`; it goes on until `sunset_at`."""

        TOPIC = "io.scrinia.prompt.deprecated.v1"
        successor: str | None
        sunset_at: str | None
        reason: ContentRef | None

    class Restored(Aggregate.Event):
        """The prompt takes changes again."""

        TOPIC = "io.scrinia.prompt.restored.v1"
        reason: ContentRef | None
