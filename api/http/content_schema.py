"""A content's JSON Schema, for OpenAPI. What a content may be is `domain/content.py`'s to say."""

from typing import Any

from domain.content import TEMPLATE_FORMATS
from domain.locales import LOCALE_PATTERN, LOCALES_MAX
from domain.messages import ROLES
from domain.partials import REFERENCE_PATTERN
from domain.texts import STRUCTURED_FIELDS
from domain.variables import ENUM_VALUES_MAX, VARIABLE_PATTERN, VARIABLE_TYPES, VARIABLES_MAX


def anchored(pattern: str) -> str:
    """A pattern that the whole text must match."""
    return f"^(?:{pattern})$"


_VARIABLE_SCHEMA = {
    "type": "object",
    "properties": {
        "type": {"enum": list(VARIABLE_TYPES)},
        "required": {"type": "boolean"},
        "default": {},
        "description": {"type": "string"},
        "values": {
            "type": "array",
            "items": {"type": "string"},
            "minItems": 1,
            "maxItems": ENUM_VALUES_MAX,
            "uniqueItems": True,
            "description": "Of an enum.",
        },
        "schema": {"type": "object", "description": "A JSON Schema, of a list or object."},
    },
    "additionalProperties": False,
}
_SHARED_PROPERTIES: dict[str, Any] = {
    "template_format": {"enum": list(TEMPLATE_FORMATS), "default": "mustache"},
    "variables": {
        "type": "object",
        "maxProperties": VARIABLES_MAX,
        "propertyNames": {"pattern": anchored(VARIABLE_PATTERN)},
        "additionalProperties": _VARIABLE_SCHEMA,
    },
    "config": {"type": "object"},
    "tools": {"type": "array", "items": {"type": "object"}},
    "output_schema": {"type": "object"},
}
_MESSAGE_SCHEMA = {
    "oneOf": [
        {
            "type": "object",
            "properties": {"role": {"enum": list(ROLES)}, "content": {"type": "string"}},
            "required": ["role", "content"],
            "additionalProperties": False,
        },
        {
            "type": "object",
            "properties": {
                "placeholder": {"type": "string", "pattern": anchored(VARIABLE_PATTERN)}
            },
            "required": ["placeholder"],
            "additionalProperties": False,
        },
        {
            "type": "object",
            "properties": {"partial": {"type": "string", "pattern": anchored(REFERENCE_PATTERN)}},
            "required": ["partial"],
            "additionalProperties": False,
        },
    ]
}
_EXAMPLE_SCHEMA = {
    "type": "object",
    "properties": {"input": {"type": "string"}, "output": {"type": "string"}},
    "required": ["input", "output"],
    "additionalProperties": False,
}
_FIELD_SCHEMAS: dict[str, Any] = {
    "constraints": {"type": "array", "items": {"type": "string"}},
    "examples": {"type": "array", "items": _EXAMPLE_SCHEMA},
}


def _content_variant(kind: str, body: str, schema: dict[str, Any]) -> dict[str, Any]:
    translation = {
        "type": "object",
        "properties": {body: schema, "note": {"type": "string"}},
        "required": [body],
        "additionalProperties": False,
    }
    locales = {
        "type": "object",
        "maxProperties": LOCALES_MAX,
        "propertyNames": {"pattern": anchored(LOCALE_PATTERN)},
        "additionalProperties": translation,
    }
    properties = {"type": {"const": kind}, body: schema, "locales": locales}
    return {
        "type": "object",
        "properties": {**properties, **_SHARED_PROPERTIES},
        "required": ["type", body],
        "additionalProperties": False,
    }


CONTENT_SCHEMA: dict[str, Any] = {
    "description": "A prompt's content. Texts are mustache templates unless template_format says"
    " otherwise.",
    "oneOf": [
        _content_variant("text", "text", {"type": "string"}),
        _content_variant(
            "chat", "messages", {"type": "array", "minItems": 1, "items": _MESSAGE_SCHEMA}
        ),
        _content_variant(
            "structured",
            "fields",
            {
                "type": "object",
                "minProperties": 1,
                "properties": {
                    name: _FIELD_SCHEMAS.get(name, {"type": "string"}) for name in STRUCTURED_FIELDS
                },
                "additionalProperties": False,
            },
        ),
    ],
}
