"""Change requests: propose, discuss, approve, apply; what waits for whom."""

from functools import partial
from typing import Annotated, Any

from aiohttp import web
from pydantic import BaseModel, Field

from api.http import edge
from api.http.change_schemas import (
    ApplyRequest,
    ApproveRequest,
    ChangeAnswer,
    ChangeCommandAnswer,
    ChangeItemRequest,
    CommentRequest,
    ProposeChangeRequest,
    RejectRequest,
    ReviewRequest,
    ReviseChangeRequest,
    StatusName,
)
from api.http.commanding import ask, submit
from api.http.route import Route
from api.http.schemas import LabelName, PageAnswer, ReasonRequest, Request
from api.http.signatures import change_to_sign, intents_of, item_intent, own_signature
from api.http.texts import add_names, text_in, texts_of
from domain import access, commands
from domain.access import (
    CHANGE_COMMENT,
    CHANGE_PROPOSE,
    CHANGE_REVIEW,
    ENVIRONMENT_PROMOTE,
    PROMPT_READ,
    Resource,
    not_found,
    project_resource,
)
from domain.change_request import ChangeRequest, Verdict
from domain.commands.changes import ChangeItem
from domain.deciding import moment_text
from domain.intent import Signed, approval_intent
from domain.names import check_label
from ledger.ids import now
from projections.changes import ChangeFilter, Changes, find_changes


class ChangesQuery(Request):
    """Which requests, newest first, which page."""

    model_config = {"strict": False, "extra": "forbid"}
    status: StatusName | None = None
    environment: LabelName | None = None
    awaiting: Annotated[str, Field(pattern="^me$")] | None = Field(
        None, description="Only what waits for the caller to approve or review it."
    )
    limit: Annotated[int, Field(ge=1, le=500)] = 50
    cursor: str | None = None


# Reading


async def list_changes(request: web.Request) -> web.StreamResponse:
    """A page of a project's change requests that one may read, newest first."""
    who = edge.caller(request)
    project = edge.project_name(request)
    rights = edge.services(request).access.rights(who, now())
    if access.readable_folders(rights, project, now()) == ():
        raise not_found(project_resource(project))
    return await _page(request, who, project)


async def list_all_changes(request: web.Request) -> web.StreamResponse:
    """A page of the change requests of all projects that one may read, newest first."""
    return await _page(request, edge.caller(request), None)


async def _page(
    request: web.Request, who: access.Caller, project: str | None
) -> web.StreamResponse:
    wanted = edge.query(request, ChangesQuery)
    if wanted.environment is not None:
        check_label(wanted.environment)
    await edge.fresh_view(request, Changes.name)
    services = edge.services(request)
    rights = services.access.rights(who, now())
    permission = PROMPT_READ if wanted.awaiting is None else CHANGE_REVIEW
    question = partial(
        find_changes,
        wanted=ChangeFilter(
            project, wanted.status, wanted.environment,
            who.principal_id if wanted.awaiting else None, wanted.limit, wanted.cursor,
        ),
        readable=partial(_may, rights, permission),
        authors_approve=lambda project, label: services.projects.of(project).authors_approve(label),
    )  # fmt: skip
    (items, next_cursor), position = await edge.read(
        request, services.views.read, question, Changes.name
    )
    titles = await texts_of(request, ({"commitment": item["title"]} for item in items))
    await add_names(request, items, "proposed_by")
    for item in items:
        item["title"] = titles.get(item["title"])
        item["overdue"] = _overdue(item["review_due_at"], reviewed=item["reviewed"])
    return edge.view_answer(request, {"items": items, "next_cursor": next_cursor}, position)


def _may(rights: access.Rights, permission: str, about: list[Resource]) -> bool:
    return access.permitted_all(rights, permission, about, now()).allowed


def _overdue(due_at: str | None, *, reviewed: bool) -> bool:
    return due_at is not None and not reviewed and due_at <= now().isoformat()


async def get_change(request: web.Request) -> web.StreamResponse:
    """A change request with its approvals and comments, and what keeps it from being applied."""
    who = edge.caller(request)
    edge.no_query(request)
    await edge.fresh_memory(request)
    place = edge.project_name(request), edge.path_id(request)
    told = await ask(request, who, commands.PreviewChange(*place))
    services = edge.services(request)
    loaded = await edge.read(request, services.repository.load, ChangeRequest, place[1])
    change = loaded.aggregate
    if change is None:
        raise not_found(access.change_resource(place[0], str(place[1])))
    body = {**told, **await _described(request, change), "intents": intents_of(change)}
    said = [*body["approvals"], *body["comments"]]
    said += [one for one in (body["rejection"], body["review"]) if one is not None]
    await add_names(request, [body, *said], "proposed_by", "applied_by", "by")
    del body["position"]
    etag = f'"{change.version}"'
    return edge.view_answer(request, body, services.follower.position, ETag=etag)


async def _described(request: web.Request, change: ChangeRequest) -> dict[str, Any]:
    verdicts = [*change.approvals.values(), *([change.rejection] if change.rejection else [])]
    refs = [change.title, change.reason, *(one.comment for one in verdicts)]
    refs += [comment.text for comment in change.comments]
    texts = await texts_of(request, refs)
    due = moment_text(change.review_due_at)
    review = {"by": change.review[0], "outcome": change.review[1]} if change.review else None
    return {
        "title": text_in(texts, change.title),
        "reason": text_in(texts, change.reason),
        "proposed_by": change.proposed_by,
        "proposed_at": moment_text(change.proposed_at),
        "editors": list(change.editors),
        "automatic": change.automatic,
        "scheduled_at": moment_text(change.scheduled_at),
        "expires_at": moment_text(change.expires_at),
        "suspended_for": change.suspended_for,
        "emergency": change.emergency,
        "review_due_at": due,
        "overdue": _overdue(due, reviewed=change.review is not None),
        "review": review,
        "approvals": [_verdict(one, texts) for one in change.approvals.values()],
        "rejection": _verdict(change.rejection, texts) if change.rejection else None,
        "comments": [
            {
                "comment_id": one.id, "by": one.by, "at": one.at.isoformat(),
                "text": text_in(texts, one.text), "anchor": one.anchor,
            }
            for one in change.comments
        ],
        "applied_by": change.applied_by,
        "applied_at": moment_text(change.applied_at),
    }  # fmt: skip


def _verdict(verdict: Verdict, texts: dict[str, str]) -> dict[str, Any]:
    return {
        "by": verdict.by,
        "at": verdict.at.isoformat(),
        "revision": verdict.revision,
        "comment": text_in(texts, verdict.comment),
        "signature": verdict.signature,
    }


# Commands


async def propose_change(request: web.Request) -> web.StreamResponse:
    """Propose a promotion, or a release of several prompts together."""
    who = edge.caller(request)
    wanted = await edge.body(request, ProposeChangeRequest)
    command = commands.ProposeChange(
        project=edge.project_name(request),
        environment=wanted.environment,
        items=_items(wanted.items),
        title=wanted.title,
        reason=wanted.reason,
        automatic=wanted.automatic,
        scheduled_at=wanted.scheduled_at,
        expires_at=wanted.expires_at,
        force=wanted.force,
    )
    return await submit(request, who, command)


def _items(items: list[ChangeItemRequest]) -> tuple[ChangeItem, ...]:
    return tuple(ChangeItem(item.name, item.version) for item in items)


async def revise_change(request: web.Request) -> web.StreamResponse:
    """Propose other versions, or the same on what is live now; approvals begin anew."""
    who = edge.caller(request)
    wanted = await edge.body(request, ReviseChangeRequest, optional=True)
    command = commands.ReviseChange(
        project=edge.project_name(request),
        change_id=edge.path_id(request),
        items=_items(wanted.items) if wanted.items is not None else None,
        scheduled_at=wanted.scheduled_at,
        expires_at=wanted.expires_at,
        reason=wanted.reason,
        if_match=edge.if_match(request),
        given=frozenset(wanted.model_fields_set),
    )
    return await submit(request, who, command)


async def comment_on_change(request: web.Request) -> web.StreamResponse:
    """Say something of a change request, or of a place in a prompt's diff."""
    who = edge.caller(request)
    wanted = await edge.body(request, CommentRequest)
    anchor = wanted.anchor.model_dump(exclude_none=True) if wanted.anchor is not None else None
    place = edge.project_name(request), edge.path_id(request)
    return await submit(request, who, commands.CommentOnChange(*place, wanted.text, anchor))


async def approve_change(request: web.Request) -> web.StreamResponse:
    """Approve what is proposed now."""
    who = edge.caller(request)
    wanted = await edge.body(request, ApproveRequest, optional=True)
    place = edge.project_name(request), edge.path_id(request)
    signed = None
    if wanted.signature is not None and (change := await change_to_sign(request, who, *place)):
        signed = own_signature(request, who, wanted.signature, approval_intent(change))
    command = commands.ApproveChange(*place, wanted.revision, wanted.comment, signed)
    return await submit(request, who, command)


async def retract_approval(request: web.Request) -> web.StreamResponse:
    """Take one's approval back."""
    who = edge.caller(request)
    wanted = await edge.body(request, ReasonRequest, optional=True)
    place = edge.project_name(request), edge.path_id(request)
    return await submit(request, who, commands.RetractApproval(*place, wanted.reason))


async def reject_change(request: web.Request) -> web.StreamResponse:
    """Say no to what is proposed now; a revision opens it again."""
    who = edge.caller(request)
    wanted = await edge.body(request, RejectRequest, optional=True)
    place = edge.project_name(request), edge.path_id(request)
    return await submit(request, who, commands.RejectChange(*place, wanted.comment))


async def withdraw_change(request: web.Request) -> web.StreamResponse:
    """Propose it no more; only whoever proposed or revised it may."""
    who = edge.caller(request)
    wanted = await edge.body(request, ReasonRequest, optional=True)
    place = edge.project_name(request), edge.path_id(request)
    return await submit(request, who, commands.WithdrawChange(*place, wanted.reason))


async def apply_change(request: web.Request) -> web.StreamResponse:
    """Let what is proposed be live, all of it in one transaction."""
    who = edge.caller(request)
    wanted = await edge.body(request, ApplyRequest, optional=True)
    place = edge.project_name(request), edge.path_id(request)
    signatures: dict[str, Signed] = {}
    change = await change_to_sign(request, who, *place) if wanted.signatures else None
    if change is not None:
        for item in change.items:
            given, at = wanted.signatures.get(item.name), f"/signatures/{item.name}"
            signed = own_signature(request, who, given, item_intent(change, item), at)
            if signed is not None:
                signatures[item.name] = signed
    command = commands.ApplyChange(*place, edge.if_match(request), signatures)
    return await submit(request, who, command)


async def review_emergency(request: web.Request) -> web.StreamResponse:
    """Look at an emergency afterwards."""
    who = edge.caller(request)
    wanted = await edge.body(request, ReviewRequest)
    place = edge.project_name(request), edge.path_id(request)
    command = commands.ReviewEmergency(*place, wanted.outcome, wanted.comment)
    return await submit(request, who, command)


_CHANGES = "/v1/projects/{project}/change-requests"
_CHANGE = _CHANGES + "/{id}"
_DONE: dict[int, type[BaseModel] | str] = {200: ChangeCommandAnswer}
ROUTES = (
    Route(
        "GET", "/v1/change-requests", list_all_changes, "List change requests everywhere",
        "changes", query=ChangesQuery, answers={200: PageAnswer},
        headers=("Scrinia-Min-Position",),
    ),
    Route(
        "GET", _CHANGES, list_changes, "List change requests", "changes", PROMPT_READ,
        query=ChangesQuery, answers={200: PageAnswer}, headers=("Scrinia-Min-Position",),
    ),
    Route(
        "POST", _CHANGES, propose_change, "Propose a promotion", "changes", CHANGE_PROPOSE,
        body=ProposeChangeRequest, answers={201: ChangeCommandAnswer}, command=True,
    ),
    Route(
        "GET", _CHANGE, get_change, "Read a change request", "changes", PROMPT_READ,
        answers={200: ChangeAnswer}, headers=("Scrinia-Min-Position",),
    ),
    Route(
        "POST", _CHANGE + "/revise", revise_change, "Revise a change request", "changes",
        CHANGE_PROPOSE, body=ReviseChangeRequest, body_optional=True, answers=_DONE, command=True,
        headers=("If-Match",),
    ),
    Route(
        "POST", _CHANGE + "/comments", comment_on_change, "Comment on a change request",
        "changes", CHANGE_COMMENT, body=CommentRequest, answers={201: ChangeCommandAnswer},
        command=True,
    ),
    Route(
        "POST", _CHANGE + "/approve", approve_change, "Approve a change request", "changes",
        CHANGE_REVIEW, body=ApproveRequest, body_optional=True, answers=_DONE, command=True,
    ),
    Route(
        "POST", _CHANGE + "/retract", retract_approval, "Take an approval back", "changes",
        CHANGE_REVIEW, body=ReasonRequest, body_optional=True, answers=_DONE, command=True,
    ),
    Route(
        "POST", _CHANGE + "/reject", reject_change, "Reject a change request", "changes",
        CHANGE_REVIEW, body=RejectRequest, body_optional=True, answers=_DONE, command=True,
    ),
    Route(
        "POST", _CHANGE + "/withdraw", withdraw_change, "Withdraw a change request", "changes",
        CHANGE_PROPOSE, body=ReasonRequest, body_optional=True, answers=_DONE, command=True,
    ),
    Route(
        "POST", _CHANGE + "/apply", apply_change, "Apply a change request", "changes",
        ENVIRONMENT_PROMOTE, body=ApplyRequest, body_optional=True, answers=_DONE, command=True,
        headers=("If-Match",),
    ),
    Route(
        "POST", _CHANGE + "/review", review_emergency, "Review an emergency", "changes",
        CHANGE_REVIEW, body=ReviewRequest, answers=_DONE, command=True,
    ),
)  # fmt: skip
