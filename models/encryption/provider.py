"""Who holds the key-encryption key.

A provider wraps and unwraps the secrets of data keys and never shows its own key. What it wraps opens only
with the same context, so that a wrapped key moved to another owner's row is worthless there.
"""

from collections.abc import Mapping
from typing import Protocol


class WrappingKeyError(Exception):
    """The key-encryption key is missing, is kept unsafely, or is another one. An operator has to look."""


class KeyProvider(Protocol):
    """Wraps data keys. `name` is stored beside what it wrapped."""

    name: str

    async def wrap(self, secret: bytes, context: Mapping[str, str]) -> bytes:
        """Return the secret, wrapped and bound to the context.

        Raises:
            UnavailableError: the provider does not answer in the time that it allows itself.
        """
        ...

    async def unwrap(self, wrapped: bytes, context: Mapping[str, str]) -> bytes:
        """Return the secret.

        Raises:
            TamperedError: it was wrapped for another context, or changed.
            WrappingKeyError: it was wrapped with another key-encryption key.
            UnavailableError: the provider does not answer in the time that it allows itself.
        """
        ...
