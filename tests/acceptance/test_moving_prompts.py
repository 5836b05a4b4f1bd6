"""Moving and renaming: old names lead to the prompt, rights count where it is."""

from pathlib import Path

import pytest

from tests.harness import Api, Process, registry, text_content, verify

OLD, NEW = "/v1/projects/acme/prompts/old/mail", "/v1/projects/acme/prompts/new/mail"


async def test_the_old_name_goes_on_leading_to_it(tmp_path: Path, database_url: str | None) -> None:
    async with registry(tmp_path, database_url=database_url) as api:
        await api.make_prompt("acme/old/mail", "a", description="letters")
        await api.make_prompt("acme/host", "<{{> old/mail@1}}>")
        await api.ok("PUT", f"{OLD}/-/labels/production", {"version": 1})
        first = await api.ok("GET", OLD)
        moment = api.position
        made = await api.ok("POST", f"{OLD}/-/move", {"name": "new/mail", "reason": "tidier"})
        assert (made["from"], made["name"]) == ("old/mail", "new/mail")
        for path in (OLD, NEW):
            answer = await api.call("GET", path)
            assert answer.body["ref"] == "acme/new/mail@1"
            assert ("Content-Location" in answer.headers) == (path == OLD)
            assert (await api.ok("GET", f"{path}/-/metadata"))["name"] == "new/mail"
            assert (await api.ok("GET", f"{path}/-/labels"))["items"][0]["version"] == 1
        assert (await api.call("GET", OLD)).headers["Link"] == f'<{NEW}>; rel="canonical"'
        assert await api.ok("GET", f"{OLD}?as_of={moment}") == first
        assert (await api.call("GET", f"{NEW}?as_of={moment}")).status == 404
        committed = await api.ok("POST", f"{OLD}/-/versions", {"content": text_content("b")})
        assert committed["ref"] == "acme/new/mail@2"
        host = "/v1/projects/acme/prompts/host"
        assert (await api.ok("GET", f"{host}?label=latest"))["content"]["text"] == "<a>"
        used = await api.ok("GET", f"{NEW}/-/used-by")
        assert [u["ref"] for u in used["items"]] == ["acme/host@1"]
        in_use = await api.call("POST", f"{NEW}/-/archive")
        assert in_use.body["users"] == ["host@1"]
        names = [p["name"] for p in (await api.ok("GET", "/v1/projects/acme/prompts"))["items"]]
        assert names == ["host", "new/mail"]
        history = await api.ok("GET", f"{NEW}/-/history?limit=500")
        actions = [record["action"] for record in history["items"]]
        assert {"prompt.created", "prompt.moved", "version.committed"} <= set(actions)
        found = await api.ok("GET", "/v1/search?q=new+letters")
        assert [item["name"] for item in found["items"]] == ["new/mail"]
        feed = await api.ok("GET", "/v1/events?project=acme&prompt=old/mail&limit=500")
        assert feed["items"][-1]["subject"].endswith("new/mail")
        for taken in ("old/mail", "new/mail"):
            body = {"name": taken, "content": text_content("x")}
            answer = await api.call("POST", "/v1/projects/acme/prompts", body)
            assert (answer.status, answer.code) == (409, "name_taken")
        assert not (await api.ok("POST", f"{OLD}/-/move", {"name": "new/mail"}))["changed"]
        back = await api.ok("POST", f"{NEW}/-/move", {"name": "old/mail"})
        assert back["name"] == "old/mail"
        assert (await api.ok("GET", NEW))["name"] == "old/mail"
        other = await api.call("POST", f"{host}/-/move", {"name": "new/mail"})
        assert (other.status, other.code) == (409, "name_taken")
        for name in ("catalog", "search", "audit", "uses"):
            assert (await api.ok("POST", f"/v1/projections/{name}/compare"))["equal"]
    assert verify(tmp_path / "data", database_url).faults == []


async def test_rights_count_where_the_prompt_is(api: Api) -> None:
    await api.make_prompt("acme/old/mail", "a")
    await api.ok("PUT", f"{OLD}/-/labels/production", {"version": 1})
    grant = {"role": "developer", "project": "acme", "folder": "old"}
    local = (await api.make_caller(grant)).api
    assert (await local.call("GET", OLD)).status == 200
    refused = await local.call("POST", f"{OLD}/-/move", {"name": "new/mail"})
    assert refused.status == 404
    await api.ok("POST", f"{OLD}/-/move", {"name": "new/mail"})
    local.position = api.position
    body = {"content": text_content("b")}
    for method, path, sent in (
        ("GET", OLD, None), ("GET", f"{OLD}/-/metadata", None), ("GET", f"{OLD}/-/versions", None),
        ("POST", f"{OLD}/-/versions", body), ("POST", f"{OLD}/-/render", {}),
        ("GET", f"{OLD}?as_of={api.position}", None),
        ("POST", f"{OLD}/-/render", {"version": 1, "lockfile": []}),
        ("POST", "/v1/commits", {"items": [{"project": "acme", "name": "old/mail", **body,
                                            "create": True}]}),
    ):  # fmt: skip
        answer = await local.call(method, path, sent)
        assert answer.status == 404 and "new/mail" not in str(answer.body), (method, path, answer)
    many = await local.ok(
        "POST", "/v1/resolve", {"items": [{"project": "acme", "name": "old/mail"}]}
    )
    assert many["items"][0]["status"] == 404


async def test_a_guardrail_follows_its_prompt(api: Api) -> None:
    await api.make_prompt("acme/old/mail", "Be safe.")
    await api.make_prompt("acme/host", "Hi")
    await api.ok("PUT", "/v1/projects/acme/guardrails/safe", {"prompt": "old/mail@1"})
    await api.ok("POST", f"{OLD}/-/move", {"name": "new/mail"})
    host = "/v1/projects/acme/prompts/host?label=latest"
    shown = await api.ok("GET", host)
    assert shown["content"]["text"] == "Be safe.\n\nHi"
    assert shown["partials"][0]["ref"] == "acme/new/mail@1"
    assert (await api.ok("GET", f"{NEW}?label=latest"))["content"]["text"] == "Be safe."
    path = "/v1/projects/acme/prompts/host/-/render"
    body = {"version": 1, "lockfile": shown["partials"]}
    assert (await api.ok("POST", path, body))["messages"][0]["content"] == "Be safe.\n\nHi"


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)  # the client is the same
def test_moving_on_the_command_line(server: Process, tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_text("a")
    server.cli("project", "create", "acme")
    server.cli("prompt", "create", "acme/mail", str(file))
    moved = server.cli("prompt", "move", "acme/mail", "post", "-m", "shorter").stdout
    assert "acme/mail is post now" in moved
    assert "acme/post@1" in server.cli("prompt", "show", "acme/mail").stdout
