"""A prompt's name in its project: a stream of its own, so that names are unique under one lock."""

from datetime import datetime
from uuid import UUID

from eventsourcing.domain import Aggregate, event

from domain.names import name_id


class Name(Aggregate):
    """Which prompt a name belongs to. Archiving keeps it, moving leaves a redirect."""

    TOPIC = "io.scrinia.name"

    class Created(Aggregate.Created):
        """The name was taken by a prompt."""

        TOPIC = "io.scrinia.name.claimed.v1"
        project: str
        name: str
        prompt_id: str

    class Redirected(Aggregate.Event):
        """The prompt goes by another name now; this one goes on leading to it."""

        TOPIC = "io.scrinia.name.redirected.v1"
        to: str

    class Reclaimed(Aggregate.Event):
        """The prompt goes by this name again."""

        TOPIC = "io.scrinia.name.reclaimed.v1"

    def __init__(self, project: str, name: str, prompt_id: str) -> None:
        self.project = project
        self.name = name
        self.prompt_id = UUID(prompt_id)
        self.redirect: str | None = None

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

    def redirect_to(self, name: str, at: datetime) -> None:
        """Lead to another name of the same prompt from now on."""
        self.trigger_event(self.Redirected, timestamp=at, to=name)

    def reclaim(self, at: datetime) -> None:
        """Be the prompt's own name again."""
        self.trigger_event(self.Reclaimed, timestamp=at)

    @event(Redirected)
    def _apply_redirected(self, to: str) -> None:
        self.redirect = to

    @event(Reclaimed)
    def _apply_reclaimed(self) -> None:
        self.redirect = None
