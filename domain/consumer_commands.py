"""Commands on consumers, decided."""

from typing import Any

from domain import access, commands
from domain.consumer import VARIABLES_MAX, Consumer, Consumers, consumers_id
from domain.decision import Answer, Decision
from domain.errors import Fault, ForbiddenError, InvalidError, TooManyError
from domain.names import check_label
from domain.prompt import Prompt
from domain.prompt_deciding import PromptDeciding
from domain.semver import parse_range

OWN_MAX = 16


class ConsumerCommands(PromptDeciding):
    """One method per command."""

    def register_consumer(self, command: commands.RegisterConsumer) -> Decision:
        """Say how a service uses a prompt; only who registered it says otherwise."""
        prompt, provenance = self._prompt(command, access.CONSUMER_WRITE)
        name, label = check_label(command.consumer), check_label(command.label, reserved=True)
        if command.range is not None:
            parse_range(command.range)
        variables = command.variables
        if variables is not None:
            variables = tuple(sorted(set(variables)))
            if len(variables) > VARIABLES_MAX:
                detail = f"at most {VARIABLES_MAX}"
                raise InvalidError("Too many variables.", [Fault("/variables", "too_many", detail)])
        held = self._session.load(Consumers, consumers_id(prompt.id))
        consumers = held or Consumers.open(prompt.id, self._now)
        made = name not in consumers.consumers
        mine = [c for c in consumers.consumers.values() if c.by == self._caller.principal_id]
        if made and len(mine) >= OWN_MAX:
            raise TooManyError(f"You registered {OWN_MAX} consumers of this prompt already.")
        self._check_own(prompt, consumers, name)
        who = self._caller.principal_id
        consumers.register(Consumer(name, label, command.range, variables, who, self._now))
        body = consumer_body(prompt, consumers.consumers[name])
        return self._decision(provenance, Answer(body, made=made), consumers)

    def remove_consumer(self, command: commands.RemoveConsumer) -> Decision:
        """Say that a service does not use a prompt any more; NotFoundError."""
        prompt, provenance = self._prompt(command, access.CONSUMER_WRITE)
        name = check_label(command.consumer)
        consumers = self._session.load(Consumers, consumers_id(prompt.id))
        if consumers is None:
            consumers = Consumers.open(prompt.id, self._now)
        self._check_own(prompt, consumers, name)
        consumers.remove(name, self._text(command.reason, "/reason"), self._now)
        body = {"project": prompt.project, "name": prompt.name, "consumer": name}
        return self._decision(provenance, Answer(body), consumers)

    def _check_own(self, prompt: Prompt, consumers: Consumers, name: str) -> None:
        """ForbiddenError for a registration of somebody else's, but for who runs the project."""
        held = consumers.consumers.get(name)
        if held is None or held.by == self._caller.principal_id:
            return
        if not self._may(access.PROJECT_WRITE, access.project_resource(prompt.project)):
            raise ForbiddenError(
                f"Somebody else registered {name}: choose another name, or ask them or a project"
                " admin."
            )


def consumer_body(prompt: Prompt, consumer: Consumer) -> dict[str, Any]:
    """A consumer as it is answered."""
    return {
        "project": prompt.project,
        "name": prompt.name,
        "consumer": consumer.name,
        "label": consumer.label,
        "range": consumer.range,
        "variables": None if consumer.variables is None else list(consumer.variables),
        "registered_by": consumer.by,
        "registered_at": consumer.at.isoformat(),
    }
