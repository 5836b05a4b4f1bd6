"""What a route is: its handler and everything OpenAPI says of it."""

from dataclasses import dataclass, field

from pydantic import BaseModel

from api.http.edge import Handler


@dataclass(frozen=True)
class Route:
    """One operation.

    `path` is written as OpenAPI writes it; `{name}` may hold slashes. `permission` is what the one
    policy is asked for (None: every authenticated caller; `public` routes ask nobody). `refusals`:
    statuses beside those that routes of its form have. `scim`: it speaks RFC 7644's media type, in
    refusals too.
    """

    method: str
    path: str
    handler: Handler
    summary: str
    tag: str
    permission: str | None = None
    body: type[BaseModel] | None = None
    body_optional: bool = False
    query: type[BaseModel] | None = None
    answers: dict[int, type[BaseModel] | str] = field(default_factory=dict)
    headers: tuple[str, ...] = ()
    public: bool = False
    refusals: tuple[int, ...] = ()
    scim: bool = False
    command: bool = False

    @property
    def operation_id(self) -> str:
        """The handler's name."""
        return self.handler.__name__
