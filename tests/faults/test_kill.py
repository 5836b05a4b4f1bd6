"""kill -9 under load: what was acknowledged stays, what was not can be asked for again.

A kill shows what a crashed process does, not power loss: the pages it wrote live on in the kernel.
"""

import asyncio
import os
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import aiohttp
import pytest

from tests.harness import Process, text_content, verify

CLIENTS = 32
UNANSWERED_MIN = 8
PROMPTS = 6
VERIFY_EVERY = 5


@dataclass
class Sent:
    key: str
    path: str
    body: dict


@dataclass
class Load:
    """What clients have sent and what they were told."""

    url: str
    token: str
    acknowledged: dict[str, tuple[str, int, str]] = field(default_factory=dict)
    unanswered: dict[str, Sent] = field(default_factory=dict)
    replayed: int = 0
    number: int = 0

    def next(self) -> Sent:
        self.number += 1
        text = f"text {self.number}"
        path = f"/v1/projects/acme/prompts/p{self.number % PROMPTS}/-/versions"
        return Sent(f"key-{self.number}", path, {"content": text_content(text)})

    async def send(self, session: aiohttp.ClientSession, sent: Sent) -> None:
        self.unanswered[sent.key] = sent
        headers = {"Authorization": f"Bearer {self.token}", "Idempotency-Key": sent.key}
        async with session.post(self.url + sent.path, json=sent.body, headers=headers) as response:
            answer = await response.json()
            assert response.status == 201, answer
            self.replayed += response.headers.get("Idempotency-Replayed") == "true"
        self.acknowledged[sent.key] = (sent.path, answer["version"], sent.body["content"]["text"])
        del self.unanswered[sent.key]

    async def client(self, session: aiohttp.ClientSession) -> None:
        while True:
            await self.send(session, self.next())


@asynccontextmanager
async def _session() -> AsyncIterator[aiohttp.ClientSession]:
    connector = aiohttp.TCPConnector(limit=0)
    timeout = aiohttp.ClientTimeout(total=30)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
        yield session


async def _until_killed(load: Load, server: Process, seconds: float) -> int:
    """Load the server, kill it at a random moment; how many commands were unanswered."""
    async with _session() as session:
        clients = [asyncio.create_task(load.client(session)) for _ in range(CLIENTS)]
        await asyncio.sleep(seconds)
        while len(load.unanswered) < UNANSWERED_MIN:
            await asyncio.sleep(0)
        unanswered = len(load.unanswered)
        server.kill()
        for client in clients:
            client.cancel()
        results = await asyncio.gather(*clients, return_exceptions=True)
        strange = [r for r in results if isinstance(r, AssertionError)]
        assert not strange, strange
        return unanswered


async def _ask_again(load: Load) -> None:
    async with _session() as session:
        for sent in list(load.unanswered.values()):
            await load.send(session, sent)


def _check(load: Load, server: Process) -> None:
    client = server.client()
    held: dict[str, list[str]] = {}
    for path in {path for path, _, _ in load.acknowledged.values()}:
        prompt = path.removesuffix("/-/versions")
        newest = client.ok("GET", f"{prompt}?label=latest")["version"]
        held[path] = [
            client.ok("GET", f"{prompt}?version={n}")["content"]["text"]
            for n in range(1, newest + 1)
        ]
        assert len(set(held[path])) == newest, "a command was doubled"
    for path, version, text in load.acknowledged.values():
        assert held[path][version - 1] == text


def _caught_up(server: Process) -> None:
    """Every projection comes to the head by itself."""
    client = server.client()
    head = client.ok("GET", "/v1/events?limit=1")["head"]
    deadline = time.monotonic() + 15
    while behind := [
        item
        for item in client.ok("GET", "/v1/projections")["items"]
        if item["position"] < head and item["projection"] != "transparency"
    ]:
        assert time.monotonic() < deadline, behind
        time.sleep(0.05)


def _kill_again_and_again(server: Process, kills: int, seed: int) -> Load:
    chance = random.Random(seed)
    database_url = server.env["SCRINIA_DATABASE_URL"] or None
    load = Load(server.url, server.token)
    client = server.client()
    client.ok("POST", "/v1/projects", {"project": "acme"})
    for number in range(PROMPTS):
        body = {"name": f"p{number}", "content": text_content("first")}
        client.ok("POST", "/v1/projects/acme/prompts", body)
    for kill in range(1, kills + 1):
        assert asyncio.run(_until_killed(load, server, chance.uniform(0.05, 0.5))) >= UNANSWERED_MIN
        load.url = server.start()
        asyncio.run(_ask_again(load))
        assert not load.unanswered
        _caught_up(server)
        if kill % VERIFY_EVERY == 0 or kill == kills:
            report = verify(server.data_dir, database_url)
            assert report.faults == []
    _check(load, server)
    client = server.client()
    for name in ("catalog", "audit"):
        assert client.ok("POST", f"/v1/projections/{name}/compare")["equal"]
    assert server.stop() == 0
    assert verify(server.data_dir, database_url).faults == []
    return load


def test_nothing_acknowledged_is_lost_in_20_kills(server: Process) -> None:
    load = _kill_again_and_again(server, 20, seed=1)
    assert load.replayed >= 1, "no command was committed but unanswered: the kills came too late"


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_nothing_acknowledged_is_lost_in_300_kills(server: Process) -> None:
    load = _kill_again_and_again(server, 300, seed=int(os.environ.get("SCRINIA_SEED", "2")))
    assert load.replayed >= 1
