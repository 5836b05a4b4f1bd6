"""What the documents have from the code: `make docs` writes it, a test compares it."""

from pathlib import Path

from api.settings import settings_table

SETTINGS = Path(__file__).parents[2] / "docs" / "settings.md"


def settings_document() -> str:
    """docs/settings.md with the table as the code has it."""
    text = SETTINGS.read_text()
    start, end = text.index("| setting |"), text.index("\n## The data directory")
    return text[:start] + settings_table() + text[end:]


if __name__ == "__main__":
    SETTINGS.write_text(settings_document())
