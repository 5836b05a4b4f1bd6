"""Three-way merges: nothing is lost, nothing is guessed, every conflict can be settled."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import InvalidError
from domain.merge import merge_contents

LINES = st.lists(st.sampled_from("abcdef"), max_size=8).map(
    lambda xs: "".join(f"{x}\n" for x in xs)
)


def text(body: str, **fields: object) -> dict:
    return {"type": "text", "text": body, **fields}


def chat(*messages: tuple[str, str]) -> dict:
    return {"type": "chat", "messages": [{"role": r, "content": c} for r, c in messages]}


@pytest.mark.parametrize(
    ("base", "target", "source", "expected"),
    [
        ("a\nb\nc\n", "A\nb\nc\n", "a\nb\nC\n", "A\nb\nC\n"),
        ("a\nb\nc\n", "a\nb\nc\n", "a\nc\n", "a\nc\n"),
        ("a\nb\n", "a\nx\nb\n", "a\nx\nb\n", "a\nx\nb\n"),
        ("a\nb\nc", "a\nb\nc\nd", "0\na\nb\nc", "0\na\nb\nc\nd"),
        ("a\r\nb\r\n", "a\r\nb\r\nc\r\n", "z\r\nb\r\n", "z\r\nb\r\nc\r\n"),
        ("a\u2028b\nc\nd", "a\u2028B\nc\nd", "a\u2028b\nc\nD", "a\u2028B\nc\nD"),
    ],
)
def test_changes_in_different_lines_come_together(
    base: str, target: str, source: str, expected: str
) -> None:
    merged = merge_contents(text(base), text(target), text(source))
    assert merged.conflicts == () and merged.content == text(expected)


def test_the_same_line_changed_twice_is_a_conflict_with_both_sides() -> None:
    sides = text("a\nb\nc\n"), text("a\nB\nc\n"), text("a\nβ\nc\n")
    (conflict,) = merge_contents(*sides).conflicts
    assert (conflict.base, conflict.target, conflict.source) == ("b\n", "B\n", "β\n")
    assert conflict.pointer == "/text"
    for resolution, line in (
        ({"take": "source"}, "β\n"), ({"take": "target"}, "B\n"), ({"take": "base"}, "b\n"),
        ({"value": "both\n"}, "both\n"),
    ):  # fmt: skip
        merged = merge_contents(*sides, {conflict.id: resolution})
        assert merged.conflicts == () and merged.content == text(f"a\n{line}c\n")
    with pytest.raises(InvalidError, match="nothing"):
        merge_contents(*sides, {"/text#nothing": {"take": "source"}})


def test_chats_are_merged_by_message_and_by_line_within() -> None:
    base = chat(("system", "be kind\nbe brief\nbe true\n"), ("user", "hi"))
    target = chat(("system", "be kind\nbe brief\nbe exact\n"), ("user", "hi"), ("assistant", "yes"))
    source = chat(("system", "be very kind\nbe brief\nbe true\n"), ("user", "hi"))
    merged = merge_contents(base, target, source)
    assert merged.conflicts == ()
    assert merged.content == chat(
        ("system", "be very kind\nbe brief\nbe exact\n"), ("user", "hi"), ("assistant", "yes")
    )
    other = chat(("system", "be kind\nbe brief\nbe quick\n"), ("user", "hi"))
    (conflict,) = merge_contents(base, target, other).conflicts
    assert conflict.pointer == "/messages/0/content"


def test_messages_added_at_the_same_place_are_a_conflict() -> None:
    base, target, source = (
        chat(("user", "hi"), *more) for more in ([], [("user", "a")], [("user", "b")])
    )
    (conflict,) = merge_contents(base, target, source).conflicts
    assert (conflict.base, len(conflict.target), len(conflict.source)) == ([], 1, 1)
    merged = merge_contents(base, target, source, {conflict.id: {"take": "source"}})
    assert merged.content == source


@pytest.mark.parametrize(
    ("base", "target", "source", "expected"),
    [
        ({}, {"config": {"a": 1}}, {"tools": []}, {"config": {"a": 1}, "tools": []}),
        ({"config": {"a": 1, "b": 1}}, {"config": {"a": 2, "b": 1}}, {"config": {"a": 1}},
         {"config": {"a": 2}}),
        ({"variables": {"x": {}}}, {}, {"variables": {"x": {}, "y": {}}}, None),
        ({"config": {"a": 1}}, {"config": {"a": 2}}, {"config": {"a": 3}}, None),
        ({"config": {"a": 1}}, {"config": {"a": True}}, {"config": {"a": 1}},
         {"config": {"a": True}}),
        ({"config": {"a": 1}}, {"config": {}}, {"config": {"a": 1, "b": 2}},
         {"config": {"b": 2}}),
    ],
)  # fmt: skip
def test_fields_are_merged_each_by_itself(
    base: dict, target: dict, source: dict, expected: dict | None
) -> None:
    merged = merge_contents(*(text("x", **fields) for fields in (base, target, source)))
    if expected is None:
        assert len(merged.conflicts) == 1
    else:
        assert merged.conflicts == () and merged.content == text("x", **expected)


def count(body: str) -> dict[str, int]:
    return {line: body.split("\n").count(line) for line in set(body.split("\n")) if line}


@given(LINES, LINES, LINES)
def test_no_line_is_lost_silently(base: str, target: str, source: str) -> None:
    """A line is gone from a clean merge only where a side took it away, new only where one added."""
    merged = merge_contents(text(base), text(target), text(source))
    result = merged.content["text"]
    shown = "".join(
        str(side) for c in merged.conflicts for side in (c.base, c.target, c.source) if side
    )
    was, ours, theirs, now = map(count, (base, target, source, result))
    for line in "abcdef":
        least = min(ours.get(line, 0), theirs.get(line, 0))
        if not merged.conflicts:
            expected = ours.get(line, 0) + theirs.get(line, 0) - was.get(line, 0)
            assert now.get(line, 0) >= min(least, expected)
            assert now.get(line, 0) <= max(ours.get(line, 0), theirs.get(line, 0), expected)
        elif now.get(line, 0) < least:
            assert line in shown


@given(LINES, LINES, LINES)
def test_sides_can_be_exchanged_and_conflicts_settled(base: str, target: str, source: str) -> None:
    one = merge_contents(text(base), text(target), text(source))
    other = merge_contents(text(base), text(source), text(target))
    assert len(one.conflicts) == len(other.conflicts)
    if not one.conflicts:
        assert one.content == other.content
    taken = {conflict.id: {"take": "source"} for conflict in one.conflicts}
    settled = merge_contents(text(base), text(target), text(source), taken)
    assert settled.conflicts == ()
    assert merge_contents(text(base), text(base), text(source)).content == text(source)
    assert merge_contents(text(base), text(target), text(base)).content == text(target)


@pytest.mark.timeout(20)
def test_large_texts_end_in_time() -> None:
    base = "same\n" * 6_000
    merged = merge_contents(text(base), text("a\n" + base), text(base + "z\n"))
    assert merged.conflicts or re.fullmatch(r"a\n(same\n)+z\n", merged.content["text"])
    huge = "x\n" * 400_000
    assert len(merge_contents(text(huge), text(huge + "a"), text("b" + huge)).conflicts) == 1


def test_a_conflict_is_settled_by_a_value_of_its_kind() -> None:
    base, target, source = (
        {"type": "chat", "messages": [{"role": "user", "content": one}]} for one in "abc"
    )
    conflict = merge_contents(base, target, source).conflicts[0]
    for wrong in (7, None, ["x"]):
        with pytest.raises(InvalidError):
            merge_contents(base, target, source, {conflict.id: {"value": wrong}})
    merged = merge_contents(base, target, source, {conflict.id: {"value": "d"}})
    assert merged.content["messages"][0]["content"] == "d" and not merged.conflicts
