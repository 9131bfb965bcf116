"""Proofs that entries are in their organization's tree, and that the tree only grew (RFC 9162)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from models.errors import InvalidInputError
from models.ledger.checkpoint import Head
from models.ledger.merkle import consistency_ranges, inclusion_ranges
from models.ledger.tree import Fetching, range_hashes
from resolvers.checkpoint import newest_checkpoint


@dataclass(frozen=True, slots=True)
class InclusionProof:
    """That a leaf is in the tree of a head: verified by `models/ledger/merkle.py: verify_inclusion`."""

    leaf_index: int
    leaf_hash: bytes
    head: Head
    path: Sequence[bytes]
    checkpoint: str


@dataclass(frozen=True, slots=True)
class SealedTrail:
    """The newest head of an organization's tree."""

    head: Head
    sealed_at: datetime
    checkpoint: str


async def inclusion_proofs(
    connection: Fetching, organization_id: UUID, entry_ids: Sequence[UUID]
) -> Mapping[UUID, InclusionProof]:
    """Return the proof of each entry that is sealed, in the newest head that the connection sees.

    Raises:
        LookupError: the tree is damaged.
    """
    newest = await newest_checkpoint(connection, organization_id)
    if newest is None:
        return {}
    leaves = await connection.fetch(
        "select id, leaf_index, leaf_hash from sealed_leaf where organization_id = $1 and id = any($2::uuid[])",
        organization_id,
        list(entry_ids),
    )
    ranges = {row["id"]: inclusion_ranges(row["leaf_index"], newest.head.size) for row in leaves}
    wanted = list(dict.fromkeys(one for each in ranges.values() for one in each))
    hashes = dict(zip(wanted, await range_hashes(connection, organization_id, wanted), strict=True))
    return {
        row["id"]: InclusionProof(
            row["leaf_index"],
            row["leaf_hash"],
            newest.head,
            [hashes[one] for one in ranges[row["id"]]],
            newest.checkpoint,
        )
        for row in leaves
    }


async def sealed_trail(connection: Fetching, organization_id: UUID) -> SealedTrail | None:
    """Return the newest head; None where nothing is sealed yet."""
    newest = await newest_checkpoint(connection, organization_id)
    if newest is None:
        return None
    [row] = await connection.fetch(
        "select sealed_at from sealed_batch where organization_id = $1 and tree_size = $2",
        organization_id,
        newest.head.size,
    )
    return SealedTrail(newest.head, row["sealed_at"], newest.checkpoint)


async def consistency_proof(
    connection: Fetching, organization_id: UUID, head: Head, old_size: int, size: int
) -> Sequence[bytes]:
    """Return the proof that the tree of a size only grew from that of an old size.

    head: of the tree; no size may be larger than its.

    Raises:
        InvalidInputError: a size is not one that the tree has had. It names the argument.
        LookupError: the tree is damaged.
    """
    if not 0 <= size <= head.size:
        raise InvalidInputError(f"Expected a size from 0 to {head.size}.", field=("to",))
    if not 0 <= old_size <= size:
        raise InvalidInputError(f"Expected a size from 0 to {size}.", field=("from",))
    return await range_hashes(connection, organization_id, consistency_ranges(old_size, size))
