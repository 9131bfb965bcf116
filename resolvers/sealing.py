"""Sealing the audit trail: entries get numbers in their organization's tree, and its head is signed.

An entry is numbered only once every transaction that could still add one before it is over: those that are older than
the oldest which still runs have said all they will ever say. So no late commit slips behind a head.
What is read is read from one snapshot; what is written is one short transaction, and of two processes that seal the
same, one writes nothing. Before it is committed, the guard (`resolvers/rollback_guard.py`) has compared the log with
what was published of it, and has written the new head down.
"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

import asyncpg
import orjson

from models.base import new_id
from models.errors import ConflictError
from models.ledger.checkpoint import Head, HeadSigner
from models.ledger.leaf import SELECT_CHANGE, SELECT_ENTRY, Leaf
from models.ledger.merkle import Frontier, leaf_hash
from models.ledger.tree import Growth, StoredHead, append, grown, last_head
from models.reading import OneStatement, Snapshot
from models.sealed_batch import HEADS_ID
from models.transaction import Tenant, raw_write_transaction
from resolvers.rollback_guard import RollbackGuard, SetBackError

MOST_ENTRIES: Final = 2000
"""Entries of one batch."""
MOST_CHANGES: Final = 20_000
"""Changes of one batch, if it has more than one entry: no organization takes long while others wait."""
CHANGES_AT_ONCE: Final = 500
"""Changes that are in memory at a time, however many an entry has."""

_HEADS_LOCK: Final = 4_614_531_918
"""The advisory lock of the tree of heads: one batch at a time is added to it."""

_MOMENT: Final = (
    "select pg_snapshot_xmin(s)::text::bigint as oldest, pg_snapshot_xmax(s)::text::bigint as coming,"
    " (select system_identifier from pg_control_system()) as cluster from pg_current_snapshot() s"
)

# Looked up by its key for each entry: where the database knows little of the tables yet, it takes a join for small.
_IS_LEFT: Final = "(select true from sealed_leaf l where l.organization_id = $1 and l.id = e.id limit 1) is null"

_SINCE: Final = f"""
    select {SELECT_ENTRY} from audit_entry e
    where e.organization_id = $1 and e.transaction_id >= $2 and e.transaction_id < $3 and {_IS_LEFT}
    order by e.transaction_id, e.at, e.id limit {MOST_ENTRIES}
"""
# A transaction of a number that was never given out here is one of another server, from which the data were brought.
_PAGE: Final = f"""
    select {SELECT_ENTRY}, {_IS_LEFT} and (e.transaction_id < $4 or e.transaction_id >= $5) as is_wanted
    from audit_entry e where e.organization_id = $1 and (e.at, e.id) > ($2, $3) order by e.at, e.id limit {MOST_ENTRIES}
"""
_COUNTS: Final = """
    select c.entry_id, count(*) as changes from change c
    where c.organization_id = $1 and c.entry_id = any($2::uuid[]) group by c.entry_id
"""
_CHANGES: Final = f"""
    select {SELECT_CHANGE} from unnest($2::uuid[]) with ordinality w(entry_id, place)
    cross join lateral (select * from change c where c.organization_id = $1 and c.entry_id = w.entry_id offset 0) c
    order by w.place, c.id
"""


@dataclass(frozen=True, slots=True)
class Sealer:
    """Who signs, and as which log: origins are `name/organization/<id>`, and `name/heads`.

    guard: compares logs with what was published; without one, as in tests, what the database says is believed.
    """

    signer: HeadSigner
    name: str
    guard: RollbackGuard | None = None

    def origin(self, organization_id: UUID, generation: int = 1) -> str:
        """Return the origin of an organization's tree, or of the tree of heads."""
        return origin_of(self.name, organization_id, generation)


@dataclass(frozen=True, slots=True)
class Moment:
    """Of the database: the oldest transaction that still runs, the next one, and which server counts them."""

    oldest: int
    coming: int
    cluster: int


@dataclass(frozen=True, slots=True)
class Since:
    """Looks for entries of this transaction and later ones: all of the organization's earlier ones are sealed."""

    transaction: int


@dataclass(frozen=True, slots=True)
class Page:
    """Looks through the whole trail, page by page, from after this place in the order of time: of data that were
    brought from another server, transactions say nothing."""

    after: tuple[datetime, UUID]


Look = Since | Page

BEGINNING: Final = Page((datetime(1, 1, 1, tzinfo=UTC), UUID(int=0)))


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
class Step:
    """What a look found and did. sealed: None where nothing was left, or another process was faster.

    coming: where to go on; None where there is no more.
    """

    sealed: Sealed | None
    coming: Look | None


@dataclass(frozen=True, slots=True)
class _Batch:
    head: StoredHead
    ids: Sequence[UUID]
    hashes: Sequence[bytes]
    through: int
    moment: Moment
    coming: Look | None


def origin_of(name: str, organization_id: UUID, generation: int = 1) -> str:
    """Return the origin of a tree, under the installation's name. generation: how often it was begun anew, from 1."""
    origin = f"{name}/heads" if organization_id == HEADS_ID else f"{name}/organization/{organization_id}"
    return origin if generation == 1 else f"{origin}/{generation}"


def heads_leaf(head: Head, sealed_at: datetime) -> bytes:
    """Return a leaf of the tree of heads: whose head it is, the head, and when it was signed, as a line of JSON."""
    said = {"origin": head.origin, "root": head.root.hex(), "sealed_at": sealed_at.isoformat(), "size": head.size}
    return orjson.dumps(said, option=orjson.OPT_SORT_KEYS)


async def moment() -> Moment:
    """Return the database's moment: what is older than its oldest transaction is over."""
    async with OneStatement(Tenant()) as connection:
        [row] = await connection.fetch(_MOMENT)
    return Moment(*row)


async def unsealed_organizations(since: int, before: int = 2**63 - 1) -> list[UUID]:
    """Return which organizations have entries of these transactions, without the last."""
    async with OneStatement(Tenant()) as connection:
        return [row[0] for row in await connection.fetch("select fieldward_unsealed($1, $2)", since, before)]


async def organizations_with_trails() -> list[UUID]:
    """Return which organizations have entries at all."""
    async with OneStatement(Tenant()) as connection:
        return [row[0] for row in await connection.fetch("select fieldward_trails()")]


async def seal_organization(sealer: Sealer, organization_id: UUID, *, is_thorough: bool = False) -> Sealed | None:
    """Seal a batch of an organization's entries; None where there is none to seal, or another process was faster.

    is_thorough: look for entries of any transaction, and not only of those since the last batch.

    Raises: as `seal_step`.
    """
    look: Look | None = BEGINNING if is_thorough else None
    while True:
        step = await seal_step(sealer, organization_id, look)
        if step.sealed is not None or step.coming is None:
            return step.sealed
        look = step.coming


async def seal_step(
    sealer: Sealer,
    organization_id: UUID,
    look: Look | None = None,
    *,
    watermark: int | None = None,
    begins_anew: bool = False,
) -> Step:
    """Look for entries that are not sealed, and seal a batch of them.

    look: where; None is since the last batch.
    watermark: the first transaction of which entries of any organization may not be sealed yet, where that is known.
    begins_anew: seal under a new origin, although the log does not go on from what was published.

    Raises:
        SetBackError: the log, or that of the heads, does not go on from what was published. Nothing was signed.
        ConflictError: somebody else wrote leaves, nodes or heads of the numbers that come next: nothing can be sealed.
        UnavailableError: the database is away, or what was published can't be read.
        UnknownOutcomeError: the connection was lost while committing.
    """
    batch = await _read(organization_id, look)
    if not batch.ids:
        return Step(None, batch.coming)
    try:
        sealed = await _write(sealer, organization_id, batch, watermark, begins_anew)
    except asyncpg.UniqueViolationError as error:
        if not await _has_grown(organization_id, batch.head):
            raise ConflictError("What comes next in the tree is there already, under no head.") from error
        sealed = None
    # Where another process was faster, there may be more than it has seen.
    return Step(sealed, look if sealed is None else batch.coming)


async def _has_grown(organization_id: UUID, head: StoredHead) -> bool:
    """Return whether the tree has another head by now: then another process was faster."""
    async with OneStatement(Tenant(organization_id=organization_id)) as connection:
        return (await last_head(connection, organization_id)).frontier != head.frontier


async def _read(organization_id: UUID, look: Look | None) -> _Batch:
    async with Snapshot(Tenant(organization_id=organization_id)) as connection:
        head = await last_head(connection, organization_id)
        [row] = await connection.fetch(_MOMENT)
        now = Moment(*row)
        # From a number of another server nothing follows.
        through = head.through_transaction if is_known(head, now) else 0
        if isinstance(look, Page):
            page = await connection.fetch(_PAGE, organization_id, *look.after, now.oldest, now.coming)
            found = [one for one in page if one["is_wanted"]]
            last = page[-1] if len(page) == MOST_ENTRIES else None
            coming: Look | None = None if last is None else Page((last["at"], last["id"]))
        else:
            since = max(through, look.transaction if look is not None else 0)
            found = await connection.fetch(_SINCE, organization_id, since, now.oldest)
            through = found[-1]["transaction_id"] if len(found) == MOST_ENTRIES else now.oldest
            coming = Since(through) if len(found) == MOST_ENTRIES else None
        entries = await _within_bounds(connection, organization_id, found)
        if len(entries) < len(found):
            if isinstance(look, Page):
                # What is before the first that is left was looked at.
                coming = Page((entries[-1]["at"], entries[-1]["id"]))
            else:
                # What was left of a transaction is taken up where this one stops.
                through = entries[-1]["transaction_id"]
                coming = Since(through)
        hashes = [leaf async for leaf in _leaves(connection, organization_id, entries)]
    return _Batch(head, [one["id"] for one in entries], hashes, through, now, coming)


def is_known(head: StoredHead, now: Moment) -> bool:
    """Return whether the transactions that a head speaks of are this server's, and were given out."""
    return head.cluster == now.cluster and head.through_transaction <= now.oldest


async def _within_bounds(
    connection: asyncpg.Connection, organization_id: UUID, entries: Sequence[asyncpg.Record]
) -> Sequence[asyncpg.Record]:
    """Return the first of the entries, at least one, that together have no more changes than a batch may."""
    changing = [one["id"] for one in entries if one["kind"] == "CHANGE"]
    if not changing:
        return entries
    counts = {row["entry_id"]: row["changes"] for row in await connection.fetch(_COUNTS, organization_id, changing)}
    changes = 0
    for place, entry in enumerate(entries):
        changes += counts.get(entry["id"], 0)
        if changes > MOST_CHANGES:
            return entries[: max(place, 1)]
    return entries


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


@dataclass(frozen=True, slots=True)
class _Log:
    """A log that is about to grow. origin: under which; it is another than that of `stored` where it begins anew."""

    stored: StoredHead
    origin: str
    generation: int

    def at(self, frontier: Frontier) -> Head:
        return Head(self.origin, frontier.size, frontier.root)


async def _write(
    sealer: Sealer, organization_id: UUID, batch: _Batch, watermark: int | None, begins_anew: bool
) -> Sealed | None:
    async with raw_write_transaction(Tenant(organization_id=HEADS_ID)) as connection:
        await connection.execute("select pg_advisory_xact_lock($1)", _HEADS_LOCK)
        heads = await _guarded_log(sealer, connection, HEADS_ID, begins_anew)
        await connection.execute(Tenant(organization_id=organization_id).entering())
        own = await _guarded_log(sealer, connection, organization_id, begins_anew)
        if own.stored.frontier != batch.head.frontier:
            return None
        sealed_at = await connection.fetchval("select transaction_timestamp()")
        batch_id = new_id()
        growth = grown(organization_id, own.stored.frontier, batch.ids, batch.hashes)
        head = own.at(growth.frontier)
        higher = grown(HEADS_ID, heads.stored.frontier, [batch_id], [leaf_hash(heads_leaf(head, sealed_at))])
        top = heads.at(higher.frontier)
        if sealer.guard is not None:
            await sealer.guard.note([(own.at(own.stored.frontier), head), (heads.at(heads.stored.frontier), top)])
        checkpoint = str(sealer.signer.sign(head))
        row = _Row(batch_id, batch.through, batch.moment.cluster, own.generation, higher.first_index, sealed_at)
        await append(connection, growth)
        await _add_batch(connection, growth, checkpoint, row)
        if watermark is None:
            watermark = heads.stored.through_transaction if is_known(heads.stored, batch.moment) else 0
        row = _Row(new_id(), watermark, batch.moment.cluster, heads.generation, None, sealed_at)
        await connection.execute(Tenant(organization_id=HEADS_ID).entering())
        await append(connection, higher)
        await _add_batch(connection, higher, str(sealer.signer.sign(top)), row)
    if sealer.guard is not None:
        await sealer.guard.settle([head, top])
    return Sealed(organization_id, head, checkpoint, sealed_at, len(batch.ids), batch.coming is not None)


async def _guarded_log(
    sealer: Sealer, connection: asyncpg.Connection, organization_id: UUID, begins_anew: bool
) -> _Log:
    """Return the log of a tree, which goes on from what was published of it, or begins anew where it may."""
    stored = await last_head(connection, organization_id)
    log = _Log(stored, sealer.origin(organization_id, stored.generation), stored.generation)
    if sealer.guard is None:
        return log
    try:
        await sealer.guard.require(connection, organization_id, log.at(stored.frontier))
    except SetBackError:
        if not begins_anew:
            raise
        generation = stored.generation + 1
        log = _Log(stored, sealer.origin(organization_id, generation), generation)
        # Nor may the new one be set back.
        await sealer.guard.require(connection, organization_id, log.at(stored.frontier))
    return log


@dataclass(frozen=True, slots=True)
class _Row:
    """What a row of `sealed_batch` says beside its head."""

    id: UUID
    through: int
    cluster: int
    generation: int
    heads_index: int | None
    sealed_at: datetime


async def _add_batch(connection: asyncpg.Connection, growth: Growth, checkpoint: str, row: _Row) -> None:
    await connection.execute(
        "insert into sealed_batch (organization_id, id, tree_size, root_hash, frontier, through_transaction, cluster,"
        " generation, heads_index, sealed_at, checkpoint) values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
        growth.organization_id,
        row.id,
        growth.frontier.size,
        growth.frontier.root,
        growth.frontier.to_bytes(),
        row.through,
        row.cluster,
        row.generation,
        row.heads_index,
        row.sealed_at,
        checkpoint,
    )
