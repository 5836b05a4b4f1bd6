"""How often somebody tried to sign in of late: by login name and by address, never in the ledger.

Not a fold of events: one table for all processes, counted before a password is looked at, so that
many at once get no more tries than one after the other.
"""

from datetime import datetime, timedelta

from projections.views import Views

TRIES_MAX = 10
ADDRESS_TRIES_MAX = 100
WINDOW_MINUTES = 15


class SignInTries:
    """Place (a keyed hash, so that the table names nobody) → tries since the window began."""

    def __init__(self, views: Views) -> None:
        self._views = views
        with views.defining() as cursor:
            cursor.execute(
                "CREATE TABLE IF NOT EXISTS sign_in_tries (place TEXT PRIMARY KEY,"
                " since TEXT NOT NULL, count INTEGER NOT NULL)"
            )

    def count(self, place: str, now: datetime) -> tuple[int, float]:
        """One more try: how many there were in this window, and the seconds until it ends."""
        horizon = (now - timedelta(minutes=WINDOW_MINUTES)).isoformat()
        with self._views.writing() as cursor:
            cursor.execute("DELETE FROM sign_in_tries WHERE since < ?", (horizon,))
            cursor.execute(
                "INSERT INTO sign_in_tries VALUES (?, ?, 1) ON CONFLICT (place)"
                " DO UPDATE SET count = sign_in_tries.count + 1",
                (place, now.isoformat()),
            )
            cursor.execute("SELECT since, count FROM sign_in_tries WHERE place = ?", (place,))
            row = cursor.fetchone()
        end = datetime.fromisoformat(row["since"]) + timedelta(minutes=WINDOW_MINUTES)
        return int(row["count"]), max(0.0, (end - now).total_seconds())

    def came_in(self, login: str, address: str) -> None:
        """Somebody came in: tries with the name count no more, nor does this one of the address."""
        with self._views.writing() as cursor:
            cursor.execute("DELETE FROM sign_in_tries WHERE place = ?", (login,))
            cursor.execute("UPDATE sign_in_tries SET count = count - 1 WHERE place = ?", (address,))
