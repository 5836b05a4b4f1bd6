"""Contents: what they may be, how they are named, how they are filled."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain import template
from domain.content import PromptContent
from domain.diff import diff_contents
from domain.errors import (
    InvalidContentError,
    InvalidVariablesError,
    NoCanonicalFormError,
    RenderLimitError,
)
from domain.rendering import render_messages, render_text
from domain.texts import variables_used
from domain.variables import fits
from plugins.importer import ImportedPrompt
from plugins.markdown import MarkdownImporter

EXAMPLES = Path(__file__).parents[2] / "examples" / "prompts"


def text(body: str, **fields: object) -> dict:
    return {"type": "text", "text": body, **fields}


@given(
    st.dictionaries(
        st.text(st.characters(exclude_categories=["Cs"])),
        st.floats(-(2**53), 2**53) | st.integers(0, 2**53 - 1),
    )
)
def test_the_digest_depends_on_nothing_but_the_value(config: dict) -> None:
    one = PromptContent.parse(text("x", config=config))
    shuffled = dict(reversed(list(config.items())))
    assert (
        PromptContent.parse({"config": shuffled, "text": "x", "type": "text"}).digest == one.digest
    )
    assert json.loads(one.canonical) == one.value


def test_a_known_digest() -> None:
    content = PromptContent.parse({"type": "text", "text": "Hello"})
    assert content.canonical == b'{"text":"Hello","type":"text"}'
    assert content.digest == (
        "sha256:05d603078929809bb6aa5da1895ef894c975aa286acbb4ce6743eb70b4cf172f"
    )


@pytest.mark.parametrize(
    ("body", "values", "expected"),
    [
        ("Hi {{name}}", {"name": "<b>&"}, "Hi <b>&"),
        ("{{a}}", {"a": "{{b}}"}, "{{b}}"),
        ("{{{a}}} {{&a}}", {"a": "'"}, "' '"),
        ("{{#xs}}[{{.}}]{{/xs}}", {"xs": [1, 2.5, True, None]}, "[1][2.5][true][]"),
        ("{{^xs}}none{{/xs}}", {"xs": []}, "none"),
        ("{{#u}}{{name}}{{/u}}", {"u": {"name": "x"}}, "x"),
        ("{{u.name}}", {"u": {"name": "x"}}, "x"),
        ("{{flag}} {{n}}", {"flag": False, "n": 0}, "false 0"),
        ("{{o}}", {"o": {"a": [1]}}, '{"a": [1]}'),
        ("a\r\n{{! comment }}\r\nb\r\n", {}, "a\r\nb\r\n"),
        ("no tags } { }}", {}, "no tags } { }}"),
    ],
)
def test_rendering(body: str, values: dict, expected: str) -> None:
    assert render_text(text(body), values) == expected


@pytest.mark.parametrize(
    "body", ["{{user.__class__}}", "{{user.keys}}", "{{user.__init__}}", "{{items.append}}"]
)
def test_python_attributes_cannot_be_reached(body: str) -> None:
    with pytest.raises(InvalidVariablesError):
        render_text(text(body), {"user": {"name": "x"}, "items": []}, allow_extra=True)


def test_rendering_has_a_budget() -> None:
    bomb = "{{#a}}{{#a}}{{#a}}{{#a}}x{{/a}}{{/a}}{{/a}}{{/a}}"
    with pytest.raises(RenderLimitError):
        render_text(text(bomb), {"a": [1] * 100})
    with pytest.raises(RenderLimitError):
        render_text(text("{{#a}}{{b}}{{/a}}"), {"a": [1] * 100, "b": "x" * 200_000})


def test_templates_are_refused_that_cannot_be_rendered() -> None:
    deep = "{{#a}}" * 40 + "{{/a}}" * 40
    for body in ("{{#a}}", "{{/a}}", "{{#a}}{{/b}}", "{{> Part!}}", "{{> part@}}", deep):
        with pytest.raises(InvalidContentError):
            PromptContent.parse(text(body))
        assert PromptContent.parse(text(body, template_format="none"))
    assert template.names_in("{{a.b}} {{#c}}{{d}}{{/c}}") == {"a", "c", "d"}
    assert template.required_names_in("{{a.b}} {{#c}}{{d}}{{/c}}") == {"a", "c"}


def test_format_none_never_touches_a_byte() -> None:
    body = "{{not}} {% a %} {{#x}}\r\n"
    content = PromptContent.parse(text(body, template_format="none")).value
    assert render_text(content, {}) == body
    assert variables_used(content) == frozenset()


def test_defaults_and_optional_variables() -> None:
    declared = {"a": {"default": "A"}, "b": {"required": False}, "n": {"type": "number"}}
    content = text("{{a}}{{#b}}!{{/b}}{{n}}", variables=declared)
    assert render_text(content, {"n": 1}) == "A1"
    assert render_text(content, {"n": 2.5, "a": "x", "b": "y"}) == "x!2.5"
    with pytest.raises(InvalidVariablesError) as caught:
        render_text(content, {"n": "1", "z": 1})
    assert {f.pointer for f in caught.value.faults} == {"/variables/n", "/variables/z"}


@pytest.mark.parametrize(
    ("type_", "good", "bad"),
    [("string", "x", 1), ("number", 1.5, True), ("integer", 1, 1.5), ("boolean", False, 0),
     ("list", [], {}), ("object", {}, [])],
)  # fmt: skip
def test_types(type_: str, good: object, bad: object) -> None:
    assert fits(type_, good) and not fits(type_, bad)


def test_chats_take_histories_where_they_have_placeholders() -> None:
    chat = {
        "type": "chat",
        "messages": [{"role": "system", "content": "{{who}}"}, {"placeholder": "past"}],
    }
    past = [{"role": "user", "content": "{{who}}"}]
    assert render_messages(chat, {"who": "me", "past": past}) == [
        {"role": "system", "content": "me"},
        {"role": "user", "content": "{{who}}"},
    ]
    assert render_text(chat, {"who": "me", "past": []}) == "system:\nme"
    with pytest.raises(InvalidVariablesError, match="past"):
        render_messages(chat, {"who": "me"})


def test_the_layout_of_a_structured_prompt() -> None:
    structured = {
        "type": "structured",
        "fields": {
            "role": "You are {{who}}.",
            "task": "Do it.",
            "context": "Here.",
            "constraints": ["fast", "good"],
            "output_format": "JSON",
            "examples": [{"input": "a", "output": "b"}],
        },
    }
    assert render_messages(structured, {"who": "x"}) == [
        {
            "role": "system",
            "content": "You are x.\n\n# Context\n\nHere.\n\n# Constraints\n\n- fast\n- good\n\n"
            "# Output format\n\nJSON\n\n# Examples\n\nInput: a\nOutput: b",
        },
        {"role": "user", "content": "Do it."},
    ]
    assert render_text(structured, {"who": "x"}).startswith("You are x.\n\nDo it.\n\n# Context")


def test_a_diff_shows_what_changed() -> None:
    one = PromptContent.parse(text("a\nb", config={"t": 1})).canonical
    two = PromptContent.parse(text("a\nc", config={"t": 2})).canonical
    diff = diff_contents(one, two, "p@1", "p@2")
    assert (diff.added, diff.removed) == (2, 2)
    assert "-b" in diff.unified and "+c" in diff.unified and '+    "t": 2' in diff.unified
    assert diff_contents(one, one, "p@1", "p@1").unified == ""


def test_every_example_parses_and_renders_with_its_variables() -> None:
    found = list(MarkdownImporter().read(EXAMPLES))
    assert len(found) >= 12 and all(isinstance(one, ImportedPrompt) for one in found)
    samples = {"string": "x", "integer": 1, "number": 1, "boolean": True, "list": ["x"],
               "object": {}}  # fmt: skip
    for one in found:
        content = PromptContent.parse(one.content).value
        assert one.description and one.tags, one.name
        declared = content.get("variables", {})
        values = {name: samples[spec.get("type", "string")] for name, spec in declared.items()}
        values |= {"glossary": [], "history": []} if one.name.endswith(("translate",)) else {}
        values |= {"history": []} if one.name == "support/reply" else {}
        render_messages(content, values, allow_extra=True)
        assert variables_used(content) - declared.keys() <= {"source", "target"}, one.name


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "text",
    [
        "{{a\n" * 200_000, " " * 900_000 + "{{x", "{{" + " " * 900_000, "{{! " + " \n" * 200_000 + "}}",
        "{{ x" + " " * 900_000 + "y }}", "{{{" * 300_000, "{{a}}" * 200_000, "{{=" * 300_000,
    ],
    ids=["unclosed", "blanks", "open", "comment", "inner", "raw", "many", "change"],
)  # fmt: skip
def test_no_text_takes_longer_than_its_length_deserves(text: str) -> None:
    """Some are prompts and some are not; a parser that goes back over the text takes hours."""
    try:
        PromptContent.parse({"type": "text", "text": text})
    except InvalidContentError as refusal:
        assert refusal.faults


@pytest.mark.timeout(20)
def test_the_field_without_canonical_form_is_found_in_one_walk() -> None:
    deep: object = 2**60
    for _ in range(28):
        deep = {"x": "y" * 40_000, "z": [deep]}
    with pytest.raises(NoCanonicalFormError) as refusal:
        PromptContent.parse({"type": "text", "text": "t", "config": {"deep": deep}})
    assert refusal.value.faults[0].pointer == "/content/config/deep" + "/z/0" * 28
