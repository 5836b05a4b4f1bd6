"""How a ledger begins: its keys, the first admin and the first token, by the system itself."""

from datetime import datetime
from uuid import UUID

from domain.access import BOOTSTRAP_POLICY, REGISTRY, Grant, Scope
from domain.commitment import TEXT_MEDIA_TYPE, seal
from domain.decision import Answer, Decision, Ids, Provenance, changes_of
from domain.granting import new_token
from domain.keys import KeyRing, PublicKey
from domain.principal import Principal

SYSTEM_ACTOR = {"type": "system", "id": "system", "via": "init", "credential": None}
GENESIS_EVENTS = 5


def begin(
    ledger_id: UUID, event_key: PublicKey, checkpoint_key: PublicKey, now: datetime, ids: Ids
) -> Decision:
    """The first unit of a ledger, GENESIS_EVENTS events long.

    The only events that no grant allows; `scrinia verify` accepts the bootstrap policy nowhere
    else than at the first GENESIS_EVENTS positions.
    """
    ring = KeyRing.open(ledger_id, event_key, now)
    ring.register(checkpoint_key, now)
    name, content = seal(ids.salt(), b"admin", TEXT_MEDIA_TYPE)
    admin = Principal.create(ids.new_id(), "person", name, now)
    admin.give(Grant(str(ids.new_id()), "admin", Scope(), None), now)
    token, secret = new_token(None, None, None, now, ids)
    admin.issue_token(token, None, now)
    authz = {
        "policy": BOOTSTRAP_POLICY,
        "permission": "init",
        "resource": REGISTRY.text,
        "grants": [],
    }
    answer = Answer({"principal_id": str(admin.id)}, made=True, secret={"token": secret})
    return Decision(changes_of(ring, admin), (content,), Provenance(SYSTEM_ACTOR, authz), answer)
