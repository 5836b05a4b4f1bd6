"""The reference: the OpenAPI document, a page that shows it, and the meaning of every error code.

Everything is served from here; the page needs no other host (swagger-ui-dist 5.35.0, Apache-2.0).
"""

import asyncio
from dataclasses import dataclass
from html import escape
from importlib.resources import files

import orjson
from aiohttp import web

from api.http.openapi import document
from api.http.problems import documented_codes
from api.http.route import Route


@dataclass
class Reference:
    """The OpenAPI document, made when it is first asked for: no start waits for it."""

    routes: tuple[Route, ...]
    body: bytes | None = None

    def made(self) -> bytes:
        """The document as it is sent."""
        if self.body is None:
            self.body = orjson.dumps(document(self.routes))
        return self.body


REFERENCE: web.AppKey[Reference] = web.AppKey("reference", Reference)
_POLICY = {"Content-Security-Policy": "default-src 'self'; style-src 'self' 'unsafe-inline';"
           " img-src 'self' data:"}  # fmt: skip
_STATIC = {
    "swagger-ui-bundle.js": "text/javascript",
    "swagger-ui.css": "text/css",
    "reference.js": "text/javascript",
}


async def openapi_json(request: web.Request) -> web.StreamResponse:
    """The OpenAPI document."""
    body = await asyncio.to_thread(request.app[REFERENCE].made)
    return web.Response(body=body, content_type="application/json")


async def reference_page(request: web.Request) -> web.StreamResponse:
    """The reference page."""
    return _page(
        "Scrinia API",
        '<link rel="stylesheet" href="/docs/static/swagger-ui.css"><div id="reference"></div>'
        '<script src="/docs/static/swagger-ui-bundle.js"></script>'
        '<script src="/docs/static/reference.js"></script>',
    )


async def errors_page(request: web.Request) -> web.StreamResponse:
    """Every error code, its status and meaning."""
    rows = "".join(
        f'<tr id="{code}"><td><code>{code}</code></td><td>{status}</td>'
        f"<td>{escape(title)}</td></tr>"
        for code, (status, title) in sorted(documented_codes().items())
    )
    return _page(
        "Scrinia errors",
        "<h1>Errors</h1><p>Every refusal is <code>application/problem+json</code> (RFC 9457) with"
        " one of these stable codes; its <code>detail</code> says what to do.</p>"
        f"<table><tr><th>code</th><th>status</th><th>meaning</th></tr>{rows}</table>",
    )


async def static_file(request: web.Request) -> web.StreamResponse:
    """A file of the reference page."""
    name = request.match_info["file"]
    if name not in _STATIC:
        raise web.HTTPNotFound
    folder = files("api.http").joinpath("static")
    path = folder / name if name == "reference.js" else folder / "swagger-ui" / name
    headers = {"Cache-Control": "max-age=86400"}
    return web.Response(body=path.read_bytes(), content_type=_STATIC[name], headers=headers)


def _page(title: str, body: str) -> web.Response:
    html = (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>'
        '<meta name="viewport" content="width=device-width">'
        "<style>body{font:16px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:75rem;"
        "padding:0 1rem}td,th{text-align:left;padding:.25rem 1rem .25rem 0}</style>"
        f"{body}</html>"
    )
    return web.Response(text=html, content_type="text/html", headers=_POLICY)


def add_docs(app: web.Application, routes: tuple[Route, ...]) -> None:
    """Serve the reference of these routes."""
    app[REFERENCE] = Reference(routes)
    app.router.add_get("/openapi.json", openapi_json)
    app.router.add_get("/docs", reference_page)
    app.router.add_get("/docs/errors", errors_page)
    app.router.add_get("/docs/static/{file}", static_file)
