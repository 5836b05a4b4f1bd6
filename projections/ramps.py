"""Ramps: steps of rollouts that are due are taken, decided anew (`projections/due.py`)."""

from projections.views import Cursor

LEASE = "ramps"
AT_ONCE_MAX = 100


def due_steps(cursor: Cursor, at: str) -> list[tuple[str, str, str]]:
    """Project, prompt and label of those with a step due at a moment (RFC 3339, UTC)."""
    cursor.execute(
        "SELECT c.project, c.name, l.label FROM catalog_labels l"
        " JOIN catalog_prompts c ON c.prompt_id = l.prompt_id"
        " WHERE l.next_step_at <= ? ORDER BY l.next_step_at LIMIT ?",
        (at, AT_ONCE_MAX),
    )
    return [(row["project"], row["name"], row["label"]) for row in cursor.fetchall()]
