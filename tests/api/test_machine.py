"""A hypothesis state machine drives the API against a model that imports nothing from the domain.

Every command route has a rule. After each sequence the past is asked again (`as_of` every step),
and after all of them every view is compared with one built from zero.
"""

import os
import uuid
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule

from api.http.openapi import document
from api.http.routes import ROUTES
from ledger.signing import Signer
from ledger.trust import possession_text
from tests.api.branch_rules import BranchRules
from tests.api.model import ModelPrompt, Refused, compose
from tests.api.prompt_rules import PromptRules
from tests.api.rules import COVERED, EXAMPLES, GUARDRAILS, LABELS, NAMES, STEPS, TYPES, command
from tests.harness import Answer, Sync, registry_thread, text_content, verify


class RegistryMachine(PromptRules, BranchRules):
    own_key: str | None = None  # of the admin, whom all sequences share

    @initialize()
    def begin(self) -> None:
        type(self).sequences += 1
        self.project = f"p-{uuid.uuid4().hex[:20]}"
        self.prompts: dict[str, ModelPrompt] = {}
        self.principals: dict[str, str] = {}
        self.grants: dict[str, tuple[str, str]] = {}
        self.tokens: dict[str, tuple[str, str, bool]] = {}
        self.keys: dict[str, bool] = {}
        self.group: str | None = None
        self.members: set[str] = set()
        self.role: set[str] | None = None
        self.ledger = self.client.ok("GET", "/v1/version")["ledger"]
        self.guardrails: dict[str, str] = {}
        self.webhooks: dict[str, dict[str, object]] = {}
        self.sent: list[tuple[str, str, dict | None, str, Answer]] = []
        self.moments: list[tuple[int, str, str, tuple[int, object]]] = []
        self.made_project = False
        self._create_project()
        self.create_prompt("a", "one")
        self.release("a", "production")

    # Access

    @command("create_principal")
    def create_principal(self) -> None:
        answer = self._send("POST", "/v1/principals", {"type": "service", "name": "bot"})
        self._expect(answer, 201)
        self.principals[answer.body["principal_id"]] = "active"

    @precondition(lambda self: self.principals)
    @command("change_principal", data=st.data())
    def deactivate(self, data: st.DataObject) -> None:
        chosen = data.draw(st.sampled_from(sorted(self.principals)))
        answer = self._send("PATCH", f"/v1/principals/{chosen}", {"active": False})
        self._expect(answer, 200)
        assert answer.body["changed"] == (self.principals[chosen] != "gone")
        self.principals[chosen] = "gone"

    @precondition(lambda self: self.principals)
    @command("suspend_principal", data=st.data())
    def suspend(self, data: st.DataObject) -> None:
        chosen = data.draw(st.sampled_from(sorted(self.principals)))
        answer = self._send("POST", f"/v1/principals/{chosen}/suspend")
        self._expect(answer, 200)
        assert answer.body["changed"] == (self.principals[chosen] == "active")
        if answer.body["changed"]:
            self.principals[chosen] = "suspended"

    @precondition(lambda self: self.principals)
    @command("resume_principal", data=st.data())
    def resume(self, data: st.DataObject) -> None:
        chosen = data.draw(st.sampled_from(sorted(self.principals)))
        answer = self._send("POST", f"/v1/principals/{chosen}/resume")
        if self.principals[chosen] == "gone":
            self._expect(answer, 409, "principal_inactive")
            return
        self._expect(answer, 200)
        assert answer.body["changed"] == (self.principals[chosen] == "suspended")
        self.principals[chosen] = "active"

    @precondition(lambda self: self.principals)
    @command("give_grant", data=st.data(), role=st.sampled_from(["viewer", "developer"]))
    def give_grant(self, data: st.DataObject, role: str) -> None:
        chosen = data.draw(st.sampled_from(sorted(self.principals)))
        body = {"principal_id": chosen, "role": role, "project": self.project}
        answer = self._send("POST", "/v1/grants", body)
        if (chosen, role) in self.grants.values():
            self._expect(answer, 200)
            assert not answer.body["changed"]
        elif self.principals[chosen] == "gone":
            self._expect(answer, 409, "principal_inactive")
        else:
            self._expect(answer, 201)
            self.grants[answer.body["grant_id"]] = (chosen, role)

    def _membership(self, data: st.DataObject) -> tuple[str, str]:
        chosen = data.draw(st.sampled_from(sorted(self.principals)))
        if self.group is None:
            made = self._send("POST", "/v1/principals", {"type": "group", "name": "all"})
            self.group = made.body["principal_id"]
        return chosen, f"/v1/principals/{chosen}/groups/{self.group}"

    @precondition(lambda self: self.principals)
    @command("join_group", data=st.data())
    def join_group(self, data: st.DataObject) -> None:
        chosen, path = self._membership(data)
        answer = self._send("PUT", path)
        if self.principals[chosen] == "gone":
            self._expect(answer, 409, "principal_inactive")
        else:
            self._expect(answer, 200 if chosen in self.members else 201)
            self.members.add(chosen)

    @precondition(lambda self: self.principals)
    @command("leave_group", data=st.data())
    def leave_group(self, data: st.DataObject) -> None:
        chosen, path = self._membership(data)
        answer = self._send("DELETE", path)
        self._expect(answer, 200)
        assert answer.body["changed"] == (chosen in self.members)
        self.members.discard(chosen)

    @command("register_actor_key")
    def register_own_key(self) -> None:
        me = self.client.ok("GET", "/v1/whoami")["principal_id"]
        if self.own_key is not None:
            self.retire_own_key(me)
        signer = Signer(os.urandom(32))
        proof = signer.sign(possession_text(self.ledger, f"actor/{me}"))
        body = {"public_key": signer.public_key.hex(), "proof": proof.hex()}
        answer = self._send("POST", f"/v1/principals/{me}/keys", body)
        self._expect(answer, 201)
        type(self).own_key = answer.body["key_id"]

    @command("retire_actor_key")
    def retire_own(self) -> None:
        me = self.client.ok("GET", "/v1/whoami")["principal_id"]
        if self.own_key is None:
            missing = f"/v1/principals/{me}/keys/sha256:{'0' * 64}"
            self._expect(self._send("DELETE", missing), 404, "not_found")
        else:
            self.retire_own_key(me)

    def retire_own_key(self, me: str) -> None:
        answer = self._send("DELETE", f"/v1/principals/{me}/keys/{self.own_key}")
        self._expect(answer, 200)
        type(self).own_key = None

    @property
    def _role(self) -> str:
        return f"/v1/roles/r{self.project[2:]}"

    @command("define_role", permissions=st.sets(
        st.sampled_from(["prompt.read", "prompt.write"]), min_size=1))  # fmt: skip
    def define_role(self, permissions: set[str]) -> None:
        answer = self._send("PUT", self._role, {"permissions": sorted(permissions)})
        self._expect(answer, 201 if self.role is None else 200)
        assert answer.body["changed"] == (permissions != self.role)
        self.role = permissions

    @command("remove_role")
    def remove_role(self) -> None:
        answer = self._send("DELETE", self._role)
        if self.role is None:
            self._expect(answer, 404, "not_found")
        else:
            self._expect(answer, 200)
            assert answer.body["changed"] == bool(self.role)
            self.role = set()

    @precondition(lambda self: self.grants)
    @command("revoke_grant", data=st.data())
    def revoke_grant(self, data: st.DataObject) -> None:
        chosen = data.draw(st.sampled_from(sorted(self.grants)))
        self._expect(self._send("DELETE", f"/v1/grants/{chosen}"), 200)
        del self.grants[chosen]
        self._expect(self._send("DELETE", f"/v1/grants/{chosen}"), 404)

    @precondition(lambda self: self.principals)
    @command("issue_token", data=st.data())
    def issue_token(self, data: st.DataObject) -> None:
        chosen = data.draw(st.sampled_from(sorted(self.principals)))
        answer = self._send("POST", "/v1/tokens", {"principal_id": chosen})
        if self.principals[chosen] == "gone":
            self._expect(answer, 409, "principal_inactive")
            return
        self._expect(answer, 201)
        self.tokens[answer.body["token_id"]] = (chosen, answer.body["token"], True)

    @precondition(lambda self: self.tokens)
    @command("revoke_token", data=st.data())
    def revoke_token(self, data: st.DataObject) -> None:
        chosen = data.draw(st.sampled_from(sorted(self.tokens)))
        owner, secret, live = self.tokens[chosen]
        answer = self._send("DELETE", f"/v1/tokens/{chosen}")
        self._expect(answer, 200)
        assert answer.body["changed"] == live
        self.tokens[chosen] = (owner, secret, False)

    # What must hold whatever was done

    @precondition(lambda self: self.sent)
    @rule(data=st.data())
    def a_retry_returns_the_first_answer(self, data: st.DataObject) -> None:
        method, path, body, key, first = data.draw(st.sampled_from(self.sent[-8:]))
        headers = {"Idempotency-Key": key}
        again = self.client.call(method, path, body, headers=headers)
        assert again.headers["Idempotency-Replayed"] == "true"
        expected = {k: None if k in ("token", "secret") else v for k, v in first.body.items()}
        assert {k: v for k, v in again.body.items() if k != "note"} == expected
        other = self.client.call(method, path, {"reason": "x"}, headers=headers)
        assert (other.status, other.code) in (
            (422, "idempotency_key_reused"), (422, "invalid_request"),
        )  # fmt: skip

    @rule(name=NAMES, label=LABELS)
    def resolving_agrees(self, name: str, label: str) -> None:
        answer = self.client.call("GET", self._path(name, f"?label={label}"))
        outcome = self._resolved(name, label, answer)
        self.moments.append((self.client.position, name, label, outcome))

    def _resolved(self, name: str, label: str, answer: Answer) -> tuple[int, object]:
        prompt = self.prompts.get(name)
        state = prompt.labels.get(label) if prompt else None
        if prompt is None:
            self._expect(answer, 404, "not_found")
            return 404, None
        if state is None or state.target is None:
            self._expect(answer, 404, "label_not_set")
            return 404, None
        place = name, state.target
        try:
            text = compose(self.prompts, place, prompt.versions[state.target - 1], {})
        except Refused as refused:
            self._expect(answer, 409, str(refused))
            return 409, None
        self._expect(answer, 200)
        assert answer.body["content"]["text"] == text
        assert answer.body["version"] == state.target
        return 200, answer.body

    # Guardrails, of folders in which nothing lies

    @command("set_guardrail", guardrail=GUARDRAILS, prompt=st.sampled_from(["a", "folder/b@1"]))
    def set_guardrail(self, guardrail: str, prompt: str) -> None:
        body = {"prompt": prompt, "folder": "empty"}
        path = f"/v1/projects/{self.project}/guardrails/{guardrail}"
        answer = self._send("PUT", path, body)
        name, _, at = prompt.partition("@")
        text = f"{{{{> {name}@{at or 'production'}}}}}"
        if self._composes(answer, "", text, None):
            was = self.guardrails.get(guardrail)
            self._expect(answer, 200 if was else 201)
            assert answer.body["changed"] == (was != prompt)
            self.guardrails[guardrail] = prompt

    @command("remove_guardrail", guardrail=GUARDRAILS)
    def remove_guardrail(self, guardrail: str) -> None:
        path = f"/v1/projects/{self.project}/guardrails/{guardrail}"
        answer = self._send("DELETE", path)
        self._expect(answer, 200 if self.guardrails.pop(guardrail, None) else 404)

    # Webhooks, of types there are no events of: nothing is sent

    @command("create_webhook", types=TYPES)
    def create_webhook(self, types: list[str]) -> None:
        body = {"url": "https://localhost/", "project": self.project, "types": types}
        answer = self._send("POST", "/v1/webhooks", body)
        self._expect(answer, 201)
        assert answer.body["secret"].startswith("whsec_")
        self.webhooks[answer.body["webhook_id"]] = {
            "types": types, "enabled": True, "secrets": 1, "alive": True,
        }  # fmt: skip

    def _webhook(self, data: st.DataObject, method: str, rest: str = "", body: dict | None = None
                 ) -> tuple[dict[str, object], Answer] | None:  # fmt: skip
        """One of them, and the answer where it is not deleted."""
        webhook_id = data.draw(st.sampled_from(sorted(self.webhooks)))
        webhook = self.webhooks[webhook_id]
        answer = self._send(method, f"/v1/webhooks/{webhook_id}{rest}", body)
        if webhook["alive"]:
            return webhook, answer
        self._expect(answer, 404, "not_found")
        return None

    @command("change_webhook", data=st.data(), types=TYPES, enabled=st.booleans())
    @precondition(lambda self: self.webhooks)
    def change_webhook(self, data: st.DataObject, types: list[str], enabled: bool) -> None:
        if found := self._webhook(data, "PATCH", "", {"types": types, "enabled": enabled}):
            webhook, answer = found
            changed = (webhook["types"], webhook["enabled"]) != (types, enabled)
            self._expect(answer, 200)
            assert answer.body["changed"] == changed
            webhook.update(types=types, enabled=enabled)

    @command("rotate_webhook_secret", data=st.data())
    @precondition(lambda self: self.webhooks)
    def rotate_webhook_secret(self, data: st.DataObject) -> None:
        if found := self._webhook(data, "POST", "/rotate-secret"):
            webhook, answer = found
            self._expect(answer, 201)
            webhook["secrets"] += 1

    @command("delete_webhook", data=st.data())
    @precondition(lambda self: self.webhooks)
    def delete_webhook(self, data: st.DataObject) -> None:
        if found := self._webhook(data, "DELETE"):
            webhook, answer = found
            self._expect(answer, 200)
            webhook["alive"] = False

    # Keys: more than the one in use, which is never retired

    @command("register_key")
    def register_key(self) -> None:
        signer = Signer(os.urandom(32))
        proof = signer.sign(possession_text(self.ledger, "event")).hex()
        body = {"purpose": "event", "public_key": signer.public_key.hex(), "proof": proof}
        answer = self._send("POST", "/v1/log/keys", body)
        self._expect(answer, 201)
        assert answer.body["key_id"] == signer.key_id
        self.keys[signer.key_id] = True

    @command("retire_key", data=st.data())
    @precondition(lambda self: self.keys)
    def retire_key(self, data: st.DataObject) -> None:
        key_id = data.draw(st.sampled_from(sorted(self.keys)))
        answer = self._send("DELETE", f"/v1/log/keys/{key_id}")
        self._expect(answer, 200 if self.keys[key_id] else 404)
        self.keys[key_id] = False

    @rule()
    def list_keys(self) -> None:
        items = self.client.ok("GET", "/v1/log/keys")["items"]
        live = {item["key_id"]: item["until"] is None for item in items}
        assert {key_id: live[key_id] for key_id in self.keys} == self.keys
        assert sum(item["used_here"] and item["until"] is None for item in items) == 2

    @rule()
    def list_webhooks(self) -> None:
        page = self.client.ok("GET", f"/v1/webhooks?project={self.project}&limit=500")
        listed = {
            item["webhook_id"]: (item["types"], item["enabled"], item["secrets"][0]["number"])
            for item in page["items"]
        }
        assert listed == {
            webhook_id: (webhook["types"], webhook["enabled"], webhook["secrets"])
            for webhook_id, webhook in self.webhooks.items()
            if webhook["alive"]
        }

    @rule(data=st.data())
    def tokens_open_what_their_principals_may(self, data: st.DataObject) -> None:
        for owner, secret, live in list(self.tokens.values())[-2:]:
            headers = {"Authorization": f"Bearer {secret}"}
            answer = self.client.call("GET", f"/v1/projects/{self.project}", headers=headers)
            if not live or self.principals[owner] != "active":
                self._expect(answer, 401)
            else:
                may = any(holder == owner for holder, _ in self.grants.values())
                self._expect(answer, 200 if may else 404)

    def teardown(self) -> None:
        if not hasattr(self, "prompts"):
            return
        page = self.client.ok("GET", f"/v1/projects/{self.project}/prompts?status=all&limit=500")
        listed = {item["name"]: item for item in page["items"]}
        assert listed.keys() == self.prompts.keys()
        for name, prompt in self.prompts.items():
            item = listed[name]
            labels = {k: v.target for k, v in prompt.labels.items() if v.target is not None}
            assert item["labels"] == labels
            assert (item["description"], item["tags"]) == (prompt.description, prompt.tags)
            assert item["latest_version"] == prompt.heads["main"]
            standing = "deprecated" if prompt.deprecated else "active"
            assert item["status"] == ("archived" if prompt.archived else standing)
        for position, name, label, (status, body) in self.moments:
            path = self._path(name, f"?label={label}&as_of={position}")
            past = self.client.call("GET", path)
            assert (past.status, past.body if status == 200 else None) == (status, body)


@pytest.fixture
def client(tmp_path: Path, database_url: str | None) -> Iterator[Sync]:
    with registry_thread(tmp_path, database_url=database_url) as client:
        yield client


def test_every_command_route_has_a_rule() -> None:
    for other in (
        "tests.api.test_governance_machine", "tests.sign_in.test_machine",
        "tests.governance.test_second_person_machine",
    ):  # fmt: skip
        import_module(other)  # the other machines' rules
    commands = {route.operation_id for route in ROUTES if route.command}
    paths = document(ROUTES)["paths"].values()
    documented = {op["operationId"] for path in paths for op in path.values()}
    assert COVERED == commands and commands <= documented


@pytest.mark.timeout(600)
def test_the_api_agrees_with_the_model(
    client: Sync, tmp_path: Path, database_url: str | None
) -> None:
    machine = type("Machine", (RegistryMachine,), {"client": client})
    case = machine.TestCase
    case.settings = settings(
        max_examples=EXAMPLES,
        stateful_step_count=STEPS,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    case().runTest()
    assert machine.sequences >= 30 and machine.steps >= 30 * 40
    head = client.position
    for name in ("catalog", "audit", "search", "uses", "changes"):
        comparison = client.ok("POST", f"/v1/projections/{name}/compare")
        assert comparison["equal"], comparison
        client.ok("POST", f"/v1/projections/{name}/rebuild")
    assert client.ok("GET", "/v1/events?limit=1")["head"] >= head
    assert verify(tmp_path / "data", database_url).faults == []
