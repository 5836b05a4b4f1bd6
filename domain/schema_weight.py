"""How much work a JSON Schema can make of one value.

References let a schema of a few hundred bytes apply to each value millions of times. So a schema
counts written out, each reference with what it refers to, and may not refer to itself: then a value
of n nodes takes at most n times the weight.
"""

from typing import Any
from urllib.parse import unquote

SCHEMA_WEIGHT_MAX = 10_000
# What makes a reference mean another place than its pointer says, or the place depend on the value.
_MOVED = ("$id", "$anchor", "$dynamicAnchor", "$recursiveAnchor", "$dynamicRef", "$recursiveRef")
_OLD_DRAFTS = ("draft-03", "draft-04")  # here a plain `id` moves references


def is_light(schema: dict[str, Any]) -> bool:
    """Whether a schema weighs at most SCHEMA_WEIGHT_MAX and refers to its own parts only."""
    if any(draft in str(schema.get("$schema", "")) for draft in _OLD_DRAFTS):
        return False
    root = {name: value for name, value in schema.items() if name != "$id"}
    try:
        return _Weights(root).of(root) <= SCHEMA_WEIGHT_MAX
    except (LookupError, ValueError):
        return False


class _Weights:
    """Weights of the nodes of one schema, each worked out once."""

    def __init__(self, root: dict[str, Any]) -> None:
        self._root = root
        self._known: dict[int, int | None] = {}

    def of(self, node: Any) -> int:
        """A node's weight; ValueError where it holds itself, LookupError for what is not there."""
        if not isinstance(node, dict | list):
            return 1
        if id(node) in self._known:
            known = self._known[id(node)]
            if known is None:
                raise ValueError("the schema refers to itself")
            return known
        self._known[id(node)] = None
        weight = 1 + sum(map(self.of, node.values() if isinstance(node, dict) else node))
        if isinstance(node, dict):
            weight += self._referred(node)
        self._known[id(node)] = weight
        return weight

    def _referred(self, node: dict[str, Any]) -> int:
        if any(isinstance(node.get(name), str | bool) for name in _MOVED):
            raise ValueError("references that move")
        reference = node.get("$ref")
        return self.of(self._target(reference)) if isinstance(reference, str) else 0

    def _target(self, reference: str) -> Any:
        """What a JSON Pointer fragment points to (RFC 6901, section 6)."""
        if reference[:1] != "#" or reference[1:2] not in ("", "/"):
            raise LookupError(reference)
        node: Any = self._root
        for step in unquote(reference[1:]).split("/")[1:]:
            name = step.replace("~1", "/").replace("~0", "~")
            node = node[int(name) if isinstance(node, list) else name]
        return node
