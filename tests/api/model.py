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
        self.labels: dict[str, ModelLabel] = {}
        self.description: str | None = None
        self.tags: list[str] = []
        self.archived = False
