"""The sealed trail: a Merkle tree of each organization over its entries, and one over all of their heads.

Written by `resolvers/sealing.py` alone; a trigger refuses every later change, but that a leaf is noted as expired.
The tree of heads is kept as if it were an organization's, under the id `HEADS_ID`; what the service itself did, in no
organization, is in the tree of `SYSTEM_ID`.
"""

from typing import Final
from uuid import UUID

from tortoise import fields

from auth.classification import Classification as C
from models.base import Kept, WardModel, new_id, ward

HEADS_ID: Final = UUID(int=2**128 - 1)
"""Under which the tree over the heads of all organizations is kept."""

_FOR_GOOD: Final = Kept("For good: a trigger refuses every change and deletion.")


class SealedLeaf(WardModel):
    """A leaf of a tree: which entry has which number, and the hash over the entry and its changes.

    `id` is the entry's; in the tree of heads, that of the batch which the leaf is about. `expired_by` is the entry by
    which the trail let go of this one: then the hash is all that is left of it.
    """

    noun = "audit"
    kept = Kept("For good: a trigger refuses every deletion, and every change but the note that its entry left.")
    is_audited = False

    id = ward(C.INTERNAL, fields.UUIDField(primary_key=True))
    organization_id = ward(C.PUBLIC, fields.UUIDField())
    leaf_index = ward(C.INTERNAL, fields.BigIntField())
    leaf_hash = ward(C.INTERNAL, fields.BinaryField())
    expired_by = ward(C.INTERNAL, fields.UUIDField(null=True))

    class Meta:
        table = "sealed_leaf"


class SealedNode(WardModel):
    """The hash of a complete subtree of 256, 65 536, … leaves, from which proofs are made without reading every leaf.

    `level` is 8, 16, …: how many times two subtrees were put together.
    """

    noun = "audit"
    kept = _FOR_GOOD
    is_audited = False

    id = ward(C.INTERNAL, fields.UUIDField(primary_key=True, default=new_id))
    organization_id = ward(C.PUBLIC, fields.UUIDField())
    level = ward(C.INTERNAL, fields.SmallIntField())
    node_index = ward(C.INTERNAL, fields.BigIntField())
    node_hash = ward(C.INTERNAL, fields.BinaryField())

    class Meta:
        table = "sealed_node"


class SealedBatch(WardModel):
    """A signed head: what the tree was when a batch of entries had been added to it.

    `frontier` are the hashes from which it grows on. `through_transaction` is the first transaction of which entries
    may not be in it yet, of the tree of heads those of any organization: a number of the server that `cluster` names.
    `checkpoint` is the head as it was signed (C2SP tlog-checkpoint). `heads_index` is the number of the leaf in the
    tree of heads that is about it. `generation` counts how often the log began anew under another origin, after a
    restore that had lost what was published.
    """

    noun = "audit"
    kept = _FOR_GOOD
    is_audited = False

    id = ward(C.INTERNAL, fields.UUIDField(primary_key=True, default=new_id))
    organization_id = ward(C.PUBLIC, fields.UUIDField())
    tree_size = ward(C.INTERNAL, fields.BigIntField())
    root_hash = ward(C.INTERNAL, fields.BinaryField())
    frontier = ward(C.INTERNAL, fields.BinaryField())
    through_transaction = ward(C.INTERNAL, fields.BigIntField())
    cluster = ward(C.INTERNAL, fields.BigIntField())
    generation = ward(C.INTERNAL, fields.SmallIntField(default=1))
    heads_index = ward(C.INTERNAL, fields.BigIntField(null=True))
    sealed_at = ward(C.INTERNAL, fields.DatetimeField())
    checkpoint = ward(C.INTERNAL, fields.CharField(max_length=4096))

    class Meta:
        table = "sealed_batch"


class Cosignature(WardModel):
    """What a witness said of a signed head: that the log had only grown since it saw it the last time.

    `line` is the signature as it stands below the checkpoint (C2SP tlog-cosignature).
    """

    noun = "audit"
    kept = _FOR_GOOD
    is_audited = False

    id = ward(C.INTERNAL, fields.UUIDField(primary_key=True, default=new_id))
    organization_id = ward(C.PUBLIC, fields.UUIDField())
    tree_size = ward(C.INTERNAL, fields.BigIntField())
    witness = ward(C.INTERNAL, fields.CharField(max_length=512))
    line = ward(C.INTERNAL, fields.CharField(max_length=1024))
    cosigned_at = ward(C.INTERNAL, fields.DatetimeField())

    class Meta:
        table = "cosignature"


class Publication(WardModel):
    """That the heads were laid down at the outside place: all that the tree of heads had seen when it had that size."""

    noun = "audit"
    kept = _FOR_GOOD
    is_audited = False

    id = ward(C.INTERNAL, fields.UUIDField(primary_key=True, default=new_id))
    organization_id = ward(C.PUBLIC, fields.UUIDField())
    heads_size = ward(C.INTERNAL, fields.BigIntField())
    published_at = ward(C.INTERNAL, fields.DatetimeField())

    class Meta:
        table = "publication"
