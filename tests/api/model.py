"""What prompts and labels are to the state machine: imports nothing from the domain."""


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
