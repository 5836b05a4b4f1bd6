"""Operating the projections: state, rebuild, compare."""

import asyncio
import logging
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from api.http import edge
from api.http.route import Route
from api.http.schemas import ObjectAnswer
from api.http.services import Services
from domain.access import PROJECTION_OPERATE, REGISTRY
from ledger.ids import now
from projections.errors import UnknownProjectionError
from projections.rebuild import Rebuilder

log = logging.getLogger("scrinia.operations")


@dataclass
class Rebuild:
    """A rebuild under way or ended."""

    state: str = "running"
    position: int = 0
    of: int = 0


@dataclass
class Rebuilds:
    """The last rebuild of each projection in this process, and the tasks under way."""

    last: dict[str, Rebuild] = field(default_factory=dict)
    tasks: set[asyncio.Task[None]] = field(default_factory=set)


TASKS: web.AppKey[Rebuilds] = web.AppKey("rebuilds", Rebuilds)


async def list_projections(request: web.Request) -> web.StreamResponse:
    """Every projection: how far it is and how far behind."""
    services = _authorised(request)
    edge.no_query(request)
    items = [_item(request, name) for name in _positions(services)]
    return edge.view_answer(request, {"items": items}, services.follower.position)


async def get_projection(request: web.Request) -> web.StreamResponse:
    """One projection."""
    services = _authorised(request)
    edge.no_query(request)
    name = request.match_info["projection"]
    if name not in _positions(services):
        raise UnknownProjectionError(f"There is no projection {name!r}: see /v1/projections.")
    return edge.view_answer(request, _item(request, name), services.follower.position)


async def rebuild_projection(request: web.Request) -> web.StreamResponse:
    """Begin to rebuild a projection beside the live one; it is swapped in when ready."""
    services = _authorised(request)
    edge.no_query(request)
    rebuilder = _rebuilder(request)
    name = request.match_info["projection"]
    rebuilds = request.app[TASKS]
    if (last := rebuilds.last.get(name)) is None or last.state != "running":
        rebuilds.last[name] = Rebuild(of=services.follower.position)
        task = asyncio.create_task(_run(rebuilds.last[name], rebuilder, services.operators))
        rebuilds.tasks.add(task)
        task.add_done_callback(rebuilds.tasks.discard)
    return edge.answer(_item(request, name), status=202)


async def _run(rebuild: Rebuild, rebuilder: Rebuilder, operators: Executor) -> None:
    def progress(position: int, of: int) -> None:
        rebuild.position, rebuild.of = position, of

    try:
        loop = asyncio.get_running_loop()
        work = rebuilder.rebuild
        rebuild.position = await loop.run_in_executor(operators, work, progress)
        rebuild.state = "done"
    except Exception:
        log.exception("rebuild failed")
        rebuild.state = "failed"


async def compare_projection(request: web.Request) -> web.StreamResponse:
    """Rebuild a projection aside and compare it with the live one, row by row."""
    services = _authorised(request)
    edge.no_query(request)
    loop = asyncio.get_running_loop()
    compare = _rebuilder(request).compare
    position, tables = await loop.run_in_executor(services.operators, compare)
    body = {
        "projection": request.match_info["projection"],
        "position": position,
        "equal": all(table.equal for table in tables),
        "tables": [
            {
                "table": table.table,
                "rows": table.rows,
                "only_live": table.only_live,
                "only_rebuilt": table.only_rebuilt,
            }
            for table in tables
        ],
    }
    return edge.view_answer(request, body, services.follower.position)


def _authorised(request: web.Request) -> Services:
    services = edge.services(request)
    who = edge.caller(request)
    services.access.authorise(who, PROJECTION_OPERATE, REGISTRY, now())
    return services


def _rebuilder(request: web.Request) -> Rebuilder:
    services = edge.services(request)
    name = request.match_info["projection"]
    projection = services.runner.projections.get(name)
    if projection is None:
        known = ", ".join(services.runner.projections)
        raise UnknownProjectionError(f"{name!r} cannot be rebuilt; these can: {known}.")
    return Rebuilder(services.recorder, services.mapper, services.views, projection)


def _positions(services: Services) -> dict[str, int]:
    return {
        **services.runner.positions,
        "serving": services.follower.position,
        "access": services.access.position,
        "transparency": services.transparency.position,
        "webhooks": services.delivery.position,
        **services.outward,
    }


def _item(request: web.Request, name: str) -> dict[str, Any]:
    services = edge.services(request)
    position = _positions(services)[name]
    head = services.follower.position
    rebuild = request.app[TASKS].last.get(name)
    return {
        "projection": name,
        "kind": _kind(services, name),
        "position": position,
        "head": head,
        "lag": max(0, head - position),
        "rebuild": rebuild and {
            "state": rebuild.state, "position": rebuild.position, "of": rebuild.of
        },
    }  # fmt: skip


def _kind(services: Services, name: str) -> str:
    if name in services.runner.projections:
        return "sql"
    if name == "webhooks":
        return "http"
    if name == "siem":
        return "siem"
    return "nats" if name in services.outward else "memory"


_ONE = "/v1/projections/{projection}"
ROUTES = (
    Route(
        "GET", "/v1/projections", list_projections, "List projections", "operate",
        PROJECTION_OPERATE, answers={200: ObjectAnswer},
    ),
    Route(
        "GET", _ONE, get_projection, "Read a projection", "operate", PROJECTION_OPERATE,
        answers={200: ObjectAnswer},
    ),
    Route(
        "POST", _ONE + "/rebuild", rebuild_projection, "Rebuild a projection", "operate",
        PROJECTION_OPERATE, answers={202: ObjectAnswer},
    ),
    Route(
        "POST", _ONE + "/compare", compare_projection, "Compare with a rebuild", "operate",
        PROJECTION_OPERATE, answers={200: ObjectAnswer},
    ),
)  # fmt: skip
