"""An identity provider keeps people and groups in step (RFC 7643, RFC 7644)."""

import uuid
from typing import Any

import pytest

from tests.harness import Answer, Api
from tests.sign_in.people import Person, new_person

USER = "urn:ietf:params:scim:schemas:core:2.0:User"
ERROR = "urn:ietf:params:scim:api:messages:2.0:Error"
PATCH = "urn:ietf:params:scim:api:messages:2.0:PatchOp"


@pytest.fixture
async def scim(api: Api) -> Api:
    """What a provisioning service is: a token with the two permissions, nothing else."""
    await api.ok("PUT", "/v1/roles/provisioner", {"permissions": ["access.read", "access.write"]})
    return (await api.make_caller({"role": "provisioner"})).api


async def new_user(scim: Api, user_name: str, **fields: Any) -> dict[str, Any]:
    body = {"schemas": [USER], "userName": user_name, **fields}
    return await scim.ok("POST", "/scim/v2/Users", body)


async def patch(scim: Api, path: str, *operations: dict[str, Any]) -> Answer:
    return await scim.call("PATCH", path, {"schemas": [PATCH], "Operations": list(operations)})


async def found(scim: Api, kind: str, filtered: str) -> list[str]:
    page = await scim.ok("GET", f"/scim/v2/{kind}", params={"filter": filtered})
    assert page["totalResults"] == len(page["Resources"])
    return [one["id"] for one in page["Resources"]]


def refused(answer: Answer, status: int, scim_type: str | None = None) -> None:
    assert answer.status == status, answer.body
    assert answer.headers["Content-Type"].startswith("application/scim+json")
    assert answer.body["schemas"] == [ERROR] and answer.body["status"] == str(status)
    assert answer.body["detail"]
    if scim_type is not None:
        assert answer.body["scimType"] == scim_type


async def test_a_user_is_made_found_and_signs_in(api: Api, scim: Api) -> None:
    name = {"givenName": "Ada", "familyName": "Lovelace"}
    made = await new_user(scim, "Ada@Example.com", name=name, externalId="x1", title="Countess")
    assert made["userName"] == "Ada@Example.com" and made["active"] is True
    assert made["displayName"] == "Ada Lovelace"
    assert made["meta"]["location"] == f"/scim/v2/Users/{made['id']}"
    assert await scim.ok("GET", f"/scim/v2/Users/{made['id']}") == made
    for filtered in (
        'userName eq "ada@example.com"',
        f'{USER}:USERNAME eq "\\u0061da@example.com"',
        f'id Eq "{made["id"]}"',
    ):
        assert await found(scim, "Users", filtered) == [made["id"]]
    for filtered in ('userName eq "b@example.com"', 'externalId eq "x1"', 'userName eq "\\""'):
        assert await found(scim, "Users", filtered) == []
    shown = await api.ok("GET", f"/v1/principals/{made['id']}")
    assert (shown["type"], shown["name"]) == ("person", "Ada Lovelace")
    code = (await api.ok("POST", f"/v1/principals/{made['id']}/recovery"))["code"]
    person = Person(api, made["id"], "ada@example.com")
    body = {"login": person.login, "code": code, "password": person.password}
    await api.as_token(None).ok("POST", "/v1/auth/recover", body)
    await person.session()


async def test_pages(scim: Api) -> None:
    ids = [(await new_user(scim, f"user{n}"))["id"] for n in range(5)]
    page = await scim.ok("GET", "/scim/v2/Users?startIndex=2&count=2")
    assert (page["totalResults"], page["startIndex"], page["itemsPerPage"]) == (5, 2, 2)
    assert [one["id"] for one in page["Resources"]] == sorted(ids)[1:3]
    none = await scim.ok("GET", "/scim/v2/Users?startIndex=-3&count=-1")
    assert (none["totalResults"], none["Resources"]) == (5, [])
    assert (await scim.ok("GET", "/scim/v2/Users?startIndex=9"))["Resources"] == []


async def test_only_what_is_asked_for(scim: Api) -> None:
    made = await new_user(scim, "ada")
    for query, names in (
        ("attributes=userName", {"userName"}),
        (f"attributes={USER}:USERNAME,name.formatted", {"userName", "name"}),
        ("excludedAttributes=meta,name,id,active", {"userName", "displayName"}),
    ):
        one = await scim.ok("GET", f"/scim/v2/Users/{made['id']}?{query}")
        assert set(one) == {"schemas", "id"} | names
        page = await scim.ok("GET", f"/scim/v2/Users?{query}")
        assert page["Resources"] == [one]


async def test_nothing_is_only_tried_out(scim: Api) -> None:
    refused(await scim.call("POST", "/scim/v2/Users?dry_run=true", {"userName": "ada"}), 400)
    assert (await scim.ok("GET", "/scim/v2/Users"))["totalResults"] == 0
    made = await scim.ok("POST", "/scim/v2/Users?attributes=userName", {"userName": "ada"})
    assert set(made) == {"schemas", "id", "userName"}


async def test_names_are_given_once(scim: Api) -> None:
    await new_user(scim, "ada")
    other = await new_user(scim, "bob")
    refused(await scim.call("POST", "/scim/v2/Users", {"userName": "ADA"}), 409, "uniqueness")
    path = f"/scim/v2/Users/{other['id']}"
    body = {"userName": "ada", "displayName": "Other"}
    refused(await scim.call("PUT", path, body), 409, "uniqueness")
    assert await scim.ok("GET", path) == other
    assert (await scim.ok("GET", "/scim/v2/Users"))["totalResults"] == 2


async def test_a_suspended_user_can_do_nothing_until_resumed(api: Api, scim: Api) -> None:
    ada = await new_person(api, "ada@example.com", {"role": "developer"})
    session = await ada.session()
    token = (await api.ok("POST", "/v1/tokens", {"principal_id": ada.principal_id}))["token"]
    path = f"/scim/v2/Users/{ada.principal_id}"
    off = await patch(scim, path, {"op": "Replace", "path": "active", "value": "False"})
    assert off.body["active"] is False
    for held in (session.api, api.as_token(token)):
        assert (await held.call("GET", "/v1/whoami")).status == 401
    assert (await session.refresh()).status == 401
    assert (await ada.sign_in()).status == 401
    assert (await api.ok("GET", f"/v1/principals/{ada.principal_id}"))["active"] is False
    assert await found(scim, "Users", 'userName eq "ada@example.com"') == [ada.principal_id]
    on = await patch(scim, path, {"op": "replace", "value": {"active": True}})
    assert on.body["active"] is True
    assert (await api.as_token(token).call("GET", "/v1/whoami")).status == 200
    await ada.session()


async def test_a_user_is_replaced(scim: Api) -> None:
    made = await new_user(scim, "ada", active=False)
    assert made["active"] is False
    path = f"/scim/v2/Users/{made['id']}"
    body = {"userName": "countess", "name": {"formatted": "The Countess"}, "active": True}
    changed = await scim.ok("PUT", path, body)
    assert changed | {"meta": None} == made | {
        "meta": None, "userName": "countess", "displayName": "The Countess", "active": True,
        "name": {"formatted": "The Countess"},
    }  # fmt: skip
    assert await found(scim, "Users", 'userName eq "ada"') == []
    again = await scim.ok("POST", "/scim/v2/Users", {"userName": "ada"})
    assert again["id"] != made["id"]


@pytest.mark.parametrize(
    ("operation", "expected"),
    [
        ({"path": "displayName", "value": "B"}, {"displayName": "B"}),
        ({"path": f"{USER}:displayname", "value": "B"}, {"displayName": "B"}),
        ({"path": "name.formatted", "value": "B"}, {"displayName": "B"}),
        ({"value": {"userName": "bob", "name.givenName": "B"}}, {"userName": "bob"}),
        ({"value": {"schemas": [USER], "id": "x", "displayName": "B"}}, {"displayName": "B"}),
        ({"value": {USER: {"displayName": "B"}}}, {"displayName": "B"}),
        ({"path": "name", "value": {"givenName": "B", "familyName": "C"}}, {"displayName": "B C"}),
        ({"path": "name", "value": {"givenName": "B"}}, {}),  # half a name replaces none
        ({"value": {"name.givenName": "B", "name.familyName": "C"}}, {"displayName": "B C"}),
        ({"path": "active", "value": None}, {}),
        ({"value": {"urn:example:extension:2.0:User": {"department": "B"}}}, {}),
        ({"path": 'emails[type eq "work"].value', "value": "b@example.com"}, {}),
        ({"op": "remove", "path": "title"}, {}),
    ],
)
async def test_a_user_is_changed(scim: Api, operation: Any, expected: Any) -> None:
    made = await new_user(scim, "ada", displayName="A")
    answer = await patch(scim, f"/scim/v2/Users/{made['id']}", {"op": "Add"} | operation)
    assert answer.status == 200, answer.body
    for name in ("userName", "displayName", "active"):
        assert answer.body[name] == (made | expected)[name]


async def test_what_providers_write_otherwise(scim: Api) -> None:
    body = {"username": "ada", "DisplayName": " ", "active": "False", "name": {"givenname": "Ada"}}
    made = await scim.ok("POST", "/scim/v2/Users", body)
    assert (made["userName"], made["displayName"], made["active"]) == ("ada", "Ada", False)
    parts = [
        {"op": "Replace", "path": f"name.{part}", "value": value}
        for part, value in (("givenName", "Ada"), ("familyName", "Lovelace"))
    ]
    path = f"/scim/v2/Users/{made['id']}"
    assert (await patch(scim, path, *parts)).body["displayName"] == "Ada Lovelace"
    for name in ({"formatted": "A\x1b[2J"}, {"givenName": "A\0"}):
        refused(
            await scim.call("PUT", path, {"userName": "ada", "name": name}), 400, "invalidValue"
        )
    steers = {"op": "replace", "path": "displayName", "value": "A\x1b[2J"}
    refused(await patch(scim, path, steers), 400, "invalidValue")
    members = {"displayName": "Staff", "members": [{"value": made["id"].upper()}]}
    group = await scim.ok("POST", "/scim/v2/Groups", members)
    path = f"/scim/v2/Groups/{group['id']}"
    kept = await scim.ok("PUT", path, {"displayName": "Team"})
    assert (kept["displayName"], len(kept["members"])) == ("Team", 1)
    removal = {"op": "Remove", "path": "members", "value": [{"value": made["id"].upper()}]}
    described = {"op": "Replace", "path": "description", "value": "who builds it"}
    assert (await patch(scim, path, described, removal)).body["members"] == []


@pytest.mark.parametrize(
    ("operation", "status", "scim_type"),
    [
        ({"op": "remove", "path": "userName"}, 400, "invalidPath"),
        ({"op": "replace", "path": "id", "value": "x"}, 400, "invalidPath"),
        ({"op": "replace", "path": "a b", "value": "x"}, 400, "invalidPath"),
        ({"op": "replace", "value": "x"}, 400, "invalidPath"),
        ({"op": "copy", "path": "active", "value": True}, 400, "invalidValue"),
        ({"op": "replace", "path": "active", "value": "maybe"}, 400, "invalidValue"),
        ({"op": "replace", "path": "userName", "value": ""}, 400, "invalidValue"),
    ],
)
async def test_what_cannot_be_changed(
    scim: Api, operation: dict[str, Any], status: int, scim_type: str
) -> None:
    made = await new_user(scim, "ada", displayName="A")
    path = f"/scim/v2/Users/{made['id']}"
    good = {"op": "replace", "path": "displayName", "value": "B"}
    refused(await patch(scim, path, good, operation), status, scim_type)
    assert await scim.ok("GET", path) == made


async def test_a_deleted_user_is_gone_and_the_name_free(api: Api, scim: Api) -> None:
    made = await new_user(scim, "ada")
    path = f"/scim/v2/Users/{made['id']}"
    deleted = await scim.call("DELETE", path)
    assert deleted.status == 204
    api.position = int(deleted.headers["Scrinia-Position"])
    for method, body in (("GET", None), ("PUT", {"userName": "ada"}), ("DELETE", None)):
        refused(await scim.call(method, path, body), 404)
    assert (await scim.ok("GET", "/scim/v2/Users"))["totalResults"] == 0
    assert (await new_user(scim, "ada"))["id"] != made["id"]
    record = await api.ok("GET", "/v1/audit?action=principal.deactivated")
    assert [one["resource"] for one in record["items"]] == [f"principals/{made['id']}"]


async def test_a_group_has_the_members_that_it_is_said_to_have(api: Api, scim: Api) -> None:
    ada, bob = [(await new_user(scim, name))["id"] for name in ("ada", "bob")]
    made = await scim.ok("POST", "/scim/v2/Groups",
                         {"displayName": "Writers", "members": [{"value": ada}]})  # fmt: skip
    path = f"/scim/v2/Groups/{made['id']}"
    assert await found(scim, "Groups", 'displayName eq "Writers"') == [made["id"]]
    body = {"principal_id": made["id"], "role": "viewer", "project": "acme"}
    await api.ok("POST", "/v1/projects", {"project": "acme"})
    await api.ok("POST", "/v1/grants", body)

    async def members() -> set[str]:
        listed = {one["value"] for one in (await scim.ok("GET", path))["members"]}
        for person in (ada, bob):
            groups = (await api.ok("GET", f"/v1/principals/{person}"))["groups"]
            assert (made["id"] in groups) == (person in listed)
        return listed

    assert await members() == {ada}
    await patch(scim, path, {"op": "Add", "path": "members", "value": [{"value": bob}]})
    assert await members() == {ada, bob}
    await patch(scim, path, {"op": "remove", "path": f'members[value eq "{ada}"]'})
    assert await members() == {bob}
    await patch(scim, path, {"op": "Remove", "path": "members", "value": [{"value": bob}]})
    assert await members() == set()
    await patch(scim, path, {"op": "replace", "value": {"members": [{"value": ada}]}})
    assert await members() == {ada}
    await scim.ok("PUT", path, {"displayName": "Authors", "members": [{"value": bob}]})
    assert await members() == {bob}
    assert (await scim.ok("GET", path))["displayName"] == "Authors"
    await patch(scim, path, {"op": "remove", "path": "members"})
    assert await members() == set()
    nobody = {"op": "add", "path": "members", "value": [{"value": str(uuid.uuid4())}]}
    refused(await patch(scim, path, nobody), 400)
    assert (await scim.call("DELETE", path)).status == 204
    refused(await scim.call("GET", path), 404)


async def test_the_last_admin_stays(api: Api, scim: Api) -> None:
    me = (await api.ok("GET", "/v1/whoami"))["principal_id"]
    await api.ok("PUT", f"/v1/principals/{me}/login", {"login": "root"})
    path = f"/scim/v2/Users/{me}"
    refused(await patch(scim, path, {"op": "replace", "path": "active", "value": False}), 409)
    refused(await scim.call("DELETE", path), 409)
    assert (await scim.ok("GET", path))["userName"] == "root"


async def test_only_what_is_named_is_changed(api: Api, scim: Api) -> None:
    long = "x" * 300
    made = await api.ok("POST", "/v1/principals", {"type": "person", "name": long, "login": "ada"})
    path = f"/scim/v2/Users/{made['principal_id']}"
    off = {"op": "replace", "path": "active", "value": False}
    assert (await patch(scim, path, off)).body["active"] is False
    renamed = await patch(scim, path, {"op": "replace", "path": "userName", "value": "bob"})
    assert (renamed.body["userName"], renamed.body["displayName"]) == ("bob", long)
    assert renamed.body["active"] is False
    kept = await scim.ok("PUT", path, {"userName": "bob", "displayName": "Bob"})
    assert (kept["active"], kept["displayName"]) == (False, "Bob")
    shown = await api.ok("GET", f"/v1/principals/{made['principal_id']}")
    assert (shown["active"], shown["suspended"]) == (False, True)


async def test_whom_the_provider_refuses_is_out_whatever_else_it_says(scim: Api) -> None:
    await new_user(scim, "ada")
    bob = await new_user(scim, "bob")
    path = f"/scim/v2/Users/{bob['id']}"
    refused(await scim.call("PUT", path, {"userName": "ada", "active": False}), 409)
    assert (await scim.ok("GET", path))["active"] is False


async def test_a_group_keeps_members_that_the_provider_does_not_know(api: Api, scim: Api) -> None:
    ada, bob = [(await new_user(scim, name))["id"] for name in ("ada", "bob")]
    body = {"displayName": "Writers", "members": [{"value": ada}]}
    group = (await scim.ok("POST", "/scim/v2/Groups", body))["id"]
    robot = (await api.ok("POST", "/v1/principals", {"type": "service", "name": "r"}))[
        "principal_id"
    ]
    await api.ok("PUT", f"/v1/principals/{robot}/groups/{group}")
    path = f"/scim/v2/Groups/{group}"
    changed = await patch(scim, path, {"op": "add", "path": "members", "value": {"value": bob}})
    assert {one["value"] for one in changed.body["members"]} == {ada, bob}
    await scim.ok("PUT", path, {"displayName": "Writers", "members": None})
    assert (await api.ok("GET", f"/v1/principals/{group}"))["members"] == [robot]
    nothing = {"op": "replace", "path": "members"}
    refused(await patch(scim, path, nothing), 400, "invalidPath")


async def test_deactivated_otherwise_frees_the_name_too(api: Api, scim: Api) -> None:
    made = await new_user(scim, "ada")
    await api.ok("PATCH", f"/v1/principals/{made['id']}", {"active": False})
    await api.ok("POST", f"/v1/principals/{made['id']}/suspend")
    refused(await scim.call("GET", f"/scim/v2/Users/{made['id']}"), 404)
    assert (await new_user(scim, "ada"))["id"] != made["id"]


async def test_what_is_kept_is_what_the_schemas_say(api: Api, scim: Api) -> None:
    """Every attribute that is answered is described, and found by the links between them."""
    nobody = api.as_token(None)
    for kind, made in (
        ("User", await new_user(scim, "ada")),
        ("Group", await scim.ok("POST", "/scim/v2/Groups", {"displayName": "staff"})),
    ):
        type_ = await nobody.ok("GET", f"/scim/v2/ResourceTypes/{kind}")
        schema = await nobody.ok("GET", f"/scim/v2/Schemas/{type_['schema']}")
        assert (await nobody.ok("GET", schema["meta"]["location"])) == schema
        assert made["schemas"] == [schema["id"]] and schema["name"] == kind
        described = {one["name"]: one for one in schema["attributes"]}
        assert set(made) - {"schemas", "id", "meta"} == set(described)
        required = {name for name, one in described.items() if one["required"]}
        sent = {name: made[name] + "2" for name in required}
        await scim.ok("POST", f"/scim/v2/{kind}s", sent)
        one_less = {name: value for name, value in made.items() if name not in required}
        refused(await scim.call("POST", f"/scim/v2/{kind}s", one_less), 400, "invalidValue")
    listed = await nobody.ok("GET", "/scim/v2/Schemas")
    assert [one["name"] for one in listed["Resources"]] == ["User", "Group"]
    assert listed["totalResults"] == 2
    refused(await nobody.call("GET", "/scim/v2/Schemas/urn:none"), 404)
    refused(await nobody.call("GET", "/scim/v2/ResourceTypes/Robot"), 404)


async def test_what_it_is_and_who_may(api: Api, scim: Api) -> None:
    nobody = api.as_token(None)
    config = await nobody.ok("GET", "/scim/v2/ServiceProviderConfig")
    assert config["patch"]["supported"] and not config["bulk"]["supported"]
    types = await nobody.ok("GET", "/scim/v2/ResourceTypes")
    assert [one["endpoint"] for one in types["Resources"]] == ["/Users", "/Groups"]
    refused(await nobody.call("GET", "/scim/v2/Users"), 401)
    viewer = (await api.make_caller({"role": "viewer"})).api
    refused(await viewer.call("GET", "/scim/v2/Users"), 403)
    refused(await scim.call("GET", "/scim/v2/Me"), 404)
    refused(await scim.call("POST", "/scim/v2/Users", {}), 400, "invalidValue")
    unknown = await scim.call("GET", "/scim/v2/Users", params={"filter": 'userName sw "a"'})
    refused(unknown, 400, "invalidFilter")
    group = await api.ok("POST", "/v1/principals", {"type": "group", "name": "here only"})
    refused(await scim.call("GET", f"/scim/v2/Groups/{group['principal_id']}"), 404)
