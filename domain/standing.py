"""A principal's standing: its own grants and its groups', each with what its role permits now."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Protocol, TypeVar
from uuid import UUID

from eventsourcing.domain import Aggregate

from domain.access import ROLES, Grant, Rights
from domain.principal import Principal
from domain.role import Role, role_id

AggregateT = TypeVar("AggregateT", bound=Aggregate)


class Streams(Protocol):
    """Where aggregates come from: a decision's session, a view, the facts of verification."""

    def load(self, kind: type[AggregateT], aggregate_id: UUID) -> AggregateT | None:
        """An aggregate as it is, None where its stream is empty."""


def standing(streams: Streams, principal_id: str, token_id: str | None) -> Rights | None:
    """What a principal may, with a token of its own (None: without one); None for nobody."""
    try:
        principal = streams.load(Principal, UUID(principal_id))
    except ValueError:  # "system" is no principal with a stream
        return None
    if principal is None:
        return None
    grants: list[Grant] = list(principal.grants.values())
    groups: set[str] = set()
    for group_id in principal.groups:
        group = streams.load(Principal, UUID(group_id))
        if group is not None and group.active:
            groups.add(group_id)
            grants += group.grants.values()
    return replace(
        principal.rights(token_id),
        grants=tuple(_resolved(streams, grants)),
        groups=frozenset(groups),
    )


def _resolved(streams: Streams, grants: Iterable[Grant]) -> Iterable[Grant]:
    """Grants of custom roles with the permissions they have now."""
    for grant in grants:
        if grant.role in ROLES:
            yield grant
        else:
            role = streams.load(Role, role_id(grant.role))
            yield replace(grant, permissions=role.permissions if role else frozenset())
