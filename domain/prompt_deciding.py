"""What deciding commands on prompts shares: find the prompt, commit to it, say which version."""

from typing import Any

from domain import access
from domain.commitment import CONTENT_MEDIA_TYPE, seal
from domain.content import PromptContent
from domain.deciding import Deciding
from domain.decision import Provenance
from domain.errors import ErasedError
from domain.interface import change_of
from domain.name import Name
from domain.names import check_prompt_name, name_id
from domain.prompt import Prompt
from domain.version import MAIN_BRANCH, Version


class PromptDeciding(Deciding):
    """A decision on prompts."""

    def _prompt(
        self, command: Any, permission: str, environment: str | None = None
    ) -> tuple[Prompt, Provenance]:
        name = check_prompt_name(command.name)
        resource = access.prompt_resource(command.project, name, environment)
        provenance = self._authorise(permission, resource)
        return self._named(command.project, name), provenance

    def _named(self, project: str, name: str) -> Prompt:
        claim = self._session.load(Name, name_id(project, name))
        prompt = self._session.load(Prompt, claim.prompt_id) if claim else None
        if prompt is None:
            raise access.not_found(access.prompt_resource(project, name))
        return prompt

    def _held(self, version: Version) -> PromptContent | None:
        """A version's content; None where it was erased."""
        held = self._session.content(version.content["commitment"])
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
    ) -> None:
        ref, row = seal(self._ids.salt(), content.canonical, CONTENT_MEDIA_TYPE)
        self._contents.append(row)
        change = None
        if branch == MAIN_BRANCH and prompt.versions:
            before = self._held(prompt.latest)
            after = PromptContent.stored(content.canonical)
            change = change_of(before.value if before else None, after.value)
        prompt.commit(
            content.type, ref, self._text(message, "/message"), self._now,
            change=change, branch=branch, merged=merged,
        )  # fmt: skip


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
