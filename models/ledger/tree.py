"""A tree as it is stored: its last head, the hashes of ranges that proofs are made of, and how it grows.

Every function works on a connection that is set to the tree's organization.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Protocol
from uuid import UUID

from models.base import new_id
from models.ledger.merkle import EMPTY_ROOT, Frontier, Range, complete_subtrees, hash_over, root_of

TILE_LEVELS: Final = 8
"""Of how many levels one is stored: a proof reads at most 256 hashes for each that it could have found there."""


class Fetching(Protocol):
    """What can be asked for rows: asyncpg's connection."""

    async def fetch(self, query: str, *arguments: Any) -> Sequence[Any]:
        """Return the rows of a statement."""


@dataclass(frozen=True, slots=True)
class StoredHead:
    """The last head of a tree, and from where it goes on; see `models/sealed_batch.py: SealedBatch`."""

    frontier: Frontier
    through_transaction: int
    checkpoint: str
    sealed_at: datetime | None
    cluster: int = 0
    generation: int = 1


@dataclass(frozen=True, slots=True)
class Growth:
    """What is to be written for a tree to grow: its new leaves, by the ids that they are found by, in their order."""

    organization_id: UUID
    frontier: Frontier
    first_index: int
    ids: Sequence[UUID]
    hashes: Sequence[bytes]
    nodes: Sequence[tuple[int, int, bytes]]


async def last_head(connection: Fetching, organization_id: UUID) -> StoredHead:
    """Return the tree's last head; that of an empty tree where there is none."""
    rows = await connection.fetch(
        "select tree_size, frontier, through_transaction, checkpoint, sealed_at, cluster, generation from sealed_batch"
        " where organization_id = $1 order by tree_size desc limit 1",
        organization_id,
    )
    if not rows:
        return StoredHead(Frontier(), 0, "", None)
    row = rows[0]
    frontier = Frontier.from_bytes(row["tree_size"], row["frontier"])
    return StoredHead(
        frontier,
        row["through_transaction"],
        row["checkpoint"],
        row["sealed_at"],
        row["cluster"],
        row["generation"],
    )


def grown(organization_id: UUID, frontier: Frontier, ids: Sequence[UUID], hashes: Sequence[bytes]) -> Growth:
    """Return what is to be written once these leaves are appended."""
    nodes: list[tuple[int, int, bytes]] = []

    def completed(level: int, index: int, hashed: bytes) -> None:
        if level % TILE_LEVELS == 0:
            nodes.append((level, index, hashed))

    after = frontier.extended(hashes, completed=completed)
    return Growth(organization_id, after, frontier.size, ids, hashes, nodes)


async def append(connection: Fetching, growth: Growth) -> None:
    """Write the leaves and nodes.

    Raises:
        asyncpg.UniqueViolationError: somebody else wrote leaves of these numbers.
    """
    await connection.fetch(
        "insert into sealed_leaf (organization_id, id, leaf_index, leaf_hash)"
        " select $1, n.id, $2 + n.place - 1, n.hash"
        " from unnest($3::uuid[], $4::bytea[]) with ordinality n(id, hash, place)",
        growth.organization_id,
        growth.first_index,
        growth.ids,
        growth.hashes,
    )
    if growth.nodes:
        await connection.fetch(
            "insert into sealed_node (organization_id, id, level, node_index, node_hash)"
            " select $1, n.* from unnest($2::uuid[], $3::int2[], $4::bigint[], $5::bytea[]) n",
            growth.organization_id,
            [new_id() for _ in growth.nodes],
            [level for level, _, _ in growth.nodes],
            [index for _, index, _ in growth.nodes],
            [hashed for _, _, hashed in growth.nodes],
        )


async def range_hashes(connection: Fetching, organization_id: UUID, ranges: Iterable[Range]) -> list[bytes]:
    """Return the hashes over ranges of leaves, as proofs consist of them, in two statements.

    Raises:
        ValueError: a range is none of a proof.
        LookupError: a leaf or node is missing: the tree is smaller, or damaged.
    """
    wanted = [list(complete_subtrees(start, end)) for start, end in ranges]
    # Each complete subtree is put together from those of the stored level below it.
    parts: dict[tuple[int, int], tuple[int, range]] = {}
    for level, index in (one for each in wanted for one in each):
        stored = level - level % TILE_LEVELS
        first = index << (level - stored)
        parts[level, index] = stored, range(first, first + (1 << (level - stored)))
    known = await _stored_hashes(connection, organization_id, parts.values())
    hashes = {place: root_of(known[level, index] for index in indexes) for place, (level, indexes) in parts.items()}
    return [hash_over([hashes[place] for place in each]) for each in wanted]


async def root_at(connection: Fetching, organization_id: UUID, size: int) -> bytes:
    """Return the root that the tree had at a size, from its leaves and nodes, whatever the heads say.

    Raises:
        LookupError: a leaf or node is missing: the tree is smaller, or damaged.
    """
    if size == 0:
        return EMPTY_ROOT
    (root,) = await range_hashes(connection, organization_id, [(0, size)])
    return root


async def _stored_hashes(
    connection: Fetching, organization_id: UUID, parts: Iterable[tuple[int, range]]
) -> dict[tuple[int, int], bytes]:
    by_level: dict[int, set[int]] = defaultdict(set)
    for level, indexes in parts:
        by_level[level].update(indexes)
    found: dict[tuple[int, int], bytes] = {}
    leaves = by_level.pop(0, set())
    if leaves:
        rows = await connection.fetch(
            "select leaf_index, leaf_hash from sealed_leaf"
            " where organization_id = $1 and leaf_index = any($2::bigint[])",
            organization_id,
            sorted(leaves),
        )
        found |= {(0, row["leaf_index"]): row["leaf_hash"] for row in rows}
    if by_level:
        places = [(level, index) for level, indexes in by_level.items() for index in sorted(indexes)]
        rows = await connection.fetch(
            "select level, node_index, node_hash from sealed_node where organization_id = $1"
            " and (level, node_index) in (select * from unnest($2::int2[], $3::bigint[]))",
            organization_id,
            [level for level, _ in places],
            [index for _, index in places],
        )
        found |= {(row["level"], row["node_index"]): row["node_hash"] for row in rows}
    missing = sum(map(len, by_level.values())) + len(leaves) - len(found)
    if missing:
        raise LookupError(f"{missing} hashes of the tree are missing.")
    return found
