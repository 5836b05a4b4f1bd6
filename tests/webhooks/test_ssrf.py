"""No address inside is ever connected to, however it is written and whatever a resolver says.

Connections are seen where Python makes them (the audit event `socket.connect`, PEP 578), so that what
counts is what would have left the process, not what some check returned.
"""

import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp.abc import AbstractResolver, ResolveResult

from projections.outbound import Guard, Sender, parse_networks
from tests.harness import registry
from tests.webhooks.receiver import Receiver, receiver

_watchers: list[list[Any]] = []


def _watch(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "socket.connect":
        for seen in _watchers:
            seen.append(arguments[1])


sys.addaudithook(_watch)


@contextmanager
def connections() -> Iterator[list[Any]]:
    seen: list[Any] = []
    _watchers.append(seen)
    try:
        yield seen
    finally:
        _watchers.remove(seen)


class Resolver(AbstractResolver):
    """Gives one answer after the other, the last for good; an answer is addresses or an error."""

    def __init__(self, *answers: Sequence[str] | OSError) -> None:
        self.answers = list(answers)
        self.asked = 0

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        answer = self.answers[min(self.asked, len(self.answers) - 1)]
        self.asked += 1
        if isinstance(answer, OSError):
            raise answer
        return [
            ResolveResult(hostname=host, host=one, port=port, proto=0, flags=0,
                          family=socket.AF_INET6 if ":" in one else socket.AF_INET)
            for one in answer
        ]  # fmt: skip

    async def close(self) -> None:
        """Nothing is open."""


WRITTEN = """
127.0.0.1 127.0.0.2 127.1 127.0.1 127.255.255.254 2130706433 0x7f000001 0x7f.0.0.1 0177.0.0.1
017700000001 0x7f.1 0 0.0.0.0 0.1.2.3 localhost LOCALHOST localhost. 127.0.0.1.
10.0.0.1 10.255.255.255 167772161 0xa000001 012.0.0.1 172.16.0.1 172.31.255.254 192.168.0.1
192.168.255.255 3232235521 0xc0a80001 169.254.169.254 169.254.0.1 2852039166 0xa9fea9fe
0xa9.0xfe.0xa9.0xfe 0251.0376.0251.0376 100.64.0.1 100.100.100.200 100.127.255.255 168.63.129.16
192.0.0.1 192.0.0.192 192.0.2.1 192.88.99.1 198.18.0.1 198.19.255.255 198.51.100.1 203.0.113.1
224.0.0.1 239.255.255.255 240.0.0.1 255.255.255.255
[::1] [::] [0:0:0:0:0:0:0:1] [0000:0000:0000:0000:0000:0000:0000:0001] [::ffff:127.0.0.1]
[::ffff:7f00:1] [0:0:0:0:0:ffff:7f00:0001] [::ffff:10.0.0.1] [::ffff:169.254.169.254]
[::ffff:8.8.8.8] [::127.0.0.1] [::7f00:1] [64:ff9b::127.0.0.1] [64:ff9b::7f00:1]
[64:ff9b::a9fe:a9fe] [64:ff9b::808:808] [64:ff9b:1::a00:1] [2002:7f00:1::] [2002:a9fe:a9fe::1]
[2001::1] [2001:0:7f00:1::1] [2001:10::1] [2001:20::1] [2001:db8::1] [3fff::1] [fc00::1]
[fd00:ec2::254] [fd12:3456:789a::1] [fe80::1] [fe80::5efe:7f00:1] [fec0::1] [ff02::1] [ff05::1]
[100::1] [4000::1] [5f00::1]
""".split()


@pytest.mark.parametrize("host", WRITTEN)
async def test_an_address_inside_is_not_connected_to(host: str) -> None:
    """As written, with a port, and where a name resolves to it."""
    sender = Sender(Guard())
    with connections() as seen:
        for url in (f"https://{host}/", f"https://{host}:8443/x", f"http://{host}/"):
            sent = await sender.post(url, b"{}", {})
            assert sent.status is None
            assert sent.error in ("address_refused", "invalid_url", "name_unknown"), sent
        found = _addresses(host)
        if found:
            sent = await Sender(Guard(), Resolver(found)).post("https://a.example/", b"{}", {})
            assert sent.error == "address_refused"
    assert seen == []


def _addresses(host: str) -> list[str]:
    try:
        found = socket.getaddrinfo(host.strip("[]"), 443, type=socket.SOCK_STREAM)
    except OSError:
        return []
    return sorted({str(one[4][0]) for one in found})


def test_the_table_is_as_long_as_it_should_be() -> None:
    assert len(set(WRITTEN)) >= 60


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com@127.0.0.1/", "https://127.0.0.1%00.example.com/", "https:///127.0.0.1",
        "https://127.0.0.%31/", "https://①②⑦.⓪.⓪.①/", "https://[fe80::1%25lo]/", "file:///etc/passwd",
        "gopher://127.0.0.1:6379/_x", "https://127.0.0.1\\@example.com/", "https://[::1]:443@a.example/",
    ],
)  # fmt: skip
async def test_a_crooked_url_is_not_connected_to(url: str) -> None:
    with connections() as seen:
        assert (await Sender(Guard(), Resolver(["127.0.0.1"])).post(url, b"{}", {})).status is None
    assert seen == []


@pytest.mark.parametrize(
    "found",
    [["93.184.216.34", "127.0.0.1"], ["127.0.0.1", "93.184.216.34"], ["2606:4700::1", "::1"],
     ["93.184.216.34", "::ffff:10.0.0.1"]],
)  # fmt: skip
async def test_one_address_inside_is_enough_to_refuse_them_all(found: list[str]) -> None:
    with connections() as seen:
        sent = await Sender(Guard(), Resolver(found)).post("https://a.example/", b"{}", {})
    assert (sent.error, seen) == ("address_refused", [])


async def test_a_name_that_changes_its_answer_gets_nothing(tmp_path: Path) -> None:
    """Resolved once for each attempt: what was checked is what is connected to."""
    async with receiver() as far:
        port = far.url.rpartition(":")[2].partition("/")[0]
        url = f"http://rebound.example:{port}/hook"
        guard = Guard(parse_networks("127.0.0.1/32"))
        resolver = Resolver(["127.0.0.1"], ["127.0.0.2"], OSError("no answer"), ["10.0.0.1"])
        sender = Sender(guard, resolver)
        with connections() as seen:
            assert (await sender.post(url, b"{}", {})).delivered
            assert seen == [("127.0.0.1", int(port))] and resolver.asked == 1
            errors = [(await sender.post(url, b"{}", {})).error for _ in range(4)]
        assert errors == ["address_refused", "name_unknown", "address_refused", "address_refused"]
        assert len(seen) == 1 and len(far.got) == 1


async def test_an_allowed_network_is_as_wide_as_it_says() -> None:
    async with receiver() as far:
        inside = Sender(Guard(parse_networks("127.0.0.0/8, fd00::/8")))
        assert (await inside.post(far.url, b"{}", {})).delivered
        beside = Sender(Guard(parse_networks("127.0.0.8/29")))
        assert (await beside.post(far.url, b"{}", {})).error == "address_refused"
        outside = Sender(Guard(parse_networks("127.0.0.0/8")), Resolver(["93.184.216.34"]))
        with connections() as seen:
            sent = await outside.post("http://a.example/", b"{}", {})
        assert (sent.error, seen) == ("address_refused", [])  # public, but not by https


async def test_a_redirect_is_not_followed() -> None:
    async with receiver(lambda body: 307) as inside, receiver(lambda body: 307) as far:
        far.headers = {"Location": inside.url}
        sent = await Sender(Guard(parse_networks("127.0.0.0/8"))).post(far.url, b"{}", {})
        assert sent.status == 307 and not sent.delivered and inside.got == []


async def test_a_proxy_of_the_environment_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    async with receiver() as proxy, receiver() as far:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy.url)
        await Sender(Guard(parse_networks("127.0.0.0/8"))).post(far.url, b"{}", {})
        assert len(far.got) == 1 and proxy.got == []


async def test_a_registry_tells_nobody_inside(tmp_path: Path) -> None:
    """The whole way, from the request that makes the webhook to the attempt."""
    async with registry(tmp_path) as api, receiver() as inside:
        await api.make_prompt("acme/p")
        refused = await api.call("POST", "/v1/webhooks", {"url": inside.url})
        assert (refused.status, refused.code) == (422, "address_refused")
        name = _by_name(inside)
        made = await api.ok("POST", "/v1/webhooks", {"url": name})
        await api.ok("POST", "/v1/projects", {"project": "second"})
        tested = await api.ok("POST", f"/v1/webhooks/{made['webhook_id']}/test")
        assert (tested["delivered"], tested["error"]) == (False, "address_refused")
        page = await api.ok("GET", f"/v1/webhooks/{made['webhook_id']}/deliveries")
        assert {d["error"] for d in page["items"]} <= {"address_refused"}
        assert inside.got == []


def _by_name(far: Receiver) -> str:
    return far.url.replace("http://127.0.0.1", "https://localhost")
