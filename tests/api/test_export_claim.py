"""Who makes an export, and what becomes of it where that is lost, or what it needs is away."""

import asyncio
from typing import Any

import pytest

from models.errors import UnavailableError, UnknownOutcomeError
from resolvers import export_job
from resolvers.export_file import FileWriting
from tests.support.export import ask, exporting, look, make, take, work
from tests.support.mutation import mutate
from tests.support.world import World

OVER = "update data_export_progress set claimed_until = clock_timestamp() - interval '1 second'"


@pytest.fixture
def slowly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Has an export take many turns, and write what it has in each."""
    monkeypatch.setattr(export_job, "SLICE_S", 0.02)
    monkeypatch.setattr(export_job, "MOVES_EVERY_S", 0.0)
    monkeypatch.setattr("resolvers.export_file.PIECE_SIZE", 2000)
    monkeypatch.setattr("resolvers.export_file.PIECES_AT_ONCE", 0)


@pytest.mark.usefixtures("slowly")
async def test_a_run_whose_lease_ran_out_has_lost_the_export_to_the_same_process_too(world: World) -> None:
    manager = await world.client("manager")
    export_id, job = await ask(manager), exporting(world, batch=1)
    while not await world.value("select count(*) from data_export_piece"):
        assert await job.step()
    first = await world.value("select claimed_by from data_export_progress")

    await world.sql(OVER)
    await job.step()

    assert await world.value("select claimed_by from data_export_progress") != first
    assert job.open_count == 1
    await work(job)
    shown = await look(manager, export_id)
    assert shown["status"] == "READY"
    assert (await take(manager, export_id, shown["fileName"])).content == (await make(world, manager)).content


@pytest.mark.usefixtures("slowly")
async def test_what_is_away_for_one_export_holds_up_no_other(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    manager, job = await world.client("manager"), exporting(world, batch=10)
    export_id = await ask(manager)
    assert await job.step()
    cancelled = await ask(manager)
    await mutate(manager, "cancelExport", {"id": cancelled}, "export { status }")
    destroy = export_job.destroy_keys

    async def is_away(*_: Any) -> None:
        raise UnavailableError("The keystore is away.")

    monkeypatch.setattr(export_job, "destroy_keys", is_away)
    with pytest.raises(UnavailableError):
        await work(job)

    assert (await look(manager, export_id))["status"] == "READY"
    monkeypatch.setattr(export_job, "destroy_keys", destroy)
    await work(job)
    assert await world.value("select count(*) from data_export_progress where swept_at is not null") == 1


async def test_an_outcome_that_nobody_knows_leaves_the_export_to_who_claims_it_next(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    manager = await world.client("manager")
    export_id, job = await ask(manager), exporting(world)
    write, lost = FileWriting.write, [True]

    async def broken_off(self: FileWriting, **given: Any) -> None:
        await write(self, **given)
        if lost and lost.pop():
            raise UnknownOutcomeError("The connection was lost.")

    monkeypatch.setattr(FileWriting, "write", broken_off)
    with pytest.raises(UnknownOutcomeError):
        await work(job)

    assert (await look(manager, export_id))["status"] == "PENDING"
    assert job.open_count == 0
    await world.sql(OVER)
    await work(job)
    assert (await look(manager, export_id))["status"] == "READY"


@pytest.mark.usefixtures("slowly")
async def test_what_is_written_while_it_is_cancelled_goes_as_well(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    manager = await world.client("manager")
    export_id, makes, tidies = await ask(manager), exporting(world, batch=1), exporting(world)
    written, goes_on, write = asyncio.Event(), asyncio.Event(), FileWriting._write

    async def held(self: FileWriting, *given: Any, **more: Any) -> None:
        await write(self, *given, **more)
        written.set()
        await goes_on.wait()

    monkeypatch.setattr(FileWriting, "_write", held)
    making = asyncio.create_task(work(makes))
    await asyncio.wait([making, asyncio.create_task(written.wait())], return_when=asyncio.FIRST_COMPLETED)
    assert written.is_set()
    await mutate(manager, "cancelExport", {"id": export_id}, "export { status }")
    tidying = asyncio.create_task(tidies.step())
    await asyncio.sleep(0.3)
    goes_on.set()
    await asyncio.gather(making, tidying)
    await work(tidies)

    assert (await look(manager, export_id))["status"] == "CANCELLED"
    assert await world.value("select count(*) from data_export_piece") == 0
    assert await world.value("select count(*) from data_export_progress where swept_at is null") == 0
