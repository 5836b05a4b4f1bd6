"""What can go wrong in a projection."""

from typing import ClassVar


class ProjectionError(Exception):
    """The projection cannot answer."""

    code: ClassVar[str] = "projection"

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail

    @property
    def title(self) -> str:
        """The class's first docstring line."""
        return (type(self).__doc__ or "").strip().splitlines()[0]


class NotCaughtUpError(ProjectionError):
    """The view has not read as far as you asked within the time limit."""

    code = "not_caught_up"


class UnknownProjectionError(ProjectionError):
    """There is no projection of this name."""

    code = "unknown_projection"


class InvalidCursorError(ProjectionError):
    """The cursor is not one this list gave."""

    code = "invalid_cursor"


class InvalidQueryError(ProjectionError):
    """There is nothing to look for."""

    code = "invalid_query"


class OvertakenError(ProjectionError):
    """Somebody else has moved this view in the meantime."""

    code = "overtaken"


class RefusedAddressError(ProjectionError):
    """The registry sends nothing to this address."""

    code = "address_refused"


class ForeignStreamError(ProjectionError):
    """The NATS stream is not this ledger's, or is ahead of it."""

    code = "foreign_stream"
