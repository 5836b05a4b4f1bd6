"""OpenAPI 3.1, generated from the table of routes."""

from functools import cache
from importlib.metadata import version
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from api.http.route import Route
from api.http.schemas import (
    BranchName,
    CommandQuery,
    LabelName,
    Problem,
    ProjectName,
    PromptName,
    Request,
    VersionNumber,
)
from api.http.scim_schemas import SCIM_GROUP, SCIM_MEDIA_TYPE, SCIM_USER, ScimProblem

_REFERENCE = "#/components/schemas/{model}"


class _PathParameters(Request):
    """The types of path parameters."""

    project: ProjectName
    name: PromptName
    label: LabelName
    branch: BranchName
    guardrail: LabelName
    role: LabelName
    consumer: LabelName
    number: VersionNumber


_PLAIN_PARAMETERS: dict[str, dict[str, Any]] = {
    "id": {"type": "string", "format": "uuid"},
    "group_id": {"type": "string", "format": "uuid"},
    "projection": {"type": "string", "pattern": "^[a-z]+$"},
    "kind": {"type": "string", "enum": ["User", "Group"]},
    "schema": {"type": "string", "enum": [SCIM_USER, SCIM_GROUP]},
    "key_id": {"type": "string", "pattern": "^sha256:[0-9a-f]{64}$"},
}
_HEADERS: dict[str, dict[str, Any]] = {
    "Scrinia-Min-Position": {
        "schema": {"type": "integer", "minimum": 0, "maximum": 2**53},
        "description": "Wait, at most 5 s, until the answer has at least this position.",
    },
    "Scrinia-Instance": {
        "schema": {"type": "string", "pattern": "^[A-Za-z0-9._-]{1,64}$"},
        "description": "Which of its instances a client is; shown with what it was served last.",
    },
    "If-None-Match": {"schema": {"type": "string"}, "description": "An ETag already held."},
    "If-Match": {
        "schema": {"type": "string", "pattern": '^"[0-9]{1,18}"$'},
        "description": "Only if the ETag still is this one.",
    },
    "Idempotency-Key": {
        "schema": {"type": "string", "pattern": "^[!-~]{1,255}$"},
        "description": "A retry with the same key and body returns the first answer, for 24 h.",
    },
    "Last-Event-ID": {
        "schema": {"type": "integer", "minimum": 0},
        "description": "Continue a live feed after this position; beats `after`.",
    },
}
_REFUSALS = {
    400: "Malformed, contradictory or unknown",
    401: "No valid token",
    403: "Not allowed",
    404: "Absent, or not for you to know",
    409: "The state does not allow it",
    412: "If-Match is stale",
    413: "Too large",
    415: "Another media type",
    422: "Well-formed but not valid",
    429: "Too many; see Retry-After",
    503: "Not now; try again",
}


def document(routes: tuple[Route, ...]) -> dict[str, Any]:
    """The OpenAPI document of these routes."""
    models: set[type[BaseModel]] = {Problem, ScimProblem}
    models |= {m for route in routes for m in _models(route)}
    ordered = sorted(models, key=lambda model: model.__name__)
    references, definitions = models_json_schema(
        [(model, "validation") for model in ordered], ref_template=_REFERENCE
    )
    schemas = {model: references[model, "validation"] for model in ordered}
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, schemas)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Scrinia",
            "version": version("scrinia-server"),
            "summary": "A prompt registry whose history can be proven.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "security": [{"token": []}],
        "paths": paths,
        "components": {
            "schemas": definitions.get("$defs", {}),
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _models(route: Route) -> list[type[BaseModel]]:
    answers = [answer for answer in route.answers.values() if not isinstance(answer, str)]
    return answers + ([route.body] if route.body else [])


def _operation(route: Route, schemas: dict[type[BaseModel], Any]) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": route.operation_id,
        "summary": route.summary,
        "description": (route.handler.__doc__ or "").strip(),
        "tags": [route.tag],
        "parameters": _parameters(route),
        "responses": _responses(route, schemas),
    }
    if route.permission is not None:
        operation["x-permission"] = route.permission
    if route.public:
        operation["security"] = []
    if route.body is not None:
        media = "application/merge-patch+json" if route.method == "PATCH" else "application/json"
        media = SCIM_MEDIA_TYPE if route.scim else media
        operation["requestBody"] = {
            "required": not route.body_optional,
            "content": {
                kind: {"schema": schemas[route.body]} for kind in {media, "application/json"}
            },
        }
    return operation


def _parameters(route: Route) -> list[dict[str, Any]]:
    path_types = _schema(_PathParameters)["properties"] | _PLAIN_PARAMETERS
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": _bare(path_types[name])}
        for name in _path_names(route.path)
    ]
    query = CommandQuery if route.command else route.query
    if query is not None:
        schema = _schema(query)
        required = schema.get("required", [])
        for name, field in schema["properties"].items():
            parameters.append(
                {
                    "name": name,
                    "in": "query",
                    "required": name in required,
                    "description": field.get("description", ""),
                    "schema": _without_null(_bare(field)),
                }
            )
    headers = (*route.headers, *(("Idempotency-Key",) if route.command else ()))
    return parameters + [{"name": name, "in": "header", **_HEADERS[name]} for name in headers]


@cache
def _schema(model: type[BaseModel]) -> dict[str, Any]:
    """What many routes share, made once. Never change what it returns."""
    return model.model_json_schema(by_alias=True)


def _path_names(path: str) -> list[str]:
    return [part[1:-1] for part in path.split("/") if part.startswith("{")]


def _bare(schema: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in schema.items() if name not in ("title", "description")}


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """A query parameter cannot be null: it is left out instead."""
    options = [o for o in schema.get("anyOf", []) if o.get("type") != "null"]
    if not options:
        return schema
    rest = {k: v for k, v in schema.items() if k not in ("anyOf", "default")}
    return {**rest, **(options[0] if len(options) == 1 else {"anyOf": options})}


def _responses(route: Route, schemas: dict[type[BaseModel], Any]) -> dict[str, Any]:
    responses: dict[str, Any] = {}
    for status, answer in route.answers.items():
        if isinstance(answer, str):
            responses[str(status)] = {"description": answer}
        else:
            media = SCIM_MEDIA_TYPE if route.scim else "application/json"
            content = {media: {"schema": schemas[answer]}}
            if route.path == "/v1/events":
                content["text/event-stream"] = {"schema": {"type": "string"}}
            description = (answer.__doc__ or "").strip()
            responses[str(status)] = {"description": description, "content": content}
    if route.command:
        made = [responses[status] for status in ("200", "201", "202") if status in responses]
        responses.setdefault("200", made[0])
    for status in _refusals(route):
        refusal = _problem(_REFUSALS[status], schemas, scim=route.scim)
        responses.setdefault(str(status), refusal)
    if 410 in route.answers:
        responses["410"] = _problem("The content was erased", schemas)
    return responses


def _problem(
    description: str, schemas: dict[type[BaseModel], Any], *, scim: bool = False
) -> dict[str, Any]:
    content = {"application/problem+json": {"schema": schemas[Problem]}}
    if scim:
        content = {SCIM_MEDIA_TYPE: {"schema": schemas[ScimProblem]}}
    return {"description": description, "content": content}


def _refusals(route: Route) -> list[int]:
    found = {400, 429, 503, *route.refusals}
    if not route.public:
        found |= {401, 403, 404}
    if route.command:
        found |= {409, 413, 422}
    if route.body is not None:
        found |= {413, 415, 422}
    if "If-Match" in route.headers:
        found.add(412)
    return sorted(found)
