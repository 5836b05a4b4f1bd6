"""Previews of promotions: what would happen, what is missing, what would change."""

from typing import Any

import orjson
from aiohttp import web

from api.http import edge
from api.http.change_schemas import PreviewAnswer, PreviewRequest
from api.http.commanding import ask
from api.http.history import diff_of, entry_for
from api.http.route import Route
from domain import commands
from domain.access import PROMPT_READ


async def preview_promotion(request: web.Request) -> web.StreamResponse:
    """Whether a version may be promoted, what is missing, and its diff against what is live."""
    who = edge.caller(request)
    edge.no_query(request)
    wanted = await edge.body(request, PreviewRequest)
    question = commands.PreviewPromotion(
        project=edge.project_name(request),
        name=edge.prompt_name(request),
        label=wanted.label,
        version=wanted.version,
        expires_at=wanted.expires_at,
        rules=wanted.rules.rules() if wanted.rules is not None else None,
        force=wanted.force,
    )
    told = await ask(request, who, question)
    entry = await entry_for(request)
    live = told["from"]
    diff: dict[str, Any] | None = None
    if live is not None and live != wanted.version:
        diff = await diff_of(request, entry, live, wanted.version)
    del told["position"]
    body = {**told, "intent": orjson.loads(told["intent"]), "diff": diff}
    return edge.view_answer(request, body, edge.services(request).follower.position)


ROUTES = (
    Route(
        "POST", "/v1/projects/{project}/prompts/{name}/-/promotions/preview", preview_promotion,
        "Preview a promotion", "labels", PROMPT_READ, body=PreviewRequest,
        answers={200: PreviewAnswer, 410: "Erased"},
    ),
)  # fmt: skip
