"""A state machine against a model: who comes in, with what, and what counts afterwards.

The model knows passwords, second factors, codes, generations and rules, and says of every try what
the answer is. In the end verification decides every sign-in again.
"""

import os
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from domain import user_session
from tests.api.rules import command
from tests.harness import Answer, Sync, registry_thread, verify
from tests.sign_in.people import code_of

EXAMPLES = 150 if os.environ.get("SCRINIA_LONG") == "1" else 12
STEPS = 40
PASSWORDS = st.sampled_from(["the first password", "the second password"])
NAMES = st.sampled_from(["ann", "ben"])
INDEX = st.integers(0, 30)


@dataclass
class ModelPerson:
    principal_id: str
    login: str | None = None
    password: str | None = None
    secret: str | None = None
    step: int = 0
    codes: list[str] = field(default_factory=list)
    recovery: str | None = None
    drops_factor: bool = False


@dataclass
class ModelSession:
    who: str
    session_id: str
    access: str
    refresh: str
    second: bool
    begun_with: bool
    old: list[str] = field(default_factory=list)
    live: bool = True


class SignInMachine(RuleBasedStateMachine):
    client: Sync
    signed_in = refused = 0

    @initialize()
    def begin(self) -> None:
        self.people: dict[str, ModelPerson] = {}
        self.sessions: list[ModelSession] = []
        self.required = False
        self._rules()
        for name in ("ann", "ben"):
            made = self.client.ok("POST", "/v1/principals", {"type": "person", "name": name})
            self.people[name] = ModelPerson(made["principal_id"])
            self.give_login(name)
            self.hand_out(name, False)
            self.recover(name, "the first password", True)
            self.sign_in(name, "the first password", None)

    def _rules(self) -> None:
        body = {"second_factor": "required" if self.required else "optional"}
        self.client.ok("PUT", "/v1/auth/rules", body)

    def _of(self, name: str, rest: str) -> str:
        return f"/v1/principals/{self.people[name].principal_id}/{rest}"

    def _door(self, path: str, body: dict) -> Answer:
        return Sync(self.client.url, "nobody").call("POST", path, body)

    def _as(self, session: ModelSession) -> Sync:
        return Sync(self.client.url, session.access)

    def _end(self, name: str, keep: ModelSession | None = None) -> None:
        for session in self.sessions:
            if session.who == name and session is not keep:
                session.live = False

    def _session(self, index: int) -> ModelSession:
        return self.sessions[index % len(self.sessions)]

    # Names and recovery

    @command("set_login", name=NAMES)
    def give_login(self, name: str) -> None:
        person = self.people[name]
        login = person.login or f"{name}-{uuid.uuid4().hex}"
        answer = self.client.call("PUT", self._of(name, "login"), {"login": login})
        assert answer.status == (200 if person.login else 201)
        person.login = login

    @command("withdraw_sign_in", name=NAMES, often=st.integers(0, 5))
    def withdraw(self, name: str, often: int) -> None:
        if often:
            return
        person = self.people[name]
        answer = self.client.ok("DELETE", self._of(name, "login"))
        assert answer["changed"] == (person.login is not None)
        self.people[name] = ModelPerson(person.principal_id)
        self._end(name)

    @command("issue_recovery", name=NAMES, second_factor=st.booleans())
    def hand_out(self, name: str, second_factor: bool) -> None:
        person = self.people[name]
        body = {"second_factor": second_factor}
        answer = self.client.call("POST", self._of(name, "recovery"), body)
        assert answer.status == (201 if person.login else 404)
        if person.login:
            person.recovery, person.drops_factor = answer.body["code"], second_factor

    @rule(name=NAMES, password=PASSWORDS, right=st.booleans())
    def recover(self, name: str, password: str, right: bool) -> None:
        person = self.people[name]
        code = person.recovery if right and person.recovery else "scr_guess"
        body = {"login": person.login or "nobody", "code": code, "password": password}
        answer = self._door("/v1/auth/recover", body)
        if code == person.recovery:
            assert answer.status == 200, answer.body
            person.password, person.recovery = password, None
            if person.drops_factor:
                person.secret, person.codes = None, []
            self._end(name)
        else:
            assert answer.status in (401, 429), answer.body

    # In

    @rule(name=NAMES, password=PASSWORDS, way=st.sampled_from([None, "totp", "code", "wrong"]))
    def sign_in(self, name: str, password: str, way: str | None) -> None:
        person = self.people[name]
        body = {"login": person.login or "nobody", "password": password}
        step = int(time.time()) // 30
        if way == "totp" and person.secret:
            body["code"] = code_of(person.secret)
        elif way == "code" and person.codes:
            body["code"] = person.codes[0]
        elif way is not None:
            body["code"] = "000000"
        answer = self._door("/v1/auth/login", body)
        if answer.status == 429:
            assert answer.code == "sign_in_locked"
            return
        known = person.password == password and person.login is not None
        proven = not person.secret or (
            ("code" in body and body["code"] in person.codes)
            or (way == "totp" and step > person.step)
        )
        if not known or not proven:
            expected = "invalid_credentials"
            if known and "code" not in body:
                expected = "second_factor_required"
            assert (answer.status, answer.code) == (401, expected), (answer.body, way)
            type(self).refused += 1
            return
        assert answer.status == 201, answer.body
        if person.secret and body.get("code") in person.codes:
            person.codes.remove(body["code"])
        elif person.secret:
            person.step = step
        self.sessions.append(
            ModelSession(name, answer.body["session_id"], answer.body["access_token"],
                         answer.body["refresh_token"], bool(person.secret), bool(person.secret))
        )  # fmt: skip
        type(self).signed_in += 1

    # Inside

    @precondition(lambda self: self.sessions)
    @rule(index=INDEX)
    def look(self, index: int) -> None:
        session = self._session(index)
        answer = self._as(session).call("GET", "/v1/whoami")
        expected = 401
        if session.live:
            expected = 403 if self.required and not session.second else 200
        assert answer.status == expected, (answer.body, session)

    @precondition(lambda self: self.sessions)
    @rule(index=INDEX, old=st.booleans())
    def refresh(self, index: int, old: bool) -> None:
        session = self._session(index)
        token = session.old[-1] if old and session.old else session.refresh
        answer = self._door("/v1/auth/refresh", {"refresh_token": token})
        if session.live and token == session.refresh:
            assert answer.status == 200, answer.body
            session.old.append(session.refresh)
            session.access = answer.body["access_token"]
            session.refresh = answer.body["refresh_token"]
        else:
            assert (answer.status, answer.code) == (401, "session_over")
            session.live = False

    def _expect(self, session: ModelSession, answer: Answer, *, limited: bool) -> bool:
        """Whether a session could do something; else it was refused as it should be."""
        if not session.live:
            assert answer.status == 401, answer.body
            return False
        if self.required and not session.second and not limited:
            assert answer.code == "second_factor_missing", answer.body
            return False
        return answer.status != 429

    @precondition(lambda self: self.sessions)
    @command("logout", index=INDEX, often=st.integers(0, 3))
    def log_out(self, index: int, often: int) -> None:
        session = self._session(index)
        if often:
            return
        answer = self._as(session).call("POST", "/v1/auth/logout")
        if self._expect(session, answer, limited=True):
            assert answer.status == 200, answer.body
            session.live = False

    @precondition(lambda self: self.sessions)
    @command("set_password", index=INDEX, current=PASSWORDS, new=PASSWORDS)
    def change_password(self, index: int, current: str, new: str) -> None:
        session = self._session(index)
        person = self.people[session.who]
        answer = self._as(session).call(
            "POST", "/v1/auth/password", {"current": current, "new": new}
        )
        if not self._expect(session, answer, limited=True):
            return
        if current != person.password:
            assert answer.code == "invalid_credentials", answer.body
            return
        assert answer.status == 200, answer.body
        person.password = new
        self._end(session.who, keep=session)

    @precondition(lambda self: self.sessions)
    @command("enrol_totp", index=INDEX)
    def enrol(self, index: int) -> None:
        session = self._session(index)
        person = self.people[session.who]
        body = {"password": person.password or "none"}
        proposed = self._as(session).call("POST", "/v1/auth/totp", body)
        if not self._expect(session, proposed, limited=True):
            return
        if person.secret:
            assert proposed.code == "conflict", proposed.body
            return
        assert proposed.status == 200, proposed.body
        step = int(time.time()) // 30
        body |= {"nonce": proposed.body["nonce"], "code": code_of(proposed.body["secret"], -1)}
        answer = self._as(session).call("PUT", "/v1/auth/totp", body)
        if answer.status == 201:
            session.second = True
            self._end(session.who, keep=session)
            person.secret, person.codes = proposed.body["secret"], answer.body["recovery_codes"]
            person.step = step - 1

    @precondition(lambda self: self.sessions)
    @command("remove_own_totp", index=INDEX, password=PASSWORDS)
    def remove_own(self, index: int, password: str) -> None:
        session = self._session(index)
        person = self.people[session.who]
        answer = self._as(session).call("DELETE", "/v1/auth/totp", {"password": password})
        if not self._expect(session, answer, limited=False):
            return
        if password != person.password:
            assert answer.code == "invalid_credentials", answer.body
            return
        assert answer.status == 200, answer.body
        self._drop_factor(session.who)

    def _drop_factor(self, name: str) -> None:
        """Sessions that were begun with it keep it; the one it was enrolled in does not."""
        self.people[name].secret, self.people[name].codes = None, []
        for session in self.sessions:
            if session.who == name:
                session.second = session.begun_with

    # From above

    @command("remove_totp", name=NAMES)
    def remove_factor(self, name: str) -> None:
        self.client.ok("DELETE", self._of(name, "totp"))
        self._drop_factor(name)

    @command("revoke_sessions", name=NAMES)
    def end_all(self, name: str) -> None:
        self.client.ok("DELETE", self._of(name, "sessions"))
        self._end(name)

    @precondition(lambda self: self.sessions)
    @command("end_session", index=INDEX)
    def end_one(self, index: int) -> None:
        session = self._session(index)
        self.client.ok("DELETE", f"/v1/sessions/{session.session_id}")
        session.live = False

    @command("set_sign_in_rules", required=st.booleans())
    def require(self, required: bool) -> None:
        self.required = required
        self._rules()


@pytest.fixture
def client(tmp_path: Path, database_url: str | None) -> Iterator[Sync]:
    with registry_thread(tmp_path, database_url=database_url) as client:
        yield client


@pytest.mark.timeout(600)
def test_nobody_comes_in_otherwise(
    client: Sync, tmp_path: Path, database_url: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(user_session, "GRACE_SECONDS", 0.0)
    monkeypatch.setattr("api.http.tries.ADDRESS_TRIES_MAX", 10**9)
    machine = type("Machine", (SignInMachine,), {"client": client})
    case = machine.TestCase
    case.settings = settings(
        max_examples=EXAMPLES,
        stateful_step_count=STEPS,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    case().runTest()
    assert machine.signed_in >= 2 * EXAMPLES and machine.refused >= 1
    assert verify(tmp_path / "data", database_url).faults == []
