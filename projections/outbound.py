"""Requests to addresses that users choose, without letting them choose what is inside (SSRF).

Each name is resolved once, every address it has is checked, and only checked ones are connected to;
redirects are not followed, proxies not used, and nothing of an answer but its status is looked at.
"""

import asyncio
import socket
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Any
from urllib.parse import urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.client_proto import ResponseHandler

from domain.addresses import Network
from projections.errors import RefusedAddressError

SEND_SECONDS_MAX = 15.0
ANSWER_BYTES_MAX = 32 * 1024
RESOLVING_MAX = 64

# IANA's IPv4 special-purpose registry (RFC 6890), multicast, and the address under which Azure's
# platform answers every machine, which is none of the registry's.
_IPV4_REFUSED = tuple(
    IPv4Network(text)
    for text in (
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "168.63.129.16/32",
        "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24",
        "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4",
        "240.0.0.0/4",
    )
)  # fmt: skip
# Global unicast (RFC 4291), without what IANA's IPv6 registry takes out of it. Everything else is
# refused: loopback, link-local, unique local, IPv4-mapped, NAT64 (64:ff9b::/96, 64:ff9b:1::/48).
_IPV6_GLOBAL = IPv6Network("2000::/3")
_IPV6_REFUSED = tuple(
    IPv6Network(text)
    for text in ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")
)  # fmt: skip

# The interface identifier under which RFC 5214 (ISATAP) carries an IPv4 address in any prefix.
_ISATAP = 0x00005EFE


@dataclass(frozen=True)
class Sent:
    """How a request went: the status, or else the code of what kept it from being answered."""

    status: int | None
    error: str | None
    seconds: float
    retry_after_seconds: float | None = None

    @property
    def delivered(self) -> bool:
        """Whether it was taken."""
        return self.status is not None and 200 <= self.status < 300


def _is_refused(address: str) -> bool:
    parsed = ip_address(address.partition("%")[0])
    if parsed.version == 4:
        return any(parsed in network for network in _IPV4_REFUSED)
    if parsed not in _IPV6_GLOBAL or any(parsed in network for network in _IPV6_REFUSED):
        return True
    return (int(parsed) >> 32) & 0xFDFFFFFF == _ISATAP


class Guard:
    """Which addresses may be connected to. `allowed` are networks inside that are wanted."""

    def __init__(self, allowed: Sequence[Network] = ()) -> None:
        self._allowed = tuple(allowed)

    def is_allowed(self, address: str) -> bool:
        """Whether the operator has named a network that holds this address."""
        parsed = ip_address(address.partition("%")[0])
        return any(parsed in network for network in self._allowed)

    def check(self, address: str, scheme: str) -> None:
        """RefusedAddressError unless public, by https, or in a network that is allowed."""
        if self.is_allowed(address):
            return
        if scheme != "https":
            raise RefusedAddressError("Only https goes outside: http is for allowed networks.")
        if _is_refused(address):
            raise RefusedAddressError(
                "The address is inside, or special: SCRINIA_WEBHOOK_ALLOWED_NETWORKS can allow it."
            )

    def check_url(self, url: str) -> None:
        """What can be told of a URL without resolving it; RefusedAddressError."""
        parts = urlsplit(url)
        try:
            address = str(ip_address(parts.hostname or ""))
        except ValueError:
            if parts.scheme != "https" and not self._allowed:
                raise RefusedAddressError("Only https goes outside.") from None
            return
        self.check(address, parts.scheme)


class Names(AbstractResolver):
    """The system's resolver in threads of its own: a name that hangs keeps one of them, once."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(RESOLVING_MAX, thread_name_prefix="scrinia-names")
        self._asked: dict[tuple[str, int], asyncio.Future[list[Any]]] = {}

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """See AbstractResolver. OSError for a name that has no address."""
        asked = self._asked.get((host, port))
        if asked is None:
            loop = asyncio.get_running_loop()
            asked = asyncio.ensure_future(
                loop.run_in_executor(
                    self._threads, partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
                )
            )
            self._asked[host, port] = asked
            asked.add_done_callback(lambda _: self._asked.pop((host, port), None))
        found = await asyncio.shield(asked)
        return [
            ResolveResult(
                hostname=host, host=str(info[4][0]), port=port, family=info[0], proto=info[2],
                flags=socket.AI_NUMERICHOST,
            )
            for info in found
        ]  # fmt: skip

    async def close(self) -> None:
        """Let go of the threads; one that hangs ends by itself."""
        self._threads.shutdown(wait=False, cancel_futures=True)


class _BoundedAnswer(ResponseHandler):
    """Breaks off an answer that says more than its status and headers can need."""

    _room = ANSWER_BYTES_MAX

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        super().data_received(data[: self._room])
        self._room -= len(data)
        if self._room < 0 and self.transport is not None:
            self.transport.abort()


class _CheckedResolver(AbstractResolver):
    """Resolves once and answers only if every address may be connected to."""

    def __init__(self, guard: Guard, scheme: str, resolver: AbstractResolver) -> None:
        self._guard = guard
        self._scheme = scheme
        self._resolver = resolver

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        found = await self._resolver.resolve(host, port, family)
        for one in found:
            self._guard.check(one["host"], self._scheme)
        return found

    async def close(self) -> None:
        """The resolver beneath is another's."""


class Sender:
    """Sends to checked addresses. `resolver` None: the system's."""

    def __init__(self, guard: Guard, resolver: AbstractResolver | None = None) -> None:
        self.guard = guard
        self._resolver = resolver or Names()

    async def close(self) -> None:
        """Let go of the resolver."""
        await self._resolver.close()

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Sent:
        """Send once, within SEND_SECONDS_MAX; what goes wrong is in the answer."""
        began = time.monotonic()
        status, error, retry_after = None, None, None
        try:
            status, retry_after = await self._post(url, body, headers)
        except RefusedAddressError:
            error = "address_refused"
        except TimeoutError:
            error = "timeout"
        except aiohttp.ClientConnectorCertificateError:
            error = "certificate_refused"
        except aiohttp.ClientConnectorDNSError:
            error = "name_unknown"
        except (aiohttp.ClientConnectorError, aiohttp.ClientSSLError):
            error = "cannot_connect"
        except (aiohttp.InvalidURL, ValueError):
            error = "invalid_url"
        except (aiohttp.ClientError, OSError):
            error = "connection_broken"
        return Sent(status, error, time.monotonic() - began, retry_after)

    async def _post(
        self, url: str, body: bytes, headers: Mapping[str, str]
    ) -> tuple[int, float | None]:
        scheme = urlsplit(url).scheme
        self.guard.check_url(url)

        def checked_socket(info: Any) -> socket.socket:
            """The last look: whatever is connected to passes here."""
            self.guard.check(info[4][0], scheme)
            return socket.socket(*info[:3])

        connector = aiohttp.TCPConnector(
            resolver=_CheckedResolver(self.guard, scheme, self._resolver),
            socket_factory=checked_socket, use_dns_cache=False, force_close=True,
        )  # fmt: skip
        loop = asyncio.get_running_loop()
        connector._factory = partial(_BoundedAnswer, loop=loop)  # type: ignore[assignment]
        timeout = aiohttp.ClientTimeout(total=SEND_SECONDS_MAX)
        async with (
            aiohttp.ClientSession(
                connector=connector, timeout=timeout, cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
            ) as session,
            session.post(url, data=body, headers=headers, allow_redirects=False) as response,
        ):  # fmt: skip
            return response.status, _seconds(response.headers.get("Retry-After"))


def _seconds(text: str | None) -> float | None:
    """`Retry-After` in its seconds form; the date form is not worth trusting another's clock."""
    return float(text) if text and text.isascii() and text.isdecimal() and len(text) < 9 else None


def parse_networks(text: str) -> tuple[Network, ...]:
    """Networks by commas, in CIDR form; ValueError names the one that is none."""
    return tuple(ip_network(part.strip()) for part in text.split(",") if part.strip())
