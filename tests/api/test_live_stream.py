"""A subscription as it goes on, over a connection in this process: what is told where not all can be read, how soon,
and how much of it."""

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from itertools import pairwise
from typing import Any, Final

import pytest
from graphql import OperationDefinitionNode, parse

import schema.change_feed
from auth.errors import ForbiddenError, UnauthenticatedError
from models.errors import UnavailableError
from resolvers.allowance import WINDOW_S, Allowances, Quota
from resolvers.services import Services
from schema.context import RequestContext
from schema.limits import require_affordable
from schema.live_stream import PAUSE_S
from tests.support.feed import a_record, deleted, told
from tests.support.live import FOLLOW
from tests.support.live_in_process import InProcess, following
from tests.support.world import World, connect

SOON_S: Final = 5.0
"""Seconds within which a connection is closed whose subscriber stands no more, or on which nothing is heard."""


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


# ------------------------------------------------------------------ what it costs


def cost_of(text: str) -> int:
    """Return what each page of a subscription is reckoned at."""
    document = parse(text)
    [operation] = (one for one in document.definitions if isinstance(one, OperationDefinitionNode))
    return require_affordable(document, operation, {}).requested


class Spending:
    """A quota of so many pages of `FOLLOW` in a second, by a clock that stands still until it is set."""

    def __init__(self, world: World, live: InProcess, *, a_second: float) -> None:
        self.now, self.page = 1000.0, cost_of(FOLLOW)
        self.size = round(self.page * a_second * WINDOW_S)
        quota, nobodys = Quota(None, self.size), Quota(None, None)
        allowances = Allowances(quota, nobodys, clock=lambda: self.now)
        self.services: Services = replace(world.services, allowances=allowances)
        self._allowance = allowances.of_principal(live.who.viewer.principal_id)
        live.who.services = self.services

    @property
    def left(self) -> int:
        """How much of the quota is left."""
        [_, (_, said)] = self._allowance.headers()
        return int(said.partition(b"r=")[2].partition(b";")[0])

    def leave(self, pages: float) -> None:
        """Spend all but so many pages."""
        self._allowance.spend(self.left - round(self.page * pages))


async def test_what_is_told_costs_what_a_query_does_and_what_is_not_costs_nothing(
    world: World, manager: InProcess
) -> None:
    client, project = await world.client("manager"), await canal(world)
    spending = Spending(world, manager, a_second=1)

    await manager.follow()
    for _ in range(3):
        manager.wake()
        await asyncio.sleep(2 * PAUSE_S)
    assert spending.left == spending.size

    for place in range(2):
        made = await a_record(client, project)
        manager.wake()
        assert told((await manager.page())["changes"]) == [("CREATED", made)]
        assert spending.left == spending.size - (place + 1) * spending.page


async def test_where_the_quota_is_spent_it_rests_until_there_is_room(world: World, manager: InProcess) -> None:
    client, project = await world.client("manager"), await canal(world)
    spending = Spending(world, manager, a_second=1)
    await manager.follow()
    spending.leave(1.5)

    seen = await a_record(client, project)
    manager.wake()
    assert told((await manager.page())["changes"]) == [("CREATED", seen)]
    later = await a_record(client, project)
    manager.wake()
    await asyncio.sleep(1.5)
    assert manager.unheard() == []

    spending.now += 1
    assert told((await manager.page(longest_s=SOON_S))["changes"]) == [("CREATED", later)]


@pytest.mark.parametrize("how", ["stands no more", "nothing is heard", "completed"])
async def test_who_rests_for_the_quota_is_ended_as_soon_as_anybody(world: World, manager: InProcess, how: str) -> None:
    client, project = await world.client("manager"), await canal(world)
    # A page in half a minute: so long it would rest.
    spending = Spending(world, manager, a_second=1 / 30)
    await manager.follow()
    spending.leave(0)
    late = await a_record(client, project)
    manager.wake()
    await asyncio.sleep(3 * PAUSE_S)

    if how == "completed":
        await manager.send(type="complete", id="1")
        await manager.send(type="subscribe", id="1", payload={"query": "{ viewer { role } }"})
        spending.now += WINDOW_S
        assert (await manager.hear(longest_s=SOON_S))["payload"]["data"]["viewer"]["role"] == "MEMBER"
        await asyncio.sleep(3 * PAUSE_S)
    elif how == "stands no more":

        def refuse() -> None:
            raise UnauthenticatedError("The session has ended.")

        manager.who.check = refuse
        manager.wake()
        assert (await manager.closed(longest_s=SOON_S))[0] == 4403
    else:
        manager.listeners.cut()
        assert (await manager.closed(longest_s=SOON_S))[0] == 1013
    assert late not in str(manager.unheard())


async def test_a_page_is_read_in_the_time_of_an_operation(world: World) -> None:
    client, project = await world.client("manager"), await canal(world)
    slow = replace(world.services, operation_timeout_s=0.5)
    async with following(world, "manager", slow) as live:
        cursor = (await live.follow())["cursor"]
        made = await a_record(client, project)
        superuser = await connect(world.superuser)
        try:
            async with superuser.transaction():
                await superuser.execute("lock table change in access exclusive mode")
                began = time.monotonic()
                live.wake()
                code, _ = await live.closed()
                took_s = time.monotonic() - began
                # What was asked was taken back from the database, too.
                waiting = await world.value("select count(*) from pg_stat_activity where wait_event_type = 'Lock'")
        finally:
            await superuser.close()
        assert (code, live.unheard(), waiting) == (1013, [], 0)
        assert took_s < SOON_S
    async with following(world, "manager") as again:
        assert told((await again.follow(after=cursor))["changes"]) == [("CREATED", made)]


async def test_it_pauses_from_page_to_page_also_where_there_is_more(
    world: World, manager: InProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, project = await world.client("manager"), await canal(world)
    cursor = (await manager.follow())["cursor"]
    made = [await a_record(client, project) for _ in range(5)]
    monkeypatch.setattr(schema.change_feed, "DEFAULT_PAGE", 1)

    async with following(world, "manager") as again:
        await again.follow(after=cursor)
        heard = [time.monotonic()]
        for record in made[1:]:
            assert told((await again.page())["changes"]) == [("CREATED", record)]
            heard.append(time.monotonic())

    # What is heard late is followed sooner, and never by more than that.
    assert heard[-1] - heard[0] > (len(made) - 2) * PAUSE_S
    assert all(later - sooner < 1 for sooner, later in pairwise(heard))
