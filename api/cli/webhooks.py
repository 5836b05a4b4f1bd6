"""`scrinia webhook`."""

from typing import Any

import click

from api.cli.client import all_pages
from api.cli.context import Cli, pass_cli


@click.group()
def webhook() -> None:
    """Webhooks: who is told of events by HTTP."""


@webhook.command("list")
@click.option("--project", help="Only this project's.")
@pass_cli
def list_webhooks(cli: Cli, project: str | None) -> None:
    """The webhooks you may see, and how far each was told."""
    params = [("project", project)] if project is not None else []
    items = cli.run(lambda client: all_pages(client, "/v1/webhooks", params))
    rows = [
        (
            w["webhook_id"], w["url"], _place(w), ", ".join(w["types"] + w["labels"]) or "all",
            w["enabled"], w["lag"], w["failing_since"],
        )
        for w in items
    ]  # fmt: skip
    columns = ("webhook", "url", "of", "only", "enabled", "lag", "failing since")
    cli.output.table({"items": items}, columns, rows)


def _place(webhook: dict[str, Any]) -> str:
    if webhook["project"] is None:
        return "registry"
    return "/".join(part for part in (webhook["project"], webhook["folder"]) if part)


@webhook.command("create")
@click.argument("url")
@click.option("--project", help="Only this project's events.")
@click.option("--folder", help="Only a folder of the project.")
@click.option("--type", "types", multiple=True, help="A kind or kind.verb, such as label.moved.")
@click.option("--label", "labels", multiple=True, help="Only events that speak of this label.")
@click.option("--description")
@pass_cli
def create(
    cli: Cli,
    url: str,
    project: str | None,
    folder: str | None,
    types: tuple[str, ...],
    labels: tuple[str, ...],
    description: str | None,
) -> None:
    """Tell URL of events from now on; prints the secret that signs, once."""
    body: dict[str, Any] = {"url": url, "types": list(types), "labels": list(labels)}
    given = {"project": project, "folder": folder, "description": description}
    body |= {name: value for name, value in given.items() if value is not None}
    answer = cli.call("POST", "/v1/webhooks", body)
    cli.output.say(answer, f"{answer['webhook_id']}\n{answer['secret']}")


@webhook.command("change")
@click.argument("webhook_id")
@click.option("--url")
@click.option("--type", "types", multiple=True, help="A kind or kind.verb; replaces all.")
@click.option("--label", "labels", multiple=True, help="A label; replaces all.")
@click.option("--all-types", is_flag=True, help="Whatever the type.")
@click.option("--all-labels", is_flag=True, help="Whatever the label.")
@click.option("--description", help="An empty one takes it away.")
@pass_cli
def change(
    cli: Cli,
    webhook_id: str,
    url: str | None,
    types: tuple[str, ...],
    labels: tuple[str, ...],
    all_types: bool,
    all_labels: bool,
    description: str | None,
) -> None:
    """Change where to and of what."""
    given = {"url": url, "description": description, "types": list(types) or None,
             "labels": list(labels) or None}  # fmt: skip
    body = {name: value for name, value in given.items() if value is not None}
    body |= ({"types": []} if all_types else {}) | ({"labels": []} if all_labels else {})
    _patch(cli, webhook_id, body | ({"description": None} if description == "" else {}))


@webhook.command("enable")
@click.argument("webhook_id")
@click.option("--reason", "-m", help="Why.")
@pass_cli
def enable(cli: Cli, webhook_id: str, reason: str | None) -> None:
    """Deliver again, from where it stopped."""
    _patch(cli, webhook_id, {"enabled": True, "reason": reason})


@webhook.command("disable")
@click.argument("webhook_id")
@click.option("--reason", "-m", help="Why.")
@pass_cli
def disable(cli: Cli, webhook_id: str, reason: str | None) -> None:
    """Deliver nothing until it is enabled."""
    _patch(cli, webhook_id, {"enabled": False, "reason": reason})


def _patch(cli: Cli, webhook_id: str, body: dict[str, Any]) -> None:
    answer = cli.call("PATCH", f"/v1/webhooks/{webhook_id}", body)
    changed = "" if answer["changed"] else " already"
    state = "enabled" if answer["enabled"] else "disabled"
    cli.output.say(answer, f"{webhook_id} is so{changed}; it is {state}.")


@webhook.command("rotate-secret")
@click.argument("webhook_id")
@click.option("--overlap-hours", type=int, default=24, help="The old one signs beside it so long.")
@pass_cli
def rotate_secret(cli: Cli, webhook_id: str, overlap_hours: int) -> None:
    """Sign with a new secret and print it, once."""
    path = f"/v1/webhooks/{webhook_id}/rotate-secret"
    answer = cli.call("POST", path, {"overlap_hours": overlap_hours})
    cli.output.say(answer, answer["secret"])


@webhook.command("delete")
@click.argument("webhook_id")
@click.option("--reason", "-m", help="Why.")
@pass_cli
def delete(cli: Cli, webhook_id: str, reason: str | None) -> None:
    """End it for good."""
    answer = cli.call("DELETE", f"/v1/webhooks/{webhook_id}", {"reason": reason})
    cli.output.say(answer, f"{webhook_id} is deleted.")


@webhook.command("test")
@click.argument("webhook_id")
@pass_cli
def deliver_test(cli: Cli, webhook_id: str) -> None:
    """Send a test message now; exit code 1 where it is not taken."""
    answer = cli.call("POST", f"/v1/webhooks/{webhook_id}/test")
    result = answer["error"] or f"status {answer['status']}"
    taken = "taken" if answer["delivered"] else "not taken"
    hint = " (SCRINIA_WEBHOOK_ALLOWED_NETWORKS)" if answer["error"] == "address_refused" else ""
    cli.output.say(answer, f"{taken}: {result}{hint}, {answer['seconds']} s")
    if not answer["delivered"]:
        raise SystemExit(1)


@webhook.command("deliveries")
@click.argument("webhook_id")
@click.option("--failed", is_flag=True, help="Only what was not taken.")
@click.option("--limit", type=int, default=50)
@pass_cli
def deliveries(cli: Cli, webhook_id: str, failed: bool, limit: int) -> None:
    """The last attempts, the newest first."""
    path = f"/v1/webhooks/{webhook_id}/deliveries"
    answer = cli.call("GET", path, params={"failed": str(failed).lower(), "limit": str(limit)})
    rows = [
        (d["attempted_at"], d["position"], d["type"], d["attempt"], d["status"] or d["error"],
         round(d["seconds"], 3))
        for d in answer["items"]
    ]  # fmt: skip
    columns = ("attempted at", "position", "type", "attempt", "result", "seconds")
    cli.output.table(answer, columns, rows)


@webhook.command("redeliver")
@click.argument("webhook_id")
@click.option("--after", type=int, required=True, help="A ledger position; 0 is everything.")
@pass_cli
def redeliver(cli: Cli, webhook_id: str, after: int) -> None:
    """Tell again of everything after a position, or skip what lies before it."""
    answer = cli.call("POST", f"/v1/webhooks/{webhook_id}/redeliver", {"after": after})
    cli.output.say(answer, f"{webhook_id} is told of everything after {after}.")
