"""Commands on projects and their guardrails, decided."""

from typing import Any

from domain import access, commands
from domain.composition import Guardrail, Source, compose
from domain.decision import Answer, Decision
from domain.errors import Fault, InvalidError, NameTakenError
from domain.messages import ROLES
from domain.names import check_label, check_project_name, check_prompt_name, project_id
from domain.partials import Reference, parse_reference
from domain.project import Project
from domain.prompt_deciding import PromptDeciding
from domain.template import TemplateError

POSITIONS = ("prepend", "append")


class ProjectCommands(PromptDeciding):
    """One method per command."""

    def create_project(self, command: commands.CreateProject) -> Decision:
        """Make a project; NameTakenError where there is one of this name."""
        name = check_project_name(command.project)
        resource = access.project_resource(name)
        provenance = self._authorise(access.PROJECT_WRITE, resource, on=access.REGISTRY)
        if self._session.load(Project, project_id(name)) is not None:
            raise NameTakenError(
                f"There is a project {name} already: use it or choose another name."
            )
        description = self._text(command.description, "/description")
        project = Project.create(name, description, self._now)
        body = {"project": name, "environments": list(project.environments)}
        return self._decision(provenance, Answer(body, made=True), project)

    def set_guardrail(self, command: commands.SetGuardrail) -> Decision:
        """Compose a text prompt into every prompt of a project, or below a folder."""
        resource = access.project_resource(check_project_name(command.project))
        provenance = self._authorise(access.PROJECT_WRITE, resource)
        project = self._project(command.project)
        guardrail = _checked(command)
        self._try_guardrail(command.project, guardrail)
        made = guardrail.name not in project.guardrails
        project.set_guardrail(guardrail, self._now)
        return self._decision(provenance, Answer(guardrail_body(guardrail), made=made), project)

    def remove_guardrail(self, command: commands.RemoveGuardrail) -> Decision:
        """Compose a guardrail into nothing any more; NotFoundError."""
        resource = access.project_resource(check_project_name(command.project))
        provenance = self._authorise(access.PROJECT_WRITE, resource)
        project = self._project(command.project)
        reason = self._text(command.reason, "/reason")
        project.remove_guardrail(command.guardrail, reason, self._now)
        body = {"project": command.project, "guardrail": command.guardrail}
        return self._decision(provenance, Answer(body), project)

    def _try_guardrail(self, project: str, guardrail: Guardrail) -> None:
        """Compose it into an empty prompt: CompositionError where that cannot be."""
        empty = Source(project, "", 0, "", {"type": "text", "text": ""})
        compose(empty, self._lookup(project, {}), [guardrail])


def _checked(command: commands.SetGuardrail) -> Guardrail:
    faults = []
    if command.position not in POSITIONS:
        faults.append(Fault("/position", "unknown", f"must be one of {', '.join(POSITIONS)}"))
    if command.role not in ROLES:
        faults.append(Fault("/role", "unknown_role", f"must be one of {', '.join(ROLES)}"))
    reference: Reference | None = None
    try:
        reference = parse_reference(command.prompt)
    except TemplateError as error:
        faults.append(Fault("/prompt", "invalid_reference", str(error)))
    if faults or reference is None:
        raise InvalidError(f"{faults[0].pointer}: {faults[0].detail}.", faults)
    folder = None if command.folder is None else check_prompt_name(command.folder)
    position: Any = command.position
    return Guardrail(check_label(command.guardrail), folder, str(reference), position, command.role)


def guardrail_body(guardrail: Guardrail) -> dict[str, Any]:
    """A guardrail as it is answered."""
    return {
        "guardrail": guardrail.name,
        "folder": guardrail.folder,
        "prompt": guardrail.reference,
        "position": guardrail.position,
        "role": guardrail.role,
    }
