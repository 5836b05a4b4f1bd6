"""Limits hold where they are named, and answer with what to do."""

import asyncio
import importlib
import re
import time

import pytest

from api.http import edge, events
from ledger import committer
from tests.harness import ROOT, Api, text_content

PROMPT = "/v1/projects/acme/prompts/mail"
UNITS = {"KiB": 1024, "MiB": 1024**2, "Mi": 1024**2}


async def test_a_full_queue_is_a_503_that_says_when(api: Api, monkeypatch) -> None:
    await api.make_prompt("acme/mail")
    monkeypatch.setattr(committer, "QUEUE_COMMANDS_MAX", 3)
    append = api.services.recorder.append_units

    def slow(*args: object, **options: object) -> object:
        time.sleep(0.3)
        return append(*args, **options)

    monkeypatch.setattr(api.services.recorder, "append_units", slow)
    bodies = [{"content": text_content(str(number))} for number in range(20)]
    answers = await asyncio.gather(*(api.call("POST", f"{PROMPT}/-/versions", b) for b in bodies))
    refused = [answer for answer in answers if answer.status == 503]
    assert refused and {answer.code for answer in refused} == {"busy"}
    assert all(int(answer.headers["Retry-After"]) >= 1 for answer in refused)
    made = [answer.body["version"] for answer in answers if answer.status == 201]
    assert sorted(made) == list(range(2, len(made) + 2)) and made


async def test_a_batch_takes_so_many_commands_and_bytes(api: Api, monkeypatch) -> None:
    await api.make_prompt("acme/mail")
    monkeypatch.setattr(committer, "BATCH_COMMANDS_MAX", 5)
    monkeypatch.setattr(committer, "BATCH_BYTES_MAX", 1000)
    work = api.services.committer._work
    batches: list[list[int]] = []

    def watched(batch: list) -> object:
        batches.append([one.submission.bytes for one in batch])
        return work(batch)

    monkeypatch.setattr(api.services.committer, "_work", watched)
    texts = [str(n) if n % 2 else str(n) + "x" * 600 for n in range(30)]
    await asyncio.gather(
        *(api.ok("POST", f"{PROMPT}/-/versions", {"content": text_content(t)}) for t in texts)
    )
    assert max(map(len, batches)) <= 5 and sum(map(len, batches)) == 30
    assert all(sum(batch) <= 1000 or len(batch) == 1 for batch in batches)
    assert max(map(len, batches)) > 1


async def test_a_view_that_is_behind_is_waited_for_and_then_said(api: Api, monkeypatch) -> None:
    await api.make_prompt("acme/mail")
    monkeypatch.setattr(edge, "MIN_POSITION_WAIT_SECONDS", 0.3)
    monkeypatch.setattr(api.services.follower, "_read_checked", list)
    await asyncio.sleep(0.3)  # a read that is under way is the last one
    made = await api.ok("POST", f"{PROMPT}/-/versions", {"content": text_content("two")})
    for path in (f"{PROMPT}?version=1", "/v1/projects/acme/prompts", "/v1/audit", "/v1/events"):
        start = time.monotonic()
        answer = await api.call(
            "GET", path, headers={"Scrinia-Min-Position": str(made["position"])}
        )
        assert (answer.status, answer.code) == (503, "not_caught_up"), path
        assert time.monotonic() - start >= 0.3 and answer.headers["Retry-After"]


async def test_an_event_is_sealed_within_moments(api: Api) -> None:
    await api.make_prompt("acme/mail")
    checkpoint = api.services.transparency._sealer._exported
    async with asyncio.timeout(4):
        while True:
            sealed = int(await asyncio.to_thread(lambda: checkpoint.read_text().split("\n")[1]))
            if sealed >= api.position:
                break
            await asyncio.sleep(0.05)


async def test_a_quiet_feed_is_kept_alive(api: Api, monkeypatch) -> None:
    assert events.PING_SECONDS <= 15
    monkeypatch.setattr(events, "PING_SECONDS", 0.2)
    headers = {"Authorization": f"Bearer {api.token}", "Accept": "text/event-stream"}
    async with api.session.get(f"{api.url}/v1/events", headers=headers) as response:
        async with asyncio.timeout(5):
            async for line in response.content:
                if line.startswith(b": ping"):
                    return
    raise AssertionError("no ping")


async def test_an_answer_is_remembered_for_so_long(
    api: Api, monkeypatch, database_url: str | None
) -> None:
    await api.make_prompt("acme/mail")
    key = {"Idempotency-Key": "k"}
    body = {"content": text_content("two")}
    first = await api.call("POST", f"{PROMPT}/-/versions", body, headers=key)
    again = await api.call("POST", f"{PROMPT}/-/versions", body, headers=key)
    assert again.body == first.body and again.headers["Idempotency-Replayed"] == "true"
    store = "sqlite" if database_url is None else "postgres"
    monkeypatch.setattr(f"ledger.{store}.recorder.IDEMPOTENCY_HOURS", 0)
    late = await api.call(
        "POST", f"{PROMPT}/-/versions", {"content": text_content("3")}, headers=key
    )
    assert (late.status, late.body["version"]) == (201, 3)


ROWS = re.findall(
    r"^\| [^|]+ \| ([^|]+) \| ([^|]+) \|$",
    (ROOT / "docs" / "settings.md").read_text().partition("## Limits")[2], re.MULTILINE,
)  # fmt: skip


def test_the_documented_limits_are_the_ones_in_the_code() -> None:
    module, checked = None, 0
    for value, where in ROWS:
        numbers = [
            int(number.replace(" ", "")) * UNITS.get(unit, 1)
            for number, unit in re.findall(r"(\d[\d ]*)\s*(KiB|MiB|Mi)?", value)
        ]
        for name in re.findall(r"`([^`]+)`", where):
            if name.endswith(".py"):
                module = importlib.import_module(name.removesuffix(".py").replace("/", "."))
            elif re.fullmatch(r"[A-Z_]+", name):
                actual = getattr(module, name)
                assert int(actual) in numbers, (name, actual, value)
                checked += 1
    assert checked >= 14
