"""Sealed entries as they are stored now, in the order of their leaves, some hundreds at a time."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

import asyncpg

from models.ledger.leaf import SELECT_CHANGE, SELECT_ENTRY, Leaf
from resolvers.sealing import CHANGES_AT_ONCE

WINDOW: Final = 500
"""Leaves that are read together."""

_BEFORE_ALL: Final = -(2**63)
_LEAVES: Final = """
    select leaf_index, leaf_hash, expired_by, id from sealed_leaf
    where organization_id = $1 and leaf_index > $2 order by leaf_index limit $3
"""
# Each is looked up by its key, whatever the database believes to know of how many there are.
_ENTRIES: Final = f"""
    select {SELECT_ENTRY} from unnest($2::uuid[]) w(id)
    cross join lateral (select * from audit_entry e where e.organization_id = $1 and e.id = w.id limit 1) e
"""
_CHANGES: Final = f"""
    select {SELECT_CHANGE} from unnest($2::uuid[]) with ordinality w(entry_id, place)
    cross join lateral (select * from change c where c.organization_id = $1 and c.entry_id = w.entry_id offset 0) c
    order by w.place, c.id
"""


@dataclass(frozen=True, slots=True)
class StoredLeaf:
    """A leaf, and the entry that it is of, as its row is now; None where there is none."""

    id: UUID
    index: int
    hash: bytes
    expired_by: UUID | None
    entry: Any = None


async def leaf_windows(
    connection: asyncpg.Connection, organization_id: UUID, *, with_entries: bool = True
) -> AsyncIterator[Sequence[StoredLeaf]]:
    """Yield all leaves of a tree, whatever their numbers, with their entries."""
    after = _BEFORE_ALL
    while rows := await connection.fetch(_LEAVES, organization_id, after, WINDOW):
        entries = {}
        if with_entries:
            found = await connection.fetch(_ENTRIES, organization_id, [row["id"] for row in rows])
            entries = {entry["id"]: entry for entry in found}
        yield [
            StoredLeaf(row["id"], row["leaf_index"], row["leaf_hash"], row["expired_by"], entries.get(row["id"]))
            for row in rows
        ]
        after = rows[-1]["leaf_index"]


async def leaf_pieces(
    connection: asyncpg.Connection, organization_id: UUID, leaves: Sequence[StoredLeaf]
) -> AsyncIterator[tuple[StoredLeaf, bytes, bytes | None]]:
    """Yield what each leaf with an entry says, made anew from its rows: piece by piece, with the hash at the last."""
    there = [leaf for leaf in leaves if leaf.entry is not None]
    changes = connection.cursor(
        _CHANGES, organization_id, [leaf.id for leaf in there], prefetch=CHANGES_AT_ONCE
    ).__aiter__()
    coming: Any = await anext(changes, None)
    for stored in there:
        leaf = Leaf()
        yield stored, leaf.begun(), None
        while coming is not None and coming["entry_id"] == stored.id:
            yield stored, leaf.change(coming), None
            coming = await anext(changes, None)
        ended = leaf.ended(dict(stored.entry))
        yield stored, ended, leaf.hash
