"""Who gets which version of a label that is split, and the answer that says so."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256

import orjson

from domain.errors import ErasedError
from domain.label import LabelMove
from domain.prompt import Prompt
from domain.rollout import Assignment, Rollout, Rule, bucket_of, rules_from
from domain.version import Version
from ledger.recorder import LedgerRecorder
from projections.answers import Resolved, select_split


@dataclass(frozen=True)
class Asker:
    """Who asks: a key that stays the same, and what rules may look at."""

    targeting_key: str
    attributes: Mapping[str, str]


def assignment_of(
    prompt: Prompt, label: str, target: int, asker: Asker, rules: Sequence[Rule]
) -> Assignment:
    """What somebody gets under a label; `default`, its target, where it is not split."""
    bucket = bucket_of(str(prompt.id), label, asker.targeting_key)
    rollout = prompt.rollouts.get(label)
    if rollout is None:
        return Assignment(bucket, target, "default")
    return rollout.assign(bucket, rules, asker.attributes)


def rules_of(prompt: Prompt, rollout: Rollout, body: bytes | None) -> tuple[Rule, ...]:
    """The rules of a rollout out of their content; ErasedError where that is gone."""
    if rollout.targeting is None:
        return ()
    if body is None:
        raise ErasedError(
            f"The targeting rules of {prompt.project}/{prompt.name} were erased: set the rollout"
            " anew."
        )
    return rules_from(orjson.loads(body))


def assigned_in(
    recorder: LedgerRecorder,
    prompt: Prompt,
    label: str,
    version: Version,
    move: LabelMove | None,
    asker: Asker,
) -> tuple[Version, LabelMove | None, Assignment]:
    """What somebody got under a label of a past prompt, whose target was `version`; ErasedError."""
    rollout = prompt.rollouts.get(label)
    rules: tuple[Rule, ...] = ()
    if rollout is not None and rollout.targeting is not None:
        commitment = rollout.targeting["commitment"]
        held = recorder.contents([commitment]).get(commitment)
        rules = rules_of(prompt, rollout, held.body if held is not None else None)
    assignment = assignment_of(prompt, label, version.number, asker, rules)
    if assignment.version == version.number:
        return version, move, assignment
    return *select_split(prompt, f"{label}@{assignment.version}"), assignment


def with_assignment(answer: Resolved, assignment: Assignment, shadow: Resolved | None) -> Resolved:
    """An answer that says who gets it and why, with the version that is tried beside it."""
    told: dict[str, object] = {"assignment": assignment.as_data()}
    if shadow is not None:
        told["shadow"] = _shadow(shadow)
    body = answer.body[:-1] + b"," + orjson.dumps(told)[1:]
    etag = f'"{sha256(body).hexdigest()[:32]}"'
    headers = answer.headers.copy()
    headers["ETag"] = etag
    return replace(answer, body=body, etag=etag, headers=headers)


def _shadow(answer: Resolved) -> dict[str, object]:
    resolved = orjson.loads(answer.body)
    names = ("ref", "version", "semver", "digest", "content", "partials", "locale")
    return {name: resolved[name] for name in names}
