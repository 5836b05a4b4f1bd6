"""Resolving for somebody: which version of a label that is split, and the answer that says so."""

from collections.abc import Mapping, Sequence

from aiohttp import web

from api.http import edge
from api.http.history import answered, check_moved
from api.http.problems import EdgeError
from domain.access import Rights
from domain.names import LABEL_LATEST
from domain.rollout import ATTRIBUTES_MAX, VALUE_CHARS_MAX
from ledger.ids import now
from projections.answers import Kind, Resolved
from projections.rollouts import Asker, assignment_of, with_assignment

TRIES = 8


def asker_of(
    targeting_key: str | None, attributes: Mapping[str, str] | None, kind: Kind
) -> Asker | None:
    """Who asks, where that is said; EdgeError 400 where nothing depends on it."""
    if targeting_key is None and not attributes:
        return None
    if targeting_key is None or kind != "label":
        raise EdgeError(
            400, "invalid_parameter", "Attributes go with a targeting_key, which goes with a label."
        )
    return Asker(targeting_key, attributes or {})


def attributes_in(given: Sequence[str]) -> dict[str, str]:
    """`name:value` parameters as attributes; EdgeError 400."""
    attributes: dict[str, str] = {}
    for one in given:
        name, colon, value = one.partition(":")
        if not colon or not name or name in attributes or len(value) > VALUE_CHARS_MAX:
            detail = f"Write attributes name:value, each name once, at most {VALUE_CHARS_MAX} long."
            raise EdgeError(400, "invalid_parameter", detail)
        attributes[name] = value
    if len(attributes) > ATTRIBUTES_MAX:
        raise EdgeError(400, "invalid_parameter", f"At most {ATTRIBUTES_MAX} attributes.")
    return attributes


async def answered_for(
    request: web.Request,
    rights: Rights,
    place: tuple[str, str],
    label: str,
    asker: Asker,
    tags: Sequence[str],
    *,
    raw: bool = False,
) -> Resolved:
    """What resolving a label answers somebody, with their assignment and the shadow, if any."""
    serving = edge.services(request).serving
    for attempt in range(TRIES):
        entry = await serving.entry(*place)
        check_moved(rights, *place, entry.key[1])
        prompt = entry.history.prompt
        seen, target = prompt.version, prompt.target_of(label, now()).number
        rules = await serving.targeting(entry, label)
        assignment = assignment_of(prompt, label, target, asker, rules)
        by = _under(label, assignment.version, target)
        resolved = await answered(request, rights, place, by, tags, raw=raw)
        rollout = prompt.rollouts.get(label)
        shadow = None
        if rollout is not None and rollout.shadow is not None:
            under = _under(label, rollout.shadow, target)
            shadow = await answered(request, rights, place, under, tags, raw=raw)
        if prompt.version == seen or attempt == TRIES - 1:
            return with_assignment(resolved, assignment, shadow)
    raise AssertionError("the last try answers")


def _under(label: str, version: int, target: int) -> tuple[Kind, str]:
    if version == target or label == LABEL_LATEST:
        return "label", label
    return "rollout", f"{label}@{version}"
