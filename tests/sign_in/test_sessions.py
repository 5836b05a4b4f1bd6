"""Sessions: short access, refresh tokens that change, and what ends them."""

import asyncio
import re

import pytest

from domain import user_session
from tests.harness import Api
from tests.sign_in.people import PASSWORD, Person, Session

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
AGENT = {"User-Agent": "another client"}


@pytest.fixture
def no_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(user_session, "GRACE_SECONDS", 0.0)


async def ended(api: Api, session: Session) -> list[str]:
    """What is said of a session's end, by cause."""
    session_id = session.body["session_id"]
    page = await api.ok("GET", "/v1/events?kind=session.ended&limit=500")
    return [
        item["data"]["cause"]
        for item in page["items"]
        if item["subject"].endswith(session.person.principal_id) and session_id
    ]


async def test_a_refresh_token_is_exchanged(ada: Person) -> None:
    first = await ada.session()
    second = await first.refreshed()
    assert second.body["session_id"] == first.body["session_id"]
    assert second.body["access_token"] != first.body["access_token"]
    assert second.body["refresh_token"] != first.body["refresh_token"]
    assert second.body["expires_at"] == first.body["expires_at"]
    for session in (first, second):
        assert (await session.api.call("GET", "/v1/whoami")).status == 200


async def test_of_access_tokens_the_two_newest_count(ada: Person) -> None:
    first = await ada.session()
    last = await (await first.refreshed()).refreshed()
    assert (await first.api.call("GET", "/v1/whoami")).status == 401
    assert (await last.api.call("GET", "/v1/whoami")).status == 200


async def test_access_ends_by_itself_and_is_refreshed(
    ada: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(user_session, "ACCESS_MINUTES", 1 / 60)
    session = await ada.session()
    assert (await session.api.call("GET", "/v1/whoami")).status == 200
    await asyncio.sleep(1.1)
    refused = await session.api.call("GET", "/v1/whoami")
    assert (refused.status, refused.code) == (401, "unauthenticated")
    assert (await (await session.refreshed()).api.call("GET", "/v1/whoami")).status == 200


async def test_a_token_that_comes_again_ends_the_family(
    api: Api, ada: Person, no_grace: None
) -> None:
    stolen = await ada.session()
    session = await stolen.refreshed()
    refused = await stolen.refresh()
    assert (refused.status, refused.code) == (401, "session_over")
    assert "used before" in refused.body["detail"]
    assert (await session.api.call("GET", "/v1/whoami")).status == 401
    assert (await session.refresh()).code == "session_over"
    assert await ended(api, session) == ["reuse"]
    assert (await stolen.refresh()).code == "session_over"
    assert await ended(api, session) == ["reuse"]


async def test_a_lost_reply_is_given_again(api: Api, ada: Person) -> None:
    session = await ada.session()
    lost, again = await session.refresh(), await session.refresh()
    assert lost.status == again.status == 200
    for name in ("access_token", "refresh_token", "access_expires_at", "position"):
        assert lost.body[name] == again.body[name]
    assert (await Session(ada, again.body).refreshed()).body["access_token"]
    assert await ended(api, session) == []


async def test_only_who_exchanged_it_has_lost_the_reply(api: Api, ada: Person) -> None:
    """Were it stolen and exchanged by somebody else, its owner's own try would end it."""
    session = await ada.session()
    assert (await session.refresh(headers=AGENT)).status == 200
    assert (await session.refresh()).code == "session_over"
    assert await ended(api, session) == ["reuse"]


async def test_another_client_is_no_retry(api: Api, ada: Person) -> None:
    session = await ada.session()
    await session.refreshed()
    assert (await session.refresh(headers=AGENT)).code == "session_over"
    assert await ended(api, session) == ["reuse"]


async def test_two_clients_at_once_get_the_same(api: Api, ada: Person) -> None:
    session = await ada.session()
    answers = await asyncio.gather(*(session.refresh() for _ in range(8)))
    assert {answer.status for answer in answers} == {200}
    assert len({answer.body["refresh_token"] for answer in answers}) == 1
    page = await api.ok("GET", "/v1/events?kind=session.refreshed&limit=500")
    assert len(page["items"]) == 1


async def test_a_guess_ends_nothing(ada: Person) -> None:
    session = await ada.session()
    head, _, secret = session.body["refresh_token"].rpartition("_")
    forged = Session(ada, {**session.body, "refresh_token": f"{head}_{secret[::-1]}"})
    assert (await forged.refresh()).code == "session_over"
    for nonsense in ("", "scr_refresh_", "scr_refresh_x_y", session.body["access_token"]):
        body = {**session.body, "refresh_token": nonsense}
        assert (await Session(ada, body).refresh()).code == "session_over"
    assert (await session.refreshed()).body["access_token"]


async def test_a_refresh_token_opens_nothing_else(ada: Person) -> None:
    session = await ada.session()
    api = ada.admin.as_token(session.body["refresh_token"])
    assert (await api.call("GET", "/v1/whoami")).status == 401


async def test_signing_out_ends_it(api: Api, ada: Person) -> None:
    session, other = await ada.session(), await ada.session()
    await session.api.ok("POST", "/v1/auth/logout")
    assert (await session.api.call("GET", "/v1/whoami")).status == 401
    assert (await session.refresh()).code == "session_over"
    assert (await other.api.call("GET", "/v1/whoami")).status == 200
    assert await ended(api, session) == ["logout"]
    assert (await api.call("POST", "/v1/auth/logout")).code == "conflict"


async def test_sessions_are_listed_and_ended(api: Api, ada: Person) -> None:
    session, other = await ada.session(), await ada.session()
    mine = await session.api.ok("GET", "/v1/sessions")
    assert {one["session_id"]: one["current"] for one in mine["items"]} == {
        session.body["session_id"]: True, other.body["session_id"]: False,
    }  # fmt: skip
    await session.api.ok("DELETE", f"/v1/sessions/{other.body['session_id']}")
    assert (await other.api.call("GET", "/v1/whoami")).status == 401
    about = f"/v1/sessions?principal_id={ada.principal_id}"
    assert len((await api.ok("GET", about))["items"]) == 1
    await api.ok("DELETE", f"/v1/sessions/{session.body['session_id']}")
    assert (await session.api.call("GET", "/v1/whoami")).status == 401
    assert await ended(api, session) == ["revoked", "revoked"]


async def test_nobody_ends_or_sees_the_sessions_of_others(api: Api, ada: Person) -> None:
    session = await ada.session()
    viewer = (await api.make_caller({"role": "viewer"})).api
    session_id = session.body["session_id"]
    assert (await viewer.call("DELETE", f"/v1/sessions/{session_id}")).status == 403
    about = f"/v1/sessions?principal_id={ada.principal_id}"
    assert (await viewer.call("GET", about)).status == 403
    all_of_them = f"/v1/principals/{ada.principal_id}/sessions"
    assert (await viewer.call("DELETE", all_of_them)).status == 403
    assert (await session.api.call("GET", "/v1/whoami")).status == 200


async def test_all_of_them_end_at_once(ada: Person) -> None:
    session, other = await ada.session(), await ada.session()
    await session.api.ok("DELETE", f"/v1/principals/{ada.principal_id}/sessions")
    for one in (session, other):
        assert (await one.api.call("GET", "/v1/whoami")).status == 401
        assert (await one.refresh()).code == "session_over"
    assert (await ada.sign_in()).status == 201


async def test_a_session_lasts_as_long_as_it_is_set_to(
    api: Api, ada: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    object.__setattr__(api.services.door, "session_hours", 1 / 3600)
    session = await ada.session()
    assert session.body["access_expires_at"] == session.body["expires_at"]
    await asyncio.sleep(1.1)
    assert (await session.api.call("GET", "/v1/whoami")).status == 401
    assert (await session.refresh()).code == "session_over"


# Browsers


def cookies_of(answer: object) -> dict[str, str]:
    found = {}
    for header in answer.headers.getall("Set-Cookie"):
        assert re.search(r"Secure", header) and re.search(r"HttpOnly", header), header
        assert "SameSite=Strict" in header and "Path=/" in header and "Domain" not in header
        name, _, rest = header.partition("=")
        found[name] = rest.partition(";")[0]
    return found


async def test_a_browser_holds_its_tokens_in_cookies(api: Api, ada: Person) -> None:
    answer = await ada.sign_in(cookie=True)
    assert (answer.body["access_token"], answer.body["refresh_token"]) == (None, None)
    cookies = cookies_of(answer)
    assert set(cookies) == {"__Host-scrinia", "__Host-scrinia-refresh"}
    header = {"Cookie": "; ".join(f"{name}={value}" for name, value in cookies.items())}
    nobody = api.as_token(None)
    assert (await nobody.call("GET", "/v1/whoami", headers=header)).status == 200
    own, foreign = {"Origin": api.url}, {"Origin": "https://evil.example"}
    for origin in ({}, foreign, {"Origin": "null"}):
        refused = await nobody.call("POST", "/v1/auth/logout", headers=header | origin)
        assert (refused.status, refused.code) == (403, "cross_origin")
        refused = await nobody.call("POST", "/v1/auth/refresh", headers=header | origin)
        assert (refused.status, refused.code) == (403, "cross_origin")
    refreshed = await nobody.call("POST", "/v1/auth/refresh", headers=header | own)
    assert refreshed.status == 200 and refreshed.body["access_token"] is None
    assert cookies_of(refreshed).keys() == cookies.keys()
    gone = await nobody.call("POST", "/v1/auth/logout", headers=header | own)
    assert gone.status == 200 and set(cookies_of(gone).values()) == {'""'}
    assert (await nobody.call("GET", "/v1/whoami", headers=header)).status == 401


async def test_a_browser_signs_out_when_its_access_is_over(api: Api, ada: Person) -> None:
    """The cookie of its access token is there still, minutes after that counts for nothing."""
    first = cookies_of(await ada.sign_in(cookie=True))
    own = {"Origin": api.url}
    nobody, cookies = api.as_token(None), first
    for _ in range(2):
        header = {"Cookie": f"__Host-scrinia-refresh={cookies['__Host-scrinia-refresh']}", **own}
        answer = await nobody.call("POST", "/v1/auth/refresh", headers=header)
        assert answer.status == 200, answer.body
        cookies = cookies_of(answer)
    dead = {"__Host-scrinia": first["__Host-scrinia"]}
    shown = dead | {"__Host-scrinia-refresh": cookies["__Host-scrinia-refresh"]}
    header = {"Cookie": "; ".join(f"{name}={value}" for name, value in shown.items())}
    elsewhere = header | {"Origin": "https://elsewhere.example"}
    assert (await nobody.call("POST", "/v1/auth/logout", headers=elsewhere)).status == 403
    gone = await nobody.call("POST", "/v1/auth/logout", headers=header | own)
    assert gone.status == 200 and set(cookies_of(gone).values()) == {'""'}, gone.body
    again = await nobody.call("POST", "/v1/auth/refresh", headers=header | own)
    assert (again.status, again.code) == (401, "session_over")
    assert (await nobody.call("POST", "/v1/auth/logout", headers=header | own)).status == 401
    causes = await api.ok("GET", "/v1/events?kind=session.ended&limit=500")
    assert causes["items"][-1]["data"]["cause"] == "logout"


async def test_who_signs_out_by_cookie_has_no_other_answer(api: Api, ada: Person) -> None:
    """An Idempotency-Key that somebody else used too ends one's own session all the same."""
    nobody = api.as_token(None)
    for _ in range(2):
        token = cookies_of(await ada.sign_in(cookie=True))["__Host-scrinia-refresh"]
        header = {"Cookie": f"__Host-scrinia-refresh={token}", "Origin": api.url}
        keyed = header | {"Idempotency-Key": "out"}
        tried = await nobody.call("POST", "/v1/auth/logout?dry_run=true", headers=keyed)
        assert tried.status == 400
        assert (await nobody.call("POST", "/v1/auth/logout", headers=keyed)).status == 200
        over = await nobody.call("POST", "/v1/auth/refresh", headers=header)
        assert (over.status, over.code) == (401, "session_over")


async def test_a_token_needs_no_origin(ada: Person) -> None:
    session = await ada.session()
    body = {"current": PASSWORD, "new": "another password"}
    headers = {"Origin": "https://elsewhere.example"}
    answer = await session.api.call("POST", "/v1/auth/password", body, headers=headers)
    assert answer.status == 200
