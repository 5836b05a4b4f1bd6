"""Rendered prompts in the shape of a provider's request: OpenAI, Anthropic, Gemini.

Chat Completions (https://platform.openai.com/docs/api-reference/chat), Messages
(https://docs.anthropic.com/en/api/messages), generateContent
(https://ai.google.dev/api/generate-content). `config` names below are translated, others are passed
on as they are; what a provider has no place for is left out and said to be.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from domain.errors import UnsupportedFormatError
from domain.json_values import same
from domain.messages import Message

ANTHROPIC_MAX_TOKENS_DEFAULT = 4096  # the provider demands one
_DATA_URL = re.compile(r"data:([^;]+);base64,(.*)", re.DOTALL)
_SYSTEM = ("system", "developer")
# Other names of the same setting, as they are met.
_SYNONYMS = {
    "max_output_tokens": "max_tokens", "max_completion_tokens": "max_tokens",
    "maxTokens": "max_tokens", "maxOutputTokens": "max_tokens", "topP": "top_p", "topK": "top_k",
    "stop_sequences": "stop", "stopSequences": "stop", "frequencyPenalty": "frequency_penalty",
    "presencePenalty": "presence_penalty",
}  # fmt: skip
_NAMES: dict[str, dict[str, str | None]] = {
    "openai": {
        "model": "model", "temperature": "temperature", "top_p": "top_p", "top_k": None,
        "max_tokens": "max_completion_tokens", "stop": "stop", "seed": "seed",
        "frequency_penalty": "frequency_penalty", "presence_penalty": "presence_penalty",
    },
    "anthropic": {
        "model": "model", "temperature": "temperature", "top_p": "top_p", "top_k": "top_k",
        "max_tokens": "max_tokens", "stop": "stop_sequences", "seed": None,
        "frequency_penalty": None, "presence_penalty": None,
    },
    "gemini": {
        "model": None, "temperature": "temperature", "top_p": "topP", "top_k": "topK",
        "max_tokens": "maxOutputTokens", "stop": "stopSequences", "seed": "seed",
        "frequency_penalty": "frequencyPenalty", "presence_penalty": "presencePenalty",
    },
}  # fmt: skip
PROVIDERS = tuple(_NAMES)
# What the prompt says itself, whatever its config says.
_OURS = frozenset(
    {"messages", "tools", "response_format", "system", "systemInstruction", "contents"}
)


def provider_request(
    provider: str, content: Mapping[str, Any], messages: Sequence[Message]
) -> tuple[dict[str, Any], list[str]]:
    """A request of a provider, and the fields it has no place for.

    UnsupportedFormatError for messages it cannot take.
    """
    request, left_out = _REQUESTS[provider](content, messages)
    ours = [item for item in content.get("config", {}).items() if item[0] in _OURS & request.keys()]
    return request, left_out + [f"config.{k}" for k, v in ours if not same(v, request[k])]


def _settings(
    provider: str, content: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any], list[str]]:
    """The translated settings, those passed on as they are, and those left out."""
    names = _NAMES[provider]
    known: dict[str, Any] = {}
    other: dict[str, Any] = {}
    left_out: list[str] = []
    for written, value in content.get("config", {}).items():
        name = _SYNONYMS.get(written, written)
        if name not in names:
            other[written] = value
        elif (translated := names[name]) is None:
            left_out.append(f"config.{written}")
        else:
            several = translated in ("stop_sequences", "stopSequences") and isinstance(value, str)
            known[translated] = [value] if several else value
    return known, other, left_out


# OpenAI


def _openai(
    content: Mapping[str, Any], messages: Sequence[Message]
) -> tuple[dict[str, Any], list[str]]:
    known, other, left_out = _settings("openai", content)
    request: dict[str, Any] = {**known, **other, "messages": [_openai_message(m) for m in messages]}
    if tools := [_openai_tool(tool) for tool in content.get("tools", ())]:
        request["tools"] = tools
    if "output_schema" in content:
        schema = {"name": "output", "schema": content["output_schema"]}
        request["response_format"] = {"type": "json_schema", "json_schema": schema}
    return request, left_out


def _openai_message(message: Message) -> dict[str, Any]:
    if message["role"] == "tool":
        raise UnsupportedFormatError("OpenAI's tool messages name a call: none is known here.")
    return {"role": message["role"], "content": _parts(message["content"], _openai_part)}


def _openai_part(part: Mapping[str, str]) -> dict[str, Any]:
    if part["type"] == "text":
        return {"type": "text", "text": part["text"]}
    if part["type"] == "image":
        return {"type": "image_url", "image_url": {"url": part["url"]}}
    media_type, data = _inline(part["url"], "OpenAI takes audio as a data: URL only.")
    sound = {"data": data, "format": media_type.rpartition("/")[2]}
    return {"type": "input_audio", "input_audio": sound}


def _openai_tool(tool: Mapping[str, Any]) -> dict[str, Any]:
    function = _function(tool)
    return dict(tool) if function is None else {"type": "function", "function": function}


# Anthropic


def _anthropic(
    content: Mapping[str, Any], messages: Sequence[Message]
) -> tuple[dict[str, Any], list[str]]:
    known, other, left_out = _settings("anthropic", content)
    request: dict[str, Any] = {"max_tokens": ANTHROPIC_MAX_TOKENS_DEFAULT, **known, **other}
    if system := _system(messages):
        request["system"] = system
    request["messages"] = [
        {"role": message["role"], "content": _parts(message["content"], _anthropic_part)}
        for message in _spoken(messages, "Anthropic")
    ]
    if tools := [_anthropic_tool(tool) for tool in content.get("tools", ())]:
        request["tools"] = tools
    return request, left_out + (["output_schema"] if "output_schema" in content else [])


def _anthropic_part(part: Mapping[str, str]) -> dict[str, Any]:
    if part["type"] == "text":
        return {"type": "text", "text": part["text"]}
    if part["type"] == "audio":
        raise UnsupportedFormatError("Anthropic takes no audio.")
    if not part["url"].startswith("data:"):
        return {"type": "image", "source": {"type": "url", "url": part["url"]}}
    media_type, data = _inline(part["url"], "")
    return {"type": "image", "source": {"type": "base64", "media_type": media_type, "data": data}}


def _anthropic_tool(tool: Mapping[str, Any]) -> dict[str, Any]:
    function = _function(tool)
    if function is None:
        return dict(tool)
    rest = {name: value for name, value in function.items() if name != "parameters"}
    return {**rest, "input_schema": function.get("parameters", {"type": "object"})}


# Gemini


def _gemini(
    content: Mapping[str, Any], messages: Sequence[Message]
) -> tuple[dict[str, Any], list[str]]:
    known, other, left_out = _settings("gemini", content)
    if "output_schema" in content:
        known |= {
            "responseMimeType": "application/json",
            "responseJsonSchema": content["output_schema"],
        }
    request: dict[str, Any] = {**other}
    if system := _system(messages):
        request["systemInstruction"] = {"parts": [{"text": system}]}
    request["contents"] = [
        {
            "role": "model" if message["role"] == "assistant" else "user",
            "parts": [_gemini_part(part) for part in _as_parts(message["content"])],
        }
        for message in _spoken(messages, "Gemini")
    ]
    given = other.get("generationConfig", {})
    if known and isinstance(given, dict):
        request["generationConfig"] = {**given, **known}
    if tools := _gemini_tools(content.get("tools", ())):
        request["tools"] = tools
    return request, left_out


def _gemini_part(part: Mapping[str, str]) -> dict[str, Any]:
    if part["type"] == "text":
        return {"text": part["text"]}
    if part["url"].startswith("data:"):
        media_type, data = _inline(part["url"], "")
        return {"inlineData": {"mimeType": media_type, "data": data}}
    return {"fileData": {"fileUri": part["url"]}}


def _gemini_tools(tools: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    declared = [function for tool in tools if (function := _function(tool)) is not None]
    declared = [{k: v for k, v in one.items() if k != "strict"} for one in declared]
    others = [dict(tool) for tool in tools if _function(tool) is None]
    return ([{"functionDeclarations": declared}] if declared else []) + others


# What they share


def _function(tool: Mapping[str, Any]) -> dict[str, Any] | None:
    """A tool as name, description, parameters; None for one that is a provider's own."""
    nested = tool.get("function")
    function = nested if isinstance(nested, dict) else tool
    if not isinstance(function.get("name"), str) or tool.get("type", "function") != "function":
        return None
    schema = function.get("parameters", function.get("input_schema"))
    kept = {k: function[k] for k in ("name", "description", "strict") if k in function}
    return kept if schema is None else {**kept, "parameters": schema}


def _system(messages: Sequence[Message]) -> str:
    """What the system and developer messages say, in order."""
    texts = []
    for message in messages:
        if message["role"] in _SYSTEM:
            if not isinstance(message["content"], str):
                raise UnsupportedFormatError("A system message is text only for this provider.")
            texts.append(message["content"])
    return "\n\n".join(texts)


def _spoken(messages: Sequence[Message], provider: str) -> list[Message]:
    spoken = [message for message in messages if message["role"] not in _SYSTEM]
    if any(message["role"] == "tool" for message in spoken):
        raise UnsupportedFormatError(f"{provider}'s tool results name a call: none is known here.")
    return spoken


def _as_parts(content: str | list[dict[str, str]]) -> list[dict[str, str]]:
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


def _parts(content: str | list[dict[str, str]], part: Callable[[Mapping[str, str]], Any]) -> Any:
    return content if isinstance(content, str) else [part(one) for one in content]


def _inline(url: str, otherwise: str) -> tuple[str, str]:
    """The media type and base64 of a data: URL; UnsupportedFormatError."""
    found = _DATA_URL.fullmatch(url)
    if found is None:
        raise UnsupportedFormatError(otherwise or f"{url[:40]} is no data: URL in base64.")
    return found.group(1), found.group(2)


_REQUESTS = {"openai": _openai, "anthropic": _anthropic, "gemini": _gemini}
