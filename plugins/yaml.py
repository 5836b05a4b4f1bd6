"""YAML as far as prompt files need it: plain values, no aliases, no tags."""

from typing import Any

import yaml


class _PlainLoader(yaml.SafeLoader):
    """SafeLoader that refuses aliases (they multiply) and leaves dates as text."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise ValueError("YAML aliases are not accepted")
        return super().compose_node(parent, index)


_PlainLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def parse_mapping(text: str) -> dict[str, Any]:
    """A YAML document that is a mapping; ValueError says what else it is."""
    try:
        value = yaml.load(text, Loader=_PlainLoader)  # noqa: S506
    except (yaml.YAMLError, RecursionError) as error:
        raise ValueError(f"not YAML: {error}") from None
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise ValueError("not a mapping of names to values")
    return value
