"""Limits by credential and by address, and how they are told."""

import re
from pathlib import Path

import pytest

from api.http.limits import RateLimit
from tests.harness import Api, registry


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_minute_at_once_then_as_it_comes_back() -> None:
    clock = Clock()
    limit = RateLimit("credential", 60, clock=clock)
    taken = [limit.take("a") for _ in range(61)]
    assert [one.left for one in taken[:60]] == list(range(59, -1, -1))
    assert all(one.allowed for one in taken[:60])
    assert (taken[60].allowed, taken[60].left, taken[60].seconds) == (False, 0, 1)
    assert limit.take("b").allowed
    clock.now += 3
    assert [limit.take("a").allowed for _ in range(4)] == [True, True, True, False]
    clock.now += 3600
    assert sum(limit.take("a").allowed for _ in range(100)) == 60


@pytest.mark.parametrize("processes", [1, 2, 4, 7])
def test_processes_share_it(processes: int) -> None:
    clock = Clock()
    limits = [RateLimit("credential", 100, processes, clock) for _ in range(processes)]
    allowed = sum(limit.take("a").allowed for limit in limits for _ in range(200))
    assert 100 <= allowed <= 105


def test_what_is_long_ago_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.http.limits.KNOWN_MAX", 10)
    clock = Clock()
    limit = RateLimit("credential", 60, clock=clock)
    for n in range(1000):
        limit.take(str(n))
        clock.now += 1
    assert len(limit._full) <= 10


async def test_a_credential_is_told_what_is_left(tmp_path: Path) -> None:
    async with registry(tmp_path, requests_per_minute=20) as api:
        other = (await api.make_caller({"role": "viewer"})).api
        answers = [await other.call("GET", "/v1/whoami") for _ in range(22)]
        assert [one.status for one in answers] == [200] * 20 + [429] * 2
        left = [re.fullmatch(r'"credential";r=(\d+);t=(\d+)', one.headers["RateLimit"])
                for one in answers]  # fmt: skip
        assert [int(one[1]) for one in left[:20]] == list(range(19, -1, -1))
        assert answers[0].headers["RateLimit-Policy"] == '"credential";q=20;w=60'
        assert answers[-1].code == "too_many_requests"
        assert 1 <= int(answers[-1].headers["Retry-After"]) <= 3
        assert (await api.call("GET", "/v1/whoami")).status == 200
        nobody = api.as_token(None)
        assert {(await nobody.call("GET", "/healthz")).status for _ in range(25)} == {200}
        statuses = [(await nobody.call("GET", "/v1/version")).status for _ in range(22)]
        assert statuses == [200] * 20 + [429] * 2


async def test_how_a_token_is_written_makes_no_more_of_it(tmp_path: Path) -> None:
    async with registry(tmp_path, requests_per_minute=5) as api:
        nobody, token = api.as_token(None), (await api.make_caller({"role": "viewer"})).api.token
        written = [f"{'Bearer' if n % 2 else 'bearer'}{' ' * (n + 1)}{token}" for n in range(8)]
        shown = [await nobody.call("GET", "/v1/whoami", headers={"Authorization": one})
                 for one in written]  # fmt: skip
        assert [one.status for one in shown] == [200] * 5 + [429] * 3
        guessed = [await api.as_token(f"scr_guess{n}").call("GET", "/v1/version") for n in range(8)]
        assert [one.status for one in guessed].count(429) == 3


async def test_who_guesses_is_told_to_wait(tmp_path: Path) -> None:
    async with registry(tmp_path, refusals_per_minute=5) as api:
        tries = [await api.as_token(f"scr_guess{n}").call("GET", "/v1/whoami") for n in range(7)]
        assert [one.status for one in tries] == [401] * 5 + [429] * 2
        assert tries[-1].code == "too_many_requests" and "Retry-After" in tries[-1].headers
        assert (await api.call("GET", "/v1/whoami")).status == 200
        assert "RateLimit" not in (await api.call("GET", "/v1/whoami")).headers


async def test_without_a_limit_nothing_is_told(tmp_path: Path) -> None:
    async with registry(tmp_path) as api:
        made: Api = api
        assert "RateLimit" not in (await made.call("GET", "/v1/whoami")).headers
