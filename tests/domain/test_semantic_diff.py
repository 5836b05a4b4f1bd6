"""What a change means, and word for word what it was."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.semantic_diff import semantic_diff, summary, word_diff

BEFORE = {
    "type": "chat",
    "messages": [
        {"role": "system", "content": "You are kind. {{> tone}} {{name}}"},
        {"role": "user", "content": "{{q}}"},
    ],
    "variables": {"name": {}, "q": {}},
    "config": {"model": "m-1", "temperature": 0},
    "tools": [{"name": "look"}, {"function": {"name": "find"}}],
    "output_schema": {"type": "object"},
}
AFTER = {
    "type": "chat",
    "messages": [
        {"role": "system", "content": "You are kind and brief. {{> rules@2}} {{name}}"},
        {"partial": "shots"},
        {"role": "user", "content": "{{q}}"},
    ],
    "variables": {"name": {"default": "you"}, "q": {}, "x": {"required": False}},
    "config": {"model": "m-2"},
    "tools": [{"name": "look"}, {"function": {"name": "find", "strict": True}}],
    "output_schema": {"type": "object", "required": ["a"]},
}


def test_every_part_of_a_change_is_said() -> None:
    diff = semantic_diff(BEFORE, AFTER)
    assert diff["change"]["level"] == "major"
    assert diff["variables"]["added"] == {"x": {"required": False}}
    assert diff["variables"]["changed"] == {"name": {"before": {}, "after": {"default": "you"}}}
    assert diff["config"]["removed"] == {"temperature": 0}
    assert list(diff["tools"]["changed"]) == ["find"]
    assert diff["output_schema"] == {"changed": True, "compatible": True}
    assert diff["partials"] == {
        "added": ["rules@2", "shots@production"], "removed": ["tone@production"],
    }  # fmt: skip
    assert diff["messages"]["after"] == ["system", "partial:shots", "user"]
    assert diff["tokens"]["after"] > diff["tokens"]["before"]
    words = {one["pointer"]: one["words"] for one in diff["texts"]}
    assert {"op": "insert", "text": " and brief"} in words["/messages/0/content"]
    told = "\n".join(summary(diff))
    for part in ("config: model", "variables: + x", "output_schema: changed, compatible",
                 "partials: - tone@production", "tokens: about"):  # fmt: skip
        assert part in told


def test_the_prefix_that_a_cache_loses() -> None:
    def text(body: str, **fields: object) -> dict:
        return {"type": "text", "text": body, **fields}

    same = semantic_diff(text("abc {{x}} d"), text("abc {{x}} e"))["prefix"]
    assert (same["before"], same["kept"], same["lost"]) == (4, 4, 0)
    cut = semantic_diff(text("abcdef {{x}}"), text("abX {{x}}"))["prefix"]
    assert (cut["kept"], cut["lost"], cut["lost_tokens"]) == (2, 5, 2)
    tools = semantic_diff(text("abc", tools=[{"name": "a"}]), text("abc", tools=[{"name": "b"}]))
    assert tools["prefix"]["lost"] > 3
    foreign = semantic_diff(text("ab {x}", template_format="f-string"), text("ab {x}"))
    assert foreign["prefix"]["before"] == 3


TEXTS = st.text(st.sampled_from("ab \n."), max_size=40)


@given(TEXTS, TEXTS)
def test_words_put_together_are_the_texts(before: str, after: str) -> None:
    pieces = word_diff(before, after)
    assert "".join(p["text"] for p in pieces if p["op"] != "insert") == before
    assert "".join(p["text"] for p in pieces if p["op"] != "delete") == after
    assert all(p["text"] for p in pieces)
    assert word_diff(before, before) == ([{"op": "equal", "text": before}] if before else [])


@pytest.mark.timeout(20)
def test_a_diff_ends_in_time() -> None:
    """Repetitive text in one line, and very many lines."""
    for one, other in (("ab " * 9_000, "ba " * 9_000), ("x\n" * 200_000, "y\n" * 200_000),
                       ("a\nb\n" * 4_000, "b\na\n" * 4_000)):  # fmt: skip
        pieces = word_diff(one, other)
        assert "".join(p["text"] for p in pieces if p["op"] != "insert") == one
