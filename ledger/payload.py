"""The bytes of an event: canonical payload, what is signed, the log entry, the leaf (DESIGN 4).

- payload: RFC 8785 JSON without floats; orjson with sorted keys writes exactly that for ASCII keys.
- signed: the DSSE pre-authentication encoding (https://github.com/secure-systems-lab/dsse v1.0.2).
- entry: the DSSE envelope as canonical JSON. leaf hash: SHA-256(0x00 || entry), RFC 6962 2.1.
"""

from base64 import b64encode
from collections.abc import Mapping
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

import orjson

from ledger.errors import PayloadTooLargeError

PAYLOAD_TYPE = "application/vnd.scrinia.event.v1+json"
PAYLOAD_BYTES_MAX = 32 * 1024
SPEC = "1"
FIELDS = (
    "actor", "authz", "data", "id", "ledger", "prev", "request", "spec", "stream",
    "stream_position", "time", "type",
)  # fmt: skip
NO_PREVIOUS = "0" * 64
ENTRY_BYTES_MAX = 65_535


def encode(payload: Mapping[str, Any]) -> bytes:
    """Canonical bytes; PayloadTooLargeError past PAYLOAD_BYTES_MAX."""
    encoded = orjson.dumps(payload, option=orjson.OPT_SORT_KEYS)
    if len(encoded) > PAYLOAD_BYTES_MAX:
        raise PayloadTooLargeError(
            f"The event has {len(encoded)} bytes, more than {PAYLOAD_BYTES_MAX}:"
            " give fewer or shorter tags or scopes."
        )
    return encoded


def decode(payload: bytes) -> dict[str, Any]:
    """The payload's fields."""
    fields: dict[str, Any] = orjson.loads(payload)
    return fields


def previous_hash(payload: bytes) -> str:
    """What the next event of the stream carries in `prev`: hex SHA-256."""
    return sha256(payload).hexdigest()


def pre_authentication_encoding(payload: bytes, payload_type: str = PAYLOAD_TYPE) -> bytes:
    """DSSE's PAE: what an event's signature covers."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)


def entry(payload: bytes, key_id: str, signature: bytes) -> bytes:
    """What the Merkle tree and exports hold: the DSSE envelope, canonical JSON."""
    return (
        b'{"payload":"' + b64encode(payload)
        + b'","payloadType":"' + PAYLOAD_TYPE.encode()
        + b'","signatures":[{"keyid":' + orjson.dumps(key_id)
        + b',"sig":"' + b64encode(signature) + b'"}]}'
    )  # fmt: skip


def leaf_hash(payload: bytes, key_id: str, signature: bytes) -> bytes:
    """RFC 6962's hash of the entry as a leaf."""
    return sha256(b"\0" + entry(payload, key_id, signature)).digest()


def format_time(moment: datetime) -> str:
    """RFC 3339 UTC with microseconds; fixed width, so text order is time order."""
    utc = moment.astimezone(UTC).replace(tzinfo=None)
    return utc.isoformat(timespec="microseconds") + "Z"


def parse_time(text: str) -> datetime:
    """The moment `format_time` wrote."""
    return datetime.fromisoformat(text)
