"""Custom roles, groups, the last admin, and why somebody may do something."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.harness import Api, registry, text_content, verify

PROMPT = "/v1/projects/acme/prompts/support/triage"
VERSION = {"content": text_content("two")}


@pytest.fixture
async def admin(tmp_path: Path, database_url: str | None) -> AsyncIterator[Api]:
    async with registry(tmp_path, database_url=database_url) as api:
        await api.make_prompt("acme/support/triage", "one")
        yield api
    assert verify(tmp_path / "data", database_url).faults == []


async def make_group(admin: Api, *grants: dict[str, Any]) -> str:
    group = await admin.ok("POST", "/v1/principals", {"type": "group", "name": "writers"})
    for grant in grants:
        body = {"principal_id": group["principal_id"], **grant}
        await admin.ok("POST", "/v1/grants", body)
    return group["principal_id"]


async def explained(api: Api, principal: str, permission: str, **query: str) -> dict[str, Any]:
    asked = {"principal": principal, "permission": permission,
             "resource": "projects/acme/prompts/support/triage", **query}  # fmt: skip
    return await api.ok("GET", "/v1/access/explain", params=asked)


async def test_the_grants_of_a_group_count_for_its_members(admin: Api) -> None:
    group = await make_group(admin, {"role": "developer", "project": "acme"})
    caller = await admin.make_caller()
    path = f"/v1/principals/{caller.principal_id}/groups/{group}"
    assert (await caller.api.call("POST", f"{PROMPT}/-/versions", VERSION)).status == 404
    joined = await admin.call("PUT", path)
    assert joined.status == 201
    assert not (await admin.ok("PUT", path))["changed"]
    assert (await caller.api.call("POST", f"{PROMPT}/-/versions", VERSION)).status == 201
    shown = await admin.ok("GET", f"/v1/principals/{group}")
    assert shown["members"] == [caller.principal_id] and shown["type"] == "group"
    mine = await caller.api.ok("GET", "/v1/whoami")
    assert mine["groups"] == [group] and mine["grants"][0]["role"] == "developer"
    told = await explained(admin, caller.principal_id, "prompt.write")
    (grant,) = told["grants"]
    assert told["allowed"] and grant["through_group"] == group
    assert [one["type"] for one in grant["events"]] == ["grant.given", "principal.joined"]
    await admin.ok("DELETE", path, {"reason": "left"})
    assert (await caller.api.call("GET", PROMPT)).status == 404
    await admin.ok("PUT", path)
    await admin.ok("PATCH", f"/v1/principals/{group}", {"active": False})
    assert (await caller.api.call("GET", PROMPT)).status == 404
    for wrong in (f"/v1/principals/{group}/groups/{group}",
                  f"/v1/principals/{group}/groups/{caller.principal_id}"):  # fmt: skip
        assert (await admin.call("PUT", wrong)).status == 422
    token = await admin.call("POST", "/v1/tokens", {"principal_id": group})
    assert token.status == 422


async def test_a_custom_role_permits_what_it_says_now(admin: Api) -> None:
    role = "/v1/roles/translator"
    body = {"permissions": ["prompt.read", "prompt.write"], "description": "texts only"}
    assert (await admin.call("PUT", role, body)).status == 201
    assert not (await admin.ok("PUT", role, body))["changed"]
    caller = await admin.make_caller({"role": "translator", "project": "acme"})
    assert (await caller.api.call("POST", f"{PROMPT}/-/versions", VERSION)).status == 201
    position = admin.position
    await admin.ok("PUT", role, {"permissions": ["prompt.read"]})
    assert (await caller.api.call("POST", f"{PROMPT}/-/versions", VERSION)).status == 403
    now = await explained(admin, caller.principal_id, "prompt.write")
    assert not now["allowed"] and "does not have" in now["grants"][0]["why_not"]
    then = await explained(admin, caller.principal_id, "prompt.write", as_of=str(position))
    assert then["allowed"]
    assert [one["type"] for one in then["grants"][0]["events"]] == ["grant.given", "role.defined"]
    listed = (await caller.api.ok("GET", "/v1/roles"))["items"]
    assert listed[-1] == {"role": "translator", "permissions": ["prompt.read"], "built_in": False}
    await admin.ok("DELETE", role)
    assert (await caller.api.call("GET", PROMPT)).status == 404
    grant = {"principal_id": caller.principal_id, "role": "translator"}
    assert (await admin.call("POST", "/v1/grants", grant)).status == 422
    for name, wrong in (("admin", ["prompt.read"]), ("x", ["prompt.eat"])):
        answer = await admin.call("PUT", f"/v1/roles/{name}", {"permissions": wrong})
        assert answer.status == 422
    assert (await admin.call("DELETE", "/v1/roles/nothing")).status == 404


async def test_custom_roles_and_groups_pass_the_gate_too(admin: Api) -> None:
    path = "/v1/projects/acme/environments/production"
    wanted = {"approvals": {"count": 1, "roles": ["counsel"], "owners": True}}
    assert (await admin.call("PUT", path, wanted)).status == 422
    await admin.ok("PUT", "/v1/roles/counsel", {"permissions": ["prompt.read", "change.review"]})
    await admin.ok("PUT", path, wanted)
    group = await make_group(admin, {"role": "counsel", "project": "acme"})
    await admin.ok("PUT", "/v1/projects/acme/owners", {"owners": [group]})
    member = await admin.make_caller({"role": "viewer"})
    await admin.ok("PUT", f"/v1/principals/{member.principal_id}/groups/{group}")
    body = {"title": "x", "items": [{"name": "support/triage", "version": 1}]}
    made = await admin.ok("POST", "/v1/projects/acme/change-requests", body)
    change = f"/v1/projects/acme/change-requests/{made['change_id']}"
    approved = await member.api.ok("POST", f"{change}/approve")
    assert approved["missing"] == []
    await admin.ok("DELETE", f"/v1/principals/{member.principal_id}/groups/{group}")
    refused = await admin.call("POST", f"{change}/apply")
    assert {one["code"] for one in refused.body["missing"]} == {"approvals", "owners"}
    await admin.ok("PUT", f"/v1/principals/{member.principal_id}/groups/{group}")
    await admin.ok("PATCH", f"/v1/principals/{group}", {"active": False})
    await admin.ok("POST", "/v1/grants", {"principal_id": member.principal_id, "role": "counsel"})
    refused = await admin.call("POST", f"{change}/apply")
    assert [one["code"] for one in refused.body["missing"]] == ["owners"]


async def test_one_admin_remains_even_where_two_remove_each_other(admin: Api) -> None:
    me = (await admin.ok("GET", "/v1/whoami"))["principal_id"]
    alone = await admin.call("PATCH", f"/v1/principals/{me}", {"active": False})
    assert (alone.status, alone.code) == (409, "last_admin")
    grant = (await admin.ok("GET", f"/v1/grants?principal_id={me}"))["items"][0]["grant_id"]
    assert (await admin.call("DELETE", f"/v1/grants/{grant}")).code == "last_admin"
    until = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    await admin.make_caller({"role": "admin", "expires_at": until})
    await make_group(admin, {"role": "admin"})
    await admin.make_caller({"role": "admin", "project": "acme"})
    assert (await admin.call("DELETE", f"/v1/grants/{grant}")).code == "last_admin"
    for _ in range(5):
        pair = [await admin.make_caller({"role": "admin"}) for _ in range(2)]
        removing = [
            one.api.call("PATCH", f"/v1/principals/{other.principal_id}", {"active": False})
            for one, other in (pair, pair[::-1])
        ]
        statuses = sorted(one.status for one in await asyncio.gather(*removing))
        assert statuses in ([200, 200], [200, 401]), statuses
    other = await admin.make_caller({"role": "admin"})
    both = [
        other.api.call("PATCH", f"/v1/principals/{me}", {"active": False}),
        admin.call("PATCH", f"/v1/principals/{other.principal_id}", {"active": False}),
    ]
    left = [one for one in await asyncio.gather(*both) if one.status == 200]
    assert len(left) == 1


async def test_who_may_ask_why(admin: Api) -> None:
    caller = await admin.make_caller({"role": "viewer", "project": "acme", "folder": "sales"})
    own = await explained(caller.api, caller.principal_id, "prompt.read")
    assert not own["allowed"] and "does not reach" in own["grants"][0]["why_not"]
    assert own["roles_with_it"][0] == "viewer"
    me = (await admin.ok("GET", "/v1/whoami"))["principal_id"]
    asked = {"principal": me, "permission": "prompt.read", "resource": "projects/acme"}
    assert (await caller.api.call("GET", "/v1/access/explain", params=asked)).status in (403, 404)
    assert (await caller.api.call("GET", f"/v1/principals/{me}")).status == 403
    for wrong in ({"resource": "planets/mars"}, {"permission": "prompt.eat"}):
        answer = await admin.call("GET", "/v1/access/explain", params=asked | wrong)
        assert answer.status == 400
    await admin.make_prompt("secret/merger")
    both = await admin.make_caller({"role": "viewer", "project": "acme"},
                                   {"role": "viewer", "project": "secret"})  # fmt: skip
    auditor = await admin.make_caller({"role": "auditor", "project": "acme"})
    told = await explained(auditor.api, both.principal_id, "prompt.read")
    assert [one["scope"] for one in told["grants"]] == [{"project": "acme"}]
    environment = await explained(admin, me, "environment.promote", environment="production")
    assert environment["allowed"] and environment["environment"] == "production"


ROLES = st.sampled_from(["viewer", "developer", "releaser", "tester"])
STEPS = st.lists(
    st.tuples(st.just("give"), ROLES, st.sampled_from([None, "support", "sales"]))
    | st.tuples(st.just("revoke"), st.integers(0, 5), st.none())
    | st.tuples(st.just("define"), st.sets(st.sampled_from(["prompt.read", "prompt.write"]),
                                           min_size=1), st.none())
    | st.tuples(st.just("join"), st.none(), st.none())
    | st.tuples(st.just("leave"), st.none(), st.none()),
    min_size=4, max_size=10,
)  # fmt: skip


@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
@given(steps=STEPS)
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_permissions_of_the_past_are_what_was_enforced_then(
    admin: Api, steps: list[tuple]
) -> None:
    await admin.ok("PUT", "/v1/roles/tester", {"permissions": ["prompt.read"]})
    group = await make_group(admin, {"role": "developer", "project": "acme", "folder": "support"})
    caller = await admin.make_caller()
    held: list[str] = []
    enforced: list[tuple[int, bool, bool]] = []
    for act, what, folder in steps:
        if act == "give":
            body = {"principal_id": caller.principal_id, "role": what, "project": "acme"}
            held.append((await admin.ok("POST", "/v1/grants", body | (
                {"folder": folder} if folder else {})))["grant_id"])  # fmt: skip
        elif act == "revoke" and held:
            await admin.call("DELETE", f"/v1/grants/{held.pop(what % len(held))}")
        elif act == "define":
            await admin.ok("PUT", "/v1/roles/tester", {"permissions": sorted(what)})
        elif act in ("join", "leave"):
            path = f"/v1/principals/{caller.principal_id}/groups/{group}"
            await admin.ok("PUT" if act == "join" else "DELETE", path)
        caller.api.position = admin.position
        read = await caller.api.call("GET", f"{PROMPT}?version=1")
        dry = {"params": {"dry_run": "true"}}
        write = await caller.api.call("POST", f"{PROMPT}/-/versions", VERSION, **dry)
        enforced.append((admin.position, read.status == 200, write.status == 200))
    for position, could_read, could_write in enforced:
        for permission, could in (("prompt.read", could_read), ("prompt.write", could_write)):
            told = await explained(admin, caller.principal_id, permission, as_of=str(position))
            assert told["allowed"] == could, (position, permission, told)


async def test_a_token_counts_from_its_networks_alone(tmp_path: Path) -> None:
    async with registry(tmp_path, trusted_proxies="127.0.0.0/8") as admin:
        await admin.make_prompt("acme/support/triage", "one")
        caller = await admin.make_caller({"role": "admin"}, networks=["10.1.0.0/16", "::1"])
        local = await admin.make_caller({"role": "admin"}, networks=["127.0.0.1"])
        for path in (f"{PROMPT}?version=1", "/v1/whoami", f"{PROMPT}/-/versions"):
            assert (await local.api.call("GET", path)).status == 200
            assert (await caller.api.call("GET", path)).status == 401
            for address, status in (
                ("10.1.2.3", 200), ("::ffff:10.1.2.3", 200), ("10.2.0.1", 401), ("x", 401),
                ("10.1.2.3, 10.2.0.1", 401), ("10.2.0.1, 10.1.2.3", 200),
                ("10.1.2.3, 127.0.0.9", 200), ("", 401),
            ):  # fmt: skip
                headers = {"X-Forwarded-For": address}
                answer = await caller.api.call("GET", path, headers=headers)
                assert answer.status == status, (path, address)
        for wrong in (["10.1.0.1/16"], ["here"], []):
            body = {"principal_id": caller.principal_id, "networks": wrong}
            assert (await admin.call("POST", "/v1/tokens", body)).status == 422
        listed = (await admin.ok("GET", "/v1/tokens?limit=500"))["items"]
        uses = {one["token_id"]: one for one in listed}
        assert uses[caller.token_id]["networks"] == ["10.1.0.0/16", "::1/128"]
        assert uses[local.token_id]["last_used_at"] is not None
        unused = await admin.ok("POST", "/v1/tokens", {"principal_id": local.principal_id})
    async with registry(
        tmp_path
    ) as again:  # what is told outlives the process; no proxy counts now
        listed = (await again.ok("GET", "/v1/tokens?limit=500"))["items"]
        uses = {one["token_id"]: one["last_used_at"] for one in listed}
        assert uses[local.token_id] is not None and uses[unused["token_id"]] is None
        headers = {"X-Forwarded-For": "10.1.2.3"}
        elsewhere = again.as_token(caller.api.token)
        assert (await elsewhere.call("GET", PROMPT, headers=headers)).status == 401
