"""Actors' own signatures: their keys, and whether what they sent signs what would happen."""

from typing import Annotated, Any
from uuid import UUID

import orjson
from aiohttp import web
from pydantic import Field

from api.http import edge
from api.http.access import principal_in_path
from api.http.commanding import ask, submit
from api.http.history import check_moved
from api.http.keys import key_in_path
from api.http.problems import EdgeError
from api.http.route import Route
from api.http.schemas import CommandAnswer, PageAnswer, ReasonRequest, Request, SignatureRequest
from domain import access, commands
from domain.access import ACCESS_READ, Caller
from domain.change_request import ChangeRequest, Item
from domain.errors import ConflictError, Fault, NotFoundError
from domain.intent import PAYLOAD_TYPE, Signed, approval_intent, promotion_bytes
from domain.keys import key_id_of
from domain.prompt import Prompt
from ledger.ids import now
from ledger.payload import pre_authentication_encoding
from ledger.signing import is_signed
from ledger.trust import is_possessed


class RegisterActorKeyRequest(Request):
    """A public key of one's own, and the proof that one holds its private side."""

    public_key: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] = Field(
        description="Ed25519, hex."
    )
    proof: Annotated[str, Field(pattern=r"^[0-9a-f]{128}$")] = Field(
        description="Its signature, hex, over `scrinia key registration`, the ledger's id and"
        " `actor/` with the principal's id, each with a line feed after it."
    )


# Keys


async def list_actor_keys(request: web.Request) -> web.StreamResponse:
    """The keys a principal signs with; oneself, or with access.read."""
    who = edge.caller(request)
    edge.no_query(request)
    await edge.fresh_memory(request)
    view = edge.services(request).access
    keys = principal_in_path(request, who).principal.keys
    items = [{"key_id": key_id, "public_key": public_key} for key_id, public_key in keys.items()]
    return edge.view_answer(request, {"items": items, "next_cursor": None}, view.position)


async def register_actor_key(request: web.Request) -> web.StreamResponse:
    """Sign with a key of one's own from now on; takes a token of one's own that is not narrowed."""
    who, services = edge.caller(request), edge.services(request)
    principal_id = edge.path_id(request)
    wanted = await edge.body(request, RegisterActorKeyRequest)
    public_key, proof = bytes.fromhex(wanted.public_key), bytes.fromhex(wanted.proof)
    if not is_possessed(public_key, services.ledger_id, f"actor/{principal_id}", proof):
        detail = "is no signature of this key over the documented text"
        fault = Fault("/proof", "invalid_proof", detail)
        raise EdgeError(422, "invalid_request", f"/proof {detail}.", [fault])
    key_id = key_id_of(public_key)
    if key_id in services.own_keys or services.access.signs_elsewhere(key_id, principal_id):
        raise ConflictError("One key, one purpose, one holder: this one is in use already.")
    command = commands.RegisterActorKey(principal_id, public_key)
    return await submit(request, who, command, followed=True)


async def retire_actor_key(request: web.Request) -> web.StreamResponse:
    """Let a principal sign with one of its keys no more."""
    who = edge.caller(request)
    wanted = await edge.body(request, ReasonRequest, optional=True)
    command = commands.RetireActorKey(edge.path_id(request), key_in_path(request), wanted.reason)
    return await submit(request, who, command, followed=True)


# Signatures


def own_signature(
    request: web.Request,
    who: Caller,
    given: SignatureRequest | None,
    intent: bytes,
    pointer: str = "/signature",
) -> Signed | None:
    """The caller's own signature over an intent; EdgeError 422 where it is none."""
    if given is None:
        return None
    known = edge.services(request).access.principals.get(who.principal_id)
    public_key = known.principal.keys.get(given.key_id) if known is not None else None
    message = pre_authentication_encoding(intent, PAYLOAD_TYPE)
    signature = bytes.fromhex(given.signature)
    if public_key is None or not is_signed(bytes.fromhex(public_key), message, signature):
        detail = "is no signature of a key of yours over the documented intent"
        fault = Fault(pointer, "invalid_signature", detail)
        raise EdgeError(422, "invalid_request", f"{pointer} {detail}.", [fault])
    return Signed(given.key_id, given.signature, intent)


async def change_to_sign(
    request: web.Request, who: Caller, project: str, change_id: UUID
) -> ChangeRequest | None:
    """A change request as it is, for who may know of it: the command decides that, and refuses."""
    try:
        await ask(request, who, commands.PreviewChange(project, change_id))
    except NotFoundError:
        return None
    repository = edge.services(request).repository
    return (await edge.read(request, repository.load, ChangeRequest, change_id)).aggregate


async def prompt_to_sign(request: web.Request) -> Prompt | None:
    """The prompt in the path as this process knows it, for a caller who may read it."""
    who = edge.caller(request)
    project, name = edge.project_name(request), edge.prompt_name(request)
    services = edge.services(request)
    resource = access.prompt_resource(project, name)
    if not services.access.permitted(who, access.PROMPT_READ, resource, now()):
        return None
    prompt = (await services.serving.entry(project, name)).history.prompt
    check_moved(services.access.rights(who, now()), project, name, prompt.name)
    return prompt


def item_intent(change: ChangeRequest, item: Item) -> bytes:
    """What is signed to promote one item of a change request."""
    until = change.expires_at.isoformat() if change.expires_at is not None else None
    return promotion_bytes(
        item.prompt_id, change.environment, item.version, item.commitment, until, str(change.id)
    )


def intents_of(change: ChangeRequest) -> dict[str, Any]:
    """What approving and promoting a change request means, as objects to be signed."""
    return {
        "approve": orjson.loads(approval_intent(change)),
        "promote": {item.name: orjson.loads(item_intent(change, item)) for item in change.items},
    }


_KEYS = "/v1/principals/{id}/keys"
ROUTES = (
    Route(
        "GET", _KEYS, list_actor_keys, "List a principal's keys", "access", ACCESS_READ,
        answers={200: PageAnswer}, headers=("Scrinia-Min-Position",),
    ),
    Route(
        "POST", _KEYS, register_actor_key, "Register a key of one's own", "access",
        body=RegisterActorKeyRequest, answers={200: CommandAnswer, 201: CommandAnswer},
        command=True,
    ),
    Route(
        "DELETE", _KEYS + "/{key_id}", retire_actor_key, "Retire a principal's key", "access",
        body=ReasonRequest, body_optional=True, answers={200: CommandAnswer}, command=True,
    ),
)  # fmt: skip
