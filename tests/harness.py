"""Real registries for tests: in this event loop, in a thread, or as a process of their own."""

import asyncio
import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import requests
from aiohttp import web

from api.http.routes import make_app
from api.http.services import Services
from api.main import initialise_if_missing, running, store_of
from api.settings import Settings
from ledger.verify import Report, verify_ledger
from tests.launching import COMMAND, ROOT, Forked

STORES = ("sqlite", "postgres")
COLLECTIONS = Path(os.environ.get("SCRINIA_TEST_COLLECTIONS", ROOT.parent / "shared" / "data"))


def text_content(text: str, **fields: Any) -> dict[str, Any]:
    """A text content that declares the variables it plainly shows."""
    declared = {name: {} for name in re.findall(r"\{\{(\w+)\}\}", text)}
    fields = {"variables": declared, **fields} if declared else fields
    return {"type": "text", "text": text, **fields}


@dataclass
class Answer:
    status: int
    headers: Any
    body: Any

    @property
    def code(self) -> str:
        return self.body["code"]


@dataclass
class Api:
    """An HTTP client that speaks for one token and always reads its own writes."""

    session: aiohttp.ClientSession
    url: str
    token: str | None
    position: int = 0
    services: Services | None = None

    async def call(self, method: str, path: str, body: Any = None, **options: Any) -> Answer:
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        if self.position and method == "GET":
            headers["Scrinia-Min-Position"] = str(self.position)
        headers |= options.pop("headers", {})
        if body is not None:
            options["json"] = body
        async with self.session.request(
            method, self.url + path, headers=headers, **options
        ) as response:
            raw = await response.read()
            is_json = raw and response.content_type.endswith(("/json", "+json"))
            parsed = await response.json(content_type=None) if is_json else raw
            if isinstance(parsed, dict) and "changed" in parsed:
                self.position = max(self.position, parsed["position"])
            return Answer(response.status, response.headers, parsed)

    async def ok(self, method: str, path: str, body: Any = None, **options: Any) -> Any:
        answer = await self.call(method, path, body, **options)
        assert answer.status < 400, (method, path, answer.status, answer.body)
        return answer.body

    def as_token(self, token: str | None) -> "Api":
        return Api(self.session, self.url, token, self.position, self.services)

    async def make_prompt(self, ref: str, text: str = "Hello", **fields: Any) -> Any:
        project, _, name = ref.partition("/")
        await self.call("POST", "/v1/projects", {"project": project})
        body = {"name": name, "content": text_content(text), **fields}
        return await self.ok("POST", f"/v1/projects/{project}/prompts", body)

    async def make_caller(
        self, *grants: dict[str, Any], type_: str = "service", **token: Any
    ) -> "Caller":
        made = await self.ok("POST", "/v1/principals", {"type": type_, "name": "tester"})
        principal_id = made["principal_id"]
        ids = []
        for grant in grants:
            answer = await self.ok("POST", "/v1/grants", {"principal_id": principal_id, **grant})
            ids.append(answer["grant_id"])
        issued = await self.ok("POST", "/v1/tokens", {"principal_id": principal_id, **token})
        api = self.as_token(issued["token"])
        api.position = self.position
        return Caller(principal_id, issued["token_id"], ids, api)


@dataclass
class Caller:
    principal_id: str
    token_id: str
    grant_ids: list[str]
    api: Api


def new_database(request: pytest.FixtureRequest) -> str | None:
    """The URL for a fixture's parameter of STORES; None is the embedded store."""
    return request.getfixturevalue("postgres").database() if request.param == "postgres" else None


def settings_in(folder: Path, **options: Any) -> Settings:
    # As cheap as may be; and a test may be refused as often as it likes.
    options = {"password_memory_mib": 19, "refusals_per_minute": 10**6, **options}
    return Settings(data_dir=folder / "data", bind="127.0.0.1:0", **options)


def verify(data_dir: Path, database_url: str | None = None) -> Report:
    settings = Settings(data_dir=data_dir, database_url=database_url)
    return verify_ledger(store_of(settings), settings.directory)


@asynccontextmanager
async def registry(folder: Path, **options: Any) -> AsyncIterator[Api]:
    """A registry served in this event loop, with its admin's client."""
    settings = settings_in(folder, **options)
    initialise_if_missing(settings)
    async with running(settings) as services:
        runner = web.AppRunner(make_app(services), access_log=None, shutdown_timeout=1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = site._server.sockets[0].getsockname()[1]
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(connector=connector) as session:
            token = settings.token_file.read_text().strip()
            try:
                yield Api(session, f"http://127.0.0.1:{port}", token, services=services)
            finally:
                services.feed.close()
                await session.close()
                await runner.cleanup()


class Sync:
    """A blocking client for tests that are not coroutines."""

    def __init__(self, url: str, token: str) -> None:
        self.url = url
        self.token = token
        self.session = requests.Session()
        self.position = 0

    def call(self, method: str, path: str, body: Any = None, **options: Any) -> Answer:
        headers = {"Authorization": f"Bearer {self.token}"}
        if self.position and method == "GET":
            headers["Scrinia-Min-Position"] = str(self.position)
        headers |= options.pop("headers", {})
        response = self.session.request(
            method, self.url + path, json=body, headers=headers, timeout=30, **options
        )
        parsed = response.json() if "json" in response.headers.get("Content-Type", "") else None
        if isinstance(parsed, dict) and "changed" in parsed:
            self.position = max(self.position, parsed["position"])
        return Answer(response.status_code, response.headers, parsed)

    def ok(self, method: str, path: str, body: Any = None, **options: Any) -> Any:
        answer = self.call(method, path, body, **options)
        assert answer.status < 400, (method, path, answer.status, answer.body)
        return answer.body


@contextmanager
def registry_thread(folder: Path, **options: Any) -> Iterator[Sync]:
    """A registry served in a thread of this process."""
    ready = threading.Event()
    found: dict[str, Any] = {}

    async def main() -> None:
        async with registry(folder, **options) as api:
            found.update(url=api.url, token=api.token, loop=asyncio.get_running_loop())
            found["stop"] = asyncio.Event()
            ready.set()
            await found["stop"].wait()

    thread = threading.Thread(target=asyncio.run, args=(main(),), daemon=True)
    thread.start()
    assert ready.wait(20)
    try:
        yield Sync(found["url"], found["token"])
    finally:
        found["loop"].call_soon_threadsafe(found["stop"].set)
        thread.join(20)


@dataclass
class Process:
    """A server process over a data directory; can be killed and started again."""

    data_dir: Path
    env: dict[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | Forked | None = None
    real: bool = False

    @property
    def environment(self) -> dict[str, str]:
        own = {
            "SCRINIA_DATA_DIR": str(self.data_dir), "SCRINIA_BIND": "127.0.0.1:0",
            "SCRINIA_SESSION_FILE": str(self.data_dir.parent / "sessions.json"),
        }  # fmt: skip
        clean = {k: v for k, v in os.environ.items() if not k.startswith("SCRINIA_")}
        return {**clean, **own, **self.env}

    def start(self) -> str:
        address = self.data_dir / "address"
        address.unlink(missing_ok=True)
        log = self.data_dir.parent / "serve.log"
        self.process = self._serve(log)
        deadline = time.monotonic() + 30
        while not address.exists() or not address.read_text().endswith("\n"):
            assert self.process.poll() is None, log.read_text()
            assert time.monotonic() < deadline
            time.sleep(0.01)
        self.url = address.read_text().strip()
        return self.url

    def _serve(self, log: Path) -> subprocess.Popen[bytes] | Forked:
        if not self.real:
            return Forked(["serve"], self.environment, log, log)
        with log.open("ab") as out:
            return subprocess.Popen(
                [*COMMAND, "serve"], cwd=ROOT, env=self.environment, stdout=out, stderr=out
            )

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(20)

    @property
    def token(self) -> str:
        return (self.data_dir / "admin.token").read_text().strip()

    def client(self) -> Sync:
        return Sync(self.url, self.token)

    def cli(
        self, *args: str, check: bool = True, input: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [*COMMAND, *args], cwd=ROOT, env=self.environment, capture_output=True, text=True,
            timeout=120, input=input,
        )  # fmt: skip
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return done
