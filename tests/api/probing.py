"""Schemathesis against the running server: nothing is undocumented, nothing breaks it.

Two modules of tests share it, so that two processes may work at once.
"""

import os
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis.core.parameters import ParameterLocation
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_schema_conformance,
    status_code_conformance,
)

from api.http.openapi import document
from api.http.routes import ROUTES
from api.http.scim_schemas import SCIM_USER
from api.http import tries
from ledger.signing import Signer
from ledger.trust import possession_text
from projections import sign_in_tries
from tests.api.doors import ABOUT_REQUESTS, Door, door_of
from tests.harness import STORES, Sync, registry_thread, text_content
from tests.servers import Postgres

EXAMPLES = 1000 if os.environ.get("SCRINIA_LONG") == "1" else 100
SCHEMA = schemathesis.openapi.from_dict(document(ROUTES))
OPERATIONS = {
    operation.ok().definition.raw["operationId"]: operation.ok()
    for operation in SCHEMA.get_all_operations()
}
CHECKS = (
    schemathesis.checks.not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    negative_data_rejection,
)


@pytest.fixture(scope="module")
def admins(
    postgres: Postgres, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Sync]]:
    """A registry on each store, which are sent the same: making it up takes longest."""
    with ExitStack() as stack:
        # All of them come from one address, and most show a password that is wrong.
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        for module in (sign_in_tries, tries):
            patch.setattr(module, "ADDRESS_TRIES_MAX", 10**6)
        clients = {}
        for store, url in zip(STORES, (None, postgres.database()), strict=True):
            folder = tmp_path_factory.mktemp("schemathesis")
            clients[store] = stack.enter_context(registry_thread(folder, database_url=url))
            clients[store].ok("POST", "/v1/projects", {"project": "acme"})
        yield clients


def _existing(admin: Sync, operation_id: str) -> dict[str, str]:
    """Path parameters that lead to something, made anew for each operation."""
    name = operation_id.replace("_", "-")
    body = {"name": name, "content": text_content("one")}
    admin.ok("POST", "/v1/projects/acme/prompts", body)
    path = f"/v1/projects/acme/prompts/{name}"
    admin.ok("POST", f"{path}/-/versions", {"content": text_content("two")})
    admin.ok("POST", f"{path}/-/branches", {"branch": "side"})
    on_side = {"content": text_content("two, aside"), "branch": "side"}
    admin.ok("POST", f"{path}/-/versions", on_side)
    for label, version in (("staging", 1), ("staging", 2), ("production", 1)):
        admin.ok("PUT", f"{path}/-/labels/{label}", {"version": version})
    if operation_id == "remove_guardrail":
        body = {"prompt": name, "folder": "empty"}
        admin.ok("PUT", "/v1/projects/acme/guardrails/safe", body)
    if "environment" in operation_id:  # what is guarded stays apart from what others promote to
        admin.ok("PUT", "/v1/projects/acme/environments/qa", {})
    if operation_id == "stop_rollout":
        admin.ok("PUT", f"{path}/-/labels/staging", {"rollout": {"1": 500, "2": 500}})
    if operation_id == "remove_consumer":
        admin.ok("PUT", f"{path}/-/consumers/app", {})
    principal = admin.ok("POST", "/v1/principals", {"type": "service", "name": "x"})
    principal_id = principal["principal_id"]
    group = admin.ok("POST", "/v1/principals", {"type": "group", "name": "z"})
    if "group" in operation_id or "role" in operation_id:
        admin.ok("PUT", "/v1/roles/tester", {"permissions": ["prompt.read"]})
    grant = admin.ok("POST", "/v1/grants", {"principal_id": principal_id, "role": "viewer"})
    token = admin.ok("POST", "/v1/tokens", {"principal_id": principal_id})
    webhook = admin.ok("POST", "/v1/webhooks", {"url": "https://localhost/", "types": ["epoch"]})
    ledger = admin.ok("GET", "/v1/version")["ledger"]
    key = admin.ok("POST", "/v1/log/keys", new_key(ledger))
    me, actor_key = admin.ok("GET", "/v1/whoami")["principal_id"], None
    if operation_id == "retire_actor_key":
        body = new_key(ledger, f"actor/{me}")
        actor_key = admin.ok("POST", f"/v1/principals/{me}/keys", body)["key_id"]
    ids = (
        dict.fromkeys(ABOUT_ONESELF, me)
        | dict.fromkeys(ABOUT_WEBHOOKS, webhook["webhook_id"])
        | {
            "revoke_grant": grant["grant_id"],
            "revoke_token": token["token_id"],
        }
    )
    if "/scim/v2/" in OPERATIONS[operation_id].path:
        type_ = "group" if "group" in operation_id else "person"
        body = {"type": type_, "name": "x", "login": operation_id}
        ids[operation_id] = admin.ok("POST", "/v1/principals", body)["principal_id"]
    if "{id}" in OPERATIONS[operation_id].path and operation_id in ABOUT_CHANGES:
        ids[operation_id] = _new_change(admin, operation_id, name)
    return {
        "project": "acme",
        "name": name,
        "label": "qa" if "environment" in operation_id else "staging",
        "branch": "side",
        "guardrail": "safe",
        "role": "tester",
        "consumer": "app",
        "group_id": group["principal_id"],
        "number": "1",
        "projection": "catalog",
        "kind": "User",
        "schema": SCIM_USER,
        "principal": principal_id,
        "ledger": ledger,
        "key_id": actor_key or key["key_id"],
        "id": ids.get(operation_id, principal_id),
    }


def _new_change(admin: Sync, operation_id: str, name: str) -> str:
    """A change request that somebody else has made, but where only that one may act on it."""
    made = admin.ok("POST", "/v1/principals", {"type": "person", "name": "y"})
    about = {"principal_id": made["principal_id"]}
    admin.ok("POST", "/v1/grants", about | {"role": "admin"})
    other = Sync(admin.url, admin.ok("POST", "/v1/tokens", about)["token"])
    by = admin if operation_id == "withdraw_change" else other
    path = f"/v1/projects/acme/prompts/{name}"
    version = by.ok("POST", f"{path}/-/versions", {"content": text_content("three")})["version"]
    if operation_id == "review_emergency":
        body = {"version": version, "break_glass": True, "reason": "now"}
        return by.ok("PUT", f"{path}/-/labels/staging", body)["change_id"]
    body = {"items": [{"name": name, "version": version}], "title": "x", "environment": "staging"}
    return by.ok("POST", "/v1/projects/acme/change-requests", body)["change_id"]


def new_key(ledger: str, purpose: str = "event") -> dict[str, str]:
    """What registers another key for a purpose."""
    signer = Signer(os.urandom(32))
    proof = signer.sign(possession_text(ledger, purpose)).hex()
    body = {"public_key": signer.public_key.hex(), "proof": proof}
    return body if purpose.startswith("actor/") else body | {"purpose": purpose}


ABOUT_WEBHOOKS = (
    "get_webhook", "change_webhook", "delete_webhook", "rotate_webhook_secret", "deliver_test",
    "list_deliveries", "redeliver",
)  # fmt: skip
ABOUT_ONESELF = ("list_actor_keys", "register_actor_key", "retire_actor_key")
ABOUT_CHANGES = (
    "get_change", "revise_change", "comment_on_change", "approve_change", "retract_approval",
    "reject_change", "withdraw_change", "apply_change", "review_emergency",
)  # fmt: skip
BODIES = {
    "commit_version": {"content": text_content("three")},
    "create_principal": {"type": "service", "name": "x"},
    "create_project": {"project": "another"},
    "create_prompt": {"name": "another", "content": text_content("one")},
    "create_webhook": {"url": "https://localhost/", "types": ["epoch"]},
    "find_similar": {"content": text_content("one")},
    "commit_many": {
        "items": [
            {"project": "acme", "name": "many", "content": text_content("one"), "create": True},
        ]
    },
    "create_branch": {"branch": "other"},
    "fork_prompt": {"name": "forked"},
    "move_prompt": {"name": "moved"},
    "merge_branch": {"source": "side"},
    "set_guardrail": {"prompt": "set-guardrail"},
    "change_webhook": {"types": ["ledger"]},
    "redeliver": {"after": 0},
    "render": {"variables": {}, "version": 1},
    "rollback": {"label": "staging"},
    "resolve_many": {"items": [{"project": "acme", "name": "x"}]},
    "set_label": {"version": 2},
    "set_environment": {},
    "set_owners": {"owners": []},
    "record_check": {"name": "lint", "state": "passed"},
    "preview_promotion": {"version": 2, "label": "staging"},
    "propose_change": {
        "items": [{"name": "propose-change", "version": 1}],
        "title": "x",
        "environment": "staging",
    },
    "comment_on_change": {"text": "x"},
    "register_consumer": {"range": "^1"},
    "define_role": {"permissions": ["prompt.read"]},
    "review_emergency": {"outcome": "accepted"},
    "set_sign_in_rules": {"second_factor": "optional"},
    "change_principal": {"name": "y"},
    "create_user": {"userName": "provided"},
    "replace_user": {"userName": "replaced"},
    "patch_user": {"Operations": [{"op": "replace", "path": "active", "value": False}]},
    "create_group": {"displayName": "staff"},
    "replace_group": {"displayName": "replaced"},
    "patch_group": {"Operations": [{"op": "replace", "path": "members", "value": []}]},
}
BY_PROVIDER = ("go_to_provider", "come_back")  # there is none; tests/sign_in/test_oidc.py has one
QUERIES = {"impact": {"version": "2"}, "search": {"q": "one"}, "get_diff": {"from": "1", "to": "2"}}


def _last_what_takes_two(operation_id: str) -> tuple[bool, str]:
    """From then on nobody is made an admin by one person alone."""
    return operation_id in ABOUT_REQUESTS, operation_id


_ORDERED = sorted(OPERATIONS, key=_last_what_takes_two)
READS = [one for one in _ORDERED if OPERATIONS[one].method == "get"]
CHANGES = [one for one in _ORDERED if one not in READS]


def keeps_its_word(admins: dict[str, Sync], operation_id: str) -> None:
    """Ask for an operation in every way its document allows, and in some that it does not."""
    operation = OPERATIONS[operation_id]
    existing = {store: _existing(admin, operation_id) for store, admin in admins.items()}
    places = {store: _place(operation, known) for store, known in existing.items()}
    seen: dict[str, Counter[int]] = {store: Counter() for store in admins}

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
        database=None,
    )
    @given(case=cases_of(operation, existing["sqlite"]))
    def probe(case: schemathesis.Case) -> None:
        real = case.path_parameters == places["sqlite"]
        for store, admin in admins.items():
            if real:
                case.path_parameters = places[store]
            headers = {"Authorization": f"Bearer {admin.token}"}
            response = case.call(base_url=admin.url, headers=headers)
            seen[store][response.status_code] += 1
            wrong = not real and _is_wrong(case, response.request.url)
            checks = [c for c in CHECKS if wrong or c is not negative_data_rejection]
            case.validate_response(response, checks=checks)

    probe()
    for store, admin in admins.items():
        if not any(200 <= status < 300 for status in seen[store]):
            seen[store][_succeed(admin, operation_id, existing[store])] += 1
        assert seen[store].total() >= EXAMPLES or not case_varies(operation)
        if operation_id in BY_PROVIDER:
            assert set(seen[store]) <= {400, 404}, seen
        else:
            assert any(200 <= status < 300 for status in seen[store]), seen


def cases_of(operation: Any, existing: dict[str, str]) -> st.SearchStrategy[schemathesis.Case]:
    """Requests as the document has them and otherwise, about something that is there or made up.

    To make up names that fit their patterns takes longest: where the document is kept, three of
    four are about what is there; where it is not, half of them.
    """
    good, wrong = schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE
    place = _place(operation, existing)
    if not place:
        return st.one_of(operation.as_strategy(generation_mode=kind) for kind in (good, wrong))
    there: dict[str, Any] = {"path_parameters": place}
    ways = [(good, {}), *[(good, there)] * 3, *[(wrong, {}), (wrong, there)] * 2]
    return st.one_of(operation.as_strategy(generation_mode=kind, **way) for kind, way in ways)


def _place(operation: Any, existing: dict[str, str]) -> dict[str, str]:
    """The path parameters that lead to something."""
    return {name: existing[name] for name in operation.path.replace("}", "{").split("{")[1::2]}


def _succeed(admin: Sync, operation_id: str, existing: dict[str, str]) -> int:
    """The status of a request that is valid and allowed."""
    operation = OPERATIONS[operation_id]
    bodies = BODIES | {
        "give_grant": {"principal_id": existing["principal"], "role": "developer"},
        "issue_token": {"principal_id": existing["principal"]},
        "register_key": new_key(existing["ledger"]),
        "register_actor_key": new_key(existing["ledger"], f"actor/{existing['id']}"),
    }
    asked = {"principal": existing["principal"], "permission": "prompt.read"}
    queries = QUERIES | {"explain_access": asked}
    door = door_of(admin, operation_id) or Door(admin, existing["id"], bodies.get(operation_id))
    answer = door.caller.call(
        operation.method.upper(),
        operation.path.format(**existing | {"id": door.id}),
        door.body,
        params=queries.get(operation_id),
    )
    return answer.status


def _is_wrong(case: schemathesis.Case, url: str) -> bool:
    """Whether what was made wrong was sent so.

    An empty list is not written into a URL, and the wrong `Authorization` is another one here.
    """
    parts = case.meta.components if case.meta else {}
    wrong = {where for where, part in parts.items() if part.mode.is_negative}
    if not set(case.query or {}) <= set(parse_qs(urlsplit(url).query, keep_blank_values=True)):
        wrong.discard(ParameterLocation.QUERY)
    in_headers = {
        mutation.parameter or mutation.original_value
        for mutation in getattr(case.meta.phase.data, "mutations", ())
        if mutation.parameter_location is ParameterLocation.HEADER
    }
    if in_headers <= {"Authorization"}:
        wrong.discard(ParameterLocation.HEADER)
    return bool(wrong)


def case_varies(operation: object) -> bool:
    """Whether there is anything to vary: some operations take nothing at all."""
    return bool(operation.definition.raw["parameters"] or operation.body)
