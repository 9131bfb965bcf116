"""A sealed tree as its leaves are told, compared with its heads, its stored nodes, and the heads that others kept.

Each head is compared with the root over all leaves before it, from the leaves alone.
"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import asyncpg

from models.finding import FindingKind, Findings
from models.ledger.checkpoint import CheckpointError, Head, Note, SignatureType, VerifierKey
from models.ledger.merkle import Frontier
from models.ledger.tree import TILE_LEVELS
from resolvers.leaf_reading import WINDOW
from resolvers.sealing import Sealer

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


@dataclass(frozen=True, slots=True)
class VerifiedTree:
    """What was looked at: how many leaves, the root over them, and the row of the last head, if there is one."""

    size: int
    root: bytes
    last: Any


class ToldTree:
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


def _one_line(text: str) -> str:
    return " ".join(text.split())
