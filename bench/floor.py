"""The floors: bare aiohttp doing only the unavoidable, as a process of its own.

`python -m bench.floor read FILE` answers prompts from a dict with the given bodies and headers, on
the same dynamic route. `python -m bench.floor write FILE` parses the same JSON, makes one Ed25519
signature and inserts raw rows in batches with the same durability.
"""

import asyncio
import pickle
import sqlite3
import sys
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path

import orjson
import uvloop
from aiohttp import web
from multidict import CIMultiDict
from nacl.signing import SigningKey

NAME = r"{name:(?!-(?:/|$))[^/]+(?:/(?!-(?:/|$))[^/]+)*}"


def read_app(file: str) -> web.Application:
    answers = pickle.loads(Path(file).read_bytes())
    ready = {name: (body, CIMultiDict(headers)) for name, (body, headers) in answers.items()}

    async def handler(request: web.Request) -> web.Response:
        body, headers = ready[request.match_info["name"]]
        return web.Response(body=body, headers=headers)

    app = web.Application()
    app.router.add_get("/v1/projects/{project}/prompts/" + NAME, handler, allow_head=False)
    return app


class Writer:
    def __init__(self, file: str) -> None:
        self.db = sqlite3.connect(file, isolation_level=None, check_same_thread=False)
        self.db.execute("PRAGMA journal_mode=WAL")
        self.db.execute("PRAGMA synchronous=FULL")
        self.db.execute(
            "CREATE TABLE events (position INTEGER PRIMARY KEY, payload BLOB, sig BLOB)"
        )
        self.key = SigningKey(b"k" * 32)
        self.queue: deque = deque()
        self.wake = asyncio.Event()
        self.thread = ThreadPoolExecutor(1)

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self.wake.wait()
            self.wake.clear()
            while self.queue:
                batch = [self.queue.popleft() for _ in range(min(256, len(self.queue)))]
                await loop.run_in_executor(self.thread, self.insert, [row for row, _ in batch])
                for _, future in batch:
                    future.set_result(None)

    def insert(self, rows: list[tuple[bytes, bytes]]) -> None:
        self.db.execute("BEGIN IMMEDIATE")
        marks = ",".join(["(?,?)"] * len(rows))
        self.db.execute(
            f"INSERT INTO events (payload, sig) VALUES {marks}", [v for row in rows for v in row]
        )
        self.db.execute("COMMIT")

    async def handler(self, request: web.Request) -> web.Response:
        body = await request.read()
        value = orjson.loads(body)
        payload = orjson.dumps({"hash": sha256(body).hexdigest(), "data": value})
        future = asyncio.get_running_loop().create_future()
        self.queue.append(((payload, self.key.sign(payload).signature), future))
        self.wake.set()
        await future
        answer = orjson.dumps({"ref": "acme/x@1", "position": 1, "changed": True})
        return web.Response(status=201, body=answer, content_type="application/json")


async def serve(kind: str, file: str) -> None:
    if kind == "read":
        app = read_app(file)
    else:
        writer = Writer(file)
        app = web.Application(client_max_size=8 * 1024 * 1024)
        path = "/v1/projects/{project}/prompts/" + NAME + "/-/versions"
        app.router.add_post(path, writer.handler)
        task = asyncio.create_task(writer.run())
        app["task"] = task
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    print(site._server.sockets[0].getsockname()[1], flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(serve(sys.argv[1], sys.argv[2]))
