"""Actors' own signatures: keys, approvals, promotions, rollbacks, emergencies."""

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
from tests.governance.team import CHANGES, PRODUCTION, PROMPT, Pen, Team, codes, hours, rules


async def test_approvals_and_promotions_carry_their_makers_own_signatures(team: Team) -> None:
    ledger = team.admin.services.ledger_id
    reviewer, releaser = Pen(team.callers["reviewer"]), Pen(team.callers["releaser"])
    assert (await reviewer.register(ledger)).status == 201
    assert (await reviewer.register(ledger)).status == 200
    assert (await releaser.register(ledger)).status == 201
    stolen = Pen(team.callers["second"])
    stolen.signer = reviewer.signer
    assert (await stolen.register(ledger)).status == 409
    await team.admin.ok("PUT", PRODUCTION, {"approvals": {"count": 1, "signed": True},
                                            "signed": True})  # fmt: skip
    change = await team.propose()
    told = await team.reviewer.ok("POST", f"{change}/approve")
    assert {one["code"] for one in told["missing"]} == {"approvals", "signature"}
    intents = (await team.viewer.ok("GET", change))["intents"]
    other = {**intents["approve"], "revision": 2}
    wrong = await team.reviewer.call(
        "POST", f"{change}/approve", {"signature": reviewer.sign(other)}
    )
    assert wrong.status == 422 and wrong.body["errors"][0]["code"] == "invalid_signature"
    foreign = {"signature": releaser.sign(intents["approve"])}
    assert (await team.reviewer.call("POST", f"{change}/approve", foreign)).status == 422
    signed = {"signature": reviewer.sign(intents["approve"])}
    told = await team.reviewer.ok("POST", f"{change}/approve", signed)
    assert [one["code"] for one in told["missing"]] == ["signature"]
    assert codes(await team.releaser.call("POST", f"{change}/apply")) == ["signature"]
    promotions = {name: releaser.sign(intent) for name, intent in intents["promote"].items()}
    await team.releaser.ok("POST", f"{change}/apply", {"signatures": promotions})
    assert await team.live() == 2
    await team.admin.ok("PUT", PRODUCTION, {"signed": True})
    preview = f"{PROMPT}/-/promotions/preview"
    intent = (await team.releaser.ok("POST", preview, {"version": 1}))["intent"]
    assert codes(await team.promote(1)) == ["signature"]
    assert (await team.promote(1, signature=releaser.sign(intent))).status == 200
    key = f"/v1/principals/{team.callers['releaser'].principal_id}/keys/{releaser.signer.key_id}"
    assert (await team.reviewer.call("DELETE", key)).status == 403
    await team.admin.ok("DELETE", key, {"reason": "lost"})
    intent = (await team.releaser.ok("POST", preview, {"version": 2}))["intent"]
    assert (await team.promote(2, signature=releaser.sign(intent))).status == 422


async def test_a_key_is_registered_by_whoever_it_is_of_alone(team: Team) -> None:
    ledger = team.admin.services.ledger_id
    pen = Pen(team.callers["reviewer"])
    pen.caller = Caller(pen.caller.principal_id, "", [], team.admin)
    assert (await pen.register(ledger)).status == 403
    scopes = [{"permissions": ["prompt.read"]}]
    narrowed = await team.admin.make_caller({"role": "admin"}, scopes=scopes)
    assert (await Pen(narrowed).register(ledger)).status == 403
    assert (await Pen(team.callers["viewer"]).register("another ledger")).status == 422


async def test_rollbacks_and_emergencies_can_be_signed_too(team: Team) -> None:
    assert (await team.promote(2)).status == 200
    pen = Pen(team.callers["releaser"])
    await pen.register(team.admin.services.ledger_id)
    await team.admin.ok("PUT", PRODUCTION, {"signed": True, "guarded_rollback": True})
    back = {"label": "production"}
    assert codes(await team.releaser.call("POST", f"{PROMPT}/-/rollback", back)) == ["signature"]
    preview = {"version": 1}
    told = await team.releaser.ok("POST", f"{PROMPT}/-/promotions/preview", preview)
    signed = back | {"signature": pen.sign(told["intent"])}
    assert (await team.releaser.ok("POST", f"{PROMPT}/-/rollback", signed))["version"] == 1
    me = await team.admin.ok("GET", "/v1/whoami")
    own = Pen(Caller(me["principal_id"], "", [], team.admin))
    assert (await own.register(team.admin.services.ledger_id)).status == 201
    told = await team.admin.ok("POST", f"{PROMPT}/-/promotions/preview", {"version": 2})
    urgent = {"version": 2, "break_glass": True, "reason": "leak"}
    urgent["signature"] = own.sign(told["intent"])
    done = await team.admin.ok("PUT", f"{PROMPT}/-/labels/production", urgent)
    assert datetime.fromisoformat(done["review_due_at"]) and "T" in done["review_due_at"]
