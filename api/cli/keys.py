"""`scrinia key`: the registry's own keys, rotated without a stop."""

import click

from api.cli.context import Cli, pass_cli
from domain.keys import PURPOSES
from ledger.keyfiles import create_key
from ledger.trust import possession_text


@click.group()
def key() -> None:
    """The registry's own keys: what signs events and checkpoints."""


@key.command("list")
@pass_cli
def list_keys(cli: Cli) -> None:
    """Every key there ever was, and for which positions it counts."""
    answer = cli.call("GET", "/v1/log/keys")
    rows = [
        (k["purpose"], k["key_id"], k["since"], k["until"] or "", "yes" if k["used_here"] else "")
        for k in answer["items"]
    ]
    cli.output.table(answer, ("purpose", "key", "since", "until", "signs here"), rows)


@key.command("rotate")
@click.argument("purpose", type=click.Choice(PURPOSES))
@pass_cli
def rotate(cli: Cli, purpose: str) -> None:
    """Make a new key file beside the one in use, and register it.

    Then put it in the other's place on every host, restart each, and retire the other.
    """
    folder = cli.settings.directory.event_key.parent
    file = folder / f"{purpose}.key.next"
    ledger_id = cli.call("GET", "/v1/version")["ledger"]
    if file.exists():
        raise click.UsageError(
            f"{file} is there, of an earlier rotation: put it into the other's place, or retire its"
            " key and delete it."
        )
    signer = create_key(file, purpose)
    try:
        body = {
            "purpose": purpose,
            "public_key": signer.public_key.hex(),
            "proof": signer.sign(possession_text(ledger_id, purpose)).hex(),
        }
        answer = cli.call("POST", "/v1/log/keys", body)
    except BaseException:
        file.unlink()
        raise
    in_use = next(
        k["key_id"]
        for k in cli.call("GET", "/v1/log/keys")["items"]
        if k["purpose"] == purpose and k["until"] is None and k["key_id"] != answer["key_id"]
    )
    cli.output.say(
        answer | {"file": str(file), "to_retire": in_use},
        f"{answer['key_id']} counts from position {answer['position']} on; its file is {file}.\n"
        f"1. Copy it to every host's data directory as keys/{purpose}.key (keep the old one),"
        " and restart each.\n"
        f"2. scrinia key retire {in_use}",
    )


@key.command("retire")
@click.argument("key_id")
@pass_cli
def retire(cli: Cli, key_id: str) -> None:
    """End a key, once every process signs with another."""
    answer = cli.call("DELETE", f"/v1/log/keys/{key_id}")
    cli.output.say(answer, f"{key_id} signs nothing after position {answer['position']}.")
