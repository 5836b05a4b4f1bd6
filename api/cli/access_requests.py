"""`scrinia access-rules`, `access-request`, and `--ask`: what takes two people."""

from typing import Any

import click

from api.cli.client import all_pages
from api.cli.context import Cli, pass_cli
from api.cli.output import person

ask_option = click.option(
    "--ask", metavar="REASON", help="Ask for it: somebody else approves it, then you apply it."
)


def ask_for(cli: Cli, kind: str, body: dict[str, Any], reason: str) -> None:
    """Ask for what takes a second person; `kind` as POST /v1/access/requests names it."""
    answer = cli.call("POST", "/v1/access/requests", {kind: body, "reason": reason})
    cli.output.say(answer, answer["request_id"])


def _protected(given: str) -> dict[str, str]:
    permission, _, environment = given.partition("@")
    return {"permission": permission} | ({"environment": environment} if environment else {})


def _shown(protected: dict[str, str]) -> str:
    environment = protected.get("environment")
    return protected["permission"] + (f"@{environment}" if environment else "")


@click.command("access-rules")
@click.option(
    "--second-person", "given", multiple=True, metavar="PERMISSION[@ENVIRONMENT]",
    help="All that takes two people to give.",
)  # fmt: skip
@click.option("--none", is_flag=True, help="Nothing takes two people any more.")
@click.option("--as-of", help="A position or an RFC 3339 time.")
@ask_option
@pass_cli
def access_rules(
    cli: Cli, given: tuple[str, ...], none: bool, as_of: str | None, ask: str | None
) -> None:
    """What takes two people to give; with --second-person or --none, set it."""
    if as_of is not None and (given or none or ask):
        raise click.UsageError("The past is read, not set.")
    if (given and none) or (ask is not None and not (given or none)):
        raise click.UsageError("Name all that takes two people, or --none.")
    body = {"second_person": [_protected(one) for one in given]}
    if ask is not None:
        ask_for(cli, "rules", body, ask)
        return
    if given or none:
        answer = cli.call("PUT", "/v1/access/rules", body)
    else:
        params = [("as_of", as_of)] if as_of is not None else []
        answer = cli.call("GET", "/v1/access/rules", params=params)
    told = ", ".join(_shown(one) for one in answer["second_person"])
    cli.output.say(answer, f"Takes two people: {told or 'nothing'}")


@click.group("access-request")
def access_request() -> None:
    """What was asked for that takes two people to give."""


@access_request.command("list")
@click.option("--status", type=click.Choice(["open", "approved", "rejected", "applied", "lapsed"]))
@click.option("--awaiting", type=click.Choice(["me"]), help="Only what waits for you.")
@pass_cli
def list_requests(cli: Cli, status: str | None, awaiting: str | None) -> None:
    """What you asked for, and what you may see or give."""
    given = {"status": status, "awaiting": awaiting}
    params = [(name, value) for name, value in given.items() if value is not None]
    items = cli.run(lambda client: all_pages(client, "/v1/access/requests", params))
    rows = [
        (
            r["request_id"],
            r["status"],
            r["action"],
            person(r, "asked_by"),
            r["reason"],
            r["lapses_at"][:16],
        )
        for r in items
    ]
    columns = ("request", "status", "action", "asked by", "reason", "lapses")
    cli.output.table({"items": items}, columns, rows)


@access_request.command("show")
@click.argument("request_id")
@pass_cli
def show(cli: Cli, request_id: str) -> None:
    """One request: what is asked for, by whom, why, and who agreed."""
    told = cli.call("GET", f"/v1/access/requests/{request_id}")
    rows = [(name, value) for name, value in told.items() if name != "details"]
    rows += [(f"details.{name}", value) for name, value in told["details"].items()]
    cli.output.table(told, ("field", "value"), rows)


@access_request.command("approve")
@click.argument("request_id")
@click.option("--comment", "-m", help="What there is to say.")
@pass_cli
def approve(cli: Cli, request_id: str, comment: str | None) -> None:
    """Agree to what somebody else asked for."""
    answer = cli.call("POST", f"/v1/access/requests/{request_id}/approve", {"comment": comment})
    cli.output.say(answer, "Approved: who asked for it may apply it.")


@access_request.command("reject")
@click.argument("request_id")
@click.option("--comment", "-m", help="Why.")
@pass_cli
def reject(cli: Cli, request_id: str, comment: str | None) -> None:
    """Say no, or take back what you asked for."""
    answer = cli.call("POST", f"/v1/access/requests/{request_id}/reject", {"comment": comment})
    cli.output.say(answer, "Rejected.")


@access_request.command("apply")
@click.argument("request_id")
@pass_cli
def apply(cli: Cli, request_id: str) -> None:
    """Do what you asked for and somebody agreed to; prints a token or code, where it gives one."""
    answer = cli.call("POST", f"/v1/access/requests/{request_id}/apply")
    secret = answer.get("token") or answer.get("code")
    cli.output.say(answer, secret or answer.get("grant_id") or "Done.")
