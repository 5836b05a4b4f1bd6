"""A state machine against a model: no way gives one person alone what takes two.

The model knows the rules, who holds what, and who asked for and agreed to what; it says of every
try what the answer is. In the end verification decides everything again.
"""

import os
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from tests.api.rules import command
from tests.harness import Answer, Sync, registry_thread, verify

EXAMPLES = 150 if os.environ.get("SCRINIA_LONG") == "1" else 30
STEPS = 40
ADMINS = st.sampled_from(["ann", "ben", "robot"])
PEOPLE = ("ann", "ben")
PROMOTE, WRITE, GIVE = "environment.promote", "prompt.write", "access.write"
PERMITS = {
    "viewer": frozenset(), "developer": frozenset({WRITE}), "releaser": frozenset({PROMOTE}),
    "admin": frozenset({PROMOTE, WRITE, GIVE}),
}  # fmt: skip
GRANTS = st.sampled_from(
    [("viewer", None), ("developer", None), ("releaser", None), ("releaser", "production"),
     ("releaser", "staging"), ("admin", None), ("mine", None)]
)  # fmt: skip
PERMISSIONS = st.sets(st.sampled_from([PROMOTE, WRITE, GIVE, "prompt.read"]), min_size=1)
ENTRIES = st.sets(
    st.sampled_from([(PROMOTE, "production"), (PROMOTE, None), (WRITE, None), (GIVE, None)])
)
INDEX = st.integers(0, 30)


@dataclass
class Wanted:
    """Something to give: how to do it, how to ask for it, what it comes to."""

    kind: str
    body: dict[str, Any]
    path: tuple[str, str, Any]
    takes_two: Callable[[], bool]
    changes: Callable[[], bool]
    done: Callable[[], None]


@dataclass
class Asked:
    request_id: str
    wanted: Wanted
    by: str
    rules: set[tuple[str, str | None]]
    status: str = "open"
    approved_by: str | None = None
    tokens: int = 0
    has: int = 0


@dataclass
class Holder:
    principal_id: str
    grants: set[tuple[str, str | None]] = field(default_factory=set)
    member: bool = False
    tokens: int = 0
    has: int = 0


class SecondPersonMachine(RuleBasedStateMachine):
    client: Sync
    callers: dict[str, Sync]
    ids: dict[str, str]
    given = refused = 0

    @initialize()
    def begin(self) -> None:
        self.asked: list[Asked] = []
        self.away = False
        self.client.ok("POST", f"/v1/principals/{self.ids['ben']}/resume")
        self.rules = {
            (one["permission"], one.get("environment"))
            for one in self.client.ok("GET", "/v1/access/rules")["second_person"]
        }
        self.role, self.permits = f"mine{uuid.uuid4().hex[:8]}", frozenset({"prompt.read"})
        body = {"permissions": ["prompt.read"]}
        self.client.ok("PUT", f"/v1/roles/{self.role}", body)
        self._begin_with({(GIVE, None), (PROMOTE, "production")})
        self.holders = {name: Holder(self._principal(name)) for name in ("service", "group")}

    def _begin_with(self, entries: set[tuple[str, str | None]]) -> None:
        """The same rules for every sequence."""
        wanted = self._ruled(entries)
        if not self.rules:
            self._alone("ann", wanted)
        elif wanted.changes():
            made = self.client.ok("POST", "/v1/access/requests", {"rules": wanted.body})
            path = f"/v1/access/requests/{made['request_id']}"
            self.callers["ben"].ok("POST", f"{path}/approve")
            self.client.ok("POST", f"{path}/apply")
            wanted.done()

    def _principal(self, type_: str) -> str:
        body = {"type": type_, "name": "x"}
        return str(self.client.ok("POST", "/v1/principals", body)["principal_id"])

    # What the model says

    def _reached(self, grants: set[tuple[str, str | None]]) -> bool:
        return any(self._reaches(entry, grant) for entry in self.rules for grant in grants)

    def _reaches(self, entry: tuple[str, str | None], grant: tuple[str, str | None]) -> bool:
        (permission, protected), (role, environment) = entry, grant
        if permission not in (self.permits if role == "mine" else PERMITS[role]):
            return False
        if environment is None:
            return True
        return permission == PROMOTE and protected in (None, environment)

    def _holds(self) -> set[tuple[str, str | None]]:
        service = self.holders["service"]
        return service.grants | (self.holders["group"].grants if service.member else set())

    # What there is to give

    def _grant(self, whose: str, grant: tuple[str, str | None]) -> Wanted:
        holder, (role, environment) = self.holders[whose], grant
        body = {
            "principal_id": holder.principal_id, "role": self.role if role == "mine" else role,
            "project": "acme", "environment": environment,
        }  # fmt: skip
        return Wanted(
            "grant", body, ("POST", "/v1/grants", body), lambda: self._reached({grant}),
            lambda: grant not in holder.grants, lambda: self._had(holder, grant),
        )  # fmt: skip

    def _membership(self) -> Wanted:
        service, group = self.holders["service"], self.holders["group"]
        path = f"/v1/principals/{service.principal_id}/groups/{group.principal_id}"
        body = {"principal_id": service.principal_id, "group_id": group.principal_id}
        return Wanted(
            "membership", body, ("PUT", path, None), lambda: self._reached(group.grants),
            lambda: not service.member, self._joined,
        )  # fmt: skip

    def _token(self) -> Wanted:
        body = {"principal_id": self.holders["service"].principal_id}
        return Wanted(
            "token", body, ("POST", "/v1/tokens", body), lambda: self._reached(self._holds()),
            lambda: True, self._issued,
        )  # fmt: skip

    def _had(self, holder: Holder, grant: tuple[str, str | None]) -> None:
        holder.grants.add(grant)
        holder.has += 1

    def _joined(self) -> None:
        self.holders["service"].member = True
        self.holders["service"].has += 1

    def _issued(self) -> None:
        self.holders["service"].tokens += 1

    def _widened(self, permissions: set[str]) -> Wanted:
        body = {"permissions": sorted(permissions)}
        return Wanted(
            "role", {"role": self.role, **body}, ("PUT", f"/v1/roles/{self.role}", body),
            lambda: any(permission in permissions - self.permits for permission, _ in self.rules),
            lambda: permissions != self.permits,
            lambda: setattr(self, "permits", frozenset(permissions)),
        )  # fmt: skip

    def _ruled(self, entries: set[tuple[str, str | None]]) -> Wanted:
        body = {
            "second_person": [
                {"permission": permission} | ({"environment": place} if place else {})
                for permission, place in entries
            ]
        }
        return Wanted(
            "rules", body, ("PUT", "/v1/access/rules", body), lambda: bool(self.rules),
            lambda: entries != self.rules, lambda: setattr(self, "rules", set(entries)),
        )  # fmt: skip

    # Alone

    def _alone(self, by: str, wanted: Wanted) -> None:
        answer = self.callers[by].call(*wanted.path)
        if self.away and by == "ben":
            assert answer.status == 401
        elif self._incomplete(wanted):
            assert (answer.status, answer.code) == (422, "invalid"), answer.body
        elif wanted.changes() and wanted.takes_two():
            assert (answer.status, answer.code) == (403, "second_person_needed"), answer.body
            type(self).refused += 1
        elif not self._enough(wanted):
            assert (answer.status, answer.code) == (409, "last_admin"), answer.body
        else:
            assert answer.status in (200, 201), answer.body
            wanted.done()

    def _incomplete(self, wanted: Wanted) -> bool:
        """Who gives access gives everything: rules name that, or nothing."""
        entries = wanted.body.get("second_person")
        return bool(entries) and {"permission": GIVE} not in entries

    def _enough(self, wanted: Wanted) -> bool:
        """Two people are there before one of them needs the other."""
        first = wanted.kind == "rules" and wanted.body["second_person"] and not self.rules
        return not (first and self.away)

    @rule(by=ADMINS, whose=st.sampled_from(["service", "group"]), grant=GRANTS)
    def give(self, by: str, whose: str, grant: tuple[str, str | None]) -> None:
        self._alone(by, self._grant(whose, grant))

    @rule(by=ADMINS)
    def join(self, by: str) -> None:
        self._alone(by, self._membership())

    @rule(by=ADMINS)
    def issue(self, by: str) -> None:
        self._alone(by, self._token())

    @rule(by=ADMINS, permissions=PERMISSIONS)
    def widen(self, by: str, permissions: set[str]) -> None:
        self._alone(by, self._widened(permissions))

    @command("set_access_rules", by=ADMINS, entries=ENTRIES)
    def govern(self, by: str, entries: set[tuple[str, str | None]]) -> None:
        self._alone(by, self._ruled(entries))

    # Together

    @command("request_access", by=ADMINS, which=st.integers(0, 3), whose=st.booleans(),
             grant=GRANTS, entries=ENTRIES, at_once=st.booleans())  # fmt: skip
    def ask(
        self, by: str, which: int, whose: bool, grant: tuple[str, str | None],
        entries: set[tuple[str, str | None]], at_once: bool,
    ) -> None:  # fmt: skip
        holder = "service" if whose else "group"
        wanted = (
            self._grant(holder, grant) if which == 0 else self._membership() if which == 1
            else self._token() if which == 2 else self._ruled(entries)
        )  # fmt: skip
        answer = self._as(by, "POST", "/v1/access/requests", {wanted.kind: wanted.body})
        if answer is None:
            return
        if by not in PEOPLE:
            assert (answer.status, answer.code) == (403, "forbidden")
        elif self._incomplete(wanted):
            assert (answer.status, answer.code) == (422, "invalid")
        elif wanted.changes() and wanted.takes_two():
            if which == 0 and not whose:
                assert (answer.status, answer.code) == (422, "invalid")  # nobody gives it to groups
                return
            assert answer.status == 201, answer.body
            self.asked.append(Asked(answer.body["request_id"], wanted, by, set(self.rules)))
            if at_once:
                self.agree(len(self.asked) - 1)
        else:
            assert answer.status == 409, answer.body

    def _as(self, by: str, method: str, path: str, body: Any = None) -> Answer | None:
        answer = self.callers[by].call(method, path, body)
        if self.away and by == "ben":
            assert answer.status == 401
            return None
        return answer

    def _step(self, by: str, asked: Asked, step: str) -> Answer | None:
        return self._as(by, "POST", f"/v1/access/requests/{asked.request_id}/{step}")

    @precondition(lambda self: self.asked)
    @command("approve_access", by=ADMINS, index=INDEX)
    def approve(self, by: str, index: int) -> None:
        asked = self.asked[index % len(self.asked)]
        answer = self._step(by, asked, "approve")
        if answer is None:
            return
        if by == asked.by or by not in PEOPLE:
            assert (answer.status, answer.code) == (403, "forbidden")
        elif asked.status == "approved" and asked.approved_by == by:
            assert answer.status == 200 and not answer.body["changed"]
        elif asked.status == "open":
            assert answer.status == 200, answer.body
            asked.status, asked.approved_by = "approved", by
            asked.tokens = self.holders["service"].tokens
            asked.has = self.holders["service"].has
        else:
            assert (answer.status, answer.code) == (409, "access_request_closed")

    @precondition(lambda self: self.asked)
    @command("reject_access", by=ADMINS, index=INDEX, often=st.integers(0, 2))
    def reject(self, by: str, index: int, often: int) -> None:
        asked = self.asked[index % len(self.asked)]
        answer = None if often else self._step(by, asked, "reject")
        if answer is None:
            return
        if asked.status == "applied":
            assert (answer.status, answer.code) == (409, "access_request_closed")
        else:
            assert answer.status == 200
            asked.status = "rejected"

    @precondition(lambda self: self.asked)
    @command("apply_access", by=ADMINS, index=INDEX)
    def apply(self, by: str, index: int) -> None:
        asked = self.asked[index % len(self.asked)]
        answer = self._step(by, asked, "apply")
        if answer is None:
            return
        if by != asked.by:
            assert (answer.status, answer.code) == (403, "forbidden")
        elif asked.status != "approved":
            assert (answer.status, answer.code) == (409, "access_request_closed")
        elif self._moved(asked) or not asked.wanted.changes():
            assert answer.status == 409 and answer.code in ("conflict", "last_admin"), answer.body
        else:
            assert answer.status in (200, 201), answer.body
            asked.status = "applied"
            asked.wanted.done()
            type(self).given += 1

    def _moved(self, asked: Asked) -> bool:
        """Whether it is not what was agreed to any more."""
        if self.away and asked.approved_by == "ben":
            return True
        if asked.wanted.kind == "rules":
            return asked.rules != self.rules
        service = self.holders["service"]
        if asked.wanted.kind == "token":
            return asked.has != service.has
        return asked.tokens != service.tokens

    @precondition(lambda self: self.asked)
    @rule(index=INDEX)
    def agree(self, index: int) -> None:
        """As it should be: another person approves, who asked applies."""
        index %= len(self.asked)
        asker = self.asked[index].by
        self.approve("ann" if asker == "ben" else "ben", index)
        self.apply(asker, index)

    @rule(often=st.integers(0, 2))
    def leave_and_return(self, often: int) -> None:
        """One of the two is suspended, and comes back."""
        if often and not self.away:
            return
        self.away = not self.away
        step = "suspend" if self.away else "resume"
        self.client.ok("POST", f"/v1/principals/{self.ids['ben']}/{step}")

    @rule()
    def take_away(self) -> None:
        """Taking takes nobody else."""
        for holder in self.holders.values():
            held = self.client.ok("GET", f"/v1/grants?principal_id={holder.principal_id}")
            for one in held["items"][:1]:
                self.client.ok("DELETE", f"/v1/grants/{one['grant_id']}")
                role = "mine" if one["role"] == self.role else one["role"]
                holder.grants.remove((role, one["scope"].get("environment")))
                holder.has += 1

    def teardown(self) -> None:
        for holder in self.holders.values():
            held = self.client.ok("GET", f"/v1/grants?principal_id={holder.principal_id}")
            assert len(held["items"]) == len(holder.grants)


@pytest.fixture
def client(tmp_path: Path, database_url: str | None) -> Iterator[Sync]:
    with registry_thread(tmp_path, database_url=database_url) as client:
        yield client


def _admin(client: Sync, type_: str) -> tuple[str, Sync]:
    made = client.ok("POST", "/v1/principals", {"type": type_, "name": "x"})
    about = {"principal_id": made["principal_id"]}
    client.ok("POST", "/v1/grants", about | {"role": "admin"})
    token = client.ok("POST", "/v1/tokens", about)["token"]
    return made["principal_id"], Sync(client.url, token)


@pytest.mark.timeout(600)
def test_nobody_gives_it_alone(client: Sync, tmp_path: Path, database_url: str | None) -> None:
    client.ok("POST", "/v1/projects", {"project": "acme"})
    (ben, as_ben), (_, as_robot) = _admin(client, "person"), _admin(client, "service")
    machine = type(
        "Machine",
        (SecondPersonMachine,),
        {
            "client": client,
            "callers": {"ann": client, "ben": as_ben, "robot": as_robot},
            "ids": {"ben": ben},
        },
    )
    case = machine.TestCase
    case.settings = settings(
        max_examples=EXAMPLES,
        stateful_step_count=STEPS,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    case().runTest()
    assert machine.given >= 1 and machine.refused >= EXAMPLES
    assert verify(tmp_path / "data", database_url).faults == []
