"""What goes wrong around a webhook: databases that forget, receivers that play tricks, clocks."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from aiohttp.abc import AbstractResolver

from domain.webhook import SECRETS_MAX
from projections.deliveries import DeliveryState
from projections.outbound import Guard, Sender, Sent, parse_networks
from projections.teller import RETRY_SECONDS_MAX, Teller, Telling, retry_seconds
from tests.harness import Api, registry, text_content
from tests.servers import Postgres
from tests.webhooks.receiver import LOOPBACK, Receiver, receiver, until

PROMPT = "/v1/projects/acme/prompts/p"


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    async with registry(tmp_path, webhook_allowed_networks=LOOPBACK) as client:
        await client.make_prompt("acme/p", "v1")
        yield client


async def hook(api: Api, url: str, **fields: Any) -> dict[str, Any]:
    return await api.ok("POST", "/v1/webhooks", {"url": url, "project": "acme", **fields})


async def commit(api: Api, text: str) -> int:
    body = {"content": text_content(text)}
    return (await api.ok("POST", f"{PROMPT}/-/versions", body))["position"]


@pytest.mark.parametrize(
    "forget",
    ["UPDATE webhook_states SET revision = revision - 1, position = position - 1",
     "DELETE FROM webhook_states"],
)  # fmt: skip
async def test_a_database_that_lost_its_last_moments_is_followed(api: Api, forget: str) -> None:
    """It was made to forget what it had said was kept: told again, then on, and not for ever."""
    async with receiver() as far:
        made = await hook(api, far.url)
        await commit(api, "2")
        await until(api, made["webhook_id"], lag=0)
        await commit(api, "3")
        await until(api, made["webhook_id"], lag=0)
        with api.services.views.writing() as cursor:
            cursor.execute(forget)
        position = await commit(api, "4")
        await until(api, made["webhook_id"], lag=0)
        told = far.positions
        assert told[-1] == position and set(told) == set(range(made["position"] + 1, position + 1))
        assert len(told) <= 2 * (position - made["position"])


async def test_an_answer_to_the_old_url_says_nothing_of_the_new(api: Api) -> None:
    asked, answer = asyncio.Event(), asyncio.Event()
    async with receiver() as old, receiver() as new:
        take = old._take

        async def hold(request: Any) -> Any:
            asked.set()
            await answer.wait()
            return await take(request)

        old.answer = lambda body: 410
        async with _served(hold) as url:
            made = await hook(api, url)
            await commit(api, "2")
            await asked.wait()
            path = f"/v1/webhooks/{made['webhook_id']}"
            await api.ok("PATCH", path, {"url": new.url})
            answer.set()
            await new.until(2)
            item = await api.ok("GET", path)
            assert item["enabled"] and item["attempts"] == 0


@asynccontextmanager
async def _served(handler: Any) -> AsyncIterator[str]:
    from aiohttp import web

    app = web.Application()
    app.router.add_post("/", handler)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}/"
    await runner.cleanup()


async def test_a_rewind_counts_however_far_it_had_looked(api: Api) -> None:
    async with receiver() as far:
        made = await hook(api, far.url, types=["label"])
        for number in range(2, 8):
            await commit(api, str(number))
        await until(api, made["webhook_id"], lag=0)
        moved = await api.ok("PUT", f"{PROMPT}/-/labels/a", {"version": 1})
        await far.until(1)
        path = f"/v1/webhooks/{made['webhook_id']}/redeliver"
        await api.ok("POST", path, {"after": 0})
        await far.until(2)
        await api.ok("POST", path, {"after": moved["position"]})
        await asyncio.sleep(1.5)
        assert far.positions == [moved["position"]] * 2


async def test_secrets_in_force_are_few(api: Api) -> None:
    async with receiver() as far:
        made = await hook(api, far.url)
        path = f"/v1/webhooks/{made['webhook_id']}/rotate-secret"
        for _ in range(10):
            last = await api.ok("POST", path, {"overlap_hours": 168})
        await commit(api, "2")
        await until(api, made["webhook_id"], lag=0)
        assert len(far.got[-1][0]["webhook-signature"].split()) == SECRETS_MAX
        assert far.verify(last["secret"])


async def test_an_answer_without_end_is_broken_off() -> None:
    """Interim responses, headers or a body: the status is read and nothing more than a bit."""
    answers = {
        "interim": b"HTTP/1.1 100 Continue\r\n\r\n" * 1000,
        "headers": b"HTTP/1.1 200 OK\r\n" + b"X-Y: " + b"z" * 4000 + b"\r\n",
        "body": b"HTTP/1.1 200 OK\r\nContent-Length: 9999999\r\n\r\n" + b"z" * 4000,
    }
    for name, part in answers.items():

        async def flood(
            reader: asyncio.StreamReader, writer: asyncio.StreamWriter, part: bytes = part
        ) -> None:
            await reader.read(100)
            try:
                while not writer.is_closing():
                    writer.write(part)
                    await writer.drain()
            except ConnectionError:
                pass

        server = await asyncio.start_server(flood, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        sender = Sender(Guard(parse_networks(LOOPBACK)))
        began = time.monotonic()
        sent = await sender.post(f"http://127.0.0.1:{port}/", b"{}", {})
        assert time.monotonic() - began < 5, name
        assert sent.delivered == (name == "body"), (name, sent)
        server.close()


class Hanging(AbstractResolver):
    async def resolve(self, host: str, port: int = 0, family: Any = None) -> Any:
        await asyncio.sleep(60)

    async def close(self) -> None: ...


async def test_a_name_that_hangs_keeps_nobody_else(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    import socket

    real = socket.getaddrinfo

    def slow(host: Any, *rest: Any, **options: Any) -> Any:
        if str(host).endswith(".hangs.example"):
            time.sleep(3)
            raise OSError("nobody answers")
        return real(host, *rest, **options)

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    async with receiver() as far:
        for number in range(20):
            await hook(api, f"https://n{number}.hangs.example/")
        await hook(api, far.url.replace("127.0.0.1", "localhost"))
        await commit(api, "2")
        await far.until(1, seconds=2)


async def test_a_test_waits_for_nobody(api: Api) -> None:
    async def hang(request: Any) -> Any:
        await asyncio.sleep(5)

    async with _served(hang) as url, receiver() as far:
        made = await hook(api, url)
        path = f"/v1/webhooks/{made['webhook_id']}/test"
        tests = [asyncio.create_task(api.call("POST", path)) for _ in range(4)]
        await asyncio.sleep(0.3)
        refused = await api.call("POST", path)
        assert (refused.status, refused.code) == (503, "tests_under_way")
        await hook(api, far.url)
        await commit(api, "2")
        await far.until(1, seconds=2)
        for test in tests:
            test.cancel()
        await asyncio.gather(*tests, return_exceptions=True)


async def test_a_stranger_is_told_nothing(api: Api) -> None:
    made = await hook(api, "https://localhost/", folder="merger/acmecorp")
    everywhere = await api.ok("POST", "/v1/webhooks", {"url": "https://localhost/"})
    await api.ok("POST", "/v1/projects", {"project": "other"})
    stranger = (await api.make_caller({"role": "admin", "project": "other"})).api
    absent = "01a21538-249d-7e0e-b945-ec27d7d7d77e"
    for method, below, body in (
        ("GET", "", None), ("PATCH", "", {}), ("DELETE", "", None), ("POST", "/test", None),
        ("POST", "/redeliver", {"after": 0}), ("POST", "/rotate-secret", None),
        ("GET", "/deliveries", None),
    ):  # fmt: skip
        said = set()
        for webhook_id in (made["webhook_id"], everywhere["webhook_id"], absent):
            answer = await stranger.call(method, f"/v1/webhooks/{webhook_id}{below}", body)
            assert answer.status == 404, (method, below, answer.body)
            said.add(answer.body["detail"].replace(webhook_id, "ID"))
        assert len(said) == 1, said


def _failing(state: DeliveryState, at: float, status: int = 500, hours: float = 24) -> Any:
    telling = Telling(None, None, None, None, None, None, hours * 3600, None)  # type: ignore[arg-type]
    moment = datetime.fromtimestamp(at, UTC)
    return Teller("x", telling)._failed(state, moment, Sent(status, None, 0.1))


def test_time_in_which_nobody_tried_is_not_time_it_failed() -> None:
    hour, start = 3600.0, 1.7e9
    state = _failing(DeliveryState("x", 5), start)
    for number in range(10):
        state = _failing(state, state.next_at)
        assert state.ended is None, number
    after_a_day_down = _failing(state, state.next_at + 30 * hour)
    assert after_a_day_down.ended is None
    assert after_a_day_down.next_at - (state.next_at + 30 * hour) <= 1.5 * RETRY_SECONDS_MAX
    at, attempts = start, 0
    state = DeliveryState("x", 5)
    while state.ended is None:
        state = _failing(state, at)
        at, attempts = state.next_at, attempts + 1
    assert 24 * hour <= at - start <= 25 * hour and 40 <= attempts <= 120
    back = _failing(replace(state, ended=None, failing_since=1e12), at)
    assert back.failing_since <= at and back.ended is None
    assert _failing(DeliveryState("x", 5), at, status=410).ended == "gone"


def test_pauses_double_and_stay_within_bounds() -> None:
    for attempts in range(1, 40):
        doubled = min(RETRY_SECONDS_MAX, 2.0 ** (attempts - 1))
        pauses = [retry_seconds(attempts) for _ in range(200)]
        assert 0.5 * doubled <= min(pauses) and max(pauses) <= 1.5 * doubled
        assert max(pauses) - min(pauses) > 0.5 * doubled
    assert retry_seconds(1, 60.0) == 60.0
    assert retry_seconds(1, 1e9) == RETRY_SECONDS_MAX


async def test_without_a_database_a_server_with_many_webhooks_still_ends(
    tmp_path: Path,
) -> None:
    server = Postgres("-F")
    server.start()
    try:
        async with asyncio.timeout(60):
            url = server.database()
            options = {"database_url": url, "webhook_allowed_networks": LOOPBACK}
            async with receiver() as far, registry(tmp_path, **options) as api:
                await api.make_prompt("acme/p")
                for _ in range(20):
                    await hook(api, far.url)
                await commit(api, "2")
                await far.until(20)
                server.kill()
                await asyncio.sleep(2)
                began = time.monotonic()
            assert time.monotonic() - began < 25
    finally:
        server.stop()


async def test_what_is_long_ago_is_read_once_for_all(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beyond the follower's memory events are decoded by chunks that all webhooks share."""
    monkeypatch.setattr("ledger.follower.RECENT_EVENTS_MAX", 20)
    monkeypatch.setattr("projections.backlog.RECENT_EVENTS_MAX", 20)
    monkeypatch.setattr("projections.backlog.CHUNK_EVENTS", 16)
    for number in range(2, 120):
        await commit(api, str(number))
    reads = 0
    read = api.services.follower.read

    async def counted(after: int, limit: int = 500) -> Any:
        nonlocal reads
        reads += 1
        return await read(after, limit)

    monkeypatch.setattr(api.services.follower, "read", counted)
    far: list[Receiver] = []
    async with receiver() as one, receiver() as two:
        far += [one, two]
        for each in far:
            made = await hook(api, each.url)
            await api.ok("POST", f"/v1/webhooks/{made['webhook_id']}/redeliver", {"after": 0})
        events = await api.ok("GET", "/v1/events?project=acme&limit=500")
        wanted = [item["position"] for item in events["items"]]
        for each in far:
            await each.until(len(wanted), seconds=30)
            # Its own creation may have come before it was asked for all of it again.
            told = list(dict.fromkeys(each.positions[each.positions.index(wanted[0]) :]))
            assert told == wanted[: len(told)] and len(told) >= len(wanted) - 1
    assert reads < len(wanted)
