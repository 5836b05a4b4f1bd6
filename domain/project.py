"""Projects: namespaces with environments and guardrails. A project is never renamed."""

from datetime import datetime
from typing import Any

from eventsourcing.domain import Aggregate, event

from domain.commitment import ContentRef
from domain.composition import Guardrail
from domain.environment import ENVIRONMENTS_MAX, OPEN, Rules, read_rules
from domain.errors import ConflictError, NotFoundError, TooManyError
from domain.names import project_id

OWNED_FOLDERS_MAX = 256
FOLDER_OWNERS_MAX = 16
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

    class EnvironmentSet(Aggregate.Event):
        """An environment has these rules, and the project these environments in this order."""

        TOPIC = "io.scrinia.environment.set.v1"
        environment: str
        order: list[str]
        rules: dict[str, Any]
        reason: ContentRef | None

    class EnvironmentRemoved(Aggregate.Event):
        """An environment is a label like any other."""

        TOPIC = "io.scrinia.environment.removed.v1"
        environment: str
        reason: ContentRef | None

    class OwnersSet(Aggregate.Event):
        """A folder (None: the project) is owned by these principals, by nobody where empty."""

        TOPIC = "io.scrinia.owners.set.v1"
        folder: str | None
        owners: list[str]
        reason: ContentRef | None

    def __init__(self, name: str, description: ContentRef | None, environments: list[str]) -> None:
        self.name = name
        self.description = description
        self.environments = tuple(environments)
        self.guardrails: dict[str, Guardrail] = {}
        self.rules: dict[str, Rules] = {}
        self.rules_changed: dict[str, int] = {}
        self.owners: dict[str | None, tuple[str, ...]] = {}

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

    def rules_of(self, environment: str) -> Rules:
        """An environment's rules."""
        return self.rules.get(environment, OPEN)

    def owners_of(self, prompt_name: str) -> frozenset[str]:
        """Who owns the innermost owned folder that a prompt lies in."""
        folders: list[str | None] = [None]
        folders += [prompt_name[:at] for at, char in enumerate(prompt_name) if char == "/"]
        owned = next((folder for folder in reversed(folders) if self.owners.get(folder)), None)
        return frozenset(self.owners.get(owned, ()))

    def set_environment(
        self, environment: str, order: list[str], rules: Rules, reason: ContentRef | None,
        at: datetime,
    ) -> bool:  # fmt: skip
        """Have an environment with these rules; False where it is so already. TooManyError."""
        if len(order) > ENVIRONMENTS_MAX:
            raise TooManyError(f"A project has at most {ENVIRONMENTS_MAX} environments.")
        if tuple(order) == self.environments and self.rules_of(environment) == rules:
            return False
        self.trigger_event(
            self.EnvironmentSet, timestamp=at, environment=environment, order=order,
            rules=rules.as_data(), reason=reason,
        )  # fmt: skip
        return True

    def remove_environment(self, environment: str, reason: ContentRef | None, at: datetime) -> None:
        """Let it be a label like any other; ConflictError where another's rules name it."""
        if environment not in self.environments:
            raise NotFoundError(f"{self.name} has no environment {environment!r}.")
        for other, rules in self.rules.items():
            if rules.from_environment == environment and other in self.environments:
                raise ConflictError(f"{other} takes versions from {environment}: change it first.")
        self.trigger_event(
            self.EnvironmentRemoved, timestamp=at, environment=environment, reason=reason
        )

    def set_owners(
        self, folder: str | None, owners: list[str], reason: ContentRef | None, at: datetime
    ) -> bool:
        """Let a folder be owned by these; False where it is so already. TooManyError."""
        if list(self.owners.get(folder, ())) == owners:
            return False
        if folder not in self.owners and len(self.owners) >= OWNED_FOLDERS_MAX:
            raise TooManyError(f"A project has at most {OWNED_FOLDERS_MAX} owned folders.")
        self.trigger_event(
            self.OwnersSet, timestamp=at, folder=folder, owners=owners, reason=reason
        )
        return True

    @event(EnvironmentSet)
    def _apply_environment_set(
        self, environment: str, order: list[str], rules: dict[str, Any], originator_version: int
    ) -> None:
        self.environments = tuple(order)
        self.rules[environment] = read_rules(rules, [])
        self.rules_changed[environment] = originator_version

    @event(EnvironmentRemoved)
    def _apply_environment_removed(self, environment: str) -> None:
        self.environments = tuple(one for one in self.environments if one != environment)
        self.rules.pop(environment, None)
        self.rules_changed.pop(environment, None)

    @event(OwnersSet)
    def _apply_owners_set(self, folder: str | None, owners: list[str]) -> None:
        if owners:
            self.owners[folder] = tuple(owners)
        else:
            self.owners.pop(folder, None)

    @event(GuardrailSet)
    def _apply_guardrail_set(
        self, guardrail: str, folder: str | None, reference: str, position: Any, role: str
    ) -> None:
        self.guardrails[guardrail] = Guardrail(guardrail, folder, reference, position, role)

    @event(GuardrailRemoved)
    def _apply_guardrail_removed(self, guardrail: str) -> None:
        del self.guardrails[guardrail]
