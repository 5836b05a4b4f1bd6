"""Commands on versions: commit, branch, merge, fork, decided."""

from datetime import datetime
from typing import Any

from domain import access, commands
from domain.content import PromptContent
from domain.decision import Answer, Decision
from domain.errors import (
    InvalidContentError,
    InvalidNameError,
    MergeConflictError,
    StaleVersionError,
)
from domain.merge import merge_contents
from domain.names import check_branch, check_prompt_name
from domain.prompt import Prompt
from domain.prompt_deciding import PromptDeciding, version_body
from domain.version import MAIN_BRANCH, Version, ancestors, merge_base


class VersionCommands(PromptDeciding):
    """One method per command."""

    def commit_version(self, command: commands.CommitVersion) -> Decision:
        """Commit the next version of a branch; nothing happens where its head is the same."""
        prompt, provenance = self._prompt(command, access.PROMPT_WRITE)
        same, body = self._commit_next(prompt, command, command.message)
        return self._decision(provenance, Answer(body, made=not same), prompt)

    # Branches

    def create_branch(self, command: commands.CreateBranch) -> Decision:
        """Begin a branch at a version (default: the head of `main`)."""
        prompt, provenance = self._prompt(command, access.PROMPT_WRITE)
        branch = check_branch(command.branch)
        number = command.version if command.version is not None else prompt.latest.number
        made = prompt.create_branch(branch, number, self._now)
        return self._decision(provenance, Answer(_branch_body(prompt, branch), made=made), prompt)

    def delete_branch(self, command: commands.DeleteBranch) -> Decision:
        """End a branch; its versions stay."""
        prompt, provenance = self._prompt(command, access.PROMPT_WRITE)
        if command.branch == MAIN_BRANCH:
            raise InvalidNameError("'main' cannot be deleted: archive the prompt instead.")
        body = _branch_body(prompt, command.branch)
        prompt.delete_branch(command.branch, self._now)
        return self._decision(provenance, Answer(body), prompt)

    def merge_branch(self, command: commands.MergeBranch) -> Decision:
        """Merge a branch's head into another branch; MergeConflictError carries the conflicts."""
        prompt, provenance = self._prompt(command, access.PROMPT_WRITE)
        prompt.check_not_archived()
        target, source = prompt.head(command.target), prompt.head(command.source)
        prompt.check_expected(command.expected_version, command.target)
        _check_source(source, command)
        if source.number in ancestors(prompt.versions, target.number):
            content = self._stored(prompt, target)
            return self._decision(
                provenance, Answer(version_body(prompt, target, content.digest)), prompt
            )
        content = command.content or self._merged(prompt, target, source, command)
        self._commit(prompt, content, command.message, command.target, source.number)
        body = version_body(prompt, prompt.head(command.target), content.digest)
        return self._decision(provenance, Answer(body, made=True), prompt)

    def _merged(
        self, prompt: Prompt, target: Version, source: Version, command: commands.MergeBranch
    ) -> PromptContent:
        base = prompt.versions[merge_base(prompt.versions, target.number, source.number) - 1]
        before, ours, theirs = (self._stored(prompt, one).value for one in (base, target, source))
        merged = merge_contents(before, ours, theirs, command.resolutions)
        if merged.conflicts:
            raise MergeConflictError(
                f"{command.source} and {command.target} changed the same in"
                f" {len(merged.conflicts)} place(s): settle each in 'resolutions', or send the"
                " merged 'content', with 'expected_version' and 'source_version'.",
                conflicts=[conflict.as_data() for conflict in merged.conflicts],
                base_version=base.number,
                target_version=target.number,
                source_version=source.number,
            )
        try:
            return PromptContent.parse(merged.content)
        except InvalidContentError as error:
            raise InvalidContentError(
                f"Merged, the content is not valid: {error.detail} Send the merged 'content'.",
                error.faults,
            ) from None

    # Forks

    def fork_prompt(self, command: commands.ForkPrompt) -> Decision:
        """Make a prompt out of a version of another, with its origin recorded."""
        origin, _ = self._prompt(command, access.PROMPT_READ)
        name = check_prompt_name(command.to_name)
        resource = access.prompt_resource(command.to_project, name)
        provenance = self._authorise(access.PROMPT_WRITE, resource)
        version = _chosen(origin, command, self._now)
        content = self._stored(origin, version)
        claim, prompt = self._create(
            command.to_project, name, command.description, command.tags, _origin(origin, version)
        )
        self._commit(prompt, content, command.message, copied=version)
        body = version_body(prompt, prompt.latest, content.digest)
        body["origin"] = f"{origin.project}/{origin.name}@{version.number}"
        return self._decision(provenance, Answer(body, made=True), prompt, claim)


def _check_source(source: Version, command: commands.MergeBranch) -> None:
    if command.source_version is not None and command.source_version != source.number:
        raise StaleVersionError(
            f"The newest version of {command.source} is {source.number}, not"
            f" {command.source_version}: look at the merge again.",
            current_version=source.number,
        )


def _chosen(origin: Prompt, command: commands.ForkPrompt, at: datetime) -> Version:
    if command.version is not None:
        return origin.version_numbered(command.version)
    return origin.target_of(command.label, at) if command.label is not None else origin.latest


def _origin(prompt: Prompt, version: Version) -> dict[str, Any]:
    return {
        "project": prompt.project,
        "name": prompt.name,
        "prompt_id": str(prompt.id),
        "version": version.number,
        "commitment": version.content["commitment"],
    }


def _branch_body(prompt: Prompt, branch: str) -> dict[str, Any]:
    return {
        "project": prompt.project,
        "name": prompt.name,
        "branch": branch,
        "version": prompt.head(branch).number,
    }
