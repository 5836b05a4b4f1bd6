"""A prompt's name in its project: a stream of its own, so that names are unique under one lock."""

from datetime import datetime
from uuid import UUID

from eventsourcing.domain import Aggregate

from domain.names import name_id


class Name(Aggregate):
    """Which prompt a name belongs to. Archiving a prompt keeps its name."""

    TOPIC = "io.scrinia.name"

    class Created(Aggregate.Created):
        """The name was taken by a prompt."""

        TOPIC = "io.scrinia.name.claimed.v1"
        project: str
        name: str
        prompt_id: str

    def __init__(self, project: str, name: str, prompt_id: str) -> None:
        self.project = project
        self.name = name
        self.prompt_id = UUID(prompt_id)

    @classmethod
    def claim(cls, project: str, name: str, prompt_id: UUID, at: datetime) -> "Name":
        """Take a name that nobody ever took."""
        return cls._create(
            cls.Created,
            id=name_id(project, name),
            timestamp=at,
            project=project,
            name=name,
            prompt_id=str(prompt_id),
        )
