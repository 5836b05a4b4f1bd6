"""Commits over several prompts, decided: all or none, partials before what is composed of them."""

from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from typing import Any
from uuid import UUID

from domain import access, commands
from domain.composition import references_in
from domain.decision import Answer, Change, Decision, Provenance, changes_of
from domain.errors import (
    BranchNotFoundError,
    DomainError,
    Fault,
    InvalidError,
    StaleVersionError,
)
from domain.names import check_prompt_name
from domain.prompt_deciding import PromptDeciding, version_body
from domain.version import MAIN_BRANCH

COMMIT_ITEMS_MAX = 256


class CommitCommands(PromptDeciding):
    """One method per command."""

    def commit_many(self, command: commands.CommitMany) -> Decision:
        """Commit versions of several prompts; the refusal of one is the refusal of all."""
        _check_places(command.items)
        changes: list[Change] = []
        bodies: dict[int, dict[str, Any]] = {}
        first: Provenance | None = None
        prompts: set[UUID] = set()
        for index in _by_dependency(command.items):
            try:
                made, provenance, bodies[index] = self._commit_item(command, index)
                _check_once(made[-1].aggregate.id, prompts)
            except DomainError as error:
                raise _of_item(error, index, command.items[index]) from None
            changes += [Change(one.aggregate, one.events, provenance) for one in made]
            first = first or provenance
        if first is None:
            raise InvalidError("A commit has at least one item.")
        answer = Answer({"items": [bodies[index] for index in sorted(bodies)]}, made=True)
        return Decision(tuple(changes), tuple(self._contents), first, answer)

    def _commit_item(
        self, command: commands.CommitMany, index: int
    ) -> tuple[tuple[Change, ...], Provenance, dict[str, Any]]:
        item = command.items[index]
        name = check_prompt_name(item.name)
        message = command.message if item.message is None else item.message
        if item.create and self._find(item.project, name) is None:
            resource = access.prompt_resource(item.project, name)
            provenance = self._authorise(access.PROMPT_WRITE, resource)
            claim, prompt = self._create(item.project, name, None, ())
            _check_first(item)
            self._commit(prompt, item.content, message)
            body = version_body(prompt, prompt.latest, item.content.digest)
            return changes_of(claim, prompt), provenance, {**body, "changed": True}
        prompt, provenance = self._prompt(item, access.PROMPT_WRITE)
        same, body = self._commit_next(prompt, item, message)
        return changes_of(prompt), provenance, {**body, "changed": not same}


def _check_first(item: commands.CommitItem) -> None:
    """BranchNotFoundError, StaleVersionError: a new prompt has `main`, and no version yet."""
    if item.branch != MAIN_BRANCH:
        raise BranchNotFoundError(f"{item.name} is new, and has no branch {item.branch!r}.")
    if item.expected_version:
        raise StaleVersionError(
            f"{item.name} is new, and has no version {item.expected_version}.", current_version=0
        )


def _check_once(prompt_id: UUID, seen: set[UUID]) -> None:
    """InvalidError where a prompt is there by two of its names."""
    if prompt_id in seen:
        raise InvalidError("This prompt is there by another of its names already.")
    seen.add(prompt_id)


def _check_places(items: tuple[commands.CommitItem, ...]) -> None:
    """InvalidError where a prompt is there twice."""
    seen: set[tuple[str, str]] = set()
    for index, item in enumerate(items):
        if (item.project, item.name) in seen:
            at = f"/items/{index}"
            raise InvalidError(
                f"{at}: {item.project}/{item.name} is there twice; a commit has each prompt once.",
                [Fault(at, "repeated", "each prompt once")],
            )
        seen.add((item.project, item.name))


def _by_dependency(items: tuple[commands.CommitItem, ...]) -> Iterator[int]:
    """Indices, partials before what names them; in the order given where they name each other."""
    places = {(item.project, item.name): index for index, item in enumerate(items)}
    graph = {
        index: [
            places[item.project, reference.name]
            for reference in references_in(item.content.value)
            if (item.project, reference.name) in places
        ]
        for index, item in enumerate(items)
    }
    try:
        yield from tuple(TopologicalSorter(graph).static_order())
    except CycleError:
        yield from range(len(items))


def _of_item(error: DomainError, index: int, item: commands.CommitItem) -> DomainError:
    """A refusal that says which item it is about."""
    at = f"/items/{index}"
    faults = [Fault(at + fault.pointer, fault.code, fault.detail) for fault in error.faults]
    detail = f"{at} ({item.project}/{item.name}): {error.detail}"
    return type(error)(detail, faults or [Fault(at, error.code, error.detail)], **error.facts)
