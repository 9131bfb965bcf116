"""What a request's cookies are, and whether it shows that a page of this server sent it.

A browser sends a cookie along whoever made it ask. `SameSite=Strict` keeps other sites from it; that is the browser's
word, and another service on the same host is the same site. So whatever comes by the cookie, or wants one set, shows
besides that it is a page of this very origin: by a header that no form sends and that no other origin may
(`fieldward/web/foreign_page.py` lets none send it), and by what the browser itself says, where it says it (Fetch
Metadata; RFC 6454).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

from auth.errors import UnauthenticatedError
from auth.opaque_token import CookieToken
from schema.cookie import CLIENT, SESSION

CSRF: Final = b"fieldward-csrf"
"""The header that shows that a script of ours sent the request, with the value 1."""
READ: Final = frozenset({b"cookie", CSRF, b"origin", b"sec-fetch-site", b"host"})
"""The headers that are read here."""

_PORTS: Final = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class OwnPage:
    """Says whether a request was sent by a page of this server.

    origin: this server's own; None where nobody said under which name it is reached: then pages of this
        machine alone are.
    """

    origin: str | None = None

    @classmethod
    def of(cls, public_url: str | None) -> "OwnPage":
        """Return what judges for a server that people reach under that address."""
        return cls(None if public_url is None else origin_of(public_url))

    def sent(self, said: Mapping[bytes, str]) -> bool:
        """Return whether the headers show it: ours, and of the browser's nothing to the contrary."""
        if said.get(CSRF) != "1" or said.get(b"sec-fetch-site", "same-origin") != "same-origin":
            return False
        origin = said.get(b"origin")
        return origin is None or ((own := self._own(said)) is not None and origin_of(origin) == own)

    def opened(self, said: Mapping[bytes, str]) -> bool:
        """Return whether the headers of a WebSocket's handshake show it: a script can't add any to those, but the
        browser says of what origin it is (RFC 6455, 4.1)."""
        origin = said.get(b"origin")
        return origin is not None and (own := self._own(said)) is not None and origin_of(origin) == own

    def _own(self, said: Mapping[bytes, str]) -> str | None:
        if self.origin is not None:
            return self.origin
        # Whoever names a host of theirs that leads to this machine would else be its own page.
        own = origin_of(f"http://{said.get(b'host', '')}")
        return own if own is not None and _is_loopback(urlsplit(own).hostname or "") else None


def session_token(cookies: str | None) -> CookieToken | None:
    """Return the token of the session's cookie; None where there is none, several, or one that is none of ours."""
    text = _only(cookies, SESSION)
    if text is None:
        return None
    try:
        return CookieToken.parse(text)
    except UnauthenticatedError:
        return None


def client_token(cookies: str | None) -> str | None:
    """Return what the cookie of a known client holds, whatever that is."""
    return _only(cookies, CLIENT)


def origin_of(url: str) -> str | None:
    """Return the origin of an address, in its one form; None where it has none."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    if parts.scheme not in _PORTS or not parts.hostname:
        return None
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{host}:{port or _PORTS[parts.scheme]}"


def _only(cookies: str | None, name: str) -> str | None:
    found = [value for one, value in _pairs(cookies or "") if one == name]
    # The prefix allows of one. Several are no browser's, and which of them counts is nothing to guess.
    return found[0] if len(found) == 1 else None


def _pairs(cookies: str) -> Iterator[tuple[str, str]]:
    for pair in cookies.split(";"):
        name, _, value = pair.strip().partition("=")
        yield name, value


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
