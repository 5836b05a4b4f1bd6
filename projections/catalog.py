"""The catalog: which projects and prompts there are, to list, filter and search.

`Catalog` folds events into tables; `CatalogReader` asks them, of the live view or of any other
database with the same tables (`projections/past.py` makes one for a past moment).
"""

from collections.abc import Sequence
from functools import singledispatchmethod
from typing import Any

import orjson

from domain.access import resource_from_text
from domain.commitment import ContentRef
from domain.project import Project
from domain.prompt import Prompt
from domain.version import MAIN_BRANCH
from ledger.mapper import RecordedEvent
from projections.views import Cursor, SqlProjection, Texts


def description_in(event: object) -> list[str]:
    """The commitment of the description that an event gives a project or prompt, if any."""
    ref: ContentRef | None = None
    if isinstance(event, Project.Created | Prompt.Created):
        ref = event.description
    elif isinstance(event, Prompt.Described):
        ref = event.changes.get("description", {}).get("to")
    return [ref["commitment"]] if ref else []


class Catalog(SqlProjection):
    """Folds project and prompt events."""

    name = "catalog"
    edition = 2
    tables = ("catalog_projects", "catalog_prompts", "catalog_tags", "catalog_labels")

    def commitments(self, recorded: RecordedEvent) -> Sequence[str]:
        """Descriptions."""
        return description_in(recorded.event)

    def apply(self, cursor: Cursor, recorded: RecordedEvent, texts: Texts) -> None:
        """See SqlProjection."""
        self._fold(recorded.event, recorded, cursor, texts)
        if recorded.stream.startswith("prompt/"):
            cursor.execute(
                "UPDATE catalog_prompts SET updated_by = ?, updated_at = ?, position = ?,"
                " stream_position = ? WHERE prompt_id = ?",
                (
                    recorded.payload["actor"]["id"],
                    recorded.time,
                    recorded.position,
                    recorded.payload["stream_position"],
                    str(recorded.event.originator_id),
                ),
            )

    @singledispatchmethod
    def _fold(self, event: object, recorded: RecordedEvent, cursor: Cursor, texts: Texts) -> None:
        """Every other event leaves the catalog as it is."""

    @_fold.register
    def _(
        self, event: Project.Created, recorded: RecordedEvent, cursor: Cursor, texts: Texts
    ) -> None:
        cursor.execute(
            "INSERT INTO catalog_projects VALUES (?, ?, ?, ?, ?, ?)",
            (
                event.name,
                _text(event.description, texts),
                orjson.dumps(event.environments).decode(),
                recorded.payload["actor"]["id"],
                recorded.time,
                recorded.position,
            ),
        )

    @_fold.register
    def _(
        self, event: Project.EnvironmentSet, recorded: RecordedEvent, cursor: Cursor, texts: Texts
    ) -> None:
        project = resource_from_text(recorded.resource).project or ""
        _replace_environments(cursor, project, event.order)

    @_fold.register
    def _(
        self, event: Project.EnvironmentRemoved, recorded: RecordedEvent, cursor: Cursor,
        texts: Texts,
    ) -> None:  # fmt: skip
        project = resource_from_text(recorded.resource).project or ""
        cursor.execute("SELECT environments FROM catalog_projects WHERE project = ?", (project,))
        known = orjson.loads(cursor.fetchone()[0])
        _replace_environments(cursor, project, [one for one in known if one != event.environment])

    @_fold.register
    def _(
        self, event: Prompt.Created, recorded: RecordedEvent, cursor: Cursor, texts: Texts
    ) -> None:
        description = _text(event.description, texts)
        standing = "draft" if event.draft else "active"
        actor = recorded.payload["actor"]["id"]
        prompt_id = str(event.originator_id)
        cursor.execute(
            "INSERT INTO catalog_prompts"
            " VALUES (?, ?, ?, ?, ?, ?, ?, NULL, '[]', '', 0, ?, ?, ?, ?, 1, ?)",
            (
                prompt_id,
                event.project,
                event.name,
                description,
                _search_text(event.name, description),
                standing,
                standing,
                actor,
                recorded.time,
                actor,
                recorded.time,
                recorded.position,
            ),
        )
        _replace_tags(cursor, prompt_id, event.tags)

    @_fold.register
    def _(
        self, event: Prompt.VersionCommitted, recorded: RecordedEvent, cursor: Cursor, texts: Texts
    ) -> None:
        if event.branch != MAIN_BRANCH:
            return
        cursor.execute(
            "UPDATE catalog_prompts SET latest_version = ?, content_type = ? WHERE prompt_id = ?",
            (event.number, event.content_type, str(event.originator_id)),
        )

    @_fold.register
    def _(
        self, event: Prompt.LabelMoved, recorded: RecordedEvent, cursor: Cursor, texts: Texts
    ) -> None:
        cursor.execute(
            "INSERT INTO catalog_labels VALUES (?, ?, ?, ?, NULL)"
            " ON CONFLICT (prompt_id, label) DO UPDATE"
            " SET version = excluded.version, expires_at = excluded.expires_at,"
            " next_step_at = NULL",
            (str(event.originator_id), event.label, event.to, event.expires_at),
        )

    @_fold.register(Prompt.RolloutSet)
    @_fold.register(Prompt.RolloutPaused)
    @_fold.register(Prompt.RolloutStopped)
    def _(
        self,
        event: Prompt.RolloutSet | Prompt.RolloutPaused | Prompt.RolloutStopped,
        recorded: RecordedEvent,
        cursor: Cursor,
        texts: Texts,
    ) -> None:
        ramp = event.ramp if isinstance(event, Prompt.RolloutSet) else []
        cursor.execute(
            "UPDATE catalog_labels SET next_step_at = ? WHERE prompt_id = ? AND label = ?",
            (ramp[0]["at"] if ramp else None, str(event.originator_id), event.label),
        )

    @_fold.register(Prompt.LabelRemoved)
    @_fold.register(Prompt.LabelExpired)
    def _(
        self,
        event: Prompt.LabelRemoved | Prompt.LabelExpired,
        recorded: RecordedEvent,
        cursor: Cursor,
        texts: Texts,
    ) -> None:
        cursor.execute(
            "DELETE FROM catalog_labels WHERE prompt_id = ? AND label = ?",
            (str(event.originator_id), event.label),
        )

    @_fold.register
    def _(
        self, event: Prompt.Described, recorded: RecordedEvent, cursor: Cursor, texts: Texts
    ) -> None:
        prompt_id = str(event.originator_id)
        if "description" in event.changes:
            description = _text(event.changes["description"]["to"], texts)
            name = resource_from_text(recorded.resource).path or ""
            search_text = _search_text(name, description)
            cursor.execute(
                "UPDATE catalog_prompts SET description = ?, search_text = ? WHERE prompt_id = ?",
                (description, search_text, prompt_id),
            )
        if "owners" in event.changes:
            cursor.execute(
                "UPDATE catalog_prompts SET owners = ? WHERE prompt_id = ?",
                (orjson.dumps(event.changes["owners"]["to"]).decode(), prompt_id),
            )
        if "tags" in event.changes:
            _replace_tags(cursor, prompt_id, event.changes["tags"]["to"])

    @_fold.register
    def _(
        self, event: Prompt.Archived, recorded: RecordedEvent, cursor: Cursor, texts: Texts
    ) -> None:
        cursor.execute(
            "UPDATE catalog_prompts SET status = 'archived' WHERE prompt_id = ?",
            (str(event.originator_id),),
        )

    @_fold.register
    def _(
        self, event: Prompt.Restored, recorded: RecordedEvent, cursor: Cursor, texts: Texts
    ) -> None:
        cursor.execute(
            "UPDATE catalog_prompts SET status = standing WHERE prompt_id = ?",
            (str(event.originator_id),),
        )

    @_fold.register
    def _(self, event: Prompt.Moved, recorded: RecordedEvent, cursor: Cursor, texts: Texts) -> None:
        prompt_id = str(event.originator_id)
        cursor.execute("SELECT description FROM catalog_prompts WHERE prompt_id = ?", (prompt_id,))
        search_text = _search_text(event.to, cursor.fetchone()[0])
        cursor.execute(
            "UPDATE catalog_prompts SET name = ?, search_text = ? WHERE prompt_id = ?",
            (event.to, search_text, prompt_id),
        )

    @_fold.register
    def _(
        self, event: Prompt.Activated, recorded: RecordedEvent, cursor: Cursor, texts: Texts
    ) -> None:
        _stand(cursor, event.originator_id, "active", None)

    @_fold.register
    def _(
        self, event: Prompt.Deprecated, recorded: RecordedEvent, cursor: Cursor, texts: Texts
    ) -> None:
        facts = {
            "since": recorded.time, "sunset_at": event.sunset_at, "successor": event.successor,
        }  # fmt: skip
        _stand(cursor, event.originator_id, "deprecated", orjson.dumps(facts).decode())


def _text(ref: ContentRef | None, texts: Texts) -> str | None:
    return texts.get(ref["commitment"]) if ref else None


def _search_text(name: str, description: str | None) -> str:
    return f"{name}\n{description or ''}".casefold()


def _stand(cursor: Cursor, prompt_id: Any, standing: str, deprecation: str | None) -> None:
    cursor.execute(
        "UPDATE catalog_prompts SET status = ?, standing = ?, deprecation = ? WHERE prompt_id = ?",
        (standing, standing, deprecation, str(prompt_id)),
    )


def _replace_environments(cursor: Cursor, project: str, environments: Sequence[str]) -> None:
    cursor.execute(
        "UPDATE catalog_projects SET environments = ? WHERE project = ?",
        (orjson.dumps(list(environments)).decode(), project),
    )


def _replace_tags(cursor: Cursor, prompt_id: str, tags: Sequence[str]) -> None:
    cursor.execute("DELETE FROM catalog_tags WHERE prompt_id = ?", (prompt_id,))
    for tag in tags:
        cursor.execute("INSERT INTO catalog_tags VALUES (?, ?)", (prompt_id, tag))
