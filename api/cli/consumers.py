"""`scrinia consumer`."""

import click

from api.cli.client import all_pages, prompt_path
from api.cli.context import PROMPT, Cli, pass_cli
from api.cli.output import person
from api.cli.prompts import Ref


@click.group()
def consumer() -> None:
    """Consumers: services that say how they use a prompt, so that nothing breaks them unasked."""


@consumer.command("list")
@click.argument("ref", type=PROMPT)
@pass_cli
def list_consumers(cli: Cli, ref: Ref) -> None:
    """The registered consumers of a prompt."""
    answer = cli.call("GET", f"{prompt_path(*ref[:2])}/-/consumers")
    rows = [
        (i["consumer"], i["label"], i["range"], i["variables"], i["version"], i["broken"])
        for i in answer["items"]
    ]
    columns = ("consumer", "label", "range", "variables", "version", "broken")
    cli.output.table(answer, columns, rows)


@consumer.command("readers")
@click.argument("ref", type=PROMPT)
@pass_cli
def readers(cli: Cli, ref: Ref) -> None:
    """Who was served which version within a day, and who has not what the label serves now."""
    answer = cli.call("GET", f"{prompt_path(*ref[:2])}/-/consumers")
    rows = [
        (r["label"], r["version"], "" if r["current"] else "behind", person(r, "principal_id"),
         r["instance"], r["position"], r["seen_at"][:19])
        for r in answer["readers"]
    ]  # fmt: skip
    columns = ("label", "version", "", "principal", "instance", "position", "seen")
    cli.output.table(answer, columns, rows)


@click.command()
@click.option("--project", help="Only of this project.")
@click.option("--prompt", help="Only of this prompt of the project.")
@click.option("--label", help="Only by this label.")
@click.option("--principal", "principal_id", help="Only by this principal.")
@click.option("--from", "from_", help="From this moment on (RFC 3339).")
@click.option("--to", help="Until this moment.")
@pass_cli
def reads(cli: Cli, /, from_: str | None, **given: str | None) -> None:
    """Reads on record, of environments whose rules put them there (`--access-log`)."""
    params = [(name, value) for name, value in {**given, "from": from_}.items() if value]
    items = cli.run(lambda client: all_pages(client, "/v1/access/reads", params))
    rows = [
        (r["first_at"][:19], r["resource"], r["label"], r["version"], r["reads"],
         person(r, "principal_id"), r["instance"])
        for r in items
    ]  # fmt: skip
    columns = ("from", "resource", "label", "version", "reads", "principal", "instance")
    cli.output.table({"items": items}, columns, rows)


@consumer.command("register")
@click.argument("ref", type=PROMPT)
@click.argument("name")
@click.option("--label", default="production", help="What it reads.")
@click.option("--range", "range_", help="The semantic versions it can work with: '^1.2'.")
@click.option("--variable", "variables", multiple=True, help="It passes this; repeat for more.")
@pass_cli
def register(
    cli: Cli, ref: Ref, name: str, label: str, range_: str | None, variables: tuple[str, ...]
) -> None:
    """Say how service NAME uses a prompt."""
    body = {"label": label, "range": range_, "variables": list(variables) or None}
    answer = cli.call("PUT", f"{prompt_path(*ref[:2])}/-/consumers/{name}", body)
    range_said = answer["range"] or "any version"
    cli.output.say(answer, f"{name} uses {ref[0]}/{ref[1]}@{answer['label']}, {range_said}.")


@consumer.command("remove")
@click.argument("ref", type=PROMPT)
@click.argument("name")
@click.option("--reason", "-m", help="Why.")
@pass_cli
def remove(cli: Cli, ref: Ref, name: str, reason: str | None) -> None:
    """Say that service NAME does not use a prompt any more."""
    path = f"{prompt_path(*ref[:2])}/-/consumers/{name}"
    answer = cli.call("DELETE", path, {"reason": reason})
    cli.output.say(answer, f"{name} does not use {ref[0]}/{ref[1]} any more.")
