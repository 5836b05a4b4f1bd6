"""What takes two people, from the command line; and the way out on the host."""

import json
from pathlib import Path
from typing import Any

from tests.harness import Process, verify

RULES = ("--second-person", "access.write", "--second-person", "environment.promote@production")


def said(process: Process, *arguments: str) -> str:
    return process.cli(*arguments).stdout.strip()


def _another_admin(server: Process) -> Process:
    who = said(server, "principal", "create", "Ben", "--type", "person")
    server.cli("grant", "give", who, "admin")
    token = said(server, "token", "issue", who)
    return Process(server.data_dir, {"SCRINIA_TOKEN": token})


def _agreed(server: Process, ben: Process, *arguments: str) -> str:
    """Asked for by one, approved by the other, applied: what is printed."""
    request = said(server, *arguments, "--ask", "On call")
    assert request in said(ben, "access-request", "list", "--awaiting", "me")
    assert "On call" in said(ben, "access-request", "show", request)
    assert "may apply it" in said(ben, "access-request", "approve", request, "-m", "Yes")
    return said(server, "access-request", "apply", request)


def test_two_people_give_what_takes_two(server: Process) -> None:
    ben = _another_admin(server)
    assert said(server, "access-rules") == "Takes two people: nothing"
    server.cli("access-rules", *RULES)
    assert said(server, "access-rules").endswith("access.write, environment.promote@production")
    service = said(server, "principal", "create", "ci")
    alone = server.cli("grant", "give", service, "releaser", check=False)
    assert alone.returncode == 1 and "--ask" in alone.stderr
    grant = _agreed(server, ben, "grant", "give", service, "releaser")
    assert grant in said(server, "grant", "list")
    token = _agreed(server, ben, "token", "issue", service, "--description", "CI")
    assert "releaser" in said(Process(server.data_dir, {"SCRINIA_TOKEN": token}), "whoami")
    person = said(server, "principal", "create", "Eve", "--type", "person")
    _agreed(server, ben, "grant", "give", person, "admin")
    _agreed(server, ben, "principal", "login", person, "eve@example.com")
    code = _agreed(server, ben, "principal", "recovery", person)
    assert code.startswith("scr_")
    unwanted = said(server, "grant", "give", service, "admin", "--ask", "More")
    assert said(ben, "access-request", "reject", unwanted) == "Rejected."
    for odd in (("--ask", "x"), ("--none", *RULES), ("--as-of", "5", "--none")):
        assert server.cli("access-rules", *odd, check=False).returncode == 2
    _agreed(server, ben, "access-rules", "--none")
    assert said(server, "access-rules") == "Takes two people: nothing"
    assert "production" in said(server, "access-rules", "--as-of", "12")


def test_who_has_the_host_lifts_it(server: Process) -> None:
    nothing = server.cli("lift-access-rules", "--reason", "x", check=False)
    assert nothing.returncode == 1 and "nothing to lift" in nothing.stderr
    _another_admin(server)
    server.cli("access-rules", *RULES)
    service = said(server, "principal", "create", "ci")
    lifted = json.loads(said(server, "--json", "lift-access-rules", "-m", "Ben is gone"))
    assert lifted["changed"] and lifted["second_person"] == []
    again = json.loads(said(server, "--json", "lift-access-rules", "-m", "Ben is gone"))
    assert not again["changed"]
    server.cli("grant", "give", service, "admin")  # the running server knows
    record: dict[str, Any] = server.client().ok(
        "GET",
        f"/v1/audit?action=accessrules",
        headers={"Scrinia-Min-Position": str(lifted["position"])},
    )["items"][-1]
    assert (record["actor"]["via"], record["reason"]) == ("host", "Ben is gone")
    server.stop()
    assert verify(server.data_dir).faults == []
