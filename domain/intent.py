"""What somebody signs who approves or promotes: exactly what they mean, as canonical bytes.

The signature covers the DSSE pre-authentication encoding of PAYLOAD_TYPE and these bytes, which are
canonical JSON (RFC 8785).
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import rfc8785

from domain.change_request import ChangeRequest
from domain.prompt import Prompt

SPEC = "scrinia/intent/1"
PAYLOAD_TYPE = "application/vnd.scrinia.intent.v1+json"


@dataclass(frozen=True)
class Signed:
    """Somebody's own signature (64 bytes, hex) by one of their keys, verified over `intent`."""

    key_id: str
    signature: str
    intent: bytes

    def as_data(self) -> dict[str, str]:
        """As events carry it: the intent follows from what they say."""
        return {"key_id": self.key_id, "signature": self.signature}


def approval_intent(change: ChangeRequest) -> bytes:
    """Approving what a change request proposes now."""
    return _canonical(
        act="approve",
        change_id=str(change.id),
        project=change.project,
        environment=change.environment,
        revision=change.revision,
        expires_at=_text(change.expires_at),
        items=[
            {
                "prompt_id": item.prompt_id,
                "version": item.version,
                "commitment": item.commitment,
            }
            for item in change.items
        ],
    )


def promotion_intent(
    prompt: Prompt,
    environment: str,
    version: int | None,
    expires_at: datetime | None,
    change_id: str | None,
) -> bytes:
    """Promoting one prompt's version (None: to nowhere), of a change request or by itself."""
    commitment = None
    if version is not None:
        commitment = prompt.version_numbered(version).content["commitment"]
    return promotion_bytes(
        str(prompt.id), environment, version, commitment, _text(expires_at), change_id
    )


def promotion_bytes(
    prompt_id: str,
    environment: str,
    version: int | None,
    commitment: str | None,
    expires_at: str | None,
    change_id: str | None,
) -> bytes:
    """`promotion_intent` out of what an event says."""
    return _canonical(
        act="promote", prompt_id=prompt_id, environment=environment, version=version,
        commitment=commitment, expires_at=expires_at, change_id=change_id,
    )  # fmt: skip


def _canonical(**fields: Any) -> bytes:
    return rfc8785.dumps({"spec": SPEC, **fields})


def _text(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()
