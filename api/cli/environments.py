"""`scrinia environment` and `scrinia owners`."""

import json
import re
from pathlib import Path
from typing import Any

import click

from api.cli.client import project_path
from api.cli.context import FILE, Cli, pass_cli

_WEEKLY = re.compile(
    r"(?P<days>[a-z]{3}(?:, ?[a-z]{3})*) (?P<from>[^\s-]+)-(?P<to>\S+) (?P<zone>\S+)", re.IGNORECASE
)


@click.group()
def environment() -> None:
    """Environments: labels with rules, in the order of promotion."""


@environment.command("list")
@click.argument("project")
@click.option("--as-of", help="A position or an RFC 3339 time.")
@pass_cli
def list_environments(cli: Cli, project: str, as_of: str | None) -> None:
    """A project's environments and what a promotion into each needs."""
    params = {"as_of": as_of} if as_of else None
    answer = cli.call("GET", f"{project_path(project)}/environments", params=params)
    rows = [(i["order"], i["environment"], "; ".join(_needs(i))) for i in answer["items"]]
    cli.output.table(answer, ("order", "environment", "a promotion needs"), rows)


@environment.command("show")
@click.argument("project")
@click.argument("name")
@click.option("--as-of", help="A position or an RFC 3339 time.")
@pass_cli
def show(cli: Cli, project: str, name: str, as_of: str | None) -> None:
    """The rules of environment NAME."""
    params = {"as_of": as_of} if as_of else None
    answer = cli.call("GET", f"{project_path(project)}/environments/{name}", params=params)
    cli.output.say(answer, f"{project}: {name} needs {'; '.join(_needs(answer))}")


@environment.command("set")
@click.argument("project")
@click.argument("name")
@click.option("--order", type=int, help="Its place among the project's, from 1.")
@click.option("--from", "from_environment", help="The version is live in this one first.")
@click.option("--promoter-role", "promoter_roles", multiple=True, help="Who promotes has it.")
@click.option("--approvals", "count", type=int, default=0, help="So many others approve.")
@click.option("--approver-role", "roles", multiple=True, help="Each of them by one of these.")
@click.option("--owners", is_flag=True, help="One of them owns the prompt's folder.")
@click.option("--authors-may-approve", "authors", is_flag=True, help="Also who wrote it.")
@click.option("--signed-approvals", "signed", is_flag=True, help="With the approver's own key.")
@click.option("--signed-promotion", is_flag=True, help="With the promoter's own key.")
@click.option("--approval-hours", type=int, help="An approval counts for so long.")
@click.option("--check", "checks", multiple=True, metavar="NAME[:HOURS]", help="It has passed.")
@click.option(
    "--freeze", "freezes", multiple=True, metavar="WINDOW",
    help="Nothing then: START/END (RFC 3339), or 'fri,sat 16:00-24:00 Europe/Berlin'.",
)  # fmt: skip
@click.option("--label-hours", "label_hours_max", type=int, help="Nothing is live for longer.")
@click.option("--guarded-rollback", is_flag=True, help="A rollback needs all of it too.")
@click.option("--review-hours", type=int, default=24, help="An emergency is reviewed within.")
@click.option("--no-emergency", is_flag=True, help="There are no emergencies.")
@click.option("--access-log", is_flag=True, help="Reads by it are put on record.")
@click.option("--file", "file", type=FILE, help="The rules as JSON, as 'show --json' has them.")
@click.option("--reason", "-m", help="Why.")
@pass_cli
def set_environment(
    cli: Cli, /, project: str, name: str, file: Path | None, order: int | None,
    reason: str | None, **given: Any,
) -> None:  # fmt: skip
    """Make environment NAME, or give it these rules: what is left out needs nothing."""
    if file is not None:
        _check_only_file(given)
    rules = _from_file(file) if file is not None else _rules(**given)
    path = f"{project_path(project)}/environments/{name}"
    answer = cli.call("PUT", path, {**rules, "order": order, "reason": reason})
    needs = "; ".join(_needs(answer))
    state = "needs" if answer["changed"] else "stays as it is: it needs"
    cli.output.say(answer, f"{project}: {name} {state} {needs}")


def _check_only_file(given: dict[str, Any]) -> None:
    """UsageError where rules are given beside those of a file."""
    context = click.get_current_context()
    beside = [
        name for name in given
        if context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE
    ]  # fmt: skip
    if beside:
        raise click.UsageError("--file holds all of the rules: give them there, or without it.")


def _from_file(file: Path) -> dict[str, Any]:
    told = ("project", "environment", "order", "position", "changed")
    try:
        rules = json.loads(file.read_text())
    except ValueError as error:
        raise click.BadParameter(f"{file} is not JSON: {error}") from None
    if not isinstance(rules, dict):
        raise click.BadParameter(f"{file} holds no JSON object.")
    return {name: value for name, value in rules.items() if name not in told}


def _rules(
    checks: tuple[str, ...], freezes: tuple[str, ...], approval_hours: int | None,
    review_hours: int, no_emergency: bool, promoter_roles: tuple[str, ...],
    signed_promotion: bool, **given: Any,
) -> dict[str, Any]:  # fmt: skip
    approvals = {name: given.pop(name) for name in ("count", "owners", "authors", "signed")}
    roles = list(given.pop("roles"))
    return {
        **given,
        "promoter_roles": list(promoter_roles),
        "signed": signed_promotion,
        "approvals": {**approvals, "roles": roles, "max_age_hours": approval_hours},
        "checks": [_check(text) for text in checks],
        "freezes": [_freeze(text) for text in freezes],
        "review_hours": None if no_emergency else review_hours,
    }


def _check(text: str) -> dict[str, Any]:
    name, colon, hours = text.partition(":")
    if colon and not hours.isdecimal():
        raise click.BadParameter(f"{text!r} is not NAME or NAME:HOURS.")
    return {"name": name, "max_age_hours": int(hours) if colon else None}


def _freeze(text: str) -> dict[str, Any]:
    weekly = _WEEKLY.fullmatch(text.strip())
    if weekly:
        days = [day.strip().lower() for day in weekly["days"].split(",")]
        return {
            "days": days, "from": weekly["from"], "to": weekly["to"],
            "time_zone": weekly["zone"],
        }  # fmt: skip
    start, slash, end = text.partition("/")
    if not slash or " " in text.strip():
        raise click.BadParameter(
            f"{text!r} is neither START/END nor 'DAY,DAY HH:MM-HH:MM Area/City'."
        )
    return {"starts_at": start, "ends_at": end}


def _needs(rules: dict[str, Any]) -> list[str]:
    """What an environment's rules ask for, in words."""
    approvals = rules["approvals"]
    needs = []
    if rules["promoter_roles"]:
        needs.append(f"a promoter who is {' or '.join(rules['promoter_roles'])}")
    if rules["from_environment"]:
        needs.append(f"to be live in {rules['from_environment']}")
    if approvals["count"]:
        needs.append(_approvals(approvals))
    needs += [f"check {check['name']}{_age(check['max_age_hours'])}" for check in rules["checks"]]
    needs += [f"not {_window(freeze)}" for freeze in rules["freezes"]]
    if rules["signed"]:
        needs.append("the promoter's signature")
    if rules["label_hours_max"]:
        needs.append(f"an end within {rules['label_hours_max']} hours")
    if rules["guarded_rollback"]:
        needs.append("all of it for rollbacks too")
    needs = needs or ["nothing but the permission"]
    if rules["access_log"]:
        needs.append("reads on record")
    if rules["review_hours"] is None:
        return [*needs, "no emergencies"]
    return [*needs, f"emergencies reviewed within {rules['review_hours']} hours"]


def _approvals(rule: dict[str, Any]) -> str:
    whose = f" by {' or '.join(rule['roles'])}" if rule["roles"] else ""
    owners = ", one by an owner of the folder" if rule["owners"] else ""
    authors = ", authors too" if rule["authors"] else ""
    signed = "signed " if rule["signed"] else ""
    age = _age(rule["max_age_hours"])
    return f"{rule['count']} {signed}approval(s){whose}{age}{owners}{authors}"


def _age(hours: int | None) -> str:
    return f" at most {hours} hours old" if hours is not None else ""


def _window(freeze: dict[str, Any]) -> str:
    if "starts_at" in freeze:
        return f"{freeze['starts_at']} to {freeze['ends_at']}"
    days = ",".join(freeze["days"])
    return f"{days} {freeze['from']}-{freeze['to']} {freeze['time_zone']}"


@environment.command("remove")
@click.argument("project")
@click.argument("name")
@click.option("--reason", "-m", help="Why.")
@pass_cli
def remove_environment(cli: Cli, project: str, name: str, reason: str | None) -> None:
    """Let environment NAME be a label like any other."""
    path = f"{project_path(project)}/environments/{name}"
    answer = cli.call("DELETE", path, {"reason": reason})
    cli.output.say(answer, f"{name} is a label like any other.")


@click.group()
def owners() -> None:
    """Owners of folders: who has to approve what lies in them, where the rules ask."""


@owners.command("list")
@click.argument("project")
@pass_cli
def list_owners(cli: Cli, project: str) -> None:
    """Who owns what in a project."""
    answer = cli.call("GET", f"{project_path(project)}/owners")
    rows = [
        (i["folder"] or "(all)", one, i["names"].get(one))
        for i in answer["items"]
        for one in i["owners"]
    ]
    cli.output.table(answer, ("folder", "owner", "name"), rows)


@owners.command("set")
@click.argument("project")
@click.argument("principals", nargs=-1)
@click.option("--folder", help="A folder of the project (default: all of it).")
@click.option("--reason", "-m", help="Why.")
@pass_cli
def set_owners(
    cli: Cli, project: str, principals: tuple[str, ...], folder: str | None, reason: str | None
) -> None:
    """Let a folder be owned by PRINCIPALS, by nobody where there are none."""
    body = {"folder": folder, "owners": list(principals), "reason": reason}
    answer = cli.call("PUT", f"{project_path(project)}/owners", body)
    where = f"{project}/{folder}" if folder else project
    cli.output.say(answer, f"{where} is owned by {', '.join(principals) or 'nobody'}.")
