"""`scrinia branch`, and `scrinia prompt fork`."""

import json
from typing import Any

import click

from api.cli.client import ServerRefusedError, prompt_path
from api.cli.context import EXIT_REFUSED, PROMPT, Cli, pass_cli
from api.cli.prompts import Ref, content_of, say_commit, version_of


@click.group()
def branch() -> None:
    """Branches: lines of versions beside main."""


@branch.command("list")
@click.argument("ref", type=PROMPT)
@pass_cli
def list_branches(cli: Cli, ref: Ref) -> None:
    """The branches of a prompt, compared with main."""
    answer = cli.call("GET", f"{prompt_path(*ref[:2])}/-/branches")
    rows = [
        (b["branch"], b["version"], b["semver"], len(b["ahead"]), len(b["behind"]))
        for b in answer["items"]
    ]
    cli.output.table(answer, ("branch", "version", "semver", "ahead", "behind"), rows)


@branch.command("create")
@click.argument("ref", type=PROMPT)
@click.argument("name")
@pass_cli
def create(cli: Cli, ref: Ref, name: str) -> None:
    """Begin branch NAME at PROJECT/NAME[@REF] (default: the newest on main)."""
    path = prompt_path(*ref[:2])
    answer = cli.call(
        "POST", f"{path}/-/branches", {"branch": name, "version": version_of(cli, ref)}
    )
    cli.output.say(answer, f"{answer['branch']} is at version {answer['version']}.")


@branch.command("delete")
@click.argument("ref", type=PROMPT)
@click.argument("name")
@pass_cli
def delete(cli: Cli, ref: Ref, name: str) -> None:
    """End a branch; its versions stay."""
    answer = cli.call("DELETE", f"{prompt_path(*ref[:2])}/-/branches/{name}")
    cli.output.say(answer, f"{name} is gone; it was at version {answer['version']}.")


@branch.command("compare")
@click.argument("ref", type=PROMPT)
@click.argument("name")
@click.option("--against", default="main", help="Compared with which branch.")
@pass_cli
def compare(cli: Cli, ref: Ref, name: str, against: str) -> None:
    """What a branch has that another has not, and what a merge would meet."""
    path = prompt_path(*ref[:2])
    answer = cli.call("GET", f"{path}/-/branches/{name}", params={"against": against})
    if cli.output.as_json:
        cli.output.json(answer)
        return
    versions = {"from": answer["against_version"], "to": answer["version"]}
    click.echo(
        f"{name} is {len(answer['ahead'])} ahead of and {len(answer['behind'])} behind {against};"
        f" both come from version {answer['base']}."
    )
    cli.output.diff(cli.call("GET", f"{path}/-/diff", params=versions)["unified"])
    _show_conflicts(answer["conflicts"])


@branch.command("merge")
@click.argument("ref", type=PROMPT)
@click.argument("name")
@click.option("--into", default="main", help="Into which branch.")
@click.option("--message", "-m", help="Why.")
@click.option("--take", "taken", multiple=True, metavar="ID=SIDE", help="Settle a conflict.")
@click.option("--content", "file", type=click.Path(exists=True), help="The merged content.")
@click.option("--expected-version", type=int, help="Only if this is the newest on --into.")
@click.option("--source-version", type=int, help="Only if this is the branch's newest.")
@pass_cli
def merge(cli: Cli, /, ref: Ref, name: str, into: str, taken: Any, file: str | None,
          **given: Any) -> None:  # fmt: skip
    """Merge branch NAME; conflicts are shown with both sides and settled by --take or --content."""
    body = {"source": name, "target": into, **given}
    if taken:
        body["resolutions"] = dict(_resolution(one) for one in taken)
    if file is not None:
        body["content"] = content_of(file, declare=False)["content"]
    try:
        say_commit(cli, cli.call("POST", f"{prompt_path(*ref[:2])}/-/merge", body))
    except ServerRefusedError as refusal:
        if refusal.code != "merge_conflict" or cli.output.as_json:
            raise
        _show_conflicts(refusal.problem["conflicts"])
        versions = (
            f"--expected-version {refusal.problem['target_version']}"
            f" --source-version {refusal.problem['source_version']}"
        )
        click.echo(f"Settle each with --take 'ID=target' (or source, base) {versions}")
        raise SystemExit(EXIT_REFUSED) from None


def _resolution(text: str) -> tuple[str, dict[str, str]]:
    conflict, equals, side = text.rpartition("=")
    if not equals or side not in ("base", "target", "source"):
        raise click.BadParameter(f"{text!r} is not ID=target, ID=source or ID=base.")
    return conflict, {"take": side}


def _show_conflicts(conflicts: list[dict[str, Any]]) -> None:
    for conflict in conflicts:
        click.secho(f"conflict {conflict['id']}", fg="yellow", bold=True)
        for side, colour in (("base", "white"), ("target", "red"), ("source", "green")):
            value = conflict[side]
            text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            for line in text.splitlines() or [""]:
                click.secho(f"  {side:6} | {line}", fg=colour)


@click.command("fork")
@click.argument("ref", type=PROMPT)
@click.argument("to", type=PROMPT)
@click.option("--message", "-m", help="Why.")
@click.option("--description", help="What the new prompt is for.")
@click.option("--tag", "tags", multiple=True, help="A tag; repeat for more.")
@pass_cli
def fork(cli: Cli, /, ref: Ref, to: Ref, tags: tuple[str, ...], **given: Any) -> None:
    """Make prompt TO out of PROJECT/NAME[@REF] (default: the newest version)."""
    path = prompt_path(*ref[:2])
    version = version_of(cli, ref)
    body = {"project": to[0], "name": to[1], "version": version, "tags": list(tags), **given}
    say_commit(cli, cli.call("POST", f"{path}/-/fork", body))
