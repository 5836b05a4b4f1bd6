"""`scrinia pull`, `push`, `status`: a folder of files in step with a project, both ways.

The folder's `.scrinia/state.json` says which version each file came from, so that a newer one on
the server is never overwritten, nor an edit here.
"""

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

import click

from api.cli.client import Client, ServerRefusedError, all_pages, project_path, prompt_path
from api.cli.context import EXIT_PARTLY, EXIT_REFUSED, Cli, pass_cli
from domain.commit_commands import COMMIT_ITEMS_MAX
from domain.errors import InvalidNameError
from domain.names import check_prompt_name
from plugins.importer import read_text
from plugins.prompt_file import PromptFile, read_prompt, write_prompt

SUFFIX = ".md"
# A folder `a.md` would stand where the file of a prompt `a` does; no name ends in `_`.
FOLDER_MARK = "_"
STATE = Path(".scrinia") / "state.json"
State = Literal["same", "modified", "new", "deleted", "behind", "conflict", "missing", "gone"]
# Told apart for people: what each state is called for.
_MEANING = {
    "modified": "edited here", "new": "not on the server", "deleted": "deleted here",
    "behind": "newer on the server", "conflict": "edited here and newer on the server",
    "missing": "not here yet", "gone": "archived on the server",
}  # fmt: skip


@dataclass(frozen=True)
class Known:
    """What a file was when it was last in step: version, and SHA-256 of its bytes."""

    version: int
    file: str
    about: str


@dataclass
class WorkingCopy:
    """A folder and what is known of its files, by prompt name."""

    folder: Path
    project: str
    known: dict[str, Known] = field(default_factory=dict)

    @classmethod
    def at(cls, folder: Path, project: str | None) -> "WorkingCopy":
        """The folder's; ClickException where it is none, or of another project."""
        try:
            state = json.loads((folder / STATE).read_text())
            known = {name: Known(**one) for name, one in state["prompts"].items()}
        except FileNotFoundError:
            if project is None:
                raise click.ClickException(
                    f"{folder} is no working copy: scrinia pull PROJECT {folder}"
                ) from None
            return cls(folder, project)
        except (ValueError, KeyError, TypeError) as error:
            raise click.ClickException(f"{folder / STATE} cannot be read: {error}.") from None
        if project not in (None, state["project"]):
            raise click.ClickException(f"{folder} is a copy of {state['project']}, not {project}.")
        return cls(folder, state["project"], known)

    def save(self) -> None:
        """Write down what is known."""
        prompts = {name: asdict(one) for name, one in sorted(self.known.items())}
        _write(
            self.folder / STATE, json.dumps({"project": self.project, "prompts": prompts}, indent=1)
        )

    def path(self, name: str) -> Path:
        """The file of a prompt; ClickException where a link leads it out of the folder."""
        *folders, last = check_prompt_name(name).split("/")
        parts = [one + FOLDER_MARK if one.endswith(SUFFIX) else one for one in folders]
        path = self.folder.joinpath(*parts, last + SUFFIX)
        if not path.parent.resolve().is_relative_to(self.folder.resolve()):
            raise click.ClickException(f"{path.parent} leads out of {self.folder}: left alone.")
        return path

    def local(self) -> dict[str, str]:
        """Prompt name → SHA-256 of its file, of all files there are."""
        found: dict[str, str] = {}
        for file in sorted(self.folder.rglob(f"*{SUFFIX}")):
            relative = file.relative_to(self.folder)
            if not file.is_file() or file.is_symlink() or any(p[0] == "." for p in relative.parts):
                continue
            *folders, last = relative.as_posix().removesuffix(SUFFIX).split("/")
            parts = [one.removesuffix(FOLDER_MARK) for one in folders]
            name = "/".join([*parts, last])
            try:
                found[check_prompt_name(name)] = sha256(file.read_bytes()).hexdigest()
            except InvalidNameError:
                click.echo(f"{file}: no prompt's name, left alone", err=True)
        return found

    def states(self, remote: dict[str, dict[str, Any]]) -> dict[str, State]:
        """How each prompt stands, here and on the server."""
        local = self.local()
        names = sorted(local.keys() | remote.keys() | self.known.keys())
        return {name: self._state(local.get(name), remote.get(name), name) for name in names}

    def _state(self, local: str | None, remote: dict[str, Any] | None, name: str) -> State:
        known = self.known.get(name)
        if known is None:
            if local is None:
                return "missing"
            return "new" if remote is None else "conflict"
        if remote is None:
            return "gone"
        moved = (remote["latest_version"], _about_remote(remote)) != (known.version, known.about)
        if local is None:
            return "deleted"
        if local == known.file:
            return "behind" if moved else "same"
        return "conflict" if moved else "modified"


def _about(description: str | None, tags: Iterable[str]) -> str:
    """What a prompt is said to be beside its content, to tell whether it changed."""
    return json.dumps([description or None, sorted(set(tags))])


def _about_remote(remote: dict[str, Any]) -> str:
    return _about(remote["description"], remote["tags"])


def _write(path: Path, text: str) -> str:
    """Write a file whole or not at all; its SHA-256."""
    path.parent.mkdir(parents=True, exist_ok=True)
    raw = text.encode()
    side = path.with_name(f".{path.name}.new")
    side.write_bytes(raw)
    side.replace(path)
    return sha256(raw).hexdigest()


async def _remote(client: Client, project: str) -> dict[str, dict[str, Any]]:
    items = await all_pages(client, f"{project_path(project)}/prompts", [])
    return {item["name"]: item for item in items}


def _say(cli: Cli, states: dict[str, State], done: dict[str, str]) -> None:
    """What is not in step and what was done about it."""
    told = {name: state for name, state in states.items() if state != "same"}
    brought = 0 if cli.dry_run else sum(what != "removed" for what in done.values())
    value = {"prompts": told, "done": done, "same": len(states) - len(told) + brought}
    lines = [f"{state:9} {name} ({_MEANING[state]})" for name, state in told.items()
             if name not in done]  # fmt: skip
    lines += [f"{what:9} {name}" for name, what in done.items()]
    cli.output.say(value, "\n".join([*lines, f"{value['same']} in step"]))


# Commands


@click.command()
@click.argument("project")
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@click.option("--force", is_flag=True, help="Overwrite edits here, restore what was deleted here.")
@pass_cli
def pull(cli: Cli, project: str, folder: Path, force: bool) -> None:
    """Bring FOLDER up to the newest versions of PROJECT's prompts; edits here stay."""
    copy = WorkingCopy.at(folder, project)

    async def work(client: Client) -> tuple[dict[str, State], dict[str, str]]:
        remote = await _remote(client, project)
        states = copy.states(remote)
        wanted = ("missing", "behind", *(("conflict", "modified", "deleted") if force else ()))
        local, done = copy.local(), {}
        try:
            for name, state in states.items():
                if state in wanted and name in remote:
                    await _fetch(client, copy, remote[name])
                    done[name] = "pulled"
                elif state == "gone" and local.get(name) == copy.known[name].file:
                    copy.path(name).unlink()
                    del copy.known[name]
                    done[name] = "removed"
        finally:
            copy.save()
        return states, done

    states, done = cli.run(work)
    _say(cli, states, done)
    if any(state == "conflict" and name not in done for name, state in states.items()):
        raise SystemExit(EXIT_PARTLY)


async def _fetch(client: Client, copy: WorkingCopy, item: dict[str, Any]) -> None:
    params = {"label": "latest", "raw": "true"}
    found = await client.call("GET", prompt_path(copy.project, item["name"]), params=params)
    file = PromptFile(found["content"], item["description"], tuple(item["tags"]))
    written = _write(copy.path(item["name"]), write_prompt(file))
    copy.known[item["name"]] = Known(found["version"], written, _about_remote(item))


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--message", "-m", default="Pushed", help="Why.")
@click.option("--declare", is_flag=True, help="Declare variables that texts use and files do not.")
@pass_cli
def push(cli: Cli, folder: Path, message: str, declare: bool) -> None:
    """Commit what was edited in FOLDER, in one transaction; refuses where the server is newer."""
    copy = WorkingCopy.at(folder, None)

    async def work(client: Client) -> tuple[dict[str, State], dict[str, str]]:
        remote = await _remote(client, copy.project)
        states = copy.states(remote)
        if any(state == "conflict" for state in states.values()):
            return states, {}
        edited = [
            _Edited.read(copy, name) for name, one in states.items() if one in ("modified", "new")
        ]
        pushing = _Pushing(client, copy, cli.dry_run, remote)
        for start in range(0, len(edited), COMMIT_ITEMS_MAX):
            await pushing.push(edited[start : start + COMMIT_ITEMS_MAX], message, declare)
        return states, pushing.done

    states, done = cli.run(work)
    _say(cli, states, done)
    if "conflict" in states.values():
        click.secho("Not pushed: pull first, or see 'scrinia status'.", fg="red", err=True)
        raise SystemExit(EXIT_REFUSED)


@dataclass(frozen=True)
class _Edited:
    """A file as it was read once: what is pushed of it is what is known of it afterwards."""

    name: str
    file: PromptFile
    digest: str

    @classmethod
    def read(cls, copy: WorkingCopy, name: str) -> "_Edited":
        """The file of a prompt; ClickException where it is none."""
        path = copy.path(name)
        try:
            text = read_text(path)
            return cls(name, read_prompt(text), sha256(text.encode()).hexdigest())
        except ValueError as error:
            raise click.ClickException(f"{path}: {error}.") from None


@dataclass
class _Pushing:
    """A push under way: what was made of each prompt; written down as it goes."""

    client: Client
    copy: WorkingCopy
    dry_run: bool
    remote: dict[str, dict[str, Any]]
    done: dict[str, str] = field(default_factory=dict)

    async def push(self, edited: list[_Edited], message: str, declare: bool) -> None:
        """Commit what fits one transaction, and describe it."""
        items = [self._item(one, declare) for one in edited]
        if not items:
            return
        answer = await self.client.call("POST", "/v1/commits", {"items": items, "message": message})
        versions = {item["name"]: item for item in answer["items"]}
        try:
            for one in edited:
                item, about = versions[one.name], self._about_before(one.name)
                self.done[one.name] = f"{item['semver']}" if item["changed"] else "described"
                # Not in step before it is described, too.
                self.copy.known[one.name] = Known(item["version"], "", about)
            for one in edited:
                await self._describe(one)
        finally:
            if not self.dry_run:
                self.copy.save()

    def _item(self, one: _Edited, declare: bool) -> dict[str, Any]:
        known = self.copy.known.get(one.name)
        return {
            "project": self.copy.project, "name": one.name, "content": one.file.content,
            "expected_version": known.version if known else 0, "create": known is None,
            "declare_variables": declare,
        }  # fmt: skip

    def _about_before(self, name: str) -> str:
        return _about_remote(self.remote[name]) if name in self.remote else _about(None, ())

    async def _describe(self, one: _Edited) -> None:
        about = _about(one.file.description, one.file.tags)
        if about != self._about_before(one.name):
            await self._patch(one)
        self.copy.known[one.name] = replace(self.copy.known[one.name], file=one.digest, about=about)

    async def _patch(self, one: _Edited) -> None:
        body = {"description": one.file.description, "tags": sorted(set(one.file.tags))}
        path = f"{prompt_path(self.copy.project, one.name)}/-/metadata"
        try:
            await self.client.call("PATCH", path, body)
        except ServerRefusedError:
            if not self.dry_run or one.name in self.remote:
                raise  # else it is not there to be described


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--check", is_flag=True, help="Exit with 1 where anything is not in step.")
@pass_cli
def status(cli: Cli, folder: Path, check: bool) -> None:
    """Show what is not in step between FOLDER and the server."""
    copy = WorkingCopy.at(folder, None)

    async def work(client: Client) -> dict[str, State]:
        return copy.states(await _remote(client, copy.project))

    states = cli.run(work)
    _say(cli, states, {})
    if check and Counter(states.values()).keys() - {"same"}:
        raise SystemExit(EXIT_REFUSED)
