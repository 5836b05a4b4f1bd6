"""`?dry_run=true` on every command: decided in full, nothing committed."""

import asyncio

import pytest

from api.http.routes import ROUTES
from tests.api.access_world import PROMPT, World
from tests.api.test_access_matrix import COLUMNS, TABLE
from tests.harness import Api, Process, text_content

COMMANDS = {f"{route.method} {route.path}" for route in ROUTES if route.command}


async def _head(api: Api) -> int:
    return api.services.recorder.head()


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)  # the policy is the same
async def test_every_command_can_be_tried_out(api: Api) -> None:
    world = World(api)
    await world.build()
    tried = 0
    for row, cells in TABLE.items():
        if row.replace("…", PROMPT) not in COMMANDS:
            continue
        statuses = dict(zip(COLUMNS, map(int, cells.split()), strict=True))
        for column in ("admin", "viewer", "f-developer", "none"):
            method, path, body = await world.request(row)
            caller = world.callers[column]
            before = await _head(api)
            answer = await caller.call(method, path, body, params={"dry_run": "true"})
            assert await _head(api) == before, row
            expected = statuses[column]
            assert answer.status == (200 if expected < 300 else expected), (row, column, answer)
            if expected >= 300:
                continue
            tried += 1
            assert answer.body["dry_run"] is True, row
            assert all(answer.body.get(name) is None for name in ("token", "secret", "code")), row
            real = await caller.call(method, path, body)
            assert real.status == expected, (row, column, real.body)
            assert real.body["changed"] == answer.body["changed"], row
    assert tried >= len(COMMANDS)


async def test_a_dry_run_is_refused_like_the_command(api: Api) -> None:
    await api.make_prompt("acme/mail", "one")
    path = "/v1/projects/acme/prompts/mail/-/versions"
    dry = {"params": {"dry_run": "true"}}
    for body, status in (
        ({"content": text_content("two"), "expected_version": 7}, 409),
        ({"content": {"type": "text", "text": "{{#a}}"}}, 422),
        ({"content": text_content("x" * 1_100_000)}, 413),
    ):
        tried, real = await api.call("POST", path, body, **dry), await api.call("POST", path, body)
        assert tried.status == real.status == status and tried.code == real.code
    same = await api.call("POST", path, {"content": text_content("one")}, **dry)
    assert (same.status, same.body["changed"], same.body["version"]) == (200, False, 1)
    for wrong in ({"dry_run": "maybe"}, {"dry-run": "true"}):
        answer = await api.call("POST", path, {"content": text_content("one")}, params=wrong)
        assert (answer.status, answer.code) == (400, "invalid_parameter")


async def test_a_dry_run_uses_up_no_idempotency_key(api: Api) -> None:
    await api.make_prompt("acme/mail", "one")
    path = "/v1/projects/acme/prompts/mail/-/versions"
    keyed = {"headers": {"Idempotency-Key": "k"}}
    body = {"content": text_content("two")}
    for _ in range(2):
        tried = await api.ok("POST", path, body, params={"dry_run": "true"}, **keyed)
        assert tried["changed"] and tried["version"] == 2
    made = await api.call("POST", path, body, **keyed)
    assert made.status == 201 and "Idempotency-Replayed" not in made.headers


async def test_dry_runs_among_commands_see_a_whole_state(api: Api) -> None:
    """Tried out in the same batch as others, on what is committed or about to be."""
    await api.make_prompt("acme/mail", "0")
    path = "/v1/projects/acme/prompts/mail/-/versions"

    async def send(number: int) -> object:
        params = {"dry_run": "true"} if number % 2 else {}
        body = {"content": text_content(str(number))}
        answer = await api.call("POST", path, body, params=params)
        assert answer.body["version"] >= 2
        return answer.status

    statuses = await asyncio.gather(*(send(number) for number in range(1, 61)))
    assert statuses.count(201) == 30 and statuses.count(200) == 30
    listed = await api.ok("GET", f"{path}?limit=500")
    assert len(listed["items"]) == 31


@pytest.mark.timeout(60)
def test_dry_runs_on_the_command_line(server: Process) -> None:
    server.cli("project", "create", "acme")
    said = server.cli("project", "create", "other", "--dry-run").stdout
    assert said.startswith("dry run, nothing committed:")
    assert "other" not in server.cli("project", "list").stdout
    refused = server.cli("--dry-run", "verify", check=False)
    assert refused.returncode == 2 and "--dry-run" in refused.stderr
