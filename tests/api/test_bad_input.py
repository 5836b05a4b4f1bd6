"""Bad input: a clear problem+json that says what to do, and nothing changed."""

import json
from base64 import urlsafe_b64encode
from uuid import uuid4

import pytest

from tests.harness import Api, text_content

PROMPT = "/v1/projects/acme/prompts/mail"
VERSIONS = f"{PROMPT}/-/versions"
JSON = {"Content-Type": "application/json"}


@pytest.fixture
async def acme(api: Api) -> Api:
    await api.make_prompt("acme/mail", "one")
    await api.ok("PUT", f"{PROMPT}/-/labels/production", {"version": 1})
    return api


async def _refused(api: Api, status: int, code: str, *call: object, **options: object) -> dict:
    before = api.services.recorder.head()
    answer = await api.call(*call, **options)
    assert (answer.status, answer.body.get("code")) == (status, code), answer.body
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.body["type"] == f"/docs/errors#{code}"
    assert answer.body["status"] == status
    assert answer.body["request_id"] == answer.headers["X-Request-Id"]
    assert answer.body["detail"] and answer.body["title"]
    assert api.services.recorder.head() == before
    return answer.body


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"{", 400, "malformed_json"),
        (b"", 400, "malformed_json"),
        (b"\xff\xfe", 400, "malformed_json"),
        (b'{"content": {"type": "text", "text": "\\ud800"}}', 400, "malformed_json"),
        (b"[]", 422, "invalid_request"),
        (b"null", 422, "invalid_request"),
        (b'{"content": 7}', 422, "invalid_request"),
        (b"{}", 422, "invalid_request"),
        (b'{"content": {"type": "text", "text": "x"}, "more": 1}', 422, "invalid_request"),
        (b'{"content": {"type": "text", "text": "x"}, "message": 7}', 422, "invalid_request"),
        (b'{"content": {"type": "text", "text": "x"}, "expected_version": "1"}', 422,
         "invalid_request"),
        (b'{"content": {"type": "poem"}}', 422, "invalid_content"),
        (b'{"content": {"type": "text"}}', 422, "invalid_content"),
        (b'{"content": {"type": "text", "text": 7}}', 422, "invalid_content"),
        (b'{"content": {"type": "text", "text": "{{#a}}"}}', 422, "invalid_content"),
        (b'{"content": {"type": "text", "text": "{{> Other}}"}}', 422, "invalid_content"),
        (b'{"content": {"type": "chat", "messages": []}}', 422, "invalid_content"),
        (b'{"content": {"type": "chat", "messages": [{"role": "king", "content": ""}]}}', 422,
         "invalid_content"),
        (b'{"content": {"type": "text", "text": "x", "config": {"n": 9007199254740993}}}', 400,
         "no_canonical_form"),
        (b'{"content": {"type": "text", "text": "x", "config": {"n": NaN}}}', 400,
         None),
        (b'{"content": {"type": "text", "text": "x", "config": ' + b'{"a":' * 100 + b"1"
         + b"}" * 100 + b"}}", 422, "invalid_content"),
        (b'{"content": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", None, None),
    ],
)  # fmt: skip
async def test_bodies(acme: Api, body: bytes, status: int | None, code: str | None) -> None:
    before = acme.services.recorder.head()
    answer = await acme.call("POST", VERSIONS, data=body, headers=JSON)
    assert answer.status in ((400, 422) if status is None else (status,)), answer.body
    assert code is None or answer.code == code, answer.body
    assert acme.services.recorder.head() == before


async def test_every_fault_of_a_content_is_named(acme: Api) -> None:
    content = {
        "type": "chat", "messages": [{"role": "x", "content": 1}, {"placeholder": "no good"}],
        "variables": {"1x": {"type": "colour"}}, "config": [], "extra": 1,
    }  # fmt: skip
    body = await _refused(acme, 422, "invalid_content", "POST", VERSIONS, {"content": content})
    assert {error["pointer"] for error in body["errors"]} == {
        "/messages/0/role", "/messages/0/content", "/messages/1/placeholder", "/variables/1x",
        "/variables/1x/type", "/config", "/extra",
    }  # fmt: skip


async def test_an_integer_without_canonical_form_is_named(acme: Api) -> None:
    content = text_content("x", config={"deep": [{"seed": 2**53 + 1}]})
    body = await _refused(acme, 400, "no_canonical_form", "POST", VERSIONS, {"content": content})
    assert body["errors"][0]["pointer"] == "/content/config/deep/0/seed"


async def test_limits(acme: Api) -> None:
    large = {"content": text_content("x" * (1024 * 1024))}
    await _refused(acme, 413, "too_large", "POST", VERSIONS, large)
    await _refused(acme, 413, "body_too_large", "POST", VERSIONS, data=b"x" * 9_000_000,
                   headers=JSON)  # fmt: skip
    many = {f"v{n}": {} for n in range(257)}
    body = {"content": text_content("x", variables=many)}
    await _refused(acme, 422, "invalid_content", "POST", VERSIONS, body)
    tags = {"tags": [f"t{n}" for n in range(65)]}
    await _refused(acme, 422, "invalid_request", "PATCH", f"{PROMPT}/-/metadata", tags)
    just = {"content": text_content("x" * (1024 * 1024 - 29))}
    assert (await acme.call("POST", VERSIONS, just)).status == 201


@pytest.mark.parametrize(
    "name",
    ["a/../b", "..", "a..b", "A", "a b", "a//b", "a/", ".a", "a\u0000b", "a\nb", "ä", "x" * 201,
     "a/" + "y" * 64, "-"],
)  # fmt: skip
async def test_names(acme: Api, name: str) -> None:
    body = {"name": name, "content": text_content("x")}
    await _refused(acme, 400, "invalid_name", "POST", "/v1/projects/acme/prompts", body)


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/v1/projects/acme/prompts/Mail", 400, "invalid_name"),
        ("/v1/projects/acme/prompts/a%00b", 400, "invalid_name"),
        ("/v1/projects/ACME/prompts/mail", 400, "invalid_name"),
        (f"{PROMPT}?label=production&version=1", 400, "invalid_parameter"),
        (f"{PROMPT}?version=1&digest=sha256:{'0' * 64}", 400, "invalid_parameter"),
        (f"{PROMPT}?version=1&as_of=1", 400, "invalid_parameter"),
        (f"{PROMPT}?version=0", 400, "invalid_parameter"),
        (f"{PROMPT}?version=x", 400, "invalid_parameter"),
        (f"{PROMPT}?colour=red", 400, "invalid_parameter"),
        (f"{PROMPT}?label=a&label=b", 400, "invalid_parameter"),
        (f"{PROMPT}?label=Nope", 400, "invalid_name"),
        (f"{PROMPT}?as_of=tomorrow", 400, "invalid_parameter"),
        (f"{PROMPT}?as_of=2999-01-01T00:00:00Z", 400, "invalid_moment"),
        (f"{PROMPT}?as_of=2026-01-01T00:00:00", 400, "invalid_moment"),
        (f"{PROMPT}?as_of=999999", 400, "invalid_moment"),
        (f"{PROMPT}?label=staging", 404, "label_not_set"),
        (f"{PROMPT}?version=2", 404, "version_not_found"),
        (f"{PROMPT}?digest=sha256:{'0' * 64}", 404, "version_not_found"),
        (f"{PROMPT}/-/nothing", 404, "route_not_found"),
        ("/v1/projects/acme/prompts?sort=colour", 400, "invalid_parameter"),
        ("/v1/projects/acme/prompts?cursor=x", 400, "invalid_cursor"),
        ("/v1/projects/acme/prompts?limit=501", 400, "invalid_parameter"),
        ("/v1/events?prompt=mail", 400, "invalid_parameter"),
        ("/v1/projections/nothing", 404, "unknown_projection"),
    ],
)
async def test_reads(acme: Api, path: str, status: int, code: str) -> None:
    await _refused(acme, status, code, "GET", path)


async def test_an_unset_label_says_which_are_set_and_how_to_set_it(acme: Api) -> None:
    body = await _refused(acme, 404, "label_not_set", "GET", f"{PROMPT}?label=staging")
    assert body["labels"] == {"production": 1} and body["latest_version"] == 1
    assert f"PUT {PROMPT}/-/labels/staging" in body["detail"]


async def test_both_spellings_of_a_slash_work(api: Api) -> None:
    await api.make_prompt("acme/support/triage")
    for path in ("support/triage", "support%2Ftriage"):
        url = f"/v1/projects/acme/prompts/{path}/-/metadata"
        assert (await api.ok("GET", url))["name"] == "support/triage"


async def test_preconditions(acme: Api) -> None:
    metadata = await acme.call("GET", f"{PROMPT}/-/metadata")
    stale = {"If-Match": '"1"'}
    body = {"tags": ["x"]}
    path = f"{PROMPT}/-/metadata"
    await _refused(acme, 412, "precondition_failed", "PATCH", path, body, headers=stale)
    await _refused(acme, 412, "precondition_failed", "PATCH", path, body,
                   headers={"If-Match": "W/x"})  # fmt: skip
    fresh = {"If-Match": metadata.headers["ETag"]}
    assert (await acme.call("PATCH", path, body, headers=fresh)).status == 200
    label = f"{PROMPT}/-/labels/production"
    etag = (await acme.call("GET", label)).headers["ETag"]
    await _refused(acme, 412, "precondition_failed", "DELETE", label, headers={"If-Match": '"9"'})
    assert (await acme.call("DELETE", label, headers={"If-Match": etag})).status == 200


async def test_conditional_reads(acme: Api) -> None:
    first = await acme.call("GET", PROMPT)
    again = await acme.call("GET", PROMPT, headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status, again.body) == (304, b"")
    assert first.headers["Cache-Control"] == "private, no-cache"
    fixed = await acme.call("GET", f"{PROMPT}?version=1")
    assert fixed.headers["Cache-Control"] == "private, max-age=31536000, immutable"


async def test_idempotency(acme: Api) -> None:
    key = {"Idempotency-Key": "k1"}
    body = {"content": text_content("two")}
    first = await acme.call("POST", VERSIONS, body, headers=key)
    again = await acme.call("POST", VERSIONS, body, headers=key)
    assert (again.status, again.body) == (first.status, first.body)
    assert again.headers["Idempotency-Replayed"] == "true"
    other = {"content": text_content("three")}
    await _refused(acme, 422, "idempotency_key_reused", "POST", VERSIONS, other, headers=key)
    same = await acme.call("POST", VERSIONS, body, headers={"Idempotency-Key": "k2"})
    assert (same.status, same.body["changed"]) == (200, False)
    for wrong in ("x" * 256, "a b"):
        await _refused(acme, 400, "invalid_header", "POST", VERSIONS, body,
                       headers={"Idempotency-Key": wrong})  # fmt: skip
    caller = await acme.make_caller({"role": "developer"})
    mine = await caller.api.call("POST", VERSIONS, other, headers=key)
    assert mine.status == 201, "a key belongs to its principal"


async def test_a_secret_is_told_once(acme: Api) -> None:
    principal = await acme.ok("POST", "/v1/principals", {"type": "service", "name": "x"})
    body = {"principal_id": principal["principal_id"]}
    key = {"Idempotency-Key": "token"}
    first = await acme.call("POST", "/v1/tokens", body, headers=key)
    again = await acme.call("POST", "/v1/tokens", body, headers=key)
    assert first.body["token"].startswith("scr_") and len(first.body["token"]) == 47
    assert again.body["token"] is None and "once" in again.body["note"]
    everything = json.dumps(await acme.ok("GET", "/v1/audit?limit=500"))
    everything += json.dumps(await acme.ok("GET", "/v1/events?limit=500"))
    assert first.body["token"] not in everything


async def test_media_types_methods_and_tokens(acme: Api) -> None:
    await _refused(acme, 415, "unsupported_media_type", "POST", VERSIONS, data=b"{}",
                   headers={"Content-Type": "text/plain"})  # fmt: skip
    await _refused(acme, 405, "method_not_allowed", "PUT", "/v1/whoami")
    for header in ("", "Bearer", "Bearer x", "Basic abc", "Bearer scr_" + "A" * 43):
        answer = await acme.as_token(None).call("GET", PROMPT, headers={"Authorization": header})
        assert (answer.status, answer.code) == (401, "unauthenticated")
        assert answer.headers["WWW-Authenticate"] == "Bearer"


async def test_a_min_position_nobody_was_given_is_refused(acme: Api) -> None:
    for path in (PROMPT, f"{PROMPT}/-/metadata", "/v1/audit"):
        ahead = {"Scrinia-Min-Position": str(acme.position + 1)}
        answer = await acme.call("GET", path, headers=ahead)
        assert (answer.status, answer.code) == (400, "invalid_header")
    bad = await acme.call("GET", PROMPT, headers={"Scrinia-Min-Position": "-1"})
    assert (bad.status, bad.code) == (400, "invalid_header")


async def test_grants_that_make_no_sense(acme: Api) -> None:
    principal = (await acme.ok("POST", "/v1/principals", {"type": "service", "name": "x"}))[
        "principal_id"
    ]
    for body in (
        {"role": "king"},
        {"role": "viewer", "folder": "x"},
        {"role": "viewer", "project": "acme", "environment": "production"},
        {"role": "releaser", "project": "acme", "environment": "moon"},
        {"role": "releaser", "project": "acme", "environment": "staging", "folder": "x"},
        {"role": "operator", "project": "acme"},
        {"role": "viewer", "expires_at": "2020-01-01T00:00:00Z"},
    ):
        grant = {"principal_id": principal, **body}
        await _refused(acme, 422, "invalid_scope", "POST", "/v1/grants", grant)
    ghost = {"principal_id": principal, "role": "viewer", "project": "ghost"}
    await _refused(acme, 404, "not_found", "POST", "/v1/grants", ghost)


async def test_rendering_is_strict(acme: Api) -> None:
    content = text_content(
        "{{name}} {{count}}", variables={"name": {}, "count": {"type": "integer", "default": 1}}
    )
    await acme.ok("POST", VERSIONS, {"content": content})
    path = f"{PROMPT}/-/render"
    for variables, pointer in (
        ({}, "/variables/name"),
        ({"name": "x", "count": True}, "/variables/count"),
        ({"name": "x", "other": 1}, "/variables/other"),
    ):
        body = {"variables": variables, "version": 2}
        refused = await _refused(acme, 422, "invalid_variables", "POST", path, body)
        assert [error["pointer"] for error in refused["errors"]] == [pointer]
    body = {"variables": {"name": "{{count}}<&>", "other": 1}, "version": 2, "allow_extra": True}
    rendered = await acme.ok("POST", path, body | {"format": "text"})
    assert rendered["text"] == "{{count}}<&> 1"


async def test_resolving_many_keeps_order_and_reports_each(acme: Api) -> None:
    items = [
        {"project": "acme", "name": "nothing"},
        {"project": "acme", "name": "mail"},
        {"project": "acme", "name": "mail", "label": "latest", "version": 1},
        {"project": "acme", "name": "mail", "version": 1},
    ]
    answer = await acme.ok("POST", "/v1/resolve", {"items": items})
    told = [item.get("code") or item["ref"] for item in answer["items"]]
    assert told == ["not_found", "acme/mail@1", "invalid_parameter", "acme/mail@1"]


async def test_what_no_client_library_sends(acme: Api) -> None:
    bearer = {"Authorization": "Bearer \udcff".encode("utf-8", "surrogateescape").decode("latin-1")}
    await _refused(acme, 401, "unauthenticated", "GET", PROMPT, headers=bearer)
    zipped = {"Content-Encoding": "gzip", **JSON}
    await _refused(acme, 400, "malformed_body", "POST", VERSIONS, data=b"no gzip", headers=zipped)
    huge = urlsafe_b64encode(b"[9223372036854775808]").decode()
    await _refused(acme, 400, "invalid_cursor", "GET", f"/v1/audit?cursor={huge}")
    long = "1" + "0" * 5000
    await _refused(acme, 400, "invalid_parameter", "GET", f"{VERSIONS}/{long}")
    await _refused(acme, 400, "invalid_parameter", "GET", f"{VERSIONS}/01")
    await _refused(acme, 400, "invalid_parameter", "GET", "/v1/audit?resource=a%00b")


@pytest.mark.parametrize(
    "text", ["12", "1700000000", "2026-01-01", "yesterday", "0001-01-01T00:00:00%2B14:00",
             "2026-01-01T00:00:00"],
)  # fmt: skip
async def test_times_are_rfc_3339_and_nothing_else(acme: Api, text: str) -> None:
    await _refused(acme, 400, "invalid_parameter", "GET", f"/v1/audit?from={text}")
    me = await acme.ok("GET", "/v1/whoami")
    body = {"principal_id": me["principal_id"], "expires_at": text.replace("%2B", "+")}
    await _refused(acme, 422, "invalid_request", "POST", "/v1/tokens", body)
    body = {**body, "role": "viewer", "expires_at": 1800000000}
    await _refused(acme, 422, "invalid_request", "POST", "/v1/grants", body)


async def test_moments_before_there_was_anything(acme: Api) -> None:
    await _refused(acme, 404, "not_found", "GET", f"{PROMPT}?as_of=0500-01-01T00:00:00Z")
    assert (await acme.ok("GET", "/v1/audit?to=0500-01-01T00:00:00Z"))["items"] == []


async def test_token_scopes_that_make_no_sense(acme: Api) -> None:
    me = await acme.ok("GET", "/v1/whoami")
    for scope in ({}, {"permissions": []}, {"project": "ghost"},
                  {"project": "acme", "environment": "moon"}):  # fmt: skip
        body = {"principal_id": me["principal_id"], "scopes": [scope]}
        await _refused(acme, 422, "invalid_scope", "POST", "/v1/tokens", body)


async def test_metadata_takes_owners_and_status(acme: Api) -> None:
    path = f"{PROMPT}/-/metadata"
    me = (await acme.ok("GET", "/v1/whoami"))["principal_id"]
    await acme.ok("PATCH", path, {"owners": [me, me]})
    assert (await acme.ok("GET", path))["owners"] == [me]
    assert not (await acme.ok("PATCH", path, {"owners": [me]}))["changed"]
    await _refused(acme, 422, "invalid", "PATCH", path, {"owners": [str(uuid4())]})
    await acme.ok("PATCH", path, {"owners": None, "status": "archived"})
    held = await acme.ok("GET", path)
    assert (held["owners"], held["status"]) == ([], "archived")
    await _refused(acme, 409, "prompt_archived", "PATCH", path, {"tags": ["x"]})
    await _refused(
        acme, 409, "prompt_archived", "POST", f"{PROMPT}/-/rollback", {"label": "production"}
    )
    both = await acme.ok("PATCH", path, {"tags": ["x"], "status": "active"})
    assert (both["status"], both["tags"], both["changed"]) == ("active", ["x"], True)


async def test_removing_a_label_says_where_it_was(acme: Api) -> None:
    answer = await acme.ok("DELETE", f"{PROMPT}/-/labels/production")
    assert (answer["from"], answer["version"]) == (1, None)


async def test_a_past_moment_without_versions_proposes_nothing(acme: Api) -> None:
    created = (await acme.ok("GET", "/v1/events?kind=prompt.created"))["items"][0]["position"]
    refused = await _refused(acme, 404, "label_not_set", "GET", f"{PROMPT}?as_of={created}")
    assert refused["latest_version"] is None and "PUT" not in refused["detail"]
