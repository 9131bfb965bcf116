"""Changing one's own password: what it takes, what ends with the one before, and who is told."""

import asyncio
from typing import Any

import pytest

from auth.errors import UnauthenticatedError
from auth.role import OrganizationRole
from fieldward.cli.environment import operator
from fieldward.demo.people import PEOPLE
from models.session import Factor
from resolvers.account import NewPerson, create_person, member_viewer
from resolvers.identity_proof import MOST_WRONG
from resolvers.proved_password import ProvedPassword
from resolvers.session import Opening, open_session
from resolvers.trail import Actor
from tests.support.factor import put_passkey
from tests.support.mail import send_mail, taking_mail, text_of
from tests.support.world import Answer, Client, World

CHANGE = """
mutation Change($input: ChangePasswordInput!) {
  changePassword(input: $input) { errors { code message field } }
}
"""
REFRESH = """
mutation($input: RefreshSessionInput!) { refreshSession(input: $input) { refreshToken errors { code } } }
"""
ME = "{ viewer { user { id } } }"
NEW = "gravel psalm otter kiln"
ADDRESS = "manager@clearwater.example"


async def change(client: Client, *, current: str | None = None, new: str = NEW) -> Answer:
    given = {"currentPassword": client.password if current is None else current, "newPassword": new}
    return await client.run(CHANGE, {"input": given})


async def _account(world: World) -> Any:
    """Return the manager's account, whether or not they are signed in."""
    [row] = await world.sql(
        "select u.* from user_account u join membership m on m.user_id = u.id"
        " join project_membership p on p.membership_id = m.id where p.role = 'MANAGER'"
    )
    return row


async def _join_suncoast(world: World) -> None:
    """Make the manager a member of the other organization, too."""
    new = NewPerson(ADDRESS, "never looked at, as they have one", "Mara Mann", OrganizationRole.MEMBER)
    suncoast = await world.organization_id("suncoast")
    await create_person(world.services, Actor(suncoast, operator().origin), organization_id=suncoast, new=new)


async def test_a_new_password_signs_in_and_the_one_before_does_not(world: World) -> None:
    client = await world.client("manager")
    before, since = await _account(world), await world.now()

    answer = await change(client)

    assert answer.data == {"changePassword": {"errors": []}}
    after = await _account(world)
    assert after["password_changed_at"] > since
    assert after["password_is_long"]
    assert after["password_hash"] != before["password_hash"]
    assert (await world.sign_in("manager")).codes == ["UNAUTHENTICATED"]
    assert (await world.sign_in("manager", password=NEW)).data["signIn"]["errors"] == []
    entry, *_ = await world.entries(since=since)
    assert (entry["kind"], entry["action"], entry["outcome"]) == ("CHANGE", "user.change_password", "DONE")
    assert entry["membership_id"] == await world.member_id("manager")
    assert entry["session_id"] is not None
    changes = await world.sql("select entity, columns::text from change where entry_id = $1", entry["id"])
    told = {one["entity"]: one["columns"] for one in changes}
    assert set(told) == {"user_account", "session"}
    assert '"password_hash": ["sha256:' in told["user_account"]
    assert after["password_hash"] not in told["user_account"]
    assert NEW not in answer.text


async def test_all_other_sign_ins_end_at_once_and_this_one_goes_on(world: World) -> None:
    await _join_suncoast(world)
    here = (await world.sign_in("manager", organization="clearwater")).data["signIn"]
    there = (await world.sign_in("manager", organization="suncoast")).data["signIn"]
    other = (await world.sign_in("manager", organization="clearwater")).data["signIn"]
    client = Client(world.http, here["accessToken"], password=world.password("manager"))
    since = await world.now()

    assert (await change(client)).data["changePassword"]["errors"] == []

    assert (await client.run(ME)).data["viewer"]["user"]["id"]
    for ended in (there, other):
        assert (await Client(world.http, ended["accessToken"]).run(ME)).codes == ["UNAUTHENTICATED"]
        answer = await world.anonymous.run(REFRESH, {"input": {"refreshToken": ended["refreshToken"]}})
        assert answer.codes == ["UNAUTHENTICATED"]
    refreshed = await world.anonymous.run(REFRESH, {"input": {"refreshToken": here["refreshToken"]}})
    assert refreshed.data["refreshSession"]["errors"] == []
    # Each organization of the person has it in its own trail, with the sessions that ended.
    entries = [one for one in await world.entries(since=since) if one["action"] == "user.change_password"]
    assert {one["organization_id"] for one in entries} == {
        await world.organization_id("clearwater"),
        await world.organization_id("suncoast"),
    }
    for entry in entries:
        ended = await world.sql(
            "select columns::text from change where entry_id = $1 and entity = 'session' and columns ? 'revoked_at'",
            entry["id"],
        )
        assert len(ended) == 1
        assert entry["outcome"] == "DONE"


async def test_another_persons_sign_ins_stay(world: World) -> None:
    collector = await world.client("collector")

    await change(await world.client("manager"))

    assert (await collector.run(ME)).data["viewer"]["user"]["id"]


async def test_a_wrong_current_password_changes_nothing_and_five_of_them_end_the_session(world: World) -> None:
    client = await world.client("manager")
    before, since = await _account(world), await world.now()

    answers = [await change(client, current="not the password at all") for _ in range(MOST_WRONG)]

    for answer in answers[:-1]:
        [error] = answer.data["changePassword"]["errors"]
        assert (error["code"], error["field"]) == ("FORBIDDEN", ["input", "currentPassword"])
    assert answers[-1].codes == ["UNAUTHENTICATED"]
    assert (await change(client)).codes == ["UNAUTHENTICATED"]
    assert await _account(world) == before
    denied = [one for one in await world.entries(since=since) if one["action"] == "user.change_password"]
    assert [(one["kind"], one["outcome"], one["error_code"]) for one in denied] == [
        *[("ATTEMPT", "DENIED", "FORBIDDEN")] * (MOST_WRONG - 1),
        *[("ATTEMPT", "DENIED", "UNAUTHENTICATED")] * 2,
    ]
    assert (await world.sign_in("manager")).data["signIn"]["errors"] == []


@pytest.mark.parametrize(
    ("new", "why"),
    [
        ("fourteen carps", "at least 15 characters"),
        ("kelp vow " * 20, "at most 128 characters"),
        ("passwordpassword", "easy to guess"),
        ("manager@clearwater", "your name, your address or your organization"),
        ("Mara Mann Clearwater", "your name, your address or your organization"),
    ],
)
async def test_a_password_that_may_not_be_set_is_refused_with_why(world: World, new: str, why: str) -> None:
    client = await world.client("manager")
    before, since = await _account(world), await world.now()

    answer = await change(client, new=new)

    [error] = answer.data["changePassword"]["errors"]
    assert (error["code"], error["field"]) == ("INVALID_INPUT", ["input", "newPassword"])
    assert why in error["message"]
    assert new not in answer.text
    assert await _account(world) == before
    [entry] = await world.entries(since=since)
    assert (entry["kind"], entry["action"], entry["outcome"]) == ("ATTEMPT", "user.change_password", "FAILED")
    assert (await client.run(ME)).data["viewer"]["user"]["id"]


async def test_the_current_password_is_no_new_one(world: World) -> None:
    client = await world.client("manager")

    [error] = (await change(client, new=client.password)).data["changePassword"]["errors"]

    assert (error["code"], error["field"]) == ("INVALID_INPUT", ["input", "newPassword"])


async def test_twelve_characters_do_beside_a_confirmed_second_factor_alone(world: World) -> None:
    client, short = await world.client("manager"), "kelp vow trio"
    account = await _account(world)

    [error] = (await change(client, new=short)).data["changePassword"]["errors"]
    await put_passkey(world, "manager", is_confirmed=False)
    [not_yet] = (await change(client, new=short)).data["changePassword"]["errors"]
    await put_passkey(world, "manager", is_confirmed=True)
    await world.sql("alter table session disable trigger all")
    await world.sql("update session set factors = '{PASSKEY}'")
    done = await change(client, new=short)

    assert "at least 15" in error["message"]
    assert "at least 15" in not_yet["message"]
    assert done.data["changePassword"]["errors"] == []
    after = await _account(world)
    assert account["password_is_long"]
    assert not after["password_is_long"]


async def test_nobody_and_programs_have_no_password_to_change(world: World) -> None:
    before, since = await world.fingerprint(), await world.now()

    nobody = await change(world.anonymous, current="whatever it may be")

    assert nobody.codes == ["UNAUTHENTICATED"]
    assert await world.fingerprint() == before
    [entry] = await world.entries(since=since)
    assert (entry["action"], entry["outcome"], entry["error_code"]) == (
        "user.change_password",
        "DENIED",
        "UNAUTHENTICATED",
    )


async def test_who_looks_as_another_does_not_change_their_password(world: World) -> None:
    owner = await world.client("owner")
    looked_as = f"User:{await world.member_id('manager')}"
    before = await _account(world)

    body = {"query": CHANGE, "variables": {"input": {"currentPassword": owner.password, "newPassword": NEW}}}
    response = await world.http.post(
        "/graphql",
        json=body,
        headers={"authorization": f"Bearer {owner.token}", "fieldward-run-as": looked_as},
    )

    assert [error["code"] for error in response.json()["data"]["changePassword"]["errors"]] == ["FORBIDDEN"]
    assert await _account(world) == before


async def test_the_person_is_told_by_mail_and_the_mail_holds_no_password(world: World) -> None:
    with taking_mail(world) as box:
        await change(await world.client("manager"))
        await send_mail(world)

        [message] = box.messages
        assert box.recipients == [[ADDRESS]]
    assert message["subject"] == "Your password for Fieldward was changed"
    assert NEW not in text_of(message)
    assert "https://fieldward.example/account" in text_of(message)
    assert ADDRESS in {one.email for one in PEOPLE}


async def test_who_proved_the_password_of_before_a_moment_ago_gets_in_no_more_and_puts_nothing_back(
    world: World,
) -> None:
    viewer = await member_viewer("clearwater", email=ADDRESS)
    assert viewer.user_id is not None
    assert viewer.membership_id is not None
    proved = ProvedPassword((await _account(world))["password_hash"], "a hash of the one before")
    opening = Opening(viewer.user_id, viewer.organization_id, viewer.membership_id, (Factor.PASSWORD,))
    await change(await world.client("manager"))
    changed, sessions = await _account(world), await world.value("select count(*) from session")
    since = await world.now()

    with pytest.raises(UnauthenticatedError):
        await open_session(world.services, operator(), opening, proved=proved)

    assert await _account(world) == changed
    assert await world.value("select count(*) from session") == sessions
    [entry] = await world.entries(since=since)
    assert (entry["kind"], entry["action"], entry["outcome"]) == ("ATTEMPT", "session.sign_in", "DENIED")


async def test_of_two_who_change_it_at_once_one_does_and_the_others_session_has_ended(world: World) -> None:
    clients = [
        Client(
            world.http,
            (await world.sign_in("manager")).data["signIn"]["accessToken"],
            password=world.password("manager"),
        )
        for _ in range(2)
    ]
    wanted = ["gravel psalm otter kiln", "another gravel psalm kiln"]

    answers = await asyncio.gather(*(change(client, new=new) for client, new in zip(clients, wanted, strict=True)))

    done = [
        index
        for index, answer in enumerate(answers)
        if not answer.errors and not answer.data["changePassword"]["errors"]
    ]
    assert len(done) == 1
    lost = answers[1 - done[0]]
    refused = lost.codes or [error["code"] for error in lost.data["changePassword"]["errors"]]
    assert refused[0] in {"UNAUTHENTICATED", "FORBIDDEN"}
    assert (await world.sign_in("manager", password=wanted[done[0]])).data["signIn"]["errors"] == []
    assert (await world.sign_in("manager", password=wanted[1 - done[0]])).codes == ["UNAUTHENTICATED"]
