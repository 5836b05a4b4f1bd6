"""Checks: what a gate, an evaluation or outside CI says of one version, with its evidence.

The checks of a version are a stream of their own, so that posting them keeps no commit waiting.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from uuid import UUID, uuid5

from eventsourcing.domain import Aggregate, event

from domain.commitment import ContentRef
from domain.errors import TooManyError

CHECK_NAMES_MAX = 64
State = Literal["pending", "passed", "failed"]
STATES = ("pending", "passed", "failed")


@dataclass(frozen=True)
class Check:
    """The newest word of one check on a version. `by` is the principal who said it.

    `evidence_digest` is the SHA-256 (hex) of what `evidence_url` leads to.
    """

    name: str
    state: State
    by: str
    at: datetime
    stream_position: int
    summary: ContentRef | None = None
    evidence_url: ContentRef | None = None
    evidence_digest: str | None = None


def checks_id(prompt_id: UUID, number: int) -> UUID:
    """The id of the stream of a version's checks."""
    return uuid5(prompt_id, str(number))


class VersionChecks(Aggregate):
    """The checks of one version, bound to its prompt's id, its number and its commitment."""

    TOPIC = "io.scrinia.checks"

    class Created(Aggregate.Created):
        """A version is about to be checked for the first time."""

        TOPIC = "io.scrinia.checks.opened.v1"
        prompt_id: str
        number: int
        commitment: str

    class Recorded(Aggregate.Event):
        """A check was said to be pending, passed or failed; it replaces what it said before."""

        TOPIC = "io.scrinia.check.recorded.v1"
        name: str
        state: State
        by: str
        summary: ContentRef | None
        evidence_url: ContentRef | None
        evidence_digest: str | None

    def __init__(self, prompt_id: str, number: int, commitment: str) -> None:
        self.prompt_id = prompt_id
        self.number = number
        self.commitment = commitment
        self.checks: dict[str, Check] = {}

    @classmethod
    def open(cls, prompt_id: UUID, number: int, commitment: str, at: datetime) -> "VersionChecks":
        """No checks yet."""
        return cls._create(
            cls.Created,
            id=checks_id(prompt_id, number),
            timestamp=at,
            prompt_id=str(prompt_id),
            number=number,
            commitment=commitment,
        )

    def record(self, check: Check) -> None:
        """Let a check say something else; TooManyError."""
        if check.name not in self.checks and len(self.checks) >= CHECK_NAMES_MAX:
            raise TooManyError(f"A version has at most {CHECK_NAMES_MAX} checks of other names.")
        self.trigger_event(
            self.Recorded,
            timestamp=check.at,
            name=check.name,
            state=check.state,
            by=check.by,
            summary=check.summary,
            evidence_url=check.evidence_url,
            evidence_digest=check.evidence_digest,
        )

    @event(Recorded)
    def _apply_recorded(
        self,
        name: str,
        state: State,
        by: str,
        summary: ContentRef | None,
        evidence_url: ContentRef | None,
        evidence_digest: str | None,
        timestamp: datetime,
        originator_version: int,
    ) -> None:
        self.checks[name] = Check(
            name, state, by, timestamp, originator_version, summary, evidence_url, evidence_digest
        )
