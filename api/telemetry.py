"""OpenTelemetry traces, where the extra `otel` is installed and SCRINIA_OTLP_URL is set.

A span for each request and one in it for each command. The request's span goes into the events'
request data, and from there into CloudEvents, NATS headers and webhooks: whoever acts on an event
can name its cause. Everything else of the SDK is set by its own `OTEL_…` variables.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from aiohttp import web
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Span, SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

SERVICE_NAME = "scrinia"
SEND_SECONDS_MAX = 3.0


class Telemetry:
    """Makes spans and sends them in the background, in batches."""

    def __init__(self, otlp_url: str, version: str) -> None:
        resource = Resource.create(
            {
                "service.name": os.environ.get("OTEL_SERVICE_NAME", SERVICE_NAME),
                "service.version": version,
            }
        )
        exporter = OTLPSpanExporter(
            endpoint=otlp_url.rstrip("/") + "/v1/traces", timeout=SEND_SECONDS_MAX
        )
        self._provider = TracerProvider(resource=resource)
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("scrinia", version)
        self._propagator = TraceContextTextMapPropagator()

    @contextmanager
    def request(self, request: web.Request) -> Iterator[Span]:
        """Around a request: a server span that continues the client's trace, if it has one."""
        resource = request.match_info.route.resource
        route = resource.canonical if resource is not None else None
        attributes = {
            "http.request.method": request.method,
            "url.path": request.path,
            "url.scheme": request.scheme,
        } | ({"http.route": route} if route is not None else {})
        parent = self._propagator.extract(dict(request.headers.items()))
        with self._tracer.start_as_current_span(
            f"{request.method} {route}" if route is not None else request.method,
            context=parent, kind=SpanKind.SERVER, attributes=attributes,
        ) as span:  # fmt: skip
            yield span

    @staticmethod
    def answered(span: Span, status: int) -> None:
        """Say in a request's span how it was answered."""
        span.set_attribute("http.response.status_code", status)
        if status >= 500:
            span.set_status(Status(StatusCode.ERROR))

    @contextmanager
    def command(self, name: str) -> Iterator[Span]:
        """Around a command, from the queue to its durable answer."""
        with self._tracer.start_as_current_span(f"command {name}") as span:
            yield span

    def traceparent(self) -> str | None:
        """The current span as W3C trace context."""
        carrier: dict[str, str] = {}
        self._propagator.inject(carrier)
        return carrier.get("traceparent")

    def close(self) -> None:
        """Send what is still waiting."""
        self._provider.shutdown()
