"""Verification decides again: an event that rules, approvals or grants did not allow is found.

Each case takes a real history, has one event say something else than it did (as somebody with the
signing key could have written it), or leaves one out, and asks where the authority objects.
"""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from ledger.authority import Authority
from tests.governance.team import CHANGES, PRODUCTION, PROMPT, Pen, Team, hours, rules
from tests.harness import registry
from tests.ledger.past import Edit, Fields, Past, actor, authz, by, data, item


class History(Past):
    """A governed past."""

    async def live_through(self, folder: Path) -> "History":
        async with registry(folder) as api:
            team = await Team(api).build()
            await team.admin.ok("PUT", PRODUCTION, rules(checks=[{"name": "lint"}]))
            passed = {"name": "lint", "state": "passed"}
            await team.checker.ok("POST", f"{PROMPT}/-/versions/2/checks", passed)
            change = await team.propose()
            await team.author.ok("POST", f"{change}/comments", {"text": "please"})
            pen = Pen(team.callers["reviewer"])
            await pen.register(api.services.ledger_id)
            intent = (await team.viewer.ok("GET", change))["intents"]["approve"]
            signed = {"signature": pen.sign(intent)}
            await team.reviewer.ok("POST", f"{change}/approve", signed)
            await team.releaser.ok("POST", f"{change}/apply")
            await team.commit("three")
            passed = {"name": "lint", "state": "passed"}
            await team.checker.ok("POST", f"{PROMPT}/-/versions/3/checks", passed)
            by_itself = await team.propose(3, by="releaser", automatic=True)
            late = await team.propose(3, by="releaser", scheduled_at=hours(1))
            other = await team.propose(1)
            await team.second.ok("POST", f"{by_itself}/approve")
            while (await team.viewer.ok("GET", by_itself))["status"] != "applied":
                await asyncio.sleep(0.05)
            await team.viewer.ok("PUT", f"{PROMPT}/-/consumers/app", {"range": "^1"})
            urgent = {"version": 1, "break_glass": True, "reason": "leak"}
            opened = await team.admin.ok("PUT", f"{PROMPT}/-/labels/production", urgent)
            outcome = {"outcome": "accepted"}
            await team.reviewer.ok("POST", f"{CHANGES}/{opened['change_id']}/review", outcome)
            await team.author.ok("POST", f"{other}/withdraw")
            await team.reviewer.ok("POST", f"{late}/reject")
            ids = {name: one.principal_id for name, one in team.callers.items()}
            tokens = {f"{name}'s token": one.token_id for name, one in team.callers.items()}
            grants = {f"{name}'s grant": one.grant_ids[0] for name, one in team.callers.items()}
            changes = {"other": other.rpartition("/")[2], "late": late.rpartition("/")[2]}
            self.names = ids | tokens | grants | changes
            self.take(api)
        return self


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> History:
    return asyncio.run(History().live_through(tmp_path_factory.mktemp("governed")))


def resigned(fields: Fields, names: dict[str, Any]) -> None:
    fields["data"]["signature"]["signature"] = "11" * 64


def elsewhere(fields: Fields, names: dict[str, Any]) -> None:
    fields["stream"] = fields["stream"][:-1] + ("0" if fields["stream"][-1] != "0" else "1")


def test_what_happened_was_allowed(history: History) -> None:
    assert history.fault(-1, None) is None
    assert len({one.kind_verb for one in history.events}) >= 18


CASES = [
    # A promotion without what let it, or with somebody else's.
    ("label.moved", 1, data(change_id=None), "has 0 of 1 approvals"),
    ("label.moved", 1, data(change_id="other"), "not about this"),
    ("label.moved", 1, data(change_id="nobody"), "not about this"),
    ("label.moved", 1, data(to=1), "not about this"),
    ("label.moved", 1, data(change_id=None, act="rollback"), "has 0 of 1 approvals"),
    ("label.moved", 1, data(act="emergency"), "opens no review"),
    ("label.moved", 1, data(label="staging"), "another environment"),
    ("label.moved", 1, data(label="beta"), "needs label.write"),
    ("label.moved", 1, data(forced=True), "is forced, and its change request is not"),
    ("label.moved", 1, data(expires_at="2099-01-01T00:00:00+00:00"), "expires at another time"),
    ("label.moved", 1, data(act="rollback"), "is no promotion"),
    ("label.moved", 1, data(act="set", change_id=None), "sets an environment's label"),
    ("label.moved", 1, by("author"), "no grant in force"),
    ("label.moved", 1, actor(on_behalf_of="releaser"), "on behalf"),
    ("label.moved", 1, authz(grants=[]), "names other grants"),
    # Done by itself, for somebody else or without being asked.
    ("label.moved", 2, actor(on_behalf_of="author"), "on behalf"),
    ("label.moved", 2, actor(credential="author's token"), "on behalf"),
    ("label.moved", 2, actor(via="token"), "on behalf"),
    ("label.moved", 2, data(change_id="late"), "before it was scheduled"),
    ("change.applied", 1, actor(on_behalf_of="author"), "on behalf"),
    # An emergency that hides what it is, or one that is none.
    ("label.moved", 3, data(act="promotion"), "an emergency that moved nothing"),
    ("label.moved", 3, data(change_id=None), "an emergency that moved nothing"),
    ("label.moved", 3, data(to=2), "not about this"),
    # What was live when it was proposed, by which it may be applied by itself.
    ("change.proposed", 0, item(base=2), "another version was live"),
    # Approvals.
    ("change.approved", 0, by("author"), "no grant in force"),
    ("change.approved", 0, data(by="second"), "somebody else than who did it"),
    ("change.approved", 0, data(revision=2), "another revision"),
    ("change.approved", 0, data(signature={"key_id": "none", "signature": "00" * 64}),
     "not the actor's own"),
    ("change.approved", 0, resigned, "not the actor's own"),
    ("actorkey.registered", 0, by("second"), "on somebody else"),
    ("actorkey.registered", 0, authz(policy="roles/1"), "no grant can allow"),
    ("change.withdrawn", 0, authz(policy="self/1"), "does not allow"),
    ("change.reviewed", 0, by("releaser"), "no grant in force"),
    ("change.withdrawn", 0, by("releaser"), "withdraws what somebody else"),
    ("change.commented", 0, by("viewer"), "no grant in force"),
    # What is proposed.
    ("change.proposed", 0, data(credential="reviewer's token"), "another credential"),
    ("change.proposed", 0, data(by="reviewer"), "somebody else"),
    ("change.proposed", 0, item(commitment="00" * 32), "another version than it says"),
    ("change.proposed", 0, item(version=9), "not there"),
    ("change.proposed", 0, item(prompt_id="00"), "no grant can allow"),
    ("change.proposed", 0, data(meaning="emergency"), "needs environment.break_glass"),
    # Checks, rules.
    ("check.recorded", 0, data(by="author"), "somebody else than who did"),
    ("check.recorded", 0, by("author"), "no grant in force"),
    ("checks.opened", 0, data(commitment="00" * 32), "another version than it says"),
    ("checks.opened", 0, data(number=7), "not there"),
    ("checks.opened", 0, elsewhere, "in the stream of another version"),
    ("consumers.opened", 0, elsewhere, "in the stream of another prompt"),
    ("consumer.registered", 0, data(by="author"), "somebody else than who did"),
    ("consumer.registered", 0, by("second"), "no grant in force"),
    ("actorkey.registered", 0, data(public_key="00" * 32), "another key than it registers"),
    ("change.proposed", -1, data(review_due_at=None), "at another time than the rules say"),
    ("environment.set", 0, actor(type="service", id="releaser", credential="releaser's token"),
     "no grant in force"),
]  # fmt: skip


@pytest.mark.parametrize(("kind_verb", "number", "edit", "words"), CASES)
def test_what_was_not_allowed_is_found(
    history: History, kind_verb: str, number: int, edit: Edit, words: str
) -> None:
    at = history.find(kind_verb, number)
    index, fault = history.fault(at, edit)
    assert index == at and words in fault, (index, at, fault)


@pytest.mark.parametrize(
    ("left_out", "number", "objected", "words"),
    [
        ("change.approved", 0, "label.moved", "has 0 of 1 approvals"),
        ("check.recorded", 0, "label.moved", "check lint has to pass"),
        ("label.moved", 1, "change.applied", "says that it is live"),
        ("change.applied", 0, "version.committed", "which was not applied"),
        ("actorkey.registered", 0, "change.approved", "not the actor's own"),
        ("grant.given", 2, "change.approved", "no grant in force"),
    ],
)  # fmt: skip
def test_what_it_rested_on_cannot_be_left_out(
    history: History, left_out: str, number: int, objected: str, words: str
) -> None:
    index, fault = history.fault(history.find(left_out, number), None)
    assert history.events[index].kind_verb == objected and words in fault, fault


def test_a_check_that_failed_lets_nothing_through(history: History) -> None:
    at = history.find("check.recorded", 0)
    index, fault = history.fault(at, data(state="failed"))
    assert history.events[index].kind_verb == "label.moved" and "(failed)" in fault


def test_stricter_rules_would_have_held_it(history: History) -> None:
    def stricter(fields: Fields, names: dict[str, Any]) -> None:
        fields["data"]["rules"]["approvals"]["count"] = 2

    index, fault = history.fault(history.find("environment.set", 0), stricter)
    assert history.events[index].kind_verb == "label.moved" and "has 1 of 2 approvals" in fault


def test_one_who_wrote_it_cannot_have_approved_it(history: History) -> None:
    """Were the author a reviewer too, the approval would still be found."""
    at = history.find("grant.given", 2)  # the reviewer's
    promoted = history.find("grant.given", 1)  # the author's

    def as_reviewer(fields: Fields, names: dict[str, Any]) -> None:
        fields["data"]["role"] = "admin"

    authority, faults = Authority(), []
    for index, recorded in enumerate(history.events):
        if index == promoted:
            recorded = history.edited(recorded, as_reviewer)
        if recorded.kind_verb == "change.approved":
            recorded = history.edited(recorded, by("author"))
            recorded = history.edited(recorded, data(signature=None))
        fault = authority.fault(recorded)
        faults += [fault] if fault and recorded.kind_verb == "change.approved" else []
        authority.apply(recorded)
    assert at > promoted and faults == ["is by somebody who wrote or proposed it"] * 2
