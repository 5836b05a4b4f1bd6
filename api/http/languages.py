"""In which language an answer is wanted: `locale`, else `Accept-Language` (RFC 9110, 12.5.4)."""

from functools import lru_cache

from aiohttp import web

from domain.locales import is_locale

LANGUAGES_MAX = 16
HEADER_CHARS_MAX = 512


def languages(request: web.Request, locale: str | None = None) -> tuple[str, ...]:
    """Language tags, best first; none: the base language."""
    if locale is not None:
        return (locale,)
    header = request.headers.get("Accept-Language")
    return () if header is None else _accepted(header[:HEADER_CHARS_MAX])


@lru_cache(maxsize=256)
def _accepted(header: str) -> tuple[str, ...]:
    weighted = []
    for part in header.split(","):
        tag, _, parameter = (piece.strip() for piece in part.partition(";"))
        weight = _weight(parameter)
        if is_locale(tag) and weight > 0:
            weighted.append((weight, tag))
    weighted.sort(key=lambda one: -one[0])
    return tuple(tag for _, tag in weighted[:LANGUAGES_MAX])


def _weight(parameter: str) -> float:
    """`q=0.5` as a number; 1 where there is none, 0 where it is none."""
    if not parameter:
        return 1.0
    name, _, value = parameter.partition("=")
    try:
        return float(value) if name.strip() == "q" else 0.0
    except ValueError:
        return 0.0
