"""Sealing the audit trail: entries get numbers in their organization's tree, and its head is signed.

An entry is numbered only once every transaction that could still add one before it is over: those that are older than
the oldest which still runs have said all they will ever say. So no late commit slips behind a head.
What is read is read from one snapshot; what is written is one short transaction, and of two processes that seal the
same, one writes nothing.
"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import asyncpg
import orjson

from models.base import new_id
from models.ledger.checkpoint import Head, HeadSigner
from models.ledger.leaf import SELECT_CHANGE, SELECT_ENTRY, Leaf
from models.ledger.merkle import leaf_hash
from models.ledger.tree import Growth, StoredHead, append, grown, last_head
from models.reading import OneStatement, Snapshot
from models.sealed_batch import HEADS_ID
from models.transaction import Tenant, raw_write_transaction

MOST_ENTRIES: Final = 2000
"""Entries of one batch."""
CHANGES_AT_ONCE: Final = 500
"""Changes that are in memory at a time, however many an entry has."""

_HEADS_LOCK: Final = 4_614_531_918
"""The advisory lock of the tree of heads: one batch at a time is added to it."""

_HORIZON: Final = (
    "select pg_snapshot_xmin(s)::text::bigint as oldest, pg_snapshot_xmax(s)::text::bigint as coming"
    " from pg_current_snapshot() s"
)

# A transaction of a number that was never given out here is one of another server, from which the data were brought.
_UNSEALED: Final = f"""
    select {SELECT_ENTRY} from audit_entry e
    where e.organization_id = $1 and {{since}} and (e.transaction_id < $2 or e.transaction_id >= $3)
      and not exists (select from sealed_leaf l where l.organization_id = $1 and l.id = e.id)
    order by e.transaction_id, e.at, e.id limit $4
"""
_SINCE: Final = _UNSEALED.format(since="e.transaction_id >= $5")
_ANY: Final = _UNSEALED.format(since="true")

_CHANGES: Final = f"""
    select {SELECT_CHANGE} from unnest($2::uuid[]) with ordinality w(entry_id, place)
    join change c on c.organization_id = $1 and c.entry_id = w.entry_id
    order by w.place, c.id
"""


@dataclass(frozen=True, slots=True)
class Sealer:
    """Who signs, and as which log: origins are `name/organization/<id>`, and `name/heads`."""

    signer: HeadSigner
    name: str

    def origin(self, organization_id: UUID) -> str:
        """Return the origin of an organization's tree, or of the tree of heads."""
        return origin_of(self.name, organization_id)


@dataclass(frozen=True, slots=True)
class Sealed:
    """A head that was just signed. is_behind: whether more of the organization waits to be sealed."""

    organization_id: UUID
    head: Head
    checkpoint: str
    sealed_at: datetime
    entries: int
    is_behind: bool


@dataclass(frozen=True, slots=True)
class _Batch:
    head: StoredHead
    ids: Sequence[UUID]
    hashes: Sequence[bytes]
    through: int
    is_behind: bool


def origin_of(name: str, organization_id: UUID) -> str:
    """Return the origin of a tree, under the installation's name."""
    return f"{name}/heads" if organization_id == HEADS_ID else f"{name}/organization/{organization_id}"


def heads_leaf(head: Head, sealed_at: datetime) -> bytes:
    """Return a leaf of the tree of heads: whose head it is, the head, and when it was signed, as a line of JSON."""
    said = {"origin": head.origin, "root": head.root.hex(), "sealed_at": sealed_at.isoformat(), "size": head.size}
    return orjson.dumps(said, option=orjson.OPT_SORT_KEYS)


async def horizon() -> int:
    """Return the oldest transaction that still runs, or the next one: what is older is over."""
    async with OneStatement(Tenant()) as connection:
        return int(await connection.fetchval(_HORIZON))


async def unsealed_organizations(since: int) -> list[UUID]:
    """Return which organizations have entries of that transaction or a later one."""
    async with OneStatement(Tenant()) as connection:
        return [row[0] for row in await connection.fetch("select fieldward_unsealed($1)", since)]


async def seal_organization(sealer: Sealer, organization_id: UUID, *, is_thorough: bool = False) -> Sealed | None:
    """Seal a batch of an organization's entries; None where there is none to seal, or another process was faster.

    is_thorough: look for entries of any transaction, and not only of those since the last batch: once after a start,
        since data that were brought from another server have other numbers.

    Raises:
        UnavailableError: the database is away.
    """
    batch = await _read(organization_id, is_thorough=is_thorough)
    if not batch.ids:
        return None
    growth = grown(organization_id, batch.head.frontier, batch.ids, batch.hashes)
    try:
        return await _write(sealer, batch, growth)
    except asyncpg.UniqueViolationError:
        return None


async def _read(organization_id: UUID, *, is_thorough: bool) -> _Batch:
    async with Snapshot(Tenant(organization_id=organization_id)) as connection:
        head = await last_head(connection, organization_id)
        [(oldest, coming)] = await connection.fetch(_HORIZON)
        bounds = [organization_id, oldest, coming, MOST_ENTRIES]
        if is_thorough:
            entries = await connection.fetch(_ANY, *bounds)
        else:
            entries = await connection.fetch(_SINCE, *bounds, head.through_transaction)
        is_behind = len(entries) == MOST_ENTRIES
        # What was left of a transaction is taken up where this one stops.
        through = entries[-1]["transaction_id"] if is_behind else oldest
        hashes = [leaf async for leaf in _leaves(connection, organization_id, entries)]
    return _Batch(head, [one["id"] for one in entries], hashes, through, is_behind)


async def _leaves(
    connection: asyncpg.Connection, organization_id: UUID, entries: Sequence[asyncpg.Record]
) -> AsyncIterator[bytes]:
    """Yield the hash of each entry's leaf."""
    changes = connection.cursor(
        _CHANGES, organization_id, [one["id"] for one in entries], prefetch=CHANGES_AT_ONCE
    ).__aiter__()
    coming: Any = await anext(changes, None)
    for entry in entries:
        leaf = Leaf()
        leaf.begun()
        while coming is not None and coming["entry_id"] == entry["id"]:
            leaf.change(coming)
            coming = await anext(changes, None)
        leaf.ended(dict(entry))
        yield leaf.hash


async def _write(sealer: Sealer, batch: _Batch, growth: Growth) -> Sealed:
    organization_id = growth.organization_id
    head = Head(sealer.origin(organization_id), growth.frontier.size, growth.frontier.root)
    async with raw_write_transaction(Tenant(organization_id=organization_id)) as connection:
        sealed_at = await connection.fetchval("select transaction_timestamp()")
        batch_id = new_id()
        await append(connection, growth)
        checkpoint = await _add_batch(connection, sealer, growth, head, batch_id, batch.through, sealed_at)
        await connection.execute(Tenant(organization_id=HEADS_ID).entering())
        await connection.execute("select pg_advisory_xact_lock($1)", _HEADS_LOCK)
        above = await last_head(connection, HEADS_ID)
        leaf = leaf_hash(heads_leaf(head, sealed_at))
        higher = grown(HEADS_ID, above.frontier, [batch_id], [leaf])
        await append(connection, higher)
        top = Head(sealer.origin(HEADS_ID), higher.frontier.size, higher.frontier.root)
        await _add_batch(connection, sealer, higher, top, new_id(), batch.through, sealed_at)
    return Sealed(organization_id, head, checkpoint, sealed_at, len(batch.ids), batch.is_behind)


async def _add_batch(
    connection: asyncpg.Connection,
    sealer: Sealer,
    growth: Growth,
    head: Head,
    batch_id: UUID,
    through: int,
    sealed_at: datetime,
) -> str:
    checkpoint = str(sealer.signer.sign(head))
    await connection.execute(
        "insert into sealed_batch (organization_id, id, tree_size, root_hash, frontier, through_transaction, sealed_at,"
        " checkpoint) values ($1, $2, $3, $4, $5, $6, $7, $8)",
        growth.organization_id,
        batch_id,
        head.size,
        head.root,
        growth.frontier.to_bytes(),
        through,
        sealed_at,
        checkpoint,
    )
    return checkpoint
