"""Backlinks: which versions of which prompts are composed of a prompt."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from domain.access import resource_from_text
from domain.partials import parse_reference
from domain.prompt import Prompt
from ledger.mapper import RecordedEvent
from projections.views import Cursor, SqlProjection, Texts


class Uses(SqlProjection):
    """Folds what each version names."""

    name = "uses"
    tables = ("uses",)

    def apply(self, cursor: Cursor, recorded: RecordedEvent, texts: Texts) -> None:
        """See SqlProjection."""
        event = recorded.event
        if not isinstance(event, Prompt.VersionCommitted):
            return
        project = resource_from_text(recorded.resource).project
        for reference in event.partials:
            target = parse_reference(reference).name
            cursor.execute(
                "INSERT INTO uses VALUES (?, ?, ?, ?, ?)",
                (str(event.originator_id), event.number, project, target, reference),
            )


@dataclass(frozen=True)
class Use:
    """A version that names a prompt, as `reference`; the labels that point at it, by name.

    `live`: it is what some label or `latest` of a prompt in use means.
    """

    name: str
    number: int
    reference: str
    labels: tuple[str, ...]
    live: bool


def uses_of(cursor: Cursor, project: str, targets: Sequence[str]) -> list[Use]:
    """Every version of the project that names a prompt by any of its names, the newest first."""
    marks = ",".join("?" * len(targets))
    cursor.execute(
        "SELECT u.prompt_id, u.number, u.reference, c.name, c.status, c.latest_version"
        " FROM uses u JOIN catalog_prompts c ON c.prompt_id = u.prompt_id"
        f" WHERE u.project = ? AND u.target IN ({marks})"
        " ORDER BY c.name, u.number DESC, u.reference",
        (project, *targets),
    )
    rows = cursor.fetchall()
    labels: dict[tuple[Any, Any], list[str]] = {}
    for prompt_id in {row["prompt_id"] for row in rows}:
        cursor.execute(
            "SELECT label, version FROM catalog_labels WHERE prompt_id = ? ORDER BY label",
            (prompt_id,),
        )
        for found in cursor.fetchall():
            labels.setdefault((prompt_id, found["version"]), []).append(found["label"])
    return [_use(row, labels.get((row["prompt_id"], row["number"]), [])) for row in rows]


def _use(row: Any, labels: list[str]) -> Use:
    newest = row["number"] == row["latest_version"]
    live = row["status"] != "archived" and (newest or bool(labels))
    pointing = (*labels, "latest") if newest else tuple(labels)
    return Use(row["name"], row["number"], row["reference"], pointing, live)
