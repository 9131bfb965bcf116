"""The stored format, read and written from `docs/format.md` alone: nothing of the service is imported here.

It is what somebody who has the page and another language would write, and what the service is held to.
"""

import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, AESGCMSIV
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

ALGORITHMS: Final[dict[int, tuple[type[AESGCM] | type[AESGCMSIV], bytes]]] = {
    1: (AESGCMSIV, b"envelope AES_256_GCM_SIV"),
    2: (AESGCM, b"envelope AES_256_GCM"),
}


class DoesNotOpenError(Exception):
    """The bytes are no value of that key in that place."""


@dataclass(frozen=True)
class Key:
    """A data key, with its secret."""

    id: UUID
    owner_kind: str
    owner_id: UUID
    purpose: str
    secret: bytes
    within: UUID | None = None

    def derive(self, info: bytes, length: int = 32) -> bytes:
        """Return a subkey."""
        return HKDF(SHA256(), length, salt=self.id.bytes, info=info).derive(self.secret)


@dataclass(frozen=True)
class Place:
    """The cell that a value is in."""

    organization_id: UUID
    table: str
    column: str
    row_id: UUID


def parts(*contents: bytes) -> bytes:
    """Return the parts, each after its length."""
    return b"".join(len(content).to_bytes(2, "big") + content for content in contents)


def commitment_of(key: Key) -> bytes:
    """Return what a value says of its key."""
    return hmac.digest(key.derive(b"envelope commitment"), b"\x01" + key.id.bytes, "sha256")[:16]


def associated_of(key: Key, place: Place, header: bytes) -> bytes:
    """Return the associated data of a sealed value."""
    return parts(
        header,
        key.owner_kind.encode(),
        key.owner_id.bytes,
        place.table.encode(),
        place.column.encode(),
        place.organization_id.bytes,
        place.row_id.bytes,
    )


def content_of(text: str, *, pad: bool) -> bytes:
    """Return the plain content of a text."""
    if not pad:
        return b"\x00" + text.encode()
    content = b"\x01" + text.encode() + b"\x80"
    return content + bytes(-len(content) % 32)


def write(key: Key, place: Place, text: str, *, nonce: bytes, algorithm: int = 1, pad: bool = False) -> bytes:
    """Return a sealed value."""
    return write_content(key, place, content_of(text, pad=pad), nonce=nonce, algorithm=algorithm)


def write_content(key: Key, place: Place, content: bytes, *, nonce: bytes, algorithm: int = 1) -> bytes:
    """Return a sealed value whose content is laid out already, well or not."""
    cipher, info = ALGORITHMS[algorithm]
    header = bytes([1, algorithm]) + key.id.bytes + commitment_of(key) + nonce
    return header + cipher(key.derive(info)).encrypt(nonce, content, associated_of(key, place, header))


def read(keys: Mapping[UUID, Key], place: Place, value: bytes) -> str:
    """Return the text of a sealed value. Raises `DoesNotOpenError`."""
    if len(value) < 63 or value[0] != 1 or value[1] not in ALGORITHMS:
        raise DoesNotOpenError("header")
    key = keys.get(UUID(bytes=value[2:18]))
    if key is None:
        raise DoesNotOpenError("key")
    if not hmac.compare_digest(value[18:34], commitment_of(key)):
        raise DoesNotOpenError("commitment")
    cipher, info = ALGORITHMS[value[1]]
    try:
        content = cipher(key.derive(info)).decrypt(value[34:46], value[46:], associated_of(key, place, value[:46]))
    except InvalidTag as error:
        raise DoesNotOpenError("tag") from error
    try:
        return _text_of(content).decode("utf-8")
    except UnicodeDecodeError as error:
        raise DoesNotOpenError("content") from error


def _text_of(content: bytes) -> bytes:
    if content[0] == 0:
        return content[1:]
    if content[0] == 1 and len(content) % 32 == 0:
        marked = content.rstrip(b"\x00")
        if marked[1:].endswith(b"\x80") and len(content) - len(marked) < 32:
            return marked[1:-1]
    raise DoesNotOpenError("content")


def blind_index_info(place: Place) -> bytes:
    """Return what the subkey of a column's blind index is derived for."""
    return parts(b"blind index", place.organization_id.bytes, place.table.encode(), place.column.encode())


def blind_index(key: Key, place: Place, normalized: str) -> bytes:
    """Return the blind index of a text in its normal form."""
    return hmac.digest(key.derive(blind_index_info(place)), normalized.encode(), "sha256")[:16]


def subkey(key: Key, purpose: str) -> bytes:
    """Return the key for another purpose."""
    return key.derive(parts(b"purpose", purpose.encode()))


def context_of(key: Key) -> dict[str, str]:
    """Return what a wrapped data key is bound to."""
    context = {
        "owner_kind": key.owner_kind,
        "owner_id": str(key.owner_id),
        "key_id": str(key.id),
        "purpose": key.purpose,
    }
    return context if key.within is None else {**context, "within": str(key.within)}


def wrapping_id(wrapping_key: bytes) -> bytes:
    """Return the id of a key-encryption key."""
    return hmac.digest(wrapping_key, b"fieldward key-encryption key id", "sha256")[:8]


def wrapping_associated(header: bytes, context: Mapping[str, str]) -> bytes:
    """Return the associated data of a wrapped key."""
    told: list[bytes] = []
    for name in sorted(context):
        told += [name.encode(), context[name].encode()]
    return parts(header, *told)


def wrap(wrapping_key: bytes, key: Key, *, nonce: bytes) -> bytes:
    """Return the data key's secret, wrapped."""
    header = b"\x01" + wrapping_id(wrapping_key) + nonce
    return header + AESGCMSIV(wrapping_key).encrypt(nonce, key.secret, wrapping_associated(header, context_of(key)))


def unwrap(wrapping_key: bytes, context: Mapping[str, str], wrapped: bytes) -> bytes:
    """Return the secret. Raises `DoesNotOpenError`."""
    if len(wrapped) != 69 or wrapped[:9] != b"\x01" + wrapping_id(wrapping_key):
        raise DoesNotOpenError("header")
    try:
        return AESGCMSIV(wrapping_key).decrypt(wrapped[9:21], wrapped[21:], wrapping_associated(wrapped[:21], context))
    except InvalidTag as error:
        raise DoesNotOpenError("tag") from error


def place_of(given: Mapping[str, Any]) -> Place:
    """Return the place as the vectors write it."""
    return Place(UUID(given["organization_id"]), given["table"], given["column"], UUID(given["row_id"]))


def key_of(given: Mapping[str, Any]) -> Key:
    """Return the data key as the vectors write it."""
    within = given["within"]
    return Key(
        id=UUID(given["id"]),
        owner_kind=given["owner_kind"],
        owner_id=UUID(given["owner_id"]),
        purpose=given["purpose"],
        secret=bytes.fromhex(given["secret"]),
        within=None if within is None else UUID(within),
    )
