"""Network addresses: whether one lies in a network."""

from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Network, ip_address

Network = IPv4Network | IPv6Network


def is_within(address: str | None, networks: Iterable[Network]) -> bool:
    """Whether an address lies in one of some networks; what is no address lies in none.

    An IPv4 address written as IPv6 (RFC 4291, 2.5.5.2) is the IPv4 address.
    """
    try:
        found = ip_address(address or "")
    except ValueError:
        return False
    mapped = getattr(found, "ipv4_mapped", None) or found
    return any(mapped in network for network in networks)
