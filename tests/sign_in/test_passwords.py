"""Login names and passwords: who comes in, who does not, and what changes when."""

import asyncio
from pathlib import Path
from unicodedata import normalize

import pytest
from nacl.pwhash import argon2id

from api.http.passwords import HASHES_AT_ONCE, HASHES_WAITING_MAX, Passwords
from api.http.problems import EdgeError
from domain.credential import PASSWORD as KIND
from projections.sign_in_tries import TRIES_MAX
from tests.harness import Api, registry
from tests.sign_in.people import PASSWORD, Person, new_person, set_first_password


async def test_a_person_signs_in_and_acts(api: Api, ada: Person) -> None:
    session = await ada.session()
    who = await session.api.ok("GET", "/v1/whoami")
    assert (who["principal_id"], who["token"]) == (ada.principal_id, None)
    made = await session.api.call("POST", "/v1/projects", {"project": "acme"})
    assert made.code == "forbidden"
    await api.make_prompt("acme/mail")
    body = {"content": {"type": "text", "text": "two"}}
    path = "/v1/projects/acme/prompts/mail/-/versions"
    api.position = position = (await session.api.ok("POST", path, body))["position"]
    audit = await api.ok("GET", "/v1/audit?limit=500")
    record = next(one for one in audit["items"] if one["position"] == position)
    credential = session.body["session_id"]
    assert record["actor"] == {
        "type": "person", "id": ada.principal_id, "via": "session", "credential": credential,
    }  # fmt: skip


async def test_names_are_compared_without_case(ada: Person) -> None:
    assert (await ada.sign_in(login=" ADA@Example.com ")).status == 201


@pytest.mark.parametrize("body", [{"password": "wrong password"}, {"login": "bob@example.com"}])
async def test_wrong_and_unknown_look_the_same(ada: Person, body: dict[str, str]) -> None:
    answer = await ada.sign_in(**body)
    assert (answer.status, answer.code) == (401, "invalid_credentials")
    assert answer.body["detail"] == "Login name, password or code are not right."


async def test_a_name_is_of_one_person(api: Api, ada: Person) -> None:
    other = await api.ok("POST", "/v1/principals", {"type": "person", "name": "Other"})
    path = f"/v1/principals/{other['principal_id']}/login"
    assert (await api.call("PUT", path, {"login": "ADA@example.com"})).code == "name_taken"
    own = f"/v1/principals/{ada.principal_id}/login"
    again = await api.ok("PUT", own, {"login": "ada@example.com"})
    assert not again["changed"]
    await api.ok("PUT", own, {"login": "lovelace@example.com"})
    assert (await ada.sign_in()).code == "invalid_credentials"
    assert (await ada.sign_in(login="lovelace@example.com")).status == 201
    assert (await api.call("PUT", path, {"login": "ada@example.com"})).status == 201


async def test_services_sign_in_by_token_alone(api: Api) -> None:
    made = await api.ok("POST", "/v1/principals", {"type": "service", "name": "ci"})
    path = f"/v1/principals/{made['principal_id']}"
    assert (await api.call("PUT", f"{path}/login", {"login": "ci"})).status == 422
    assert (await api.call("POST", f"{path}/recovery")).status == 404


async def test_a_code_sets_one_password(api: Api, ada: Person) -> None:
    issued = await api.ok("POST", f"/v1/principals/{ada.principal_id}/recovery")
    body = {"login": ada.login, "code": issued["code"], "password": "another password"}
    nobody = api.as_token(None)
    wrong = await nobody.call("POST", "/v1/auth/recover", {**body, "code": "scr_nonsense"})
    assert (wrong.status, wrong.code) == (401, "invalid_credentials")
    before = await ada.session()
    await nobody.ok("POST", "/v1/auth/recover", body)
    assert (await nobody.call("POST", "/v1/auth/recover", body)).code == "invalid_credentials"
    assert (await before.api.call("GET", "/v1/whoami")).status == 401
    assert (await ada.sign_in()).status == 401
    assert (await ada.sign_in(password="another password")).status == 201


async def test_a_password_is_changed_by_who_knows_it(ada: Person) -> None:
    session, other = await ada.session(), await ada.session()
    body = {"current": "not this one", "new": "another password"}
    refused = await session.api.call("POST", "/v1/auth/password", body)
    assert (refused.status, refused.code) == (401, "invalid_credentials")
    await session.api.ok("POST", "/v1/auth/password", {**body, "current": PASSWORD})
    assert (await session.api.call("GET", "/v1/whoami")).status == 200
    assert (await session.refreshed()).body["access_token"]
    assert (await other.api.call("GET", "/v1/whoami")).status == 401
    assert (await other.refresh()).code == "session_over"


async def test_a_short_password_is_refused(ada: Person) -> None:
    session = await ada.session()
    body = {"current": PASSWORD, "new": "short"}
    assert (await session.api.call("POST", "/v1/auth/password", body)).status == 422


async def test_what_is_taken_away_lets_nobody_in(api: Api, ada: Person) -> None:
    session = await ada.session()
    await api.ok("DELETE", f"/v1/principals/{ada.principal_id}/login", {"reason": "left"})
    assert (await ada.sign_in()).code == "invalid_credentials"
    assert (await session.api.call("GET", "/v1/whoami")).status == 401
    assert (await session.refresh()).code == "session_over"
    assert api.services.recorder.credential(ada.principal_id, KIND) is None
    again = await new_person(api, "ada@example.com")
    assert (await again.sign_in()).status == 201


async def test_who_is_deactivated_is_out(api: Api, ada: Person) -> None:
    session = await ada.session()
    await api.ok("PATCH", f"/v1/principals/{ada.principal_id}", {"active": False})
    assert (await session.api.call("GET", "/v1/whoami")).status == 401
    assert (await session.refresh()).status == 401
    assert (await ada.sign_in()).code == "invalid_credentials"
    assert api.services.recorder.credential(ada.principal_id, KIND) is None


async def test_many_tries_lock_a_name_known_or_not(api: Api, ada: Person) -> None:
    seen = []
    for login in (ada.login, "nobody@example.com"):
        for _ in range(TRIES_MAX):
            assert (await ada.sign_in(login=login, password="wrong")).status == 401
        answer = await ada.sign_in(login=login)
        assert (answer.status, answer.code) == (429, "sign_in_locked")
        assert 0 < int(answer.headers["Retry-After"]) <= 900
        seen.append(answer.body.keys())
    assert seen[0] == seen[1]
    assert (await ada.sign_in()).status == 429
    page = await api.ok("GET", "/v1/events?kind=signin.locked&limit=500")
    (locked,) = page["items"]
    assert locked["subject"] == f"principals/{ada.principal_id}"
    assert (await set_first_password(ada)).status == 200  # who has a code need not wait
    assert (await ada.sign_in()).status == 201


async def test_tries_at_once_are_not_more_tries(ada: Person) -> None:
    tries = (ada.sign_in(password="wrong") for _ in range(3 * TRIES_MAX))
    answers = [answer.status for answer in await asyncio.gather(*tries)]
    assert answers.count(401) <= TRIES_MAX and answers.count(429) >= 2 * TRIES_MAX


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_a_password_is_hashed_anew_when_it_is_to_cost_more(
    tmp_path: Path, database_url: None
) -> None:
    async with registry(tmp_path, password_memory_mib=19) as api:
        ada = await new_person(api)
        before = api.services.recorder.credential(ada.principal_id, KIND)
        assert before.startswith(b"$argon2id$v=19$m=19456,t=2,p=1$")
    async with registry(tmp_path, password_memory_mib=32) as api:
        ada.admin = api
        assert (await ada.sign_in(password="wrong")).status == 401
        assert api.services.recorder.credential(ada.principal_id, KIND) == before
        assert (await ada.sign_in()).status == 201
        after = api.services.recorder.credential(ada.principal_id, KIND)
        assert after.startswith(b"$argon2id$v=19$m=32768,t=2,p=1$")
        assert argon2id.verify(after, PASSWORD.encode())
        assert (await ada.sign_in()).status == 201
        assert api.services.recorder.credential(ada.principal_id, KIND) == after


async def test_no_more_than_so_many_are_hashed_at_once() -> None:
    passwords = Passwords(19)
    try:
        work = [passwords.check(None, "x") for _ in range(HASHES_WAITING_MAX + 5)]
        found = await asyncio.gather(*work, return_exceptions=True)
        refused = [one for one in found if isinstance(one, EdgeError)]
        assert len(refused) == 5 and refused[0].code == "sign_in_busy"
        assert len(passwords._threads._threads) == HASHES_AT_ONCE
    finally:
        passwords.close()


async def test_composed_characters_are_one_password(api: Api) -> None:
    ada = await new_person(api, "ada")
    ada.password = "M\u00fcsli mit \u00c4pfeln"
    assert (await set_first_password(ada)).status == 200
    assert (await ada.sign_in(password=normalize("NFD", ada.password))).status == 201
