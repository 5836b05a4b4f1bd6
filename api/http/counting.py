"""What the edge counts: requests by an id each, commands by how long they took."""

import re
from bisect import bisect_left
from itertools import count
from secrets import token_hex

LATENCY_BOUNDS_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


class RequestIds:
    """Ids for requests: a random prefix per process and a counter."""

    def __init__(self) -> None:
        self._prefix = token_hex(6)
        self._count = count(1)

    def next(self, offered: str | None) -> str:
        """The client's `X-Request-Id` where it is a plain word, else a new one."""
        if offered is not None and _REQUEST_ID.fullmatch(offered):
            return offered
        return f"{self._prefix}-{next(self._count):x}"


class Latencies:
    """A histogram of plain numbers: counting costs an addition."""

    def __init__(self) -> None:
        self.counts = [0] * (len(LATENCY_BOUNDS_SECONDS) + 1)
        self.seconds = 0.0

    def add(self, seconds: float) -> None:
        """Count one."""
        self.counts[bisect_left(LATENCY_BOUNDS_SECONDS, seconds)] += 1
        self.seconds += seconds
