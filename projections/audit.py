"""The audit trail: who did what, when, on what, before and after, why, and allowed by which grant.

Texts (reasons, messages, descriptions, display names) are kept as commitments and looked up when
asked, so that what was erased is gone from here too.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from domain.access import resource_from_text
from domain.commitment import CONTENT_MEDIA_TYPE, Content
from ledger.mapper import RecordedEvent
from projections.cursors import decode_cursor, encode_cursor
from projections.listing import Page
from projections.views import Cursor, SqlProjection, Texts

State = dict[str, Any] | None
Data = Mapping[str, Any]
Contents = Callable[[Sequence[str]], Mapping[str, Content]]


@dataclass(frozen=True)
class AuditFilter:
    """Which records. `places` None: all, else resources that equal one or lie below it.
    Times are RFC 3339, `until` exclusive.

    `resource` matches itself and everything below it, `exact_resources` only
    themselves; `action` is `kind.verb` or `kind`.
    """

    places: tuple[str, ...] | None = None
    actor: str | None = None
    action: str | None = None
    resource: str | None = None
    exact_resources: tuple[str, ...] = ()
    since: str | None = None
    until: str | None = None
    limit: int = 50
    cursor: str | None = None


class Audit(SqlProjection):
    """Folds every event into one record."""

    name = "audit"
    edition = 4
    tables = ("audit", "audit_held")

    def apply(self, cursor: Cursor, recorded: RecordedEvent, texts: Texts) -> None:
        """See SqlProjection."""
        fields = recorded.payload
        data = fields["data"]
        before, after = _CHANGES.get(recorded.kind_verb, _made)(data)
        if recorded.kind_verb in _HELD:
            before, after = self._held(cursor, recorded, before, after)
        if recorded.stream.startswith("session/") and after is not None:
            after = {"session_id": str(recorded.event.originator_id), **after}
        reason = data.get("reason") or data.get("message") or data.get("comment")
        cursor.execute(
            "INSERT INTO audit VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                recorded.position,
                fields["id"],
                recorded.time,
                fields["actor"]["id"],
                _json(fields["actor"]),
                recorded.kind_verb,
                recorded.resource,
                resource_from_text(recorded.resource).project,
                _json(before),
                _json(after),
                reason["commitment"] if reason else None,
                _json(fields["authz"]),
                fields["request"].get("id"),
            ),
        )

    def _held(
        self, cursor: Cursor, recorded: RecordedEvent, before: State, after: State
    ) -> tuple[State, State]:
        """Who was given a grant or token, and what was taken away with it."""
        held_id = recorded.payload["data"][_HELD[recorded.kind_verb]]
        if after is not None:
            after = {"principal_id": str(recorded.event.originator_id), **after}
            cursor.execute("INSERT INTO audit_held VALUES (?, ?)", (held_id, _json(after)))
        else:
            cursor.execute("SELECT state FROM audit_held WHERE held_id = ?", (held_id,))
            before = orjson.loads(cursor.fetchone()[0])
        return before, after


# Grants and tokens: which field of their events names them.
_HELD = {
    "grant.given": "grant_id",
    "grant.revoked": "grant_id",
    "token.issued": "token_id",
    "token.revoked": "token_id",
}


def _json(value: Any) -> str:
    return orjson.dumps(value).decode()


def _without(data: Data, *names: str) -> dict[str, Any]:
    return {name: value for name, value in data.items() if name not in names}


def _made(data: Data) -> tuple[State, State]:
    return None, _without(data, "reason", "message")


def _ended(data: Data) -> tuple[State, State]:
    return _without(data, "reason"), None


def _committed(data: Data) -> tuple[State, State]:
    before = {"version": data["parents"][0]} if data["parents"] else None
    after = {
        "version": data["number"], "branch": data["branch"], "parents": data["parents"],
        "type": data["content_type"], "content": data["content"],
        "semver": data.get("semver"), "change": data.get("change"),
    }  # fmt: skip
    return before, after


def _moved(data: Data) -> tuple[State, State]:
    before = None if data["from"] is None else {"label": data["label"], "version": data["from"]}
    after = {"label": data["label"], "version": data["to"], "act": data["act"]}
    for name in ("expires_at", "change_id", "forced"):
        if data.get(name):
            after[name] = data[name]
    return before, after


# What would only help somebody who has stolen something else.
_HASHES = ("access_sha256", "refresh_sha256", "secret_sha256", "recovery_sha256", "client",
           "nonce", "subject", "reason")  # fmt: skip


def _unshown(data: Data) -> tuple[State, State]:
    return None, _without(data, *_HASHES)


def _environment(data: Data) -> tuple[State, State]:
    return None, {"environment": data["environment"], "order": data["order"], **data["rules"]}


def _decided(data: Data) -> tuple[State, State]:
    return None, _without(data, "reason", "comment")


def _removed(data: Data) -> tuple[State, State]:
    return {"label": data["label"], "version": data["from"]}, None


def _described(data: Data) -> tuple[State, State]:
    changes = data["changes"]
    return (
        {field: change["from"] for field, change in changes.items()},
        {field: change["to"] for field, change in changes.items()},
    )


_CHANGES: dict[str, Callable[[Data], tuple[State, State]]] = {
    "version.committed": _committed,
    "branch.deleted": _ended,
    "guardrail.removed": _ended,
    "environment.set": _environment,
    "environment.removed": _ended,
    "accessrequest.created": lambda data: (None, {"status": "open", **_without(data, "reason")}),
    "accessrequest.approved": _decided,
    "accessrequest.rejected": _decided,
    "change.suspended": lambda data: ({"status": "open"}, {"status": "suspended", **data}),
    "change.withdrawn": lambda data: (None, {"status": "withdrawn", "by": data["by"]}),
    "change.retracted": lambda data: ({"approved_by": data["by"]}, None),
    "consumer.removed": _ended,
    "change.approved": _decided,
    "change.rejected": _decided,
    "change.reviewed": _decided,
    "label.moved": _moved,
    "label.removed": _removed,
    "rollout.stopped": _ended,
    "prompt.described": _described,
    "prompt.moved": lambda data: ({"name": data["from"]}, {"name": data["to"]}),
    "name.redirected": lambda data: (None, {"redirect": data["to"]}),
    "prompt.activated": lambda _: (None, {"status": "active"}),
    "prompt.deprecated": lambda data: (None, {"status": "deprecated", **_without(data, "reason")}),
    "label.expired": _removed,
    "prompt.archived": lambda _: ({"status": "active"}, {"status": "archived"}),
    "prompt.restored": lambda _: ({"status": "archived"}, {"status": "active"}),
    "principal.suspended": lambda _: ({"active": True}, {"active": False}),
    "principal.resumed": lambda _: ({"active": False}, {"active": True}),
    "principal.deactivated": lambda _: ({"active": True}, {"active": False}),
    "grant.revoked": _ended,
    "token.revoked": _ended,
    "token.issued": lambda data: (None, _without(data, "secret_sha256")),
    "session.begun": _unshown,
    "session.refreshed": _unshown,
    "session.ended": lambda data: ({"ended": None}, {"ended": data["cause"]}),
    "recovery.issued": _unshown,
    "recovery.used": _unshown,
    "totp.enrolled": _unshown,
    "totp.removed": _ended,
    "signin.linked": _unshown,
    "signin.withdrawn": _ended,
    "login.released": _ended,
    "key.retired": _ended,
    "webhook.changed": _described,
    "webhook.enabled": lambda _: ({"enabled": False}, {"enabled": True}),
    "webhook.disabled": lambda data: (
        {"enabled": True},
        {"enabled": False, "cause": data["cause"]},
    ),
    "webhook.deleted": _ended,
}


def find_records(cursor: Cursor, wanted: AuditFilter) -> tuple[list[Any], str | None]:
    """Raw rows of one page, oldest first, and the next page's cursor."""
    where, params = _conditions(wanted)
    if wanted.cursor is not None:
        where.append("position > ?")
        params += decode_cursor(wanted.cursor, int)
    cursor.execute(
        f"SELECT * FROM audit WHERE {' AND '.join(where)} ORDER BY position LIMIT ?",
        [*params, wanted.limit + 1],
    )
    rows = cursor.fetchall()
    more = len(rows) > wanted.limit
    rows = rows[: wanted.limit]
    return rows, encode_cursor(rows[-1]["position"]) if more else None


def _conditions(wanted: AuditFilter) -> tuple[list[str], list[Any]]:
    where: list[str] = ["1 = 1"]
    params: list[Any] = []
    if wanted.places is not None:
        clause, bounds = within(wanted.places)
        where.append(clause)
        params += bounds
    if wanted.actor is not None:
        where.append("actor_id = ?")
        params.append(wanted.actor)
    if wanted.exact_resources:
        where.append(f"resource IN ({','.join('?' * len(wanted.exact_resources))})")
        params += wanted.exact_resources
    for column, value, joint in (
        ("action", wanted.action, "."), ("resource", wanted.resource, "/"),
    ):  # fmt: skip
        if value is not None:
            where.append(f"({column} = ? OR ({column} >= ? AND {column} < ?))")
            params += _subtree(value, joint)
    if wanted.since is not None:
        where.append("time >= ?")
        params.append(wanted.since)
    if wanted.until is not None:
        where.append("time < ?")
        params.append(wanted.until)
    return where, params


def within(places: Sequence[str]) -> tuple[str, list[str]]:
    """SQL, with its parameters, for a column `resource` that equals a place or lies below one."""
    below = "(resource = ? OR (resource >= ? AND resource < ?))"
    clause = "(" + " OR ".join([below] * len(places) or ["1 = 0"]) + ")"
    return clause, [bound for place in places for bound in _subtree(place, "/")]


def _subtree(root: str, joint: str) -> list[str]:
    return [root, root + joint, root + chr(ord(joint) + 1)]


def to_records(rows: Sequence[Any], contents: Contents) -> list[dict[str, Any]]:
    """Audit records with their texts: null where there never was one, {"erased"} where it went."""
    parsed = [_parsed(row) for row in rows]
    wanted = {c for record in parsed for c in _commitments(record)}
    held = contents(sorted(wanted))
    return [_with_texts(record, held) for record in parsed]


def _parsed(row: Any) -> dict[str, Any]:
    return {
        "position": row["position"],
        "event_id": row["event_id"],
        "time": row["time"],
        "actor": orjson.loads(row["actor"]),
        "action": row["action"],
        "resource": row["resource"],
        "before": orjson.loads(row["before"]),
        "after": orjson.loads(row["after"]),
        "reason": row["reason"] and {"commitment": row["reason"], "media_type": "text/plain"},
        "authz": orjson.loads(row["authz"]),
        "request_id": row["request_id"],
    }


def _commitments(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if _is_text(node):
            yield node["commitment"]
        for value in node.values():
            yield from _commitments(value)


def _is_text(node: Mapping[str, Any]) -> bool:
    return "commitment" in node and node.get("media_type", CONTENT_MEDIA_TYPE) != CONTENT_MEDIA_TYPE


def _with_texts(node: Any, held: Mapping[str, Content]) -> Any:
    if not isinstance(node, dict):
        return node
    if _is_text(node):
        content = held.get(node["commitment"])
        return {"erased": True} if content is None else content.body.decode()
    return {name: _with_texts(value, held) for name, value in node.items()}


def to_page(cursor: Cursor, wanted: AuditFilter, contents: Contents) -> Page:
    """One page of audit records."""
    rows, next_cursor = find_records(cursor, wanted)
    return Page(to_records(rows, contents), next_cursor)
