"""`scrinia import`: parse here, command there. A second run of the same input changes nothing."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import click

from api.cli.client import Client, ServerRefusedError, project_path, prompt_path
from api.cli.context import EXIT_PARTLY, Cli, pass_cli
from domain.errors import InvalidNameError
from domain.names import check_label
from plugins.importer import Found, ImportedPrompt, SkippedFile, UnreadableFile, choose

PARALLEL_PROMPTS = 8


@dataclass
class Report:
    """What an import came to."""

    format: str
    imported: list[dict[str, Any]] = field(default_factory=list)
    skipped: list[dict[str, str]] = field(default_factory=list)
    failed: list[dict[str, str]] = field(default_factory=list)

    def summary(self) -> str:
        """The report for people."""
        states = Counter(one["state"] for one in self.imported)
        formats = Counter(one["template_format"] for one in self.imported)
        lines = [
            f"{len(self.imported)} prompts read as {self.format}: "
            + ", ".join(f"{number} {state}" for state, number in sorted(states.items())),
            "template_format: " + ", ".join(f"{n} {name}" for name, n in sorted(formats.items())),
            f"{len(self.skipped)} files skipped{self._reasons()}, {len(self.failed)} failed",
        ]
        verbatim = [one["name"] for one in self.imported if one["template_format"] == "none"]
        if verbatim:
            lines.append(f"  kept verbatim (none): {', '.join(verbatim)}")
        lines += [f"  {one['source']}: {one['reason']}" for one in self.failed]
        return "\n".join(lines)

    def _reasons(self) -> str:
        reasons = Counter(one["reason"] for one in self.skipped)
        told = ", ".join(f"{number} {reason}" for reason, number in reasons.most_common())
        return f" ({told}; --show-skipped lists them)" if told else ""


@click.command("import")
@click.argument("path", type=click.Path(exists=True, path_type=Path))
@click.option("--project", required=True, help="Into which project; made if it is not there.")
@click.option("--format", "format_name", default="auto", help="An importer, or auto.")
@click.option("--label", help="Point this label at each imported version.")
@click.option("--message", "-m", default="Imported", help="The versions' message.")
@click.option("--show-skipped", is_flag=True, help="List skipped files and template formats.")
@pass_cli
def import_command(
    cli: Cli,
    path: Path,
    project: str,
    format_name: str,
    label: str | None,
    message: str,
    show_skipped: bool,
) -> None:
    """Import prompts from PATH (a file or folder)."""
    if label is not None:
        try:
            check_label(label)
        except InvalidNameError as error:
            raise click.BadParameter(error.detail, param_hint="--label") from None
    importer = choose(path, format_name)
    report = Report(importer.name)
    prompts = _sort(importer.read(path), report)
    with cli.output.progress("importing") as progress:
        work = _Import(project, label, message, report, progress)
        cli.run(lambda client: work.run(client, prompts))
    text = report.summary()
    if show_skipped:
        text += "".join(f"\n  skipped {s['source']}: {s['reason']}" for s in report.skipped)
        text += "".join(f"\n  {i['name']}: {i['template_format']}" for i in report.imported)
    cli.output.say(asdict(report), text)
    if report.failed:
        raise SystemExit(EXIT_PARTLY)


def _sort(found: Iterable[Found], report: Report) -> list[ImportedPrompt]:
    prompts: dict[str, ImportedPrompt] = {}
    for one in found:
        match one:
            case SkippedFile(source, reason):
                report.skipped.append({"source": source, "reason": reason})
            case UnreadableFile(source, reason):
                report.failed.append({"source": source, "reason": reason})
            case ImportedPrompt() if one.name in prompts:
                reason = f"has the same name as {prompts[one.name].source}"
                report.failed.append({"source": one.source, "reason": reason})
            case ImportedPrompt():
                prompts[one.name] = one
    return list(prompts.values())


class _Import:
    """One import under way."""

    def __init__(
        self,
        project: str,
        label: str | None,
        message: str,
        report: Report,
        progress: Callable[[int, int], None],
    ) -> None:
        self._project = project
        self._label = label
        self._message = message
        self._report = report
        self._progress = progress
        self._slots = asyncio.Semaphore(PARALLEL_PROMPTS)

    async def run(self, client: Client, prompts: list[ImportedPrompt]) -> None:
        """Send every prompt as ordinary commands; a refused one stops no other."""
        await self._ensure_project(client)
        tasks = [asyncio.create_task(self._one(client, prompt)) for prompt in prompts]
        for done, task in enumerate(asyncio.as_completed(tasks), 1):
            await task
            self._progress(done, len(tasks))
        self._report.imported.sort(key=lambda one: str(one["name"]))

    async def _ensure_project(self, client: Client) -> None:
        try:
            await client.call("GET", project_path(self._project))
        except ServerRefusedError as refusal:
            if refusal.code != "not_found":
                raise
            await client.call("POST", "/v1/projects", {"project": self._project})

    async def _one(self, client: Client, prompt: ImportedPrompt) -> None:
        state = "not committed"
        async with self._slots:
            try:
                state, version = await self._commit(client, prompt)
                if self._label is not None:
                    path = f"{prompt_path(self._project, prompt.name)}/-/labels/{self._label}"
                    await client.call("PUT", path, {"version": version, "reason": self._message})
            except ServerRefusedError as refusal:
                reason = f"{refusal.code}: {refusal} ({state})"
                self._report.failed.append({"source": prompt.source, "reason": reason})
                return
            except TypeError as error:
                self._report.failed.append({"source": prompt.source, "reason": str(error)})
                return
        self._report.imported.append(
            {
                "name": prompt.name,
                "version": version,
                "state": state,
                "template_format": prompt.content.get("template_format", "mustache"),
                "variables": sorted(prompt.content.get("variables", {})),
                "notes": list(prompt.notes),
            }
        )

    async def _commit(self, client: Client, prompt: ImportedPrompt) -> tuple[str, int]:
        body = {"content": prompt.content, "message": self._message}
        path = prompt_path(self._project, prompt.name)
        about = {
            name: value
            for name, value in (("description", prompt.description), ("tags", prompt.tags))
            if value is not None
        }
        try:
            answer = await client.call("POST", f"{path}/-/versions", body)
        except ServerRefusedError as refusal:
            if refusal.code != "not_found":
                raise
            made = {"name": prompt.name, **body, **about}
            answer = await client.call("POST", f"{project_path(self._project)}/prompts", made)
            return "created", answer["version"]
        if about:
            await client.call("PATCH", f"{path}/-/metadata", about)
        return ("committed" if answer["changed"] else "unchanged"), answer["version"]
