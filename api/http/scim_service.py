"""SCIM 2.0: what this service can do and what it keeps (RFC 7643 sections 5 to 7)."""

from collections.abc import Callable, Container
from typing import Any

from aiohttp import web

from api.http import edge
from api.http.route import Route
from api.http.scim_schemas import (
    COUNT_MAX,
    SCIM_GROUP,
    SCIM_LIST,
    SCIM_MEDIA_TYPE,
    SCIM_USER,
    ScimAnswer,
    ScimListAnswer,
)
from domain.errors import NotFoundError

Describe = Callable[[str], dict[str, Any]]
_CORE = "urn:ietf:params:scim:schemas:core:2.0"
_SCHEMA_OF = {"User": SCIM_USER, "Group": SCIM_GROUP}


def scim_answer(
    value: Any, status: int = 200, headers: dict[str, str] | None = None
) -> web.Response:
    """An answer of the media type that RFC 7644 section 3.1 asks for."""
    response = edge.answer(value, status=status, headers=headers)
    response.content_type = SCIM_MEDIA_TYPE
    return response


def _attribute(name: str, description: str, type_: str = "string", **other: Any) -> dict[str, Any]:
    """RFC 7643 section 7, with what is said of most attributes here."""
    text = {"caseExact": False, "uniqueness": "none"} if type_ == "string" else {}
    return {
        "name": name, "type": type_, "description": description, "multiValued": False,
        "required": False, "mutability": "readWrite", "returned": "default", **text, **other,
    }  # fmt: skip


_SCHEMAS = {
    SCIM_USER: {
        "name": "User",
        "description": "A person who signs in by userName.",
        "attributes": [
            _attribute("userName", "The login name.", required=True, uniqueness="server"),
            _attribute("displayName", "What the person is shown as."),
            _attribute(
                "name", "What the person is shown as, where there is no displayName.", "complex",
                subAttributes=[
                    _attribute("formatted", "The whole name."),
                    _attribute("givenName", "Without formatted.", mutability="writeOnly",
                               returned="never"),
                    _attribute("familyName", "Without formatted.", mutability="writeOnly",
                               returned="never"),
                ],
            ),
            _attribute("active", "False: suspended, nothing counts until it is true.", "boolean"),
        ],
    },
    SCIM_GROUP: {
        "name": "Group",
        "description": "A group whose grants count for its members.",
        "attributes": [
            _attribute("displayName", "The group's name at the provider.", required=True,
                       caseExact=True, uniqueness="server"),
            _attribute(
                "members", "The users in it.", "complex", multiValued=True,
                subAttributes=[_attribute("value", "A user's id.", mutability="immutable",
                                          caseExact=True)],
            ),
        ],
    },
}  # fmt: skip


async def scim_service(request: web.Request) -> web.StreamResponse:
    """What this service can do (RFC 7643 section 5)."""
    no, yes = {"supported": False}, {"supported": True}
    bearer = {"type": "oauthbearertoken", "name": "API token",
              "description": "Of a principal with access.write and access.read"}  # fmt: skip
    return scim_answer(
        {
            "schemas": [f"{_CORE}:ServiceProviderConfig"],
            "patch": yes, "bulk": no | {"maxOperations": 0, "maxPayloadSize": 0},
            "filter": yes | {"maxResults": COUNT_MAX}, "changePassword": no, "sort": no,
            "etag": no, "authenticationSchemes": [bearer],
        }
    )  # fmt: skip


async def scim_resource_types(request: web.Request) -> web.StreamResponse:
    """Users and groups (RFC 7643 section 6)."""
    return _list([_resource_type(kind) for kind in _SCHEMA_OF])


async def scim_resource_type(request: web.Request) -> web.StreamResponse:
    """One of them."""
    return _one(request.match_info["kind"], _SCHEMA_OF, _resource_type)


async def scim_schemas(request: web.Request) -> web.StreamResponse:
    """The attributes that are kept of each (RFC 7643 section 7); others are let be."""
    return _list([_schema(one) for one in _SCHEMAS])


async def scim_schema(request: web.Request) -> web.StreamResponse:
    """The attributes that are kept of users, or of groups."""
    return _one(request.match_info["schema"], _SCHEMAS, _schema)


def _resource_type(kind: str) -> dict[str, Any]:
    return {
        "schemas": [f"{_CORE}:ResourceType"], "id": kind, "name": kind, "endpoint": f"/{kind}s",
        "schema": _SCHEMA_OF[kind],
        "meta": {"resourceType": "ResourceType", "location": f"/scim/v2/ResourceTypes/{kind}"},
    }  # fmt: skip


def _schema(schema: str) -> dict[str, Any]:
    meta = {"resourceType": "Schema", "location": f"/scim/v2/Schemas/{schema}"}
    return {"schemas": [f"{_CORE}:Schema"], "id": schema, **_SCHEMAS[schema], "meta": meta}


def _list(resources: list[dict[str, Any]]) -> web.Response:
    total = len(resources)
    return scim_answer({"schemas": [SCIM_LIST], "totalResults": total, "startIndex": 1,
                        "itemsPerPage": total, "Resources": resources})  # fmt: skip


def _one(wanted: str, known: Container[str], describe: Describe) -> web.Response:
    if wanted not in known:
        raise NotFoundError(f"There is no {wanted[:100]} here.")
    return scim_answer(describe(wanted))


def _about(path: str, handler: Any, summary: str, answers: dict[int, Any]) -> Route:
    refusals = (404,) if "{" in path else ()
    return Route("GET", f"/scim/v2/{path}", handler, summary, "scim", None, scim=True, public=True,
                 answers=answers, refusals=refusals)  # fmt: skip


_ONE: dict[int, Any] = {200: ScimAnswer}
_ALL: dict[int, Any] = {200: ScimListAnswer}
ROUTES = (
    _about("ServiceProviderConfig", scim_service, "SCIM: what there is", _ONE),
    _about("ResourceTypes", scim_resource_types, "SCIM: kinds", _ALL),
    _about("ResourceTypes/{kind}", scim_resource_type, "SCIM: one kind", _ONE),
    _about("Schemas", scim_schemas, "SCIM: attributes", _ALL),
    _about("Schemas/{schema}", scim_schema, "SCIM: attributes of one kind", _ONE),
)
