"""The second factor: enrolled, asked for, used once, recovered, required."""

import pytest

from api.http import events

from tests.harness import Api
from tests.sign_in.people import PASSWORD, Person, Session, code_of, enrol, set_first_password

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


async def test_it_is_asked_for_once_there_is_one(ada: Person) -> None:
    secret, _ = await enrol(await ada.session())
    asked = await ada.sign_in()
    assert (asked.status, asked.code) == (401, "second_factor_required")
    for wrong in ("000000", "12", "not-a-code", code_of(secret, 5)):
        answer = await ada.sign_in(code=wrong)
        assert (answer.status, answer.code) == (401, "invalid_credentials"), wrong
    assert (await ada.sign_in(password="wrong", code=code_of(secret))).status == 401
    session = await ada.session(code=code_of(secret))
    (item,) = [
        one for one in (await session.api.ok("GET", "/v1/sessions"))["items"] if one["current"]
    ]
    assert item["factors"] == ["password", "totp"]


async def test_a_code_counts_once(ada: Person) -> None:
    secret, _ = await enrol(await ada.session())
    code = code_of(secret)
    assert (await ada.sign_in(code=code)).status == 201
    again = await ada.sign_in(code=code)
    assert (again.status, again.code) == (401, "invalid_credentials")
    assert (await ada.sign_in(code=code_of(secret, -1))).status == 401
    assert (await ada.sign_in(code=code_of(secret, 1))).status == 201


async def test_a_recovery_code_counts_once(api: Api, ada: Person) -> None:
    _, codes = await enrol(await ada.session())
    assert len(set(codes)) == 10
    assert (await ada.sign_in(code=codes[0].upper())).status == 201
    assert (await ada.sign_in(code=codes[0])).code == "invalid_credentials"
    assert (await ada.sign_in(code=codes[1])).status == 201
    page = await api.ok("GET", "/v1/events?kind=recovery.used&limit=500")
    assert [item["data"]["of"] for item in page["items"]] == ["issued", "codes", "codes"]


async def test_enrolling_takes_the_password_and_a_code(ada: Person) -> None:
    session = await ada.session()
    wrong = await session.api.call("POST", "/v1/auth/totp", {"password": "wrong"})
    assert wrong.code == "invalid_credentials"
    proposed = await session.api.ok("POST", "/v1/auth/totp", {"password": PASSWORD})
    assert proposed["uri"].startswith("otpauth://totp/Scrinia")
    body = {"password": PASSWORD, "nonce": proposed["nonce"], "code": "000000"}
    assert (await session.api.call("PUT", "/v1/auth/totp", body)).code == "invalid_credentials"
    assert (await ada.sign_in()).status == 201
    other = await session.api.ok("POST", "/v1/auth/totp", {"password": PASSWORD})
    assert other["secret"] != proposed["secret"]


async def test_there_is_one_at_a_time_and_it_can_be_removed(api: Api, ada: Person) -> None:
    session = await ada.session()
    secret, _ = await enrol(session)
    again = await session.api.call("POST", "/v1/auth/totp", {"password": PASSWORD})
    assert again.code == "conflict"
    body = {"password": PASSWORD, "nonce": "0" * 32, "code": "000000"}
    assert (await session.api.call("PUT", "/v1/auth/totp", body)).code == "conflict"
    wrong = await session.api.call("DELETE", "/v1/auth/totp", {"password": "wrong"})
    assert wrong.code == "invalid_credentials"
    await session.api.ok("DELETE", "/v1/auth/totp", {"password": PASSWORD})
    assert (await ada.sign_in()).status == 201
    await enrol(session)
    await api.ok("DELETE", f"/v1/principals/{ada.principal_id}/totp", {"reason": "lost phone"})
    assert (await ada.sign_in()).status == 201


async def test_nobody_learns_here_which_code_is_right(api: Api, ada: Person) -> None:
    """Not with a factor in force, not by a narrowed token, and not by trying on."""
    session = await ada.session()
    about = {"principal_id": ada.principal_id, "scopes": [{"permissions": ["prompt.read"]}]}
    narrowed = api.as_token((await api.ok("POST", "/v1/tokens", about))["token"])
    narrowed.position = api.position
    body = {"password": PASSWORD, "nonce": "0" * 32, "code": "000000"}
    assert (await narrowed.call("POST", "/v1/auth/totp", {"password": PASSWORD})).status == 403
    assert (await narrowed.call("PUT", "/v1/auth/totp", body)).status == 403
    tries = [await session.api.call("PUT", "/v1/auth/totp", body) for _ in range(12)]
    assert [one.status for one in tries] == [401] * 10 + [429] * 2


async def test_recovery_codes_are_typed_as_people_type(ada: Person) -> None:
    _, codes = await enrol(await ada.session())
    for code in (codes[0].replace("-", ""), codes[1].replace("-", " ").upper(), f" {codes[2]} "):
        assert (await ada.sign_in(code=code)).status == 201, code
    assert (await ada.sign_in(code=codes[0])).status == 401


async def test_a_code_of_an_admin_can_let_one_do_without(ada: Person) -> None:
    await enrol(await ada.session())
    assert (await set_first_password(ada)).status == 200
    assert (await ada.sign_in()).code == "second_factor_required"
    assert (await set_first_password(ada, second_factor=True)).status == 200
    assert (await ada.sign_in()).status == 201


async def test_where_it_is_required_nothing_goes_without(api: Api, ada: Person) -> None:
    await api.make_prompt("acme/mail")
    rules = {"second_factor": "required"}
    assert (await api.call("PUT", "/v1/auth/rules", rules)).status == 201
    assert not (await api.ok("PUT", "/v1/auth/rules", rules))["changed"]
    session = await ada.session()
    session.api.position = api.position
    for method, path, body in (
        ("GET", "/v1/whoami", None),
        ("GET", "/v1/projects/acme/prompts/mail", None),
        ("GET", "/v1/projects/acme/prompts/nothing", None),
        ("POST", "/v1/projects/acme/prompts", {"name": "x", "content": {}}),
        ("DELETE", "/v1/auth/totp", {"password": PASSWORD}),
    ):
        answer = await session.api.call(method, path, body)
        assert (answer.status, answer.code) == (403, "second_factor_missing"), path
    secret, _ = await enrol(session)
    assert (await session.api.call("GET", "/v1/whoami")).status == 200, "it was shown here"
    second = await ada.session(code=code_of(secret))
    assert (await second.api.call("GET", "/v1/whoami")).status == 200
    assert (await api.call("GET", "/v1/whoami")).status == 200  # a token is no session
    assert (await session.api.call("POST", "/v1/auth/logout")).status == 200


async def test_enrolling_ends_other_sessions(ada: Person) -> None:
    session, other = await ada.session(), await ada.session()
    await enrol(session)
    assert (await session.api.call("GET", "/v1/whoami")).status == 200
    assert (await other.api.call("GET", "/v1/whoami")).status == 401
    assert (await other.refresh()).code == "session_over"


async def test_an_app_shows_the_login_name(ada: Person) -> None:
    session = await ada.session()
    proposed = await session.api.ok("POST", "/v1/auth/totp", {"password": PASSWORD})
    assert proposed["uri"].startswith("otpauth://totp/Scrinia%3Aada%40example.com?secret=")


async def test_who_signs_in_by_what_is_shown(api: Api, ada: Person) -> None:
    path = f"/v1/principals/{ada.principal_id}"
    known = {"login": "ada@example.com", "password": True, "second_factor": False,
             "recovery_codes": 0, "locked_until": None}  # fmt: skip
    assert (await api.ok("GET", path))["sign_in"] == known
    await enrol(await ada.session())
    now = (await api.ok("GET", path))["sign_in"]
    assert now == known | {"second_factor": True, "recovery_codes": 10}
    listed = (await api.ok("GET", "/v1/principals?limit=500"))["items"]
    told = {one["principal_id"]: one["sign_in"] for one in listed}
    assert told[ada.principal_id] == now and list(told.values()).count(None) == len(told) - 1
    await api.ok("DELETE", f"{path}/login")
    assert (await api.ok("GET", path))["sign_in"] is None


async def test_a_feed_ends_where_it_is_required(
    api: Api, ada: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "PING_SECONDS", 1.0)
    session = await ada.session()
    headers = {
        "Accept": "text/event-stream",
        "Authorization": f"Bearer {session.body['access_token']}",
    }
    async with api.session.get(f"{api.url}/v1/events", headers=headers) as feed:
        await feed.content.readline()
        await api.ok("PUT", "/v1/auth/rules", {"second_factor": "required"})
        rest = await feed.content.read()
    assert b"HTTP/1.1" not in rest
    await api.ok("PUT", "/v1/auth/rules", {"second_factor": "optional"})


async def test_one_s_own_goes_with_the_password(api: Api, ada: Person) -> None:
    await api.ok("POST", "/v1/grants", {"principal_id": ada.principal_id, "role": "admin"})
    session = await ada.session()
    await enrol(session)
    answer = await session.api.call("DELETE", f"/v1/principals/{ada.principal_id}/totp")
    assert (answer.status, answer.code) == (409, "conflict")


async def test_requiring_it_reaches_sessions_there_are(api: Api, ada: Person) -> None:
    session: Session = await ada.session()
    await api.ok("PUT", "/v1/auth/rules", {"second_factor": "required"})
    assert (await session.api.call("GET", "/v1/whoami")).code == "second_factor_missing"
    await api.ok("PUT", "/v1/auth/rules", {"second_factor": "optional"})
    assert (await session.api.call("GET", "/v1/whoami")).status == 200
