"""Rollouts: several versions under one label, each for its share of those who ask.

Who asks says who they are (`targeting_key`) and falls into one of 1000 buckets, always the same of
a prompt's label; a rollout says which version each bucket gets. A share that grows takes buckets
from those that shrink and leaves all others as they are, so nobody moves who need not.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from typing import Any

from domain.commitment import ContentRef
from domain.errors import Fault

BUCKETS = 1000
VERSIONS_MAX = 16
RULES_MAX = 32
CONDITIONS_MAX = 8
VALUES_MAX = 64
VALUE_CHARS_MAX = 256
ATTRIBUTES_MAX = 32
KEY_CHARS_MAX = 256
STEPS_MAX = 16
OPERATORS = ("in", "not_in", "prefix", "suffix")
TARGETING_MEDIA_TYPE = "application/vnd.scrinia.targeting.v1+json"
_HASH_LABEL = b"scrinia rollout v1"

Weights = Mapping[int, int]
Ranges = tuple[tuple[int, int, int], ...]


def bucket_of(prompt_id: str, label: str, targeting_key: str) -> int:
    """The bucket (0 to 999) of somebody at a prompt's label.

    SHA-256 over `scrinia rollout v1`, the prompt's id, the label and the key, each UTF-8 with a
    zero byte after it; the first eight bytes, big-endian, modulo 1000.
    """
    parts = (_HASH_LABEL, prompt_id.encode(), label.encode(), targeting_key.encode())
    digest = sha256(b"".join(part + b"\0" for part in parts)).digest()
    return int.from_bytes(digest[:8], "big") % BUCKETS


def reallocate(before: Ranges, weights: Weights) -> Ranges:
    """Ranges (first bucket, one past the last, version) for weights that sum to 1000.

    A version that shrinks gives up its highest buckets; those that grow take what is free, lowest
    first, in the order of their numbers.
    """
    owner = [version for first, end, version in before for _ in range(first, end)]
    kept: dict[int, int] = {}
    free: list[int] = []
    for bucket, version in enumerate(owner):
        if kept.get(version, 0) < weights.get(version, 0):
            kept[version] = kept.get(version, 0) + 1
        else:
            free.append(bucket)
    waiting = iter(free)
    for version in sorted(weights):
        for _ in range(weights[version] - kept.get(version, 0)):
            owner[next(waiting)] = version
    return _ranges(owner)


def whole(version: int) -> Ranges:
    """Every bucket for one version."""
    return ((0, BUCKETS, version),)


def _ranges(owner: list[int]) -> Ranges:
    found: list[tuple[int, int, int]] = []
    for bucket, version in enumerate(owner):
        if found and found[-1][2] == version:
            found[-1] = (found[-1][0], bucket + 1, version)
        else:
            found.append((bucket, bucket + 1, version))
    return tuple(found)


@dataclass(frozen=True)
class Step:
    """Other weights from a moment on."""

    at: datetime
    weights: Weights

    def as_data(self) -> dict[str, Any]:
        """As events and answers have it."""
        return {"at": self.at.isoformat(), "weights": weights_data(self.weights)}

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> "Step":
        """Out of an event."""
        weights = {int(version): weight for version, weight in data["weights"].items()}
        return cls(datetime.fromisoformat(data["at"]), weights)


@dataclass(frozen=True)
class Condition:
    """Something that has to be so of an attribute; what is not said is the empty text."""

    attribute: str
    operator: str
    values: tuple[str, ...]

    def holds(self, attributes: Mapping[str, str]) -> bool:
        """Whether it is so."""
        said = attributes.get(self.attribute, "")
        if self.operator == "in":
            return said in self.values
        if self.operator == "not_in":
            return said not in self.values
        if self.operator == "prefix":
            return said.startswith(self.values)
        return said.endswith(self.values)


@dataclass(frozen=True)
class Rule:
    """A version for whoever satisfies all conditions; the first rule that fits decides."""

    conditions: tuple[Condition, ...]
    version: int


@dataclass(frozen=True)
class Assignment:
    """Which version somebody gets, from which bucket, and why: `rule`, `split` or `default`."""

    bucket: int
    version: int
    reason: str
    rule: int | None = None

    def as_data(self) -> dict[str, Any]:
        """As answers have it; `rule` counts from 1."""
        data: dict[str, Any] = {
            "bucket": self.bucket, "version": self.version, "reason": self.reason,
        }  # fmt: skip
        return data if self.rule is None else {**data, "rule": self.rule}


@dataclass(frozen=True)
class Rollout:
    """A rollout in force under a label.

    `targeting`: the rules, as content; `targeted`: the versions they name. `safe`: where stopping
    leads. `ramp`: steps to come, taken as `by` with the rights of their `credential`; none are
    taken while `paused`.
    """

    ranges: Ranges
    targeting: ContentRef | None
    targeted: tuple[int, ...]
    shadow: int | None
    safe: int | None
    ramp: tuple[Step, ...]
    by: str
    credential: str
    change_id: str | None
    forced: bool
    stream_position: int
    paused: str | None = None

    @classmethod
    def of(cls, event: Any) -> "Rollout":
        """What an event `rollout.set` begins."""
        return cls(
            tuple((first, end, version) for first, end, version in event.ranges), event.targeting,
            tuple(event.targeted), event.shadow, event.safe,
            tuple(Step.of(one) for one in event.ramp), event.by, event.credential,
            event.change_id, event.forced, event.originator_version,
        )  # fmt: skip

    @property
    def weights(self) -> dict[int, int]:
        """Version → its share of 1000."""
        found: dict[int, int] = {}
        for first, end, version in self.ranges:
            found[version] = found.get(version, 0) + end - first
        return found

    @property
    def versions(self) -> frozenset[int]:
        """Every version that somebody may get."""
        return frozenset(self.weights) | frozenset(self.targeted)

    def assign(
        self, bucket: int, rules: Iterable[Rule], attributes: Mapping[str, str]
    ) -> Assignment:
        """What somebody in a bucket gets: the first rule that fits, else their bucket's version."""
        for number, rule in enumerate(rules, start=1):
            if all(condition.holds(attributes) for condition in rule.conditions):
                return Assignment(bucket, rule.version, "rule", number)
        version = next(v for first, end, v in self.ranges if first <= bucket < end)
        return Assignment(bucket, version, "split")


def weights_data(weights: Weights) -> dict[str, int]:
    """Weights as JSON has them."""
    return {str(version): weight for version, weight in sorted(weights.items())}


@dataclass
class Reading:
    """What is wrong with a rollout that is being read."""

    faults: list[Fault] = field(default_factory=list)

    def fault(self, pointer: str, code: str, detail: str) -> None:
        """One more thing."""
        self.faults.append(Fault(pointer, code, detail))

    def weights(self, given: Mapping[str, int], pointer: str) -> dict[int, int]:
        """Shares of 1000 by version, those of nothing left out."""
        weights: dict[int, int] = {}
        for version, weight in given.items():
            if not version.isascii() or not version.isdecimal() or not 0 < len(version) <= 9:
                self.fault(f"{pointer}/{version[:20]}", "no_version", "is no version number")
            elif weight > 0:
                weights[int(version)] = weight
        if sum(weights.values()) != BUCKETS or any(weight < 0 for weight in given.values()):
            self.fault(pointer, "wrong_sum", f"shares of 0 or more, which sum to {BUCKETS}")
        if len(weights) > VERSIONS_MAX:
            self.fault(pointer, "too_many", f"at most {VERSIONS_MAX} versions")
        return weights

    def rules(self, given: Iterable[Mapping[str, Any]]) -> tuple[Rule, ...]:
        """Targeting rules."""
        rules = []
        listed = list(given)
        if len(listed) > RULES_MAX:
            self.fault("/rules", "too_many", f"at most {RULES_MAX} rules")
        for index, one in enumerate(listed[:RULES_MAX]):
            pointer = f"/rules/{index}/if"
            conditions = tuple(self._condition(c, pointer) for c in one["if"][:CONDITIONS_MAX])
            if not 1 <= len(one["if"]) <= CONDITIONS_MAX:
                self.fault(pointer, "wrong_number", f"1 to {CONDITIONS_MAX} conditions")
            rules.append(Rule(conditions, one["version"]))
        return tuple(rules)

    def _condition(self, given: Mapping[str, Any], pointer: str) -> Condition:
        operators = [name for name in OPERATORS if given.get(name) is not None]
        if len(operators) != 1:
            one_of = ", ".join(OPERATORS)
            self.fault(pointer, "no_operator", f"an attribute and one of {one_of}")
            return Condition(given["attribute"], "in", ())
        values = tuple(given[operators[0]])
        if not 1 <= len(values) <= VALUES_MAX:
            self.fault(pointer, "wrong_number", f"1 to {VALUES_MAX} values")
        return Condition(given["attribute"], operators[0], values)

    def ramp(self, given: Iterable[Step], after: datetime) -> tuple[Step, ...]:
        """Steps, each later than the one before."""
        steps = tuple(given)
        if len(steps) > STEPS_MAX:
            self.fault("/ramp", "too_many", f"at most {STEPS_MAX} steps")
        for index, step in enumerate(steps):
            if step.at <= after:
                self.fault(f"/ramp/{index}/at", "not_later", "must lie after what comes before it")
            after = step.at
        return steps


def rules_data(rules: Iterable[Rule]) -> list[dict[str, Any]]:
    """Targeting rules as JSON has them."""
    return [
        {
            "if": [{"attribute": c.attribute, c.operator: list(c.values)} for c in rule.conditions],
            "version": rule.version,
        }
        for rule in rules
    ]


def rules_from(data: Iterable[Mapping[str, Any]]) -> tuple[Rule, ...]:
    """Targeting rules out of their content."""
    return Reading().rules(data)
