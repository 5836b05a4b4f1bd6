"""Search: every version's text and every prompt's metadata, by words.

`Search` folds versions into words; the rest asks. Texts themselves stay beside the log: excerpts
are cut from there when asked, so that what was erased is in no excerpt.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import singledispatchmethod
from typing import Any

import orjson

from domain.commitment import Content
from domain.prompt import Prompt
from domain.texts import texts_of, variables_of
from ledger.mapper import RecordedEvent
from projections.catalog import description_in
from projections.cursors import decode_cursor, encode_cursor
from projections.full_text import FullText, containing
from projections.views import Cursor, SqlProjection, Texts
from projections.words import EXCERPTS_MAX, Query, excerpts, indexed

SORTS = {"relevance": "best, name, number DESC", "name": "project, name, number DESC",
         "committed_at": "committed_at, id", "-committed_at": "committed_at DESC, id"}  # fmt: skip
OFFSET_MAX = 10_000
Contents = Callable[[Sequence[str]], Mapping[str, Content]]


class Search(SqlProjection):
    """Folds prompts and versions. A row's id is the position of the event that made it."""

    name = "search"
    edition = 2
    tables = ("search_prompts", "search_versions", "search_variables", "search_words")

    def commitments(self, recorded: RecordedEvent) -> Sequence[str]:
        """Contents and descriptions."""
        if isinstance(recorded.event, Prompt.VersionCommitted):
            return [recorded.event.content["commitment"]]
        return description_in(recorded.event) if recorded.stream.startswith("prompt/") else []

    def apply(self, cursor: Cursor, recorded: RecordedEvent, texts: Texts) -> None:
        """See SqlProjection."""
        self._fold(recorded.event, recorded, cursor, texts)

    @singledispatchmethod
    def _fold(self, event: object, recorded: RecordedEvent, cursor: Cursor, texts: Texts) -> None:
        """Every other event says nothing that is searched."""

    @_fold.register
    def _(
        self, event: Prompt.Created, recorded: RecordedEvent, cursor: Cursor, texts: Texts
    ) -> None:
        ref = event.description
        description = texts.get(ref["commitment"]) if ref else None
        tags = list(event.tags)
        cursor.execute(
            "INSERT INTO search_prompts VALUES (?, ?, ?, ?, ?, ?)",
            (
                str(event.originator_id), recorded.position, event.project, event.name,
                description, orjson.dumps(tags).decode(),
            ),
        )  # fmt: skip
        self._add(cursor, recorded, 0, "", None, None)
        self._index(cursor, recorded.position, [event.name, description or "", *tags])

    @_fold.register
    def _(
        self, event: Prompt.VersionCommitted, recorded: RecordedEvent, cursor: Cursor, texts: Texts
    ) -> None:
        commitment = event.content["commitment"]
        content = orjson.loads(texts[commitment]) if commitment in texts else {}
        model = content.get("config", {}).get("model")
        self._add(
            cursor, recorded, event.number, event.content_type,
            model if isinstance(model, str) else None, commitment,
        )  # fmt: skip
        for variable in variables_of(content) if content else ():
            cursor.execute(
                "INSERT INTO search_variables VALUES (?, ?)", (recorded.position, variable)
            )
        self._index(
            cursor, recorded.position, [text for _, text in texts_of(content)] if content else []
        )

    @_fold.register
    def _(
        self, event: Prompt.Described, recorded: RecordedEvent, cursor: Cursor, texts: Texts
    ) -> None:
        prompt_id = str(event.originator_id)
        if "description" in event.changes:
            ref = event.changes["description"]["to"]
            description = texts.get(ref["commitment"]) if ref else None
            cursor.execute(
                "UPDATE search_prompts SET description = ? WHERE prompt_id = ?",
                (description, prompt_id),
            )
        if "tags" in event.changes:
            tags = orjson.dumps(event.changes["tags"]["to"]).decode()
            cursor.execute(
                "UPDATE search_prompts SET tags = ? WHERE prompt_id = ?", (tags, prompt_id)
            )
        self._index_again(cursor, prompt_id)

    @_fold.register
    def _(self, event: Prompt.Moved, recorded: RecordedEvent, cursor: Cursor, texts: Texts) -> None:
        prompt_id = str(event.originator_id)
        cursor.execute(
            "UPDATE search_prompts SET name = ? WHERE prompt_id = ?", (event.to, prompt_id)
        )
        self._index_again(cursor, prompt_id)

    def _index_again(self, cursor: Cursor, prompt_id: str) -> None:
        """A prompt's name, description and tags anew."""
        cursor.execute(
            "SELECT id, name, description, tags FROM search_prompts WHERE prompt_id = ?",
            (prompt_id,),
        )
        row = cursor.fetchone()
        known = indexed([row["name"], row["description"] or "", *orjson.loads(row["tags"])])
        cursor.execute("UPDATE search_words SET words = ? WHERE id = ?", (known, row["id"]))

    def _add(
        self, cursor: Cursor, recorded: RecordedEvent, number: int, content_type: str,
        model: str | None, content: str | None,
    ) -> None:  # fmt: skip
        cursor.execute(
            "INSERT INTO search_versions VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                recorded.position, str(recorded.event.originator_id), number,
                recorded.payload["actor"]["id"], recorded.time, content_type, model, content,
            ),
        )  # fmt: skip

    def _index(self, cursor: Cursor, position: int, texts: Sequence[str]) -> None:
        cursor.execute("INSERT INTO search_words VALUES (?, ?)", (position, indexed(texts)))


@dataclass(frozen=True)
class SearchFilter:
    """What is looked for, and where. `places`: project → folders (None: all of it).

    `substring`: terms may be parts of words. `every_version`: each version that matches, else the
    newest of each prompt. `since` is RFC 3339.
    """

    query: Query
    places: Mapping[str, tuple[str, ...] | None]
    substring: bool = False
    every_version: bool = False
    folder: str | None = None
    tags: tuple[str, ...] = ()
    any_tags: tuple[str, ...] = ()
    label: str | None = None
    owner: str | None = None
    author: str | None = None
    status: str = "current"
    content_type: str | None = None
    model: str | None = None
    variable: str | None = None
    since: str | None = None
    sort: str = "relevance"
    limit: int = 50
    cursor: str | None = None


def find(cursor: Cursor, wanted: SearchFilter, full_text: FullText) -> tuple[list[Any], str | None]:
    """Rows of one page, and the next page's cursor."""
    offset = 0
    if wanted.cursor is not None:
        sort, offset = decode_cursor(wanted.cursor, str, int)
        if sort != wanted.sort or not 0 <= offset <= OFFSET_MAX:
            decode_cursor("")
    ask = containing if wanted.substring else full_text.hits
    hits, params = ask(wanted.query)
    where, more = _conditions(wanted)
    newest = "" if wanted.every_version else "WHERE nth = 1"
    cursor.execute(
        f"WITH hits AS MATERIALIZED ({hits}) SELECT * FROM ("
        "SELECT v.*, p.project, p.name, p.description, c.status, h.rank,"
        " min(h.rank) OVER (PARTITION BY v.prompt_id) AS best,"
        " sum(CASE WHEN v.number > 0 THEN 1 ELSE 0 END)"
        " OVER (PARTITION BY v.prompt_id) AS matched,"
        " row_number() OVER (PARTITION BY v.prompt_id ORDER BY v.number DESC) AS nth"
        " FROM hits h JOIN search_versions v ON v.id = h.id"
        " JOIN search_prompts p ON p.prompt_id = v.prompt_id"
        " JOIN catalog_prompts c ON c.prompt_id = v.prompt_id"
        f" WHERE {' AND '.join(where)}) AS found {newest}"
        f" ORDER BY {SORTS[wanted.sort]} LIMIT ? OFFSET ?",
        [*params, *more, wanted.limit + 1, offset],
    )
    rows = cursor.fetchall()
    end = offset + wanted.limit
    more_follow = len(rows) > wanted.limit and end <= OFFSET_MAX
    return rows[: wanted.limit], encode_cursor(wanted.sort, end) if more_follow else None


def _conditions(wanted: SearchFilter) -> tuple[list[str], list[Any]]:
    where: list[str] = []
    params: list[Any] = []

    def add(condition: str, *values: Any) -> None:
        where.append(condition)
        params.extend(values)

    places, bounds = _places(wanted.places)
    add(places, *bounds)
    if wanted.folder is not None:
        add("p.name >= ? AND p.name < ?", wanted.folder + "/", wanted.folder + "0")
    for tag in wanted.tags:
        add("v.prompt_id IN (SELECT prompt_id FROM catalog_tags WHERE tag = ?)", tag)
    if wanted.any_tags:
        marks = ",".join("?" * len(wanted.any_tags))
        among = f"v.prompt_id IN (SELECT prompt_id FROM catalog_tags WHERE tag IN ({marks}))"
        add(among, *wanted.any_tags)
    if wanted.label is not None:
        add(
            "EXISTS (SELECT 1 FROM catalog_labels l WHERE l.prompt_id = v.prompt_id"
            " AND l.version = v.number AND l.label = ?)",
            wanted.label,
        )
    if wanted.owner is not None:
        add("c.owners LIKE ?", f'%"{wanted.owner}"%')
    if wanted.status == "current":
        add("c.status <> 'archived'")
    elif wanted.status != "all":
        add("c.status = ?", wanted.status)
    if wanted.variable is not None:
        add("v.id IN (SELECT id FROM search_variables WHERE variable = ?)", wanted.variable)
    for column, value in (
        ("author = ?", wanted.author), ("type = ?", wanted.content_type),
        ("model = ?", wanted.model), ("committed_at >= ?", wanted.since),
    ):  # fmt: skip
        if value is not None:
            add(f"v.{column}", value)
    return where, params


def _places(places: Mapping[str, tuple[str, ...] | None]) -> tuple[str, list[str]]:
    """Only where the caller may read."""
    parts: list[str] = []
    params: list[str] = []
    for project, folders in places.items():
        if folders is None:
            parts.append("p.project = ?")
            params.append(project)
        for folder in folders or ():
            parts.append("(p.project = ? AND p.name >= ? AND p.name < ?)")
            params += [project, folder + "/", folder + "0"]
    return "(" + " OR ".join(parts or ["1 = 0"]) + ")", params


def to_items(rows: Sequence[Any], query: Query, contents: Contents) -> list[dict[str, Any]]:
    """Rows with excerpts, cut from the texts beside the log."""
    held = contents([row["content"] for row in rows if row["content"]])
    return [_item(row, query, held) for row in rows]


def _item(row: Any, query: Query, held: Mapping[str, Content]) -> dict[str, Any]:
    version = row["number"] or None
    path = f"{row['project']}/{row['name']}"
    return {
        "ref": f"{path}@{version}" if version else path,
        "project": row["project"],
        "name": row["name"],
        "version": version,
        "matched": int(row["matched"]),
        "type": row["type"] or None,
        "model": row["model"],
        "status": row["status"],
        "author": row["author"],
        "committed_at": row["committed_at"],
        "excerpts": list(_excerpts(row, query, held))[:EXCERPTS_MAX],
    }


def _excerpts(row: Any, query: Query, held: Mapping[str, Content]) -> Iterator[dict[str, Any]]:
    if not row["number"]:
        fields = [("/name", row["name"]), ("/description", row["description"] or "")]
    elif row["content"] in held:
        fields = list(texts_of(orjson.loads(held[row["content"]].body)))
    else:
        fields = []
    for pointer, text in fields:
        for piece, marked in excerpts(text, query):
            yield {"pointer": pointer, "text": piece, "matches": marked}
