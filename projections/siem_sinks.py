"""How records reach a SIEM: syslog (RFC 5424) by UDP, TCP or TLS, or OpenTelemetry logs by HTTP."""

import asyncio
import os
import re
import socket
import ssl
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import orjson

from ledger.payload import parse_time
from projections.destinations import SiemSettings

CONNECT_SECONDS_MAX = 10.0
SEND_SECONDS_MAX = 10.0
_PORTS = {"syslog+udp": 514, "syslog+tcp": 601, "syslog+tls": 6514}
_FACILITIES = {"audit": 13, "security": 10}  # "log audit", "security/authorization messages"
_SEVERITIES = {"audit": 5, "security": 4}  # notice, warning
_OTLP_SEVERITIES = {"audit": (10, "INFO2"), "security": (13, "WARN")}
_TRACE = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")
_BOM = b"\xef\xbb\xbf"
# RFC 5612's number for documentation: the project has none of its own.
_STRUCTURED_ID = "scrinia@32473"


@dataclass(frozen=True)
class Record:
    """What is sent: `audit` or `security`, when (RFC 3339), what happened in a word, all of it."""

    kind: str
    time: str
    action: str
    body: dict[str, Any]
    trace: str | None = None


class SiemSink(ABC):
    """One connection to a SIEM. Errors are OSError or TimeoutError."""

    @abstractmethod
    async def open(self) -> None:
        """Connect."""

    @abstractmethod
    async def send(self, records: Sequence[Record]) -> None:
        """Send; returns when the other side has them, as far as the protocol can tell."""

    @abstractmethod
    async def close(self) -> None:
        """End."""


def new_sink(settings: SiemSettings) -> SiemSink:
    """The sink for a URL of SIEM_SCHEMES."""
    parts = urlsplit(settings.url)
    host, port = parts.hostname or "", parts.port or _PORTS.get(parts.scheme, 0)
    if parts.scheme == "syslog+udp":
        return SyslogDatagrams(host, port)
    if parts.scheme.startswith("syslog+"):
        context = None
        if parts.scheme == "syslog+tls":
            context = ssl.create_default_context(cafile=settings.tls_ca_file)
        return SyslogStream(host, port, context)
    return OtlpLogs(settings)


def syslog_message(record: Record) -> bytes:
    """RFC 5424: header, structured data to filter by, and the whole record as JSON."""
    priority = _FACILITIES[record.kind] * 8 + _SEVERITIES[record.kind]
    body = record.body
    facts = {
        "position": body.get("position"),
        "actor": (body.get("actor") or {}).get("id") or body.get("principal"),
        "resource": body.get("resource"),
        "request": body.get("request_id"),
    }
    structured = "".join(
        f' {name}="{_escaped(str(value))}"' for name, value in facts.items() if value is not None
    )
    head = (
        f"<{priority}>1 {record.time} {_word(socket.gethostname(), 255)} scrinia {os.getpid()}"
        f" {_word(record.action, 32)} [{_STRUCTURED_ID}{structured}] "
    )
    return head.encode() + _BOM + orjson.dumps(body)


def _word(text: str, most: int) -> str:
    """PRINTUSASCII without spaces."""
    return re.sub(r"[^!-~]", "_", text)[:most] or "-"


def _escaped(value: str) -> str:
    """A PARAM-VALUE: RFC 5424 6.3.3."""
    return re.sub(r'(["\\\]])', r"\\\1", value)


class SyslogDatagrams(SiemSink):
    """RFC 5426: a datagram a record. Nobody tells what was lost."""

    def __init__(self, host: str, port: int) -> None:
        self._address = (host, port)
        self._transport: asyncio.DatagramTransport | None = None

    async def open(self) -> None:
        """See SiemSink."""
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_datagram_endpoint(
            asyncio.DatagramProtocol, remote_addr=self._address
        )

    async def send(self, records: Sequence[Record]) -> None:
        """See SiemSink."""
        for record in records:
            if self._transport is not None:
                self._transport.sendto(syslog_message(record))
            await asyncio.sleep(0)

    async def close(self) -> None:
        """See SiemSink."""
        if self._transport is not None:
            self._transport.close()


class SyslogStream(SiemSink):
    """RFC 6587 octet counting over TCP, RFC 5425 over TLS. What the other side read, it never says:
    at a break the last moments may be lost, which the ledger itself is not.
    """

    def __init__(self, host: str, port: int, context: ssl.SSLContext | None) -> None:
        self._address = (host, port)
        self._context = context
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def open(self) -> None:
        """See SiemSink."""
        async with asyncio.timeout(CONNECT_SECONDS_MAX):
            self._streams = await asyncio.open_connection(*self._address, ssl=self._context)

    async def send(self, records: Sequence[Record]) -> None:
        """See SiemSink."""
        if self._streams is None:
            raise ConnectionError("not connected")
        reader, writer = self._streams
        await asyncio.sleep(0)  # lets an end that has arrived be seen
        if reader.at_eof():
            raise ConnectionResetError("the syslog server has closed the connection")
        for record in records:
            message = syslog_message(record)
            writer.write(b"%d %s" % (len(message), message))
        async with asyncio.timeout(SEND_SECONDS_MAX):
            await writer.drain()

    async def close(self) -> None:
        """See SiemSink."""
        if self._streams is not None:
            self._streams[1].close()


class OtlpLogs(SiemSink):
    """OTLP over HTTP in its JSON encoding (opentelemetry.io/docs/specs/otlp); it is answered."""

    def __init__(self, settings: SiemSettings) -> None:
        base = settings.url.removeprefix("otlp+").rstrip("/")
        self._url = base if base.endswith("/v1/logs") else base + "/v1/logs"
        self._tls_ca_file = settings.tls_ca_file
        self._session: aiohttp.ClientSession | None = None

    async def open(self) -> None:
        """See SiemSink."""
        context = ssl.create_default_context(cafile=self._tls_ca_file)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=context),
            timeout=aiohttp.ClientTimeout(total=SEND_SECONDS_MAX),
        )

    async def send(self, records: Sequence[Record]) -> None:
        """See SiemSink."""
        if self._session is None:
            raise ConnectionError("not connected")
        body = orjson.dumps({"resourceLogs": [self._resource(records)]})
        headers = {"Content-Type": "application/json"}
        try:
            async with self._session.post(self._url, data=body, headers=headers) as response:
                if response.status != 200:
                    raise ConnectionError(f"the collector answers {response.status}")
        except aiohttp.ClientError as error:
            raise ConnectionError(str(error) or type(error).__name__) from None

    def _resource(self, records: Sequence[Record]) -> dict[str, Any]:
        return {
            "resource": {
                "attributes": _attributes(
                    {"service.name": "scrinia", "host.name": socket.gethostname()}
                )
            },
            "scopeLogs": [
                {"scope": {"name": "scrinia"}, "logRecords": [_log_record(r) for r in records]}
            ],
        }

    async def close(self) -> None:
        """See SiemSink."""
        if self._session is not None:
            await self._session.close()


def _log_record(record: Record) -> dict[str, Any]:
    number, text = _OTLP_SEVERITIES[record.kind]
    nanoseconds = int(parse_time(record.time).timestamp() * 1_000_000) * 1000
    body = record.body
    facts = {
        "scrinia.kind": record.kind,
        "scrinia.position": body.get("position"),
        "scrinia.resource": body.get("resource"),
        "scrinia.request_id": body.get("request_id"),
    }
    found = _TRACE.fullmatch(record.trace or "")
    return {
        "timeUnixNano": str(nanoseconds),
        "severityNumber": number,
        "severityText": text,
        "eventName": record.action,
        "body": {"stringValue": orjson.dumps(body).decode()},
        "attributes": _attributes(facts),
        **({"traceId": found.group(1), "spanId": found.group(2)} if found else {}),
    }


def _attributes(facts: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {"key": key, "value": {"intValue": str(v)} if isinstance(v, int) else {"stringValue": v}}
        for key, v in facts.items()
        if v is not None
    ]
