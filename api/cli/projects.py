"""`scrinia project`."""

import click

from api.cli.client import all_pages
from api.cli.context import Cli, pass_cli


@click.group()
def project() -> None:
    """Projects: namespaces with environments of their own."""


@project.command("create")
@click.argument("name")
@click.option("--description", help="What it is for.")
@pass_cli
def create(cli: Cli, name: str, description: str | None) -> None:
    """Make a project."""
    answer = cli.call("POST", "/v1/projects", {"project": name, "description": description})
    environments = ", ".join(answer["environments"])
    cli.output.say(answer, f"Project {name} with environments {environments}.")


@project.command("list")
@pass_cli
def list_projects(cli: Cli) -> None:
    """The projects you may read in."""
    items = cli.run(lambda client: all_pages(client, "/v1/projects", []))
    rows = [(p["project"], p["description"], p["environments"]) for p in items]
    cli.output.table({"items": items}, ("project", "description", "environments"), rows)
