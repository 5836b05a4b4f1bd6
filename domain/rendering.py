"""From a content and values to what a model is sent: neutral messages, or one text.

The layout of a structured prompt: the system message holds role, context, constraints, output
format and examples as Markdown sections in this order, the user message holds the task; as text,
the same sections with the task after the role. Sections that are not there leave no trace.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from domain import template, variables
from domain.errors import Fault, InvalidVariablesError, UnsupportedFormatError
from domain.foreign import FOREIGN_FORMATS
from domain.messages import Message, messages_problem, text_of
from domain.provider_shapes import PROVIDERS
from domain.texts import format_of, placeholders_of, texts_of

FORMATS = ("messages", "text", *PROVIDERS)
Fill = Callable[[str], str]
Histories = Mapping[str, list[Message]]


def render_messages(
    content: Mapping[str, Any], given: Mapping[str, Any], *, allow_extra: bool = False
) -> list[Message]:
    """A checked content as `[{"role", "content"}, …]`; InvalidVariablesError lists what misfits.

    A message that shows an image or audio variable has a list of parts as content.
    UnsupportedFormatError for templates in a language that is not rendered here.
    """
    filling = _bind(content, given, allow_extra)
    match content["type"]:
        case "text":
            return [filling.message("user", content["text"])]
        case "chat":
            return _chat(content["messages"], filling)
    sections = _sections(content["fields"], filling.fill)
    task = sections.pop("task", None)
    system = "\n\n".join(sections.values())
    messages = [{"role": "system", "content": filling.parted(system)}] if sections else []
    if task is not None:
        messages.append({"role": "user", "content": filling.parted(task)})
    return messages


def render_text(
    content: Mapping[str, Any], given: Mapping[str, Any], *, allow_extra: bool = False
) -> str:
    """A checked content as one text; a chat becomes `role:` headings over its messages."""
    filling = _bind(content, given, allow_extra)
    match content["type"]:
        case "text":
            return filling.plain(content["text"])
        case "chat":
            messages = _chat(content["messages"], filling)
            return "\n\n".join(f"{m['role']}:\n{text_of(m['content'])}" for m in messages)
    return "\n\n".join(_sections(content["fields"], filling.plain).values())


@dataclass(frozen=True)
class _Filling:
    """How texts are filled, placeholders' messages, and the marks that stand for images, audio."""

    fill: Fill
    histories: Histories
    marks: Mapping[str, dict[str, str]]

    def message(self, role: str, text: str) -> Message:
        """A message with a text filled."""
        return {"role": role, "content": self.parted(self.fill(text))}

    def plain(self, text: str) -> str:
        """A text filled, images and audio as their URLs."""
        return text_of(self.parted(self.fill(text)))

    def parted(self, filled: str) -> str | list[dict[str, str]]:
        """A filled text, cut into parts where it shows images or audio."""
        if not any(mark in filled for mark in self.marks):
            return filled
        pieces = re.split("(" + "|".join(map(re.escape, self.marks)) + ")", filled)
        return [self.marks.get(p) or {"type": "text", "text": p} for p in pieces if p]


def _bind(content: Mapping[str, Any], given: Mapping[str, Any], allow_extra: bool) -> _Filling:
    template_format = format_of(content)
    if template_format in FOREIGN_FORMATS:
        raise UnsupportedFormatError(
            f"Templates of format {template_format} are not rendered here: resolve the prompt and"
            " render it where it is used."
        )
    holes = placeholders_of(content)
    declared = variables.declarations(content.get("variables", {}))
    plain = {name: value for name, value in given.items() if name not in holes}
    textual = {name: variable for name, variable in declared.items() if name not in holes}
    values, marks = _values(content, textual, plain, allow_extra)
    histories = {name: _history(declared.get(name), name, given) for name in holes}
    if template_format == "none":
        return _Filling(lambda text: text, histories, {})
    budget = template.Budget()
    return _Filling(lambda text: template.render(text, values, budget), histories, marks)


def _values(
    content: Mapping[str, Any],
    declared: Mapping[str, variables.Variable],
    given: Mapping[str, Any],
    allow_extra: bool,
) -> tuple[dict[str, Any], dict[str, dict[str, str]]]:
    """What the templates are filled with; images and audio as marks that stand for them."""
    needed: frozenset[str] = frozenset()
    if format_of(content) == "mustache":
        texts = [text for _, text in texts_of(content)]
        needed = frozenset().union(*(template.required_names_in(text) for text in texts))
        known = frozenset().union(*(template.names_in(text) for text in texts))
        needed |= known & given.keys()
    values = variables.bind(declared, needed, given, allow_extra=allow_extra)
    media = {n for n, v in declared.items() if v.type in variables.MEDIA_TYPES and values[n]}
    if not media:
        return values, {}
    # No text or value holds the digest of all of them.
    whole = sha256(json.dumps([content, given, values]).encode()).hexdigest()
    marks: dict[str, dict[str, str]] = {}
    for index, name in enumerate(sorted(media)):
        mark = f"\ue000{whole}.{index}\ue001"
        marks[mark] = {"type": declared[name].type, "url": values[name]}
        values[name] = mark
    return values, marks


def _history(
    declared: variables.Variable | None, name: str, given: Mapping[str, Any]
) -> list[Message]:
    if declared is not None and not declared.required and given.get(name) is None:
        return list(declared.default or [])
    messages = given.get(name)
    problem = messages_problem(messages)
    if problem is not None:
        fault = Fault(
            f"/variables/{name}", "missing" if messages is None else "wrong_type", problem
        )
        raise InvalidVariablesError(f"The placeholder {name!r} {problem}.", [fault])
    return list(messages or [])


def _chat(messages: list[dict[str, str]], filling: _Filling) -> list[Message]:
    rendered: list[Message] = []
    for message in messages:
        if "placeholder" in message:
            rendered.extend(filling.histories[message["placeholder"]])
        else:
            rendered.append(filling.message(message["role"], message["content"]))
    return rendered


def _sections(fields: Mapping[str, Any], fill: Fill) -> dict[str, str]:
    sections: dict[str, str] = {}
    if "role" in fields:
        sections["role"] = fill(fields["role"])
    if "task" in fields:
        sections["task"] = fill(fields["task"])
    if "context" in fields:
        sections["context"] = f"# Context\n\n{fill(fields['context'])}"
    if fields.get("constraints"):
        lines = "\n".join(f"- {fill(constraint)}" for constraint in fields["constraints"])
        sections["constraints"] = f"# Constraints\n\n{lines}"
    if "output_format" in fields:
        sections["output_format"] = f"# Output format\n\n{fill(fields['output_format'])}"
    if fields.get("examples"):
        pairs = "\n\n".join(
            f"Input: {fill(example['input'])}\nOutput: {fill(example['output'])}"
            for example in fields["examples"]
        )
        sections["examples"] = f"# Examples\n\n{pairs}"
    return sections
