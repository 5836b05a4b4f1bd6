"""Login names and passwords: who comes in, who does not, and what changes when."""

import asyncio
import json
from contextlib import closing
from hashlib import sha256
from pathlib import Path
from unicodedata import normalize

import psycopg
import pytest
from multidict import CIMultiDict
from nacl.pwhash import argon2id

from api.http.passwords import HASHES_AT_ONCE, HASHES_WAITING_MAX, Passwords
from api.http.problems import EdgeError
from domain.credential import PASSWORD as KIND
from domain.credential import Credential
from ledger.sqlite.recorder import SQLiteLedgerRecorder, connect
from projections.sign_in_tries import TRIES_MAX
from tests.harness import Api, registry, verify
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


def _verifier(api: Api, person: Person) -> bytes:
    kept = api.services.recorder.credential(person.principal_id, KIND)
    return api.services.door.secrets.opened(person.principal_id, kept)[1]


@pytest.mark.parametrize("memory", [19, 32])
async def test_an_old_password_is_old_at_once(
    tmp_path: Path, database_url: str | None, memory: int
) -> None:
    """Whoever shows it while another is set comes in before, or not at all."""
    async with registry(tmp_path, database_url=database_url) as api:
        ada = await new_person(api)
        ada.password = "the first password"
        await set_first_password(ada)
    options = {"database_url": database_url, "password_memory_mib": memory}
    async with registry(tmp_path, **options) as api:
        ada.admin = api
        path = f"/v1/principals/{ada.principal_id}/recovery"
        code = (await api.ok("POST", path))["code"]
        body = {"login": ada.login, "code": code, "password": "the second password"}
        recovering = api.as_token(None).call("POST", "/v1/auth/recover", body)
        answers = await asyncio.gather(recovering, *(ada.sign_in() for _ in range(8)))
        assert answers[0].status == 200
        assert (await ada.sign_in()).status == 401
        assert (await ada.sign_in(password="the second password")).status == 201
        for answer in answers[1:]:
            if answer.status == 201:
                token = api.as_token(answer.body["access_token"])
                assert (await token.call("GET", "/v1/whoami")).status == 401
    assert not verify(tmp_path / "data", database_url).faults


async def test_a_row_that_somebody_wrote_lets_nobody_in(api: Api, ada: Person) -> None:
    mal = await new_person(api, "mal@example.com")
    mal.password = "a password of mal's own"
    await set_first_password(mal)
    recorder = api.services.recorder
    own, of_mal = (recorder.credential(one.principal_id, KIND) for one in (ada, mal))
    plain = argon2id.str(b"a password of mal's own")
    seals = api.services.door.secrets
    others = (of_mal, plain, b"1 " + plain, b"", b"1 00 " + plain,
              seals.sealed(ada.principal_id, 7, plain))  # fmt: skip
    for row in others:
        _write(api, Credential(ada.principal_id, KIND, row))
        assert (await ada.sign_in(password=mal.password)).status == 401, row
    _write(api, Credential(ada.principal_id, KIND, own))
    assert (await ada.sign_in()).status == 201


def _write(api: Api, credential: Credential) -> None:
    """As somebody could who has the database and not the keys."""
    recorder = api.services.recorder
    if isinstance(recorder, SQLiteLedgerRecorder):
        with closing(
            connect(Path(recorder._writer.execute("PRAGMA database_list").fetchone()[2]))
        ) as db:
            db.execute("UPDATE credentials SET verifier = ? WHERE principal = ?",
                       (credential.verifier, credential.principal_id))  # fmt: skip
        return
    columns = ([credential.principal_id], [credential.kind], [credential.verifier])
    with psycopg.connect(recorder._url) as connection:
        with pytest.raises(psycopg.errors.RaiseException):
            connection.execute("SELECT scrinia.take_credentials(%s, %s, %s)", columns)
        connection.rollback()
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("UPDATE scrinia.credentials SET verifier = ''")
        connection.rollback()
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("SELECT scrinia.keep_credentials(%s, %s, %s)", columns)


async def test_strangers_do_not_shut_the_way_back(api: Api, ada: Person) -> None:
    nobody = api.as_token(None)
    body = {"login": ada.login, "code": "scr_guess", "password": "another password"}
    for _ in range(TRIES_MAX + 2):
        assert (await nobody.call("POST", "/v1/auth/recover", body)).status == 401
    assert (await set_first_password(ada)).status == 200


async def test_a_code_ends_the_wait_however_many_tried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with registry(tmp_path, trusted_proxies="127.0.0.1/32") as api:
        ada, nobody = await new_person(api), api.as_token(None)
        wrong = {"login": ada.login, "password": "wrong"}
        for n in range(115):
            far = {"X-Forwarded-For": f"198.51.100.{n}"}
            await nobody.call("POST", "/v1/auth/login", wrong, headers=far)
        assert (await ada.sign_in()).status == 429
        assert (await set_first_password(ada)).status == 200
        assert (await ada.sign_in()).status == 201


async def test_tries_are_of_the_address_that_a_proxy_saw(tmp_path: Path) -> None:
    """Lines that a client sent itself come first; a port is no part of an address."""
    async with registry(tmp_path, trusted_proxies="127.0.0.1/32") as api:
        statuses = []
        for n in range(104):
            told = CIMultiDict([("X-Forwarded-For", f"10.0.0.{n}")])
            told.add("X-Forwarded-For", f"203.0.113.7:{40000 + n}" if n % 2 else "203.0.113.7")
            body = {"login": f"name{n}", "password": "wrong"}
            async with api.session.post(f"{api.url}/v1/auth/login", json=body, headers=told) as one:
                statuses.append(one.status)
        assert statuses == [401] * 100 + [429] * 4
        six = {"X-Forwarded-For": "[2001:db8::1]:4711"}
        token = {"networks": ["2001:db8::/32"]}
        inside = (await api.make_caller({"role": "viewer"}, **token)).api
        assert (await inside.call("GET", "/v1/whoami", headers=six)).status == 200


async def test_what_is_remembered_of_a_request_guesses_no_password(api: Api, ada: Person) -> None:
    session = await ada.session()
    key = {"Idempotency-Key": "once"}
    body = {"current": PASSWORD, "new": "another password"}
    path = "/v1/auth/password"
    assert (await session.api.call("POST", path, body, headers=key)).status == 200
    recalled = api.services.recorder.recall([(ada.principal_id, "once")])
    sent = f"POST {path}\n\n".encode() + json.dumps(body).encode()
    assert recalled[ada.principal_id, "once"].request_hash != sha256(sent).hexdigest()


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_odd_headers_break_nothing(api: Api, ada: Person) -> None:
    session = await ada.session()
    host, _, port = api.url.removeprefix("http://").partition(":")
    lines = (
        "POST /v1/auth/login", "POST /v1/auth/refresh", "GET /v1/whoami", "POST /v1/auth/logout",
        "GET /v1/auth/oidc/callback?state=x",
    )  # fmt: skip
    for line in lines:
        for odd in (b"\xff", b"\xc3\x28", b"x"):
            reader, writer = await asyncio.open_connection(host, int(port))
            body = b'{"login": "a", "password": "b"}'
            writer.write(
                f"{line} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n".encode()
                + b"User-Agent: " + odd + b"\r\nCookie: __Host-scrinia=" + odd
                + b"; __Host-scrinia-refresh=" + odd + b"; __Host-scrinia-oidc=" + odd
                + b"\r\nOrigin: http://[\r\nContent-Type: application/json\r\n"
                + b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
            )  # fmt: skip
            status = int((await reader.readline()).split()[1])
            writer.close()
            assert status in (400, 401, 403, 404, 422), (line, odd, status)
    assert (await session.api.call("GET", "/v1/whoami")).status == 200


async def test_there_are_so_many_sessions_at_once(
    api: Api, ada: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("projections.access.SESSIONS_MAX", 3)
    sessions = [await ada.session() for _ in range(5)]
    alive = [(await one.api.call("GET", "/v1/whoami")).status for one in sessions]
    assert alive == [401, 401, 200, 200, 200]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_a_password_is_hashed_anew_when_it_is_to_cost_more(
    tmp_path: Path, database_url: None
) -> None:
    async with registry(tmp_path, password_memory_mib=19) as api:
        ada = await new_person(api)
        before = _verifier(api, ada)
        assert before.startswith(b"$argon2id$v=19$m=19456,t=2,p=1$")
    async with registry(tmp_path, password_memory_mib=32) as api:
        ada.admin = api
        assert (await ada.sign_in(password="wrong")).status == 401
        assert _verifier(api, ada) == before
        assert (await ada.sign_in()).status == 201
        after = _verifier(api, ada)
        assert after.startswith(b"$argon2id$v=19$m=32768,t=2,p=1$")
        assert argon2id.verify(after, PASSWORD.encode())
        assert (await ada.sign_in()).status == 201
        assert _verifier(api, ada) == after


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
