"""Entries are sealed into trees from which proofs are made."""

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from models.ledger.checkpoint import Head, HeadSigner, Note
from models.ledger.merkle import inclusion_ranges, verify_inclusion
from models.ledger.tree import range_hashes
from models.reading import Snapshot
from models.sealed_batch import HEADS_ID
from models.transaction import Tenant
from resolvers.sealing import Sealer, horizon, seal_organization, unsealed_organizations
from tests.support.world import World


async def test_every_entry_is_sealed_once_and_proved_by_the_signed_head(world: World) -> None:
    sealer = Sealer(HeadSigner(Ed25519PrivateKey.generate()), "fieldward.test")

    for organization_id in await unsealed_organizations(0):
        sealed = await seal_organization(sealer, organization_id)
        assert sealed is not None
        assert not sealed.is_behind
        note = Note.parse(sealed.checkpoint)
        sealer.signer.verifier_key(sealer.origin(organization_id)).verify(note)
        head = Head.parse(note.text)
        async with Snapshot(Tenant(organization_id=organization_id)) as connection:
            leaves = await connection.fetch("select id, leaf_index, leaf_hash from sealed_leaf order by leaf_index")
            entries = await connection.fetch("select id from audit_entry")
            assert {row["id"] for row in leaves} == {row["id"] for row in entries}
            for row in leaves[:: max(1, len(leaves) // 20)]:
                path = await range_hashes(connection, organization_id, inclusion_ranges(row["leaf_index"], head.size))
                verify_inclusion(row["leaf_hash"], row["leaf_index"], head.size, path, head.root)
        assert await seal_organization(sealer, organization_id) is None

    assert await unsealed_organizations(await horizon()) == []
    async with Snapshot(Tenant(organization_id=HEADS_ID)) as connection:
        assert await connection.fetchval("select count(*) from sealed_leaf") > 0
