"""Change requests: proposed, discussed, approved, applied by hand or by themselves."""

import asyncio
import json
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import rfc8785

from domain.intent import PAYLOAD_TYPE
from ledger.payload import pre_authentication_encoding
from ledger.signing import Signer
from ledger.trust import possession_text
from tests.harness import ROOT, Answer, Api, Caller, Process, registry, text_content, verify
from tests.governance.team import CHANGES, PRODUCTION, PROMPT, Pen, Team, codes, hours, rules


async def test_what_cannot_go_live_is_not_waited_for_in_silence(team: Team) -> None:
    await team.admin.ok("PUT", PRODUCTION, rules())
    change = await team.propose(by="releaser", automatic=True)
    await team.author.ok("POST", f"{PROMPT}/-/archive")
    assert "prompt_archived" in [
        one["code"] for one in (await team.viewer.ok("GET", change))["missing"]
    ]
    await team.reviewer.ok("POST", f"{change}/approve")
    while (told := await team.viewer.ok("GET", change))["status"] == "open":
        await asyncio.sleep(0.05)
    assert (told["status"], told["suspended_for"]) == ("suspended", "prompt_archived")


async def test_where_authors_approve_their_own_waits_for_them(team: Team) -> None:
    about = {"principal_id": team.callers["author"].principal_id, "project": "acme"}
    await team.admin.ok("POST", "/v1/grants", {**about, "role": "reviewer"})
    approvals = {"count": 1, "authors": True}
    await team.admin.ok("PUT", PRODUCTION, {"approvals": approvals})
    change = await team.propose()

    async def waits() -> int:
        return len((await team.author.ok("GET", "/v1/change-requests?awaiting=me"))["items"])

    assert await waits() == 1
    await team.author.ok("POST", f"{change}/approve")
    assert await waits() == 0
    await team.author.ok("POST", f"{change}/retract")
    await team.admin.ok("PUT", PRODUCTION, {"approvals": {"count": 1}})
    assert await waits() == 0


@pytest.mark.parametrize("automatic", [False, True])
async def test_what_is_applied_ends_a_split(team: Team, automatic: bool) -> None:
    """Also where the label points at it already: then everybody is served that."""
    label = f"{PROMPT}/-/labels/production"
    await team.releaser.ok("PUT", label, {"rollout": {"1": 900, "2": 100}})
    await team.admin.ok("PUT", PRODUCTION, rules())
    change = await team.propose(1, by="releaser", automatic=automatic)
    await team.reviewer.ok("POST", f"{change}/approve")
    if not automatic:
        await team.releaser.ok("POST", f"{change}/apply")
    while (await team.viewer.ok("GET", change))["status"] != "applied":
        await asyncio.sleep(0.05)
    assert (await team.viewer.ok("GET", label))["rollout"] is None
    history = await team.viewer.ok("GET", f"{label}/history")
    assert (history["items"][0]["from"], history["items"][0]["to"]) == (1, 1)


async def test_nothing_is_applied_by_itself_where_promotions_are_signed(team: Team) -> None:
    await team.admin.ok("PUT", PRODUCTION, rules(signed=True))
    items = [{"name": "support/triage", "version": 2}]
    for terms in ({"automatic": True}, {"scheduled_at": hours(1)}):
        body = {"items": items, "title": "x", **terms}
        answer = await team.releaser.call("POST", CHANGES, body)
        assert (answer.status, answer.code) == (409, "conflict"), answer.body


async def test_whoever_wrote_a_merged_branch_is_an_author(team: Team) -> None:
    """Also of its older versions: a last letter by somebody else makes nobody else of them."""
    await team.admin.ok("PUT", PRODUCTION, rules())
    about = {"principal_id": team.callers["reviewer"].principal_id, "project": "acme"}
    await team.admin.ok("POST", "/v1/grants", {**about, "role": "developer"})
    await team.reviewer.ok("POST", f"{PROMPT}/-/branches", {"branch": "side"})
    for writer, text in ((team.reviewer, "nearly all of it"), (team.author, "nearly all of it.")):
        body = {"content": text_content(text), "branch": "side"}
        await writer.ok("POST", f"{PROMPT}/-/versions", body)
    merged = await team.author.ok("POST", f"{PROMPT}/-/merge", {"source": "side"})
    change = await team.propose(merged["version"])
    assert (await team.reviewer.call("POST", f"{change}/approve")).status == 403
    mine = await team.reviewer.ok("GET", "/v1/change-requests?awaiting=me")
    assert mine["items"] == []
    assert len((await team.second.ok("GET", "/v1/change-requests?awaiting=me"))["items"]) == 1
    assert (await team.second.call("POST", f"{change}/approve")).status == 200


async def test_a_promotion_waits_for_another_pair_of_eyes(team: Team) -> None:
    await team.admin.ok("PUT", PRODUCTION, rules())
    assert codes(await team.promote(2)) == ["approvals"]
    change = await team.propose()
    assert (await team.author.call("POST", f"{change}/approve")).status == 403
    early = await team.releaser.call("POST", f"{change}/apply")
    assert (early.status, early.code) == (409, "rules_not_met")
    approved = await team.reviewer.ok("POST", f"{change}/approve", {"comment": "fine"})
    assert approved["missing"] == [] and approved["approved_by"] == [
        team.callers["reviewer"].principal_id
    ]
    assert (await team.author.call("POST", f"{change}/apply")).status == 403
    applied = await team.releaser.ok("POST", f"{change}/apply")
    assert applied["status"] == "applied" and await team.live() == 2
    again = await team.releaser.call("POST", f"{change}/apply")
    assert (again.status, again.code) == (409, "change_closed")
    read = await team.viewer.ok("GET", change)
    assert read["title"] == "Ship it" and read["approvals"][0]["comment"] == "fine"
    history = await team.admin.ok("GET", f"{PROMPT}/-/labels/production/history")
    assert history["items"][0]["change_id"] == read["change_id"]
    back = await team.releaser.ok("POST", f"{PROMPT}/-/rollback", {"label": "production"})
    assert back["version"] == 1


async def test_an_approval_counts_for_what_was_approved_and_while_its_giver_may(
    team: Team,
) -> None:
    await team.admin.ok("PUT", PRODUCTION, rules())
    change = await team.propose()
    await team.reviewer.ok("POST", f"{change}/approve", {"revision": 1})
    await team.commit("three")
    items = [{"name": "support/triage", "version": 3}]
    revised = await team.author.ok("POST", f"{change}/revise", {"items": items})
    assert (revised["revision"], revised["approved_by"]) == (2, [])
    stale = await team.reviewer.call("POST", f"{change}/approve", {"revision": 1})
    assert stale.status == 409
    assert codes(await team.releaser.call("POST", f"{change}/apply")) == ["approvals"]
    await team.reviewer.ok("POST", f"{change}/approve", {"revision": 2})
    await team.reviewer.ok("POST", f"{change}/retract")
    assert codes(await team.releaser.call("POST", f"{change}/apply")) == ["approvals"]
    await team.reviewer.ok("POST", f"{change}/approve")
    grant = team.callers["reviewer"].grant_ids[0]
    await team.admin.ok("DELETE", f"/v1/grants/{grant}")
    assert codes(await team.releaser.call("POST", f"{change}/apply")) == ["approvals"]
    await team.second.ok("POST", f"{change}/approve")
    await team.admin.ok("PATCH", f"/v1/principals/{team.callers['second'].principal_id}",
                        {"active": False})  # fmt: skip
    assert codes(await team.releaser.call("POST", f"{change}/apply")) == ["approvals"]
    assert await team.live() == 1


async def test_a_release_is_applied_as_one(team: Team) -> None:
    await team.admin.make_prompt("acme/support/reply", "{{> support/triage@production}}")
    path = "/v1/projects/acme/prompts/support/reply"
    await team.admin.ok("PUT", PRODUCTION, rules())
    body = {
        "title": "Both",
        "items": [
            {"name": "support/reply", "version": 1}, {"name": "support/triage", "version": 2},
        ],
    }  # fmt: skip
    made = await team.author.ok("POST", CHANGES, body)
    change = f"{CHANGES}/{made['change_id']}"
    before = team.admin.position
    await team.reviewer.ok("POST", f"{change}/approve")
    racing = await asyncio.gather(*(team.releaser.call("POST", f"{change}/apply")
                                    for _ in range(4)))  # fmt: skip
    assert sorted(one.status for one in racing) == [200, 409, 409, 409]
    assert (await team.viewer.ok("GET", path))["content"]["text"] == "two"
    page = await team.admin.ok("GET", f"/v1/events?after={before}&limit=10")
    kinds = [one["type"].split(".")[2:4] for one in page["items"]]
    assert kinds[-3:] == [["label", "moved"], ["label", "moved"], ["change", "applied"]]


async def test_what_is_asked_to_happen_by_itself_happens_when_it_may(team: Team) -> None:
    await team.admin.ok("PUT", PRODUCTION, rules())
    asked = {"items": [{"name": "support/triage", "version": 2}], "title": "x", "automatic": True}
    assert (await team.author.call("POST", CHANGES, asked)).status == 403
    change = await team.propose(by="releaser", automatic=True)
    later = await team.propose(by="releaser", scheduled_at=hours(100))
    await team.reviewer.ok("POST", f"{later}/approve")
    assert codes(await team.releaser.call("POST", f"{later}/apply")) == ["scheduled"]
    await team.reviewer.ok("POST", f"{change}/approve")
    async with asyncio.timeout(15):
        while (found := await team.viewer.ok("GET", change))["status"] != "applied":
            await asyncio.sleep(0.05)
    assert found["applied_by"] == team.callers["releaser"].principal_id
    moved = (await team.viewer.ok("GET", f"{PROMPT}/-/history"))["items"][-1]
    assert moved["action"] == "label.moved" and moved["actor"]["via"] == "schedule"
    assert moved["actor"]["on_behalf_of"] == team.callers["releaser"].principal_id


async def test_what_was_asked_waits_when_its_ground_has_moved(team: Team) -> None:
    await team.admin.ok("PUT", PRODUCTION, rules())
    change = await team.propose(by="releaser", automatic=True)
    await team.commit("three")
    other = await team.propose(3)
    await team.reviewer.ok("POST", f"{other}/approve")
    await team.releaser.ok("POST", f"{other}/apply")
    async with asyncio.timeout(15):
        while (await team.viewer.ok("GET", change))["status"] != "suspended":
            await asyncio.sleep(0.05)
    refused = await team.reviewer.call("POST", f"{change}/approve")
    assert (refused.status, refused.code) == (409, "change_closed")
    again = await team.releaser.ok("POST", f"{change}/revise")
    assert again["status"] == "open" and again["items"][0]["base"] == 3
    token = team.callers["releaser"].token_id
    await team.admin.ok("DELETE", f"/v1/tokens/{token}")
    async with asyncio.timeout(15):
        while (await team.viewer.ok("GET", change))["status"] != "suspended":
            await asyncio.sleep(0.05)
    assert await team.live() == 3


async def test_requests_are_discussed_listed_rejected_and_withdrawn(team: Team) -> None:
    await team.admin.ok("PUT", PRODUCTION, rules())
    change = await team.propose()
    waiting = await team.second.ok("GET", "/v1/change-requests?awaiting=me")
    assert len(waiting["items"]) == 1 and waiting["items"][0]["title"] == "Ship it"
    assert (await team.author.ok("GET", "/v1/change-requests?awaiting=me"))["items"] == []
    anchor = {"name": "support/triage", "version": 2, "line": 3}
    said = await team.reviewer.call(
        "POST", f"{change}/comments", {"text": "why?", "anchor": anchor}
    )
    assert said.status == 201
    assert (await team.viewer.call("POST", f"{change}/comments", {"text": "x"})).status == 403
    await team.reviewer.ok("POST", f"{change}/reject", {"comment": "not like this"})
    read = await team.viewer.ok("GET", change)
    assert read["status"] == "rejected" and read["rejection"]["comment"] == "not like this"
    assert read["comments"][0]["text"] == "why?" and read["comments"][0]["anchor"] == anchor
    assert (await team.releaser.call("POST", f"{change}/apply")).code == "change_closed"
    assert (await team.author.ok("POST", f"{change}/revise"))["status"] == "open"
    assert (await team.releaser.call("POST", f"{change}/withdraw")).status == 403
    assert (await team.author.ok("POST", f"{change}/withdraw"))["changed"]
    listed = await team.viewer.ok("GET", f"{CHANGES}?status=withdrawn")
    assert [one["status"] for one in listed["items"]] == ["withdrawn"]
    assert (await team.viewer.ok("GET", f"{CHANGES}?status=open"))["items"] == []


async def test_who_may_not_read_a_prompt_does_not_learn_of_its_requests(team: Team) -> None:
    change = await team.propose()
    await team.admin.make_prompt("other/secret")
    stranger = await team.admin.make_caller({"role": "admin", "project": "other"})
    folder = await team.admin.make_caller({"role": "admin", "project": "acme", "folder": "sales"})
    for caller in (stranger, folder):
        foreign = await caller.api.call("GET", change)
        absent = await caller.api.call("GET", f"{CHANGES}/{stranger.principal_id}")
        assert foreign.status == absent.status == 404
        plain = [str(one.body["detail"]).replace(one.body["detail"].split("/")[3].split(",")[0], "")
                 for one in (foreign, absent)]  # fmt: skip
        assert plain[0] == plain[1]
        assert (await caller.api.call("POST", f"{change}/approve")).status == 404
        assert (await caller.api.ok("GET", "/v1/change-requests"))["items"] == []


async def test_what_is_no_environment_any_more_lets_no_request_through(team: Team) -> None:
    await team.admin.ok("PUT", PRODUCTION, rules())
    by_itself = await team.propose(by="releaser", automatic=True)
    by_hand = await team.propose()
    await team.admin.ok("DELETE", PRODUCTION)
    refused = await team.releaser.call("POST", f"{by_hand}/apply")
    assert (refused.status, refused.code) == (409, "conflict")
    async with asyncio.timeout(20):
        while (await team.viewer.ok("GET", by_itself))["status"] != "suspended":
            await asyncio.sleep(0.05)
    assert await team.live() == 1


async def test_a_request_whose_labels_would_have_expired_is_not_applied(team: Team) -> None:
    wrong = {"expires_at": hours(1), "scheduled_at": hours(2)}
    body = {"items": [{"name": "support/triage", "version": 2}], "title": "x"}
    assert (await team.releaser.call("POST", CHANGES, body | wrong)).status == 422
    soon = (datetime.now(UTC) + timedelta(seconds=1)).isoformat()
    change = await team.propose(expires_at=soon)
    await asyncio.sleep(1.1)
    assert (await team.releaser.call("POST", f"{change}/apply")).code == "conflict"
    assert await team.live() == 1
    revised = await team.author.ok("POST", f"{change}/revise", {"expires_at": None})
    assert revised["status"] == "open"
    await team.releaser.ok("POST", f"{change}/apply")


async def test_a_revision_keeps_the_times_it_does_not_speak_of(team: Team) -> None:
    at, until = hours(5), hours(9)
    change = await team.propose(by="releaser", scheduled_at=at, expires_at=until)
    await team.releaser.ok("POST", f"{change}/revise")
    read = await team.viewer.ok("GET", change)
    assert datetime.fromisoformat(read["scheduled_at"]) == datetime.fromisoformat(at)
    assert datetime.fromisoformat(read["expires_at"]) == datetime.fromisoformat(until)
    plain = await team.propose()
    assert (await team.author.call("POST", f"{plain}/revise", {"scheduled_at": at})).status == 403
    await team.releaser.ok("POST", f"{plain}/revise", {"scheduled_at": at})
    assert (await team.viewer.ok("GET", plain))["automatic"]


async def test_folders_keep_change_requests_and_owners_to_themselves(team: Team) -> None:
    await team.admin.make_prompt("acme/public/faq")
    await team.admin.make_prompt("acme/public/old")
    owner = team.callers["reviewer"].principal_id
    for folder in ("support", "public"):
        body = {"folder": folder, "owners": [owner]}
        await team.admin.ok("PUT", "/v1/projects/acme/owners", body)
    change = await team.propose()
    await team.author.ok("POST", f"{change}/comments", {"text": "hm"})
    where = {"project": "acme", "folder": "public"}
    guest = (await team.admin.make_caller({"role": "developer", **where},
                                          {"role": "reviewer", **where})).api  # fmt: skip
    page = await guest.ok("GET", "/v1/events?limit=500")
    kinds = {one["type"].split(".")[2] for one in page["items"]}
    assert "prompt" in kinds and not kinds & {"change", "owners", "actorkey", "role"}
    owned = (await guest.ok("GET", "/v1/projects/acme/owners"))["items"]
    assert [one["folder"] for one in owned] == ["public"]
    await team.admin.ok("POST", "/v1/projects/acme/prompts/public/old/-/move",
                        {"name": "support/hidden"})  # fmt: skip
    details = []
    for name in ("public/old", "public/none"):
        body = {"title": "x", "items": [{"name": name, "version": 1}]}
        answer = await guest.call("POST", CHANGES, body)
        assert answer.status == 404
        details.append(answer.body["detail"].replace(name, "X"))
    assert details[0] == details[1]
    forged = {"key_id": f"sha256:{'0' * 64}", "signature": "0" * 128}
    for path, body in ((change, {"signature": forged}),
                       (f"{CHANGES}/{owner}", {"signature": forged})):  # fmt: skip
        assert (await guest.call("POST", f"{path}/approve", body)).status == 404
    sent = {"signatures": {"support/triage": forged}}
    assert (await guest.call("POST", f"{change}/apply", sent)).status == 404
    moved = "/v1/projects/acme/prompts/public/old/-/labels/canary"
    answer = await guest.call("PUT", moved, {"version": 9, "signature": forged})
    assert answer.status == 404 and "hidden" not in str(answer.body)
