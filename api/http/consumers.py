"""Consumers: services that say which label of a prompt they use, in which range."""

from contextlib import suppress
from typing import Annotated, Any

import orjson
from aiohttp import web
from pydantic import Field

from api.http import edge
from api.http.commanding import submit
from api.http.content_schema import anchored
from api.http.history import entry_for
from api.http.route import Route
from api.http.schemas import (
    CommandAnswer,
    LabelName,
    PageAnswer,
    ReasonRequest,
    Request,
    VersionRange,
)
from api.http.texts import add_names
from domain import commands
from domain.access import CONSUMER_WRITE, PROMPT_READ, prompt_resource
from domain.consumer import VARIABLES_MAX, Consumers, consumers_id
from domain.consumer_commands import consumer_body
from domain.errors import ErasedError
from domain.names import check_label
from domain.prompt import Prompt
from domain.variables import VARIABLE_PATTERN
from domain.version import Version
from ledger.ids import now
from projections.entry import Entry

VariableName = Annotated[str, Field(pattern=anchored(VARIABLE_PATTERN))]


class ConsumerRequest(Request):
    """Which label the service reads, in which range (left out: any), with which variables.

    `variables` left out: it does not say.
    """

    label: LabelName = "production"
    range: VersionRange | None = None
    variables: Annotated[list[VariableName], Field(max_length=VARIABLES_MAX)] | None = None


async def register_consumer(request: web.Request) -> web.StreamResponse:
    """Say how a service uses a prompt: what would break it is refused unless it is forced."""
    who = edge.caller(request)
    wanted = await edge.body(request, ConsumerRequest)
    command = commands.RegisterConsumer(
        project=edge.project_name(request),
        name=edge.prompt_name(request),
        consumer=check_label(request.match_info["consumer"]),
        label=wanted.label,
        range=wanted.range,
        variables=None if wanted.variables is None else tuple(wanted.variables),
    )
    return await submit(request, who, command)


async def remove_consumer(request: web.Request) -> web.StreamResponse:
    """Say that a service does not use a prompt any more."""
    who = edge.caller(request)
    wanted = await edge.body(request, ReasonRequest, optional=True)
    command = commands.RemoveConsumer(
        edge.project_name(request), edge.prompt_name(request),
        check_label(request.match_info["consumer"]), wanted.reason,
    )  # fmt: skip
    return await submit(request, who, command)


async def list_consumers(request: web.Request) -> web.StreamResponse:
    """The registered consumers of a prompt, what would break them if it were live now, and who was
    served which version within a day: whether everybody has what each label serves.
    """
    edge.no_query(request)
    entry = await entry_for(request)
    prompt = entry.history.prompt
    services = edge.services(request)
    loaded = await edge.read(request, services.repository.load, Consumers, consumers_id(prompt.id))
    known = loaded.aggregate.consumers if loaded.aggregate is not None else {}
    live = {
        label: prompt.version_numbered(number)
        for label, number in prompt.labels_set.items()
        if not prompt.labels[label].expired(now())
    }
    live["latest"] = prompt.latest
    items = []
    for _, consumer in sorted(known.items()):
        version = live.get(consumer.label)
        broken = None
        if version is not None:
            broken = consumer.broken_by(version.semver, await _content_of(request, entry, version))
        served = version.number if version is not None else None
        items.append({**consumer_body(prompt, consumer), "version": served, "broken": broken})
    readers = await _readers(request, prompt, live, {one.by for one in known.values()})
    await add_names(request, items, "registered_by")
    await add_names(request, readers, "principal_id")
    body = {
        "items": items, "next_cursor": None, "readers": readers,
        "converged": {
            label: all(one["current"] for one in readers if one["label"] == label)
            for label in sorted({one["label"] for one in readers})
        },
    }  # fmt: skip
    return edge.view_answer(request, body, services.follower.position)


async def _content_of(request: web.Request, entry: Entry, version: Version) -> Any:
    """A version whose variables are all its own; None for one of partials, or erased."""
    if version.partials:
        return None
    with suppress(ErasedError):
        return orjson.loads(await edge.services(request).serving.content(entry, version))
    return None


async def _readers(
    request: web.Request, prompt: Prompt, live: dict[str, Version], registered: set[str]
) -> list[dict[str, Any]]:
    """Who read the prompt within a day; `current`: was served what the label serves now."""
    resources = [prompt_resource(prompt.project, name).text for name in prompt.names]
    await edge.services(request).reads.flush()
    readers = await edge.read(request, edge.services(request).reads.readers_of, resources)
    for one in readers:
        rollout, version = prompt.rollouts.get(one["label"]), live.get(one["label"])
        served = rollout.versions if rollout is not None else frozenset[int]()
        served |= {version.number} if version is not None else frozenset()
        one["current"] = one["version"] in served
        one["registered"] = one["principal_id"] in registered
    return list(readers)


_CONSUMERS = "/v1/projects/{project}/prompts/{name}/-/consumers"
ROUTES = (
    Route(
        "GET", _CONSUMERS, list_consumers, "List consumers", "consumers", PROMPT_READ,
        answers={200: PageAnswer}, headers=("Scrinia-Min-Position",),
    ),
    Route(
        "PUT", _CONSUMERS + "/{consumer}", register_consumer, "Register a consumer", "consumers",
        CONSUMER_WRITE, body=ConsumerRequest, answers={200: CommandAnswer, 201: CommandAnswer},
        command=True,
    ),
    Route(
        "DELETE", _CONSUMERS + "/{consumer}", remove_consumer, "Remove a consumer", "consumers",
        CONSUMER_WRITE, body=ReasonRequest, body_optional=True, answers={200: CommandAnswer},
        command=True,
    ),
)  # fmt: skip
