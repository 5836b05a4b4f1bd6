"""Rendering: a prompt filled with variables."""

from typing import Any

import orjson
from aiohttp import web

from api.http import edge
from api.http.composing import resolve_locked
from api.http.history import answered
from api.http.languages import languages
from api.http.prompts import select
from api.http.reads import note_read
from api.http.rollouts import answered_for, asker_of
from api.http.route import Route
from api.http.schemas import RenderedAnswer, RenderRequest
from domain.access import PROMPT_READ, prompt_resource
from domain.errors import InvalidContentError
from domain.provider_shapes import PROVIDERS, provider_request
from domain.rendering import render_messages, render_text
from domain.template import TemplateError
from ledger.ids import now


async def render(request: web.Request) -> web.StreamResponse:
    """Fill a prompt: strict about missing, mistyped and extra variables."""
    who = edge.caller(request)
    edge.no_query(request)
    project, name = edge.project_name(request), edge.prompt_name(request)
    wanted = await edge.body(request, RenderRequest)
    services = edge.services(request)
    services.access.authorise(who, PROMPT_READ, prompt_resource(project, name), now())
    await edge.fresh_memory(request)
    kind, selector = select(wanted.label, wanted.version, wanted.digest)
    tags = languages(request, wanted.locale)
    place, by = (project, name), (kind, selector)
    asker = asker_of(wanted.targeting_key, wanted.attributes, kind)
    if asker is not None:
        rights = services.access.rights(who, now())
        resolved = await answered_for(request, rights, place, str(selector), asker, tags)
    elif wanted.lockfile is not None:
        locked = [one.part for one in wanted.lockfile]
        resolved = await resolve_locked(request, who, place, by, locked, tags)
    else:
        rights = services.access.rights(who, now())
        resolved = await answered(request, rights, place, by, tags)
    note_read(request, who, project, resolved, now())
    rendered = await edge.read(request, _fill, orjson.loads(resolved.body), wanted)
    return edge.view_answer(request, rendered, services.follower.position)


def _fill(resolved: dict[str, Any], wanted: RenderRequest) -> dict[str, Any]:
    content = resolved.pop("content")
    fill = render_text if wanted.format == "text" else render_messages
    try:
        rendered: Any = fill(content, wanted.variables, allow_extra=wanted.allow_extra)
    except TemplateError as error:
        raise InvalidContentError(f"The stored template cannot be rendered: {error}.") from None
    if wanted.format in PROVIDERS:
        request, left_out = provider_request(wanted.format, content, rendered)
        return {**resolved, wanted.format: request, "left_out": left_out}
    config = {"config": content["config"]} if "config" in content else {}
    return {**resolved, **config, wanted.format: rendered}


ROUTES = (
    Route(
        "POST", "/v1/projects/{project}/prompts/{name}/-/render", render, "Render a prompt",
        "prompts", PROMPT_READ, body=RenderRequest, answers={200: RenderedAnswer, 410: "Erased"},
        headers=("Scrinia-Min-Position",),
    ),
)  # fmt: skip
