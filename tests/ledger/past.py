"""A past to forge: real events, one of them made to say something else, or left out.

As somebody could have written it who has the signing key.
"""

import copy
from collections.abc import Callable
from typing import Any

from ledger.authority import Authority
from ledger.mapper import RecordedEvent, SigningMapper
from tests.harness import Api

Fields = dict[str, Any]
Edit = Callable[[Fields, dict[str, Any]], None]


class Past:
    """The events of a registry, and names for the ids in them."""

    def __init__(self) -> None:
        self.events: list[RecordedEvent] = []
        self.names: dict[str, Any] = {}
        self.mapper: SigningMapper

    def take(self, api: Api) -> None:
        self.mapper = api.services.mapper
        stored = api.services.recorder.select_after(0, 1000)
        self.events = [self.mapper.recorded(one) for one in stored]

    def find(self, kind_verb: str, number: int) -> int:
        """Where the `number`-th event of a kind stands (-1: the last)."""
        return [i for i, one in enumerate(self.events) if one.kind_verb == kind_verb][number]

    def fault(self, at: int, edit: Edit | None) -> tuple[int, str] | None:
        """Where the first objection is and what it says, an event edited (None: left out)."""
        authority = Authority()
        stream = self.events[at].stream if edit is None and at >= 0 else ""
        for index, recorded in enumerate(self.events):
            if index == at and edit is None:
                continue
            if index == at and edit is not None:
                recorded = self.edited(recorded, edit)
            elif index > at and recorded.stream == stream:
                recorded = self.edited(recorded, _one_earlier)
            fault = authority.fault(recorded)
            if fault is not None:
                return index, fault
            authority.apply(recorded)
        return None

    def edited(self, recorded: RecordedEvent, edit: Edit) -> RecordedEvent:
        fields = copy.deepcopy(recorded.payload)
        edit(fields, self.names)
        event = self.mapper.domain_event(fields)
        return RecordedEvent(recorded.position, fields, event, recorded.leaf_hash)


def _one_earlier(fields: Fields, names: dict[str, Any]) -> None:
    fields["stream_position"] -= 1


def data(**given: Any) -> Edit:
    """Other data; a name of the history stands for its id."""

    def edit(fields: Fields, names: dict[str, Any]) -> None:
        fields["data"] |= {k: names.get(v, v) if isinstance(v, str) else v
                           for k, v in given.items()}  # fmt: skip

    return edit


def by(who: str) -> Edit:
    """Done by somebody else, with their token and grant."""

    def edit(fields: Fields, names: dict[str, Any]) -> None:
        fields["actor"] |= {"id": names[who], "credential": names[f"{who}'s token"]}
        fields["authz"]["grants"] = [names[f"{who}'s grant"]]
        if "by" in fields["data"]:
            fields["data"]["by"] = names[who]

    return edit


def actor(**given: Any) -> Edit:
    def edit(fields: Fields, names: dict[str, Any]) -> None:
        fields["actor"] |= {k: names.get(v, v) for k, v in given.items()}

    return edit


def item(**given: Any) -> Edit:
    def edit(fields: Fields, names: dict[str, Any]) -> None:
        fields["data"]["items"][0] |= given

    return edit


def authz(**given: Any) -> Edit:
    return lambda fields, names: fields["authz"].update(given)
