"""Running and checking a registry: init, serve, verify, projections."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
import uvloop

from api import logs
from api.cli.context import (
    EXIT_PARTLY,
    EXIT_REFUSED,
    EXIT_TAMPERED,
    FILE,
    Cli,
    pass_cli,
    settings_with,
)
from api.doctor import examine
from api.lifting import lift_access_rules
from api.main import initialise_if_missing, projections, serve, store_of, views_of, work
from api.settings import Settings
from api.supervisor import Supervisor
from ledger.errors import NoLedgerError, TamperedError
from ledger.ids import SystemIds
from ledger.initialising import initialise
from ledger.mapper import SigningMapper
from ledger.postgres.migrate import migrate as migrate_database
from ledger.verify import verify_ledger
from projections.errors import UnknownProjectionError
from projections.rebuild import Rebuilder
from projections.views import SqlProjection


@click.command()
@pass_cli
def init(cli: Cli) -> None:
    """Begin a registry: keys, ledger, first admin and the admin's token file."""
    directory = cli.settings.directory
    store = store_of(cli.settings)
    made = initialise(store, directory, cli.settings.token_file, SystemIds())
    value = {"ledger": made, "database": store.place, "data_dir": str(directory.path.resolve())}
    cli.output.say(
        value,
        f"Ledger {made} begins in {store.place}\n"
        f"Admin token: {cli.settings.token_file.resolve()} (mode 0600)\n"
        f"Keys: {directory.event_key.parent.resolve()} (back them up apart from the ledger)",
    )


@click.command()
@click.option(
    "--admin-url",
    help="PostgreSQL as a role that may create roles and schemas"
    " (default: SCRINIA_ADMIN_DATABASE_URL).",
)
@click.option("--post", is_flag=True, help="Also what waits until every process runs this version.")
@pass_cli
def migrate(cli: Cli, admin_url: str | None, post: bool) -> None:
    """Prepare a PostgreSQL database, or bring it up to this version."""
    admin_url = admin_url or cli.settings.admin_database_url
    if cli.settings.database_url is None or not cli.settings.on_postgres:
        raise click.UsageError("Set SCRINIA_DATABASE_URL to postgresql://role@host/database.")
    if admin_url is None:
        raise click.UsageError("Give --admin-url or set SCRINIA_ADMIN_DATABASE_URL.")
    admin_url = settings_with(admin_database_url=admin_url).admin_database_url or ""
    done = migrate_database(admin_url, cli.settings.database_url, post=post)
    applied = ", ".join(done.applied)
    text = f"Applied {applied}." if applied else "Nothing to apply: up to date."
    cli.output.say(vars(done), "\n".join([text, *done.notes]))


@click.command("serve")
@click.option("--bind", help="Address and port; port 0 takes any free one.")
@click.option("--processes", type=click.IntRange(1, 64), help="Processes that share the port.")
@click.option("--supervised", is_flag=True, hidden=True)
@pass_cli
def serve_command(cli: Cli, bind: str | None, processes: int | None, supervised: bool) -> None:
    """Serve the registry, beginning one where there is none."""
    settings = settings_with(data_dir=cli.settings.data_dir, bind=bind, processes=processes)
    _log(settings)
    if supervised:
        uvloop.run(serve(settings, lambda _: click.echo("ready"), supervised=True))
        return
    if initialise_if_missing(settings):
        click.echo(f"Began a new registry in {settings.data_dir.resolve()}")
    if settings.processes == 1:
        uvloop.run(serve(settings, lambda url: _announce(settings, url)))
    elif not asyncio.run(Supervisor(settings, lambda url: _announce(settings, url)).run()):
        raise SystemExit(EXIT_REFUSED)


@click.command()
@pass_cli
def worker(cli: Cli) -> None:
    """Keep read models and seals up to date, without a port (see SCRINIA_WORKER)."""
    _log(cli.settings)
    uvloop.run(work(cli.settings, lambda name: click.echo(f"Scrinia works as {name}")))


@click.command("lift-access-rules")
@click.option("--reason", "-m", required=True, help="Why; it is in the ledger for good.")
@pass_cli
def lift_rules(cli: Cli, reason: str) -> None:
    """Let one person alone give anything again, where nobody is left to agree."""
    outcome = asyncio.run(lift_access_rules(cli.settings, reason))
    value = {"position": outcome.position, "changed": outcome.changed, **outcome.body}
    cli.output.say(value, f"Nothing takes two people any more (position {outcome.position}).")


def _log(settings: Settings) -> None:
    logs.set_up(settings.log_level, settings.log_format)


def _announce(settings: Settings, url: str) -> None:
    token_file = settings.token_file.resolve()
    click.echo(f"Scrinia listens on {url}")
    if not token_file.exists():
        return  # another host began the registry and has it
    click.echo(f"Admin token: {token_file}")
    click.echo(f'Try: curl -H "Authorization: Bearer $(cat {token_file})" {url}/v1/whoami')


@click.command()
@click.option("--trust", type=FILE, help="A trust.json kept elsewhere.")
@click.option(
    "--checkpoint",
    type=FILE,
    help="A checkpoint kept elsewhere.",
)
@pass_cli
def verify(cli: Cli, trust: Path | None, checkpoint: Path | None) -> None:
    """Check every event, signature, chain, text, authorisation and checkpoint; list all faults."""
    directory = cli.settings.directory
    try:
        with cli.output.progress("verifying") as progress:
            report = verify_ledger(store_of(cli.settings), directory, trust, checkpoint, progress)
    except TamperedError as damage:
        click.secho(str(damage), fg="red", err=True)
        raise SystemExit(EXIT_TAMPERED) from None
    value = report.as_json()
    if report.faults and not cli.output.as_json:
        rows = [(f.position, f.code, f.detail) for f in report.faults]
        cli.output.table(value, ("position", "code", "detail"), rows)
    cli.output.say(value, report.summary())
    if report.faults:
        raise SystemExit(EXIT_TAMPERED)


@click.command()
@pass_cli
def doctor(cli: Cli) -> None:
    """Look for what is wrong with this installation, and say what to do."""
    found = examine(cli.settings)
    value = {"findings": [vars(finding) for finding in found]}
    colour = {"ok": "green", "warning": "yellow", "failed": "red"}
    lines = [
        f"{click.style(f'{one.state:<8}', colour[one.state])} {one.check}: {one.detail}"
        for one in found
    ]
    cli.output.say(value, "\n".join(lines))
    if any(finding.state == "failed" for finding in found):
        raise SystemExit(EXIT_PARTLY)


@click.group("projections")
def projections_group() -> None:
    """Look after the read models (works on the data directory; --server asks the server)."""


@projections_group.command()
@click.option("--server", is_flag=True, help="Ask the running server.")
@pass_cli
def status(cli: Cli, server: bool) -> None:
    """How far each projection has come."""
    if server:
        items = cli.call("GET", "/v1/projections")["items"]
    else:
        items = _local_status(cli.settings)
    rows = [(i["projection"], i["position"], i["head"], i["lag"]) for i in items]
    cli.output.table({"items": items}, ("projection", "position", "head", "lag"), rows)


@projections_group.command()
@click.argument("name")
@click.option("--server", is_flag=True, help="Ask the running server.")
@pass_cli
def rebuild(cli: Cli, name: str, server: bool) -> None:
    """Build a projection anew beside the live one and swap it in."""
    if server:
        answer = cli.call("POST", f"/v1/projections/{name}/rebuild")
        cli.output.say(answer, f"Rebuilding {name}: see 'scrinia projections status --server'.")
        return
    with _rebuilder(cli.settings, name) as rebuilder, cli.output.progress("rebuilding") as progress:
        position = rebuilder.rebuild(progress)
    cli.output.say({"projection": name, "position": position}, f"{name} rebuilt to {position}.")


@projections_group.command()
@click.argument("name")
@click.option("--server", is_flag=True, help="Ask the running server.")
@pass_cli
def compare(cli: Cli, name: str, server: bool) -> None:
    """Build a projection anew and compare it with the live one, row by row."""
    if server:
        value = cli.call("POST", f"/v1/projections/{name}/compare")
    else:
        with _rebuilder(cli.settings, name) as rebuilder, cli.output.progress("comparing") as bar:
            position, tables = rebuilder.compare(bar)
        value = {
            "projection": name,
            "position": position,
            "equal": all(t.equal for t in tables),
            "tables": [vars(t) for t in tables],
        }
    rows = [(t["table"], t["rows"], len(t["only_live"]), len(t["only_rebuilt"]))
            for t in value["tables"]]  # fmt: skip
    cli.output.table(value, ("table", "rows", "only live", "only rebuilt"), rows)
    if not value["equal"]:
        raise SystemExit(EXIT_PARTLY)


@contextmanager
def _rebuilder(settings: Settings, name: str) -> Iterator[Rebuilder]:
    known: dict[str, SqlProjection] = {p.name: p for p in projections()}
    if name not in known:
        raise UnknownProjectionError(f"There is no {name!r}; there are: {', '.join(known)}.")
    store = store_of(settings)
    mapper = SigningMapper(store.ledger_id(), None)
    recorder, views = store.recorder(), views_of(settings)
    try:
        yield Rebuilder(recorder, mapper, views, known[name])
    finally:
        views.close()
        recorder.close()


def _local_status(settings: Settings) -> list[dict[str, Any]]:
    store = store_of(settings)
    if not store.exists():
        raise NoLedgerError(f"There is no ledger in {store.place}: run 'scrinia init'.")
    recorder, views = store.recorder(), views_of(settings)
    try:
        head = recorder.head()
        positions = {p.name: views.position(p.name) for p in projections()}
    finally:
        views.close()
        recorder.close()
    return [
        {"projection": name, "position": position, "head": head, "lag": head - position}
        for name, position in positions.items()
    ]
