"""The gate: whether an environment's rules let its label move. A pure function of what is known.

The registry asks before it moves a label, and `scrinia verify` asks again for every move in the
ledger, with what was known at that position.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from domain import access
from domain.access import CHANGE_REVIEW, Resource, Rights
from domain.check import Check
from domain.environment import CheckRule, Rules


@dataclass(frozen=True)
class Approval:
    """Who approved, when, and whether with a signature of their own."""

    by: str
    at: datetime
    signed: bool = False


@dataclass(frozen=True)
class Move:
    """A label about to move. `version` None: to nowhere.

    `live`: where the prompt's labels point now. `lived`: whether the version was live in this
    environment before, by a promotion that satisfied the rules. `promoter_roles`: by which roles
    the promoter may promote here. `authors`: who wrote the version and who proposed it, whose
    approvals do not count. `owners`: of the prompt's folder. `broken`: registered consumers that
    could not go on with it, and why; none where the move is forced. `signed`: by the promoter's own
    key. `standing`: a principal's rights now, None where it has none.
    """

    prompt: Resource
    version: int | None
    at: datetime
    live: Mapping[str, int]
    lived: bool
    rollback: bool
    until: datetime | None
    promoter_roles: frozenset[str]
    authors: frozenset[str]
    owners: frozenset[str]
    checks: Mapping[str, Check]
    broken: Mapping[str, str]
    signed: bool
    approvals: tuple[Approval, ...]
    standing: Callable[[str], Rights | None] = field(repr=False)


@dataclass(frozen=True)
class Unmet:
    """A rule that does not hold: a stable code and what would satisfy it."""

    code: str
    detail: str


def unmet(rules: Rules, move: Move) -> list[Unmet]:
    """The rules that do not hold; none where the label may move.

    A rollback to what was live before needs none of them but who may promote, unless the
    environment's rules guard it.
    """
    missing = list(_promoter(rules, move))
    if move.rollback and move.lived and not rules.guarded_rollback:
        return missing
    missing += [Unmet(f"consumer:{name}", f"breaks consumer {name}, which {why}: force it with"
                      " a reason") for name, why in sorted(move.broken.items())]  # fmt: skip
    missing += _origin(rules, move)
    missing += _freeze(rules, move)
    missing += _lifetime(rules, move)
    if rules.signed and not move.signed:
        missing.append(
            Unmet(
                "signature",
                "needs the promoter's own signature (--key-file, or 'signature' over the intent)",
            )
        )
    if move.version is not None:
        missing += [one for check in rules.checks for one in _check(check, move)]
    return [*missing, *_approvals(rules, move)]


def counting(rules: Rules, move: Move) -> list[Approval]:
    """The approvals that count now: each of another principal who may approve and is no author."""
    wanted = rules.approvals
    found: dict[str, Approval] = {}
    for approval in move.approvals:
        age = move.at - approval.at
        if not wanted.authors and approval.by in move.authors:
            continue
        if wanted.max_age_hours is not None and age > timedelta(hours=wanted.max_age_hours):
            continue
        if wanted.signed and not approval.signed:
            continue
        if _may_review(rules, move, approval.by):
            found[approval.by] = approval
    return list(found.values())


def _may_review(rules: Rules, move: Move, principal: str) -> bool:
    rights = move.standing(principal)
    if rights is None or not rights.active:
        return False
    by = access.roles_allowing(rights.grants, CHANGE_REVIEW, move.prompt, move.at)
    return bool(by & set(rules.approvals.roles) if rules.approvals.roles else by)


def _owns(move: Move, principal: str) -> bool:
    """Whether a principal, or a group it is in, owns the prompt's folder."""
    rights = move.standing(principal)
    return bool(move.owners & {principal, *(rights.groups if rights is not None else ())})


def _promoter(rules: Rules, move: Move) -> list[Unmet]:
    if not rules.promoter_roles or move.promoter_roles & set(rules.promoter_roles):
        return []
    needed = " or ".join(rules.promoter_roles)
    return [Unmet("promoter", f"only who is {needed} here promotes")]


def _origin(rules: Rules, move: Move) -> list[Unmet]:
    origin = rules.from_environment
    if origin is None or move.version is None or move.live.get(origin) == move.version:
        return []
    return [Unmet("from_environment", f"version {move.version} has to be live in {origin} first")]


def _freeze(rules: Rules, move: Move) -> list[Unmet]:
    if not any(freeze.holds(move.at) for freeze in rules.freezes):
        return []
    return [Unmet("freeze", "the environment is frozen now")]


def _lifetime(rules: Rules, move: Move) -> list[Unmet]:
    hours = rules.label_hours_max
    if hours is None or move.version is None:
        return []
    if move.until is not None and move.until <= move.at + timedelta(hours=hours):
        return []
    return [Unmet("label_hours_max", f"needs an 'expires_at' at most {hours} hours ahead")]


def _check(rule: CheckRule, move: Move) -> list[Unmet]:
    code = f"check:{rule.name}"
    check = move.checks.get(rule.name)
    if check is None or check.state != "passed":
        state = "was never posted" if check is None else check.state
        detail = f"check {rule.name} has to pass on version {move.version} ({state})"
        return [Unmet(code, detail)]
    hours = rule.max_age_hours
    if hours is not None and move.at - check.at > timedelta(hours=hours):
        return [Unmet(code, f"check {rule.name} passed more than {hours} hours ago: run it again")]
    return []


def _approvals(rules: Rules, move: Move) -> list[Unmet]:
    wanted = rules.approvals
    counted = counting(rules, move)
    missing = []
    if len(counted) < wanted.count:
        whose = f" by {' or '.join(wanted.roles)}" if wanted.roles else ""
        how = "signed " if wanted.signed else ""
        has = f"has {len(counted)} of {wanted.count} {how}approvals{whose}"
        missing.append(Unmet("approvals", has))
    if wanted.owners and not any(_owns(move, approval.by) for approval in counted):
        who = "one of the folder's owners" if move.owners else "an owner, and the folder has none"
        missing.append(Unmet("owners", f"needs an approval by {who}"))
    return missing
