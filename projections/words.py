"""Words of a text and questions about them, the same on every store.

A text is cut into words (letters and digits), each without case and accents (Unicode NFKD,
casefold), before a store indexes it; a question is cut the same way. So what is found, and what is
marked in an excerpt, depends on no store's tokenizer.
"""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from projections.errors import InvalidQueryError

# A PostgreSQL tsvector holds 1 MiB; this much text fits whatever its words are.
WORDS_BYTES_MAX = 256 * 1024
TERMS_MAX = 32
EXCERPTS_MAX = 3
EXCERPT_CHARS = 160
_WORD = re.compile(r"[^\W_]+")
_PART = re.compile(r'(-?)(?:"([^"]*)"|(\S+))')


@dataclass(frozen=True)
class Word:
    """A word at its place in a text, as it is compared."""

    start: int
    end: int
    text: str


@dataclass(frozen=True)
class Term:
    """Words that follow each other; the last may be the beginning of one."""

    words: tuple[str, ...]
    prefix: bool = False
    excluded: bool = False


# Any of these, each all of its terms.
Query = tuple[tuple[Term, ...], ...]


def fold(word: str) -> str:
    """A word as it is compared."""
    decomposed = unicodedata.normalize("NFKD", word).casefold()
    return "".join(c for c in decomposed if not unicodedata.combining(c))


def words(text: str) -> Iterator[Word]:
    """The words of a text in order. What is no letter or digit once folded is no word."""
    for found in _WORD.finditer(text):
        for part in _WORD.findall(fold(found.group())):
            yield Word(found.start(), found.end(), part)


def indexed(texts: Sequence[str]) -> str:
    """What a store indexes of some texts: their words, the first WORDS_BYTES_MAX of them."""
    taken: list[str] = []
    room = WORDS_BYTES_MAX
    for text in texts:
        for word in words(text):
            room -= len(word.text.encode()) + 1
            if room < 0:
                return " ".join(taken)
            taken.append(word.text)
    return " ".join(taken)


def parse_query(text: str) -> Query:
    """What is asked: words (all of them), "a phrase", -without, begin*, this OR that.

    InvalidQueryError where nothing is left to look for, or more than TERMS_MAX terms.
    """
    alternatives: list[list[Term]] = [[]]
    for minus, phrase, plain in _PART.findall(text):
        if plain in ("OR", "or", "|") and not minus:
            alternatives.append([])
        elif found := tuple(word.text for word in words(phrase or plain)):
            alternatives[-1].append(Term(found, plain.endswith("*"), bool(minus)))
    query = tuple(tuple(terms) for terms in alternatives if terms)
    if not query or any(all(term.excluded for term in terms) for terms in query):
        raise InvalidQueryError(
            "Give a word to look for: beside OR, and beside what '-' leaves out."
        )
    if sum(map(len, query)) > TERMS_MAX:
        raise InvalidQueryError(f"Give at most {TERMS_MAX} words and phrases.")
    return query


def matches(text: str, query: Query) -> list[tuple[int, int]]:
    """Where a text holds what is asked for: start and end of each place, in order."""
    found = list(words(text))
    terms = [term for alternative in query for term in alternative if not term.excluded]
    places = {
        (found[at].start, found[at + len(term.words) - 1].end)
        for term in terms
        for at in range(len(found) - len(term.words) + 1)
        if _is_at(found, at, term)
    }
    return sorted(places)


def _is_at(found: Sequence[Word], at: int, term: Term) -> bool:
    *whole, last = term.words
    if any(found[at + i].text != word for i, word in enumerate(whole)):
        return False
    held = found[at + len(whole)].text
    return held.startswith(last) if term.prefix else held == last


def excerpts(text: str, query: Query) -> list[tuple[str, list[list[int]]]]:
    """Up to EXCERPTS_MAX pieces of a text around matches, with the matches' places in each."""
    pieces: list[tuple[str, list[list[int]]]] = []
    shown_to = 0
    places = matches(text, query)
    for start, end in places:
        if start < shown_to or len(pieces) == EXCERPTS_MAX:
            continue
        first = max(shown_to, start - EXCERPT_CHARS // 3)
        shown_to = max(end, min(len(text), first + EXCERPT_CHARS))
        marked = [[s - first, e - first] for s, e in places if first <= s and e <= shown_to]
        pieces.append((text[first:shown_to], marked))
    return pieces
