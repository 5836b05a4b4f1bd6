"""How often somebody tried to sign in of late: by login name and by address, never in the ledger.

Not a fold of events: one table for all processes, counted before a password is looked at, so that
many at once get no more tries than one after the other.
"""

from datetime import UTC, datetime, timedelta

from projections.views import Views

TRIES_MAX = 10
ADDRESS_TRIES_MAX = 100
WINDOW_MINUTES = 15


class SignInTries:
    """Place (a keyed hash, so that the table names nobody) → tries since the window began."""

    def __init__(self, views: Views) -> None:
        self._views = views
        self._full: dict[str, datetime] = {}
        self._swept = datetime.min.replace(tzinfo=UTC)
        with views.defining() as cursor:
            cursor.execute(
                "CREATE TABLE IF NOT EXISTS sign_in_tries (place TEXT PRIMARY KEY,"
                " since TEXT NOT NULL, count INTEGER NOT NULL)"
            )
            cursor.execute(
                "CREATE INDEX IF NOT EXISTS sign_in_tries_by_since ON sign_in_tries (since)"
            )

    def count(self, place: str, now: datetime, *, address: bool = False) -> tuple[int, float]:
        """One more try: how many there were in this window, and the seconds until it ends.

        An address that is known to have had more than any may costs nothing more until then. Names
        are not kept in mind: once somebody comes in by one, no process lets it wait.
        """
        known = self._full.get(place)
        if known is not None and known > now:
            return ADDRESS_TRIES_MAX + 1, (known - now).total_seconds()
        horizon = (now - timedelta(minutes=WINDOW_MINUTES)).isoformat()
        with self._views.writing() as cursor:
            if now >= self._swept + timedelta(minutes=1):
                self._swept = now
                cursor.execute("DELETE FROM sign_in_tries WHERE since < ?", (horizon,))
            cursor.execute(
                "INSERT INTO sign_in_tries VALUES (?, ?, 1) ON CONFLICT (place) DO UPDATE"
                " SET count = CASE WHEN sign_in_tries.since < ? THEN 1"
                " ELSE sign_in_tries.count + 1 END,"
                " since = CASE WHEN sign_in_tries.since < ? THEN excluded.since"
                " ELSE sign_in_tries.since END RETURNING since, count",
                (place, now.isoformat(), horizon, horizon),
            )
            row = cursor.fetchone()
        end = datetime.fromisoformat(row["since"]) + timedelta(minutes=WINDOW_MINUTES)
        if address and row["count"] > ADDRESS_TRIES_MAX:
            self._full = {one: at for one, at in self._full.items() if at > now} | {place: end}
        return int(row["count"]), max(0.0, (end - now).total_seconds())

    def came_in(self, login: str, address: str) -> None:
        """Somebody came in: tries with the name count no more, nor does this one of the address."""
        with self._views.writing() as cursor:
            cursor.execute("DELETE FROM sign_in_tries WHERE place = ?", (login,))
            cursor.execute(
                "UPDATE sign_in_tries SET count = count - 1 WHERE place = ? AND count > 0",
                (address,),
            )
