"""Commands on environments, their rules, and who owns folders, decided."""

from collections.abc import Iterable
from typing import Any

from domain import access, commands
from domain.access import ENVIRONMENT_PROMOTE, ROLES_BY_PERMISSION, Resource
from domain.deciding import Deciding, check_match
from domain.decision import Answer, Decision
from domain.environment import Rules, read_rules
from domain.errors import Fault, InvalidError
from domain.names import check_label, check_prompt_name
from domain.principal import Principal
from domain.project import FOLDER_OWNERS_MAX, Project
from domain.role import Role, role_id


class EnvironmentCommands(Deciding):
    """One method per command."""

    def set_environment(self, command: commands.SetEnvironment) -> Decision:
        """Have an environment with these rules; nothing happens where it is so already."""
        label = check_label(command.environment)
        provenance = self._authorise(access.PROJECT_WRITE, _resource(command.project, label))
        project = self._project(command.project)
        check_match(command.if_match, project.rules_changed.get(label, 0))
        rules = self._checked_rules(command.rules, project, label)
        order = [one for one in project.environments if one != label]
        made = len(order) == len(project.environments)
        place = project.environments.index(label) if not made else len(order)
        if command.order is not None:
            place = max(0, min(command.order - 1, len(order)))
        order.insert(place, label)
        reason = self._text(command.reason, "/reason")
        project.set_environment(label, order, rules, reason, self._now)
        body = environment_body(project, label)
        return self._decision(provenance, Answer(body, made=made), project)

    def remove_environment(self, command: commands.RemoveEnvironment) -> Decision:
        """Let an environment be a label like any other; it stays where it points."""
        label = check_label(command.environment)
        provenance = self._authorise(access.PROJECT_WRITE, _resource(command.project, label))
        project = self._project(command.project)
        check_match(command.if_match, project.rules_changed.get(label, 0))
        project.remove_environment(label, self._text(command.reason, "/reason"), self._now)
        body = {"project": project.name, "environment": label}
        return self._decision(provenance, Answer(body), project)

    def set_owners(self, command: commands.SetOwners) -> Decision:
        """Let a folder be owned by these principals; nothing happens where it is already."""
        provenance = self._authorise(access.PROJECT_WRITE, access.project_resource(command.project))
        project = self._project(command.project)
        folder = None if command.folder is None else check_prompt_name(command.folder)
        owners = list(dict.fromkeys(str(owner) for owner in command.owners))
        faults = [
            Fault(f"/owners/{index}", "unknown_principal", f"{owner} is no active principal")
            for index, owner in enumerate(command.owners)
            if (known := self._session.load(Principal, owner)) is None or known.gone
        ]
        if len(owners) > FOLDER_OWNERS_MAX:
            faults.append(Fault("/owners", "too_many", f"at most {FOLDER_OWNERS_MAX}"))
        if faults:
            raise InvalidError(f"{faults[0].pointer}: {faults[0].detail}.", faults)
        project.set_owners(folder, owners, self._text(command.reason, "/reason"), self._now)
        body = {"project": project.name, "folder": folder, "owners": owners}
        return self._decision(provenance, Answer(body), project)

    def _checked_rules(self, data: dict[str, Any], project: Project, label: str) -> Rules:
        """Rules whose environments and roles there are; InvalidError lists the faults."""
        faults: list[Fault] = []
        rules = read_rules(data, faults)
        origin = rules.from_environment
        if origin is not None and (origin == label or origin not in project.environments):
            others = ", ".join(one for one in project.environments if one != label)
            detail = f"must be another environment of the project: {others}"
            faults.append(Fault("/from_environment", "unknown_environment", detail))
        elif origin is not None and label in _before(project, origin):
            detail = f"{origin} takes versions from {label} already"
            faults.append(Fault("/from_environment", "cycle", detail))
        self._check_roles(rules.promoter_roles, ENVIRONMENT_PROMOTE, "/promoter_roles", faults)
        self._check_roles(rules.approvals.roles, access.CHANGE_REVIEW, "/approvals/roles", faults)
        if faults:
            raise InvalidError(f"{faults[0].pointer}: {faults[0].detail}.", faults)
        return rules

    def _check_roles(
        self, roles: Iterable[str], permission: str, pointer: str, faults: list[Fault]
    ) -> None:
        for role in roles:
            able = role in ROLES_BY_PERMISSION[permission]
            if role not in access.ROLES:
                custom = self._session.load(Role, role_id(role))
                able = custom is not None and permission in custom.permissions
            if not able:
                built_in = ", ".join(sorted(ROLES_BY_PERMISSION[permission]))
                detail = f"must permit {permission}, as {built_in} do; {role} does not"
                faults.append(Fault(pointer, "unknown_role", detail))


def _resource(project: str, environment: str) -> Resource:
    return access.Scope(project, None, environment).resource


def _before(project: Project, environment: str) -> list[str]:
    """The environments that versions pass before they are in this one, by the rules."""
    passed = [environment]
    while (origin := project.rules_of(passed[-1]).from_environment) and origin not in passed:
        passed.append(origin)
    return passed


def environment_body(project: Project, label: str) -> dict[str, Any]:
    """An environment as it is answered; `order` counts from 1."""
    return {
        "project": project.name,
        "environment": label,
        "order": project.environments.index(label) + 1,
        **project.rules_of(label).as_data(),
    }
