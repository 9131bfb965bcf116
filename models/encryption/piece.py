"""Pieces of files: bytes in, bytes out, and back. Pure: no I/O, no clock.

A file has a key for itself, which is destroyed with it. A piece opens only as the piece of that file at that place, and
only if it is the last one where it was sealed as the last: a file that was cut off, or whose pieces changed places,
does not open to its end.

A stored piece is, byte by byte: 0x01; the id of the data key (16); a random nonce (12); ciphertext; the tag (16), by
AES-256-GCM-SIV under the subkey "file piece". Associated data: the first 17 bytes; organization id; file id; position
(4, big-endian); 0x01 where it is the last, else 0x00.
"""

import os
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from cryptography.exceptions import InvalidTag

from models.encryption.envelope import DataKey
from models.errors import TamperedError

PIECE_SIZE: Final = 1024 * 1024
"""Bytes of a file in each piece but the last."""

_FORMAT: Final = b"\x01"
_INFO: Final = b"file piece"
_NONCE: Final = 12
_HEAD: Final = 17
_TAG: Final = 16


@dataclass(frozen=True, slots=True)
class PiecePlace:
    """Where a piece belongs: in which file of which organization, as which piece, and whether as its last."""

    organization_id: UUID
    file_id: UUID
    position: int
    is_last: bool

    def associated(self, head: bytes) -> bytes:
        """Return what the piece is bound to."""
        end = b"\x01" if self.is_last else b"\x00"
        return head + self.organization_id.bytes + self.file_id.bytes + self.position.to_bytes(4, "big") + end


def seal_piece(key: DataKey, place: PiecePlace, content: bytes) -> bytes:
    """Return the bytes sealed for their place. Raises `SealedError` where the key was wiped."""
    cipher = key.cipher_for(_INFO)
    head, nonce = _FORMAT + key.id.bytes, os.urandom(_NONCE)
    key.seals += 1
    return head + nonce + cipher.encrypt(nonce, content, place.associated(head))


def open_piece(key: DataKey, place: PiecePlace, sealed: bytes) -> bytes:
    """Return the bytes that were sealed for the place under the key.

    Raises:
        SealedError: the key was wiped.
        TamperedError: they were not: another place, another key, or other bytes.
    """
    head, nonce = sealed[:_HEAD], sealed[_HEAD : _HEAD + _NONCE]
    if len(sealed) < _HEAD + _NONCE + _TAG or head != _FORMAT + key.id.bytes:
        raise TamperedError("A piece of a file is none of the key's.")
    try:
        return key.cipher_for(_INFO).decrypt(nonce, sealed[_HEAD + _NONCE :], place.associated(head))
    except InvalidTag as error:
        raise TamperedError("A piece of a file does not open in its place.") from error
