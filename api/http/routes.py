"""The table of routes. The hot one goes first: the router tries routes in this order."""

import asyncio

from aiohttp import web

from api.http import (
    access,
    access_requests,
    audit,
    branches,
    changes,
    checks,
    composing,
    consumers,
    environments,
    events,
    explaining,
    health,
    history,
    keys,
    labels,
    logins,
    oidc,
    operations,
    projects,
    promotions,
    prompts,
    reads,
    rendering,
    scim,
    scim_service,
    search,
    sign_in,
    signatures,
    similar,
    versions,
    webhooks,
)
from api.http.docs import add_docs
from api.http.edge import EDGE, Edge
from api.http.operations import TASKS, Rebuilds
from api.http.route import Route
from api.http.services import SERVICES, Services
from api.http.webhooks import TESTS, TESTS_MAX

BODY_BYTES_MAX = 8 * 1024 * 1024

ROUTES: tuple[Route, ...] = (
    *prompts.HOT_ROUTES,
    *prompts.ROUTES,
    *versions.ROUTES,
    *branches.ROUTES,
    *composing.ROUTES,
    *labels.ROUTES,
    *promotions.ROUTES,
    *checks.ROUTES,
    *consumers.ROUTES,
    *history.ROUTES,
    *rendering.ROUTES,
    *search.ROUTES,
    *similar.ROUTES,
    *projects.ROUTES,
    *environments.ROUTES,
    *changes.ROUTES,
    *access.ROUTES,
    *access_requests.ROUTES,
    *sign_in.ROUTES,
    *logins.ROUTES,
    *oidc.ROUTES,
    *scim_service.ROUTES,
    *scim.ROUTES,
    *explaining.ROUTES,
    *signatures.ROUTES,
    *audit.ROUTES,
    *reads.ROUTES,
    *events.ROUTES,
    *webhooks.ROUTES,
    *keys.ROUTES,
    *operations.ROUTES,
    *health.ROUTES,
)

# A prompt's name is segments joined by "/", none of which is "-": what belongs to it follows "/-/".
_NAME = r"{name:(?!-(?:/|$))[^/]+(?:/(?!-(?:/|$))[^/]+)*}"


def make_app(services: Services) -> web.Application:
    """The web application over running services."""
    edge = Edge(services.telemetry, services.door.requests_limit, services.door.refusals_limit)
    app = web.Application(middlewares=[edge.middleware], client_max_size=BODY_BYTES_MAX)
    app[SERVICES] = services
    app[EDGE] = edge
    app[TASKS] = Rebuilds()
    app[TESTS] = asyncio.Semaphore(TESTS_MAX)
    for route in ROUTES:
        path = route.path.replace("{name}", _NAME)
        if route.method == "GET":
            app.router.add_get(path, route.handler, allow_head=False)
        else:
            app.router.add_route(route.method, path, route.handler)
    add_docs(app, ROUTES)
    return app
