"""Other spellings that somebody says are theirs: nobody destroys another's name by asking for their own erasure."""

from typing import Any
from uuid import UUID

import pytest

from auth.permission import Permission as P
from auth.role import OrganizationRole
from fieldward.cli.environment import operator
from resolvers.account import NewPerson, create_person
from resolvers.collector import load_collectors
from tests.conftest import Template
from tests.support.access import person_with
from tests.support.erasure import (
    NAME,
    a_record,
    collector_read_anew,
    done,
    later,
    look,
    of,
    refused,
    run_erasures,
    uuid_of,
)
from tests.support.keeping import hold
from tests.support.mutation import mutate
from tests.support.people import PASSWORD, a_person, sign_in_as
from tests.support.world import Client, World

ASKED = "{ erasureRequests(filter: { kind: { eq: NAME } }) { nodes { id version } } }"


@pytest.fixture
def keystore_database(own_keystore: str) -> str:
    """A keystore of this test's own, whose keys end."""
    return own_keystore


async def asked_for(world: World) -> list[Any]:
    """Return the requests for names, as the owner is shown them."""
    owner = await world.client("owner")
    nodes = (await owner.run(ASKED)).data["erasureRequests"]["nodes"]
    return [await look(owner, node) for node in nodes]


async def confirm_own(world: World, *names: str) -> tuple[UUID, Client, Any]:
    """Have a member ask for their own erasure under names besides, and confirm it alone."""
    user_id, email = await a_person(world)
    client = await sign_in_as(world, email, PASSWORD)
    request = await done(client, "requestMyErasure", {"alsoNamed": list(names)})
    return user_id, client, await done(client, "confirmErasure", of(request, password=PASSWORD))


async def test_a_member_who_says_a_colleagues_name_is_theirs_destroys_nothing_of_it(
    world: World, template: Template
) -> None:
    record = await a_record(world)
    before = await world.sql("select id, collector_index from record order by id")
    user_id, client, request = await confirm_own(world, NAME)
    since = await world.now()
    await run_erasures(world)
    await run_erasures(world)

    # Somebody else is asked, once, in an entry of the service's own; of the request the person sees nothing.
    (asked,) = await asked_for(world)
    assert (asked["status"], asked["names"], asked["records"]) == ("REQUESTED", f'["{NAME}"]', 1)
    noted = [one for one in await world.entries(since=since) if one["action"].startswith("erasure.")]
    assert [(one["action"], one["outcome"], one["user_id"]) for one in noted] == [("erasure.request", "DONE", None)]
    assert await refused(client, "confirmErasure", of(asked, password=PASSWORD)) == "NOT_FOUND"

    await later(world, request, days=8)
    await run_erasures(world)

    assert await world.value("select status from user_account where id = $1", user_id) == "ERASED"
    assert (await look(await world.client("owner"), request))["status"] == "DONE"
    assert await collector_read_anew(world, template, record) == NAME
    assert await world.sql("select id, collector_index from record order by id") == before
    (asked,) = await asked_for(world)
    assert (asked["status"], asked["names"]) == ("REQUESTED", f'["{NAME}"]')


async def test_a_second_person_has_the_spelling_erased(world: World, template: Template) -> None:
    record = await a_record(world)
    await confirm_own(world, NAME)
    await run_erasures(world)
    (asked,) = await asked_for(world)
    owner = await world.client("owner")
    await done(owner, "confirmErasure", of(asked, password=owner.password))

    await later(world, asked, days=8)
    await run_erasures(world)

    assert await collector_read_anew(world, template, record) is None
    assert (await look(owner, asked))["status"] == "DONE"


async def test_who_asks_is_not_the_second_person_though_they_may_confirm_such(world: World) -> None:
    await a_record(world)
    email = "ada@clearwater.example"
    await create_person(
        world.services,
        operator(),
        organization_id=await world.organization_id("clearwater"),
        new=NewPerson(email, PASSWORD, "Ada Admin", OrganizationRole.ADMIN),
    )
    client = await sign_in_as(world, email, PASSWORD)
    request = await done(client, "requestMyErasure", {"alsoNamed": [NAME]})
    await done(client, "confirmErasure", of(request, password=PASSWORD))
    await run_erasures(world)

    (asked,) = await asked_for(world)
    assert await refused(client, "confirmErasure", of(asked, password=PASSWORD)) == "FORBIDDEN"
    assert [one["status"] for one in await asked_for(world)] == ["REQUESTED"]


async def test_what_was_asked_for_is_taken_back_with_the_persons_own_request(world: World) -> None:
    await a_record(world)
    _, client, request = await confirm_own(world, NAME)
    await run_erasures(world)
    (asked,) = await asked_for(world)
    owner = await world.client("owner")
    await done(owner, "confirmErasure", of(asked, password=owner.password))

    await done(client, "withdrawErasure", of(request))
    await run_erasures(world)
    await run_erasures(world)

    for one in (request, asked):
        shown = await look(owner, one)
        assert (shown["status"], shown["names"], shown["reason"]) == ("WITHDRAWN", None, None)


async def test_only_organizations_to_which_they_belong_are_asked_and_only_where_the_name_is_known(world: World) -> None:
    there = await world.organization_id("suncoast")
    user_id, email = await a_person(world)
    await create_person(
        world.services,
        operator(),
        organization_id=there,
        new=NewPerson(email, PASSWORD, "Bo Berg", OrganizationRole.MEMBER),
    )
    with world.services.keyring.activate():
        await load_collectors(there, [NAME])
    asked = "select organization_id, kind, requested_by_id from erasure_request where kind = 'NAME'"
    member = await world.value("select id from membership where user_id = $1 and organization_id = $2", user_id, there)

    for number, is_member in enumerate((False, True)):
        status = {"userId": f"User:{member}", "reason": "As it is."}
        name = "reinstateUser" if is_member else "suspendUser"
        assert (await mutate(await world.client("other-owner"), name, status)).data[name]["errors"] == []
        client = await sign_in_as(world, email, PASSWORD)
        request = await done(client, "requestMyErasure", {"alsoNamed": [NAME, "Bo Berg"]})
        request = await done(client, "confirmErasure", of(request, password=PASSWORD))
        await run_erasures(world)
        found = [tuple(row) for row in await world.sql(asked)]
        assert found == [(there, "NAME", member)] * number
        # Their own name goes with them, and is not asked for.
        shown = await (await world.client("other-owner")).run("{ erasureRequests { nodes { names } } }")
        assert shown.data["erasureRequests"]["nodes"] == [{"names": f'["{NAME}"]'}] * number
        await done(client, "withdrawErasure", of(request))
        await run_erasures(world)


async def test_asking_tells_nobody_whether_records_have_a_name_or_are_held(world: World) -> None:
    record = await a_record(world)
    await hold(world, record)
    _, email = await a_person(world)
    client = await sign_in_as(world, email, PASSWORD)
    for name in (NAME, "Nobody at all"):
        request = await done(client, "requestMyErasure", {"alsoNamed": [name]})
        assert (await look(client, request))["records"] is None
        assert await world.value("select records from erasure_request where id = $1", uuid_of(request)) is None
        request = await done(client, "confirmErasure", of(request, password=PASSWORD))
        await done(client, "withdrawErasure", of(request))
        await run_erasures(world)


@pytest.mark.parametrize("reads", [False, True])
async def test_who_may_not_read_who_collected_finds_out_by_no_request_how_many_records_have_a_name(
    world: World, reads: bool
) -> None:
    await a_record(world)
    held = {P.ERASURE_REQUEST, P.ERASURE_READ, P.ERASURE_READ_PERSONAL, P.ERASURE_READ_CONFIDENTIAL, P.RECORD_READ}
    await person_with(world, "member", held | ({P.RECORD_READ_PERSONAL} if reads else set()), level="ORGANIZATION")
    member, since = await world.client("member"), await world.now()

    answers = [
        await mutate(
            member,
            "requestErasure",
            {"kind": "NAME", "names": [name], "reason": "A letter."},
            "erasureRequest { records }",
        )
        for name in (NAME, "Nobody Ever")
    ]

    told = [answer.data["requestErasure"] for answer in answers]
    if reads:
        assert [one["erasureRequest"]["records"] for one in told] == [1, 0]
        return
    error = {"code": "FORBIDDEN", "field": ["input", "names"], "permission": "record:read_personal"}
    for one in told:
        assert one["erasureRequest"] is None
        assert [{name: found[name] for name in error} for found in one["errors"]] == [error]
    denied = await world.entries(since=since)
    assert [(one["action"], one["outcome"]) for one in denied] == [("erasure.request", "DENIED")] * 2
    assert await world.value("select count(*) from erasure_request") == 0
