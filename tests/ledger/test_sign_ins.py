"""Verification decides sign-ins again: nobody came in whom the log does not let in."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from domain import user_session
from tests.harness import registry
from tests.ledger.past import Edit, Fields, Past, actor, authz, data
from tests.sign_in.people import code_of, enrol, new_person, set_first_password

DAYS_31 = "2099-01-01T00:00:00+00:00"


class Doors(Past):
    """People who came and went."""

    async def live_through(self, folder: Path) -> "Doors":
        async with registry(folder) as api:
            await api.make_prompt("acme/mail")
            ada = await new_person(api, "ada@example.com", {"role": "developer"})
            bob = await new_person(api, "bob@example.com")
            first = await ada.session()
            second = await first.refreshed()
            metadata = "/v1/projects/acme/prompts/mail/-/metadata"
            await second.api.ok("PATCH", metadata, {"tags": ["t"]})
            secret, codes = await enrol(second)
            third = await ada.session(code=code_of(secret))
            await ada.session(code=codes[0])
            stolen = await bob.session()
            await stolen.refreshed()
            user_session.GRACE_SECONDS, kept = 0.0, user_session.GRACE_SECONDS
            assert (await stolen.refresh()).status == 401
            user_session.GRACE_SECONDS = kept
            for _ in range(11):
                await bob.sign_in(password="wrong")
            await third.api.ok("POST", "/v1/auth/logout")
            await set_first_password(ada, second_factor=True)
            session = (await ada.session()).body["session_id"]
            await api.ok("DELETE", f"/v1/sessions/{session}")
            await api.ok("DELETE", f"/v1/principals/{ada.principal_id}/sessions")
            await api.ok("DELETE", f"/v1/principals/{ada.principal_id}/login")
            await api.ok("PUT", "/v1/auth/rules", {"second_factor": "required"})
            self.names = {
                "ada": ada.principal_id,
                "bob": bob.principal_id,
                "stolen": stolen.body["session_id"],
            }
            self.take(api)
        return self


@pytest.fixture(scope="module")
def doors(tmp_path_factory: pytest.TempPathFactory) -> Doors:
    return asyncio.run(Doors().live_through(tmp_path_factory.mktemp("doors")))


def as_of(who: str) -> Edit:
    """Said to be done for somebody else."""

    def edit(fields: Fields, names: dict[str, Any]) -> None:
        fields["actor"]["id"] = names[who]
        fields["authz"]["resource"] = f"principals/{names[who]}"

    return edit


def of_request(fields: Fields, names: dict[str, Any]) -> None:
    fields["request"]["id"] = "another"


def test_what_happened_was_allowed(doors: Doors) -> None:
    assert doors.fault(-1, None) is None
    kinds = {one.kind_verb for one in doors.events}
    assert {"session.begun", "totp.used", "signin.locked", "recovery.used"} <= kinds


CASES = [
    # Sessions that were not begun so.
    ("session.begun", 0, data(factors=["password", "totp"]), "claims a factor"),
    ("session.begun", 0, data(factors=["oidc"]), "claims a factor"),
    ("session.begun", 0, data(generation=1), "does not sign in"),
    ("session.begun", 0, data(principal_id="bob"), "for somebody else"),
    ("session.begun", 0, data(expires_at=DAYS_31), "lasts longer"),
    ("session.begun", 0, data(access_expires_at=DAYS_31), "gives access for longer"),
    ("session.begun", 0, actor(credential="second-hand"), "another session"),
    ("session.begun", 0, actor(via="oidc"), "was not let in so"),
    ("session.begun", 0, actor(via="refresh"), "does not make it"),
    ("session.begun", 0, as_of("bob"), "for somebody else"),
    ("session.begun", 0, authz(policy="self/1"), "does not allow"),
    ("session.begun", 0, authz(policy="roles/1"), "no grant can allow"),
    ("session.begun", 0, authz(permission="self"), "for somebody else"),
    ("session.begun", 1, of_request, "lacks the second factor"),
    ("session.begun", 1, data(factors=["password"]), "lacks the second factor"),
    ("session.begun", 1, data(factors=["password", "recovery"]), "lacks the second factor"),
    ("session.begun", 2, data(factors=["password", "totp"]), "lacks the second factor"),
    ("session.refreshed", 0, data(number=3), "not the next exchange"),
    ("session.refreshed", 0, data(access_expires_at=DAYS_31), "gives access for longer"),
    ("session.refreshed", 0, actor(via="password"), "does not make it"),
    ("session.refreshed", 0, as_of("bob"), "for somebody else"),
    ("session.ended", 0, data(cause="revoked"), "not used again"),
    ("session.ended", 0, authz(policy="roles/1"), "needs access.write"),
    ("session.ended", 1, authz(policy="signin/1"), "for somebody else"),
    # Codes that counted twice, or that nobody has.
    ("totp.used", 0, data(step=1), "a code that was used"),
    ("recovery.used", 0, data(secret_sha256="00" * 32), "does not count"),
    ("recovery.used", 2, data(secret_sha256="00" * 32), "does not count"),
    ("recovery.used", 0, data(of="codes"), "does not count"),
    ("password.set", 0, of_request, "without the code"),
    ("password.set", 0, authz(policy="roles/1"), "no grant can allow"),
    ("password.set", 0, data(keeps="second"), "keeps a session over a recovery"),
    ("password.set", 0, data(number=7), "not the next password"),
    ("recovery.issued", 0, data(expires_at=DAYS_31), "lasts longer than 72 hours"),
    ("recovery.issued", 2, data(second_factor=False), None),
    ("totp.used", 0, data(step=10**9), "a code of another time"),
    ("totp.enrolled", 0, data(step=0), "by a code of another time"),
    ("totp.removed", 0, of_request, "without the code"),
    ("totp.enrolled", 0, as_of("bob"), "on somebody else"),
    # Locks, names, rules.
    ("signin.locked", 0, data(until=DAYS_31), "does not allow"),
    ("signin.locked", 0, actor(via="schedule"), "another actor"),
    ("signin.locked", 0, authz(policy="roles/1"), "registry\'s own act"),
    ("signin.granted", 0, authz(policy="signin/1", permission="signin"), "does not allow"),
    ("login.claimed", 0, data(principal_id="bob"), "needs access.write on"),
    ("recovery.issued", 0, authz(grants=[]), "names other grants"),
    ("signinrules.set", 0, authz(resource="registry"), "needs access.write on"),
    ("session.ended", 2, authz(resource="registry"), "needs access.write on"),
    # What is done inside, with a session that does not let one.
    ("prompt.described", 0, actor(credential="nonsense"), "token not live"),
    ("prompt.described", 0, actor(credential="bob"), "token not live"),
    ("prompt.described", 0, actor(credential="stolen"), "token not live"),
]  # fmt: skip


@pytest.mark.parametrize(("kind_verb", "number", "edit", "words"), CASES)
def test_what_was_not_allowed_is_found(
    doors: Doors, kind_verb: str, number: int, edit: Edit, words: str | None
) -> None:
    at = doors.find(kind_verb, number)
    found = doors.fault(at, edit)
    if words is None:  # what follows is what objects
        assert found is not None and doors.events[found[0]].kind_verb == "totp.removed"
        return
    assert found is not None and found[0] == at and words in found[1], (at, found)


@pytest.mark.parametrize(
    ("left_out", "number", "objected", "words"),
    [
        ("password.set", 0, "session.begun", "does not sign in"),
        ("totp.used", 0, "session.begun", "lacks the second factor"),
        ("recovery.issued", 0, "recovery.used", "does not count"),
        ("recovery.used", 0, "password.set", "without the code"),
        ("session.begun", 0, "session.refreshed", "for somebody else"),
        ("session.refreshed", 1, "session.ended", "not used again"),
    ],
)  # fmt: skip
def test_what_it_rested_on_cannot_be_left_out(
    doors: Doors, left_out: str, number: int, objected: str, words: str
) -> None:
    index, fault = doors.fault(doors.find(left_out, number), None)
    assert doors.events[index].kind_verb == objected and words in fault, fault
