"""How late a request can be confirmed, and who takes it back: nobody puts off what somebody asked for themselves."""

from typing import Any

import pytest

from models.erasure_request import ErasureKind
from tests.support.erasure import ask_for_name, done, later, link_in, look, of, refused, uuid_of
from tests.support.mail import send_mail, taking_mail, text_of
from tests.support.mutation import mutate
from tests.support.people import PASSWORD, a_person, sign_in_as
from tests.support.world import Client, World

NAME = "Cora Lindqvist-Ode"


async def a_second_owner(world: World) -> None:
    """Make the admin an owner."""
    given = {"userId": f"User:{await world.member_id('admin')}", "role": "OWNER", "reason": "Two."}
    promoted = await mutate(await world.client("owner"), "assignOrganizationRole", given)
    assert promoted.data["assignOrganizationRole"]["errors"] == []


async def ask_for_the_organization(world: World) -> Any:
    """Have the owner ask for the erasure of the organization."""
    given = {"kind": "ORGANIZATION", "reason": "The contract ended."}
    return await done(await world.client("owner"), "requestErasure", given)


async def asked_for_by_the_admin(world: World) -> tuple[Client, Any]:
    """Have the admin ask for the erasure of a member, and return the member and the request."""
    _, email = await a_person(world)
    member = await world.value("select id from membership order by created_at desc limit 1")
    given = {"kind": "PERSON", "userId": f"User:{member}", "reason": "They wrote to us."}
    request = await done(await world.client("admin"), "requestErasure", given)
    return await sign_in_as(world, email, PASSWORD), request


# ------------------------------------------------------------------ how late


@pytest.mark.parametrize("kind", [ErasureKind.NAME, ErasureKind.ORGANIZATION])
async def test_what_others_confirm_can_be_taken_back_for_all_of_the_grace_period(
    world: World, kind: ErasureKind
) -> None:
    await a_second_owner(world)
    if kind is ErasureKind.NAME:
        request, client = await ask_for_name(world, NAME), await world.client("owner")
    else:
        request, client = await ask_for_the_organization(world), await world.client("admin")
    confirming = of(request, password=client.password)
    # There are 30 days; two are kept, and seven are for second thoughts.
    await later(world, request, days=21.1)
    since, before = await world.now(), await world.fingerprint()
    assert await refused(client, "confirmErasure", confirming) == "CONFLICT"
    assert await world.fingerprint() == before
    assert [(one["action"], one["outcome"]) for one in await world.entries(since=since)] == [
        ("erasure.confirm", "FAILED")
    ]

    await later(world, request, days=-0.2)
    await done(client, "confirmErasure", confirming)
    shown = await look(client, request)
    assert await world.value(
        "select execute_after - confirmed_at >= interval '7 days' from erasure_request where id = $1", uuid_of(shown)
    )


async def test_a_person_confirms_until_it_has_to_be_done(world: World) -> None:
    _, email = await a_person(world)
    client = await sign_in_as(world, email, PASSWORD)
    request = await done(client, "requestMyErasure", {})
    confirming = of(request, password=PASSWORD)
    await later(world, request, days=30.1)
    assert await refused(client, "confirmErasure", confirming) == "CONFLICT"
    await later(world, request, days=-0.2)
    assert (await done(client, "confirmErasure", confirming))["status"] == "CONFIRMED"


async def test_owners_are_told_that_the_erasure_of_their_organization_was_asked_for(world: World) -> None:
    await a_second_owner(world)
    with taking_mail(world) as box:
        request = await ask_for_the_organization(world)
        await send_mail(world)
    assert sorted(box.recipients) == sorted([[world.email("owner")], [world.email("admin")]])
    assert request["id"] in text_of(box.messages[0])


# ------------------------------------------------------------------ who takes it back


async def test_what_a_person_confirmed_only_they_take_back(world: World) -> None:
    client, request = await asked_for_by_the_admin(world)
    request = await done(client, "confirmErasure", of(request, password=PASSWORD))

    others = [await world.client(who) for who in ("admin", "owner")]
    since, before = await world.now(), await world.fingerprint()
    for other in others:
        assert await refused(other, "withdrawErasure", of(request)) == "FORBIDDEN"
    assert await world.fingerprint() == before
    noted = [one for one in await world.entries(since=since) if one["action"] == "erasure.withdraw"]
    assert [one["outcome"] for one in noted] == ["DENIED", "DENIED"]
    assert (await done(client, "withdrawErasure", of(request)))["status"] == "WITHDRAWN"


async def test_who_asked_for_somebody_takes_it_back_until_that_is_confirmed(world: World) -> None:
    client, request = await asked_for_by_the_admin(world)
    assert await refused(await world.client("owner"), "withdrawErasure", of(request)) == "FORBIDDEN"
    assert (await done(await world.client("admin"), "withdrawErasure", of(request)))["status"] == "WITHDRAWN"
    assert (await look(client, request))["status"] == "WITHDRAWN"


async def test_who_asks_for_themselves_takes_over_what_somebody_else_asked_for(world: World) -> None:
    with taking_mail(world) as box:
        client, request = await asked_for_by_the_admin(world)
        await later(world, request, days=3)
        due_at = (await look(client, request))["dueAt"]

        own = await done(client, "requestMyErasure", {"alsoNamed": ["B. B."], "reason": "I leave."})

        assert (own["id"], own["version"]) == (request["id"], 2)
        shown = await look(client, own)
        assert (shown["names"], shown["reason"], shown["status"]) == ('["B. B."]', "I leave.", "REQUESTED")
        assert shown["requestedBy"] == shown["user"]
        # It is due no later than it was.
        assert shown["dueAt"] == due_at
        await send_mail(world)
        token = link_in(box.messages[-1])
    admin = await world.client("admin")
    assert await refused(admin, "withdrawErasure", of(own)) == "FORBIDDEN"
    given = {"kind": "PERSON", "userId": shown["user"]["id"], "reason": "Once more."}
    assert await refused(admin, "requestErasure", given) == "CONFLICT"
    # A second time it is theirs already.
    assert await refused(client, "requestMyErasure", {}) == "CONFLICT"
    answer = await mutate(world.anonymous, "confirmErasureByLink", {"token": token}, "executeAfter")
    assert answer.data["confirmErasureByLink"]["errors"] == []


async def test_owners_alone_take_back_what_is_about_the_organization_freshly_signed_in(world: World) -> None:
    request = await ask_for_the_organization(world)
    admin, owner = await world.client("admin"), await world.client("owner")
    since, before = await world.now(), await world.fingerprint()
    assert await refused(admin, "withdrawErasure", of(request)) == "FORBIDDEN"
    assert await world.fingerprint() == before
    assert [(one["action"], one["outcome"]) for one in await world.entries(since=since)] == [
        ("erasure.withdraw", "DENIED")
    ]

    await world.sql("alter table session disable trigger change_update")
    await world.sql("update session set authenticated_at = authenticated_at - interval '1 day'")
    assert await refused(owner, "withdrawErasure", of(request)) == "REAUTHENTICATE"
    assert (await look(owner, request))["status"] == "REQUESTED"
    await world.sql("update session set authenticated_at = authenticated_at + interval '1 day'")
    await world.sql("alter table session enable always trigger change_update")
    assert (await done(owner, "withdrawErasure", of(request)))["status"] == "WITHDRAWN"


async def test_a_name_is_taken_back_by_who_asked_and_by_who_may_confirm(world: World) -> None:
    for who in ("admin", "owner"):
        request = await ask_for_name(world, NAME)
        assert (await done(await world.client(who), "withdrawErasure", of(request)))["status"] == "WITHDRAWN"
