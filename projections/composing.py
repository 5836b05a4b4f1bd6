"""What a prompt answers is composed of: now, at a past moment, or as a lockfile has it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson

from domain.composition import Guardrail, Lookup, Part, Source, compose
from domain.content import digest_of
from domain.errors import DomainError, LockfileMismatchError
from domain.locales import chosen_locale, localised
from domain.partials import Reference
from domain.prompt_deciding import no_partial
from domain.version import Version
from projections.history import History


@dataclass(frozen=True)
class Assembled:
    """A version's content as it is answered: composed bytes, parts, whether they can move.

    `expires`: when a label of a part does. `position`: the last that decided on a part. `streams`:
    whose events can change it. `locale`: None is the base language.
    """

    body: bytes
    digest: str
    parts: tuple[Part, ...] = ()
    moving: bool = False
    position: int = 0
    streams: frozenset[str] = frozenset()
    locale: str | None = None
    expires: datetime | None = None


def authored(body: bytes) -> Assembled:
    """A content as it was written."""
    return Assembled(body, digest_of(body))


def source_of(history: History, version: Version, body: bytes, locale: str | None = None) -> Source:
    """A version as something to compose of, in one language."""
    prompt = history.prompt
    content = localised(orjson.loads(body), locale)
    return Source(prompt.project, prompt.name, version.number, digest_of(body), content)


def part_of(history: History, version: Version, body: bytes, locale: str | None) -> Source:
    """A version as a part of something in a language: in that one, if it can be."""
    wanted = (locale,) if locale is not None else ()
    return source_of(history, version, body, chosen_locale(wanted, version.locales))


def decisive_position(history: History, reference: Reference, version: Version) -> int:
    """Where in the ledger a reference came to mean what it means."""
    prompt = history.prompt
    if reference.number is None and reference.at in prompt.labels:
        return history.position_at(prompt.labels[reference.at].history[-1].stream_position)
    return history.position_at(version.stream_position)


def expiry_of(history: History, reference: Reference) -> datetime | None:
    """When a reference ceases to mean what it means."""
    label = history.prompt.labels.get(reference.at)
    return label.expires_at if label is not None else None


def lookup_in(found: Mapping[str, Source | DomainError]) -> Lookup:
    """References as they were gathered; what was not found is refused as it was."""

    def find(reference: Reference) -> Source:
        source = found.get(str(reference))
        if source is None:
            raise no_partial(reference, "there is no such prompt")
        if isinstance(source, DomainError):
            raise no_partial(reference, source.detail)
        return source

    return find


def assemble(
    root: Source,
    lookup: Lookup,
    guardrails: Sequence[Guardrail],
    locale: str | None = None,
) -> Assembled:
    """A root in one language, composed; CompositionError."""
    composed = compose(root, lookup, guardrails)
    body = orjson.dumps(composed.content)
    return Assembled(body, root.digest, composed.parts, composed.moving, locale=locale)


# Lockfiles


@dataclass(frozen=True)
class LockedPart:
    """A line of a lockfile as it is given back."""

    kind: str
    reference: str
    name: str
    version: int
    digest: str
    guardrail: Mapping[str, str] | None = None


def locked_lookup(
    parts: Sequence[LockedPart], sources: Mapping[str, Source]
) -> tuple[Lookup, list[Guardrail]]:
    """What references mean by a lockfile, and its guardrails; LockfileMismatchError."""
    locked = {part.reference: part for part in parts}

    def find(reference: Reference) -> Source:
        source = sources.get(str(reference))
        if source is None:
            raise LockfileMismatchError(f"The lockfile does not say what {reference} means.")
        if source.digest != locked[str(reference)].digest:
            raise LockfileMismatchError(f"The lockfile has another digest for {source.ref}.")
        return source

    guardrails = [_guardrail(part) for part in parts if part.kind == "guardrail"]
    return find, guardrails


def _guardrail(part: LockedPart) -> Guardrail:
    about: Mapping[str, Any] = part.guardrail or {}
    return Guardrail(
        about.get("name", ""), None, part.reference, about.get("position", "prepend"),
        about.get("role", "system"),
    )  # fmt: skip
