"""What deciding commands on prompts shares: find the prompt, commit to it, say which version."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from domain import access
from domain.commands import CommitItem, CommitVersion
from domain.commitment import CONTENT_MEDIA_TYPE, seal
from domain.composition import (
    Composed,
    Lookup,
    Source,
    check_renderable,
    clashes,
    compose,
    references_in,
)
from domain.content import PromptContent
from domain.deciding import Deciding, moment_text
from domain.decision import Ids, Provenance, Session
from domain.errors import (
    ErasedError,
    LabelNotSetError,
    NameTakenError,
    PartialMismatchError,
    PartialNotFoundError,
    VersionNotFoundError,
)
from domain.interface import change_of
from domain.locales import chosen_locale, localised, merged_staleness, staleness
from domain.name import Name
from domain.names import LABEL_LATEST, check_prompt_name, check_tags, name_id
from domain.partials import Reference
from domain.prompt import Prompt
from domain.version import MAIN_BRANCH, Version


class PromptDeciding(Deciding):
    """A decision on prompts."""

    def __init__(self, session: Session, caller: access.Caller, now: datetime, ids: Ids) -> None:
        super().__init__(session, caller, now, ids)
        self._made: dict[tuple[str, str], Prompt] = {}

    def _prompt(
        self, command: Any, permission: str, environment: str | None = None
    ) -> tuple[Prompt, Provenance]:
        name = check_prompt_name(command.name)
        resource = access.prompt_resource(command.project, name, environment)
        provenance = self._authorise(permission, resource)
        prompt = self._named(command.project, name)
        if prompt.name != name:  # what counts is where it is now
            moved = access.prompt_resource(command.project, prompt.name, environment)
            if not self._may(access.PROMPT_READ, moved):
                raise access.not_found(resource)
            provenance = self._authorise(permission, moved)
        return prompt, provenance

    def _named(self, project: str, name: str) -> Prompt:
        prompt = self._find(project, name)
        if prompt is None:
            raise access.not_found(access.prompt_resource(project, name))
        return prompt

    def _find(self, project: str, name: str) -> Prompt | None:
        """The prompt of a name, also one that this decision makes."""
        if (project, name) in self._made:
            return self._made[project, name]
        claim = self._session.load(Name, name_id(project, name))
        return self._session.load(Prompt, claim.prompt_id) if claim else None

    def _create(
        self, project: str, name: str, description: str | None, tags: Iterable[str],
        origin: dict[str, Any] | None = None, *, draft: bool = False,
    ) -> tuple[Name, Prompt]:  # fmt: skip
        """A new prompt without a version yet, and the claim to its name; NameTakenError."""
        self._project(project)
        if self._find(project, name) is not None:
            raise NameTakenError(
                f"There is a prompt {project}/{name} already: commit a version to it."
            )
        prompt_id = self._ids.new_id()
        prompt = Prompt.create(
            prompt_id, project, name, self._text(description, "/description"),
            check_tags(list(tags)), self._now, origin,
            draft=draft,
        )  # fmt: skip
        self._made[project, name] = prompt
        return Name.claim(project, name, prompt_id, self._now), prompt

    def _held(self, version: Version) -> PromptContent | None:
        """A version's content; None where it was erased."""
        commitment = version.content["commitment"]
        pending = (one for one in self._contents if one.commitment == commitment)
        held = next(pending, None) or self._session.content(commitment)
        return PromptContent.stored(held.body) if held is not None else None

    def _stored(self, prompt: Prompt, version: Version) -> PromptContent:
        content = self._held(version)
        if content is None:
            raise ErasedError(
                f"The content of {prompt.project}/{prompt.name}@{version.number} was erased."
            )
        return content

    def _commit(
        self,
        prompt: Prompt,
        content: PromptContent,
        message: str | None,
        branch: str = MAIN_BRANCH,
        merged: int | None = None,
        copied: Version | None = None,
    ) -> None:
        """Add a version; `copied` is the one that a fork's first was."""
        partials = self._check_composition(prompt, content, branch)
        ref, row = seal(self._ids.salt(), content.canonical, CONTENT_MEDIA_TYPE)
        self._contents.append(row)
        after = PromptContent.stored(content.canonical).value
        head = prompt.head(branch) if prompt.versions else None
        before = self._value(head)
        change = None
        if branch == MAIN_BRANCH and head is not None:
            change = change_of(before, after)
        earlier = copied or head
        locales = staleness(self._value(earlier), earlier.locales if earlier else {}, after)
        if merged is not None:
            source = prompt.version_numbered(merged)
            theirs = self._value(source)
            taken = staleness(theirs, source.locales, after)
            locales = merged_staleness(locales, taken, theirs or {}, after)
        prompt.commit(
            content.type, ref, self._text(message, "/message"), self._now, change=change,
            branch=branch, merged=merged, partials=partials, locales=locales,
        )  # fmt: skip

    def _value(self, version: Version | None) -> dict[str, Any] | None:
        held = self._held(version) if version is not None else None
        return held.value if held is not None else None

    def _commit_next(
        self, prompt: Prompt, item: CommitVersion | CommitItem, message: str | None
    ) -> tuple[bool, dict[str, Any]]:
        """Commit to a branch; whether its head is the same already, and what to answer."""
        prompt.check_not_archived()
        prompt.check_expected(item.expected_version, item.branch)
        same = self._is_held(prompt.head(item.branch).content, item.content.canonical)
        if not same:
            self._commit(prompt, item.content, message, item.branch)
        return same, version_body(prompt, prompt.head(item.branch), item.content.digest)

    # Composition

    def _check_composition(
        self, prompt: Prompt, content: PromptContent, branch: str
    ) -> tuple[str, ...]:
        """What a new version names; CompositionError where it cannot be composed of that."""
        references = references_in(content.value)
        if not references:
            return ()
        number = len(prompt.versions) + 1
        root = Source(prompt.project, prompt.name, number, content.digest, content.value)
        own = {f"{prompt.name}@{LABEL_LATEST}": root} if branch == MAIN_BRANCH else {}
        composed = self._in_every_language(root, own, fresh=True)
        clashing = clashes(content.value, composed.parts)
        if clashing:
            raise PartialMismatchError(
                f"The prompt and its partials declare {', '.join(clashing)} with different types."
            )
        return tuple(map(str, references))

    def _check_moves(self, label: str, targets: Iterable[tuple[Prompt, int]]) -> None:
        """CompositionError where a label's new targets cannot be composed, all of them moved."""
        moving = [(prompt, prompt.version_numbered(number)) for prompt, number in targets]
        if not any(version.partials for _, version in moving):
            return
        about: dict[str, Source] = {}
        for prompt, version in moving:
            content = self._stored(prompt, version)
            place = (prompt.project, prompt.name, version.number)
            about[f"{prompt.name}@{label}"] = Source(*place, content.digest, content.value)
        for prompt, version in moving:
            if version.partials:
                self._in_every_language(about[f"{prompt.name}@{label}"], about)

    def _in_every_language(
        self, root: Source, known: Mapping[str, Source], *, fresh: bool = False
    ) -> Composed:
        """The root composed in its base language; CompositionError where any cannot be."""
        for locale in (*root.content.get("locales", {}), None):
            spoken = replace(root, content=localised(root.content, locale))
            about = {
                place: replace(source, content=localised(source.content, locale))
                for place, source in known.items()
            }
            lookup = self._lookup(root.project, about, locale=locale, fresh=fresh)
            composed = compose(spoken, lookup)
            check_renderable(composed)
        return composed

    def _lookup(
        self,
        project: str,
        known: Mapping[str, Source],
        *,
        locale: str | None = None,
        fresh: bool = False,
    ) -> Lookup:
        """What references mean now; `known` are those about to mean something else.

        Every stream looked at becomes a condition of the unit. `fresh`: archived prompts are not
        taken into new versions.
        """

        def find(reference: Reference) -> Source:
            part = self._find(project, reference.name)
            if part is not None and (about := f"{part.name}@{reference.at}") in known:
                return known[about]
            if part is None or not part.versions or not self._may_read(part):
                raise no_partial(reference, "there is no such prompt, or you may not read it")
            if fresh:
                part.check_not_archived()
            return self._source(part, reference, locale)

        return find

    def _may_read(self, prompt: Prompt) -> bool:
        resource = access.prompt_resource(prompt.project, prompt.name)
        return self._may(access.PROMPT_READ, resource)

    def _source(self, part: Prompt, reference: Reference, locale: str | None) -> Source:
        try:
            version = version_of(part, reference, self._now)
        except (LabelNotSetError, VersionNotFoundError) as error:
            raise no_partial(reference, error.detail) from None
        content = self._held(version)
        if content is None:
            raise no_partial(reference, "its content was erased")
        wanted = (locale,) if locale is not None else ()
        value = localised(content.value, chosen_locale(wanted, version.locales))
        return Source(part.project, part.name, version.number, content.digest, value)


def version_of(prompt: Prompt, reference: Reference, at: datetime | None) -> Version:
    """What a reference to a prompt means at a moment; LabelNotSetError, VersionNotFoundError."""
    if reference.number is not None:
        return prompt.version_numbered(reference.number)
    return prompt.target_of(reference.at, at)


def no_partial(reference: Reference, why: str) -> PartialNotFoundError:
    """The refusal of a reference that means nothing."""
    return PartialNotFoundError(f"The partial {reference}: {why}", partial=str(reference))


def deprecation_body(prompt: Prompt) -> dict[str, Any] | None:
    """What consumers of a deprecated prompt are told."""
    known = prompt.deprecation
    if known is None:
        return None
    return {
        "since": known.since.isoformat(),
        "sunset_at": moment_text(known.sunset_at),
        "successor": known.successor,
    }


def version_body(prompt: Prompt, version: Version, digest: str) -> dict[str, Any]:
    """What the committer is told of a version."""
    return {
        "ref": f"{prompt.project}/{prompt.name}@{version.number}",
        "project": prompt.project,
        "name": prompt.name,
        "version": version.number,
        "branch": version.branch,
        "semver": str(version.semver) if version.semver else None,
        "change": version.change,
        "digest": digest,
    }
