"""Consumers of prompts, as commands."""

from dataclasses import dataclass


@dataclass(frozen=True)
class RegisterConsumer:
    """Say that a service reads a label of a prompt, in which range, with which variables."""

    project: str
    name: str
    consumer: str
    label: str
    range: str | None = None
    variables: tuple[str, ...] | None = None


@dataclass(frozen=True)
class RemoveConsumer:
    """Say that a service does not use a prompt any more."""

    project: str
    name: str
    consumer: str
    reason: str | None = None
