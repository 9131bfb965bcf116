"""A key-encryption key in a file, for the embedded default.

The file holds 32 random bytes and nothing else, and belongs to the user that runs the service, who alone may
read it. Anything laxer is refused: a key that others can read guards nothing. Wrapping is AES-256-GCM-SIV
(RFC 8452):

    0        format, 0x01
    1..8     id of the key-encryption key: the first 8 bytes of HMAC-SHA256(key, "fieldward key-encryption key
    id") 9..20    nonce, random
    21..     ciphertext and tag

Associated data, each part after its length in two bytes: bytes 0..20, then the context's names and values,
sorted.
"""

import hmac
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCMSIV

from models.encryption.provider import WrappingKeyError
from models.errors import TamperedError

KEY_LENGTH: Final = 32

_FORMAT: Final = b"\x01"
_ID: Final = 9
_HEADER: Final = 21
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO


class FileKeyProvider:
    """Wraps with a key read from a file. Make one with `create` or `open`."""

    name = "file"

    __slots__ = ("_cipher", "_id")

    def __init__(self, key: bytes) -> None:
        if len(key) != KEY_LENGTH:
            raise WrappingKeyError(f"Expected a key-encryption key of {KEY_LENGTH} bytes, got {len(key)}.")
        self._cipher = AESGCMSIV(key)
        self._id = _FORMAT + hmac.digest(key, b"fieldward key-encryption key id", "sha256")[: _ID - 1]

    @classmethod
    def create(cls, path: Path) -> Self:
        """Make a new key in a new file that only the current user may read, and return its provider.

        Raises:
            WrappingKeyError: there is something at that path already. A key is never overwritten.
        """
        key = os.urandom(KEY_LENGTH)
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        except FileExistsError as error:
            raise WrappingKeyError(f"There is a file at {path} already; a key is never overwritten.") from error
        with os.fdopen(descriptor, "wb") as file:
            file.write(key)
            file.flush()
            os.fsync(file.fileno())
        # The name in the directory must survive a power cut too: without the key every value is lost.
        directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
        return cls(key)

    @classmethod
    def open(cls, path: Path) -> Self:
        """Return the provider of the key in the file.

        Raises:
            WrappingKeyError: there is no such file, it is not the current user's own, others may read or
                write it, or it holds no key.
        """
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError as error:
            raise WrappingKeyError(f"The key file {path} can't be opened: {error.strerror}.") from error
        try:
            # Of the open file, not of the path: what was checked is what is read.
            _require_private(path, os.fstat(descriptor))
            return cls(os.read(descriptor, KEY_LENGTH + 1))
        finally:
            os.close(descriptor)

    async def wrap(self, secret: bytes, context: Mapping[str, str]) -> bytes:
        """Return the secret, wrapped and bound to the context."""
        nonce = os.urandom(12)
        header = self._id + nonce
        return header + self._cipher.encrypt(nonce, secret, _associated(header, context))

    async def unwrap(self, wrapped: bytes, context: Mapping[str, str]) -> bytes:
        """Return the secret. Raises as `KeyProvider.unwrap` says."""
        header = wrapped[:_HEADER]
        if header[:_ID] != self._id:
            raise WrappingKeyError("A data key was wrapped with another key-encryption key than the file's.")
        try:
            return self._cipher.decrypt(header[_ID:], wrapped[_HEADER:], _associated(header, context))
        except (InvalidTag, ValueError) as error:
            raise TamperedError("A wrapped data key does not open for its owner.") from error

    def __repr__(self) -> str:
        return "<key-encryption key of a file>"

    def __reduce__(self) -> str | tuple[object, ...]:
        raise TypeError("A key-encryption key is never copied nor written out.")


def _require_private(path: Path, found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise WrappingKeyError(f"The key file {path} is no regular file.")
    if found.st_uid != os.geteuid():
        raise WrappingKeyError(f"The key file {path} belongs to another user than the one who runs the service.")
    if found.st_mode & _OTHERS:
        mode = stat.S_IMODE(found.st_mode)
        raise WrappingKeyError(f"The key file {path} is open to others: its mode is {mode:04o}, expected 0600.")


def _associated(header: bytes, context: Mapping[str, str]) -> bytes:
    parts = [header]
    for name in sorted(context):
        parts += [name.encode(), context[name].encode()]
    return b"".join(len(part).to_bytes(2, "big") + part for part in parts)
