"""Commands on principals, grants and API tokens, decided."""

from collections.abc import Iterable
from typing import Any
from uuid import UUID

from domain import access, commands
from domain.access import Resource
from domain.access_rules import ACCESS_RULES_ID, AccessRules
from domain.deciding import encoded
from domain.decision import Answer, Decision, Provenance
from domain.errors import Fault, InvalidError, LastAdminError
from domain.granting import check_grant, new_token, raise_faults
from domain.keys import key_id_of
from domain.names import check_label, project_id
from domain.principal import MADE_BY_HAND, Principal, administers
from domain.project import Project
from domain.role import Role, role_id
from domain.sign_in_commands import SignInCommands


class AccessCommands(SignInCommands):
    """One method per command."""

    def create_principal(self, command: commands.CreatePrincipal) -> Decision:
        """Make a principal."""
        principal_id = self._ids.new_id()
        resource = access.principal_resource(str(principal_id))
        provenance = self._authorise(access.ACCESS_WRITE, resource, on=access.REGISTRY)
        if command.type not in MADE_BY_HAND:
            raise InvalidError(f"A principal made by hand is one of {', '.join(MADE_BY_HAND)}.")
        name = self._seal_text(command.name, "/name")
        principal = Principal.create(principal_id, command.type, name, self._now)
        body = {"principal_id": str(principal_id), "type": command.type, "active": True}
        named = self._first_login(principal, command.login) if command.login is not None else []
        return self._decision(provenance, Answer(body, made=True), principal, after=named)

    def rename_principal(self, command: commands.RenamePrincipal) -> Decision:
        """Show a principal by another name."""
        resource = access.principal_resource(str(command.principal_id))
        provenance = self._authorise(access.ACCESS_WRITE, resource)
        principal = self._principal(command.principal_id)
        if not self._is_held(principal.name, encoded(command.name, "/name")):
            principal.rename(self._seal_text(command.name, "/name"), self._now)
        return self._decision(provenance, Answer(_standing_body(principal)), principal)

    def suspend_principal(self, command: commands.SuspendPrincipal) -> Decision:
        """Let a principal do nothing until it is resumed."""
        resource = access.principal_resource(str(command.principal_id))
        provenance = self._authorise(access.ACCESS_WRITE, resource)
        principal = self._principal(command.principal_id)
        self._check_admin_remains(principal, principal.grants, command.admins, for_now=True)
        principal.suspend(self._text(command.reason, "/reason"), self._now)
        return self._decision(provenance, Answer(_standing_body(principal)), principal)

    def resume_principal(self, command: commands.ResumePrincipal) -> Decision:
        """Let a principal do again what it is allowed to."""
        resource = access.principal_resource(str(command.principal_id))
        provenance = self._authorise(access.ACCESS_WRITE, resource)
        principal = self._principal(command.principal_id)
        principal.resume(self._text(command.reason, "/reason"), self._now)
        return self._decision(provenance, Answer(_standing_body(principal)), principal)

    def deactivate_principal(self, command: commands.DeactivatePrincipal) -> Decision:
        """Take every right from a principal."""
        resource = access.principal_resource(str(command.principal_id))
        provenance = self._authorise(access.ACCESS_WRITE, resource)
        principal = self._principal(command.principal_id)
        if not principal.gone:
            self._check_admin_remains(principal, principal.grants, command.admins)
            principal.deactivate(self._text(command.reason, "/reason"), self._now)
        body = {"principal_id": str(principal.id), "type": principal.type, "active": False}
        return self._decision(
            provenance, Answer(body), principal, after=self._withdrawn(principal.id)
        )

    def give_grant(self, command: commands.GiveGrant) -> Decision:
        """Give a role in a scope; nothing happens where an equal grant is in force."""
        scope = access.Scope(command.project, command.folder, command.environment)
        provenance = self._authorise(access.ACCESS_WRITE, scope.resource)
        project = self._project(command.project) if command.project is not None else None
        principal = self._principal(command.principal_id)
        custom = None
        if command.role not in access.ROLES:
            custom = self._session.load(Role, role_id(command.role))
        held = principal.held(command.role, scope, command.expires_at)
        grant = held or access.Grant(
            str(self._ids.new_id()), command.role, scope, command.expires_at
        )
        check_grant(grant, custom, project, self._now)
        if held is None:
            principal.give(grant, self._now)
        answer = Answer(_grant_body(principal, grant), made=held is None)
        return self._decision(provenance, answer, principal)

    def revoke_grant(self, command: commands.RevokeGrant) -> Decision:
        """Take a grant away."""
        principal = self._session.load(Principal, command.principal_id)
        grant = principal.grants.get(command.grant_id) if principal else None
        resource = grant.scope.resource if grant else access.REGISTRY
        provenance = self._authorise(access.ACCESS_WRITE, resource)
        if principal is None or grant is None:
            raise access.not_found(Resource(f"grants/{command.grant_id}"))
        self._check_admin_remains(principal, [grant.id], command.admins)
        principal.revoke(grant.id, self._text(command.reason, "/reason"), self._now)
        return self._decision(provenance, Answer(_grant_body(principal, grant)), principal)

    def _check_admin_remains(
        self,
        principal: Principal,
        taken: Iterable[str],
        candidates: Iterable[UUID],
        *,
        for_now: bool = False,
    ) -> None:
        """LastAdminError where taking grants away would leave nobody to administer the registry.

        Where some things take two people, two have to be left, of whom one may be suspended now;
        not where it is `for_now`, which one of two has to be able to do. Whoever remains is read,
        and so a condition of the unit: two cannot remove each other.
        """
        kept = principal.grants.keys() - set(taken)
        held = any(administers(grant) for grant in principal.grants.values())
        if not held or any(administers(principal.grants[one]) for one in kept):
            return
        rules = self._session.load(AccessRules, ACCESS_RULES_ID)
        two = not for_now and rules is not None and bool(rules.second_person)
        two = two and principal.type == "person"
        if not two and not principal.is_admin:
            return
        others = (self._session.load(Principal, one) for one in candidates if one != principal.id)
        left = [one for one in others if one is not None and one.is_admin]
        if two:
            left = [one for one in left if one.type == "person"]
        if len(left) < 1 + two:
            who = "Fewer than two other people hold" if two else "Nobody else holds"
            raise LastAdminError(
                f"{who} the role admin in the registry, by a grant of their own without an end:"
                " give it to somebody first."
            )

    # Groups and roles

    def join_group(self, command: commands.JoinGroup) -> Decision:
        """Let the grants of a group count for a principal."""
        principal, provenance = self._member(command)
        joined = principal.join(str(command.group_id), self._now)
        answer = Answer(_membership_body(principal, command.group_id), made=joined)
        return self._decision(provenance, answer, principal)

    def leave_group(self, command: commands.LeaveGroup) -> Decision:
        """Let the grants of a group count for a principal no more."""
        principal, provenance = self._member(command)
        reason = self._text(command.reason, "/reason")
        principal.leave(str(command.group_id), reason, self._now)
        return self._decision(
            provenance, Answer(_membership_body(principal, command.group_id)), principal
        )

    def _member(
        self, command: commands.JoinGroup | commands.LeaveGroup
    ) -> tuple[Principal, Provenance]:
        resource = access.principal_resource(str(command.principal_id))
        provenance = self._authorise(access.ACCESS_WRITE, resource)
        principal, group = self._principal(command.principal_id), self._principal(command.group_id)
        if group.type != "group" or principal.type == "group":
            raise InvalidError("People and services are members of groups, and nothing else is.")
        return principal, provenance

    def register_actor_key(self, command: commands.RegisterActorKey) -> Decision:
        """Sign with a key of one's own from now on; takes a token of the principal itself."""
        provenance = self._as_oneself(command.principal_id)
        principal = self._principal(command.principal_id)
        key_id = key_id_of(command.public_key)
        made = principal.register_key(key_id, command.public_key.hex(), self._now)
        body = {"principal_id": str(principal.id), "key_id": key_id}
        return self._decision(provenance, Answer(body, made=made), principal)

    def retire_actor_key(self, command: commands.RetireActorKey) -> Decision:
        """Let a principal sign with one of its keys no more: itself, or who gives access."""
        if self._caller.principal_id == str(command.principal_id):
            provenance = self._as_oneself(command.principal_id)
        else:
            resource = access.principal_resource(str(command.principal_id))
            provenance = self._authorise(access.ACCESS_WRITE, resource)
        principal = self._principal(command.principal_id)
        principal.retire_key(command.key_id, self._text(command.reason, "/reason"), self._now)
        body = {"principal_id": str(principal.id), "key_id": command.key_id}
        return self._decision(provenance, Answer(body), principal)

    def define_role(self, command: commands.DefineRole) -> Decision:
        """Have a custom role permit these; nothing happens where it does so already."""
        name = check_label(command.name)
        resource = access.role_resource(name)
        provenance = self._authorise(access.ACCESS_WRITE, resource, on=access.REGISTRY)
        permissions = sorted(set(command.permissions))
        unknown = [one for one in permissions if one not in access.PERMISSIONS]
        if name in access.ROLES or unknown:
            detail = f"{unknown[0]} is no permission" if unknown else f"{name} is built in"
            pointer = "/permissions" if unknown else "/role"
            raise InvalidError(f"{detail}.", [Fault(pointer, "invalid_role", detail)])
        role = self._session.load(Role, role_id(name))
        made = role is None
        if role is None:
            if not permissions:
                raise access.not_found(resource)
            role = Role.define(
                name, permissions, self._text(command.description, "/description"), self._now
            )
        else:
            self._change_role(role, permissions, command.description)
        body = {"role": name, "permissions": permissions}
        return self._decision(provenance, Answer(body, made=made), role)

    def _change_role(self, role: Role, permissions: list[str], description: str | None) -> None:
        changes: dict[str, dict[str, Any]] = {}
        self._describe(role.description, description, changes)
        if frozenset(permissions) != role.permissions or changes:
            described = changes.get("description", {"to": role.description})["to"]
            role.change(permissions, described, self._now)

    # Tokens

    def issue_token(self, command: commands.IssueToken) -> Decision:
        """Issue an API token; its secret is in the answer, once."""
        resource = access.principal_resource(str(command.principal_id))
        provenance = self._authorise(access.ACCESS_WRITE, resource)
        principal = self._principal(command.principal_id)
        if principal.type == "group":
            raise InvalidError("A group cannot act: issue the token to one of its members.")
        token, secret = new_token(
            command.scopes, command.expires_at, command.networks, self._now, self._ids
        )
        self._check_places(token.scopes or ())
        principal.issue_token(token, self._text(command.description, "/description"), self._now)
        body = {
            "token_id": token.id,
            "principal_id": str(principal.id),
            "expires_at": command.expires_at and command.expires_at.isoformat(),
            "token": None,
        }
        answer = Answer(body, made=True, secret={"token": secret})
        return self._decision(provenance, answer, principal)

    def revoke_token(self, command: commands.RevokeToken) -> Decision:
        """Take an API token away."""
        resource = access.principal_resource(str(command.principal_id))
        provenance = self._authorise(access.ACCESS_WRITE, resource)
        principal = self._principal(command.principal_id)
        reason = self._text(command.reason, "/reason")
        principal.revoke_token(command.token_id, reason, self._now)
        body = {"token_id": command.token_id, "principal_id": str(principal.id)}
        return self._decision(provenance, Answer(body), principal)

    def _check_places(self, scopes: tuple[access.TokenScope, ...]) -> None:
        """InvalidScopeError where a scope names a project or environment that is not there."""
        faults: list[Fault] = []
        for index, scope in enumerate(scopes):
            name, environment = scope.scope.project, scope.scope.environment
            project = self._session.load(Project, project_id(name)) if name else None
            if name and project is None:
                fault = Fault(f"/scopes/{index}/project", "unknown_project", f"{name} is none")
                faults.append(fault)
            elif project and environment and environment not in project.environments:
                known = ", ".join(project.environments)
                detail = f"must be one of {known}"
                faults.append(Fault(f"/scopes/{index}/environment", "unknown_environment", detail))
        raise_faults(faults)


def _standing_body(principal: Principal) -> dict[str, Any]:
    return {
        "principal_id": str(principal.id), "type": principal.type, "active": principal.active,
    }  # fmt: skip


def _membership_body(principal: Principal, group_id: UUID) -> dict[str, Any]:
    return {"principal_id": str(principal.id), "group_id": str(group_id)}


def _grant_body(principal: Principal, grant: access.Grant) -> dict[str, Any]:
    return {
        "grant_id": grant.id,
        "principal_id": str(principal.id),
        "role": grant.role,
        "scope": grant.scope.as_data(),
        "expires_at": grant.expires_at and grant.expires_at.isoformat(),
    }
