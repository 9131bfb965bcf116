"""The file of an import: taken in piece by piece, sealed, and read again from its beginning, never as a whole."""

import asyncio
import base64
import io
import zlib
from collections.abc import Callable
from typing import Final
from uuid import UUID

from auth.permission import Permission
from auth.policy import require
from auth.principal import Viewer
from auth.scope import project_scope
from models.base import new_id
from models.data_import import DataImport, ImportChunk, ImportStatus
from models.encryption.column import open_light
from models.encryption.envelope import Cell, key_id_of
from models.encryption.keyring import active_keyring
from models.encryption.owner import organization_owner
from models.errors import ConflictError
from models.inventory import entity_of
from models.reading import OneStatement
from models.transaction import Tenant, fetch, write_transaction
from models.writing import insert_rows
from resolvers.standing import standing_viewer

_LEVEL: Final = 1
"""How hard it is compressed: the least, which makes a fifth of a table already."""
_TABLE: Final = entity_of(ImportChunk).name
_RECEIVED: Final = (
    "select i.status, i.size, i.project_id, clock_timestamp() as now,"
    # The last piece by its index: however many there are, one is looked at.
    f" coalesce((select c.start + c.length from {_TABLE} c"
    " where c.organization_id = i.organization_id and c.import_id = i.id order by c.start desc limit 1), 0) as received"
    f' from "{entity_of(DataImport).name}" i where i.organization_id = $1 and i.id = $2'
)

_LOCK: Final = f'select 1 from "{entity_of(DataImport).name}" where organization_id = $1 and id = $2 for update'


class OffsetError(ConflictError):
    """Bytes were sent for another place than the one behind what is there. `received` is how many bytes are there."""

    def __init__(self, received: int) -> None:
        super().__init__(f"Expected the bytes from {received} on.")
        self.received = received


class StoppedError(Exception):
    """The reading of a file was called off."""


async def received_bytes(organization_id: UUID, import_id: UUID) -> int:
    """Return how many bytes of the file are there."""
    async with OneStatement(Tenant(organization_id=organization_id)) as connection:
        row = await connection.fetchrow(_RECEIVED, organization_id, import_id)
    return int(row["received"]) if row is not None else 0


async def add_piece(viewer: Viewer, import_id: UUID, *, start: int, piece: bytes) -> int:
    """Store bytes of the file behind those that are there, and return how many are there then.

    viewer: who sends them, and sees the import; asked again is whether they still stand, and may import. piece:
    `CHUNK_BYTES` at the most.

    Raises:
        UnauthenticatedError, ForbiddenError: the session has ended, or the viewer may not import any more.
        OffsetError: other bytes are expected.
        ConflictError: the import takes no bytes any more, or not so many.
    """
    organization_id = viewer.organization_id
    text = base64.b64encode(await asyncio.to_thread(zlib.compress, piece, _LEVEL)).decode()
    await active_keyring().load([organization_owner(organization_id)])
    async with write_transaction(Tenant(organization_id=organization_id, user_id=viewer.user_id)) as connection:
        # Whoever sends the same bytes at the same time waits here, and then finds what the first one stored.
        await fetch(connection, _LOCK, organization_id, import_id)
        (found,) = await fetch(connection, _RECEIVED, organization_id, import_id)
        now = await standing_viewer(connection, viewer, found["now"])
        require(now, Permission.RECORD_IMPORT, project_scope(found["project_id"]))
        if found["status"] != ImportStatus.OPEN:
            raise ConflictError("The import takes no file any more.")
        if found["received"] != start:
            raise OffsetError(found["received"])
        if start + len(piece) > found["size"]:
            raise ConflictError(f"The file was announced with {found['size']} bytes, and is longer.")
        row = {
            "id": new_id(),
            "organization_id": organization_id,
            "created_at": found["now"],
            "import_id": import_id,
            "start": start,
            "length": len(piece),
            "content": text,
        }
        await insert_rows(connection, entity_of(ImportChunk), [row])
    return start + len(piece)


async def load_piece(organization_id: UUID, import_id: UUID, start: int) -> bytes:
    """Return the bytes of the piece that begins there; none at the end of the file.

    Raises:
        TamperedError: what is stored does not open.
        UnavailableError: the database, the keystore or the key provider is away.
    """
    async with OneStatement(Tenant(organization_id=organization_id)) as connection:
        row = await connection.fetchrow(
            f"select id, content from {_TABLE} where organization_id = $1 and import_id = $2 and start = $3",
            organization_id,
            import_id,
            start,
        )
    if row is None:
        return b""
    await active_keyring().load_ids([key_id_of(row["content"])])
    text = open_light(row["content"], Cell(organization_id, _TABLE, "content", row["id"]))
    return zlib.decompress(base64.b64decode(text))


class ImportFile:
    """An uploaded file, for code that reads it in a thread while the event loop has the database."""

    def __init__(self, organization_id: UUID, import_id: UUID) -> None:
        self._of = (organization_id, import_id)
        self._loop = asyncio.get_running_loop()
        self._is_stopped = False

    def open(self) -> io.BufferedReader:
        """Return the file from its beginning. What reads it raises `StoppedError` once it was stopped."""
        return io.BufferedReader(_Pieces(self._load), buffer_size=io.DEFAULT_BUFFER_SIZE * 8)

    def stop(self) -> None:
        """Have whoever reads come to an end at the next piece, or at the next look."""
        self._is_stopped = True

    def require_going_on(self, _rows: int = 0) -> None:
        """Raise `StoppedError` once it was stopped."""
        if self._is_stopped:
            raise StoppedError

    def _load(self, start: int) -> bytes:
        self.require_going_on()
        return asyncio.run_coroutine_threadsafe(load_piece(*self._of, start), self._loop).result()


class _Pieces(io.RawIOBase):
    """The bytes of pieces, one behind the other; one of them is in memory at a time."""

    def __init__(self, load: Callable[[int], bytes]) -> None:
        self._load = load
        self._next = 0
        self._piece = memoryview(b"")

    def readable(self) -> bool:
        """Return that it can be read."""
        return True

    def readinto(self, buffer: "bytearray | memoryview") -> int:  # type: ignore[override]
        """Read into the buffer what fits of the piece at hand, and return how much."""
        if not self._piece:
            piece = self._load(self._next)
            self._next += len(piece)
            self._piece = memoryview(piece)
        count = min(len(buffer), len(self._piece))
        buffer[:count] = self._piece[:count]
        self._piece = self._piece[count:]
        return count
