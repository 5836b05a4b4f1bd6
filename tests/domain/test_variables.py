"""Variables: what may be declared, which values fit, what texts use without saying so."""

import pytest

from domain.content import PromptContent
from domain.errors import InvalidContentError, InvalidVariablesError, UnsupportedFormatError
from domain.rendering import render_messages, render_text
from domain.texts import variables_of

PIXEL = "data:image/png;base64,iVBORw0KGgo="


def text(body: str, **variables: dict) -> dict:
    return {"type": "text", "text": body, "variables": variables}


@pytest.mark.parametrize(
    ("spec", "good", "bad"),
    [
        ({"type": "enum", "values": ["a", "b"]}, "a", "c"),
        ({"type": "list", "schema": {"items": {"type": "integer"}}}, [1, 2], [1, "2"]),
        ({"type": "list", "schema": {"maxItems": 1}}, [1], [1, 2]),
        ({"type": "object", "schema": {"required": ["id"]}}, {"id": 1}, {}),
        ({"type": "object", "schema": {"required": ["id"]}}, {"id": 1}, [1]),
        ({"type": "image"}, "https://example.org/a.png", "javascript:alert(1)"),
        ({"type": "image"}, PIXEL, "data:audio/wav;base64,AAAA"),
        ({"type": "audio"}, "data:audio/wav;base64,AAAA", "a.wav"),
        ({"type": "integer"}, 3, True),
        ({"type": "boolean"}, True, "true"),
    ],
)
def test_values_fit_their_variables_type(spec: dict, good: object, bad: object) -> None:
    content = PromptContent.parse(text("{{v}}", v=spec)).value
    render_text(content, {"v": good})
    with pytest.raises(InvalidVariablesError) as refusal:
        render_text(content, {"v": bad})
    assert [fault.pointer for fault in refusal.value.faults] == ["/variables/v"]
    PromptContent.parse(text("{{v}}", v={**spec, "default": good}))
    with pytest.raises(InvalidContentError):
        PromptContent.parse(text("{{v}}", v={**spec, "default": bad}))


@pytest.mark.parametrize(
    "spec",
    [
        {"type": "enum"}, {"type": "enum", "values": []}, {"type": "enum", "values": ["a", "a"]},
        {"type": "enum", "values": [1]}, {"type": "string", "values": ["a"]},
        {"type": "object", "schema": {"type": 5}}, {"type": "string", "schema": {}},
        {"type": "object", "schema": {"$ref": "https://example.org/schema.json"}},
        {"type": "object", "schema": {"properties": {"a": {"pattern": "("}}}},
        {"type": "money"}, {"type": "messages"},
    ],
)  # fmt: skip
def test_declarations_that_make_no_sense_are_refused(spec: dict) -> None:
    with pytest.raises(InvalidContentError) as refusal:
        PromptContent.parse(text("{{v}}", v=spec))
    assert all(f.pointer.startswith("/variables/v") for f in refusal.value.faults)


@pytest.mark.parametrize(
    ("body", "declared", "missing"),
    [
        ("{{a}} {{b}}", {"a": {}}, {"b": "string"}),
        ("{{#a}}x{{/a}}", {}, {"a": "boolean"}),
        ("{{^a}}{{b}}{{/a}}", {}, {"a": "boolean", "b": "string"}),
        ("{{#a}}{{.}}{{/a}}", {}, {"a": "list"}),
        ("{{#a}}{{b}}{{/a}}", {}, {"a": "list"}),
        ("{{#a}}{{b}}{{/a}}", {"a": {"type": "boolean"}}, {"b": "string"}),
        ("{{#a}}{{b}}{{/a}}", {"a": {"type": "list"}}, {}),
        ("{{a.b}} {{#a}}x{{/a}}", {}, {"a": "object"}),
        ("{{#a}}{{a}}{{/a}} {{a}}", {}, {"a": "string"}),
        ("{{! a }}", {}, {}),
    ],
)
def test_what_a_text_uses_is_declared_or_refused(
    body: str, declared: dict, missing: dict[str, str]
) -> None:
    content = text(body, **declared)
    if missing:
        with pytest.raises(InvalidContentError) as refusal:
            PromptContent.parse(content)
        assert {f.code for f in refusal.value.faults} == {"undeclared_variable"}
        assert len(refusal.value.faults) == len(missing)
    made = PromptContent.parse(content, declare=True).value["variables"]
    assert made == declared | {name: {"type": use} for name, use in missing.items()}
    assert PromptContent.parse(content | {"template_format": "none"})


@pytest.mark.parametrize(
    ("template_format", "body", "names"),
    [
        ("jinja2", "{{ a|upper }}{% if not b %}{% for x in xs %}{{ x }}{{ loop.index }}{% endfor %}",
         ["a", "b", "xs"]),
        ("f-string", "Hi {name!r:>10} {{not}} {user.id} {0}", ["name", "user"]),
        ("f-string", "broken {", []),
        ("handlebars", "{{#if a}}{{b}}{{else}}{{{c}}}{{/if}}{{#each xs}}{{this}}{{/each}}",
         ["a", "b", "c", "xs"]),
        ("none", "{{a}}", []),
        ("mustache", "{{a}}", ["a"]),
    ],
)  # fmt: skip
def test_variables_are_listed_in_every_language(
    template_format: str, body: str, names: list[str]
) -> None:
    content = {"type": "text", "text": body, "template_format": template_format}
    parsed = PromptContent.parse(content, declare=True).value
    assert parsed["text"] == body
    assert variables_of(parsed) == names
    if template_format in ("jinja2", "f-string", "handlebars"):
        with pytest.raises(UnsupportedFormatError, match=template_format):
            render_messages(parsed, {})


def test_images_and_audio_become_parts_of_the_message_they_stand_in() -> None:
    content = PromptContent.parse(
        text("See {{photo}}, hear {{sound}}: {{q}}", photo={"type": "image"},
             sound={"type": "audio", "required": False}, q={})
    ).value  # fmt: skip
    shown = render_messages(content, {"photo": PIXEL, "q": "{{photo}}"})
    assert shown == [
        {"role": "user", "content": [
            {"type": "text", "text": "See "}, {"type": "image", "url": PIXEL},
            {"type": "text", "text": ", hear : {{photo}}"},
        ]},
    ]  # fmt: skip
    assert render_text(content, {"photo": PIXEL, "q": "?"}) == f"See {PIXEL}, hear : ?"


def test_a_message_list_has_a_default_and_takes_parts() -> None:
    chat = PromptContent.parse(
        {
            "type": "chat",
            "messages": [{"placeholder": "past"}],
            "variables": {"past": {"type": "messages", "required": False}},
        }
    ).value
    parts = [{"type": "text", "text": "x"}, {"type": "image", "url": "https://example.org/i"}]
    past = [{"role": "user", "content": parts}]
    assert render_messages(chat, {}) == []
    assert render_messages(chat, {"past": past}) == past
    assert render_text(chat, {"past": past}) == "user:\nxhttps://example.org/i"
    for wrong in ([{"role": "user"}], [{"role": "user", "content": [{"type": "image"}]}], "x"):
        with pytest.raises(InvalidVariablesError):
            render_messages(chat, {"past": wrong})


def _doubling(levels: int) -> dict:
    defs: dict = {"d0": {"type": "string"}}
    for n in range(1, levels):
        one = {"$ref": f"#/$defs/d{n - 1}"}
        defs[f"d{n}"] = {"allOf": [one, one]}
    return {"$defs": defs, "items": {"$ref": f"#/$defs/d{levels - 1}"}}


@pytest.mark.parametrize(
    ("schema", "good"),
    [
        ({"$defs": {"a/b": {"type": "string"}}, "items": {"$ref": "#/$defs/a~1b"}}, True),
        ({"properties": {"$id": {"type": "string"}}}, True),
        (_doubling(5), True),
        (_doubling(40), False),
        ({"items": {"$ref": "#"}}, False),
        ({"$defs": {"a": {"properties": {"x": {"$ref": "#/$defs/a"}}}}}, False),
        ({"items": {"$ref": "http://example.org/schema"}}, False),
        ({"items": {"$ref": "#/$defs/nothing"}}, False),
        ({"items": {"$dynamicRef": "#x"}}, False),
        ({"items": {"$id": "x", "$ref": "#/y"}}, False),
    ],
)
def test_a_schema_refers_to_its_own_parts_and_is_no_bomb(schema: dict, good: bool) -> None:
    content = {"type": "text", "text": "{{#x}}{{.}}{{/x}}"}
    declared = {"x": {"type": "list", "schema": schema}}
    if good:
        PromptContent.parse(content | {"variables": declared})
    else:
        with pytest.raises(InvalidContentError):
            PromptContent.parse(content | {"variables": declared})


def test_a_placeholder_is_shown_by_no_text() -> None:
    messages = [{"placeholder": "past"}, {"role": "user", "content": "{{past}}"}]
    variables = {"past": {"type": "messages"}}
    with pytest.raises(InvalidContentError) as refused:
        PromptContent.parse({"type": "chat", "messages": messages, "variables": variables})
    assert [fault.code for fault in refused.value.faults] == ["placeholder_in_text"]


def test_an_optional_message_list_may_be_null() -> None:
    content = {"type": "chat", "messages": [{"placeholder": "past"}, {"role": "user", "content": "x"}],
               "variables": {"past": {"type": "messages", "required": False}}}  # fmt: skip
    messages = render_messages(PromptContent.parse(content).value, {"past": None})
    assert messages == [{"role": "user", "content": "x"}]
