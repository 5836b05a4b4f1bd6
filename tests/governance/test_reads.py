"""Reads: who still serves an older version, and what is on record of who was served which."""

from pathlib import Path
from typing import Any

import pytest

from projections.reads import Reads
from tests.governance.team import PRODUCTION, PROMPT, Team, hours
from tests.harness import Api, Process, registry, text_content, verify

CONSUMERS = f"{PROMPT}/-/consumers"


async def read(api: Api, instance: str = "", **params: Any) -> Any:
    headers = {"Scrinia-Instance": instance} if instance else {}
    return await api.call("GET", PROMPT, params=params, headers=headers)


async def readers(team: Team) -> dict[tuple[str, str | None], Any]:
    answer = await team.viewer.ok("GET", CONSUMERS)
    return {(one["label"], one["instance"]): one for one in answer["readers"]} | {
        ("converged", None): answer["converged"]
    }


async def test_everybody_is_seen_until_they_have_it(team: Team) -> None:
    for instance in ("a", "b"):
        assert (await read(team.viewer, instance)).body["version"] == 1
    await read(team.author, "c", label="latest")
    seen = await readers(team)
    assert seen["production", "a"]["current"] and seen["latest", "c"]["current"]
    assert seen["converged", None] == {"production": True, "latest": True}
    moved = (await team.promote(2)).body["position"]
    await read(team.viewer, "a")
    seen = await readers(team)
    one, other = seen["production", "a"], seen["production", "b"]
    assert (one["version"], one["current"], other["version"], other["current"]) == (
        2, True, 1, False,
    )  # fmt: skip
    assert one["position"] >= moved > other["position"]
    assert seen["converged", None]["production"] is False
    viewer = team.callers["viewer"]
    assert (one["principal_id"], one["credential"]) == (viewer.principal_id, viewer.token_id)
    await read(team.viewer, "b")
    assert (await readers(team))["converged", None]["production"] is True


async def test_what_was_read_otherwise_counts_too(team: Team) -> None:
    etag = (await read(team.viewer, "a")).headers["ETag"]
    known = {"If-None-Match": etag, "Scrinia-Instance": "b"}
    assert (await team.viewer.call("GET", PROMPT, headers=known)).status == 304
    item = {"project": "acme", "name": "support/triage", "label": "latest"}
    await team.viewer.ok("POST", "/v1/resolve", {"items": [item]})
    await team.viewer.ok("POST", f"{PROMPT}/-/render", {"variables": {}, "label": "production"})
    await read(team.viewer, "by-number", version="1")
    assert set(await readers(team)) == {
        ("production", "a"), ("production", "b"), ("production", None), ("latest", None),
        ("converged", None),
    }  # fmt: skip


async def test_who_registered_is_told_from_who_only_reads(team: Team) -> None:
    await team.viewer.ok("PUT", f"{CONSUMERS}/app", {"range": "^1"})
    await read(team.viewer, "app")
    await read(team.author, "script")
    seen = await readers(team)
    assert seen["production", "app"]["registered"] is True
    assert seen["production", "script"]["registered"] is False


async def test_of_a_split_each_version_is_current(team: Team) -> None:
    await team.releaser.ok(
        "PUT", f"{PROMPT}/-/labels/production", {"rollout": {"1": 500, "2": 500}}
    )
    for n in range(20):
        await read(team.viewer, f"i{n}", targeting_key=f"u{n}")
    seen = await readers(team)
    del seen["converged", None]
    assert {one["version"] for one in seen.values()} == {1, 2}
    assert all(one["current"] for one in seen.values())


@pytest.mark.parametrize("instance", ["a b", "x" * 65, "a/b", "é"])
async def test_an_instance_is_a_plain_word(team: Team, instance: str) -> None:
    answer = await read(team.viewer, instance)
    assert (answer.status, answer.code) == (400, "invalid_header")


async def test_reads_are_on_record_where_it_is_asked_for(team: Team) -> None:
    await read(team.viewer)
    await team.admin.ok("PUT", PRODUCTION, {"access_log": True})
    assert (await team.viewer.ok("GET", PRODUCTION))["access_log"] is True
    team.viewer.position = team.admin.position
    for _ in range(3):
        await read(team.viewer, "a")
    await read(team.author, label="latest")
    await team.promote(2)
    await read(team.viewer, "a")
    told = await team.admin.ok("GET", "/v1/access/reads?limit=500")
    assert {(one["version"], one["reads"]) for one in told["items"]} == {(1, 3), (2, 1)}
    (first,) = [one for one in told["items"] if one["version"] == 1]
    assert first["resource"] == "projects/acme/prompts/support/triage"
    assert (first["label"], first["instance"]) == ("production", "a")
    assert first["first_at"] <= first["last_at"]
    await team.admin.ok("PUT", PRODUCTION, {"access_log": False})
    head = len(told["items"])
    team.viewer.position = team.admin.position
    await read(team.viewer, "a")
    assert len((await team.admin.ok("GET", "/v1/access/reads"))["items"]) == head


async def test_the_record_is_asked_by_what_one_looks_for(team: Team) -> None:
    await team.admin.ok("PUT", PRODUCTION, {"access_log": True})
    for instance in ("a", "b", "c"):
        await read(team.viewer, instance)
    await read(team.author, "d")

    async def count(**params: Any) -> int:
        answer = await team.admin.ok("GET", "/v1/access/reads", params=params)
        return len(answer["items"])

    viewer = team.callers["viewer"].principal_id
    assert await count() == 4
    assert await count(principal_id=viewer) == 3
    assert await count(project="acme", prompt="support/triage", label="production") == 4
    assert await count(project="acme", prompt="support/other") == 0
    assert await count(project="other") == 0
    assert await count(label="staging") == 0
    assert await count(**{"from": hours(-1), "to": hours(1)}) == 4
    assert await count(**{"from": hours(1)}) == await count(to=hours(-1)) == 0
    seen, cursor = [], None
    while True:
        params = {"limit": 3} | ({"cursor": cursor} if cursor else {})
        page = await team.admin.ok("GET", "/v1/access/reads", params=params)
        seen += [one["instance"] for one in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert sorted(seen) == ["a", "b", "c", "d"]


async def test_the_record_shows_what_one_may_audit(team: Team) -> None:
    await team.admin.ok("PUT", PRODUCTION, {"access_log": True})
    await read(team.viewer)
    here = (await team.admin.make_caller({"role": "auditor", "project": "acme"})).api
    folder = {"role": "auditor", "project": "acme", "folder": "support"}
    within = (await team.admin.make_caller(folder)).api
    beside = (await team.admin.make_caller({**folder, "folder": "sales"})).api
    other = {"role": "auditor", "project": "other"}
    await team.admin.ok("POST", "/v1/projects", {"project": "other"})
    elsewhere = (await team.admin.make_caller(other)).api
    for api, wanted in ((here, 1), (within, 1), (beside, 0), (elsewhere, 0)):
        assert len((await api.ok("GET", "/v1/access/reads"))["items"]) == wanted
        only = await api.ok("GET", "/v1/access/reads?project=acme")
        assert len(only["items"]) == wanted
    assert (await team.viewer.call("GET", "/v1/access/reads")).status == 403


async def test_the_record_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("projections.reads.LOG_ROWS_MAX", 5)
    monkeypatch.setattr("projections.reads.SWEEP_SECONDS", 0.0)
    monkeypatch.setattr("projections.reads.NOTED_MAX", 4)
    async with registry(tmp_path, access_log_days=30) as api:
        await api.make_prompt("acme/support/triage", "one")
        await api.ok("PUT", f"{PROMPT}/-/labels/production", {"version": 1})
        await api.ok("PUT", PRODUCTION, {"access_log": True})
        for n in range(9):
            await read(api, f"i{n}")
            if n % 2:
                await api.services.reads.flush()
        told = await api.ok("GET", "/v1/access/reads")
        assert len(told["items"]) == 5


async def test_other_processes_reads_and_those_before_a_stop(
    tmp_path: Path, database_url: str | None
) -> None:
    async with registry(tmp_path, database_url=database_url) as one:
        await one.make_prompt("acme/support/triage", "one")
        await one.ok("PUT", f"{PROMPT}/-/labels/production", {"version": 1})
        await one.ok("PUT", PRODUCTION, {"access_log": True})
        async with registry(tmp_path, database_url=database_url) as two:
            two.position = one.position
            for _ in range(2):
                await read(two, "there")
            await read(one, "there")
        told = await one.ok("GET", "/v1/access/reads")
        assert [entry["reads"] for entry in told["items"]] in ([3], [2, 1], [1, 2])
        await one.ok("POST", f"{PROMPT}/-/versions", {"content": text_content("two")})
    async with registry(tmp_path, database_url=database_url) as again:
        assert len((await again.ok("GET", CONSUMERS))["readers"]) == 1
    assert verify(tmp_path / "data", database_url).faults == []


async def test_on_the_command_line(server: Process) -> None:
    client = server.client()
    client.ok("POST", "/v1/projects", {"project": "acme"})
    body = {"name": "support/triage", "content": text_content("one")}
    client.ok("POST", "/v1/projects/acme/prompts", body)
    server.cli("promote", "acme/support/triage@1", "--to", "production")
    said = server.cli("environment", "set", "acme", "production", "--access-log").stdout
    assert "reads on record" in said
    server.cli("prompt", "show", "acme/support/triage@production")
    assert "production" in server.cli("consumer", "readers", "acme/support/triage").stdout
    assert "projects/acme/prompts/support/triage" in server.cli("reads", "--project", "acme").stdout
    assert "projects" not in server.cli("reads", "--label", "staging").stdout


async def test_what_cannot_be_written_is_noted_still(team: Team) -> None:
    reads: Reads = team.admin.services.reads
    await team.admin.ok("PUT", PRODUCTION, {"access_log": True})
    await read(team.viewer, "a")
    working, broken = reads._views, object()
    reads._views = broken
    with pytest.raises(AttributeError):
        await reads.flush()
    reads._views = working
    await read(team.viewer, "a")
    told = await team.admin.ok("GET", "/v1/access/reads")
    assert sum(one["reads"] for one in told["items"]) == 2
