"""Origins of pages, as browsers write them (RFC 6454)."""

from collections.abc import Sequence
from typing import Final
from urllib.parse import urlsplit

ANY: Final = "*"
"""All of them, which production refuses."""


def origins_of(text: str | None) -> Sequence[str]:
    """Return the origins that a setting names.

    Raises:
        ValueError: one of them is none, as browsers write it.
    """
    named = [one.strip() for one in (text or "").split(",") if one.strip()]
    for one in named:
        parts = urlsplit(one)
        if one != ANY and (parts.scheme not in {"https", "http"} or one != f"{parts.scheme}://{parts.netloc.lower()}"):
            raise ValueError("expected origins as browsers write them, such as https://dashboard.example")
        if one != ANY and (not parts.hostname or "@" in parts.netloc or "*" in parts.netloc):
            raise ValueError("expected whole names of hosts, such as https://dashboard.example")
    return named
