"""`scrinia label`, `promote`, `rollback`."""

from pathlib import Path
from typing import Any

import click

from api.cli.client import project_path, prompt_path
from api.cli.context import PROMPT, Cli, pass_cli
from api.cli.prompts import Ref, chosen_version
from api.cli.signing import key_option, signature


@click.group()
def label() -> None:
    """Labels: movable names that point at versions."""


@label.command("list")
@click.argument("ref", type=PROMPT)
@click.option("--as-of", help="A position or an RFC 3339 time.")
@pass_cli
def list_labels(cli: Cli, ref: Ref, as_of: str | None) -> None:
    """The labels of a prompt."""
    params = {"as_of": as_of} if as_of else None
    answer = cli.call("GET", f"{prompt_path(*ref[:2])}/-/labels", params=params)
    rows = [
        (i["label"], i["version"], i["environment"], i["promoted_at"][:19], i["expires_at"])
        for i in answer["items"]
    ]
    cli.output.table(answer, ("label", "version", "environment", "since", "until"), rows)


@label.command("history")
@click.argument("ref", type=PROMPT)
@click.argument("name")
@pass_cli
def history(cli: Cli, ref: Ref, name: str) -> None:
    """Every move of a label, newest first."""
    answer = cli.call("GET", f"{prompt_path(*ref[:2])}/-/labels/{name}/history")
    rows = [(i["at"][:19], i["act"], i["from"], i["to"], i["reason"]) for i in answer["items"]]
    cli.output.table(answer, ("at", "act", "from", "to", "reason"), rows)


expires_option = click.option("--expires-at", help="Until this RFC 3339 time, then nowhere.")


def _set(cli: Cli, ref: Ref, name: str, version: int | None, **given: Any) -> None:
    path = prompt_path(*ref[:2])
    body = {"version": version if version is not None else chosen_version(cli, ref), **given}
    _say(cli, cli.call("PUT", f"{path}/-/labels/{name}", body))


def _say(cli: Cli, answer: dict[str, Any]) -> None:
    before = "" if answer["from"] is None else f" (was {answer['from']})"
    until = f" until {answer['expires_at']}" if answer["expires_at"] else ""
    if "review_due_at" in answer:
        until += f"; review {answer['project']}/{answer['change_id']} by {answer['review_due_at']}"
    state = f"points at version {answer['version']}{until}{before}"
    cli.output.say(answer, f"{answer['ref']} {state}" if answer["changed"] else
                   f"{answer['ref']} stays where it is")  # fmt: skip


@label.command("set")
@click.argument("ref", type=PROMPT)
@click.argument("name")
@click.argument("version", type=int, required=False)
@click.option("--reason", "-m", help="Why.")
@expires_option
@pass_cli
def set_label(
    cli: Cli,
    ref: Ref,
    name: str,
    version: int | None,
    reason: str | None,
    expires_at: str | None,
) -> None:
    """Point a label at VERSION (default: the reference's, else the newest)."""
    _set(cli, ref, name, version, reason=reason, expires_at=expires_at)


@label.command("remove")
@click.argument("ref", type=PROMPT)
@click.argument("name")
@click.option("--reason", "-m", help="Why.")
@pass_cli
def remove(cli: Cli, ref: Ref, name: str, reason: str | None) -> None:
    """Let a label point nowhere."""
    answer = cli.call("DELETE", f"{prompt_path(*ref[:2])}/-/labels/{name}", {"reason": reason})
    cli.output.say(answer, f"{answer['ref']} points nowhere.")


@click.command()
@click.argument("ref", type=PROMPT)
@click.option("--to", "environment", default="production", help="The environment.")
@click.option("--reason", "-m", help="Why.")
@expires_option
@click.option("--preview", is_flag=True, help="Say what is missing and what would change.")
@click.option("--break-glass", is_flag=True, help="An emergency: reviewed afterwards.")
@click.option("--force", is_flag=True, help="Whatever registered consumers it breaks.")
@key_option
@pass_cli
def promote(
    cli: Cli, /, ref: Ref, environment: str, preview: bool, key_file: Path | None, **given: Any
) -> None:
    """Promote PROJECT/NAME[@VERSION] (default: the newest version)."""
    known = cli.call("GET", project_path(ref[0]))["environments"]
    if environment not in known:
        raise click.BadParameter(
            f"{environment!r} is no environment of {ref[0]}; there are: {', '.join(known)}."
            " Other labels: scrinia label set."
        )
    if preview:
        _preview(cli, ref, environment, given["expires_at"], force=given["force"])
        return
    version = chosen_version(cli, ref)
    if key_file is not None:
        asked = {"label": environment, "version": version, "expires_at": given["expires_at"]}
        told = cli.call("POST", f"{prompt_path(*ref[:2])}/-/promotions/preview", asked)
        given["signature"] = signature(key_file, told["intent"])
    _set(cli, ref, environment, version, **given)


def _preview(cli: Cli, ref: Ref, environment: str, expires_at: str | None, *, force: bool) -> None:
    body = {
        "label": environment, "version": chosen_version(cli, ref), "expires_at": expires_at,
        "force": force,
    }  # fmt: skip
    answer = cli.call("POST", f"{prompt_path(*ref[:2])}/-/promotions/preview", body)
    verdict = "may be promoted" if answer["allowed"] else "may not be promoted yet"
    lines = [f"version {answer['version']} {verdict} to {environment}"]
    lines += [f"missing: {one['detail']}" for one in answer["missing"]]
    lines += [] if answer["permitted"] else ["missing: you may not promote there"]
    cli.output.say(answer, "\n".join(lines))
    if answer["diff"] is not None and not cli.output.as_json:
        cli.output.diff(answer["diff"]["unified"])


@click.command()
@click.argument("ref", type=PROMPT)
@click.option("--label", "name", default="production", help="The label to roll back.")
@click.option("--to", type=int, help="The version; default: the target before this one.")
@click.option("--reason", "-m", help="Why.")
@key_option
@pass_cli
def rollback(
    cli: Cli, ref: Ref, name: str, to: int | None, reason: str | None, key_file: Path | None
) -> None:
    """Return a label to an earlier target."""
    body: dict[str, Any] = {"label": name, "to": to, "reason": reason}
    if key_file is not None:
        if to is None:
            raise click.UsageError("Say --to which version, so that you know what you sign.")
        asked = {"label": name, "version": to}
        told = cli.call("POST", f"{prompt_path(*ref[:2])}/-/promotions/preview", asked)
        body["signature"] = signature(key_file, told["intent"])
    _say(cli, cli.call("POST", f"{prompt_path(*ref[:2])}/-/rollback", body))
