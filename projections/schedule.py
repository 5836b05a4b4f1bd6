"""The schedule: change requests that are to be applied by themselves (`projections/due.py`).

Each is tried in its turn: the registry decides it anew, and refuses what the rules do not let yet.
"""

from time import monotonic

from projections.views import Cursor

LEASE = "schedule"
AT_ONCE_MAX = 100
AGAIN_SECONDS = 10.0


class Schedule:
    """Goes round those that are open, so that those which wait keep nobody else waiting.

    One that was refused is tried again when it has changed, or after AGAIN_SECONDS.
    """

    def __init__(self) -> None:
        self._after = ""
        self._tried: dict[str, tuple[int, float]] = {}

    def due(self, cursor: Cursor, at: str) -> list[tuple[str, str]]:
        """Project and id of the next ones that may be applied by a moment (RFC 3339, UTC)."""
        cursor.execute(
            "SELECT project, change_id, position FROM changes WHERE status = 'open'"
            " AND automatic = 1 AND (scheduled_at IS NULL OR scheduled_at <= ?)"
            " AND change_id > ? ORDER BY change_id LIMIT ?",
            (at, self._after, AT_ONCE_MAX),
        )
        rows = cursor.fetchall()
        more = len(rows) == AT_ONCE_MAX
        self._after = rows[-1]["change_id"] if more else ""
        moment = monotonic()
        recent = {one: tried for one, tried in self._tried.items() if tried[1] > moment}
        due = [
            (row["project"], row["change_id"])
            for row in rows
            if recent.get(row["change_id"], (None,))[0] != row["position"]
        ]
        again = moment + AGAIN_SECONDS
        tried = {row["change_id"]: (row["position"], again) for row in rows}
        self._tried = recent | {one: tried[one] for _, one in due}
        return due
