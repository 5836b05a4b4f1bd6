"""What prompts and labels are to the state machine: imports nothing from the domain."""

import re


class ModelLabel:
    def __init__(self) -> None:
        self.target: int | None = None
        self.returns: list[int] = []
        self.ever: set[int] = set()

    def move(self, to: int) -> None:
        self.target = to
        if self.returns[-1:] != [to]:
            self.returns.append(to)
        self.ever.add(to)

    def roll_back(self, to: int) -> None:
        if to in self.returns:
            while self.returns[-1] != to:
                self.returns.pop()
        else:
            self.returns.append(to)
        self.target = to


class ModelPrompt:
    def __init__(self, text: str) -> None:
        self.versions = [text]
        self.parents: list[set[int]] = [set()]
        self.heads = {"main": 1}
        self.written = {"main"}
        self.labels: dict[str, ModelLabel] = {}
        self.description: str | None = None
        self.tags: list[str] = []
        self.archived = False
        self.deprecated: tuple[str | None] | None = None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ModelPrompt) and self.versions == other.versions

    def commit(self, text: str, branch: str = "main", merged: int | None = None) -> int:
        self.versions.append(text)
        self.parents.append({self.heads[branch], *([merged] if merged else [])})
        self.heads[branch] = len(self.versions)
        return len(self.versions)

    def text(self, branch: str = "main") -> str:
        return self.versions[self.heads[branch] - 1]

    def past(self, number: int) -> set[int]:
        return {number}.union(*(self.past(parent) for parent in self.parents[number - 1]))

    def merge(self, source: str, target: str) -> str | None:
        """The merged text; None where both sides changed it."""
        heads = self.heads[target], self.heads[source]
        base = self.versions[max(self.past(heads[0]) & self.past(heads[1])) - 1]
        ours, theirs = (self.versions[head - 1] for head in heads)
        if theirs in (base, ours):
            return ours
        return theirs if ours == base else None


class Refused(Exception):
    """A composition that is refused, with the code it is refused by."""


TAG = re.compile(r"\{\{> (?P<name>[^@]+)@(?P<at>[^}]+)\}\}")
Place = tuple[str, int]


def compose(
    prompts: dict[str, ModelPrompt],
    place: Place,
    text: str,
    moved: dict[tuple[str, str], tuple[Place, str]],
    *,
    fresh: bool = False,
    path: tuple[Place, ...] = (),
) -> str:
    """A text with what it names in its place; `moved` are references about to mean another."""
    if place in path:
        raise Refused("partial_cycle")
    if len(path) > 8:
        raise Refused("composition_limit")
    found = TAG.search(text)
    if found is None:
        return text
    name, at = found["name"], found["at"]
    if (name, at) in moved:
        target, body = moved[name, at]
    else:
        target = name, _meant(prompts, name, at, fresh)
        body = prompts[name].versions[target[1] - 1]
    inner = compose(prompts, target, body, moved, fresh=fresh, path=(*path, place))
    return text.replace(found[0], inner)


def _meant(prompts: dict[str, ModelPrompt], name: str, at: str, fresh: bool) -> int:
    if name not in prompts:
        raise Refused("partial_not_found")
    prompt = prompts[name]
    if fresh and prompt.archived:
        raise Refused("prompt_archived")
    if at == "latest":
        return prompt.heads["main"]
    if at.isdecimal():
        number = int(at) if int(at) <= len(prompt.versions) else None
    else:
        number = prompt.labels[at].target if at in prompt.labels else None
    if number is None:
        raise Refused("partial_not_found")
    return number


def users(prompts: dict[str, ModelPrompt], name: str) -> set[str]:
    """The other prompts in use that name a prompt in what they serve, as `name@number`."""
    found = set()
    for other, prompt in prompts.items():
        live = {label.target for label in prompt.labels.values()} | {prompt.heads["main"]}
        for number in live - {None}:
            tag = TAG.search(prompt.versions[number - 1])
            if tag and tag["name"] == name and other != name and not prompt.archived:
                found.add(f"{other}@{number}")
    return found
