"""Signing in at an identity provider: out, back with a code, and what its word is worth."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from joserfc import jwt
from joserfc.jwk import OctKey, RSAKey

from tests.harness import Answer, Api, registry, verify
from tests.sign_in.people import Person, new_person
from tests.sign_in.provider import CLIENT_ID, CLIENT_SECRET, Provider, Twist, provider

PUBLIC = "https://prompts.example.com"


@pytest.fixture
async def idp() -> AsyncIterator[Provider]:
    async with provider() as made:
        yield made


@pytest.fixture
async def api(tmp_path: Path, idp: Provider) -> AsyncIterator[Api]:
    secret = tmp_path / "client-secret"
    secret.write_text(CLIENT_SECRET + "\n")
    options: dict[str, Any] = {
        "oidc_issuer": idp.issuer, "oidc_client_id": CLIENT_ID, "public_url": PUBLIC,
        "oidc_client_secret_file": secret, "oidc_groups_claim": "groups",
    }  # fmt: skip
    async with registry(tmp_path, **options) as client:
        yield client
    assert not verify(tmp_path / "data").faults


@pytest.fixture
async def ada(api: Api) -> Person:
    return await new_person(api, "ada@example.com", {"role": "viewer"})


async def go(api: Api, return_to: str = "/") -> tuple[str, dict[str, str]]:
    """Out to the provider: its address, and the browser's cookie."""
    path = "/v1/auth/oidc"
    out = await api.as_token(None).call(
        "GET", path, params={"return_to": return_to}, allow_redirects=False
    )
    assert out.status == 302, out.body
    cookie = out.headers["Set-Cookie"].partition(";")[0]
    return out.headers["Location"], {"Cookie": cookie}


async def back(api: Api, url: str, headers: dict[str, str]) -> Answer:
    assert url.startswith(f"{PUBLIC}/v1/auth/oidc/callback?")
    return await api.as_token(None).call("GET", url.removeprefix(PUBLIC), headers=headers)


async def sign_in(api: Api, idp: Provider, return_to: str = "/") -> Answer:
    location, cookie = await go(api, return_to)
    return await back(api, idp.authorize(location), cookie)


def cookies(answer: Answer) -> dict[str, str]:
    pairs = [one.partition(";")[0] for one in answer.headers.getall("Set-Cookie")]
    return {"Cookie": "; ".join(pair for pair in pairs if not pair.endswith('=""'))}


async def test_the_code_flow_lets_one_in(api: Api, idp: Provider, ada: Person) -> None:
    answer = await sign_in(api, idp, "/docs?x=1&y=2")
    assert answer.status == 200, answer.body
    assert b'content="0;url=/docs?x=1&amp;y=2"' in answer.body
    who = await api.as_token(None).ok("GET", "/v1/whoami", headers=cookies(answer))
    assert who["principal_id"] == ada.principal_id
    page = await api.ok("GET", "/v1/events?kind=session.begun&limit=500")
    assert page["items"][-1]["data"]["factors"] == ["oidc"]
    assert (await sign_in(api, idp)).status == 200
    assert idp.asked == ["discovery", "keys"]


async def test_it_counts_as_a_second_factor(api: Api, idp: Provider, ada: Person) -> None:
    await api.ok("PUT", "/v1/auth/rules", {"second_factor": "required"})
    answer = await sign_in(api, idp)
    nobody = api.as_token(None)
    assert (await nobody.call("GET", "/v1/whoami", headers=cookies(answer))).status == 200


async def test_a_name_that_only_reads_as_somebodys_is_nobodys(api: Api, idp: Provider) -> None:
    """ß is folded to ss where people type names; to a provider they are two domains."""
    await new_person(api, "admin@strasse.example")
    for email in ("admin@straße.example", "ａdmin@strasse.example"):
        idp.user = {"sub": "mallory", "email": email, "email_verified": True}
        answer = await sign_in(api, idp)
        assert (answer.status, answer.code) == (401, "invalid_credentials"), email
    idp.user["email"] = "Admin@Strasse.example"
    assert (await sign_in(api, idp)).status == 200


@pytest.mark.parametrize("methods", [None, ["client_secret_basic"], ["client_secret_post"]])
async def test_the_secret_is_shown_as_the_provider_takes_it(
    api: Api, idp: Provider, ada: Person, methods: list[str] | None
) -> None:
    if methods is not None:
        idp.metadata["token_endpoint_auth_methods_supported"] = methods
    assert (await sign_in(api, idp)).status == 200
    assert idp.shown == ["form" if methods == ["client_secret_post"] else "Basic"]


async def test_odd_words_of_a_provider_break_nothing(api: Api, idp: Provider, ada: Person) -> None:
    unknown = {"kty": "EC", "crv": "P-000", "x": "AA", "y": "AA", "kid": "two"}
    idp.also = [unknown, {"kty": "FUTURE"}, "no key"]
    assert (await sign_in(api, idp)).status == 200
    for twist in (claim(nonce="\ud800"), claim(sub="\ud800")):
        idp.twist = twist
        answer = await sign_in(api, idp)
        assert (answer.status, answer.code) == (401, "invalid_credentials")


async def test_only_a_browser_that_was_sent_out_comes_back(
    api: Api, idp: Provider, ada: Person
) -> None:
    location, cookie = await go(api)
    url = idp.authorize(location)
    other_location, other = await go(api)
    for headers in ({}, other, {"Cookie": cookie["Cookie"][:-1] + "0"}):
        answer = await back(api, url, headers)
        assert (answer.status, answer.code) == (401, "invalid_credentials"), headers
        assert "did not begin here" in answer.body["detail"]
    assert (await back(api, url, cookie)).status == 200
    assert (await back(api, url, cookie)).code == "invalid_credentials"  # a code counts once
    denied = f"{PUBLIC}/v1/auth/oidc/callback?error=access_denied&state="
    state = parse_qs(urlsplit(other_location).query)["state"][0]
    assert "access_denied" in (await back(api, denied + state, other)).body["detail"]


def claim(**given: Any) -> Twist:
    return lambda claims: claims.update(given)


def without(name: str) -> Twist:
    return lambda claims: claims.pop(name)


@pytest.mark.parametrize(
    ("twist", "words"),
    [
        (claim(iss="https://evil.example"), "iss"),
        (claim(aud="another client"), "aud"),
        (claim(aud=[CLIENT_ID, "another"]), "somebody else"),
        (claim(azp="another client"), "somebody else"),
        (claim(exp=1), "exp"),
        (claim(iat=4102444800), "in the future"),
        (claim(nonce="another"), "another sign-in"),
        (claim(nonce="n\u00f6"), "another sign-in"),
        (without("nonce"), "another sign-in"),
        (without("exp"), "exp"),
        (without("iat"), "iat"),
        (without("sub"), "sub"),
        (claim(email_verified=False), "not verified"),
        (claim(email_verified="true"), "not verified"),
        (without("email_verified"), "not verified"),
        (without("email"), "says no email"),
        (claim(email=["ada@example.com"]), "says no email"),
        (claim(email="nobody@example.com"), "Nobody here"),
    ],
)
async def test_a_token_that_proves_nothing_lets_nobody_in(
    api: Api, idp: Provider, ada: Person, twist: Twist, words: str
) -> None:
    idp.twist = twist
    answer = await sign_in(api, idp)
    assert (answer.status, answer.code) == (401, "invalid_credentials"), answer.body
    assert words in answer.body["detail"]
    assert "Set-Cookie" not in answer.headers


async def test_who_signs_it_matters(api: Api, idp: Provider, ada: Person) -> None:
    public = idp.key.as_pem(private=False)
    stranger = RSAKey.generate_key(2048, {"kid": "one"})
    forgeries = {
        "none": lambda claims: _unsigned(claims),
        "another key": lambda claims: jwt.encode(
            {"alg": "RS256", "kid": "one"}, claims, stranger, algorithms=["RS256"]
        ),
        "the public key as a secret": lambda claims: jwt.encode(
            {"alg": "HS256", "kid": "one"}, claims, OctKey.import_key(b"x" * 32 + public[:32]),
            algorithms=["HS256"],
        ),
        "nothing at all": lambda claims: "not a token",
    }  # fmt: skip
    for name, forge in forgeries.items():
        idp.sign = forge
        answer = await sign_in(api, idp)
        assert (answer.status, answer.code) == (401, "invalid_credentials"), name


def _unsigned(claims: dict[str, Any]) -> str:
    from base64 import urlsafe_b64encode
    from json import dumps

    parts = (dumps({"alg": "none"}).encode(), dumps(claims).encode(), b"")
    return ".".join(urlsafe_b64encode(part).decode().rstrip("=") for part in parts)


async def test_keys_that_changed_are_asked_for_again(
    api: Api, idp: Provider, ada: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (await sign_in(api, idp)).status == 200
    idp.rotate()
    assert (await sign_in(api, idp)).status == 401  # asked a moment ago
    monkeypatch.setattr("api.http.identity_provider.KEYS_AGAIN_SECONDS", 0.0)
    assert (await sign_in(api, idp)).status == 200


async def test_an_account_stays_with_its_person(api: Api, idp: Provider, ada: Person) -> None:
    assert (await sign_in(api, idp)).status == 200
    idp.user["sub"] = "u-2"  # the same address, given to somebody else
    answer = await sign_in(api, idp)
    assert (answer.status, answer.code) == (401, "invalid_credentials")
    assert "Another account" in answer.body["detail"]
    path = f"/v1/principals/{ada.principal_id}/login"
    await api.ok("DELETE", path)
    await api.ok("PUT", path, {"login": ada.login})
    assert (await sign_in(api, idp)).status == 200


async def test_groups_follow_what_it_says(api: Api, idp: Provider, ada: Person) -> None:
    ids = {}
    for name in ("writers", "readers", "ours"):
        made = await api.ok("POST", "/v1/principals", {"type": "group", "name": name})
        ids[name] = made["principal_id"]
        if name != "ours":
            await api.ok("PUT", f"/v1/principals/{ids[name]}/login", {"login": name.title()})
    await api.ok("PUT", f"/v1/principals/{ada.principal_id}/groups/{ids['ours']}")
    grant = {"principal_id": ids["writers"], "role": "developer"}
    await api.ok("POST", "/v1/grants", grant)

    async def groups(*said: str) -> set[str]:
        idp.user["groups"] = list(said)
        answer = await sign_in(api, idp)
        who = await api.as_token(None).ok("GET", "/v1/whoami", headers=cookies(answer))
        roles = {one["role"] for one in who["grants"]}
        assert ("developer" in roles) == (ids["writers"] in who["groups"])
        return {name for name, group in ids.items() if group in who["groups"]}

    assert await groups("Writers", "Unknown") == {"ours", "writers"}
    assert await groups("Readers", "writers") == {"ours", "readers"}  # as it is written there
    # Too many for a token: the provider tells them elsewhere, and nobody is taken out for it.
    del idp.user["groups"]
    idp.user["_claim_names"] = {"groups": "src1"}
    answer = await sign_in(api, idp)
    who = await api.as_token(None).ok("GET", "/v1/whoami", headers=cookies(answer))
    assert ids["readers"] in who["groups"]
    del idp.user["_claim_names"]
    many = [f"group {n}" for n in range(600)]
    assert await groups(*many, "Writers") == {"ours", "writers"}
    assert await groups() == {"ours"}
    odd: list[object] = [None, {}, "Writers", ["x" * 300, "a\x07b", 7, None, " "]]
    for said in odd:
        idp.user["groups"] = said
        assert (await sign_in(api, idp)).status == 200, said
    del idp.user["groups"]
    assert (await sign_in(api, idp)).status == 200


async def test_what_takes_two_people_no_provider_gives(
    api: Api, idp: Provider, ada: Person
) -> None:
    group = (await api.ok("POST", "/v1/principals", {"type": "group", "name": "chiefs"}))[
        "principal_id"
    ]
    await api.ok("PUT", f"/v1/principals/{group}/login", {"login": "Chiefs"})
    await api.ok("POST", "/v1/grants", {"principal_id": group, "role": "admin"})
    await api.make_caller({"role": "admin"}, type_="person")
    rules = {"second_person": [{"permission": "access.write"}]}
    await api.ok("PUT", "/v1/access/rules", rules)
    idp.user["groups"] = ["Chiefs"]
    answer = await sign_in(api, idp)
    who = await api.as_token(None).ok("GET", "/v1/whoami", headers=cookies(answer))
    assert who["groups"] == []


async def test_a_person_who_left_is_not_let_in(api: Api, idp: Provider, ada: Person) -> None:
    await api.ok("PATCH", f"/v1/principals/{ada.principal_id}", {"active": False})
    assert (await sign_in(api, idp)).code == "invalid_credentials"


@pytest.mark.parametrize(
    "place", ["//evil.example", "/\\evil.example", "https://evil.example", "docs", "/a b", ""]
)
async def test_nobody_is_sent_on_elsewhere(api: Api, place: str) -> None:
    answer = await api.as_token(None).call(
        "GET", "/v1/auth/oidc", params={"return_to": place}, allow_redirects=False
    )
    assert (answer.status, answer.code) == (400, "invalid_parameter")


async def test_a_provider_that_is_not_one_is_told(api: Api, idp: Provider) -> None:
    idp.issuer += "/elsewhere"
    answer = await api.as_token(None).call("GET", "/v1/auth/oidc", allow_redirects=False)
    assert (answer.status, answer.code) == (503, "provider_unavailable")


async def test_without_one_there_is_no_such_way(tmp_path: Path) -> None:
    async with registry(tmp_path / "plain") as api:
        for path in ("/v1/auth/oidc", "/v1/auth/oidc/callback?state=x"):
            assert (await api.as_token(None).call("GET", path)).code == "no_provider"
