"""A commit whose reply is lost, and a store that is away for a while."""

import asyncio

import pytest
from eventsourcing.persistence import OperationalError

from ledger.committer import APPEND_TRIES_MAX
from ledger.recorder import Verdict
from tests.harness import Api, text_content

VERSIONS = "/v1/projects/acme/prompts/mail/-/versions"


def _fail(api: Api, monkeypatch: pytest.MonkeyPatch, times: int, *, after: bool) -> list[bool]:
    """Have the next appends fail, before or after they have committed."""
    recorder = api.services.recorder
    append = recorder.append_units
    calls: list[bool] = []

    def failing(units, *, again=False):
        calls.append(again)
        if len(calls) > times:
            return append(units, again=again)
        if after:
            append(units, again=again)
        raise OperationalError("the connection was lost")

    monkeypatch.setattr(recorder, "append_units", failing)
    return calls


async def test_a_batch_whose_reply_was_lost_is_accepted_once(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    await api.make_prompt("acme/mail")
    calls = _fail(api, monkeypatch, 1, after=True)
    bodies = [{"content": text_content(str(number))} for number in range(5)]
    answers = await asyncio.gather(*(api.call("POST", VERSIONS, body) for body in bodies))
    assert [answer.status for answer in answers] == [201] * 5
    assert sorted(answer.body["version"] for answer in answers) == [2, 3, 4, 5, 6]
    assert calls[:2] == [False, True]
    page = await api.ok("GET", VERSIONS)
    assert [item["version"] for item in page["items"]] == [6, 5, 4, 3, 2, 1]


async def test_a_store_that_stays_away_is_a_503_and_the_key_finds_the_answer(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    await api.make_prompt("acme/mail")
    _fail(api, monkeypatch, APPEND_TRIES_MAX, after=True)
    body = {"content": text_content("two")}
    key = {"Idempotency-Key": "k"}
    lost = await api.call("POST", VERSIONS, body, headers=key)
    assert (lost.status, lost.code) == (503, "ledger_unavailable")
    assert "Idempotency-Key" in lost.body["detail"] and lost.headers["Retry-After"]
    found = await api.call("POST", VERSIONS, body, headers=key)
    assert (found.status, found.body["version"]) == (201, 2)
    assert found.headers["Idempotency-Replayed"] == "true"
    more = await api.ok("POST", VERSIONS, {"content": text_content("three")})
    assert more["version"] == 3


async def test_a_refusal_in_a_batch_leaves_the_others_standing(api: Api) -> None:
    await api.make_prompt("acme/mail")
    calls = [
        api.call("POST", VERSIONS, {"content": text_content("a")}),
        api.call("POST", VERSIONS, {"content": text_content("b"), "expected_version": 99}),
        api.call("POST", VERSIONS.replace("mail", "nothing"), {"content": text_content("c")}),
        api.call("POST", VERSIONS, {"content": text_content("d")}),
    ]
    statuses = [answer.status for answer in await asyncio.gather(*calls)]
    assert statuses == [201, 409, 404, 201]


async def test_a_key_in_flight_joins_the_first(api: Api) -> None:
    await api.make_prompt("acme/mail")
    key = {"Idempotency-Key": "same"}
    body = {"content": text_content("two")}
    answers = await asyncio.gather(
        *(api.call("POST", VERSIONS, body, headers=key) for _ in range(8))
    )
    assert {answer.status for answer in answers} == {201}
    assert {answer.body["version"] for answer in answers} == {2}
    assert sum("Idempotency-Replayed" in answer.headers for answer in answers) == 7


async def test_a_refusal_that_rests_on_what_was_undone_is_decided_anew(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first unit loses once; the second command was refused only because of it."""
    await api.make_prompt("acme/mail")
    recorder = api.services.recorder
    append = recorder.append_units
    losses = iter([True])

    def losing(units, *, again=False):
        if next(losses, False):
            return [Verdict(False, moved=tuple(unit.conditions)) for unit in units]
        return append(units, again=again)

    monkeypatch.setattr(recorder, "append_units", losing)
    body = {"content": text_content("two"), "expected_version": 1}
    other = {"content": text_content("three"), "expected_version": 1}
    answers = await asyncio.gather(
        api.call("POST", VERSIONS, body), api.call("POST", VERSIONS, other)
    )
    assert sorted(answer.status for answer in answers) == [201, 409]
    loser = next(answer for answer in answers if answer.status == 409)
    winner = next(answer for answer in answers if answer.status == 201)
    assert loser.body["current_version"] == winner.body["version"] == 2
