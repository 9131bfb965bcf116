"""Whether a sealed tree is what was signed, and its leaves are the entries that there are.

Leaves are taken in the order of their numbers, some hundreds at a time. An entry that is not the one of its leaf is
named; that its leaf's hash is the one that was signed, the next head says (`resolvers/tree_comparison.py`).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

import asyncpg

from auth.action import Action
from models.audit_entry import Outcome
from models.finding import FindingKind, Findings
from models.ledger.checkpoint import Head, VerifierKey
from models.sealed_batch import HEADS_ID
from resolvers.expiry_verification import named, retention_decisions, verify_expired
from resolvers.leaf_reading import WINDOW, StoredLeaf, leaf_pieces, leaf_windows
from resolvers.pace import Pace
from resolvers.sealing import Sealer
from resolvers.tree_comparison import ToldTree, VerifiedTree

SEALED_WITHIN: Final = timedelta(minutes=1)
"""How old an entry is at the most that no tree holds."""
FIRST_ID: Final = UUID(int=0)
LONGEST_TRANSACTION: Final = timedelta(hours=1)
"""By how much an entry's time may lie before that of one with a lower number: it is when its transaction began."""

SEALED: Final = "Sealed entries"
UNSEALED: Final = "Entries and their leaves"

_ENTRIES: Final = """
    select e.id, e.at, e.transaction_id, l.id as leaf_id from audit_entry e
    left join lateral (select l.id from sealed_leaf l where l.organization_id = $1 and l.id = e.id limit 1) l on true
    where e.organization_id = $1 and e.id >= $2 order by e.id limit $3
"""
_MOMENT: Final = (
    "select transaction_timestamp() as at, pg_snapshot_xmin(s)::text::bigint as oldest,"
    " pg_snapshot_xmax(s)::text::bigint as coming, (select system_identifier from pg_control_system()) as cluster"
    " from pg_current_snapshot() s"
)


async def verify_organization_tree(
    connection: asyncpg.Connection,
    sealer: Sealer,
    findings: Findings,
    pace: Pace,
    *,
    kept: Sequence[Head] = (),
    witnesses: Sequence[VerifierKey] = (),
) -> VerifiedTree:
    """Verify an organization's tree against its entries, from the snapshot that the connection sees.

    kept: heads of the tree that others kept, whose signatures were verified. witnesses: whose signatures must be right.
    """
    tree = ToldTree(connection, sealer, findings, findings.organization_id, kept, witnesses)
    await tree.begin()
    before: Any = None
    decisions = await retention_decisions(connection, findings.organization_id)
    async for leaves in leaf_windows(connection, findings.organization_id):
        await verify_expired(connection, findings, decisions, leaves)
        hashes = {
            leaf.id: hashed
            async for leaf, _, hashed in leaf_pieces(connection, findings.organization_id, leaves)
            if hashed is not None
        }
        for leaf in leaves:
            _verify_leaf(findings, leaf, hashes.get(leaf.id))
            if leaf.entry is not None:
                _verify_order(tree, before, leaf)
                if leaf.entry["action"] == Action.AUDIT_RESTART and leaf.entry["outcome"] == Outcome.DONE:
                    tree.restarts.append(leaf.index)
            is_last_of_batch = tree.coming is not None and tree.coming["tree_size"] == tree.size + 1
            await tree.add(leaf.index, leaf.hash)
            before = None if is_last_of_batch else leaf.entry
        await tree.compare_nodes()
        await pace.note(SEALED, len(leaves))
    verified = await tree.end()
    for size, head in tree.begun_anew:
        # Else whoever has the key writes all anew under an origin of which nobody has kept a head.
        if not any(index >= size for index in tree.restarts):
            what, expected = (
                f"the head of {head['tree_size']} leaves",
                f"{Action.AUDIT_RESTART} in a leaf from {size} on",
            )
            findings.add(FindingKind.HEAD, what, expected=expected, got=f"the log's generation {head['generation']}")
    await _verify_all_sealed(connection, findings, verified.last, pace)
    return verified


async def verify_heads_tree(
    connection: asyncpg.Connection,
    sealer: Sealer,
    findings: Findings,
    *,
    kept: Sequence[Head],
    witnesses: Sequence[VerifierKey],
    known: "KnownLeaves | None",
) -> VerifiedTree:
    """Verify the tree of heads. known: which of its leaves heads were found for; None where not all were looked for."""
    tree = ToldTree(connection, sealer, findings, HEADS_ID, kept, witnesses)
    await tree.begin()
    async for leaves in leaf_windows(connection, HEADS_ID, with_entries=False):
        for leaf in leaves:
            await tree.add(leaf.index, leaf.hash)
            if known is not None and not known.has(leaf.index):
                what = f"the head of leaf {leaf.index} of the tree of heads"
                findings.add(FindingKind.HEAD, what, expected=leaf.id, got="none", table="sealed_batch", row_id=leaf.id)
        await tree.compare_nodes()
    return await tree.end()


@dataclass(slots=True)
class KnownLeaves:
    """Which leaves of the tree of heads are accounted for: a bit of each."""

    _bits: bytearray = field(default_factory=bytearray)

    def add(self, index: int) -> None:
        """Note a leaf."""
        place = index >> 3
        if place >= len(self._bits):
            self._bits.extend(bytes(max(place + 1 - len(self._bits), 4096)))
        self._bits[place] |= 1 << (index & 7)

    def has(self, index: int) -> bool:
        """Return whether the leaf was noted."""
        return index >> 3 < len(self._bits) and bool(self._bits[index >> 3] & 1 << (index & 7))


def id_after(last: UUID) -> UUID | None:
    """Return the id that follows; None after the last that there can be."""
    return UUID(int=last.int + 1) if last.int < 2**128 - 1 else None


def _verify_leaf(findings: Findings, leaf: StoredLeaf, hashed: bytes | None) -> None:
    if hashed == leaf.hash or (hashed is None and leaf.expired_by is not None):
        return
    findings.add(
        FindingKind.DELETED if hashed is None else FindingKind.CHANGED,
        named(leaf),
        expected=leaf.hash.hex(),
        got="none" if hashed is None else hashed.hex(),
        table="audit_entry",
        row_id=leaf.id,
    )


def _verify_order(tree: ToldTree, before: Any, leaf: StoredLeaf) -> None:
    """Verify that the entry has its place: sorted within its batch, and of no transaction that was sealed before.

    A batch is in the order of transactions, or of time where data were brought from a server that counted others. In
    either, time goes on: who writes an entry of long ago today, under a transaction of today, is found by that.
    """
    entry, last = leaf.entry, tree.last
    is_behind = before is not None and _place(entry) < _place(before) and _place(entry)[1:] < _place(before)[1:]
    if last is not None and entry["at"] is not None:
        is_behind |= entry["transaction_id"] < last["through_transaction"] and entry["at"] < last["sealed_at"]
    if entry["at"] is not None:
        is_behind |= tree.newest is not None and entry["at"] + LONGEST_TRANSACTION < tree.newest
        if tree.newest is None or entry["at"] > tree.newest:
            tree.newest = entry["at"]
    if is_behind:
        got = f"transaction {entry['transaction_id']} of {entry['at']}, behind later ones"
        tree.findings.add(FindingKind.REORDERED, named(leaf), got=got, table="audit_entry", row_id=leaf.id)


def _place(entry: Any) -> tuple[int, datetime, UUID]:
    return entry["transaction_id"], entry["at"] or datetime.min.replace(tzinfo=UTC), entry["id"]


async def _verify_all_sealed(connection: asyncpg.Connection, findings: Findings, last: Any, pace: Pace) -> None:
    """Verify that entries have leaves: those that are old enough, and those of transactions that were sealed."""
    (moment,) = await connection.fetch(_MOMENT)
    # From the number of a transaction of another server nothing follows.
    is_known = last is not None and last["cluster"] == moment["cluster"]
    through = last["through_transaction"] if is_known else 0
    start: UUID | None = FIRST_ID
    while start is not None:
        rows = await connection.fetch(_ENTRIES, findings.organization_id, start, WINDOW * 4)
        for row in rows:
            if row["leaf_id"] is None:
                _verify_unsealed(findings, row, moment, through)
        await pace.note(UNSEALED, len(rows))
        start = id_after(rows[-1]["id"]) if len(rows) == WINDOW * 4 else None


def _verify_unsealed(findings: Findings, row: Any, moment: Any, through: int) -> None:
    transaction, at = row["transaction_id"], row["at"]
    if transaction < through <= moment["oldest"]:
        kind, expected = FindingKind.LATE, f"a transaction from {through} on, as all before were sealed"
    elif transaction >= moment["oldest"] and transaction < moment["coming"]:
        return
    elif at is None or not moment["at"] - SEALED_WITHIN < at < moment["at"] + SEALED_WITHIN:
        kind, expected = FindingKind.UNSEALED, "a leaf within a minute (fieldward audit seal makes them)"
    else:
        return
    got = f"transaction {transaction} of {at}, no leaf"
    what = f"entry {row['id']}"
    findings.add(kind, what, expected=expected, got=got, table="audit_entry", row_id=row["id"])
