"""Whose address a request is said to come from, behind proxies."""

import pytest

from fieldward.web.proxy import client_address, networks_of

TRUSTED = networks_of("10.0.0.1, 192.0.2.0/24,2001:db8::/64")


@pytest.mark.parametrize(
    ("peer", "forwarded", "address"),
    [
        ("10.0.0.1", "198.51.100.7", "198.51.100.7"),
        ("::ffff:10.0.0.1", "198.51.100.7", "198.51.100.7"),
        ("10.0.0.1", "198.51.100.7, 192.0.2.9", "198.51.100.7"),
        ("2001:db8::1", "2001:db8:1::7", "2001:db8:1::7"),
        ("10.0.0.1", None, "10.0.0.1"),
        (None, "198.51.100.7", None),
    ],
)
def test_a_proxy_says_from_where_a_request_came(peer: str | None, forwarded: str | None, address: str | None) -> None:
    assert client_address(peer, forwarded, TRUSTED) == address


@pytest.mark.parametrize(
    ("peer", "forwarded", "address"),
    [
        ("203.0.113.5", "198.51.100.7", "203.0.113.5"),
        ("10.0.0.2", "198.51.100.7", "10.0.0.2"),
        ("10.0.0.1", "127.0.0.1, 203.0.113.5", "203.0.113.5"),
        ("10.0.0.1", "198.51.100.7, 10.0.0.1, 203.0.113.5", "203.0.113.5"),
        ("10.0.0.1", "198.51.100.7, not an address", "10.0.0.1"),
        ("10.0.0.1", "198.51.100.7, ", "10.0.0.1"),
    ],
)
def test_what_a_client_made_up_counts_for_nothing(peer: str, forwarded: str, address: str) -> None:
    assert client_address(peer, forwarded, TRUSTED) == address


def test_where_no_proxy_is_named_none_is_believed() -> None:
    assert client_address("10.0.0.1", "198.51.100.7", networks_of(None)) == "10.0.0.1"
