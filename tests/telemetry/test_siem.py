"""What a SIEM is sent: all of the ledger once and in order, and what was refused."""

import asyncio
import json
import re
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trustme
from aiohttp import web

from tests.harness import Api, registry, text_content

HEADER = re.compile(
    rb"<(\d+)>1 (\S+Z) \S+ scrinia \d+ (\S+) \[scrinia@32473((?: \w+=\"(?:[^\"\\\]]|\\.)*\")*)\] "
    rb"\xef\xbb\xbf(\{.*\})", re.DOTALL
)  # fmt: skip


class Siem:
    """Whatever it is sent, as (priority, action, facts, body)."""

    def __init__(self) -> None:
        self.url = ""
        self.got: list[tuple[int, str, dict[str, str], dict[str, Any]]] = []
        self.raw = b""

    def take(self, message: bytes) -> None:
        self.raw += message
        priority, time, action, facts, body = HEADER.fullmatch(message).groups()
        parsed = json.loads(body)
        assert parsed["time"] == time.decode()
        found = dict(re.findall(r' (\w+)="((?:[^"\\\]]|\\.)*)"', facts.decode()))
        self.got.append((int(priority), action.decode(), found, parsed))

    def take_otlp(self, sent: dict[str, Any]) -> None:
        for record in sent["resourceLogs"][0]["scopeLogs"][0]["logRecords"]:
            facts = {a["key"]: next(iter(a["value"].values())) for a in record["attributes"]}
            priority = {"audit": 109, "security": 84}[facts["scrinia.kind"]]
            body = json.loads(record["body"]["stringValue"])
            named = {"position": facts.get("scrinia.position")}
            self.got.append((priority, record["eventName"], named, body))

    @property
    def audited(self) -> list[dict[str, Any]]:
        return [body for priority, _, _, body in self.got if priority == 13 * 8 + 5]

    @property
    def refusals(self) -> list[dict[str, Any]]:
        return [body for priority, _, _, body in self.got if priority == 10 * 8 + 4]

    async def until(self, position: int) -> None:
        async with asyncio.timeout(15):
            while not self.audited or self.audited[-1]["position"] < position:
                await asyncio.sleep(0.02)

    async def until_refusals(self, number: int) -> None:
        async with asyncio.timeout(15):
            while len(self.refusals) < number:
                await asyncio.sleep(0.02)


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, siem: Siem) -> None:
        self._siem = siem

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self._siem.take(data)


async def _read_counted(siem: Siem, reader: asyncio.StreamReader) -> None:
    while True:
        try:
            length = int(await reader.readuntil(b" "))
            siem.take(await reader.readexactly(length))
        except asyncio.IncompleteReadError:
            return


@asynccontextmanager
async def stream_siem(
    siem: Siem, port: int = 0, context: ssl.SSLContext | None = None
) -> AsyncIterator[int]:
    """A syslog server; the writers of its connections are closed at the end."""
    writers = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        await _read_counted(siem, reader)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", port, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for writer in writers:
            writer.transport.abort()


@asynccontextmanager
async def siem_of(kind: str, folder: Path) -> AsyncIterator[tuple[Siem, dict[str, Any]]]:
    siem = Siem()
    if kind == "udp":
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(
            lambda: _Datagrams(siem), local_addr=("127.0.0.1", 0)
        )
        port = transport.get_extra_info("sockname")[1]
        yield siem, {"siem_url": f"syslog+udp://127.0.0.1:{port}"}
        transport.close()
    elif kind == "tcp":
        async with stream_siem(siem) as port:
            yield siem, {"siem_url": f"syslog+tcp://127.0.0.1:{port}"}
    elif kind == "tls":
        authority = trustme.CA()
        ca_file = folder / "ca.pem"
        authority.cert_pem.write_to_path(str(ca_file))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("localhost").configure_cert(context)
        async with stream_siem(siem, context=context) as port:
            url = f"syslog+tls://localhost:{port}"
            yield siem, {"siem_url": url, "siem_tls_ca_file": ca_file}
    else:
        app = web.Application()

        async def take(request: web.Request) -> web.Response:
            siem.take_otlp(await request.json())
            return web.json_response({})

        app.router.add_post("/v1/logs", take)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        yield (
            siem,
            {"siem_url": f"otlp+http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}"},
        )
        await runner.cleanup()


async def _change(api: Api, number: int) -> int:
    path = "/v1/projects/acme/prompts/p/-/versions"
    body = {"content": text_content(f"v{number}"), "message": 'why: "quoted" ] and \\ ünïcode'}
    return (await api.ok("POST", path, body))["position"]


@pytest.mark.parametrize("kind", ["udp", "tcp", "tls", "otlp"])
async def test_every_event_and_every_refusal_arrives(tmp_path: Path, kind: str) -> None:
    async with siem_of(kind, tmp_path) as (siem, options), registry(tmp_path, **options) as api:
        await api.make_prompt("acme/p")
        for number in range(2, 6):
            await _change(api, number)
        await siem.until(api.position)
        assert [body["position"] for body in siem.audited] == list(range(1, api.position + 1))
        last = siem.got[len(siem.audited) - 1]
        assert last[1] == "version.committed" and last[2]["position"] == str(api.position)
        assert last[3]["resource"] == "projects/acme/prompts/p"
        assert last[3]["actor"]["type"] == "person" and last[3]["authz"]["grants"]
        nobody = (await api.make_caller()).api
        assert (await nobody.call("GET", "/v1/principals")).status == 403
        assert (await api.as_token("scr_wrong").call("GET", "/v1/whoami")).status == 401
        await siem.until_refusals(2)
        forbidden, unknown = siem.refusals
        assert (forbidden["action"], forbidden["permission"]) == ("forbidden", "access.read")
        assert forbidden["principal"] and forbidden["remote"] == "127.0.0.1"
        assert (unknown["action"], unknown["path"]) == ("unauthenticated", "/v1/whoami")
        everything = json.dumps([entry[3] for entry in siem.got])
        assert "scr_" not in everything and "quoted" not in everything
        items = (await api.ok("GET", "/v1/projections"))["items"]
        assert {i["projection"]: i["kind"] for i in items}["siem"] == "siem"


async def test_a_siem_that_was_away_gets_what_it_missed(tmp_path: Path) -> None:
    siem = Siem()
    async with stream_siem(siem) as port:
        pass
    async with registry(tmp_path, siem_url=f"syslog+tcp://127.0.0.1:{port}") as api:
        await api.make_prompt("acme/p")
        position = await _change(api, 2)
        async with stream_siem(siem, port):
            await siem.until(position)
        await asyncio.sleep(0.2)
        position = await _change(api, 3)
        async with stream_siem(siem, port):
            await siem.until(position)
        told = [body["position"] for body in siem.audited]
        assert list(dict.fromkeys(told)) == list(range(1, position + 1))


async def test_it_goes_on_where_another_process_left_it(tmp_path: Path) -> None:
    async with siem_of("otlp", tmp_path) as (siem, options):
        for number in range(2, 5):
            async with registry(tmp_path, **options) as api:
                if number == 2:
                    await api.make_prompt("acme/p")
                position = await _change(api, number)
                await siem.until(position)
        assert [body["position"] for body in siem.audited] == list(range(1, position + 1))
