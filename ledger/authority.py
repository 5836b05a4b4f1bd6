"""Deciding every authorisation again: was this event allowed by what was in force before it?

Which permission on which resource an event needs is derived from the state folded so far
(`ledger/needs.py`), not taken from the event; then the one policy is asked, at the event's own
time, and of promotions the gate too (`ledger/agreements.py`).
"""

from dataclasses import dataclass, field
from datetime import datetime

from domain import access
from domain.access import (
    AUTHZ_GRANTS_MAX,
    BOOTSTRAP_POLICY,
    POLICY,
    REGISTRY,
    SELF_POLICY,
    SIGN_IN_POLICY,
    SYSTEM_POLICY,
    Rights,
)
from domain.access_rules import AccessRules
from domain.change_request import ChangeRequest
from domain.genesis import GENESIS_EVENTS, SYSTEM_ACTOR
from domain.keys import KeyRing, key_id_of
from domain.principal import Principal
from domain.prompt import Prompt
from domain.sign_in import SignIn
from domain.standing import standing
from domain.user_session import UserSession
from domain.webhook import SYSTEM_CAUSES, Webhook
from ledger.agreements import agreement_fault, for_whom, scheduled_fault, suspension_allowed
from ledger.facts import Facts
from ledger.mapper import RecordedEvent
from ledger.needs import Need, need_of
from ledger.second_person import (
    agreed_by,
    alone_fault,
    goes_before,
)
from ledger.sign_ins import is_lock, of_oneself_fault, said_fault, sign_in_fault

# What a principal does to itself, and what of it in a session without the second factor too.
_OF_ONESELF = (
    Principal.KeyRegistered, Principal.KeyRetired, SignIn.PasswordSet, SignIn.TotpEnrolled,
    SignIn.TotpRemoved, SignIn.Revoked, UserSession.Ended,
)  # fmt: skip
# What only the registry itself does.
_OF_THE_REGISTRY = (
    Prompt.LabelExpired, Prompt.RolloutPaused, ChangeRequest.Suspended, SignIn.Locked,
)  # fmt: skip
_WHILE_LIMITED = (SignIn.PasswordSet, SignIn.TotpEnrolled, SignIn.Revoked, UserSession.Ended)


@dataclass
class Authority:
    """Decides anew, event by event."""

    facts: Facts = field(default_factory=Facts)
    unfinished: str | None = None  # the change request whose labels move, and which is not applied
    opened: str | None = None  # the emergency just opened, whose label has to move now
    agreed: tuple[str, str] | None = None  # the access request just applied, and by which command

    def fault(self, recorded: RecordedEvent) -> str | None:
        """Why the event was not allowed; None where it was."""
        if self.unfinished is not None and _change_of(recorded) != self.unfinished:
            return f"follows a move of {self.unfinished}, which was not applied"
        emergency = _emergency_of(recorded)
        if self.opened != emergency:
            if emergency is not None:
                return "is an emergency that opens no review"
            return f"follows the opening of {self.opened}, an emergency that moved nothing"
        authz = recorded.payload["authz"]
        alone = alone_fault(self.facts, recorded, self.agreed)
        if alone is not None:
            return alone
        said = said_fault(self.facts, recorded)
        if said is not None:
            return said
        if authz["policy"] == BOOTSTRAP_POLICY:
            return self._bootstrap_fault(recorded)
        if authz["policy"] == SYSTEM_POLICY:
            return self._system_fault(recorded)
        if authz["policy"] == SELF_POLICY:
            return self._self_fault(recorded)
        if authz["policy"] == SIGN_IN_POLICY:
            return sign_in_fault(self.facts, recorded)
        event = recorded.event
        if isinstance(event, _OF_THE_REGISTRY) or (
            isinstance(event, Webhook.Disabled) and event.cause != "command"
        ):
            return "is the registry's own act, claimed by somebody else"
        if authz["policy"] != POLICY:
            return f"unknown policy {authz['policy']!r}"
        need = need_of(self.facts, recorded)
        if isinstance(event, Prompt.Moved) and not self._owns(recorded, event.to):
            return "moves to a name that was never claimed for it"
        if need is None:
            return f"no grant can allow {recorded.kind_verb}"
        if (need.permission, need.text) != (authz["permission"], authz["resource"]):
            return f"needs {need.permission} on {need.text}, claims {authz['permission']}"
        return self._decision_fault(recorded, need)

    def apply(self, recorded: RecordedEvent) -> None:
        """Fold an event."""
        self.unfinished = self.opened = None
        if isinstance(recorded.event, ChangeRequest.Applied):
            applied = self.facts.changes.get(str(recorded.event.originator_id))
            if applied is not None and applied.emergency:
                self.opened = str(applied.id)
        if not (self.agreed is not None and goes_before(recorded)):
            self.agreed = agreed_by(recorded)
        if isinstance(recorded.event, Prompt.LabelMoved | Prompt.LabelRemoved):
            change = self.facts.changes.get(recorded.event.change_id or "")
            if change is not None and not change.emergency:
                self.unfinished = recorded.event.change_id
        self.facts.apply(recorded)

    def _bootstrap_fault(self, recorded: RecordedEvent) -> str | None:
        if recorded.position > GENESIS_EVENTS or recorded.payload["actor"] != SYSTEM_ACTOR:
            return "claims the bootstrap policy, which ends with the ledger's first unit"
        return None

    def _system_fault(self, recorded: RecordedEvent) -> str | None:
        """What the registry itself does: it disables webhooks that fail, ends labels whose time is
        over, lets a scheduled promotion wait, locks out who tries too often, says what was lost;
        on the host, what takes two people can be lifted.
        """
        event, authz = recorded.event, recorded.payload["authz"]
        need, actor = need_of(self.facts, recorded), access.SYSTEM_ACTOR
        if isinstance(event, Prompt.LabelExpired) and self._is_over(recorded, event.label):
            actor = access.SYSTEM_EXPIRY_ACTOR
        elif (
            isinstance(event, ChangeRequest.Suspended) and suspension_allowed(self.facts, recorded)
        ) or (isinstance(event, Prompt.RolloutPaused) and self._is_due(recorded, event.label)):
            actor = access.SYSTEM_SCHEDULE
        elif is_lock(self.facts, recorded):
            actor = access.SYSTEM_DOOR_ACTOR
        elif isinstance(event, AccessRules.Changed) and not event.second_person:
            actor = access.SYSTEM_HOST_ACTOR
        elif isinstance(event, KeyRing.EpochBegun):
            need = Need(access.RESTORE_PERMISSION, REGISTRY.text, (REGISTRY,))
            actor = access.SYSTEM_RESTORE_ACTOR
        elif not (isinstance(event, Webhook.Disabled) and event.cause in SYSTEM_CAUSES):
            return f"claims {SYSTEM_POLICY}, which does not allow {recorded.kind_verb}"
        claimed = (authz["permission"], authz["resource"], authz["grants"])
        if need is None or claimed != (need.permission, need.text, []):
            return "claims another permission, resource or grant than the registry's own act has"
        if recorded.payload["actor"] != actor:
            return f"claims {SYSTEM_POLICY} for another actor than the registry"
        return None

    def _self_fault(self, recorded: RecordedEvent) -> str | None:
        """What a principal does to itself, with a token that nothing was taken out of."""
        if not isinstance(recorded.event, _OF_ONESELF):
            return f"claims {SELF_POLICY}, which does not allow {recorded.kind_verb}"
        actor, authz = recorded.payload["actor"], recorded.payload["authz"]
        own = str(recorded.event.originator_id)
        if isinstance(recorded.event, UserSession.Ended):
            own = self.facts.sessions[own].principal_id
        resource = access.principal_resource(own).text
        claimed = (authz["permission"], authz["resource"], authz["grants"])
        if actor["id"] != own or claimed != (access.SELF_PERMISSION, resource, []):
            return f"claims {SELF_POLICY} on somebody else"
        rights = self._rights(recorded, datetime.fromisoformat(recorded.time))
        if isinstance(rights, str):
            return rights
        event = recorded.event
        if isinstance(event, Principal.KeyRegistered) and event.key_id != key_id_of(
            bytes.fromhex(event.public_key)
        ):
            return "names another key than it registers"
        if rights.token is None or rights.token.scopes is not None:
            return "was done with a narrowed token"
        return of_oneself_fault(self.facts, recorded)

    def _owns(self, recorded: RecordedEvent, name: str) -> bool:
        """Whether a name was claimed for an event's prompt, by somebody who may write there."""
        stream_id = str(recorded.event.originator_id)
        prompt = self.facts.prompts.get(stream_id)
        return prompt is not None and self.facts.owners.get((prompt.project, name)) == stream_id

    def _is_over(self, recorded: RecordedEvent, label: str) -> bool:
        """Whether a label's time is over when an event says so."""
        prompt = self.facts.prompts.get(str(recorded.event.originator_id))
        state = prompt.labels.get(label) if prompt is not None else None
        until = state.until if state is not None else None
        return until is not None and until <= datetime.fromisoformat(recorded.time)

    def _is_due(self, recorded: RecordedEvent, label: str) -> bool:
        """Whether a step of a rollout's ramp is due when an event says so."""
        prompt = self.facts.prompts.get(str(recorded.event.originator_id))
        rollout = prompt.rollouts.get(label) if prompt is not None else None
        ramp = rollout.ramp if rollout is not None and rollout.paused is None else ()
        return bool(ramp) and ramp[0].at <= datetime.fromisoformat(recorded.time)

    def _decision_fault(self, recorded: RecordedEvent, need: Need) -> str | None:
        authz = recorded.payload["authz"]
        moment = datetime.fromisoformat(recorded.time)
        rights = self._rights(recorded, moment)
        if isinstance(rights, str):
            return rights
        answer = access.permitted_all(rights, need.permission, need.asked, moment)
        if not answer.allowed:
            return f"no grant in force allowed {need.permission} on {need.text}"
        if list(answer.grants[:AUTHZ_GRANTS_MAX]) != authz["grants"]:
            return "names other grants than those that sufficed"
        return agreement_fault(self.facts, recorded, rights)

    def _rights(self, recorded: RecordedEvent, moment: datetime) -> Rights | str:
        """The standing by which it was done, or what is wrong with it."""
        actor = recorded.payload["actor"]
        principal = self.facts.principals.get(for_whom(recorded))
        if principal is None:
            return f"unknown actor {for_whom(recorded)}"
        rights = standing(self.facts, for_whom(recorded), actor["credential"])
        if "on_behalf_of" in actor:
            fault = scheduled_fault(self.facts, recorded)
            lasting = access.lasting(rights)
            return fault or lasting or "was asked by somebody who may nothing any more"
        if actor["type"] != principal.type:
            return f"actor is a {principal.type}, claims {actor['type']}"
        token = rights.token if rights is not None else None
        if rights is None or not rights.active or token is None or not token.is_live(moment):
            return "the actor was deactivated, or the token not live"
        if rights.limited and not isinstance(recorded.event, _WHILE_LIMITED):
            return "was done in a session without the second factor"
        return rights


def _emergency_of(recorded: RecordedEvent) -> str | None:
    """The emergency by which an event moves a label."""
    event = recorded.event
    moves = isinstance(event, Prompt.LabelMoved) and event.act == "emergency"
    return getattr(event, "change_id", None) if moves else None


def _change_of(recorded: RecordedEvent) -> str | None:
    """The change request that an event belongs to the applying of."""
    event = recorded.event
    if isinstance(event, ChangeRequest.Applied):
        return str(event.originator_id)
    return getattr(event, "change_id", None)
