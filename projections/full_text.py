"""How a store is asked for words. What differs between stores, and nothing else."""

from abc import ABC, abstractmethod
from typing import Any

from projections.words import Query, Term


class FullText(ABC):
    """One store's full-text index over table `search_words`."""

    @abstractmethod
    def hits(self, query: Query) -> tuple[str, list[Any]]:
        """SQL and parameters that give `id` and `rank` (lower is better) of what is found."""


class SQLiteFullText(FullText):
    """FTS5 (https://www.sqlite.org/fts5.html), which `search.sql` keeps by triggers."""

    def hits(self, query: Query) -> tuple[str, list[Any]]:
        """See FullText."""
        asked = " OR ".join(f"({self._all(terms)})" for terms in query)
        return "SELECT rowid AS id, rank FROM search_index WHERE search_index MATCH ?", [asked]

    def _all(self, terms: tuple[Term, ...]) -> str:
        wanted = " AND ".join(self._phrase(t) for t in terms if not t.excluded)
        unwanted = [self._phrase(t) for t in terms if t.excluded]
        return f"({wanted}) NOT ({' OR '.join(unwanted)})" if unwanted else wanted

    def _phrase(self, term: Term) -> str:
        return f'"{" ".join(term.words)}"' + ("*" if term.prefix else "")


class PostgresFullText(FullText):
    """`tsvector` in configuration `simple`, by an index over the expression."""

    def hits(self, query: Query) -> tuple[str, list[Any]]:
        """See FullText."""
        asked = " | ".join(
            "(" + " & ".join(self._phrase(term) for term in terms) + ")" for terms in query
        )
        vector, question = "to_tsvector('simple', words)", "to_tsquery('simple', ?)"
        hits = (
            f"SELECT id, -ts_rank({vector}, {question}) AS rank FROM search_words"
            f" WHERE {vector} @@ {question}"
        )
        return hits, [asked, asked]

    def _phrase(self, term: Term) -> str:
        quoted = [f"'{word}'" for word in term.words]
        quoted[-1] += ":*" if term.prefix else ""
        return ("!" if term.excluded else "") + "(" + " <-> ".join(quoted) + ")"


def containing(query: Query) -> tuple[str, list[Any]]:
    """Hits on every store where words hold the terms as parts; a trigram index helps, if any."""
    where, params = [], []
    for terms in query:
        where.append("(" + " AND ".join(_like(term) for term in terms) + ")")
        params += [f"%{' '.join(term.words)}%" for term in terms]
    return f"SELECT id, 0.0 AS rank FROM search_words WHERE {' OR '.join(where)}", params


def _like(term: Term) -> str:
    return "words NOT LIKE ?" if term.excluded else "words LIKE ?"
