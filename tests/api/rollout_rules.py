"""Rollouts against the model of governance: nobody is served what the rules do not let."""

from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from tests.api.governance_model import Governed, ModelRules, Proposal
from tests.api.rules import command
from tests.harness import Answer, Sync

PROMPTS = st.sampled_from(["a", "b"])
KEYS = st.sampled_from([f"user-{n}" for n in range(30)])


class RolloutRules(RuleBasedStateMachine):
    client: Sync
    prompts: dict[str, Governed]
    proposals: list[Proposal]
    rules: ModelRules
    splits = 0

    def _send(self, who: str, method: str, path: str, body: dict | None = None) -> Answer:
        raise NotImplementedError

    def _path(self, name: str, rest: str = "") -> str:
        raise NotImplementedError

    def _missing(self, name: str, version: int | None, proposal: Proposal | None) -> set[str]:
        raise NotImplementedError

    def propose(self, who: str, items: dict[str, int | None]) -> None:
        raise NotImplementedError

    def _moved(self, answer: Answer, missing: set[str], prompts: list[str]) -> bool:
        raise NotImplementedError

    @rule(name=PROMPTS, number=st.integers(1, 4), share=st.integers(1, 999))
    def split(self, name: str, number: int, share: int) -> None:
        self.try_split(name, number, share, None)

    @rule(name=PROMPTS, number=st.integers(1, 4), share=st.integers(1, 999))
    def split_what_cat_and_dan_like(self, name: str, number: int, share: int) -> None:
        before = len(self.proposals)
        self.propose("ann", {name: number})
        for who in ("cat", "dan") if len(self.proposals) > before else ():
            answer = self._send(who, "POST", f"{self.proposals[-1].path}/approve")
            if answer.status == 200:
                self.proposals[-1].approvals.add(who)
        if len(self.proposals) > before:
            self.try_split(name, number, share, self.proposals[-1])

    @precondition(lambda self: self.proposals)
    @rule(data=st.data(), share=st.integers(1, 999))
    def split_as_proposed(self, data: st.DataObject, share: int) -> None:
        proposal = data.draw(st.sampled_from(self.proposals[-6:]))
        name = data.draw(st.sampled_from(sorted(proposal.items)))
        number = proposal.items[name] or 1
        self.try_split(name, data.draw(st.sampled_from([number, number, 1])), share, proposal)

    def try_split(self, name: str, number: int, share: int, proposal: Proposal | None) -> None:
        prompt = self.prompts[name]
        target = prompt.live("production")
        weights = {target or 1: 1000 - share, number: share}
        if number == target:
            weights = {number: 1000}
        body: dict[str, Any] = {"rollout": {str(v): w for v, w in weights.items()}}
        if proposal is not None:
            body["change_id"] = proposal.path.rpartition("/")[2]
        answer = self._send("rob", "PUT", self._path(name, "labels/production"), body)
        if prompt.archived:
            assert answer.code == "prompt_archived", answer.body
        elif target is None:
            assert answer.code == "label_not_set", answer.body
        elif max(weights) > len(prompt.authors):
            assert answer.code == "version_not_found", answer.body
        elif answer.status == 200 and not answer.body["changed"]:
            assert prompt.split == weights
        elif proposal is not None and proposal.status != "open":
            assert answer.status in (409, 422), answer.body
        else:
            agrees = proposal is not None and proposal.items.get(name) == number
            missing = self._missing(name, number, proposal if agrees else None)
            lived = number in prompt.labels["production"].ever
            if number == target or (lived and not self.rules.guarded):
                missing = set()
            if self._moved(answer, missing, [name]):
                prompt.split, prompt.split_under = weights, target
                type(self).splits += 1

    @command("stop_rollout", name=PROMPTS)
    def stop(self, name: str) -> None:
        prompt = self.prompts[name]
        answer = self._send("rob", "POST", self._path(name, "labels/production/stop"))
        if prompt.live("production") is None:
            assert answer.code == "label_not_set", answer.body
        else:
            assert answer.status == 200, answer.body
            assert answer.body["changed"] == (prompt.split is not None)
            prompt.split = None

    @rule(name=PROMPTS, key=KEYS)
    def ask(self, name: str, key: str) -> None:
        prompt = self.prompts[name]
        if prompt.live("production") is None:
            return
        path = self._path(name, "").removesuffix("/-/")
        answer = self.client.ok("GET", path, params={"targeting_key": key})
        served = answer["version"]
        assert served == answer["assignment"]["version"]
        if prompt.split is None:
            assert (served, answer["assignment"]["reason"]) == (
                prompt.live("production"),
                "default",
            )
        else:
            assert served in prompt.split, (served, prompt.split)

    def check_split(self, prompt: Governed, listed: list[dict[str, Any]]) -> None:
        """A split ends with the target it began under."""
        if prompt.live("production") != prompt.split_under:
            prompt.split = None
        told = next((item["rollout"] for item in listed if item["label"] == "production"), None)
        weights = {int(v): w for v, w in told["weights"].items()} if told else None
        assert weights == prompt.split, (weights, prompt.split)
