"""`scrinia whoami`, `principal`, `grant`, `token`."""

from typing import Any

import click

from api.cli.access_requests import ask_for, ask_option
from api.cli.client import all_pages
from api.cli.context import Cli, pass_cli
from domain.access import PERMISSIONS


@click.command()
@pass_cli
def whoami(cli: Cli) -> None:
    """Who the token or session speaks for and what it may do."""
    answer = cli.call("GET", "/v1/whoami")
    rows = [(g["role"], g["scope"] or "registry", g["expires_at"]) for g in answer["grants"]]
    if not cli.output.as_json:
        click.echo(f"{answer['name']} ({answer['type']}, {answer['principal_id']})")
    cli.output.table(answer, ("role", "scope", "expires"), rows)


@click.group()
def principal() -> None:
    """Principals: people and services."""


@principal.command("list")
@pass_cli
def list_principals(cli: Cli) -> None:
    """All principals."""
    items = cli.run(lambda client: all_pages(client, "/v1/principals", []))
    rows = [(p["principal_id"], p["type"], p["name"], p["active"], *_signs_in(p)) for p in items]
    columns = ("id", "type", "name", "active", "login", "signs in by")
    cli.output.table({"items": items}, columns, rows)


def _signs_in(principal: dict[str, Any]) -> tuple[str, str]:
    known = principal["sign_in"]
    if known is None:
        return "", ""
    shown = [name for name in ("password", "second_factor") if known[name]]
    return known["login"], ", ".join(shown).replace("_", " ")


@principal.command("create")
@click.argument("name")
@click.option(
    "--type", "type_", type=click.Choice(["person", "service", "plugin"]), default="service"
)
@pass_cli
def create(cli: Cli, name: str, type_: str) -> None:
    """Make a principal without grants."""
    answer = cli.call("POST", "/v1/principals", {"type": type_, "name": name})
    cli.output.say(answer, answer["principal_id"])


@principal.command("deactivate")
@click.argument("principal_id")
@click.option("--reason", "-m", help="Why.")
@pass_cli
def deactivate(cli: Cli, principal_id: str, reason: str | None) -> None:
    """Take every right from a principal, for good."""
    body = {"active": False, "reason": reason}
    answer = cli.call("PATCH", f"/v1/principals/{principal_id}", body)
    cli.output.say(answer, f"{principal_id} is deactivated.")


@principal.command("rename")
@click.argument("principal_id")
@click.argument("name")
@pass_cli
def rename(cli: Cli, principal_id: str, name: str) -> None:
    """Show a principal by another name."""
    answer = cli.call("PATCH", f"/v1/principals/{principal_id}", {"name": name})
    cli.output.say(answer, f"{principal_id} is shown as {name}.")


@principal.command("suspend")
@click.argument("principal_id")
@click.option("--reason", "-m", help="Why.")
@pass_cli
def suspend(cli: Cli, principal_id: str, reason: str | None) -> None:
    """Let a principal do nothing until it is resumed."""
    answer = cli.call("POST", f"/v1/principals/{principal_id}/suspend", {"reason": reason})
    cli.output.say(answer, f"{principal_id} can do nothing for now.")


@principal.command("resume")
@click.argument("principal_id")
@click.option("--reason", "-m", help="Why.")
@pass_cli
def resume(cli: Cli, principal_id: str, reason: str | None) -> None:
    """Let a suspended principal do again what it is allowed to."""
    answer = cli.call("POST", f"/v1/principals/{principal_id}/resume", {"reason": reason})
    cli.output.say(answer, f"{principal_id} can act again.")


@principal.command("login")
@click.argument("principal_id")
@click.argument("login_name", metavar="LOGIN")
@ask_option
@pass_cli
def set_login(cli: Cli, principal_id: str, login_name: str, ask: str | None) -> None:
    """Let a person sign in by LOGIN, such as a mail address."""
    body = {"login": login_name}
    if ask is not None:
        ask_for(cli, "login", {"principal_id": principal_id, **body}, ask)
        return
    answer = cli.call("PUT", f"/v1/principals/{principal_id}/login", body)
    cli.output.say(answer, f"{principal_id} signs in as {login_name}.")


@principal.command("withdraw-login")
@click.argument("principal_id")
@click.option("--reason", "-m", help="Why.")
@pass_cli
def withdraw_login(cli: Cli, principal_id: str, reason: str | None) -> None:
    """Let somebody sign in no more; login name, password and second factor go."""
    answer = cli.call("DELETE", f"/v1/principals/{principal_id}/login", {"reason": reason})
    cli.output.say(answer, f"{principal_id} signs in no more.")


@principal.command("recovery")
@click.argument("principal_id")
@click.option("--second-factor", is_flag=True, help="And to go on without the second factor.")
@click.option("--reason", "-m", help="Why.")
@ask_option
@pass_cli
def issue_recovery(
    cli: Cli, principal_id: str, second_factor: bool, reason: str | None, ask: str | None
) -> None:
    """Print a one-time code, for `scrinia recover`, that sets somebody's password.

    It replaces one that was printed before.
    """
    body: dict[str, Any] = {"second_factor": second_factor, "reason": reason}
    if ask is not None:
        ask_for(cli, "recovery", {"principal_id": principal_id, **body}, ask)
        return
    answer = cli.call("POST", f"/v1/principals/{principal_id}/recovery", body)
    cli.output.say(answer, answer["code"])


@principal.command("remove-totp")
@click.argument("principal_id")
@click.option("--reason", "-m", help="Why.")
@pass_cli
def remove_totp(cli: Cli, principal_id: str, reason: str | None) -> None:
    """Ask somebody for no second factor any more."""
    answer = cli.call("DELETE", f"/v1/principals/{principal_id}/totp", {"reason": reason})
    cli.output.say(answer, f"{principal_id} has no second factor any more.")


@click.group()
def grant() -> None:
    """Grants: roles in a scope."""


def _scope(project: str | None, folder: str | None, environment: str | None) -> dict[str, str]:
    given = {"project": project, "folder": folder, "environment": environment}
    return {name: value for name, value in given.items() if value is not None}


@grant.command("list")
@click.option("--principal", "principal_id", help="Only this principal's.")
@click.option("--as-of", help="A position or an RFC 3339 time.")
@pass_cli
def list_grants(cli: Cli, principal_id: str | None, as_of: str | None) -> None:
    """The grants in force that you may see."""
    given = {"principal_id": principal_id, "as_of": as_of}
    params = [(name, value) for name, value in given.items() if value is not None]
    items = cli.run(lambda client: all_pages(client, "/v1/grants", params))
    rows = [
        (g["grant_id"], g["principal_id"], g["principal_name"], g["role"],
         g["scope"] or "registry", g["expires_at"])
        for g in items
    ]  # fmt: skip
    columns = ("grant", "principal", "name", "role", "scope", "expires")
    cli.output.table({"items": items}, columns, rows)


@grant.command("give")
@click.argument("principal_id")
@click.argument("role")
@click.option("--project")
@click.option("--folder", help="A folder of the project.")
@click.option("--environment", help="An environment of the project.")
@click.option("--expires-at", help="RFC 3339.")
@ask_option
@pass_cli
def give(
    cli: Cli,
    principal_id: str,
    role: str,
    project: str | None,
    folder: str | None,
    environment: str | None,
    expires_at: str | None,
    ask: str | None,
) -> None:
    """Give ROLE (`scrinia role list`); in the whole registry where no project is named."""
    body: dict[str, Any] = {"principal_id": principal_id, "role": role, "expires_at": expires_at}
    body |= _scope(project, folder, environment)
    if ask is not None:
        ask_for(cli, "grant", body, ask)
        return
    answer = cli.call("POST", "/v1/grants", body)
    cli.output.say(answer, answer["grant_id"])


@grant.command("revoke")
@click.argument("grant_id")
@click.option("--reason", "-m", help="Why.")
@pass_cli
def revoke_grant(cli: Cli, grant_id: str, reason: str | None) -> None:
    """Take a grant away."""
    answer = cli.call("DELETE", f"/v1/grants/{grant_id}", {"reason": reason})
    cli.output.say(answer, f"{answer['role']} taken from {answer['principal_id']}.")


@click.group()
def token() -> None:
    """API tokens."""


@token.command("list")
@click.option("--principal", "principal_id", help="Only this principal's.")
@pass_cli
def list_tokens(cli: Cli, principal_id: str | None) -> None:
    """Tokens, without their secrets."""
    params = [("principal_id", principal_id)] if principal_id is not None else []
    items = cli.run(lambda client: all_pages(client, "/v1/tokens", params))
    rows = [
        (t["token_id"], t["principal_id"], t["principal_name"], t["description"], t["scopes"],
         t["expires_at"], t["revoked"], t["last_used_at"])
        for t in items
    ]  # fmt: skip
    columns = (
        "token",
        "principal",
        "name",
        "description",
        "scopes",
        "expires",
        "revoked",
        "last used",
    )
    cli.output.table({"items": items}, columns, rows)


@token.command("issue")
@click.argument("principal_id")
@click.option("--description")
@click.option("--permission", "permissions", multiple=True, type=click.Choice(PERMISSIONS))
@click.option("--project")
@click.option("--folder")
@click.option("--environment")
@click.option("--expires-at", help="RFC 3339.")
@click.option("--network", "networks", multiple=True, help="It counts from there only (CIDR).")
@ask_option
@pass_cli
def issue(
    cli: Cli,
    principal_id: str,
    description: str | None,
    permissions: tuple[str, ...],
    project: str | None,
    folder: str | None,
    environment: str | None,
    expires_at: str | None,
    networks: tuple[str, ...],
    ask: str | None,
) -> None:
    """Issue a token and print it, once. Options narrow what it may do."""
    scope: dict[str, Any] = _scope(project, folder, environment)
    if permissions:
        scope["permissions"] = list(permissions)
    body = {
        "principal_id": principal_id,
        "description": description,
        "scopes": [scope] if scope else None,
        "expires_at": expires_at,
        "networks": list(networks) or None,
    }
    if ask is not None:
        ask_for(cli, "token", body, ask)
        return
    answer = cli.call("POST", "/v1/tokens", body)
    cli.output.say(answer, answer["token"])


@token.command("revoke")
@click.argument("token_id")
@click.option("--reason", "-m", help="Why.")
@pass_cli
def revoke_token(cli: Cli, token_id: str, reason: str | None) -> None:
    """Take a token away."""
    answer = cli.call("DELETE", f"/v1/tokens/{token_id}", {"reason": reason})
    cli.output.say(answer, f"Token {token_id} is revoked.")
