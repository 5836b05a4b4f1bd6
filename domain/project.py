"""Projects: namespaces with environments and guardrails. A project is never renamed."""

from datetime import datetime
from typing import Any

from eventsourcing.domain import Aggregate, event

from domain.commitment import ContentRef
from domain.composition import Guardrail
from domain.errors import NotFoundError, TooManyError
from domain.names import project_id

ENVIRONMENTS_DEFAULT = ("development", "staging", "production")
GUARDRAILS_MAX = 32


class Project(Aggregate):
    """A namespace; its id is derived from its name, so two projects cannot share one."""

    TOPIC = "io.scrinia.project"

    class Created(Aggregate.Created):
        """A project came to be, with its environments in promotion order."""

        TOPIC = "io.scrinia.project.created.v1"
        name: str
        description: ContentRef | None
        environments: list[str]

    class GuardrailSet(Aggregate.Event):
        """A prompt's text is composed into every prompt of the project, or below a folder."""

        TOPIC = "io.scrinia.guardrail.set.v1"
        guardrail: str
        folder: str | None
        reference: str
        position: str
        role: str

    class GuardrailRemoved(Aggregate.Event):
        """A guardrail is composed into nothing any more."""

        TOPIC = "io.scrinia.guardrail.removed.v1"
        guardrail: str
        reason: ContentRef | None

    def __init__(self, name: str, description: ContentRef | None, environments: list[str]) -> None:
        self.name = name
        self.description = description
        self.environments = tuple(environments)
        self.guardrails: dict[str, Guardrail] = {}

    @classmethod
    def create(cls, name: str, description: ContentRef | None, at: datetime) -> "Project":
        """A new project with the default environments."""
        return cls._create(
            cls.Created,
            id=project_id(name),
            timestamp=at,
            name=name,
            description=description,
            environments=list(ENVIRONMENTS_DEFAULT),
        )

    def set_guardrail(self, guardrail: Guardrail, at: datetime) -> bool:
        """Compose a guardrail in from now on; False where it is so already. TooManyError."""
        if self.guardrails.get(guardrail.name) == guardrail:
            return False
        if guardrail.name not in self.guardrails and len(self.guardrails) >= GUARDRAILS_MAX:
            raise TooManyError(f"A project has at most {GUARDRAILS_MAX} guardrails: remove one.")
        self.trigger_event(
            self.GuardrailSet,
            timestamp=at,
            guardrail=guardrail.name,
            folder=guardrail.folder,
            reference=guardrail.reference,
            position=guardrail.position,
            role=guardrail.role,
        )
        return True

    def remove_guardrail(self, name: str, reason: ContentRef | None, at: datetime) -> None:
        """Compose it into nothing any more; NotFoundError."""
        if name not in self.guardrails:
            raise NotFoundError(f"{self.name} has no guardrail {name!r}.")
        self.trigger_event(self.GuardrailRemoved, timestamp=at, guardrail=name, reason=reason)

    @event(GuardrailSet)
    def _apply_guardrail_set(
        self, guardrail: str, folder: str | None, reference: str, position: Any, role: str
    ) -> None:
        self.guardrails[guardrail] = Guardrail(guardrail, folder, reference, position, role)

    @event(GuardrailRemoved)
    def _apply_guardrail_removed(self, guardrail: str) -> None:
        del self.guardrails[guardrail]
