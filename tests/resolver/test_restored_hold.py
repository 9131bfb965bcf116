"""Legal holds in a database that came back: those that stood last stand again."""

from dataclasses import replace
from typing import Any

import pytest

from models.base import new_id
from resolvers.way_in import WaysIn, ways_in
from tests.support.keeping import hold, lift
from tests.support.restored import REASON, noted_once_signed_in, settle
from tests.support.world import World


@pytest.fixture
async def noted(world: World) -> WaysIn:
    """What stands, once everybody who is asked for below has signed in."""
    return await noted_once_signed_in(world)


async def test_a_hold_that_was_placed_since_stands_again(world: World) -> None:
    """Where its subject lies is as the database says, and what it keeps is kept."""
    organization_id = await world.organization_id("clearwater")
    asked = "select id, project_id from record where organization_id = $1 order by id limit 1"
    record = (await world.sql(asked, organization_id))[0]
    for subject in (
        f"Record:{record['id']}",
        f"Project:{record['project_id']}",
        f"User:{await world.member_id('manager')}",
    ):
        await hold(world, subject)
    lifted = await hold(world, f"User:{await world.member_id('collector')}")
    now = await ways_in(world.services.keystore)
    await lift(world, lifted)
    before = await _holds(world)
    await world.sql("alter table legal_hold disable trigger change_delete")
    await world.sql("delete from legal_hold where lifted_at is null")
    await world.sql("alter table legal_hold enable always trigger change_delete")
    since = await world.now()

    settled = await settle(world, now)

    assert settled.holds == 3
    assert await _holds(world) == before
    assert (await settle(world, now)).holds == 0
    owner = await world.client("owner")
    shown = await owner.run("{ legalHolds(first: 9) { nodes { reason liftedAt } } }")
    assert sum(REASON in one["reason"] for one in shown.data["legalHolds"]["nodes"]) == 3
    assert (
        await world.value(
            "select count(*) from change c join audit_entry e on e.organization_id = c.organization_id"
            " and e.id = c.entry_id where c.entity = 'legal_hold' and e.action = 'database.restore' and e.at > $1",
            since,
        )
        == 3
    )


async def _holds(world: World) -> list[Any]:
    columns = "id, subject_kind, subject, project_id, site_code, placed_by_id, lifted_at"
    return [tuple(one) for one in await world.sql(f"select {columns} from legal_hold order by id")]


async def test_a_hold_of_who_joined_since_is_an_owner_s(world: World, noted: WaysIn) -> None:
    organization_id = await world.organization_id("clearwater")
    key = f"{new_id()}:ORGANIZATION:{organization_id}:{new_id()}"
    standing = {**noted.standing[organization_id], "holds": [key]}

    settled = await settle(world, replace(noted, standing={**noted.standing, organization_id: standing}))

    assert settled.holds == 1
    assert await world.value("select placed_by_id from legal_hold") == await world.member_id("owner")
