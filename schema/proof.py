"""Proofs of the audit trail: that an entry is in the organization's tree, and that the tree only grew.

A leaf is shown by its hash alone. Its bytes hold all that an entry changed, also of rows and columns that its reader
may not see; who may have those gets them by `fieldward audit export`.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import strawberry

from auth.permission import Permission
from resolvers.proof import InclusionProof as Proof
from resolvers.proof import SealedTrail, consistency_proof, inclusion_proofs, sealed_trail
from schema.context import RequestContext, context_of
from schema.field import derived, resolved, structure


@structure
@strawberry.type(description="The proof that an entry of the trail is in the organization's tree (RFC 9162, 2.1.3).")
class InclusionProof:
    @resolved("The entry's number in the tree, from 0.", derived())
    def leaf_index(src: strawberry.Parent[Any]) -> int:
        proof: Proof = src
        return proof.leaf_index

    @resolved("The hash of the entry and its changes, in hexadecimal digits.", derived())
    def leaf_hash(src: strawberry.Parent[Any]) -> str:
        proof: Proof = src
        return proof.leaf_hash.hex()

    @resolved("How many leaves the tree has.", derived())
    def tree_size(src: strawberry.Parent[Any]) -> int:
        proof: Proof = src
        return proof.head.size

    @resolved("The root of the tree, in hexadecimal digits.", derived())
    def root_hash(src: strawberry.Parent[Any]) -> str:
        proof: Proof = src
        return proof.head.root.hex()

    @resolved("The hashes from the leaf to the root, in hexadecimal digits.", derived())
    def path(src: strawberry.Parent[Any]) -> list[str]:
        proof: Proof = src
        return [one.hex() for one in proof.path]

    @resolved(
        "The signed head, with what witnesses said of it: a checkpoint by C2SP's tlog-checkpoint. Verify it by the key"
        " at `/audit/verifier-key`.",
        derived(),
    )
    def checkpoint(src: strawberry.Parent[Any]) -> str:
        proof: Proof = src
        return proof.checkpoint


@structure
@strawberry.type(description="The organization's trail as it was sealed last.")
class AuditTrail:
    @resolved("How many entries are sealed.", derived())
    def size(src: strawberry.Parent[Any]) -> int:
        trail: SealedTrail = src
        return trail.head.size

    @resolved("The root of the tree over them, in hexadecimal digits.", derived())
    def root_hash(src: strawberry.Parent[Any]) -> str:
        trail: SealedTrail = src
        return trail.head.root.hex()

    @resolved("When it was sealed, by the database's clock.", derived())
    def sealed_at(src: strawberry.Parent[Any]) -> datetime:
        trail: SealedTrail = src
        return trail.sealed_at

    @resolved("The signed head, with what witnesses said of it: a checkpoint by C2SP's tlog-checkpoint.", derived())
    def checkpoint(src: strawberry.Parent[Any]) -> str:
        trail: SealedTrail = src
        return trail.checkpoint

    @resolved(
        "The proof that the tree only grew from one size to another (RFC 9162, 2.1.4), in hexadecimal digits; empty"
        " from 0, and where both are the same.",
        derived(),
    )
    async def consistency_proof(
        src: strawberry.Parent[Any],
        info: strawberry.Info,
        old_size: Annotated[int, strawberry.argument(name="from", description="The size that it had.")],
        size: Annotated[
            int | None, strawberry.argument(name="to", description="The size that it has got; all by default.")
        ] = None,
    ) -> list[str]:
        trail: SealedTrail = src
        context = context_of(info)
        organization_id = context.viewer.organization_id
        async with context.reader.use() as connection:
            found = await consistency_proof(
                connection, organization_id, trail.head, old_size, trail.head.size if size is None else size
            )
        return [one.hex() for one in found]


async def prove_inclusion(info: strawberry.Info, entry_id: UUID) -> Any:
    """Return the proof of an entry; None while it is not sealed. All that are asked for together are made together."""
    context: RequestContext = context_of(info)

    async def load(ids: Sequence[UUID]) -> list[Proof | None]:
        async with context.reader.use() as connection:
            found = await inclusion_proofs(connection, context.viewer.organization_id, ids)
        return [found.get(one) for one in ids]

    return await context.loader("inclusion proofs", load).load(entry_id)


async def load_trail(info: strawberry.Info) -> Any:
    """Return the organization's trail as it was sealed last; None where nothing is yet."""
    context = context_of(info)
    async with context.reader.use() as connection:
        return await sealed_trail(connection, context.viewer.organization_id)


PROVEN = derived(Permission.AUDIT_READ, needs=("id",))
"""What asking for a proof takes."""
