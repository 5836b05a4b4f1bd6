"""The registry's own keys: which count, another one registered, one retired."""

import re
from typing import Annotated, Literal

from aiohttp import web
from pydantic import Field

from api.http import edge
from api.http.commanding import submit
from api.http.problems import EdgeError
from api.http.route import Route
from api.http.schemas import CommandAnswer, ObjectAnswer, Request
from domain import commands
from domain.access import ACCESS_READ, ACCESS_WRITE, REGISTRY
from domain.errors import ConflictError, Fault
from ledger.ids import now
from ledger.trust import is_possessed

_KEY_ID = re.compile(r"sha256:[0-9a-f]{64}")


class RegisterKeyRequest(Request):
    """A public key and the proof that somebody holds its private side."""

    purpose: Literal["event", "checkpoint"]
    public_key: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] = Field(
        description="Ed25519, hex."
    )
    proof: Annotated[str, Field(pattern=r"^[0-9a-f]{128}$")] = Field(
        description="Its signature, hex, over `scrinia key registration`, the ledger's id and the"
        " purpose, each with a line feed after it."
    )


async def list_keys(request: web.Request) -> web.StreamResponse:
    """Every key there ever was, and the positions for which it counts."""
    services, who = edge.services(request), edge.caller(request)
    edge.no_query(request)
    services.access.authorise(who, ACCESS_READ, REGISTRY, now())
    await edge.fresh_memory(request)
    keys = await edge.read(request, services.repository.trusted_keys)
    items = [
        {
            "key_id": key.key_id, "purpose": key.purpose, "public_key": key.public_key.hex(),
            "since": key.since, "until": key.until, "used_here": key.key_id in services.own_keys,
        }
        for key in keys.all()
    ]  # fmt: skip
    return edge.view_answer(request, {"items": items}, services.follower.position)


async def register_key(request: web.Request) -> web.StreamResponse:
    """Let another key count beside those there are."""
    services, who = edge.services(request), edge.caller(request)
    wanted = await edge.body(request, RegisterKeyRequest)
    public_key, proof = bytes.fromhex(wanted.public_key), bytes.fromhex(wanted.proof)
    if not is_possessed(public_key, services.ledger_id, wanted.purpose, proof):
        detail = "is no signature of this key over the documented text"
        fault = Fault("/proof", "invalid_proof", detail)
        raise EdgeError(422, "invalid_request", f"/proof {detail}.", [fault])
    command = commands.RegisterKey(edge.ledger_uuid(request), wanted.purpose, public_key)
    return await submit(request, who, command, followed=True)


def key_in_path(request: web.Request) -> str:
    """The key id in the path; EdgeError 400 where it is none."""
    key_id = request.match_info["key_id"]
    if not _KEY_ID.fullmatch(key_id):
        raise EdgeError(400, "invalid_parameter", "A key id is 'sha256:' and 64 hex digits.")
    return key_id


async def retire_key(request: web.Request) -> web.StreamResponse:
    """End a key, once every process signs with another."""
    services, who = edge.services(request), edge.caller(request)
    key_id = key_in_path(request)
    services.access.authorise(who, ACCESS_WRITE, REGISTRY, now())
    if key_id in services.own_keys:
        raise ConflictError("This server still signs with that key: switch it to another first.")
    command = commands.RetireKey(edge.ledger_uuid(request), key_id)
    return await submit(request, who, command, followed=True)


ROUTES = (
    Route(
        "GET", "/v1/log/keys", list_keys, "List the registry's keys", "log", ACCESS_READ,
        answers={200: ObjectAnswer}, headers=("Scrinia-Min-Position",),
    ),
    Route(
        "POST", "/v1/log/keys", register_key, "Register a key", "log", ACCESS_WRITE,
        body=RegisterKeyRequest, answers={201: CommandAnswer}, command=True,
    ),
    Route(
        "DELETE", "/v1/log/keys/{key_id}", retire_key, "Retire a key", "log", ACCESS_WRITE,
        answers={200: CommandAnswer}, command=True,
    ),
)  # fmt: skip
