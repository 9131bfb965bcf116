"""Whether a sealed tree is what was signed: its leaves, its heads, its stored nodes, and the heads that others kept.

Leaves are taken in the order of their numbers, some hundreds at a time, and each head is compared with the root over
all leaves before it, from the leaves alone. An entry that is not the one of its leaf is named; that its leaf's hash is
the one that was signed, the next head says.
"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

import asyncpg

from auth.action import Action
from models.audit_entry import Outcome
from models.finding import FindingKind, Findings
from models.ledger.checkpoint import CheckpointError, Head, Note, SignatureType, VerifierKey
from models.ledger.merkle import Frontier
from models.ledger.tree import TILE_LEVELS
from models.sealed_batch import HEADS_ID
from resolvers.expiry_verification import named, retention_decisions, verify_expired
from resolvers.leaf_reading import WINDOW, StoredLeaf, leaf_pieces, leaf_windows
from resolvers.pace import Pace
from resolvers.sealing import Sealer

SEALED_WITHIN: Final = timedelta(minutes=1)
"""How old an entry is at the most that no tree holds."""
FIRST_ID: Final = UUID(int=0)
LONGEST_TRANSACTION: Final = timedelta(hours=1)
"""By how much an entry's time may lie before that of one with a lower number: it is when its transaction began."""

SEALED: Final = "Sealed entries"
UNSEALED: Final = "Entries and their leaves"

_HEADS: Final = """
    select id, tree_size, root_hash, frontier, through_transaction, cluster, generation, sealed_at, checkpoint
    from sealed_batch where organization_id = $1 and tree_size > $2 order by tree_size limit $3
"""
_COSIGNATURES: Final = """
    select tree_size, line from cosignature where organization_id = $1 and tree_size = any($2) and witness = any($3)
"""
_NODES: Final = """
    select level, node_index, node_hash from sealed_node where organization_id = $1
    and (level, node_index) in (select * from unnest($2::int2[], $3::bigint[]))
"""
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


@dataclass(frozen=True, slots=True)
class VerifiedTree:
    """What was looked at: how many leaves, the root over them, and the row of the last head, if there is one."""

    size: int
    root: bytes
    last: Any


class _Tree:
    """A tree as its leaves are told, and the heads that it must meet on the way."""

    def __init__(
        self,
        connection: asyncpg.Connection,
        sealer: Sealer,
        findings: Findings,
        organization_id: UUID,
        kept: Sequence[Head],
        witnesses: Sequence[VerifierKey],
    ) -> None:
        self.connection = connection
        self.findings = findings
        self.organization_id = organization_id
        self.sealer = sealer
        self.witnesses = witnesses
        self.generation = 1
        self.frontier = Frontier()
        self.size = 0
        self.is_whole = True
        self.last: Any = None
        self.newest: datetime | None = None
        self.restarts: list[int] = []
        self.begun_anew: list[tuple[int, Any]] = []
        self.coming: Any = None
        self.nodes = 0
        self._kept = sorted(kept, key=lambda one: one.size)
        self._heads: AsyncIterator[Any] = self._in_order()
        self._cosigned: dict[int, list[str]] = {}
        self._waiting: list[bytes] = []
        self._completed: dict[tuple[int, int], bytes] = {}
        self._right = 0
        self._wrong = 0

    async def begin(self) -> None:
        """Look for the first head, and compare heads of the empty tree."""
        self.coming = await anext(self._heads, None)
        self._meet_kept()

    async def add(self, index: int, hashed: bytes) -> None:
        """Append the leaf of that number."""
        if index != self.size:
            if self.is_whole:
                self.findings.add(
                    FindingKind.GAP,
                    f"leaves from {self.size} to {index - 1} are missing" if index > self.size else f"leaf {index}",
                    expected=f"number {self.size}",
                    got=f"number {index}",
                    table="sealed_leaf",
                )
            self.is_whole = False
            self.size = index
        self.size += 1
        if self.is_whole:
            self._waiting.append(hashed)
        await self._meet()

    async def compare_nodes(self) -> None:
        """Compare the nodes that became complete with those that are stored."""
        self._grow()
        completed, self._completed = self._completed, {}
        if not completed:
            return
        self.nodes += len(completed)
        levels, indexes = zip(*completed, strict=True)
        rows = await self.connection.fetch(_NODES, self.organization_id, levels, indexes)
        stored = {(row["level"], row["node_index"]): row["node_hash"] for row in rows}
        for place, hashed in completed.items():
            if stored.get(place) != hashed:
                got = stored[place].hex() if place in stored else "none"
                what = f"node {place[1]} of level {place[0]}"
                self.findings.add(FindingKind.NODE, what, expected=hashed.hex(), got=got, table="sealed_node")

    async def end(self) -> VerifiedTree:
        """Say what no leaf was left for."""
        await self.compare_nodes()
        if self.last is not None and self.size > self.last["tree_size"] and self.coming is None:
            what = f"leaves from {self.last['tree_size']} on"
            self.findings.add(FindingKind.HEAD, what, expected="a signed head over them", got="none")
        elif self.size and self.last is None and self.coming is None:
            self.findings.add(FindingKind.HEAD, "all leaves", expected="a signed head over them", got="none")
        largest = None
        while self.coming is not None:
            largest = self.coming
            self._verify_signed(largest)
            self.coming = await anext(self._heads, None)
        if largest is not None:
            self._truncated(f"the signed head of {largest['tree_size']} leaves", largest["tree_size"])
        for one in self._kept:
            self._truncated(f"the published head of {one.size} leaves", one.size)
        stored = await self.connection.fetchval(
            "select count(*) from sealed_node where organization_id = $1", self.organization_id
        )
        if self.is_whole and stored > self.nodes:
            self.findings.add(FindingKind.NODE, "stored nodes", expected=self.nodes, got=stored, table="sealed_node")
        if self._wrong > 1:
            self.findings.add(FindingKind.FORKED, f"{self._wrong - 1} later heads have other roots, too")
        return VerifiedTree(self.size, self.frontier.root, largest or self.last)

    async def _in_order(self) -> AsyncIterator[Any]:
        after = -1
        while True:
            rows = await self.connection.fetch(_HEADS, self.organization_id, after, WINDOW)
            self._cosigned = await cosignatures(
                self.connection, self.organization_id, [row["tree_size"] for row in rows], self.witnesses
            )
            for row in rows:
                yield row
            if len(rows) < WINDOW:
                return
            after = rows[-1]["tree_size"]

    async def _meet(self) -> None:
        while self.coming is not None and self.coming["tree_size"] <= self.size:
            self._compare(self.coming)
            self.last = self.coming
            self.coming = await anext(self._heads, None)
        self._meet_kept()

    def _meet_kept(self) -> None:
        while self._kept and self._kept[0].size <= self.size:
            one = self._kept.pop(0)
            self._grow()
            if self.is_whole and one.root != self.frontier.root:
                self._forked(f"the published head of {one.size} leaves", one.root)

    def _compare(self, head: Any) -> None:
        self._verify_signed(head)
        if not self.is_whole:
            return
        self._grow()
        if head["tree_size"] != self.size:
            self.findings.add(FindingKind.HEAD, f"the head of {head['tree_size']} leaves", expected=self.size)
        elif head["root_hash"] != self.frontier.root:
            self._wrong += 1
            if self._wrong == 1:
                self._forked(
                    f"the signed head of {self.size} leaves (that of {self._right} was right)", head["root_hash"]
                )
        elif head["frontier"] != self.frontier.to_bytes():
            what = f"the frontier of the head of {self.size} leaves"
            self.findings.add(FindingKind.NODE, what, table="sealed_batch", row_id=head["id"])
        else:
            self._right = self.size

    def _verify_signed(self, head: Any) -> None:
        said = Head(self.sealer.origin(self.organization_id, head["generation"]), head["tree_size"], head["root_hash"])
        what = f"the head of {said.size} leaves"
        if head["generation"] < self.generation:
            expected = f"the log's generation {self.generation}, or a later one"
            self.findings.add(FindingKind.HEAD, what, expected=expected, got=head["generation"])
        if head["generation"] > self.generation:
            self.begun_anew.append((self.last["tree_size"] if self.last is not None else 0, head))
        self.generation = head["generation"]
        try:
            note = Note.parse(head["checkpoint"] + "".join(self._cosigned.get(said.size, ())))
            self.sealer.signer.verifier_key(said.origin).verify(note)
        except CheckpointError as error:
            self.findings.add(FindingKind.SIGNATURE, f"{what}: {error}", table="sealed_batch", row_id=head["id"])
            return
        if note.text != said.text:
            self.findings.add(
                FindingKind.HEAD,
                what,
                expected=_one_line(note.text),
                got=_one_line(said.text),
                table="sealed_batch",
                row_id=head["id"],
            )
        verify_cosignatures(self.findings, what, note, self.witnesses)

    def _forked(self, what: str, root: bytes) -> None:
        got = self.frontier.root.hex()
        self.findings.add(FindingKind.FORKED, what, expected=f"root {root.hex()}", got=f"root {got}")

    def _truncated(self, what: str, size: int) -> None:
        self.findings.add(FindingKind.TRUNCATED, what, expected=f"{size} leaves", got=f"{self.size} leaves")

    def _grow(self) -> None:
        waiting, self._waiting = self._waiting, []

        def completed(level: int, index: int, hashed: bytes) -> None:
            if level % TILE_LEVELS == 0:
                self._completed[level, index] = hashed

        self.frontier = self.frontier.extended(waiting, completed=completed)


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
    tree = _Tree(connection, sealer, findings, findings.organization_id, kept, witnesses)
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
    tree = _Tree(connection, sealer, findings, HEADS_ID, kept, witnesses)
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


async def cosignatures(
    connection: asyncpg.Connection, organization_id: UUID, sizes: Sequence[int], witnesses: Sequence[VerifierKey]
) -> dict[int, list[str]]:
    """Return the lines by which these witnesses cosigned heads, by the heads' sizes."""
    lines: dict[int, list[str]] = {}
    if witnesses and sizes:
        names = [str(one) for one in witnesses]
        for row in await connection.fetch(_COSIGNATURES, organization_id, sizes, names):
            lines.setdefault(row["tree_size"], []).append(row["line"].removesuffix("\n") + "\n")
    return lines


def verify_cosignatures(findings: Findings, what: str, note: Note, witnesses: Sequence[VerifierKey]) -> None:
    """Verify the signatures of witnesses below a head. That there is none yet is not wrong."""
    for witness in witnesses:
        if witness.type is SignatureType.COSIGNATURE and any(one.key_id == witness.id for one in note.signatures):
            try:
                witness.verify(note)
            except CheckpointError as error:
                findings.add(FindingKind.COSIGNATURE, f"{what}: {error}")


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


def _verify_order(tree: _Tree, before: Any, leaf: StoredLeaf) -> None:
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


def _one_line(text: str) -> str:
    return " ".join(text.split())
