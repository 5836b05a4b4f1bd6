"""What moving an environment's label shares: what the gate is asked, and what it says."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from domain import access
from domain.access import ENVIRONMENT_PROMOTE, Rights
from domain.change_request import Item
from domain.check import Check, VersionChecks, checks_id
from domain.composition import Source
from domain.consumer import Consumers, consumers_id
from domain.environment import Rules
from domain.errors import ConflictError, ErasedError, Fault, InvalidError, RulesNotMetError
from domain.gate import Approval, Move, Unmet, unmet
from domain.intent import Signed
from domain.names import project_id
from domain.project import Project
from domain.prompt import Prompt
from domain.prompt_deciding import PromptDeciding
from domain.standing import standing
from domain.version import Version, merged_in


@dataclass(frozen=True)
class Wish:
    """Where an environment's label is to point, and who asks with whose approvals.

    `editors`: who proposed or revised it; they are authors as far as approving goes. `force`: do
    not ask registered consumers.
    """

    environment: str
    version: int | None
    until: datetime | None = None
    rollback: bool = False
    approvals: tuple[Approval, ...] = ()
    editors: tuple[str, ...] = ()
    force: bool = False
    signed: bool = False


class Promoting(PromptDeciding):
    """A decision that may move environments' labels."""

    def _check_gate(self, prompt: Prompt, wish: Wish, promoter: Rights) -> None:
        """RulesNotMetError with all that is missing; a label that is no environment needs none."""
        if self._environment(prompt.project, wish.environment) is None:
            return
        rules = self._project(prompt.project).rules_of(wish.environment)
        missing = self._unmet(prompt, wish, promoter, rules)
        if missing:
            raise rules_not_met(prompt, wish, missing)

    def _unmet(self, prompt: Prompt, wish: Wish, promoter: Rights, rules: Rules) -> list[Unmet]:
        return unmet(rules, self._move_of(prompt, wish, promoter, rules))

    def _move_of(self, prompt: Prompt, wish: Wish, promoter: Rights, rules: Rules) -> Move:
        resource = access.prompt_resource(prompt.project, prompt.name, wish.environment)
        version = prompt.version_numbered(wish.version) if wish.version is not None else None
        label = prompt.labels.get(wish.environment)
        return Move(
            prompt=resource,
            version=wish.version,
            at=self._now,
            live=self._live(prompt),
            lived=wish.version is not None and label is not None and label.lived(wish.version),
            rollback=wish.rollback,
            until=wish.until,
            promoter_roles=access.roles_allowing(
                promoter.grants, ENVIRONMENT_PROMOTE, resource, self._now
            ),
            authors=frozenset(wish.editors)
            | (self._authors(prompt, version) if rules.approvals.count else frozenset()),
            owners=self._project(prompt.project).owners_of(prompt.name),
            checks=self._checks(prompt, version) if rules.checks else {},
            broken={} if wish.force else self.broken(prompt, wish.environment, version),
            signed=wish.signed,
            approvals=wish.approvals,
            standing=self._standing,
        )

    def _live(self, prompt: Prompt) -> dict[str, int]:
        """Where labels point whose time is not over."""
        return {
            label: target
            for label, target in prompt.labels_set.items()
            if not prompt.labels[label].expired(self._now)
        }

    def _authors(self, prompt: Prompt, version: Version | None) -> frozenset[str]:
        """Who committed a version, and everything that came in by its merge."""
        if version is None:
            return frozenset()
        merged = merged_in(lambda one: prompt.version_numbered(one).parents, version.number)
        return frozenset(
            self._session.actor(Prompt, prompt.id, prompt.version_numbered(one).stream_position)
            for one in (version.number, *merged)
        )

    def _checks(self, prompt: Prompt, version: Version | None) -> Mapping[str, Check]:
        if version is None:
            return {}
        held = self._session.load(VersionChecks, checks_id(prompt.id, version.number))
        return held.checks if held is not None else {}

    def _own_signature(self, signed: Signed | None, intent: bytes) -> dict[str, str] | None:
        """What an event carries of the caller's own signature over what is about to happen.

        InvalidError for a key that is not theirs, ConflictError where they signed something else.
        """
        if signed is None:
            return None
        caller = self._principal(UUID(self._caller.principal_id))
        if signed.key_id not in caller.keys:
            detail = f"{signed.key_id} is no key of yours in force"
            raise InvalidError(f"{detail}.", [Fault("/signature", "unknown_key", detail)])
        if signed.intent != intent:
            raise ConflictError("What you signed is not what would happen now: look again.")
        return signed.as_data()

    def _held_up(
        self, label: str, targets: Iterable[tuple[Prompt, int | None]]
    ) -> list[tuple[Prompt, Unmet]]:
        """What holds promotions up whatever the rules: an archived prompt, a draft, or that they do
        not compose, all of them moved.
        """
        known = list(targets)
        found = [(prompt, why) for prompt, _ in known if (why := withheld(prompt)) is not None]
        try:
            self._check_moves(label, [(p, version) for p, version in known if version is not None])
        except (ConflictError, ErasedError) as refusal:
            found.append((known[0][0], Unmet(refusal.code, refusal.detail)))
        return found

    def broken(self, prompt: Prompt, label: str, version: Version | None) -> dict[str, str]:
        """Registered consumers of a label that could not go on with a version, and why."""
        held = self._session.load(Consumers, consumers_id(prompt.id))
        using = held.of(label) if held is not None and version is not None else ()
        if not using or version is None:
            return {}
        content = self._whole(prompt, label, version)
        told = ((one.name, one.broken_by(version.semver, content)) for one in using)
        return {name: why for name, why in told if why is not None}

    def _whole(self, prompt: Prompt, label: str, version: Version) -> Mapping[str, Any] | None:
        """A version as the label would serve it: with the variables of its partials; None where it
        was erased.
        """
        own = self._held(version)
        if own is None or not version.partials:
            return own.value if own is not None else None
        root = Source(prompt.project, prompt.name, version.number, own.digest, own.value)
        try:
            return self._in_every_language(root, {f"{prompt.name}@{label}": root}).content
        except ConflictError:
            return root.content  # which is held up by that

    def _standing(self, principal_id: str) -> Rights | None:
        return standing(self._session, principal_id, None)

    def _environment(self, project: str, label: str) -> Project | None:
        """The project, where the label is one of its environments."""
        known = self._session.load(Project, project_id(project))
        return known if known is not None and label in known.environments else None


def item_of(prompt: Prompt, version: int | None, base: int | None) -> Item:
    """What a change request says of a prompt: VersionNotFoundError."""
    target = prompt.version_numbered(version) if version is not None else None
    commitment = target.content["commitment"] if target is not None else None
    return Item(str(prompt.id), prompt.name, version, commitment, base)


def withheld(prompt: Prompt) -> Unmet | None:
    """Why no version of a prompt is promoted."""
    try:
        prompt.check_not_archived()
        prompt.check_not_draft()
    except ConflictError as refusal:
        return Unmet(refusal.code, refusal.detail)
    return None


def check_reason(reason: str | None, why: str) -> None:
    """InvalidError where something that has to be explained is not."""
    if reason is None or not reason.strip():
        raise InvalidError(f"/reason {why}.", [Fault("/reason", "missing", why)])


def rules_not_met(prompt: Prompt, wish: Wish, missing: Iterable[Unmet]) -> RulesNotMetError:
    """The refusal, with everything that is missing."""
    listed = list(missing)
    target = "nothing" if wish.version is None else f"version {wish.version}"
    how = ""
    if any(one.code in ("approvals", "owners") for one in listed):
        how = (
            f" Propose it: scrinia change-request propose, or POST /v1/projects/{prompt.project}"
            "/change-requests."
        )
    return RulesNotMetError(
        f"{prompt.project}/{prompt.name}: {wish.environment} cannot point at {target} yet:"
        f" {'; '.join(one.detail for one in listed)}.{how}",
        missing=missing_data(listed),
    )


def missing_data(missing: Iterable[Unmet]) -> list[dict[str, Any]]:
    """What is missing, as it is answered."""
    return [{"code": one.code, "detail": one.detail} for one in missing]
