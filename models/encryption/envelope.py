"""Encrypted values: text in, bytes out, and back. Pure: no I/O, no clock.

Promises that whoever holds only the database reads nothing, and that a value opens only in the very cell it
was sealed for, under the very key. It never returns text that was not authenticated.

A stored value is, byte by byte:

    0        format, 0x01
    1        algorithm: 0x01 AES-256-GCM-SIV (RFC 8452), 0x02 AES-256-GCM (NIST SP 800-38D)
    2..17    id of the data key
    18..33   commitment: the first 16 bytes of HMAC-SHA256(commitment subkey, bytes 0 and 2..17)
    34..45   nonce, random
    46..     ciphertext, as long as the plain content
    last 16  authentication tag

The plain content is a byte that says how it is laid out, then the text in UTF-8: 0x00, the text; 0x01, the
text, then 0x80 and as many zeros as make the content a multiple of 32 bytes (ISO/IEC 7816-4), which hides the
length of names. `docs/format.md` says all of it for other languages.

Associated data, each part after its length in two bytes (big-endian): bytes 0..45; the kind of the key's
owner; its id; table; column; organization id; row id. Neither mode commits to its key by itself, so that a
crafted value could open under two keys; the commitment in the header closes that. Subkeys come from the
secret by HKDF-SHA256 (RFC 5869) with the key's id as salt, one per algorithm and one for the commitment.

Where something is raised here, no variable of a function of this module holds plain text or a secret any more, nor
does the error: there are tools that report both. What a caller passed is still the caller's.
"""

import hmac
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from functools import lru_cache
from typing import Final
from uuid import UUID

from cryptography.exceptions import InvalidTag, UnsupportedAlgorithm
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, AESGCMSIV
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from models.errors import SealedError, TamperedError

FORMAT: Final = 1
SECRET_LENGTH: Final = 32
PADDED_TO: Final = 32

MOST_SEALS: Final = 2**32
"""How often one key may seal with random 96-bit nonces: NIST SP 800-38D, 8.3, so that two equal nonces are less likely
than 2^-32. GCM-SIV would bear more (RFC 8452, 9)."""

SEALS_BEFORE_ROTATION: Final = 2**30
"""How often a key seals before the schedule replaces it: long before the bound, since counts of processes that crash
may be lost."""

_PREFIX: Final = 34
_HEADER: Final = 46
_TAG: Final = 16
_PLAIN, _PADDED = b"\x00", b"\x01"

Cipher = AESGCM | AESGCMSIV


class Algorithm(IntEnum):
    """How a value is sealed. AES-256-GCM is for those bound to FIPS, which does not know GCM-SIV."""

    AES_256_GCM_SIV = 1
    AES_256_GCM = 2


class OwnerKind(StrEnum):
    """Whose a data key is.

    SUBJECT is somebody whom an organization's data name and who need be no user of ours, such as a collector, or who
    was invited by an address. EXPORT is an export: what was asked for, and its file, have keys for themselves. IMPORT
    is a file that waits to be imported, ERASURE what is said in a request for one.
    """

    SYSTEM = "SYSTEM"
    ORGANIZATION = "ORGANIZATION"
    PERSON = "PERSON"
    SUBJECT = "SUBJECT"
    EXPORT = "EXPORT"
    IMPORT = "IMPORT"
    ERASURE = "ERASURE"


class KeyPurpose(StrEnum):
    """What a data key is for.

    VALUES seals what rows hold. INDEX makes what must stay as it is while values get new keys: blind indexes,
    pseudonyms, cursors, digests. ATTRIBUTION seals who vouched for a row, for as long as the row is kept. SIGNING
    signs access tokens, and is the installation's (`models/encryption/signing.py`). CONTENT seals a file, piece by
    piece (`models/encryption/piece.py`), and is never replaced: it is destroyed with the file.
    """

    VALUES = "VALUES"
    INDEX = "INDEX"
    ATTRIBUTION = "ATTRIBUTION"
    SIGNING = "SIGNING"
    CONTENT = "CONTENT"


@dataclass(frozen=True, slots=True)
class KeyOwner:
    """Whose a data key is, and what for. The system's id is the nil UUID.

    within: the organization that a subject is known in, or a file is of; None for other kinds.
    """

    kind: OwnerKind
    id: UUID
    purpose: KeyPurpose = KeyPurpose.VALUES
    within: UUID | None = None


@dataclass(frozen=True, slots=True)
class Cell:
    """Where a value lives. Rows of no tenant have the nil UUID as organization."""

    organization_id: UUID
    table: str
    column: str
    row_id: UUID


class DataKey:
    """A data key, unwrapped, with its ciphers ready.

    `secret` is 32 random bytes. `algorithm` is the one it seals with; it opens both. `seals` is how often the key has
    sealed, as far as this process knows: what the keystore had counted when the key was loaded, and its own since.
    """

    __slots__ = ("_binding", "_openers", "_others", "_prefix", "_sealer", "_secret", "id", "owner", "seals")

    def __init__(
        self,
        key_id: UUID,
        owner: KeyOwner,
        secret: bytes,
        *,
        algorithm: Algorithm = Algorithm.AES_256_GCM_SIV,
        seals: int = 0,
    ) -> None:
        self.id = key_id
        self.owner = owner
        self.seals = seals
        self._secret = bytearray(secret)
        del secret
        if len(self._secret) != SECRET_LENGTH:
            raise ValueError(f"Expected a secret of {SECRET_LENGTH} bytes, got {len(self._secret)}.")
        self._binding = _part(owner.kind.encode()) + _part(owner.id.bytes)
        commitment = hmac.digest(self.derive(b"envelope commitment"), bytes([FORMAT]) + key_id.bytes, "sha256")[:16]
        self._others: dict[bytes, AESGCMSIV] = {}
        self._openers: Mapping[bytes, Cipher] = {}
        for candidate in Algorithm:
            prefix = bytes([FORMAT, candidate]) + key_id.bytes + commitment
            cipher = self._cipher(candidate, required=candidate is algorithm)
            if cipher is not None:
                self._openers = {**self._openers, prefix: cipher}
            if candidate is algorithm:
                self._prefix, self._sealer = prefix, cipher

    def derive(self, info: bytes, length: int = 32) -> bytes:
        """Return `length` bytes derived from the secret (HKDF-SHA256), one value for each `info`.

        Raises:
            SealedError: the key has been wiped.
        """
        if not self._secret:
            raise SealedError(f"The data key {self.id} has been wiped from memory.")
        return HKDF(SHA256(), length, salt=self.id.bytes, info=info).derive(self._secret)

    def cipher_for(self, info: bytes) -> AESGCMSIV:
        """Return the cipher under the key that is derived for `info`, made once.

        Raises:
            SealedError: the key has been wiped.
        """
        cipher = self._others.get(info)
        if cipher is None:
            cipher = self._others[info] = AESGCMSIV(self.derive(info))
        return cipher

    def has_secret_of(self, other: "DataKey") -> bool:
        """Return whether the two have one secret, in constant time."""
        return hmac.compare_digest(self._secret, other._secret)

    def wipe(self) -> None:
        """Overwrite the secret and drop the ciphers; afterwards nothing opens.

        What the interpreter and the cipher objects have copied is freed, not overwritten: Python gives no
            hold on it.
        """
        for position in range(len(self._secret)):
            self._secret[position] = 0
        self._secret.clear()
        self._openers = {}
        self._others = {}
        self._sealer = None

    def __repr__(self) -> str:
        return f"<data key {self.id} of {self.owner.kind}>"

    def __reduce__(self) -> str | tuple[object, ...]:
        raise TypeError("A data key is never copied nor written out.")

    def _cipher(self, algorithm: Algorithm, *, required: bool) -> Cipher | None:
        make = AESGCM if algorithm is Algorithm.AES_256_GCM else AESGCMSIV
        try:
            return make(self.derive(b"envelope " + algorithm.name.encode()))
        except UnsupportedAlgorithm:
            # A FIPS build has no GCM-SIV. Values sealed with it don't open there; the rest works.
            if required:
                raise
            return None


def seal(key: DataKey, cell: Cell, text: str, *, pad: bool = False) -> bytes:
    """Return the text sealed for the cell, under a fresh nonce.

    pad: hide the length of short values, up to the next 32 bytes.

    Raises:
        SealedError: the key has been wiped, or has sealed as often as it may.
        UnicodeEncodeError: the text has lone surrogates.
    """
    cipher = key._sealer
    if cipher is None or key.seals >= MOST_SEALS:
        del text
        raise SealedError(f"The data key {key.id} is wiped or used up and seals nothing.")
    content, at = b"", 0
    try:
        content = _padded(text.encode()) if pad else _PLAIN + text.encode()
    except UnicodeEncodeError as error:
        at, text = error.start, ""  # The error holds all of the text.
    if not content:
        raise UnicodeEncodeError("utf-8", "", at, at + 1, "surrogates not allowed")
    key.seals += 1
    nonce = os.urandom(12)
    header = key._prefix + nonce
    return header + cipher.encrypt(nonce, content, _associated(key, cell, header))


class Opener:
    """Opens values of one column, organization and key: what is the same for all of them is worked out once.

    To be used at once, and not kept: the key may be wiped meanwhile, and then nothing opens.
    """

    __slots__ = ("_key", "_middle", "_place")

    def __init__(self, key: DataKey, organization_id: UUID, table: str, column: str) -> None:
        self._key = key
        self._place = (table, column)
        self._middle = _middle(key, organization_id, table, column)

    def open(self, blob: bytes, row_id: UUID) -> str:
        """Return the text that was sealed for the column's cell in that row. Raises as `open_sealed` does."""
        cipher = self._key._openers.get(blob[:_PREFIX])
        if cipher is None:
            if not self._key._openers:
                raise SealedError(f"The data key {self._key.id} has been wiped from memory.")
            raise TamperedError(f"A value of {'.'.join(self._place)} is not of the data key {self._key.id}.")
        associated = _HEADER_LENGTH + blob[:_HEADER] + self._middle + row_id.bytes
        try:
            return _text_of(cipher.decrypt(blob[_PREFIX:_HEADER], blob[_HEADER:], associated))
        except InvalidTag as error:
            raise TamperedError(f"A value of {'.'.join(self._place)} does not open in its place.") from error
        except ValueError:
            # The library's word for a nonce or ciphertext too short to be one, and Python's for what is no UTF-8: that
            # one holds what was opened, and is gone before another is raised.
            pass
        raise TamperedError(f"A value of {'.'.join(self._place)} does not open in its place.")

    def open_alike(
        self,
        sample: bytes,
        blobs: Sequence[bytes | None],
        row_ids: Sequence[UUID],
        places: Iterator[int],
        texts: list[str | None],
    ) -> int | None:
        """Open the values at the next places into `texts`, as far as they begin like a sample that opened.

        A value begins with its key, its algorithm and the commitment. None of it is secret, whoever can read the
        value reads it as it is, so that comparing it takes as long as it may.

        Answers the place of the first value that begins otherwise or does not open, for `open` to say which; None at
        the end. Where there is no value there is no text.
        """
        prefix = sample[:_PREFIX]
        decrypt = self._key._openers[prefix].decrypt
        head, middle, plain = _HEADER_LENGTH + prefix, self._middle, _PLAIN
        for place in places:
            blob = blobs[place]
            if blob is None:
                continue
            if blob[:_PREFIX] != prefix:
                return place
            nonce = blob[_PREFIX:_HEADER]
            try:
                content = decrypt(nonce, blob[_HEADER:], head + nonce + middle + row_ids[place].bytes)
                texts[place] = content[1:].decode() if content[:1] == plain else _text_of(content)
            except (InvalidTag, ValueError, TamperedError):
                return place
        return None


def open_sealed(key: DataKey, cell: Cell, blob: bytes) -> str:
    """Return the text that was sealed for the cell under the key.

    Raises:
        SealedError: the key has been wiped.
        TamperedError: it was not: another cell, another key, or other bytes.
    """
    return Opener(key, cell.organization_id, cell.table, cell.column).open(blob, cell.row_id)


def key_id_of(blob: bytes) -> UUID:
    """Return the id of the data key that the value names.

    Raises:
        TamperedError: these bytes are no sealed value of a known format.
    """
    return UUID(bytes=key_bytes_of(blob))


def key_bytes_of(blob: bytes) -> bytes:
    """Return the same as `key_id_of`, as 16 bytes: making a UUID costs as much as half an opening."""
    if len(blob) < _HEADER + 1 + _TAG or blob[0] != FORMAT:
        raise TamperedError("These bytes are no sealed value of a known format.")
    return blob[2:18]


def _associated(key: DataKey, cell: Cell, header: bytes) -> bytes:
    middle = _middle(key, cell.organization_id, cell.table, cell.column)
    return _HEADER_LENGTH + header + middle + cell.row_id.bytes


def _middle(key: DataKey, organization_id: UUID, table: str, column: str) -> bytes:
    """Return the part of the associated data that values of one key, organization and column have in common."""
    return key._binding + _place(table, column) + organization_id.bytes + _UUID_LENGTH


def _part(content: bytes) -> bytes:
    return len(content).to_bytes(2, "big") + content


_HEADER_LENGTH: Final = _HEADER.to_bytes(2, "big")
_UUID_LENGTH: Final = (16).to_bytes(2, "big")


@lru_cache(maxsize=4096)
def _place(table: str, column: str) -> bytes:
    """Return the table and the column as parts, and the length of the organization's id that follows."""
    return _part(table.encode()) + _part(column.encode()) + _UUID_LENGTH


def _padded(text: bytes) -> bytes:
    length = len(text) + 2
    return _PADDED + text + b"\x80" + bytes(-length % PADDED_TO)


def _text_of(content: bytes) -> str:
    layout = content[:1]
    if layout == _PLAIN:
        return content[1:].decode()
    if layout == _PADDED and len(content) % PADDED_TO == 0:
        marked = content[1:].rstrip(b"\x00")
        if marked.endswith(b"\x80") and len(content) - len(marked) <= PADDED_TO:
            return marked[:-1].decode()
        del marked
    del content
    raise TamperedError("A value opened to a layout that is not known.")
