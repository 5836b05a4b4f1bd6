"""`scrinia prompt`."""

import json
import sys
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

import click

from api.cli.client import (
    ServerRefusedError,
    UnreachableError,
    all_pages,
    project_path,
    prompt_path,
)
from api.cli.context import PROMPT, STATUSES, Cli, pass_cli, selector
from api.cli.lazy import LazyGroup
from api.cli.output import person
from domain.rendering import FORMATS
from domain.semantic_diff import summary

Ref = tuple[str, str, str | None]


_LATER = {
    "search": "searching.search",
    "similar": "searching.similar",
    "fork": "branches.fork",
    "used-by": "composing.used_by",
    "impact": "composing.impact",
}


@click.group(cls=LazyGroup, later=_LATER)
def prompt() -> None:
    """Prompts: PROJECT/NAME, with @3 or @production for one version."""


def version_of(cli: Cli, ref: Ref) -> int | None:
    """The number of what a reference means now; None where it names no version."""
    if ref[2] is None:
        return None
    found = cli.call("GET", prompt_path(*ref[:2]), params=selector(ref[2]))
    return int(found["version"])


def chosen_version(cli: Cli, ref: Ref) -> int:
    """The number of what a reference means now, of the newest version where it names none."""
    return version_of(cli, (*ref[:2], ref[2] or "latest")) or 0


declare_option = click.option(
    "--declare", is_flag=True, help="Declare variables that the texts use and FILE does not."
)


def content_of(source: str, declare: bool) -> dict[str, Any]:
    """A content from a file (or -): JSON where it is an object with a type, else a text.

    A text can declare nothing itself, so what it uses is declared.
    """
    raw = sys.stdin.buffer.read() if source == "-" else Path(source).read_bytes()
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        raise click.BadParameter(f"{source} is not UTF-8 at byte {error.start}.") from None
    try:
        value = json.loads(text)
    except json.JSONDecodeError:
        value = None
    if isinstance(value, dict) and "type" in value:
        return {"content": value, "declare_variables": declare}
    return {"content": {"type": "text", "text": text}, "declare_variables": True}


@prompt.command("create")
@click.argument("ref", type=PROMPT)
@click.argument("file", type=click.Path(exists=True, allow_dash=True))
@click.option("--message", "-m", help="Why.")
@click.option("--description", help="What it is for.")
@click.option("--tag", "tags", multiple=True, help="A tag; repeat for more.")
@click.option("--draft", is_flag=True, help="Not to be promoted yet.")
@declare_option
@pass_cli
def create(
    cli: Cli,
    ref: Ref,
    file: str,
    message: str | None,
    description: str | None,
    tags: tuple[str, ...],
    draft: bool,
    declare: bool,
) -> None:
    """Make a prompt from FILE (text, or a content as JSON; - reads standard input)."""
    project, name, _ = ref
    body = {
        "name": name,
        **content_of(file, declare),
        "message": message,
        "description": description,
        "tags": list(tags),
        "draft": draft,
        "report_similar": True,
    }
    answer = cli.call("POST", f"{project_path(project)}/prompts", body)
    cli.output.say(answer, f"{answer['ref']} {answer['digest']}")
    _warn_of_similar(cli, answer)


@prompt.command("commit")
@click.argument("ref", type=PROMPT)
@click.argument("file", type=click.Path(exists=True, allow_dash=True))
@click.option("--message", "-m", help="Why.")
@click.option("--expected-version", type=int, help="Only on top of this version.")
@click.option("--branch", default="main", help="On which branch.")
@declare_option
@pass_cli
def commit(
    cli: Cli,
    ref: Ref,
    file: str,
    message: str | None,
    expected_version: int | None,
    branch: str,
    declare: bool,
) -> None:
    """Commit FILE as the next version."""
    body = {
        **content_of(file, declare),
        "message": message,
        "expected_version": expected_version,
        "branch": branch,
        "report_similar": True,
    }
    answer = cli.call("POST", f"{prompt_path(*ref[:2])}/-/versions", body)
    say_commit(cli, answer)
    _warn_of_similar(cli, answer)


def _warn_of_similar(cli: Cli, answer: dict[str, Any]) -> None:
    for item in answer["similar"] if not cli.output.as_json else ():
        click.secho(
            f"almost the same as {item['ref']} ({item['similarity']:.0%})", fg="yellow", err=True
        )


def say_commit(cli: Cli, answer: dict[str, Any]) -> None:
    """A sentence about a version: its semver with the reasons, or its branch."""
    what = "committed" if answer["changed"] else "is this already"
    change = answer["change"]
    why = f", {change['level']}: {', '.join(change['reasons'])}" if change else ""
    name = answer["semver"] or f"on {answer['branch']}"
    cli.output.say(answer, f"{answer['ref']} {what} ({name}{why}; {answer['digest']})")


@prompt.command("edit")
@click.argument("ref", type=PROMPT)
@click.option("--message", "-m", help="Why.")
@declare_option
@pass_cli
def edit(cli: Cli, ref: Ref, message: str | None, declare: bool) -> None:
    """Edit the newest version in $EDITOR and commit it on top of exactly that one."""
    path = prompt_path(*ref[:2])
    newest = cli.call("GET", path, params=selector(ref[2] or "latest") | {"raw": "true"})
    content = newest["content"]
    plain = content["type"] == "text"
    latest = cli.call("GET", path, params={"label": "latest"})["version"]
    expected = newest["version"] if ref[2] in (None, "latest") else latest
    before = content["text"] if plain else json.dumps(content, ensure_ascii=False, indent=2)
    after = click.edit(before, extension=".md" if plain else ".json")
    if after is None:
        cli.output.say({"changed": False}, "Left as it was.")
        return
    kept = _keep(after, ".md" if plain else ".json")
    try:
        edited = {**content, "text": after} if plain else json.loads(after)
        body = {
            "content": edited,
            "message": message,
            "expected_version": expected,
            "declare_variables": declare,
        }
        answer = cli.call("POST", f"{path}/-/versions", body)
    except json.JSONDecodeError as error:
        raise click.ClickException(f"Not JSON: {error}. Your edit is kept in {kept}.") from None
    except (ServerRefusedError, UnreachableError):
        click.echo(f"Not committed. Your edit is kept in {kept}.", err=True)
        raise
    kept.unlink()
    say_commit(cli, answer)


def _keep(text: str, suffix: str) -> Path:
    """A file that holds an edit until it is committed."""
    with NamedTemporaryFile("w", prefix="scrinia-", suffix=suffix, delete=False) as file:
        file.write(text)
    return Path(file.name)


@prompt.command("list")
@click.argument("project")
@click.option("--folder")
@click.option("--tag", "tags", multiple=True, help="Has this tag; repeat for all of several.")
@click.option("--any-tag", "any_tags", multiple=True, help="Has any of these tags.")
@click.option("--query", "-q", help="A part of the name or description.")
@click.option("--label", help="Has this label.")
@click.option("--status", type=click.Choice(STATUSES), default="current")
@click.option("--sort", default="name", help="name, updated_at, created_at; - before it descends.")
@click.option("--as-of", help="A position or an RFC 3339 time.")
@pass_cli
def list_prompts(cli: Cli, /, project: str, tags: Any, any_tags: Any, **options: Any) -> None:
    """List a project's prompts."""
    named = {"query": "q"}
    params = [(named.get(k, k), str(v)) for k, v in options.items() if v is not None]
    params += [("tag", tag) for tag in tags] + [("any_tag", tag) for tag in any_tags]
    path = f"{project_path(project)}/prompts"
    items = cli.run(lambda client: all_pages(client, path, params))
    rows = [
        (p["name"], p["type"], p["latest_version"], p["labels"], p["tags"], p["updated_at"][:19])
        for p in items
    ]
    columns = ("name", "type", "versions", "labels", "tags", "updated")
    cli.output.table({"items": items}, columns, rows)


@prompt.command("show")
@click.argument("ref", type=PROMPT)
@click.option("--as-of", help="A position or an RFC 3339 time.")
@click.option("--locale", help="In this language, if there is a translation.")
@click.option("--raw", is_flag=True, help="As authored: every language, without composition.")
@click.option("--targeting-key", help="As this one is answered, where the label is split.")
@click.option("--attribute", multiple=True, metavar="NAME:VALUE", help="For targeting rules.")
@pass_cli
def show(
    cli: Cli,
    ref: Ref,
    as_of: str | None,
    locale: str | None,
    raw: bool,
    targeting_key: str | None,
    attribute: tuple[str, ...],
) -> None:
    """Show a prompt (default: what `latest` is), composed of its partials and guardrails."""
    params = selector(ref[2] or "latest") | ({"as_of": as_of} if as_of else {})
    params |= {"raw": "true"} if raw else {}
    params |= {"locale": locale} if locale else {}
    params |= {"targeting_key": targeting_key} if targeting_key else {}
    sent = [*params.items(), *(("attribute", one) for one in attribute)]
    answer = cli.call("GET", prompt_path(*ref[:2]), params=sent)
    if cli.output.as_json:
        cli.output.json(answer)
        return
    click.secho(f"{answer['ref']}  {answer['digest']}", bold=True)
    content = answer["content"]
    for message in content.get("messages", []):
        name, text = _shown(message)
        click.secho(f"[{name}]", fg="cyan")
        cli.output.text(text)
    if "text" in content:
        cli.output.text(content["text"])
    shown = ("messages", "text", "type")
    rest = {k: v for k, v in content.items() if k not in shown}
    cli.output.text(json.dumps(rest, ensure_ascii=False, indent=2))
    for name, state in answer["locales"].items():
        served = ", served" if name == answer["locale"] else ""
        click.secho(f"locale {name}{' (stale)' if state['stale'] else ''}{served}", fg="cyan")
    if "assignment" in answer:
        assigned = answer["assignment"]
        click.secho(f"bucket {assigned['bucket']}, by {assigned['reason']}", fg="cyan")
    for part in answer["partials"]:
        click.secho(f"{part['kind']} {part['reference']} is {part['ref']}", fg="cyan")


def _shown(message: dict[str, str]) -> tuple[str, str]:
    if "role" in message:
        return message["role"], message["content"]
    return next(iter(message.items()))


@prompt.command("diff")
@click.argument("ref", type=PROMPT)
@click.argument("from_", metavar="FROM")
@click.argument("to", default="latest")
@click.option("--words", is_flag=True, help="Word for word instead of by line.")
@pass_cli
def diff(cli: Cli, ref: Ref, from_: str, to: str, words: bool) -> None:
    """Compare two versions, each by number, label, or branch:NAME."""
    path = f"{prompt_path(*ref[:2])}/-/diff"
    answer = cli.call("GET", path, params={"from": from_, "to": to})
    if cli.output.as_json:
        cli.output.json(answer)
        return
    if words:
        cli.output.words(answer["semantic"]["texts"])
    else:
        cli.output.diff(answer["unified"])
    for line in summary(answer["semantic"]):
        click.secho(line, fg="cyan")


@prompt.command("log")
@click.argument("ref", type=PROMPT)
@click.option("--branch", help="Only those committed on this branch.")
@pass_cli
def log(cli: Cli, ref: Ref, branch: str | None) -> None:
    """A prompt's versions, newest first."""
    path = f"{prompt_path(*ref[:2])}/-/versions"
    params = [("branch", branch)] if branch else []
    items = cli.run(lambda client: all_pages(client, path, params))
    rows = [
        (v["version"], v["semver"] or v["branch"], v["committed_at"][:19], v["labels"],
         v["message"], person(v, "author"))
        for v in items
    ]  # fmt: skip
    columns = ("version", "semver", "committed", "labels", "message", "author")
    cli.output.table({"items": items}, columns, rows)


@prompt.command("render")
@click.argument("ref", type=PROMPT)
@click.option(
    "--var", "-v", "pairs", multiple=True, help="name=value; JSON where the variable is no string."
)
@click.option("--format", "format_", type=click.Choice(FORMATS), default="text")
@click.option("--locale", help="In this language, if there is a translation.")
@click.option("--lockfile", type=click.Path(exists=True), help="JSON: the `partials` of an answer.")
@pass_cli
def render(
    cli: Cli,
    ref: Ref,
    pairs: tuple[str, ...],
    format_: str,
    locale: str | None,
    lockfile: str | None,
) -> None:
    """Fill a prompt with variables."""
    path = prompt_path(*ref[:2])
    shown = cli.call("GET", path, params=selector(ref[2]))
    declared = shown["content"].get("variables", {})
    variables = dict(_variable(pair, declared) for pair in pairs)
    chosen: dict[str, Any] = selector(ref[2])
    if chosen.get("version", "").isdecimal():
        chosen["version"] = int(chosen["version"])
    body = {"variables": variables, "format": format_, **chosen}
    if locale is not None:
        body["locale"] = locale
    if lockfile is not None:
        body["lockfile"] = _lockfile(Path(lockfile))
    answer = cli.call("POST", f"{path}/-/render", body)
    shown = answer[format_]
    text = shown if format_ == "text" else json.dumps(shown, ensure_ascii=False, indent=2)
    cli.output.say(answer, text)
    if answer.get("left_out") and not cli.output.as_json:
        click.echo(f"{format_} has no place for: {', '.join(answer['left_out'])}", err=True)


def _lockfile(path: Path) -> list[Any]:
    """A list of parts, or an answer that has it as `partials`."""
    try:
        value = json.loads(path.read_text())
    except ValueError as error:
        raise click.BadParameter(f"{path} is not JSON: {error}.") from None
    parts = value.get("partials") if isinstance(value, dict) else value
    if not isinstance(parts, list):
        raise click.BadParameter(f"{path} holds no list of parts.")
    return parts


def _variable(pair: str, declared: dict[str, Any]) -> tuple[str, Any]:
    name, equals, text = pair.partition("=")
    if not equals:
        raise click.BadParameter(f"{pair!r} is not name=value.")
    if name in declared and declared[name].get("type", "string") == "string":
        return name, text
    try:
        return name, json.loads(text)
    except json.JSONDecodeError:
        return name, text


@prompt.command("archive")
@click.argument("ref", type=PROMPT)
@click.option("--reason", "-m", help="Why.")
@pass_cli
def archive(cli: Cli, ref: Ref, reason: str | None) -> None:
    """Refuse further changes."""
    answer = cli.call("POST", f"{prompt_path(*ref[:2])}/-/archive", {"reason": reason})
    cli.output.say(answer, f"{answer['project']}/{answer['name']} is {answer['status']}.")


@prompt.command("move")
@click.argument("ref", type=PROMPT)
@click.argument("to", metavar="NAME")
@click.option("--reason", "-m", help="Why.")
@pass_cli
def move(cli: Cli, ref: Ref, to: str, reason: str | None) -> None:
    """Let a prompt go by NAME in its project; its old name goes on leading to it."""
    body = {"name": to, "reason": reason}
    answer = cli.call("POST", f"{prompt_path(*ref[:2])}/-/move", body)
    cli.output.say(answer, f"{answer['project']}/{answer['from']} is {answer['name']} now.")


@prompt.command("activate")
@click.argument("ref", type=PROMPT)
@pass_cli
def activate(cli: Cli, ref: Ref) -> None:
    """Make a draft ready for promotion, or take a deprecation back."""
    answer = cli.call("PATCH", f"{prompt_path(*ref[:2])}/-/metadata", {"status": "active"})
    cli.output.say(answer, f"{answer['project']}/{answer['name']} is {answer['status']}.")


@prompt.command("deprecate")
@click.argument("ref", type=PROMPT)
@click.option("--successor", help="What is to be used instead: a prompt of the project.")
@click.option("--sunset-at", help="Until when it may be used: an RFC 3339 time.")
@click.option("--reason", "-m", help="Why.")
@pass_cli
def deprecate(cli: Cli, /, ref: Ref, **given: str | None) -> None:
    """Tell consumers not to use a prompt any more."""
    answer = cli.call("POST", f"{prompt_path(*ref[:2])}/-/deprecate", given)
    cli.output.say(answer, f"{answer['project']}/{answer['name']} is {answer['status']}.")


@prompt.command("restore")
@click.argument("ref", type=PROMPT)
@click.option("--reason", "-m", help="Why.")
@pass_cli
def restore(cli: Cli, ref: Ref, reason: str | None) -> None:
    """Accept changes again."""
    answer = cli.call("POST", f"{prompt_path(*ref[:2])}/-/restore", {"reason": reason})
    cli.output.say(answer, f"{answer['project']}/{answer['name']} is {answer['status']}.")
