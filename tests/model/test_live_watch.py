"""What is told on the channel of changes, and how a process hears of what is not."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import pytest

from auth.action import Action
from fieldward.live_watch import watching_changes
from models.errors import ConflictError
from models.transaction import CHANGED
from resolvers.change import Change, Intent, commit_change
from resolvers.live import Listeners
from tests.support.feed import a_record, write
from tests.support.trail import an_actor
from tests.support.world import World, connect


@pytest.fixture
async def heard(world: World) -> AsyncIterator[list[str]]:
    """What is told while the test runs."""
    connection = await connect(world.service)
    told: list[str] = []

    def hear(*said: Any) -> None:
        told.append(str(said[-1]))

    await connection.add_listener(CHANGED, hear)
    yield told
    await connection.close()


async def test_a_commit_is_told_with_the_organization_and_nothing_else(world: World, heard: list[str]) -> None:
    manager, organization = await world.client("manager"), await world.organization_id("clearwater")
    await asyncio.sleep(0.1)
    heard.clear()

    await a_record(manager, f"Project:{await world.project_id('CANAL')}", comment="Secret.")
    await asyncio.sleep(0.2)

    assert heard == [str(organization)]


async def test_what_was_rolled_back_or_only_read_is_not_told(world: World, heard: list[str]) -> None:
    manager, actor = await world.client("manager"), an_actor(await world.organization_id("clearwater"))
    await asyncio.sleep(0.1)
    heard.clear()

    async def fail(_: Change) -> None:
        raise ConflictError("Not so.")

    with pytest.raises(ConflictError):
        await commit_change(Intent(Action.RECORD_UPDATE, actor), fail)
    assert (await manager.run("{ records(first: 1) { nodes { comment } } }")).errors == []
    await asyncio.sleep(0.2)

    assert heard == []


async def test_a_process_wakes_who_waits_in_that_organization_and_cuts_all_when_it_hears_no_more(world: World) -> None:
    organization, other = [await world.organization_id(slug) for slug in ("clearwater", "suncoast")]
    record = UUID(str(await world.value("select id from record where organization_id = $1 limit 1", organization)))
    listeners, connections = Listeners(), []

    async def opening() -> Any:
        connections.append(await connect(world.service))
        return connections[-1]

    async with watching_changes(listeners, opening):
        await _until(lambda: listeners.is_hearing)
        with listeners.listening(organization) as one, listeners.listening(other) as another:
            await write(organization, record, "Woken")
            await _until(one.woken.is_set)
            assert not another.woken.is_set()
            one.woken.clear()

            connections[0].terminate()
            await _until(lambda: one.is_cut and another.is_cut)
            assert one.woken.is_set()
        await _until(lambda: listeners.is_hearing)
        with listeners.listening(organization) as again:
            assert not again.is_cut
    assert not listeners.is_hearing
    assert listeners.is_empty


async def _until(holds: Any) -> None:
    for _ in range(500):
        if holds():
            return
        await asyncio.sleep(0.02)
    raise AssertionError("It did not come about.")
