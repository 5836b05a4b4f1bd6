"""Projects, prompts, versions and labels in the state machine."""

from copy import deepcopy

from hypothesis import strategies as st
from hypothesis.stateful import rule

from tests.api.model import ModelLabel, ModelPrompt, Refused, compose, users
from tests.api.rules import (
    BRANCHES,
    LABELS,
    NAMES,
    PARTIALS,
    REASONS,
    TEXTS,
    Rules,
    command,
)
from tests.harness import text_content


class PromptRules(Rules):
    # Projects and prompts

    def _create_project(self) -> None:
        answer = self._send("POST", "/v1/projects", {"project": self.project})
        self._expect(answer, 409 if self.made_project else 201)
        self.made_project = True

    @command("create_project")
    def create_project_again(self) -> None:
        self._create_project()

    @command("create_prompt", name=NAMES, text=TEXTS)
    def create_prompt(self, name: str, text: str) -> None:
        body = {"name": name, "content": text_content(text)}
        answer = self._send("POST", f"/v1/projects/{self.project}/prompts", body)
        if name in self.prompts:
            self._expect(answer, 409, "name_taken")
        else:
            self._expect(answer, 201)
            self.prompts[name] = ModelPrompt(text)

    @command("commit_version", name=NAMES, text=TEXTS, expected=st.none() | st.integers(1, 4))
    def commit_to_main(self, name: str, text: str, expected: int | None) -> None:
        self.commit(name, text, expected)

    def commit(self, name: str, text: str, expected: int | None, branch: str = "main") -> None:
        body = {"content": text_content(text), "expected_version": expected, "branch": branch}
        answer = self._send("POST", self._path(name, "/-/versions"), body)
        if self._refuses(name, answer):
            return
        prompt = self.prompts[name]
        if branch not in prompt.heads:
            self._expect(answer, 404, "branch_not_found")
        elif expected is not None and expected != prompt.heads[branch]:
            self._expect(answer, 409, "stale_version")
            assert answer.body["current_version"] == prompt.heads[branch]
        elif prompt.text(branch) == text:
            self._expect(answer, 200)
            assert not answer.body["changed"]
        elif self._composes(answer, name, text, branch):
            self._expect(answer, 201)
            prompt.written.add(branch)
            assert answer.body["version"] == prompt.commit(text, branch)

    @command("commit_many", texts=st.permutations(["a", "folder/b"]), plain=TEXTS,
             tag=PARTIALS, create=st.booleans())  # fmt: skip
    def commit_two(self, texts: list[str], plain: str, tag: str, create: bool) -> None:
        """Two prompts at once: one of them may name the other."""
        bodies = dict(zip(texts, (plain, tag), strict=True))
        items = [
            {"project": self.project, "name": name, "content": text_content(text), "create": create}
            for name, text in bodies.items()
        ]
        answer = self._send("POST", "/v1/commits", {"items": items})
        before = deepcopy(self.prompts)
        for name, text in bodies.items():
            refusal = self._commit_one(name, text, create)
            if refusal is not None:
                self.prompts = before
                self._expect(answer, *refusal)
                return
        self._expect(answer, 201 if self.prompts != before else 200)
        versions = [self.prompts[item["name"]].heads["main"] for item in items]
        assert [item["version"] for item in answer.body["items"]] == versions

    def _commit_one(self, name: str, text: str, create: bool) -> tuple[int, str] | None:
        """What one of several does to the model, or how it is refused."""
        prompt = self.prompts.get(name)
        if prompt is None and not create:
            return 404, "not_found"
        if prompt is not None and prompt.archived:
            return 409, "prompt_archived"
        if prompt is not None and prompt.text() == text:
            return None
        place = name, len(prompt.versions) + 1 if prompt else 1
        try:
            compose(self.prompts, place, text, {(name, "latest"): (place, text)}, fresh=True)
        except Refused as refused:
            return 409, str(refused)
        if prompt is None:
            self.prompts[name] = ModelPrompt(text)
        else:
            prompt.written.add("main")
            prompt.commit(text)
        return None

    @rule(name=NAMES, text=PARTIALS, branch=BRANCHES)
    def commit_what_names_another(self, name: str, text: str, branch: str) -> None:
        self.commit(name, text, None, branch)

    @rule(name=NAMES, text=PARTIALS, label=LABELS)
    def serve_what_names_another(self, name: str, text: str, label: str) -> None:
        self.commit(name, text, None)
        if name in self.prompts:
            self.set_label(name, label, self.prompts[name].heads["main"], None)

    @command("patch_metadata", name=NAMES, description=st.none() | TEXTS,
             tags=st.lists(st.sampled_from(["x", "y", "z"])))  # fmt: skip
    def describe(self, name: str, description: str | None, tags: list[str]) -> None:
        body = {"description": description, "tags": tags}
        answer = self._send("PATCH", self._path(name, "/-/metadata"), body)
        if self._refuses(name, answer):
            return
        prompt = self.prompts[name]
        after = (description, sorted(set(tags)))
        self._expect(answer, 200)
        assert answer.body["changed"] == ((prompt.description, prompt.tags) != after)
        prompt.description, prompt.tags = after

    @command("archive_prompt", name=NAMES)
    def archive(self, name: str) -> None:
        answer = self._send("POST", self._path(name, "/-/archive"))
        if self._absent(name, answer):
            return
        using = users(self.prompts, name)
        using |= {f"guardrail {g}" for g, p in self.guardrails.items() if p.split("@")[0] == name}
        if using and not self.prompts[name].archived:
            self._expect(answer, 409, "in_use")
            assert set(answer.body["users"]) == using
            return
        assert answer.body["changed"] != self.prompts[name].archived
        self.prompts[name].archived = True

    @command("move_prompt", name=NAMES)
    def move_nowhere(self, name: str) -> None:
        """To where it is: the model's names stay; moves have tests of their own."""
        answer = self._send("POST", self._path(name, "/-/move"), {"name": name})
        if not self._refuses(name, answer):
            self._expect(answer, 200)
            assert not answer.body["changed"]

    @command("deprecate_prompt", name=NAMES, successor=st.none() | st.sampled_from(["a", "x"]))
    def deprecate(self, name: str, successor: str | None) -> None:
        answer = self._send("POST", self._path(name, "/-/deprecate"), {"successor": successor})
        if self._absent(name, answer):
            return
        prompt = self.prompts[name]
        if successor is not None and (successor not in self.prompts or successor == name):
            self._expect(answer, 422, "invalid")
        elif not self._refuses(name, answer):
            self._expect(answer, 200)
            assert answer.body["changed"] == (prompt.deprecated != (successor,))
            prompt.deprecated = (successor,)

    @command("restore_prompt", name=NAMES)
    def restore(self, name: str) -> None:
        answer = self._send("POST", self._path(name, "/-/restore"))
        if not self._absent(name, answer):
            assert answer.body["changed"] == self.prompts[name].archived
            self.prompts[name].archived = False

    # Labels

    @command("set_label", name=NAMES, label=LABELS, version=st.integers(1, 4), reason=REASONS)
    def set_label(self, name: str, label: str, version: int, reason: str | None) -> None:
        body = {"version": version, "reason": reason}
        answer = self._send("PUT", self._path(name, f"/-/labels/{label}"), body)
        if self._refuses(name, answer):
            return
        prompt = self.prompts[name]
        if version > len(prompt.versions):
            self._expect(answer, 404, "version_not_found")
            return
        now = prompt.labels[label].target if label in prompt.labels else None
        text = prompt.versions[version - 1]
        if now != version and not self._composes(answer, name, text, None, label, version):
            return
        fresh = label not in prompt.labels
        state = prompt.labels.setdefault(label, ModelLabel())
        self._expect(answer, 201 if fresh else 200)
        assert answer.body["changed"] == (state.target != version)
        if state.target != version:
            state.move(version)

    @rule(name=NAMES, label=LABELS)
    def go_back(self, name: str, label: str) -> None:
        self.rollback(name, label, None)

    @rule(name=NAMES, label=LABELS)
    def release(self, name: str, label: str) -> None:
        """Commit something new and point a label at it: the step that real use is made of."""
        if name not in self.prompts:
            self.create_prompt(name, "one")
        if self.prompts[name].archived:
            self.restore(name)
        self.number = getattr(self, "number", 0) + 1
        self.commit(name, f"text {self.number}", None)
        self.set_label(name, label, self.prompts[name].heads["main"], None)

    @command("remove_label", name=NAMES, label=LABELS)
    def remove_label(self, name: str, label: str) -> None:
        answer = self._send("DELETE", self._path(name, f"/-/labels/{label}"))
        if self._absent(name, answer):
            return
        state = self.prompts[name].labels.get(label)
        if state is None:
            self._expect(answer, 404, "label_not_set")
        elif not self._refuses(name, answer):
            self._expect(answer, 200)
            assert answer.body["changed"] == (state.target is not None)
            state.target = None

    @command("rollback", name=NAMES, label=LABELS, to=st.none() | st.integers(1, 3))
    def rollback(self, name: str, label: str, to: int | None) -> None:
        body = {"label": label, "to": to}
        answer = self._send("POST", self._path(name, "/-/rollback"), body)
        if self._absent(name, answer):
            return
        if self._refuses(name, answer):
            return
        state = self.prompts[name].labels.get(label)
        if state is None or state.target is None:
            self._expect(answer, 404, "label_not_set")
        elif to is not None and to not in state.ever:
            self._expect(answer, 409, "never_live")
        elif to is None and len(state.returns) < 2:
            self._expect(answer, 409, "no_earlier_target")
        else:
            target = state.returns[-2] if to is None else to
            text = self.prompts[name].versions[target - 1]
            if state.target != target and not self._composes(
                answer, name, text, None, label, target
            ):
                return
            self._expect(answer, 200)
            assert answer.body["changed"] == (state.target != target)
            if state.target != target:
                state.roll_back(target)
