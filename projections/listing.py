"""Asking the catalog: lists of projects and prompts, filtered, sorted, by pages."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from projections.cursors import decode_cursor, encode_cursor
from projections.views import Cursor

SORTS = ("name", "updated_at", "created_at")


@dataclass(frozen=True)
class PromptFilter:
    """Which prompts of a project, in which order. `folders` None: all, else only below these.

    `status`: one of a prompt's, `current` for all but archived, or `all`.
    """

    project: str
    folders: tuple[str, ...] | None = None
    folder: str | None = None
    tags: tuple[str, ...] = ()
    any_tags: tuple[str, ...] = ()
    query: str | None = None
    label: str | None = None
    status: str = "current"
    sort: str = "name"
    limit: int = 50
    cursor: str | None = None


@dataclass(frozen=True)
class Page:
    """Some rows as JSON objects, and where to continue (None: at the end)."""

    items: list[dict[str, Any]]
    next_cursor: str | None


def list_projects(cursor: Cursor) -> list[dict[str, Any]]:
    """All projects by name."""
    cursor.execute("SELECT * FROM catalog_projects ORDER BY project")
    return [
        {
            "project": row["project"],
            "description": row["description"],
            "environments": orjson.loads(row["environments"]),
            "created_by": row["created_by"],
            "created_at": row["created_at"],
        }
        for row in cursor.fetchall()
    ]


def list_prompts(cursor: Cursor, wanted: PromptFilter) -> Page:
    """One page of prompts' metadata; InvalidCursorError for a cursor of another list."""
    where, params = _conditions(wanted)
    column = wanted.sort.removeprefix("-")
    descending = wanted.sort.startswith("-")
    if wanted.cursor is not None:
        sort, value, prompt_id = decode_cursor(wanted.cursor, str, str, str)
        if sort != wanted.sort:
            decode_cursor("")
        where.append(f"({column}, prompt_id) {'<' if descending else '>'} (?, ?)")
        params += [value, prompt_id]
    order = "DESC" if descending else "ASC"
    cursor.execute(
        f"SELECT * FROM catalog_prompts WHERE {' AND '.join(where)}"
        f" ORDER BY {column} {order}, prompt_id {order} LIMIT ?",
        [*params, wanted.limit + 1],
    )
    rows = cursor.fetchall()
    items = metadata_of(cursor, rows[: wanted.limit], wanted.label)
    more = len(rows) > wanted.limit
    last = rows[wanted.limit - 1] if more else None
    next_cursor = encode_cursor(wanted.sort, last[column], last["prompt_id"]) if last else None
    return Page(items, next_cursor)


def prompt_metadata(cursor: Cursor, project: str, name: str) -> dict[str, Any] | None:
    """One prompt's metadata."""
    cursor.execute("SELECT * FROM catalog_prompts WHERE project = ? AND name = ?", (project, name))
    found = metadata_of(cursor, cursor.fetchall(), None)
    return found[0] if found else None


def _conditions(wanted: PromptFilter) -> tuple[list[str], list[Any]]:
    where, params = ["project = ?"], [wanted.project]
    if wanted.status == "current":
        where.append("status <> 'archived'")
    elif wanted.status != "all":
        where.append("status = ?")
        params.append(wanted.status)
    if wanted.folder is not None:
        where.append(_below("name"))
        params += _range(wanted.folder)
    if wanted.folders is not None:
        among = [_below("name")] * len(wanted.folders) or ["1 = 0"]
        where.append("(" + " OR ".join(among) + ")")
        params += [bound for folder in wanted.folders for bound in _range(folder)]
    for tag in wanted.tags:
        where.append("prompt_id IN (SELECT prompt_id FROM catalog_tags WHERE tag = ?)")
        params.append(tag)
    if wanted.any_tags:
        marks = ",".join("?" * len(wanted.any_tags))
        where.append(f"prompt_id IN (SELECT prompt_id FROM catalog_tags WHERE tag IN ({marks}))")
        params += wanted.any_tags
    if wanted.query:
        where.append("search_text LIKE ? ESCAPE '!'")
        params.append(_containing(wanted.query.casefold()))
    if wanted.label is not None and wanted.label != "latest":
        where.append("prompt_id IN (SELECT prompt_id FROM catalog_labels WHERE label = ?)")
        params.append(wanted.label)
    return where, params


def _containing(text: str) -> str:
    """A pattern for whatever contains `text` as it stands."""
    for special in "!%_":
        text = text.replace(special, "!" + special)
    return f"%{text}%"


def _below(column: str) -> str:
    return f"({column} >= ? AND {column} < ?)"


def _range(folder: str) -> list[str]:
    return [folder + "/", folder + "0"]  # '0' follows '/'


def metadata_of(cursor: Cursor, rows: Sequence[Any], label: str | None) -> list[dict[str, Any]]:
    """Catalog rows as metadata, with the version of `label` where it was asked for."""
    ids = [row["prompt_id"] for row in rows]
    tags = _grouped(cursor, "tag", "catalog_tags", ids)
    labels = _grouped(cursor, "label, version", "catalog_labels", ids)
    return [
        _metadata(row, [t[0] for t in tags.get(row["prompt_id"], [])],
                  {t[0]: t[1] for t in labels.get(row["prompt_id"], [])}, label)
        for row in rows
    ]  # fmt: skip


def _grouped(cursor: Cursor, columns: str, table: str, ids: list[str]) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    marks = ",".join("?" * len(ids)) or "NULL"
    cursor.execute(
        f"SELECT prompt_id, {columns} FROM {table} WHERE prompt_id IN ({marks}) ORDER BY 1, 2", ids
    )
    for row in cursor.fetchall():
        found.setdefault(row[0], []).append(tuple(row)[1:])
    return found


def _metadata(
    row: Any, tags: list[str], labels: dict[str, int], label: str | None
) -> dict[str, Any]:
    metadata = {
        "project": row["project"],
        "name": row["name"],
        "description": row["description"],
        "tags": tags,
        "owners": orjson.loads(row["owners"]),
        "status": row["status"],
        "deprecation": orjson.loads(row["deprecation"]) if row["deprecation"] else None,
        "type": row["content_type"],
        "labels": labels,
        "latest_version": row["latest_version"],
        "created_by": row["created_by"],
        "created_at": row["created_at"],
        "updated_by": row["updated_by"],
        "updated_at": row["updated_at"],
        "stream_position": row["stream_position"],
    }
    if label is not None:
        metadata["version"] = labels.get(label, row["latest_version"])
    return metadata
