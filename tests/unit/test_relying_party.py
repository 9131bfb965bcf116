"""What passkeys are bound to, by where people reach the service."""

from collections.abc import Sequence

import pytest

from resolvers.relying_party import relying_party


@pytest.mark.parametrize(
    ("url", "domain", "origins"),
    [
        ("https://fieldward.example", "fieldward.example", ["https://fieldward.example"]),
        ("https://FieldWard.example:443/start", "fieldward.example", ["https://fieldward.example"]),
        ("https://data.fieldward.example:8443/", "data.fieldward.example", ["https://data.fieldward.example:8443"]),
        ("http://localhost:8000", "localhost", ["http://localhost:8000"]),
        (None, "localhost", ["http://localhost:8123"]),
    ],
)
def test_the_domain_and_the_pages_follow_from_the_public_url(
    url: str | None, domain: str, origins: Sequence[str]
) -> None:
    party = relying_party(url, port=8123)

    assert (party.id, list(party.origins)) == (domain, list(origins))


@pytest.mark.parametrize("url", ["fieldward.example", "ftp://fieldward.example", "https://", "https://a:b"])
def test_what_is_no_address_of_pages_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        relying_party(url, port=8000)
