"""Health: alive, ready, version, metrics."""

from importlib.metadata import version

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.exposition import generate_latest

from api.http import counting, edge
from api.http.route import Route
from api.http.schemas import ObjectAnswer
from api.http.services import SERVICES
from domain.access import PROJECTION_OPERATE, REGISTRY
from ledger.ids import now


async def healthz(request: web.Request) -> web.StreamResponse:
    """The process answers."""
    edge.no_query(request)
    return edge.answer({"status": "ok"})


async def readyz(request: web.Request) -> web.StreamResponse:
    """The process follows the ledger and can take commands; 503 with the reason where not."""
    edge.no_query(request)
    services = edge.services(request)
    faults = [
        fault.detail for fault in (services.follower.fault, services.transparency.fault) if fault
    ]
    body = {
        "status": "unavailable" if faults else "ready",
        "position": services.follower.position,
        "faults": faults,
    }
    return edge.answer(body, status=503 if faults else 200)


async def server_version(request: web.Request) -> web.StreamResponse:
    """What runs here, on which ledger."""
    edge.no_query(request)
    body = {
        "name": "scrinia",
        "version": version("scrinia-server"),
        "ledger": edge.services(request).ledger_id,
    }
    return edge.answer(body)


async def metrics(request: web.Request) -> web.StreamResponse:
    """Prometheus text format."""
    edge.no_query(request)
    services = edge.services(request)
    services.access.authorise(edge.caller(request), PROJECTION_OPERATE, REGISTRY, now())
    registry = CollectorRegistry()
    registry.register(_Metrics(request.app))
    return web.Response(
        body=generate_latest(registry), headers={"Content-Type": "text/plain; version=0.0.4"}
    )


class _Metrics:
    """Renders plain counters when asked, so that counting costs an addition."""

    def __init__(self, app: web.Application) -> None:
        self._services = app[SERVICES]
        self._edge = app[edge.EDGE]

    def collect(self) -> list[Metric]:
        """Everything there is to measure."""
        services = self._services
        requests = CounterMetricFamily(
            "scrinia_http_requests", "Requests.", labels=["method", "route", "status"]
        )
        for (method, route, status), number in self._edge.requests.items():
            requests.add_metric([method, route, str(status)], number)
        lag = GaugeMetricFamily(
            "scrinia_projection_lag", "Events a view is behind.", labels=["projection"]
        )
        told = {"webhooks": services.delivery.position} | services.outward
        for name, position in (services.runner.positions | told).items():
            lag.add_metric([name], services.follower.position - position)
        webhooks = CounterMetricFamily(
            "scrinia_webhook_attempts", "Attempts of this process.", labels=["result"]
        )
        for result, number in services.courier.results.items():
            webhooks.add_metric([result], number)
        relay = services.relay
        return [
            requests,
            lag,
            webhooks,
            self._latencies(),
            GaugeMetricFamily(
                "scrinia_relay_connected",
                "Whether this process relays to NATS now.",
                int(relay is not None and relay.connected),
            ),
            CounterMetricFamily(
                "scrinia_siem_dropped",
                "Refusals that the SIEM was not told of.",
                services.refusals.dropped if services.refusals is not None else 0,
            ),
            GaugeMetricFamily(
                "scrinia_position", "Last followed position.", services.follower.position
            ),
            GaugeMetricFamily("scrinia_sealed", "Sealed size.", services.transparency.position),
            CounterMetricFamily("scrinia_scrub_passes", "Whole looks.", services.scrub.passes),
            GaugeMetricFamily(
                "scrinia_scrub_faults", "Events that are not intact.", len(services.scrub.faults)
            ),
            CounterMetricFamily("scrinia_commands", "Commands.", services.committer.commands),
            CounterMetricFamily("scrinia_batches", "Batches.", services.committer.batches),
            CounterMetricFamily("scrinia_serving_hits", "Memory hits.", services.serving.hits),
            CounterMetricFamily("scrinia_serving_misses", "Misses.", services.serving.misses),
            GaugeMetricFamily("scrinia_serving_bytes", "Memory used.", services.serving.bytes),
        ]

    def _latencies(self) -> Metric:
        counted = self._edge.commands
        buckets: list[tuple[str, float]] = []
        total = 0
        for bound, count in zip(
            (*counting.LATENCY_BOUNDS_SECONDS, "+Inf"), counted.counts, strict=True
        ):
            total += count
            buckets.append((str(bound), total))
        return HistogramMetricFamily(
            "scrinia_command_seconds", "From a command's arrival to its durable answer.",
            buckets, counted.seconds,
        )  # fmt: skip


ROUTES = (
    Route(
        "GET", "/healthz", healthz, "Alive", "health", answers={200: ObjectAnswer}, public=True
    ),
    Route(
        "GET", "/readyz", readyz, "Ready", "health",
        answers={200: ObjectAnswer, 503: ObjectAnswer}, public=True
    ),
    Route(
        "GET", "/v1/version", server_version, "Version", "health", answers={200: ObjectAnswer},
        public=True,
    ),
    Route(
        "GET", "/metrics", metrics, "Metrics", "health", PROJECTION_OPERATE,
        answers={200: "Prometheus text"},
    ),
)  # fmt: skip
