"""Commands on what takes two people, decided: the rules of it, asking, agreeing, doing it."""

from dataclasses import replace
from uuid import UUID

from eventsourcing.domain import CanMutateAggregate

from domain import access, commands
from domain.access import ACCESS_WRITE, REGISTRY, Resource
from domain.access_commands import AccessCommands
from domain.access_request import AccessRequest
from domain.access_rules import ACCESS_RULES_ID, AccessRules, check_protected
from domain.decision import Answer, Before, Decision, Provenance, changes_of
from domain.errors import (
    ConflictError,
    ErasedError,
    ForbiddenError,
    InvalidError,
    LastAdminError,
    SecondPersonNeededError,
)
from domain.principal import Principal
from domain.role import Role
from domain.second_person import (
    Intent,
    command_for,
    intent_of,
    takes_two,
    target_sha256,
    why_not_asked,
)
from domain.sign_in import SignIn
from domain.standing import standing


class AccessRequestCommands(AccessCommands):
    """One method per command."""

    def set_access_rules(self, command: commands.SetAccessRules) -> Decision:
        """Have one person alone give these permissions to nobody."""
        resource = Resource("access-rules")
        provenance = self._authorise(ACCESS_WRITE, resource, on=REGISTRY)
        wanted = check_protected(command.second_person)
        rules = self._session.load(AccessRules, ACCESS_RULES_ID)
        made = rules is None
        if wanted and (rules is None or not rules.second_person):
            self._check_two_administer(command.admins)
        if rules is None:
            rules = AccessRules.begin(wanted, self._now)
        else:
            rules.change(wanted, self._now)
        body = {"second_person": [one.as_data() for one in wanted]}
        return self._decision(provenance, Answer(body, made=made), rules)

    def lift_access_rules(self, command: commands.LiftAccessRules) -> Decision:
        """Let one person alone give anything again: whoever has the host, where nobody is left."""
        resource = Resource("access-rules")
        provenance = self._as_system(ACCESS_WRITE, resource, access.SYSTEM_HOST_ACTOR)
        rules = self._session.load(AccessRules, ACCESS_RULES_ID)
        if rules is None:
            raise ConflictError("Nothing takes two people here: there is nothing to lift.")
        rules.change((), self._now, self._text(command.reason, "/reason"))
        return self._decision(provenance, Answer({"second_person": []}), rules)

    def _check_two_administer(self, candidates: tuple[UUID, ...]) -> None:
        people = [self._session.load(Principal, one) for one in sorted(set(candidates))]
        able = [one for one in people if one is not None and one.is_admin and one.type == "person"]
        if len(able) < 2:
            raise LastAdminError(
                "Two people have to hold the role admin in the registry, each by a grant of their"
                " own without an end, before one of them needs the other."
            )

    def check_alone(self, decision: Decision) -> None:
        """SecondPersonNeededError where one person alone may not do what was decided."""
        event = self._takes_two(decision)
        if event is None:
            return
        how = (
            "ask for it (POST /v1/access/requests, --ask on the command line), have somebody else"
            " approve it, then apply it."
        )
        if isinstance(event, Role.Changed):
            how = "define another role, and ask for grants of it."
        if isinstance(event, SignIn.TotpRemoved):
            how = "ask for a recovery code that goes on without it."
        raise SecondPersonNeededError(
            f"One person alone gives this to nobody here (GET /v1/access/rules): {how}"
        )

    def _takes_two(self, decision: Decision) -> CanMutateAggregate[UUID] | None:
        """The first event that one person alone may not make happen."""
        who = self._caller.principal_id
        for change in decision.changes:
            for event in change.events:
                if takes_two(self._found, event, who, self._now):
                    return event
        return None

    @property
    def _found(self) -> Before:
        return Before(self._session)

    # Requests

    def request_access(self, command: commands.RequestAccess) -> Decision:
        """Ask for what takes a second person: it is decided as if it were done now."""
        request_id = self._ids.new_id()
        resource = access.access_request_resource(str(request_id))
        provenance = self._authorise(ACCESS_WRITE, resource, on=_place(command.wanted))
        if provenance.actor["type"] != "person":
            raise ForbiddenError("Only people ask for access: who holds a service's token?")
        intent = self._tried(command.wanted)
        request = AccessRequest.ask(
            request_id, self._now, action=intent.action, intent=intent.details,
            text=self._text(_words(command.wanted), "/text"), by=self._caller.principal_id,
            reason=self._text(command.reason, "/reason"),
        )  # fmt: skip
        return self._decision(provenance, self._request_answer(request, made=True), request)

    def approve_access(self, command: commands.ApproveAccess) -> Decision:
        """Agree to what somebody else asked for; only people do."""
        request, provenance = self._request(command.request_id)
        if request.asked_by == self._caller.principal_id:
            raise ForbiddenError("Somebody else than who asked for it approves it.")
        if provenance.actor["type"] != "person":
            raise ForbiddenError("Only people approve access requests.")
        comment = self._text(command.comment, "/comment")
        target = target_sha256(self._found, Intent.of(request))
        request.approve(self._caller.principal_id, comment, target, self._now)
        return self._decision(provenance, self._request_answer(request), request)

    def reject_access(self, command: commands.RejectAccess) -> Decision:
        """Say no, or take back what one asked for."""
        request, provenance = self._request(command.request_id)
        comment = self._text(command.comment, "/comment")
        request.reject(self._caller.principal_id, comment, self._now)
        return self._decision(provenance, self._request_answer(request), request)

    def apply_access(self, command: commands.ApplyAccess) -> Decision:
        """Do what one asked for and somebody agreed to, decided anew; its answer."""
        request, provenance = self._request(command.request_id)
        if request.asked_by != self._caller.principal_id:
            raise ForbiddenError("Who asked for it applies it.")
        intent = Intent.of(request)
        request.apply(self._caller.principal_id, self._now)
        self._check_approver(request, intent)
        wanted = command_for(intent, self._words_of(request))
        if isinstance(wanted, commands.SetAccessRules):
            wanted = replace(wanted, admins=command.admins)
        done = self._done(wanted)
        if self._intent(done) != intent:
            raise ConflictError("This would not come to what was asked for: ask again.")
        applied = replace(changes_of(request)[0], provenance=provenance)
        answer = replace(done.answer, body={"request_id": str(request.id), **done.answer.body})
        return replace(done, changes=(applied, *done.changes), answer=answer)

    def _request(self, request_id: UUID) -> tuple[AccessRequest, Provenance]:
        request = self._session.load(AccessRequest, request_id)
        resource = access.access_request_resource(str(request_id))
        place = REGISTRY if request is None else Intent.of(request).place
        if not self._may(ACCESS_WRITE, place):
            place = REGISTRY  # whether there is such a request is not told
        provenance = self._authorise(ACCESS_WRITE, resource, on=place)
        if request is None:
            raise access.not_found(resource)
        return request, provenance

    def _check_approver(self, request: AccessRequest, intent: Intent) -> None:
        """ConflictError where who agreed may not give this any more, or agreed to less."""
        rights = standing(self._session, str(request.approved_by), None)
        allowed = rights is not None and rights.active
        if rights is None or not allowed or not access.decide(
            rights.grants, ACCESS_WRITE, intent.place, self._now
        ).allowed:  # fmt: skip
            raise ConflictError("Who approved it may not give this any more: ask again.")
        if request.target_sha256 != target_sha256(self._found, intent):
            raise ConflictError(
                "Since it was approved, whom it is about has got other tokens, ways to sign in or"
                " grants: ask again."
            )

    def _words_of(self, request: AccessRequest) -> str | None:
        if request.text is None:
            return None
        held = self._session.content(request.text["commitment"])
        if held is None:
            raise ErasedError("What was asked for was erased: ask again.")
        return held.body.decode()

    def _tried(self, wanted: commands.Wanted) -> Intent:
        """What it would come to; none of it is kept. ConflictError, InvalidError."""
        texts = len(self._contents)
        decision = self._done(wanted)
        del self._contents[texts:]
        if self._takes_two(decision) is None:
            raise ConflictError("This takes no second person, or is so already: do it directly.")
        intent = self._intent(decision)
        why_not = why_not_asked(self._found, intent)
        if why_not is not None:
            raise InvalidError(why_not)
        return intent

    def _done(self, wanted: commands.Command) -> Decision:
        """What a command decides that can be asked for."""
        match wanted:
            case commands.GiveGrant():
                return self.give_grant(wanted)
            case commands.JoinGroup():
                return self.join_group(wanted)
            case commands.IssueToken():
                return self.issue_token(wanted)
            case commands.SetLogin():
                return self.set_login(wanted)
            case commands.IssueRecovery():
                return self.issue_recovery(wanted)
            case commands.SetAccessRules():
                return self.set_access_rules(wanted)
        raise TypeError(f"{type(wanted).__name__} cannot be asked for")

    def _intent(self, decision: Decision) -> Intent:
        """What a decision comes to; ConflictError where it comes to nothing."""
        events = [event for change in decision.changes for event in change.events]
        intent = intent_of(self._found, events[-1]) if events else None
        if intent is None:
            raise ConflictError("What was asked for is so already: reject the request.")
        return intent

    def _request_answer(self, request: AccessRequest, *, made: bool = False) -> Answer:
        status = request.status(self._now)
        body = {"request_id": str(request.id), "action": request.action, "status": status}
        return Answer(body, made=made)


def _words(wanted: commands.Wanted) -> str | None:
    """What is said with it that no event holds."""
    match wanted:
        case commands.SetLogin():
            return wanted.login
        case commands.IssueRecovery():
            return wanted.reason
        case commands.IssueToken():
            return wanted.description
    return None


def _place(wanted: commands.Wanted) -> Resource:
    """Where access would be given."""
    if isinstance(wanted, commands.GiveGrant):
        return access.Scope(wanted.project, wanted.folder, wanted.environment).resource
    return REGISTRY
