"""Ledgers on the move: copy, backup, restore."""

from contextlib import closing, suppress
from pathlib import Path

import click

from api.cli.context import EXIT_TAMPERED, FILE, Cli, pass_cli, settings_with
from api.main import stopped, store_of, views_of
from ledger.backup import (
    Backup,
    back_up,
    back_up_secrets,
    bring_up_checkpoint,
    restore_secrets,
)
from ledger.backup import restore as restore_backup
from ledger.copying import copy_ledger
from ledger.datadir import DataDirectory
from ledger.errors import ClosedError
from ledger.ids import SystemIds
from ledger.new_epoch import begin_epoch, check_keys, check_loss
from ledger.note import claimed_size
from ledger.store import LedgerStore
from ledger.verify import verify_ledger


@click.command("copy")
@click.option("--from", "source_url", required=True, help="sqlite:///… or postgresql://…")
@click.option("--to", "target_url", required=True, help="The same; PostgreSQL after migrate.")
@pass_cli
def copy_command(cli: Cli, source_url: str, target_url: str) -> None:
    """Move a stopped ledger into another database, byte for byte; the source is closed for good."""
    source = store_of(settings_with(data_dir=cli.settings.data_dir, database_url=source_url))
    target = store_of(settings_with(data_dir=cli.settings.data_dir, database_url=target_url))
    with stopped(cli.settings):
        was_open = False
        with suppress(ClosedError):  # an earlier copy has closed it, and says why
            source.ledger_id()
            was_open = True
            source.close(f"is being moved to {target.place}: run 'scrinia copy' again.")
        try:
            with source.reading() as ledger, cli.output.progress("copying") as progress:
                events = copy_ledger(ledger, target, progress)
                bring_up_checkpoint(ledger, cli.settings.directory)
            _verify(cli, target, cli.settings.directory)
        except BaseException:
            if was_open:
                source.reopen()
            raise
        source.close(f"was moved to {target.place}: set SCRINIA_DATABASE_URL to it.")
    cli.output.say(
        {"events": events, "from": source.place, "to": target.place},
        f"{events} events moved to {target.place} and verified.\n"
        f"Set SCRINIA_DATABASE_URL there; no server starts on {source.place} any more.",
    )


@click.command()
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--with-secrets", is_flag=True, help="Keys and the admin's token too.")
@pass_cli
def backup(cli: Cli, path: Path, with_secrets: bool) -> None:
    """Copy the ledger at this moment into a new folder PATH, while servers run."""
    if path.exists():
        raise click.BadParameter(f"{path} exists already: name a new folder.")
    store, directory = store_of(cli.settings), cli.settings.directory
    made = Backup(path)
    store.ledger_id()
    with cli.output.progress("backing up") as progress:
        events = back_up(store, directory, made, progress)
    if with_secrets:
        back_up_secrets(directory, cli.settings.token_file, made)
    _verify(cli, made.store, made.directory)
    without = "" if with_secrets else " Keys are not in it: back them up apart."
    cli.output.say(
        {"events": events, "backup": str(path), "secrets": with_secrets},
        f"{events} events backed up to {path} and verified.{without}",
    )


@click.command()
@click.argument("path", type=click.Path(path_type=Path, exists=True))
@click.option("--new-epoch", is_flag=True, help="Go on although later events are known to be lost.")
@click.option(
    "--lost-checkpoint",
    type=FILE,
    help="The newest checkpoint there is of what was lost (default: the data dir's).",
)
@click.option("--reason", "-m", help="Why, for the new epoch's first event.")
@pass_cli
def restore(
    cli: Cli, path: Path, new_epoch: bool, lost_checkpoint: Path | None, reason: str | None
) -> None:
    """Copy the backup in PATH into an empty store; a target that is ahead is refused."""
    if new_epoch and not reason:
        raise click.UsageError("Say why by -m: it stays in the ledger's history.")
    store, directory = store_of(cli.settings), cli.settings.directory
    kept = Backup(path)
    directory.path.mkdir(mode=0o700, parents=True, exist_ok=True)
    with stopped(cli.settings):
        lost = _newest([directory.checkpoint, *([lost_checkpoint] if lost_checkpoint else [])])
        if new_epoch or not store.exists():
            check_loss(kept, lost, new_epoch=new_epoch)
        if new_epoch:
            check_keys(kept, directory)
        with cli.output.progress("restoring") as progress:
            events = restore_backup(kept, store, directory, progress)
        restore_secrets(kept, directory, cli.settings.token_file)
        _forget_views(cli)
        if new_epoch:
            begin_epoch(store, directory, lost, reason, SystemIds())
            events += 1
        _verify(cli, store, directory)
    missing = [key.name for key in directory.key_files if not key.exists()]
    text = f"{events} events restored to {store.place} and verified."
    if missing:
        text += f"\nPut {' and '.join(missing)} into {directory.event_key.parent} before serving."
    cli.output.say({"events": events, "store": store.place, "missing_keys": missing}, text)


def _newest(checkpoints: list[Path]) -> bytes:
    """The checkpoint that shows the most events; empty where there is none."""
    notes = [file.read_bytes() for file in checkpoints if file.exists()]
    return max(notes, key=claimed_size, default=b"")


def _forget_views(cli: Cli) -> None:
    """Read models of what was there before: built anew by the next server."""
    with closing(views_of(cli.settings)) as views:
        views.forget_all()


def _verify(cli: Cli, store: LedgerStore, directory: DataDirectory) -> None:
    with cli.output.progress("verifying") as progress:
        report = verify_ledger(store, directory, progress=progress)
    if report.faults:
        rows = [(f.position, f.code, f.detail) for f in report.faults]
        cli.output.table(report.as_json(), ("position", "code", "detail"), rows)
        raise SystemExit(EXIT_TAMPERED)
