"""Drafts, deprecation, labels that expire."""

import asyncio
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path

from ledger.authority import Authority
import pytest

from tests.harness import Api, Process, registry, text_content, verify

PATH = "/v1/projects/acme/prompts/mail"


def soon(seconds: float) -> str:
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()


async def test_a_draft_is_not_promoted(api: Api) -> None:
    await api.ok("POST", "/v1/projects", {"project": "acme"})
    body = {"name": "mail", "content": text_content("a"), "draft": True}
    await api.ok("POST", "/v1/projects/acme/prompts", body)
    refused = await api.call("PUT", f"{PATH}/-/labels/production", {"version": 1})
    assert (refused.status, refused.code) == (409, "prompt_draft")
    await api.ok("PUT", f"{PATH}/-/labels/canary", {"version": 1})
    listed = await api.ok("GET", "/v1/projects/acme/prompts?status=draft")
    assert [p["name"] for p in listed["items"]] == ["mail"]
    await api.ok("POST", f"{PATH}/-/archive")
    await api.ok("POST", f"{PATH}/-/restore")
    assert (await api.ok("GET", f"{PATH}/-/metadata"))["status"] == "draft"
    made = await api.ok("PATCH", f"{PATH}/-/metadata", {"status": "active"})
    assert made["status"] == "active"
    await api.ok("PUT", f"{PATH}/-/labels/production", {"version": 1})


async def test_consumers_of_a_deprecated_prompt_are_told(api: Api) -> None:
    await api.make_prompt("acme/mail", "a")
    await api.make_prompt("acme/post", "b")
    await api.ok("PUT", f"{PATH}/-/labels/production", {"version": 1})
    before = await api.call("GET", f"{PATH}?version=1")
    assert "Deprecation" not in before.headers and before.body["deprecation"] is None
    moment = api.position
    for wrong in ({"successor": "none"}, {"successor": "mail"}, {"sunset_at": "2030-01-01T00:00"}):
        assert (await api.call("POST", f"{PATH}/-/deprecate", wrong)).status == 422
    body = {"successor": "post", "sunset_at": "2030-01-01T00:00:00+02:00", "reason": "old"}
    answer = await api.ok("POST", f"{PATH}/-/deprecate", body)
    assert answer["deprecation"]["successor"] == "post"
    assert not (await api.ok("POST", f"{PATH}/-/deprecate", body))["changed"]
    for query in ("", "?version=1"):
        told = await api.call("GET", f"{PATH}{query}")
        assert int(told.headers["Deprecation"].removeprefix("@")) <= datetime.now(UTC).timestamp()
        sunset = parsedate_to_datetime(told.headers["Sunset"])
        assert sunset.isoformat() == "2029-12-31T22:00:00+00:00"
        assert 'prompts/post>; rel="successor-version"' in told.headers["Link"]
        assert told.headers["Cache-Control"] == "private, no-cache"
        assert told.body["deprecation"]["sunset_at"] == "2029-12-31T22:00:00+00:00"
    past = await api.call("GET", f"{PATH}?as_of={moment}")
    assert "Deprecation" not in past.headers
    metadata = await api.ok("GET", f"{PATH}/-/metadata")
    assert (metadata["status"], metadata["deprecation"]["successor"]) == ("deprecated", "post")
    history = await api.ok("GET", f"{PATH}/-/history")
    assert history["items"][-1]["reason"] == "old"
    await api.ok("PATCH", f"{PATH}/-/metadata", {"status": "active"})
    assert "Deprecation" not in (await api.call("GET", PATH)).headers


async def test_a_label_points_nowhere_once_its_time_is_over(
    tmp_path: Path, database_url: str | None
) -> None:
    async with registry(tmp_path, database_url=database_url) as api:
        await api.make_prompt("acme/mail", "a")
        await api.make_prompt("acme/host", "x")
        label = f"{PATH}/-/labels/canary"
        for wrong in (soon(-1), "tomorrow"):
            body = {"version": 1, "expires_at": wrong}
            assert (await api.call("PUT", label, body)).status == 422
        until = soon(1.5)
        made = await api.ok("PUT", label, {"version": 1, "expires_at": until})
        assert datetime.fromisoformat(made["expires_at"]) == datetime.fromisoformat(until)
        assert not (await api.ok("PUT", label, {"version": 1, "expires_at": until}))["changed"]
        host = "/v1/projects/acme/prompts/host"
        content = {"content": text_content("<{{> mail@canary}}>")}
        await api.ok("POST", f"{host}/-/versions", content)
        for _ in range(2):
            assert (await api.ok("GET", f"{PATH}?label=canary"))["expires_at"] is not None
            composed = await api.ok("GET", f"{host}?label=latest")
            assert composed["content"]["text"] == "<a>"
        await asyncio.sleep(1.6)
        gone = await api.call("GET", f"{PATH}?label=canary")
        assert (gone.status, gone.code) == (404, "label_not_set")
        broken = await api.call("GET", f"{host}?label=latest")
        assert (broken.status, broken.code) == (409, "partial_not_found")
        async with asyncio.timeout(10):
            while True:
                moves = (await api.ok("GET", f"{label}/history"))["items"]
                if moves[0]["act"] == "expiry":
                    break
                await asyncio.sleep(0.05)
        assert (moves[0]["from"], moves[0]["to"], moves[0]["by"]) == (1, None, "system")
        events = (await api.ok("GET", "/v1/events?kind=label.expired"))["items"]
        assert [e["data"] for e in events] == [{"label": "canary", "from": 1}]
        await api.ok("PUT", label, {"version": 1})
        assert (await api.ok("GET", f"{PATH}?label=canary"))["expires_at"] is None
    assert verify(tmp_path / "data", database_url).faults == []


async def test_nobody_ends_a_label_before_its_time(api: Api) -> None:
    """Verification asks: who claims the registry's own act must have the time on his side."""
    await api.make_prompt("acme/mail", "a")
    body = {"version": 1, "expires_at": soon(3600)}
    await api.ok("PUT", f"{PATH}/-/labels/canary", body)
    authority = Authority()
    services = api.services
    batch = [services.mapper.recorded(one) for one in services.recorder.select_after(0, 500)]
    for recorded in batch:
        authority.apply(recorded)
    moved = batch[-1]
    stream = moved.stream.partition("/")[2]
    assert authority.facts.prompts[stream].labels["canary"].until > datetime.now(UTC)
    assert not authority._is_over(moved, "canary")


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)  # the client is the same
def test_the_lifecycle_on_the_command_line(server: Process, tmp_path: Path) -> None:
    def ok(*args: str) -> str:
        return server.cli(*args).stdout

    file = tmp_path / "a.txt"
    file.write_text("a")
    ok("project", "create", "acme")
    ok("prompt", "create", "acme/mail", str(file), "--draft")
    ok("prompt", "create", "acme/post", str(file))
    assert server.cli("promote", "acme/mail", check=False).returncode == 1
    assert "is active" in ok("prompt", "activate", "acme/mail")
    assert "until 2099" in ok("promote", "acme/mail", "--expires-at", "2099-01-01T00:00:00Z")
    assert "2099" in ok("label", "list", "acme/mail")
    assert "is deprecated" in ok("prompt", "deprecate", "acme/mail", "--successor", "post")
    assert "mail" in ok("prompt", "list", "acme", "--status", "deprecated")
