"""People who sign in, for the tests of signing in."""

import base64
import time
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.twofactor.totp import TOTP

from tests.harness import Answer, Api

PASSWORD = "correct horse battery"


@dataclass
class Person:
    admin: Api
    principal_id: str
    login: str
    password: str = PASSWORD

    async def sign_in(self, **fields: Any) -> Answer:
        body = {"login": self.login, "password": self.password, **fields}
        return await self.admin.as_token(None).call("POST", "/v1/auth/login", body)

    async def session(self, **fields: Any) -> "Session":
        answer = await self.sign_in(**fields)
        assert answer.status == 201, answer.body
        return Session(self, answer.body)


@dataclass
class Session:
    person: Person
    body: dict[str, Any]

    @property
    def api(self) -> Api:
        api = self.person.admin.as_token(self.body["access_token"])
        api.position = self.body["position"]
        return api

    async def refresh(self, **options: Any) -> Answer:
        body = {"refresh_token": self.body["refresh_token"]}
        nobody = self.person.admin.as_token(None)
        return await nobody.call("POST", "/v1/auth/refresh", body, **options)

    async def refreshed(self) -> "Session":
        answer = await self.refresh()
        assert answer.status == 200, answer.body
        return Session(self.person, answer.body)


async def new_person(admin: Api, login: str = "ada@example.com", *grants: dict[str, Any]) -> Person:
    made = await admin.ok("POST", "/v1/principals", {"type": "person", "name": "Ada"})
    principal_id = made["principal_id"]
    for grant in grants:
        await admin.ok("POST", "/v1/grants", {"principal_id": principal_id, **grant})
    await admin.ok("PUT", f"/v1/principals/{principal_id}/login", {"login": login})
    person = Person(admin, principal_id, login)
    answer = await set_first_password(person)
    assert answer.status == 200, answer.body
    return person


async def set_first_password(person: Person, **fields: Any) -> Answer:
    path = f"/v1/principals/{person.principal_id}/recovery"
    issued = await person.admin.ok("POST", path, fields or None)
    body = {"login": person.login, "code": issued["code"], "password": person.password}
    return await person.admin.as_token(None).call("POST", "/v1/auth/recover", body)


def code_of(secret: str, steps: int = 0) -> str:
    """The code of a time step; an earlier one is not made up where its time is nearly over."""
    left = 30 - time.time() % 30
    if steps < 0 and left < 3:
        time.sleep(left)
    totp = TOTP(base64.b32decode(secret), 6, SHA1(), 30)
    return totp.generate(int(time.time()) + 30 * steps).decode()


async def enrol(session: Session, steps: int = -1) -> tuple[str, list[str]]:
    """A second factor; its secret and the recovery codes. The code used is the one before now."""
    password = {"password": session.person.password}
    proposed = await session.api.ok("POST", "/v1/auth/totp", password)
    body = {**password, "nonce": proposed["nonce"], "code": code_of(proposed["secret"], steps)}
    enrolled = await session.api.ok("PUT", "/v1/auth/totp", body)
    return proposed["secret"], enrolled["recovery_codes"]
