"""What the state machine's parts share: names and texts, how commands are sent and refused."""

import os
import uuid

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from tests.api.model import ModelPrompt, Refused, compose
from tests.harness import Answer, Sync

NAMES = st.sampled_from(["a", "a", "a", "folder/b"])
LABELS = st.sampled_from(["production", "production", "canary"])
TEXTS = st.sampled_from(["one", "two", "three", "four {{x}}"])
TYPES = st.sampled_from([["epoch"], ["ledger"], ["epoch", "ledger"]])
BRANCHES = st.sampled_from(["main", "shorter", "bolder"])
GUARDRAILS = st.sampled_from(["safe", "brief"])
PARTIALS = st.builds(
    "see {{{{> {}@{}}}}}".format,
    st.sampled_from(["a", "folder/b", "nobody"]),
    st.sampled_from(["production", "production", "canary", "latest", "1", "2"]),
)
REASONS = st.none() | st.sampled_from(["because", "ticket 7"])
EXAMPLES = 200 if os.environ.get("SCRINIA_LONG") == "1" else 40
STEPS = 50
COVERED: set[str] = set()


def command(operation_id: str, **strategies: st.SearchStrategy) -> object:
    """A rule that exercises one command route."""
    COVERED.add(operation_id)
    return rule(**strategies)


class Rules(RuleBasedStateMachine):
    client: Sync
    sequences = 0
    steps = 0
    project: str
    prompts: dict[str, ModelPrompt]
    guardrails: dict[str, str]
    sent: list[tuple[str, str, dict | None, str, Answer]]

    def _send(self, method: str, path: str, body: dict | None = None) -> Answer:
        key = uuid.uuid4().hex
        type(self).steps += 1
        answer = self.client.call(method, path, body, headers={"Idempotency-Key": key})
        if answer.status < 300:
            self.sent.append((method, path, body, key, answer))
        return answer

    def _path(self, name: str, rest: str = "") -> str:
        return f"/v1/projects/{self.project}/prompts/{name}{rest}"

    def _expect(self, answer: Answer, status: int, code: str | None = None) -> None:
        assert answer.status == status, (answer.status, answer.body)
        if code is not None:
            assert answer.code == code, answer.body

    def _composes(
        self, answer: Answer, name: str, text: str, branch: str | None, at: str | None = None,
        number: int | None = None,
    ) -> bool:  # fmt: skip
        """Whether a text can be a version of a branch, or a label's target; else it is refused so."""
        known = self.prompts.get(name)
        place = name, number or (len(known.versions) if known else 0) + 1
        label = "latest" if branch == "main" else at
        moved = {(name, label): (place, text)} if label else {}
        try:
            compose(self.prompts, place, text, moved, fresh=branch is not None)
        except Refused as refused:
            self._expect(answer, 409, str(refused))
            return False
        return True

    def _absent(self, name: str, answer: Answer) -> bool:
        if name in self.prompts:
            return False
        self._expect(answer, 404, "not_found")
        return True

    def _refuses(self, name: str, answer: Answer) -> bool:
        if self._absent(name, answer):
            return True
        if self.prompts[name].archived:
            self._expect(answer, 409, "prompt_archived")
            return True
        return False
