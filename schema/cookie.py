"""The two cookies of a browser, and the headers that set and clear them.

`__Host-` has the browser itself see to it that they are Secure, of this host alone, and of every path (RFC 6265bis,
4.1.3.2); no script reads them, and no other site's page sends them.
"""

from typing import Final

from resolvers.throttle import CLIENT_LIFETIME

SESSION: Final = "__Host-fieldward"
"""Holds the session. Without a date: the browser forgets it when it is closed, and the server before that."""
CLIENT: Final = "__Host-fieldward-client"
"""By what a browser is known from which somebody signed in before; see `resolvers/throttle.py`."""

_GUARDS: Final = "Path=/; Secure; HttpOnly; SameSite=Strict"

Header = tuple[bytes, bytes]


def session_cookie(value: str) -> Header:
    """Return the header that has a browser hold a session."""
    return _set(f"{SESSION}={value}; {_GUARDS}")


def ended_session_cookie() -> Header:
    """Return the header that has a browser forget its session."""
    return _set(f"{SESSION}=; Max-Age=0; {_GUARDS}")


def client_cookie(value: str) -> Header:
    """Return the header by which a browser is known from now on."""
    return _set(f"{CLIENT}={value}; Max-Age={int(CLIENT_LIFETIME.total_seconds())}; {_GUARDS}")


def _set(text: str) -> Header:
    return b"set-cookie", text.encode("ascii")
