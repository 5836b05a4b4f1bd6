"""`scrinia change-request` and `scrinia check`."""

from pathlib import Path
from typing import Any

import click

from api.cli.client import all_pages, project_path, prompt_path
from api.cli.context import PROMPT, Cli, pass_cli
from api.cli.output import person
from api.cli.promoting import expires_option
from api.cli.prompts import Ref, chosen_version
from api.cli.signing import key_option, signature

reason_option = click.option("--reason", "-m", help="Why.")
comment_option = click.option("--comment", "-m", help="What there is to say.")


class ChangeRef(click.ParamType[Any]):
    """`project/id` of a change request."""

    name = "PROJECT/ID"

    def convert(self, value: Any, param: Any, ctx: Any) -> str:
        """Its route."""
        project, slash, change_id = str(value).partition("/")
        if not slash or not change_id:
            self.fail(f"{value!r} is not PROJECT/ID.", param, ctx)
        return f"{project_path(project)}/change-requests/{change_id}"


CHANGE = ChangeRef()


@click.group("change-request")
def change_request() -> None:
    """Change requests: promotions that are proposed, approved and applied."""


@change_request.command("list")
@click.argument("project", required=False)
@click.option("--mine", is_flag=True, help="Only what waits for you to approve or review it.")
@click.option("--status", type=click.Choice(["open", "suspended", "rejected", "withdrawn",
                                             "applied"]))  # fmt: skip
@click.option("--environment")
@pass_cli
def list_changes(
    cli: Cli, project: str | None, mine: bool, status: str | None, environment: str | None
) -> None:
    """Change requests of PROJECT, or of all projects, newest first."""
    path = f"{project_path(project)}/change-requests" if project else "/v1/change-requests"
    given = {"awaiting": "me" if mine else None, "status": status, "environment": environment}
    params = [(name, value) for name, value in given.items() if value is not None]
    items = cli.run(lambda client: all_pages(client, path, params))
    rows = [
        (
            f"{i['project']}/{i['change_id']}",
            _status(i),
            i["environment"],
            _refs(i),
            i["title"],
            person(i, "proposed_by"),
        )
        for i in items
    ]
    columns = ("request", "status", "to", "prompts", "title", "proposed by")
    cli.output.table({"items": items}, columns, rows)


def _status(item: dict[str, Any]) -> str:
    if item["review_due_at"] is not None and not item["reviewed"]:
        return "overdue for review" if item["overdue"] else "to be reviewed"
    return str(item["status"])


def _refs(item: dict[str, Any]) -> list[str]:
    return [
        f"{one['name']}@{one['version']}" if one["version"] else f"{one['name']} (removal)"
        for one in item["items"]
    ]


@change_request.command("show")
@click.argument("change", type=CHANGE)
@pass_cli
def show(cli: Cli, change: str) -> None:
    """A request: what is proposed, what was said, what is missing."""
    answer = cli.call("GET", change)
    lines = [
        f"{answer['title']}: {', '.join(_refs(answer))} to {answer['environment']}",
        f"{answer['status']}, revision {answer['revision']}",
        f"proposed by {person(answer, 'proposed_by')} at {answer['proposed_at'][:19]}",
    ]
    lines += [f"why: {answer['reason']}"] if answer["reason"] else []
    lines += [_step(one) for one in answer["items"]] if answer["status"] != "applied" else []
    lines += _terms(answer)
    lines += [f"approved{_how(one)} {_by(one)}" for one in answer["approvals"]]
    if answer["rejection"] is not None:
        lines.append(f"rejected {_by(answer['rejection'])}")
    lines += [
        f"{person(one, 'by')} at {one['at'][:19]}{_place(one['anchor'])}: {one['text']}"
        for one in answer["comments"]
    ]
    cli.output.say(answer, "\n".join([*lines, *_missing(answer)]))


def _step(item: dict[str, Any]) -> str:
    """What applying it would replace now, and whether that is what was looked at."""
    live, version = (f"version {n}" if n is not None else "nothing" for n in
                     (item["live"], item["version"]))  # fmt: skip
    moved = item["live"] != item["base"]
    since = f" (when it was proposed: {item['base'] or 'nothing'})" if moved else ""
    return f"{item['name']}: {live} is live{since}, then {version}"


def _terms(answer: dict[str, Any]) -> list[str]:
    """When and how it is applied, and what is out of the ordinary about it."""
    terms = []
    if answer["emergency"]:
        outcome = f", {answer['review']['outcome']}" if answer["review"] else ""
        due = "overdue" if answer["overdue"] else f"due {answer['review_due_at'][:19]}"
        terms.append(f"an emergency: review {due if not answer['review'] else 'done'}{outcome}")
    if answer["forced"] and not answer["emergency"]:
        terms.append("forced: consumers that it breaks are not asked")
    if answer["scheduled_at"]:
        terms.append(f"applied by itself from {answer['scheduled_at'][:19]} on")
    elif answer["automatic"]:
        terms.append("applied by itself when the rules let it")
    if answer["expires_at"]:
        terms.append(f"until {answer['expires_at'][:19]}")
    if answer["suspended_for"]:
        terms.append(f"suspended ({answer['suspended_for']}): revise it")
    return terms


def _how(verdict: dict[str, Any]) -> str:
    return " with a signature" if verdict["signature"] else ""


def _place(anchor: dict[str, Any] | None) -> str:
    if anchor is None:
        return ""
    line = f" line {anchor['line']}" if "line" in anchor else ""
    return f" on {anchor['name']}@{anchor['version']}{line}"


def _by(verdict: dict[str, Any]) -> str:
    said = f": {verdict['comment']}" if verdict["comment"] else ""
    return f"by {person(verdict, 'by')}{said}"


def _missing(answer: dict[str, Any]) -> list[str]:
    return [f"missing: {one['name']}: {one['detail']}" for one in answer["missing"]]


def _say(cli: Cli, answer: dict[str, Any]) -> None:
    """What became of a request, and what keeps it from being applied."""
    request = f"{answer['project']}/{answer['change_id']}"
    lines = [f"{request} is {answer['status']}, revision {answer['revision']}"]
    if answer["status"] == "open" and answer["automatic"]:
        lines.append("it is applied by itself when nothing is missing")
    elif answer["status"] == "open" and not answer["missing"]:
        lines.append(f"nothing is missing: scrinia change-request apply {request}")
    cli.output.say(answer, "\n".join([*lines, *_missing(answer)]))


def _items(cli: Cli, refs: tuple[Ref, ...], *, remove: bool) -> list[dict[str, Any]]:
    if len({ref[0] for ref in refs}) > 1:
        raise click.UsageError("The prompts of a request lie in one project.")
    if remove:
        return [{"name": ref[1], "version": None} for ref in refs]
    return [{"name": ref[1], "version": chosen_version(cli, ref)} for ref in refs]


@change_request.command("propose")
@click.argument("refs", type=PROMPT, nargs=-1, required=True)
@click.option("--to", "environment", default="production", help="The environment.")
@click.option("--title", "-t", required=True, help="What it is, in a line.")
@reason_option
@click.option("--automatic", is_flag=True, help="Apply it when the rules let it.")
@click.option("--at", "scheduled_at", help="Apply it by itself, from this RFC 3339 time on.")
@click.option("--remove", is_flag=True, help="Let the label point nowhere.")
@click.option("--force", is_flag=True, help="Whatever registered consumers it breaks.")
@expires_option
@pass_cli
def propose(
    cli: Cli, /, refs: tuple[Ref, ...], environment: str, remove: bool, **given: Any
) -> None:
    """Propose to promote REFS (default version: the newest), all of them together."""
    body = {"environment": environment, "items": _items(cli, refs, remove=remove), **given}
    _say(cli, cli.call("POST", f"{project_path(refs[0][0])}/change-requests", body))


@change_request.command("revise")
@click.argument("change", type=CHANGE)
@click.argument("refs", type=PROMPT, nargs=-1)
@reason_option
@click.option("--at", "scheduled_at", help="Apply it by itself, from this RFC 3339 time on.")
@expires_option
@pass_cli
def revise(cli: Cli, /, change: str, refs: tuple[Ref, ...], **given: Any) -> None:
    """Propose other versions (default: the same, on what is live now); approvals begin anew."""
    times = ("scheduled_at", "expires_at")
    body = {k: v for k, v in given.items() if v is not None or k not in times}
    body["items"] = _items(cli, refs, remove=False) if refs else None
    _say(cli, cli.call("POST", f"{change}/revise", body))


@change_request.command("comment")
@click.argument("change", type=CHANGE)
@click.argument("text")
@click.option("--on", "ref", type=PROMPT, help="PROJECT/NAME@VERSION of the request.")
@click.option("--line", type=int, help="A line of its diff.")
@pass_cli
def comment(cli: Cli, change: str, text: str, ref: Ref | None, line: int | None) -> None:
    """Say something of a request, or of a line of a prompt's diff."""
    body: dict[str, Any] = {"text": text}
    if ref is None and line is not None:
        raise click.UsageError("Say --on which prompt's diff the line is.")
    if ref is not None:
        body["anchor"] = {"name": ref[1], "version": chosen_version(cli, ref), "line": line}
    _say(cli, cli.call("POST", f"{change}/comments", body))


@change_request.command("approve")
@click.argument("change", type=CHANGE)
@comment_option
@click.option("--revision", type=int, help="The one you looked at (default: the one there is).")
@key_option
@pass_cli
def approve(
    cli: Cli, change: str, comment: str | None, revision: int | None, key_file: Path | None
) -> None:
    """Approve what is proposed now."""
    body: dict[str, Any] = {"comment": comment, "revision": revision}
    if key_file is not None:
        intent = cli.call("GET", change)["intents"]["approve"]
        body |= {"signature": signature(key_file, intent), "revision": intent["revision"]}
    _say(cli, cli.call("POST", f"{change}/approve", body))


@change_request.command("retract")
@click.argument("change", type=CHANGE)
@reason_option
@pass_cli
def retract(cli: Cli, change: str, reason: str | None) -> None:
    """Take your approval back."""
    _say(cli, cli.call("POST", f"{change}/retract", {"reason": reason}))


@change_request.command("reject")
@click.argument("change", type=CHANGE)
@comment_option
@pass_cli
def reject(cli: Cli, change: str, comment: str | None) -> None:
    """Say no to what is proposed now."""
    _say(cli, cli.call("POST", f"{change}/reject", {"comment": comment}))


@change_request.command("withdraw")
@click.argument("change", type=CHANGE)
@reason_option
@pass_cli
def withdraw(cli: Cli, change: str, reason: str | None) -> None:
    """Propose it no more."""
    _say(cli, cli.call("POST", f"{change}/withdraw", {"reason": reason}))


@change_request.command("apply")
@click.argument("change", type=CHANGE)
@key_option
@pass_cli
def apply(cli: Cli, change: str, key_file: Path | None) -> None:
    """Let what is proposed be live."""
    body: dict[str, Any] = {}
    if key_file is not None:
        intents = cli.call("GET", change)["intents"]["promote"]
        body["signatures"] = {name: signature(key_file, one) for name, one in intents.items()}
    _say(cli, cli.call("POST", f"{change}/apply", body))


@change_request.command("review")
@click.argument("change", type=CHANGE)
@click.argument("outcome", type=click.Choice(["accepted", "objected"]))
@comment_option
@pass_cli
def review(cli: Cli, change: str, outcome: str, comment: str | None) -> None:
    """Look at an emergency afterwards."""
    _say(cli, cli.call("POST", f"{change}/review", {"outcome": outcome, "comment": comment}))


@click.group()
def check() -> None:
    """Checks: what gates and outside CI say of a version."""


@check.command("post")
@click.argument("ref", type=PROMPT)
@click.argument("name")
@click.argument("state", type=click.Choice(["pending", "passed", "failed"]))
@click.option("--summary", "-m", help="What was found.")
@click.option("--evidence-url", help="Where the evidence lies.")
@click.option("--evidence-digest", help="Its SHA-256, hex.")
@pass_cli
def post(cli: Cli, /, ref: Ref, **given: Any) -> None:
    """Say that check NAME of PROJECT/NAME@VERSION (default: the newest) is in STATE."""
    version = chosen_version(cli, ref)
    path = f"{prompt_path(*ref[:2])}/-/versions/{version}/checks"
    answer = cli.call("POST", path, given)
    cli.output.say(answer, f"{answer['ref']}: check {answer['check']} {answer['state']}")


@check.command("list")
@click.argument("ref", type=PROMPT)
@pass_cli
def list_checks(cli: Cli, ref: Ref) -> None:
    """The checks of PROJECT/NAME@VERSION (default: the newest)."""
    version = chosen_version(cli, ref)
    answer = cli.call("GET", f"{prompt_path(*ref[:2])}/-/versions/{version}/checks")
    rows = [(i["name"], i["state"], i["at"][:19], i["summary"]) for i in answer["items"]]
    cli.output.table(answer, ("check", "state", "at", "summary"), rows)
