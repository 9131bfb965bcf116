"""An export's file in the database: written piece by piece by the process that has claimed it, read by any."""

from dataclasses import dataclass
from hashlib import sha256
from typing import Final
from uuid import UUID

import asyncpg

from models.base import new_id
from models.encryption.envelope import DataKey
from models.encryption.keyring import active_keyring
from models.encryption.owner import export_owner
from models.encryption.piece import PIECE_SIZE, PiecePlace, open_piece, seal_piece
from models.errors import TamperedError
from models.transaction import Tenant, raw_write_transaction

PIECES_AT_ONCE: Final = 4
"""Pieces that are written in one transaction."""
LEASE_S: Final = 120.0
"""Seconds after which an export that did not move is begun anew by another process."""

# A status that somebody changed meanwhile, or another process that took over, leaves no row: then nothing is written.
_MOVE: Final = """
    update data_export_progress p
       set claimed_until = clock_timestamp() + make_interval(secs => $4), moved_at = clock_timestamp(),
           rows_total = $5, rows_done = $6, bytes_done = $7
     where p.organization_id = $1 and p.id = $2 and p.claimed_by = $3
       and exists (select from data_export e
                    where e.organization_id = p.organization_id and e.id = p.id and e.status = 'PENDING')
    returning p.id
"""
_WRITE: Final = """
    insert into data_export_piece (id, organization_id, created_at, export_id, position, start, size, content)
    values ($1, $2, clock_timestamp(), $3, $4, $5, $6, $7)
"""
_READ: Final = """
    select position, start, size, content from data_export_piece
    where organization_id = $1 and export_id = $2 and position = $3
"""


class LostClaimError(Exception):
    """The export is no longer this process's to make: it was cancelled, or another process took it over."""


@dataclass(frozen=True, slots=True)
class Claim:
    """An export that this process makes."""

    organization_id: UUID
    export_id: UUID
    claimed_by: UUID


class FileWriting:
    """Takes the bytes of a file in their order, and writes them down sealed. Memory holds some pieces at the most."""

    def __init__(self, claim: Claim) -> None:
        self.size = 0
        self._claim = claim
        self._digest = sha256()
        self._waiting = bytearray()
        self._written = 0
        self._position = 0
        self._key_id: UUID | None = None

    @property
    def sha256(self) -> str:
        """The SHA-256 of all bytes so far, in hexadecimal."""
        return self._digest.hexdigest()

    def add(self, content: bytes) -> None:
        """Take the next bytes."""
        self._digest.update(content)
        self._waiting += content
        self.size += len(content)

    @property
    def is_due(self) -> bool:
        """Whether there is enough to write down."""
        return len(self._waiting) > PIECES_AT_ONCE * PIECE_SIZE

    async def write(self, *, rows_total: int | None, rows_done: int, is_last: bool = False) -> None:
        """Write down what is there, but for the end of a file that goes on; and how far the export is.

        Raises:
            LostClaimError: the export is no longer this process's.
            UnavailableError: the database, the keystore or the key provider is away.
        """
        claim = self._claim
        async with raw_write_transaction(Tenant(organization_id=claim.organization_id)) as connection:
            moved = await connection.fetchval(
                _MOVE,
                claim.organization_id,
                claim.export_id,
                claim.claimed_by,
                LEASE_S,
                rows_total,
                rows_done,
                self.size,
            )
            if moved is None:
                raise LostClaimError
            if len(self._waiting) > PIECE_SIZE or is_last:
                await self._write(connection, await self._key(), is_last=is_last)

    async def _write(self, connection: asyncpg.Connection, key: DataKey, *, is_last: bool) -> None:
        while len(self._waiting) > PIECE_SIZE or is_last:
            content = bytes(self._waiting[:PIECE_SIZE])
            ends = is_last and len(content) == len(self._waiting)
            claim = self._claim
            place = PiecePlace(claim.organization_id, claim.export_id, self._position, ends)
            await connection.execute(
                _WRITE,
                new_id(),
                claim.organization_id,
                claim.export_id,
                self._position,
                self._written,
                len(content),
                seal_piece(key, place, content),
            )
            del self._waiting[: len(content)]
            self._written += len(content)
            self._position += 1
            if ends:
                return

    async def _key(self) -> DataKey:
        keyring = active_keyring()
        owner = export_owner(self._claim.organization_id, self._claim.export_id)
        if self._key_id is None:
            await keyring.load([owner])
            self._key_id = keyring.current(owner).id
        # One key for all of the file: once it is destroyed, no other is made in its place.
        await keyring.load_ids([self._key_id])
        return keyring.get(self._key_id)


async def read_piece(
    connection: asyncpg.Connection, organization_id: UUID, export_id: UUID, position: int, *, size: int
) -> tuple[int, bytes] | None:
    """Return where a piece begins, and its bytes; None where there is no such piece.

    size: of the whole file.

    Raises:
        TamperedError: it does not open in its place.
        SealedError: its key was destroyed.
        UnavailableError: the keystore or the key provider is away.
    """
    row = await connection.fetchrow(_READ, organization_id, export_id, position)
    if row is None:
        return None
    sealed: bytes = row["content"]
    if len(sealed) < 17:
        raise TamperedError("A piece of a file is none.")
    key_id = UUID(bytes=sealed[1:17])
    await active_keyring().load_ids([key_id])
    ends = row["start"] + row["size"] == size
    place = PiecePlace(organization_id, export_id, position, ends)
    return row["start"], open_piece(active_keyring().get(key_id), place, sealed)
