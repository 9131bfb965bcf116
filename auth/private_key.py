"""Ed25519 keys that sign (RFC 8032), as files keep them: made and read in one way, whatever is signed with them."""

from typing import Self

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey


class StoredKey:
    """A key that never shows its private half but through `to_pem`."""

    __slots__ = ("_private",)

    def __init__(self, private: Ed25519PrivateKey) -> None:
        self._private = private

    @classmethod
    def generate(cls) -> Self:
        """Return a new key."""
        return cls(Ed25519PrivateKey.generate())

    @classmethod
    def from_pem(cls, pem: bytes) -> Self:
        """Return the key in a PKCS #8 PEM without a passphrase; raises `ValueError` for anything else."""
        try:
            private = serialization.load_pem_private_key(pem, password=None)
        except TypeError:
            raise ValueError("Expected a key without a passphrase.") from None
        if not isinstance(private, Ed25519PrivateKey):
            raise ValueError("Expected an Ed25519 key.")
        return cls(private)

    def to_pem(self) -> bytes:
        """Return the private key as PKCS #8 PEM, unencrypted: for a file that its owner alone can read."""
        return self._private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
