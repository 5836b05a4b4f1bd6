"""Near-duplicates: prompts whose words are almost those of a text.

The index gives candidates that share its most telling words; each is then compared word by word
(normalised Indel similarity, https://rapidfuzz.github.io/RapidFuzz/).
"""

from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from rapidfuzz.distance import Indel

from domain.texts import base_texts
from projections.full_text import FullText
from projections.search import Contents, SearchFilter, find
from projections.views import Cursor
from projections.words import Query, Term, indexed, words

CANDIDATES_MAX = 50
TELLING_WORDS = 24
COMPARED_WORDS_MAX = 4_000
THRESHOLD_DEFAULT = 0.8


def telling(content: Mapping[str, Any]) -> Query:
    """A question for the longest words of a content, any of them; empty where it has none."""
    found = {word.text for _, text in base_texts(content) for word in words(text)}
    longest = sorted(found, key=lambda word: (-len(word), word))[:TELLING_WORDS]
    return tuple((Term((word,)),) for word in longest)


def candidates(
    cursor: Cursor,
    query: Query,
    places: Mapping[str, tuple[str, ...] | None],
    full_text: FullText,
) -> list[Any]:
    """Rows of the newest matching version of each prompt that may be like it, best first."""
    wanted = SearchFilter(query=query, places=places, limit=CANDIDATES_MAX)
    return find(cursor, wanted, full_text)[0]


def similar(
    content: Mapping[str, Any], rows: Sequence[Any], contents: Contents, threshold: float
) -> list[dict[str, Any]]:
    """Those of the candidates that are at least so similar (0 to 1), the most similar first."""
    held = contents([row["content"] for row in rows if row["content"]])
    own = _compared(content)
    scored = [
        (Indel.normalized_similarity(own, _compared(orjson.loads(held[row["content"]].body))), row)
        for row in rows
        if row["content"] in held
    ]
    found = [(score, row) for score, row in scored if score >= threshold]
    found.sort(key=lambda one: (-one[0], one[1]["project"], one[1]["name"]))
    return [
        {
            "ref": f"{row['project']}/{row['name']}@{row['number']}", "project": row["project"],
            "name": row["name"], "version": row["number"], "similarity": round(score, 3),
        }
        for score, row in found
    ]  # fmt: skip


def _compared(content: Mapping[str, Any]) -> list[str]:
    return indexed([text for _, text in base_texts(content)]).split()[:COMPARED_WORDS_MAX]
