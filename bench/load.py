"""A small closed-loop HTTP/1.1 client: raw protocol, one request in flight a connection."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass
class Measured:
    """Requests a second over one run, and latencies in milliseconds."""

    rate: float
    p50: float
    p99: float


class _Connection(asyncio.Protocol):
    def __init__(self, next_request: Callable[[], bytes], deadline: float, done: Callable) -> None:
        self._next = next_request
        self._deadline = deadline
        self._done = done
        self._buffer = b""
        self.latencies: list[float] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._send()

    def _send(self) -> None:
        self._sent = time.perf_counter()
        if self._sent > self._deadline:
            self._transport.close()
            return
        self._transport.write(self._next())

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, found, rest = self._buffer.partition(b"\r\n\r\n")
        if not found:
            return
        lower = head.lower()
        at = lower.find(b"content-length:")
        length = int(lower[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
        if len(rest) < length:
            return
        if not head.startswith((b"HTTP/1.1 200", b"HTTP/1.1 201")):
            raise RuntimeError(head[:200])
        self._buffer = b""
        self.latencies.append(time.perf_counter() - self._sent)
        self._send()

    def connection_lost(self, error: Exception | None) -> None:
        self._done(self.latencies)


async def measure(
    port: int, connections: int, seconds: float, next_request: Callable[[], bytes]
) -> Measured:
    """Load 127.0.0.1:`port` for some seconds."""
    loop = asyncio.get_running_loop()
    start = time.perf_counter()
    waiting = [loop.create_future() for _ in range(connections)]
    for future in waiting:
        await loop.create_connection(
            lambda f=future: _Connection(next_request, start + seconds, f.set_result),
            "127.0.0.1",
            port,
        )
    latencies = sorted(x for found in await asyncio.gather(*waiting) for x in found)
    elapsed = time.perf_counter() - start
    count = len(latencies)
    return Measured(
        count / elapsed, latencies[count // 2] * 1000, latencies[int(count * 0.99)] * 1000
    )


def request(method: str, path: str, token: str, body: bytes = b"") -> bytes:
    """The bytes of a request."""
    head = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {token}\r\n"
    if body:
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    return head.encode() + b"\r\n" + body
