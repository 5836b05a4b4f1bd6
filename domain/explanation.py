"""Why somebody may do something or not: the policy's answer, grant by grant."""

from dataclasses import dataclass
from datetime import datetime

from domain.access import Grant, Resource, Rights


@dataclass(frozen=True)
class Reason:
    """A grant, and what keeps it from allowing the act (None: it allows it)."""

    grant: Grant
    why_not: str | None


def explain(rights: Rights, permission: str, resource: Resource, at: datetime) -> list[Reason]:
    """Every grant a principal has, those that allow the act first, as `access.decide` sees them."""
    reasons = [Reason(g, _why_not(rights, g, permission, resource, at)) for g in rights.grants]
    return sorted(reasons, key=lambda one: (one.why_not is not None, one.grant.id))


def _why_not(
    rights: Rights, grant: Grant, permission: str, resource: Resource, at: datetime
) -> str | None:
    if not rights.active:
        return "the principal is deactivated"
    if not grant.has(permission):
        return f"{grant.role} does not have {permission}"
    if grant.expires_at is not None and grant.expires_at <= at:
        return f"it expired at {grant.expires_at.isoformat()}"
    if not grant.scope.covers(permission, resource):
        return f"its scope, {grant.scope.resource.text}, does not reach there"
    return None
