"""Requests that nobody can answer any more end by themselves, and nobody is alarmed for ever about one."""

from typing import Any
from uuid import UUID

import pytest

from auth.role import OrganizationRole
from fieldward.cli.environment import operator
from resolvers.account import NewPerson, create_person
from resolvers.erasure import erase_organization
from resolvers.erasure_metric import erasure_figures
from tests.support.erasure import NAME, ask_for_name, done, later, look, of, refused, run_erasures, uuid_of
from tests.support.people import PASSWORD, a_person, sign_in_as
from tests.support.world import Client, World

RULES = "select rule from incident order by created_at, rule"
STORED = (
    "select status, named is null as is_nameless, reason is null as is_reasonless from erasure_request where id = $1"
)
SIGN_IN = "mutation($input: SignInInput!) { signIn(input: $input) { accessToken errors { message } } }"


@pytest.fixture
def keystore_database(own_keystore: str) -> str:
    """A keystore of this test's own, whose keys end."""
    return own_keystore


async def run_until_still(world: World) -> None:
    """Run the job: one time to end what is over, and one to forget what it said."""
    for _ in range(2):
        await run_erasures(world)


async def expect_lapsed(world: World, request: Any, since: Any) -> None:
    """Have it said once, by the service itself, and nothing be left of the words, nor of the key they lay under."""
    assert tuple((await world.sql(STORED, uuid_of(request)))[0]) == ("LAPSED", True, True)
    owner_id = uuid_of(request)
    noted = [one for one in await world.entries(since=since) if owner_id in (one["entity_ids"] or [])]
    assert [(one["action"], one["outcome"], one["user_id"], one["channel"]) for one in noted] == [
        ("erasure.lapse", "DONE", None, "JOB"),
        ("erasure.forget", "DONE", None, "JOB"),
    ]
    stored = await world.value(
        "select decode(substring(columns->'reason'->>1 from 3), 'hex') from change"
        " where entity = 'erasure_request' and entity_id = $1 and operation = 'INSERT'",
        owner_id,
    )
    (key,) = await world.services.keystore.by_ids([UUID(bytes=stored[2:18])])
    assert key.destroyed_at is not None


async def test_what_a_person_never_confirmed_ends_when_it_is_due_and_alarms_nobody(world: World) -> None:
    _, email = await a_person(world)
    client = await sign_in_as(world, email, PASSWORD)
    request = await done(client, "requestMyErasure", {"alsoNamed": ["B. B."], "reason": "I leave."})
    await later(world, request, days=29.9)
    await run_until_still(world)
    assert (await look(client, request))["status"] == "REQUESTED"
    since = await world.now()

    await later(world, request, days=0.2)
    await run_until_still(world)

    await expect_lapsed(world, request, since)
    assert await world.sql(RULES) == []
    figures = await erasure_figures()
    assert (figures.open, figures.overdue) == (0, 0)
    for name, given in (("confirmErasure", of(request, password=PASSWORD)), ("withdrawErasure", of(request))):
        assert await refused(client, name, {**given, "expectedVersion": 2}) == "CONFLICT"
    # They may ask anew.
    assert (await done(client, "requestMyErasure", {}))["status"] == "REQUESTED"


async def test_what_somebody_else_has_to_confirm_is_told_of_in_time_and_ends_when_it_is_due(world: World) -> None:
    request = await ask_for_name(world, NAME)
    await later(world, request, days=13.9)
    await run_until_still(world)
    assert await world.sql(RULES) == []

    # It can be confirmed for a week.
    await later(world, request, days=0.2)
    await run_until_still(world)
    assert [row["rule"] for row in await world.sql(RULES)] == ["erasure_due"]
    since = await world.now()
    await later(world, request, days=16)
    await run_until_still(world)

    await expect_lapsed(world, request, since)
    assert [row["rule"] for row in await world.sql(RULES)] == ["erasure_due"]


async def test_what_was_asked_for_elsewhere_ends_with_the_account(world: World) -> None:
    user_id, email = await a_person(world)
    await create_person(
        world.services,
        operator(),
        organization_id=await world.organization_id("suncoast"),
        new=NewPerson(email, PASSWORD, "Bo Berg", OrganizationRole.MEMBER),
    )
    here = await sign_in_as(world, email, PASSWORD)
    given = {"email": email, "password": PASSWORD, "organization": "suncoast"}
    token = (await world.anonymous.run(SIGN_IN, {"input": given})).data["signIn"]["accessToken"]
    there = Client(world.http, token, password=PASSWORD)
    waiting = await done(there, "requestMyErasure", {})
    request = await done(here, "requestMyErasure", {})
    request = await done(here, "confirmErasure", of(request, password=PASSWORD))
    await later(world, request, days=8)

    for _ in range(2):
        await run_until_still(world)

    assert await world.value("select status from user_account where id = $1", user_id) == "ERASED"
    assert await world.value("select status from erasure_request where id = $1", uuid_of(request)) == "DONE"
    assert await world.value("select status from erasure_request where id = $1", uuid_of(waiting)) == "LAPSED"
    assert (await erasure_figures()).open == 0


async def test_what_waits_in_an_organization_that_was_erased_ends(world: World) -> None:
    _, email = await a_person(world)
    own = await done(await sign_in_as(world, email, PASSWORD), "requestMyErasure", {})
    name = await ask_for_name(world, NAME)
    await erase_organization(world.services, operator(), slug="clearwater", reason="The contract ended.")

    await run_until_still(world)

    for one in (own, name):
        assert tuple((await world.sql(STORED, uuid_of(one)))[0]) == ("LAPSED", True, True)
    assert (await erasure_figures()).open == 0
