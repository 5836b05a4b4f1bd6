"""Webhook secrets and signatures, as Standard Webhooks has them.

https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md: the text
`id.timestamp.body` under HMAC-SHA256, written `v1,` and base64; secrets are `whsec_` and base64.

Secrets are not kept: each is derived from the registry's webhook key, the webhook and a number that
its events say (NIST SP 800-108, HMAC in counter mode, one block).
"""

import hmac
from base64 import b64decode, b64encode
from hashlib import sha256
from uuid import UUID

SECRET_PREFIX = "whsec_"  # noqa: S105  # a prefix that the standard prescribes
_SECRET_LABEL = b"scrinia webhook secret v1"
_KEY_LABEL = b"scrinia webhook key id v1"


def key_id_of(key: bytes) -> str:
    """What events call a webhook key (32 bytes): 32 hex digits that say nothing about it."""
    return hmac.digest(key, _KEY_LABEL, sha256).hex()[:32]


def derive_secret(key: bytes, webhook_id: UUID, number: int) -> str:
    """A webhook's secret of this number (1, 2, …): `whsec_` and 32 bytes in base64."""
    context = _SECRET_LABEL + b"\0" + webhook_id.bytes + number.to_bytes(4, "big")
    secret = hmac.digest(key, b"\0\0\0\1" + context + b"\0\0\1\0", sha256)
    return SECRET_PREFIX + b64encode(secret).decode()


def sign(secret: str, message_id: str, timestamp: int, body: bytes) -> str:
    """One signature for `webhook-signature`; `timestamp` in seconds since 1970."""
    key = b64decode(secret.removeprefix(SECRET_PREFIX))
    signed = f"{message_id}.{timestamp}.".encode() + body
    return "v1," + b64encode(hmac.digest(key, signed, sha256)).decode()
