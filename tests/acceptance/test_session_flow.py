"""Sign-ins seen and ended, refresh tokens that come again, and a password that is changed: over HTTP in a process."""

from typing import Any
from uuid import UUID

from tests.support.factor import done
from tests.support.flow import ME, Flow, incident, refused, said, signed_in
from tests.support.mutation import mutate
from tests.support.world import Answer, Client, World

REFUSED = ["UNAUTHENTICATED"]
ENDED = ("session.authenticate", "UNAUTHENTICATED")
MINE = "{ viewer { session { id } sessions { nodes { id name isCurrent } } } }"
NEW = "gravel psalm otter kiln"


async def _refresh(world: World, tokens: dict[str, Any]) -> Answer:
    given = {"refreshToken": tokens["refreshToken"]}
    return await mutate(world.anonymous, "refreshSession", given, "accessToken refreshToken")


async def _is_over(world: World, member: UUID, client: Client, tokens: dict[str, Any]) -> None:
    """Require that a member's sign-in opens nothing any more, by its access token or by its refresh token."""
    async with refused(world, ENDED, whose=member):
        assert said(await client.run("{ projects { nodes { code } } }")) == REFUSED
    async with refused(world, ("session.refresh", "UNAUTHENTICATED"), whose=member):
        answer = await _refresh(world, tokens)
        assert (said(answer), answer.body["data"]) == (REFUSED, {"refreshSession": None})


async def test_sign_ins_are_seen_and_ended_one_and_all_others(flow: Flow) -> None:
    world = flow.world
    member = await world.member_id("viewer")
    laptop, _ = await signed_in(world, "viewer", clientName="The laptop")
    phone, of_phone = await signed_in(world, "viewer", clientName="The phone")
    tablet, of_tablet = await signed_in(world, "viewer", clientName="The tablet")
    seen = (await laptop.run(MINE)).data["viewer"]
    names = {one["name"]: one["id"] for one in seen["sessions"]["nodes"]}
    assert [one["name"] for one in seen["sessions"]["nodes"] if one["isCurrent"]] == ["The laptop"]

    stranger, owner = await world.client("reviewer"), await world.client("owner")
    async with refused(world, ("session.revoke", "NOT_FOUND")):
        assert said(await mutate(stranger, "revokeSession", {"id": names["The phone"]})) == ["NOT_FOUND"]
    async with refused(world, ("session.rename", "FORBIDDEN")):
        given = {"id": names["The phone"], "name": "Mine now"}
        assert said(await mutate(owner, "renameSession", given)) == ["FORBIDDEN"]
    assert said(await phone.run(ME)) == []

    await done(laptop, "revokeSession", {"id": names["The phone"]})
    await _is_over(world, member, phone, of_phone)
    assert said(await tablet.run(ME)) == []
    # The tablet, and the one by which this test has looked up who the viewer is.
    assert (await done(laptop, "revokeOtherSessions", {}, "revoked"))["revoked"] == 2
    await _is_over(world, member, tablet, of_tablet)
    left = (await laptop.run(MINE)).data["viewer"]
    assert [one["id"] for one in left["sessions"]["nodes"]] == [left["session"]["id"]]


async def test_a_refresh_token_that_comes_again_ends_its_family_and_opens_an_incident(flow: Flow) -> None:
    world, member = flow.world, await flow.world.member_id("viewer")
    client, first = await signed_in(world, "viewer")
    other, _ = await signed_in(world, "viewer")
    second = (await _refresh(world, first)).data["refreshSession"]
    since = await world.now()

    answer = await _refresh(world, first)

    assert (said(answer), answer.body["data"]) == (REFUSED, {"refreshSession": None})
    entries = [one for one in await world.entries(since=since) if one["channel"] == "API"]
    told = [(one["kind"], one["action"], one["outcome"], one["error_code"]) for one in entries]
    assert ("ATTEMPT", "session.refresh", "DENIED", "REFRESH_REUSED") in told
    await _is_over(world, member, Client(world.http, second["accessToken"]), second)
    assert said(await client.run(ME)) == REFUSED
    assert said(await other.run(ME)) == []
    opened = await incident(world, "refresh_reuse")
    assert (opened["status"], opened["organization_id"]) == ("OPEN", await world.organization_id("clearwater"))
    evidence = await world.sql("select entry_id from incident_evidence where incident_id = $1", opened["id"])
    refusal = next(one["id"] for one in entries if one["error_code"] == "REFRESH_REUSED")
    assert refusal in {one["entry_id"] for one in evidence}


async def test_a_password_that_is_changed_ends_every_other_sign_in(flow: Flow) -> None:
    world, address = flow.world, flow.world.email("viewer")
    member = await world.member_id("viewer")
    here, of_here = await signed_in(world, "viewer")
    there, of_there = await signed_in(world, "viewer")
    old = {"currentPassword": "wrong but long enough", "newPassword": NEW}
    async with refused(world, ("user.change_password", "FORBIDDEN"), whose=member, is_counted=True):
        assert said(await mutate(here, "changePassword", old)) == ["FORBIDDEN"]
    for new in ("short", "password1234567", "x" * 129):
        async with refused(world, ("user.change_password", "INVALID_INPUT"), outcome="FAILED", whose=member):
            given = {"currentPassword": here.password, "newPassword": new}
            assert said(await mutate(here, "changePassword", given)) == ["INVALID_INPUT"]

    await done(here, "changePassword", {"currentPassword": here.password, "newPassword": NEW})

    assert said(await here.run(ME)) == []
    async with refused(world, ENDED):
        assert said(await there.run(ME)) == REFUSED
    async with refused(world, ("session.refresh", "UNAUTHENTICATED")):
        assert said(await _refresh(world, of_there)) == REFUSED
    async with refused(world, ("session.sign_in", "UNAUTHENTICATED")):
        assert said(await world.sign_in("viewer")) == REFUSED
    assert said(await _refresh(world, of_here)) == []
    assert said(await world.sign_in("viewer", password=NEW)) == []
    assert await flow.subjects_to(address, 1) == ["Your password for Fieldward was changed"]
