"""Whether an act takes a second person, and what it comes to: asked by the registry of what it is
about to record, and by verification of what it reads.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Any
from uuid import UUID

import rfc8785
from eventsourcing.domain import CanMutateAggregate

from domain import commands
from domain.access import REGISTRY, Grant, Resource, Scope
from domain.access_request import AccessRequest
from domain.access_rules import ACCESS_RULES_ID, AccessRules, Protected, protected_from
from domain.principal import Principal, parse_time, scope_from
from domain.role import Role
from domain.sign_in import SignIn
from domain.standing import Streams, resolved

# What can take a second person; rules are looked up for nothing else.
_GIVING = (
    Role.Changed, Principal.GrantGiven, Principal.Joined, Principal.TokenIssued,
    SignIn.RecoveryIssued, SignIn.Created, SignIn.Changed, SignIn.TotpRemoved,
    AccessRules.Changed,
)  # fmt: skip


def takes_two(
    streams: Streams, event: CanMutateAggregate[UUID], actor_id: str, now: datetime
) -> bool:
    """Whether `actor_id` alone may not do this, by the rules; `streams` are as before it.

    What gives a protected permission: grants, groups that have it, roles that come to permit it;
    what lets one act as somebody else who has it: tokens, login names, recovery codes, the end of
    a second factor; and the rules.
    """
    if not isinstance(event, _GIVING) or not _protected(streams):
        return False
    match event:
        case AccessRules.Changed():
            return True
        case Role.Changed():
            role = streams.load(Role, event.originator_id)
            added = frozenset(event.permissions) - (role.permissions if role else frozenset())
            return any(one.is_among(added) for one in _protected(streams))
        case Principal.GrantGiven():
            return bool(_reached(streams, [_grant_of(event)], now))
        case Principal.Joined():
            return bool(reached_by(streams, event.group_id, now))
        case Principal.TokenIssued() if event.scopes is not None:
            scopes = [scope_from(one) for one in event.scopes]
            reached = reached_by(streams, str(event.originator_id), now)
            used = any(one.reached_within(scope) for one in reached for scope in scopes)
            return str(event.originator_id) != actor_id and used
    owner = str(event.originator_id)
    return owner != actor_id and bool(reached_by(streams, owner, now))


def reached_by(streams: Streams, principal_id: str, now: datetime) -> list[Protected]:
    """What of that which takes two people a principal has, by itself or its groups."""
    return _reached(streams, _grants_of(streams, principal_id), now)


def _protected(streams: Streams) -> tuple[Protected, ...]:
    rules = streams.load(AccessRules, ACCESS_RULES_ID)
    return rules.second_person if rules is not None else ()


def _reached(streams: Streams, grants: Iterable[Grant], now: datetime) -> list[Protected]:
    """What of it grants give, those that have expired left out."""
    held = resolved(streams, grants)
    lasting = [one for one in held if one.expires_at is None or now < one.expires_at]
    return [one for one in _protected(streams) if any(map(one.reached_by, lasting))]


def _grant_of(event: Principal.GrantGiven) -> Grant:
    return Grant(event.grant_id, event.role, Scope(**event.scope), parse_time(event.expires_at))


def _grants_of(streams: Streams, principal_id: str) -> list[Grant]:
    """Its own and its groups', also of those that are suspended: they may be resumed."""
    principal = streams.load(Principal, UUID(principal_id))
    if principal is None:
        return []
    groups = (streams.load(Principal, UUID(one)) for one in principal.groups)
    holders = [principal, *(group for group in groups if group is not None)]
    return [grant for holder in holders for grant in holder.grants.values()]


@dataclass(frozen=True)
class Intent:
    """What an act comes to, without words: what is asked for, and what is done, are compared."""

    action: str
    details: dict[str, Any]

    @classmethod
    def of(cls, request: AccessRequest | AccessRequest.Created) -> "Intent":
        """What a request asks for."""
        return cls(request.action, request.intent)

    @property
    def place(self) -> Resource:
        """Where access is given by it."""
        return Scope(**self.details["scope"]).resource if "scope" in self.details else REGISTRY


ACTIONS = (
    "give_grant", "join_group", "issue_token", "set_login", "issue_recovery", "set_access_rules",
)  # fmt: skip
GIVING = ("give_grant", "join_group")  # what somebody is given more by


def intent_of(streams: Streams, event: CanMutateAggregate[UUID]) -> Intent | None:
    """The intent of an act that can be asked for; None of any other."""
    whose = {"principal_id": str(event.originator_id)}
    match event:
        case Principal.GrantGiven():
            given = {"role": event.role, "scope": event.scope, "expires_at": event.expires_at}
            return Intent("give_grant", whose | given)
        case Principal.Joined():
            return Intent("join_group", whose | {"group_id": event.group_id})
        case Principal.TokenIssued():
            fields = ("scopes", "expires_at", "networks")
            return Intent("issue_token", whose | {name: getattr(event, name) for name in fields})
        case SignIn.Created() | SignIn.Changed():
            return Intent("set_login", whose | {"login_id": event.login_id})
        case SignIn.RecoveryIssued():
            return Intent("issue_recovery", whose | {"second_factor": event.second_factor})
        case AccessRules.Changed():
            held = [one.as_data() for one in _protected(streams)]
            told = {"before": held, "second_person": event.second_person}
            return Intent("set_access_rules", told)
    return None


def why_not_asked(streams: Streams, intent: Intent) -> str | None:
    """Why this is done by nobody, however many agree; None where it can be asked for."""
    whose = UUID(intent.details["principal_id"]) if "principal_id" in intent.details else None
    target = streams.load(Principal, whose) if whose is not None else None
    if target is not None and intent.action == "give_grant" and target.type == "group":
        return "What takes two people is given to people and services, not to groups."
    if target is not None and intent.action == "issue_token" and target.type == "person":
        return "Nobody is given tokens of people who may do what takes two people: they sign in."
    return None


def target_sha256(streams: Streams, intent: Intent) -> str | None:
    """What is so of the principal an intent is about, as a SHA-256 (hex); None where of nobody.

    Of who is given more: what lets one act as them. Of whom somebody is let act as: what they
    have. Whoever agrees agrees to this, and it is the same when it is applied.
    """
    if "principal_id" not in intent.details:
        return None
    principal_id = UUID(intent.details["principal_id"])
    principal, sign_in = streams.load(Principal, principal_id), streams.load(SignIn, principal_id)
    if principal is None:
        return None
    if intent.action not in GIVING:
        has = {"grants": sorted(principal.grants), "groups": sorted(principal.groups)}
        return sha256(rfc8785.dumps(has)).hexdigest()
    tokens = principal.tokens.values()
    held: dict[str, Any] = {"tokens": sorted(one.id for one in tokens if not one.revoked)}
    if sign_in is not None:
        recovery = sign_in.recovery.secret_sha256 if sign_in.recovery is not None else None
        held |= {"login_id": sign_in.login_id, "password": sign_in.password}
        held |= {"recovery": recovery, "subject": sign_in.subject}
    return sha256(rfc8785.dumps(held)).hexdigest()


def command_for(intent: Intent, words: str | None) -> commands.Command:
    """The command that does what was asked for; `words`: what was said with it."""
    told = intent.details
    whose = UUID(told["principal_id"]) if "principal_id" in told else ACCESS_RULES_ID
    match intent.action:
        case "give_grant":
            expires_at = parse_time(told["expires_at"])
            return commands.GiveGrant(whose, told["role"], **told["scope"], expires_at=expires_at)
        case "join_group":
            return commands.JoinGroup(whose, UUID(told["group_id"]))
        case "issue_token":
            scopes, networks = told["scopes"], told["networks"]
            return commands.IssueToken(
                whose, words, None if scopes is None else tuple(scopes),
                parse_time(told["expires_at"]), None if networks is None else tuple(networks),
            )  # fmt: skip
        case "set_login":
            return commands.SetLogin(whose, words or "")
        case "issue_recovery":
            return commands.IssueRecovery(whose, told["second_factor"], words)
    return commands.SetAccessRules(protected_from(told["second_person"]))
