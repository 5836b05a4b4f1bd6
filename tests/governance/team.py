"""A project under rules, and people of each role."""

import asyncio
import json
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import rfc8785

from domain.intent import PAYLOAD_TYPE
from ledger.payload import pre_authentication_encoding
from ledger.signing import Signer
from ledger.trust import possession_text
from tests.harness import ROOT, Answer, Api, Caller, Process, registry, text_content, verify

PROMPT = "/v1/projects/acme/prompts/support/triage"
CHANGES = "/v1/projects/acme/change-requests"
PRODUCTION = "/v1/projects/acme/environments/production"


def rules(**given: object) -> dict[str, object]:
    return {"approvals": {"count": 1}, **given}


class Team:
    """A project with two versions, and people of each role."""

    def __init__(self, admin: Api) -> None:
        self.admin = admin
        self.callers: dict[str, Caller] = {}

    async def build(self) -> "Team":
        await self.admin.make_prompt("acme/support/triage", "one")
        for name, role in (
            ("author", "developer"), ("reviewer", "reviewer"), ("second", "reviewer"),
            ("releaser", "releaser"), ("checker", "checker"), ("viewer", "viewer"),
        ):  # fmt: skip
            grant = {"role": role, "project": "acme"}
            self.callers[name] = await self.admin.make_caller(grant)
        await self.commit("two")
        await self.admin.ok("PUT", f"{PROMPT}/-/labels/production", {"version": 1})
        return self

    def __getattr__(self, name: str) -> Api:
        """Everybody reads what any of them wrote."""
        everybody = [self.admin, *(caller.api for caller in self.callers.values())]
        newest = max(api.position for api in everybody)
        for api in everybody:
            api.position = newest
        return self.callers[name].api

    async def commit(self, text: str) -> int:
        body = {"content": text_content(text)}
        return (await self.author.ok("POST", f"{PROMPT}/-/versions", body))["version"]

    async def propose(self, version: int | None = 2, by: str = "author", **fields: object) -> str:
        items = [{"name": "support/triage", "version": version}]
        body = {"items": items, "title": "Ship it", **fields}
        answer = await getattr(self, by).call("POST", CHANGES, body)
        assert answer.status == 201, answer.body
        return f"{CHANGES}/{answer.body['change_id']}"

    async def promote(self, version: int, **fields: object) -> Answer:
        body = {"version": version, **fields}
        return await self.releaser.call("PUT", f"{PROMPT}/-/labels/production", body)

    async def live(self) -> int | None:
        answer = await self.viewer.call("GET", f"{PROMPT}?label=production")
        return answer.body["version"] if answer.status == 200 else None


def codes(answer: Answer) -> list[str]:
    """What a refused promotion says is missing."""
    assert (answer.status, answer.code) == (409, "rules_not_met"), answer.body
    return [one["code"] for one in answer.body["missing"]]


def hours(number: float) -> str:
    return (datetime.now(UTC) + timedelta(hours=number)).isoformat()


class Pen:
    """A key of somebody's own, registered."""

    def __init__(self, caller: Caller) -> None:
        self.caller = caller
        self.signer = Signer(os.urandom(32))

    async def register(self, ledger: str) -> Answer:
        purpose = f"actor/{self.caller.principal_id}"
        proof = self.signer.sign(possession_text(ledger, purpose)).hex()
        body = {"public_key": self.signer.public_key.hex(), "proof": proof}
        path = f"/v1/principals/{self.caller.principal_id}/keys"
        return await self.caller.api.call("POST", path, body)

    def sign(self, intent: dict[str, Any]) -> dict[str, str]:
        message = pre_authentication_encoding(rfc8785.dumps(intent), PAYLOAD_TYPE)
        signature = self.signer.sign(message).hex()
        return {"key_id": self.signer.key_id, "signature": signature}
