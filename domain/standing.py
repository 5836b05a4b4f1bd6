"""A principal's standing: its own grants and its groups', each with what its role permits now."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Protocol, TypeVar
from uuid import UUID

from eventsourcing.domain import Aggregate

from domain.access import ROLES, Grant, Rights, Token
from domain.principal import Principal
from domain.role import Role, role_id
from domain.sign_in import SignIn
from domain.sign_in_rules import RULES_ID, SignInRules
from domain.user_session import UserSession

AggregateT = TypeVar("AggregateT", bound=Aggregate)


class Streams(Protocol):
    """Where aggregates come from: a decision's session, a view, the facts of verification."""

    def load(self, kind: type[AggregateT], aggregate_id: UUID) -> AggregateT | None:
        """An aggregate as it is, None where its stream is empty."""


def standing(streams: Streams, principal_id: str, credential_id: str | None) -> Rights | None:
    """What a principal may, with a token or session of its own (None: without); None for nobody."""
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
    rights = replace(
        principal.rights(credential_id),
        grants=tuple(resolved(streams, grants)),
        groups=frozenset(groups),
    )
    if rights.token is None and credential_id:
        return _in_session(streams, principal, rights, credential_id)
    return rights


def _in_session(streams: Streams, principal: Principal, rights: Rights, session_id: str) -> Rights:
    """A standing with a session, which counts as a token that nothing was taken out of.

    One that was ended by its owner has expired; one that was taken away is revoked.
    """
    try:
        session = streams.load(UserSession, UUID(session_id))
    except ValueError:  # somebody's word, in a log that is verified
        return rights
    if session is None or session.principal_id != str(principal.id):
        return rights
    sign_in = streams.load(SignIn, principal.id)
    rules = streams.load(SignInRules, RULES_ID)
    until, taken = session.access_expires_at, session.ended in ("reuse", "revoked")
    if session.ended_at is not None:
        until = session.ended_at
    if sign_in is None or not sign_in.counts(session_id, session.generation):
        until = session.created_on
        taken = taken or sign_in is None or session.generation <= sign_in.revoked
    shown = session.has_second_factor or (sign_in is not None and sign_in.proven == session_id)
    limited = rules is not None and rules.second_factor and not shown
    token = Token(session_id, "", None, until, revoked=taken)
    return replace(rights, token=token, limited=limited)


def resolved(streams: Streams, grants: Iterable[Grant]) -> Iterable[Grant]:
    """Grants of custom roles with the permissions they have now."""
    for grant in grants:
        if grant.role in ROLES:
            yield grant
        else:
            role = streams.load(Role, role_id(grant.role))
            yield replace(grant, permissions=role.permissions if role else frozenset())
