"""Partials and guardrails through the API: served, moved, locked, shown, refused."""

import asyncio
import json
from pathlib import Path

import orjson
import pytest

from tests.harness import Api, Process, text_content

PROMPTS = "/v1/projects/acme/prompts"


async def publish(api: Api, name: str, text: str, label: str = "production", **fields: object
                  ) -> int:  # fmt: skip
    """Commit a text, as a new prompt or version, and point a label at it."""
    content = text_content(text, **fields)
    made = await api.call("POST", f"{PROMPTS}/{name}/-/versions", {"content": content})
    if made.status == 404:
        made = await api.call("POST", PROMPTS, {"name": name, "content": content})
    assert made.status < 300, made.body
    version = made.body["version"]
    await api.ok("PUT", f"{PROMPTS}/{name}/-/labels/{label}", {"version": version})
    return version


@pytest.fixture
async def acme(api: Api) -> Api:
    await api.ok("POST", "/v1/projects", {"project": "acme"})
    return api


async def text_of(api: Api, name: str, query: str = "") -> str:
    return (await api.ok("GET", f"{PROMPTS}/{name}{query}"))["content"]["text"]


async def test_what_a_partials_label_means_is_served_from_the_move_on(acme: Api) -> None:
    await publish(acme, "tone", "kind")
    await publish(acme, "frame", "<{{> tone}}>")
    await publish(acme, "mail", "Be {{> frame}}, {{x}}")
    assert await text_of(acme, "mail") == "Be <kind>, {{x}}"
    first = await acme.call("GET", f"{PROMPTS}/mail")
    assert first.headers["Cache-Control"] == "private, no-cache"
    moment = acme.position
    await publish(acme, "tone", "stern")
    second = await acme.call("GET", f"{PROMPTS}/mail")
    assert second.body["content"]["text"] == "Be <stern>, {{x}}"
    assert second.headers["ETag"] != first.headers["ETag"]
    assert second.body["digest"] == first.body["digest"]
    assert second.body["position"] == acme.position
    parts = [(p["reference"], p["ref"]) for p in second.body["partials"]]
    assert parts == [("frame@production", "acme/frame@1"), ("tone@production", "acme/tone@2")]
    assert await text_of(acme, "mail", f"?as_of={moment}") == "Be <kind>, {{x}}"
    past = (await acme.call("GET", f"{PROMPTS}/mail?as_of={moment}")).body
    assert past == first.body
    assert await text_of(acme, "mail", "?raw=true") == "Be {{> frame}}, {{x}}"
    many = {"items": [{"project": "acme", "name": "mail"}]}
    assert (await acme.ok("POST", "/v1/resolve", many))["items"] == [second.body]
    rendered = await acme.ok("POST", f"{PROMPTS}/mail/-/render", {"variables": {"x": "{{> tone}}"}})
    assert rendered["messages"][0]["content"] == "Be <stern>, {{> tone}}"


async def test_a_prompt_rendered_for_a_provider(acme: Api) -> None:
    await publish(acme, "tone", "kind")
    await publish(acme, "mail", "Be {{> tone}}, {{x}}", config={"model": "m", "seed": 1})
    body = {"variables": {"x": "you"}}
    path = f"{PROMPTS}/mail/-/render"
    for provider in ("openai", "anthropic", "gemini"):
        answer = await acme.ok("POST", path, body | {"format": provider})
        assert "Be kind, you" in json.dumps(answer[provider])
        assert answer["partials"][0]["ref"] == "acme/tone@1"
    assert answer["left_out"] == ["config.model"]


async def test_a_lockfile_gives_the_same_bytes_whatever_labels_do(acme: Api) -> None:
    await publish(acme, "tone", "kind")
    await publish(acme, "rail", "Never lie.")
    await acme.ok("PUT", "/v1/projects/acme/guardrails/truth", {"prompt": "rail"})
    version = await publish(acme, "mail", "Be {{> tone}}, {{x}}")
    before = await acme.ok("GET", f"{PROMPTS}/mail")
    body = {"variables": {"x": 1}, "version": version, "lockfile": before["partials"]}
    body["variables"] = {"x": "you"}
    first = await acme.ok("POST", f"{PROMPTS}/mail/-/render", body)
    assert first["messages"][0]["content"] == "Never lie.\n\nBe kind, you"
    await publish(acme, "tone", "stern")
    await publish(acme, "rail", "Lie.")
    await acme.ok("DELETE", "/v1/projects/acme/guardrails/truth")
    await publish(acme, "mail", "other {{x}}")
    again = await acme.ok("POST", f"{PROMPTS}/mail/-/render", body)
    assert orjson.dumps(again["messages"]) == orjson.dumps(first["messages"])
    item = {"project": "acme", "name": "mail", "version": version, "lockfile": before["partials"]}
    (resolved,) = (await acme.ok("POST", "/v1/resolve", {"items": [item]}))["items"]
    assert resolved["content"] == before["content"]
    assert resolved["partials"] == before["partials"]
    wrong = [before["partials"][0] | {"digest": "sha256:" + "0" * 64}, *before["partials"][1:]]
    for lockfile in (wrong, before["partials"][:0]):
        refused = await acme.call("POST", f"{PROMPTS}/mail/-/render", body | {"lockfile": lockfile})
        assert (refused.status, refused.code) == (409, "lockfile_mismatch")


async def test_a_lockfile_opens_nothing(acme: Api) -> None:
    await publish(acme, "secret/plan", "the plan")
    version = await publish(acme, "open/mail", "Hi")
    grant = {"role": "viewer", "project": "acme", "folder": "open"}
    viewer = (await acme.make_caller(grant)).api
    viewer.position = acme.position
    plan = await acme.ok("GET", f"{PROMPTS}/secret/plan")
    part = {"reference": "secret/plan@production", "name": "secret/plan", "version": 1,
            "digest": plan["digest"]}  # fmt: skip
    for kind, name in (("guardrail", "secret/plan"), ("partial", "open/mail")):
        lockfile = [part | {"kind": kind, "name": name}]
        body = {"version": version, "lockfile": lockfile}
        answer = await viewer.call("POST", f"{PROMPTS}/open/mail/-/render", body)
        assert "the plan" not in str(answer.body)
        assert answer.status == (404 if kind == "guardrail" else 200), answer.body


async def test_cycles_are_refused_at_commits_and_at_moves(acme: Api) -> None:
    await publish(acme, "a", "a")
    await publish(acme, "b", "{{> a}}")
    for text, code in (
        ("{{> b}}", None), ("{{> nothing}}", "partial_not_found"), ("{{> b@9}}", "partial_not_found"),
        ("{{> b@canary}}", "partial_not_found"), ("{{> a@latest}}", "partial_cycle"),
    ):  # fmt: skip
        body = {"content": text_content(text)}
        answer = await acme.call("POST", f"{PROMPTS}/a/-/versions", body)
        assert (answer.status, answer.body.get("code")) == (201 if code is None else 409, code)
    moved = await acme.call("PUT", f"{PROMPTS}/a/-/labels/production", {"version": 2})
    assert (moved.status, moved.code) == (409, "partial_cycle")
    assert "acme/a@2 > acme/b@1 > acme/a@2" in moved.body["detail"]
    await acme.ok("PUT", f"{PROMPTS}/a/-/labels/staging", {"version": 2})
    assert await text_of(acme, "a", "?label=staging") == "a"


async def test_two_moves_that_close_a_cycle_together_are_not_both_made(acme: Api) -> None:
    for round_ in range(6):
        one, other = f"x{round_}", f"y{round_}"
        for name, target in ((one, other), (other, one)):
            await publish(acme, name, "plain")
        for name, target in ((one, other), (other, one)):
            body = {"content": text_content(f"{{{{> {target}}}}}")}
            await acme.ok("POST", f"{PROMPTS}/{name}/-/versions", body)
        answers = await asyncio.gather(
            *(
                acme.call("PUT", f"{PROMPTS}/{name}/-/labels/production", {"version": 2})
                for name in (one, other)
            )
        )
        assert sorted(answer.status for answer in answers) == [200, 409]


async def test_a_committer_cannot_take_in_what_it_may_not_read(acme: Api) -> None:
    await publish(acme, "secret/plan", "the plan")
    grant = {"role": "developer", "project": "acme", "folder": "open"}
    developer = (await acme.make_caller(grant)).api
    body = {"name": "open/mail", "content": text_content("{{> secret/plan}}")}
    refused = await developer.call("POST", PROMPTS, body)
    assert (refused.status, refused.code) == (409, "partial_not_found")
    absent = await developer.call(
        "POST", PROMPTS, body | {"content": text_content("{{> secret/nothing}}")}
    )
    hidden = refused.body["detail"].replace("plan", "X")
    assert absent.body["detail"].replace("nothing", "X") == hidden


async def test_what_is_in_use_is_not_archived(acme: Api) -> None:
    await publish(acme, "tone", "kind")
    await publish(acme, "mail", "{{> tone}}")
    used = await acme.ok("GET", f"{PROMPTS}/tone/-/used-by")
    assert [(u["ref"], u["reference"], u["labels"]) for u in used["items"]] == [
        ("acme/mail@1", "tone@production", ["production", "latest"])
    ]
    for method, path, body in (
        ("POST", "/-/archive", None), ("PATCH", "/-/metadata", {"status": "archived"}),
    ):  # fmt: skip
        refused = await acme.call(method, f"{PROMPTS}/tone{path}", body)
        assert (refused.status, refused.code) == (409, "in_use")
        assert refused.body["users"] == ["mail@1"]
    await publish(acme, "mail", "no tone")
    assert (await acme.ok("GET", f"{PROMPTS}/tone/-/used-by"))["items"] == []
    ever = await acme.ok("GET", f"{PROMPTS}/tone/-/used-by?versions=all")
    assert [u["live"] for u in ever["items"]] == [False]
    await acme.ok("POST", f"{PROMPTS}/tone/-/archive")
    stale = await acme.call(
        "POST", f"{PROMPTS}/mail/-/versions", {"content": text_content("{{> tone}}")}
    )
    assert (stale.status, stale.code) == (409, "prompt_archived")
    for query in ("as_of=1", "versions=some"):
        answer = await acme.call("GET", f"{PROMPTS}/tone/-/used-by?{query}")
        assert answer.status == 400


async def test_the_impact_of_a_move_is_known_before(acme: Api) -> None:
    await publish(acme, "tone", "kind")
    await publish(acme, "frame", "<{{> tone}}>")
    await publish(acme, "mail", "{{> frame}}")
    await publish(acme, "pinned", "{{> tone@1}}")
    for content in (
        text_content("{{who}}"), {"type": "chat", "messages": [{"role": "user", "content": "x"}]},
    ):  # fmt: skip
        await acme.ok("POST", f"{PROMPTS}/tone/-/versions", {"content": content})
    seen = await acme.ok("GET", f"{PROMPTS}/tone/-/impact?version=2")
    assert {(i["name"], i["label"]) for i in seen["items"]} == {
        ("frame", "production"), ("frame", "latest"), ("mail", "production"), ("mail", "latest"),
    }  # fmt: skip
    assert all(i["level"] == "major" and not i["breaks"] for i in seen["items"])
    breaking = await acme.ok("GET", f"{PROMPTS}/tone/-/impact?version=3&label=production")
    assert {i["code"] for i in breaking["items"]} == {"partial_mismatch"}
    assert not seen["more"] and seen["guardrails"] == []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("api.http.composing.IMPACT_MAX", 1)
        cut = await acme.ok("GET", f"{PROMPTS}/tone/-/impact?version=2")
    assert cut["more"] and {i["name"] for i in cut["items"]} == {"frame"}
    await acme.ok("PUT", f"{PROMPTS}/tone/-/labels/production", {"version": 3})
    broken = await acme.call("GET", f"{PROMPTS}/mail")
    assert (broken.status, broken.code) == (409, "partial_mismatch")
    await acme.ok("POST", f"{PROMPTS}/tone/-/rollback", {"label": "production"})
    assert await text_of(acme, "mail") == "<kind>"


async def test_guardrails_are_composed_into_everything_below(acme: Api) -> None:
    await publish(acme, "safety/base", "Be safe.")
    await publish(acme, "support/mail", "Hi {{x}}")
    await publish(acme, "sales/pitch", "Buy")
    plain = await acme.call("GET", f"{PROMPTS}/support/mail?version=1")
    assert "immutable" in plain.headers["Cache-Control"]
    path = "/v1/projects/acme/guardrails/safe"
    body = {"prompt": "safety/base@production", "folder": "support", "position": "append"}
    made = await acme.call("PUT", path, body)
    assert made.status == 201
    assert await text_of(acme, "support/mail") == "Hi {{x}}\n\nBe safe."
    for path_of, count in (
        ("used-by", 1), ("impact?version=1", 1), ("impact?version=1&label=staging", 0),
    ):  # fmt: skip
        told = await acme.ok("GET", f"{PROMPTS}/safety/base/-/{path_of}")
        assert [g["guardrail"] for g in told["guardrails"]] == ["safe"] * count
    guarded = await acme.call("GET", f"{PROMPTS}/support/mail?version=1")
    assert guarded.body["partials"][0]["guardrail"]["name"] == "safe"
    assert guarded.headers["Cache-Control"] == "private, no-cache"
    assert await text_of(acme, "sales/pitch") == "Buy"
    assert not (await acme.ok("PUT", path, body))["changed"]
    await acme.ok("PUT", path, {"prompt": "safety/base"})
    assert await text_of(acme, "sales/pitch") == "Be safe.\n\nBuy"
    assert await text_of(acme, "safety/base") == "Be safe."
    moment = acme.position
    await publish(acme, "safety/base", "Be safer.")
    assert await text_of(acme, "sales/pitch") == "Be safer.\n\nBuy"
    assert await text_of(acme, "sales/pitch", f"?as_of={moment}") == "Be safe.\n\nBuy"
    in_use = await acme.call("POST", f"{PROMPTS}/safety/base/-/archive")
    assert in_use.body["users"] == ["guardrail safe"]
    listed = await acme.ok("GET", "/v1/projects/acme/guardrails")
    assert [g["guardrail"] for g in listed["items"]] == ["safe"]
    await acme.ok("DELETE", path, {"reason": "over"})
    assert await text_of(acme, "sales/pitch") == "Buy"
    assert (await acme.call("DELETE", path)).status == 404
    for wrong, status in (
        ({"prompt": "safety/none"}, 409), ({"prompt": "Safety"}, 422),
        ({"prompt": "safety/base", "role": "boss"}, 422),
    ):  # fmt: skip
        assert (await acme.call("PUT", path, wrong)).status == status
    audit = await acme.ok("GET", "/v1/audit?action=guardrail&limit=500")
    assert [r["action"] for r in audit["items"]] == ["guardrail.set"] * 2 + ["guardrail.removed"]
    assert audit["items"][-1]["reason"] == "over"


async def test_a_feed_of_a_prompt_carries_what_it_is_composed_of(acme: Api) -> None:
    await publish(acme, "tone", "kind")
    await publish(acme, "new", "new")
    await publish(acme, "other", "other")
    await publish(acme, "mail", "{{> tone}}")
    after = acme.position
    found: list[tuple[str, str]] = []

    async def listen() -> None:
        headers = {"Authorization": f"Bearer {acme.token}", "Accept": "text/event-stream"}
        url = f"{acme.url}/v1/events?project=acme&prompt=mail&after={after}"
        async with acme.session.get(url, headers=headers) as response:
            async for line in response.content:
                if line.startswith(b"data: "):
                    event = json.loads(line[6:])
                    found.append((event["subject"].rpartition("/")[2], event["type"].split(".")[3]))
                if len(found) == 7:
                    return

    listening = asyncio.create_task(listen())
    await publish(acme, "tone", "stern")  # 2 events
    await publish(acme, "other", "nothing to it")
    await publish(acme, "mail", "{{> new}}")  # 2, and tone belongs no longer
    await publish(acme, "tone", "not to be told")
    await publish(acme, "new", "newer")  # 2
    await acme.ok("POST", f"{PROMPTS}/mail/-/rollback", {"label": "production"})
    await asyncio.wait_for(listening, 20)
    assert found == [
        ("tone", "committed"), ("tone", "moved"), ("mail", "committed"), ("mail", "moved"),
        ("new", "committed"), ("new", "moved"), ("mail", "moved"),
    ]  # fmt: skip
    page = await acme.ok("GET", f"/v1/events?project=acme&prompt=mail&after={after}&limit=500")
    assert "other" not in {item["subject"].rpartition("/")[2] for item in page["items"]}


async def test_readers_never_see_a_mixture(acme: Api) -> None:
    """Two partials moved one after the other: what is read is what was at some moment."""
    for name in ("a", "b"):
        await publish(acme, name, "0")
    await publish(acme, "pair", "{{> a}} {{> b}}")
    done = asyncio.Event()
    seen: list[tuple[int, int]] = []

    async def read() -> None:
        while not done.is_set():
            answer = await acme.call(
                "GET", f"{PROMPTS}/pair", headers={"Scrinia-Min-Position": "0"}
            )
            one, other = map(int, answer.body["content"]["text"].split())
            seen.append((one, other))

    readers = [asyncio.create_task(read()) for _ in range(4)]
    for number in range(1, 25):
        for name in ("a", "b"):
            await publish(acme, name, str(number))
    done.set()
    await asyncio.gather(*readers)
    assert len(seen) > 50 and all(0 <= one - other <= 1 for one, other in seen)
    assert await text_of(acme, "pair") == "24 24"


@pytest.mark.timeout(120)
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)  # the client is the same
def test_composition_on_the_command_line(server: Process, tmp_path: Path) -> None:
    def ok(*args: str) -> str:
        return server.cli(*args).stdout

    file = tmp_path / "text.txt"
    ok("project", "create", "acme")
    for name, text in (("tone", "kind"), ("mail", "Be {{> tone}}, {{x}}."), ("rail", "Be safe.")):
        file.write_text(text)
        ok("prompt", "create", f"acme/{name}", str(file))
        ok("promote", f"acme/{name}")
    assert "acme/mail@1" in ok("prompt", "used-by", "acme/tone")
    made = ok("guardrail", "set", "acme", "safe", "rail")
    assert made == "rail@production is composed into every prompt of the project (prepend).\n"
    assert "guardrail safe" in ok("prompt", "used-by", "acme/rail")
    assert "rail@production" in ok("guardrail", "list", "acme")
    shown = ok("prompt", "show", "acme/mail@production")
    assert (
        "Be safe.\n\nBe kind, {{x}}." in shown
        and "guardrail rail@production is acme/rail@1" in shown
    )
    assert "Be {{> tone}}, {{x}}." in ok("prompt", "show", "acme/mail", "--raw")
    lock = tmp_path / "lock.json"
    lock.write_text(ok("--json", "prompt", "show", "acme/mail@1"))
    file.write_text("stern")
    ok("prompt", "commit", "acme/tone", str(file))
    assert "minor" in ok("prompt", "impact", "acme/tone", "2")
    ok("promote", "acme/tone")
    assert "Be stern, you." in ok("prompt", "render", "acme/mail", "-v", "x=you")
    locked = ok("prompt", "render", "acme/mail@1", "-v", "x=you", "--lockfile", str(lock))
    assert locked == "Be safe.\n\nBe kind, you.\n"
    assert "nothing any more" in ok("guardrail", "remove", "acme", "safe")
