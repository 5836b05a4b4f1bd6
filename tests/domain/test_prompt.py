"""What a prompt's history allows, and that replaying it gives the same state."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import ArchivedError, DomainError, NeverLiveError, NoEarlierTargetError
from domain.prompt import Prompt
from ledger.repository import private_copy

START = datetime(2026, 1, 1, tzinfo=UTC)
REF = {"commitment": "c" * 64, "size": 1, "media_type": "text/plain"}


def make(versions: int = 1) -> Prompt:
    prompt = Prompt.create(uuid4(), "acme", "mail", None, [], START)
    for _ in range(versions):
        prompt.commit("text", REF, None, START)
    return prompt


def live(prompt: Prompt, *targets: int) -> None:
    for target in targets:
        prompt.set_label("production", target, "promotion", None, START)


def roll_back(prompt: Prompt, to: int | None = None) -> int:
    target = prompt.rollback_target("production", to)
    prompt.set_label("production", target, "rollback", None, START)
    return target


def test_versions_are_numbered_from_one() -> None:
    prompt = make(3)
    assert [version.number for version in prompt.versions] == [1, 2, 3]
    assert prompt.latest.number == 3


@pytest.mark.parametrize(
    ("targets", "expected"), [((1, 2, 3), [2, 1]), ((1, 2, 1), [2, 1]), ((2,), []), ((1, 1), [])]
)
def test_rollbacks_go_back_one_by_one(targets: tuple[int, ...], expected: list[int]) -> None:
    prompt = make(3)
    live(prompt, *targets)
    assert [roll_back(prompt) for _ in expected] == expected
    with pytest.raises(NoEarlierTargetError):
        roll_back(prompt)


def test_a_target_that_a_rollback_left_is_not_returned_to_by_itself() -> None:
    prompt = make(4)
    live(prompt, 1, 2, 3)
    assert roll_back(prompt) == 2
    live(prompt, 4)
    assert roll_back(prompt) == 2
    assert roll_back(prompt, to=3) == 3
    with pytest.raises(NeverLiveError):
        roll_back(make_live_once(), to=2)


def test_a_label_set_again_after_its_removal_rolls_back_past_itself() -> None:
    prompt = make(2)
    live(prompt, 1, 2)
    prompt.remove_label("production", None, START)
    live(prompt, 2)
    assert roll_back(prompt) == 1


def make_live_once() -> Prompt:
    prompt = make(2)
    live(prompt, 1)
    return prompt


def test_an_archived_prompt_takes_no_change_and_serves_on() -> None:
    prompt = make(2)
    live(prompt, 1)
    assert prompt.archive(None, START) and not prompt.archive(None, START)
    for change in (
        lambda: prompt.commit("text", REF, None, START),
        lambda: live(prompt, 2),
        lambda: prompt.remove_label("production", None, START),
        lambda: prompt.describe({"tags": {"from": [], "to": ["x"]}}, START),
    ):
        with pytest.raises(ArchivedError):
            change()
    assert prompt.target_of("production").number == 1
    assert prompt.restore(None, START)
    live(prompt, 2)


ACTS = st.lists(
    st.tuples(st.sampled_from(["commit", "live", "back", "remove", "tags", "archive", "restore"]),
              st.integers(1, 4)), max_size=40,
)  # fmt: skip


@given(ACTS)
def test_replay_equals_state_and_copies_are_private(acts: list[tuple[str, int]]) -> None:
    prompt = make()
    for moment, (act, number) in enumerate(acts):
        at = START + timedelta(seconds=moment)
        frozen = private_copy(prompt)
        before = repr(frozen)
        try:
            if act == "commit":
                prompt.commit("text", REF, None, at)
            elif act == "live":
                prompt.set_label("production", number, "promotion", None, at)
            elif act == "back":
                target = prompt.rollback_target("production", None)
                prompt.set_label("production", target, "rollback", None, at)
            elif act == "remove":
                prompt.remove_label("production", None, at)
            elif act == "tags":
                prompt.describe({"tags": {"from": [], "to": [str(number)]}}, at)
            elif act == "archive":
                prompt.archive(None, at)
            else:
                prompt.restore(None, at)
        except DomainError:
            pass
        assert repr(frozen) == before
    replayed = None
    for event in prompt.collect_events():
        replayed = event.mutate(replayed)
    assert replayed == prompt
