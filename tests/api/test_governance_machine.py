"""A state machine against a model: no way moves a protected label without satisfying its rules.

The model knows who wrote, proposed, approved and may what, and says of every attempt whether it may
succeed: by hand, by rollback, removal, release, emergency, replayed request, after a move, a merge,
an archive, another rule, a lost role. In the end verification decides all of it again.
"""

import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule

from tests.api.change_rules import NUMBERS, PEOPLE, REVIEWERS, WRITERS, ChangeRules
from tests.api.governance_model import Governed, ModelRules, Proposal
from tests.api.model import ModelLabel
from tests.api.rollout_rules import PROMPTS, RolloutRules
from tests.api.rules import command
from tests.harness import Answer, Sync, registry_thread, text_content, verify

EXAMPLES = 150 if os.environ.get("SCRINIA_LONG") == "1" else 20
STEPS = 50


class GovernanceMachine(RolloutRules, ChangeRules):
    client: Sync
    applied = refused = 0

    @initialize()
    def begin(self) -> None:
        self.project = f"p-{uuid.uuid4().hex[:20]}"
        self.client.ok("POST", "/v1/projects", {"project": self.project})
        self.people: dict[str, Sync] = {}
        self.ids: dict[str, str] = {}
        self.grants: dict[str, str] = {}
        for name in PEOPLE:
            self._join(name)
        self.active = dict.fromkeys(PEOPLE, True)
        self.rules = ModelRules()
        self.staging = True
        self.proposals: list[Proposal] = []
        self.sent: list[tuple[str, str, str, dict | None, str]] = []
        self.prompts = {name: Governed([name]) for name in ("a", "b")}
        for name in self.prompts:
            body = {"name": name, "content": text_content("0")}
            self._ok("ann", "POST", f"/v1/projects/{self.project}/prompts", body)
            self.prompts[name].authors.append({"ann"})
            self.commit(name, "ben")
        self.set_owners()
        self.change_rules(1, set())

    def _join(self, name: str) -> None:
        made = self.client.ok("POST", "/v1/principals", {"type": "person", "name": name})
        about = {"principal_id": made["principal_id"]}
        self.ids[name] = made["principal_id"]
        token = self.client.ok("POST", "/v1/tokens", about)["token"]
        self.people[name] = Sync(self.client.url, token)
        self._give(name)

    def _give(self, name: str) -> None:
        body = {
            "principal_id": self.ids[name], "role": PEOPLE[name], "project": self.project,
        }  # fmt: skip
        self.grants[name] = self.client.ok("POST", "/v1/grants", body)["grant_id"]

    # Sending

    def _send(self, who: str, method: str, path: str, body: dict | None = None) -> Answer:
        key = uuid.uuid4().hex
        caller = self.people.get(who, self.client)
        answer = caller.call(method, path, body, headers={"Idempotency-Key": key})
        if answer.status < 300:
            self.sent.append((who, method, path, body, key))
            for one in (self.client, *self.people.values()):
                one.position = max(one.position, caller.position)
        return answer

    def _ok(self, who: str, method: str, path: str, body: dict | None = None) -> dict:
        answer = self._send(who, method, path, body)
        assert answer.status < 300, (method, path, answer.status, answer.body)
        return answer.body

    def _path(self, name: str, rest: str = "") -> str:
        return f"/v1/projects/{self.project}/prompts/{self.prompts[name].names[-1]}/-/{rest}"

    @property
    def _environments(self) -> str:
        return f"/v1/projects/{self.project}/environments"

    # What the rules say

    def _missing(self, name: str, version: int | None, proposal: Proposal | None) -> set[str]:
        able = {who for who in self.grants if self.active[who]}
        return self.rules.missing(self.prompts[name], version, proposal, able)

    def _moved(self, answer: Answer, missing: set[str], prompts: list[str]) -> bool:
        """Whether it was let through; else it is refused with exactly what is missing."""
        if any(self.prompts[name].archived for name in prompts):
            assert (answer.status, answer.code) == (409, "prompt_archived"), answer.body
            return False
        if missing:
            assert (answer.status, answer.code) == (409, "rules_not_met"), answer.body
            assert {one["code"] for one in answer.body["missing"]} == missing, answer.body
            type(self).refused += 1
            return False
        assert answer.status in (200, 201), answer.body
        return True

    # Ways to move a label

    @rule(name=PROMPTS, number=NUMBERS, label=st.sampled_from(["production", "staging"]))
    def promote(self, name: str, number: int, label: str) -> None:
        prompt = self.prompts[name]
        if label == "production":  # as often as anything
            number = min(number, len(prompt.authors))
        answer = self._send("rob", "PUT", self._path(name, f"labels/{label}"), {"version": number})
        if prompt.archived:
            self._moved(answer, set(), [name])
        elif number > len(prompt.authors):
            assert answer.code == "version_not_found"
        elif prompt.live(label) == number:
            split = label == "production" and prompt.split is not None
            assert (answer.status, answer.body["changed"]) == (200, split)
            prompt.split = None if split else prompt.split
        else:
            missing = self._missing(name, number, None) if label == "production" else set()
            if self._moved(answer, missing, [name]):
                prompt.labels.setdefault(label, ModelLabel()).move(number)

    @rule(name=PROMPTS)
    def roll_back(self, name: str) -> None:
        prompt = self.prompts[name]
        body = {"label": "production"}
        answer = self._send("rob", "POST", self._path(name, "rollback"), body)
        state = prompt.labels.get("production")
        if prompt.archived:
            self._moved(answer, set(), [name])
        elif state is None or state.target is None:
            assert answer.code == "label_not_set"
        elif len(state.returns) < 2:
            assert answer.code == "no_earlier_target"
        else:
            to = state.returns[-2]
            free = to in state.ever and not self.rules.guarded
            missing = set() if free else self._missing(name, to, None)
            if to == state.target:
                missing = set()
            if self._moved(answer, missing, [name]):
                prompt.split = None
                state.roll_back(to)

    @rule(name=PROMPTS)
    def remove(self, name: str) -> None:
        prompt = self.prompts[name]
        answer = self._send("rob", "DELETE", self._path(name, "labels/production"))
        state = prompt.labels.get("production")
        if state is None:
            assert answer.code == "label_not_set", answer.body
        elif state.target is None and not prompt.archived:
            assert answer.status == 200 and not answer.body["changed"]
        elif state.target is not None or prompt.archived:
            missing = self._missing(name, None, None) if state.target is not None else set()
            if prompt.archived and missing:
                assert answer.status == 409
            elif self._moved(answer, missing, [name]):
                state.target = None

    @rule(name=PROMPTS, number=NUMBERS)
    def break_glass(self, name: str, number: int) -> None:
        prompt = self.prompts[name]
        body = {"version": number, "break_glass": True, "reason": "now"}
        path = self._path(name, "labels/production")
        assert self._send("rob", "PUT", path, body).status == 403
        if number > len(prompt.authors) or prompt.archived:
            return
        if prompt.live("production") == number and prompt.split is not None:
            assert self._send("admin", "PUT", path, body).code == "conflict"
            return
        done = self._ok("admin", "PUT", path, body)
        if prompt.live("production") != number:
            state = prompt.labels.setdefault("production", ModelLabel())
            lived = set(state.ever)
            state.move(number)
            state.ever = lived
            change = f"/v1/projects/{self.project}/change-requests/{done['change_id']}"
            self.proposals.append(
                Proposal(change, {name: number}, {"admin"}, status="applied", unreviewed=True)
            )
        else:
            assert not done["changed"]

    @precondition(lambda self: any(one.status == "open" for one in self.proposals))
    @command("apply_change", data=st.data())
    def apply_one(self, data: st.DataObject) -> None:
        waiting = [one for one in self.proposals if one.status == "open"]
        self.apply(data.draw(st.sampled_from(waiting)))

    @precondition(lambda self: self.proposals)
    @rule(data=st.data())
    def apply_any(self, data: st.DataObject) -> None:
        self.apply(data.draw(st.sampled_from(self.proposals[-6:])))

    def apply(self, proposal: Proposal) -> None:
        answer = self._send("rob", "POST", f"{proposal.path}/apply")
        if proposal.status != "open":
            assert (answer.status, answer.code) == (409, "change_closed"), answer.body
            return
        missing: set[str] = set()
        for name, version in proposal.items.items():
            missing |= self._missing(name, version, proposal)
        if not self._moved(answer, missing, list(proposal.items)):
            return
        proposal.status = "applied"
        type(self).applied += 1
        for name, version in proposal.items.items():
            state = self.prompts[name].labels.get("production")
            if version is None:
                if state is not None:
                    state.target = None
            elif state is not None and state.target == version:
                self.prompts[name].split = None
            else:
                state = self.prompts[name].labels.setdefault("production", ModelLabel())
                state.move(version)

    @precondition(lambda self: self.sent)
    @rule(data=st.data())
    def replay(self, data: st.DataObject) -> None:
        """The first answer again; nothing moves, whatever the rules have become."""
        who, method, path, body, key = data.draw(st.sampled_from(self.sent[-10:]))
        caller = self.people.get(who, self.client)
        answer = caller.call(method, path, body, headers={"Idempotency-Key": key})
        if answer.status != 401:
            assert answer.headers["Idempotency-Replayed"] == "true", answer.body

    # What changes around it

    @command("set_environment", count=st.integers(0, 2), flags=st.sets(st.sampled_from(
        ["staged", "check", "owners", "authors", "guarded"])))  # fmt: skip
    def other_rules(self, count: int, flags: set[str]) -> None:
        self.change_rules(count, flags)

    def change_rules(self, count: int, flags: set[str]) -> None:
        wanted = ModelRules(count, **dict.fromkeys(flags, True))
        body = {
            "from_environment": "staging" if wanted.staged else None,
            "checks": [{"name": "lint"}] if wanted.check else [],
            "guarded_rollback": wanted.guarded,
            "approvals": {"count": count, "owners": wanted.owners, "authors": wanted.authors},
        }
        answer = self._send("admin", "PUT", f"{self._environments}/production", body)
        if (wanted.staged and not self.staging) or (wanted.owners and count == 0):
            assert answer.status == 422, answer.body
        else:
            assert answer.status == 200, answer.body
            self.rules = wanted
        assert self._send("rob", "PUT", f"{self._environments}/production", body).status == 403

    @command("remove_environment")
    def remove_environment(self) -> None:
        answer = self._send("admin", "DELETE", f"{self._environments}/staging")
        if not self.staging:
            assert answer.status == 404
            self._ok("admin", "PUT", f"{self._environments}/staging", {})
            self.staging = True
        elif self.rules.staged:
            assert (answer.status, answer.code) == (409, "conflict")
        else:
            self.staging = False

    @command("set_owners")
    def set_owners(self) -> None:
        path = f"/v1/projects/{self.project}/owners"
        self._ok("admin", "PUT", path, {"owners": [self.ids["cat"]]})

    @rule(name=PROMPTS, who=WRITERS)
    def another_version(self, name: str, who: str) -> None:
        self.commit(name, who)

    def commit(self, name: str, who: str) -> None:
        prompt = self.prompts[name]
        if prompt.archived or len(prompt.authors) >= 4:
            return
        items = [{"project": self.project, "name": prompt.names[-1],
                  "content": text_content(uuid.uuid4().hex)}]  # fmt: skip
        self._ok(who, "POST", "/v1/commits", {"items": items})
        prompt.authors.append({who})

    @rule(name=PROMPTS, brancher=WRITERS, merger=WRITERS)
    def merge(self, name: str, brancher: str, merger: str) -> None:
        prompt = self.prompts[name]
        if prompt.archived or prompt.branch is not None or len(prompt.authors) >= 3:
            return
        self._ok(brancher, "POST", self._path(name, "branches"), {"branch": "side"})
        body = {"content": text_content(uuid.uuid4().hex), "branch": "side"}
        prompt.branch = self._ok(brancher, "POST", self._path(name, "versions"), body)["version"]
        prompt.authors.append({brancher})
        self._ok(merger, "POST", self._path(name, "merge"), {"source": "side"})
        prompt.authors.append({brancher, merger})

    @rule(name=PROMPTS)
    def rename(self, name: str) -> None:
        prompt = self.prompts[name]
        if not prompt.archived:
            to = f"{name}{len(prompt.names)}"
            self._ok("ann", "POST", self._path(name, "move"), {"name": to})
            prompt.names.append(to)

    @rule(name=PROMPTS)
    def archive_or_restore(self, name: str) -> None:
        prompt = self.prompts[name]
        self._ok("ann", "POST", self._path(name, "restore" if prompt.archived else "archive"))
        prompt.archived = not prompt.archived

    @command("register_consumer", name=PROMPTS)
    def consume(self, name: str) -> None:
        self._ok("ann", "PUT", self._path(name, "consumers/app"), {"range": "=1.0.0"})
        self.prompts[name].consumed = True

    @precondition(lambda self: any(one.consumed for one in self.prompts.values()))
    @command("remove_consumer")
    def consume_no_more(self) -> None:
        name = next(name for name, one in self.prompts.items() if one.consumed)
        self._ok("ann", "DELETE", self._path(name, "consumers/app"))
        self.prompts[name].consumed = False

    @command("record_check", name=PROMPTS, number=NUMBERS, passed=st.booleans())
    def check(self, name: str, number: int, passed: bool) -> None:
        prompt = self.prompts[name]
        if number > len(prompt.authors):
            return
        body = {"name": "lint", "state": "passed" if passed else "failed"}
        self._ok("ted", "POST", self._path(name, f"versions/{number}/checks"), body)
        (prompt.checked.add if passed else prompt.checked.discard)(number)

    @rule(who=REVIEWERS)
    def lose_or_regain_role(self, who: str) -> None:
        if who in self.grants:
            self._ok("admin", "DELETE", f"/v1/grants/{self.grants.pop(who)}")
        elif self.active[who]:
            self._give(who)

    @rule()
    def deactivate(self) -> None:
        self._ok("admin", "PATCH", f"/v1/principals/{self.ids['eve']}", {"active": False})
        self.active["eve"] = False

    # Change requests

    @command("propose_change", who=WRITERS, items=st.dictionaries(
        PROMPTS, st.none() | NUMBERS, min_size=1))  # fmt: skip
    def propose_something(self, who: str, items: dict[str, int | None]) -> None:
        self.propose(who, items)

    def propose(self, who: str, items: dict[str, int | None]) -> None:
        prompts = [self.prompts[name] for name in items]
        body = {
            "title": "x",
            "items": [
                {"name": self.prompts[name].names[-1], "version": version}
                for name, version in items.items()
            ],
        }
        answer = self._send(who, "POST", f"/v1/projects/{self.project}/change-requests", body)
        if any(prompt.archived for prompt in prompts):
            assert answer.status in (404, 409)
        elif any((v or 1) > len(self.prompts[name].authors) for name, v in items.items()):
            assert answer.code == "version_not_found"
        else:
            assert answer.status == 201, answer.body
            path = f"/v1/projects/{self.project}/change-requests/{answer.body['change_id']}"
            self.proposals.append(Proposal(path, dict(items), {who}))

    @rule(name=PROMPTS, number=NUMBERS)
    def ship_what_cat_and_dan_like(self, name: str, number: int) -> None:
        before = len(self.proposals)
        self.propose("ann", {name: number})
        for who in ("cat", "dan") if len(self.proposals) > before else ():
            answer = self._send(who, "POST", f"{self.proposals[-1].path}/approve")
            if answer.status == 200:
                self.proposals[-1].approvals.add(who)
        if len(self.proposals) > before:
            self.promote(name, number, "production")
            self.apply(self.proposals[-1])

    # What must hold whatever was done

    @invariant()
    def nothing_moved_but_what_was_let(self) -> None:
        for name, prompt in getattr(self, "prompts", {}).items():
            if not prompt.authors:
                continue
            listed = self.client.ok("GET", self._path(name, "labels"))
            found = {item["label"]: item["version"] for item in listed["items"]}
            expected = {label: prompt.live(label) for label in prompt.labels}
            self.check_split(prompt, listed["items"])
            assert found == {k: v for k, v in expected.items() if v is not None}


@pytest.fixture
def client(tmp_path: Path, database_url: str | None) -> Iterator[Sync]:
    with registry_thread(tmp_path, database_url=database_url) as client:
        yield client


@pytest.mark.timeout(900)
def test_no_way_around_the_rules(client: Sync, tmp_path: Path, database_url: str | None) -> None:
    machine = type("Machine", (GovernanceMachine,), {"client": client})
    case = machine.TestCase
    case.settings = settings(
        max_examples=EXAMPLES, stateful_step_count=STEPS, deadline=None,
        suppress_health_check=list(HealthCheck), phases=[Phase.generate],
    )  # fmt: skip
    case().runTest()
    assert machine.applied >= 1 and machine.refused >= 10 and machine.splits >= 1
    assert client.ok("POST", "/v1/projections/changes/compare")["equal"]
    assert verify(tmp_path / "data", database_url).faults == []
