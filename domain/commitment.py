"""User text stays outside events: an event holds a salted commitment, the text lies beside it.

commitment = SHA-256(salt || bytes), with 16 random bytes of salt, so that a text can be erased
(bytes and salt go) and cannot be guessed from the log.
"""

import hmac
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, TypedDict, cast

SALT_BYTES = 16
TEXT_MEDIA_TYPE = "text/plain; charset=utf-8"
CONTENT_MEDIA_TYPE = "application/vnd.scrinia.prompt.v1+json"


class ContentRef(TypedDict):
    """How an event names a text: commitment (64 hex digits), size in bytes, media type."""

    commitment: str
    size: int
    media_type: str


@dataclass(frozen=True)
class Content:
    """A text beside the log: what is stored, and what opens its commitment."""

    commitment: str
    salt: bytes
    body: bytes


def commit(salt: bytes, body: bytes) -> str:
    """The commitment to `body` under `salt`, in hex."""
    return sha256(salt + body).hexdigest()


def seal(salt: bytes, body: bytes, media_type: str) -> tuple[ContentRef, Content]:
    """A new content and the reference to it that an event carries."""
    commitment = commit(salt, body)
    ref = ContentRef(commitment=commitment, size=len(body), media_type=media_type)
    return ref, Content(commitment, salt, body)


def is_same(content: Content | None, body: bytes) -> bool:
    """Whether `body` is what `content` commits to (an erased content equals nothing)."""
    return content is not None and hmac.compare_digest(
        commit(content.salt, body), content.commitment
    )


def refs_in(data: Any) -> Iterator[ContentRef]:
    """Every reference to a text in an event's data, however deep."""
    if isinstance(data, list):
        for item in data:
            yield from refs_in(item)
    elif isinstance(data, dict):
        if data.keys() == {"commitment", "size", "media_type"}:
            yield cast("ContentRef", data)
        for value in data.values():
            yield from refs_in(value)
