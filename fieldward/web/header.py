"""The headers that every answer has, whatever it is of: pages, the API, files, errors, and what is refused unread.

An answer that has one of these by itself keeps its own. Whether a page of another origin may read it is said elsewhere
(`fieldward/web/foreign_page.py`).

Standard: OWASP ASVS 5.0, V3.4; the Secure Headers Project.
"""

from collections.abc import Sequence
from typing import Final

Header = tuple[bytes, bytes]

NOTHING_OF_THE_MACHINE: Final = (
    "accelerometer=(), camera=(), display-capture=(), geolocation=(), gyroscope=(), magnetometer=(), microphone=(),"
    " midi=(), payment=(), usb=()"
)
"""What of the machine no page of ours asks for."""

_ALWAYS: Final[Sequence[Header]] = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    # An answer that a browser shows by itself loads nothing, runs nothing, and is in no frame.
    (
        b"content-security-policy",
        b"default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; sandbox",
    ),
    (b"permissions-policy", NOTHING_OF_THE_MACHINE.encode()),
    (b"cache-control", b"no-store"),
)
_BY_TLS_ALONE: Final[Header] = (b"strict-transport-security", b"max-age=63072000; includeSubDomains")
"""Two years, in which no browser that was here once comes without TLS (RFC 6797)."""


def security_headers(*, is_production: bool) -> Sequence[Header]:
    """Return the headers. In production nothing is answered that did not come by TLS, and browsers are told so."""
    return (*_ALWAYS, _BY_TLS_ALONE) if is_production else _ALWAYS
