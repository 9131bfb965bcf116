"""What whoever owns the database, or speaks as the service's role, might try so that nobody finds out."""

from collections.abc import Sequence
from pathlib import Path
from uuid import UUID

import pytest

from auth.action import Action
from models.audit_entry import EntryKind, Outcome
from models.audit_writing import append_entries
from models.base import new_id
from models.errors import ConflictError
from models.ledger.checkpoint import Head
from models.sealed_batch import HEADS_ID
from resolvers.change import Change, Intent, commit_change
from resolvers.publication import new_heads, publication_lag, published_size
from resolvers.sealing import seal_organization
from resolvers.trail import new_entry
from resolvers.trail_sealing import TrailSealing
from resolvers.wall_verification import expected_triggers
from tests.support.incident import just, look_through, refuse
from tests.support.sealing import a_sealer, add_entry, always, writer
from tests.support.trail import about, an_actor, behind, checkpoint, export, kinds, offline, seal_all, verified
from tests.support.world import World


@pytest.fixture
async def organization_id(world: World) -> UUID:
    """The first organization's id."""
    return await world.organization_id("clearwater")


async def _let_go(world: World, organization_id: UUID, ids: Sequence[UUID]) -> None:
    """Delete entries and all that they changed, behind an entry that says that they expired."""
    actor = an_actor(organization_id)
    await world.services.keyring.load(actor.key_owners)
    act = new_entry(
        actor,
        kind=EntryKind.CHANGE,
        action="audit.expire",
        outcome=Outcome.DONE,
        entity="audit_entry",
        entity_ids=ids,
    )
    await append_entries([act])
    await seal_all(world.services)
    act_id = await world.value("select id from audit_entry where action = 'audit.expire'")
    async with behind(world, "audit_entry", "change", "sealed_leaf") as owner:
        await owner.execute("delete from change where entry_id = any($1)", ids)
        await owner.execute("delete from audit_entry where id = any($1)", ids)
        await owner.execute("update sealed_leaf set expired_by = $2 where id = any($1)", ids, act_id)


async def _date_heads_back(world: World, organization_id: UUID, days: int) -> None:
    """Let all have been sealed long ago; the tree of heads tells that somebody did, and nothing else."""
    async with behind(world, "sealed_batch") as owner:
        await owner.execute(
            "update sealed_batch set sealed_at = sealed_at - make_interval(days => $2) where organization_id = $1",
            organization_id,
            days,
        )


async def test_an_entry_does_not_leave_unnoticed_where_nobody_decided_that_it_may(
    world: World, organization_id: UUID, tmp_path: Path
) -> None:
    await seal_all(world.services)
    (made,) = await world.sql(
        "select e.id, l.leaf_index from audit_entry e join sealed_leaf l using (organization_id, id)"
        " where e.organization_id = $1 order by l.leaf_index desc limit 1",
        organization_id,
    )
    await _let_go(world, organization_id, [made["id"]])
    await _date_heads_back(world, organization_id, 1000)

    found = await verified(world)
    key = await export(world, organization_id, tmp_path / "bundle.zip")
    verdict = offline(tmp_path / "bundle.zip", key)

    assert [one.kind for one in about(found, made["id"])] == ["EXPIRED"]
    assert "expired" in verdict.kinds
    assert made["leaf_index"] + 1 in verdict.lines


async def test_an_entry_that_says_it_is_of_long_ago_is_named(
    world: World, organization_id: UUID, tmp_path: Path
) -> None:
    await seal_all(world.services)
    async with writer(world, organization_id) as service:
        entry_id = await add_entry(service, organization_id)
    async with behind(world, "audit_entry") as owner:
        await owner.execute("update audit_entry set at = at - interval '200 days' where id = $1", entry_id)
    await seal_all(world.services)

    found = await verified(world)
    key = await export(world, organization_id, tmp_path / "bundle.zip")

    assert [(one.kind, one.row_id) for one in found.findings] == [("REORDERED", entry_id)]
    assert offline(tmp_path / "bundle.zip", key).kinds == ["reordered"]


async def test_a_log_that_began_anew_without_saying_so_is_named(world: World, organization_id: UUID) -> None:
    await seal_all(world.services)
    sealer = world.services.sealer
    for row in await world.sql("select * from sealed_batch where organization_id = $1", organization_id):
        head = Head(sealer.origin(organization_id, 2), row["tree_size"], row["root_hash"])
        async with behind(world, "sealed_batch") as owner:
            await owner.execute(
                "update sealed_batch set generation = 2, checkpoint = $2 where id = $1",
                row["id"],
                str(sealer.signer.sign(head)),
            )

    unsaid = [one for one in (await verified(world)).findings if "audit.restart" in one.expected]
    actor = an_actor(organization_id)
    await commit_change(Intent(Action.AUDIT_RESTART, actor, entity="organization"), _nothing_else)
    await seal_all(world.services)
    said = [one for one in (await verified(world)).findings if "audit.restart" in one.expected]

    assert [one.kind for one in unsaid] == ["HEAD"]
    assert said == []


async def _nothing_else(_: Change) -> None:
    """Change no row."""


async def test_every_trigger_that_is_gone_or_switched_off_is_named(world: World) -> None:
    await seal_all(world.services)
    assert kinds(await verified(world)) == set()
    triggers = [(table, name) for table, names in expected_triggers().items() for name in names]
    assert {("record", "change_update"), ("audit_entry", "refuse"), ("incident", "change_insert")} <= set(triggers)
    for place, (table, name) in enumerate(triggers):
        how = ("drop trigger {1} on {0}", "alter table {0} disable trigger {1}", "alter table {0} enable trigger {1}")
        await world.sql(how[place % 3].format(table, name))
    await world.sql("alter table change no force row level security")
    await seal_all(world.services)

    found = await verified(world)

    named = {one.what for one in found.findings if one.kind == "WALL"}
    assert named == {f"trigger {name} of {table}" for table, name in triggers} | {"table change"}


async def test_triggers_are_all_that_there_are(world: World) -> None:
    there = await world.sql(
        "select tgrelid::regclass::text as table, tgname as name from pg_trigger where not tgisinternal"
    )

    assert {(row["table"], row["name"]) for row in there} == {
        (table, name) for table, names in expected_triggers().items() for name in names
    }


@pytest.mark.parametrize("where", ["organization", "heads"])
async def test_a_forged_leaf_stops_sealing_loudly(
    world: World, organization_id: UUID, tmp_path: Path, where: str
) -> None:
    sealer = a_sealer(tmp_path)
    await seal_organization(sealer, organization_id)
    tree = organization_id if where == "organization" else HEADS_ID
    async with writer(world, tree) as service:
        await service.execute(
            "insert into sealed_leaf (organization_id, id, leaf_index, leaf_hash)"
            " select $1, $2, max(leaf_index) + 1, decode(repeat('00', 32), 'hex') from sealed_leaf",
            tree,
            new_id(),
        )
    async with writer(world, organization_id) as service:
        await add_entry(service, organization_id)
    job = TrailSealing(sealer, always)

    with pytest.raises(ConflictError):
        await seal_organization(sealer, organization_id)
    while await job.step():
        pass

    assert organization_id in job.failing
    (told,) = await world.sql(
        "select error_code from audit_entry where action = 'audit.seal' and $1 = any(entity_ids)", organization_id
    )
    assert told["error_code"] == "CONFLICT"


async def test_a_forged_leaf_far_ahead_hides_nothing_from_the_judge(world: World, organization_id: UUID) -> None:
    await look_through(world)
    async with writer(world, organization_id) as service:
        await service.execute(
            "insert into sealed_leaf (organization_id, id, leaf_index, leaf_hash)"
            " values ($1, $2, 1000000, decode(repeat('00', 32), 'hex'))",
            organization_id,
            new_id(),
        )
    await _add_unseen(world, organization_id)
    assert await look_through(world) == []
    for _ in range(3):
        await refuse(organization_id, address="192.0.2.7")

    (found,) = await look_through(world, just(denials_from_address=3))

    assert found["rule"] == "denials_from_address"


async def _forge_head(world: World, organization_id: UUID, *, size: int, heads_index: int, checkpoint: str) -> None:
    """Write a head as the service's role, which signs nothing."""
    async with writer(world, organization_id) as service:
        await service.execute(
            "insert into sealed_batch (organization_id, id, tree_size, root_hash, frontier, through_transaction,"
            " cluster, heads_index, sealed_at, checkpoint, generation)"
            " values ($1, $2, $3, decode(repeat('00', 32), 'hex'), '', 0, 0, $4, now(), $5, 1)",
            *(organization_id, new_id(), size, heads_index, checkpoint),
        )


async def test_forged_heads_keep_nobodys_from_being_published_and_put_no_old_one_in_its_place(
    world: World, organization_id: UUID, tmp_path: Path
) -> None:
    sealer = a_sealer(tmp_path)
    await seal_organization(sealer, organization_id)
    old = await checkpoint(world, organization_id)
    async with writer(world, organization_id) as service:
        await add_entry(service, organization_id)
    await seal_organization(sealer, organization_id)
    newest = await checkpoint(world, organization_id)
    await _forge_head(world, new_id(), size=1, heads_index=10**6, checkpoint="no head at all")
    await _forge_head(world, new_id(), size=1, heads_index=10**6 + 1, checkpoint=old)

    found = await new_heads(0)

    assert found.checkpoints == {organization_id: newest, HEADS_ID: await checkpoint(world, HEADS_ID)}


async def test_a_forged_publication_stops_no_later_one(world: World, organization_id: UUID, tmp_path: Path) -> None:
    sealer = a_sealer(tmp_path)
    await seal_organization(sealer, organization_id)
    async with writer(world, HEADS_ID) as service:
        await service.execute(
            "insert into publication (organization_id, id, heads_size, published_at) values ($1, $2, $3, now())",
            *(HEADS_ID, new_id(), 2**62),
        )

    assert await published_size() == 0
    assert await publication_lag() > 0
    assert organization_id in (await new_heads(2**62)).checkpoints


async def _add_unseen(world: World, organization_id: UUID) -> None:
    """Write an entry that no rule looks at, so that the judge has something to look through."""
    async with writer(world, organization_id) as service:
        await add_entry(service, organization_id)
