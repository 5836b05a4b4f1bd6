"""What every command shares: settings, output, how prompts are named, how refusals end."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click
from pydantic import ValidationError

from api.cli.client import Client, Target, run
from api.cli.output import Output
from api.cli.session_file import SessionFile, default_path
from api.settings import Settings

T = TypeVar("T")

STATUSES = ("current", "draft", "active", "deprecated", "archived", "all")
EXIT_REFUSED = 1
EXIT_USAGE = 2
EXIT_PARTLY = 3
EXIT_TAMPERED = 4
EXIT_UNREACHABLE = 5
EXIT_INTERRUPTED = 130


@dataclass(frozen=True)
class Cli:
    """The running command's settings and output; `dry_run`: nothing is committed by it."""

    settings: Settings
    output: Output
    dry_run: bool = False

    def run(self, work: Callable[[Client], Awaitable[T]]) -> T:
        """Talk to the server."""
        return run(Target.of(self.settings, self.sessions, dry_run=self.dry_run), work)

    @property
    def sessions(self) -> SessionFile:
        """Where the sessions are that `scrinia login` began."""
        return SessionFile(self.settings.session_file or default_path())

    def call(self, method: str, path: str, body: Any = None, **options: Any) -> Any:
        """One call."""
        return self.run(lambda client: client.call(method, path, body, **options))


def settings_with(**given: Any) -> Settings:
    """The settings, with what flags say; UsageError for one that cannot be."""
    try:
        return Settings(**{name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        first = error.errors()[0]
        names = [f"SCRINIA_{'_'.join(map(str, first['loc'])).upper()}"] if first["loc"] else []
        raise click.UsageError(f"{' '.join(['Setting', *names])}: {first['msg']}.") from None


pass_cli = click.make_pass_decorator(Cli)


class PromptRef(click.ParamType[Any]):
    """`project/name`, optionally with `@version` or `@label`."""

    name = "PROJECT/NAME[@REF]"

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[str, str, str | None]:
        """(project, name, reference or None)."""
        if isinstance(value, tuple):
            return value
        path, at, reference = str(value).partition("@")
        if at and not reference:
            self.fail(
                f"{value!r} ends with @: name a version or label, or leave it out.", param, ctx
            )
        project, _, name = path.partition("/")
        if not project or not name:
            self.fail(f"{value!r} is not PROJECT/NAME or PROJECT/NAME@LABEL.", param, ctx)
        return project, name, reference or None


PROMPT = PromptRef()
FILE = click.Path(path_type=Path, exists=True, dir_okay=False)


def selector(reference: str | None) -> dict[str, str]:
    """Query parameters for a reference: a number or range is a version, `sha256:…` a digest."""
    if reference is None:
        return {}
    if reference.isdecimal() or reference[0] in "^~<>=":
        return {"version": reference}
    if reference.startswith("sha256:"):
        return {"digest": reference}
    return {"label": reference}
