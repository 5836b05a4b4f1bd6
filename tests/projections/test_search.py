"""What is found in versions and metadata, the same on both stores, and by nobody who may not read."""

import asyncio
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from projections.errors import InvalidQueryError
from projections.words import WORDS_BYTES_MAX, excerpts, fold, indexed, matches, parse_query, words
from tests.harness import Api, text_content

# Text that shows what is compared: case, accents, compatibility forms, underscores.
LIBRARY = {
    "support/triage": ["Sort incoming tickets by urgency.", "Sort incoming e-mails by urgency!"],
    "support/reply": ["Answer the Customer politely; sign as {{agent_name}}."],
    "sales/pitch": ["Überzeuge den Kunden höflich.", "Überzeuge die Kundin."],
    "legal/nda": ["Summarise the ﬁling. Never invent clauses.", "Summarise clauses."],
    "ja": ["東京の天気を教えてください"],
}


@pytest.fixture
async def library(api: Api) -> Api:
    for name, texts in LIBRARY.items():
        await api.make_prompt(f"acme/{name}", texts[0], description=f"About {name}", tags=["t"])
        for text in texts[1:]:
            path = f"/v1/projects/acme/prompts/{name}/-/versions"
            await api.ok("POST", path, {"content": text_content(text)})
    return api


async def find(api: Api, q: str, **options: Any) -> list[str]:
    params = {"q": q, **options}
    items: list[str] = []
    while True:
        page = await api.ok("GET", "/v1/search", params=params)
        items += [item["ref"] for item in page["items"]]
        if page["next_cursor"] is None:
            return items
        params["cursor"] = page["next_cursor"]


@pytest.mark.parametrize(
    ("q", "found"),
    [
        ("tickets", {"support/triage@1"}),
        ("SORT urgency", {"support/triage@2"}),
        ("sort -tickets", {"support/triage@2"}),
        ('"incoming tickets"', {"support/triage@1"}),
        ('"tickets incoming"', set()),
        ("höflich", {"sales/pitch@1"}),
        ("hoflich", {"sales/pitch@1"}),
        ("uberzeuge kund*", {"sales/pitch@2"}),
        ("filing", {"legal/nda@1"}),
        ("politely OR clauses", {"support/reply@1", "legal/nda@2"}),
        ("agent_name", {"support/reply@1"}),
        ("name", {"support/reply@1"}),
        ("about", {name for name in LIBRARY}),
        ("pitch", {"sales/pitch"}),
        ("nothing-like-that", set()),
        ("e-mails", {"support/triage@2"}),
        ("' OR 1=1 --", set()),
        ('NEAR("a" "b")', set()),
        ("zz:* & b", set()),
    ],
)
async def test_what_is_asked_is_what_is_found(library: Api, q: str, found: set[str]) -> None:
    assert set(await find(library, q)) == {f"acme/{ref}" for ref in found}


async def test_filters_sorts_and_pages(library: Api) -> None:
    api = library
    assert await find(api, "sort", versions="all", sort="committed_at") == [
        "acme/support/triage@1", "acme/support/triage@2",
    ]  # fmt: skip
    assert await find(api, "sort", versions="all", sort="-committed_at", limit=1) == [
        "acme/support/triage@2", "acme/support/triage@1",
    ]  # fmt: skip
    everything = "sort OR answer OR uberzeuge OR summarise"
    by_name = await find(api, everything, sort="name", limit=1)
    assert by_name == sorted(by_name) and len(by_name) == 4
    assert await find(api, everything, project="acme", folder="support", sort="name") == [
        "acme/support/reply@1", "acme/support/triage@2",
    ]  # fmt: skip
    path = "/v1/projects/acme/prompts/support/triage"
    await api.ok("PUT", f"{path}/-/labels/production", {"version": 1})
    assert await find(api, everything, label="production") == ["acme/support/triage@1"]
    await api.ok("PATCH", f"{path}/-/metadata", {"tags": ["urgent"], "description": "Fresh words"})
    assert await find(api, "fresh") == ["acme/support/triage"]
    assert await find(api, "urgent") == ["acme/support/triage"]
    assert await find(api, everything, tag="urgent") == ["acme/support/triage@2"]
    assert len(await find(api, everything, any_tag=["urgent", "t"])) == 4
    content = {
        "type": "chat", "messages": [{"role": "system", "content": "You sort {{things}}."}],
        "variables": {"things": {"type": "string"}}, "config": {"model": "claude"},
    }  # fmt: skip
    body = {"name": "chatty", "content": content}
    made = await api.ok("POST", "/v1/projects/acme/prompts", body)
    for filters in ({"type": "chat"}, {"model": "claude"}, {"variable": "things"}):
        assert await find(api, "sort", **filters) == ["acme/chatty@1"]
    moment = (await api.ok("GET", f"/v1/events?after={made['position'] - 1}"))["items"][0]["time"]
    assert await find(api, "sort", since=moment) == ["acme/chatty@1"]
    who = (await api.ok("GET", "/v1/whoami"))["principal_id"]
    assert len(await find(api, "sort", author=who)) == 2
    assert await find(api, "sort", owner=who) == []
    await api.ok("PATCH", f"{path}/-/metadata", {"owners": [who]})
    assert await find(api, "sort", owner=who) == ["acme/support/triage@2"]
    await api.ok("POST", f"{path}/-/archive")
    assert await find(api, "sort") == ["acme/chatty@1"]
    assert len(await find(api, "sort", status="all")) == 2


async def test_parts_of_words_where_there_are_no_spaces(library: Api) -> None:
    assert await find(library, "天気") == []
    assert await find(library, "天気", match="parts") == ["acme/ja@1"]
    assert await find(library, "urgen", match="parts") == ["acme/support/triage@2"]
    assert await find(library, "urgen -ticket", match="parts", versions="all") == [
        "acme/support/triage@2"
    ]


async def test_excerpts_show_why(library: Api) -> None:
    page = await library.ok("GET", "/v1/search", params={"q": "hoflich uberzeuge"})
    [item] = page["items"]
    [excerpt] = item["excerpts"]
    marked = [excerpt["text"][start:end] for start, end in excerpt["matches"]]
    assert (excerpt["pointer"], marked) == ("/text", ["Überzeuge", "höflich"])
    assert (item["version"], item["matched"], item["type"]) == (1, 1, "text")
    page = await library.ok("GET", "/v1/search", params={"q": "sort"})
    assert page["items"][0]["matched"] == 2
    await library.make_prompt("acme/alpha", "alpha", description="alpha")
    page = await library.ok("GET", "/v1/search", params={"q": "alpha"})
    assert [(item["version"], item["matched"]) for item in page["items"]] == [(1, 1)]


async def test_nobody_finds_what_he_may_not_read(library: Api) -> None:
    await library.make_prompt("other/secret", "Sort the secrets.")
    folder = (
        await library.make_caller({"role": "viewer", "project": "acme", "folder": "support"})
    ).api
    assert await find(folder, "sort OR answer OR uberzeuge", sort="name") == [
        "acme/support/reply@1", "acme/support/triage@2",
    ]  # fmt: skip
    other = await folder.call("GET", "/v1/search", params={"q": "sort", "project": "other"})
    assert (other.status, other.code) == (404, "not_found")
    nobody = (await library.make_caller()).api
    assert await find(nobody, "sort") == []


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ({"q": "-only"}, "invalid_query"),
        ({"q": "..."}, "invalid_query"),
        ({"q": "a " * 40}, "invalid_query"),
        ({"q": ""}, "invalid_parameter"),
        ({}, "invalid_parameter"),
        ({"q": "x", "as_of": "5"}, "invalid_parameter"),
        ({"q": "x", "folder": "f"}, "invalid_parameter"),
        ({"q": "x", "sort": "size"}, "invalid_parameter"),
        ({"q": "x", "cursor": "zzz"}, "invalid_cursor"),
    ],
)
async def test_what_cannot_be_asked(api: Api, params: dict[str, str], code: str) -> None:
    answer = await api.call("GET", "/v1/search", params=params)
    assert (answer.status, answer.code) == (400, code)


async def test_a_rebuild_finds_the_same(library: Api) -> None:
    compared = await library.ok("POST", "/v1/projections/search/compare")
    assert compared["equal"], compared
    await library.ok("POST", "/v1/projections/search/rebuild")
    for _ in range(100):
        item = await library.ok("GET", "/v1/projections/search")
        if item["rebuild"]["state"] != "running":
            break
        await asyncio.sleep(0.05)
    assert item["rebuild"]["state"] == "done"
    assert await find(library, "tickets") == ["acme/support/triage@1"]


async def test_the_longest_texts_fit(api: Api) -> None:
    """What a store's index cannot hold whole is indexed as far as it can."""
    many = " ".join(f"w{number}" for number in range(150_000))
    await api.make_prompt("acme/long", many[: 1024 * 1000])
    await api.make_prompt("acme/wide", "東京 " * 100_000)
    await api.make_prompt("acme/one", "x" * 500_000)
    assert await find(api, "w7") == ["acme/long@1"]


async def test_from_the_command_line(tmp_path: Path, server: Any) -> None:
    client = server.client()
    client.ok("POST", "/v1/projects", {"project": "acme"})
    body = {"name": "p", "content": text_content("Sort the tickets.")}
    client.ok("POST", "/v1/projects/acme/prompts", body)
    for _ in range(50):
        done = server.cli("prompt", "search", "sort tickets", "--project", "acme")
        if done.stdout:
            break
    assert "acme/p@1" in done.stdout and "Sort the tickets." in done.stdout


# Words


@given(st.text(max_size=200))
def test_a_text_is_found_by_any_of_its_words(text: str) -> None:
    found = list(words(text))
    known = indexed([text]).split(" ") if found else []
    assert [word.text for word in found] == known
    for word in found[:3]:
        if word.text not in ("or",):
            places = matches(text, parse_query(f'"{word.text}"'))
            assert (word.start, word.end) in places


@given(st.text(max_size=300))
def test_a_question_is_refused_or_understood(text: str) -> None:
    try:
        query = parse_query(text)
    except InvalidQueryError:
        return
    assert all(any(not term.excluded for term in terms) for terms in query)
    for term in (term for terms in query for term in terms):
        assert all(re.fullmatch(r"[^\W_]+", word) and fold(word) == word for word in term.words)


@given(st.text(alphabet="ab cé", max_size=2000))
def test_excerpts_are_pieces_of_the_text_with_their_matches(text: str) -> None:
    for piece, marked in excerpts(text, parse_query("a OR ce")):
        assert piece in text and len(piece) <= 2000
        for start, end in marked:
            assert fold(piece[start:end]) in ("a", "ce")


def test_what_is_indexed_is_bounded() -> None:
    assert len(indexed(["wörter " * 100_000]).encode()) <= WORDS_BYTES_MAX
