"""The `scrinia` command.

Exit codes: 0 done; 1 refused; 2 wrong usage; 3 done in part; 4 verification found faults;
5 no server or no token; 130 interrupted.
"""

import json
import sys
from pathlib import Path

import click

from api.cli.client import ServerRefusedError, UnreachableError
from api.cli.context import (
    EXIT_INTERRUPTED,
    EXIT_REFUSED,
    EXIT_UNREACHABLE,
    EXIT_USAGE,
    Cli,
    settings_with,
)
from api.cli.output import Output
from api.cli.overview import Overview


@click.group(cls=Overview, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
@click.option("--dry-run", is_flag=True, help="Have commands decided and nothing committed.")
@click.option("--data-dir", type=click.Path(path_type=Path), help="The data directory.")
@click.version_option(package_name="scrinia-server", prog_name="scrinia")
@click.pass_context
def cli(ctx: click.Context, as_json: bool, dry_run: bool, data_dir: Path | None) -> None:
    """A prompt registry whose history can be proven.

    Commands talk to SCRINIA_URL with SCRINIA_TOKEN, or in the session that 'scrinia login' began;
    by default to the server of the data directory.
    """
    if dry_run and ctx.invoked_subcommand in LOCAL:
        raise click.UsageError(f"{ctx.invoked_subcommand} takes no --dry-run: it asks no server.")
    output = Output(as_json=as_json, dry_run=dry_run)
    ctx.obj = Cli(settings_with(data_dir=data_dir), output, dry_run)


# What works on a data directory or database by itself.
LOCAL = ("init", "migrate", "serve", "worker", "verify", "doctor", "projections", "copy", "backup",
         "restore", "lift-access-rules")  # fmt: skip


def main() -> None:
    """The console script: refusals become one clear line and an exit code."""
    try:
        cli(_flags_first(sys.argv[1:]), standalone_mode=False)
    except click.exceptions.Abort:
        raise SystemExit(EXIT_INTERRUPTED) from None
    except click.ClickException as error:
        error.show()
        raise SystemExit(EXIT_USAGE) from None
    except ServerRefusedError as refusal:
        _show_refusal(refusal)
        raise SystemExit(EXIT_REFUSED) from None
    except UnreachableError as error:
        click.secho(str(error), fg="red", err=True)
        raise SystemExit(EXIT_UNREACHABLE) from None
    except Exception as error:
        if not isinstance(error, _refusals()):
            raise
        click.secho(str(error), fg="red", err=True)
        raise SystemExit(EXIT_REFUSED) from None


def _refusals() -> tuple[type[Exception], ...]:
    """What ends a command with one line. Imported here, where one is told from a fault."""
    import sqlite3  # noqa: PLC0415

    import psycopg  # noqa: PLC0415
    from eventsourcing.persistence import PersistenceError  # noqa: PLC0415

    from domain.errors import DomainError  # noqa: PLC0415
    from ledger.errors import LedgerError  # noqa: PLC0415
    from plugins.importer import UnknownFormatError  # noqa: PLC0415
    from projections.errors import ProjectionError  # noqa: PLC0415

    return (
        DomainError, LedgerError, ProjectionError, UnknownFormatError, PersistenceError, OSError,
        sqlite3.Error, psycopg.Error,
    )  # fmt: skip


def _flags_first(arguments: list[str]) -> list[str]:
    """`--json` and `--dry-run` count wherever they stand."""
    flags = [flag for flag in ("--json", "--dry-run") if flag in arguments]
    return flags + [argument for argument in arguments if argument not in flags]


def _show_refusal(refusal: ServerRefusedError) -> None:
    if "--json" in sys.argv:
        click.echo(json.dumps(refusal.problem), err=True)
        return
    click.secho(f"{refusal.code}: {refusal}", fg="red", err=True)
    for fault in refusal.problem.get("errors", [])[:20]:
        click.echo(f"  {fault['pointer']}: {fault['detail']}", err=True)


if __name__ == "__main__":
    main()
