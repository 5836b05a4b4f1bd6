"""The sessions that `scrinia login` began, by server, in a file that only its owner reads."""

import fcntl
import os
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import click
import orjson

from ledger.ids import now

OLD_SECONDS = 30


def default_path() -> Path:
    """Where sessions are kept, as the system has it for settings."""
    return Path(click.get_app_dir("scrinia")) / "sessions.json"


@dataclass(frozen=True)
class StoredSession:
    """A session's tokens; `access_expires_at` RFC 3339."""

    access_token: str
    refresh_token: str
    access_expires_at: str

    @classmethod
    def of(cls, answer: dict[str, Any]) -> "StoredSession":
        """What an answer to signing in or refreshing holds."""
        return cls(answer["access_token"], answer["refresh_token"], answer["access_expires_at"])

    def ended(self) -> "StoredSession":
        """What is kept of a session that is over, so that nobody acts as somebody else unawares."""
        return StoredSession("", "", self.access_expires_at)

    @property
    def is_over(self) -> bool:
        """Whether the server has ended it."""
        return not self.refresh_token

    @property
    def is_old(self) -> bool:
        """Whether the access token is over within OLD_SECONDS."""
        end = datetime.fromisoformat(self.access_expires_at)
        return end <= now() + timedelta(seconds=OLD_SECONDS)


@dataclass(frozen=True)
class SessionFile:
    """Server's address → session."""

    path: Path

    def get(self, url: str) -> StoredSession | None:
        """The session at a server; None where there is none that can be read."""
        try:
            return StoredSession(**self._all()[url])
        except (KeyError, TypeError):
            return None

    def keep(self, url: str, session: StoredSession | None) -> None:
        """Have this session at a server from now on; None: none."""
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self.path.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            self._keep(url, session)

    def _keep(self, url: str, session: StoredSession | None) -> None:
        sessions = self._all()
        sessions.pop(url, None)
        if session is not None:
            sessions[url] = asdict(session)
        fresh = self.path.with_suffix(f".{os.getpid()}.new")
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(orjson.dumps(sessions, option=orjson.OPT_INDENT_2))
        fresh.replace(self.path)

    def _all(self) -> dict[str, Any]:
        with suppress(OSError, orjson.JSONDecodeError):
            found = orjson.loads(self.path.read_bytes())
            if isinstance(found, dict):
                return found
        return {}
