"""From which address a request came where proxies stand in front: by what they say, and nobody else."""

from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

Network = IPv4Network | IPv6Network


def networks_of(text: str | None) -> Sequence[Network]:
    """Return the addresses and networks in a text, separated by commas. Raises `ValueError`."""
    return [ip_network(one.strip()) for one in (text or "").split(",") if one.strip()]


def client_address(peer: str | None, forwarded: str | None, trusted: Sequence[Network]) -> str | None:
    """Return the address from which a request came.

    peer: who opened the connection. forwarded: `X-Forwarded-For`, all of them joined. trusted: the proxies.

    Each proxy adds behind what was there the address that it heard from. From the end on, the first that is no proxy's
    is the client's; what stands before it the client may have made up.
    """
    found = peer
    hops = [hop.strip() for hop in forwarded.split(",")] if forwarded else []
    while hops and is_any(found, trusted):
        hop = hops.pop()
        try:
            found = str(ip_address(hop))
        except ValueError:
            break
    return found


def is_any(address: str | None, networks: Sequence[Network]) -> bool:
    """Return whether an address lies in one of the networks. What is none lies nowhere."""
    try:
        parsed = ip_address(address or "")
    except ValueError:
        return False
    mapped = getattr(parsed, "ipv4_mapped", None)
    return any((mapped or parsed) in network for network in networks)
