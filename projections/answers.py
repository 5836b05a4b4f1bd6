"""What resolving a prompt answers: how versions are selected, how answers are encoded."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from email.utils import format_datetime
from hashlib import sha256
from typing import Literal

import orjson
from multidict import CIMultiDict

from domain.deciding import moment_text
from domain.label import LabelMove
from domain.locales import chosen_locale
from domain.names import LABEL_LATEST
from domain.prompt import Prompt
from domain.prompt_deciding import deprecation_body
from domain.prompt_state import Deprecation
from domain.semver import parse_range
from domain.version import Version
from ledger.ids import now
from projections.composing import Assembled
from projections.history import History

IMMUTABLE = "private, max-age=31536000, immutable"
NO_CACHE = "private, no-cache"

# "range": newest in a semver range of what a label pointed to, written "label range"; "live": a
# version as one such, written "label@number", which is how answers to ranges are kept; "rollout":
# a version as one that a label is split among, written the same way.
Kind = Literal["label", "version", "digest", "range", "live", "rollout"]


@dataclass(frozen=True, slots=True)
class Resolved:
    """The name a prompt goes by, the version and by which label, an encoded answer, its strong ETag
    and headers, until when it stands.
    """

    name: str
    version: int
    label: str | None
    body: bytes
    etag: str
    headers: CIMultiDict[str]
    expires: datetime | None = None

    def stands(self) -> bool:
        """Whether no label it rests on has expired."""
        return self.expires is None or now() < self.expires


@dataclass
class Answers:
    """An answer in the languages it was asked for in; `locales` are those there are."""

    locales: tuple[str, ...]
    by_locale: dict[str | None, Resolved] = field(default_factory=dict)

    def to(self, languages: Sequence[str]) -> Resolved | None:
        """What someone who wants these languages is answered, if it is at hand."""
        locale = chosen_locale(languages, self.locales) if languages and self.locales else None
        return self.by_locale.get(locale)

    @property
    def bytes(self) -> int:
        """The size of all bodies."""
        return sum(len(answer.body) for answer in self.by_locale.values())


def select_label(
    prompt: Prompt, label: str, at: datetime | None
) -> tuple[Version, LabelMove | None]:
    """A label's target at a moment and the move that made it so (None for `latest`)."""
    version = prompt.target_of(label, at)
    return version, None if label == LABEL_LATEST else prompt.labels[label].history[-1]


def live_selector(prompt: Prompt, selector: str, at: datetime | None) -> tuple[Kind, str]:
    """What a range means; VersionNotFoundError, LabelNotSetError, InvalidRangeError."""
    label, _, wanted = selector.partition(" ")
    return "live", f"{label}@{prompt.target_in(label, parse_range(wanted), at).number}"


def select_live(prompt: Prompt, selector: str) -> tuple[Version, LabelMove]:
    """A version that a label pointed to, and the last move that pointed there.

    It is one as long as the label points anywhere: until that one expires.
    """
    label, _, number = selector.partition("@")
    version = prompt.version_numbered(int(number))
    state = prompt.labels[label]
    move = next(m for m in reversed(state.history) if m.to_version == version.number)
    return version, replace(move, expires_at=state.expires_at)


def select_split(prompt: Prompt, selector: str) -> tuple[Version, LabelMove]:
    """A version that a label is split among, and the rollout as the move that made it so."""
    label, _, number = selector.partition("@")
    version, state = prompt.version_numbered(int(number)), prompt.labels[label]
    rollout = prompt.rollouts.get(label)
    if rollout is None or version.number == state.target:
        return version, state.history[-1]
    move = replace(
        state.history[-1], from_version=state.target, to_version=version.number,
        stream_position=rollout.stream_position,
    )  # fmt: skip
    return version, move


def select_range(prompt: Prompt, selector: str, at: datetime | None) -> tuple[Version, LabelMove]:
    """The newest version in a range, written "label range", and the move that made it live."""
    return select_live(prompt, live_selector(prompt, selector, at)[1])


def kept_under(
    kind: Kind, selector: str | int, label: str | None, version: Version
) -> tuple[Kind, str | int]:
    """What an answer is kept under: that to a range as what the range meant."""
    return ("live", f"{label}@{version.number}") if kind == "range" else (kind, selector)


def label_of(kind: Kind, selector: str | int) -> str | None:
    """The label that a selector goes by, if any."""
    if kind == "label":
        return str(selector)
    return str(selector).partition("@")[0] if kind in ("live", "rollout") else None


def encode_answer(
    history: History,
    version: Version,
    assembled: Assembled,
    label: str | None,
    move: LabelMove | None,
) -> Resolved:
    """The resolved prompt as JSON (DESIGN section 7)."""
    prompt = history.prompt
    decisive = move.stream_position if move else version.stream_position
    body = orjson.dumps(
        {
            "ref": f"{prompt.project}/{prompt.name}@{version.number}",
            "project": prompt.project,
            "name": prompt.name,
            "version": version.number,
            "semver": str(version.semver) if version.semver else None,
            "digest": assembled.digest,
            "label": label,
            "locale": assembled.locale,
            "locales": {name: {"stale": stale} for name, stale in version.locales.items()},
            "content": orjson.Fragment(assembled.body),
            "partials": [part.as_data() for part in assembled.parts],
            "deprecation": deprecation_body(prompt),
            "promoted_by": history.actor_at(decisive) if move else None,
            "promoted_at": history.events[decisive - 1].time if move else None,
            "expires_at": moment_text(move.expires_at) if move else None,
            "position": max(history.position_at(decisive), assembled.position),
        }
    )
    etag = f'"{sha256(body).hexdigest()[:32]}"'
    headers = {
        "Content-Type": "application/json",
        "ETag": etag,
        "Cache-Control": IMMUTABLE if _is_for_good(prompt, assembled, label) else NO_CACHE,
    }
    if prompt.deprecation is not None:
        headers |= _deprecation_headers(prompt.project, prompt.deprecation)
    if version.locales:
        headers["Vary"] = "Accept-Language"
    if assembled.locale is not None:
        headers["Content-Language"] = assembled.locale
    until = move.expires_at if move is not None else None
    ends = [one for one in (until, assembled.expires) if one is not None]
    until = min(ends, default=None)
    named = (prompt.name, version.number, label)
    return Resolved(*named, body, etag, CIMultiDict(headers), until)


def _is_for_good(prompt: Prompt, assembled: Assembled, label: str | None) -> bool:
    """Whether an answer will be the same for ever."""
    return label is None and not assembled.moving and prompt.deprecation is None


def _deprecation_headers(project: str, known: Deprecation) -> dict[str, str]:
    """RFC 9745 (`Deprecation`), RFC 8594 (`Sunset`), RFC 5829 (`successor-version`)."""
    headers = {"Deprecation": f"@{int(known.since.timestamp())}"}
    if known.sunset_at is not None:
        headers["Sunset"] = format_datetime(known.sunset_at.astimezone(UTC), usegmt=True)
    if known.successor is not None:
        path = f"/v1/projects/{project}/prompts/{known.successor}"
        headers["Link"] = f'<{path}>; rel="successor-version"'
    return headers
