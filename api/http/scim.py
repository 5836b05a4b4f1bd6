"""SCIM 2.0: an identity provider keeps people and groups in step (RFC 7644).

A User is a person with a login name; a Group a group with a name at the provider. Each attribute
that changes is a command like any other, with its own event; several of one request are committed
one after the other.
"""

import re
from collections.abc import Iterable
from typing import Annotated, Any
from uuid import UUID

import orjson
from aiohttp import web
from pydantic import Field, ValidationError

from api.http import edge
from api.http.commanding import commit
from api.http.problems import EdgeError, validation_problem
from api.http.route import Route
from api.http.schemas import Request
from api.http.scim_patch import group_changes, user_changes
from api.http.scim_schemas import (
    COUNT_MAX,
    MEMBERS_MAX,
    SCIM_GROUP,
    SCIM_LIST,
    SCIM_USER,
    GroupRequest,
    PatchRequest,
    ScimAnswer,
    ScimListAnswer,
    ScimName,
    UserChange,
    UserRequest,
)
from api.http.scim_service import scim_answer
from api.http.texts import text_in, texts_of
from domain import commands
from domain.access import ACCESS_READ, ACCESS_WRITE, REGISTRY, Caller, not_found, principal_resource
from domain.errors import InvalidError
from domain.sign_in_commands import checked_login
from ledger.ids import now
from projections.access import Known
from projections.errors import NotCaughtUpError

COUNT_DEFAULT = 100
_FILTER = re.compile(r'\s*(?:urn:[\w.:-]+:)?(\w+)\s+[eE][qQ]\s+("(?:[^"\\]|\\.)*")\s*')


Names = Annotated[str, Field(max_length=512, pattern=r"^[ -~]*$")]


class ScimQuery(Request):
    """Which attributes to answer, by their names with commas between them; `id` always is."""

    model_config = {"strict": False}
    attributes: Names | None = None
    excludedAttributes: Names | None = None


class ScimListQuery(ScimQuery):
    """Which resources (`userName eq "…"`), which page, by id: other orders are not known."""

    filter: Annotated[str, Field(max_length=300)] | None = None
    sortBy: Annotated[str, Field(max_length=64, pattern=r"^[ -~]*$")] | None = None
    sortOrder: Annotated[str, Field(max_length=64, pattern=r"^[ -~]*$")] | None = None
    startIndex: Annotated[int, Field(ge=-(2**31), le=2**31)] = 1
    count: Annotated[int, Field(ge=-(2**31), le=2**31)] = COUNT_DEFAULT


class Kind:
    """Users or groups: what differs between them."""

    def __init__(self, name: str, type_: str, schema: str, key: str) -> None:
        self.name = name
        self.type = type_
        self.schema = schema
        self.key = key

    @property
    def path(self) -> str:
        """Where they are."""
        return f"/scim/v2/{self.name}s"


USERS = Kind("User", "person", SCIM_USER, "userName")
GROUPS = Kind("Group", "group", SCIM_GROUP, "displayName")


def _reader(request: web.Request) -> Caller:
    who = edge.caller(request)
    edge.services(request).access.authorise(who, ACCESS_READ, REGISTRY, now())
    return who


def _writer(request: web.Request) -> Caller:
    who = edge.caller(request)
    edge.services(request).access.authorise(who, ACCESS_WRITE, REGISTRY, now())
    edge.query(request, ScimQuery)  # no dry run: nothing here is one command
    return who


# What there is


def _all(request: web.Request, kind: Kind) -> list[Known]:
    """Everybody of a kind who has a name at the provider and is there still, by id."""
    view = edge.services(request).access
    return [
        known
        for principal_id, known in sorted(view.principals.items())
        if known.principal.type == kind.type and not known.principal.gone
        if (sign_in := view.sign_ins.get(UUID(principal_id))) is not None
        if sign_in.login_id is not None
    ]


def _one(request: web.Request, kind: Kind) -> Known:
    """The one in the path; NotFoundError."""
    wanted = request.match_info["id"]
    return next(
        (known for known in _all(request, kind) if str(known.principal.id) == wanted), None
    ) or _absent(wanted)


def _absent(principal_id: str) -> Known:
    raise not_found(principal_resource(principal_id[:64]))


def _filtered(request: web.Request, kind: Kind, filtered: str | None) -> list[Known]:
    """Those that a filter lets through; EdgeError 400 `invalid_filter`."""
    everybody = _all(request, kind)
    if filtered is None:
        return everybody
    found = _FILTER.fullmatch(filtered)
    attribute = found[1].lower() if found is not None else ""
    if found is None or attribute not in (kind.key.lower(), "id", "externalid"):
        raise EdgeError(400, "invalid_filter", f'Filter by {kind.key} eq "…" or id eq "…".')
    try:
        value = orjson.loads(found[2])
    except orjson.JSONDecodeError:
        raise EdgeError(400, "invalid_filter", "The text to compare with is no JSON.") from None
    if attribute == "id":
        return [known for known in everybody if str(known.principal.id) == value]
    if attribute == "externalid":  # is not kept: the id here is
        return []
    try:
        login_id = edge.services(request).door.secrets.login_id(checked_login(value, kind.type))
    except InvalidError:
        return []
    view = edge.services(request).access
    name = view.logins.get(login_id)
    return [k for k in everybody if name is not None and str(k.principal.id) == name.principal_id]


async def _resources(request: web.Request, kind: Kind, listed: list[Known]) -> list[dict[str, Any]]:
    """As they are answered."""
    view = edge.services(request).access
    logins = {k.principal.id: view.sign_ins[k.principal.id].login for k in listed}
    texts = await texts_of(request, [*logins.values(), *(k.principal.name for k in listed)])
    members = _members(request) if kind is GROUPS and listed else {}
    resources = []
    for known in listed:
        principal = known.principal
        shown = text_in(texts, principal.name) or ""
        login = text_in(texts, logins[principal.id]) or ""
        resource: dict[str, Any] = {
            "schemas": [kind.schema],
            "id": str(principal.id),
            "meta": {
                "resourceType": kind.name, "created": known.created_at,
                "location": f"{kind.path}/{principal.id}",
            },
        }  # fmt: skip
        if kind is USERS:
            resource |= {"userName": login, "displayName": shown, "name": {"formatted": shown},
                         "active": principal.active}  # fmt: skip
        else:
            users = [{"value": one} for one in members.get(str(principal.id), [])]
            resource |= {"displayName": login, "members": users}
        resources.append(resource)
    return resources


def _asked_for(resource: dict[str, Any], wanted: ScimQuery) -> dict[str, Any]:
    """What of a resource was asked for (RFC 7644 section 3.9)."""
    only, never = (
        {name.strip().rpartition(":")[2].partition(".")[0].lower() for name in names.split(",")}
        if names else None
        for names in (wanted.attributes, wanted.excludedAttributes)
    )  # fmt: skip
    return {
        name: value
        for name, value in resource.items()
        if name in ("schemas", "id")
        or ((only is None or name.lower() in only) and (never is None or name.lower() not in never))
    }


async def _listed(request: web.Request, kind: Kind) -> web.Response:
    _reader(request)
    wanted = edge.query(request, ScimListQuery)
    await edge.fresh_memory(request)
    everybody = _filtered(request, kind, wanted.filter)
    start, count = max(1, wanted.startIndex), max(0, min(wanted.count, COUNT_MAX))
    page = everybody[start - 1 : start - 1 + count]
    return scim_answer(
        {
            "schemas": [SCIM_LIST],
            "totalResults": len(everybody),
            "startIndex": start,
            "itemsPerPage": len(page),
            "Resources": [_asked_for(r, wanted) for r in await _resources(request, kind, page)],
        }
    )


async def _told(
    request: web.Request, kind: Kind, principal_id: str, status: int = 200
) -> web.Response:
    known = edge.services(request).access.principals.get(principal_id)
    if known is None:
        raise NotCaughtUpError("It is done, and this server has not read it yet: ask for it again.")
    (resource,) = await _resources(request, kind, [known])
    headers = _position(request)
    if status == 201:
        headers["Location"] = resource["meta"]["location"]
    return scim_answer(_asked_for(resource, edge.query(request, ScimQuery)), status, headers)


def _position(request: web.Request) -> dict[str, str]:
    """Where what was done is in the ledger, for who reads on."""
    return {"Scrinia-Position": str(edge.services(request).follower.position)}


async def list_users(request: web.Request) -> web.StreamResponse:
    """A page of people who have a login name."""
    return await _listed(request, USERS)


async def list_groups(request: web.Request) -> web.StreamResponse:
    """A page of groups that have a name at an identity provider."""
    return await _listed(request, GROUPS)


async def get_user(request: web.Request) -> web.StreamResponse:
    """One of them."""
    return await _shown(request, USERS)


async def get_group(request: web.Request) -> web.StreamResponse:
    """One of them, with its members."""
    return await _shown(request, GROUPS)


async def _shown(request: web.Request, kind: Kind) -> web.Response:
    _reader(request)
    wanted = edge.query(request, ScimQuery)
    await edge.fresh_memory(request)
    (resource,) = await _resources(request, kind, [_one(request, kind)])
    return scim_answer(_asked_for(resource, wanted))


# What changes


async def create_user(request: web.Request) -> web.StreamResponse:
    """Make a person who signs in by `userName`."""
    who = _writer(request)
    wanted = await edge.body(request, UserRequest)
    made = await commit(
        request, who, commands.CreatePrincipal("person", wanted.shown, wanted.userName)
    )
    principal_id = made.body["principal_id"]
    if wanted.active is False:
        await _suspend(request, who, UUID(principal_id))
    return await _told(request, USERS, principal_id, 201)


async def create_group(request: web.Request) -> web.StreamResponse:
    """Make a group that the provider knows as `displayName`."""
    who = _writer(request)
    wanted = await edge.body(request, GroupRequest)
    members = _users(request, [one.value for one in wanted.members or []])
    name = wanted.displayName
    made = await commit(request, who, commands.CreatePrincipal("group", name, name))
    principal_id = made.body["principal_id"]
    for member in members:
        await commit(request, who, commands.JoinGroup(member, UUID(principal_id)))
    return await _told(request, GROUPS, principal_id, 201)


async def replace_user(request: web.Request) -> web.StreamResponse:
    """Have a person be as it says; `active` where it says so."""
    who, known = _writer(request), _one(request, USERS)
    wanted = await edge.body(request, UserRequest)
    change = UserChange(userName=wanted.userName, displayName=wanted.shown, active=wanted.active)
    await _change_user(request, who, known, change)
    return await _told(request, USERS, str(known.principal.id))


async def patch_user(request: web.Request) -> web.StreamResponse:
    """Change of a person what it names: `userName`, `displayName`, `name`, `active`."""
    who, known = _writer(request), _one(request, USERS)
    wanted = await edge.body(request, PatchRequest)
    changes: dict[str, Any] = {}
    for operation in wanted.Operations:
        changes |= user_changes(operation)
    given, family = (changes.pop(part, None) for part in ("givenname", "familyname"))
    try:
        parts = ScimName(givenName=given, familyName=family)
        if parts.is_whole:
            changes.setdefault("displayName", parts.whole)
        change = UserChange.model_validate(changes)
    except ValidationError as error:
        raise validation_problem(error) from None
    await _change_user(request, who, known, change)
    return await _told(request, USERS, str(known.principal.id))


async def _change_user(request: web.Request, who: Caller, known: Known, change: UserChange) -> None:
    """First what takes something away, last what gives it: a refusal between leaves less."""
    principal_id = known.principal.id
    if change.active is False:
        await _suspend(request, who, principal_id)
    if change.userName is not None:
        await commit(request, who, commands.SetLogin(principal_id, change.userName))
    if change.displayName is not None:
        await commit(request, who, commands.RenamePrincipal(principal_id, change.displayName))
    if change.active is True:
        await commit(request, who, commands.ResumePrincipal(principal_id))


async def _suspend(request: web.Request, who: Caller, principal_id: UUID) -> None:
    admins = edge.services(request).access.admins()
    await commit(request, who, commands.SuspendPrincipal(principal_id, None, admins))


async def replace_group(request: web.Request) -> web.StreamResponse:
    """Have a group be as it says, with exactly these users where it says any; others in it stay."""
    who, known = _writer(request), _one(request, GROUPS)
    wanted = await edge.body(request, GroupRequest)
    members = _members(request).get(str(known.principal.id), [])
    if "members" in wanted.model_fields_set:
        members = [one.value for one in wanted.members or []]
    await _change_group(request, who, known, wanted.displayName, members)
    return await _told(request, GROUPS, str(known.principal.id))


async def patch_group(request: web.Request) -> web.StreamResponse:
    """Change of a group what it names: `displayName`, `members`."""
    who, known = _writer(request), _one(request, GROUPS)
    wanted = await edge.body(request, PatchRequest)
    name, members = None, _members(request).get(str(known.principal.id), [])
    for operation in wanted.Operations:
        name, members = group_changes(operation, name, members)
    await _change_group(request, who, known, name, members)
    return await _told(request, GROUPS, str(known.principal.id))


async def _change_group(
    request: web.Request, who: Caller, known: Known, name: str | None, members: list[str]
) -> None:
    """Only what differs from what this server knows is done: others' changes stay."""
    group = known.principal.id
    before = _members(request).get(str(group), [])
    joining = _users(request, [member for member in members if member not in before])
    for former in before:
        if former not in members:
            await commit(request, who, commands.LeaveGroup(UUID(former), group))
    if name is not None:
        await commit(request, who, commands.SetLogin(group, name))
        await commit(request, who, commands.RenamePrincipal(group, name))
    for member in joining:
        await commit(request, who, commands.JoinGroup(member, group))


def _members(request: web.Request) -> dict[str, list[str]]:
    """The users in each group, by id."""
    members: dict[str, list[str]] = {}
    for known in _all(request, USERS):
        for group_id in known.principal.groups:
            members.setdefault(group_id, []).append(str(known.principal.id))
    return members


def _users(request: web.Request, ids: Iterable[str]) -> list[UUID]:
    """Users by their ids; EdgeError 422 where one is nobody, or there are too many."""
    listed = list(dict.fromkeys(ids))
    people = {str(known.principal.id) for known in _all(request, USERS)}
    unknown = [one for one in listed if one not in people]
    if unknown or len(listed) > MEMBERS_MAX:
        detail = f"{unknown[0][:64]} is no user" if unknown else f"at most {MEMBERS_MAX} members"
        raise EdgeError(422, "invalid_request", f"/members: {detail}.")
    return [UUID(one) for one in listed]


async def delete_user(request: web.Request) -> web.StreamResponse:
    """Take every right from a person, for good."""
    return await _delete(request, USERS)


async def delete_group(request: web.Request) -> web.StreamResponse:
    """Let a group count for nobody any more, for good."""
    return await _delete(request, GROUPS)


async def _delete(request: web.Request, kind: Kind) -> web.StreamResponse:
    who, known = _writer(request), _one(request, kind)
    admins = edge.services(request).access.admins()
    await commit(request, who, commands.DeactivatePrincipal(known.principal.id, None, admins))
    return web.Response(status=204, headers=_position(request))


_ONE: dict[int, Any] = {200: ScimAnswer}
_MADE: dict[int, Any] = {201: ScimAnswer}
_GONE: dict[int, Any] = {204: "Gone"}
_PAGE: dict[int, Any] = {200: ScimListAnswer}


def _read(path: str, handler: Any, summary: str, query: Any, answers: dict[int, Any]) -> Route:
    return Route("GET", f"/scim/v2/{path}", handler, summary, "scim", ACCESS_READ, scim=True,
                 query=query, answers=answers, headers=("Scrinia-Min-Position",))  # fmt: skip


def _write(
    method: str, path: str, handler: Any, summary: str, body: Any, answers: dict[int, Any]
) -> Route:
    return Route(method, f"/scim/v2/{path}", handler, summary, "scim", ACCESS_WRITE, scim=True,
                 query=ScimQuery, body=body, answers=answers, refusals=(409, 413))  # fmt: skip


ROUTES = (
    _read("Users", list_users, "SCIM: list users", ScimListQuery, _PAGE),
    _write("POST", "Users", create_user, "SCIM: make a user", UserRequest, _MADE),
    _read("Users/{id}", get_user, "SCIM: read a user", ScimQuery, _ONE),
    _write("PUT", "Users/{id}", replace_user, "SCIM: replace a user", UserRequest, _ONE),
    _write("PATCH", "Users/{id}", patch_user, "SCIM: change a user", PatchRequest, _ONE),
    _write("DELETE", "Users/{id}", delete_user, "SCIM: delete a user", None, _GONE),
    _read("Groups", list_groups, "SCIM: list groups", ScimListQuery, _PAGE),
    _write("POST", "Groups", create_group, "SCIM: make a group", GroupRequest, _MADE),
    _read("Groups/{id}", get_group, "SCIM: read a group", ScimQuery, _ONE),
    _write("PUT", "Groups/{id}", replace_group, "SCIM: replace a group", GroupRequest, _ONE),
    _write("PATCH", "Groups/{id}", patch_group, "SCIM: change a group", PatchRequest, _ONE),
    _write("DELETE", "Groups/{id}", delete_group, "SCIM: delete a group", None, _GONE),
)
