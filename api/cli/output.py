"""What a person sees: tables, diffs in colour on a terminal, progress; JSON with `--json`."""

import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import click
import orjson

CELL_CHARS_MAX = 72  # a key id fits
# What steers a terminal or turns a line around (C0, C1, bidirectional controls): somebody else's
# text could hide lines by it from who reviews them. Tabs and ends of lines stay.
_STEERING = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]|\r(?!\n)")


class Output:
    """Writes for people, or JSON for programs."""

    def __init__(self, *, as_json: bool, dry_run: bool = False) -> None:
        self.as_json = as_json
        self._dry_run = dry_run

    def json(self, value: Any) -> None:
        """One JSON value."""
        options = orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS
        click.echo(orjson.dumps(value, option=options).decode())

    def say(self, value: Any, text: str) -> None:
        """The value as JSON, or a sentence about it."""
        if self.as_json:
            self.json(value)
        else:
            self.text(f"dry run, nothing committed: {text}" if self._dry_run else text)

    def text(self, text: str) -> None:
        """Somebody's text: as it is where a program reads it, harmless on a terminal."""
        click.echo(harmless(text) if sys.stdout.isatty() else text, color=True)

    def table(self, value: Any, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """The value as JSON, or rows under headings."""
        if self.as_json:
            self.json(value)
            return
        if not rows:
            click.echo("Nothing here.")
            return
        cells = [[_cell(cell) for cell in row] for row in rows]
        widths = [
            max(len(column), *(len(row[index]) for row in cells))
            for index, column in enumerate(columns)
        ]
        click.secho(_line(columns, widths), bold=True)
        for row in cells:
            click.echo(_line(row, widths))

    def diff(self, unified: str) -> None:
        """A unified diff, coloured on a terminal."""
        for line in unified.splitlines():
            click.secho(harmless(line), fg=_diff_colour(line))

    def words(self, texts: Sequence[dict[str, Any]]) -> None:
        """Changed texts word for word: coloured on a terminal, else `[-went-]` and `{+came+}`."""
        marks = {"equal": "{}", "delete": "[-{}-]", "insert": "{{+{}+}}"}
        colours = {"equal": None, "delete": "red", "insert": "green"}
        for text in texts:
            click.secho(text["pointer"], bold=True)
            for piece in text["words"]:
                marked = marks[piece["op"]].format(harmless(piece["text"]))
                click.secho(marked, fg=colours[piece["op"]], nl=False)
            click.echo()

    @contextmanager
    def progress(self, label: str) -> Iterator[Callable[[int, int], None]]:
        """A progress bar on a terminal's error stream; the callee is given (done, of)."""
        if self.as_json or not sys.stderr.isatty():
            yield lambda done, of: None
            return
        from rich.progress import Progress  # noqa: PLC0415  # slow to import

        with Progress(transient=True) as bar:
            task = bar.add_task(label, total=None)
            yield lambda done, of: bar.update(task, completed=done, total=of)


def harmless(text: str) -> str:
    """The text with the replacement character (U+FFFD) for what would steer a terminal."""
    return _STEERING.sub("\N{REPLACEMENT CHARACTER}", text)


def person(told: Mapping[str, Any], field: str) -> str:
    """Who a field names: as shown, with the end of the id, since names are not unique."""
    principal_id, name = told[field], told.get(f"{field.removesuffix('_id')}_name")
    if principal_id is None:
        return "-"
    return f"{name} ({principal_id[-12:]})" if name else str(principal_id)


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(str(item) for item in value) or "-"
    if isinstance(value, dict):
        return ", ".join(f"{k}={_short(v)}" for k, v in value.items()) or "-"
    return _short(value)


def _short(value: Any) -> str:
    """On one line, of at most CELL_CHARS_MAX characters."""
    text = harmless(" ".join(str(value).split()))
    return text if len(text) <= CELL_CHARS_MAX else text[: CELL_CHARS_MAX - 1] + "…"


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = (cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
    return "  ".join(padded).rstrip()


def _diff_colour(line: str) -> str | None:
    if line.startswith(("+++", "---")):
        return "white"
    return {"+": "green", "-": "red", "@": "cyan"}.get(line[:1])
