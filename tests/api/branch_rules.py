"""Branches, merges and forks in the state machine."""

from hypothesis import strategies as st
from hypothesis.stateful import rule

from tests.api.model import ModelPrompt
from tests.api.rules import BRANCHES, NAMES, TEXTS, Rules, command
from tests.harness import text_content


class BranchRules(Rules):
    def _known(self, name: str, answer: object, *branches: str) -> bool:
        """Whether all branches are there; else the answer says so."""
        if all(branch in self.prompts[name].heads for branch in branches):
            return True
        self._expect(answer, 404, "branch_not_found")
        return False

    @command("create_branch", name=NAMES, branch=BRANCHES, version=st.none() | st.integers(1, 3))
    def create_branch(self, name: str, branch: str, version: int | None) -> None:
        body = {"branch": branch, "version": version}
        answer = self._send("POST", self._path(name, "/-/branches"), body)
        if self._refuses(name, answer):
            return
        prompt = self.prompts[name]
        version = version or prompt.heads["main"]
        if version > len(prompt.versions):
            self._expect(answer, 404, "version_not_found")
        elif branch in prompt.heads:
            fresh = prompt.heads[branch] == version and branch not in prompt.written
            self._expect(answer, 200 if fresh else 409, None if fresh else "branch_exists")
        else:
            self._expect(answer, 201)
            prompt.heads[branch] = version
            prompt.written.discard(branch)

    @command("delete_branch", name=NAMES, branch=BRANCHES)
    def delete_branch(self, name: str, branch: str) -> None:
        answer = self._send("DELETE", self._path(name, f"/-/branches/{branch}"))
        if self._absent(name, answer):
            return
        if branch == "main":
            self._expect(answer, 400, "invalid_name")
        elif branch not in self.prompts[name].heads:
            self._expect(answer, 404, "branch_not_found")
        elif not self._refuses(name, answer):
            self._expect(answer, 200)
            assert answer.body["version"] == self.prompts[name].heads.pop(branch)

    @rule(name=NAMES, branch=BRANCHES, text=TEXTS)
    def commit_to_a_branch(self, name: str, branch: str, text: str) -> None:
        self.commit(name, text, None, branch)

    @command("merge_branch", name=NAMES, source=BRANCHES, into=BRANCHES,
             side=st.sampled_from([None, "source", "target"]))  # fmt: skip
    def merge(self, name: str, source: str, into: str, side: str | None) -> None:
        body = {"source": source, "target": into}
        answer = self._send("POST", self._path(name, "/-/merge"), body)
        if self._refuses(name, answer) or not self._known(name, answer, source, into):
            return
        prompt = self.prompts[name]
        head = prompt.heads[source]
        if head in prompt.past(prompt.heads[into]):
            self._expect(answer, 200)
            assert not answer.body["changed"]
            return
        text = prompt.merge(source, into)
        if text is None:
            self._expect(answer, 409, "merge_conflict")
            if side is None:
                return
            text = prompt.text(source if side == "source" else into)
            body |= {
                "resolutions": {c["id"]: {"take": side} for c in answer.body["conflicts"]},
                "expected_version": prompt.heads[into],
                "source_version": head,
            }
            answer = self._send("POST", self._path(name, "/-/merge"), body)
        if not self._composes(answer, name, text, into):
            return
        self._expect(answer, 201)
        prompt.written.add(into)
        assert answer.body["version"] == prompt.commit(text, into, head)
        assert (answer.body["semver"] is None) == (into != "main")

    @command("fork_prompt", name=NAMES, to=NAMES, version=st.none() | st.integers(1, 3))
    def fork(self, name: str, to: str, version: int | None) -> None:
        body = {"name": to, "version": version}
        answer = self._send("POST", self._path(name, "/-/fork"), body)
        if self._absent(name, answer):
            return
        origin = self.prompts[name]
        if version is not None and version > len(origin.versions):
            self._expect(answer, 404, "version_not_found")
            return
        if to in self.prompts:
            self._expect(answer, 409, "name_taken")
            return
        text = origin.versions[(version or origin.heads["main"]) - 1]
        if self._composes(answer, to, text, "main"):
            self._expect(answer, 201)
            self.prompts[to] = ModelPrompt(text)

    @rule(name=NAMES)
    def every_version_can_be_reconstructed(self, name: str) -> None:
        prompt = self.prompts.get(name)
        if prompt is None:
            return
        listed = self.client.ok("GET", self._path(name, "/-/versions?limit=500"))["items"]
        assert [v["version"] for v in listed] == list(range(len(prompt.versions), 0, -1))
        for item in listed:
            assert set(item["parents"]) == prompt.parents[item["version"] - 1]
        for number, text in enumerate(prompt.versions, 1):
            found = self.client.ok("GET", self._path(name, f"/-/versions/{number}"))
            assert found["content"] == text_content(text)
        branches = self.client.ok("GET", self._path(name, "/-/branches"))["items"]
        assert {b["branch"]: b["version"] for b in branches} == prompt.heads
