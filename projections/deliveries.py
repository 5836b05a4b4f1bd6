"""How far each webhook was told, and how each attempt went.

Not a fold of events: what a receiver answered is nowhere else. Where these tables are lost, a
webhook is told again from its creation on, and its receiver knows by the ids what it had.
"""

from dataclasses import dataclass
from typing import Any, Literal

from projections.cursors import decode_cursor, encode_cursor
from projections.errors import OvertakenError
from projections.outbound import Sent
from projections.views import Cursor, Views

ATTEMPTS_KEPT_MAX = 1000
PRUNE_EVERY_ATTEMPTS = 50
Ended = Literal["failing", "gone"]
_STATE = "webhook_id, position, revision, edition, attempts, failing_since, next_at, ended"
_ATTEMPT = (
    "number", "position", "event_id", "type", "attempt", "attempted_at", "status", "error",
    "seconds",
)  # fmt: skip


@dataclass(frozen=True)
class DeliveryState:
    """Where a webhook stands: told up to `position`, after `attempts` failures of the next event.

    Times are seconds since 1970. `revision` changes with every write, so that whoever started from
    another state can do nothing. `edition` is the webhook's at the last failure: one that was given
    another URL or enabled since begins with a clean slate. `ended`: it failed for good ("failing",
    "gone"), so nobody sends to it any more until it has another edition.
    """

    webhook_id: str
    position: int
    revision: int = 0
    edition: int = 0
    attempts: int = 0
    failing_since: float | None = None
    next_at: float | None = None
    ended: Ended | None = None


@dataclass(frozen=True)
class Attempt:
    """One delivery of one event, tried: the `attempt`th time, at `attempted_at` (RFC 3339)."""

    position: int
    event_id: str
    type: str
    attempt: int
    attempted_at: str
    sent: Sent


class Deliveries:
    """The tables. Thread-safe; every effect rests on the revision it started from."""

    def __init__(self, views: Views) -> None:
        self._views = views
        with views.defining() as cursor:
            cursor.execute(
                "CREATE TABLE IF NOT EXISTS webhook_states (webhook_id TEXT PRIMARY KEY,"
                " position BIGINT NOT NULL, revision BIGINT NOT NULL, edition BIGINT NOT NULL,"
                " attempts BIGINT NOT NULL, failing_since DOUBLE PRECISION,"
                " next_at DOUBLE PRECISION, ended TEXT)"
            )
            cursor.execute(
                "CREATE TABLE IF NOT EXISTS webhook_attempts (webhook_id TEXT NOT NULL,"
                " number BIGINT NOT NULL, position BIGINT NOT NULL, event_id TEXT NOT NULL,"
                " type TEXT NOT NULL, attempt BIGINT NOT NULL, attempted_at TEXT NOT NULL,"
                " status BIGINT, error TEXT, seconds DOUBLE PRECISION NOT NULL,"
                " PRIMARY KEY (webhook_id, number))"
            )

    def states(self) -> dict[str, DeliveryState]:
        """All of them by webhook id."""
        with self._views.reading() as cursor:
            cursor.execute(f"SELECT {_STATE} FROM webhook_states")
            return {row[0]: DeliveryState(*row[:8]) for row in cursor.fetchall()}

    def begin(self, webhook_id: str, position: int) -> None:
        """A webhook that was told nothing yet begins after a position."""
        with self._views.writing() as cursor:
            cursor.execute(
                "INSERT INTO webhook_states VALUES (?, ?, 1, 0, 0, NULL, NULL, NULL)"
                " ON CONFLICT (webhook_id) DO NOTHING",
                (webhook_id, position),
            )

    def move(
        self, before: DeliveryState, after: DeliveryState, attempt: Attempt | None = None
    ) -> DeliveryState:
        """Keep a new state, and the attempt that led there; OvertakenError where one is newer."""
        with self._views.writing() as cursor:
            cursor.execute(
                "UPDATE webhook_states SET position = ?, revision = revision + 1, edition = ?,"
                " attempts = ?, failing_since = ?, next_at = ?, ended = ?"
                f" WHERE webhook_id = ? AND revision = ? RETURNING {_STATE}",
                (
                    after.position, after.edition, after.attempts, after.failing_since,
                    after.next_at, after.ended, before.webhook_id, before.revision,
                ),
            )  # fmt: skip
            row = cursor.fetchone()
            if row is None:
                raise OvertakenError(f"Webhook {before.webhook_id} was moved by somebody else.")
            if attempt is not None:
                self._keep(cursor, before.webhook_id, row[2], attempt)
            return DeliveryState(*row[:8])

    def _keep(self, cursor: Cursor, webhook_id: str, revision: int, attempt: Attempt) -> None:
        """Under the number of the state it led to; old ones go now and then."""
        cursor.execute(
            "INSERT INTO webhook_attempts VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
            " ON CONFLICT (webhook_id, number) DO NOTHING",
            (
                webhook_id, revision, attempt.position, attempt.event_id, attempt.type,
                attempt.attempt, attempt.attempted_at, attempt.sent.status, attempt.sent.error,
                attempt.sent.seconds,
            ),
        )  # fmt: skip
        if revision % PRUNE_EVERY_ATTEMPTS == 0:
            cursor.execute(
                "DELETE FROM webhook_attempts WHERE webhook_id = ? AND number <= ?",
                (webhook_id, revision - ATTEMPTS_KEPT_MAX),
            )

    def rewind(self, webhook_id: str, position: int) -> None:
        """Have a webhook told again of everything after a position, at once."""
        with self._views.writing() as cursor:
            cursor.execute(
                "INSERT INTO webhook_states VALUES (?, ?, 1, 0, 0, NULL, NULL, NULL)"
                " ON CONFLICT (webhook_id) DO UPDATE SET position = excluded.position,"
                " revision = webhook_states.revision + 1, attempts = 0, failing_since = NULL,"
                " next_at = NULL, ended = NULL",
                (webhook_id, position),
            )

    def forget(self, webhook_id: str) -> None:
        """Drop everything of a webhook that was deleted."""
        with self._views.writing() as cursor:
            for table in ("webhook_states", "webhook_attempts"):
                cursor.execute(f"DELETE FROM {table} WHERE webhook_id = ?", (webhook_id,))

    def page(
        self, webhook_id: str, limit: int, cursor: str | None, failed: bool
    ) -> tuple[list[dict[str, Any]], str | None]:
        """Attempts, the newest first, and the next page's cursor."""
        before = decode_cursor(cursor, int)[0] if cursor is not None else 2**62
        condition = " AND (status IS NULL OR status < 200 OR status > 299)" if failed else ""
        with self._views.reading() as rows:
            rows.execute(
                f"SELECT {', '.join(_ATTEMPT)} FROM webhook_attempts WHERE webhook_id = ?"
                f" AND number < ?{condition} ORDER BY number DESC LIMIT ?",
                (webhook_id, before, limit + 1),
            )
            found = [dict(zip(_ATTEMPT, row, strict=True)) for row in rows.fetchall()]
        more = len(found) > limit
        return found[:limit], encode_cursor(found[limit - 1]["number"]) if more else None
