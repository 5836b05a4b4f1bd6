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
            raise UnreachableError(
                "Your session is over: 'scrinia login' again, or 'scrinia logout' to go on without."
            )
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
    """One session with a server, which reads its own writes."""

    def __init__(self, session: aiohttp.ClientSession, target: Target) -> None:
        self._session = session
        self._url = target.url
        self._dry_run = target.dry_run
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
        if self._dry_run and method != "GET" and not reading:
            params = {**dict(params or {}), "dry_run": "true"}
        data = None if body is None else orjson.dumps(body)
        sent = {"Content-Type": "application/json"} if data is not None else {}
        if method == "GET" and self._position:
            sent["Scrinia-Min-Position"] = str(self._position)
        sent |= headers or {}
        try:
            async with self._session.request(
                method,
                self._url + path,
                data=data,
                params=params,
                headers=sent,
            ) as response:
                raw = await response.read()
        except (aiohttp.ClientError, TimeoutError) as error:
            raise UnreachableError(
                f"No answer from {self._url} ({error}): is 'scrinia serve' running?"
                " SCRINIA_URL says where."
            ) from None
        answer = _parsed(raw)
        if response.status >= 400:
            raise ServerRefusedError(answer)
        if isinstance(answer, dict) and "changed" in answer:
            self._position = max(self._position, answer["position"])
        return answer

    @asynccontextmanager
    async def stream(
        self, path: str, *, params: Any = None, headers: Mapping[str, str] | None = None
    ) -> AsyncIterator[aiohttp.StreamReader]:
        """A streamed answer, without a time limit."""
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=TIMEOUT_SECONDS)
        try:
            async with self._session.get(
                self._url + path, params=params, headers=headers, timeout=timeout
            ) as response:
                if response.status >= 400:
                    raise ServerRefusedError(_parsed(await response.read()))
                yield response.content
        except aiohttp.ClientError as error:
            raise UnreachableError(f"The stream from {self._url} ended: {error}") from None


def _parsed(raw: bytes) -> Any:
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError:
        return {"detail": raw[:200].decode("utf-8", "replace")}


async def with_client(target: Target, work: Callable[[Client], Awaitable[T]]) -> T:
    """Run some calls in one session."""
    token = target.token
    if target.sessions is not None:
        token = await _access_token(target, target.sessions)
    headers = {"Authorization": f"Bearer {token}"} if token is not None else {}
    timeout = aiohttp.ClientTimeout(total=TIMEOUT_SECONDS)
    async with aiohttp.ClientSession(headers=headers, timeout=timeout) as session:
        return await work(Client(session, target))


async def _access_token(target: Target, sessions: SessionFile) -> str | None:
    """The session's access token, refreshed where it is nearly over; the session ends else."""
    held = sessions.get(target.url)
    if held is None or not held.is_old:
        return held.access_token if held is not None else None
    body = {"refresh_token": held.refresh_token}
    try:
        answer = await with_client(
            Target(target.url, None), lambda client: client.call("POST", REFRESH, body)
        )
    except ServerRefusedError as refusal:
        if refusal.code == "session_over":
            sessions.keep(target.url, held.ended())
        raise
    refreshed = StoredSession.of(answer)
    sessions.keep(target.url, refreshed)
    return refreshed.access_token


def run(target: Target, work: Callable[[Client], Awaitable[T]]) -> T:
    """`with_client` from the outside."""
    return asyncio.run(with_client(target, work))


def project_path(project: str) -> str:
    """The route of a project."""
    return f"/v1/projects/{quote(project, safe='')}"


def prompt_path(project: str, name: str) -> str:
    """The route of a prompt."""
    return f"{project_path(project)}/prompts/{quote(name)}"
