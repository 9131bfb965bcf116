"""Networks from which a program may come: one spelling for each, and whether an address lies within. No I/O.

Standards: RFC 4632 (IPv4 prefixes), RFC 4291 (IPv6), RFC 5952 (how IPv6 is written).
"""

from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

_LONGEST = 64
"""Characters; a longer text is no network."""


def canonical_network(text: str) -> str:
    """Return a network in its one spelling: `192.0.2.0/24`, `2001:db8::/32`. A single address is one of its own.

    Raises:
        ValueError: it is none; or has bits beyond its prefix; or is an IPv4 network that is written as IPv6, as which
            no address is ever compared.
    """
    given = text.strip()
    if len(given) > _LONGEST or "%" in given:
        raise ValueError("Expected a network in CIDR form, such as 192.0.2.0/24 or 2001:db8::/32.")
    try:
        network = ip_network(given, strict=True)
    except ValueError:
        raise ValueError("Expected a network in CIDR form, such as 192.0.2.0/24 or 2001:db8::/32.") from None
    if isinstance(network, IPv6Network) and network.network_address.ipv4_mapped is not None:
        raise ValueError("Expected an IPv4 network in its own form, such as 192.0.2.0/24.")
    return str(network)


def is_within(address: str | None, networks: Sequence[str]) -> bool:
    """Return whether a peer's address lies in one of the networks. What is no address lies in none.

    networks: as `canonical_network` returned them.
    """
    peer = _address(address)
    return peer is not None and any(peer in network for network in _parsed(tuple(networks)))


def _address(text: str | None) -> IPv4Address | IPv6Address | None:
    try:
        # A link-local address may name the interface that it is of.
        found = ip_address((text or "").partition("%")[0])
    except ValueError:
        return None
    if isinstance(found, IPv6Address) and found.ipv4_mapped is not None:
        # Where one socket takes both, IPv4 peers look like this.
        return found.ipv4_mapped
    return found


@lru_cache(maxsize=1024)
def _parsed(networks: tuple[str, ...]) -> tuple[IPv4Network | IPv6Network, ...]:
    return tuple(ip_network(network) for network in networks)
