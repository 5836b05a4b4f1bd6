"""Change requests against the model of governance: who may say what to which, and when."""

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition

from tests.api.governance_model import Governed, Proposal
from tests.api.rules import command
from tests.harness import Answer

PEOPLE = {"ann": "developer", "ben": "developer", "cat": "reviewer", "dan": "reviewer",
          "eve": "reviewer", "rob": "releaser", "ted": "checker"}  # fmt: skip
REVIEWERS = st.sampled_from(["cat", "dan", "eve"])
WRITERS = st.sampled_from(["ann", "ben"])
NUMBERS = st.integers(1, 4)


class ChangeRules(RuleBasedStateMachine):
    prompts: dict[str, Governed]
    proposals: list[Proposal]
    active: dict[str, bool]
    grants: dict[str, str]

    def _send(self, who: str, method: str, path: str, body: dict | None = None) -> Answer:
        raise NotImplementedError

    def _ok(self, who: str, method: str, path: str, body: dict | None = None) -> dict:
        raise NotImplementedError

    @precondition(lambda self: self.proposals)
    @command("approve_change", data=st.data(), who=REVIEWERS | WRITERS)
    def approve(self, data: st.DataObject, who: str) -> None:
        proposal = data.draw(st.sampled_from(self.proposals[-6:]))
        answer = self._send(who, "POST", f"{proposal.path}/approve")
        if not self.active[who]:
            assert answer.status == 401
        elif who not in self.grants:
            assert answer.status == 404
        elif PEOPLE[who] != "reviewer":
            assert answer.status == 403
        elif proposal.status != "open":
            assert answer.code == "change_closed", answer.body
        else:
            assert answer.status == 200, answer.body
            proposal.approvals.add(who)

    @precondition(lambda self: self.proposals)
    @command("retract_approval", data=st.data(), who=REVIEWERS)
    def retract(self, data: st.DataObject, who: str) -> None:
        proposal = data.draw(st.sampled_from(self.proposals[-6:]))
        answer = self._send(who, "POST", f"{proposal.path}/retract")
        if answer.status == 200:
            proposal.approvals.discard(who)

    @precondition(lambda self: self.proposals)
    @command("reject_change", data=st.data(), who=REVIEWERS)
    def reject(self, data: st.DataObject, who: str) -> None:
        proposal = data.draw(st.sampled_from(self.proposals[-6:]))
        answer = self._send(who, "POST", f"{proposal.path}/reject")
        if answer.status == 200:
            assert proposal.status == "open"
            proposal.status = "rejected"

    @precondition(lambda self: self.proposals)
    @command("withdraw_change", data=st.data(), who=WRITERS)
    def withdraw(self, data: st.DataObject, who: str) -> None:
        proposal = data.draw(st.sampled_from(self.proposals[-6:]))
        answer = self._send(who, "POST", f"{proposal.path}/withdraw")
        if who not in proposal.editors:
            assert answer.status == 403, answer.body
        elif proposal.status == "applied":
            assert answer.code == "change_closed"
        else:
            assert answer.status == 200
            proposal.status = "withdrawn"

    @precondition(lambda self: self.proposals)
    @command("revise_change", data=st.data(), who=WRITERS, version=NUMBERS)
    def revise(self, data: st.DataObject, who: str, version: int) -> None:
        proposal = data.draw(st.sampled_from(self.proposals[-6:]))
        name = next(iter(proposal.items))
        items = [{"name": self.prompts[name].names[-1], "version": version}]
        answer = self._send(who, "POST", f"{proposal.path}/revise", {"items": items})
        if answer.status == 200:
            assert proposal.status in ("open", "rejected")
            proposal.items = {name: version}
            proposal.editors.add(who)
            proposal.approvals = set()
            proposal.status = "open"

    @precondition(lambda self: self.proposals)
    @command("comment_on_change", data=st.data())
    def comment(self, data: st.DataObject) -> None:
        proposal = data.draw(st.sampled_from(self.proposals[-6:]))
        self._ok("ann", "POST", f"{proposal.path}/comments", {"text": "hm"})

    @precondition(lambda self: any(one.unreviewed for one in self.proposals))
    @command("review_emergency", who=REVIEWERS)
    def review(self, who: str) -> None:
        proposal = next(one for one in self.proposals if one.unreviewed)
        body = {"outcome": "accepted"}
        assert self._send("admin", "POST", f"{proposal.path}/review", body).status == 403
        answer = self._send(who, "POST", f"{proposal.path}/review", body)
        if self.active[who] and who in self.grants:
            assert answer.status == 200, answer.body
            proposal.unreviewed = False
