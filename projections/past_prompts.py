"""What a prompt was composed of at a past position."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from domain.composition import Source
from domain.errors import DomainError
from domain.locales import chosen_locale
from domain.name import Name
from domain.names import name_id, project_id
from domain.partials import Reference
from domain.project import Project
from domain.prompt import Prompt
from domain.prompt_deciding import no_partial, version_of
from domain.version import Version
from ledger.repository import Repository
from projections.composing import (
    Assembled,
    assemble,
    authored,
    decisive_position,
    part_of,
    source_of,
)
from projections.history import History, check_erased, fold_history
from projections.projects import KnownProject


@dataclass
class Past:
    """Prompts as of a position, and where it was asked by time, as of that (labels expire)."""

    repository: Repository
    position: int
    moment: datetime | None = None

    def assembled(
        self, history: History, version: Version, raw: bool, languages: Sequence[str]
    ) -> Assembled:
        """A version composed of what its references meant then; `raw`: as authored."""
        prompt = history.prompt
        body = self._body(prompt, version)
        if raw:
            return authored(body)
        known = self._project(prompt.project)
        guardrails, changed = known.covering(prompt.name, prompt.former)
        decisive = [changed]
        locale = chosen_locale(languages, version.locales)

        def find(reference: Reference) -> Source:
            part = self._history(prompt.project, reference)
            try:
                meant = version_of(part.prompt, reference, self.moment)
                decisive.append(decisive_position(part, reference, meant))
                return part_of(part, meant, self._body(part.prompt, meant), locale)
            except DomainError as error:
                raise no_partial(reference, error.detail) from None

        made = assemble(source_of(history, version, body, locale), find, guardrails, locale)
        return replace(made, position=max(decisive))

    def _history(self, project: str, reference: Reference) -> History:
        until = self.position
        claim = self.repository.load(Name, name_id(project, reference.name), until_position=until)
        if claim.aggregate is None:
            raise no_partial(reference, "there was no such prompt then")
        events = self.repository.history(Prompt, claim.aggregate.prompt_id, until_position=until)
        return fold_history(events, (project, reference.name))

    def _project(self, project: str) -> KnownProject:
        known, until = KnownProject(), self.position
        for recorded in self.repository.history(Project, project_id(project), until_position=until):
            known.take(recorded)
        return known

    def _body(self, prompt: Prompt, version: Version) -> bytes:
        found = self.repository.content(version.content["commitment"])
        return check_erased(prompt, version, found.body if found else None)
