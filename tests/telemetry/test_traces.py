"""Traces: from a client's request to whoever is told of the event."""

import asyncio
import importlib.util
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from api.main import running
from ledger.errors import MissingExtraError
from tests.harness import Api, registry, settings_in, text_content
from tests.webhooks.receiver import LOOPBACK, receiver

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = "b7ad6b7169203331"


@dataclass
class Collector:
    """A collector of spans by OTLP over HTTP."""

    url: str = ""
    spans: list[Any] = field(default_factory=list)

    async def take(self, request: web.Request) -> web.Response:
        sent = ExportTraceServiceRequest.FromString(await request.read())
        for resource in sent.resource_spans:
            for scope in resource.scope_spans:
                self.spans += scope.spans
        return web.Response()

    def named(self, name: str) -> list[Any]:
        return [span for span in self.spans if span.name == name]

    async def until(self, name: str) -> Any:
        async with asyncio.timeout(10):
            while not (found := self.named(name)):
                await asyncio.sleep(0.05)
        return found[0]


@asynccontextmanager
async def collector() -> AsyncIterator[Collector]:
    made = Collector()
    app = web.Application()
    app.router.add_post("/v1/traces", made.take)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    made.url = f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}"
    try:
        yield made
    finally:
        await runner.cleanup()


def attributes(span: Any) -> dict[str, Any]:
    return {a.key: a.value.string_value or a.value.int_value for a in span.attributes}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "100")


async def _commit(api: Api, headers: dict[str, str]) -> int:
    body = {"content": text_content("v2")}
    path = "/v1/projects/acme/prompts/p/-/versions"
    return (await api.ok("POST", path, body, headers=headers))["position"]


async def test_a_clients_trace_goes_on_to_the_event_and_whoever_is_told(tmp_path: Path) -> None:
    async with collector() as far, receiver() as hook:
        options = {"otlp_url": far.url, "webhook_allowed_networks": LOOPBACK}
        async with registry(tmp_path, **options) as api:
            await api.make_prompt("acme/p")
            await api.ok("POST", "/v1/webhooks", {"url": hook.url, "project": "acme"})
            position = await _commit(api, {"traceparent": f"00-{TRACE}-{PARENT}-01"})
            command = await far.until("command CommitVersion")
            route = "POST /v1/projects/{project}/prompts/{name}/-/versions"
            request = next(s for s in far.named(route) if s.trace_id.hex() == TRACE)
            assert request.parent_span_id.hex() == PARENT
            assert attributes(request)["http.response.status_code"] == 201
            assert attributes(request)["http.route"] == route.partition(" ")[2]
            assert command.parent_span_id == request.span_id
            assert attributes(command)["scrinia.position"] == position
            page = await api.ok("GET", f"/v1/events?after={position - 1}&limit=1")
            trace = page["items"][0]["traceparent"]
            assert trace == f"00-{TRACE}-{request.span_id.hex()}-01"
            await hook.until(1)
            assert hook.got[0][0]["traceparent"] == hook.bodies[0]["traceparent"] == trace


async def test_what_goes_wrong_is_an_error_and_shows_no_token(tmp_path: Path) -> None:
    async with collector() as far, registry(tmp_path, otlp_url=far.url) as api:
        views = api.services.views
        object.__setattr__(api.services, "views", None)
        await api.call("GET", "/v1/audit")
        object.__setattr__(api.services, "views", views)
        await api.as_token("scr_secret").call("GET", "/v1/whoami")
        failed = await far.until("GET /v1/audit")
        assert attributes(failed)["http.response.status_code"] >= 500
        assert failed.status.code == 2
        refused = await far.until("GET /v1/whoami")
        assert attributes(refused)["http.response.status_code"] == 401
        assert refused.status.code == 0
        assert api.token not in str(far.spans) and "scr_secret" not in str(far.spans)


async def test_a_collector_that_is_away_costs_nothing(tmp_path: Path) -> None:
    async with registry(tmp_path, otlp_url="http://127.0.0.1:9") as api:
        await api.make_prompt("acme/p")
        async with asyncio.timeout(5):
            await _commit(api, {})


async def test_without_a_collector_a_trace_still_goes_through(tmp_path: Path) -> None:
    async with registry(tmp_path) as api:
        await api.make_prompt("acme/p")
        trace = f"00-{TRACE}-{PARENT}-01"
        position = await _commit(api, {"traceparent": trace})
        page = await api.ok("GET", f"/v1/events?after={position - 1}&limit=1")
        assert page["items"][0]["traceparent"] == trace
        position = await _commit(api, {"traceparent": "no trace"})
        assert "traceparent" not in str(await api.ok("GET", f"/v1/events?after={position}"))


async def test_without_the_extra_it_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with registry(tmp_path):
        pass
    monkeypatch.delitem(sys.modules, "api.telemetry", raising=False)
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    assert importlib.util.find_spec("opentelemetry") is not None
    with pytest.raises(MissingExtraError, match="otel"):
        async with running(settings_in(tmp_path, otlp_url="http://127.0.0.1:9")):
            pass
