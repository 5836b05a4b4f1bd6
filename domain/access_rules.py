"""What takes two people to give: one stream, so that it has a history."""

from collections.abc import Iterable, Set
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from eventsourcing.domain import Aggregate, event

from domain.access import (
    ACCESS_WRITE,
    ENVIRONMENT_BREAK_GLASS,
    ENVIRONMENT_PROMOTE,
    IN_ENVIRONMENT,
    PERMISSIONS,
    PROMPT_READ,
    Grant,
    Scope,
    TokenScope,
)
from domain.commitment import ContentRef
from domain.errors import Fault, InvalidError, InvalidNameError
from domain.names import check_label

ACCESS_RULES_ID = UUID("3c0a5f0e-7d2b-5b8e-9a64-51f2c7d0be19")
PROTECTED_MAX = 32


@dataclass(frozen=True)
class Protected:
    """A permission that one person alone gives to nobody; `environment`: there only.

    To promote comprises to break glass, which promotes past the rules.
    """

    permission: str
    environment: str | None = None

    def is_among(self, permissions: Set[str]) -> bool:
        """Whether permissions hold it."""
        breaks = self.permission == ENVIRONMENT_PROMOTE and ENVIRONMENT_BREAK_GLASS in permissions
        return breaks or self.permission in permissions

    def reached_by(self, grant: Grant) -> bool:
        """Whether a grant gives it."""
        held = {one for one in PERMISSIONS if grant.has(one)}
        return self.is_among(held) and self._reached_in(grant.scope)

    def reached_within(self, scope: TokenScope) -> bool:
        """Whether a token that is narrowed to this can still use it."""
        allowed = scope.permissions is None or self.is_among(scope.permissions)
        return allowed and self._reached_in(scope.scope)

    def _reached_in(self, scope: Scope) -> bool:
        if scope.environment is None:
            return True
        if self.permission not in IN_ENVIRONMENT:
            return self.permission == PROMPT_READ
        return self.environment in (None, scope.environment)

    def as_data(self) -> dict[str, Any]:
        """JSON form: the fields that are set."""
        if self.environment is None:
            return {"permission": self.permission}
        return {"permission": self.permission, "environment": self.environment}


def protected_from(data: Iterable[dict[str, Any]]) -> tuple[Protected, ...]:
    """Out of an event or a command."""
    return tuple(Protected(one["permission"], one.get("environment")) for one in data)


def check_protected(given: Iterable[Protected]) -> tuple[Protected, ...]:
    """Sorted, each once; InvalidError for what is no permission, or has no environments.

    `access.write` is among them, or none is: who gives it gives everything.
    """
    wanted = sorted(set(given), key=lambda one: (one.permission, one.environment or ""))
    faults = [
        Fault(f"/second_person/{index}", code, detail)
        for index, one in enumerate(given)
        for code, detail in _faults(one)
    ]
    if wanted and Protected(ACCESS_WRITE) not in wanted:
        detail = f"name {ACCESS_WRITE} too: who has it gives the others"
        faults.append(Fault("/second_person", "incomplete", detail))
    if len(wanted) > PROTECTED_MAX:
        faults.append(Fault("/second_person", "wrong_number", f"at most {PROTECTED_MAX}"))
    if faults:
        raise InvalidError(f"{faults[0].pointer}: {faults[0].detail}.", faults)
    return tuple(wanted)


def _faults(one: Protected) -> Iterable[tuple[str, str]]:
    if one.permission not in PERMISSIONS:
        yield "unknown_permission", f"must be one of {', '.join(PERMISSIONS)}"
    elif one.environment is not None and one.permission not in IN_ENVIRONMENT:
        able = ", ".join(sorted(IN_ENVIRONMENT))
        yield "no_environment", f"only these are had by environment: {able}"
    try:
        if one.environment is not None:
            check_label(one.environment)
    except InvalidNameError as error:
        yield error.code, error.detail


class AccessRules(Aggregate):
    """Which permissions one person alone gives to nobody."""

    TOPIC = "io.scrinia.accessrules"

    class Created(Aggregate.Created):
        """The rules were set for the first time: a list of {"permission", "environment"?}."""

        TOPIC = "io.scrinia.accessrules.set.v1"
        second_person: list[dict[str, Any]]

    class Changed(Aggregate.Event):
        """The rules are others from now on. `reason`: where they were lifted on the host."""

        TOPIC = "io.scrinia.accessrules.changed.v2"
        class_version = 2
        second_person: list[dict[str, Any]]
        reason: ContentRef | None

        @staticmethod
        def upcast_v1_v2(state: dict[str, Any]) -> None:
            """They were not lifted on the host then."""
            state["reason"] = None

    def __init__(self, second_person: list[dict[str, Any]]) -> None:
        self.second_person = protected_from(second_person)

    @classmethod
    def begin(cls, second_person: tuple[Protected, ...], at: datetime) -> "AccessRules":
        """The first rules."""
        wanted = [one.as_data() for one in second_person]
        return cls._create(cls.Created, id=ACCESS_RULES_ID, timestamp=at, second_person=wanted)

    def change(
        self, second_person: tuple[Protected, ...], at: datetime, reason: ContentRef | None = None
    ) -> bool:
        """Other rules; False where they are so already."""
        if second_person == self.second_person:
            return False
        self.trigger_event(
            self.Changed,
            timestamp=at,
            second_person=[one.as_data() for one in second_person],
            reason=reason,
        )
        return True

    @event(Changed)
    def _apply_changed(self, second_person: list[dict[str, Any]]) -> None:
        self.second_person = protected_from(second_person)
