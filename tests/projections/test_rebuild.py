"""A view built from zero equals the live one, whatever happens meanwhile."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from eventsourcing.tests.persistence import TrackingRecorderTestCase

from api.main import projections, views_of
from projections.errors import OvertakenError
from projections.runner import portions
from projections.rebuild import Rebuilder
from projections.sqlite.views import SQLiteViews
from projections.postgres.views import PostgresViews
from projections.views import Views
from tests.harness import Api, settings_in, text_content
from tests.servers import Postgres

NAMES = [projection.name for projection in projections()]


async def _fill(api: Api, start: int, count: int) -> None:
    for number in range(start, start + count):
        text = f"{{{{> p{number - number % 4}@1}}}} {{{{> p0@1}}}}" if number % 4 else "x"
        await api.make_prompt(f"acme/p{number}", text, description=f"d{number}", tags=["a", "b"])
        path = f"/v1/projects/acme/prompts/p{number}"
        await api.ok("PUT", f"{path}/-/labels/production", {"version": 1})
        await api.ok("PATCH", f"{path}/-/metadata", {"tags": ["c"], "description": None})


def _rebuilder(api: Api, name: str) -> Rebuilder:
    services = api.services
    projection = services.runner.projections[name]
    return Rebuilder(services.recorder, services.mapper, services.views, projection)


@pytest.mark.parametrize("name", NAMES)
async def test_rebuilding_and_comparing_while_commands_go_on(api: Api, name: str) -> None:
    await _fill(api, 0, 20)
    load = asyncio.create_task(_fill(api, 20, 60))
    rounds = 0
    while not load.done():
        position, tables = await asyncio.to_thread(_rebuilder(api, name).compare)
        assert all(table.equal for table in tables), tables
        assert await asyncio.to_thread(_rebuilder(api, name).rebuild) >= position
        rounds += 1
    await load
    await api.services.runner.wait_for(name, api.position, 10)
    _, tables = await asyncio.to_thread(_rebuilder(api, name).compare)
    assert all(table.equal for table in tables) and rounds >= 2
    assert sum(table.rows for table in tables) >= 100


@pytest.mark.parametrize("name", NAMES)
async def test_a_view_that_differs_is_shown_row_by_row_and_mended(api: Api, name: str) -> None:
    await _fill(api, 0, 3)
    await api.services.runner.wait_for(name, api.position, 10)
    table, key = {
        "catalog": ("catalog_labels", "prompt_id"),
        "audit": ("audit", "position"),
        "search": ("search_words", "id"),
        "uses": ("uses", "prompt_id"),
        "changes": ("change_names", "prompt_id"),
    }[name]
    with api.services.views.writing() as cursor:
        cursor.execute(f"DELETE FROM {table} WHERE {key} = (SELECT max({key}) FROM {table})")
    answer = await api.ok("POST", f"/v1/projections/{name}/compare")
    (different,) = [t for t in answer["tables"] if t["only_live"] or t["only_rebuilt"]]
    assert not answer["equal"]
    assert (different["table"], len(different["only_rebuilt"])) == (table, 1)
    await asyncio.to_thread(_rebuilder(api, name).rebuild)
    assert (await api.ok("POST", f"/v1/projections/{name}/compare"))["equal"]


async def test_large_texts_are_folded_in_portions(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("projections.runner.TEXTS_BYTES_MAX", 5000)
    for number in range(6):
        await api.make_prompt(f"acme/large{number}", f"word{number} " * 300)
    services = api.services
    assert await services.follower.wait_beyond(api.position - 1, 10)
    batch = await services.follower.read(0)
    folded = list(services.runner.projections.values())
    parts = list(portions(folded, batch, services.recorder.contents))
    assert [r.position for part, _ in parts for r in part] == [r.position for r in batch]
    assert len(parts) >= 3
    assert all(sum(map(len, texts.values())) <= 5000 for _, texts in parts)
    for name in services.runner.projections:
        await services.runner.wait_for(name, api.position, 10)
        assert (await api.ok("POST", f"/v1/projections/{name}/compare"))["equal"]


async def test_a_rebuild_by_http_reports_its_end(api: Api) -> None:
    await _fill(api, 0, 3)
    started = await api.call("POST", "/v1/projections/catalog/rebuild")
    assert started.status == 202
    async with asyncio.timeout(10):
        while True:
            item = await api.ok("GET", "/v1/projections/catalog")
            if item["rebuild"]["state"] != "running":
                break
            await asyncio.sleep(0.02)
    assert item["rebuild"]["state"] == "done"


async def test_a_batch_is_applied_only_from_where_it_started(api: Api) -> None:
    await _fill(api, 0, 1)
    services = api.services
    await services.runner.wait_for("audit", api.position, 10)
    audit = services.runner.projections["audit"]
    batch = await services.follower.read(api.position - 1)
    with pytest.raises(OvertakenError):
        services.views.apply(audit, api.position - 1, batch, {})
    assert services.views.position("audit") == api.position


@pytest.fixture
def views(tmp_path: Path, database_url: str | None) -> Iterator[Views]:
    settings = settings_in(tmp_path, database_url=database_url)
    settings.data_dir.mkdir()
    views = views_of(settings)
    yield views
    views.close()


def test_a_view_of_another_form_begins_anew(views: Views) -> None:
    audit = next(p for p in projections() if p.name == "audit")
    views.prepare(audit)
    with views.writing() as cursor:
        views.advance(cursor, "audit", 0, 7)
        cursor.execute("UPDATE forms SET form = 'older'")
    assert views.prepare(audit) == 0


class TestTracking(TrackingRecorderTestCase):
    """The library's own suite for tracking recorders."""

    @pytest.fixture(autouse=True)
    def _views(self, tmp_path: Path) -> Iterator[None]:
        self.views = SQLiteViews(tmp_path / "views.db")
        yield
        self.views.close()

    def create_recorder(self) -> Views:
        return self.views


class TestTrackingOnPostgres(TestTracking):
    """The same suite on PostgreSQL."""

    @pytest.fixture(autouse=True)
    def _views(self, postgres: Postgres) -> Iterator[None]:
        self.views = PostgresViews(postgres.database())
        yield
        self.views.close()


async def test_lists_filter_sort_and_page(api: Api) -> None:
    for name, tags, description in (
        ("a/one", ["x"], "Sorts Mail"), ("a/two", ["x", "y"], None), ("b/three", ["y"], "ÄRGER"),
        ("ab/four", [], None),
    ):  # fmt: skip
        await api.make_prompt(f"acme/{name}", "t", tags=tags, description=description)
    await api.ok("PUT", "/v1/projects/acme/prompts/a/two/-/labels/production", {"version": 1})

    async def names(query: str) -> list[str]:
        found, cursor = [], ""
        while True:
            page = await api.ok("GET", f"/v1/projects/acme/prompts?limit=2&{query}{cursor}")
            found += [item["name"] for item in page["items"]]
            if page["next_cursor"] is None:
                return found
            cursor = f"&cursor={page['next_cursor']}"

    assert await names("") == ["a/one", "a/two", "ab/four", "b/three"]
    assert await names("sort=-name") == ["b/three", "ab/four", "a/two", "a/one"]
    assert await names("sort=created_at") == ["a/one", "a/two", "b/three", "ab/four"]
    assert await names("sort=-updated_at") == ["a/two", "ab/four", "b/three", "a/one"]
    assert await names("folder=a") == ["a/one", "a/two"]
    assert await names("tag=x&tag=y") == ["a/two"]
    assert await names("any_tag=x&any_tag=y") == ["a/one", "a/two", "b/three"]
    assert await names("q=mail") == ["a/one"]
    assert await names("q=ärger") == ["b/three"]
    assert await names("q=%25") == []
    assert await names("label=production") == ["a/two"]
    moment = api.position
    body = {"tags": []}
    await api.ok("PATCH", "/v1/projects/acme/prompts/a/one/-/metadata", body)
    await api.ok("POST", "/v1/projects/acme/prompts/a/two/-/archive")
    assert await names("tag=x") == []
    assert await names("status=archived") == ["a/two"]
    assert await names(f"tag=x&as_of={moment}") == ["a/one", "a/two"]


async def test_grants_and_labels_as_of_a_moment(api: Api) -> None:
    await api.make_prompt("acme/mail")
    caller = await api.make_caller({"role": "viewer", "project": "acme"})
    held = api.position
    await api.ok("DELETE", f"/v1/grants/{caller.grant_ids[0]}")
    query = f"/v1/grants?principal_id={caller.principal_id}"
    assert (await api.ok("GET", query))["items"] == []
    past = await api.ok("GET", f"{query}&as_of={held}")
    assert [item["grant_id"] for item in past["items"]] == caller.grant_ids
    path = "/v1/projects/acme/prompts/mail/-/labels"
    await api.ok("PUT", f"{path}/staging", {"version": 1})
    assert (await api.ok("GET", f"{path}?as_of={held}"))["items"] == []
    assert [i["label"] for i in (await api.ok("GET", path))["items"]] == ["staging"]


async def test_memory_is_bounded_and_evicted_prompts_come_back(tmp_path: Path) -> None:
    from tests.harness import registry

    async with registry(tmp_path, serving_bytes_max=60_000) as api:
        for number in range(20):
            await api.make_prompt(f"acme/p{number}", f"{number} " + "x" * 5000)
        for _ in range(2):
            for number in range(20):
                path = f"/v1/projects/acme/prompts/p{number}?version=1"
                answer = await api.ok("GET", path)
                assert answer["content"]["text"].startswith(f"{number} ")
                assert api.services.serving.bytes <= 60_000 + 20_000


async def test_a_load_during_changes_never_serves_an_older_target(api: Api) -> None:
    await api.make_prompt("acme/mail", "0")
    path = "/v1/projects/acme/prompts/mail"
    serving = api.services.serving
    seen = 0

    async def change() -> None:
        for number in range(1, 60):
            await api.call("POST", f"{path}/-/versions", {"content": text_content(str(number))})

    async def read() -> None:
        nonlocal seen
        while seen < 60:
            for entry in list(serving._entries):
                serving._evict(entry)
            answer = await api.session.get(
                f"{api.url}{path}?label=latest",
                headers={"Authorization": f"Bearer {api.token}"},
            )
            version = (await answer.json())["version"]
            assert version >= seen
            seen = version

    async with asyncio.timeout(30):
        await asyncio.gather(change(), read())
