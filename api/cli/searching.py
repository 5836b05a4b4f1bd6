"""`scrinia prompt search` and `similar`."""

from typing import Any

import click

from api.cli.context import STATUSES, Cli, pass_cli
from api.cli.output import harmless
from api.cli.prompts import content_of


@click.command()
@click.argument("query")
@click.option("--match", type=click.Choice(["words", "parts"]), help="Whole words, or parts.")
@click.option("--all-versions", is_flag=True, help="Every version that matches, not the newest.")
@click.option("--project")
@click.option("--folder", help="A folder of the project.")
@click.option("--tag", "tags", multiple=True, help="Has this tag; repeat for all of several.")
@click.option("--any-tag", "any_tags", multiple=True, help="Has any of these tags.")
@click.option("--label", help="Only what this label points to now.")
@click.option("--owner", help="A principal's id.")
@click.option("--author", help="A principal's id.")
@click.option("--status", type=click.Choice(STATUSES))
@click.option("--type", "type_", type=click.Choice(["text", "chat", "structured"]))
@click.option("--model")
@click.option("--variable", help="Declares this variable.")
@click.option("--since", help="Committed since this RFC 3339 time.")
@click.option("--sort", type=click.Choice(["relevance", "name", "committed_at", "-committed_at"]))
@click.option("--limit", type=int, default=20)
@pass_cli
def search(
    cli: Cli,
    /,
    query: str,
    all_versions: bool,
    tags: tuple[str, ...],
    any_tags: tuple[str, ...],
    type_: str | None,
    **options: Any,
) -> None:
    """Find words, "a phrase", -without, begin*, this OR that in any version ever committed."""
    given = {**options, "type": type_, "versions": "all" if all_versions else None}
    params = [("q", query)] + [(k, str(v)) for k, v in given.items() if v is not None]
    params += [("tag", tag) for tag in tags] + [("any_tag", tag) for tag in any_tags]
    answer = cli.call("GET", "/v1/search", params=params)
    if cli.output.as_json:
        cli.output.say(answer, "")
        return
    if not answer["items"]:
        click.echo("Nothing here.")
    for item in answer["items"]:
        more = max(item["matched"] - 1, 0) if not all_versions else 0
        others = f"  (and {more} older)" if more else ""
        click.echo(click.style(item["ref"], fg="green") + others)
        for excerpt in item["excerpts"]:
            click.echo(f"  {excerpt['pointer']}: {_marked(excerpt)}")
    if answer["next_cursor"] is not None:
        click.echo("There is more: narrow it, or raise --limit.")


@click.command()
@click.argument("file", type=click.Path(exists=True, allow_dash=True))
@click.option("--project", help="Only in this one.")
@click.option("--threshold", type=float, default=0.8, help="How similar, from 0 to 1.")
@pass_cli
def similar(cli: Cli, file: str, project: str | None, threshold: float) -> None:
    """Find prompts that are almost the same as FILE."""
    content = content_of(file, declare=True)["content"]
    body = {"content": content, "project": project, "threshold": threshold}
    answer = cli.call("POST", "/v1/similar", body)
    rows = [(item["ref"], f"{item['similarity']:.0%}") for item in answer["items"]]
    cli.output.table(answer, ("prompt", "similarity"), rows)


def _marked(excerpt: dict[str, Any]) -> str:
    """An excerpt on one line, its matches in bold."""
    text, marked, last = excerpt["text"], "", 0
    for start, end in excerpt["matches"]:
        marked += harmless(text[last:start]) + click.style(harmless(text[start:end]), bold=True)
        last = max(last, end)
    return " ".join((marked + harmless(text[last:])).split())
