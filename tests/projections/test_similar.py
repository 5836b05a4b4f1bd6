"""Near-duplicates: found where they are, and only by those who may read them."""

from tests.harness import Api, text_content

TEXT = (
    "You are a careful assistant. Read the customer's message, find out which product it is about,"
    " answer politely and never promise a refund before the policy has been checked."
)
PATH = "/v1/similar"


async def refs(api: Api, text: str, **fields: object) -> list[str]:
    headers = {"Scrinia-Min-Position": str(api.position)}
    answer = await api.ok("POST", PATH, {"content": text_content(text), **fields}, headers=headers)
    return [item["ref"] for item in answer["items"]]


async def test_almost_the_same_is_found_the_most_similar_first(api: Api) -> None:
    await api.make_prompt("acme/one", TEXT)
    await api.make_prompt(
        "acme/two", TEXT.replace("politely", "briefly").replace("never", "do not")
    )
    await api.make_prompt("acme/other", "Translate the following text into French, word by word.")
    await api.make_prompt("acme/empty", "{{x}}", content={"type": "text", "text": ""})
    found = await refs(api, TEXT.upper().replace(",", " ,"))
    assert found == ["acme/one@1", "acme/two@1"]
    assert await refs(api, TEXT, threshold=0.99) == ["acme/one@1"]
    assert await refs(api, "Something else entirely") == []
    assert await refs(api, "...") == []
    assert await refs(api, TEXT, limit=1) == ["acme/one@1"]
    await api.ok("POST", "/v1/projects/acme/prompts/one/-/archive")
    assert await refs(api, TEXT) == ["acme/two@1"]


async def test_only_what_one_may_read(api: Api) -> None:
    await api.make_prompt("acme/open/one", TEXT)
    await api.make_prompt("acme/closed/two", TEXT)
    await api.make_prompt("other/three", TEXT)
    viewer = (await api.make_caller({"role": "viewer", "project": "acme", "folder": "open"})).api
    viewer.position = api.position
    assert await refs(viewer, TEXT) == ["acme/open/one@1"]
    body = {"content": text_content(TEXT), "project": "other"}
    assert (await viewer.call("POST", PATH, body)).status == 404
    assert len(await refs(api, TEXT, project="acme")) == 2


async def test_a_commit_is_answered_with_them_where_asked(api: Api) -> None:
    await api.make_prompt("acme/one", TEXT)
    await api.services.runner.wait_for("search", api.position, 10)
    body = {"name": "two", "content": text_content(TEXT + " Always."), "report_similar": True}
    made = await api.ok("POST", "/v1/projects/acme/prompts", body)
    assert [item["ref"] for item in made["similar"]] == ["acme/one@1"]
    await api.services.runner.wait_for("search", api.position, 10)
    path = "/v1/projects/acme/prompts/two/-/versions"
    body = {"content": text_content(TEXT), "report_similar": True}
    assert [i["ref"] for i in (await api.ok("POST", path, body))["similar"]] == ["acme/one@1"]
    assert "similar" not in await api.ok("POST", path, {"content": text_content("else")})
