"""The importer contract: how prompts written for something else come in.

An importer turns a path into prompts. It runs in the CLI, reads files and nothing else, and knows
neither server nor ledger; the server sees ordinary commands. To add one, write a class that fits
`Importer` in a distribution of your own and announce it:

    [project.entry-points."scrinia.importers"]
    my-format = "my_package:MyImporter"

`scrinia import --format auto` asks every importer in order of `priority` and takes the first that
recognises the path; `--format my-format` takes yours.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Protocol

ENTRY_POINT_GROUP = "scrinia.importers"
FILE_BYTES_MAX = 2 * 1024 * 1024


@dataclass(frozen=True)
class ImportedPrompt:
    """A prompt that was found: where, under which name, and its content as DESIGN section 5 says.

    `description` and `tags` None: the source says nothing about them, leave what is there.
    """

    source: str
    name: str
    content: dict[str, Any]
    description: str | None = None
    tags: tuple[str, ...] | None = None
    notes: tuple[str, ...] = field(default=())


@dataclass(frozen=True)
class SkippedFile:
    """A file that is no prompt, and why."""

    source: str
    reason: str


@dataclass(frozen=True)
class UnreadableFile:
    """A file that should be a prompt and cannot be read as one, and why."""

    source: str
    reason: str


Found = ImportedPrompt | SkippedFile | UnreadableFile


class Importer(Protocol):
    """What an importer offers. `priority`: higher is asked first by `auto`."""

    name: str
    priority: int

    def recognises(self, path: Path) -> bool:
        """Whether the path looks like this importer's format. Must not raise."""

    def read(self, path: Path) -> Iterator[Found]:
        """Everything found at the path, in a stable order; one file's fault stops no other."""


class UnknownFormatError(ValueError):
    """No importer of this name, or none that recognises the path."""


def importers() -> dict[str, Importer]:
    """Every importer that is installed, by name."""
    found = {}
    for entry_point in entry_points(group=ENTRY_POINT_GROUP):
        importer: Importer = entry_point.load()()
        found[entry_point.name] = importer
    return found


def choose(path: Path, format_name: str) -> Importer:
    """The importer for a path; UnknownFormatError says which formats there are."""
    known = importers()
    if format_name != "auto":
        if format_name not in known:
            raise UnknownFormatError(f"No format {format_name!r}; there are: {', '.join(known)}.")
        return known[format_name]
    for importer in sorted(known.values(), key=lambda one: (-one.priority, one.name)):
        if importer.recognises(path):
            return importer
    raise UnknownFormatError(
        f"No importer recognises {path}; say --format {', '.join(sorted(known))}."
    )


def read_text(path: Path) -> str:
    """A file's bytes decoded as UTF-8, line ends kept; ValueError if they are not, or too many."""
    size = path.stat().st_size
    if size > FILE_BYTES_MAX:
        raise ValueError(f"{size} bytes, more than {FILE_BYTES_MAX}")
    try:
        return path.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"not UTF-8 at byte {error.start}") from None


def files_below(path: Path) -> list[Path]:
    """The regular files at or below a path, sorted; hidden ones and links are left out."""
    if path.is_file():
        return [path]
    return sorted(
        file
        for file in path.rglob("*")
        if file.is_file()
        and not file.is_symlink()
        and not any(part.startswith(".") for part in file.relative_to(path).parts)
    )
