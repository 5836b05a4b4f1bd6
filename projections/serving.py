"""The serving view: what each prompt answers now, from memory (DESIGN section 6).

Prompts are loaded from their streams on first use and kept fresh by following the ledger; only the
follower changes them. A load registers first, the follower buffers for it, then applies what has a
higher stream position. Answers are encoded once. Memory is bounded in bytes.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import replace
from itertools import count
from types import MappingProxyType
from uuid import UUID

from domain.access import not_found, prompt_resource
from domain.composition import COMPOSITION_PROMPTS_MAX, Guardrail, Source, references_in
from domain.content import digest_of
from domain.errors import (
    CompositionLimitError,
    ErasedError,
    NotFoundError,
    VersionNotFoundError,
)
from domain.label import LabelMove
from domain.locales import chosen_locale
from domain.name import Name
from domain.names import name_id, project_id
from domain.partials import parse_reference
from domain.project import Project
from domain.prompt import Prompt
from domain.prompt_deciding import version_of
from domain.rollout import Rule
from domain.version import Version
from ledger.ids import now
from ledger.mapper import RecordedEvent
from ledger.recorder import LedgerRecorder
from ledger.repository import Repository
from projections.answers import (
    Answers,
    Kind,
    Resolved,
    encode_answer,
    kept_under,
    label_of,
    live_selector,
    select_label,
    select_live,
    select_split,
)
from projections.composing import (
    Assembled,
    assemble,
    authored,
    decisive_position,
    expiry_of,
    lookup_in,
    part_of,
    source_of,
)
from projections.entry import ENTRY_OVERHEAD_BYTES, EVENT_BYTES, Entry, Gathered
from projections.history import check_erased, fold_history
from projections.projects import ProjectView
from projections.rollouts import rules_of

SERVING_BYTES_MAX = 256 * 1024 * 1024
DIGESTS_AT_ONCE = 16
ASSEMBLY_TRIES = 8
GATHERED_MAX = 4 * COMPOSITION_PROMPTS_MAX


class ServingView:
    """Prompts in memory. All methods run on the event loop; loads read in the given executor."""

    def __init__(
        self,
        recorder: LedgerRecorder,
        repository: Repository,
        projects: ProjectView,
        readers: Executor,
        bytes_max: int = SERVING_BYTES_MAX,
    ) -> None:
        self._recorder = recorder
        self._repository = repository
        self._projects = projects
        self._readers = readers
        self._bytes_max = bytes_max
        self._entries: OrderedDict[tuple[str, str], Entry] = OrderedDict()
        self._streams: dict[str, Entry] = {}
        self._aliases: dict[tuple[str, str], tuple[str, str]] = {}
        self._dependents: dict[str, set[tuple[tuple[str, str], tuple[Kind, str | int]]]] = {}
        self._buffers: dict[str, list[list[RecordedEvent]]] = {}
        self._loads: dict[tuple[str, str], asyncio.Task[Entry]] = {}
        self.bytes = 0
        self.hits = 0
        self.misses = 0

    def apply(self, batch: Sequence[RecordedEvent]) -> None:
        """Follow the ledger."""
        for recorded in batch:
            self._forget_composed(recorded)
            for buffer in self._buffers.get(recorded.stream, ()):
                buffer.append(recorded)
            entry = self._streams.get(recorded.stream)
            if entry is not None:
                self._advance(entry, recorded)

    def _forget_composed(self, recorded: RecordedEvent) -> None:
        """Drop the answers that are composed of what an event may have changed."""
        event = recorded.event
        for key, selector in self._dependents.pop(recorded.stream, ()):
            if (entry := self._entries.get(key)) is not None:
                self.bytes -= entry.drop(selector)
        if isinstance(event, Prompt.Moved):
            self._aliases = {
                key: own
                for key, own in self._aliases.items()
                if own[1] != event.from_ and key[1] != event.to
            }
        if isinstance(event, Project.GuardrailSet | Project.GuardrailRemoved):
            for (project, _), entry in self._entries.items():
                if project_id(project) == event.originator_id:
                    self.bytes -= sum(entry.drop(selector) for selector in list(entry.answers))

    def _advance(self, entry: Entry, recorded: RecordedEvent) -> None:
        ahead = recorded.payload["stream_position"] - entry.history.prompt.version
        if isinstance(recorded.event, Prompt.Moved):
            self._evict(entry.key)
        elif ahead == 1:
            before = entry.size
            entry.apply(recorded)
            self.bytes += entry.size - before
            self._make_room()
        elif ahead > 1:
            self._evict(entry.key)

    def cached(
        self,
        project: str,
        name: str,
        kind: Kind,
        selector: str | int,
        languages: Sequence[str] = (),
    ) -> Resolved | None:
        """The encoded answer, if it is at hand: the path of every hot read."""
        key = (project, name)
        entry = self._entries.get(self._aliases.get(key, key))
        if entry is None:
            return None
        if kind == "range":
            kind, selector = live_selector(entry.history.prompt, str(selector), now())
        answers = entry.answers.get((kind, selector))
        answer = answers.to(languages) if answers is not None else None
        if answer is not None and not answer.stands():
            self.bytes -= entry.drop((kind, selector))
            return None
        if answer is not None:
            self.hits += 1
            self._entries.move_to_end(entry.key)
        return answer

    def hit(
        self, project: str, name: str, kind: Kind, selector: str | int, languages: Sequence[str]
    ) -> Resolved | None:
        """`cached`, of a prompt by the name it goes by, and of no range: refuses nothing."""
        if kind == "range" or (project, name) in self._aliases:
            return None
        return self.cached(project, name, kind, selector, languages)

    async def resolve(
        self,
        project: str,
        name: str,
        kind: Kind,
        selector: str | int,
        languages: Sequence[str] = (),
        *,
        raw: bool = False,
    ) -> Resolved:
        """The encoded answer, loaded where need be; `raw`: as authored, without composition.

        `languages`: in the first of these that there is, else in the base language. Raises
        NotFoundError, VersionNotFoundError, LabelNotSetError, ErasedError, CompositionError.
        """
        self.misses += 1
        for attempt in count():
            entry = await self.entry(project, name)
            seen = entry.history.prompt.version
            version, move, label = await self.choose(entry, kind, selector)
            content = await self.content(entry, version)
            assembled, settled = authored(content), True
            if not raw:
                locale = chosen_locale(languages, version.locales)
                assembled, settled = await self._assembled(entry, version, content, locale)
            here = self._entries.get(entry.key) is entry
            whole = settled and here and entry.history.prompt.version == seen
            if not whole and attempt < ASSEMBLY_TRIES:
                continue
            answer = encode_answer(entry.history, version, assembled, label, move)
            if whole and not raw:
                kept = kept_under(kind, selector, label, version)
                self._keep(entry, kept, version, assembled, answer)
            return answer
        raise AssertionError("counting ends")

    async def entry(self, project: str, name: str) -> Entry:
        """A loaded prompt, by its name or one that leads to it; NotFoundError."""
        key = (project, name)
        entry = self._entries.get(self._aliases.get(key, key))
        if entry is not None:
            self._entries.move_to_end(entry.key)
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
        history = fold_history(events, key)
        own = (key[0], history.prompt.name)
        known = self._streams.get(stream)
        if known is not None and known.history.prompt.version >= history.prompt.version:
            self._alias(key, known.key)
            return known
        if known is not None:  # under a name that it has lost, as this process is yet to follow
            self._evict(known.key)
        self._alias(key, own)
        size = ENTRY_OVERHEAD_BYTES + EVENT_BYTES * len(events)
        entry = Entry(own, stream, history, size=size)
        self._entries[own] = self._streams[stream] = entry
        self.bytes += entry.size
        self._make_room()
        for recorded in buffer:
            if self._entries.get(own) is entry:
                self._advance(entry, recorded)
        return entry

    def _alias(self, key: tuple[str, str], own: tuple[str, str]) -> None:
        """Remember to which name another leads."""
        if key == own:
            self._aliases.pop(key, None)
        else:
            self._aliases[key] = own

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
            return select_label(prompt, str(selector), now())
        if kind == "live":
            return select_live(prompt, str(selector))
        if kind == "rollout":
            return select_split(prompt, str(selector))
        await self._learn_digests(entry, prompt.versions)
        for version in prompt.versions:
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

    async def targeting(self, entry: Entry, label: str) -> tuple[Rule, ...]:
        """The rules of a label's rollout, which come before its split; ErasedError."""
        rollout = entry.history.prompt.rollouts.get(label)
        if rollout is None or rollout.targeting is None:
            return ()
        commitment = rollout.targeting["commitment"]
        if commitment not in entry.targeting:
            loop = asyncio.get_running_loop()
            held = await loop.run_in_executor(self._readers, self._repository.content, commitment)
            body = held.body if held is not None else None
            entry.targeting[commitment] = rules_of(entry.history.prompt, rollout, body)
            self._grow(entry, len(body or b""))
        return entry.targeting[commitment]

    async def choose(
        self, entry: Entry, kind: Kind, selector: str | int
    ) -> tuple[Version, LabelMove | None, str | None]:
        """What is meant by a selector now: version, the move that made it so, the label."""
        chosen = (kind, selector)
        if kind == "range":
            chosen = live_selector(entry.history.prompt, str(selector), now())
        version, move = await self._select(entry, *chosen)
        return version, move, label_of(*chosen)

    async def resolve_with(
        self, project: str, name: str, label: str, moved: Mapping[str, Source]
    ) -> bytes:
        """What a label would answer if some references (`name@label`) meant something else."""
        entry = await self.entry(project, name)
        version, _, _ = await self.choose(entry, "label", label)
        content = await self.content(entry, version)
        return (await self._assembled(entry, version, content, None, moved))[0].body

    async def _assembled(
        self,
        entry: Entry,
        version: Version,
        content: bytes,
        locale: str | None,
        moved: Mapping[str, Source] = MappingProxyType({}),
    ) -> tuple[Assembled, bool]:
        """A version composed of what its references mean; whether they mean it still.

        Parts that do not fit into memory all at once cannot be told to; such answers are not kept.
        """
        project, _ = entry.key
        guardrails, changed = self._guardrails(entry)
        if not version.partials and not guardrails and not version.locales:
            return replace(authored(content), position=changed), True
        references = [*version.partials, *(guardrail.reference for guardrail in guardrails)]
        references += [str(r) for source in moved.values() for r in references_in(source.content)]
        gathered = await self._gather(project, references, moved, locale)
        settled = self._guardrails(entry) == (guardrails, changed) and all(
            self._entries.get(part.key) is part and part.history.prompt.version == version_seen
            for part, version_seen in gathered.seen
        )
        root = source_of(entry.history, version, content, locale)
        made = assemble(root, lookup_in(gathered.found), guardrails, locale)
        streams = frozenset(part.stream for part, _ in gathered.seen)
        position = max(changed, *gathered.positions, 0)
        expires = min(gathered.expiries, default=None)
        return replace(made, position=position, streams=streams, expires=expires), settled

    async def _gather(
        self,
        project: str,
        references: Sequence[str],
        moved: Mapping[str, Source],
        locale: str | None = None,
    ) -> Gathered:
        """What references mean now, and those of what they mean, in the language of the whole."""
        gathered = Gathered(dict(moved))
        waiting = list(references)
        while waiting:
            if len(gathered.found) > GATHERED_MAX:
                raise CompositionLimitError(f"More than {GATHERED_MAX} references are met.")
            reference = parse_reference(waiting.pop())
            if str(reference) in gathered.found:
                continue
            try:
                part = await self.entry(project, reference.name)
                gathered.seen.append((part, part.history.prompt.version))
                meant = version_of(part.history.prompt, reference, now())
                body = await self.content(part, meant)
            except (NotFoundError, ErasedError) as error:
                gathered.found[str(reference)] = error
                continue
            gathered.found[str(reference)] = part_of(part.history, meant, body, locale)
            gathered.positions.append(decisive_position(part.history, reference, meant))
            if (expires := expiry_of(part.history, reference)) is not None:
                gathered.expiries.append(expires)
            waiting += meant.partials
        return gathered

    async def composed_of(self, project: str, name: str) -> frozenset[str]:
        """A prompt's names, and those of what its labels and its newest version name now."""
        entry = await self.entry(project, name)
        prompt = entry.history.prompt
        live = {*prompt.labels_set.values(), prompt.latest.number}
        references = [one for number in live for one in prompt.version_numbered(number).partials]
        references += [guardrail.reference for guardrail in self._guardrails(entry)[0]]
        gathered = await self._gather(project, references, {})
        parts = frozenset(part.key[1] for part, _ in gathered.seen)
        return parts | frozenset(prompt.names)

    def _guardrails(self, entry: Entry) -> tuple[list[Guardrail], int]:
        prompt = entry.history.prompt
        return self._projects.of(prompt.project).covering(prompt.name, prompt.former)

    def _keep(
        self,
        entry: Entry,
        selector: tuple[Kind, str | int],
        version: Version,
        assembled: Assembled,
        answer: Resolved,
    ) -> None:
        answers = entry.answers.setdefault(selector, Answers(tuple(version.locales)))
        if assembled.locale not in answers.by_locale and self._entries.get(entry.key) is entry:
            answers.by_locale[assembled.locale] = answer
            for stream in assembled.streams:
                self._dependents.setdefault(stream, set()).add((entry.key, selector))
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
        if self._streams.get(entry.stream) is entry:
            del self._streams[entry.stream]
        self.bytes -= entry.size
