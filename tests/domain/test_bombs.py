"""Templates and values made to hurt: each ends within its limits, with a clear error or at once."""

import time
import tracemalloc

import pytest

from domain.composition import Source, compose
from domain.content import PromptContent
from domain.diff import diff_contents
from domain.errors import DomainError, RenderLimitError
from domain.merge import merge_contents
from domain.partials import Reference
from domain.rendering import render_messages, render_text
from domain.semantic_diff import semantic_diff

SECONDS_MAX = 10.0
BYTES_MAX = 400 * 1024 * 1024
MIB = 1024 * 1024


def text(body: str, **variables: dict) -> dict:
    return {"type": "text", "text": body, "variables": variables}


ANY = {"type": "list"}
BOMBS: dict[str, tuple[dict, dict]] = {
    "sections": (text("{{#a}}" * 100_000 + "{{/a}}" * 100_000, a=ANY), {"a": [1]}),
    "sections in a row": (text("{{#a}}x{{/a}}" * 100_000, a=ANY), {"a": [1]}),
    "most tags there may be": (text("{{#a}}{{.}}{{/a}}" * 3_300, a=ANY), {"a": [1] * 50}),
    "nested lists": (text("{{#a}}" * 30 + "x" + "{{/a}}" * 30, a=ANY), {"a": [1] * 10}),
    "a large value": (text("{{a}}", a={}), {"a": "x" * MIB}),
    "a large value many times": (text("{{a}}" * 5_000, a={}), {"a": "x" * MIB}),
    "a value in a list": (text("{{#xs}}{{a}}{{/xs}}", xs=ANY, a={}), {"xs": [1] * 900, "a": "x" * MIB}),
    "a value of tags": (text("{{a}}", a={}), {"a": "{{#a}}" * 100_000}),
    "unclosed tags": (text("{{a " * 200_000), {}),
    "unclosed sections": (text("{{#a}}" * 10_000, a=ANY), {"a": [1]}),
    "delimiters": (text("{{=<% %>=}}<%={{ }}=%>" * 4_000), {}),
    "separators": (text("\u2028\u2029\x85\x0b\x0c{{a}}" * 9_000, a={}), {"a": "\u2028" * 1000}),
    "comments": (text("{{! " + "\n" * 900_000 + "}}"), {}),
    "deep objects": (text("{{a}}", a={"type": "object"}), {"a": {"x": {"x": {"x": {}}}}}),
    "blanks": (text(" " * 900_000 + "{{a}}" + " " * 90_000, a={}), {"a": ""}),
    "dots": (text("{{a" + ".a" * 100_000 + "}}", a={"type": "object"}), {"a": {}}),
    "pattern": (
        text("{{a}}", a={"type": "list", "schema": {"items": {"pattern": "(a+)+$"}}}),
        {"a": ["a" * 40_000 + "b"]},
    ),
}  # fmt: skip


@pytest.mark.timeout(60)
@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_ends(name: str) -> None:
    content, values = BOMBS[name]
    tracemalloc.start()
    began = time.monotonic()
    try:
        parsed = PromptContent.parse(content).value
        render_text(parsed, values)
        render_messages(parsed, values)
    except DomainError as refusal:
        assert refusal.detail and len(refusal.detail) < 2_000
    seconds, (_, peak) = time.monotonic() - began, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert seconds < SECONDS_MAX and peak < BYTES_MAX, (seconds, peak)


@pytest.mark.timeout(60)
def test_partials_that_include_themselves_many_times() -> None:
    sources = {
        f"p{n}": Source("p", f"p{n}", 1, "", text(f"{{{{> p{(n + 1) % 9}@1}}}}" * 3_000))
        for n in range(9)
    }
    began = time.monotonic()
    with pytest.raises(DomainError):
        compose(sources["p0"], lambda reference: _found(sources, reference))
    assert time.monotonic() - began < SECONDS_MAX


def _found(sources: dict[str, Source], reference: Reference) -> Source:
    return sources[reference.name]


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    ("one", "other", "third"),
    [
        ("a\nb\n" * 3_000, "b\na\n" * 3_000, "c\n" * 6_000),
        ("x" * 900_000, "y" * 900_000, "z" * 900_000),
        ("ab " * 200_000, "ba " * 200_000, "a b" * 200_000),
        ("\n" * 450_000, "\n" * 449_000, "\n" * 400_000 + "x"),
    ],
)
def test_comparing_and_merging_end_too(one: str, other: str, third: str) -> None:
    began = time.monotonic()
    contents = [text(body) for body in (one, other, third)]
    merge_contents(*contents)
    semantic_diff(*contents[:2])
    bodies = [PromptContent.parse(content).canonical for content in contents]
    diff_contents(*bodies[:2], "a", "b")
    assert time.monotonic() - began < 3 * SECONDS_MAX


@pytest.mark.timeout(60)
def test_all_messages_of_a_chat_share_one_limit() -> None:
    message = {"role": "user", "content": "{{a}}" * 100}
    content = {"type": "chat", "messages": [message] * 100, "variables": {"a": {}}}
    with pytest.raises(RenderLimitError):
        render_messages(PromptContent.parse(content).value, {"a": "x" * 10_000})


@pytest.mark.timeout(60)
def test_what_stands_between_tags_counts_as_often_as_it_is_shown() -> None:
    content = text("{{#a}}" + "x" * 100_000 + "{{/a}}", a=ANY)
    with pytest.raises(RenderLimitError):
        render_text(PromptContent.parse(content).value, {"a": [1] * 1_000})
