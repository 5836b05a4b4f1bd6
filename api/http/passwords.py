"""Passwords: hashed and checked with Argon2id, few at a time, so that nobody fills the memory.

RFC 9106 by libsodium; the parameters are in each verifier (PHC string), so they can be raised.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar
from unicodedata import normalize

from nacl.exceptions import InvalidkeyError
from nacl.pwhash import argon2id

from api.http.problems import EdgeError

PASSWORD_CHARS_MIN = 12
PASSWORD_CHARS_MAX = 1024
HASHES_AT_ONCE = 2
HASHES_WAITING_MAX = 32
ITERATIONS = 2
MIB = 1024 * 1024
T = TypeVar("T")


@dataclass(frozen=True)
class Checked:
    """Whether a password is right; `verifier`: what to keep instead, of today's parameters."""

    right: bool
    verifier: bytes | None = None


class Passwords:
    """Hashing with so many MiB a password: at most HASHES_AT_ONCE times that at any moment."""

    def __init__(self, memory_mib: int) -> None:
        self._memory = memory_mib * MIB
        self._threads = ThreadPoolExecutor(HASHES_AT_ONCE, thread_name_prefix="scrinia-password")
        self._waiting = 0

    async def check(self, verifier: bytes | None, password: str) -> Checked:
        """Whether a password is the one a verifier (None: nobody's) is of; the same time for both.

        EdgeError 503 where HASHES_WAITING_MAX others are waiting.
        """
        return await self._work(self._checked, verifier, password)

    async def new(self, password: str) -> bytes:
        """A verifier of a new password; EdgeError as `check`."""
        return await self._work(self._hashed, password)

    def close(self) -> None:
        """Let the threads end."""
        self._threads.shutdown(cancel_futures=True)

    async def _work(self, work: Callable[..., T], *args: object) -> T:
        if self._waiting >= HASHES_WAITING_MAX:
            raise EdgeError(503, "sign_in_busy", "Many are signing in: try again in a moment.")
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work, *args)
        finally:
            self._waiting -= 1

    @cached_property
    def _nobodys(self) -> bytes:
        return self._hashed("nobody has this password")

    def _hashed(self, password: str) -> bytes:
        return argon2id.str(_bytes(password), opslimit=ITERATIONS, memlimit=self._memory)

    def _checked(self, verifier: bytes | None, password: str) -> Checked:
        try:
            nobodys = self._nobodys
            argon2id.verify(verifier or nobodys, _bytes(password))
        except InvalidkeyError:
            return Checked(right=False)
        if verifier is None:
            return Checked(right=False)
        old = f"$m={self._memory // 1024},t={ITERATIONS},p=1$".encode() not in verifier
        return Checked(True, self._hashed(password) if old else None)


def _bytes(password: str) -> bytes:
    """The same bytes however the characters were composed (NIST SP 800-63B-4, 3.1.1.2)."""
    return normalize("NFKC", password).encode()
