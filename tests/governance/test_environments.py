"""Environments' rules, checks, owners, consumers, previews, emergencies."""

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


async def test_a_preview_says_what_no_rule_lets(team: Team) -> None:
    preview = f"{PROMPT}/-/promotions/preview"
    await team.viewer.ok("PUT", f"{PROMPT}/-/consumers/app", {"range": "=1.0.0"})
    told = await team.releaser.ok("POST", preview, {"version": 2})
    assert [one["code"] for one in told["missing"]] == ["consumer:app"]
    told = await team.releaser.ok("POST", preview, {"version": 2, "force": True})
    assert told["allowed"] and "app" in {one["consumer"] for one in told["broken"]}
    await team.author.ok("POST", f"{PROMPT}/-/archive")
    told = await team.releaser.ok("POST", preview, {"version": 2, "force": True})
    assert [one["code"] for one in told["missing"]] == ["prompt_archived"]
    assert not told["allowed"]
    body = {"name": "sketch", "content": text_content("x"), "draft": True}
    await team.author.ok("POST", "/v1/projects/acme/prompts", body)
    sketch = "/v1/projects/acme/prompts/sketch/-/promotions/preview"
    told = await team.releaser.ok("POST", sketch, {"version": 1})
    assert [one["code"] for one in told["missing"]] == ["prompt_draft"]


async def test_consumers_and_the_variables_of_partials(team: Team) -> None:
    """What a partial takes, whoever renders has to pass: as much as the prompt's own."""
    path = "/v1/projects/acme/prompts"
    for name, text in (("one", "for {{who}}"), ("two", "for {{extra}}")):
        body = {"name": name, "content": text_content(text), "declare_variables": True}
        await team.author.ok("POST", path, body)
    main = f"{path}/main"
    await team.author.ok("POST", path, {"name": "main", "content": text_content("{{> one@1}}")})
    await team.releaser.ok("PUT", f"{main}/-/labels/production", {"version": 1})
    await team.viewer.ok("PUT", f"{main}/-/consumers/app", {"variables": ["who"]})
    for text in ("{{> one@1}}!", "{{> one@1}} {{> two@1}}"):
        await team.author.ok("POST", f"{main}/-/versions", {"content": text_content(text)})
    fine = await team.releaser.call("PUT", f"{main}/-/labels/production", {"version": 2})
    assert fine.status == 200, fine.body
    breaks = await team.releaser.call("PUT", f"{main}/-/labels/production", {"version": 3})
    assert codes(breaks) == ["consumer:app"] and "extra" in breaks.body["detail"]
    await team.viewer.ok("PUT", f"{PROMPT}/-/consumers/odd", {"variables": ["nothing"]})
    told = await team.viewer.ok("GET", f"{PROMPT}/-/consumers")
    assert "nothing" in told["items"][0]["broken"]


async def test_a_rollback_lasts_no_longer_than_what_it_replaces(team: Team) -> None:
    label, until = f"{PROMPT}/-/labels/production", hours(5)
    await team.releaser.ok("PUT", label, {"version": 2, "expires_at": until})
    await team.admin.ok("PUT", PRODUCTION, {"label_hours_max": 24, "guarded_rollback": True})
    answer = await team.releaser.ok("POST", f"{PROMPT}/-/rollback", {"label": "production"})
    assert answer["version"] == 1
    assert datetime.fromisoformat(answer["expires_at"]) == datetime.fromisoformat(until)


async def test_the_rules_are_read_changed_and_known_of_any_moment(team: Team) -> None:
    before = team.admin.position
    plain = await team.viewer.ok("GET", PRODUCTION)
    assert plain["approvals"]["count"] == 0 and plain["order"] == 3
    made = await team.admin.call(
        "PUT", "/v1/projects/acme/environments/qa", {"order": 2, "from_environment": "development"}
    )
    assert made.status == 201
    listed = await team.viewer.ok("GET", "/v1/projects/acme/environments")
    assert [one["environment"] for one in listed["items"]] == [
        "development", "qa", "staging", "production",
    ]  # fmt: skip
    project = await team.viewer.ok("GET", "/v1/projects/acme")
    assert project["environments"] == ["development", "qa", "staging", "production"]
    etag = (await team.viewer.call("GET", PRODUCTION)).headers["ETag"]
    await team.admin.ok("PUT", PRODUCTION, rules(), headers={"If-Match": etag})
    stale = await team.admin.call("PUT", PRODUCTION, rules(), headers={"If-Match": etag})
    assert stale.status == 412
    assert not (await team.admin.ok("PUT", PRODUCTION, rules()))["changed"]
    past = await team.viewer.ok("GET", f"{PRODUCTION}?as_of={before}")
    assert past["approvals"]["count"] == 0
    assert (await team.viewer.ok("GET", PRODUCTION))["approvals"]["count"] == 1
    origin = await team.admin.call("DELETE", "/v1/projects/acme/environments/development")
    assert (origin.status, origin.code) == (409, "conflict")
    await team.admin.ok("DELETE", "/v1/projects/acme/environments/qa")
    assert (await team.viewer.call("GET", "/v1/projects/acme/environments/qa")).status == 404
    for wrong in (
        {"from_environment": "nowhere"}, {"from_environment": "production"},
        {"approvals": {"count": 1, "roles": ["viewer"]}}, {"approvals": {"owners": True}},
        {"checks": [{"name": "lint"}, {"name": "lint"}]},
        {"freezes": [{"days": ["fri"], "time_zone": "Mars/Olympus"}]},
        {"freezes": [{"days": ["noday"], "time_zone": "UTC"}]},
        {"freezes": [{"starts_at": hours(2), "ends_at": hours(1)}]},
        {"freezes": [{"starts_at": hours(2)}]},
        {"freezes": [{"days": ["fri"], "time_zone": "UTC", "starts_at": hours(1)}]},
    ):  # fmt: skip
        answer = await team.admin.call("PUT", PRODUCTION, wrong)
        assert answer.status == 422 and answer.body["errors"], wrong


async def test_each_rule_keeps_a_label_where_it_is(team: Team) -> None:
    async def with_rules(**given: object) -> Answer:
        await team.admin.ok("PUT", PRODUCTION, given)
        return await team.promote(2)

    assert codes(await with_rules(from_environment="staging")) == ["from_environment"]
    assert codes(await with_rules(checks=[{"name": "lint"}])) == ["check:lint"]
    assert codes(await with_rules(promoter_roles=["admin"])) == ["promoter"]
    window = {"starts_at": hours(-1), "ends_at": hours(1)}
    assert codes(await with_rules(freezes=[window])) == ["freeze"]
    week = {"days": ["mon", "tue", "wed", "thu", "fri", "sat", "sun"], "time_zone": "Asia/Tokyo"}
    assert codes(await with_rules(freezes=[week])) == ["freeze"]
    assert codes(await with_rules(label_hours_max=1)) == ["label_hours_max"]
    assert codes(await team.promote(2, expires_at=hours(2))) == ["label_hours_max"]
    removal = await team.releaser.call("DELETE", f"{PROMPT}/-/labels/production")
    assert removal.status == 200  # nothing keeps what points nowhere from ending
    assert (await team.promote(1, expires_at=hours(0.9))).status == 200
    await team.admin.ok("PUT", PRODUCTION, rules())
    removal = await team.releaser.call("DELETE", f"{PROMPT}/-/labels/production")
    assert codes(removal) == ["approvals"]
    assert await team.live() == 1
    change = await team.propose(None)
    await team.reviewer.ok("POST", f"{change}/approve")
    await team.releaser.ok("POST", f"{change}/apply")
    assert await team.live() is None


async def test_a_plugin_posts_as_ci_does(team: Team) -> None:
    plugin = await team.admin.make_caller({"role": "checker", "project": "acme"}, type_="plugin")
    await team.admin.ok("PUT", PRODUCTION, {"checks": [{"name": "toxicity"}]})
    body = {"name": "toxicity", "state": "passed", "summary": "0 of 120"}
    await plugin.api.ok("POST", f"{PROMPT}/-/versions/2/checks", body)
    team.releaser.position = plugin.api.position
    assert (await team.promote(2)).status == 200
    newest = (await team.admin.ok("GET", "/v1/audit?action=check"))["items"][-1]
    assert newest["actor"]["type"] == "plugin"


async def test_checks_gate_the_version_they_were_posted_on(team: Team) -> None:
    await team.admin.ok("PUT", PRODUCTION, {"checks": [{"name": "lint", "max_age_hours": 1}]})
    path = f"{PROMPT}/-/versions/2/checks"
    found = {"name": "lint", "state": "failed", "evidence_url": "https://ci.example/1"}
    assert (await team.author.call("POST", path, found)).status == 403
    assert (await team.checker.call("POST", path, found)).status == 201
    assert codes(await team.promote(2)) == ["check:lint"]
    good = {"name": "lint", "state": "passed", "summary": "ok", "evidence_digest": "ab" * 32}
    await team.checker.ok("POST", path, good)
    listed = await team.viewer.ok("GET", path)
    assert [(one["state"], one["summary"]) for one in listed["items"]] == [("passed", "ok")]
    assert (await team.promote(2)).status == 200
    assert codes(await team.promote(await team.commit("three"))) == ["check:lint"]
    absent = await team.checker.call("POST", f"{PROMPT}/-/versions/9/checks", good)
    assert (absent.status, absent.code) == (404, "version_not_found")


async def test_an_owner_of_the_folder_has_to_agree(team: Team) -> None:
    await team.admin.ok("PUT", PRODUCTION, {"approvals": {"count": 1, "owners": True}})
    change = await team.propose()
    await team.reviewer.ok("POST", f"{change}/approve")
    assert codes(await team.releaser.call("POST", f"{change}/apply")) == ["owners"]
    owner = team.callers["second"].principal_id
    for folder, who in ((None, team.callers["reviewer"].principal_id), ("support", owner)):
        body = {"folder": folder, "owners": [who]}
        await team.admin.ok("PUT", "/v1/projects/acme/owners", body)
    assert codes(await team.releaser.call("POST", f"{change}/apply")) == ["owners"]
    await team.second.ok("POST", f"{change}/approve")
    await team.releaser.ok("POST", f"{change}/apply")
    listed = await team.viewer.ok("GET", "/v1/projects/acme/owners")
    assert [one["folder"] for one in listed["items"]] == [None, "support"]


async def test_glass_is_broken_with_a_reason_and_reviewed_afterwards(team: Team) -> None:
    await team.admin.ok("PUT", PRODUCTION, rules(review_hours=1))
    urgent = {"version": 2, "break_glass": True, "reason": "prompt leaks"}
    assert (await team.promote(2, break_glass=True, reason="x")).status == 403
    label = f"{PROMPT}/-/labels/production"
    missing = await team.admin.call("PUT", label, {"version": 2, "break_glass": True})
    assert missing.status == 422
    done = await team.admin.ok("PUT", label, urgent)
    assert await team.live() == 2
    inbox = await team.reviewer.ok("GET", "/v1/change-requests?awaiting=me")
    assert [one["change_id"] for one in inbox["items"]] == [done["change_id"]]
    assert not inbox["items"][0]["overdue"]
    change = f"{CHANGES}/{done['change_id']}"
    own = await team.admin.call("POST", f"{change}/review", {"outcome": "accepted"})
    assert own.status == 403
    await team.reviewer.ok("POST", f"{change}/review", {"outcome": "objected", "comment": "no"})
    read = await team.viewer.ok("GET", change)
    assert read["emergency"] and read["review"]["outcome"] == "objected"
    assert (await team.reviewer.ok("GET", "/v1/change-requests?awaiting=me"))["items"] == []
    back = {"label": "production"}
    assert (await team.releaser.ok("POST", f"{PROMPT}/-/rollback", back))["version"] == 1
    forth = await team.releaser.call("POST", f"{PROMPT}/-/rollback", {**back, "to": 2})
    assert codes(forth) == ["approvals"]  # an emergency satisfied no rules
    await team.admin.ok("PUT", PRODUCTION, rules(review_hours=None))
    assert (await team.admin.call("PUT", label, urgent)).status == 409


async def test_rollbacks_can_be_guarded(team: Team) -> None:
    assert (await team.promote(2)).status == 200
    await team.admin.ok("PUT", PRODUCTION, rules(guarded_rollback=True))
    back = {"label": "production"}
    assert codes(await team.releaser.call("POST", f"{PROMPT}/-/rollback", back)) == ["approvals"]
    await team.admin.ok("PUT", PRODUCTION, rules())
    assert (await team.releaser.ok("POST", f"{PROMPT}/-/rollback", back))["version"] == 1


async def test_moves_of_a_plain_label_satisfied_no_rules(team: Team) -> None:
    label = f"{PROMPT}/-/labels/canary"
    for version in (1, 2, 1):
        await team.author.ok("PUT", label, {"version": version})
    back = {"label": "canary", "to": 2}
    await team.author.ok("POST", f"{PROMPT}/-/rollback", back)
    await team.author.ok("PUT", label, {"version": 1})
    await team.admin.ok("PUT", "/v1/projects/acme/environments/canary", rules())
    assert codes(await team.releaser.call("POST", f"{PROMPT}/-/rollback", back)) == ["approvals"]


async def test_a_preview_says_what_is_missing_and_what_would_change(team: Team) -> None:
    await team.admin.ok("PUT", PRODUCTION, rules(checks=[{"name": "lint"}]))
    path = f"{PROMPT}/-/promotions/preview"
    told = await team.releaser.ok("POST", path, {"version": 2})
    assert [one["code"] for one in told["missing"]] == ["check:lint", "approvals"]
    assert told["permitted"] and not told["allowed"]
    assert "-one" in told["diff"]["unified"] and "+two" in told["diff"]["unified"]
    other = await team.viewer.ok("POST", path, {"version": 2, "rules": {}})
    assert other["missing"] == [] and not other["permitted"]
    dry = await team.releaser.call(
        "PUT", f"{PROMPT}/-/labels/production?dry_run=true", {"version": 2}
    )
    assert codes(dry) == ["check:lint", "approvals"]
    assert await team.live() == 1


async def test_a_promotion_that_breaks_a_consumer_is_refused_unless_forced(team: Team) -> None:
    consumers = f"{PROMPT}/-/consumers"
    registered = {"range": "^1", "variables": []}
    made = await team.viewer.call("PUT", f"{consumers}/shop", registered)
    assert made.status == 201
    assert not (await team.viewer.ok("PUT", f"{consumers}/shop", registered))["changed"]
    assert (await team.author.call("PUT", f"{consumers}/shop", {})).status == 403
    wrong = await team.viewer.call("PUT", f"{consumers}/other", {"range": "^^1"})
    assert wrong.status == 400 and wrong.code == "invalid_range"
    assert (await team.promote(2)).status == 200
    body = {"content": text_content("three {{x}}")}
    number = (await team.author.ok("POST", f"{PROMPT}/-/versions", body))["version"]
    refused = await team.promote(number)
    assert codes(refused) == ["consumer:shop"] and "^1, this is 2.0.0" in refused.body["detail"]
    await team.viewer.ok("PUT", f"{consumers}/shop", {"range": ">=1", "variables": []})
    refused = await team.promote(number)
    assert codes(refused) == ["consumer:shop"] and "does not pass x" in refused.body["detail"]
    told = await team.viewer.ok("POST", f"{PROMPT}/-/promotions/preview", {"version": number})
    assert [one["consumer"] for one in told["broken"]] == ["shop"]
    assert (await team.promote(number, force=True)).status == 422  # why?
    change = await team.propose(number, force=True, reason="they know")
    assert (await team.releaser.ok("POST", f"{change}/apply"))["forced"]
    await team.viewer.ok("PUT", f"{consumers}/shop", {"range": "^1"})
    listed = (await team.viewer.ok("GET", consumers))["items"]
    assert listed[0]["version"] == number and "this is 2.0.0" in listed[0]["broken"]
    back = await team.releaser.ok("POST", f"{PROMPT}/-/rollback", {"label": "production"})
    assert back["version"] == 2
    assert (await team.promote(number, force=True, reason="again")).status == 200
    await team.viewer.ok("DELETE", f"{consumers}/shop", {"reason": "gone"})
    assert (await team.promote(2)).status == 200
    assert (await team.viewer.call("DELETE", f"{consumers}/shop")).status == 404
