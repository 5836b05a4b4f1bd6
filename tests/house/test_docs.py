"""What the code has, the documents name; what they name, the code has."""

import re
from pathlib import Path

import click
import pytest

from api.cli.main import cli
from api.http.problems import documented_codes
from api.http.routes import ROUTES
from api.settings import Settings
from domain.access import PERMISSIONS, ROLES
from domain.topics import KINDS_AND_VERBS
from ledger.verify import CODES
from tests.harness import ROOT, Api
from tests.house.write_docs import SETTINGS, settings_document

DOCS = ROOT / "docs"


def _named(path: Path, pattern: str) -> set[str]:
    return set(re.findall(pattern, path.read_text(), re.MULTILINE))


def test_every_setting() -> None:
    settings = {f"SCRINIA_{name.upper()}" for name in Settings.model_fields}
    assert _named(DOCS / "settings.md", r"^\| `(SCRINIA_[A-Z_]+)`") == settings
    assert settings_document() == SETTINGS.read_text(), "run: make docs"


def test_every_event() -> None:
    assert _named(DOCS / "events.md", r"^\| `([a-z]+\.[a-z]+)`") == KINDS_AND_VERBS


def test_every_verification_code() -> None:
    assert _named(DOCS / "verification.md", r"^\| `(E_[A-Z_]+)`") == set(CODES)


def test_every_role_and_permission() -> None:
    text = (DOCS / "access.md").read_text()
    for word in (*ROLES, *PERMISSIONS):
        assert f"`{word}`" in text, word


def _commands(group: click.Group, prefix: str = "") -> set[str]:
    found = set()
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            found |= _commands(command, f"{prefix}{name} ")
        else:
            found.add(f"{prefix}{name}")
    return found


def test_every_command() -> None:
    assert _named(DOCS / "cli.md", r"^\| `scrinia ([a-z -]+)`") == _commands(cli)


async def test_every_error_code_has_a_place_to_read_about_it(api: Api) -> None:
    page = await api.call("GET", "/docs/errors")
    for code in documented_codes():
        assert f'id="{code}"'.encode() in page.body


async def test_the_reference_needs_no_other_host(api: Api) -> None:
    document = await api.call("GET", "/openapi.json")
    assert document.body["openapi"] == "3.1.0"
    operations = [op for path in document.body["paths"].values() for op in path.values()]
    assert len(operations) == len(ROUTES)
    page = await api.call("GET", "/docs")
    assert b"http://" not in page.body and b"https://" not in page.body
    assert "default-src 'self'" in page.headers["Content-Security-Policy"]
    for source in re.findall(rb'(?:src|href)="(/docs/[^"]+)"', page.body):
        assert (await api.call("GET", source.decode())).status == 200
    assert (await api.call("GET", "/docs/static/nothing")).status == 404


@pytest.mark.parametrize("path", sorted(ROOT.glob("*.md")) + sorted(DOCS.rglob("*.md")),
                         ids=lambda p: str(p.relative_to(ROOT)))  # fmt: skip
def test_links_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", path.read_text()):
        assert (path.parent / target).exists(), target
