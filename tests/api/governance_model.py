"""Rules, approvals and who wrote what to the state machine: imports nothing from the domain."""

from dataclasses import dataclass, field

from tests.api.model import ModelLabel


@dataclass
class Governed:
    """A prompt of the model: who wrote what, and where its labels point."""

    names: list[str]
    authors: list[set[str]] = field(default_factory=list)
    labels: dict[str, ModelLabel] = field(default_factory=dict)
    checked: set[int] = field(default_factory=set)
    archived: bool = False
    branch: int | None = None
    consumed: bool = False  # by one that can work with version 1 only
    split: dict[int, int] | None = None  # production's, as long as it points where it did then
    split_under: int | None = None

    def live(self, label: str) -> int | None:
        state = self.labels.get(label)
        return state.target if state is not None else None


@dataclass
class Proposal:
    """A change request of the model."""

    path: str
    items: dict[str, int | None]
    editors: set[str]
    approvals: set[str] = field(default_factory=set)
    status: str = "open"
    unreviewed: bool = False


@dataclass
class ModelRules:
    """What production needs; `cat` owns everything."""

    count: int = 0
    staged: bool = False
    check: bool = False
    owners: bool = False
    authors: bool = False
    guarded: bool = False

    def missing(
        self, prompt: Governed, version: int | None, proposal: Proposal | None, able: set[str]
    ) -> set[str]:
        """What keeps production from pointing at a version; `able` are those who may anything."""
        missing = set()
        if prompt.consumed and version not in (None, 1):
            missing.add("consumer:app")
        if self.staged and version is not None and prompt.live("staging") != version:
            missing.add("from_environment")
        if self.check and version is not None and version not in prompt.checked:
            missing.add("check:lint")
        wrote = set(proposal.editors) if proposal else set()
        wrote |= prompt.authors[version - 1] if version is not None else set()
        approved = proposal.approvals & able if proposal else set()
        counted = approved if self.authors else approved - wrote
        if len(counted) < self.count:
            missing.add("approvals")
        if self.owners and "cat" not in counted:
            missing.add("owners")
        return missing
