"""How long a change takes to everybody else: another process, an SSE client, a NATS subscriber.

`python -m bench.propagation` starts PostgreSQL, nats-server and two server processes, moves a label
again and again, and times each arrival from the moment the command was sent. The floors, taken in
turn with it: a raw NOTIFY to a listening connection, a raw JetStream publish to a subscriber.
"""

import asyncio
import json
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import aiohttp
import nats
import psycopg
import uvloop

from tests.harness import Process, text_content
from tests.servers import Nats, Postgres

CHANGES = int(os.environ.get("SCRINIA_BENCH_CHANGES", "300"))
ROUNDS = 3
PAUSE_SECONDS = 0.01
LABEL = "/v1/projects/acme/prompts/mail/-/labels/production"
Times = dict[str, list[float]]
ARRIVALS = (
    "answered", "answered, then read on the other process", "SSE client has it",
    "NATS subscriber has it", "floor: raw NOTIFY", "floor: raw NATS publish",
)  # fmt: skip


async def _processes(url: str, token: str) -> list[aiohttp.ClientSession]:
    """A session with one kept connection to each of the two processes."""
    found: dict[str, aiohttp.ClientSession] = {}
    headers = {"Authorization": f"Bearer {token}"}
    while len(found) < 2:
        connector = aiohttp.TCPConnector(limit=1, keepalive_timeout=600)
        session = aiohttp.ClientSession(url, connector=connector, headers=headers)
        async with session.get("/v1/whoami") as response:
            process = response.headers["X-Request-Id"].partition("-")[0]
        if process in found:
            await session.close()
        found.setdefault(process, session)
    return list(found.values())


async def _feed(url: str, token: str, arrived: dict[int, float], ready: asyncio.Event) -> None:
    headers = {"Authorization": f"Bearer {token}", "Accept": "text/event-stream"}
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{url}/v1/events", headers=headers) as response,
    ):
        ready.set()
        async for line in response.content:
            if line.startswith(b"id: "):
                arrived[int(line[4:])] = time.perf_counter()


async def changes(server: Process, nats_url: str, times: Times) -> None:
    """Move the label CHANGES times; when it was answered, read elsewhere, fed and relayed."""
    writer, reader = await _processes(server.url, server.token)
    fed: dict[int, float] = {}
    relayed: dict[int, float] = {}
    ready = asyncio.Event()
    feeding = asyncio.create_task(_feed(server.url, server.token, fed, ready))
    client = await nats.connect(nats_url)

    async def on_message(message: object) -> None:
        relayed[json.loads(message.data)["position"]] = time.perf_counter()

    await client.subscribe("scrinia.v1.acme.label.moved", cb=on_message)
    await ready.wait()
    await asyncio.sleep(0.5)
    for number in range(CHANGES):
        sent = time.perf_counter()
        async with writer.put(LABEL, json={"version": 1 + number % 2}) as response:
            answer = await response.json()
        answered = time.perf_counter()
        if not answer["changed"]:
            continue
        position = answer["position"]
        headers = {"Scrinia-Min-Position": str(position)}
        async with reader.get("/v1/projects/acme/prompts/mail", headers=headers) as response:
            seen = (await response.json())["position"]
        assert seen == position
        read = time.perf_counter()
        deadline = read + 5
        while (position not in fed or position not in relayed) and time.perf_counter() < deadline:
            await asyncio.sleep(0.0005)
        times["answered"].append(answered - sent)
        times["answered, then read on the other process"].append(read - sent)
        times["SSE client has it"].append(fed[position] - sent)
        times["NATS subscriber has it"].append(relayed[position] - sent)
        await asyncio.sleep(PAUSE_SECONDS)
    feeding.cancel()
    await client.close()
    for session in (writer, reader):
        await session.close()


async def notify_floor(url: str, times: Times) -> None:
    """A NOTIFY on one connection to a LISTEN on another."""
    speaker = await psycopg.AsyncConnection.connect(url, autocommit=True)
    listener = await psycopg.AsyncConnection.connect(url, autocommit=True)
    await listener.execute("LISTEN floor")
    notifications = listener.notifies()
    for _ in range(CHANGES):
        sent = time.perf_counter()
        await speaker.execute("NOTIFY floor")
        await anext(notifications)
        times["floor: raw NOTIFY"].append(time.perf_counter() - sent)
        await asyncio.sleep(PAUSE_SECONDS)
    await speaker.close()
    await listener.close()


async def publish_floor(url: str, times: Times) -> None:
    """A JetStream publish to a subscriber of its subject."""
    client = await nats.connect(url)
    js = client.jetstream()
    await js.add_stream(name="FLOOR", subjects=["floor.>"])
    arrived: asyncio.Queue[float] = asyncio.Queue()

    async def on_message(message: object) -> None:
        arrived.put_nowait(time.perf_counter())

    await client.subscribe("floor.x", cb=on_message)
    await client.flush()
    for _ in range(CHANGES):
        sent = time.perf_counter()
        await js.publish("floor.x", b"x" * 700)
        times["floor: raw NATS publish"].append(await arrived.get() - sent)
        await asyncio.sleep(PAUSE_SECONDS)
    await js.delete_stream("FLOOR")
    await client.close()


def _figures(times: Times) -> None:
    print("| from the moment of sending | p50 ms | p99 ms | p50 by round |\n|---|---|---|---|")
    for name, found in times.items():
        size = len(found) // ROUNDS
        rounds = [statistics.median(found[i * size : (i + 1) * size]) for i in range(ROUNDS)]
        ordered = sorted(found)
        p50, p99 = ordered[len(ordered) // 2], ordered[int(len(ordered) * 0.99)]
        spread = f"{min(rounds) * 1000:.2f}-{max(rounds) * 1000:.2f}"
        print(f"| {name} | {p50 * 1000:.2f} | {p99 * 1000:.2f} | {spread} |")


def main() -> None:
    """Measure in turn, ROUNDS times."""
    postgres, bus = Postgres(), Nats()
    times: Times = {name: [] for name in ARRIVALS}
    with tempfile.TemporaryDirectory() as folder:
        postgres.start()
        bus.start()
        url = postgres.database()
        env = {"SCRINIA_DATABASE_URL": url, "SCRINIA_NATS_URL": bus.url, "SCRINIA_PROCESSES": "2"}
        server = Process(Path(folder) / "data", env)
        server.start()
        try:
            client = server.client()
            client.ok("POST", "/v1/projects", {"project": "acme"})
            body = {"name": "mail", "content": text_content("one")}
            client.ok("POST", "/v1/projects/acme/prompts", body)
            path = "/v1/projects/acme/prompts/mail/-/versions"
            client.ok("POST", path, {"content": text_content("two")})
            client.ok("PUT", LABEL, {"version": 2})
            for _ in range(ROUNDS):
                for step in _steps(server, bus, url):
                    uvloop.run(step(times))
        finally:
            server.stop()
            bus.stop()
            postgres.stop()
    print(f"Python {platform.python_version()}, {os.cpu_count()} cores; {ROUNDS} rounds of"
          f" {CHANGES} changes, one at a time\n")  # fmt: skip
    _figures(times)


def _steps(server: Process, bus: Nats, url: str) -> list[Callable[[Times], Awaitable[None]]]:
    return [
        lambda times: changes(server, bus.url, times),
        lambda times: notify_floor(url, times),
        lambda times: publish_floor(bus.url, times),
    ]


if __name__ == "__main__":
    main()
