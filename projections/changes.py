"""Change requests as lists: of a project, and what waits for whom."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from domain.access import Resource, prompt_resource
from domain.change_request import ChangeRequest
from domain.prompt import Prompt
from domain.version import merged_in
from ledger.mapper import RecordedEvent
from projections.cursors import decode_cursor, encode_cursor
from projections.views import Cursor, SqlProjection, Texts

SCANNED = 200
SCANS = 10
PLAIN = (
    "change_id", "project", "environment", "status", "revision", "scheduled_at",
    "review_due_at", "title", "proposed_by", "proposed_at", "updated_at",
)  # fmt: skip
_STATUSES = {
    "change.revised": "open", "change.rejected": "rejected", "change.withdrawn": "withdrawn",
    "change.suspended": "suspended", "change.applied": "applied",
}  # fmt: skip


class Changes(SqlProjection):
    """Folds change requests, who took part in them, and who wrote the versions."""

    name = "changes"
    edition = 2
    tables = ("changes", "change_items", "change_parts", "change_names", "change_authors",
              "change_merges", "change_parents")  # fmt: skip

    def apply(self, cursor: Cursor, recorded: RecordedEvent, texts: Texts) -> None:
        """See SqlProjection."""
        event = recorded.event
        if recorded.stream.startswith("change/"):
            self._apply_change(cursor, recorded)
        elif isinstance(event, Prompt.Created):
            self._apply_name(cursor, str(event.originator_id), event.name)
        elif isinstance(event, Prompt.Moved):
            self._apply_name(cursor, str(event.originator_id), event.to)
        elif isinstance(event, Prompt.VersionCommitted):
            prompt_id, author = str(event.originator_id), recorded.payload["actor"]["id"]
            cursor.execute(
                "INSERT INTO change_authors VALUES (?, ?, ?)", (prompt_id, event.number, author)
            )
            self._apply_parents(cursor, prompt_id, event.number, event.parents)

    def _apply_parents(
        self, cursor: Cursor, prompt_id: str, number: int, parents: Sequence[int]
    ) -> None:
        """Note what a version came from, and everything that came in by a merge."""
        for parent in parents:
            cursor.execute(
                "INSERT INTO change_parents VALUES (?, ?, ?)", (prompt_id, number, parent)
            )
        if len(parents) < 2:
            return
        cursor.execute(
            "SELECT number, parent FROM change_parents WHERE prompt_id = ?", (prompt_id,)
        )
        known: dict[int, list[int]] = {number: list(parents)}
        for row in cursor.fetchall():
            if row["number"] != number:
                known.setdefault(row["number"], []).append(row["parent"])
        for merged in sorted(merged_in(lambda one: known.get(one, ()), number)):
            cursor.execute(
                "INSERT INTO change_merges VALUES (?, ?, ?)", (prompt_id, number, merged)
            )

    def _apply_name(self, cursor: Cursor, prompt_id: str, name: str) -> None:
        cursor.execute(
            "INSERT INTO change_names VALUES (?, ?)"
            " ON CONFLICT (prompt_id) DO UPDATE SET name = excluded.name",
            (prompt_id, name),
        )

    def _apply_change(self, cursor: Cursor, recorded: RecordedEvent) -> None:
        event = recorded.event
        change_id = str(event.originator_id)
        if isinstance(event, ChangeRequest.Created):
            self._open(cursor, change_id, event, recorded)
        if isinstance(event, ChangeRequest.Created | ChangeRequest.Revised):
            self._propose(cursor, change_id, event)
        if isinstance(event, ChangeRequest.Approved):
            self._take_part(cursor, change_id, event.by, "approver")
        if isinstance(event, ChangeRequest.Retracted):
            cursor.execute(
                "DELETE FROM change_parts WHERE change_id = ? AND principal_id = ?"
                " AND part = 'approver'",
                (change_id, event.by),
            )
        if isinstance(event, ChangeRequest.Reviewed):
            cursor.execute("UPDATE changes SET reviewed = 1 WHERE change_id = ?", (change_id,))
        if status := _STATUSES.get(recorded.kind_verb):
            cursor.execute("UPDATE changes SET status = ? WHERE change_id = ?", (status, change_id))
        cursor.execute(
            "UPDATE changes SET updated_at = ?, position = ? WHERE change_id = ?",
            (recorded.time, recorded.position, change_id),
        )

    def _open(
        self, cursor: Cursor, change_id: str, event: ChangeRequest.Created, recorded: RecordedEvent
    ) -> None:
        cursor.execute(
            "INSERT INTO changes VALUES (?, ?, ?, 'open', 0, ?, NULL, ?, 0, ?, ?, ?, ?, ?)",
            (
                change_id, event.project, event.environment, int(event.automatic),
                event.review_due_at, event.title["commitment"], event.by, recorded.time,
                recorded.time, recorded.position,
            ),
        )  # fmt: skip

    def _propose(
        self, cursor: Cursor, change_id: str, event: ChangeRequest.Created | ChangeRequest.Revised
    ) -> None:
        cursor.execute(
            "UPDATE changes SET revision = revision + 1, scheduled_at = ? WHERE change_id = ?",
            (event.scheduled_at, change_id),
        )
        cursor.execute("DELETE FROM change_items WHERE change_id = ?", (change_id,))
        cursor.execute(
            "DELETE FROM change_parts WHERE change_id = ? AND part = 'approver'", (change_id,)
        )
        for place, item in enumerate(event.items):
            cursor.execute(
                "INSERT INTO change_items VALUES (?, ?, ?, ?, ?)",
                (change_id, item["prompt_id"], place, item["version"], item["base"]),
            )
        self._take_part(cursor, change_id, event.by, "editor")

    def _take_part(self, cursor: Cursor, change_id: str, principal_id: str, part: str) -> None:
        cursor.execute(
            "INSERT INTO change_parts VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
            (change_id, principal_id, part),
        )


@dataclass(frozen=True)
class ChangeFilter:
    """Which requests: of a project, in a state, on their way to an environment.

    `waiting`: those that are open, or an emergency nobody has looked at, without what this
    principal approved already or, where its authors do not approve, has proposed or written.
    """

    project: str | None = None
    status: str | None = None
    environment: str | None = None
    waiting: str | None = None
    limit: int = 50
    cursor: str | None = None


Readable = Callable[[list[Resource]], bool]
AuthorsApprove = Callable[[str, str], bool]


def find_changes(
    cursor: Cursor, wanted: ChangeFilter, readable: Readable, authors_approve: AuthorsApprove
) -> tuple[list[dict[str, Any]], str | None]:
    """A page of those that `readable` says one may know of, newest first; the next page's cursor.

    `readable` is asked with everything a request would move, `authors_approve` with project and
    environment of what the principal waited for has written. At most SCANS times SCANNED requests
    are looked at; a page that ends there is short and goes on.
    """
    before = decode_cursor(wanted.cursor, str)[0] if wanted.cursor is not None else None
    found: list[dict[str, Any]] = []
    for _ in range(SCANS):
        rows = _rows(cursor, wanted, before)
        waiting = [row for row in rows if wanted.waiting is None or _waits(row, authors_approve)]
        for item in _items(cursor, waiting):
            if len(found) == wanted.limit:
                return found, encode_cursor(found[-1]["change_id"])
            if readable(_about(item)):
                found.append(item)
        if len(rows) < SCANNED:
            return found, None
        before = rows[-1]["change_id"]
    return found, encode_cursor(before or "")


def _about(item: dict[str, Any]) -> list[Resource]:
    project, environment = item["project"], item["environment"]
    return [prompt_resource(project, one["name"], environment) for one in item["items"]]


_EDITED = (
    "EXISTS (SELECT 1 FROM change_parts e WHERE e.change_id = changes.change_id"
    " AND e.principal_id = ? AND e.part = 'editor')"
)
_WROTE = (
    "EXISTS (SELECT 1 FROM change_items i JOIN change_authors a"
    " ON a.prompt_id = i.prompt_id AND (a.number = i.version OR a.number IN"
    " (SELECT m.merged FROM change_merges m"
    " WHERE m.prompt_id = i.prompt_id AND m.number = i.version))"
    " WHERE i.change_id = changes.change_id AND a.author = ?)"
)


def _waits(row: Any, authors_approve: AuthorsApprove) -> bool:
    """Whether it is for somebody to approve or review; nobody reviews an emergency of their own."""
    if row["edited"] and row["review_due_at"] is not None:
        return False
    mine = bool(row["edited"] or row["wrote"])
    return not mine or authors_approve(row["project"], row["environment"])


def _rows(cursor: Cursor, wanted: ChangeFilter, before: str | None) -> list[Any]:
    where, params = ["1 = 1"], list[Any]()
    for column, value in (
        ("project", wanted.project), ("status", wanted.status),
        ("environment", wanted.environment),
    ):  # fmt: skip
        if value is not None:
            where.append(f"{column} = ?")
            params.append(value)
    if wanted.waiting is not None:
        where.append(
            "(status = 'open' OR (review_due_at IS NOT NULL AND reviewed = 0))"
            " AND NOT EXISTS (SELECT 1 FROM change_parts p WHERE p.change_id = changes.change_id"
            " AND p.principal_id = ? AND p.part = 'approver')"
        )
        params.append(wanted.waiting)
    if before is not None:
        where.append("change_id < ?")
        params.append(before)
    cursor.execute(
        f"SELECT changes.*, {_EDITED} AS edited, {_WROTE} AS wrote FROM changes"
        f" WHERE {' AND '.join(where)} ORDER BY change_id DESC LIMIT ?",
        [wanted.waiting or "", wanted.waiting or "", *params, SCANNED],
    )
    rows: list[Any] = cursor.fetchall()
    return rows


def _items(cursor: Cursor, rows: Sequence[Any]) -> list[dict[str, Any]]:
    """Requests with what they propose and who approved it, in the order of the rows."""
    ids = [row["change_id"] for row in rows]
    marks = ",".join("?" * len(ids)) or "NULL"
    cursor.execute(
        "SELECT i.change_id, n.name, i.version, i.base FROM change_items i"
        " JOIN change_names n ON n.prompt_id = i.prompt_id"
        f" WHERE i.change_id IN ({marks}) ORDER BY i.change_id, i.place",
        ids,
    )
    proposed: dict[str, list[dict[str, Any]]] = {}
    for one in cursor.fetchall():
        item = {"name": one["name"], "version": one["version"], "base": one["base"]}
        proposed.setdefault(one["change_id"], []).append(item)
    cursor.execute(
        f"SELECT change_id, principal_id FROM change_parts WHERE change_id IN ({marks})"
        " AND part = 'approver' ORDER BY change_id, principal_id",
        ids,
    )
    approved: dict[str, list[str]] = {}
    for one in cursor.fetchall():
        approved.setdefault(one["change_id"], []).append(one["principal_id"])
    return [
        {
            **{name: row[name] for name in PLAIN},
            "automatic": bool(row["automatic"]),
            "reviewed": bool(row["reviewed"]),
            "items": proposed.get(row["change_id"], []),
            "approvals": approved.get(row["change_id"], []),
        }
        for row in rows
    ]
