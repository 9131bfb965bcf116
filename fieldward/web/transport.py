"""How a request came: by TLS, or not. In production what did not is refused before anything of it is looked at.

Either this process speaks TLS itself, or a proxy does that is named in `FIELDWARD_TRUSTED_PROXIES` and says so in
`X-Forwarded-Proto`. Nobody else is believed, and a header in which anything but https stands is not, either: proxies
add to what a client has sent.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Final

from fieldward.web.proxy import Network, is_any
from schema.transport import RefusedError

HEALTH: Final = "/health/"
"""Where addresses begin that are asked for over the plain network: by the machine's own watch, with no secret."""

_SECURE: Final = frozenset({"https", "wss"})
_SAID: Final = b"x-forwarded-proto"


def is_secure(
    scheme: str, peer: str | None, headers: Iterable[tuple[bytes, bytes]], proxies: Sequence[Network]
) -> bool:
    """Return whether all of a request's way was by TLS, as far as that is known.

    scheme: how it came to this process. peer: who opened the connection. proxies: those that are named.
    """
    if scheme in _SECURE:
        return True
    if not is_any(peer, proxies):
        return False
    said = [one.strip().lower() for name, value in headers if name == _SAID for one in value.split(b",")]
    return bool(said) and all(one == b"https" for one in said)


class Transport:
    """Lets in what came by TLS; where that is not demanded, everything."""

    def __init__(self, *, is_tls_demanded: bool, proxies: Sequence[Network]) -> None:
        self._is_tls_demanded = is_tls_demanded
        self._proxies = proxies

    def lets_in(self, scope: Any) -> bool:
        """Return whether the request or handshake of an ASGI scope may be answered."""
        if not self._is_tls_demanded:
            return True
        peer = scope.get("client")
        if is_secure(scope["scheme"], peer[0] if peer else None, scope["headers"], self._proxies):
            return True
        return scope["type"] == "http" and str(scope["path"]).startswith(HEALTH)


def refused() -> RefusedError:
    """Return how it is said that a request did not come by TLS. Nothing is redirected: what was sent has been sent."""
    return RefusedError(400, "Expected https. Whatever was secret in this request, take another: it came in the clear.")
