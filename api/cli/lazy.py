"""Commands that are imported when they are called: most need nothing of the server."""

from collections.abc import Mapping
from importlib import import_module
from typing import Any

import click


class LazyGroup(click.Group):
    """A group whose commands `later` names: command → `module.attribute` below `api.cli`."""

    def __init__(self, *args: Any, later: Mapping[str, str], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._later = later

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Their names, in the order of the help."""
        return [*self.commands, *self._later]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """A command by its name."""
        found = self.commands.get(cmd_name)
        if found is None and cmd_name in self._later:
            module, _, attribute = self._later[cmd_name].partition(".")
            found = getattr(import_module(f"api.cli.{module}"), attribute)
        return found
