"""Expiry: labels whose time is over are ended, with an event that says so (`projections/due.py`).

Readers look at the clock themselves and serve no expired label; this tells everybody else.
"""

from projections.views import Cursor

LEASE = "expiry"
AT_ONCE_MAX = 100


def due_labels(cursor: Cursor, at: str) -> list[tuple[str, str, str]]:
    """Project, prompt and label of those whose time is over at a moment (RFC 3339, UTC)."""
    cursor.execute(
        "SELECT c.project, c.name, l.label FROM catalog_labels l"
        " JOIN catalog_prompts c ON c.prompt_id = l.prompt_id"
        " WHERE l.expires_at <= ? ORDER BY l.expires_at LIMIT ?",
        (at, AT_ONCE_MAX),
    )
    return [(row["project"], row["name"], row["label"]) for row in cursor.fetchall()]
