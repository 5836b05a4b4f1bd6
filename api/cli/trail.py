"""`scrinia events` and `scrinia audit`."""

import asyncio
import sys
from contextlib import suppress
from typing import Any

import click
import orjson

from api.cli.client import Client, UnreachableError, all_pages
from api.cli.context import Cli, pass_cli
from api.cli.output import harmless, person

RECONNECT_SECONDS = 1.0


def _given(options: dict[str, Any]) -> list[tuple[str, str]]:
    return [(name, str(value)) for name, value in options.items() if value is not None]


@click.command()
@click.option("--follow", "-f", is_flag=True, help="Stay and print events as they come.")
@click.option("--after", type=int, help="Start after this position.")
@click.option("--kind", help="A kind or kind.verb, such as label.moved.")
@click.option("--project")
@click.option("--prompt")
@click.option("--limit", type=int, default=50, help="How many, without --follow.")
@pass_cli
def events(cli: Cli, /, follow: bool, limit: int, **options: Any) -> None:
    """Events of the ledger: a page, or live."""
    params = _given(options)
    if follow:
        with suppress(KeyboardInterrupt):  # how one ends it
            cli.run(lambda client: _follow(cli, client, params))
        return
    answer = cli.call("GET", "/v1/events", params=[*params, ("limit", str(limit))])
    rows = [_row(item) for item in answer["items"]]
    cli.output.table(answer, ("position", "time", "event", "subject", "data"), rows)
    if answer["next_cursor"] is not None and not cli.output.as_json:
        click.echo(f"More: --after {answer['next_cursor']} (the head is {answer['head']})")


def _row(item: dict[str, Any]) -> tuple[Any, ...]:
    kind_verb = ".".join(item["type"].split(".")[2:4])
    plain = {k: v for k, v in item["data"].items() if isinstance(v, str | int)}
    return item["position"], item["time"][:19], kind_verb, item["subject"], plain


async def _follow(cli: Cli, client: Client, params: list[tuple[str, str]]) -> None:
    """Print events as they come, over every restart of the server, each once."""
    last = dict(params).get("after")
    if last is None:
        page = await client.call("GET", "/v1/events", params=[*params, ("limit", "1")])
        last = str(page["head"])
    while True:
        headers = {"Accept": "text/event-stream", "Last-Event-ID": last}
        try:
            async with client.stream("/v1/events", params=params, headers=headers) as content:
                async for line in content:
                    if line.startswith(b"data: "):
                        item = orjson.loads(line[6:])
                        last = str(item["position"])
                        _print_event(cli, item)
        except UnreachableError:
            pass
        click.echo("The feed broke off: trying again.", err=True)
        await asyncio.sleep(RECONNECT_SECONDS)


def _print_event(cli: Cli, item: dict[str, Any]) -> None:
    if cli.output.as_json:
        click.echo(orjson.dumps(item).decode())
        return
    position, time, kind_verb, subject, data = _row(item)
    pairs = harmless(" ".join(f"{name}={value}" for name, value in data.items()))
    click.echo(f"{position:>8}  {time}  {kind_verb:<18}  {subject}  {pairs}")


@click.command()
@click.option("--actor", help="A principal's id.")
@click.option("--action", help="kind.verb or kind, such as label or label.moved.")
@click.option("--resource", help="projects/… and everything below it.")
@click.option("--from", "from_", help="RFC 3339.")
@click.option("--to", help="RFC 3339, exclusive.")
@click.option("--export", is_flag=True, help="Everything, one JSON object a line.")
@pass_cli
def audit(cli: Cli, /, export: bool, from_: str | None, **options: Any) -> None:
    """The audit trail: who did what, when, on what, before and after, why, by which grant."""
    params = _given({**options, "from": from_})
    if export:
        cli.run(lambda client: _export(client, params))
        return
    items = cli.run(lambda client: all_pages(client, "/v1/audit", params))
    rows = [
        (r["position"], r["time"][:19], _actor(r), r["action"], r["resource"],
         _short(r["before"]), _short(r["after"]), r["reason"])
        for r in items
    ]  # fmt: skip
    columns = ("position", "time", "actor", "action", "resource", "before", "after", "reason")
    cli.output.table({"items": items}, columns, rows)


def _actor(record: dict[str, Any]) -> str:
    return person({"actor": record["actor"]["id"], "actor_name": record["actor_name"]}, "actor")


def _short(state: dict[str, Any] | None) -> dict[str, Any] | None:
    if state is None:
        return None
    return {name: value for name, value in state.items() if not isinstance(value, dict)}


async def _export(client: Client, params: list[tuple[str, str]]) -> None:
    async with client.stream("/v1/audit/export", params=params) as content:
        async for chunk in content.iter_any():
            sys.stdout.buffer.write(chunk)
