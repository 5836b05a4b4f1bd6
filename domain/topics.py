"""The closed list of what can be in a ledger. Streams and types resolve from here, never by import.

A type is `io.scrinia.{kind}.{verb}.v{n}`. When an event changes its form, its class takes the next
`v`, keeps `class_version = n` and gains `upcast_v1_v2(state)` and so on (static methods that change
the data in place); the old types go on resolving to the class and are upcast when read.
"""

from eventsourcing.domain import Aggregate, CanMutateAggregate
from eventsourcing.utils import get_topic

from domain.access_request import AccessRequest
from domain.access_rules import AccessRules
from domain.change_request import ChangeRequest
from domain.check import VersionChecks
from domain.consumer import Consumers
from domain.keys import KeyRing
from domain.name import Name
from domain.principal import Principal
from domain.project import Project
from domain.prompt import Prompt
from domain.role import Role
from domain.sign_in import LoginName, SignIn
from domain.sign_in_rules import SignInRules
from domain.user_session import UserSession
from domain.webhook import Webhook

AGGREGATES: dict[str, type[Aggregate]] = {
    "accessrequest": AccessRequest,
    "accessrules": AccessRules,
    "change": ChangeRequest,
    "checks": VersionChecks,
    "consumers": Consumers,
    "keys": KeyRing,
    "login": LoginName,
    "name": Name,
    "principal": Principal,
    "project": Project,
    "prompt": Prompt,
    "role": Role,
    "session": UserSession,
    "signin": SignIn,
    "signinrules": SignInRules,
    "webhook": Webhook,
}

STREAM_KINDS: dict[type[Aggregate], str] = {cls: kind for kind, cls in AGGREGATES.items()}


def event_classes(aggregate: type[Aggregate]) -> list[type[CanMutateAggregate]]:  # type: ignore[type-arg]
    """The event classes of an aggregate, those that can be stored."""
    return [
        value
        for value in vars(aggregate).values()
        if isinstance(value, type)
        and issubclass(value, CanMutateAggregate)
        and hasattr(value, "TOPIC")
    ]


def short_type(type_: str) -> str:
    """`{kind}.{verb}` of `io.scrinia.{kind}.{verb}.v{n}`."""
    return ".".join(type_.split(".")[2:4])


KINDS_AND_VERBS = frozenset(
    short_type(get_topic(cls))
    for aggregate in AGGREGATES.values()
    for cls in event_classes(aggregate)
)
KNOWN_TYPES = KINDS_AND_VERBS | {name.partition(".")[0] for name in KINDS_AND_VERBS}
