"""Equality search over encrypted values: a keyed fingerprint stored beside the ciphertext.

HMAC-SHA256 under a subkey of its own per purpose, organization, table and column, cut to 16 bytes. Two equal
values of one column of one organization have the same index, and that is all it tells; without the key nobody
can try values against it, and indexes of other columns or tenants have nothing in common with it. What is equal must
be equal byte by byte, so values are normalized first, as their column declares.
"""

import hmac
import unicodedata
from collections.abc import Iterable
from typing import Final
from uuid import UUID

from cryptography.hazmat.primitives.ciphers.aead import AESGCMSIV

from models.encryption.envelope import DataKey
from models.errors import SealedError

LENGTH: Final = 16


def blind_index(key: DataKey, *, table: str, column: str, organization_id: UUID, text: str) -> bytes:
    """Return the 16 bytes by which a value of the column is found.

    key: the key of the organization, or the installation's for what belongs to no tenant (nil UUID).

    Raises:
        SealedError: the key has been wiped.
    """
    try:
        return blind_indexes(key, table=table, column=column, organization_id=organization_id, texts=(text,))[0]
    except SealedError:
        del text  # A tool that reports errors would report it.
        raise


def blind_indexes(key: DataKey, *, table: str, column: str, organization_id: UUID, texts: Iterable[str]) -> list[bytes]:
    """Return what `blind_index` returns of each text, deriving the column's key once."""
    try:
        subkey = key.derive(_info(b"blind index", organization_id.bytes, table.encode(), column.encode()))
    except SealedError:
        del texts
        raise
    return [hmac.digest(subkey, text.encode(), "sha256")[:LENGTH] for text in texts]


def subkey(key: DataKey, purpose: str, length: int = 32) -> bytes:
    """Return a key of `length` bytes for another purpose, such as telling requests apart.

    Different purposes have keys that tell nothing of each other, nor of those of values and blind indexes.

    Raises:
        SealedError: the key has been wiped.
    """
    return key.derive(_info(b"purpose", purpose.encode()), length)


def cipher_for(key: DataKey, purpose: str) -> AESGCMSIV:
    """Return a cipher for another purpose, such as sealing cursors.

    It is the cipher under `subkey` of that purpose.

    Raises:
        SealedError: the key has been wiped.
    """
    return key.cipher_for(_info(b"purpose", purpose.encode()))


def normalize_name(text: str) -> str:
    """Return a person's name as it is compared: NFKC, case-folded, without outer blanks, with single blanks inside."""
    return " ".join(_folded(text).split())


def normalize_code(text: str) -> str:
    """Return a code, such as a serial number, as it is compared: NFKC, case-folded, without any blanks."""
    # What stood after a blank can be a mark on the letter before it now.
    return unicodedata.normalize("NFKC", "".join(_folded(text).split()))


def normalize_email(text: str) -> str:
    """Return the address as it is compared: NFKC, without outer blanks, case-folded.

    Mail servers may tell cases apart (RFC 5321, 2.4), but nobody lets two people hold `a@x` and `A@x`.
    """
    return _folded(text).strip()


def _folded(text: str) -> str:
    # Folding can leave a text that is no longer in NFKC, so it is brought there again.
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())


def _info(*parts: bytes) -> bytes:
    return b"".join(len(part).to_bytes(2, "big") + part for part in parts)
