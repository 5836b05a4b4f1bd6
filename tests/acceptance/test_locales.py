"""Translations: who is served which, and which are old."""

import pytest

from domain.content import PromptContent
from domain.errors import InvalidContentError
from domain.locales import chosen_locale, staleness
from tests.harness import Api, text_content

PATH = "/v1/projects/acme/prompts/mail"


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (["fr-CA"], "fr-CA"), (["fr-FR"], "fr"), (["FR-ca-x-y"], "fr-CA"), (["de"], None),
        (["de", "fr"], "fr"), (["zh-Hant-TW"], "zh-Hant"), (["zh"], None), ([], None),
    ],
)  # fmt: skip
def test_lookup_cuts_subtags_off(wanted: list[str], found: str | None) -> None:
    assert chosen_locale(wanted, ["fr", "fr-CA", "zh-Hant"]) == found


def test_a_translation_is_stale_when_its_base_moved_without_it() -> None:
    def content(text: str, **locales: str) -> dict:
        return text_content(text, locales={name: {"text": one} for name, one in locales.items()})

    one = content("a b", fr="x", de="y")
    assert staleness(None, {}, one) == {"fr": False, "de": False}
    assert staleness(one, {}, content("a c", fr="x", de="z")) == {"fr": True, "de": False}
    assert staleness(one, {"fr": True}, content("a b", fr="x", de="y")) == {"fr": True, "de": False}
    assert staleness(one, {"fr": True}, content("a b", fr="z")) == {"fr": False}
    assert staleness(one, {}, content("a\n b", fr="x", es="n")) == {"fr": False, "es": False}


@pytest.mark.parametrize(
    ("locales", "pointer"),
    [
        ({"french!": {"text": "x"}}, "/locales/french!"), ({"fr": {}}, "/locales/fr"),
        ({"fr": {"text": 1}}, "/locales/fr/text"), ({"fr": {"text": "x", "a": 1}}, "/locales/fr/a"),
        ({"fr": {"text": "{{y}}"}}, "/locales/fr/text"), ({"fr": {"text": "{{#a}}"}}, "/locales/fr/text"),
        ({"fr": {"text": "x"}, "FR": {"text": "x"}}, "/locales"), ([], "/locales"),
    ],
)  # fmt: skip
def test_translations_are_checked_as_their_base_is(locales: object, pointer: str) -> None:
    with pytest.raises(InvalidContentError) as refusal:
        PromptContent.parse(text_content("{{x}}", locales=locales))
    assert [fault.pointer for fault in refusal.value.faults] == [pointer]


async def test_the_wanted_language_is_served_or_the_next_best(api: Api) -> None:
    locales = {"fr": {"text": "Salut {{x}}"}, "fr-CA": {"text": "Allo {{x}}"}}
    content = text_content("Hi {{x}}", locales=locales)
    await api.ok("POST", "/v1/projects", {"project": "acme"})
    await api.ok("POST", "/v1/projects/acme/prompts", {"name": "mail", "content": content})
    first = await api.ok("PUT", f"{PATH}/-/labels/production", {"version": 1})

    async def served(query: str = "", accept: str = "") -> tuple[str, str | None]:
        headers = {"Accept-Language": accept} if accept else {}
        answer = await api.call("GET", f"{PATH}{query}", headers=headers)
        assert answer.headers["Vary"] == "Accept-Language"
        assert answer.headers.get("Content-Language") == answer.body["locale"]
        assert "locales" not in answer.body["content"]
        return answer.body["content"]["text"], answer.body["locale"]

    for _ in range(2):  # from the ledger, then from memory
        assert await served() == ("Hi {{x}}", None)
        assert await served("?locale=fr-CA") == ("Allo {{x}}", "fr-CA")
        assert await served("?locale=fr-BE") == ("Salut {{x}}", "fr")
        assert await served(accept="de, fr-CA;q=0.5, fr;q=0.9") == ("Salut {{x}}", "fr")
        assert await served("?locale=de", accept="fr") == ("Hi {{x}}", None)
        assert await served(f"?as_of={first['position']}&locale=fr") == ("Salut {{x}}", "fr")
    raw = await api.ok("GET", f"{PATH}?raw=true&locale=fr")
    assert raw["content"] == content
    rendered = await api.ok("POST", f"{PATH}/-/render", {"variables": {"x": "Zoé"}, "locale": "fr"})
    assert rendered["messages"][0]["content"] == "Salut Zoé"
    items = {"items": [{"project": "acme", "name": "mail", "locale": "fr-CA"}]}
    assert (await api.ok("POST", "/v1/resolve", items))["items"][0]["locale"] == "fr-CA"
    assert (await api.call("GET", f"{PATH}?locale=!")).status == 400
    changed = text_content("Hello {{x}}", locales=locales | {"fr": {"text": "Bonjour {{x}}"}})
    made = await api.ok("POST", f"{PATH}/-/versions", {"content": changed})
    assert made["change"]["reasons"] == ["text_changed", "locales_changed"]
    newest = await api.ok("GET", f"{PATH}?label=latest")
    assert newest["locales"] == {"fr": {"stale": False}, "fr-CA": {"stale": True}}
    listed = await api.ok("GET", f"{PATH}/-/versions")
    assert [v["locales"] for v in listed["items"]][0] == newest["locales"]


async def test_partials_follow_the_language_of_the_whole(api: Api) -> None:
    await api.ok("POST", "/v1/projects", {"project": "acme"})
    for name, text, french in (("tone", "kind", "gentil"), ("mail", "Be {{> tone}}", None)):
        locales = {"fr": {"text": french or "Sois {{> tone}}"}}
        content = text_content(text, locales=locales)
        await api.ok("POST", "/v1/projects/acme/prompts", {"name": name, "content": content})
        path = f"/v1/projects/acme/prompts/{name}/-/labels/production"
        await api.ok("PUT", path, {"version": 1})
    assert (await api.ok("GET", PATH))["content"]["text"] == "Be kind"
    french = await api.ok("GET", f"{PATH}?locale=fr")
    assert french["content"]["text"] == "Sois gentil"
    body = {"version": 1, "locale": "fr", "lockfile": french["partials"]}
    locked = await api.ok("POST", f"{PATH}/-/render", body)
    assert locked["messages"][0]["content"] == "Sois gentil"
