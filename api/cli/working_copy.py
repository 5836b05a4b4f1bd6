"""`scrinia pull`, `push`, `status`: a folder of files in step with a project, both ways.

The folder's `.scrinia/state.json` says which version each file came from, so that a newer one on
the server is never overwritten, nor an edit here.
"""

import json
from collections import Counter
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

import click

from api.cli.client import Client, ServerRefusedError, project_path, prompt_path
from api.cli.context import EXIT_PARTLY, EXIT_REFUSED, Cli, pass_cli
from api.cli.prompts import all_pages
from domain.commit_commands import COMMIT_ITEMS_MAX
from domain.errors import InvalidNameError
from domain.names import check_prompt_name
from plugins.importer import read_text
from plugins.prompt_file import PromptFile, read_prompt, write_prompt

SUFFIX = ".md"
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
        """The file of a prompt."""
        return self.folder / f"{check_prompt_name(name)}{SUFFIX}"

    def local(self) -> dict[str, str]:
        """Prompt name → SHA-256 of its file, of all files there are."""
        found: dict[str, str] = {}
        for file in sorted(self.folder.rglob(f"*{SUFFIX}")):
            relative = file.relative_to(self.folder)
            if not file.is_file() or file.is_symlink() or any(p[0] == "." for p in relative.parts):
                continue
            name = relative.as_posix().removesuffix(SUFFIX)
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
        moved = (remote["latest_version"], _about(remote)) != (known.version, known.about)
        if local is None:
            return "deleted"
        if local == known.file:
            return "behind" if moved else "same"
        return "conflict" if moved else "modified"


def _about(remote: dict[str, Any]) -> str:
    """What the server says of a prompt beside its content, to tell whether it changed."""
    return json.dumps([remote["description"], remote["tags"]])


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
    value = {"prompts": told, "done": done, "same": len(states) - len(told)}
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
        done = {}
        for name, state in states.items():
            if state in wanted and name in remote:
                await _fetch(client, copy, remote[name])
                done[name] = "pulled"
            elif state == "gone" and copy.local().get(name) == copy.known[name].file:
                copy.path(name).unlink()
                del copy.known[name]
                done[name] = "removed"
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
    copy.known[item["name"]] = Known(found["version"], written, _about(item))


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
        names = [name for name, state in states.items() if state in ("modified", "new")]
        files = {name: _read(copy, name) for name in names}
        done = await _commit(client, copy, files, message, declare)
        for name, file in files.items():
            await _describe(client, copy, name, file, remote.get(name))
        if not cli.dry_run:
            fresh = await _remote(client, copy.project)
            for name in names:
                written = sha256(copy.path(name).read_bytes()).hexdigest()
                known = Known(fresh[name]["latest_version"], written, _about(fresh[name]))
                copy.known[name] = known
            copy.save()
        return states, done

    states, done = cli.run(work)
    _say(cli, states, done)
    if "conflict" in states.values():
        click.secho("Not pushed: pull first, or see 'scrinia status'.", fg="red", err=True)
        raise SystemExit(EXIT_REFUSED)


def _read(copy: WorkingCopy, name: str) -> PromptFile:
    path = copy.path(name)
    try:
        return read_prompt(read_text(path))
    except ValueError as error:
        raise click.ClickException(f"{path}: {error}.") from None


async def _commit(
    client: Client, copy: WorkingCopy, files: dict[str, PromptFile], message: str, declare: bool
) -> dict[str, str]:
    """Commit in as few transactions as there may be items in one; what was made of each."""
    done: dict[str, str] = {}
    items = [_item(copy, name, file, declare) for name, file in files.items()]
    for start in range(0, len(items), COMMIT_ITEMS_MAX):
        body = {"items": items[start : start + COMMIT_ITEMS_MAX], "message": message}
        answer = await client.call("POST", "/v1/commits", body)
        for item in answer["items"]:
            done[item["name"]] = f"{item['semver']}" if item["changed"] else "described"
    return done


def _item(copy: WorkingCopy, name: str, file: PromptFile, declare: bool) -> dict[str, Any]:
    known = copy.known.get(name)
    return {
        "project": copy.project, "name": name, "content": file.content,
        "expected_version": known.version if known else None, "create": known is None,
        "declare_variables": declare,
    }  # fmt: skip


async def _describe(
    client: Client, copy: WorkingCopy, name: str, file: PromptFile, remote: dict[str, Any] | None
) -> None:
    was = (remote["description"], remote["tags"]) if remote else (None, [])
    about = {"description": file.description, "tags": sorted(set(file.tags))}
    if was != (about["description"], about["tags"]):
        try:
            await client.call("PATCH", f"{prompt_path(copy.project, name)}/-/metadata", about)
        except ServerRefusedError:
            if remote is not None:  # in a dry run a new prompt is not there
                raise


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
