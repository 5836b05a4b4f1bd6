"""Fabric pattern folders (https://github.com/danielmiessler/fabric): one prompt a folder.

`system.md` is the system message, `user.md` the user message where it is not empty. The folder's
name is the prompt's. Text equals the file's bytes; nothing else in a folder is a prompt.
"""

from collections.abc import Iterator
from pathlib import Path

from plugins.importer import Found, ImportedPrompt, SkippedFile, UnreadableFile, read_text
from plugins.naming import template_fields

SYSTEM, USER = "system.md", "user.md"


class FabricImporter:
    """Reads a folder of pattern folders, or the repository they lie in."""

    name = "fabric"
    priority = 40

    def recognises(self, path: Path) -> bool:
        """A folder whose folders hold `system.md`."""
        return self._root(path) is not None

    def read(self, path: Path) -> Iterator[Found]:
        """One chat prompt for each pattern folder."""
        root = self._root(path)
        if root is None:
            yield UnreadableFile(str(path), "no folder with a system.md below it")
            return
        for entry in sorted(root.iterdir()):
            if entry.is_symlink() or (entry / SYSTEM).is_symlink() or (entry / USER).is_symlink():
                yield SkippedFile(str(entry), "a link, which is not followed")
            elif not entry.is_dir():
                yield SkippedFile(str(entry), "not a pattern folder")
            elif (entry / SYSTEM).is_file():
                yield from self._pattern(entry)
            else:
                yield SkippedFile(str(entry), "has no system.md")

    def _root(self, path: Path) -> Path | None:
        for root in (path, path / "patterns"):
            if root.is_dir() and any(root.glob(f"*/{SYSTEM}")):
                return root
        return None

    def _pattern(self, folder: Path) -> Iterator[Found]:
        for other in sorted(folder.iterdir()):
            if other.name not in (SYSTEM, USER):
                yield SkippedFile(str(other), "not part of the prompt")
        try:
            system = read_text(folder / SYSTEM)
            user = read_text(folder / USER) if (folder / USER).is_file() else ""
        except (OSError, ValueError) as error:
            yield UnreadableFile(str(folder), str(error))
            return
        messages = [{"role": "system", "content": system}]
        if user:
            messages.append({"role": "user", "content": user})
        elif (folder / USER).is_file():
            yield SkippedFile(str(folder / USER), "empty")
        content = {"type": "chat", "messages": messages, **template_fields([system, user])}
        yield ImportedPrompt(str(folder), folder.name, content)
