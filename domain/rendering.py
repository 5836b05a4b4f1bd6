"""From a content and values to what a model is sent: neutral messages, or one text.

The layout of a structured prompt: the system message holds role, context, constraints, output
format and examples as Markdown sections in this order, the user message holds the task; as text,
the same sections with the task after the role. Sections that are not there leave no trace.
"""

from collections.abc import Callable, Mapping
from typing import Any

from domain import template, variables
from domain.content import ROLES, texts_of
from domain.errors import Fault, InvalidVariablesError

FORMATS = ("messages", "text")
Message = dict[str, str]
Fill = Callable[[str], str]


def render_messages(
    content: Mapping[str, Any], given: Mapping[str, Any], *, allow_extra: bool = False
) -> list[Message]:
    """A checked content as `[{"role", "content"}, …]`; InvalidVariablesError lists what misfits."""
    fill, histories = _bind(content, given, allow_extra)
    match content["type"]:
        case "text":
            return [{"role": "user", "content": fill(content["text"])}]
        case "chat":
            return _chat(content["messages"], fill, histories)
    sections = _sections(content["fields"], fill)
    task = sections.pop("task", None)
    messages = [{"role": "system", "content": "\n\n".join(sections.values())}] if sections else []
    return messages + ([{"role": "user", "content": task}] if task is not None else [])


def render_text(
    content: Mapping[str, Any], given: Mapping[str, Any], *, allow_extra: bool = False
) -> str:
    """A checked content as one text; a chat becomes `role:` headings over its messages."""
    fill, histories = _bind(content, given, allow_extra)
    match content["type"]:
        case "text":
            return fill(content["text"])
        case "chat":
            messages = _chat(content["messages"], fill, histories)
            return "\n\n".join(f"{m['role']}:\n{m['content']}" for m in messages)
    return "\n\n".join(_sections(content["fields"], fill).values())


def placeholders_of(content: Mapping[str, Any]) -> frozenset[str]:
    """The names of a chat's message placeholders."""
    messages = content.get("messages", [])
    return frozenset(m["placeholder"] for m in messages if "placeholder" in m)


def variables_used(content: Mapping[str, Any]) -> frozenset[str]:
    """The names of all variables a content's templates use (none where the format is `none`)."""
    if content.get("template_format", "mustache") == "none":
        return frozenset()
    used = (template.names_in(text) for _, text in texts_of(content))
    return frozenset().union(*used)


def _bind(
    content: Mapping[str, Any], given: Mapping[str, Any], allow_extra: bool
) -> tuple[Fill, dict[str, list[Message]]]:
    holes = placeholders_of(content)
    histories = {name: _history(name, given) for name in holes}
    plain = {name: value for name, value in given.items() if name not in holes}
    if content.get("template_format", "mustache") == "none":
        variables.bind({}, frozenset(), plain, allow_extra=allow_extra)
        return (lambda text: text), histories
    declared = variables.declarations(content.get("variables", {}))
    texts = [text for _, text in texts_of(content)]
    needed = frozenset().union(*(template.required_names_in(text) for text in texts))
    known = frozenset().union(*(template.names_in(text) for text in texts))
    values = variables.bind(
        declared, needed | (known & given.keys()), plain, allow_extra=allow_extra
    )
    return (lambda text: template.render(text, values)), histories


def _history(name: str, given: Mapping[str, Any]) -> list[Message]:
    messages = given.get(name)
    good = isinstance(messages, list) and all(
        isinstance(m, dict)
        and m.keys() == {"role", "content"}
        and m["role"] in ROLES
        and isinstance(m["content"], str)
        for m in messages
    )
    if not good:
        detail = "must be a list of messages, each with 'role' and 'content'"
        fault = Fault(f"/variables/{name}", "missing" if messages is None else "wrong_type", detail)
        raise InvalidVariablesError(f"The placeholder {name!r} {detail}.", [fault])
    return list(messages or [])


def _chat(
    messages: list[dict[str, str]], fill: Fill, histories: Mapping[str, list[Message]]
) -> list[Message]:
    rendered: list[Message] = []
    for message in messages:
        if "placeholder" in message:
            rendered.extend(histories[message["placeholder"]])
        else:
            rendered.append({"role": message["role"], "content": fill(message["content"])})
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
