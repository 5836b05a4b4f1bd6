"""Deciding rules and approvals again: did an environment's label move as its rules let it?

The gate is asked as the registry asked it, with what was so at that position. What a change
request's events say of themselves is compared with what was.
"""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, cast
from uuid import UUID

from domain import access
from domain.access import Rights
from domain.change_request import ChangeRequest, Item
from domain.check import VersionChecks, checks_id
from domain.consumer import Consumers, consumers_id
from domain.gate import Move, unmet
from domain.intent import PAYLOAD_TYPE, approval_intent, promotion_bytes
from domain.prompt import Prompt
from domain.rollout import BUCKETS, Rollout, reallocate, whole
from domain.semver import Semver
from domain.standing import standing
from ledger import payload
from ledger.facts import Facts, PromptFacts
from ledger.mapper import RecordedEvent
from ledger.second_person import access_request_fault
from ledger.signing import is_signed

NOT_OPEN = "is about a change request that was not open"
BAD_SIGNATURE = "carries a signature that is not the actor's own over this"


def agreement_fault(facts: Facts, recorded: RecordedEvent, rights: Rights) -> str | None:
    """Why an event did not agree with rules and approvals; None where it did.

    `rights` are those of who it was done for.
    """
    event = recorded.event
    if isinstance(event, Prompt.LabelMoved | Prompt.LabelRemoved):
        return _move_fault(facts, recorded, rights)
    if isinstance(event, Prompt.RolloutSet):
        return _rollout_fault(facts, recorded, rights)
    if isinstance(event, VersionChecks.Created | VersionChecks.Recorded):
        return _check_fault(facts, recorded)
    if recorded.stream.startswith("consumers/"):
        return _consumer_fault(facts, recorded, rights)
    if recorded.stream.startswith("accessrequest/"):
        return access_request_fault(facts, recorded)
    if recorded.stream.startswith("change/"):
        return _change_fault(facts, recorded)
    return None


def for_whom(recorded: RecordedEvent) -> str:
    """The principal by whose rights something was done: the actor, or who asked for it."""
    actor = recorded.payload["actor"]
    return str(actor.get("on_behalf_of", actor["id"]))


# Moves


def _move_fault(facts: Facts, recorded: RecordedEvent, rights: Rights) -> str | None:
    event = cast("Any", recorded.event)
    prompt = facts.prompts[str(event.originator_id)]
    project = facts.project(prompt.project)
    act = getattr(event, "act", "promotion")
    if project is None or event.label not in project.environments:
        promoted = isinstance(event, Prompt.LabelMoved) and act in ("promotion", "emergency")
        return "promotes to a plain label" if promoted or event.change_id else None
    version = getattr(event, "to", None)
    if act == "set":
        return "sets an environment's label, which is promoted"
    change = facts.changes.get(event.change_id) if event.change_id else None
    if event.change_id is not None or act == "emergency":
        item = _item_of(change, str(event.originator_id))
        if change is None or item is None or item.version != version:
            return "names a change request that is not about this"
        if change.environment != event.label or change.project != prompt.project:
            return "names a change request of another environment"
        if change.emergency != (act == "emergency"):
            return "claims an emergency that is none, or hides one"
        fault = None if change.emergency else _applying_fault(recorded, change)
        if fault is not None:
            return fault
    if change is not None and getattr(event, "forced", change.forced) != change.forced:
        return "is forced, and its change request is not"
    if not _is_signed(facts, recorded, _promotion(recorded, prompt)):
        return BAD_SIGNATURE
    rules = project.rules_of(event.label)
    if act == "emergency":
        return None if rules.review_hours is not None else "is an emergency the rules do not know"
    missing = unmet(rules, _move(facts, recorded, rights, prompt, change))
    if missing:
        return f"does not satisfy the rules: {'; '.join(one.detail for one in missing)}"
    return None


def _applying_fault(recorded: RecordedEvent, change: ChangeRequest) -> str | None:
    """Why a move is not what its change request proposes, or not yet."""
    event = cast("Any", recorded.event)
    if change.status != "open":
        return NOT_OPEN
    if getattr(event, "act", "promotion") != "promotion":
        return "names a change request, and is no promotion"
    until = change.expires_at.isoformat() if change.expires_at is not None else None
    if isinstance(event, Prompt.LabelMoved) and event.expires_at != until:
        return "expires at another time than was proposed"
    if change.scheduled_at is not None and datetime.fromisoformat(recorded.time) < (
        change.scheduled_at
    ):
        return "is applied before it was scheduled"
    return None


def _move(
    facts: Facts,
    recorded: RecordedEvent,
    rights: Rights,
    prompt: PromptFacts,
    change: ChangeRequest | None,
) -> Move:
    event = cast("Any", recorded.event)
    until = getattr(event, "expires_at", None)
    return _move_to(
        facts, recorded, rights, prompt, change, getattr(event, "to", None),
        until=datetime.fromisoformat(until) if until else None,
        rollback=getattr(event, "act", None) == "rollback", signed=event.signature is not None,
    )  # fmt: skip


def _move_to(
    facts: Facts,
    recorded: RecordedEvent,
    rights: Rights,
    prompt: PromptFacts,
    change: ChangeRequest | None,
    version: int | None,
    *,
    until: datetime | None,
    rollback: bool,
    signed: bool,
) -> Move:
    """What the gate is asked of a version under the label of an event."""
    event = cast("Any", recorded.event)
    at = datetime.fromisoformat(recorded.time)
    label = prompt.labels.get(event.label)
    resource = access.prompt_resource(prompt.project, prompt.name, event.label)
    project = facts.project(prompt.project)
    checks = None
    if version is not None:
        checks = facts.checks.get(str(checks_id(event.originator_id, version)))
    authors = prompt.authors(version) if version is not None else frozenset()
    return Move(
        prompt=resource,
        version=version,
        at=at,
        live=prompt.live(at),
        lived=version is not None and label is not None and version in label.lived,
        rollback=rollback,
        until=until,
        promoter_roles=access.roles_allowing(
            rights.grants, access.ENVIRONMENT_PROMOTE, resource, at
        ),
        authors=authors | frozenset(change.editors if change is not None else ()),
        owners=project.owners_of(prompt.name) if project is not None else frozenset(),
        checks=checks.checks if checks is not None else {},
        broken=_broken(facts, recorded, prompt, version),
        signed=signed,
        approvals=change.counted if change is not None else (),
        standing=lambda principal: _standing(facts, principal),
    )


def _broken(
    facts: Facts, recorded: RecordedEvent, prompt: PromptFacts, version: int | None
) -> dict[str, str]:
    """Registered consumers whose range leaves the version out; none where the move is forced.

    Which variables they pass is not looked at again: contents can be erased.
    """
    event = cast("Any", recorded.event)
    held = facts.consumers.get(str(consumers_id(event.originator_id)))
    if held is None or version is None or event.forced:
        return {}
    semver = prompt.versions[version - 1].semver
    parsed = Semver.parse(semver) if semver is not None else None
    told = ((one.name, one.broken_by(parsed, None)) for one in held.of(event.label))
    return {name: why for name, why in told if why is not None}


def _rollout_fault(facts: Facts, recorded: RecordedEvent, rights: Rights) -> str | None:
    """Why a split is not what was asked for, or serves what the rules do not let."""
    event = cast("Any", recorded.event)
    prompt, at = facts.prompts[str(event.originator_id)], datetime.fromisoformat(recorded.time)
    target, before = prompt.live(at).get(event.label), prompt.rollouts.get(event.label)
    after = Rollout.of(event)
    actor = recorded.payload["actor"]
    if target is None:
        return "splits a label that points nowhere"
    if (event.by, event.credential) != (for_whom(recorded), actor["credential"]):
        return "is by somebody else than who did it"
    weights = {int(version): weight for version, weight in event.weights.items()}
    if sum(weights.values()) != BUCKETS or after.ranges != reallocate(
        before.ranges if before is not None else whole(target), weights
    ):
        return "gives buckets to others than its weights say"
    if not all(1 <= version <= len(prompt.versions) for version in after.versions):
        return "serves a version that is not there"
    if "on_behalf_of" in actor and not is_step(before, after, at):
        return "is no step that was asked for"
    return _split_fault(facts, recorded, rights, after.versions - {target})


def _split_fault(
    facts: Facts, recorded: RecordedEvent, rights: Rights, versions: frozenset[int]
) -> str | None:
    event = cast("Any", recorded.event)
    prompt = facts.prompts[str(event.originator_id)]
    project = facts.project(prompt.project)
    if project is None or event.label not in project.environments:
        return None
    rules, state = project.rules_of(event.label), prompt.labels[event.label]
    change = facts.changes.get(event.change_id) if event.change_id else None
    item = _item_of(change, str(event.originator_id))
    if change is not None and (
        change.environment != event.label
        or change.why_no_split(
            datetime.fromisoformat(recorded.time), state.until, forced=event.forced
        )
    ):
        change = None
    for version in sorted(versions):
        agreed = change if item is not None and item.version == version else None
        move = _move_to(
            facts, recorded, rights, prompt, agreed, version, until=state.until,
            rollback=version in state.lived, signed=False,
        )  # fmt: skip
        missing = unmet(rules, move)
        if missing:
            return f"does not satisfy the rules: {'; '.join(one.detail for one in missing)}"
    return None


def is_step(before: Rollout | None, after: Rollout, at: datetime) -> bool:
    """Whether a rollout is the next step of the one before, which is due."""
    if before is None or before.paused is not None or not before.ramp or at < before.ramp[0].at:
        return False
    step, *rest = before.ramp
    expected = replace(
        before, ranges=reallocate(before.ranges, step.weights), ramp=tuple(rest),
        stream_position=after.stream_position,
    )  # fmt: skip
    return after == expected


def _promotion(recorded: RecordedEvent, prompt: PromptFacts) -> bytes:
    """What a promoter who signed meant, by what the event says."""
    event = cast("Any", recorded.event)
    version = getattr(event, "to", None)
    return promotion_bytes(
        str(event.originator_id), event.label, version,
        prompt.versions[version - 1].commitment if version is not None else None,
        getattr(event, "expires_at", None),
        None if getattr(event, "act", None) == "emergency" else event.change_id,
    )  # fmt: skip


def _is_signed(facts: Facts, recorded: RecordedEvent, intent: bytes) -> bool:
    """Whether the signature in an event, if there is one, is the actor's own over the intent."""
    signature = cast("Any", recorded.event).signature
    if signature is None:
        return True
    principal = facts.principals.get(recorded.payload["actor"]["id"])
    public_key = principal.keys.get(signature["key_id"]) if principal is not None else None
    if public_key is None:
        return False
    message = payload.pre_authentication_encoding(intent, PAYLOAD_TYPE)
    return is_signed(bytes.fromhex(public_key), message, bytes.fromhex(signature["signature"]))


def _standing(facts: Facts, principal_id: str) -> Rights | None:
    return standing(facts, principal_id, None)


def _item_of(change: ChangeRequest | None, prompt_id: str) -> Item | None:
    items = change.items if change is not None else ()
    return next((item for item in items if item.prompt_id == prompt_id), None)


# Checks


def _check_fault(facts: Facts, recorded: RecordedEvent) -> str | None:
    event = recorded.event
    if isinstance(event, VersionChecks.Recorded):
        return None if event.by == for_whom(recorded) else "is said by somebody else than who did"
    created = cast("VersionChecks.Created", event)
    versions = facts.prompts[created.prompt_id].versions
    if not 1 <= created.number <= len(versions):
        return "is about a version that is not there"
    if versions[created.number - 1].commitment != created.commitment:
        return "is about another version than it says"
    own = checks_id(UUID(created.prompt_id), created.number)
    return None if created.originator_id == own else "is in the stream of another version"


def _consumer_fault(facts: Facts, recorded: RecordedEvent, rights: Rights) -> str | None:
    event = cast("Any", recorded.event)
    if isinstance(event, Consumers.Created):
        own = consumers_id(UUID(event.prompt_id))
        return None if event.originator_id == own else "is in the stream of another prompt"
    if getattr(event, "by", for_whom(recorded)) != for_whom(recorded):
        return "is by somebody else than who did it"
    consumers = facts.consumers[str(event.originator_id)]
    held = consumers.consumers.get(event.consumer)
    if held is None or held.by == for_whom(recorded):
        return None
    project = access.project_resource(facts.prompts[consumers.prompt_id].project)
    at = datetime.fromisoformat(recorded.time)
    may = access.permitted(rights, access.PROJECT_WRITE, project, at).allowed
    return None if may else "changes what somebody else registered"


# Change requests


def _change_fault(facts: Facts, recorded: RecordedEvent) -> str | None:
    event = cast("Any", recorded.event)
    actor = recorded.payload["actor"]
    if getattr(event, "by", for_whom(recorded)) != for_whom(recorded):
        return "is by somebody else than who did it"
    if isinstance(event, ChangeRequest.Created | ChangeRequest.Revised):
        if event.credential != actor["credential"]:
            return "names another credential than it was asked with"
        if isinstance(event, ChangeRequest.Created) and event.review_due_at != _due(
            facts, recorded
        ):
            return "is to be reviewed at another time than the rules say"
        about: Any = event
        if isinstance(event, ChangeRequest.Revised):
            about = facts.changes[str(event.originator_id)]
        at = datetime.fromisoformat(recorded.time)
        return _items_fault(facts, [Item(**item) for item in event.items], about.environment, at)
    change = facts.changes[str(event.originator_id)]
    of_revision = isinstance(event, ChangeRequest.Approved | ChangeRequest.Rejected)
    if of_revision and event.revision != change.revision:
        return "is of another revision than was proposed"
    if isinstance(event, ChangeRequest.Approved | ChangeRequest.Reviewed):
        return _review_fault(facts, recorded, change)
    if isinstance(event, ChangeRequest.Withdrawn) and event.by not in change.editors:
        return "withdraws what somebody else proposed"
    if isinstance(event, ChangeRequest.Applied):
        return _applied_fault(facts, recorded, change)
    return None


def _due(facts: Facts, recorded: RecordedEvent) -> str | None:
    """Until when an emergency has to be reviewed; None for what is none."""
    event = cast("ChangeRequest.Created", recorded.event)
    project = facts.project(event.project)
    if event.meaning != "emergency" or project is None:
        return None
    hours = project.rules_of(event.environment).review_hours or 0
    return (datetime.fromisoformat(recorded.time) + timedelta(hours=hours)).isoformat()


def _items_fault(facts: Facts, items: list[Item], environment: str, at: datetime) -> str | None:
    for item in items:
        versions = facts.prompts[item.prompt_id].versions
        if facts.prompts[item.prompt_id].live(at).get(environment) != item.base:
            return "says that another version was live than was"
        if item.version is None:
            continue
        if not 1 <= item.version <= len(versions):
            return "proposes a version that is not there"
        if versions[item.version - 1].commitment != item.commitment:
            return "proposes another version than it says"
    return None


def _review_fault(facts: Facts, recorded: RecordedEvent, change: ChangeRequest) -> str | None:
    event = cast("Any", recorded.event)
    if isinstance(event, ChangeRequest.Approved):
        if change.status != "open":
            return NOT_OPEN
        if not _is_signed(facts, recorded, approval_intent(change)):
            return BAD_SIGNATURE
    if isinstance(event, ChangeRequest.Reviewed) and change.review_due_at is None:
        return "reviews what waits for no review"
    project = facts.project(change.project)
    authors = project is not None and project.rules_of(change.environment).approvals.authors
    if authors and not (change.emergency and event.by in change.editors):
        return None
    wrote = event.by in change.editors or any(
        event.by in facts.prompts[item.prompt_id].authors(item.version)
        for item in change.items
        if item.version is not None
    )
    return "is by somebody who wrote or proposed it" if wrote else None


def _applied_fault(facts: Facts, recorded: RecordedEvent, change: ChangeRequest) -> str | None:
    if change.status != "open":
        return NOT_OPEN
    at = datetime.fromisoformat(recorded.time)
    if change.scheduled_at is not None and at < change.scheduled_at:
        return "is applied before it was scheduled"
    if change.emergency:
        return None
    for item in change.items:
        if facts.prompts[item.prompt_id].live(at).get(change.environment) != item.version:
            return "says that it is live, and it is not"
    return None


def scheduled_fault(facts: Facts, recorded: RecordedEvent) -> str | None:
    """Why something done on somebody's behalf was not theirs to ask for."""
    event, actor = cast("Any", recorded.event), recorded.payload["actor"]
    if isinstance(event, Prompt.RolloutSet):
        own = {"credential": event.credential, "on_behalf_of": event.by}
        return None if actor == access.SYSTEM_SCHEDULE | own else "is done for somebody else"
    change_id = getattr(event, "change_id", None) or str(event.originator_id)
    change = facts.changes.get(change_id)
    asked = {"credential": actor["credential"], "on_behalf_of": actor["on_behalf_of"]}
    done = isinstance(event, Prompt.LabelMoved | Prompt.LabelRemoved | ChangeRequest.Applied)
    by_itself = change is not None and change.automatic and done
    if change is None or not by_itself or actor != access.SYSTEM_SCHEDULE | asked:
        return "claims to be done on behalf of somebody, and is not"
    if (change.asked_by, change.credential) != (actor["on_behalf_of"], actor["credential"]):
        return "is done on behalf of somebody else than who asked"
    item = _item_of(change, str(event.originator_id))
    live = facts.prompts[item.prompt_id].live(datetime.fromisoformat(recorded.time)) if item else {}
    if item is not None and live.get(change.environment) != item.base:
        return "is applied by itself over another version than was live when it was proposed"
    return None


def suspension_allowed(facts: Facts, recorded: RecordedEvent) -> bool:
    """Whether a request applied by itself had to wait for the cause that it says."""
    change = facts.changes.get(str(recorded.event.originator_id))
    if change is None or change.status != "open" or not change.automatic:
        return False
    at = datetime.fromisoformat(recorded.time)
    prompts = [facts.prompts[item.prompt_id] for item in change.items]
    project = facts.project(change.project)
    cause = cast("ChangeRequest.Suspended", recorded.event).cause
    if cause == "no_environment":
        return project is None or change.environment not in project.environments
    if cause == "expired":
        return change.expires_at is not None and change.expires_at <= at
    if cause in ("prompt_archived", "prompt_draft"):
        return any(p.archived if cause == "prompt_archived" else p.draft for p in prompts)
    moved = any(
        prompt.live(at).get(change.environment) != item.base
        for item, prompt in zip(change.items, prompts, strict=True)
    )
    rights = access.lasting(standing(facts, change.asked_by, change.credential))
    places = [access.prompt_resource(p.project, p.name, change.environment) for p in prompts]
    may = (
        rights is not None
        and access.permitted_all(rights, access.ENVIRONMENT_PROMOTE, places, at).allowed
    )
    return moved if cause == "base_moved" else not may
