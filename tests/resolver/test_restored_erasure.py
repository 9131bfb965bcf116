"""Requests for erasure in a database that came back: what may have been taken back is confirmed anew, what was begun is
finished.
"""

from dataclasses import replace
from typing import Any

import pytest

from models.encryption.destruction import Destruction
from resolvers.way_in import WaysIn
from tests.support.erasure import ask_for_name, later, look, of, run_erasures, uuid_of
from tests.support.erasure import done as done_with_erasure
from tests.support.restored import noted_once_signed_in, settle
from tests.support.world import World


@pytest.fixture
async def noted(world: World) -> WaysIn:
    """What stands, once everybody who is asked for below has signed in."""
    return await noted_once_signed_in(world)


async def test_what_was_confirmed_to_be_erased_is_confirmed_anew(world: World, noted: WaysIn) -> None:
    """It may have been taken back after the moment."""
    request = await _confirmed_request(world)
    await later(world, request, days=9)
    since = await world.now()

    settled = await settle(world, noted)
    await run_erasures(world)

    assert settled.erasures_to_confirm == 1
    assert await settle(world, noted) == replace(
        settled, sessions=0, questions=0, signing_keys=1, erasures_to_confirm=0
    )
    seen = await look(await world.client("admin"), request)
    assert (seen["status"], seen["version"]) == ("REQUESTED", request["version"] + 1)
    assert seen["confirmedAt"] is seen["executeAfter"] is seen["confirmedBy"] is None
    assert seen["names"] == '["Noor Haddad"]'
    assert await world.services.destructions.all() == []
    told = await world.sql(
        "select e.action, c.columns from change c join audit_entry e"
        " on e.organization_id = c.organization_id and e.id = c.entry_id"
        " where c.entity = 'erasure_request' and e.at > $1",
        since,
    )
    assert [one["action"] for one in told] == ["database.restore"]
    # And it can be: whoever confirmed it before confirms it now.
    again = await done_with_erasure(await world.client("owner"), "confirmErasure", of(seen))
    assert again["status"] == "CONFIRMED"


async def _confirmed_request(world: World) -> Any:
    asked = await ask_for_name(world, "Noor Haddad")
    return await done_with_erasure(await world.client("owner"), "confirmErasure", of(asked))


async def test_what_was_begun_to_be_erased_is_finished(world: World, noted: WaysIn) -> None:
    """The log of destroyed keys says so, whatever the database does not know."""
    request = await _confirmed_request(world)
    await later(world, request, days=29)
    await world.services.destructions.add(
        Destruction(uuid_of(request), await world.now(), None, None, (await world.organization_id("clearwater"),), ())
    )

    settled = await settle(world, noted)
    await run_erasures(world)

    assert settled.erasures_to_confirm == 0
    assert (await look(await world.client("admin"), request))["status"] == "DONE"


async def test_a_link_that_would_confirm_an_erasure_is_over(world: World, noted: WaysIn) -> None:
    asked = await ask_for_name(world, "Noor Haddad")
    await world.sql("alter table erasure_request disable trigger change_update")
    await world.sql("update erasure_request set token_digest = 'x' where id = $1", uuid_of(asked))
    await world.sql("alter table erasure_request enable always trigger change_update")

    settled = await settle(world, noted)

    assert settled.erasures_to_confirm == 0
    assert await world.value("select token_digest from erasure_request where id = $1", uuid_of(asked)) is None
    assert (await look(await world.client("admin"), asked))["version"] == asked["version"]
