"""Bytes as a text that clients hand back and do not look into."""

import base64


def opaque_text(content: bytes) -> str:
    """Return the bytes as text: base64 for URLs (RFC 4648, 5), without padding."""
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def opaque_bytes(text: str) -> bytes:
    """Return the bytes of a text that `opaque_text` made.

    Raises:
        ValueError: it did not make it. Bytes have one spelling: the last character may have bits that say nothing, and
            what stands between the others could be anything, were it left to the decoder.
    """
    content = base64.urlsafe_b64decode(text.encode("ascii") + b"=" * (-len(text) % 4))
    if opaque_text(content) != text:
        raise ValueError("another spelling")
    return content
