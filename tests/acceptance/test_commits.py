"""Commits over several prompts: one transaction, in the order they need, all or nothing."""

from tests.harness import Api, text_content

COMMITS = "/v1/commits"


def item(name: str, text: str, **fields: object) -> dict:
    return {"project": "acme", "name": name, "content": text_content(text), **fields}


async def test_partials_come_before_what_is_composed_of_them(api: Api) -> None:
    await api.ok("POST", "/v1/projects", {"project": "acme"})
    items = [
        item("mail", "{{> frame@1}}!", create=True, message="mine"),
        item("frame", "<{{> tone@latest}}>", create=True),
        item("tone", "kind", create=True),
    ]
    made = await api.call("POST", COMMITS, {"items": items, "message": "all"})
    assert made.status == 201
    assert [(i["name"], i["version"], i["semver"]) for i in made.body["items"]] == [
        ("mail", 1, "1.0.0"), ("frame", 1, "1.0.0"), ("tone", 1, "1.0.0"),
    ]  # fmt: skip
    shown = await api.ok("GET", "/v1/projects/acme/prompts/mail?version=1")
    assert shown["content"]["text"] == "<kind>!"
    events = (await api.ok("GET", "/v1/events?kind=version&limit=500"))["items"]
    assert [e["subject"].rpartition("/")[2] for e in events] == ["tone", "frame", "mail"]
    positions = [e["position"] for e in (await api.ok("GET", "/v1/events?limit=500"))["items"]]
    assert positions == list(range(1, len(positions) + 1))
    version = await api.ok("GET", "/v1/projects/acme/prompts/mail/-/versions/1")
    other = await api.ok("GET", "/v1/projects/acme/prompts/tone/-/versions/1")
    assert (version["message"], other["message"]) == ("mine", "all")
    again = await api.call("POST", COMMITS, {"items": items})
    assert again.status == 200 and not again.body["changed"]


async def test_one_refusal_is_the_refusal_of_all(api: Api) -> None:
    await api.make_prompt("acme/mail", "one")
    await api.make_prompt("acme/post", "one")
    before = api.services.recorder.head()
    for wrong, status, code in (
        (item("post", "two", expected_version=7), 409, "stale_version"),
        (item("nothing", "two"), 404, "not_found"),
        (item("post", "{{> none}}"), 409, "partial_not_found"),
        (item("post", "{{x}}", content={"type": "text", "text": "{{x}}"}), 422, "invalid_content"),
        (item("mail", "three"), 422, "invalid"),
        (item("post", "two", branch="none"), 404, "branch_not_found"),
    ):
        answer = await api.call("POST", COMMITS, {"items": [item("mail", "two"), wrong]})
        assert (answer.status, answer.code) == (status, code), answer.body
        assert answer.body["errors"][0]["pointer"].startswith("/items/1")
        assert answer.body["detail"].startswith("/items/1")
    assert api.services.recorder.head() == before


async def test_every_part_is_authorised_by_itself(api: Api) -> None:
    await api.make_prompt("acme/open/mail", "one")
    await api.make_prompt("acme/closed/mail", "one")
    grant = {"role": "developer", "project": "acme", "folder": "open"}
    developer = (await api.make_caller(grant)).api
    body = {"items": [item("open/mail", "two"), item("closed/mail", "two")]}
    refused = await developer.call("POST", COMMITS, body)
    assert refused.status == 404 and "/items/1" in refused.body["detail"]
    await api.ok("POST", COMMITS, body)
    records = (await api.ok("GET", "/v1/audit?action=version&limit=500"))["items"][-2:]
    assert [r["authz"]["resource"] for r in records] == [
        "projects/acme/prompts/open/mail", "projects/acme/prompts/closed/mail",
    ]  # fmt: skip


async def test_a_first_version_is_made_only_where_there_is_no_prompt(api: Api) -> None:
    await api.make_prompt("acme/old", "one")
    await api.ok("POST", "/v1/projects/acme/prompts/old/-/move", {"name": "new"})
    before = api.services.recorder.head()
    for wrong, status, code in (
        (item("new", "two", create=True, expected_version=0), 409, "stale_version"),
        (item("old", "two", create=True, expected_version=0), 409, "stale_version"),
        (item("fresh", "one", create=True, expected_version=3), 409, "stale_version"),
        (item("fresh", "one", create=True, branch="side"), 404, "branch_not_found"),
    ):
        answer = await api.call("POST", COMMITS, {"items": [wrong]})
        assert (answer.status, answer.code) == (status, code), answer.body
    twice = {"items": [item("new", "two"), item("old", "three")]}
    answer = await api.call("POST", COMMITS, twice)
    assert (answer.status, answer.code) == (422, "invalid"), answer.body
    assert api.services.recorder.head() == before
    await api.ok("POST", COMMITS, {"items": [item("fresh", "x", create=True, expected_version=0)]})
