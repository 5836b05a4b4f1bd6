"""Rendered prompts as providers want them."""

import pytest

from domain.errors import UnsupportedFormatError
from domain.provider_shapes import provider_request
from domain.rendering import render_messages

PIXEL = "data:image/png;base64,iVBORw0KGgo="
SOUND = "data:audio/wav;base64,AAAA"
SCHEMA = {"type": "object", "properties": {"q": {"type": "string"}}}
CONTENT = {
    "type": "chat",
    "messages": [
        {"role": "system", "content": "Be kind."},
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": "Look: {{photo}}"},
        {"role": "assistant", "content": "I see."},
    ],
    "variables": {"photo": {"type": "image"}},
    "config": {"model": "m", "temperature": 0.5, "maxTokens": 9, "stop": "END", "seed": 7,
               "top_k": 3, "logit_bias": {"1": 2}},
    "tools": [
        {"name": "find", "description": "Finds.", "parameters": SCHEMA},
        {"type": "function", "function": {"name": "look", "parameters": SCHEMA, "strict": True}},
        {"type": "web_search"},
    ],
    "output_schema": SCHEMA,
}  # fmt: skip


def shaped(provider: str, url: str = PIXEL, **fields: object) -> tuple[dict, list[str]]:
    content = CONTENT | fields
    return provider_request(provider, content, render_messages(content, {"photo": url}))


def test_openai() -> None:
    request, left_out = shaped("openai")
    assert left_out == ["config.top_k"]
    assert {k: request[k] for k in ("model", "temperature", "max_completion_tokens", "stop")} == {
        "model": "m", "temperature": 0.5, "max_completion_tokens": 9, "stop": "END",
    }  # fmt: skip
    assert request["logit_bias"] == {"1": 2} and "maxTokens" not in request
    assert [m["role"] for m in request["messages"]] == ["system", "developer", "user", "assistant"]
    assert request["messages"][2]["content"] == [
        {"type": "text", "text": "Look: "}, {"type": "image_url", "image_url": {"url": PIXEL}},
    ]  # fmt: skip
    assert request["tools"] == [
        {"type": "function", "function": {"name": "find", "description": "Finds.",
                                          "parameters": SCHEMA}},
        {"type": "function", "function": {"name": "look", "strict": True, "parameters": SCHEMA}},
        {"type": "web_search"},
    ]  # fmt: skip
    assert request["response_format"]["json_schema"]["schema"] == SCHEMA


def test_anthropic() -> None:
    request, left_out = shaped("anthropic")
    assert left_out == ["config.seed", "output_schema"]
    assert request["system"] == "Be kind.\n\nBe brief."
    assert (request["max_tokens"], request["stop_sequences"], request["top_k"]) == (9, ["END"], 3)
    assert [m["role"] for m in request["messages"]] == ["user", "assistant"]
    assert request["messages"][0]["content"][1] == {
        "type": "image",
        "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="},
    }
    assert request["tools"][0] == {"name": "find", "description": "Finds.", "input_schema": SCHEMA}
    assert shaped("anthropic", config={})[0]["max_tokens"] == 4096
    linked = shaped("anthropic", "https://example.org/a.png")[0]["messages"][0]["content"][1]
    assert linked["source"] == {"type": "url", "url": "https://example.org/a.png"}


def test_gemini() -> None:
    request, left_out = shaped("gemini", config={"temperature": 1, "stop": ["a"], "top_p": 0.1})
    assert left_out == []
    assert request["systemInstruction"] == {"parts": [{"text": "Be kind.\n\nBe brief."}]}
    assert [c["role"] for c in request["contents"]] == ["user", "model"]
    assert request["contents"][0]["parts"] == [
        {"text": "Look: "}, {"inlineData": {"mimeType": "image/png", "data": "iVBORw0KGgo="}},
    ]  # fmt: skip
    assert request["generationConfig"] == {
        "temperature": 1, "stopSequences": ["a"], "topP": 0.1,
        "responseMimeType": "application/json", "responseJsonSchema": SCHEMA,
    }  # fmt: skip
    names = [f["name"] for f in request["tools"][0]["functionDeclarations"]]
    assert names == ["find", "look"] and request["tools"][1] == {"type": "web_search"}
    assert "strict" not in request["tools"][0]["functionDeclarations"][1]


def test_what_a_provider_cannot_take_is_refused() -> None:
    audio = {"variables": {"photo": {"type": "audio"}}}
    assert shaped("openai", SOUND, **audio)[0]["messages"][2]["content"][1] == {
        "type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"},
    }  # fmt: skip
    for provider, url in (("openai", "https://example.org/a.wav"), ("anthropic", SOUND)):
        with pytest.raises(UnsupportedFormatError):
            shaped(provider, url, **audio)
    tool = {"messages": [{"role": "tool", "content": "{{photo}}"}]}
    system = {"messages": [{"role": "system", "content": "{{photo}}"}]}
    for provider, fields in (("openai", tool), ("anthropic", tool), ("gemini", tool),
                             ("anthropic", system), ("gemini", system)):  # fmt: skip
        with pytest.raises(UnsupportedFormatError):
            shaped(provider, **fields)


@pytest.mark.parametrize("provider", ["openai", "anthropic", "gemini"])
def test_a_plain_text_is_one_user_message(provider: str) -> None:
    content = {"type": "text", "text": "Hi"}
    request, left_out = provider_request(provider, content, render_messages(content, {}))
    spoken = request.get("messages") or request["contents"]
    assert len(spoken) == 1 and spoken[0]["role"] == "user" and left_out == []
    assert "tools" not in request


def test_what_the_prompt_says_itself_is_said_to_replace_its_config() -> None:
    content = {"type": "text", "text": "Hi", "config": {
        "messages": [], "temperature": 1, "generationConfig": {"topK": 3, "temperature": 0}}}  # fmt: skip
    messages = [{"role": "user", "content": "Hi"}]
    request, left_out = provider_request("openai", content, messages)
    assert (request["messages"], left_out) == (messages, ["config.messages"])
    request, _ = provider_request("gemini", content, messages)
    assert request["generationConfig"] == {"topK": 3, "temperature": 1}
