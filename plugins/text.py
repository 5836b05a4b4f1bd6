"""Plain text files: each is one text prompt."""

from collections.abc import Iterator
from pathlib import Path

from plugins.importer import (
    Found,
    ImportedPrompt,
    SkippedFile,
    UnreadableFile,
    files_below,
    read_text,
)
from plugins.naming import prompt_name_from, template_fields

SUFFIX = ".txt"


class TextImporter:
    """Reads a `.txt` file, or a folder of them."""

    name = "text"
    priority = 10

    def recognises(self, path: Path) -> bool:
        """A `.txt` file, or a folder with one anywhere below."""
        return any(file.suffix.lower() == SUFFIX for file in files_below(path))

    def read(self, path: Path) -> Iterator[Found]:
        """One text prompt for each file."""
        for file in files_below(path):
            if file.suffix.lower() != SUFFIX:
                yield SkippedFile(str(file), "not a .txt file")
                continue
            relative = file.relative_to(path) if path.is_dir() else Path(file.name)
            try:
                text = read_text(file)
            except (OSError, ValueError) as error:
                yield UnreadableFile(str(file), str(error))
                continue
            content = {"type": "text", "text": text, **template_fields([text])}
            yield ImportedPrompt(str(file), prompt_name_from(relative, SUFFIX), content)
