"""An environment's rules: what has to hold before its label moves (`domain/gate.py` decides)."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from domain.errors import Fault, InvalidNameError
from domain.freeze import FREEZES_MAX, Freeze, read_freeze
from domain.names import check_label

ENVIRONMENTS_MAX = 16
APPROVALS_MAX = 16
CHECKS_MAX = 32
HOURS_MAX = 24 * 366
REVIEW_HOURS_DEFAULT = 24


@dataclass(frozen=True)
class ApprovalRule:
    """How many approvals, whose, and for how long each counts (None: until the request ends).

    `roles`: an approver holds `change.review` by one of these (empty: by any). `owners`: one of the
    approvals is by an owner of the prompt's folder. `authors`: whoever wrote or proposed may
    approve too. `signed`: each carries the approver's own signature.
    """

    count: int = 0
    roles: tuple[str, ...] = ()
    owners: bool = False
    authors: bool = False
    max_age_hours: int | None = None
    signed: bool = False


@dataclass(frozen=True)
class CheckRule:
    """A check of this name has passed on the version, at most so long ago (None: ever)."""

    name: str
    max_age_hours: int | None = None


@dataclass(frozen=True)
class Rules:
    """What a promotion into one environment needs. The default needs nothing but the permission.

    `promoter_roles`: whoever promotes may do so by one of these (empty: by any).
    `from_environment`: the version is live there. `label_hours_max`: nothing stays live for longer
    without being promoted again. `guarded_rollback`: a rollback needs all that a promotion needs.
    `signed`: each promotion carries the promoter's own signature.
    `review_hours`: an emergency promotion is reviewed within this time (None: there is none).
    `access_log`: reads by its label are put on record, outside the ledger; it holds up nothing.
    """

    promoter_roles: tuple[str, ...] = ()
    from_environment: str | None = None
    approvals: ApprovalRule = field(default_factory=ApprovalRule)
    checks: tuple[CheckRule, ...] = ()
    freezes: tuple[Freeze, ...] = ()
    label_hours_max: int | None = None
    guarded_rollback: bool = False
    signed: bool = False
    review_hours: int | None = REVIEW_HOURS_DEFAULT
    access_log: bool = False

    @property
    def protected(self) -> bool:
        """Whether there is anything that a promotion has to satisfy."""
        return replace(self, review_hours=REVIEW_HOURS_DEFAULT, access_log=False) != OPEN

    def as_data(self) -> dict[str, Any]:
        """JSON form, as `read_rules` takes it."""
        return {
            "promoter_roles": list(self.promoter_roles),
            "from_environment": self.from_environment,
            "approvals": {
                "count": self.approvals.count,
                "roles": list(self.approvals.roles),
                "owners": self.approvals.owners,
                "authors": self.approvals.authors,
                "max_age_hours": self.approvals.max_age_hours,
                "signed": self.approvals.signed,
            },
            "checks": [
                {"name": check.name, "max_age_hours": check.max_age_hours} for check in self.checks
            ],
            "freezes": [freeze.as_data() for freeze in self.freezes],
            "label_hours_max": self.label_hours_max,
            "guarded_rollback": self.guarded_rollback,
            "signed": self.signed,
            "review_hours": self.review_hours,
            "access_log": self.access_log,
        }


OPEN = Rules()


def read_rules(data: dict[str, Any], faults: list[Fault]) -> Rules:
    """Rules out of their JSON form, what is left out as in `OPEN`; faults are added to `faults`.

    Form and bounds are looked at here; whether environments and roles exist, by the command.
    """
    checks = tuple(
        CheckRule(
            _check_name(one["name"], f"/checks/{index}/name", faults),
            _hours(one.get("max_age_hours"), f"/checks/{index}/max_age_hours", faults),
        )
        for index, one in enumerate(data.get("checks") or ())
    )
    if len(checks) > CHECKS_MAX or len({check.name for check in checks}) < len(checks):
        faults.append(Fault("/checks", "too_many", f"at most {CHECKS_MAX}, each name once"))
    freezes = tuple(
        read_freeze(one, f"/freezes/{index}", faults)
        for index, one in enumerate(data.get("freezes") or ())
    )
    if len(freezes) > FREEZES_MAX:
        faults.append(Fault("/freezes", "too_many", f"at most {FREEZES_MAX}"))
    review_hours = data.get("review_hours", REVIEW_HOURS_DEFAULT)
    return Rules(
        promoter_roles=_roles(data.get("promoter_roles")),
        from_environment=data.get("from_environment"),
        approvals=_approvals(data.get("approvals") or {}, faults),
        checks=checks,
        freezes=freezes,
        label_hours_max=_hours(data.get("label_hours_max"), "/label_hours_max", faults),
        guarded_rollback=bool(data.get("guarded_rollback", False)),
        signed=bool(data.get("signed", False)),
        review_hours=_hours(review_hours, "/review_hours", faults),
        access_log=bool(data.get("access_log", False)),
    )


def _approvals(data: dict[str, Any], faults: list[Fault]) -> ApprovalRule:
    count = data.get("count", 0)
    if not 0 <= count <= APPROVALS_MAX:
        detail = f"must be from 0 to {APPROVALS_MAX}"
        faults.append(Fault("/approvals/count", "out_of_range", detail))
    if count == 0 and (data.get("owners") or data.get("roles") or data.get("signed")):
        detail = "must be at least 1 where it is said whose or how"
        faults.append(Fault("/approvals/count", "contradiction", detail))
    return ApprovalRule(
        count=count,
        roles=_roles(data.get("roles")),
        owners=bool(data.get("owners", False)),
        authors=bool(data.get("authors", False)),
        max_age_hours=_hours(data.get("max_age_hours"), "/approvals/max_age_hours", faults),
        signed=bool(data.get("signed", False)),
    )


def _roles(given: Iterable[str] | None) -> tuple[str, ...]:
    return tuple(sorted(set(given or ())))


def _hours(given: int | None, pointer: str, faults: list[Fault]) -> int | None:
    if given is not None and not 1 <= given <= HOURS_MAX:
        faults.append(Fault(pointer, "out_of_range", f"must be from 1 to {HOURS_MAX} hours"))
    return given


def _check_name(name: str, pointer: str, faults: list[Fault]) -> str:
    try:
        return check_label(name)
    except InvalidNameError:
        faults.append(Fault(pointer, "invalid_name", "a check is named as labels are"))
        return name
