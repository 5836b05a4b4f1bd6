"""How many requests a credential may send, and how many an address that shows none that counts.

The generic cell rate algorithm (ITU-T I.371): a whole minute's requests at once, then as they come
back. What is left is told as draft-ietf-httpapi-ratelimit-headers-10 has it. Each process counts
for itself, with its share of the limit.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

WINDOW_SECONDS = 60.0
KNOWN_MAX = 100_000


@dataclass(frozen=True)
class Taken:
    """Whether one more may be, how many are left, and the seconds until there are more."""

    policy: str
    limit: int
    allowed: bool
    left: int
    seconds: int

    @property
    def headers(self) -> dict[str, str]:
        """RateLimit-Policy and RateLimit."""
        return {
            "RateLimit-Policy": f'"{self.policy}";q={self.limit};w={WINDOW_SECONDS:.0f}',
            "RateLimit": f'"{self.policy}";r={self.left};t={self.seconds}',
        }


class RateLimit:
    """One limit, of so many a minute for each key; `processes` share it."""

    def __init__(
        self,
        policy: str,
        per_minute: int,
        processes: int = 1,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.policy = policy
        self.limit = math.ceil(per_minute / processes)
        self._clock = clock
        self._between = WINDOW_SECONDS / self.limit if self.limit else 0.0
        self._full: dict[int, float] = {}  # key → when it is as if nothing had been sent

    def take(self, key: str) -> Taken:
        """One more for a key."""
        now = self._clock()
        if len(self._full) >= KNOWN_MAX:
            self._full = {known: at for known, at in self._full.items() if at > now}
        place = hash(key)  # salted by the interpreter; nothing of a secret stays
        full = max(now, self._full.get(place, 0.0))
        over = full + self._between - now - WINDOW_SECONDS
        # A hair's breadth, since sixty seconds divided and added up again are not always sixty.
        if over > 1e-6:
            return Taken(self.policy, self.limit, False, 0, math.ceil(over))
        full += self._between
        self._full[place] = full
        left = int((WINDOW_SECONDS - (full - now)) / self._between + 1e-6)
        return Taken(self.policy, self.limit, True, left, math.ceil(full - now))
