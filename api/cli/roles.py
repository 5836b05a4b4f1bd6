"""`scrinia role`, `scrinia group` and `scrinia explain`."""

from typing import Any

import click

from api.cli.access_requests import ask_for, ask_option
from api.cli.client import all_pages
from api.cli.context import Cli, pass_cli
from domain.access import PERMISSIONS


@click.group()
def role() -> None:
    """Roles: named sets of permissions, built in or your own."""


@role.command("list")
@pass_cli
def list_roles(cli: Cli) -> None:
    """Every role and what it permits."""
    answer = cli.call("GET", "/v1/roles")
    rows = [(r["role"], r["built_in"], r["permissions"]) for r in answer["items"]]
    cli.output.table(answer, ("role", "built in", "permissions"), rows)


@role.command("define")
@click.argument("name")
@click.argument("permissions", nargs=-1, required=True, type=click.Choice(PERMISSIONS))
@click.option("--description", help="What it is for.")
@pass_cli
def define(cli: Cli, name: str, permissions: tuple[str, ...], description: str | None) -> None:
    """Let role NAME permit PERMISSIONS, wherever it was and will be given."""
    body = {"permissions": list(permissions), "description": description}
    answer = cli.call("PUT", f"/v1/roles/{name}", body)
    cli.output.say(answer, f"{name} permits {', '.join(answer['permissions'])}.")


@role.command("remove")
@click.argument("name")
@pass_cli
def remove(cli: Cli, name: str) -> None:
    """Let role NAME permit nothing any more."""
    answer = cli.call("DELETE", f"/v1/roles/{name}")
    cli.output.say(answer, f"{name} permits nothing any more.")


@click.group()
def group() -> None:
    """Groups: principals whose grants count for their members (grant give GROUP …)."""


@group.command("create")
@click.argument("name")
@pass_cli
def create(cli: Cli, name: str) -> None:
    """Make a group without grants and members."""
    answer = cli.call("POST", "/v1/principals", {"type": "group", "name": name})
    cli.output.say(answer, answer["principal_id"])


@group.command("list")
@pass_cli
def list_groups(cli: Cli) -> None:
    """All groups."""
    items = cli.run(lambda client: all_pages(client, "/v1/principals", []))
    groups = [one for one in items if one["type"] == "group"]
    rows = [(g["principal_id"], g["name"], g["active"]) for g in groups]
    cli.output.table({"items": groups}, ("group", "name", "active"), rows)


@group.command("members")
@click.argument("group_id")
@pass_cli
def members(cli: Cli, group_id: str) -> None:
    """Who is in a group."""
    answer = cli.call("GET", f"/v1/principals/{group_id}")
    rows = [(one, answer["names"].get(one)) for one in answer["members"]]
    cli.output.table(answer, ("principal", "name"), rows)


@group.command("add")
@click.argument("group_id")
@click.argument("principal_id")
@ask_option
@pass_cli
def add(cli: Cli, group_id: str, principal_id: str, ask: str | None) -> None:
    """Let the grants of a group count for a principal."""
    if ask is not None:
        body = {"principal_id": principal_id, "group_id": group_id}
        ask_for(cli, "membership", body, ask)
        return
    answer = cli.call("PUT", f"/v1/principals/{principal_id}/groups/{group_id}")
    cli.output.say(answer, f"{principal_id} is in {group_id}.")


@group.command("remove")
@click.argument("group_id")
@click.argument("principal_id")
@click.option("--reason", "-m", help="Why.")
@pass_cli
def take_out(cli: Cli, group_id: str, principal_id: str, reason: str | None) -> None:
    """Let the grants of a group count for a principal no more."""
    path = f"/v1/principals/{principal_id}/groups/{group_id}"
    answer = cli.call("DELETE", path, {"reason": reason})
    cli.output.say(answer, f"{principal_id} is not in {group_id} any more.")


@click.command()
@click.argument("principal_id")
@click.argument("permission", type=click.Choice(PERMISSIONS))
@click.argument("resource", default="registry")
@click.option("--environment", help="The environment whose label would move.")
@click.option("--as-of", help="A position or an RFC 3339 time.")
@pass_cli
def explain(
    cli: Cli, /, principal_id: str, permission: str, resource: str, **given: str | None
) -> None:
    """Why a principal may do something on RESOURCE (projects/acme/prompts/…), or not."""
    params = {"principal": principal_id, "permission": permission, "resource": resource}
    params |= {name: value for name, value in given.items() if value is not None}
    answer = cli.call("GET", "/v1/access/explain", params=params)
    verdict = "may" if answer["allowed"] else "may not"
    lines = [f"{principal_id} {verdict} {permission} on {answer['resource']}"]
    lines += [_reason(one) for one in answer["grants"]]
    if not answer["allowed"]:
        lines.append(f"roles that permit it: {', '.join(answer['roles_with_it'])}")
    cli.output.say(answer, "\n".join(lines))


def _reason(grant: dict[str, Any]) -> str:
    through = f" through group {grant['through_group']}" if grant["through_group"] else ""
    events = ", ".join(f"{one['type']} at {one['position']}" for one in grant["events"])
    why = "allows it" if grant["allows"] else grant["why_not"]
    return f"  {grant['role']}{through} ({events}): {why}"
