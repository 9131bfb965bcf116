"""Who holds the key-encryption key.

A provider wraps and unwraps the secrets of data keys and never shows its own key. What it wraps opens only
with the same context, so that a wrapped key moved to another owner's row is worthless there.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol


class WrappingKeyError(Exception):
    """The key-encryption key is missing, is kept unsafely, or is another one. An operator has to look."""


@dataclass(frozen=True, slots=True)
class Wrapped:
    """A wrapped secret, and the name of the key-encryption key that wrapped it: its id, its version, or both."""

    content: bytes = field(repr=False)
    wrapping_key: str


class KeyProvider(Protocol):
    """Wraps data keys. `name` is stored beside what it wrapped.

    Every method raises `UnavailableError` where the provider does not answer in the time that it allows itself, and
    `WrappingKeyError` where its key-encryption key is missing, or may not be used by us.
    """

    name: str

    async def wrap(self, secret: bytes, context: Mapping[str, str]) -> Wrapped:
        """Return the secret, wrapped by the newest key-encryption key and bound to the context."""
        ...

    async def unwrap(self, wrapped: bytes, context: Mapping[str, str]) -> bytes:
        """Return the secret.

        Raises:
            TamperedError: it was wrapped for another context, or changed.
            WrappingKeyError: it was wrapped with a key-encryption key that the provider does not have.
        """
        ...

    async def newest(self) -> str:
        """Return the name of the key-encryption key that wraps from now on."""
        ...

    async def rotate(self) -> str:
        """Make a new key-encryption key, which wraps from now on, and return its name. The older ones still unwrap.

        Where keys are made elsewhere, it is the one that was named in the settings.
        """
        ...
