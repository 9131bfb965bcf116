"""Connections that keep their tenant: whoever reads sees theirs alone, whatever became of those before them."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from tortoise.connection import get_connection

import models.pool
from models.errors import UnavailableError
from models.inventory import entities
from models.pool import GivenBackError, Purpose, TenantPool, open_pool, pool_for
from models.reading import Moment, OneStatement, Snapshot
from models.transaction import MAIN, Tenant
from resolvers.read import AnotherStatementError, EndedError, Reader
from tests.support.mutation import mutate
from tests.support.world import World

ORGANIZATIONS = "select distinct organization_id from record"
PID = "select pg_backend_pid()"

Way = Callable[[Tenant], AbstractAsyncContextManager[asyncpg.Connection]]
WAYS: list[Way] = [OneStatement, Snapshot]


@dataclass(frozen=True)
class Broken(Tenant):
    """A tenant whose setting does not end well: it is set, and then the statement fails, or takes long."""

    then: str = ""

    def entering(self, *, for_good: bool = False) -> str:
        """Return the setting, committed, with what comes after it."""
        return f"{super().entering(for_good=for_good)}; commit; {self.then}"


@asynccontextmanager
async def pool_of(world: World, size: int) -> AsyncIterator[TenantPool]:
    """Read over a pool of that size, as the service."""

    async def open_one() -> asyncpg.Connection:
        parameters: dict[str, Any] = dict(world.service.dsn_parameters())
        return await asyncpg.connect(**parameters, server_settings={"default_transaction_read_only": "on"})

    async with open_pool(Purpose.READING, open_one, largest=size) as pool:
        yield pool


async def tenants(world: World) -> tuple[Tenant, Tenant]:
    """Return the two tenants of the demo."""
    return (
        Tenant(organization_id=await world.organization_id("clearwater")),
        Tenant(organization_id=await world.organization_id("suncoast")),
    )


async def seen(tenant: Tenant, way: Way = OneStatement) -> set[UUID]:
    """Return whose records the tenant sees."""
    async with way(tenant) as connection:
        return {row["organization_id"] for row in await connection.fetch(ORGANIZATIONS)}


async def pid(tenant: Tenant) -> int:
    """Return which connection the tenant is given."""
    async with OneStatement(tenant) as connection:
        found: int = await connection.fetchval(PID)
        return found


async def run(tenant: Tenant, way: Way, *texts: str) -> None:
    """Run statements on one connection."""
    async with way(tenant) as connection:
        for text in texts:
            await connection.execute(text)


async def until(condition: Callable[[], Awaitable[bool] | bool]) -> None:
    """Wait for what other tasks, or the server, are about to do."""
    for _ in range(500):
        now = condition()
        if now is True or (not isinstance(now, bool) and await now):
            return
        await asyncio.sleep(0.01)
    raise TimeoutError


async def test_tenants_that_take_turns_on_one_connection_see_their_own_rows(world: World) -> None:
    one, other = await tenants(world)
    async with pool_of(world, 1):
        pids = set()
        for way in (*WAYS, *WAYS):
            for tenant in (one, other, other, one):
                assert await seen(tenant, way) == {tenant.organization_id}
                pids.add(await pid(tenant))
    assert len(pids) == 1


async def test_a_tenant_gets_the_connection_that_is_set_to_it(world: World) -> None:
    one, other = await tenants(world)
    async with pool_of(world, 2) as pool:
        seats = [await pool.take(one), await pool.take(other)]
        for seat in seats:
            pool.give_back(seat)
        for tenant, seat in zip((one, other, other, one), (*seats, *reversed(seats)), strict=True):
            taken = await pool.take(tenant)
            assert taken is seat
            pool.give_back(taken)
        # Of two that are set to it, the one that was used last, so that the other can be closed.
        seats = [await pool.take(one), await pool.take(one)]
        for seat in seats:
            pool.give_back(seat)
        assert await pool.take(one) is seats[1]
        # Another's, where there is none: the one that was not used for longest.
        assert await pool.take(other) is seats[0]


@pytest.mark.parametrize("way", WAYS)
async def test_who_has_no_tenant_sees_no_row_on_a_connection_that_had_one(world: World, way: Way) -> None:
    one, _ = await tenants(world)
    async with pool_of(world, 1):
        for entity in entities():
            text = f"select count(*) from {entity.name}"
            async with way(one) as connection:
                await connection.fetchval(text)
            async with way(Tenant()) as connection:
                assert await connection.fetchval(text) == 0, entity.name


async def test_a_person_or_an_address_of_the_one_before_is_not_seen(world: World) -> None:
    one, other = await tenants(world)
    person = await world.value(
        "select user_id from membership where organization_id = $1 limit 1", other.organization_id
    )
    index = await world.value("select email_index from user_account where id = $1", person)
    text = "select count(*) from user_account where id = $1"
    async with pool_of(world, 1):
        for tenant, expected in (
            (Tenant(user_id=person), 1),
            (one, 0),
            (Tenant(email_index=index), 1),
            (Tenant(), 0),
            (Tenant(organization_id=one.organization_id, user_id=person), 1),
            (one, 0),
        ):
            async with OneStatement(tenant) as connection:
                assert await connection.fetchval(text, person) == expected


@pytest.mark.parametrize("way", WAYS)
async def test_nothing_can_be_written(world: World, way: Way) -> None:
    one, _ = await tenants(world)
    for text in (
        "update record set method = 'x'",
        "delete from measurement",
        "insert into audit_entry (id, organization_id) values (gen_random_uuid(), gen_random_uuid())",
        "create temporary table mine (id int)",
    ):
        with pytest.raises((asyncpg.ReadOnlySQLTransactionError, asyncpg.InsufficientPrivilegeError)) as refused:
            async with way(one) as connection:
                await connection.execute(text)
        assert isinstance(refused.value, asyncpg.ReadOnlySQLTransactionError) or "temporary" in text


@pytest.mark.parametrize("way", WAYS)
async def test_after_an_error_the_next_one_sees_their_own(world: World, way: Way) -> None:
    one, other = await tenants(world)
    async with pool_of(world, 1) as pool:
        for tenant in (one, other, one):
            with pytest.raises(asyncpg.DivisionByZeroError):
                await run(one, way, "select 1", "select 1/0")
            with pytest.raises(asyncpg.UndefinedTableError):
                await run(other, way, "begin", "select * from nowhere")
            assert await seen(tenant) == {tenant.organization_id}
        assert pool.in_use == 0


@pytest.mark.parametrize("way", WAYS)
async def test_what_was_cancelled_has_stopped_before_the_next_one_reads(world: World, way: Way) -> None:
    one, other = await tenants(world)

    async def is_asleep() -> bool:
        found = await world.value(
            "select count(*) from pg_stat_activity where query = 'select pg_sleep(60)' and state = 'active'"
        )
        return bool(found)

    async with pool_of(world, 1) as pool:
        for _ in range(3):
            task = asyncio.create_task(run(one, way, "select pg_sleep(60)"))
            await until(is_asleep)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert pool.in_use == 1
            assert await seen(other) == {other.organization_id}
            assert not await is_asleep()
        assert pool.in_use == 0


@pytest.mark.parametrize("way", WAYS)
async def test_a_transaction_that_was_left_open_is_not_handed_on(world: World, way: Way) -> None:
    one, other = await tenants(world)
    async with pool_of(world, 1):
        async with OneStatement(one) as connection:
            await connection.execute("begin")
        async with way(other) as connection:
            assert (
                await connection.fetchval("select count(*) from record where organization_id = $1", one.organization_id)
                == 0
            )
            assert connection.is_in_transaction() is (way is Snapshot)


@pytest.mark.parametrize("way", WAYS)
async def test_who_gave_a_connection_back_can_use_it_no_more(world: World, way: Way) -> None:
    one, other = await tenants(world)
    async with pool_of(world, 1):
        async with way(one) as kept:
            await kept.fetch(ORGANIZATIONS)
        async with way(other):
            with pytest.raises(GivenBackError):
                await kept.fetch(ORGANIZATIONS)


async def test_a_connection_whose_setting_failed_is_closed(world: World) -> None:
    one, other = await tenants(world)
    async with pool_of(world, 1) as pool:
        before = await pid(one)
        with pytest.raises(asyncpg.DivisionByZeroError):
            await seen(Broken(organization_id=other.organization_id, then="select 1/0"))
        assert pool.in_use == 0
        assert await seen(one) == {one.organization_id}
        assert await pid(one) != before


async def test_a_connection_whose_setting_was_cancelled_is_closed(world: World) -> None:
    one, other = await tenants(world)
    async with pool_of(world, 1) as pool:
        before = await pid(one)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await pool.take(Broken(organization_id=other.organization_id, then="select pg_sleep(60)"))
        assert pool.in_use == 0
        assert await seen(one) == {one.organization_id}
        assert await pid(one) != before


async def test_settings_that_somebody_took_back_show_nothing(world: World) -> None:
    one, other = await tenants(world)
    async with pool_of(world, 1):
        assert await seen(one) == {one.organization_id}
        async with OneStatement(one) as connection:
            await connection.execute("reset all")
        assert await seen(one) == set()
        assert await seen(other) == {other.organization_id}
        assert await seen(one) == {one.organization_id}


async def test_a_connection_that_was_lost_is_replaced(world: World) -> None:
    one, other = await tenants(world)

    async def lose(way: Way) -> None:
        async with way(one) as connection:
            await world.value("select pg_terminate_backend($1)", await connection.fetchval(PID))
            await connection.fetch(ORGANIZATIONS)

    async with pool_of(world, 1) as pool:
        lost = await pid(one)
        await world.value("select pg_terminate_backend($1)", lost)
        await asyncio.sleep(0.1)
        assert await seen(other) == {other.organization_id}

        for way in WAYS:
            with pytest.raises(UnavailableError):
                await lose(way)
            assert await seen(one) == {one.organization_id}
        assert pool.in_use == 0


async def test_a_database_that_is_away_leaves_no_place_taken(world: World) -> None:
    one, _ = await tenants(world)

    async def refuse() -> asyncpg.Connection:
        raise ConnectionRefusedError

    async with open_pool(Purpose.READING, refuse, largest=2) as pool:
        answers = await asyncio.gather(*(seen(one) for _ in range(6)), return_exceptions=True)
        assert [type(answer) for answer in answers] == [UnavailableError] * 6
        assert pool.in_use == 0


async def test_who_came_first_is_served_first(world: World) -> None:
    one, other = await tenants(world)
    served = []

    async def ask(number: int) -> None:
        async with OneStatement((one, other)[number % 2]) as connection:
            served.append(number)
            await connection.fetch(ORGANIZATIONS)

    async with pool_of(world, 1) as pool:
        seat = await pool.take(one)
        asking = [asyncio.create_task(ask(number)) for number in range(9)]
        await asyncio.sleep(0)
        asking[4].cancel()
        pool.give_back(seat)
        # What was handed over already goes on to the next as well.
        asking[0].cancel()
        await asyncio.wait(asking)
        assert served == [1, 2, 3, 5, 6, 7, 8]
        assert pool.in_use == 0


async def test_nobody_waits_for_long(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    one, _ = await tenants(world)
    monkeypatch.setattr(models.pool, "LONGEST_WAIT_S", 0.1)
    async with pool_of(world, 1) as pool:
        seat = await pool.take(one)
        with pytest.raises(UnavailableError):
            await seen(one)
        pool.give_back(seat)
        assert await seen(one) == {one.organization_id}


async def test_what_nobody_uses_is_closed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models.pool, "LONGEST_IDLE_S", 0.1)
    one, _ = await tenants(world)
    async with pool_of(world, 5) as pool:
        await asyncio.gather(*(seen(one) for _ in range(20)))
        await until(lambda: len(pool._seats) == 1)
        assert await seen(one) == {one.organization_id}


async def test_many_at_once_see_their_own_whatever_happens_to_some(world: World) -> None:
    one, other = await tenants(world)
    chance = random.Random(7)  # noqa: S311  (a seed, so that it fails again)
    person = await world.value("select user_id from membership where organization_id = $1 limit 1", one.organization_id)
    everybody = (one, other, Tenant(), Tenant(user_id=person))

    async def ask(tenant: Tenant, way: Way, fate: str) -> None:
        async with way(tenant) as connection:
            rows = await connection.fetch(
                "select distinct organization_id, current_setting('fieldward.organization_id') as tenant,"
                " current_setting('fieldward.user_id') as person, current_setting('transaction_read_only') as only"
                " from (select organization_id from record union all select null) r"
            )
            assert {row["organization_id"] for row in rows} - {None} == ({tenant.organization_id} - {None})
            assert {row["tenant"] for row in rows} == {str(tenant.organization_id or "")}
            assert {row["person"] for row in rows} == {str(tenant.user_id or "")}
            assert {row["only"] for row in rows} == {"on"}
            if fate == "fail":
                await connection.fetch("select 1/0")
            elif fate == "raise":
                raise LookupError
            elif fate == "lose":
                connection.terminate()

    async def meet(tenant: Tenant, way: Way, fate: str) -> None:
        task = asyncio.create_task(ask(tenant, way, fate))
        if fate == "cancel":
            await asyncio.sleep(chance.random() / 50)
            task.cancel()
        try:
            await task
        except (asyncpg.DivisionByZeroError, LookupError, asyncio.CancelledError):
            assert fate in {"fail", "raise", "cancel"}

    async with pool_of(world, 3) as pool:
        fates = ["go"] * 6 + ["fail", "raise", "cancel", "cancel", "lose"]
        for _ in range(4):
            await asyncio.gather(
                *(meet(chance.choice(everybody), chance.choice(WAYS), chance.choice(fates)) for _ in range(100))
            )
        await until(lambda: pool.in_use == 0)
        assert len(pool._seats) <= 3


async def test_connections_that_write_have_no_tenant_beyond_a_transaction(world: World) -> None:
    await mutate(await world.client("owner"), "createProject", {"code": "NEW", "name": "New"})
    await (await world.client("manager")).run("{ records(first: 1) { nodes { comment } } }")
    async with get_connection(MAIN).acquire_connection() as changing:
        for connection in (changing, *(seat.connection for seat in pool_for(Purpose.APPENDING)._seats)):
            for setting in ("organization_id", "user_id", "email_index"):
                assert not await connection.fetchval(f"select current_setting('fieldward.{setting}', true)")
            assert await connection.fetch(ORGANIZATIONS) == []
    assert pool_for(Purpose.APPENDING)._seats


async def test_a_snapshot_is_of_one_moment_and_a_statement_of_its_own(world: World) -> None:
    one, _ = await tenants(world)
    text = "select status from organization where id = $1"
    snapshot, apart = Reader(one), Reader(one)
    statuses = []
    for change in ("ACTIVE", "SUSPENDED"):
        await world.sql("alter table organization disable trigger all")
        await world.sql("update organization set status = $2 where id = $1", one.organization_id, change)
        apart.expect_one()
        for reader in (snapshot, apart):
            async with reader.use() as connection:
                statuses.append(await connection.fetchval(text, one.organization_id))
                assert connection.is_in_transaction() is (reader is snapshot)
        await apart.close()

    assert statuses == ["ACTIVE", "ACTIVE", "ACTIVE", "SUSPENDED"]
    assert (snapshot.statements, apart.statements) == (2, 2)
    await snapshot.close()
    async with snapshot.use() as connection:
        assert await connection.fetchval(text, one.organization_id) == "SUSPENDED"
    await snapshot.end()


async def test_where_one_statement_was_expected_there_is_no_second(world: World) -> None:
    one, _ = await tenants(world)
    reader = Reader(one)
    reader.expect_one()
    async with reader.use() as connection:
        await connection.fetch(ORGANIZATIONS)

    with pytest.raises(AnotherStatementError):
        reader.use()
    await reader.close()
    async with reader.use() as connection:
        await connection.fetch(ORGANIZATIONS)
    with pytest.raises(AnotherStatementError):
        reader.expect_one()
    await reader.end()
    with pytest.raises(EndedError):
        async with reader.use():
            pass
    ended = Reader(one)
    ended.expect_one()
    await ended.end()
    with pytest.raises(EndedError):
        async with ended.use():
            pass


async def test_snapshots_of_a_moment_see_what_there_was_then_and_each_tenant_their_own(world: World) -> None:
    one, other = await tenants(world)
    count = "select count(*) from project"
    async with Moment(longest_pause_s=60) as moment:
        async with Snapshot(one, at=moment) as connection:
            before = await connection.fetchval(count)
        await mutate(await world.client("owner"), "createProject", {"code": "NEW", "name": "New"})

        for _ in range(2):
            async with Snapshot(one, at=moment) as connection:
                assert await connection.fetchval(count) == before
                assert {row["organization_id"] for row in await connection.fetch(ORGANIZATIONS)} == {
                    one.organization_id
                }
                with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
                    await connection.execute("delete from project")
            async with Snapshot(other, at=moment) as connection:
                assert {row["organization_id"] for row in await connection.fetch(ORGANIZATIONS)} == {
                    other.organization_id
                }

        async with Snapshot(one) as connection:
            assert await connection.fetchval(count) == before + 1


async def test_a_moment_locks_no_table_between_two_snapshots(world: World) -> None:
    one, _ = await tenants(world)
    locks = "select count(*) from pg_locks l join pg_class c on c.oid = l.relation where c.relname = 'record'"
    async with Moment(longest_pause_s=60) as moment:
        async with Snapshot(one, at=moment) as connection:
            await connection.fetch(ORGANIZATIONS)
            assert await world.value(locks) == 1
        async with Snapshot(one, at=moment):
            assert await world.value(locks) == 0


async def test_a_moment_that_nobody_reads_by_for_too_long_is_over(world: World) -> None:
    one, _ = await tenants(world)
    async with Moment(longest_pause_s=0.2) as moment:
        async with Snapshot(one, at=moment):
            pass
        await asyncio.sleep(0.5)
        with pytest.raises(UnavailableError):
            async with Snapshot(one, at=moment):
                raise AssertionError
    assert await seen(one) == {one.organization_id}


async def test_a_moment_that_the_server_does_not_keep_is_over(world: World) -> None:
    one, _ = await tenants(world)
    async with Moment(longest_pause_s=60) as moment:
        moment._name = "00000003-0000FFFF-1"
        with pytest.raises(UnavailableError):
            async with Snapshot(one, at=moment):
                raise AssertionError
    assert await seen(one) == {one.organization_id}


async def test_nobody_reads_by_a_moment_that_ended(world: World) -> None:
    one, _ = await tenants(world)
    async with Moment(longest_pause_s=60) as moment:
        pass

    with pytest.raises(GivenBackError):
        async with Snapshot(one, at=moment):
            raise AssertionError
