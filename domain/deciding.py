"""What deciding any command shares: authorise by the one policy, load, seal texts, sum up."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from eventsourcing.domain import Aggregate

from domain import access
from domain.access import AUTHZ_GRANTS_MAX, POLICY, Authorization, Caller, Resource, Rights
from domain.commitment import TEXT_MEDIA_TYPE, Content, ContentRef, is_same, seal
from domain.credential import Credential
from domain.decision import Answer, Decision, Ids, Provenance, Session, changes_of
from domain.errors import (
    Fault,
    ForbiddenError,
    InvalidError,
    NoCanonicalFormError,
    PreconditionFailedError,
    TooLargeError,
)
from domain.names import project_id
from domain.principal import Principal
from domain.project import Project
from domain.standing import standing

TEXT_BYTES_MAX = 64 * 1024


class Deciding:
    """One caller's decision at one moment, about to be made."""

    def __init__(self, session: Session, caller: Caller, now: datetime, ids: Ids) -> None:
        self._session = session
        self._caller = caller
        self._now = now
        self._ids = ids
        self._contents: list[Content] = []
        self._credentials: list[Credential] = []

    def _authorise(
        self, permission: str, resource: Resource, on: Resource | None = None
    ) -> Provenance:
        answer = access.authorise(self._rights(), permission, on or resource, self._now)
        return self._provenance(permission, resource, answer, self._actor())

    def _authorise_all(
        self, permission: str, resource: Resource, on: Sequence[Resource]
    ) -> Provenance:
        """`resource` is about several things, for each of which the permission is needed."""
        rights = self._rights()
        for one in on:
            access.authorise(rights, permission, one, self._now)
        answer = access.permitted_all(rights, permission, on, self._now)
        return self._provenance(permission, resource, answer, self._actor())

    def _as_oneself(self, principal_id: UUID, *, limited: bool = False) -> Provenance:
        """Only the principal itself may, with a token that nothing was taken out of.

        `limited`: in a session without the second factor too.
        """
        resource = access.principal_resource(str(principal_id))
        rights = self._rights(limited=limited)
        if self._caller.principal_id != str(principal_id):
            raise ForbiddenError("Only the principal itself does this.")
        access.check_whole(rights)
        authz = {
            "policy": access.SELF_POLICY,
            "permission": access.SELF_PERMISSION,
            "resource": resource.text,
            "grants": [],
        }
        return Provenance(self._actor(), authz)

    def _as_signing_in(self, principal_id: UUID, via: str, credential: str | None) -> Provenance:
        """Somebody at the door, who has shown `via` what lets them in; there is no token yet."""
        actor = {"type": "person", "id": str(principal_id), "via": via, "credential": credential}
        authz = {
            "policy": access.SIGN_IN_POLICY,
            "permission": access.SIGN_IN_PERMISSION,
            "resource": access.principal_resource(str(principal_id)).text,
            "grants": [],
        }
        return Provenance(actor, authz)

    def _rights(self, *, limited: bool = False) -> Rights:
        """The caller's standing; UnauthenticatedError, SecondFactorMissingError."""
        return access.authenticate(self._standing_of_caller(), self._now, limited=limited)

    def _standing_of_caller(self) -> Rights | None:
        return standing(self._session, self._caller.principal_id, self._caller.token_id)

    def _provenance(
        self, permission: str, resource: Resource, answer: Authorization, actor: dict[str, Any]
    ) -> Provenance:
        authz = {
            "policy": POLICY,
            "permission": permission,
            "resource": resource.text,
            "grants": list(answer.grants[:AUTHZ_GRANTS_MAX]),
        }
        return Provenance(actor, authz)

    def _actor(self) -> dict[str, Any]:
        caller = self._session.load(Principal, UUID(self._caller.principal_id))
        return {
            "type": caller.type if caller else "",
            "id": self._caller.principal_id,
            "via": self._caller.via,
            "credential": self._caller.token_id,
        }

    def _may(self, permission: str, resource: Resource) -> bool:
        """Whether the caller has a permission, without a word."""
        rights = self._standing_of_caller()
        if rights is None:
            return False
        return access.permitted(rights, permission, resource, self._now).allowed

    def _as_system(
        self,
        permission: str,
        resource: Resource,
        actor: Mapping[str, Any] = access.SYSTEM_ACTOR,
    ) -> Provenance:
        """Only a part of the registry itself may; `ledger/authority.py` says which events."""
        if self._caller != access.SYSTEM_CALLER:
            raise ForbiddenError("Only the registry itself does this.")
        authz = {
            "policy": access.SYSTEM_POLICY,
            "permission": permission,
            "resource": resource.text,
            "grants": [],
        }
        return Provenance(dict(actor), authz)

    def _project(self, name: str) -> Project:
        project = self._session.load(Project, project_id(name))
        if project is None:
            raise access.not_found(access.project_resource(name))
        return project

    def _principal(self, principal_id: UUID) -> Principal:
        principal = self._session.load(Principal, principal_id)
        if principal is None:
            raise access.not_found(access.principal_resource(str(principal_id)))
        return principal

    def _is_held(self, ref: ContentRef | None, body: bytes) -> bool:
        """Whether `body` is what an event already committed to."""
        if ref is None or ref["size"] != len(body):
            return False
        return is_same(self._session.content(ref["commitment"]), body)

    def _text(self, text: str | None, pointer: str) -> ContentRef | None:
        return None if text is None else self._seal_text(text, pointer)

    def _seal_text(self, text: str, pointer: str) -> ContentRef:
        ref, row = seal(self._ids.salt(), encoded(text, pointer), TEXT_MEDIA_TYPE)
        self._contents.append(row)
        return ref

    def _describe(
        self, old: ContentRef | None, text: str | None, changes: dict[str, dict[str, Any]]
    ) -> None:
        """Add to `changes` another description than the old one; None takes it away."""
        if text is None:
            unchanged = old is None
        else:
            unchanged = self._is_held(old, encoded(text, "/description"))
        if not unchanged:
            changes["description"] = {"from": old, "to": self._text(text, "/description")}

    def _decision(
        self,
        provenance: Provenance,
        answer: Answer,
        subject: Aggregate,
        *before: Aggregate,
        after: Sequence[Aggregate] = (),
    ) -> Decision:
        """`after`: what rests on the subject's own events, and so follows them."""
        if after:
            before, subject = (*before, subject, *after[:-1]), after[-1]
        return Decision(
            changes_of(*before, subject), tuple(self._contents), provenance, answer,
            tuple(self._credentials),
        )  # fmt: skip


def encoded(text: str, pointer: str) -> bytes:
    """UTF-8; NoCanonicalFormError for what has none, TooLargeError past TEXT_BYTES_MAX."""
    try:
        body = text.encode()
    except UnicodeEncodeError:
        raise NoCanonicalFormError(f"{pointer} holds a lone surrogate; send valid text.") from None
    if len(body) > TEXT_BYTES_MAX:
        raise TooLargeError(f"{pointer} has more than {TEXT_BYTES_MAX} bytes.")
    return body


def checked_moment(
    given: datetime | None, pointer: str, after: datetime | None = None
) -> datetime | None:
    """A moment in UTC; InvalidError where it has no offset, or lies not after another."""
    if given is None:
        return None
    if given.tzinfo is None:
        detail = "needs a UTC offset, such as Z"
    elif after is not None and given <= after:
        detail = "must lie in the future"
    else:
        return given.astimezone(UTC)
    raise InvalidError(f"{pointer} {detail}.", [Fault(pointer, "invalid_moment", detail)])


def moment_text(moment: datetime | None) -> str | None:
    """RFC 3339, or None."""
    return moment.isoformat() if moment is not None else None


def check_match(if_match: int | None, current: int) -> None:
    """PreconditionFailedError where a caller decided on another state (None: on any)."""
    if if_match is not None and if_match != current:
        raise PreconditionFailedError(
            f'The current ETag is "{current}": read it again and decide on what it says now.',
            current=current,
        )
