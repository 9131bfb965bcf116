"""Joiners, movers and leavers, over HTTP in a server process, with the letters that arrive at a mail server."""

from typing import Any

from auth.permission import Permission as P
from tests.support.access import later, make_program, refusals
from tests.support.device import enrolled
from tests.support.factor import done
from tests.support.flow import ME, Flow, refused, said, signed_in
from tests.support.mutation import mutate
from tests.support.people import NEW_PASSWORD, accept, invite, sign_in_as
from tests.support.world import Client, World

NIA = "nia@clearwater.example"
PROJECTS = "{ projects { nodes { code } } }"
REFUSED = ["UNAUTHENTICATED"]
DENIED = ("session.authenticate", "UNAUTHENTICATED")
NO_LINK = ("invitation.accept", "UNAUTHENTICATED")
REVIEW = "accessReview { id version items(first: 200) { nodes { id kind subjectId user { id } } } }"


async def _user(world: World, key: str) -> str:
    return f"User:{await world.member_id(key)}"


async def _registered(world: World, key: str) -> str:
    given = {"userId": await _user(world, key), "platform": "ANDROID", "model": "Pixel 8"}
    made = await done(await world.client("owner"), "registerDevice", given, "device { id }")
    return str(made["device"]["id"])


async def test_who_is_invited_joins_by_the_newest_link_that_was_mailed_and_signs_in(flow: Flow) -> None:
    world = flow.world
    admin = await world.client("admin")
    invitation = await invite(admin, NIA)
    first = await flow.link_mailed_to(NIA, "invitation")
    version = await world.value("select version from invitation")
    await done(admin, "resendInvitation", {"id": invitation, "expectedVersion": version})
    second = await flow.link_mailed_to(NIA, "invitation", besides=(first,))

    async with refused(world, NO_LINK):
        assert said(await accept(world, first)) == REFUSED
    assert said(await accept(world, second)) == []
    nia = await sign_in_as(world, NIA)
    assert (await nia.run("{ viewer { role } organization { slug } }")).data == {
        "viewer": {"role": "MEMBER"},
        "organization": {"slug": "clearwater"},
    }
    # The link has done its work, and what was promised is all that there is.
    async with refused(world, NO_LINK):
        assert said(await accept(world, second)) == REFUSED
    async with refused(world, ("invitation.create", "FORBIDDEN")):
        given = {"email": "another@clearwater.example", "name": "An Other", "role": "MEMBER"}
        assert said(await mutate(nia, "inviteUser", given)) == ["FORBIDDEN"]
    assert [str(one["subject"]) for one in flow.box.messages] == ["Clearwater Consulting invites you to Fieldward"] * 2
    trail = "select action from audit_entry where action like 'invitation.%' and outcome = 'DONE' order by at"
    assert [row["action"] for row in await world.sql(trail)] == [
        f"invitation.{what}" for what in ("create", "send", "resend", "send", "accept")
    ]


async def test_an_invitation_that_was_taken_back_lets_nobody_in(flow: Flow) -> None:
    world = flow.world
    admin = await world.client("admin")
    invitation = await invite(admin, NIA)
    link = await flow.link_mailed_to(NIA, "invitation")
    version = await world.value("select version from invitation")
    await done(admin, "revokeInvitation", {"id": invitation, "expectedVersion": version})

    async with refused(world, NO_LINK):
        assert said(await accept(world, link)) == REFUSED
    given = {"email": NIA, "password": NEW_PASSWORD}
    async with refused(world, ("session.sign_in", "UNAUTHENTICATED")):
        query = "mutation($input: SignInInput!) { signIn(input: $input) { accessToken errors { code } } }"
        assert said(await world.anonymous.run(query, {"input": given})) == REFUSED


async def test_who_is_suspended_is_refused_at_the_next_request_until_they_are_reinstated(flow: Flow) -> None:
    world = flow.world
    admin, (manager, tokens) = await world.client("admin"), await signed_in(world, "manager")
    before, person = (await manager.run(PROJECTS)).data, await world.member_id("manager")
    given = {"userId": f"User:{person}", "reason": "On leave."}
    await done(admin, "suspendUser", given)

    async with refused(world, DENIED, whose=person):
        assert said(await manager.run(PROJECTS)) == REFUSED
    async with refused(world, ("session.refresh", "UNAUTHENTICATED"), whose=person):
        refresh = {"refreshToken": tokens["refreshToken"]}
        assert said(await mutate(world.anonymous, "refreshSession", refresh, "accessToken")) == REFUSED
    async with refused(world, ("session.sign_in", "UNAUTHENTICATED")):
        assert said(await world.sign_in("manager")) == REFUSED
    owner = {"userId": await _user(world, "owner"), "reason": "A coup."}
    async with refused(world, ("user.suspend", "FORBIDDEN"), whose=await world.member_id("admin")):
        assert said(await mutate(admin, "suspendUser", owner)) == ["FORBIDDEN"]

    await done(admin, "reinstateUser", {**given, "reason": "Back."})
    assert (await manager.run(PROJECTS)).data == before
    assert said(await mutate(world.anonymous, "refreshSession", refresh, "accessToken")) == []


async def test_who_leaves_is_out_at_once_and_what_was_theirs_is_handed_over(flow: Flow) -> None:
    world = flow.world
    owner, admin, heir = await world.client("owner"), await world.client("admin"), await _user(world, "manager")
    program = await make_program(world, {P.PROJECT_READ, P.RECORD_READ}, by="admin")
    phone = await enrolled(world, await _registered(world, "admin"), by="owner")
    on_phone = await phone.client(world, "admin")
    member = await world.member_id("admin")

    removed = await done(
        owner, "removeUser", {"userId": f"User:{member}", "reason": "Left.", "handOverTo": heir}, "handedOver ended"
    )

    assert (removed["handedOver"], removed["ended"]) == ([program.id, phone.id], [])
    await _is_out(world, "admin", admin, on_phone)
    # The account goes on for its new owner, by a token that the leaver does not know.
    async with refused(world, ("service_account.authenticate", "UNAUTHENTICATED")):
        assert said(await program.client.run(PROJECTS)) == REFUSED
    given = {"id": program.id, "expiresAt": later(days=20), "reason": "Goes on."}
    token = (await done(owner, "issueServiceAccountToken", given, "token"))["token"]
    assert (await Client(world.http, token).run(PROJECTS)).data["projects"]["nodes"]
    # So does the device, once the heir has enrolled it with a key of their own.
    now = await enrolled(world, phone.id, by="owner")
    assert (await (await now.client(world, "manager")).run(ME)).data == {"viewer": {"user": {"id": heir}}}


async def test_who_leaves_without_an_heir_takes_nothing_along_and_leaves_nothing_open(flow: Flow) -> None:
    world = flow.world
    owner, admin = await world.client("owner"), await world.client("admin")
    program = await make_program(world, {P.PROJECT_READ, P.RECORD_READ}, by="admin")
    phone = await enrolled(world, await _registered(world, "admin"), by="owner")
    on_phone = await phone.client(world, "admin")
    member = await world.member_id("admin")
    manager, who = await world.client("manager"), await world.member_id("manager")
    async with refused(world, ("user.remove", "NOT_FOUND"), whose=who):
        given = {"userId": f"User:{member}", "reason": "Mine now."}
        assert said(await mutate(manager, "removeUser", given)) == ["NOT_FOUND"]

    removed = await done(owner, "removeUser", {"userId": f"User:{member}", "reason": "Left."}, "handedOver ended")

    assert (removed["handedOver"], removed["ended"]) == ([], [program.id, phone.id])
    await _is_out(world, "admin", admin, on_phone)
    async with refused(world, ("service_account.authenticate", "UNAUTHENTICATED")):
        assert said(await program.client.run(PROJECTS)) == REFUSED
    open_still = (
        "select (select count(*) from session where membership_id = $1 and revoked_at is null)"
        " + (select count(*) from service_account where created_by_id = $1 and revoked_at is null)"
        " + (select count(*) from device where membership_id = $1 and status <> 'BLOCKED')"
    )
    assert await world.value(open_still, member) == 0


async def _is_out(world: World, key: str, *clients: Client) -> None:
    """Require that a removed person gets in nowhere."""
    for client in clients:
        async with refused(world, DENIED):
            assert said(await client.run(ME)) == REFUSED
    async with refused(world, ("session.sign_in", "UNAUTHENTICATED")):
        assert said(await world.sign_in(key)) == REFUSED
    given = {"email": "friend@clearwater.example", "name": "A Friend", "role": "MEMBER"}
    async with refused(world, DENIED, ("invitation.create", "UNAUTHENTICATED")):
        assert said(await mutate(clients[0], "inviteUser", given)) == REFUSED


async def test_what_a_review_does_not_keep_is_gone_at_the_next_request(flow: Flow) -> None:
    world = flow.world
    owner, auditor, reviewer = [await world.client(key) for key in ("owner", "auditor", "reviewer")]
    assert (await reviewer.run(PROJECTS)).data["projects"]["nodes"] == [{"code": "CANAL"}]
    async with refused(world, ("access_review.open", "FORBIDDEN"), whose=await world.member_id("auditor")):
        assert said(await mutate(auditor, "openAccessReview", {})) == ["FORBIDDEN"]
    review = (await done(owner, "openAccessReview", {}, REVIEW))["accessReview"]
    items = review["items"]["nodes"]

    kept = _item(items, await _user(world, "auditor"), "MEMBERSHIP")
    gone = _item(items, await _user(world, "reviewer"), "PROJECT_MEMBERSHIP")
    own = _item(items, await _user(world, "owner"), "MEMBERSHIP")
    since = await world.now()
    assert await _decide(owner, kept, "KEEP") == []
    assert await _decide(owner, gone, "REMOVE") == []

    assert (await auditor.run("{ viewer { role } }")).data == {"viewer": {"role": "AUDITOR"}}
    assert (await reviewer.run(PROJECTS)).data["projects"]["nodes"] == []
    entries = await world.entries(since=since)
    assert [(one["action"], one["outcome"]) for one in entries] == [("access_review.decide", "DONE")] * 2
    for who, item in ((owner, own), (auditor, kept)):
        async with refused(world, ("access_review.decide", "FORBIDDEN")):
            assert await _decide(who, item, "REMOVE") == ["FORBIDDEN"]
    closing = {"id": review["id"], "expectedVersion": 1}
    async with refused(world, ("access_review.close", "CONFLICT"), outcome="FAILED"):
        assert said(await mutate(owner, "closeAccessReview", closing)) == ["CONFLICT"]
    await done(owner, "closeAccessReview", {**closing, "reason": "The rest is for the next one."})
    late = _item(items, await _user(world, "manager"), "PROJECT_MEMBERSHIP")
    async with refused(world, ("access_review.decide", "CONFLICT"), outcome="FAILED"):
        assert await _decide(owner, late, "REMOVE") == ["CONFLICT"]


def _item(items: list[Any], user: str, kind: str) -> Any:
    return next(one for one in items if one["kind"] == kind and user in (one["subjectId"], one["user"]["id"]))


async def _decide(client: Client, item: Any, decision: str) -> list[str]:
    given = {"id": item["id"], "decision": decision, "reason": "Not needed any more."}
    return [one["code"] for one in await refusals(client, "decideAccessReviewItem", given)]
