"""Sealing in tests: a sealer with a guard of its own, writers that stay open, and what a tree is checked by."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final
from uuid import UUID

import asyncpg

from models.base import new_id
from models.ledger.checkpoint import Head, HeadSigner, Note
from models.ledger.merkle import inclusion_ranges, root_of, verify_inclusion
from models.ledger.tree import last_head, range_hashes
from models.reading import Snapshot
from models.sealed_batch import HEADS_ID
from models.signed_heads import SignedHeads
from models.transaction import Tenant
from resolvers.rollback_guard import Outside, RollbackGuard
from resolvers.sealing import Sealer
from tests.support.world import World, connect

NAME: Final = "audit.test"

_ENTRY: Final = (
    "insert into audit_entry (id, organization_id, kind, action, outcome, repeated, channel, request_id, entity_ids)"
    " values ($1, $2, $3, 'record.update', 'DONE', 0, 'API', $1, $4)"
)


def a_sealer(directory: Path, outside: Outside | None = None, *, signer: HeadSigner | None = None) -> Sealer:
    """Return a sealer that keeps what it signs in the directory."""
    guard = RollbackGuard(SignedHeads(directory / "signed-heads.sqlite"), outside)
    return Sealer(signer or HeadSigner.generate(), NAME, guard)


async def always() -> bool:
    """Lead."""
    return True


async def add_entry(connection: asyncpg.Connection, organization_id: UUID, kind: str = "READ", ids: int = 0) -> UUID:
    """Write an entry, in the transaction that is open or one of its own, and return its id."""
    entry_id = new_id()
    await connection.execute(_ENTRY, entry_id, organization_id, kind, [new_id() for _ in range(ids)] or None)
    return entry_id


@asynccontextmanager
async def writer(world: World, organization_id: UUID) -> AsyncIterator[asyncpg.Connection]:
    """Yield a connection as the service's role, which writes for the organization; to begin and end by hand."""
    connection = await connect(world.service)
    try:
        await connection.execute(Tenant(organization_id=organization_id).entering(for_good=True))
        yield connection
    finally:
        await connection.close()


async def sealed_ids(world: World, organization_id: UUID) -> list[UUID]:
    """Return the ids of an organization's leaves, in their order."""
    rows = await world.sql("select id from sealed_leaf where organization_id = $1 order by leaf_index", organization_id)
    return [row["id"] for row in rows]


async def unsealed(world: World) -> int:
    """Return how many entries have no leaf."""
    found: int = await world.value(
        "select count(*) from audit_entry e where not exists"
        " (select from sealed_leaf l where l.organization_id = e.organization_id and l.id = e.id)"
    )
    return found


async def verify_tree(world: World, sealer: Sealer, organization_id: UUID) -> Head:
    """Verify a tree: its leaves are numbered without a gap, every head is their root, some are proved.

    Returns its last head. That the entries are what was sealed is for the verifier of the trail.
    """
    leaves = await world.sql(
        "select leaf_index, leaf_hash from sealed_leaf where organization_id = $1 order by leaf_index", organization_id
    )
    assert [row["leaf_index"] for row in leaves] == list(range(len(leaves)))
    hashes = [row["leaf_hash"] for row in leaves]
    batches = await world.sql(
        "select tree_size, root_hash, checkpoint, generation from sealed_batch where organization_id = $1"
        " order by tree_size",
        organization_id,
    )
    for batch in batches:
        origin = sealer.origin(organization_id, batch["generation"])
        note = Note.parse(batch["checkpoint"])
        sealer.signer.verifier_key(origin).verify(note)
        head = Head.parse(note.text)
        assert head == Head(origin, batch["tree_size"], batch["root_hash"])
        assert root_of(hashes[: head.size]) == head.root
    async with Snapshot(Tenant(organization_id=organization_id)) as connection:
        stored = await last_head(connection, organization_id)
        assert (stored.frontier.size, stored.frontier.root) == (head.size, head.root)
        for index in range(0, head.size, max(1, head.size // 10)):
            path = await range_hashes(connection, organization_id, inclusion_ranges(index, head.size))
            verify_inclusion(hashes[index], index, head.size, path, head.root)
    return head


async def verify_all_trees(world: World, sealer: Sealer) -> None:
    """Verify the tree of every organization, and that of the heads, which has a leaf for each of their batches."""
    rows = await world.sql("select distinct organization_id from sealed_batch")
    assert HEADS_ID in {row["organization_id"] for row in rows}
    for row in rows:
        await verify_tree(world, sealer, row["organization_id"])
    batches = await world.sql("select id, heads_index from sealed_batch where organization_id <> $1", HEADS_ID)
    leaves = await world.sql("select id, leaf_index from sealed_leaf where organization_id = $1", HEADS_ID)
    assert {(one["id"], one["heads_index"]) for one in batches} == {(one["id"], one["leaf_index"]) for one in leaves}
