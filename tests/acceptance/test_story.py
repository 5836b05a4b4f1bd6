"""The main job end to end: import, edit, promote, roll back, watch, audit, verify."""

import asyncio
import json
import threading
from pathlib import Path

import aiohttp

import pytest

from tests.harness import Api, Process, text_content

REAL_PROCESSES = True
PROMPT = "/v1/projects/acme/prompts/support/triage"
NO_POSITION = {"Scrinia-Min-Position": "0"}


async def test_commit_promote_resolve_rollback_and_every_past_moment(api: Api) -> None:
    first = await api.make_prompt("acme/support/triage", "one")
    promoted = await api.ok("PUT", f"{PROMPT}/-/labels/production", {"version": 1})
    second = await api.ok("POST", f"{PROMPT}/-/versions", {"content": text_content("two")})
    again = await api.ok("PUT", f"{PROMPT}/-/labels/production", {"version": 2, "reason": "go"})
    now = await api.ok("GET", PROMPT)
    assert (now["version"], now["content"]["text"]) == (2, "two")
    for step in (f"{PROMPT}?version=2", f"{PROMPT}?digest={second['digest']}"):
        assert (await api.ok("GET", step))["content"]["text"] == "two"
    assert now["position"] == again["position"]
    back = await api.ok("POST", f"{PROMPT}/-/rollback", {"label": "production"})
    assert (back["version"], back["from"]) == (1, 2)
    assert (await api.ok("GET", PROMPT))["content"]["text"] == "one"
    assert (await api.ok("GET", f"{PROMPT}?version=2"))["content"]["text"] == "two"
    assert (await api.ok("GET", f"{PROMPT}?digest={second['digest']}"))["version"] == 2
    assert (await api.ok("GET", f"{PROMPT}?label=latest"))["version"] == 2
    moments = {promoted["position"]: 1, second["position"]: 1, again["position"]: 2}
    for position, version in (moments | {back["position"]: 1}).items():
        past = await api.call("GET", f"{PROMPT}?as_of={position}")
        assert past.body["version"] == version
        assert past.headers["Scrinia-Position"] == str(position)
    unset = await api.call("GET", f"{PROMPT}?as_of={first['position']}")
    assert (unset.status, unset.code) == (404, "label_not_set")
    assert (await api.call("GET", f"{PROMPT}?as_of=1")).status == 404
    assert (await api.call("GET", f"{PROMPT}?as_of=99999")).code == "invalid_moment"
    for item in (await api.ok("GET", "/v1/events?kind=label"))["items"]:
        past = await api.call("GET", PROMPT, params={"as_of": item["time"]})
        assert past.body["version"] == item["data"]["to"]
        assert past.headers["Scrinia-Position"] == str(item["position"])


async def test_a_second_rollback_goes_two_back_and_a_third_is_refused(api: Api) -> None:
    await api.make_prompt("acme/support/triage", "1")
    for number in (2, 3):
        await api.ok("POST", f"{PROMPT}/-/versions", {"content": text_content(str(number))})
    for number in (1, 2, 3):
        await api.ok("PUT", f"{PROMPT}/-/labels/production", {"version": number})
    for expected in (2, 1):
        answer = await api.ok("POST", f"{PROMPT}/-/rollback", {"label": "production"})
        assert answer["version"] == expected
    refused = await api.call("POST", f"{PROMPT}/-/rollback", {"label": "production"})
    assert (refused.status, refused.code) == (409, "no_earlier_target")
    forward = await api.ok("POST", f"{PROMPT}/-/rollback", {"label": "production", "to": 3})
    assert forward["version"] == 3


async def _collect(api: Api, count: int, headers: dict[str, str], query: str = "") -> list[dict]:
    headers = {"Authorization": f"Bearer {api.token}", "Accept": "text/event-stream", **headers}
    items: list[dict] = []
    async with api.session.get(f"{api.url}/v1/events{query}", headers=headers) as response:
        assert response.status == 200
        async with asyncio.timeout(20):
            async for line in response.content:
                if line.startswith(b"data: "):
                    items.append(json.loads(line[6:]))
                    if len(items) == count:
                        break
    return items


async def test_the_feed_delivers_each_event_once_in_order_across_reconnects(api: Api) -> None:
    live = asyncio.create_task(_collect(api, 10, {}, "?after=0"))
    await api.make_prompt("acme/support/triage")
    for number in range(30):
        await api.ok("POST", f"{PROMPT}/-/versions", {"content": text_content(f"v{number}")})
    seen = await live
    while seen[-1]["position"] < api.position:
        left = min(7, api.position - seen[-1]["position"])
        seen += await _collect(api, left, {"Last-Event-ID": str(seen[-1]["position"])}, "?after=0")
    assert [item["position"] for item in seen] == list(range(1, api.position + 1))
    assert len({item["id"] for item in seen}) == len(seen)
    assert [item["sequence"] for item in seen] == [f"{i:020d}" for i in range(1, len(seen) + 1)]


async def test_a_live_feed_filtered_by_prompt_sees_only_its_events(api: Api) -> None:
    await api.make_prompt("acme/support/triage")
    await api.make_prompt("acme/support/other")
    query = f"?project=acme&prompt=support/triage&kind=label&after={api.position}"
    live = asyncio.create_task(_collect(api, 1, {}, query))
    await api.ok("PUT", "/v1/projects/acme/prompts/support/other/-/labels/staging", {"version": 1})
    moved = await api.ok("PUT", f"{PROMPT}/-/labels/staging", {"version": 1})
    (item,) = await live
    assert item["position"] == moved["position"]
    assert item["data"]["from"] is None and item["data"]["to"] == 1
    assert item["type"] == "io.scrinia.label.moved.v3"


async def test_a_feed_ends_when_the_right_to_it_ends(api: Api) -> None:
    caller = await api.make_caller({"role": "viewer"})
    feed = asyncio.create_task(_drain(caller.api))
    await asyncio.sleep(0.2)
    await api.ok("DELETE", f"/v1/tokens/{caller.token_id}")
    async with asyncio.timeout(10):
        await feed


async def _drain(api: Api) -> None:
    headers = {"Authorization": f"Bearer {api.token}", "Accept": "text/event-stream"}
    async with api.session.get(f"{api.url}/v1/events", headers=headers) as response:
        try:
            await response.content.read()
        except aiohttp.ClientError:
            pass


async def test_the_audit_trail_tells_the_whole_story(api: Api) -> None:
    body = {"description": "Sorts mail", "tags": ["mail"], "message": "start"}
    await api.make_prompt("acme/support/triage", "one", **body)
    await api.ok("PATCH", f"{PROMPT}/-/metadata", {"description": "Sorts tickets"})
    await api.ok("PUT", f"{PROMPT}/-/labels/production", {"version": 1, "reason": "ticket 7"})
    body = {"content": text_content("two"), "message": "shorter"}
    await api.ok("POST", f"{PROMPT}/-/versions", body)
    await api.ok("PUT", f"{PROMPT}/-/labels/production", {"version": 2, "reason": "ticket 8"})
    back = {"label": "production", "reason": "too short"}
    await api.ok("POST", f"{PROMPT}/-/rollback", back)
    await api.ok("DELETE", f"{PROMPT}/-/labels/production", {"reason": "over"})
    await api.ok("POST", f"{PROMPT}/-/archive", {"reason": "done"})
    trail = await api.ok("GET", "/v1/audit?resource=projects/acme/prompts/support/triage")
    told = [(r["action"], r["before"], r["reason"]) for r in trail["items"]]
    assert told[1:] == [
        ("prompt.created", None, None),
        ("version.committed", None, "start"),
        ("prompt.described", {"description": "Sorts mail"}, None),
        ("label.moved", None, "ticket 7"),
        ("version.committed", {"version": 1}, "shorter"),
        ("label.moved", {"label": "production", "version": 1}, "ticket 8"),
        ("label.moved", {"label": "production", "version": 2}, "too short"),
        ("label.removed", {"label": "production", "version": 1}, "over"),
        ("prompt.archived", {"status": "active"}, "done"),
    ]
    last = trail["items"][-3]
    assert last["after"] == {"label": "production", "version": 1, "act": "rollback"}
    assert trail["items"][4]["after"]["act"] == "promotion"
    me = await api.ok("GET", "/v1/whoami")
    assert last["authz"]["grants"] == [me["grants"][0]["grant_id"]]
    assert last["actor"]["id"] == me["principal_id"]
    assert last["authz"]["permission"] == "environment.promote"
    exported = await api.call("GET", "/v1/audit/export?action=label")
    lines = [json.loads(line) for line in exported.body.splitlines()]
    assert len(lines) == 4 and lines[2]["event_id"] == last["event_id"]
    mine = await api.ok("GET", f"/v1/audit?actor={me['principal_id']}&limit=500")
    assert last in mine["items"]
    since = await api.ok("GET", "/v1/audit", params={"from": last["time"]})
    assert since["items"][0] == last
    until = await api.ok("GET", "/v1/audit", params={"to": last["time"]})
    assert until["items"][-1]["position"] == last["position"] - 1
    history = await api.ok("GET", f"{PROMPT}/-/history")
    assert [item["action"] for item in history["items"]] == [r[0] for r in told]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)  # the client is the same
def test_everything_through_the_command_line(server: Process, tmp_path: Path) -> None:
    draft = tmp_path / "draft.md"
    draft.write_text("Summarise {{text}} in one line.\n")
    server.cli("project", "create", "acme")
    server.cli("prompt", "create", "acme/mail/short", str(draft), "-m", "first", "--tag", "mail")
    draft.write_text("Summarise {{text}} in two lines.\n")
    assert (
        "acme/mail/short@2 committed"
        in server.cli("prompt", "commit", "acme/mail/short", str(draft), "-m", "second").stdout
    )
    server.cli("promote", "acme/mail/short@1")
    assert "version 2 (was 1)" in server.cli("promote", "acme/mail/short", "-m", "go").stdout
    assert "version 1 (was 2)" in server.cli("rollback", "acme/mail/short").stdout
    rendered = server.cli("prompt", "render", "acme/mail/short", "-v", "text=<b>").stdout
    assert rendered == "Summarise <b> in one line.\n\n"
    assert (
        "-Summarise {{text}} in one line."
        in server.cli("prompt", "diff", "acme/mail/short", "1").stdout
    )
    assert "mail/short" in server.cli("prompt", "list", "acme", "--tag", "mail").stdout
    assert "rollback" in server.cli("label", "history", "acme/mail/short", "production").stdout
    assert "label.moved" in server.cli("audit", "--action", "label").stdout
    principal = server.cli("principal", "create", "ci").stdout.strip()
    grant = server.cli("grant", "give", principal, "viewer", "--project", "acme").stdout.strip()
    token = server.cli("token", "issue", principal).stdout.strip()
    me = server.cli("--json", "whoami", check=True)
    assert json.loads(me.stdout)["name"] == "admin"
    guest = Process(server.data_dir, {"SCRINIA_TOKEN": token})
    assert "mail/short" in guest.cli("prompt", "list", "acme").stdout
    refused = guest.cli("promote", "acme/mail/short@2", check=False)
    assert refused.returncode == 1 and "environment.promote" in refused.stderr
    server.cli("grant", "revoke", grant, "-m", "done")
    gone = guest.cli("prompt", "list", "acme", check=False)
    assert gone.returncode == 1 and "not_found" in gone.stderr
    assert "no fault" in server.cli("verify").stdout
    for name in ("catalog", "audit"):
        server.cli("projections", "compare", name)
        server.cli("projections", "rebuild", name)
    assert server.stop() == 0
    assert "no fault" in server.cli("verify").stdout
    lost = server.cli("whoami", check=False)
    assert lost.returncode == 5 and "scrinia serve" in lost.stderr


async def test_a_position_just_answered_can_be_read_after_even_where_following_lags(
    api: Api, monkeypatch
) -> None:
    await api.make_prompt("acme/support/triage")
    follower = api.services.follower
    read, may_read = follower._read_checked, threading.Event()

    def late() -> list:
        may_read.wait(5)
        return read()

    monkeypatch.setattr(follower, "_read_checked", late)
    for number in range(3):
        may_read.clear()
        made = await api.ok("POST", f"{PROMPT}/-/versions", {"content": text_content(f"v{number}")})
        after = f"?after={made['position']}"
        live = asyncio.create_task(_collect(api, 1, {}, after))
        asked = asyncio.create_task(api.ok("GET", f"/v1/events{after}", headers=NO_POSITION))
        await asyncio.sleep(0.1)
        may_read.set()
        page = await asked
        assert (page["items"], page["head"] >= made["position"]) == ([], True)
        moved = await api.ok("PUT", f"{PROMPT}/-/labels/l{number}", {"version": 1})
        assert [item["position"] for item in await live] == [moved["position"]]
    for accept in ("application/json", "text/event-stream"):
        beyond = await api.call("GET", "/v1/events?after=99999", headers={"Accept": accept})
        assert (beyond.status, beyond.code) == (400, "invalid_parameter")
