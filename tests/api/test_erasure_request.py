"""Requests for erasure: who asks, who confirms, how long there is a way back, and what is done then."""

import asyncio
from typing import Any
from uuid import UUID

import pytest

from auth.permission import Permission
from auth.role import OrganizationRole
from fieldward.cli.environment import operator
from models.errors import UnavailableError
from resolvers.account import NewPerson, create_person
from resolvers.erasure_execution import ErasureRunning
from resolvers.erasure_metric import erasure_figures
from resolvers.erasure_request import DUE_AFTER, MARGIN, execution_at
from tests.conftest import Template
from tests.support.access import make_program
from tests.support.erasure import (
    NAME,
    a_record,
    ask_for_name,
    collector_read_anew,
    done,
    later,
    link_in,
    look,
    of,
    payload_of,
    refused,
    run_erasures,
    said_by,
    uuid_of,
)
from tests.support.factor import add_totp
from tests.support.importing import many_rows, uploaded
from tests.support.keeping import hold
from tests.support.mail import send_mail, taking_mail, text_of
from tests.support.mutation import mutate
from tests.support.people import PASSWORD, a_person, sign_in_as
from tests.support.world import SIGN_IN, World


@pytest.fixture
def keystore_database(own_keystore: str) -> str:
    """A keystore of this test's own, whose keys end."""
    return own_keystore


async def confirmed(world: World, request: Any, who: str = "owner") -> Any:
    """Have somebody confirm a request."""
    client = await world.client(who)
    return await done(client, "confirmErasure", of(request, password=client.password))


# ------------------------------------------------------------------ oneself


async def test_a_person_asks_for_themselves_confirms_and_is_erased_after_the_grace_period(world: World) -> None:
    user_id, email = await a_person(world, NAME)
    client = await sign_in_as(world, email, PASSWORD)

    with taking_mail(world) as box:
        request = await done(client, "requestMyErasure", {"alsoNamed": ["C. Lindqvist"]})
        assert request["status"] == "REQUESTED"
        request = await done(client, "confirmErasure", of(request, password=PASSWORD))
        await send_mail(world)
        await run_erasures(world)
        assert (await look(client, request))["status"] == "CONFIRMED"
        assert (await look(client, request))["names"] == '["C. Lindqvist"]'
        # What was to be confirmed by a link is confirmed: nobody is sent one.
        assert [message["subject"] for message in box.messages] == ["Fieldward will erase you"]

        await later(world, request, days=7.1)
        await run_erasures(world)

        assert (await client.run("{ viewer { role } }")).codes == ["UNAUTHENTICATED"]
        assert await world.value("select status from user_account where id = $1", user_id) == "ERASED"
        owner = await world.client("owner")
        shown = await look(owner, request)
        assert (shown["status"], shown["names"], shown["reason"]) == ("DONE", None, None)
        said = said_by(world, shown["certificate"])
        assert said["kind"] == "PERSON"
        assert said["keys"]["count"] == len(said["keys"]["ids"])
        # The last letter is the certificate, to an address that lies nowhere any more.
        assert box.recipients[-1] == [email]
        _, _, whole = text_of(box.messages[-1]).partition("\n\n")
    # It is the whole one, which says in how many organizations they were. None of these learns that.
    everything = said_by(world, whole)
    assert everything["organizations"] == 1
    assert everything["keys"]["count"] > said["keys"]["count"]
    assert set(everything["keys"]["ids"]) > set(said["keys"]["ids"])
    assert said["account_keys_destroyed"]
    assert "organizations" not in said
    for word in (NAME, "Lindqvist", email, str(user_id)):
        assert word not in payload_of(shown["certificate"])


async def test_a_person_confirms_by_the_link_in_their_letter_without_signing_in(world: World) -> None:
    _, email = await a_person(world)
    client = await sign_in_as(world, email, PASSWORD)
    with taking_mail(world) as box:
        request = await done(client, "requestMyErasure", {})
        await send_mail(world)
        (message,) = box.messages
    token = link_in(message)
    # In the database there is a digest of it alone.
    assert token not in str(await world.sql("select * from erasure_request"))

    answer = await mutate(world.anonymous, "confirmErasureByLink", {"token": token}, "executeAfter")
    assert answer.data["confirmErasureByLink"]["errors"] == []
    assert answer.data["confirmErasureByLink"]["executeAfter"] is not None
    assert (await look(client, request))["status"] == "CONFIRMED"

    # It works once, and nothing says what is wrong with another.
    for wrong in (token, token[:-4] + "AAAA", "fwe_", ""):
        since = await world.now()
        again = await mutate(world.anonymous, "confirmErasureByLink", {"token": wrong})
        assert again.codes == ["UNAUTHENTICATED"]
        assert [(one["action"], one["outcome"]) for one in await world.entries(since=since)] == [
            ("erasure.confirm", "DENIED")
        ]


async def test_a_request_can_be_taken_back_until_it_is_carried_out_and_forgets_its_words(world: World) -> None:
    user_id, email = await a_person(world)
    client = await sign_in_as(world, email, PASSWORD)
    request = await done(client, "requestMyErasure", {"alsoNamed": ["B. B."], "reason": "I leave."})
    request = await done(client, "confirmErasure", of(request, password=PASSWORD))

    assert await refused(await world.client("owner"), "withdrawErasure", of(request)) == "FORBIDDEN"
    request = await done(client, "withdrawErasure", of(request))
    await run_erasures(world)
    await later(world, request, days=40)
    await run_erasures(world)

    shown = await look(client, request)
    assert (shown["status"], shown["names"], shown["reason"]) == ("WITHDRAWN", None, None)
    assert await world.value("select status from user_account where id = $1", user_id) == "ACTIVE"
    # Nor does an older copy open: the key of what was said is destroyed.
    stored = await world.value(
        "select decode(substring(columns->'named'->>1 from 3), 'hex') from change"
        " where entity = 'erasure_request' and entity_id = $1 and operation = 'INSERT'",
        uuid_of(request),
    )
    (key,) = await world.services.keystore.by_ids([UUID(bytes=stored[2:18])])
    assert key.destroyed_at is not None
    assert await refused(client, "withdrawErasure", of(shown)) == "CONFLICT"


async def test_asking_takes_a_fresh_sign_in_and_confirming_the_password(world: World) -> None:
    _, email = await a_person(world)
    client = await sign_in_as(world, email, PASSWORD)
    await world.sql("alter table session disable trigger change_update")
    await world.sql("update session set authenticated_at = authenticated_at - interval '1 day'")
    assert await refused(client, "requestMyErasure", {}) == "REAUTHENTICATE"
    await world.sql("update session set authenticated_at = authenticated_at + interval '1 day'")
    await world.sql("alter table session enable always trigger change_update")

    request = await done(client, "requestMyErasure", {})
    assert await refused(client, "confirmErasure", of(request, password="not mine at all, no")) == "FORBIDDEN"
    assert (await look(client, request))["status"] == "REQUESTED"
    assert await refused(client, "requestMyErasure", {}) == "CONFLICT"


async def test_the_last_owner_is_told_so_and_a_program_is_nobody(world: World) -> None:
    await add_totp(world, "owner")
    assert await refused(await world.client("owner"), "requestMyErasure", {}) == "CONFLICT"
    program = await make_program(world, [Permission.RECORD_READ])
    assert await refused(program.client, "requestMyErasure", {}) == "FORBIDDEN"


async def test_what_stays_in_an_organization_tells_it_of_no_other(world: World) -> None:
    _, email = await a_person(world, NAME)
    client = await sign_in_as(world, email, PASSWORD)
    await a_record(world)
    elsewhere = await world.organization_id("suncoast")
    await create_person(
        world.services,
        operator(),
        organization_id=elsewhere,
        new=NewPerson(email, PASSWORD, NAME, OrganizationRole.MEMBER),
    )
    await uploaded(world, "other-owner", "LAKES", many_rows(1))
    request = await done(client, "requestMyErasure", {})
    request = await done(client, "confirmErasure", of(request, password=PASSWORD))
    await later(world, request, days=7.1)
    with taking_mail(world) as box:
        await run_erasures(world)
        _, _, whole = text_of(box.messages[-1]).partition("\n\n")

    shown = await look(await world.client("owner"), request)
    share, everything = said_by(world, shown["certificate"]), said_by(world, whole)
    assert "organizations" not in share
    assert everything["organizations"] == 2
    assert share["rows_changed"]["membership"] == 1
    assert everything["rows_changed"]["membership"] == 2
    keys = {key.id: key.owner for key in await world.services.keystore.by_ids(map(UUID, everything["keys"]["ids"]))}
    assert {owner.within for owner in keys.values()} == {None, elsewhere, await world.organization_id("clearwater")}
    told = {keys[UUID(one)].within for one in share["keys"]["ids"]}
    assert told == {await world.organization_id("clearwater")}


# ------------------------------------------------------------------ somebody else


async def test_a_name_is_erased_when_a_second_person_confirmed_it(world: World, template: Template) -> None:
    record = await a_record(world)
    other = await a_record(world, collector="Somebody Else")
    owner = await world.client("owner")
    request = await ask_for_name(world, NAME)
    assert (await look(owner, request))["records"] == 1

    # Not by who asked, nor by who has no say.
    admin = await world.client("admin")
    assert await refused(admin, "confirmErasure", of(request, password=admin.password)) == "FORBIDDEN"
    manager = await world.client("manager")
    assert await refused(manager, "confirmErasure", of(request, password=manager.password)) == "NOT_FOUND"
    request = await confirmed(world, request)
    await run_erasures(world)
    assert await collector_read_anew(world, template, record) == NAME

    await later(world, request, days=8)
    await run_erasures(world)

    assert await collector_read_anew(world, template, record) is None
    assert await collector_read_anew(world, template, other) == "Somebody Else"
    shown = await look(owner, request)
    assert shown["status"] == "DONE"
    said = said_by(world, shown["certificate"])
    assert said["rows_changed"]["record"] == 1
    assert {one["what"] for one in said["remains"]}
    assert NAME not in payload_of(shown["certificate"])


async def test_a_person_who_is_asked_for_by_an_admin_confirms_it_themselves(world: World) -> None:
    _, email = await a_person(world)
    member = await world.value("select id from membership order by created_at desc limit 1")
    given = {"kind": "PERSON", "userId": f"User:{member}", "reason": "They wrote to us."}
    with taking_mail(world) as box:
        request = await done(await world.client("admin"), "requestErasure", given)
        await send_mail(world)
        assert box.recipients == [[email]]
        token = link_in(box.messages[0])

    # Nobody in the organization confirms it for them: an account reaches into others.
    for who in ("owner", "admin"):
        client = await world.client(who)
        assert await refused(client, "confirmErasure", of(request, password=client.password)) == "FORBIDDEN"
    answer = await mutate(world.anonymous, "confirmErasureByLink", {"token": token}, "executeAfter")
    assert answer.data["confirmErasureByLink"]["errors"] == []
    # Who it is about can still say no.
    theirs = await sign_in_as(world, email, PASSWORD)
    shown = await look(theirs, request)
    await done(theirs, "withdrawErasure", of(shown))


async def test_nobody_asks_for_who_can_do_more(world: World) -> None:
    owner = await world.member_id("owner")
    given = {"kind": "PERSON", "userId": f"User:{owner}", "reason": "A coup."}
    assert await refused(await world.client("admin"), "requestErasure", given) == "FORBIDDEN"
    given = {"kind": "ORGANIZATION", "reason": "A coup."}
    assert await refused(await world.client("admin"), "requestErasure", given) == "FORBIDDEN"


async def test_an_organization_takes_two_owners_or_one_with_two_factors(world: World) -> None:
    owner = await world.client("owner")
    request = await done(owner, "requestErasure", {"kind": "ORGANIZATION", "reason": "The contract ended."})

    # There is one owner, who signed in with a password alone.
    assert await refused(owner, "confirmErasure", of(request, password=owner.password)) == "REAUTHENTICATE"
    admin = f"User:{await world.member_id('admin')}"
    promoted = await mutate(
        owner, "assignOrganizationRole", {"userId": admin, "role": "OWNER", "reason": "Two."}, "user { id }"
    )
    assert promoted.data["assignOrganizationRole"]["errors"] == []
    # There are two now: the other one confirms, whatever the first has.
    assert await refused(owner, "confirmErasure", of(request, password=owner.password)) == "FORBIDDEN"
    request = await confirmed(world, request, "admin")

    await later(world, request, days=8)
    await run_erasures(world)

    assert (await owner.run("{ viewer { role } }")).codes == ["UNAUTHENTICATED"]
    (row,) = await world.sql("select status, certificate from erasure_request where id = $1", uuid_of(request))
    assert row["status"] == "DONE"
    assert said_by(world, row["certificate"])["kind"] == "ORGANIZATION"
    # Another tenant's people are as they were.
    stranger = await world.client("other-owner")
    assert (await stranger.run("{ viewer { role } }")).data["viewer"]["role"] == "OWNER"


@pytest.mark.parametrize("who", ["viewer", "member", "manager", "collector"])
async def test_who_has_too_little_role_sees_and_asks_for_nothing(world: World, who: str) -> None:
    request = await ask_for_name(world, NAME)
    client, since, before = await world.client(who), await world.now(), await world.fingerprint()
    given = {"kind": "NAME", "names": [NAME], "reason": "Curious."}

    assert await refused(client, "requestErasure", given) == "FORBIDDEN"
    assert await refused(client, "withdrawErasure", of(request)) == "NOT_FOUND"
    assert await look(client, request) is None
    listed = await client.run("{ erasureRequests { totalCount nodes { id names } } }")
    assert listed.data["erasureRequests"] == {"totalCount": 0, "nodes": []}
    assert await world.fingerprint() == before
    assert [(one["action"], one["outcome"]) for one in await world.entries(since=since)] == [
        ("erasure.request", "DENIED"),
        ("erasure.withdraw", "DENIED"),
    ]


async def test_another_tenant_finds_no_request_and_no_name(world: World) -> None:
    request = await ask_for_name(world, NAME)
    stranger = await world.client("other-owner")
    assert await look(stranger, request) is None
    for name in ("withdrawErasure", "confirmErasure"):
        given = of(request, password=stranger.password) if name == "confirmErasure" else of(request)
        assert await refused(stranger, name, given) == "NOT_FOUND"
    assert (await look(await world.client("owner"), request))["status"] == "REQUESTED"


async def test_anonymous_and_suspended_people_ask_for_nothing(world: World) -> None:
    for given, name in (({}, "requestMyErasure"), ({"kind": "ORGANIZATION", "reason": "x"}, "requestErasure")):
        assert (await mutate(world.anonymous, name, given)).codes == ["UNAUTHENTICATED"]
    viewer = await world.client("viewer")
    given = {"userId": f"User:{await world.member_id('viewer')}", "reason": "On leave."}
    suspended = await mutate(await world.client("owner"), "suspendUser", given)
    assert suspended.data["suspendUser"]["errors"] == []
    assert (await mutate(viewer, "requestMyErasure", {})).codes == ["UNAUTHENTICATED"]
    assert await world.value("select count(*) from erasure_request") == 0


@pytest.mark.parametrize(
    "given",
    [
        {"kind": "NAME", "names": []},
        {"kind": "NAME", "names": [" "]},
        {"kind": "NAME", "names": ["A" * 201]},
        {"kind": "NAME", "names": ["A"] * 21},
        {"kind": "PERSON"},
        {"kind": "ORGANIZATION", "names": ["A"]},
    ],
)
async def test_what_a_kind_does_not_take_is_refused(world: World, given: dict[str, Any]) -> None:
    owner = await world.client("owner")
    assert await refused(owner, "requestErasure", {**given, "reason": "Why."}) == "INVALID_INPUT"


# ------------------------------------------------------------------ in time, and once


async def test_what_is_confirmed_late_is_still_done_within_thirty_days(world: World) -> None:
    now = await world.now()
    due = now + DUE_AFTER
    assert execution_at(now, due, MARGIN * 2) == now + MARGIN * 2
    # On the day before the last there is no time left to take it back.
    assert execution_at(due - MARGIN / 2, due, MARGIN * 5) == due - MARGIN / 2
    assert execution_at(now, due, DUE_AFTER * 2) == due - MARGIN


async def test_somebody_is_told_before_an_erasure_is_overdue_and_again_when_it_is(world: World) -> None:
    record = await a_record(world)
    request = await confirmed(world, await ask_for_name(world, NAME))
    # What was confirmed, and can't be done.
    await hold(world, record)
    opened = "select rule, key from incident order by created_at, rule"
    await run_erasures(world)
    await later(world, request, days=22)
    await run_erasures(world)
    assert await world.sql(opened) == []

    await later(world, request, days=2)
    await run_erasures(world)
    await run_erasures(world)
    key = f"erasure:{uuid_of(request)}"
    assert [tuple(row) for row in await world.sql(opened)] == [("erasure_due", key)]
    assert (await erasure_figures()).overdue == 0

    await later(world, request, days=7)
    await run_erasures(world)
    assert [tuple(row) for row in await world.sql(opened)] == [("erasure_due", key), ("erasure_overdue", key)]
    figures = await erasure_figures()
    assert (figures.open, figures.overdue) == (1, 1)


CRASHES = ["erasing begun", "keys written down", "keys destroyed", "rows changed"]


@pytest.mark.parametrize("where", CRASHES)
async def test_an_erasure_that_broke_off_anywhere_is_finished_by_the_next(
    world: World, template: Template, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, email = await a_person(world, NAME)
    record = await a_record(world)
    client = await sign_in_as(world, email, PASSWORD)
    request = await done(client, "requestMyErasure", {})
    request = await done(client, "confirmErasure", of(request, password=PASSWORD))
    await later(world, request, days=8)

    async def broken(*_: Any, **__: Any) -> Any:
        raise UnavailableError("The power went.")

    place = {
        "erasing begun": "resolvers.erasure_execution.carry_out",
        "keys written down": "resolvers.erasure._destroy",
        "keys destroyed": "resolvers.erasure.change_rows",
        "rows changed": "resolvers.erasure_execution.ErasureRunning._finish",
    }[where]
    organization_id = await world.organization_id("clearwater")
    with monkeypatch.context() as breaking:
        breaking.setattr(place, broken)
        with pytest.raises(UnavailableError):
            await ErasureRunning(world.services).step(organization_id)
    owner = await world.client("owner")
    assert (await look(owner, request))["status"] == "EXECUTING"
    # There is no way back from here.
    assert await refused(owner, "withdrawErasure", of(await look(owner, request))) in {"FORBIDDEN", "CONFLICT"}

    await run_erasures(world)

    shown = await look(owner, request)
    assert shown["status"] == "DONE"
    said = said_by(world, shown["certificate"])
    assert said["keys"]["count"] > 0
    assert await collector_read_anew(world, template, record) is None
    signed_in = await world.anonymous.run(SIGN_IN, {"input": {"email": email, "password": PASSWORD}})
    assert signed_in.codes == ["UNAUTHENTICATED"]


async def test_two_processes_that_come_at_once_erase_once(world: World) -> None:
    await a_record(world)
    request = await confirmed(world, await ask_for_name(world, NAME))
    await later(world, request, days=8)
    organization_id = await world.organization_id("clearwater")

    await asyncio.gather(*(ErasureRunning(world.services).step(organization_id) for _ in range(2)))

    rows = await world.sql(
        "select count(*) from change where entity = 'erasure_request' and columns ? 'certificate' and entity_id = $1",
        uuid_of(request),
    )
    assert rows[0][0] == 1
