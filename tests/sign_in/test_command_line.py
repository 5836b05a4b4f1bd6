"""Signing in on the command line: the tour of docs/sign-in.md, by an admin and a person."""

import json
import stat

import pytest

from tests.harness import Process
from tests.sign_in.people import PASSWORD, code_of

NEW = "another password entirely"


@pytest.fixture(scope="module")
def database_url() -> None:
    return None


STDIN = "--password-stdin"


def password(text: str) -> dict[str, str]:
    return {"input": text + "\n"}


@pytest.fixture
def ada(server: Process) -> str:
    """A developer with a login name."""
    principal_id = server.cli("principal", "create", "Ada", "--type", "person").stdout.strip()
    server.cli("grant", "give", principal_id, "developer")
    server.cli("principal", "login", principal_id, "ada@example.com")
    return principal_id


@pytest.fixture
def hers(server: Process, ada: str) -> Process:
    """Her terminal, after her first password."""
    env = {"SCRINIA_URL": server.url, "SCRINIA_PASSWORD_MEMORY_MIB": "19"}
    terminal = Process(server.data_dir, env)
    code = server.cli("principal", "recovery", ada).stdout.strip()
    nobody = terminal.cli("whoami", check=False)
    assert nobody.returncode == 5 and "scrinia login" in nobody.stderr
    terminal.cli("recover", "ada@example.com", "--code", code, STDIN, **password(PASSWORD))
    return terminal


@pytest.fixture
def by_token(server: Process) -> Process:
    """The admin's terminal, where somebody is signed in too."""
    return Process(server.data_dir, {"SCRINIA_TOKEN": server.token})


def test_a_persons_first_day(server: Process, hers: Process, by_token: Process) -> None:
    wrong = hers.cli("login", "ada@example.com", STDIN, check=False, **password("wrong"))
    assert wrong.returncode == 1 and "invalid_credentials" in wrong.stderr
    hers.cli("login", "ada@example.com", STDIN, **password(PASSWORD))
    file = server.data_dir.parent / "sessions.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert "Ada (person" in hers.cli("whoami").stdout
    # A stale access token is renewed on the way.
    sessions = json.loads(file.read_text())
    sessions[server.url]["access_expires_at"] = "2020-01-01T00:00:00+00:00"
    old = sessions[server.url]["access_token"]
    file.write_text(json.dumps(sessions))
    assert "this one" in hers.cli("session", "list").stdout
    assert json.loads(file.read_text())[server.url]["access_token"] != old
    # A proposed second factor is nothing until its code comes back.
    session = json.loads(file.read_text())[server.url]
    client = server.client()
    client.token = session["access_token"]
    proposed = client.ok("POST", "/v1/auth/totp", {"password": PASSWORD})
    shown = hers.cli("totp", "enrol", STDIN, check=False, input=f"{PASSWORD}\n" + "000000\n" * 3)
    assert shown.returncode == 1 and "otpauth://totp/" in shown.stderr
    body = {"password": PASSWORD, "nonce": proposed["nonce"],
            "code": code_of(proposed["secret"], -1)}  # fmt: skip
    client.ok("PUT", "/v1/auth/totp", body)
    refused = hers.cli("login", "ada@example.com", STDIN, check=False, **password(PASSWORD))
    assert "second_factor_required" in refused.stderr
    hers.cli("login", "ada@example.com", STDIN, "--code", code_of(proposed["secret"]),
             **password(PASSWORD))  # fmt: skip
    assert "required" in by_token.cli("sign-in-rules", "--second-factor", "required").stdout
    assert "Ada" in hers.cli("whoami").stdout
    by_token.cli("sign-in-rules", "--second-factor", "optional")
    hers.cli("totp", "remove", STDIN, **password(PASSWORD))
    server.client().ok("POST", "/v1/auth/login", {"login": "ada@example.com", "password": PASSWORD})
    listed = json.loads(hers.cli("--json", "session", "list").stdout)["items"]
    other = next(one["session_id"] for one in listed if not one["current"])
    hers.cli("session", "end", other)


def test_what_is_over_does_not_go_on_as_somebody_else(
    server: Process, ada: str, hers: Process, by_token: Process
) -> None:
    hers.cli("login", "ada@example.com", STDIN, **password(PASSWORD))
    file = server.data_dir.parent / "sessions.json"
    # What cannot be tried out says so.
    tried = hers.cli("--dry-run", "login", "ada@example.com", STDIN, check=False,
                     **password(PASSWORD))  # fmt: skip
    assert tried.returncode != 0 and "dry-run" in tried.stderr
    by_token.cli("session", "end-all", ada)
    sessions = json.loads(file.read_text())
    sessions[server.url]["access_expires_at"] = "2020-01-01T00:00:00+00:00"
    file.write_text(json.dumps(sessions))
    hers.cli("whoami", check=False)
    without_url = Process(server.data_dir, {})
    for one in (hers, without_url):
        over = one.cli("whoami", check=False)
        assert over.returncode == 5 and "session is over" in over.stderr
    hers.cli("logout")
    assert "admin" in without_url.cli("whoami").stdout
    hers.cli("login", "ada@example.com", STDIN, **password(PASSWORD))
    hers.cli("logout")
    assert hers.cli("whoami", check=False).returncode == 5
    by_token.cli("session", "end-all", ada, "-m", "away")
    by_token.cli("principal", "remove-totp", ada)
    by_token.cli("principal", "withdraw-login", ada, "-m", "left")
    gone = hers.cli("login", "ada@example.com", STDIN, check=False, **password(PASSWORD))
    assert "invalid_credentials" in gone.stderr
    assert "no fault" in by_token.cli("verify").stdout.lower()
