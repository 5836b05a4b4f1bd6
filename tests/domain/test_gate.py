"""The gate and freeze windows at moments of the test's choosing."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.access import Grant, Rights, Scope, prompt_resource
from domain.check import Check
from domain.environment import OPEN, ApprovalRule, CheckRule, Rules, read_rules
from domain.freeze import DAYS, Freeze, read_freeze
from domain.gate import Approval, Move, unmet

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
REVIEWER = Grant("g", "reviewer", Scope("acme"), None)
EXPIRING = replace(REVIEWER, expires_at=NOW)
MOVE = Move(
    prompt=prompt_resource("acme", "mail", "production"), version=2, at=NOW, live={"staging": 2},
    lived=False, rollback=False, until=None, promoter_roles=frozenset({"releaser"}),
    authors=frozenset({"ann"}), owners=frozenset(), checks={}, broken={}, signed=False, approvals=(),
    standing=lambda who: Rights(True, (REVIEWER,), None),
)  # fmt: skip


def codes(rules: Rules, move: Move) -> list[str]:
    return [one.code for one in unmet(rules, move)]


def test_open_rules_need_nothing() -> None:
    assert not OPEN.protected and codes(OPEN, MOVE) == []


@pytest.mark.parametrize(
    ("hours", "by", "counts"), [(23, "ben", True), (24, "ben", True), (25, "ben", False),
                                (1, "ann", False)],
)  # fmt: skip
def test_an_approval_ages(hours: int, by: str, counts: bool) -> None:
    rules = Rules(approvals=ApprovalRule(count=1, max_age_hours=24))
    given_at = NOW - timedelta(hours=hours)
    missing = codes(rules, replace(MOVE, approvals=(Approval(by, given_at),)))
    assert missing == ([] if counts else ["approvals"])


def test_an_approval_ends_with_the_right_to_it() -> None:
    rules = Rules(approvals=ApprovalRule(count=1))
    move = replace(MOVE, approvals=(Approval("ben", NOW),))
    assert codes(rules, move) == []
    for rights in (None, Rights(False, (REVIEWER,), None), Rights(True, (EXPIRING,), None)):
        gone = replace(move, standing=lambda who, rights=rights: rights)
        assert codes(rules, gone) == ["approvals"]
    elsewhere = replace(REVIEWER, scope=Scope("acme", "sales"))
    foreign = replace(move, standing=lambda who: Rights(True, (elsewhere,), None))
    assert codes(rules, foreign) == ["approvals"]
    by_role = Rules(approvals=ApprovalRule(count=1, roles=("admin",)))
    assert codes(by_role, move) == ["approvals"]


def test_one_who_approves_twice_is_one() -> None:
    rules = Rules(approvals=ApprovalRule(count=2))
    twice = replace(MOVE, approvals=(Approval("ben", NOW), Approval("ben", NOW)))
    assert codes(rules, twice) == ["approvals"]
    assert codes(rules, replace(MOVE, approvals=(Approval("ben", NOW), Approval("cat", NOW)))) == []


def test_a_check_ages() -> None:
    rules = Rules(checks=(CheckRule("lint", 24),))
    for hours, expected in ((24, []), (25, ["check:lint"])):
        check = Check("lint", "passed", "ci", NOW - timedelta(hours=hours), 1)
        assert codes(rules, replace(MOVE, checks={"lint": check})) == expected
    pending = Check("lint", "pending", "ci", NOW, 1)
    assert codes(rules, replace(MOVE, checks={"lint": pending})) == ["check:lint"]


def test_a_rollback_to_what_lived_needs_only_its_promoter() -> None:
    rules = Rules(
        promoter_roles=("admin",), from_environment="staging", approvals=ApprovalRule(count=2),
        freezes=(Freeze(NOW - timedelta(1), NOW + timedelta(1)),), checks=(CheckRule("lint"),),
    )  # fmt: skip
    back = replace(MOVE, rollback=True, lived=True, version=1)
    assert codes(rules, back) == ["promoter"]
    everything = ["promoter", "from_environment", "freeze", "check:lint", "approvals"]
    assert codes(replace(rules, guarded_rollback=True), back) == everything
    assert codes(rules, replace(back, lived=False)) == everything
    assert codes(rules, replace(back, rollback=False)) == everything


def weekly(days: str, start: str, end: str, zone: str) -> Freeze:
    faults: list = []
    data = {"days": days.split(), "from": start, "to": end, "time_zone": zone}
    freeze = read_freeze(data, "", faults)
    assert not faults
    return freeze


@pytest.mark.parametrize(
    ("freeze", "at", "holds"),
    [
        # 2026-11-27 is a Friday; Berlin is an hour ahead of UTC then.
        (weekly("fri", "16:00", "24:00", "Europe/Berlin"), "2026-11-27T14:59:59+00:00", False),
        (weekly("fri", "16:00", "24:00", "Europe/Berlin"), "2026-11-27T15:00:00+00:00", True),
        (weekly("fri", "16:00", "24:00", "Europe/Berlin"), "2026-11-27T23:00:00+00:00", False),
        # Into the next day, which need not be named.
        (weekly("fri", "22:00", "06:00", "UTC"), "2026-11-28T05:59:00+00:00", True),
        (weekly("fri", "22:00", "06:00", "UTC"), "2026-11-28T06:00:00+00:00", False),
        (weekly("fri", "22:00", "06:00", "UTC"), "2026-11-27T05:00:00+00:00", False),
        # The local day counts: Saturday in Tokyo is Friday in UTC.
        (weekly("sat", "00:00", "24:00", "Asia/Tokyo"), "2026-11-27T15:00:00+00:00", True),
        # The clock goes back on 2026-11-01 in New York: 01:30 comes twice, and is in it twice.
        (weekly("sun", "01:00", "02:00", "America/New_York"), "2026-11-01T05:30:00+00:00", True),
        (weekly("sun", "01:00", "02:00", "America/New_York"), "2026-11-01T06:30:00+00:00", True),
        (weekly("sun", "01:00", "02:00", "America/New_York"), "2026-11-01T07:00:00+00:00", False),
        # One that ends in the hour that comes twice holds on to the second time, without a gap.
        (weekly("sat", "22:00", "02:30", "Europe/Berlin"), "2026-10-25T00:29:00+00:00", True),
        (weekly("sat", "22:00", "02:30", "Europe/Berlin"), "2026-10-25T00:45:00+00:00", True),
        (weekly("sat", "22:00", "02:30", "Europe/Berlin"), "2026-10-25T01:29:00+00:00", True),
        (weekly("sat", "22:00", "02:30", "Europe/Berlin"), "2026-10-25T01:30:00+00:00", False),
        # The hour that does not come: 02:30 is 03:30 then.
        (weekly("sun", "02:30", "04:00", "Europe/Berlin"), "2026-03-29T01:29:00+00:00", False),
        (weekly("sun", "02:30", "04:00", "Europe/Berlin"), "2026-03-29T01:30:00+00:00", True),
        (weekly("sun", "02:30", "04:00", "Europe/Berlin"), "2026-03-29T02:00:00+00:00", False),
    ],
)
def test_a_weekly_window_goes_by_its_place(freeze: Freeze, at: str, holds: bool) -> None:
    assert freeze.holds(datetime.fromisoformat(at)) is holds


minutes = st.integers(0, 24 * 60 - 1).map(lambda m: f"{m // 60:02}:{m % 60:02}")
freezes = st.builds(
    lambda days, start, end: weekly(" ".join(days), start, end, "Europe/Berlin"),
    st.sets(st.sampled_from(DAYS), min_size=1), minutes, minutes | st.just("24:00"),
) | st.builds(Freeze, st.just(NOW), st.just(NOW + timedelta(days=3)))  # fmt: skip
rules_of_all_kinds = st.builds(
    Rules,
    promoter_roles=st.sampled_from([(), ("admin",), ("admin", "releaser")]),
    from_environment=st.none() | st.just("staging"),
    approvals=st.builds(
        ApprovalRule, count=st.integers(1, 16), roles=st.sampled_from([(), ("reviewer",)]),
        owners=st.booleans(), authors=st.booleans(), max_age_hours=st.none() | st.integers(1, 99),
    ),
    checks=st.lists(st.builds(CheckRule, st.sampled_from(["a", "b"]), st.none() | st.just(5)),
                    max_size=2, unique_by=lambda check: check.name).map(tuple),
    freezes=st.lists(freezes, max_size=3).map(tuple),
    label_hours_max=st.none() | st.integers(1, 99), guarded_rollback=st.booleans(),
    review_hours=st.none() | st.integers(1, 99),
)  # fmt: skip


@given(rules_of_all_kinds)
def test_rules_come_back_from_an_event_as_they_were(rules: Rules) -> None:
    faults: list = []
    assert read_rules(rules.as_data(), faults) == rules and not faults
