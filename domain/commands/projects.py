"""Projects and guardrails, as commands."""

from dataclasses import dataclass


@dataclass(frozen=True)
class CreateProject:
    """Make a project with the default environments."""

    project: str
    description: str | None = None


@dataclass(frozen=True)
class SetGuardrail:
    """Compose a prompt's text into every prompt of a project, or below a folder."""

    project: str
    guardrail: str
    prompt: str
    folder: str | None = None
    position: str = "prepend"
    role: str = "system"


@dataclass(frozen=True)
class RemoveGuardrail:
    """Compose a guardrail into nothing any more."""

    project: str
    guardrail: str
    reason: str | None = None
