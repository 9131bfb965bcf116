"""For whom passkeys are made: the domain that they are bound to, and the pages that may ask for them.

Both follow from where people reach the service. Without a public URL that is this machine, by its name: an address such
as 127.0.0.1 is no domain, and no browser uses a passkey there (WebAuthn 2, 5.1.3).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

NAME: Final = "Fieldward"
_HERE: Final = "localhost"
_DEFAULT_PORTS: Final = {"https": 443, "http": 80}


@dataclass(frozen=True, slots=True)
class RelyingParty:
    """id: the domain. origins: scheme, domain and port of the pages. Both as browsers say them."""

    id: str
    origins: Sequence[str]
    name: str = NAME


def relying_party(public_url: str | None, *, port: int) -> RelyingParty:
    """Return the relying party that people reach at the URL; on this machine's port if there is none.

    Raises:
        ValueError: the URL has no host.
    """
    if public_url is None:
        return RelyingParty(_HERE, (f"http://{_HERE}:{port}",))
    parts = urlsplit(public_url)
    if not parts.hostname or parts.scheme not in _DEFAULT_PORTS:
        raise ValueError("Expected an http or https URL with a host.")
    # Browsers leave a scheme's own port out.
    shown = "" if parts.port in {None, _DEFAULT_PORTS[parts.scheme]} else f":{parts.port}"
    return RelyingParty(parts.hostname, (f"{parts.scheme}://{parts.hostname}{shown}",))
