"""A trail that is old: entries written, sealed and decided about long ago, though a test takes seconds."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from auth.principal import Channel, Origin
from models.base import new_id
from models.ledger.checkpoint import Head, HeadSigner, Note
from models.ledger.leaf import SELECT_CHANGE, SELECT_ENTRY, Leaf
from models.ledger.merkle import root_of
from models.ledger.tree import last_head
from models.reading import Snapshot
from models.transaction import Tenant
from resolvers.sealing import Sealer, seal_organization, unsealed_organizations
from resolvers.trail import Actor
from tests.support.access import behind_the_triggers
from tests.support.mutation import mutate
from tests.support.world import World

SEALER = Sealer(HeadSigner(Ed25519PrivateKey.generate()), "fieldward.test")


async def age(world: World, days: float, where: str = "true", *arguments: Any) -> None:
    """Let entries be so much older, as if their time had been another: before they are sealed."""
    await behind_the_triggers(world, "audit_entry", f"at = at - interval '{days} days'", where, *arguments)


async def seal(world: World, *, days: float = 0) -> None:
    """Seal what there is, so long ago."""
    before = await world.now()
    for organization_id in await unsealed_organizations(0):
        while await seal_organization(SEALER, organization_id):
            pass
    await behind_the_triggers(
        world, "sealed_batch", f"sealed_at = sealed_at - interval '{days} days'", "sealed_at > $1", before
    )


async def decide(world: World, kind: str, days: int | None, *, days_ago: float = 8, by: str = "owner") -> None:
    """Decide for the owner's organization how long entries are kept, so long ago."""
    before = await world.now()
    given = {"kind": kind, "days": days, "reason": "As the law says."}
    answer = await mutate(await world.client(by), "setTrailRetention", given)
    assert answer.data["setTrailRetention"]["errors"] == []
    await age(world, days_ago, "action = 'audit.set_retention' and at > $1", before)


async def expiring_actor(world: World, slug: str = "clearwater") -> Actor:
    """Return who lets go of entries: the service itself."""
    return Actor(await world.organization_id(slug), Origin(channel=Channel.JOB, request_id=new_id()))


async def ids_of(world: World, where: str, *arguments: Any) -> set[UUID]:
    """Return the entries for which something holds."""
    return {row["id"] for row in await world.sql(f"select id from audit_entry where {where}", *arguments)}


async def require_whole(organization_id: UUID) -> Sequence[UUID]:
    """Return the entries that left a sealed trail, once it was shown that the rest is as the signed head says.

    The root over all leaf hashes is the signed one, each entry that is there gives its leaf hash, and of each that left
    the entry by which it left names it.
    """
    async with Snapshot(Tenant(organization_id=organization_id)) as connection:
        head = await last_head(connection, organization_id)
        note = Note.parse(head.checkpoint)
        SEALER.signer.verifier_key(SEALER.origin(organization_id)).verify(note)
        signed = Head.parse(note.text)
        leaves = await connection.fetch(
            "select id, leaf_hash, expired_by from sealed_leaf where leaf_index < $1 order by leaf_index", signed.size
        )
        entries = {row["id"]: row for row in await connection.fetch(f"select {SELECT_ENTRY} from audit_entry e")}
        changes: dict[UUID, list[Any]] = {}
        for row in await connection.fetch(f"select {SELECT_CHANGE} from change c order by c.id"):
            changes.setdefault(row["entry_id"], []).append(row)
    assert len(leaves) == signed.size
    assert root_of([row["leaf_hash"] for row in leaves]) == signed.root
    for row in leaves:
        entry = entries.get(row["id"])
        if entry is None:
            assert row["expired_by"] is not None
            act = entries[row["expired_by"]]
            assert act["action"] == "audit.expire"
            assert row["id"] in act["entity_ids"]
            continue
        assert row["expired_by"] is None
        leaf = Leaf()
        leaf.begun()
        for change in changes.pop(row["id"], []):
            leaf.change(change)
        leaf.ended(dict(entry))
        assert leaf.hash == row["leaf_hash"]
    left = {row["id"] for row in leaves} - entries.keys()
    assert not changes.keys() & left
    return sorted(left)
