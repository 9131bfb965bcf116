"""Who leaves is out at once, with all that acts in their name; what they made stays, and the last owner does."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from auth.principal import Channel, Origin
from models.base import new_id
from models.membership import MembershipStatus
from resolvers.account import member_viewer, set_member_status
from resolvers.trail import Actor
from tests.support.mutation import mutate
from tests.support.people import invite
from tests.support.world import Answer, Client, World

REASON = "Left for another laboratory."
SHOWN = "user { status role } handedOver ended"
CHANGED = {
    *("membership", "project_membership", "session", "service_account", "service_account_token", "device"),
    "invitation",
}


async def _done(client: Client, name: str, given: dict[str, Any], shown: str = "") -> Any:
    answer = await mutate(client, name, given, shown)
    assert answer.data[name]["errors"] == [], answer.data
    return answer.data[name]


async def _remove(client: Client, whose: str, heir: str | None = None) -> Answer:
    given = {"userId": whose, "reason": REASON, **({"handOverTo": heir} if heir else {})}
    return await mutate(client, "removeUser", given, SHOWN)


def _codes(answer: Answer, name: str = "removeUser") -> list[str]:
    return [one["code"] for one in answer.data[name]["errors"]]


async def _id(world: World, key: str) -> str:
    return f"User:{await world.member_id(key)}"


async def _with_things(world: World) -> tuple[str, Client, str, str]:
    """Give the admin a program, a device and an invitation; return account, program, device, and who the admin is."""
    owner, admin = await world.client("owner"), await world.client("admin")
    whose = await _id(world, "admin")
    made = await _done(
        admin,
        "createServiceAccount",
        {
            "name": "Nightly export",
            "permissions": ["PROJECT_READ", "RECORD_READ", "DEVICE_READ"],
            "expiresAt": (datetime.now(UTC) + timedelta(days=30)).isoformat(),
            "reason": "Set up.",
        },
        "token serviceAccount { id }",
    )
    device = await _done(
        owner, "registerDevice", {"userId": whose, "platform": "ANDROID", "model": "Pixel 8"}, "device { id }"
    )
    await invite(admin, "nia@clearwater.example")
    return made["serviceAccount"]["id"], Client(world.http, made["token"]), device["device"]["id"], whose


async def test_a_removal_ends_everything_at_once_in_one_entry(world: World) -> None:
    account, program, device, admin_id = await _with_things(world)
    owner, admin = await world.client("owner"), await world.client("admin")
    project = f"Project:{await world.project_id('CANAL')}"
    await _done(
        owner, "assignProjectRole", {"userId": admin_id, "projectId": project, "role": "REVIEWER", "reason": "Helps."}
    )
    assert (await program.run("{ projects { nodes { id } } }")).data["projects"]["nodes"]
    member = admin_id.removeprefix("User:")
    since = await world.now()

    answer = await _remove(owner, admin_id)

    assert answer.data["removeUser"] == {
        "user": {"status": "REMOVED", "role": "MEMBER"},
        "handedOver": [],
        "ended": [account, device],
        "errors": [],
    }
    assert (await admin.run("{ viewer { user { id } } }")).codes == ["UNAUTHENTICATED"]
    assert (await program.run("{ projects { nodes { id } } }")).codes == ["UNAUTHENTICATED"]
    assert (await world.sign_in("admin")).codes == ["UNAUTHENTICATED"]
    left = await world.sql(
        "select (select count(*) from project_membership where membership_id = $1) as roles,"
        " (select count(*) from session where membership_id = $1 and revoked_at is null) as sessions,"
        " (select count(*) from service_account where created_by_id = $1 and revoked_at is null) as accounts,"
        " (select count(*) from service_account_token where created_by_id = $1 and revoked_at is null) as tokens,"
        " (select count(*) from device where membership_id = $1 and status <> 'BLOCKED') as devices,"
        " (select count(*) from invitation where invited_by_id = $1 and status = 'PENDING') as invitations",
        member,
    )
    assert set(left[0].values()) == {0}
    changes = [one for one in await world.entries(since=since) if one["kind"] == "CHANGE"]
    assert [(one["action"], one["outcome"]) for one in changes] == [("user.remove", "DONE")]
    tables = await world.sql("select distinct entity from change where entry_id = $1", changes[0]["id"])
    assert {one["entity"] for one in tables} == CHANGED


async def test_what_is_handed_over_works_for_its_new_owner_and_not_by_what_the_leaver_knew(world: World) -> None:
    account, program, device, admin_id = await _with_things(world)
    owner = await world.client("owner")
    heir = await _id(world, "manager")
    since = await world.now()

    answer = await _remove(owner, admin_id, heir)

    assert answer.data["removeUser"]["handedOver"] == [account, device]
    assert answer.data["removeUser"]["ended"] == []
    shown = await owner.run(
        "query($account: ID!, $device: ID!) { serviceAccount(id: $account) { createdBy { id } permissions revokedAt }"
        " device(id: $device) { user { id } status } }",
        {"account": account, "device": device},
    )
    # What the manager can't do, the account can't any more, even once the manager can.
    assert shown.data["serviceAccount"] == {
        "createdBy": {"id": heir},
        "permissions": ["PROJECT_READ", "RECORD_READ"],
        "revokedAt": None,
    }
    assert shown.data["device"] == {"user": {"id": heir}, "status": "ACTIVE"}
    assert (await program.run("{ projects { nodes { id } } }")).codes == ["UNAUTHENTICATED"]
    entry = next(one for one in await world.entries(since=since) if one["action"] == "user.remove")
    moved = await world.sql("select entity, columns::text as columns from change where entry_id = $1", entry["id"])
    named = {one["entity"]: one["columns"] for one in moved}
    assert heir.removeprefix("User:") in named["service_account"]
    assert heir.removeprefix("User:") in named["device"]


async def test_a_service_account_that_its_new_owner_could_do_nothing_with_is_revoked(world: World) -> None:
    account, _, device, admin_id = await _with_things(world)

    answer = await _remove(await world.client("owner"), admin_id, await _id(world, "member"))

    assert answer.data["removeUser"]["handedOver"] == [device]
    assert answer.data["removeUser"]["ended"] == [account]


async def test_records_keep_who_made_them(world: World) -> None:
    collector = await _id(world, "collector")
    query = "select count(*) from record where created_by_id = $1"
    given = {
        "projectId": f"Project:{await world.project_id('CANAL')}",
        "siteCode": "W-1",
        "collectedAt": "2026-01-02T03:04:05Z",
        "medium": "WATER",
    }
    await _done(await world.client("collector"), "createRecord", given)
    made = await world.value(query, collector.removeprefix("User:"))

    assert _codes(await _remove(await world.client("owner"), collector)) == []

    assert await world.value(query, collector.removeprefix("User:")) == made > 0


@pytest.mark.parametrize(
    ("who", "whose", "heir", "code"),
    [
        ("admin", "owner", None, "FORBIDDEN"),
        ("admin", "admin", None, "FORBIDDEN"),
        ("owner", "owner", None, "FORBIDDEN"),
        ("admin", "auditor", None, "FORBIDDEN"),
        ("auditor", "member", None, "FORBIDDEN"),
        ("manager", "member", None, "NOT_FOUND"),
        ("member", "member", None, "FORBIDDEN"),
        ("owner", "other-owner", None, "NOT_FOUND"),
        ("owner", "member", "member", "CONFLICT"),
        ("owner", "member", "other-owner", "NOT_FOUND"),
    ],
)
async def test_a_removal_that_may_not_be_done(world: World, who: str, whose: str, heir: str | None, code: str) -> None:
    client = await world.client(who)
    given = (await _id(world, whose), await _id(world, heir) if heir else None)
    since, before = await world.now(), await world.fingerprint()

    answer = await _remove(client, *given)

    assert _codes(answer) == [code]
    assert answer.data["removeUser"] | {"errors": []} == {"user": None, "handedOver": [], "ended": [], "errors": []}
    assert await world.fingerprint() == before
    outcome = "FAILED" if code == "CONFLICT" else "DENIED"
    assert [
        (one["kind"], one["action"], one["outcome"], one["error_code"]) for one in await world.entries(since=since)
    ] == [("ATTEMPT", "user.remove", outcome, code)]


@pytest.mark.parametrize(
    ("who", "whose", "name", "code"),
    [
        ("admin", "owner", "suspendUser", "FORBIDDEN"),
        ("admin", "admin", "suspendUser", "FORBIDDEN"),
        ("auditor", "member", "suspendUser", "FORBIDDEN"),
        ("manager", "member", "suspendUser", "NOT_FOUND"),
        ("owner", "other-owner", "suspendUser", "NOT_FOUND"),
        ("owner", "member", "reinstateUser", "CONFLICT"),
    ],
)
async def test_a_standing_that_may_not_be_changed(world: World, who: str, whose: str, name: str, code: str) -> None:
    client, person = await world.client(who), await _id(world, whose)
    since, before = await world.now(), await world.fingerprint()

    answer = await mutate(client, name, {"userId": person, "reason": REASON})

    assert _codes(answer, name) == [code]
    assert await world.fingerprint() == before
    assert [(one["kind"], one["error_code"]) for one in await world.entries(since=since)] == [("ATTEMPT", code)]


async def test_who_is_suspended_is_refused_at_the_next_request_and_let_in_again_with_all_that_they_had(
    world: World,
) -> None:
    admin, manager = await world.client("admin"), await world.client("manager")
    person = await _id(world, "manager")
    query = "{ projects { nodes { code } } }"
    before = (await manager.run(query)).data

    await _done(admin, "suspendUser", {"userId": person, "reason": "On leave."})
    refused = await manager.run(query)
    await _done(admin, "reinstateUser", {"userId": person, "reason": "Back."})

    assert refused.codes == ["UNAUTHENTICATED"]
    assert (await manager.run(query)).data == before


async def test_the_last_owner_can_be_neither_removed_nor_suspended_also_when_two_go_at_once(world: World) -> None:
    owner = await world.client("owner")
    first, second = await _id(world, "owner"), await _id(world, "admin")
    await _done(owner, "assignOrganizationRole", {"userId": second, "role": "OWNER", "reason": "Shares the work."})
    admin = await world.client("admin")

    answers = await asyncio.gather(_remove(owner, second), _remove(admin, first))

    lost = [one for one in answers if one.body["data"]["removeUser"] is None or _codes(one)]
    assert len(lost) == 1
    left = "select count(*) from membership where organization_id = $1 and role = 'OWNER' and status = 'ACTIVE'"
    assert await world.value(left, await world.organization_id("clearwater")) == 1


async def test_who_is_removed_does_not_come_back_by_being_reinstated(world: World) -> None:
    owner, person = await world.client("owner"), await _id(world, "member")
    assert _codes(await _remove(owner, person)) == []
    before = await world.fingerprint()

    again = await mutate(owner, "reinstateUser", {"userId": person, "reason": REASON})
    twice = await _remove(owner, person)

    assert _codes(again, "reinstateUser") == ["CONFLICT"]
    assert _codes(twice) == ["CONFLICT"]
    assert await world.fingerprint() == before


async def test_a_service_account_goes_over_to_nobody_by_who_can_do_less_than_it(world: World) -> None:
    """Who may remove people, and no more, ends what was theirs and gives it to nobody."""
    owner = await world.client("owner")
    made = {
        "name": "Sees people off",
        "level": "ORGANIZATION",
        "permissions": ["MEMBERSHIP_READ", "MEMBERSHIP_ASSIGN", "PROJECT_READ", "RECORD_READ", "ROLE_READ"],
        "reason": REASON,
    }
    role = (await _done(owner, "createRole", made, "role { id }"))["role"]["id"]
    leaver, clerk = await _id(world, "member"), await _id(world, "viewer")
    device = {"userId": leaver, "platform": "IOS", "model": "iPhone 15"}
    await _done(owner, "registerDevice", device)
    await _done(owner, "assignOrganizationRole", {"userId": clerk, "customRoleId": role, "reason": REASON})
    client = await world.client("viewer")
    before = await world.fingerprint()

    refused = await _remove(client, leaver, await _id(world, "manager"))

    assert _codes(refused) == ["FORBIDDEN"]
    assert refused.data["removeUser"]["errors"][0]["permission"] == "device:register"
    after = await world.fingerprint()
    assert {name for name in after if after[name] != before[name]} <= {"session"}
    assert _codes(await _remove(client, leaver)) == []


async def test_commands_and_mutations_change_a_standing_by_the_same_rules(world: World) -> None:
    admin = await member_viewer("clearwater", email="admin@clearwater.example")
    origin = Origin(channel=Channel.COMMAND, request_id=new_id())
    owner_id = await world.member_id("owner")

    with pytest.raises(Exception, match="Only an owner") as raised:
        await set_member_status(
            Actor(admin.organization_id, origin, admin),
            organization_id=admin.organization_id,
            membership_id=owner_id,
            status=MembershipStatus.SUSPENDED,
            reason=REASON,
        )

    given = {"userId": f"User:{owner_id}", "reason": REASON}
    answer = await mutate(await world.client("admin"), "suspendUser", given)
    assert answer.data["suspendUser"]["errors"][0]["message"] == str(raised.value)
