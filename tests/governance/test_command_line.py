"""Governance on the command line."""

import asyncio
import json
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import rfc8785

from domain.intent import PAYLOAD_TYPE
from ledger.payload import pre_authentication_encoding
from ledger.signing import Signer
from ledger.trust import possession_text
from tests.harness import ROOT, Answer, Api, Caller, Process, registry, text_content, verify


def test_the_second_tour_of_the_readme(server: Process, tmp_path: Path) -> None:
    """As it stands there, by two people and their CI."""
    readme = (ROOT / "README.md").read_text()
    tour = readme.partition("## A second tour")[2].partition("```\n")[2].partition("```")[0]
    script = tmp_path / "tour.sh"
    script.write_text(f'set -e\nscrinia() {{ "{sys.executable}" -m api.cli.main "$@"; }}\n{tour}')
    done = subprocess.run(
        ["bash", str(script)], cwd=tmp_path, capture_output=True, text=True, timeout=120,
        env=server.environment | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "rules_not_met" in done.stderr and "missing: has 0 of 1 approvals" in done.stdout
    assert (
        "check lint has to pass" in done.stderr
        and "not one's own" in done.stdout
        and "You wrote" in done.stderr
    )
    assert "First greeting" in done.stdout and "is applied" in done.stdout
    assert "proposed by Ann (" in done.stdout and "approved by Ben (" in done.stdout
    assert "lint" in done.stdout and "Ben (" in done.stdout.split("is applied")[1]  # the trail
    assert "Greet {{name}} in one line." in done.stdout
    assert "change.approved" in done.stdout and "no fault" in done.stdout


def test_the_rest_of_governance_on_the_command_line(server: Process, tmp_path: Path) -> None:
    def ok(*args: str) -> str:
        return server.cli(*args).stdout

    file = tmp_path / "a.txt"
    file.write_text("a")
    ok("project", "create", "acme")
    ok("prompt", "create", "acme/mail", str(file))
    said = ok(
        "environment", "set", "acme", "production", "--approvals", "1", "--check", "lint:24",
        "--freeze", "fri,sat 16:00-24:00 Europe/Berlin", "--freeze",
        "2099-12-20T00:00:00Z/2099-12-31T00:00:00Z", "--label-hours", "48", "--owners",
    )  # fmt: skip
    assert "1 approval(s), one by an owner of the folder; check lint at most 24 hours" in said
    rules = tmp_path / "rules.json"
    rules.write_text(ok("environment", "show", "acme", "production", "--json"))
    assert "stays as it is" in ok("environment", "set", "acme", "production", "--file", str(rules))
    assert "Berlin" in rules.read_text()
    assert "needs nothing" in ok("environment", "set", "acme", "qa", "--order", "1")
    assert ok("environment", "list", "acme").splitlines()[1].split()[:2] == ["1", "qa"]
    assert "any other" in ok("environment", "remove", "acme", "qa")
    me = json.loads(ok("whoami", "--json"))["principal_id"]
    assert me in ok("owners", "set", "acme", me, "--folder", "sales")
    assert "sales" in ok("owners", "list", "acme")
    wrong = server.cli("environment", "set", "acme", "qa", "--freeze", "whenever", check=False)
    assert wrong.returncode == 2 and "neither" in wrong.stderr
    urgent = ok("promote", "acme/mail", "--break-glass", "-m", "leak")
    change = re.search(r"review (acme/\S+)", urgent)[1]
    assert "to be reviewed" in ok("change-request", "list", "acme")
    refused = server.cli("change-request", "review", change, "accepted", check=False)
    assert refused.returncode == 1 and "somebody else" in refused.stderr
    made = ok("change-request", "propose", "acme/mail", "--remove", "-t", "End it").split()[0]
    shown = ok("change-request", "show", made)
    assert "missing: mail" in shown and "mail: version 1 is live, then nothing" in shown
    assert "revision 2" in ok("change-request", "revise", made, "acme/mail@1")
    assert "is withdrawn" in ok("change-request", "withdraw", made, "-m", "later")
    for command in ("approve", "retract", "reject", "apply"):
        assert server.cli("change-request", command, made, check=False).returncode == 1
    assert "^1" in ok("consumer", "register", "acme/mail", "shop", "--range", "^1")
    assert "shop" in ok("consumer", "list", "acme/mail")
    ok("consumer", "remove", "acme/mail", "shop", "-m", "gone")
    ok("role", "define", "translator", "prompt.read", "prompt.write")
    assert "translator" in ok("role", "list")
    group = ok("group", "create", "writers").strip()
    ok("group", "add", group, me)
    assert me in ok("group", "members", group) and "writers" in ok("group", "list")
    said = ok("explain", me, "prompt.write", "projects/acme/prompts/mail")
    assert "may prompt.write" in said and "grant.given" in said
    ok("group", "remove", group, me)
    ok("role", "remove", "translator")
    key = tmp_path / "my.key"
    assert "is yours" in ok("actor-key", "create", str(key))
    key_id = json.loads(ok("actor-key", "list", "--json"))["items"][0]["key_id"]
    ok("environment", "set", "acme", "staging", "--signed-promotion")
    refused = server.cli("promote", "acme/mail", "--to", "staging", check=False)
    assert refused.returncode == 1 and "signature" in refused.stderr
    ok("promote", "acme/mail", "--to", "staging", "--key-file", str(key))
    asked = ("--to", "staging", "-t", "Signed", "--remove")
    signed = ok("change-request", "propose", "acme/mail", *asked).split()[0]
    assert "is applied" in ok("change-request", "apply", signed, "--key-file", str(key))
    ok("actor-key", "retire", key_id, "-m", "lost")
    ok("check", "post", "acme/mail@1", "lint", "failed", "--evidence-url", "https://ci.example/1")
    assert "failed" in ok("check", "list", "acme/mail")
