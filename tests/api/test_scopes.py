"""What narrow rights reach: folders, feeds, trails and lists, to the edge and no further."""

import asyncio

import pytest

from tests.harness import Api


async def test_a_folder_is_what_lies_below_it_not_a_prompt_of_its_name(api: Api) -> None:
    await api.make_prompt("acme/support/triage")
    await api.make_prompt("acme/support")
    grant = {"role": "developer", "project": "acme", "folder": "support"}
    caller = (await api.make_caller(grant)).api
    assert (
        await caller.call("GET", "/v1/projects/acme/prompts/support/triage?version=1")
    ).status == 200
    assert (await caller.call("GET", "/v1/projects/acme/prompts/support?version=1")).status == 404
    page = await caller.ok("GET", "/v1/projects/acme/prompts")
    assert [item["name"] for item in page["items"]] == ["support/triage"]


async def test_a_feed_of_what_one_may_not_read_does_not_open(api: Api) -> None:
    await api.make_prompt("acme/mail")
    caller = (await api.make_caller()).api
    for accept in ("application/json", "text/event-stream"):
        for query in ("project=acme", "project=acme&prompt=mail", "project=ghost"):
            answer = await caller.call("GET", f"/v1/events?{query}", headers={"Accept": accept})
            assert (answer.status, answer.code) == (404, "not_found")


async def test_a_feed_of_a_project_ends_with_the_grant(api: Api) -> None:
    await api.make_prompt("acme/mail")
    caller = await api.make_caller({"role": "viewer", "project": "acme"})
    headers = {"Authorization": f"Bearer {caller.api.token}", "Accept": "text/event-stream"}
    url = f"{api.url}/v1/events?project=acme"
    async with api.session.get(url, headers=headers) as response:
        assert response.status == 200
        await api.ok("DELETE", f"/v1/grants/{caller.grant_ids[0]}")
        async with asyncio.timeout(5):
            await response.content.read()


async def test_an_auditor_of_a_folder_sees_that_folder(api: Api) -> None:
    for name in ("support/triage", "sales/offer"):
        await api.make_prompt(f"acme/{name}")
    grant = {"role": "auditor", "project": "acme", "folder": "support"}
    caller = (await api.make_caller(grant)).api
    for path in ("/v1/audit", "/v1/audit?resource=projects/acme"):
        items = (await caller.ok("GET", path))["items"]
        assert items and {item["resource"] for item in items} <= {
            "projects/acme/prompts/support/triage", "projects/acme/folders/support"
        }  # fmt: skip
    exported = (await caller.call("GET", "/v1/audit/export")).body
    assert b"sales" not in exported and b"support/triage" in exported


async def test_who_may_see_some_grants_gets_an_empty_page_where_none_are(api: Api) -> None:
    await api.make_prompt("acme/mail")
    admin = await api.make_caller({"role": "admin", "project": "acme"})
    bare = await api.make_caller()
    page = await admin.api.ok("GET", f"/v1/grants?principal_id={bare.principal_id}")
    assert page["items"] == []
    assert (await bare.api.call("GET", "/v1/grants")).status == 403


async def test_grants_of_the_deactivated_are_not_in_force(api: Api) -> None:
    caller = await api.make_caller({"role": "viewer"})
    await api.ok("PATCH", f"/v1/principals/{caller.principal_id}", {"active": False})
    assert (await api.ok("GET", f"/v1/grants?principal_id={caller.principal_id}"))["items"] == []


async def test_a_token_narrowed_to_a_place_says_that_it_is_the_token(api: Api) -> None:
    await api.make_prompt("acme/support/triage")
    await api.make_prompt("acme/mail")
    scopes = [{"project": "acme", "folder": "support"}]
    caller = (await api.make_caller({"role": "admin"}, scopes=scopes)).api
    path = "/v1/projects/acme/prompts/support/triage/-/archive"
    assert (await caller.call("POST", path)).status == 200
    assert (await caller.call("GET", "/v1/projects/acme/prompts/mail?version=1")).status == 404
    refused = await caller.call("POST", "/v1/projects", {"project": "x"})
    assert (refused.status, "another token" in refused.body["detail"]) == (403, True)


@pytest.mark.parametrize("kind", ["grant", "token"])
async def test_the_trail_says_who_was_given_what_and_what_was_taken(api: Api, kind: str) -> None:
    await api.make_prompt("acme/mail")
    caller = await api.make_caller({"role": "viewer", "project": "acme", "folder": "mail"})
    held_id = caller.grant_ids[0] if kind == "grant" else caller.token_id
    await api.ok("DELETE", f"/v1/{kind}s/{held_id}", {"reason": "left"})
    records = (await api.ok("GET", f"/v1/audit?action={kind}&limit=500"))["items"]
    given, taken = [r for r in records if held_id in str(r["before"]) or held_id in str(r["after"])]
    assert given["after"]["principal_id"] == caller.principal_id and given["before"] is None
    assert taken["before"] == given["after"] and taken["after"] is None
    assert taken["reason"] == "left"
    if kind == "grant":
        scope = {"project": "acme", "folder": "mail"}
        assert (given["after"]["role"], given["after"]["scope"]) == ("viewer", scope)
    feed = (await api.ok("GET", f"/v1/events?kind={kind}&limit=500"))["items"]
    streams = {item["stream"] for item in feed if held_id in str(item["data"])}
    assert streams == {f"principal/{caller.principal_id}"}
