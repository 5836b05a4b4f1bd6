"""What answers tell beside what events say: texts by their commitments, names of principals."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from aiohttp import web

from api.http import edge
from domain.commitment import Content, ContentRef


async def texts_of(
    request: web.Request, refs: Iterable[Mapping[str, Any] | None]
) -> dict[str, str]:
    """What commitments in events refer to, by the commitment; what was erased is left out."""
    commitments = [ref["commitment"] for ref in refs if ref is not None]
    held: dict[str, Content] = await edge.read(
        request, edge.services(request).recorder.contents, commitments
    )
    return {commitment: content.body.decode() for commitment, content in held.items()}


def text_in(texts: dict[str, str], ref: ContentRef | None) -> str | None:
    """One of them; None where there never was one, or it was erased."""
    return texts.get(ref["commitment"]) if ref is not None else None


async def names_of(request: web.Request, ids: Iterable[str]) -> dict[str, str]:
    """The names by which these principals are shown now, by id; without those that have none."""
    principals = edge.services(request).access.principals
    refs = {one: principals[one].principal.name for one in set(ids) if one in principals}
    texts = await texts_of(request, refs.values())
    named = {one: text_in(texts, ref) for one, ref in refs.items()}
    return {one: name for one, name in named.items() if name is not None}


async def add_names(request: web.Request, told: Sequence[dict[str, Any]], *fields: str) -> None:
    """Beside each of these fields, a principal's id, put its name: `author_name` beside `author`,
    `principal_name` beside `principal_id`; None where none is known.

    Names are no part of the history: they are those of now, and not unique.
    """
    held = [(one, field) for one in told for field in fields if field in one]
    names = await names_of(request, [one[field] for one, field in held if one[field] is not None])
    for one, field in held:
        one[f"{field.removesuffix('_id')}_name"] = names.get(one[field])
