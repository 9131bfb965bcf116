"""A count of rows that a restored database is held against: how many there must be, whatever happened since."""

from datetime import timedelta

import asyncpg
import pytest

from resolvers.row_census import Census, compare_census, take_census
from tests.support.mutation import mutate
from tests.support.world import World, connect


async def test_a_census_says_how_many_rows_there_must_be_later(world: World) -> None:
    store = world.services.keystore
    census = Census.of_json((await take_census(store)).to_json())
    manager = await world.client("manager")
    project_id = await world.project_id("CANAL")
    given = {
        "projectId": f"Project:{project_id}",
        "siteCode": "W-1",
        "collectedAt": "2026-01-05T10:00:00Z",
        "medium": "WATER",
    }
    made = await mutate(manager, "createRecord", given, "record { id version }")
    record = made.data["createRecord"]["record"]
    await mutate(manager, "createRecord", given, "record { id version }")
    await mutate(
        manager, "deleteRecord", {"id": record["id"], "expectedVersion": record["version"], "reason": "A slip."}
    )

    rows, wrong = await compare_census(store, census)

    assert wrong == []
    assert rows > census.total


async def test_rows_that_went_without_a_word_are_missed(world: World) -> None:
    census = await take_census(world.services.keystore)
    await world.sql("alter table measurement disable trigger user")
    await world.sql("delete from measurement where id in (select id from measurement limit 3)")
    await world.sql("alter table measurement enable always trigger refuse")

    _, wrong = await compare_census(world.services.keystore, census)

    assert {one.table for one in wrong} == {"measurement"}
    assert sum(one.expected - one.got for one in wrong) == 3


async def test_a_transaction_that_was_not_over_at_the_census_is_counted(world: World) -> None:
    """Its number is lower than those of others that are in the census."""
    connection: asyncpg.Connection = await connect(world.superuser)
    try:
        transaction = connection.transaction()
        await transaction.start()
        await connection.fetchval("select pg_current_xact_id()")
        census = await take_census(world.services.keystore)
        await transaction.rollback()
    finally:
        await connection.close()

    assert census.at <= await world.now() + timedelta(seconds=1)
    assert (await compare_census(world.services.keystore, census))[1] == []


@pytest.mark.parametrize("said", [{}, {"at": "x"}, {"at": "2026-01-01", "snapshot": "1:2:", "rows": []}])
def test_what_is_no_census_is_told(said: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"census|isoformat"):
        Census.of_json(said)
