"""Commands on principals, grants and API tokens, decided."""

from typing import Any

from domain import access, commands
from domain.access import Resource
from domain.deciding import Deciding
from domain.decision import Answer, Decision
from domain.errors import Fault, InvalidError
from domain.granting import check_grant, new_token, raise_faults
from domain.names import project_id
from domain.principal import PRINCIPAL_TYPES, Principal
from domain.project import Project


class AccessCommands(Deciding):
    """One method per command."""

    def create_principal(self, command: commands.CreatePrincipal) -> Decision:
        """Make a principal."""
        principal_id = self._ids.new_id()
        resource = access.principal_resource(str(principal_id))
        provenance = self._authorise(access.ACCESS_WRITE, resource, on=access.REGISTRY)
        if command.type not in PRINCIPAL_TYPES[:2]:
            raise InvalidError("A principal made by hand is a 'person' or a 'service'.")
        name = self._seal_text(command.name, "/name")
        principal = Principal.create(principal_id, command.type, name, self._now)
        body = {"principal_id": str(principal_id), "type": command.type, "active": True}
        return self._decision(provenance, Answer(body, made=True), principal)

    def deactivate_principal(self, command: commands.DeactivatePrincipal) -> Decision:
        """Take every right from a principal."""
        resource = access.principal_resource(str(command.principal_id))
        provenance = self._authorise(access.ACCESS_WRITE, resource)
        principal = self._principal(command.principal_id)
        if principal.active:
            principal.deactivate(self._text(command.reason, "/reason"), self._now)
        body = {"principal_id": str(principal.id), "type": principal.type, "active": False}
        return self._decision(provenance, Answer(body), principal)

    def give_grant(self, command: commands.GiveGrant) -> Decision:
        """Give a role in a scope; nothing happens where an equal grant is in force."""
        scope = access.Scope(command.project, command.folder, command.environment)
        provenance = self._authorise(access.ACCESS_WRITE, scope.resource)
        project = self._project(command.project) if command.project is not None else None
        check_grant(command.role, scope, project, command.expires_at, self._now)
        principal = self._principal(command.principal_id)
        held = principal.held(command.role, scope, command.expires_at)
        grant = held or access.Grant(
            str(self._ids.new_id()), command.role, scope, command.expires_at
        )
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
        principal.revoke(grant.id, self._text(command.reason, "/reason"), self._now)
        return self._decision(provenance, Answer(_grant_body(principal, grant)), principal)

    def issue_token(self, command: commands.IssueToken) -> Decision:
        """Issue an API token; its secret is in the answer, once."""
        resource = access.principal_resource(str(command.principal_id))
        provenance = self._authorise(access.ACCESS_WRITE, resource)
        principal = self._principal(command.principal_id)
        token, secret = new_token(command.scopes, command.expires_at, self._now, self._ids)
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


def _grant_body(principal: Principal, grant: access.Grant) -> dict[str, Any]:
    return {
        "grant_id": grant.id,
        "principal_id": str(principal.id),
        "role": grant.role,
        "scope": grant.scope.as_data(),
        "expires_at": grant.expires_at and grant.expires_at.isoformat(),
    }
