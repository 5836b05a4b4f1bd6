"""Deciding access requests again: did somebody else agree to what takes two people?"""

from datetime import datetime
from typing import Any, cast

from domain import access
from domain.access_request import UNNOTED, AccessRequest
from domain.second_person import (
    ACTIONS,
    GIVING,
    Intent,
    intent_of,
    takes_two,
    target_sha256,
    why_not_asked,
)
from domain.sign_in import LoginName
from domain.standing import standing
from ledger.facts import Facts
from ledger.mapper import RecordedEvent


def agreed_by(recorded: RecordedEvent) -> tuple[str, str] | None:
    """The access request whose applying an event is, and the command that applies it."""
    if not isinstance(recorded.event, AccessRequest.Applied):
        return None
    return str(recorded.event.originator_id), recorded.payload["request"]["id"]


def goes_before(recorded: RecordedEvent) -> bool:
    """Whether an event may come between the applying of a request and what was asked for."""
    return isinstance(recorded.event, LoginName.Created | LoginName.Reclaimed | LoginName.Released)


def alone_fault(
    facts: Facts, recorded: RecordedEvent, agreed: tuple[str, str] | None
) -> str | None:
    """Why an event was not for one person alone to make; None where it was, or two agreed.

    `agreed`: the request that was applied just before, and by which command.
    """
    if agreed is not None:
        request_id, command = agreed
        request = facts.access_requests[request_id]
        if recorded.payload["request"]["id"] == command and (
            goes_before(recorded) or intent_of(facts, recorded.event) == Intent.of(request)
        ):
            return None
        return f"follows access request {request_id}, and is not what it asked for"
    if recorded.payload["authz"]["policy"] == access.SYSTEM_POLICY:
        return None  # the registry's own acts are looked at as such
    at = datetime.fromisoformat(recorded.time)
    if takes_two(facts, recorded.event, recorded.payload["actor"]["id"], at):
        return "takes a second person, and nobody else agreed"
    return None


def access_request_fault(facts: Facts, recorded: RecordedEvent) -> str | None:
    """Why an event of an access request says something else than what was; None where it does."""
    event, actor = cast("Any", recorded.event), recorded.payload["actor"]
    if event.by != actor["id"]:
        return "names somebody else than who did it"
    if isinstance(event, AccessRequest.Created):
        if actor["type"] != "person":
            return "was asked for by nobody"
        try:
            why_not = why_not_asked(facts, Intent.of(event))
        except (ValueError, TypeError, AttributeError):
            why_not = "it names no principal"
        if event.action not in ACTIONS:
            why_not = "there is no such action"
        return f"asks for what nobody gives: {why_not}" if why_not else None
    request = facts.access_requests[str(event.originator_id)]
    status = request.status(datetime.fromisoformat(recorded.time))
    if isinstance(event, AccessRequest.Approved):
        if actor["type"] != "person" or request.asked_by == event.by:
            return "approves what takes another person"
        if _differs(facts, event.target_sha256, request):
            return "agrees to something else than there was"
        return None if status == "open" else f"approves a request that was {status}"
    if isinstance(event, AccessRequest.Rejected):
        return None if status in ("open", "approved") else f"rejects a request that was {status}"
    if status != "approved" or request.asked_by != event.by:
        return "applies a request that nobody else agreed to"
    return _approver_fault(facts, request, recorded)


def _differs(facts: Facts, noted: str | None, request: AccessRequest) -> bool:
    """Whether what an approval holds to is another than is so; one of the first form noted only
    what lets one act as who is given more.
    """
    if noted == UNNOTED and request.action not in GIVING:
        return False
    return noted != target_sha256(facts, Intent.of(request))


def _approver_fault(facts: Facts, request: AccessRequest, recorded: RecordedEvent) -> str | None:
    rights = standing(facts, str(request.approved_by), None)
    if rights is None or not rights.active:
        return "applies a request whose approver was deactivated"
    place = Intent.of(request).place
    at = datetime.fromisoformat(recorded.time)
    if not access.decide(rights.grants, access.ACCESS_WRITE, place, at).allowed:
        return "applies a request whose approver may not give this any more"
    if _differs(facts, request.target_sha256, request):
        return "applies a request after whom it is about has changed"
    return None
