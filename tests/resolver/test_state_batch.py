"""Requests that arrive together share a statement, and none is answered by one that began before it arrived."""

import asyncio
from collections.abc import Collection, Mapping
from dataclasses import replace
from uuid import UUID

import asyncpg

from auth.principal import Channel, Origin
from auth.token import AccessClaims
from models.base import new_id
from models.errors import UnavailableError
from models.pool import Purpose, open_pool
from resolvers.session import authenticate, learned_claims_of
from resolvers.standing import State, session_states
from resolvers.state_batch import StateBatches
from tests.support.world import World, connect

REVOKE = "update session set revoked_at = clock_timestamp() where id = $1"


class Gated:
    """Reads sessions, and holds back what was read until the gate is opened."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.has_read = asyncio.Event()
        self.asked: list[set[UUID]] = []

    async def __call__(
        self, connection: asyncpg.Connection, organization_id: UUID, ids: Collection[UUID]
    ) -> Mapping[UUID, State]:
        self.asked.append(set(ids))
        found = await session_states(connection, organization_id, ids)
        self.has_read.set()
        await self.gate.wait()
        return found


async def sessions(world: World, *keys: str) -> tuple[UUID, list[UUID]]:
    """Sign people in and return their organization and sessions."""
    for key in keys:
        await world.client(key)
    await world.sql("alter table session disable trigger all")
    rows = await world.sql("select id from session order by created_at")
    return await world.organization_id("clearwater"), [row["id"] for row in rows][-len(keys) :]


async def test_who_arrives_while_a_statement_is_under_way_gets_the_next_one(world: World) -> None:
    organization, (session,) = await sessions(world, "manager")
    read = Gated()
    batches = StateBatches(read)

    before = asyncio.create_task(batches.load(organization, session))
    await read.has_read.wait()
    await world.sql(REVOKE, session)
    after = [asyncio.create_task(batches.load(organization, session)) for _ in range(3)]
    await asyncio.sleep(0.05)
    assert not any(one.done() for one in (before, *after))
    read.gate.set()

    first = await before
    assert first is not None
    assert first["revoked_at"] is None
    for one in await asyncio.gather(*after):
        assert one is not None
        assert one["revoked_at"] is not None
    assert read.asked == [{session}, {session}]


async def test_who_arrives_while_a_connection_is_waited_for_is_asked_about_after_it(world: World) -> None:
    organization, (one, other) = await sessions(world, "manager", "viewer")
    let_in = asyncio.Event()

    async def open_late() -> asyncpg.Connection:
        await let_in.wait()
        return await connect(world.service)

    read = Gated()
    read.gate.set()
    batches = StateBatches(read)
    async with open_pool(Purpose.READING, open_late, largest=1):
        asking = [asyncio.create_task(batches.load(organization, one))]
        await asyncio.sleep(0.05)
        await world.sql(REVOKE, one)
        asking.append(asyncio.create_task(batches.load(organization, other)))
        await asyncio.sleep(0.05)
        let_in.set()
        states = await asyncio.gather(*asking)

    assert [state is not None and state["revoked_at"] is not None for state in states] == [True, False]
    assert read.asked == [{one, other}]


async def test_those_who_arrive_together_are_asked_about_once(world: World) -> None:
    organization, (one, other) = await sessions(world, "manager", "viewer")
    read = Gated()
    read.gate.set()
    batches = StateBatches(read)
    nobody = new_id()

    states = await asyncio.gather(*(batches.load(organization, wanted) for wanted in (one, other, one, nobody, one)))

    assert [None if state is None else state["session_id"] for state in states] == [one, other, one, None, one]
    assert read.asked == [{one, other, nobody}]
    assert not batches._at_work
    assert not batches._waiting


async def test_a_session_of_another_organization_is_none(world: World) -> None:
    _, (session,) = await sessions(world, "manager")

    assert await StateBatches(session_states).load(await world.organization_id("suncoast"), session) is None


async def test_who_stops_waiting_stops_nobody_else(world: World) -> None:
    organization, (one, other) = await sessions(world, "manager", "viewer")
    read = Gated()
    batches = StateBatches(read)
    asking = [asyncio.create_task(batches.load(organization, wanted)) for wanted in (one, one, other)]
    await read.has_read.wait()

    asking[0].cancel()
    late = asyncio.create_task(batches.load(organization, one))
    await asyncio.sleep(0)
    asking[2].cancel()
    read.gate.set()

    answers = await asyncio.gather(*asking, late, return_exceptions=True)
    assert [isinstance(answer, asyncio.CancelledError) for answer in answers] == [True, False, True, False]


async def test_a_statement_that_fails_fails_for_all_who_waited_for_it_and_for_nobody_after(world: World) -> None:
    organization, (session,) = await sessions(world, "manager")
    fails = True

    async def read(connection: asyncpg.Connection, of: UUID, ids: Collection[UUID]) -> Mapping[UUID, State]:
        if fails:
            await world.value("select pg_terminate_backend($1)", await connection.fetchval("select pg_backend_pid()"))
        return await session_states(connection, of, ids)

    batches = StateBatches(read)
    answers = await asyncio.gather(*(batches.load(organization, session) for _ in range(3)), return_exceptions=True)
    assert [type(answer) for answer in answers] == [UnavailableError] * 3

    fails = False
    state = await batches.load(organization, session)
    assert state is not None


async def test_a_database_that_is_away_is_told_to_all(world: World) -> None:
    organization, (session,) = await sessions(world, "manager")

    async def refuse() -> asyncpg.Connection:
        raise ConnectionRefusedError

    batches = StateBatches(session_states)
    async with open_pool(Purpose.READING, refuse, largest=1):
        answers = await asyncio.gather(*(batches.load(organization, session) for _ in range(3)), return_exceptions=True)
    assert [type(answer) for answer in answers] == [UnavailableError] * 3
    assert not batches._at_work
    assert not batches._waiting


async def test_requests_that_arrive_together_take_one_statement(world: World) -> None:
    read = Gated()
    read.gate.set()
    services = replace(world.services, session_states=StateBatches(read))
    origin = Origin(channel=Channel.API, request_id=new_id())
    tokens = [str((await world.client(key)).token) for key in ("manager", "viewer", "owner")]
    claims = [one for token in tokens if isinstance(one := await learned_claims_of(services, token), AccessClaims)]
    assert len(claims) == len(tokens)

    viewers = await asyncio.gather(*(authenticate(services, origin, claims=one) for _ in range(5) for one in claims))

    assert [viewer.user_id for viewer in viewers] == [one.user_id for one in claims] * 5
    assert [viewer.session_id for viewer in viewers] == [one.session_id for one in claims] * 5
    assert read.asked == [{one.session_id for one in claims}]
