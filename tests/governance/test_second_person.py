"""What takes two people: nobody alone gives it, to nobody, by any of the ways there are."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from domain import access_request
from tests.harness import Answer, Api, registry, verify
from tests.sign_in.people import enrol, new_person

RULES = "/v1/access/rules"
REQUESTS = "/v1/access/requests"
GROUP, USER = (f"urn:ietf:params:scim:schemas:core:2.0:{one}" for one in ("Group", "User"))
PROTECTED = [
    {"permission": "access.write"},
    {"permission": "environment.promote", "environment": "production"},
]


class Two:
    """A registry in which two people administer, one of whom alone gives nobody too much."""

    def __init__(self, first: Api) -> None:
        self.first = first

    async def build(self) -> "Two":
        await self.first.make_prompt("acme/mail")
        self.second_admin = await self.first.make_caller({"role": "admin"}, type_="person")
        self.second = self.second_admin.api
        self.newcomer = await self.principal("service")
        self.admins = await self.principal("group")
        await self.first.ok("POST", "/v1/grants", {"principal_id": self.admins, "role": "admin"})
        self.outsider = await self.first.make_caller({"role": "viewer", "project": "acme"})
        await self.first.ok("PUT", RULES, {"second_person": PROTECTED})
        return self

    async def principal(self, kind: str) -> str:
        body = {"type": kind, "name": "N"}
        return str((await self.first.ok("POST", "/v1/principals", body))["principal_id"])

    def grant(self, role: str = "admin", **place: Any) -> dict[str, Any]:
        return {"principal_id": self.newcomer, "role": role, **place}

    async def ask(self, **wanted: Any) -> str:
        answer = await self.first.ok("POST", REQUESTS, {"reason": "On call", **wanted})
        return f"{REQUESTS}/{answer['request_id']}"

    async def agreed(self, **wanted: Any) -> Answer:
        """Asked for by one, approved by the other, applied."""
        path = await self.ask(**wanted)
        self.second.position = self.first.position
        await self.second.ok("POST", f"{path}/approve")
        return await self.first.call("POST", f"{path}/apply")


@pytest.fixture
async def two(tmp_path: Path, database_url: str | None) -> AsyncIterator[Two]:
    """Whatever a test does, everything in the ledger is found allowed again."""
    async with registry(tmp_path, database_url=database_url) as api:
        yield await Two(api).build()
    report = verify(tmp_path / "data", database_url)
    assert not report.faults, report.faults


def alone(answer: Answer) -> bool:
    return (answer.status, answer.code) == (403, "second_person_needed")


# What one person alone may and may not


@pytest.mark.parametrize(
    ("role", "place", "takes_two"),
    [
        ("admin", {}, True),
        ("admin", {"project": "acme"}, True),
        ("releaser", {"project": "acme"}, True),
        ("releaser", {"project": "acme", "folder": "mails"}, True),
        ("releaser", {"project": "acme", "environment": "production"}, True),
        ("releaser", {"project": "acme", "environment": "staging"}, False),
        ("admin", {"project": "acme", "environment": "staging"}, False),
        ("developer", {}, False),
        ("auditor", {}, False),
    ],
)
async def test_what_a_grant_gives_decides(
    two: Two, role: str, place: dict[str, str], takes_two: bool
) -> None:
    answer = await two.first.call("POST", "/v1/grants", two.grant(role, **place))
    assert alone(answer) if takes_two else answer.status == 201, answer.body
    held = await two.first.ok("GET", f"/v1/grants?principal_id={two.newcomer}")
    assert bool(held["items"]) is not takes_two


async def test_two_people_give_it(two: Two) -> None:
    path = await two.ask(grant=two.grant())
    told = await two.second.ok("GET", path)
    assert (told["status"], told["action"], told["reason"]) == ("open", "give_grant", "On call")
    assert told["details"]["role"] == "admin"
    approved = await two.second.ok("POST", f"{path}/approve", {"comment": "Yes"})
    assert approved["status"] == "approved"
    applied = await two.first.call("POST", f"{path}/apply")
    assert applied.status == 201 and applied.body["role"] == "admin"
    explained = await two.first.ok(
        "GET",
        "/v1/access/explain",
        params={"principal": two.newcomer, "permission": "access.write", "resource": "registry"},
    )
    assert explained["allowed"]
    again = await two.first.call("POST", f"{path}/apply")
    assert (again.status, again.code) == (409, "access_request_closed")
    records = (await two.first.ok("GET", "/v1/audit?action=accessrequest"))["items"]
    assert [one["action"].partition(".")[2] for one in records] == [
        "created",
        "approved",
        "applied",
    ]
    assert records[0]["reason"] == "On call"


async def test_who_asked_does_not_agree(two: Two) -> None:
    path = await two.ask(grant=two.grant())
    assert (await two.first.call("POST", f"{path}/approve")).code == "forbidden"
    refused = await two.first.call("POST", f"{path}/apply")
    assert (refused.status, refused.code) == (409, "access_request_closed")
    assert (await two.second.call("POST", f"{path}/apply")).code == "forbidden"


async def test_a_token_of_oneself_is_the_same_person(two: Two) -> None:
    path = await two.ask(grant=two.grant())
    whoami = await two.first.ok("GET", "/v1/whoami")
    body = {"principal_id": whoami["principal_id"]}
    other = two.first.as_token((await two.first.ok("POST", "/v1/tokens", body))["token"])
    assert (await other.call("POST", f"{path}/approve")).code == "forbidden"


async def test_services_ask_for_nothing_and_agree_to_nothing(two: Two) -> None:
    """Whoever holds their tokens may be the one who asks, or agrees."""
    assert (await two.agreed(grant=two.grant())).status == 201
    issued = await two.agreed(token={"principal_id": two.newcomer})
    service = two.first.as_token(issued.body["token"])
    wanted = two.grant("admin", project="acme")
    path = await two.ask(grant=wanted)
    assert (await service.call("POST", f"{path}/approve")).code == "forbidden"
    assert (await service.call("POST", REQUESTS, {"grant": wanted})).code == "forbidden"


# The ways around


async def test_a_group_that_has_it_is_joined_by_two(two: Two) -> None:
    group = two.admins
    path = f"/v1/principals/{two.newcomer}/groups/{group}"
    assert alone(await two.first.call("PUT", path))
    login = {"login": "admins"}
    assert alone(await two.first.call("PUT", f"/v1/principals/{group}/login", login))
    member = {"principal_id": two.newcomer, "group_id": group}
    assert (await two.agreed(membership=member)).status == 201
    assert alone(await two.first.call("POST", "/v1/tokens", {"principal_id": two.newcomer}))
    await two.first.ok("POST", f"/v1/principals/{group}/suspend")
    assert alone(await two.first.call("POST", "/v1/tokens", {"principal_id": two.newcomer}))


async def test_groups_and_tokens_of_people_are_never_given_it(two: Two) -> None:
    group = {"principal_id": await two.principal("group"), "role": "admin"}
    assert alone(await two.first.call("POST", "/v1/grants", group))
    for wanted in ({"grant": group}, {"token": {"principal_id": two.second_admin.principal_id}}):
        answer = await two.first.call("POST", REQUESTS, wanted)
        assert (answer.status, answer.code) == (422, "invalid")


async def test_who_gains_stays_who_was_agreed_to(two: Two) -> None:
    """Nobody slips in between approval and application."""
    person = await new_person(two.first, "grace@example.com")
    whom = {"principal_id": person.principal_id}
    for name, meddle in (
        ("token", ("POST", "/v1/tokens", whom)),
        ("code", ("POST", f"/v1/principals/{person.principal_id}/recovery", None)),
        ("login", ("PUT", f"/v1/principals/{person.principal_id}/login", {"login": "m@x.org"})),
    ):
        path = await two.ask(grant=whom | {"role": "admin"})
        two.second.position = two.first.position
        await two.second.ok("POST", f"{path}/approve")
        await two.first.ok(*meddle)
        answer = await two.first.call("POST", f"{path}/apply")
        assert (answer.status, answer.code) == (409, "conflict"), name
        await two.second.ok("POST", f"{path}/reject")
    assert (await two.agreed(membership=whom | {"group_id": two.admins})).status == 201


async def test_whom_one_may_act_as_has_no_more_than_was_agreed_to(two: Two) -> None:
    """A code that was approved for a releaser is no code of an admin."""
    person = await new_person(two.first, "grace@example.com")
    whom = {"principal_id": person.principal_id}
    assert (await two.agreed(grant=whom | {"role": "releaser", "project": "acme"})).status == 201
    code = await two.ask(recovery=whom)
    two.second.position = two.first.position
    await two.second.ok("POST", f"{code}/approve")
    assert (await two.agreed(grant=whom | {"role": "admin"})).status == 201
    refused = await two.first.call("POST", f"{code}/apply")
    assert (refused.status, refused.code) == (409, "conflict")


async def test_to_break_glass_is_to_promote(two: Two) -> None:
    body = {"permissions": ["prompt.read", "environment.break_glass"]}
    await two.first.ok("PUT", "/v1/roles/fireman", body)
    given = two.grant("fireman", project="acme")
    assert alone(await two.first.call("POST", "/v1/grants", given))


async def test_what_one_asks_for_oneself_is_agreed_to_as_well(two: Two) -> None:
    """And verification, in the end, finds what was so when it was asked for."""
    me = (await two.first.ok("GET", "/v1/whoami"))["principal_id"]
    soon = "2099-01-01T00:00:00Z"
    asked = {"principal_id": me, "role": "admin", "expires_at": soon}
    assert (await two.agreed(grant=asked)).status == 201
    member = {"principal_id": me, "group_id": two.admins}
    assert (await two.agreed(membership=member)).status == 201


async def test_the_second_factor_of_another_stays(two: Two) -> None:
    person = await new_person(two.first, "grace@example.com")
    await enrol(await person.session())
    whom = {"principal_id": person.principal_id}
    assert (await two.agreed(grant=whom | {"role": "admin"})).status == 201
    path = f"/v1/principals/{person.principal_id}/totp"
    assert alone(await two.first.call("DELETE", path))
    assert (await two.agreed(recovery=whom | {"second_factor": True})).status == 201


async def test_nobody_else_is_acted_as(two: Two) -> None:
    whom = two.second_admin.principal_id
    token = {"principal_id": whom}
    assert alone(await two.first.call("POST", "/v1/tokens", token))
    narrow = token | {"scopes": [{"permissions": ["prompt.read"]}]}
    assert (await two.first.call("POST", "/v1/tokens", narrow)).status == 201
    wide = token | {"scopes": [{"permissions": ["prompt.read", "access.write"]}]}
    assert alone(await two.first.call("POST", "/v1/tokens", wide))
    staging = {"permissions": ["environment.promote"], "project": "acme", "environment": "staging"}
    assert (await two.first.call("POST", "/v1/tokens", token | {"scopes": [staging]})).status == 201
    login = {"login": "mallory@example.com"}
    assert alone(await two.first.call("PUT", f"/v1/principals/{whom}/login", login))
    assert (await two.agreed(login=token | login)).status == 201
    assert alone(await two.first.call("POST", f"/v1/principals/{whom}/recovery"))
    recovery = await two.agreed(recovery=token | {"second_factor": True, "reason": "Lost"})
    body = {**login, "code": recovery.body["code"], "password": "correct horse battery"}
    assert (await two.first.as_token(None).call("POST", "/v1/auth/recover", body)).status == 200


async def test_tokens_of_oneself_need_nobody(two: Two) -> None:
    own = (await two.second.ok("GET", "/v1/whoami"))["principal_id"]
    assert (await two.second.call("POST", "/v1/tokens", {"principal_id": own})).status == 201


async def test_a_token_is_told_to_who_asked_once(two: Two) -> None:
    await two.agreed(grant=two.grant("releaser", project="acme"))
    asked = {"principal_id": two.newcomer, "description": "CI", "networks": ["127.0.0.1"]}
    issued = await two.agreed(token=asked)
    assert issued.status == 201 and issued.headers["Cache-Control"] == "no-store"
    service = two.first.as_token(issued.body["token"])
    assert (await service.ok("GET", "/v1/whoami"))["principal_id"] == two.newcomer
    listed = await two.first.ok("GET", f"/v1/tokens?principal_id={two.newcomer}")
    assert [one["description"] for one in listed["items"]] == ["CI"]


async def test_a_role_that_is_given_is_not_widened(two: Two) -> None:
    role = "/v1/roles/shipper"
    await two.first.ok("PUT", role, {"permissions": ["prompt.read"]})
    await two.first.ok("POST", "/v1/grants", two.grant("shipper"))
    wider = ["access.write", "prompt.read"]
    assert alone(await two.first.call("PUT", role, {"permissions": wider}))
    other = {"permissions": ["prompt.read", "prompt.write"], "description": "More"}
    assert (await two.first.call("PUT", role, other)).status == 200
    await two.first.ok("PUT", "/v1/roles/other", {"permissions": ["access.write"]})
    assert alone(await two.first.call("POST", "/v1/grants", two.grant("other")))


async def test_the_rules_are_changed_by_two(two: Two) -> None:
    assert (await two.first.ok("GET", RULES))["second_person"] == PROTECTED
    assert alone(await two.first.call("PUT", RULES, {"second_person": []}))
    before = two.first.position
    assert (await two.agreed(rules={"second_person": []})).status == 200
    assert (await two.first.call("POST", "/v1/grants", two.grant())).status == 201
    assert (await two.first.ok("GET", RULES))["second_person"] == []
    assert (await two.first.ok("GET", f"{RULES}?as_of={before}"))["second_person"] == PROTECTED


async def test_provisioning_is_held_to_it_too(two: Two) -> None:
    named = {"schemas": [GROUP], "displayName": "admins"}
    group = (await two.first.call("POST", "/scim/v2/Groups", named)).body["id"]
    assert (await two.agreed(rules={"second_person": []})).status == 200
    await two.first.ok("POST", "/v1/grants", {"principal_id": group, "role": "admin"})
    await two.first.ok("PUT", RULES, {"second_person": PROTECTED})
    user = {"schemas": [USER], "userName": "grace@example.com"}
    person = (await two.first.call("POST", "/scim/v2/Users", user)).body["id"]
    body = {
        "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"],
        "Operations": [{"op": "add", "path": "members", "value": [{"value": person}]}],
    }
    answer = await two.first.call("PATCH", f"/scim/v2/Groups/{group}", body)
    assert answer.status == 403, answer.body
    assert (await two.first.ok("GET", f"/v1/principals/{person}"))["groups"] == []


# Whose word counts


async def test_an_approver_who_may_not_any_more_does_not_count(two: Two) -> None:
    assert (await two.agreed(grant=two.grant())).status == 201
    third = await two.principal("person")
    assert (await two.agreed(grant={"principal_id": third, "role": "admin"})).status == 201
    path = await two.ask(grant=two.grant("admin", project="acme"))
    two.second.position = two.first.position
    await two.second.ok("POST", f"{path}/approve")
    await two.first.ok("POST", f"/v1/principals/{two.second_admin.principal_id}/suspend")
    assert (await two.first.call("POST", f"{path}/apply")).code == "conflict"
    await two.first.ok("POST", f"/v1/principals/{two.second_admin.principal_id}/resume")
    assert (await two.first.call("POST", f"{path}/apply")).status == 201


async def test_who_gives_access_in_a_project_agrees_there(two: Two) -> None:
    chief = await two.first.make_caller(type_="person")
    here = {"principal_id": chief.principal_id, "role": "admin", "project": "acme"}
    assert (await two.agreed(grant=here)).status == 201
    api = chief.api
    everywhere = await two.ask(grant=two.grant())
    assert (await api.call("POST", f"{everywhere}/approve")).code == "forbidden"
    assert (await api.call("GET", everywhere)).status == 404
    here = await two.ask(grant=two.grant("releaser", project="acme"))
    assert [one["details"]["role"] for one in await awaiting(api)] == ["releaser"]
    await api.ok("POST", f"{here}/approve")
    assert await awaiting(api) == []
    assert (await two.first.call("POST", f"{here}/apply")).status == 201


async def awaiting(api: Api) -> list[dict[str, Any]]:
    return list((await api.ok("GET", f"{REQUESTS}?awaiting=me"))["items"])


async def test_nobody_else_sees_what_is_asked(two: Two) -> None:
    path = await two.ask(grant=two.grant())
    outsider = two.outsider.api
    assert (await outsider.ok("GET", REQUESTS))["items"] == []
    absent = f"{REQUESTS}/01a00000-0000-7000-8000-000000000000"
    for step in ("", "/approve", "/reject", "/apply"):
        method = "POST" if step else "GET"
        there, not_there = [await outsider.call(method, one + step) for one in (path, absent)]
        assert there.status == not_there.status == (403 if step else 404)


async def test_a_request_is_rejected_withdrawn_and_lapses(
    two: Two, monkeypatch: pytest.MonkeyPatch
) -> None:
    said_no, taken_back = await two.ask(grant=two.grant()), await two.ask(grant=two.grant())
    two.second.position = two.first.position
    assert (await two.second.ok("POST", f"{said_no}/reject", {"comment": "No"}))["changed"]
    assert not (await two.second.ok("POST", f"{said_no}/reject"))["changed"]
    await two.first.ok("POST", f"{taken_back}/reject")
    for path in (said_no, taken_back):
        assert (await two.second.call("POST", f"{path}/approve")).code == "access_request_closed"
    old = await two.ask(grant=two.grant())
    await two.second.ok("POST", f"{old}/approve")
    with monkeypatch.context() as later:
        later.setattr(access_request, "ACCESS_REQUEST_DAYS", timedelta(0).days)
        assert (await two.first.ok("GET", old))["status"] == "lapsed"
        assert (await two.first.call("POST", f"{old}/apply")).code == "access_request_closed"
    statuses = [one["status"] for one in (await two.first.ok("GET", REQUESTS))["items"]]
    assert statuses == ["rejected", "rejected", "approved"]


async def test_two_who_race_apply_it_once(two: Two) -> None:
    path = await two.ask(grant=two.grant())
    two.second.position = two.first.position
    await two.second.ok("POST", f"{path}/approve")
    answers = await asyncio.gather(*[two.first.call("POST", f"{path}/apply") for _ in range(4)])
    assert sorted(one.status for one in answers) == [201, 409, 409, 409]


async def test_what_is_so_by_now_is_not_applied(two: Two) -> None:
    first, second = await two.ask(grant=two.grant()), await two.ask(grant=two.grant())
    two.second.position = two.first.position
    for path in (first, second):
        await two.second.ok("POST", f"{path}/approve")
    assert (await two.first.call("POST", f"{first}/apply")).status == 201
    assert (await two.first.call("POST", f"{second}/apply")).code == "conflict"
    await two.first.ok("POST", f"{second}/reject")


# What makes no sense


async def test_what_needs_nobody_is_not_asked_for(two: Two) -> None:
    answer = await two.first.call("POST", REQUESTS, {"grant": two.grant("developer")})
    assert (answer.status, answer.code) == (409, "conflict")
    answer = await two.first.call("POST", REQUESTS, {"grant": two.grant("nonsense")})
    assert (answer.status, answer.code) == (422, "invalid_scope")
    for body in ({}, {"grant": two.grant(), "rules": {"second_person": []}}):
        answer = await two.first.call("POST", REQUESTS, body)
        assert (answer.status, answer.code) == (422, "invalid_request")
    assert (await two.first.ok("GET", REQUESTS))["items"] == []


@pytest.mark.parametrize(
    "entries",
    [
        [PROTECTED[0], {"permission": "x.y"}],
        [PROTECTED[0], {"permission": "prompt.write", "environment": "production"}],
        PROTECTED[1:],  # who may give access gives everything
    ],
)
async def test_rules_that_mean_nothing_are_refused(two: Two, entries: list[dict[str, str]]) -> None:
    answer = await two.first.call("PUT", RULES, {"second_person": entries})
    assert (answer.status, answer.code) == (422, "invalid"), answer.body


async def test_two_people_are_there_before_and_after(tmp_path: Path) -> None:
    async with registry(tmp_path) as api:
        refused = await api.call("PUT", RULES, {"second_person": PROTECTED})
        assert (refused.status, refused.code) == (409, "last_admin")
        two = await Two(api).build()
        whom = f"/v1/principals/{two.second_admin.principal_id}"
        grants = await api.ok("GET", f"/v1/grants?principal_id={two.second_admin.principal_id}")
        for attempt in (
            api.call("PATCH", whom, {"active": False}),
            api.call("DELETE", f"/v1/grants/{grants['items'][0]['grant_id']}"),
        ):
            answer = await attempt
            assert (answer.status, answer.code) == (409, "last_admin")
        await api.ok("POST", f"{whom}/suspend")  # one of two has to be able to
        refused = await api.call("PATCH", whom, {"active": False})
        assert (refused.status, refused.code) == (409, "last_admin")


async def test_a_person_with_a_password_is_no_way_in(two: Two) -> None:
    """Whoever can set a password later holds nothing now, so it takes nobody."""
    person = await new_person(two.first, "grace@example.com")
    assert alone(
        await two.first.call(
            "POST", "/v1/grants", {"principal_id": person.principal_id, "role": "admin"}
        )
    )
