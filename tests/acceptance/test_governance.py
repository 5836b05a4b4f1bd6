"""Governance: an environment's rules, checks, change requests, emergencies, and their replay."""

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

PROMPT = "/v1/projects/acme/prompts/support/triage"
CHANGES = "/v1/projects/acme/change-requests"
PRODUCTION = "/v1/projects/acme/environments/production"


def rules(**given: object) -> dict[str, object]:
    return {"approvals": {"count": 1}, **given}


class Team:
    """A project with two versions, and people of each role."""

    def __init__(self, admin: Api) -> None:
        self.admin = admin
        self.callers: dict[str, Caller] = {}

    async def build(self) -> "Team":
        await self.admin.make_prompt("acme/support/triage", "one")
        for name, role in (
            ("author", "developer"), ("reviewer", "reviewer"), ("second", "reviewer"),
            ("releaser", "releaser"), ("checker", "checker"), ("viewer", "viewer"),
        ):  # fmt: skip
            grant = {"role": role, "project": "acme"}
            self.callers[name] = await self.admin.make_caller(grant)
        await self.commit("two")
        await self.admin.ok("PUT", f"{PROMPT}/-/labels/production", {"version": 1})
        return self

    def __getattr__(self, name: str) -> Api:
        """Everybody reads what any of them wrote."""
        everybody = [self.admin, *(caller.api for caller in self.callers.values())]
        newest = max(api.position for api in everybody)
        for api in everybody:
            api.position = newest
        return self.callers[name].api

    async def commit(self, text: str) -> int:
        body = {"content": text_content(text)}
        return (await self.author.ok("POST", f"{PROMPT}/-/versions", body))["version"]

    async def propose(self, version: int | None = 2, by: str = "author", **fields: object) -> str:
        items = [{"name": "support/triage", "version": version}]
        body = {"items": items, "title": "Ship it", **fields}
        answer = await getattr(self, by).call("POST", CHANGES, body)
        assert answer.status == 201, answer.body
        return f"{CHANGES}/{answer.body['change_id']}"

    async def promote(self, version: int, **fields: object) -> Answer:
        body = {"version": version, **fields}
        return await self.releaser.call("PUT", f"{PROMPT}/-/labels/production", body)

    async def live(self) -> int | None:
        answer = await self.viewer.call("GET", f"{PROMPT}?label=production")
        return answer.body["version"] if answer.status == 200 else None


@pytest.fixture
def database_url() -> None:
    """What is decided is the same on both stores; the state machine of governance runs on both."""


@pytest.fixture
async def team(tmp_path: Path, database_url: str | None) -> AsyncIterator[Team]:
    """Whatever a test does, everything in the ledger is found allowed again."""
    async with registry(tmp_path, database_url=database_url) as api:
        yield await Team(api).build()
    assert verify(tmp_path / "data", database_url).faults == []


def codes(answer: Answer) -> list[str]:
    """What a refused promotion says is missing."""
    assert (answer.status, answer.code) == (409, "rules_not_met"), answer.body
    return [one["code"] for one in answer.body["missing"]]


def hours(number: float) -> str:
    return (datetime.now(UTC) + timedelta(hours=number)).isoformat()


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


def test_the_second_tour_of_the_readme(server: Process, tmp_path: Path) -> None:
    """As it stands there, by two people and their CI."""
    readme = (ROOT / "README.md").read_text()
    tour = readme.partition("## A second tour")[2].partition("```\n")[2].partition("```")[0]
    script = tmp_path / "tour.sh"
    script.write_text(f'set -e\nscrinia() {{ "{sys.executable}" -m api.cli.main "$@"; }}\n{tour}')
    done = subprocess.run(
        ["bash", str(script)], cwd=tmp_path, capture_output=True, text=True, timeout=120,
        env=server.environment | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "rules_not_met" in done.stderr and "missing: has 0 of 1 approvals" in done.stdout
    assert (
        "check lint has to pass" in done.stderr
        and "not one's own" in done.stdout
        and "You wrote" in done.stderr
    )
    assert "First greeting" in done.stdout and "is applied" in done.stdout
    assert "Greet {{name}} in one line." in done.stdout
    assert "change.approved" in done.stdout and "no fault" in done.stdout


def test_the_rest_of_governance_on_the_command_line(server: Process, tmp_path: Path) -> None:
    def ok(*args: str) -> str:
        return server.cli(*args).stdout

    file = tmp_path / "a.txt"
    file.write_text("a")
    ok("project", "create", "acme")
    ok("prompt", "create", "acme/mail", str(file))
    said = ok(
        "environment", "set", "acme", "production", "--approvals", "1", "--check", "lint:24",
        "--freeze", "fri,sat 16:00-24:00 Europe/Berlin", "--freeze",
        "2099-12-20T00:00:00Z/2099-12-31T00:00:00Z", "--label-hours", "48", "--owners",
    )  # fmt: skip
    assert "1 approval(s), one by an owner of the folder; check lint at most 24 hours" in said
    rules = tmp_path / "rules.json"
    rules.write_text(ok("environment", "show", "acme", "production", "--json"))
    assert "stays as it is" in ok("environment", "set", "acme", "production", "--file", str(rules))
    assert "Berlin" in rules.read_text()
    assert "needs nothing" in ok("environment", "set", "acme", "qa", "--order", "1")
    assert ok("environment", "list", "acme").splitlines()[1].split()[:2] == ["1", "qa"]
    assert "any other" in ok("environment", "remove", "acme", "qa")
    me = json.loads(ok("whoami", "--json"))["principal_id"]
    assert me in ok("owners", "set", "acme", me, "--folder", "sales")
    assert "sales" in ok("owners", "list", "acme")
    wrong = server.cli("environment", "set", "acme", "qa", "--freeze", "whenever", check=False)
    assert wrong.returncode == 2 and "neither" in wrong.stderr
    urgent = ok("promote", "acme/mail", "--break-glass", "-m", "leak")
    change = re.search(r"review (acme/\S+)", urgent)[1]
    assert "to be reviewed" in ok("change-request", "list", "acme")
    refused = server.cli("change-request", "review", change, "accepted", check=False)
    assert refused.returncode == 1 and "somebody else" in refused.stderr
    made = ok("change-request", "propose", "acme/mail", "--remove", "-t", "End it").split()[0]
    assert "missing: mail" in ok("change-request", "show", made)
    assert "revision 2" in ok("change-request", "revise", made, "acme/mail@1")
    assert "is withdrawn" in ok("change-request", "withdraw", made, "-m", "later")
    for command in ("approve", "retract", "reject", "apply"):
        assert server.cli("change-request", command, made, check=False).returncode == 1
    assert "^1" in ok("consumer", "register", "acme/mail", "shop", "--range", "^1")
    assert "shop" in ok("consumer", "list", "acme/mail")
    ok("consumer", "remove", "acme/mail", "shop", "-m", "gone")
    ok("role", "define", "translator", "prompt.read", "prompt.write")
    assert "translator" in ok("role", "list")
    group = ok("group", "create", "writers").strip()
    ok("group", "add", group, me)
    assert me in ok("group", "members", group) and "writers" in ok("group", "list")
    said = ok("explain", me, "prompt.write", "projects/acme/prompts/mail")
    assert "may prompt.write" in said and "grant.given" in said
    ok("group", "remove", group, me)
    ok("role", "remove", "translator")
    key = tmp_path / "my.key"
    assert "is yours" in ok("actor-key", "create", str(key))
    key_id = json.loads(ok("actor-key", "list", "--json"))["items"][0]["key_id"]
    ok("environment", "set", "acme", "staging", "--signed-promotion")
    refused = server.cli("promote", "acme/mail", "--to", "staging", check=False)
    assert refused.returncode == 1 and "signature" in refused.stderr
    ok("promote", "acme/mail", "--to", "staging", "--key-file", str(key))
    asked = ("--to", "staging", "-t", "Signed", "--remove")
    signed = ok("change-request", "propose", "acme/mail", *asked).split()[0]
    assert "is applied" in ok("change-request", "apply", signed, "--key-file", str(key))
    ok("actor-key", "retire", key_id, "-m", "lost")
    ok("check", "post", "acme/mail@1", "lint", "failed", "--evidence-url", "https://ci.example/1")
    assert "failed" in ok("check", "list", "acme/mail")


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


class Pen:
    """A key of somebody's own, registered."""

    def __init__(self, caller: Caller) -> None:
        self.caller = caller
        self.signer = Signer(os.urandom(32))

    async def register(self, ledger: str) -> Answer:
        purpose = f"actor/{self.caller.principal_id}"
        proof = self.signer.sign(possession_text(ledger, purpose)).hex()
        body = {"public_key": self.signer.public_key.hex(), "proof": proof}
        path = f"/v1/principals/{self.caller.principal_id}/keys"
        return await self.caller.api.call("POST", path, body)

    def sign(self, intent: dict[str, Any]) -> dict[str, str]:
        message = pre_authentication_encoding(rfc8785.dumps(intent), PAYLOAD_TYPE)
        signature = self.signer.sign(message).hex()
        return {"key_id": self.signer.key_id, "signature": signature}


async def test_approvals_and_promotions_carry_their_makers_own_signatures(team: Team) -> None:
    ledger = team.admin.services.ledger_id
    reviewer, releaser = Pen(team.callers["reviewer"]), Pen(team.callers["releaser"])
    assert (await reviewer.register(ledger)).status == 201
    assert (await reviewer.register(ledger)).status == 200
    assert (await releaser.register(ledger)).status == 201
    stolen = Pen(team.callers["second"])
    stolen.signer = reviewer.signer
    assert (await stolen.register(ledger)).status == 409
    await team.admin.ok("PUT", PRODUCTION, {"approvals": {"count": 1, "signed": True},
                                            "signed": True})  # fmt: skip
    change = await team.propose()
    told = await team.reviewer.ok("POST", f"{change}/approve")
    assert {one["code"] for one in told["missing"]} == {"approvals", "signature"}
    intents = (await team.viewer.ok("GET", change))["intents"]
    other = {**intents["approve"], "revision": 2}
    wrong = await team.reviewer.call(
        "POST", f"{change}/approve", {"signature": reviewer.sign(other)}
    )
    assert wrong.status == 422 and wrong.body["errors"][0]["code"] == "invalid_signature"
    foreign = {"signature": releaser.sign(intents["approve"])}
    assert (await team.reviewer.call("POST", f"{change}/approve", foreign)).status == 422
    signed = {"signature": reviewer.sign(intents["approve"])}
    told = await team.reviewer.ok("POST", f"{change}/approve", signed)
    assert [one["code"] for one in told["missing"]] == ["signature"]
    assert codes(await team.releaser.call("POST", f"{change}/apply")) == ["signature"]
    promotions = {name: releaser.sign(intent) for name, intent in intents["promote"].items()}
    await team.releaser.ok("POST", f"{change}/apply", {"signatures": promotions})
    assert await team.live() == 2
    await team.admin.ok("PUT", PRODUCTION, {"signed": True})
    preview = f"{PROMPT}/-/promotions/preview"
    intent = (await team.releaser.ok("POST", preview, {"version": 1}))["intent"]
    assert codes(await team.promote(1)) == ["signature"]
    assert (await team.promote(1, signature=releaser.sign(intent))).status == 200
    key = f"/v1/principals/{team.callers['releaser'].principal_id}/keys/{releaser.signer.key_id}"
    assert (await team.reviewer.call("DELETE", key)).status == 403
    await team.admin.ok("DELETE", key, {"reason": "lost"})
    intent = (await team.releaser.ok("POST", preview, {"version": 2}))["intent"]
    assert (await team.promote(2, signature=releaser.sign(intent))).status == 422


async def test_a_key_is_registered_by_whoever_it_is_of_alone(team: Team) -> None:
    ledger = team.admin.services.ledger_id
    pen = Pen(team.callers["reviewer"])
    pen.caller = Caller(pen.caller.principal_id, "", [], team.admin)
    assert (await pen.register(ledger)).status == 403
    scopes = [{"permissions": ["prompt.read"]}]
    narrowed = await team.admin.make_caller({"role": "admin"}, scopes=scopes)
    assert (await Pen(narrowed).register(ledger)).status == 403
    assert (await Pen(team.callers["viewer"]).register("another ledger")).status == 422


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


async def test_moves_of_a_plain_label_satisfied_no_rules(team: Team) -> None:
    label = f"{PROMPT}/-/labels/canary"
    for version in (1, 2, 1):
        await team.author.ok("PUT", label, {"version": version})
    back = {"label": "canary", "to": 2}
    await team.author.ok("POST", f"{PROMPT}/-/rollback", back)
    await team.author.ok("PUT", label, {"version": 1})
    await team.admin.ok("PUT", "/v1/projects/acme/environments/canary", rules())
    assert codes(await team.releaser.call("POST", f"{PROMPT}/-/rollback", back)) == ["approvals"]


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


async def test_rollbacks_and_emergencies_can_be_signed_too(team: Team) -> None:
    assert (await team.promote(2)).status == 200
    pen = Pen(team.callers["releaser"])
    await pen.register(team.admin.services.ledger_id)
    await team.admin.ok("PUT", PRODUCTION, {"signed": True, "guarded_rollback": True})
    back = {"label": "production"}
    assert codes(await team.releaser.call("POST", f"{PROMPT}/-/rollback", back)) == ["signature"]
    preview = {"version": 1}
    told = await team.releaser.ok("POST", f"{PROMPT}/-/promotions/preview", preview)
    signed = back | {"signature": pen.sign(told["intent"])}
    assert (await team.releaser.ok("POST", f"{PROMPT}/-/rollback", signed))["version"] == 1
    me = await team.admin.ok("GET", "/v1/whoami")
    own = Pen(Caller(me["principal_id"], "", [], team.admin))
    assert (await own.register(team.admin.services.ledger_id)).status == 201
    told = await team.admin.ok("POST", f"{PROMPT}/-/promotions/preview", {"version": 2})
    urgent = {"version": 2, "break_glass": True, "reason": "leak"}
    urgent["signature"] = own.sign(told["intent"])
    done = await team.admin.ok("PUT", f"{PROMPT}/-/labels/production", urgent)
    assert datetime.fromisoformat(done["review_due_at"]) and "T" in done["review_due_at"]
