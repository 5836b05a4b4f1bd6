"""Projects: namespaces with environments of their own. A project's name never changes."""

from datetime import datetime

from eventsourcing.domain import Aggregate

from domain.commitment import ContentRef
from domain.names import project_id

ENVIRONMENTS_DEFAULT = ("development", "staging", "production")


class Project(Aggregate):
    """A namespace; its id is derived from its name, so two projects cannot share one."""

    TOPIC = "io.scrinia.project"

    class Created(Aggregate.Created):
        """A project came to be, with its environments in promotion order."""

        TOPIC = "io.scrinia.project.created.v1"
        name: str
        description: ContentRef | None
        environments: list[str]

    def __init__(self, name: str, description: ContentRef | None, environments: list[str]) -> None:
        self.name = name
        self.description = description
        self.environments = tuple(environments)

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
