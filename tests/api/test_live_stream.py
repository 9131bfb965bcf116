"""A subscription as it goes on, over a connection in this process: what is told where not all can be read."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from auth.errors import ForbiddenError
from models.errors import UnavailableError
from schema.context import RequestContext
from tests.support.feed import a_record, deleted, told
from tests.support.live_in_process import InProcess, following
from tests.support.world import World


@pytest.fixture
async def manager(world: World) -> AsyncIterator[InProcess]:
    """The manager's connection."""
    async with following(world, "manager") as live:
        yield live


async def canal(world: World) -> str:
    """Return the first project's id."""
    return f"Project:{await world.project_id('CANAL')}"


def failing(monkeypatch: pytest.MonkeyPatch, error: Exception) -> list[Exception]:
    """Have rows fail to be read, as long as the error is in the list that is returned."""
    errors, load = [error], RequestContext.load_row

    async def fail(self: RequestContext, *asked: Any) -> Any:
        if errors:
            raise errors[0]
        return await load(self, *asked)

    monkeypatch.setattr(RequestContext, "load_row", fail)
    return errors


async def test_what_can_not_be_read_at_the_moment_is_told_to_who_comes_again(
    world: World, manager: InProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, project = await world.client("manager"), await canal(world)
    first = await a_record(client, project)
    cursor = (await manager.follow())["cursor"]
    errors = failing(monkeypatch, UnavailableError("The keystore is away."))
    made = await a_record(client, project)
    await deleted(client, first)

    manager.wake()
    code, _ = await manager.closed()

    assert (code, manager.unheard()) == (1013, [])
    errors.clear()
    async with following(world, "manager") as again:
        page = await again.follow(after=cursor)
    assert told(page["changes"]) == [("CREATED", made), ("DELETED", first)]
    assert page["changes"][0]["record"]["id"] == made


@pytest.mark.parametrize(
    ("error", "code"), [(ForbiddenError("Not yours."), "FORBIDDEN"), (ValueError("never again"), "INTERNAL")]
)
async def test_what_may_never_be_read_is_told_as_an_error_and_holds_nothing_up(
    world: World, manager: InProcess, monkeypatch: pytest.MonkeyPatch, error: Exception, code: str
) -> None:
    client, project = await world.client("manager"), await canal(world)
    await manager.follow()
    errors = failing(monkeypatch, error)
    await a_record(client, project)

    manager.wake()
    said = await manager.hear()

    assert [one["extensions"]["code"] for one in said["payload"]["errors"]] == [code]
    assert said["payload"]["data"]["changes"]["changes"][0]["record"] is None
    errors.clear()
    late = await a_record(client, project)
    manager.wake()
    assert told((await manager.page())["changes"]) == [("CREATED", late)]
