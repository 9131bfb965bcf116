"""Erasures wait for legal holds, whoever asks for them and in whatever way, and go on once there are none."""

from typing import Any

import pytest

from auth.role import OrganizationRole
from fieldward.cli.environment import operator
from models.errors import ConflictError, UnavailableError
from resolvers.account import NewPerson, create_person
from resolvers.erasure import erase_name, erase_organization, erase_person
from resolvers.trail import job_actor
from tests.support.erasure import (
    NAME,
    a_record,
    ask_for_name,
    collector_of,
    done,
    later,
    look,
    of,
    refused,
    run_erasures,
)
from tests.support.keeping import hold, lift, records_of
from tests.support.mutation import mutate
from tests.support.people import NEW_PASSWORD, PASSWORD, a_person, accept, invite, link_of, sign_in_as
from tests.support.world import Client, World, connect

KEYS = "select count(*) from wrapped_key where destroyed_at is not null"


@pytest.fixture
def keystore_database(own_keystore: str) -> str:
    """A keystore of this test's own, whose keys end."""
    return own_keystore


async def test_a_name_that_a_held_record_has_is_not_erased_until_the_hold_is_lifted(world: World) -> None:
    record = await a_record(world)
    request, held = await ask_for_name(world, NAME), await hold(world, record)
    owner = await world.client("owner")
    confirming = of(request, password=owner.password)

    assert await refused(owner, "confirmErasure", confirming) == "CONFLICT"
    await lift(world, held)
    request = await done(owner, "confirmErasure", confirming)
    # One that is placed after that is obeyed as well.
    held = await hold(world, record)
    await later(world, request, days=7.1)
    await run_erasures(world)

    waiting = await look(owner, request)
    assert (waiting["status"], waiting["startedAt"]) == ("CONFIRMED", None)
    assert waiting["heldAt"] is not None
    assert await collector_of(world, record) == NAME
    await lift(world, held)
    await run_erasures(world)
    assert (await look(owner, request))["status"] == "DONE"


async def test_a_command_erases_nothing_that_is_held(world: World) -> None:
    record = await a_record(world)
    held = await hold(world, record)
    actor = job_actor(await world.organization_id("clearwater"))

    with world.services.keyring.activate():
        with pytest.raises(ConflictError, match="legal hold"):
            await erase_name(world.services, actor, slug="clearwater", names=[NAME], reason="Asked for it.")
        with pytest.raises(ConflictError, match="legal hold"):
            await erase_organization(world.services, actor, slug="clearwater", reason="Asked for it.")
        assert await collector_of(world, record) == NAME
        await lift(world, held)
        erased = await erase_name(world.services, actor, slug="clearwater", names=[NAME], reason="Asked for it.")
    assert erased.key_ids


async def test_a_person_on_whom_there_is_a_hold_is_not_erased_though_they_ask_themselves(world: World) -> None:
    user_id, email = await a_person(world, NAME)
    member = await world.value("select id from membership where user_id = $1", user_id)
    client = await sign_in_as(world, email, PASSWORD)
    request = await done(client, "requestMyErasure", {})
    held = await hold(world, f"User:{member}")

    assert await refused(client, "confirmErasure", of(request, password=PASSWORD)) == "CONFLICT"
    actor = job_actor(await world.organization_id("clearwater"))
    with world.services.keyring.activate(), pytest.raises(ConflictError, match="legal hold"):
        await erase_person(world.services, actor, email=email, reason="Asked for it.")
    assert await world.value("select status from user_account where id = $1", user_id) == "ACTIVE"
    await lift(world, held)
    assert (await done(client, "confirmErasure", of(request, password=PASSWORD)))["status"] == "CONFIRMED"


async def test_a_hold_elsewhere_keeps_a_person_as_well(world: World) -> None:
    user_id, email = await a_person(world, NAME)
    client = await sign_in_as(world, email, PASSWORD)
    request = await done(client, "requestMyErasure", {})
    request = await done(client, "confirmErasure", of(request, password=PASSWORD))
    # They have an account already: a membership is all that is made.
    member = await create_person(
        world.services,
        operator(),
        organization_id=await world.organization_id("suncoast"),
        new=NewPerson(email, PASSWORD, NAME, OrganizationRole.MEMBER),
    )
    held = await hold(world, f"User:{member}", by="other-owner")

    await later(world, request, days=7.1)
    since, before = await world.now(), await world.fingerprint()
    await run_erasures(world)
    assert await world.value("select status from user_account where id = $1", user_id) == "ACTIVE"
    # That there is another organization, in which somebody holds something, is said nowhere in this one.
    waiting = await look(client, request)
    assert (waiting["status"], waiting["heldAt"], waiting["startedAt"]) == ("CONFIRMED", None, None)
    assert await world.fingerprint() == before
    assert await world.entries(since=since) == []
    await lift(world, held, by="other-owner")
    await run_erasures(world)
    assert await world.value("select status from user_account where id = $1", user_id) == "ERASED"


async def _keys_destroyed(world: World) -> int:
    keystore = await connect(world.keystore)
    try:
        return int(await keystore.fetchval(KEYS))
    finally:
        await keystore.close()


async def _invited(client: Client, invitation: str) -> Any:
    """Return what somebody is shown of an invitation."""
    shown = await client.run("query($id: ID!) { invitation(id: $id) { name email status } }", {"id": invitation})
    return shown.data["invitation"]


@pytest.mark.parametrize("on", ["Organization", "Project", "User"])
async def test_a_hold_where_somebody_was_only_invited_keeps_them_as_well(world: World, on: str) -> None:
    user_id, email = await a_person(world, NAME)
    inviting = await world.client("other-owner")
    # They never came: there is an invitation, and nothing else of theirs.
    project = await world.project_id("LAKES")
    invitation = await invite(inviting, email, name=NAME, projectId=f"Project:{project}", projectRole="VIEWER")
    subject = {
        "Organization": f"Organization:{await world.organization_id('suncoast')}",
        "Project": f"Project:{project}",
        "User": f"User:{await world.member_id('other-owner')}",
    }[on]
    held = await hold(world, subject, by="other-owner")
    client = await sign_in_as(world, email, PASSWORD)
    request = await done(client, "requestMyErasure", {})
    request = await done(client, "confirmErasure", of(request, password=PASSWORD))
    await later(world, request, days=7.1)
    keys, since, before = await _keys_destroyed(world), await world.now(), await world.fingerprint()
    await run_erasures(world)

    actor = job_actor(await world.organization_id("clearwater"))
    with world.services.keyring.activate(), pytest.raises(ConflictError, match=held["id"].partition(":")[2]):
        await erase_person(world.services, actor, email=email, reason="Asked for it.")
    assert await world.value("select status from user_account where id = $1", user_id) == "ACTIVE"
    assert await _keys_destroyed(world) == keys
    assert (await world.fingerprint())["invitation"] == before["invitation"]
    assert await _invited(inviting, invitation) == {"name": NAME, "email": email, "status": "PENDING"}
    assert "user.erase" not in {one["action"] for one in await world.entries(since=since)}
    await lift(world, held, by="other-owner")
    await run_erasures(world)
    assert (await _invited(inviting, invitation))["status"] == "REVOKED"
    assert await _keys_destroyed(world) > keys


async def test_a_hold_on_the_project_that_somebody_came_for_keeps_their_invitation(world: World) -> None:
    project = await world.project_id("CANAL")
    admin = await world.client("admin")
    email = "nia@clearwater.example"
    invitation = await invite(admin, email, projectId=f"Project:{project}", projectRole="VIEWER")
    await accept(world, await link_of(world, invitation))
    held = await hold(world, f"Project:{project}")
    client = await sign_in_as(world, email, NEW_PASSWORD)
    request = await done(client, "requestMyErasure", {})

    assert await refused(client, "confirmErasure", of(request, password=NEW_PASSWORD)) == "CONFLICT"
    await lift(world, held)
    assert (await done(client, "confirmErasure", of(request, password=NEW_PASSWORD)))["status"] == "CONFIRMED"


async def _begun(world: World, monkeypatch: pytest.MonkeyPatch, request: Any) -> None:
    """Have an erasure begin, and its process end before any key is destroyed."""

    async def broken(*_: Any, **__: Any) -> Any:
        raise UnavailableError("The power went.")

    with monkeypatch.context() as breaking:
        breaking.setattr("resolvers.erasure_execution.carry_out", broken)
        with pytest.raises(UnavailableError):
            await run_erasures(world)
    assert (await look(await world.client("owner"), request))["status"] == "EXECUTING"


async def test_a_hold_that_is_placed_elsewhere_before_a_key_ends_is_obeyed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    user_id, email = await a_person(world, NAME)
    inviting = await world.client("other-owner")
    await invite(inviting, email, name=NAME)
    client = await sign_in_as(world, email, PASSWORD)
    request = await done(client, "requestMyErasure", {})
    request = await done(client, "confirmErasure", of(request, password=PASSWORD))
    await later(world, request, days=7.1)
    await _begun(world, monkeypatch, request)
    held = await hold(world, f"Organization:{await world.organization_id('suncoast')}", by="other-owner")
    keys = await _keys_destroyed(world)
    await run_erasures(world)

    waiting = await look(client, request)
    assert (waiting["status"], waiting["startedAt"], waiting["heldAt"]) == ("CONFIRMED", None, None)
    assert await _keys_destroyed(world) == keys
    assert await world.value("select status from user_account where id = $1", user_id) == "ACTIVE"
    # It can be taken back again, and is carried out where it is not.
    await lift(world, held, by="other-owner")
    await run_erasures(world)
    assert await world.value("select status from user_account where id = $1", user_id) == "ERASED"


@pytest.mark.parametrize("on", ["Organization", "Record", "Project"])
async def test_nothing_is_held_while_it_is_erased(world: World, monkeypatch: pytest.MonkeyPatch, on: str) -> None:
    record = await a_record(world)
    owner = await world.client("owner")
    request = await ask_for_name(world, NAME)
    request = await done(owner, "confirmErasure", of(request, password=owner.password))
    await later(world, request, days=7.1)
    await _begun(world, monkeypatch, request)
    subject = {
        "Organization": f"Organization:{await world.organization_id('clearwater')}",
        "Record": record,
        "Project": f"Project:{await world.project_id('CANAL')}",
    }[on]
    since, before = await world.now(), await world.fingerprint()
    given = {"subjectId": subject, "reason": "A client goes to court."}

    answer = await mutate(owner, "placeLegalHold", given, "legalHold { id }")
    assert answer.data["placeLegalHold"]["legalHold"] is None
    assert [one["code"] for one in answer.data["placeLegalHold"]["errors"]] == ["CONFLICT"]
    assert await world.fingerprint() == before
    assert [(one["action"], one["outcome"]) for one in await world.entries(since=since)] == [("hold.place", "FAILED")]
    # What the erasure does not reach is held as ever.
    (other, *_) = await records_of(world, "CANAL")
    await hold(world, f"Record:{other}")
    await run_erasures(world)
    assert (await look(owner, request))["status"] == "DONE"
    await hold(world, subject)


async def test_a_person_is_not_held_while_they_are_erased(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    user_id, email = await a_person(world, NAME)
    record = await a_record(world)
    client = await sign_in_as(world, email, PASSWORD)
    request = await done(client, "requestMyErasure", {})
    request = await done(client, "confirmErasure", of(request, password=PASSWORD))
    await later(world, request, days=7.1)
    await _begun(world, monkeypatch, request)
    member = await world.value("select id from membership where user_id = $1", user_id)

    # A record that has their name, too.
    for subject in (f"User:{member}", record):
        given = {"subjectId": subject, "reason": "A client goes to court."}
        answer = await mutate(await world.client("owner"), "placeLegalHold", given, "legalHold { id }")
        assert [one["code"] for one in answer.data["placeLegalHold"]["errors"]] == ["CONFLICT"]
