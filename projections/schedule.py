"""The schedule: change requests that are to be applied by themselves (`projections/due.py`).

Each is tried in its turn: the registry decides it anew, and refuses what the rules do not let yet.
"""

from projections.views import Cursor

LEASE = "schedule"
AT_ONCE_MAX = 100


class Schedule:
    """Goes round those that are open, so that those which wait keep nobody else waiting."""

    def __init__(self) -> None:
        self._after = ""

    def due(self, cursor: Cursor, at: str) -> list[tuple[str, str]]:
        """Project and id of the next ones that may be applied by a moment (RFC 3339, UTC)."""
        cursor.execute(
            "SELECT project, change_id FROM changes WHERE status = 'open' AND automatic = 1"
            " AND (scheduled_at IS NULL OR scheduled_at <= ?) AND change_id > ?"
            " ORDER BY change_id LIMIT ?",
            (at, self._after, AT_ONCE_MAX),
        )
        found = [(row["project"], row["change_id"]) for row in cursor.fetchall()]
        self._after = found[-1][1] if len(found) == AT_ONCE_MAX else ""
        return found
