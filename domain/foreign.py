"""Templates in other languages: kept byte for byte, their variables listed as well as can be seen.

The registry renders none of them (a plugin may); what is found here advises people and search.
"""

import re
from collections.abc import Callable, Iterator
from string import Formatter

FOREIGN_FORMATS = ("jinja2", "f-string", "handlebars")
_WORD = r"[A-Za-z_][A-Za-z0-9_]*"
_JINJA_OUTPUT = re.compile(r"\{\{-?\s*(" + _WORD + ")")
_JINJA_STATEMENT = re.compile(
    r"\{%-?\s*(?:if|elif|for\s+" + _WORD + r"(?:\s*,\s*" + _WORD + r")*\s+in)\s+(?:not\s+)?("
    + _WORD + ")"
)  # fmt: skip
_JINJA_LOCAL = re.compile(r"\{%-?\s*(?:for|set)\s+(" + _WORD + r")(?:\s*,\s*(" + _WORD + "))?")
_HANDLEBARS = re.compile(
    r"\{\{\{?~?\s*(?:[#^]\s*(?:if|unless|each|with)\s+|[#^&]\s*)?(" + _WORD + ")"
)
_BUILT_IN = {
    "jinja2": frozenset({"loop", "range", "true", "false", "none", "True", "False", "None"}),
    "handlebars": frozenset({"else", "this"}),
}


def names_in_foreign(template_format: str, text: str) -> frozenset[str]:
    """The variables that a template in another language seems to use."""
    found = frozenset(_FINDERS[template_format](text))
    return found - _BUILT_IN.get(template_format, frozenset())


def _jinja(text: str) -> Iterator[str]:
    local = {name for names in _JINJA_LOCAL.findall(text) for name in names}
    names = _JINJA_OUTPUT.findall(text) + _JINJA_STATEMENT.findall(text)
    yield from (name for name in names if name not in local)


def _f_string(text: str) -> Iterator[str]:
    try:
        fields = [field for _, field, _, _ in Formatter().parse(text) if field]
    except ValueError:
        return
    for field in fields:
        if found := re.match(_WORD, field):
            yield found.group()


def _handlebars(text: str) -> Iterator[str]:
    yield from _HANDLEBARS.findall(text)


_FINDERS: dict[str, Callable[[str], Iterator[str]]] = {
    "jinja2": _jinja,
    "f-string": _f_string,
    "handlebars": _handlebars,
}
