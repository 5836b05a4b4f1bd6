"""`scrinia guardrail`, `prompt used-by`, `prompt impact`."""

from typing import Any

import click

from api.cli.client import project_path, prompt_path
from api.cli.context import PROMPT, Cli, pass_cli
from api.cli.prompts import Ref


@click.group()
def guardrail() -> None:
    """Guardrails: texts composed into every prompt of a project or below a folder."""


@guardrail.command("list")
@click.argument("project")
@pass_cli
def list_guardrails(cli: Cli, project: str) -> None:
    """The guardrails of a project."""
    answer = cli.call("GET", f"{project_path(project)}/guardrails")
    rows = [
        (g["guardrail"], g["folder"], g["prompt"], g["position"], g["role"])
        for g in answer["items"]
    ]
    cli.output.table(answer, ("guardrail", "folder", "prompt", "position", "role"), rows)


@guardrail.command("set")
@click.argument("project")
@click.argument("name")
@click.argument("prompt", metavar="PROMPT[@REF]")
@click.option("--folder", help="Only below this folder.")
@click.option("--position", type=click.Choice(["prepend", "append"]), default="prepend")
@click.option("--role", default="system", help="The role of its message in chats.")
@pass_cli
def set_guardrail(cli: Cli, /, project: str, name: str, prompt: str, **given: str | None) -> None:
    """Compose PROMPT (of the same project) into every prompt, as guardrail NAME."""
    path = f"{project_path(project)}/guardrails/{name}"
    answer = cli.call("PUT", path, {"prompt": prompt, **given})
    # In an answer, `position` is the ledger's.
    cli.output.say(
        answer,
        f"{answer['prompt']} is composed into every prompt {_where(answer)} ({given['position']}).",
    )


@guardrail.command("remove")
@click.argument("project")
@click.argument("name")
@click.option("--reason", "-m", help="Why.")
@pass_cli
def remove_guardrail(cli: Cli, project: str, name: str, reason: str | None) -> None:
    """Compose guardrail NAME into nothing any more."""
    path = f"{project_path(project)}/guardrails/{name}"
    answer = cli.call("DELETE", path, {"reason": reason})
    cli.output.say(answer, f"{name} is composed into nothing any more.")


@click.command("used-by")
@click.argument("ref", type=PROMPT)
@click.option("--all", "every", is_flag=True, help="Every version, not only what is served.")
@pass_cli
def used_by(cli: Cli, ref: Ref, every: bool) -> None:
    """What is composed of a prompt."""
    params = {"versions": "all" if every else "live"}
    answer = cli.call("GET", f"{prompt_path(*ref[:2])}/-/used-by", params=params)
    rows = [(u["ref"], u["reference"], u["labels"]) for u in answer["items"]]
    cli.output.table(answer, ("prompt", "as", "labels"), rows)
    _say_guardrails(cli, answer)


@click.command("impact")
@click.argument("ref", type=PROMPT)
@click.argument("version", type=int)
@click.option("--label", default="production", help="The label that would be moved.")
@pass_cli
def impact(cli: Cli, ref: Ref, version: int, label: str) -> None:
    """What would change, and what would break, if a label moved to VERSION."""
    params = {"label": label, "version": str(version)}
    answer = cli.call("GET", f"{prompt_path(*ref[:2])}/-/impact", params=params)
    rows = [
        (i["ref"], "breaks" if i["breaks"] else i["level"],
         i["detail"] if i["breaks"] else i["reasons"])
        for i in answer["items"]
    ]  # fmt: skip
    cli.output.table(answer, ("prompt", "change", "why"), rows)
    if answer["more"] and not cli.output.as_json:
        click.echo("There may be more.")
    _say_guardrails(cli, answer)


def _say_guardrails(cli: Cli, answer: dict[str, Any]) -> None:
    for rail in answer["guardrails"] if not cli.output.as_json else ():
        click.echo(f"guardrail {rail['guardrail']}: composed into every prompt {_where(rail)}")


def _where(rail: dict[str, Any]) -> str:
    return f"below {rail['folder']}" if rail["folder"] else "of the project"
