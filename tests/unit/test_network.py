"""Networks have one spelling, and an address lies in them or does not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auth.network import canonical_network, is_within


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("192.0.2.0/24", "192.0.2.0/24"),
        (" 192.0.2.7 ", "192.0.2.7/32"),
        ("192.0.2.0/255.255.255.0", "192.0.2.0/24"),
        ("0.0.0.0/0", "0.0.0.0/0"),
        ("2001:DB8:0:0::/32", "2001:db8::/32"),
        ("2001:db8::7", "2001:db8::7/128"),
    ],
)
def test_a_network_has_one_spelling(text: str, canonical: str) -> None:
    assert canonical_network(text) == canonical
    assert canonical_network(canonical) == canonical


@pytest.mark.parametrize(
    "text",
    [
        *("", "192.0.2.1/24", "192.0.2.0/33", "192.0.2", "192.0.02.0/24", "2001:db8::1/32", "fe80::1%eth0"),
        *(
            "::ffff:192.0.2.0/120",
            "::ffff:192.0.2.7",
            "example.org",
            "192.0.2.0/24/7",
            "192.0.2.0/-1",
            "9" * 70,
            "\x00",
        ),
    ],
)
def test_what_is_no_network_is_refused_without_being_repeated(text: str) -> None:
    with pytest.raises(ValueError, match=r"^Expected an? "):
        canonical_network(text)


@pytest.mark.parametrize(
    ("address", "networks", "within"),
    [
        ("192.0.2.7", ["192.0.2.0/24"], True),
        ("192.0.3.7", ["192.0.2.0/24"], False),
        ("192.0.3.7", ["2001:db8::/32", "192.0.3.7/32"], True),
        ("::ffff:192.0.2.7", ["192.0.2.0/24"], True),
        ("2001:db8::9", ["2001:db8::/32"], True),
        ("2001:db9::9", ["2001:db8::/32"], False),
        ("192.0.2.7", ["::/0"], False),
        ("fe80::1%eth0", ["fe80::/10"], True),
        ("192.0.2.7", [], False),
        (None, ["0.0.0.0/0", "::/0"], False),
        ("", ["0.0.0.0/0", "::/0"], False),
        ("testclient", ["0.0.0.0/0", "::/0"], False),
    ],
)
def test_an_address_lies_within_or_not(address: str | None, networks: list[str], within: bool) -> None:
    assert is_within(address, networks) is within


@given(st.ip_addresses())
def test_every_address_is_a_network_of_its_own(address: object) -> None:
    text = str(address)
    if not text.startswith("::ffff:"):
        assert is_within(text, [canonical_network(text)])
