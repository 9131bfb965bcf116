"""Texts as XML 1.0 takes them, and as long as an element takes them."""

import re
from hashlib import sha256
from typing import Final

_FORBIDDEN: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What no XML 1.0 document holds, escaped or not: https://www.w3.org/TR/xml/#charsets"""
_ESCAPES: Final = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", "\r": "&#13;"})
# A digest's share of an identifier that was too long.
_DIGEST: Final = 8


def element(name: str, text: str | None) -> str:
    """Return an element with a text in it; nothing where there is no text, or an empty one."""
    if not text:
        return ""
    return f"<{name}>{_FORBIDDEN.sub(chr(0xFFFD), text).translate(_ESCAPES)}</{name}>"


def inside(name: str, content: str) -> str:
    """Return an element with other elements in it; nothing where there are none."""
    return f"<{name}>{content}</{name}>" if content else ""


def fitted(text: str, longest: int) -> str:
    """Return an identifier of so many characters at the most: two that differ are told apart by a digest."""
    return text if len(text) <= longest else marked(text, longest, text)


def marked(text: str, longest: int, by: str) -> str:
    """Return an identifier of so many characters at the most, with a digest of what it is told apart by."""
    digest = sha256(by.encode("utf-8", "surrogatepass")).hexdigest()[:_DIGEST]
    return f"{text[: longest - _DIGEST - 1]}~{digest}"


def shortened(text: str | None, longest: int) -> str | None:
    """Return a text of so many characters at the most, with an ellipsis where some are missing."""
    return text if text is None or len(text) <= longest else text[: longest - 1] + "…"


def in_decimals(number: float, most: int) -> str:
    """Return a number in decimals, without an exponent: so many behind the point at the most."""
    return f"{number:.{most}f}".rstrip("0").rstrip(".")
