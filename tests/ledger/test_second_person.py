"""Verification decides access requests again: what takes two people, two agreed to."""

import asyncio
from pathlib import Path

import pytest

from tests.harness import registry
from tests.ledger.past import Edit, Past, actor, authz, by, data


class TwoPeople(Past):
    """A grant, a token and a login name that two agreed to, and one request that came to nothing."""

    async def live_through(self, folder: Path) -> "TwoPeople":
        async with registry(folder) as api:
            other = await api.make_caller({"role": "admin"}, type_="person")
            robot = await api.make_caller({"role": "admin"})
            whom = await api.make_caller({"role": "viewer"})
            member = await api.make_caller(type_="person")
            about = {"principal_id": whom.principal_id}
            person = {"principal_id": member.principal_id}
            rules = {"second_person": [{"permission": "access.write"}]}
            await api.ok("PUT", "/v1/access/rules", rules)
            for wanted in (
                {"grant": about | {"role": "admin"}}, {"token": about},
                {"grant": person | {"role": "admin"}},
                {"login": person | {"login": "ada@example.com"}},
                {"rules": {"second_person": [*rules["second_person"], {"permission": "prompt.write"}]}},
            ):  # fmt: skip
                asked = await api.ok("POST", "/v1/access/requests", wanted)
                path = f"/v1/access/requests/{asked['request_id']}"
                await other.api.ok("POST", f"{path}/approve")
                await api.ok("POST", f"{path}/apply")
            me = await api.ok("GET", "/v1/whoami")
            self.names = {
                "other": other.principal_id, "other's token": other.token_id,
                "other's grant": other.grant_ids[0],
                "robot": robot.principal_id, "robot's token": robot.token_id,
                "robot's grant": robot.grant_ids[0],
                "me": me["principal_id"], "me's token": me["token"]["token_id"],
                "me's grant": me["grants"][0]["grant_id"],
            }  # fmt: skip
            self.take(api)
        return self


@pytest.fixture(scope="module")
def past(tmp_path_factory: pytest.TempPathFactory) -> TwoPeople:
    return asyncio.run(TwoPeople().live_through(tmp_path_factory.mktemp("two")))


def test_what_happened_was_allowed(past: TwoPeople) -> None:
    assert past.fault(-1, None) is None


def timed(moment: str) -> Edit:
    return lambda fields, names: fields.update(time=moment)


def intent(**given: str) -> Edit:
    def edit(fields: dict, names: dict) -> None:
        fields["data"]["intent"] |= {name: names[value] for name, value in given.items()}

    return edit


def of_request(fields: dict, names: dict) -> None:
    fields["request"]["id"] = "another"


def first_form(fields: dict, names: dict) -> None:
    """An approval as the first version wrote it, of what it noted nothing about."""
    fields["type"] = "io.scrinia.accessrequest.approved.v1"
    del fields["data"]["target_sha256"]
    fields["data"]["credentials_sha256"] = None


CASES = [
    ("accessrequest.approved", 0, first_form, "agrees to something else"),
    ("accessrequest.created", 0, data(by="other"), "names somebody else"),
    ("accessrequest.created", 0, authz(resource="registry"), "needs access.write on"),
    ("accessrequest.approved", 0, by("me"), "approves what takes another person"),
    ("accessrequest.approved", 0, by("robot"), "actor is a service"),
    ("accessrequest.approved", 0, data(by="me"), "names somebody else"),
    ("accessrequest.approved", 0, data(target_sha256="00" * 32), "agrees to something else"),
    ("accessrequest.created", 0, by("robot"), "actor is a service"),
    ("accessrequest.created", 1, intent(principal_id="other"), "they sign in"),
    ("accessrequest.applied", 0, by("other"), "nobody else agreed to"),
    ("accessrequest.applied", 0, timed("2099-01-01T00:00:00.000000+00:00"), "nobody else agreed"),
    ("accessrequest.applied", 0, of_request, "is not what it asked for"),
    ("grant.given", -1, data(role="auditor"), "is not what it asked for"),
    ("grant.given", -1, data(scope={"project": "acme"}), "is not what it asked for"),
    ("grant.given", -1, data(expires_at="2099-01-01T00:00:00+00:00"), "is not what it asked for"),
    ("grant.given", -1, of_request, "is not what it asked for"),
    ("token.issued", -1, data(networks=["10.0.0.0/8"]), "is not what it asked for"),
    ("signin.granted", -1, data(login_id="another"), "is not what it asked for"),
    ("login.claimed", -1, of_request, "is not what it asked for"),
    ("accessrules.changed", -1, data(second_person=[]), "is not what it asked for"),
    ("accessrules.changed", -1, authz(policy="system/1", grants=[]), "claims system/1"),
    ("accessrules.set", -1, authz(resource="registry"), "needs access.write on"),
]  # fmt: skip


def test_approvals_of_the_first_form_held_to_who_was_given_more_alone(past: TwoPeople) -> None:
    for number in (1, 3, 4):  # of a token, a login name, rules
        assert past.fault(past.find("accessrequest.approved", number), first_form) is None


@pytest.mark.parametrize(("kind_verb", "number", "edit", "words"), CASES)
def test_what_was_not_allowed_is_found(
    past: TwoPeople, kind_verb: str, number: int, edit: Edit, words: str
) -> None:
    at = past.find(kind_verb, number)
    index, fault = past.fault(at, edit)
    expected = at + (kind_verb == "accessrequest.applied" and edit is of_request)
    assert index == expected and words in fault, (at, index, fault)


@pytest.mark.parametrize(
    ("left_out", "objected", "words"),
    [
        ("accessrequest.applied", "grant.given", "takes a second person"),
        ("accessrequest.approved", "accessrequest.applied", "nobody else agreed to"),
        ("accessrequest.created", "accessrequest.approved", "no grant can allow"),
    ],
)
def test_what_it_rested_on_cannot_be_left_out(
    past: TwoPeople, left_out: str, objected: str, words: str
) -> None:
    index, fault = past.fault(past.find(left_out, 0), None)
    assert past.events[index].kind_verb == objected and words in fault, fault


def lifted(**given: object) -> Edit:
    """Said to be done on the host."""

    def edit(fields: dict, names: dict) -> None:
        fields["authz"] |= {"policy": "system/1", "grants": []}
        fields["actor"] = {"type": "system", "id": "system", "via": "host", "credential": None}
        fields["actor"] |= given.get("actor", {})
        fields["data"] |= given.get("data", {})

    return edit


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (lifted(), "claims system/1"),  # to other rules than none
        (lifted(data={"second_person": []}, actor={"via": "schedule"}), "another actor"),
    ],
)
def test_the_host_lifts_rules_and_nothing_else(past: TwoPeople, edit: Edit, words: str) -> None:
    del_at = past.find("accessrequest.applied", -1)
    events = [*past.events]
    past.events = events[:del_at] + events[del_at + 1 :]
    try:
        index, fault = past.fault(past.find("accessrules.changed", -1), edit)
    finally:
        past.events = events
    assert words in fault, fault


def test_what_was_asked_for_cannot_be_left_out(past: TwoPeople) -> None:
    index, fault = past.fault(past.find("grant.given", -1), None)
    assert past.events[index - 1].kind_verb == "grant.given" and "is not what" in fault, fault


def test_a_token_that_another_lacks_is_no_approval(past: TwoPeople) -> None:
    at = past.find("accessrequest.approved", 0)
    _, fault = past.fault(at, actor(credential="me's token"))
    assert "token not live" in fault
