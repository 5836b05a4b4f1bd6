"""`scrinia rollout`: a label split among versions."""

import json
from pathlib import Path
from typing import Any

import click

from api.cli.client import prompt_path
from api.cli.context import FILE, PROMPT, Cli, pass_cli
from api.cli.prompts import Ref

_to_option = click.option("--to", "label", default="production", help="The label.")
WHOLE = 1000


@click.group()
def rollout() -> None:
    """Rollouts: a version for some of those who ask, under a label."""


def _weights(given: tuple[str, ...] | list[str], rest: int) -> dict[str, int]:
    """`VERSION=SHARE` …: what is left of 1000 is for the version `rest`."""
    weights: dict[str, int] = {}
    for one in given:
        version, equals, share = one.partition("=")
        if not equals or not version.isdecimal() or not share.isdecimal():
            raise click.UsageError(f"{one!r} is not VERSION=SHARE, a share of {WHOLE}.")
        if version in weights:
            raise click.UsageError(f"Version {version} is given two shares.")
        weights[version] = int(share)
    left = WHOLE - sum(weights.values())
    if left > 0:
        weights[str(rest)] = weights.get(str(rest), 0) + left
    return weights


def _step(text: str, rest: int) -> dict[str, Any]:
    """`AT:VERSION=SHARE[,…]`, where AT is an RFC 3339 time."""
    at, colon, shares = text.rpartition(":")
    if not colon or "=" not in shares:
        raise click.UsageError(f"{text!r} is not AT:VERSION=SHARE, with AT an RFC 3339 time.")
    return {"at": at, "weights": _weights(shares.split(","), rest)}


@rollout.command("start")
@click.argument("ref", type=PROMPT)
@_to_option
@click.option("--weight", "weights", multiple=True, metavar="VERSION=SHARE", required=True,
              help=f"A share of {WHOLE}; what is left is for the label's target.")  # fmt: skip
@click.option("--step", "steps", multiple=True, metavar="AT:VERSION=SHARE[,…]",
              help="Other shares from a moment (RFC 3339) on.")  # fmt: skip
@click.option("--rules", type=FILE, help="Targeting rules, a JSON list.")
@click.option("--shadow", type=int, help="A version answered beside, never instead.")
@click.option("--safe", type=int, help="The version that stopping leads to.")
@click.option("--change", "change_id", help="The open change request whose approvals let it.")
@click.option("--force", is_flag=True, help="Do not ask registered consumers; takes a reason.")
@click.option("--reason", "-m", help="Why.")
@pass_cli
def start(
    cli: Cli,
    /,
    ref: Ref,
    label: str,
    weights: tuple[str, ...],
    steps: tuple[str, ...],
    rules: Path | None,
    **given: Any,
) -> None:
    """Split a label, or split it otherwise."""
    path = f"{prompt_path(*ref[:2])}/-/labels/{label}"
    target = cli.call("GET", path)["version"]
    body: dict[str, Any] = {
        "rollout": _weights(weights, target),
        "ramp": [_step(one, target) for one in steps],
        "rules": _rules_in(rules) if rules is not None else [],
        **given,
    }
    answer = cli.call("PUT", path, body)
    cli.output.say(answer, f"{answer['ref']}: {_shares(answer['rollout'])}")


def _rules_in(file: Path) -> Any:
    try:
        return json.loads(file.read_text())
    except ValueError as error:
        raise click.BadParameter(f"{file} is not JSON: {error}") from None


def _shares(data: dict[str, Any]) -> str:
    return ", ".join(f"version {v} {w / 10:g} %" for v, w in data["weights"].items())


@rollout.command("show")
@click.argument("ref", type=PROMPT)
@_to_option
@pass_cli
def show(cli: Cli, ref: Ref, label: str) -> None:
    """Who gets what under a label, and what follows."""
    answer = cli.call("GET", f"{prompt_path(*ref[:2])}/-/labels/{label}")
    data = answer["rollout"]
    if data is None:
        cli.output.say(answer, f"{answer['ref']} is not split: version {answer['version']}.")
        return
    lines = [f"{answer['ref']}: {_shares(data)}"]
    if isinstance(data["rules"], list):
        lines += [f"  rule {n}: {json.dumps(one)}" for n, one in enumerate(data["rules"], start=1)]
    lines += [f"  from {one['at']}: {_shares(one)}" for one in data["ramp"]]
    for name in ("shadow", "safe", "paused"):
        if data[name] is not None:
            lines.append(f"  {name}: {data[name]}")
    cli.output.say(answer, "\n".join(lines))


@rollout.command("stop")
@click.argument("ref", type=PROMPT)
@_to_option
@click.option("--reason", "-m", help="Why.")
@pass_cli
def stop(cli: Cli, ref: Ref, label: str, reason: str | None) -> None:
    """Give everybody the label's target again, or the safe version that was named."""
    path = f"{prompt_path(*ref[:2])}/-/labels/{label}/stop"
    answer = cli.call("POST", path, {"reason": reason})
    done = "everybody gets" if answer["changed"] else "was not split: everybody gets"
    kept = f" Not the safe version: {answer['safe_refused']}" if answer["safe_refused"] else ""
    cli.output.say(answer, f"{answer['ref']}: {done} version {answer['version']}.{kept}")
