"""Labels: list, set (promotion), remove, history, rollback."""

from datetime import datetime
from typing import Any

import orjson
from aiohttp import web
from pydantic import Field

from api.http import edge
from api.http.commanding import submit
from api.http.history import entry_for, past_history
from api.http.label_schemas import SetLabelRequest, StopRolloutRequest
from api.http.problems import EdgeError
from api.http.route import Route
from api.http.schemas import (
    LabelAnswer,
    LabelCommandAnswer,
    ObjectAnswer,
    RemoveLabelRequest,
    Request,
    RollbackRequest,
    SignatureRequest,
)
from api.http.signatures import own_signature, prompt_to_sign
from api.http.texts import add_names, text_in, texts_of
from domain import commands
from domain.access import ENVIRONMENT_PROMOTE, PROMPT_READ, Caller, prompt_resource
from domain.deciding import moment_text
from domain.errors import Fault
from domain.intent import Signed, promotion_intent
from domain.label import LabelMove
from domain.label_commands import label_etag
from domain.names import check_label, project_id
from domain.project import Project
from domain.rollout_commands import rollout_data
from ledger.ids import now
from projections.history import History


class AsOfQuery(Request):
    """At which moment (default: now)."""

    model_config = {"strict": False, "extra": "forbid"}
    as_of: str | None = Field(None, description="A ledger position or an RFC 3339 time.")


async def _history(request: web.Request) -> tuple[History, int, datetime | None]:
    """The prompt, how far that is, and by which clock its labels expire."""
    wanted = edge.query(request, AsOfQuery)
    if wanted.as_of is None:
        entry = await entry_for(request)
        return entry.history, edge.services(request).follower.position, now()
    who = edge.caller(request)
    project, name = edge.project_name(request), edge.prompt_name(request)
    resource = prompt_resource(project, name)
    edge.services(request).access.authorise(who, PROMPT_READ, resource, now())
    asked = edge.parse_moment(wanted.as_of)
    history, position = await past_history(request, project, name, wanted.as_of)
    return history, position, asked if isinstance(asked, datetime) else None


async def _environments(request: web.Request, history: History) -> tuple[str, ...]:
    repository = edge.services(request).repository
    loaded = await edge.read(request, repository.load, Project, project_id(history.prompt.project))
    project = loaded.aggregate
    return project.environments if project is not None else ()


async def list_labels(request: web.Request) -> web.StreamResponse:
    """The labels that point somewhere, now or as of a moment."""
    history, position, at = await _history(request)
    environments = await _environments(request, history)
    rules = await _rules(request, history)
    items = [
        _label_item(history, label, environments, rules)
        for label in history.prompt.labels_set
        if at is None or not history.prompt.labels[label].expired(at)
    ]
    await add_names(request, items, "promoted_by")
    return edge.view_answer(request, {"items": items, "next_cursor": None}, position)


async def get_label(request: web.Request) -> web.StreamResponse:
    """One label, now or as of a moment."""
    label = edge.label_name(request)
    history, position, at = await _history(request)
    history.prompt.target_of(label, at)
    environments, rules = await _environments(request, history), await _rules(request, history)
    item = _label_item(history, label, environments, rules)
    await add_names(request, [item], "promoted_by")
    etag = f'"{label_etag(history.prompt, label)}"'
    return edge.view_answer(request, item, position, ETag=etag)


async def get_label_history(request: web.Request) -> web.StreamResponse:
    """Every move of a label, newest first."""
    label = edge.label_name(request)
    edge.no_query(request)
    entry = await entry_for(request)
    history = entry.history
    state = history.prompt.labels.get(label)
    if state is None:
        history.prompt.target_of(label)
    moves = state.history[::-1] if state else ()
    reasons = await texts_of(request, (move.reason for move in moves))
    items = [_move_item(history, move, reasons) for move in moves]
    await add_names(request, items, "by")
    body = {"items": items, "next_cursor": None}
    return edge.view_answer(request, body, edge.services(request).follower.position)


async def _rules(request: web.Request, history: History) -> dict[str, Any]:
    """The targeting rules of rollouts, by commitment, of those that are still there."""
    refs = [one.targeting for one in history.prompt.rollouts.values() if one.targeting is not None]
    recorder = edge.services(request).recorder
    held = await edge.read(request, recorder.contents, [ref["commitment"] for ref in refs])
    return {commitment: orjson.loads(content.body) for commitment, content in held.items()}


def _rollout_item(history: History, label: str, rules: dict[str, Any]) -> dict[str, Any] | None:
    rollout = history.prompt.rollouts.get(label)
    data = rollout_data(rollout)
    if rollout is None or data is None:
        return None
    ref, event = rollout.targeting, history.events[rollout.stream_position - 1]
    told = rules.get(ref["commitment"], {"erased": True}) if ref is not None else []
    return {**data, "rules": told, "set_at": event.time, "position": event.position}


def _label_item(
    history: History, label: str, environments: tuple[str, ...], rules: dict[str, Any]
) -> dict[str, Any]:
    state = history.prompt.labels[label]
    stream_position = state.history[-1].stream_position
    return {
        "label": label,
        "prompt_id": str(history.prompt.id),
        "version": state.target,
        "expires_at": moment_text(state.expires_at),
        "rollout": _rollout_item(history, label, rules),
        "ref": f"{history.prompt.project}/{history.prompt.name}@{label}",
        "environment": label in environments,
        "change_id": state.history[-1].change_id,
        "promoted_by": history.actor_at(stream_position),
        "promoted_at": history.events[stream_position - 1].time,
        "position": history.position_at(stream_position),
    }


def _move_item(history: History, move: LabelMove, reasons: dict[str, str]) -> dict[str, Any]:
    return {
        "from": move.from_version,
        "to": move.to_version,
        "act": move.act,
        "expires_at": moment_text(move.expires_at),
        "change_id": move.change_id,
        "reason": text_in(reasons, move.reason),
        "by": history.actor_at(move.stream_position),
        "at": history.events[move.stream_position - 1].time,
        "position": history.position_at(move.stream_position),
    }


async def set_label(request: web.Request) -> web.StreamResponse:
    """Point a label at a version: a promotion where the label is an environment."""
    who = edge.caller(request)
    wanted = await edge.body(request, SetLabelRequest)
    if wanted.contradiction is not None:
        detail = "either version, or rollout with what belongs to it"
        fault = Fault(f"/{wanted.contradiction}", "contradiction", detail)
        raise EdgeError(422, "invalid_request", f"/{wanted.contradiction}: {detail}.", [fault])
    if wanted.version is None:
        return await submit(request, who, _rollout(request, wanted))
    command = commands.SetLabel(
        project=edge.project_name(request),
        name=edge.prompt_name(request),
        label=edge.label_name(request),
        version=wanted.version,
        reason=wanted.reason,
        if_match=edge.if_match(request),
        expires_at=wanted.expires_at,
        break_glass=wanted.break_glass,
        force=wanted.force,
        signature=await _signed(request, who, wanted.signature, wanted.version, wanted.expires_at),
    )
    return await submit(request, who, command)


def _rollout(request: web.Request, wanted: SetLabelRequest) -> commands.SetRollout:
    return commands.SetRollout(
        project=edge.project_name(request),
        name=edge.prompt_name(request),
        label=edge.label_name(request),
        weights=wanted.rollout or {},
        rules=tuple(rule.as_data() for rule in wanted.rules),
        ramp=tuple((step.at, step.weights) for step in wanted.ramp),
        shadow=wanted.shadow,
        safe=wanted.safe,
        reason=wanted.reason,
        if_match=edge.if_match(request),
        force=wanted.force,
        change_id=wanted.change_id,
    )


async def stop_rollout(request: web.Request) -> web.StreamResponse:
    """Stop a rollout at once: everybody gets the label's target, or the safe version named."""
    who = edge.caller(request)
    wanted = await edge.body(request, StopRolloutRequest, optional=True)
    command = commands.StopRollout(
        edge.project_name(request), edge.prompt_name(request), edge.label_name(request),
        wanted.reason,
    )  # fmt: skip
    return await submit(request, who, command)


async def remove_label(request: web.Request) -> web.StreamResponse:
    """Let a label point nowhere."""
    who = edge.caller(request)
    wanted = await edge.body(request, RemoveLabelRequest, optional=True)
    command = commands.RemoveLabel(
        project=edge.project_name(request),
        name=edge.prompt_name(request),
        label=edge.label_name(request),
        reason=wanted.reason,
        if_match=edge.if_match(request),
        signature=await _signed(request, who, wanted.signature, None, None),
    )
    return await submit(request, who, command)


async def _signed(
    request: web.Request,
    who: Caller,
    given: SignatureRequest | None,
    version: int | None,
    expires_at: datetime | None,
) -> Signed | None:
    """The caller's own signature of a promotion by itself."""
    prompt = await prompt_to_sign(request) if given is not None else None
    if prompt is None:
        return None
    intent = promotion_intent(prompt, edge.label_name(request), version, expires_at, None)
    return own_signature(request, who, given, intent)


async def rollback(request: web.Request) -> web.StreamResponse:
    """Return a label to an earlier target."""
    who = edge.caller(request)
    wanted = await edge.body(request, RollbackRequest)
    label = check_label(wanted.label)
    prompt = await prompt_to_sign(request) if wanted.signature is not None else None
    signed = None
    if prompt is not None:
        to = prompt.rollback_target(label, wanted.to, now())
        intent = promotion_intent(prompt, label, to, prompt.until(label, now()), None)
        signed = own_signature(request, who, wanted.signature, intent)
    command = commands.Rollback(
        project=edge.project_name(request),
        name=edge.prompt_name(request),
        label=wanted.label,
        to=wanted.to,
        reason=wanted.reason,
        signature=signed,
    )
    return await submit(request, who, command)


_PROMPT = "/v1/projects/{project}/prompts/{name}"
_LABEL = _PROMPT + "/-/labels/{label}"
_MOVE = f"{ENVIRONMENT_PROMOTE} or label.write"
ROUTES = (
    Route(
        "GET", _PROMPT + "/-/labels", list_labels, "List labels", "labels", PROMPT_READ,
        query=AsOfQuery, answers={200: ObjectAnswer}, headers=("Scrinia-Min-Position",),
    ),
    Route(
        "GET", _LABEL, get_label, "Read a label", "labels", PROMPT_READ, query=AsOfQuery,
        answers={200: LabelAnswer}, headers=("Scrinia-Min-Position",),
    ),
    Route(
        "PUT", _LABEL, set_label, "Set a label, promote", "labels", _MOVE, body=SetLabelRequest,
        answers={200: LabelCommandAnswer, 201: LabelCommandAnswer}, command=True,
        headers=("If-Match",),
    ),
    Route(
        "DELETE", _LABEL, remove_label, "Remove a label", "labels", _MOVE,
        body=RemoveLabelRequest, body_optional=True, answers={200: LabelCommandAnswer},
        command=True, headers=("If-Match",),
    ),
    Route(
        "GET", _LABEL + "/history", get_label_history, "Every move of a label", "labels",
        PROMPT_READ, answers={200: ObjectAnswer}, headers=("Scrinia-Min-Position",),
    ),
    Route(
        "POST", _LABEL + "/stop", stop_rollout, "Stop a rollout", "labels", _MOVE,
        body=StopRolloutRequest, body_optional=True, answers={200: LabelCommandAnswer},
        command=True,
    ),
    Route(
        "POST", _PROMPT + "/-/rollback", rollback, "Roll a label back", "labels", _MOVE,
        body=RollbackRequest, answers={200: LabelCommandAnswer}, command=True,
    ),
)  # fmt: skip
