"""Semantic versions: the documented cases, the arithmetic, the ranges."""

import json
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.content import PromptContent
from domain.errors import InvalidRangeError, LabelNotSetError, VersionNotFoundError
from domain.interface import REASONS, Change, change_of
from domain.prompt import Prompt
from domain.schemas import allows_no_more
from domain.semver import Semver, parse_range

DOCUMENT = Path(__file__).parents[2] / "docs" / "semver.md"
START = {"type": "text", "text": "Hi {{a}}", "variables": {"a": {}}}
AT = datetime(2026, 1, 1, tzinfo=UTC)
REF = {"commitment": "c" * 64, "size": 1, "media_type": "text/plain"}


def documented() -> list[tuple[str, dict, dict, str, list[str]]]:
    rows = [
        [cell.strip() for cell in line.strip().strip("|").split(" | ")]
        for line in DOCUMENT.read_text().splitlines()
        if line.startswith("| ") and "`{" in line
    ]
    return [
        (case, json.loads(before.strip("`")), json.loads(after.strip("`")), level, why.split(", "))
        for case, before, after, level, why in rows
    ]


def content(fields: dict) -> dict:
    value = {name: one for name, one in (START | fields).items() if one is not None}
    return json.loads(PromptContent.parse(value).canonical)


@pytest.mark.parametrize(
    ("before", "after", "level", "reasons"),
    [row[1:] for row in documented()],
    ids=[row[0] for row in documented()],
)
def test_a_documented_change(before: dict, after: dict, level: str, reasons: list[str]) -> None:
    change = change_of(content(before), content(after))
    assert (change.level, list(change.reasons)) == (level, reasons)


def test_every_reason_is_documented() -> None:
    cases = documented()
    assert len(cases) >= 60 and len({row[0] for row in cases}) == len(cases)
    told = {reason for row in cases for reason in row[4]}
    assert told == REASONS.keys() - {"base_erased"}
    assert change_of(None, START) == Change("major", ("base_erased",))


SCHEMAS = st.recursive(
    st.sampled_from(
        [True, {}, {"type": "integer"}, {"type": "number"}, {"type": "string", "minLength": 2},
         {"enum": [1, 2]}, {"const": 1}, {"minimum": 1}, {"required": ["a"]}, {"maxItems": 1}]
    ),
    lambda inner: st.builds(lambda s: {"properties": {"a": s}}, inner)
    | st.builds(lambda s: {"items": s, "type": "array"}, inner)
    | st.builds(lambda s: {"properties": {"a": s}, "additionalProperties": False}, inner),
    max_leaves=4,
)  # fmt: skip
VALUES = st.recursive(
    st.sampled_from([None, True, 0, 1, 2, 1.5, "", "ab"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("ab"), inner),
    max_leaves=4,
)


@given(SCHEMAS, SCHEMAS, VALUES)
def test_what_is_said_to_allow_no_more_allows_no_more(new: object, old: object, value: object
                                                      ) -> None:  # fmt: skip
    import jsonschema_rs

    if allows_no_more(new, old) and jsonschema_rs.is_valid(new, value):
        assert jsonschema_rs.is_valid(old, value)


@given(st.tuples(*[st.integers(0, 30)] * 3), st.sampled_from(["major", "minor", "patch"]))
def test_a_change_leads_to_a_later_version(numbers: tuple[int, int, int], level: str) -> None:
    semver = Semver(*numbers)
    assert semver < semver.after(level) and Semver.parse(str(semver)) == semver
    if semver.major > 0:
        assert parse_range(f"^{semver}").holds(semver.after(level)) == (level != "major")


@pytest.mark.parametrize(
    ("text", "inside", "outside"),
    [
        ("^1.2", "1.2.0 1.9.9", "1.1.9 2.0.0"), ("^0.2", "0.2.0 0.2.9", "0.3.0 0.1.9"),
        ("^0.0.3", "0.0.3", "0.0.4 0.0.2"), ("~1.2.3", "1.2.3 1.2.9", "1.3.0 1.2.2"),
        ("~1", "1.0.0 1.9.0", "2.0.0"), (">=1.2 <3", "1.2.0 2.9.9", "1.1.0 3.0.0"),
        (">=1.2, <3", "1.2.0 2.9.9", "1.1.0 3.0.0"), (">1.2", "1.3.0", "1.2.9"),
        ("<=1.2", "1.2.9 0.0.1", "1.3.0"), ("=1.4", "1.4.0 1.4.7", "1.5.0"),
        ("=1.4.1", "1.4.1", "1.4.2"), ("^1 || >=3.1", "1.5.0 3.1.0", "2.0.0 3.0.9"),
    ],
)  # fmt: skip
def test_ranges(text: str, inside: str, outside: str) -> None:
    wanted = parse_range(text)
    assert all(wanted.holds(Semver.parse(one)) for one in inside.split())
    assert not any(wanted.holds(Semver.parse(one)) for one in outside.split())


@pytest.mark.parametrize("text", ["", "1.2", "^", "^1.2.3.4", "^1.x", "^01", "||", "^1 ||", "^1<2",
                                  "^" + "9" * 20, "^1" + " " * 200, "latest"])  # fmt: skip
def test_what_is_no_range_is_refused(text: str) -> None:
    with pytest.raises(InvalidRangeError):
        parse_range(text)


def test_a_range_serves_only_what_was_promoted_and_no_rollback_left() -> None:
    prompt = Prompt.create(uuid4(), "acme", "mail", None, [], AT)
    for level in ("minor", "minor", "major", "minor"):
        prompt.commit("text", REF, None, AT, change=Change(level, ()))
    assert [str(v.semver) for v in prompt.versions] == ["1.0.0", "1.1.0", "2.0.0", "2.1.0"]
    with pytest.raises(LabelNotSetError):
        prompt.target_in("production", parse_range("^1"))
    for number in (1, 3, 4):
        prompt.set_label("production", number, "promotion", None, AT)
    assert prompt.target_in("production", parse_range("^1")).number == 1
    assert prompt.target_in("production", parse_range("^2")).number == 4
    prompt.set_label("production", prompt.rollback_target("production", None), "rollback", None, AT)
    assert prompt.target_in("production", parse_range("^2")).number == 3
    with pytest.raises(VersionNotFoundError, match=r"1\.0\.0, 2\.0\.0"):
        prompt.target_in("production", parse_range("^1.1"))


def test_branches_have_no_semver_until_merged() -> None:
    prompt = Prompt.create(uuid4(), "acme", "mail", None, [], AT)
    prompt.commit("text", REF, None, AT)
    prompt.create_branch("shorter", 1, AT)
    prompt.commit("text", REF, None, AT, branch="shorter")
    assert prompt.latest.number == 1 and prompt.versions[1].semver is None
    prompt.commit("text", REF, None, AT, change=Change("patch", ()), merged=2)
    assert (str(prompt.latest.semver), prompt.latest.parents) == ("1.0.1", (1, 2))
