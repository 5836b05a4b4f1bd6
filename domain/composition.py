"""Composition: a prompt out of the prompts its texts name, with the guardrails of where it lies.

Pure: what a reference means is asked of a lookup. The result lists every part by version and
digest, a lockfile: the same parts give the same bytes whatever labels do later.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from domain.errors import (
    CompositionLimitError,
    PartialCycleError,
    PartialMismatchError,
)
from domain.messages import MESSAGES_MAX
from domain.partials import Reference, inline, parse_reference, partials_in
from domain.template import TemplateError, check_template
from domain.texts import format_of, texts_of

COMPOSITION_DEPTH_MAX = 8
COMPOSITION_PROMPTS_MAX = 256
COMPOSED_CHARS_MAX = 4 * 1024 * 1024

Kind = Literal["partial", "guardrail"]


@dataclass(frozen=True)
class Source:
    """A version that something is composed of: a content with its public digest."""

    project: str
    name: str
    number: int
    digest: str
    content: Mapping[str, Any]

    @property
    def ref(self) -> str:
        """`project/name@number`."""
        return f"{self.project}/{self.name}@{self.number}"


@dataclass(frozen=True)
class Part:
    """One line of the lockfile: what a reference meant."""

    kind: Kind
    reference: str
    source: Source
    guardrail: "Guardrail | None" = None

    def as_data(self) -> dict[str, Any]:
        """JSON form; of a guardrail with what puts it in its place again."""
        data: dict[str, Any] = {
            "kind": self.kind, "reference": self.reference, "ref": self.source.ref,
            "project": self.source.project, "name": self.source.name,
            "version": self.source.number, "digest": self.source.digest,
        }  # fmt: skip
        if self.guardrail is not None:
            rail = self.guardrail
            data["guardrail"] = {"name": rail.name, "position": rail.position, "role": rail.role}
        return data


@dataclass(frozen=True)
class Guardrail:
    """A text composed into every prompt of a project (`folder` None) or below a folder.

    In a chat it is a message of `role`, in a structured prompt a constraint, else text before or
    after the prompt's.
    """

    name: str
    folder: str | None
    reference: str
    position: Literal["prepend", "append"]
    role: str

    def covers(self, prompt_name: str, former: Sequence[str] = ()) -> bool:
        """Whether it is composed into a prompt of its project, which may have had other names."""
        if parse_reference(self.reference).name in (prompt_name, *former):
            return False
        return self.folder is None or prompt_name.startswith(self.folder + "/")


@dataclass(frozen=True)
class Composed:
    """A composed content and its parts, in the order they were met."""

    content: Mapping[str, Any]
    parts: tuple[Part, ...] = ()

    @property
    def moving(self) -> bool:
        """Whether a label, or whoever sets guardrails, can make it another one."""
        return any(
            part.kind == "guardrail" or parse_reference(part.reference).number is None
            for part in self.parts
        )


Lookup = Callable[[Reference], Source]


def references_in(content: Mapping[str, Any]) -> list[Reference]:
    """The prompts that a checked content names itself, each once, in order."""
    bodies = (content, *content.get("locales", {}).values())
    messages = [message for body in bodies for message in body.get("messages", ())]
    found = [parse_reference(message["partial"]) for message in messages if "partial" in message]
    if format_of(content) == "mustache":
        found += [one for _, text in texts_of(content) for one in partials_in(text)]
    return list(dict.fromkeys(found))


def compose(root: Source, lookup: Lookup, guardrails: Iterable[Guardrail] = ()) -> Composed:
    """The root with every partial in its place, and the guardrails that cover it around it.

    Raises PartialCycleError, PartialMismatchError, CompositionLimitError, and what `lookup` raises
    for what is not there.
    """
    work = _Composition(lookup)
    work.enter(root)
    content = work.content(root)
    for guardrail in guardrails:
        before = work.fork()
        try:
            content = work.guarded(content, guardrail)
        except PartialCycleError as error:
            if error.facts["ref"] != root.ref:
                raise
            work = before  # a guardrail goes around no part of its own
    if not work.parts:
        return Composed(root.content)
    if work.variables:
        content = {**content, "variables": {**work.variables, **content.get("variables", {})}}
    return Composed(content, tuple(work.parts.values()))


def check_renderable(composed: Composed) -> None:
    """CompositionLimitError where the composed texts are more than can be rendered."""
    if format_of(composed.content) != "mustache":
        return
    for pointer, text in texts_of(composed.content):
        try:
            check_template(text)
        except TemplateError as error:
            raise CompositionLimitError(f"{pointer}, composed: {error}.") from None


def ordered(
    guardrails: Iterable[Guardrail], prompt_name: str, former: Sequence[str] = ()
) -> list[Guardrail]:
    """Those that cover a prompt, the innermost first, so that each goes around those before."""
    covering = [guardrail for guardrail in guardrails if guardrail.covers(prompt_name, former)]
    return sorted(covering, key=lambda one: (-_depth(one), one.name))


def _depth(guardrail: Guardrail) -> int:
    return len(guardrail.folder.split("/")) if guardrail.folder else 0


@dataclass
class _Composition:
    """One composition under way."""

    lookup: Lookup
    parts: dict[tuple[str | None, str], Part] = field(default_factory=dict)
    variables: dict[str, Any] = field(default_factory=dict)
    chars: int = 0
    path: list[Source] = field(default_factory=list)
    reached: list[int] = field(default_factory=list)
    texts: dict[str, str] = field(default_factory=dict)
    messages: dict[str, list[Any]] = field(default_factory=dict)
    heights: dict[str, int] = field(default_factory=dict)

    def fork(self) -> "_Composition":
        """The state as it is, to come back to."""
        return replace(
            self,
            parts=dict(self.parts),
            variables=dict(self.variables),
            path=list(self.path),
            reached=list(self.reached),
            texts=dict(self.texts),
            messages=dict(self.messages),
            heights=dict(self.heights),
        )

    def enter(self, source: Source) -> None:
        """Go into a source; PartialCycleError where it is being composed already."""
        if any(source.ref == outer.ref for outer in self.path):
            chain = " > ".join([*(outer.ref for outer in self.path), source.ref])
            raise PartialCycleError(f"The prompts compose themselves: {chain}.", ref=source.ref)
        self.path.append(source)
        self.reached.append(0)
        self._reach(len(self.path) - 1)

    def leave(self) -> None:
        """Come back from a source; how deep it goes is known from now on."""
        source, deepest = self.path.pop(), self.reached.pop()
        self.heights[source.ref] = deepest - len(self.path)
        self.reached[-1] = max(self.reached[-1], deepest)

    def _reach(self, depth: int) -> None:
        self.reached[-1] = max(self.reached[-1], depth)
        if depth > COMPOSITION_DEPTH_MAX:
            raise CompositionLimitError(
                f"Partials nest deeper than {COMPOSITION_DEPTH_MAX}:"
                f" {' > '.join(source.name for source in self.path)}."
            )

    def content(self, root: Source) -> dict[str, Any]:
        """The root's content with its partials in place."""
        content = dict(root.content)
        if "messages" in content:
            content["messages"] = self._messages(root)
        elif format_of(content) == "mustache":
            content = _with_texts(content, lambda text: self._inlined(root, text))
        return content

    def guarded(self, content: dict[str, Any], guardrail: Guardrail) -> dict[str, Any]:
        """A content with a guardrail before or after it."""
        reference = parse_reference(guardrail.reference)
        text = self._part_text(self.path[0], reference, guardrail)
        if format_of(content) != "mustache" and "{{" in text:
            raise _mismatch(
                reference, f"has variables, and {self.path[0].ref} is no mustache template"
            )
        first = guardrail.position == "prepend"
        self._count(len(text))
        match content["type"]:
            case "text":
                whole = (text, content["text"]) if first else (content["text"], text)
                return {**content, "text": "\n\n".join(whole)}
            case "chat":
                message = [{"role": guardrail.role, "content": text}]
                messages = content["messages"]
                return {**content, "messages": message + messages if first else messages + message}
        fields = content["fields"]
        constraints = fields.get("constraints", [])
        whole_list = [text, *constraints] if first else [*constraints, text]
        return {**content, "fields": {**fields, "constraints": whole_list}}

    def _inlined(self, host: Source, text: str) -> str:
        try:
            composed = inline(text, lambda reference: self._counted(host, reference))
        except TemplateError as error:
            raise PartialMismatchError(f"{host.ref} cannot be composed: {error}.") from None
        self._count(len(composed))
        return composed

    def _counted(self, host: Source, reference: Reference) -> str:
        """A part's text, counted each time it is put somewhere."""
        text = self._part_text(host, reference)
        self._count(len(text))
        return text

    def _part_text(
        self, host: Source, reference: Reference, guardrail: Guardrail | None = None
    ) -> str:
        source = self._found(reference, guardrail)
        if source.content["type"] != "text":
            raise _mismatch(reference, f"is no text, which {host.ref} needs")
        if source.ref in self.texts:
            self._reach(len(self.path) + self.heights[source.ref])
            return self.texts[source.ref]
        self.enter(source)
        text = source.content["text"]
        if format_of(source.content) == "mustache":
            text = self._inlined(source, text)
        elif "{{" in text:
            raise _mismatch(reference, f"is {format_of(source.content)}, not mustache")
        self._declare(source)
        self.leave()
        self.texts[source.ref] = text
        return str(text)

    def _messages(self, host: Source) -> list[Any]:
        composed: list[Any] = []
        mustache = format_of(host.content) == "mustache"
        for message in host.content["messages"]:
            if "partial" in message:
                composed += self._part_messages(host, parse_reference(message["partial"]))
            elif "content" in message and mustache:
                composed.append({**message, "content": self._inlined(host, message["content"])})
            else:
                composed.append(message)
            if len(composed) > MESSAGES_MAX:
                raise CompositionLimitError(
                    f"{host.ref} composes to more than {MESSAGES_MAX} messages."
                )
        return composed

    def _part_messages(self, host: Source, reference: Reference) -> list[Any]:
        source = self._found(reference)
        if source.content["type"] != "chat":
            raise _mismatch(reference, f"is no chat, whose messages {host.ref} needs")
        if format_of(source.content) != format_of(host.content):
            raise _mismatch(reference, f"is {format_of(source.content)}, and {host.ref} is not")
        if source.ref not in self.messages:
            self.enter(source)
            self.messages[source.ref] = self._messages(source)
            self._declare(source)
            self.leave()
        else:
            self._reach(len(self.path) + self.heights[source.ref])
        return self.messages[source.ref]

    def _found(self, reference: Reference, guardrail: Guardrail | None = None) -> Source:
        key = (guardrail.name if guardrail else None, str(reference))
        if key not in self.parts:
            kind: Kind = "guardrail" if guardrail else "partial"
            self.parts[key] = Part(kind, str(reference), self.lookup(reference), guardrail)
            if len({part.source.name for part in self.parts.values()}) >= COMPOSITION_PROMPTS_MAX:
                raise CompositionLimitError(
                    f"A prompt is composed of at most {COMPOSITION_PROMPTS_MAX} prompts."
                )
        return self.parts[key].source

    def _declare(self, source: Source) -> None:
        for name, spec in source.content.get("variables", {}).items():
            self.variables.setdefault(name, spec)

    def _count(self, chars: int) -> None:
        self.chars += chars
        if self.chars > COMPOSED_CHARS_MAX:
            raise CompositionLimitError(
                f"A prompt composes to at most {COMPOSED_CHARS_MAX} characters, those of its parts"
                " counted too."
            )


def _with_texts(content: Mapping[str, Any], change: Callable[[str], str]) -> dict[str, Any]:
    """A content with each of its templates changed."""
    changed = dict(content)
    match content["type"]:
        case "text":
            changed["text"] = change(content["text"])
        case "chat":
            changed["messages"] = [
                {**message, "content": change(message["content"])}
                if "content" in message
                else message
                for message in content["messages"]
            ]
        case _:
            changed["fields"] = {name: _each(v, change) for name, v in content["fields"].items()}
    return changed


def _each(node: Any, change: Callable[[str], str]) -> Any:
    if isinstance(node, str):
        return change(node)
    if isinstance(node, list):
        return [_each(item, change) for item in node]
    return {name: _each(value, change) for name, value in node.items()}


def _mismatch(reference: Reference, why: str) -> PartialMismatchError:
    return PartialMismatchError(f"The partial {reference} {why}.", partial=str(reference))


def clashes(root: Mapping[str, Any], parts: Sequence[Part]) -> list[str]:
    """The variables that a root and its parts declare with different types, sorted."""
    types: dict[str, str] = {}
    clashing: set[str] = set()
    for content in (root, *(part.source.content for part in parts)):
        for name, spec in content.get("variables", {}).items():
            kind = spec.get("type", "string")
            if types.setdefault(name, kind) != kind:
                clashing.add(name)
    return sorted(clashing)
