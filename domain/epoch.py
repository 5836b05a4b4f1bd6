"""How a ledger goes on after its end was lost: an epoch's first event says what is missing."""

from datetime import datetime

from domain.access import REGISTRY, RESTORE_PERMISSION, SYSTEM_POLICY, SYSTEM_RESTORE_ACTOR
from domain.commitment import TEXT_MEDIA_TYPE, seal
from domain.decision import Answer, Decision, Ids, Provenance, changes_of
from domain.keys import KeyRing


def begin_epoch(
    ring: KeyRing, recovered: int, lost_to: int, checkpoint: str, reason: str | None,
    now: datetime, ids: Ids,
) -> Decision:  # fmt: skip
    """End the epoch that came to `lost_to`, of which `recovered` events are left.

    `checkpoint` is the signed note that shows what was lost. By the registry itself: whoever can
    restore holds its keys.
    """
    contents = []
    ref = None
    if reason is not None:
        ref, content = seal(ids.salt(), reason.encode(), TEXT_MEDIA_TYPE)
        contents.append(content)
    ring.begin_epoch(recovered, lost_to, checkpoint, ref, now)
    authz = {
        "policy": SYSTEM_POLICY,
        "permission": RESTORE_PERMISSION,
        "resource": REGISTRY.text,
        "grants": [],
    }
    provenance = Provenance(SYSTEM_RESTORE_ACTOR, authz)
    answer = Answer({"epoch": ring.epoch}, made=True)
    return Decision(changes_of(ring), tuple(contents), provenance, answer)
