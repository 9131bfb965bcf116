"""A database that was set back, or changed, gets no new head; what the operator says of it begins a log anew."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from uuid import UUID

import pytest

from auth.principal import SYSTEM_ID
from fieldward.cli.environment import operator
from models.errors import ConflictError, InvalidInputError, UnavailableError
from models.ledger.checkpoint import Head, Note
from models.outside.place import FilePlace
from models.sealed_batch import HEADS_ID
from models.signed_heads import SignedHeads
from resolvers.log_restart import restart_log
from resolvers.publication import HeadPublishing, reader_of
from resolvers.rollback_guard import SetBackError
from resolvers.sealing import Sealer, seal_organization
from resolvers.trail_sealing import TrailSealing, seal_everything, sealing_lag
from tests.support.sealing import a_sealer, add_entry, always, sealed_ids, verify_all_trees, writer
from tests.support.world import World, connect

TABLES = ("sealed_leaf", "sealed_node", "sealed_batch", "cosignature", "publication")


@pytest.fixture
async def organization_id(world: World) -> UUID:
    """An organization with a trail."""
    return await world.organization_id("clearwater")


async def add(world: World, organization_id: UUID, count: int = 3) -> list[UUID]:
    """Write entries, and return their ids."""
    async with writer(world, organization_id) as connection:
        return [await add_entry(connection, organization_id) for _ in range(count)]


async def keep(world: World) -> dict[str, Sequence[tuple[object, ...]]]:
    """Return what the trees hold: a backup of them."""
    return {table: [tuple(row) for row in await world.sql(f"select * from {table}")] for table in TABLES}


async def set_back(world: World, kept: dict[str, Sequence[tuple[object, ...]]], without: Sequence[UUID] = ()) -> None:
    """Put the trees back to what they were, and take entries out of the trail: what an older backup does."""
    superuser = await connect(world.superuser)
    for table, rows in kept.items():
        await superuser.execute(f"alter table {table} disable trigger refuse")
        await superuser.execute(f"delete from {table}")
        await superuser.copy_records_to_table(table, records=rows)
        await superuser.execute(f"alter table {table} enable always trigger refuse")
    await superuser.execute("alter table audit_entry disable trigger refuse")
    await superuser.execute("delete from audit_entry where id = any($1)", list(without))
    await superuser.execute("alter table audit_entry enable always trigger refuse")
    await superuser.close()


async def test_a_log_that_was_set_back_gets_no_new_head(world: World, organization_id: UUID, tmp_path: Path) -> None:
    sealer = a_sealer(tmp_path)
    await seal_everything(sealer)
    backup = await keep(world)
    lost = await add(world, organization_id)
    await seal_everything(sealer)
    await set_back(world, backup, without=lost)
    heads = len(backup["sealed_batch"])
    await add(world, organization_id, 10)

    # The process that has seen the larger head, and one that has just started and finds it written down.
    for one in (sealer, a_sealer(tmp_path, signer=sealer.signer)):
        with pytest.raises(SetBackError, match="was set back"):
            await seal_organization(one, organization_id)
        assert await world.value("select count(*) from sealed_batch") == heads
    moment = await world.now()
    found = await seal_everything(sealer)
    # The heads' log was set back with it, so nothing of anybody is signed: the service's own trail waits as well.
    assert found.failed == [SYSTEM_ID, organization_id]
    assert found.lag_s > 0
    told = (await world.entries(since=moment))[0]
    assert (told["organization_id"], told["action"], told["outcome"], told["error_code"], told["entity_ids"]) == (
        SYSTEM_ID,
        "audit.seal",
        "FAILED",
        "CONFLICT",
        [organization_id],
    )


async def test_the_log_of_the_heads_that_was_set_back_gets_no_new_head_either(
    world: World, organization_id: UUID, tmp_path: Path
) -> None:
    sealer = a_sealer(tmp_path)
    other = await world.organization_id("suncoast")
    await seal_everything(sealer)
    backup = await keep(world)
    lost = await add(world, organization_id)
    await seal_everything(sealer)
    await set_back(world, backup, without=lost)
    await add(world, other)

    # Of this organization nothing was lost; but the heads' tree forgot that another one had grown.
    with pytest.raises(SetBackError, match="heads"):
        await seal_organization(sealer, other)


async def test_a_tree_that_was_changed_below_its_published_head_gets_no_new_head(
    world: World, organization_id: UUID, tmp_path: Path
) -> None:
    sealer = a_sealer(tmp_path)
    await seal_everything(sealer)
    superuser = await connect(world.superuser)
    await superuser.execute("alter table sealed_leaf disable trigger user")
    await superuser.execute(
        "update sealed_leaf set leaf_hash = sha256('') where organization_id = $1 and leaf_index = 2", organization_id
    )
    await superuser.close()
    await add(world, organization_id)

    with pytest.raises(SetBackError):
        await seal_organization(a_sealer(tmp_path, signer=sealer.signer), organization_id)


async def test_another_machine_finds_what_was_published_at_the_outside_place(
    world: World, organization_id: UUID, tmp_path: Path
) -> None:
    here, there, place = tmp_path / "here", tmp_path / "there", FilePlace(tmp_path / "outside")
    for directory in (here, there, tmp_path / "outside"):
        directory.mkdir()
    sealer = a_sealer(here)
    await seal_everything(sealer)
    backup = await keep(world)
    lost = await add(world, organization_id)
    await seal_everything(sealer)
    await HeadPublishing(always, place).step()
    await set_back(world, backup, without=lost)
    await add(world, organization_id, 10)
    other = a_sealer(there, reader_of(place, sealer), signer=sealer.signer)

    with pytest.raises(SetBackError):
        await seal_organization(other, organization_id)

    # One that can't read the place, and knows nothing by itself, waits rather than sign.
    (tmp_path / "outside").rename(tmp_path / "unmounted")
    (tmp_path / "elsewhere").mkdir()
    blind = a_sealer(tmp_path / "elsewhere", reader_of(place, sealer), signer=sealer.signer)
    with pytest.raises(UnavailableError):
        await seal_organization(blind, organization_id)
    assert await sealing_lag() > 0


async def test_a_head_that_was_written_down_and_never_committed_holds_up_nothing(
    world: World, organization_id: UUID, tmp_path: Path
) -> None:
    sealer = a_sealer(tmp_path)
    await seal_everything(sealer)
    last = Note.parse(
        await world.value(
            "select checkpoint from sealed_batch where organization_id = $1 order by tree_size desc limit 1",
            organization_id,
        )
    )
    head = Head.parse(last.text)
    signed = SignedHeads(tmp_path / "signed-heads.sqlite")
    signed.note([(head, Head(head.origin, head.size + 7, bytes(32)))])
    await add(world, organization_id)

    again = a_sealer(tmp_path, signer=sealer.signer)
    assert await seal_organization(again, organization_id) is not None

    # Once it is noted as committed, it was there.
    signed.note([(head, Head(head.origin, head.size + 70, bytes(32)))])
    signed.settle([Head(head.origin, head.size + 70, bytes(32))])
    await add(world, organization_id)
    with pytest.raises(SetBackError):
        await seal_organization(a_sealer(tmp_path, signer=sealer.signer), organization_id)


async def test_a_head_is_written_down_before_it_is_committed(
    world: World, organization_id: UUID, tmp_path: Path
) -> None:
    sealer = a_sealer(tmp_path)
    await seal_everything(sealer)
    await add(world, organization_id)
    before = await world.value("select count(*) from sealed_batch")
    (tmp_path / "signed-heads.sqlite").unlink()
    (tmp_path / "signed-heads.sqlite").mkdir()

    with pytest.raises(UnavailableError):
        await seal_organization(sealer, organization_id)

    assert await world.value("select count(*) from sealed_batch") == before


async def test_the_operator_begins_a_log_anew_and_the_trail_says_which_head_was_lost(
    world: World, organization_id: UUID, tmp_path: Path
) -> None:
    sealer = a_sealer(tmp_path)
    services = replace(world.services, sealer=sealer)
    other = await world.organization_id("suncoast")
    await seal_everything(sealer)
    backup = await keep(world)
    kept = await sealed_ids(world, organization_id)
    lost = await add(world, organization_id)
    await seal_everything(sealer)
    with pytest.raises(ConflictError):
        await restart_log(services, operator(), slug="clearwater", reason="Nothing is wrong")
    await set_back(world, backup, without=lost)
    with pytest.raises(InvalidInputError):
        await restart_log(services, operator(), slug="clearwater", reason=" ")

    done = await restart_log(services, operator(), slug="clearwater", reason="The disk failed")

    assert done.origin == f"audit.test/organization/{organization_id}/2"
    assert (done.kept_size, done.lost_size) == (len(kept), len(kept) + 3)
    entry = (await world.sql("select id, reason from audit_entry where action = 'audit.restart'"))[0]
    assert entry["reason"] is not None
    leaves = await sealed_ids(world, organization_id)
    assert leaves[: len(kept)] == kept
    assert entry["id"] in leaves
    # From now on it is a log like any other, for every organization.
    await add(world, other)
    await add(world, organization_id)
    assert (await seal_everything(sealer)).failed == []
    assert (await seal_everything(a_sealer(tmp_path, signer=sealer.signer))).failed == []
    await verify_all_trees(world, sealer)
    heads = await world.value(
        "select checkpoint from sealed_batch where organization_id = $1 order by tree_size desc limit 1", HEADS_ID
    )
    assert heads.startswith("audit.test/heads/2\n")
    backup = await keep(world)
    lost = await add(world, organization_id)
    await seal_everything(sealer)
    await set_back(world, backup, without=lost)
    await add(world, organization_id)
    with pytest.raises(SetBackError):
        await seal_organization(sealer, organization_id)


async def test_a_running_sealer_goes_on_after_the_log_began_anew(
    world: World, organization_id: UUID, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [0.0]
    monkeypatch.setattr("resolvers.trail_sealing.time.monotonic", lambda: clock[0])
    sealer = a_sealer(tmp_path)
    job = TrailSealing(sealer, always)
    while await job.step():
        pass
    backup = await keep(world)
    lost = await add(world, organization_id)
    await job.step()
    await set_back(world, backup, without=lost)
    await add(world, organization_id)
    await job.step()
    assert job.failing == [organization_id]

    beside = replace(world.services, sealer=a_sealer(tmp_path, signer=sealer.signer))
    await restart_log(beside, operator(), slug="clearwater", reason="The disk failed")
    clock[0] += 120
    while await job.step():
        pass

    assert job.failing == []
    await verify_all_trees(world, sealer)
    assert isinstance(sealer, Sealer)
