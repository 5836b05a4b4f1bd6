"""Composing prompts: in their places, within limits, never of themselves."""

import time

import pytest

from domain.composition import (
    COMPOSED_CHARS_MAX,
    Composed,
    Guardrail,
    Source,
    check_renderable,
    clashes,
    compose,
    ordered,
    references_in,
)
from domain.content import PromptContent
from domain.errors import (
    CompositionLimitError,
    InvalidContentError,
    PartialCycleError,
    PartialMismatchError,
    PartialNotFoundError,
)
from domain.partials import Reference, parse_reference
from domain.prompt_deciding import no_partial
from domain.rendering import render_messages, render_text


def text(body: str, **fields: object) -> dict:
    return {"type": "text", "text": body, **fields}


def chat(*messages: dict | tuple[str, str], **fields: object) -> dict:
    listed = [{"role": m[0], "content": m[1]} if isinstance(m, tuple) else m for m in messages]
    return {"type": "chat", "messages": listed, **fields}


def composed(root: dict, parts: dict[str, dict], *guardrails: Guardrail) -> Composed:
    """A root of a project whose prompts are known by `name@at`."""
    sources = {
        reference: Source("p", reference.partition("@")[0], number, "sha256:x", content)
        for number, (reference, content) in enumerate(parts.items(), 10)
    }

    def lookup(reference: Reference) -> Source:
        if str(reference) not in sources:
            raise no_partial(reference, "there is no such prompt")
        return sources[str(reference)]

    return compose(Source("p", "root", 1, "sha256:r", root), lookup, guardrails)


def test_a_partial_takes_the_place_of_its_tag_and_is_listed() -> None:
    parts = {
        "tone@production": text("Be kind, {{who}}.", variables={"who": {}}),
        "rules@3": text("1. {{> tone}}\n2. Be brief."),
    }
    made = composed(text("Rules:\n  {{> rules@3}}\nGo, {{x}}.", variables={"x": {}}), parts)
    assert made.content["text"] == "Rules:\n  1. Be kind, {{who}}.\n  2. Be brief.Go, {{x}}."
    assert made.content["variables"] == {"who": {}, "x": {}}
    assert [(p.kind, p.reference, p.source.ref) for p in made.parts] == [
        ("partial", "rules@3", "p/rules@11"), ("partial", "tone@production", "p/tone@10"),
    ]  # fmt: skip
    assert made.moving
    assert not composed(text("{{> rules@3}}"), {"rules@3": text("x")}).moving
    assert render_text(made.content, {"who": "{{x}}", "x": "now"}).startswith(
        "Rules:\n  1. Be kind"
    )


def test_chats_take_message_lists_and_texts() -> None:
    shots = chat(("user", "{{> q}}"), ("assistant", "A"), {"placeholder": "past"})
    root = chat(("system", "S {{> q}}"), {"partial": "shots@2"}, ("user", "go"))
    made = composed(root, {"shots@2": shots, "q@production": text("Q?")})
    assert made.content["messages"] == [
        {"role": "system", "content": "S Q?"}, {"role": "user", "content": "Q?"},
        {"role": "assistant", "content": "A"}, {"placeholder": "past"},
        {"role": "user", "content": "go"},
    ]  # fmt: skip
    past = [{"role": "user", "content": "{{> q}}"}]
    assert render_messages(made.content, {"past": past})[3] == past[0]


def test_structured_prompts_are_composed_in_every_field() -> None:
    fields = {"task": "{{> t}}", "constraints": ["{{> t}}"], "examples": [
        {"input": "{{> t}}", "output": "o"}]}  # fmt: skip
    made = composed({"type": "structured", "fields": fields}, {"t@production": text("T")})
    assert made.content["fields"] == {
        "task": "T", "constraints": ["T"], "examples": [{"input": "T", "output": "o"}],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("root", "parts", "refusal"),
    [
        (text("{{> a}}"), {}, PartialNotFoundError),
        (text("{{> a}}"), {"a@production": chat(("user", "x"))}, PartialMismatchError),
        (chat({"partial": "a"}), {"a@production": text("x")}, PartialMismatchError),
        (text("{{> a}}"), {"a@production": text("{{x}}", template_format="jinja2")},
         PartialMismatchError),
        (chat({"partial": "a"}), {"a@production": chat(("user", "x"), template_format="none")},
         PartialMismatchError),
        (text("{{> a}}"), {"a@production": text("{{> b}}"), "b@production": text("{{> a}}")},
         PartialCycleError),
        (text("{{> a}}"), {"a@production": text("{{> a}}")}, PartialCycleError),
        (chat({"partial": "a"}), {"a@production": chat({"partial": "a"})}, PartialCycleError),
        (text("{{=<% %>=}}<%> a%>{{"), {"a@production": text("x")}, PartialMismatchError),
    ],
)  # fmt: skip
def test_what_cannot_be_composed(root: dict, parts: dict, refusal: type[Exception]) -> None:
    with pytest.raises(refusal):
        composed(root, parts)


def test_a_plain_text_without_tags_fits_anywhere() -> None:
    made = composed(text("{{> a}}"), {"a@production": text("x }}", template_format="none")})
    assert made.content["text"] == "x }}"


def test_depth_is_counted_however_a_partial_is_reached() -> None:
    chain = {f"p{n}@1": text(f"{{{{> p{n + 1}@1}}}}") for n in range(1, 8)} | {"p8@1": text("end")}
    assert composed(text("{{> p1@1}}"), chain).content["text"] == "end"
    chain["p0@1"] = text("{{> p1@1}}")
    with pytest.raises(CompositionLimitError, match="deeper"):
        composed(text("{{> p0@1}}"), chain)
    with pytest.raises(CompositionLimitError, match="deeper"):
        composed(text("{{> p1@1}}{{> p0@1}}"), chain)


@pytest.mark.timeout(30)
def test_a_composition_that_multiplies_ends_in_time() -> None:
    names = [f"p{n}" for n in range(8)]
    parts = {
        f"{name}@1": text(f"{{{{> {names[index + 1]}@1}}}}" * 60 if index < 7 else "x" * 1000)
        for index, name in enumerate(names)
    }
    began = time.monotonic()
    with pytest.raises(CompositionLimitError, match=str(COMPOSED_CHARS_MAX)):
        composed(text("{{> p0@1}}"), parts)
    many = {f"q{n}@1": text("x") for n in range(300)}
    with pytest.raises(CompositionLimitError, match="256"):
        composed(text("".join(f"{{{{> q{n}@1}}}}" for n in range(300))), many)
    with pytest.raises(CompositionLimitError, match="messages"):
        composed(chat(*[{"partial": "m@1"}] * 2), {"m@1": chat(*[("user", "x")] * 300)})
    assert time.monotonic() - began < 20


def test_guardrails_go_around_what_they_guard() -> None:
    rails = [
        Guardrail("inner", "support/mail", "rail/inner@1", "prepend", "developer"),
        Guardrail("all", None, "rail/all@production", "prepend", "system"),
        Guardrail("last", "support", "rail/last@1", "append", "user"),
        Guardrail("other", "sales", "rail/other@1", "append", "user"),
    ]
    parts = {"rail/inner@1": text("I {{v}}", variables={"v": {}}), "rail/last@1": text("L"),
             "rail/all@production": text("A")}  # fmt: skip
    covering = ordered(rails, "support/mail/reply")
    assert [one.name for one in covering] == ["inner", "last", "all"]
    made = composed(text("body"), parts, *covering)
    assert made.content["text"] == "A\n\nI {{v}}\n\nbody\n\nL"
    assert made.content["variables"] == {"v": {}} and made.moving
    assert [p.as_data()["guardrail"]["name"] for p in made.parts] == ["inner", "last", "all"]
    made = composed(chat(("user", "hi")), parts, *covering)
    assert [m["role"] for m in made.content["messages"]] == ["system", "developer", "user", "user"]
    structured = {"type": "structured", "fields": {"task": "t", "constraints": ["c"]}}
    made = composed(structured, parts, *covering)
    assert made.content["fields"]["constraints"] == ["A", "I {{v}}", "c", "L"]
    assert ordered(rails, "rail/all") == [] and ordered(rails, "salesman") == [rails[1]]
    with pytest.raises(PartialMismatchError, match="no mustache"):
        composed(text("{x}", template_format="f-string"), parts, rails[0])
    made = composed(text("{x}", template_format="f-string"), parts, rails[1])
    assert made.content["text"] == "A\n\n{x}"


def test_references_are_found_and_checked() -> None:
    content = chat(("user", "{{#a}}{{> b/c@2}}{{/a}}{{> d}}"), {"partial": "e@canary"},
                   variables={"a": {"type": "list"}})  # fmt: skip
    parsed = PromptContent.parse(content).value
    assert [str(one) for one in references_in(parsed)] == [
        "e@canary", "b/c@2", "d@production",
    ]  # fmt: skip
    for wrong in ("{{> }}", "{{> A}}", "{{> a@}}", "{{> a@0}}", "{{> a@B}}", "{{> a@1 }x}}"):
        with pytest.raises(InvalidContentError):
            PromptContent.parse(text(wrong))
    for wrong in ("A", 1, "a@", "a@-"):
        with pytest.raises(InvalidContentError):
            PromptContent.parse(chat({"partial": wrong}))
    with pytest.raises(InvalidContentError, match="64"):
        PromptContent.parse(text("".join(f"{{{{> p{n}}}}}" for n in range(65))))
    assert PromptContent.parse(text("{{> Not a ref", template_format="none"))
    assert parse_reference("a@latest").number is None and parse_reference("a@7").number == 7


def test_variables_that_clash_are_named() -> None:
    parts = {"a@1": text("{{n}}", variables={"n": {"type": "integer"}, "s": {}})}
    root = text("{{n}}{{> a@1}}", variables={"n": {}, "s": {"type": "string"}})
    assert clashes(root, composed(root, parts).parts) == ["n"]


def test_a_guardrail_goes_around_no_part_of_its_own() -> None:
    rail = Guardrail("safe", None, "rules@production", "append", "system")
    parts = {"rules@production": text("Rules. {{> root@1}}"), "root@1": text("Root")}
    root = Source("p", "root", 1, "sha256:r", text("Root"))
    known = {name: Source("p", name.partition("@")[0], 1, "", body) for name, body in parts.items()}
    made = compose(root, lambda reference: known[str(reference)], [rail])
    assert (made.content["text"], made.parts) == ("Root", ())
    parts["rules@production"] = text("{{> tone@production}} {{> root@1}}")
    parts |= {"tone@production": text("Be {{> how@1}}"), "how@1": text("kind")}
    other = Guardrail("tone", None, "tone@production", "append", "system")
    known |= {
        name: Source("p", name.partition("@")[0], 1, "", body) for name, body in parts.items()
    }
    made = compose(root, lambda reference: known[str(reference)], [rail, other])
    assert [part.reference for part in made.parts] == ["tone@production", "how@1"]


@pytest.mark.parametrize(
    ("root", "part"), [("{{{> a}}", "x"), ("{{{> a}} }}", "{x"), ("{{> a}}b}}", "{{"), ("{", "x")]
)
def test_braces_beside_a_partial_never_become_tags(root: str, part: str) -> None:
    plain = text(root if "{{" in root else root + "{{> a}}x}}")
    try:
        made = composed(plain, {"a@production": text(part + "{")})
    except (PartialMismatchError, InvalidContentError):
        return
    assert "{{" not in made.content["text"]


def test_a_text_that_grows_past_what_can_be_rendered_is_refused() -> None:
    tags = "{{x}}" * 9_000
    made = composed(text(tags + "{{> a}}", variables={"x": {}}), {"a@production": text(tags)})
    with pytest.raises(CompositionLimitError, match="/text, composed"):
        check_renderable(made)
