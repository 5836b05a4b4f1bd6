"""Projects in memory: their guardrails, which are composed into what prompts answer."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from uuid import UUID

from domain.composition import Guardrail, ordered
from domain.names import project_id
from domain.project import Project
from ledger.mapper import RecordedEvent, SigningMapper
from ledger.recorder import LedgerRecorder
from ledger.trust import TrustedKeys, check_authentic


@dataclass
class KnownProject:
    """A project, and where a guardrail of each folder (None: of all of it) changed last."""

    project: Project | None = None
    changed: dict[str | None, int] = field(default_factory=dict)

    def take(self, recorded: RecordedEvent) -> None:
        """Fold the next event of the project's stream."""
        event = recorded.event
        if isinstance(event, Project.GuardrailSet):
            self.changed[event.folder] = recorded.position
        if self.project is not None and isinstance(
            event, Project.GuardrailSet | Project.GuardrailRemoved
        ):
            before = self.project.guardrails.get(event.guardrail)
            if before is not None:
                self.changed[before.folder] = recorded.position
        self.project = event.mutate(self.project)

    def logs_reads(self, label: str) -> bool:
        """Whether reads by a label are put on record."""
        return self.project is not None and self.project.rules_of(label).access_log

    def authors_approve(self, label: str) -> bool:
        """Whether who wrote or proposed something may approve it for an environment too."""
        return self.project is not None and self.project.rules_of(label).approvals.authors

    def covering(self, prompt_name: str, former: Sequence[str] = ()) -> tuple[list[Guardrail], int]:
        """The guardrails of a prompt, innermost first, and the last position that changed any."""
        if self.project is None:
            return [], 0
        positions = [
            position
            for folder, position in self.changed.items()
            if folder is None or prompt_name.startswith(folder + "/")
        ]
        return ordered(self.project.guardrails.values(), prompt_name, former), max(
            positions, default=0
        )


class ProjectView:
    """All projects by id."""

    def __init__(self) -> None:
        self.known: dict[UUID, KnownProject] = {}

    def load(
        self, recorder: LedgerRecorder, mapper: SigningMapper, until: int, keys: TrustedKeys
    ) -> None:
        """Fold all project events up to a position, checking signatures."""
        for stored in recorder.select_kind("project", until):
            check_authentic(stored, keys)
            self._take(mapper.recorded(stored))

    def apply(self, batch: Sequence[RecordedEvent]) -> None:
        """Follow the ledger."""
        for recorded in batch:
            if recorded.stream.startswith("project/"):
                self._take(recorded)

    def of(self, project: str) -> KnownProject:
        """A project by name; one without anything where there is none."""
        known = self.known.get(project_id(project))
        return known if known is not None else KnownProject()

    def _take(self, recorded: RecordedEvent) -> None:
        self.known.setdefault(recorded.event.originator_id, KnownProject()).take(recorded)
