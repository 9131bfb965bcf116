"""Entries are sealed into trees: every one of them, once, in an order that no later commit changes."""

import asyncio
from pathlib import Path

import pytest

from models.base import new_id
from models.errors import UnavailableError
from models.ledger.leaf import SELECT_CHANGE, SELECT_ENTRY, Leaf
from models.sealed_batch import HEADS_ID
from resolvers import sealing
from resolvers.sealing import Sealer, moment, seal_organization, unsealed_organizations
from resolvers.trail_sealing import TrailSealing, sealing_lag
from tests.support.sealing import (
    a_sealer,
    add_entry,
    always,
    sealed_ids,
    unsealed,
    verify_all_trees,
    verify_tree,
    writer,
)
from tests.support.world import World, connect


@pytest.fixture
def sealer(tmp_path: Path) -> Sealer:
    """A sealer of this test's own."""
    return a_sealer(tmp_path)


async def through(job: TrailSealing) -> None:
    """Let the job work until it has nothing more to do."""
    while await job.step():
        pass


async def test_every_entry_is_sealed_once_and_proved_by_the_signed_head(world: World, sealer: Sealer) -> None:
    job = TrailSealing(sealer, always)
    await through(job)

    assert await unsealed(world) == 0
    await verify_all_trees(world, sealer)
    assert await unsealed_organizations((await moment()).oldest) == []
    assert await sealing_lag() == 0


async def test_a_round_without_anything_to_do_writes_nothing(world: World, sealer: Sealer) -> None:
    job = TrailSealing(sealer, always)
    await through(job)
    before = await world.value("select pg_current_wal_insert_lsn()::text || pg_current_xact_id_if_assigned()::text")
    rows = await world.value("select count(*) from sealed_batch")

    for _ in range(5):
        assert await job.step() is False

    assert await world.value("select count(*) from sealed_batch") == rows
    assert before == await world.value(
        "select pg_current_wal_insert_lsn()::text || pg_current_xact_id_if_assigned()::text"
    )


async def test_what_is_left_in_the_middle_of_a_batch_is_taken_up(
    world: World, sealer: Sealer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sealing, "MOST_CHANGES", 5)
    organization_id = await world.organization_id("clearwater")
    batches = 0
    while await seal_organization(sealer, organization_id) is not None:
        batches += 1

    assert batches > 5
    assert len(await sealed_ids(world, organization_id)) == await world.value(
        "select count(*) from audit_entry where organization_id = $1", organization_id
    )
    await verify_tree(world, sealer, organization_id)


async def test_what_commits_late_is_sealed_after_what_was_there_and_leaves_no_gap(world: World, sealer: Sealer) -> None:
    organization_id = await world.organization_id("clearwater")
    job = TrailSealing(sealer, always)
    await through(job)
    before = await sealed_ids(world, organization_id)
    async with writer(world, organization_id) as late, writer(world, organization_id) as early:
        await late.execute("begin")
        slow = await add_entry(late, organization_id, "CHANGE")
        quick = [await add_entry(early, organization_id) for _ in range(3)]

        await through(job)
        # Nothing that came after the open transaction may be numbered before it.
        assert await sealed_ids(world, organization_id) == before
        assert await sealing_lag() > 0

        await late.execute("commit")
        await through(job)

    assert await sealed_ids(world, organization_id) == [*before, slow, *quick]
    await verify_tree(world, sealer, organization_id)
    assert await sealing_lag() == 0


async def test_an_open_transaction_of_one_organization_holds_up_what_came_after_it_and_nothing_else(
    world: World, sealer: Sealer
) -> None:
    mine, other = [await world.organization_id(slug) for slug in ("clearwater", "suncoast")]
    job = TrailSealing(sealer, always)
    await through(job)
    async with writer(world, mine) as late, writer(world, other) as early:
        quick = await add_entry(early, other)
        await late.execute("begin")
        await add_entry(late, mine, "CHANGE")

        await through(job)
        assert (await sealed_ids(world, other))[-1] == quick
        await late.execute("rollback")


async def test_two_sealers_at_once_number_every_entry_once(world: World, sealer: Sealer) -> None:
    first, second = TrailSealing(sealer, always), TrailSealing(sealer, always)

    await asyncio.gather(through(first), through(second))
    await through(first)

    assert await unsealed(world) == 0
    await verify_all_trees(world, sealer)


async def test_an_organization_that_fails_holds_up_no_other_and_is_tried_again(
    world: World, sealer: Sealer, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = await world.organization_id("clearwater")
    clock = [0.0]
    monkeypatch.setattr("resolvers.trail_sealing.time.monotonic", lambda: clock[0])
    await world.sql("alter table sealed_leaf add constraint broken check (organization_id <> $$" + str(broken) + "$$)")
    job = TrailSealing(sealer, always)
    moment = await world.now()

    await through(job)

    assert await sealed_ids(world, broken) == []
    left = await world.sql(
        "select distinct organization_id from audit_entry e where at < $1"
        " and not exists (select from sealed_leaf l where l.id = e.id)",
        moment,
    )
    assert [row["organization_id"] for row in left] == [broken]
    (told,) = await world.entries(since=moment)
    assert (told["action"], told["outcome"], told["entity_ids"]) == ("audit.seal", "FAILED", [broken])
    assert await sealing_lag() > 0

    await world.sql("alter table sealed_leaf drop constraint broken")
    assert await job.step() is False
    clock[0] += 120
    await through(job)

    assert await unsealed(world) == 0
    await verify_all_trees(world, sealer)
    assert await sealing_lag() == 0


async def test_a_sealer_that_starts_again_goes_on_where_the_last_one_stopped(
    world: World, sealer: Sealer, monkeypatch: pytest.MonkeyPatch
) -> None:
    organization_id = await world.organization_id("clearwater")
    job = TrailSealing(sealer, always)
    await through(job)
    async with writer(world, organization_id) as connection:
        await add_entry(connection, organization_id)
        await through(job)
        coming = [await add_entry(connection, organization_id) for _ in range(3)]

    async def refuse() -> None:
        raise AssertionError("It looked through whole trails.")

    monkeypatch.setattr("resolvers.trail_sealing.organizations_with_trails", refuse)
    await through(TrailSealing(sealer, always))

    assert (await sealed_ids(world, organization_id))[-3:] == coming


@pytest.mark.parametrize("was_sealed", [True, False])
async def test_data_that_came_from_another_server_are_sealed_whatever_their_transactions(
    world: World, sealer: Sealer, was_sealed: bool
) -> None:
    organization_id = await world.organization_id("clearwater")
    if was_sealed:
        await through(TrailSealing(sealer, always))
    async with writer(world, organization_id) as connection:
        ids = [await add_entry(connection, organization_id) for _ in range(4)]
    superuser = await connect(world.superuser)
    await superuser.execute("set session_replication_role = replica")
    for table, names in {"audit_entry": ["refuse", "stamp"], "sealed_batch": ["refuse"]}.items():
        for name in names:
            await superuser.execute(f"alter table {table} disable trigger {name}")
    # As numbers of a server that had come further, and of one that had not come as far.
    await superuser.execute("update audit_entry set transaction_id = transaction_id + 5000000000 where id = $1", ids[0])
    await superuser.execute("update audit_entry set transaction_id = 3 where id = $1", ids[1])
    await superuser.execute("update sealed_batch set cluster = 7, through_transaction = through_transaction + 5000000")
    await superuser.execute("alter table audit_entry enable always trigger stamp")
    await superuser.close()

    job = TrailSealing(sealer, always)
    await through(job)
    async with writer(world, organization_id) as connection:
        ids.append(await add_entry(connection, organization_id))
    await through(job)

    assert await unsealed(world) == 0
    assert set(ids) <= set(await sealed_ids(world, organization_id))
    await verify_all_trees(world, sealer)
    again = TrailSealing(sealer, always)
    await through(again)
    assert await sealing_lag() == 0


async def test_who_does_not_lead_seals_nothing_and_takes_over_once_they_do(world: World, sealer: Sealer) -> None:
    leads = False

    async def leading() -> bool:
        return leads

    job = TrailSealing(sealer, leading)
    before = await unsealed(world)
    assert await job.step() is False
    assert await unsealed(world) == before

    leads = True
    await through(job)
    assert await unsealed(world) == 0


async def test_a_database_that_is_away_is_waited_for(world: World, sealer: Sealer) -> None:
    is_away = True

    async def leading() -> bool:
        if is_away:
            raise UnavailableError("away")
        return True

    job = TrailSealing(sealer, leading)
    assert await job.step() is False

    is_away = False
    await through(job)
    assert await unsealed(world) == 0


async def test_a_leaf_of_many_changes_is_made_from_a_few_at_a_time(world: World, sealer: Sealer) -> None:
    organization_id = await world.organization_id("clearwater")
    async with writer(world, organization_id) as connection:
        entry_id = await add_entry(connection, organization_id)
    superuser = await connect(world.superuser)
    await superuser.execute(
        "insert into change (organization_id, entry_id, operation, entity, entity_id, columns)"
        " select $1, $2, 'UPDATE', 'record', gen_random_uuid(), jsonb_build_object('n', jsonb_build_array(n, n + 1))"
        " from generate_series(1, 100000) n",
        organization_id,
        entry_id,
    )
    await through(TrailSealing(sealer, always))

    # By another way than the sealer's.
    leaf = Leaf()
    leaf.begun()
    changes = f"select {SELECT_CHANGE} from change c where c.entry_id = $1 order by c.id"
    for row in await superuser.fetch(changes, entry_id):
        leaf.change(dict(row))
    (entry,) = await superuser.fetch(f"select {SELECT_ENTRY} from audit_entry e where e.id = $1", entry_id)
    leaf.ended(dict(entry))
    await superuser.close()
    assert leaf.hash == await world.value("select leaf_hash from sealed_leaf where id = $1", entry_id)
    await verify_tree(world, sealer, organization_id)


async def test_the_trees_take_no_change_and_are_seen_by_their_tenant_alone(world: World, sealer: Sealer) -> None:
    mine, other = [await world.organization_id(slug) for slug in ("clearwater", "suncoast")]
    await through(TrailSealing(sealer, always))
    async with writer(world, mine) as connection:
        for table in ("sealed_leaf", "sealed_node", "sealed_batch", "cosignature", "publication"):
            seen = {row[0] for row in await connection.fetch(f"select distinct organization_id from {table}")}
            assert seen <= {mine}
            for statement in (f"delete from {table}", f"update {table} set id = id", f"truncate {table}"):
                with pytest.raises(Exception, match="permission denied"):
                    await connection.execute(statement)
        with pytest.raises(Exception, match="row-level security"):
            await connection.execute(
                "insert into publication (organization_id, id, heads_size, published_at) values ($1, $2, 1, now())",
                other,
                new_id(),
            )
        await connection.execute("select set_config('fieldward.sealing', 'on', false)")
        seen = {row[0] for row in await connection.fetch("select distinct organization_id from audit_entry")}
        assert seen == {mine}
    assert await sealed_ids(world, HEADS_ID) != []
