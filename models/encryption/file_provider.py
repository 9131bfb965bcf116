"""Key-encryption keys in a file, for the embedded default.

The file holds keys of 32 random bytes, one after the other and the newest in front, and nothing else. It belongs to
the user that runs the service, who alone may read it. Anything laxer is refused: a key that others can read guards
nothing. Wrapping is AES-256-GCM-SIV (RFC 8452):

    0        format, 0x01
    1..8     id of the key-encryption key: the first 8 bytes of HMAC-SHA256(key, "fieldward key-encryption key id")
    9..20    nonce, random
    21..     ciphertext and tag

Associated data, each part after its length in two bytes: bytes 0..20, then the context's names and values,
sorted.

Processes that share the file need not be told of a new key: the file is looked at again whenever something is wrapped,
and when something was wrapped by a key that is not known yet.
"""

import fcntl
import hmac
import os
import stat
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCMSIV

from models.encryption.provider import Wrapped, WrappingKeyError
from models.errors import TamperedError

KEY_LENGTH: Final = 32
BEGINNING: Final = 9
"""Bytes at the beginning of what was wrapped, which say by which key."""
MOST_KEYS: Final = 64
"""Keys that a file may hold. Those that wrap nothing any more are taken out long before."""

_FORMAT: Final = b"\x01"
_HEADER: Final = 21
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO


class FileKeyProvider:
    """Wraps with the newest key of a file. Make one with `create` or `open`."""

    name = "file"

    __slots__ = ("_ciphers", "_newest", "_path")

    def __init__(self, keys: bytes, path: Path | None = None) -> None:
        self._path = path
        self._ciphers: Mapping[bytes, AESGCMSIV] = {}
        self._newest = b""
        self._take(keys)

    @classmethod
    def create(cls, path: Path) -> Self:
        """Make a new key in a new file that only the current user may read, and return its provider.

        Raises:
            WrappingKeyError: there is something at that path already. A key is never overwritten.
        """
        key = os.urandom(KEY_LENGTH)
        try:
            _write_new(path, key)
        except FileExistsError as error:
            raise WrappingKeyError(f"There is a file at {path} already; a key is never overwritten.") from error
        _sync_directory(path)
        return cls(key, path)

    @classmethod
    def open(cls, path: Path) -> Self:
        """Return the provider of the keys in the file.

        Raises:
            WrappingKeyError: there is no such file, it is not the current user's own, others may read or
                write it, or it holds no keys.
        """
        return cls(_read(path), path)

    async def wrap(self, secret: bytes, context: Mapping[str, str]) -> Wrapped:
        """Return the secret, wrapped by the newest key and bound to the context."""
        self._look_again()
        nonce = os.urandom(12)
        header = self._newest + nonce
        content = header + self._ciphers[self._newest].encrypt(nonce, secret, _associated(header, context))
        return Wrapped(content, _shown(self._newest))

    async def unwrap(self, wrapped: bytes, context: Mapping[str, str]) -> bytes:
        """Return the secret. Raises as `KeyProvider.unwrap` says."""
        header = wrapped[:_HEADER]
        key_id = header[:BEGINNING]
        if key_id not in self._ciphers:
            self._look_again()
        cipher = self._ciphers.get(key_id)
        if cipher is None:
            raise WrappingKeyError("A data key was wrapped with another key-encryption key than the file's.")
        try:
            return cipher.decrypt(header[BEGINNING:], wrapped[_HEADER:], _associated(header, context))
        except (InvalidTag, ValueError) as error:
            raise TamperedError("A wrapped data key does not open for its owner.") from error

    async def newest(self) -> str:
        """Return the name of the key that wraps from now on."""
        self._look_again()
        return _shown(self._newest)

    async def rotate(self) -> str:
        """Put a new key in front of the others, and return its name.

        The file is replaced as a whole, so that whoever reads it, or loses power, has the old one or the new one.
        """
        if self._path is None:
            raise WrappingKeyError("Keys that are in no file are not rotated.")
        with _alone(self._path):
            keys = _read(self._path)
            if len(keys) >= MOST_KEYS * KEY_LENGTH:
                raise WrappingKeyError(
                    f"The key file {self._path} holds {MOST_KEYS} keys; take those out that are unused."
                )
            self._replace(os.urandom(KEY_LENGTH) + keys)
        return _shown(self._newest)

    async def drop(self, beginnings: Collection[bytes]) -> list[str]:
        """Take the keys out of the file that are not the newest and have wrapped nothing that there is.

        beginnings: the first `BEGINNING` bytes of everything that this provider has wrapped. Returns the keys' names.
        """
        if self._path is None:
            return []
        with _alone(self._path):
            keys = _parted(_read(self._path))
            kept = [key for place, key in enumerate(keys) if place == 0 or _id_of(key) in beginnings]
            dropped = [_shown(_id_of(key)) for key in keys if key not in kept]
            if dropped:
                made = self._path.stat()
                self._replace(b"".join(kept))
                # The newest key is as old as before.
                os.utime(self._path, ns=(made.st_atime_ns, made.st_mtime_ns))
        return dropped

    @property
    def age_days(self) -> float:
        """How old the newest key is: since when the file is as it is."""
        return 0.0 if self._path is None else (time.time() - self._path.stat().st_mtime) / 86_400

    def require_some(self, beginnings: Collection[bytes]) -> None:
        """Raise `WrappingKeyError` where something was wrapped and none of it by a key of the file.

        beginnings: the first `BEGINNING` bytes of everything that this provider has wrapped.
        """
        if beginnings and not any(one in self._ciphers for one in beginnings):
            raise WrappingKeyError(
                f"The key file {self._path} holds none of the key-encryption keys that wrap the data keys:"
                " put back the file that belongs to this keystore. Nothing was changed."
            )

    def __repr__(self) -> str:
        return "<key-encryption keys of a file>"

    def __reduce__(self) -> str | tuple[object, ...]:
        raise TypeError("A key-encryption key is never copied nor written out.")

    def _look_again(self) -> None:
        if self._path is not None:
            self._take(_read(self._path))

    def _take(self, keys: bytes) -> None:
        parted = _parted(keys)
        self._ciphers = {_id_of(key): AESGCMSIV(key) for key in parted}
        self._newest = _id_of(parted[0])

    def _replace(self, keys: bytes) -> None:
        assert self._path is not None
        made = self._path.with_name(f"{self._path.name}.new")
        made.unlink(missing_ok=True)
        _write_new(made, keys)
        made.rename(self._path)
        _sync_directory(self._path)
        self._take(keys)


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Keep other processes from changing the file meanwhile: a key that one of them put there would be lost.

    The directory is locked, since the file is replaced as a whole.
    """
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(directory, fcntl.LOCK_EX)
        yield
    finally:
        os.close(directory)


def _read(path: Path) -> bytes:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise WrappingKeyError(f"The key file {path} can't be opened: {error.strerror}.") from error
    try:
        # Of the open file, not of the path: what was checked is what is read.
        _require_private(path, os.fstat(descriptor))
        return os.read(descriptor, MOST_KEYS * KEY_LENGTH + 1)
    finally:
        os.close(descriptor)


def _write_new(path: Path, keys: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(keys)
        file.flush()
        os.fsync(file.fileno())


def _sync_directory(path: Path) -> None:
    # The name in the directory must survive a power cut too: without the key every value is lost.
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _parted(keys: bytes) -> list[bytes]:
    if not keys or len(keys) % KEY_LENGTH or len(keys) > MOST_KEYS * KEY_LENGTH:
        raise WrappingKeyError(
            f"Expected key-encryption keys of {KEY_LENGTH} bytes each, at most {MOST_KEYS}; got {len(keys)} bytes."
        )
    return [keys[start : start + KEY_LENGTH] for start in range(0, len(keys), KEY_LENGTH)]


def _id_of(key: bytes) -> bytes:
    return _FORMAT + hmac.digest(key, b"fieldward key-encryption key id", "sha256")[: BEGINNING - 1]


def _shown(key_id: bytes) -> str:
    return key_id[1:].hex()


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
