"""`scrinia actor-key`, and signing what one approves or promotes with one's own key."""

from pathlib import Path
from typing import Any

import click
import rfc8785

from api.cli.context import FILE, Cli, pass_cli
from domain.intent import PAYLOAD_TYPE
from ledger.errors import KeyFileError
from ledger.keyfiles import create_key, load_key
from ledger.payload import pre_authentication_encoding
from ledger.trust import possession_text

PURPOSE = "actor"
key_option = click.option("--key-file", type=FILE, help="Sign with this key of yours.")


@click.group("actor-key")
def actor_key() -> None:
    """Keys of your own, with which you sign what you approve and promote."""


@actor_key.command("create")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@pass_cli
def create(cli: Cli, file: Path) -> None:
    """Make a key in FILE (mode 0600) and register it as yours."""
    if file.exists():
        raise click.UsageError(f"{file} is there already: nothing is overwritten.")
    if cli.dry_run:
        raise click.UsageError("actor-key create takes no --dry-run: it writes a file.")
    if not file.absolute().parent.is_dir():
        raise click.UsageError(f"There is no folder {file.absolute().parent}.")
    principal_id = cli.call("GET", "/v1/whoami")["principal_id"]
    ledger_id = cli.call("GET", "/v1/version")["ledger"]
    signer = create_key(file, PURPOSE)
    proof = signer.sign(possession_text(ledger_id, f"actor/{principal_id}"))
    body = {"public_key": signer.public_key.hex(), "proof": proof.hex()}
    try:
        answer = cli.call("POST", f"/v1/principals/{principal_id}/keys", body)
    except BaseException:
        file.unlink()
        raise
    cli.output.say(answer, f"{answer['key_id']} is yours; its file is {file}.")


@actor_key.command("list")
@click.argument("principal_id", required=False)
@pass_cli
def list_keys(cli: Cli, principal_id: str | None) -> None:
    """The keys that you, or PRINCIPAL_ID, sign with."""
    owner = principal_id or cli.call("GET", "/v1/whoami")["principal_id"]
    answer = cli.call("GET", f"/v1/principals/{owner}/keys")
    cli.output.table(answer, ("key",), [(one["key_id"],) for one in answer["items"]])


@actor_key.command("retire")
@click.argument("key_id")
@click.option("--of", "principal_id", help="Whose (default: yours).")
@click.option("--reason", "-m", help="Why.")
@pass_cli
def retire(cli: Cli, key_id: str, principal_id: str | None, reason: str | None) -> None:
    """Sign with a key no more."""
    owner = principal_id or cli.call("GET", "/v1/whoami")["principal_id"]
    answer = cli.call("DELETE", f"/v1/principals/{owner}/keys/{key_id}", {"reason": reason})
    cli.output.say(answer, f"{key_id} signs nothing any more.")


def signature(file: Path, intent: dict[str, Any]) -> dict[str, str]:
    """Your signature over an intent, as the server takes it; UsageError for another file."""
    try:
        signer = load_key(file, PURPOSE)
    except KeyFileError as error:
        raise click.UsageError(str(error)) from None
    message = pre_authentication_encoding(rfc8785.dumps(intent), PAYLOAD_TYPE)
    return {"key_id": signer.key_id, "signature": signer.sign(message).hex()}
