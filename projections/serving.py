"""The serving view: what each prompt answers now, from memory (DESIGN section 6).

Prompts are loaded from their streams on first use and kept fresh by following the ledger; only the
follower changes them. A load registers first, the follower buffers for it, then applies what has a
higher stream position. Answers are encoded once. Memory is bounded in bytes.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Literal
from uuid import UUID

import orjson
from multidict import CIMultiDict

from domain.access import not_found, prompt_resource
from domain.content import digest_of
from domain.errors import ErasedError, VersionNotFoundError
from domain.label import LabelMove
from domain.name import Name
from domain.names import LABEL_LATEST, name_id
from domain.prompt import Prompt
from domain.semver import parse_range
from domain.version import MAIN_BRANCH, Version
from ledger.mapper import RecordedEvent
from ledger.recorder import LedgerRecorder
from ledger.repository import Repository

SERVING_BYTES_MAX = 256 * 1024 * 1024
ENTRY_OVERHEAD_BYTES = 4096
EVENT_BYTES = 2048
DIGESTS_AT_ONCE = 16
IMMUTABLE = "private, max-age=31536000, immutable"
NO_CACHE = "private, no-cache"

# "range": newest in a semver range of what a label pointed to, written "label range"; "live": a
# version as one such, written "label@number", which is how answers to ranges are kept.
Kind = Literal["label", "version", "digest", "range", "live"]


@dataclass(frozen=True, slots=True)
class Resolved:
    """An encoded answer, its strong ETag, and the headers that go with it."""

    body: bytes
    etag: str
    headers: CIMultiDict[str]


@dataclass
class History:
    """A prompt with who did each of its events and where in the ledger, by stream position."""

    prompt: Prompt
    events: list[RecordedEvent]

    def apply(self, recorded: RecordedEvent) -> None:
        """Take in the next event of the stream."""
        recorded.event.mutate(self.prompt)
        self.events.append(recorded)

    def actor_at(self, stream_position: int) -> str:
        """Who did the event at a stream position."""
        actor: str = self.events[stream_position - 1].payload["actor"]["id"]
        return actor

    def position_at(self, stream_position: int) -> int:
        """Where in the ledger the event at a stream position is."""
        return self.events[stream_position - 1].position


@dataclass
class Entry:
    """A loaded prompt: its history, canonical contents and digests by version, encoded answers."""

    key: tuple[str, str]
    stream: str
    history: History
    contents: dict[int, bytes] = field(default_factory=dict)
    digests: dict[int, str] = field(default_factory=dict)
    answers: dict[tuple[Kind, str | int], Resolved] = field(default_factory=dict)
    size: int = ENTRY_OVERHEAD_BYTES

    def apply(self, recorded: RecordedEvent) -> None:
        """Take in the next event and drop the answers it changes."""
        self.history.apply(recorded)
        self.size += EVENT_BYTES
        event = recorded.event
        if isinstance(event, Prompt.LabelMoved | Prompt.LabelRemoved):
            self._drop(("label", event.label))
            live = [key for key in self.answers if _is_live(key, event.label)]
            for key in live:
                self._drop(key)
        elif isinstance(event, Prompt.VersionCommitted) and event.branch == MAIN_BRANCH:
            self._drop(("label", LABEL_LATEST))

    def _drop(self, selector: tuple[Kind, str | int]) -> None:
        answer = self.answers.pop(selector, None)
        if answer is not None:
            self.size -= len(answer.body)


def _is_live(key: tuple[Kind, str | int], label: str) -> bool:
    return key[0] == "live" and str(key[1]).partition("@")[0] == label


class ServingView:
    """Prompts in memory. All methods run on the event loop; loads read in the given executor."""

    def __init__(
        self,
        recorder: LedgerRecorder,
        repository: Repository,
        readers: Executor,
        bytes_max: int = SERVING_BYTES_MAX,
    ) -> None:
        self._recorder = recorder
        self._repository = repository
        self._readers = readers
        self._bytes_max = bytes_max
        self._entries: OrderedDict[tuple[str, str], Entry] = OrderedDict()
        self._streams: dict[str, Entry] = {}
        self._buffers: dict[str, list[list[RecordedEvent]]] = {}
        self._loads: dict[tuple[str, str], asyncio.Task[Entry]] = {}
        self.bytes = 0
        self.hits = 0
        self.misses = 0

    def apply(self, batch: Sequence[RecordedEvent]) -> None:
        """Follow the ledger."""
        for recorded in batch:
            for buffer in self._buffers.get(recorded.stream, ()):
                buffer.append(recorded)
            entry = self._streams.get(recorded.stream)
            if entry is not None:
                self._advance(entry, recorded)

    def _advance(self, entry: Entry, recorded: RecordedEvent) -> None:
        ahead = recorded.payload["stream_position"] - entry.history.prompt.version
        if ahead == 1:
            before = entry.size
            entry.apply(recorded)
            self.bytes += entry.size - before
            self._make_room()
        elif ahead > 1:
            self._evict(entry.key)

    def cached(self, project: str, name: str, kind: Kind, selector: str | int) -> Resolved | None:
        """The encoded answer, if it is at hand: the path of every hot read."""
        entry = self._entries.get((project, name))
        if entry is None:
            return None
        if kind == "range":
            kind, selector = _live(entry.history.prompt, str(selector))
        answer = entry.answers.get((kind, selector))
        if answer is not None:
            self.hits += 1
            self._entries.move_to_end((project, name))
        return answer

    async def resolve(self, project: str, name: str, kind: Kind, selector: str | int) -> Resolved:
        """The encoded answer, loaded where need be.

        Raises NotFoundError, VersionNotFoundError, LabelNotSetError, ErasedError.
        """
        self.misses += 1
        while True:
            entry = await self.entry(project, name)
            seen = entry.history.prompt.version
            chosen = (kind, selector)
            if kind == "range":
                chosen = _live(entry.history.prompt, str(selector))
            version, move = await self._select(entry, *chosen)
            content = await self.content(entry, version)
            evicted = self._entries.get(entry.key) is not entry
            if evicted or entry.history.prompt.version != seen:
                continue
            label = _label_of(*chosen)
            answer = encode_answer(entry.history, version, content, label, move)
            self._keep(entry, chosen, answer)
            return answer

    async def entry(self, project: str, name: str) -> Entry:
        """A loaded prompt; NotFoundError where there is none."""
        key = (project, name)
        entry = self._entries.get(key)
        if entry is not None:
            self._entries.move_to_end(key)
            return entry
        task = self._loads.get(key)
        if task is None:
            task = asyncio.create_task(self._load(key))
            self._loads[key] = task
            task.add_done_callback(lambda _: self._loads.pop(key, None))
        return await asyncio.shield(task)

    async def _load(self, key: tuple[str, str]) -> Entry:
        loop = asyncio.get_running_loop()
        prompt_id = await loop.run_in_executor(self._readers, self._prompt_id, key)
        stream = f"prompt/{prompt_id}"
        buffer: list[RecordedEvent] = []
        self._buffers.setdefault(stream, []).append(buffer)
        try:
            events = await loop.run_in_executor(
                self._readers, self._repository.history, Prompt, prompt_id
            )
        finally:
            self._buffers[stream].remove(buffer)
            if not self._buffers[stream]:
                del self._buffers[stream]
        size = ENTRY_OVERHEAD_BYTES + EVENT_BYTES * len(events)
        entry = Entry(key, stream, fold_history(events, key), size=size)
        self._entries[key] = self._streams[stream] = entry
        self.bytes += entry.size
        self._make_room()
        for recorded in buffer:
            self._advance(entry, recorded)
        return entry

    def _prompt_id(self, key: tuple[str, str]) -> UUID:
        claim = self._repository.load(Name, name_id(*key)).aggregate
        if claim is None:
            raise not_found(prompt_resource(*key))
        return claim.prompt_id

    async def _select(
        self, entry: Entry, kind: Kind, selector: str | int
    ) -> tuple[Version, LabelMove | None]:
        prompt = entry.history.prompt
        if kind == "version":
            return prompt.version_numbered(int(selector)), None
        if kind == "label":
            return select_label(prompt, str(selector))
        if kind == "live":
            return select_live(prompt, str(selector))
        await self._learn_digests(entry, prompt.versions)
        for version in reversed(prompt.versions):
            if entry.digests.get(version.number) == selector:
                return version, None
        raise VersionNotFoundError(f"No version of {prompt.project}/{prompt.name} is {selector}.")

    async def _learn_digests(self, entry: Entry, versions: Sequence[Version]) -> None:
        """Digests of all versions; their bodies are looked at, not kept."""
        unknown = [v for v in versions if v.number not in entry.digests]
        loop = asyncio.get_running_loop()
        for start in range(0, len(unknown), DIGESTS_AT_ONCE):
            some = unknown[start : start + DIGESTS_AT_ONCE]
            found = await loop.run_in_executor(self._readers, self._digests, some)
            entry.digests.update(found)

    def _digests(self, versions: Sequence[Version]) -> dict[int, str]:
        held = self._recorder.contents([v.content["commitment"] for v in versions])
        return {
            v.number: digest_of(held[v.content["commitment"]].body)
            for v in versions
            if v.content["commitment"] in held
        }

    async def content(self, entry: Entry, version: Version) -> bytes:
        """The canonical bytes of a version; ErasedError where they are gone."""
        held = entry.contents.get(version.number)
        if held is None:
            commitment = version.content["commitment"]
            loop = asyncio.get_running_loop()
            found = await loop.run_in_executor(self._readers, self._repository.content, commitment)
            held = check_erased(entry.history.prompt, version, found.body if found else None)
            if version.number not in entry.contents:
                entry.contents[version.number] = held
                self._grow(entry, len(held))
        return held

    def _keep(self, entry: Entry, selector: tuple[Kind, str | int], answer: Resolved) -> None:
        if selector not in entry.answers and self._entries.get(entry.key) is entry:
            entry.answers[selector] = answer
            self._grow(entry, len(answer.body))

    def _grow(self, entry: Entry, size: int) -> None:
        if self._entries.get(entry.key) is not entry:
            return
        entry.size += size
        self.bytes += size
        self._make_room()

    def _make_room(self) -> None:
        while self.bytes > self._bytes_max and len(self._entries) > 1:
            self._evict(next(iter(self._entries)))
        if self.bytes > self._bytes_max:
            self._empty(next(iter(self._entries.values())))

    def _empty(self, entry: Entry) -> None:
        """Keep a prompt's history only: it alone is more than there is room for."""
        entry.contents.clear()
        entry.answers.clear()
        size = ENTRY_OVERHEAD_BYTES + EVENT_BYTES * len(entry.history.events)
        self.bytes += size - entry.size
        entry.size = size

    def _evict(self, key: tuple[str, str]) -> None:
        entry = self._entries.pop(key)
        del self._streams[entry.stream]
        self.bytes -= entry.size


def fold_history(events: list[RecordedEvent], key: tuple[str, str]) -> History:
    """A prompt out of its whole stream; NotFoundError where the stream is empty."""
    prompt: Any = None
    for recorded in events:
        prompt = recorded.event.mutate(prompt)
    if prompt is None:
        raise not_found(prompt_resource(*key))
    return History(prompt, events)


def select_label(prompt: Prompt, label: str) -> tuple[Version, LabelMove | None]:
    """A label's target and the move that made it so (None for `latest`)."""
    version = prompt.target_of(label)
    return version, None if label == LABEL_LATEST else prompt.labels[label].history[-1]


def _live(prompt: Prompt, selector: str) -> tuple[Kind, str]:
    """What a range means now; VersionNotFoundError, LabelNotSetError, InvalidRangeError."""
    label, _, wanted = selector.partition(" ")
    return "live", f"{label}@{prompt.target_in(label, parse_range(wanted)).number}"


def select_live(prompt: Prompt, selector: str) -> tuple[Version, LabelMove]:
    """A version that a label pointed to, and the last move that pointed there."""
    label, _, number = selector.partition("@")
    version = prompt.version_numbered(int(number))
    moves = reversed(prompt.labels[label].history)
    return version, next(move for move in moves if move.to_version == version.number)


def select_range(prompt: Prompt, selector: str) -> tuple[Version, LabelMove]:
    """The newest version in a range, written "label range", and the move that made it live."""
    return select_live(prompt, _live(prompt, selector)[1])


def _label_of(kind: Kind, selector: str | int) -> str | None:
    if kind == "label":
        return str(selector)
    return str(selector).partition("@")[0] if kind == "live" else None


def check_erased(prompt: Prompt, version: Version, body: bytes | None) -> bytes:
    """The body, or ErasedError where there is none."""
    if body is None:
        raise ErasedError(
            f"The content of {prompt.project}/{prompt.name}@{version.number} was erased."
        )
    return body


def encode_answer(
    history: History, version: Version, content: bytes, label: str | None, move: LabelMove | None
) -> Resolved:
    """The resolved prompt as JSON (DESIGN section 7)."""
    prompt = history.prompt
    decisive = move.stream_position if move else version.stream_position
    body = orjson.dumps(
        {
            "ref": f"{prompt.project}/{prompt.name}@{version.number}",
            "project": prompt.project,
            "name": prompt.name,
            "version": version.number,
            "semver": str(version.semver) if version.semver else None,
            "digest": digest_of(content),
            "label": label,
            "content": orjson.Fragment(content),
            "partials": [],
            "promoted_by": history.actor_at(decisive) if move else None,
            "promoted_at": history.events[decisive - 1].time if move else None,
            "position": history.position_at(decisive),
        }
    )
    etag = f'"{sha256(body).hexdigest()[:32]}"'
    headers = {
        "Content-Type": "application/json",
        "ETag": etag,
        "Cache-Control": IMMUTABLE if label is None else NO_CACHE,
    }
    return Resolved(body, etag, CIMultiDict(headers))
