"""A receiver of webhooks that keeps what it was sent and answers as it is told to."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from standardwebhooks import Webhook

from tests.harness import Api

LOOPBACK = "127.0.0.0/8"


@dataclass
class Receiver:
    """`answer` gives the status for a body; what came is in `got`, headers and raw body."""

    answer: Callable[[dict[str, Any]], int] = lambda body: 204
    got: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)
    url: str = ""
    connections: int = 0

    @property
    def bodies(self) -> list[dict[str, Any]]:
        return [json.loads(raw) for _, raw in self.got]

    @property
    def positions(self) -> list[int]:
        return [body["position"] for body in self.bodies]

    async def _take(self, request: web.Request) -> web.Response:
        raw = await request.read()
        self.got.append(({k.lower(): v for k, v in request.headers.items()}, raw))
        return web.Response(status=self.answer(json.loads(raw)), headers=self.headers)

    async def until(self, number: int, seconds: float = 15) -> None:
        async with asyncio.timeout(seconds):
            while len(self.got) < number:
                await asyncio.sleep(0.02)

    def verify(self, secret: str, index: int = -1) -> Any:
        """What the standard's own library says of a message; raises where it is not genuine."""
        headers, raw = self.got[index]
        return Webhook(secret).verify(raw, headers)


@asynccontextmanager
async def receiver(answer: Callable[[dict[str, Any]], int] = lambda body: 204) -> AsyncIterator[Receiver]:  # fmt: skip
    """One that listens on loopback."""
    made = Receiver(answer)
    app = web.Application()
    app.router.add_post("/{path:.*}", made._take)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = site._server.sockets[0].getsockname()[1]
    made.url = f"http://127.0.0.1:{port}/hook"
    try:
        yield made
    finally:
        await runner.cleanup()


async def until(api: Api, webhook_id: str, **wanted: Any) -> dict[str, Any]:
    """The webhook once its fields are as wanted."""
    async with asyncio.timeout(15):
        while True:
            item = await api.ok("GET", f"/v1/webhooks/{webhook_id}")
            if all(item[name] == value for name, value in wanted.items()):
                return item
            await asyncio.sleep(0.05)
