"""Buckets, ranges and rules of rollouts, against the documented vectors and by properties."""

import re
from collections import Counter
from hashlib import sha256

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.rollout import (
    BUCKETS,
    Reading,
    Rollout,
    bucket_of,
    reallocate,
    rules_data,
    rules_from,
    whole,
)
from tests.harness import ROOT

PROMPT_ID = "0190b1a6-0000-7000-8000-000000000001"
SUBJECTS = 1_000_000


def rollout(ranges: tuple[tuple[int, int, int], ...]) -> Rollout:
    return Rollout(ranges, None, (), None, None, (), "by", "with", None, False, 1)


def test_the_documented_vectors() -> None:
    text = (ROOT / "docs" / "rollouts.md").read_text()
    rows = re.findall(r"^\| `([0-9a-f-]{36})` \| `(\w+)` \| `(.+?)` \| (\d+) \|$", text, re.M)
    assert len(rows) >= 6
    for prompt_id, label, key, bucket in rows:
        hashed = b"scrinia rollout v1\0" + "\0".join((prompt_id, label, key, "")).encode()
        by_hand = int(sha256(hashed).hexdigest()[:16], 16) % 1000
        assert bucket_of(prompt_id, label, key) == by_hand == int(bucket)


def test_a_million_subjects_fall_by_the_weights() -> None:
    weights = {3: 900, 4: 95, 7: 5}
    owner = [0] * BUCKETS
    for first, end, version in reallocate(whole(3), weights):
        owner[first:end] = [version] * (end - first)
    found = Counter(
        owner[bucket_of(PROMPT_ID, "production", f"subject-{n}")] for n in range(SUBJECTS)
    )
    for version, weight in weights.items():
        assert abs(found[version] / SUBJECTS - weight / BUCKETS) < 0.002, found


def test_from_five_to_ten_percent_only_newcomers_move() -> None:
    before = rollout(reallocate(whole(3), {3: 950, 4: 50}))
    after = rollout(reallocate(before.ranges, {3: 900, 4: 100}))
    moved = 0
    for bucket in range(BUCKETS):
        was, now = before.assign(bucket, (), {}).version, after.assign(bucket, (), {}).version
        assert (was, now) in {(3, 3), (4, 4), (3, 4)}
        moved += was != now
    assert moved == 50


@st.composite
def weights(draw: st.DrawFn) -> dict[int, int]:
    versions = draw(st.lists(st.integers(1, 9), min_size=1, max_size=5, unique=True))
    cuts = sorted(draw(st.lists(st.integers(0, BUCKETS), min_size=len(versions) - 1,
                                max_size=len(versions) - 1)))  # fmt: skip
    shares = [b - a for a, b in zip([0, *cuts], [*cuts, BUCKETS], strict=True)]
    return {version: share for version, share in zip(versions, shares, strict=True) if share}


@settings(max_examples=200)
@given(st.lists(weights(), min_size=1, max_size=6))
def test_nobody_moves_who_need_not(steps: list[dict[int, int]]) -> None:
    ranges = whole(1)
    for wanted in steps:
        before, after = rollout(ranges), rollout(reallocate(ranges, wanted))
        assert after.weights == wanted
        assert [first for first, _, _ in after.ranges[1:]] == [e for _, e, _ in after.ranges[:-1]]
        moved = sum(
            before.assign(b, (), {}).version != after.assign(b, (), {}).version
            for b in range(BUCKETS)
        )
        grown = sum(max(0, w - before.weights.get(v, 0)) for v, w in wanted.items())
        assert moved == grown
        assert reallocate(after.ranges, wanted) == after.ranges
        ranges = after.ranges


RULES = [
    {"if": [{"attribute": "plan", "in": ["pro", "team"]},
            {"attribute": "mail", "suffix": ["@example.com"]}], "version": 4},
    {"if": [{"attribute": "country", "not_in": ["de", "fr", ""]}], "version": 5},
    {"if": [{"attribute": "user", "prefix": ["test-", "bot-"]}], "version": 6},
]  # fmt: skip


@pytest.mark.parametrize(
    ("attributes", "version", "reason", "number"),
    [
        ({"plan": "pro", "mail": "a@example.com"}, 4, "rule", 1),
        ({"plan": "pro", "mail": "a@elsewhere.com"}, 3, "split", None),
        ({"plan": "Pro", "mail": "a@example.com"}, 3, "split", None),
        ({"country": "us"}, 5, "rule", 2),
        ({"country": "us", "plan": "team", "mail": "b@example.com"}, 4, "rule", 1),
        ({"country": "de", "user": "bot-7"}, 6, "rule", 3),
        ({"user": "a-bot-7"}, 3, "split", None),
        ({}, 3, "split", None),
    ],
)
def test_the_first_rule_that_fits_decides(
    attributes: dict[str, str], version: int, reason: str, number: int | None
) -> None:
    rules = rules_from(RULES)
    assert rules_data(rules) == RULES
    assigned = rollout(whole(3)).assign(17, rules, attributes)
    assert (assigned.version, assigned.reason, assigned.rule) == (version, reason, number)


@pytest.mark.parametrize(
    ("given_weights", "code"),
    [({"1": 999}, "wrong_sum"), ({"1": 1001}, "wrong_sum"), ({"1": 1100, "2": -100}, "wrong_sum"),
     ({}, "wrong_sum"), ({"one": 1000}, "no_version"), ({"²": 1000}, "no_version"),
     ({str(n): 1000 if n == 1 else 1 for n in range(1, 19)}, "too_many")],
)  # fmt: skip
def test_weights_that_are_none(given_weights: dict[str, int], code: str) -> None:
    reading = Reading()
    reading.weights(given_weights, "/rollout")
    assert code in {fault.code for fault in reading.faults}
