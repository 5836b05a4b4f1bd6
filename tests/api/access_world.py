"""The world of the access matrix: a registry with one caller a column, and things to act on."""

import asyncio
import os
from datetime import UTC, datetime, timedelta

from ledger.signing import Signer
from ledger.trust import possession_text
from api.http.scim_schemas import SCIM_USER
from tests.harness import Api, Caller, text_content
from tests.sign_in.people import PASSWORD, Person, new_person

PROMPT = "/v1/projects/{project}/prompts/{name}"


ABOUT_VICTIMS = ("POST /v1/grants", "POST /v1/tokens", "POST /v1/access/requests")
QUERIES = {
    "GET /v1/search": "?q=one", "GET …/-/impact": "?version=2", "GET …/-/diff": "?from=1&to=2",
}  # fmt: skip
AT_THE_DOOR = ("POST /v1/auth/login", "POST /v1/auth/refresh", "POST /v1/auth/recover")
ABOUT_SIGN_INS = (
    "PUT /v1/principals/{id}/login", "DELETE /v1/principals/{id}/login",
    "POST /v1/principals/{id}/recovery", "DELETE /v1/principals/{id}/totp",
    "DELETE /v1/principals/{id}/sessions",
)  # fmt: skip
SCIM_PATCH = {"Operations": [{"op": "replace", "value": {"displayName": "patched"}}]}
TWO_PEOPLE = {
    "second_person": [{"permission": "access.write"}, {"permission": "projection.operate"}],
}
GUARDRAIL = {"prompt": "support/triage@1", "folder": "empty"}


class World:
    """A registry with one caller a column, and fresh things for each request to act on."""

    def __init__(self, admin: Api) -> None:
        self.admin = admin
        self.callers: dict[str, Api] = {}
        self.number = 0
        self.read_only = ""
        self.read_change = ""
        self.person: Person
        self.half_in: Person

    async def build(self) -> None:
        await self.admin.make_prompt("acme/support/triage", "one")
        await self.admin.make_prompt("other/secret", "secret")
        for role in "viewer developer reviewer releaser auditor operator admin checker".split():
            type_ = "person" if role == "admin" else "service"  # people approve access requests
            self.callers[role] = (await self.admin.make_caller({"role": role}, type_=type_)).api
        scoped = {
            "none": (),
            "p-viewer": ({"role": "viewer", "project": "acme"},),
            "p-admin": ({"role": "admin", "project": "acme"},),
            "f-developer": ({"role": "developer", "project": "acme", "folder": "support"},),
            "e-releaser": ({"role": "releaser", "project": "acme", "environment": "staging"},),
        }
        for role in "developer reviewer releaser auditor".split():
            scoped[f"p-{role}"] = ({"role": role, "project": "acme"},)
        for role in "viewer reviewer releaser auditor admin".split():
            scoped[f"f-{role}"] = ({"role": role, "project": "acme", "folder": "support"},)
        scoped["e-admin"] = ({"role": "admin", "project": "acme", "environment": "staging"},)
        for name, grants in scoped.items():
            self.callers[name] = (await self.admin.make_caller(*grants)).api
        soon = (datetime.now(UTC) + timedelta(seconds=1)).isoformat()
        self.callers["expired"] = (
            await self.admin.make_caller({"role": "admin"}, expires_at=soon)
        ).api
        revoked = await self.admin.make_caller({"role": "admin"})
        await self.admin.ok("DELETE", f"/v1/tokens/{revoked.token_id}")
        self.callers["revoked"] = revoked.api
        reading = [{"permissions": ["prompt.read"]}]
        self.callers["narrowed"] = (
            await self.admin.make_caller({"role": "admin"}, scopes=reading)
        ).api
        place = [{"project": "acme", "folder": "support"}]
        self.callers["placed"] = (await self.admin.make_caller({"role": "admin"}, scopes=place)).api
        self.callers["nobody"] = self.admin.as_token(None)
        gone = await self.admin.make_caller({"role": "admin"})
        await self.admin.ok("PATCH", f"/v1/principals/{gone.principal_id}", {"active": False})
        self.callers["deactivated"] = gone.api
        await self.admin.ok("PUT", "/v1/projects/acme/environments/qa", {})
        group = await self.admin.ok("POST", "/v1/principals", {"type": "group", "name": "all"})
        self.group = group["principal_id"]
        self.read_only = await self.fresh_prompt()
        await self.branch(self.read_only)
        self.person = await new_person(self.admin)
        self.half_in = await new_person(self.admin, "half@example.com", {"role": "admin"})
        await self.admin.ok("PUT", "/v1/auth/rules", {"second_factor": "required"})
        await self.admin.ok("PUT", "/v1/access/rules", TWO_PEOPLE)
        await self.let_half_in()
        await asyncio.sleep(1.1)

    async def let_half_in(self) -> None:
        """An admin's session by the password alone."""
        self.callers["no-2fa"] = (await self.half_in.session()).api

    async def fresh_prompt(self) -> str:
        self.number += 1
        name = f"support/p{self.number}"
        await self.admin.make_prompt(f"acme/{name}", "one")
        path = f"/v1/projects/acme/prompts/{name}"
        await self.admin.ok("POST", f"{path}/-/versions", {"content": text_content("two")})
        for version in (1, 2):
            await self.admin.ok("PUT", f"{path}/-/labels/staging", {"version": version})
        await self.admin.ok("PUT", f"{path}/-/labels/production", {"version": 1})
        return path

    async def branch(self, prompt: str) -> None:
        """A branch with a version of its own."""
        await self.admin.ok("POST", f"{prompt}/-/branches", {"branch": "side", "version": 1})
        body = {"content": text_content("one\n"), "branch": "side"}
        await self.admin.ok("POST", f"{prompt}/-/versions", body)

    async def victim(self) -> Caller:
        return await self.admin.make_caller({"role": "viewer", "project": "acme"})

    async def named(self, type_: str, *, login: bool) -> Caller:
        """Somebody who signs in, or may be let to; a group that a provider knows."""
        made = await self.admin.ok("POST", "/v1/principals", {"type": type_, "name": "x"})
        principal_id = made["principal_id"]
        if login:
            body = {"login": principal_id}
            await self.admin.ok("PUT", f"/v1/principals/{principal_id}/login", body)
        return Caller(principal_id, "", [], self.admin)

    async def webhook(self) -> str:
        """One of the project that is never told anything."""
        body = {"url": "https://localhost/", "project": "acme", "types": ["epoch"]}
        return (await self.admin.ok("POST", "/v1/webhooks", body))["webhook_id"]

    async def change(self, method: str, action: str) -> str:
        """A change request to read, or a fresh one to act on, by somebody in no column."""
        if method == "GET" and self.read_change:
            return self.read_change
        prompt = await self.fresh_prompt()
        if action == "review":
            body = {"version": 1, "break_glass": True, "reason": "now"}
            made = await self.admin.ok("PUT", f"{prompt}/-/labels/staging", body)
        else:
            by = self.callers["admin"] if action == "withdraw" else self.admin
            items = [{"name": prompt.partition("/prompts/")[2], "version": 1}]
            body = {"items": items, "title": "x", "environment": "staging"}
            made = await by.ok("POST", "/v1/projects/acme/change-requests", body)
        if method == "GET":
            self.read_change = made["change_id"]
        return made["change_id"]

    async def access_request(self, action: str, victim: Caller) -> str:
        """A request to read, or one to act on: what is applied was asked for by the admin."""
        by = self.callers["admin"] if action == "apply" else self.admin
        grant = {"principal_id": victim.principal_id, "role": "operator"}
        made = await by.ok("POST", "/v1/access/requests", {"grant": grant})
        if action == "apply":
            path = f"/v1/access/requests/{made['request_id']}/approve"
            await self.admin.ok("POST", path)
        return str(made["request_id"])

    async def session_id(self) -> str:
        return (await self.person.session()).body["session_id"]

    def key(self) -> dict[str, str]:
        """What registers another event key."""
        signer = Signer(os.urandom(32))
        proof = signer.sign(possession_text(self.admin.services.ledger_id, "event"))
        public_key = signer.public_key.hex()
        return {"purpose": "event", "public_key": public_key, "proof": proof.hex()}

    def actor_key(self, victim: Caller) -> dict[str, str]:
        """What registers a key of somebody's own."""
        signer = Signer(os.urandom(32))
        purpose = f"actor/{victim.principal_id}"
        proof = signer.sign(possession_text(self.admin.services.ledger_id, purpose))
        return {"public_key": signer.public_key.hex(), "proof": proof.hex()}

    async def request(self, row: str) -> tuple[str, str, dict | None]:
        """A valid request for a row, on things of its own."""
        method, _, route = row.partition(" ")
        self.number += 1
        about = "{id}" in route and "change-requests" not in route
        victim = await self.victim() if about or row in ABOUT_VICTIMS else None
        if row in ABOUT_SIGN_INS or "/scim/v2/" in route:
            type_ = "group" if "/Groups" in route else "person"
            victim = await self.named(type_, login=row != "PUT /v1/principals/{id}/login")
        path = await self.path(method, route, victim)
        query = QUERIES.get(row, "")
        if row == "GET /v1/access/explain":
            query = f"?principal={self.group}&permission=prompt.read"
        if row in AT_THE_DOOR:
            return method, path, await self.at_the_door(row)
        return method, path + query, self.bodies(victim).get(row)

    async def at_the_door(self, row: str) -> dict[str, str]:
        """What lets the person in."""
        body = {"login": self.person.login, "password": PASSWORD}
        if row == "POST /v1/auth/refresh":
            session = await self.person.session()
            return {"refresh_token": session.body["refresh_token"]}
        if row == "POST /v1/auth/recover":
            path = f"/v1/principals/{self.person.principal_id}/recovery"
            body["code"] = (await self.admin.ok("POST", path))["code"]
        return body

    async def path(self, method: str, route: str, victim: Caller | None) -> str:
        """A route that leads to something, made for it where it is changed."""
        prompt = PROMPT.format(project="acme", name="support/triage")
        if method == "GET":
            prompt = self.read_only
        elif "…" in route or route == PROMPT:
            prompt = await self.fresh_prompt()
        path = route.replace(PROMPT, prompt).replace("…", prompt)
        path = path.replace("{kind}", "User").replace("{schema}", SCIM_USER)
        if "change-requests/{id}" in path:
            path = path.replace("{id}", await self.change(method, path.rpartition("/")[2]))
        if "environments/{label}" in path:
            path = path.format(project="acme", label="gone" if method == "DELETE" else "qa")
            if method == "DELETE":
                await self.admin.ok("PUT", path, {})
        if method != "GET" and ("branches/{branch}" in path or path.endswith("/-/merge")):
            await self.branch(prompt)
        for name, value in {
            "project": "acme", "label": "staging", "branch": "side", "number": "1",
            "projection": "catalog", "guardrail": f"g{self.number % 8}",
        }.items():  # fmt: skip
            path = path.replace(f"{{{name}}}", value)
        if "access/requests/{id}" in path and victim is not None:
            action = path.rpartition("/")[2]
            path = path.replace("{id}", await self.access_request(action, victim))
        if victim is not None and "{id}" in path:
            path = path.replace("{id}", {
                "principals": victim.principal_id, "grants": victim.grant_ids[:1] and victim.grant_ids[0],
                "tokens": victim.token_id, "v2": victim.principal_id, "webhooks": await self.webhook(),
                "sessions": await self.session_id() if "sessions/{id}" in path else "",
            }[path.split("/")[2]])  # fmt: skip
        if "{group_id}" in path:
            path = path.replace("{group_id}", self.group)
            if method == "DELETE":
                await self.admin.ok("PUT", path)
        if "{consumer}" in path:
            path = path.replace("{consumer}", "app")
            if method == "DELETE":
                await self.admin.ok("PUT", path, {})
        if "{role}" in path:
            path = path.replace("{role}", f"r{self.number}")
            if method == "DELETE":
                await self.admin.ok("PUT", path, {"permissions": ["prompt.read"]})
        if "{key_id}" in path and victim is not None:
            made = await victim.api.ok("POST", path.rpartition("/")[0], self.actor_key(victim))
            self.admin.position = max(self.admin.position, made["position"])
            path = path.replace("{key_id}", made["key_id"])
        if "{key_id}" in path:
            made = await self.admin.ok("POST", "/v1/log/keys", self.key())
            path = path.replace("{key_id}", made["key_id"])
        if "{guardrail}" in route:
            await self.admin.call("DELETE", path)
            if method == "DELETE":
                await self.admin.ok("PUT", path, GUARDRAIL)
        return path

    def bodies(self, victim: Caller | None) -> dict[str, dict | None]:
        """A valid body for each row that has one."""
        about = {"principal_id": victim.principal_id} if victim is not None else {}
        return {
            "POST /v1/projects": {"project": f"fresh-{self.number}"},
            "POST /v1/projects/{project}/prompts": {
                "name": f"support/new{self.number}", "content": text_content("x"),
            },
            "POST /v1/resolve": {"items": [{"project": "acme", "name": "support/triage"}]},
            "PATCH …/-/metadata": {"tags": ["t"]},
            "POST …/-/versions": {"content": text_content(f"new {self.number}")},
            "POST /v1/similar": {"content": text_content("one")},
            "POST /v1/commits": {"items": [
                {"project": "acme", "name": name, "content": text_content(f"all {self.number}"),
                 "create": True}
                for name in ("support/triage", f"support/c{self.number}")
            ]},
            "POST …/-/branches": {"branch": "side"},
            "POST …/-/merge": {
                "source": "side", "content": text_content("merged"), "expected_version": 2,
                "source_version": 3,
            },
            "POST …/-/move": {"name": f"support/moved{self.number}"},
            "POST …/-/fork": {"name": f"support/fork{self.number}"},
            "PUT /v1/projects/{project}/guardrails/{guardrail}": GUARDRAIL,
            "PUT …/-/labels/{label}": {"version": 1},
            "POST …/-/rollback": {"label": "staging"},
            "PUT /v1/projects/{project}/environments/{label}": {
                "label_hours_max": self.number % 1000 + 1,
            },
            "PUT /v1/projects/{project}/owners": {"folder": f"f{self.number % 99}", "owners": []},
            "POST …/-/versions/{number}/checks": {"name": "lint", "state": "passed"},
            "POST …/-/promotions/preview": {"version": 1, "label": "staging"},
            "POST /v1/projects/{project}/change-requests": {
                "items": [{"name": "support/triage", "version": 1}], "title": "x",
                "environment": "staging",
            },
            "POST /v1/projects/{project}/change-requests/{id}/comments": {"text": "x"},
            "POST /v1/projects/{project}/change-requests/{id}/review": {"outcome": "accepted"},
            "POST …/-/render": {"variables": {}},
            "POST /v1/principals": {"type": "service", "name": "x"},
            "PATCH /v1/principals/{id}": {"active": False},
            "POST /scim/v2/Users": {"userName": f"provided{self.number}"},
            "PUT /scim/v2/Users/{id}": {"userName": f"provided{self.number}"},
            "PATCH /scim/v2/Users/{id}": SCIM_PATCH,
            "POST /scim/v2/Groups": {"displayName": f"group{self.number}"},
            "PUT /scim/v2/Groups/{id}": {"displayName": f"group{self.number}"},
            "PATCH /scim/v2/Groups/{id}": SCIM_PATCH,
            "POST /v1/grants": about | {"role": "developer", "project": "acme"},
            "POST /v1/principals/{id}/keys": self.actor_key(victim) if victim else None,
            "PUT …/-/consumers/{consumer}": {"range": "^1"},
            "PUT /v1/roles/{role}": {"permissions": ["prompt.read"]},
            "POST /v1/log/keys": self.key(),
            "POST /v1/webhooks": {
                "url": "https://localhost/", "project": "acme", "types": ["epoch"],
            },
            "PATCH /v1/webhooks/{id}": {"types": ["ledger"]},
            "POST /v1/webhooks/{id}/redeliver": {"after": 0},
            "POST /v1/tokens": about,
            "PUT /v1/principals/{id}/login": {"login": f"somebody{self.number}"},
            "PUT /v1/access/rules": TWO_PEOPLE,
            "POST /v1/access/requests": {"grant": about | {"role": "operator"}},
            "PUT /v1/auth/rules": {"second_factor": "required"},
            "POST /v1/auth/password": {"current": PASSWORD, "new": PASSWORD},
            "POST /v1/auth/totp": {"password": PASSWORD},
            "PUT /v1/auth/totp": {"password": PASSWORD, "nonce": "0" * 32, "code": "000000"},
            "DELETE /v1/auth/totp": {"password": PASSWORD},
        }  # fmt: skip
