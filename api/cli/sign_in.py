"""`scrinia login`, `logout`, `password`, `recover`, `totp`, `session`: who one is, by password."""

import shlex
import sys
from typing import Any

import click

from api.cli.client import ServerRefusedError, Target, UnreachableError, address, all_pages, run
from api.cli.context import Cli, pass_cli
from api.cli.session_file import StoredSession

CODE_TRIES = 3
_FROM_STDIN = click.option(
    "--password-stdin", is_flag=True, help="Read the password from standard input, one line."
)


def _password(text: str, *, from_stdin: bool, confirm: bool = False) -> str:
    if from_stdin:
        return sys.stdin.readline().rstrip("\n")
    if not sys.stdin.isatty():
        raise click.UsageError("There is no terminal to ask on: use --password-stdin.")
    return str(click.prompt(text, hide_input=True, err=True, confirmation_prompt=confirm))


def _at_the_door(cli: Cli, path: str, body: dict[str, Any]) -> Any:
    """A call that takes no token."""
    if cli.dry_run:
        raise click.UsageError("This cannot be tried out: leave --dry-run away.")
    return run(Target(address(cli.settings), None), lambda client: client.call("POST", path, body))


@click.command()
@click.argument("login_name", metavar="LOGIN")
@click.option("--code", help="Of the second factor; asked for where it is needed.")
@_FROM_STDIN
@pass_cli
def login(cli: Cli, login_name: str, code: str | None, password_stdin: bool) -> None:
    """Sign in by password; commands are yours then, until `scrinia logout`."""
    password = _password("Password", from_stdin=password_stdin)
    body = {"login": login_name, "password": password, "code": code}
    try:
        answer = _at_the_door(cli, "/v1/auth/login", body)
    except ServerRefusedError as refusal:
        if refusal.code != "second_factor_required" or password_stdin:
            raise
        body["code"] = click.prompt("Code of the second factor", err=True)
        answer = _at_the_door(cli, "/v1/auth/login", body)
    _end_held(cli)
    cli.sessions.keep(address(cli.settings), StoredSession.of(answer))
    told = {name: value for name, value in answer.items() if not name.endswith("_token")}
    cli.output.say(told, f"Signed in until {answer['expires_at'][:16]} UTC.")
    if cli.settings.token:
        click.echo("SCRINIA_TOKEN is set: commands go on with it, not as you.", err=True)


def _end_held(cli: Cli) -> dict[str, Any]:
    """End the session that is kept here, if it is not over."""
    url = address(cli.settings)
    held = cli.sessions.get(url)
    answer: dict[str, Any] = {"ended": held is not None}
    if held is not None and not held.is_over:
        target = Target(url, None, sessions=cli.sessions)
        try:
            answer = run(target, lambda client: client.call("POST", "/v1/auth/logout"))
        except (ServerRefusedError, UnreachableError) as error:
            click.echo(f"It is forgotten here; the server says: {error}", err=True)
    cli.sessions.keep(url, None)
    return answer


@click.command()
@pass_cli
def logout(cli: Cli) -> None:
    """End the session that `scrinia login` began."""
    if cli.dry_run:
        raise click.UsageError("This cannot be tried out: leave --dry-run away.")
    if cli.sessions.get(address(cli.settings)) is None:
        cli.output.say({"ended": False}, f"Not signed in at {address(cli.settings)}.")
        return
    cli.output.say(_end_held(cli), "Signed out.")


@click.command()
@click.argument("login_name", metavar="LOGIN")
@click.option("--code", required=True, help="What an admin handed out.")
@_FROM_STDIN
@pass_cli
def recover(cli: Cli, login_name: str, code: str, password_stdin: bool) -> None:
    """Set a password with the code that an admin handed out."""
    password = _password("New password", from_stdin=password_stdin, confirm=True)
    body = {"login": login_name, "code": code, "password": password}
    answer = _at_the_door(cli, "/v1/auth/recover", body)
    cli.output.say(answer, f"The password is set: scrinia login {shlex.quote(login_name)}")


@click.command()
@pass_cli
def password(cli: Cli) -> None:
    """Change your password; your other sessions end. Asks on the terminal."""
    current = _password("Current password", from_stdin=False)
    new = _password("New password", from_stdin=False, confirm=True)
    answer = cli.call("POST", "/v1/auth/password", {"current": current, "new": new})
    cli.output.say(answer, "The password is changed.")


@click.group()
def totp() -> None:
    """Your second factor: codes of an authenticator app."""


@totp.command("enrol")
@_FROM_STDIN
@pass_cli
def enrol(cli: Cli, password_stdin: bool) -> None:
    """Have a second factor asked for from now on; prints the recovery codes, once.

    Your other sessions end.
    """
    body = {"password": _password("Password", from_stdin=password_stdin)}
    proposed = cli.call("POST", "/v1/auth/totp", body)
    click.echo(f"Add this to your authenticator app:\n  {proposed['uri']}", err=True)
    body["nonce"] = proposed["nonce"]
    answer = _enrolled(cli, body)
    click.echo("The second factor is on. Keep these recovery codes; each goes once:", err=True)
    cli.output.say(answer, "\n".join(answer["recovery_codes"]))


def _enrolled(cli: Cli, body: dict[str, str]) -> Any:
    """The proposed secret stays: a digit that was mistyped throws it out of no app."""
    for left in range(CODE_TRIES - 1, -1, -1):
        code = click.prompt("Code it shows", err=True)
        try:
            return cli.call("PUT", "/v1/auth/totp", {**body, "code": code})
        except ServerRefusedError as refusal:
            if refusal.code != "invalid_credentials" or not left:
                raise
            click.echo(f"{refusal} Try again.", err=True)
    return None


@totp.command("remove")
@_FROM_STDIN
@pass_cli
def remove(cli: Cli, password_stdin: bool) -> None:
    """Have no second factor asked for any more."""
    body = {"password": _password("Password", from_stdin=password_stdin)}
    answer = cli.call("DELETE", "/v1/auth/totp", body)
    cli.output.say(answer, "No second factor is asked for.")


@click.group()
def session() -> None:
    """Sessions: who is signed in where."""


@session.command("list")
@click.option("--principal", "principal_id", help="Of somebody else.")
@pass_cli
def list_sessions(cli: Cli, principal_id: str | None) -> None:
    """The sessions that are not over."""
    params = [("principal_id", principal_id)] if principal_id is not None else []
    items = cli.run(lambda client: all_pages(client, "/v1/sessions", params))
    rows = [
        (s["session_id"], ", ".join(s["factors"]), s["created_at"][:19], s["refreshed_at"][:19],
         s["expires_at"][:19], "this one" if s["current"] else "")
        for s in items
    ]  # fmt: skip
    columns = ("session", "by", "since", "refreshed", "until", "which")
    cli.output.table({"items": items}, columns, rows)


@session.command("end")
@click.argument("session_id")
@pass_cli
def end(cli: Cli, session_id: str) -> None:
    """End a session: yours, or somebody's whose access you see to."""
    answer = cli.call("DELETE", f"/v1/sessions/{session_id}")
    cli.output.say(answer, f"Session {session_id} is ended.")


@session.command("end-all")
@click.argument("principal_id")
@click.option("--reason", "-m", help="Why.")
@pass_cli
def end_all(cli: Cli, principal_id: str, reason: str | None) -> None:
    """End every session of a principal."""
    answer = cli.call("DELETE", f"/v1/principals/{principal_id}/sessions", {"reason": reason})
    cli.output.say(answer, f"Every session of {principal_id} is ended.")


@click.command("sign-in-rules")
@click.option("--second-factor", type=click.Choice(["required", "optional"]), help="Set it.")
@pass_cli
def sign_in_rules(cli: Cli, second_factor: str | None) -> None:
    """What is asked of every session before it may do anything."""
    if second_factor is None:
        answer = cli.call("GET", "/v1/auth/rules")
    else:
        answer = cli.call("PUT", "/v1/auth/rules", {"second_factor": second_factor})
    cli.output.say(answer, f"Second factor: {answer['second_factor']}")
