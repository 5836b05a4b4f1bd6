"""Whoever may read what somebody did, reads by which name they are shown."""

import json
from typing import Any

from tests.governance.team import CHANGES, PRODUCTION, PROMPT, Team, rules
from tests.harness import Answer, text_content


async def call_by_their_roles(team: Team) -> None:
    for role, caller in team.callers.items():
        path = f"/v1/principals/{caller.principal_id}"
        await team.admin.ok("PATCH", path, {"name": f"The {role}"})


async def test_a_change_request_names_everybody_in_it(team: Team) -> None:
    await call_by_their_roles(team)
    await team.admin.ok("PUT", PRODUCTION, rules())
    change = await team.propose()
    await team.second.ok("POST", f"{change}/comments", {"text": "why?"})
    await team.reviewer.ok("POST", f"{change}/approve")
    await team.releaser.ok("POST", f"{change}/apply")
    told = await team.viewer.ok("GET", change)
    assert (told["proposed_by_name"], told["applied_by_name"]) == ("The author", "The releaser")
    assert told["approvals"][0]["by_name"] == "The reviewer"
    assert told["comments"][0]["by_name"] == "The second"
    (listed,) = (await team.viewer.ok("GET", CHANGES))["items"]
    assert listed["proposed_by_name"] == "The author"
    refused = await team.propose(version=1)
    await team.reviewer.ok("POST", f"{refused}/reject")
    assert (await team.viewer.ok("GET", refused))["rejection"]["by_name"] == "The reviewer"


async def test_versions_labels_checks_and_the_trail(team: Team) -> None:
    await call_by_their_roles(team)
    await team.releaser.ok("PUT", f"{PROMPT}/-/labels/production", {"version": 2})
    check = {"name": "lint", "state": "passed", "summary": "fine"}
    await team.checker.ok("POST", f"{PROMPT}/-/versions/2/checks", check)

    async def first(path: str) -> Any:
        return (await team.admin.ok("GET", path))["items"][0]

    assert (await first(f"{PROMPT}/-/versions"))["author_name"] == "The author"
    assert (await team.viewer.ok("GET", f"{PROMPT}/-/versions/2"))["author_name"] == "The author"
    metadata = await team.viewer.ok("GET", f"{PROMPT}/-/metadata")
    assert metadata["updated_by_name"] == "The releaser"
    assert (await first("/v1/projects/acme/prompts"))["updated_by_name"] == "The releaser"
    label = await team.viewer.ok("GET", f"{PROMPT}/-/labels/production")
    assert label["promoted_by_name"] == "The releaser"
    assert (await first(f"{PROMPT}/-/labels/production/history"))["by_name"] == "The releaser"
    checked = await first(f"{PROMPT}/-/versions/2/checks")
    assert (checked["by_name"], checked["summary"]) == ("The checker", "fine")
    assert (await first("/v1/search?q=two"))["author_name"] == "The author"
    trail = await first("/v1/audit?action=check")
    assert trail["actor_name"] == "The checker" and "name" not in trail["actor"]
    exported = (await team.admin.call("GET", "/v1/audit/export?action=check")).body
    assert json.loads(exported)["actor_name"] == "The checker"
    happened = await team.viewer.ok("GET", f"{PROMPT}/-/history?limit=500")
    assert {"The author", "The releaser"} <= {one["actor_name"] for one in happened["items"]}


async def test_what_people_hold_and_used(team: Team) -> None:
    await call_by_their_roles(team)
    author = team.callers["author"].principal_id
    for path in ("grants", "tokens"):
        held = await team.admin.ok("GET", f"/v1/{path}?principal_id={author}")
        assert {one["principal_name"] for one in held["items"]} == {"The author"}, path
    await team.author.ok("PUT", f"{PROMPT}/-/consumers/shop", {})
    await team.viewer.ok("GET", f"{PROMPT}?label=production")
    told = await team.admin.ok("GET", f"{PROMPT}/-/consumers")
    assert told["items"][0]["registered_by_name"] == "The author"
    assert "The viewer" in {one["principal_name"] for one in told["readers"]}


async def test_members_and_owners(team: Team) -> None:
    await call_by_their_roles(team)
    author = team.callers["author"].principal_id
    body = {"folder": "support", "owners": [author]}
    await team.admin.ok("PUT", "/v1/projects/acme/owners", body)
    (owned,) = (await team.viewer.ok("GET", "/v1/projects/acme/owners"))["items"]
    assert owned["names"] == {author: "The author"}
    group = await team.admin.ok("POST", "/v1/principals", {"type": "group", "name": "Writers"})
    group_id = group["principal_id"]
    await team.admin.ok("PUT", f"/v1/principals/{author}/groups/{group_id}")
    told = await team.admin.ok("GET", f"/v1/principals/{group_id}")
    assert (told["name"], told["names"]) == ("Writers", {author: "The author"})
    assert (await team.author.ok("GET", f"/v1/principals/{author}"))["names"] == {
        group_id: "Writers"
    }


async def test_a_name_is_that_of_now(team: Team) -> None:
    """It is no part of the history, nor of what a past moment answers."""
    await call_by_their_roles(team)
    position = team.admin.position
    made = await team.author.ok("POST", f"{PROMPT}/-/versions", {"content": text_content("3")})
    path = f"/v1/principals/{team.callers['author'].principal_id}"
    await team.admin.ok("PATCH", path, {"name": "Ada"})
    version: Answer = await team.viewer.ok("GET", f"{PROMPT}/-/versions/{made['version']}")
    assert version["author_name"] == "Ada"
    grants = await team.admin.ok("GET", f"/v1/grants?as_of={position}")
    names = {one["principal_id"]: one["principal_name"] for one in grants["items"]}
    assert names[team.callers["author"].principal_id] == "Ada"
