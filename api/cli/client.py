"""The CLI's way to the server: the public API and nothing else."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import quote

import aiohttp
import orjson

from api.cli.session_file import SessionFile, StoredSession
from api.settings import Settings

TIMEOUT_SECONDS = 60
SESSION_OVER = (
    "Your session is over: 'scrinia login' again, or 'scrinia logout' to go on without it."
)
REFRESH = "/v1/auth/refresh"
READING_POSTS = (
    REFRESH, "/v1/auth/totp", "/v1/resolve", "/v1/similar", "/-/render", "/-/promotions/preview",
)  # fmt: skip
T = TypeVar("T")


class ServerRefusedError(Exception):
    """The server said no."""

    def __init__(self, problem: Mapping[str, Any]) -> None:
        super().__init__(problem.get("detail", "refused"))
        self.problem = problem

    @property
    def code(self) -> str:
        """The stable code of the refusal."""
        return str(self.problem.get("code", "unknown"))


class UnreachableError(Exception):
    """There is no server to talk to, or no token to talk with."""


@dataclass(frozen=True)
class Target:
    """Which server, with which token (None: at the door) or in which session.

    `dry_run`: commands are decided, nothing is committed.
    """

    url: str
    token: str | None
    dry_run: bool = False
    sessions: SessionFile | None = None

    @classmethod
    def of(cls, settings: Settings, sessions: SessionFile, *, dry_run: bool = False) -> "Target":
        """`SCRINIA_URL` with `SCRINIA_TOKEN` or a session there, else the data directory's."""
        url = address(settings)
        held = sessions.get(url) if not settings.token else None
        if held is not None and held.is_over:
            raise UnreachableError(SESSION_OVER)
        if held is not None:
            return cls(url, None, dry_run, sessions)
        return cls(url, _token(settings), dry_run)


def address(settings: Settings) -> str:
    """Where the server is: `SCRINIA_URL`, else the local data directory's."""
    if settings.url:
        return settings.url.rstrip("/")
    directory = settings.directory
    if directory.address.exists():
        return directory.address.read_text().strip()
    return f"http://{settings.bind}"


def _token(settings: Settings) -> str:
    if settings.token:
        return settings.token
    if settings.url:
        raise UnreachableError(
            "SCRINIA_URL is set: set SCRINIA_TOKEN for that server too, or 'scrinia login' there."
        )
    try:
        return settings.token_file.read_text().strip()
    except OSError:
        raise UnreachableError(
            f"No token: set SCRINIA_TOKEN, or SCRINIA_DATA_DIR so that there is"
            f" {settings.token_file}."
        ) from None


class Client:
    """One session with a server, which reads its own writes, by a token or as who signed in."""

    def __init__(self, session: aiohttp.ClientSession, target: Target) -> None:
        self._session = session
        self._target = target
        self._position = 0

    async def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        params: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        """The JSON answer; ServerRefusedError for a problem, UnreachableError for no answer."""
        reading = method == "POST" and path.endswith(READING_POSTS)
        if self._target.dry_run and method != "GET" and not reading:
            params = {**dict(params or {}), "dry_run": "true"}
        data = None if body is None else orjson.dumps(body)
        sent = {"Content-Type": "application/json"} if data is not None else {}
        if method == "GET" and self._position:
            sent["Scrinia-Min-Position"] = str(self._position)
        sent |= headers or {}
        status, answer = await self._send(method, path, data, params, sent)
        told = answer.get("code") if isinstance(answer, dict) else None
        if told == "unauthenticated" and self._target.sessions is not None:
            # The clock here, or a server that does not know the session yet: once more.
            await self._refresh()
            status, answer = await self._send(method, path, data, params, sent)
        if status >= 400:
            raise ServerRefusedError(answer)
        if isinstance(answer, dict) and "changed" in answer:
            self._position = max(self._position, answer["position"])
        return answer

    async def _send(
        self, method: str, path: str, data: bytes | None, params: Any, headers: Mapping[str, str]
    ) -> tuple[int, Any]:
        url = self._target.url
        shown = await self._shown()
        try:
            async with self._session.request(
                method, url + path, data=data, params=params, headers={**shown, **headers}
            ) as response:
                return response.status, _parsed(await response.read())
        except (aiohttp.ClientError, TimeoutError) as error:
            raise UnreachableError(
                f"No answer from {url} ({error}): is 'scrinia serve' running?"
                " SCRINIA_URL says where."
            ) from None

    async def _shown(self) -> dict[str, str]:
        """What says who asks: the token, or the session's, refreshed where it is nearly over."""
        token, sessions = self._target.token, self._target.sessions
        if sessions is not None:
            held = sessions.get(self._target.url)
            if held is not None and held.is_old:
                held = await self._refresh()
            token = held.access_token if held is not None else None
        return {"Authorization": f"Bearer {token}"} if token is not None else {}

    async def _refresh(self) -> StoredSession | None:
        """New tokens for the session; ServerRefusedError, after which it is remembered as over."""
        url, sessions = self._target.url, self._target.sessions
        held = sessions.get(url) if sessions is not None else None
        if held is None or sessions is None:
            return None
        body = {"refresh_token": held.refresh_token}
        try:
            door = Client(self._session, Target(url, None))
            refreshed = StoredSession.of(await door.call("POST", REFRESH, body))
        except ServerRefusedError as refusal:
            if refusal.code == "session_over":
                sessions.keep(url, held.ended())
                raise UnreachableError(SESSION_OVER) from None
            raise
        sessions.keep(url, refreshed)
        return refreshed

    @asynccontextmanager
    async def stream(
        self, path: str, *, params: Any = None, headers: Mapping[str, str] | None = None
    ) -> AsyncIterator[aiohttp.StreamReader]:
        """A streamed answer, without a time limit."""
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=TIMEOUT_SECONDS)
        sent = {**await self._shown(), **(headers or {})}
        try:
            async with self._session.get(
                self._target.url + path, params=params, headers=sent, timeout=timeout
            ) as response:
                if response.status >= 400:
                    raise ServerRefusedError(_parsed(await response.read()))
                yield response.content
        except aiohttp.ClientError as error:
            raise UnreachableError(f"The stream from {self._target.url} ended: {error}") from None


def _parsed(raw: bytes) -> Any:
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError:
        return {"detail": raw[:200].decode("utf-8", "replace")}


async def with_client(target: Target, work: Callable[[Client], Awaitable[T]]) -> T:
    """Run some calls in one session."""
    timeout = aiohttp.ClientTimeout(total=TIMEOUT_SECONDS)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        return await work(Client(session, target))


def run(target: Target, work: Callable[[Client], Awaitable[T]]) -> T:
    """`with_client` from the outside."""
    return asyncio.run(with_client(target, work))


async def all_pages(client: Client, path: str, params: list[tuple[str, str]]) -> list[Any]:
    """The items of every page of a list."""
    items: list[Any] = []
    cursor: str | None = None
    while True:
        more = [("cursor", cursor)] if cursor is not None else []
        page = await client.call("GET", path, params=[*params, ("limit", "500"), *more])
        items += page["items"]
        cursor = page["next_cursor"]
        if cursor is None:
            return items


def project_path(project: str) -> str:
    """The route of a project."""
    return f"/v1/projects/{quote(project, safe='')}"


def prompt_path(project: str, name: str) -> str:
    """The route of a prompt."""
    return f"{project_path(project)}/prompts/{quote(name)}"
