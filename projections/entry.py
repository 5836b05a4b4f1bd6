"""A prompt in the serving view's memory, and what was gathered to compose it."""

from dataclasses import dataclass, field
from datetime import datetime

from domain.composition import Source
from domain.errors import DomainError
from domain.names import LABEL_LATEST
from domain.prompt import LABEL_EVENTS, ROLLOUT_EVENTS, Prompt
from domain.rollout import Rule
from domain.version import MAIN_BRANCH
from ledger.mapper import RecordedEvent
from projections.answers import Answers, Kind
from projections.history import History

ENTRY_OVERHEAD_BYTES = 4096
EVENT_BYTES = 2048


@dataclass
class Entry:
    """A loaded prompt: its history, canonical contents and digests by version, encoded answers.

    `targeting`: the rules of its rollouts, by their commitments.
    """

    key: tuple[str, str]
    stream: str
    history: History
    contents: dict[int, bytes] = field(default_factory=dict)
    digests: dict[int, str] = field(default_factory=dict)
    answers: dict[tuple[Kind, str | int], Answers] = field(default_factory=dict)
    targeting: dict[str, tuple[Rule, ...]] = field(default_factory=dict)
    size: int = ENTRY_OVERHEAD_BYTES

    def apply(self, recorded: RecordedEvent) -> None:
        """Take in the next event and drop the answers it changes."""
        self.history.apply(recorded)
        self.size += EVENT_BYTES
        event = recorded.event
        if isinstance(event, LABEL_EVENTS + ROLLOUT_EVENTS):
            self.drop(("label", event.label))
            live = [key for key in self.answers if _is_live(key, event.label)]
            for key in live:
                self.drop(key)
        elif isinstance(event, Prompt.VersionCommitted) and event.branch == MAIN_BRANCH:
            self.drop(("label", LABEL_LATEST))
        elif isinstance(event, Prompt.Activated | Prompt.Deprecated):
            for selector in list(self.answers):
                self.drop(selector)

    def drop(self, selector: tuple[Kind, str | int]) -> int:
        """Forget an answer in every language; how many bytes that frees."""
        answers = self.answers.pop(selector, None)
        freed = answers.bytes if answers is not None else 0
        self.size -= freed
        return freed


def _is_live(key: tuple[Kind, str | int], label: str) -> bool:
    return key[0] in ("live", "rollout") and str(key[1]).partition("@")[0] == label


@dataclass
class Gathered:
    """What references mean or why they mean nothing; where that was decided; who was looked at."""

    found: dict[str, Source | DomainError]
    positions: list[int] = field(default_factory=list)
    expiries: list[datetime] = field(default_factory=list)
    seen: list[tuple[Entry, int]] = field(default_factory=list)
