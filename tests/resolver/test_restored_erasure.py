"""Requests for erasure in a database that came back: what may have been taken back is confirmed anew, what was begun is
finished.
"""

from dataclasses import replace
from typing import Any

import pytest

from models.encryption.destruction import Destruction
from resolvers.erasure_metric import erasure_figures
from resolvers.way_in import WaysIn, ways_in
from tests.support.access import behind_the_triggers
from tests.support.erasure import ask_for_name, later, look, of, run_erasures, uuid_of
from tests.support.erasure import done as done_with_erasure
from tests.support.people import PASSWORD, a_person, sign_in_as
from tests.support.restored import noted_once_signed_in, settle
from tests.support.world import World

OPENED = "select rule, key from incident order by created_at, rule"


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
    assert seen["executeAfter"] is seen["confirmedBy"] is None
    # That it was is still known: the days go on.
    assert seen["confirmedAt"] is not None
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


async def test_what_a_person_had_confirmed_is_not_forgotten_in_silence(world: World, noted: WaysIn) -> None:
    """They know that it was confirmed, and not that it is to be once more."""
    _, email = await a_person(world)
    client = await sign_in_as(world, email, PASSWORD)
    request = await done_with_erasure(client, "requestMyErasure", {})
    request = await done_with_erasure(client, "confirmErasure", of(request, password=PASSWORD))
    await settle(world, noted)
    await later(world, request, days=22)
    await run_erasures(world)
    before = await world.sql(OPENED)
    await later(world, request, days=2)
    await run_erasures(world)
    due = await world.sql(OPENED)

    await later(world, request, days=7)
    for _ in range(2):
        await run_erasures(world)

    key = f"erasure:{uuid_of(request)}"
    assert before == []
    assert [tuple(row) for row in due] == [("erasure_due", key)]
    assert [tuple(row) for row in await world.sql(OPENED)] == [("erasure_due", key), ("erasure_overdue", key)]
    figures = await erasure_figures()
    assert (figures.open, figures.overdue) == (1, 1)
    # And it is theirs to confirm, late as it is.
    client = await sign_in_as(world, email, PASSWORD)
    seen = await look(client, request)
    assert seen["status"] == "REQUESTED"
    await done_with_erasure(client, "confirmErasure", of(seen, password=PASSWORD))
    await run_erasures(world)
    assert await world.value("select status from erasure_request where id = $1", uuid_of(request)) == "DONE"


async def test_of_a_name_too_it_is_told_before_what_was_confirmed_lapses(world: World, noted: WaysIn) -> None:
    request = await _confirmed_request(world)
    await settle(world, noted)
    await later(world, request, days=30.1)
    for _ in range(2):
        await run_erasures(world)

    key = f"erasure:{uuid_of(request)}"
    assert [tuple(row) for row in await world.sql(OPENED)] == [("erasure_due", key), ("erasure_overdue", key)]
    assert (await look(await world.client("admin"), request))["status"] == "LAPSED"


async def test_what_was_asked_for_after_the_moment_is_named(world: World) -> None:
    user_id, email = await a_person(world)
    own = await done_with_erasure(await sign_in_as(world, email, PASSWORD), "requestMyErasure", {})
    name = await _confirmed_request(world)
    begun = await ask_for_name(world, "Cora Lindqvist-Ode")
    kept = await ask_for_name(world, "Bela Bihari")
    noted = await noted_once_signed_in(world)
    due = {one["id"]: str((await look(await world.client("owner"), one))["dueAt"])[:10] for one in (own, name)}
    destroyed = Destruction(
        uuid_of(begun), await world.now(), None, None, (await world.organization_id("clearwater"),), ()
    )
    await world.services.destructions.add(destroyed)
    # The database knows none of these but one.
    await behind_the_triggers(world, "erasure_request", "id = gen_random_uuid()", "id <> $1", uuid_of(kept))

    settled = await settle(world, noted)

    assert sorted(settled.erasures_gone) == sorted(
        [
            f"{uuid_of(own)} PERSON due {due[own['id']]} user {user_id}",
            f"{uuid_of(name)} NAME due {due[name['id']]}",
        ]
    )
    assert (await settle(world, await ways_in(world.services.keystore))).erasures_gone == []


async def test_a_link_that_would_confirm_an_erasure_is_over(world: World, noted: WaysIn) -> None:
    asked = await ask_for_name(world, "Noor Haddad")
    await world.sql("alter table erasure_request disable trigger change_update")
    await world.sql("update erasure_request set token_digest = 'x' where id = $1", uuid_of(asked))
    await world.sql("alter table erasure_request enable always trigger change_update")

    settled = await settle(world, noted)

    assert settled.erasures_to_confirm == 0
    assert await world.value("select token_digest from erasure_request where id = $1", uuid_of(asked)) is None
    assert (await look(await world.client("admin"), asked))["version"] == asked["version"]
