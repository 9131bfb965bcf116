"""Exporting an organization's trail as a bundle that others verify without us: every leaf's bytes, every signed head.

Ciphertext stays ciphertext: a bundle shows what the database shows to whoever has no keys. It is read from one snapshot
and written as it is read, so that it takes no more memory for a million entries than for one.
"""

import json
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import IO, Any, Final, Protocol
from uuid import UUID

import asyncpg

from auth.action import Action
from auth.permission import Permission
from auth.policy import require
from auth.scope import ORGANIZATION
from models.errors import ConflictError
from models.ledger.checkpoint import Head, Note
from models.ledger.merkle import inclusion_ranges
from models.ledger.tree import last_head, range_hashes
from models.reading import Snapshot
from models.sealed_batch import HEADS_ID
from models.transaction import Tenant
from resolvers.change import Change, Intent, commit_change
from resolvers.leaf_reading import WINDOW, StoredLeaf, leaf_pieces, leaf_windows
from resolvers.pace import Pace
from resolvers.sealing import Sealer, heads_leaf
from resolvers.trail import Actor

FORMAT: Final = "fieldward-audit-bundle/1"
EXPORTED: Final = "Exporting entries"

_HEADS: Final = """
    select b.id, b.tree_size, b.sealed_at, b.checkpoint, array(
        select rtrim(c.line, E'\n') || E'\n' from cosignature c
        where c.organization_id = $1 and c.tree_size = b.tree_size order by c.cosigned_at, c.id) as cosignatures
    from sealed_batch b where b.organization_id = $1 and b.tree_size > $2 order by b.tree_size limit $3
"""


class Archive(Protocol):
    """Where the files of a bundle are written, one after the other."""

    def open(self, name: str, mode: Any, *, force_zip64: bool) -> AbstractContextManager[IO[bytes]]:
        """Open a file of the bundle for writing."""


@dataclass(frozen=True, slots=True)
class Exported:
    """What a bundle holds: how many entries, the root over them, and by which key its heads are verified."""

    origin: str
    size: int
    root: str
    verifier_key: str


async def note_export(actor: Actor, reason: str | None) -> datetime:
    """Write into the trail that it is about to be exported, by whom and why; committed before anything is.

    Returns the database's time of it.

    Raises:
        ForbiddenError: the viewer in whose name it is may not read the trail.
    """

    async def work(change: Change) -> datetime:
        if change.intent.actor.viewer is not None:
            require(change.viewer, Permission.AUDIT_READ, ORGANIZATION)
        return change.at

    return await commit_change(Intent(Action.AUDIT_EXPORT, actor, reason=reason, entity="audit_entry"), work)


async def export_trail(
    sealer: Sealer,
    organization_id: UUID,
    archive: Archive,
    pace: Pace,
    *,
    said: dict[str, Any],
) -> Exported:
    """Write an organization's sealed trail, up to its last signed head, into an archive.

    said: what the manifest says beside what is exported: by whom, when, of which version.

    Raises:
        ConflictError: nothing of it is sealed yet.
        UnavailableError: the database is away.
    """
    async with Snapshot(Tenant(organization_id=organization_id)) as connection:
        stored = await last_head(connection, organization_id)
        size, root = stored.frontier.size, stored.frontier.root
        if not size:
            raise ConflictError("Nothing of this organization's trail is sealed yet.")
        with tempfile.TemporaryFile() as leaves:
            with archive.open("entries.jsonl", "w", force_zip64=True) as file:
                async for piece in _lines(connection, organization_id, size, leaves, pace):
                    file.write(piece)
            leaves.seek(0)
            with archive.open("leaves.bin", "w", force_zip64=True) as file:
                while chunk := leaves.read(65_536):
                    file.write(chunk)
        last: Any = None
        with archive.open("heads.txt", "w", force_zip64=True) as file:
            async for last in _heads(connection, organization_id):
                file.write(f"{last['checkpoint']}{''.join(last['cosignatures'])}\n".encode())
        head = Head.parse(Note.parse(last["checkpoint"]).text)
        above = await _proof_above(connection, head, last)
    origin = head.origin
    exported = Exported(origin, size, root.hex(), str(sealer.signer.verifier_key(origin)))
    manifest = {
        "format": FORMAT,
        "organization_id": str(organization_id),
        "origin": exported.origin,
        "verifier_key": exported.verifier_key,
        "size": size,
        "root": exported.root,
        **said,
    }
    for name, content in (("tree-of-heads.json", above), ("manifest.json", manifest)):
        with archive.open(name, "w", force_zip64=True) as file:
            file.write(json.dumps(content, indent=1).encode() + b"\n")
    return exported


async def _lines(
    connection: asyncpg.Connection, organization_id: UUID, size: int, leaves: IO[bytes], pace: Pace
) -> AsyncIterator[bytes]:
    """Yield the lines of the entries piece by piece, and write the hashes of their leaves aside."""
    async for window in leaf_windows(connection, organization_id):
        stored = [leaf for leaf in window if 0 <= leaf.index < size]
        pieces = leaf_pieces(connection, organization_id, stored)
        for leaf in stored:
            leaves.write(leaf.hash)
            if leaf.entry is not None:
                async for _, piece, hashed in pieces:
                    yield piece
                    if hashed is not None:
                        break
                yield b"\n"
            elif leaf.expired_by is not None:
                yield _expired(leaf)
            # What is gone without a word has no line: whoever verifies the bundle will miss it.
        await pace.note(EXPORTED, len(stored), size)


def _expired(leaf: StoredLeaf) -> bytes:
    said = {"by": str(leaf.expired_by), "expired": leaf.hash.hex(), "id": str(leaf.id)}
    return json.dumps(said, separators=(",", ":")).encode() + b"\n"


async def _heads(connection: asyncpg.Connection, organization_id: UUID) -> AsyncIterator[Any]:
    after = -1
    while rows := await connection.fetch(_HEADS, organization_id, after, WINDOW):
        for row in rows:
            yield row
        after = rows[-1]["tree_size"]


async def _proof_above(connection: asyncpg.Connection, head: Head, last: Any) -> dict[str, Any]:
    """Return the proof that the last head is in the tree over the heads of all organizations."""
    await connection.execute(Tenant(HEADS_ID).entering())
    above = await last_head(connection, HEADS_ID)
    index = await connection.fetchval(
        "select leaf_index from sealed_leaf where organization_id = $1 and id = $2", HEADS_ID, last["id"]
    )
    path: Sequence[bytes] = []
    if index is not None:
        path = await range_hashes(connection, HEADS_ID, inclusion_ranges(index, above.frontier.size))
    return {
        "leaf": heads_leaf(head, last["sealed_at"]).decode(),
        "index": index,
        "path": [one.hex() for one in path],
        "checkpoint": above.checkpoint,
    }
