"""Names are taken away in batches, by an index, and whoever comes after a crash takes away the rest."""

import itertools
from collections.abc import Awaitable, Callable
from typing import Any, Final
from uuid import UUID

import pytest

import resolvers.erasure_name
import resolvers.erasure_row
from fieldward.cli.environment import operator
from models.errors import UnavailableError
from models.reading import OneStatement
from models.transaction import Tenant
from resolvers.change import commit_change
from resolvers.erasure import apply_erasures, erase_name, erase_organization, erase_person
from resolvers.erasure_name import left_in
from tests.support.people import PASSWORD, a_person, invite, sign_in_as
from tests.support.world import World, connect

NAME: Final = "Cora Lindqvist-Ode"
ROWS: Final = 4000
RECORD: Final = (
    "mutation($input: CreateRecordInput!) { createRecord(input: $input) { record { id } errors { message } } }"
)
MULTIPLY: Final = """
    insert into {table}
    select p.* from {table} r, generate_series(1, $2) n,
           lateral jsonb_populate_record(r, jsonb_build_object('id', md5(n::text)::uuid, {but})) p
     where r.id = $1
"""
NAMED: Final = "select count(*) from record where collector_index = $1"


@pytest.fixture
def keystore_database(own_keystore: str) -> str:
    """A keystore of this test's own, whose keys end."""
    return own_keystore


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a change take only a few rows."""
    monkeypatch.setattr(resolvers.erasure_name, "MOST_ROWS", 3)
    monkeypatch.setattr(resolvers.erasure_row, "MOST_ROWS", 3)


async def a_record(world: World, name: str) -> UUID:
    """Have a record that names somebody as its collector."""
    given = {
        "projectId": f"Project:{await world.project_id('CANAL')}",
        "siteCode": "W-1",
        "collectedAt": "2026-02-03T04:05:06Z",
        "medium": "WATER",
        "collector": name,
    }
    answer = await (await world.client("collector")).run(RECORD, {"input": given})
    return UUID(answer.data["createRecord"]["record"]["id"].partition(":")[2])


async def named_records(world: World, count: int, name: str = NAME) -> bytes:
    """Have so many records, and one, that name somebody as their collector; return the name's blind index."""
    record_id = await a_record(world, name)
    await multiply(world, "record", record_id, count, but="'creation_digest', null")
    index: bytes = await world.value("select collector_index from record where id = $1", record_id)
    assert await world.value(NAMED, index) == count + 1
    return index


async def multiply(world: World, table: str, row_id: UUID, count: int, *, but: str) -> None:
    """Have so many more rows like one. but: what is other in them, as arguments of a JSON object."""
    await world.sql(f"alter table {table} disable trigger user")
    await world.sql(MULTIPLY.format(table=table, but=but), row_id, count)
    for (trigger,) in await world.sql(
        "select tgname from pg_trigger where tgrelid = $1::text::regclass and not tgisinternal", table
    ):
        await world.sql(f'alter table {table} enable always trigger "{trigger}"')


async def _name(world: World) -> Any:
    return await erase_name(world.services, operator(), slug="clearwater", names=[NAME], reason="Asked for it.")


async def _person(world: World) -> Any:
    """Erase who was made last, and is called so."""
    email = _EMAILS.pop()
    return await erase_person(world.services, operator(), email=email, reason="Asked for it.")


async def _organization(world: World) -> Any:
    return await erase_organization(world.services, operator(), slug="clearwater", reason="The contract ended.")


_EMAILS: list[str] = []
Erase = Callable[[World], Awaitable[Any]]
ERASES: Final[list[Erase]] = [_name, _person, _organization]


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize("erase", ERASES)
async def test_many_names_are_taken_away_a_few_in_a_change(world: World, erase: Erase) -> None:
    _EMAILS.append((await a_person(world, NAME))[1])
    index = await named_records(world, 10)
    since = await world.now()
    erased = await erase(world)

    assert await world.value(NAMED, index) == 0
    organization_id = await world.organization_id("clearwater")
    assert erased.rows[organization_id]["record"] >= 11
    actions = [one["action"] for one in await world.entries(since=since) if one["entity_ids"] is not None]
    assert actions.count("organization.erase" if erase is _organization else "user.erase") >= 4
    changed = await world.sql(
        "select count(*) from change c"
        " join audit_entry e on e.organization_id = c.organization_id and e.id = c.entry_id"
        " where e.at > $1 and c.entity in ('record', 'invitation') group by e.id",
        since,
    )
    assert {row[0] for row in changed} <= {1, 2, 3}


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize("erase", ERASES)
@pytest.mark.parametrize("after", [1, 2])
async def test_what_broke_off_between_two_changes_is_finished_at_the_next_start(
    world: World, erase: Erase, after: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    _EMAILS.append((await a_person(world, NAME))[1])
    index = await named_records(world, 10)
    commit, number = commit_change, itertools.count(1)

    async def breaks(*given: Any, **more: Any) -> Any:
        if next(number) > after:
            raise UnavailableError("The statement took too long.")
        return await commit(*given, **more)

    with monkeypatch.context() as breaking:
        breaking.setattr(resolvers.erasure_row, "commit_change", breaks)
        with pytest.raises(UnavailableError):
            await erase(world)
    assert await world.value(NAMED, index) > 0

    assert await apply_erasures(world.services, operator()) > 0
    assert await world.value(NAMED, index) == 0
    assert await apply_erasures(world.services, operator()) == 0


async def test_an_organization_that_is_erased_lets_nobody_in_while_its_names_are_taken_away(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, email = await a_person(world)
    client = await sign_in_as(world, email, PASSWORD)
    await sign_in_as(world, email, PASSWORD)

    async def broken(*_: Any) -> Any:
        raise UnavailableError("The statement took too long.")

    monkeypatch.setattr(resolvers.erasure_name, "MOST_ROWS", 1)
    monkeypatch.setattr(resolvers.erasure_row, "MOST_ROWS", 1)
    commit, number = commit_change, itertools.count(1)

    async def breaks(*given: Any, **more: Any) -> Any:
        return await (commit(*given, **more) if next(number) == 1 else broken())

    monkeypatch.setattr(resolvers.erasure_row, "commit_change", breaks)
    with pytest.raises(UnavailableError):
        await _organization(world)
    assert await world.value("select count(*) from session where revoked_at is null") > 0
    assert (await client.run("{ viewer { role } }")).codes == ["UNAUTHENTICATED"]


@pytest.mark.parametrize("analyzed", [True, False])
async def test_names_are_found_by_an_index_and_not_by_looking_through_all(world: World, analyzed: bool) -> None:
    organization_id = await world.organization_id("clearwater")
    # Others have names as well, and so many that no plan looks through them by chance.
    await named_records(world, ROWS, "Somebody Else")
    invitation = UUID((await invite(await world.client("owner"), "nia@clearwater.example")).partition(":")[2])
    await multiply(world, "invitation", invitation, ROWS, but="'status', 'REVOKED'")
    if analyzed:
        await world.sql("analyze record")
        await world.sql("analyze invitation")
    await a_record(world, NAME)
    erased = await _name(world)
    (one,) = [one for one in await world.services.destructions.all() if one.id == erased.id]

    plans = []
    for left in await left_in(world.services.keystore, one, organization_id):
        async with OneStatement(Tenant(organization_id=organization_id)) as connection:
            rows = await connection.fetch(f"explain {left.exists}", organization_id, *left.arguments)
        plans.append("\n".join(row[0] for row in rows))
        service = await connect(world.service)
        async with service.transaction():
            await service.execute("select set_config('fieldward.organization_id', $1, true)", str(organization_id))
            given = (organization_id, *left.arguments, *left.more, 500)
            plans.append("\n".join(row[0] for row in await service.fetch(f"explain {left.taken}", *given)))
        await service.close()

    assert len(plans) == 4
    for plan in plans:
        assert "Seq Scan" not in plan, plan
    for plan in plans[:2]:
        assert "collector >= k.first" in plan, plan
        assert "record_organization_id_collector_idx" in plan, plan
    for plan in plans[2:]:
        assert "email >= k.first" in plan, plan
