"""Handing a device over to somebody else: what ends, what stays, and who may."""

from typing import Any
from uuid import UUID

import pytest

from tests.support.device import SoftwareDevice, enrolled, start
from tests.support.mutation import mutate, prepare
from tests.support.world import Client, World

ME = "{ viewer { role } }"
MINE = "{ devices { nodes { id } } }"
REASON = "Left the team."


async def handing_over(world: World, device: str, to: str, version: int) -> dict[str, Any]:
    """Return what hands the device over to a person of the demo."""
    return {
        "id": device,
        "userId": f"User:{await world.member_id(to)}",
        "expectedVersion": version,
        "reason": REASON,
    }


async def test_a_device_that_is_handed_over_has_neither_key_nor_session_nor_code_of_before(world: World) -> None:
    stage, admin = await prepare(world), await world.client("admin")
    phone = await enrolled(world, stage.device)
    signed_in = (await phone.sign_in(world, "member")).data["signIn"]
    client, elsewhere = Client(world.http, signed_in["accessToken"]), await world.client("member")
    code = await start(admin, stage.device)
    given = await handing_over(world, stage.device, "collector", 2)
    since = await world.now()

    answer = await mutate(
        admin, "handOverDevice", given, "device { user { id } enrolledAt keyThumbprint status version }"
    )

    assert answer.data["handOverDevice"] == {
        "device": {
            "user": {"id": given["userId"]},
            "enrolledAt": None,
            "keyThumbprint": None,
            "status": "ACTIVE",
            "version": 3,
        },
        "errors": [],
    }
    (entry,) = await world.entries(since=since)
    assert (entry["action"], entry["outcome"], entry["entity_ids"]) == ("device.hand_over", "DONE", [phone.row_id])
    assert entry["membership_id"] == await world.member_id("admin")
    changes = await world.sql(
        "select entity, columns::text from change where entry_id = $1 order by entity", entry["id"]
    )
    assert [one["entity"] for one in changes] == ["device", "session"]
    for member in ("member", "collector"):
        assert str(await world.member_id(member)) in changes[0]["columns"]
    assert '"public_key"' in changes[0]["columns"]
    # The session of before is over, and so are its refresh token, the key, and the code.
    assert (await client.run(ME)).codes == ["UNAUTHENTICATED"]
    assert (await phone.refresh(world, signed_in["refreshToken"])).codes == ["UNAUTHENTICATED"]
    assert (await phone.sign_in(world, "member")).codes == ["UNAUTHENTICATED"]
    by_new = await phone.sign_in(world, "collector")
    assert by_new.errors[0]["extensions"]["detail"] == "DEVICE_NOT_ENROLLED"
    assert (await SoftwareDevice().answer(world, code)).codes == ["UNAUTHENTICATED"]
    assert await world.value("select public_key from device where id = $1", phone.row_id) is None
    # What the one before signed in to elsewhere goes on.
    assert (await elsewhere.run(ME)).data == {"viewer": {"role": "MEMBER"}}


async def test_the_one_before_does_not_see_it_any_more_and_the_new_one_does(world: World) -> None:
    stage, admin = await prepare(world), await world.client("admin")
    old, new = await world.client("member"), await world.client("viewer")
    assert {"id": stage.device} in (await old.run(MINE)).data["devices"]["nodes"]

    await mutate(admin, "handOverDevice", await handing_over(world, stage.device, "viewer", 1))

    assert {"id": stage.device} not in (await old.run(MINE)).data["devices"]["nodes"]
    assert (await new.run(MINE)).data["devices"]["nodes"] == [{"id": stage.device}]


async def test_the_new_one_enrols_it_and_signs_in(world: World) -> None:
    stage, admin = await prepare(world), await world.client("admin")
    before = await enrolled(world, stage.device)
    await mutate(admin, "handOverDevice", await handing_over(world, stage.device, "viewer", 2))

    now = await enrolled(world, stage.device)

    assert (await now.sign_in(world, "viewer")).data["signIn"]["errors"] == []
    assert (await now.sign_in(world, "member")).codes == ["UNAUTHENTICATED"]
    assert (await before.sign_in(world, "viewer")).errors[0]["extensions"]["detail"] == "DEVICE_PROOF_REFUSED"


async def test_records_keep_the_device_that_made_them(world: World) -> None:
    stage, admin = await prepare(world), await world.client("admin")
    given = {"userId": f"User:{await world.member_id('collector')}", "platform": "ANDROID", "model": "Pixel 8"}
    made = (await mutate(admin, "registerDevice", given, "device { id }")).data["registerDevice"]["device"]["id"]
    client = await (await enrolled(world, made)).client(world, "collector")
    record = {"projectId": stage.project, "siteCode": "W-5", "collectedAt": "2026-01-02T03:04:05Z", "medium": "WATER"}
    await mutate(client, "createRecord", record)
    before = await world.value("select md5(t::text) from record t where site_code = 'W-5'")

    answer = await mutate(admin, "handOverDevice", await handing_over(world, made, "member", 2))

    assert answer.data["handOverDevice"]["errors"] == []
    assert await world.value("select device_id from record where site_code = 'W-5'") == UUID(made[7:])
    assert await world.value("select md5(t::text) from record t where site_code = 'W-5'") == before


async def test_a_blocked_device_that_is_handed_over_stays_blocked(world: World) -> None:
    stage, admin = await prepare(world), await world.client("admin")
    given = await handing_over(world, stage.blocked_device, "viewer", 2)

    answer = await mutate(admin, "handOverDevice", given, "device { status blockReason }")

    assert answer.data["handOverDevice"]["device"] == {"status": "BLOCKED", "blockReason": "Lost."}


@pytest.mark.parametrize(
    ("who", "code"),
    [("member", "FORBIDDEN"), ("auditor", "FORBIDDEN"), ("viewer", "NOT_FOUND"), ("other-owner", "NOT_FOUND")],
)
async def test_who_may_not_register_devices_hands_none_over(world: World, who: str, code: str) -> None:
    """Not the one that is their own, either: `member` has this one."""
    stage, client = await prepare(world), await world.client(who)
    phone = await enrolled(world, stage.device)
    on_device = await phone.client(world, "member")
    given = await handing_over(world, stage.device, "viewer", 2)
    since, before = await world.now(), await world.fingerprint()

    answer = await mutate(client, "handOverDevice", given, "device { id }")

    payload = answer.data["handOverDevice"]
    assert (payload["device"], [one["code"] for one in payload["errors"]]) == (None, [code])
    assert await world.fingerprint() == before
    entries = await world.entries(since=since)
    assert [(one["action"], one["outcome"], one["error_code"]) for one in entries] == [
        ("device.hand_over", "DENIED", code)
    ]
    assert (await on_device.run(ME)).data == {"viewer": {"role": "MEMBER"}}


@pytest.mark.parametrize(
    ("table", "where", "to"),
    [
        ("membership set status = 'SUSPENDED'", "id = $1", "viewer"),
        ("membership set status = 'REMOVED'", "id = $1", "viewer"),
        ("user_account set status = 'SUSPENDED'", "id = (select user_id from membership where id = $1)", "viewer"),
        ("membership set status = status", "id = $1", "member"),
    ],
    ids=["suspended", "removed", "suspended everywhere", "theirs already"],
)
async def test_nobody_who_can_not_get_in_or_has_it_is_given_a_device(
    world: World, table: str, where: str, to: str
) -> None:
    stage, admin = await prepare(world), await world.client("admin")
    given = await handing_over(world, stage.device, to, 1)
    for one in ("membership", "user_account"):
        await world.sql(f"alter table {one} disable trigger all")
    await world.sql(f"update {table} where {where}", await world.member_id(to))
    since, before = await world.now(), await world.fingerprint()

    answer = await mutate(admin, "handOverDevice", given)

    assert [(one["code"], one["field"]) for one in answer.data["handOverDevice"]["errors"]] == [
        ("CONFLICT", ["input", "userId"])
    ]
    assert await world.fingerprint() == before
    entries = await world.entries(since=since)
    assert [(one["action"], one["outcome"], one["error_code"]) for one in entries] == [
        ("device.hand_over", "FAILED", "CONFLICT")
    ]


async def test_a_member_of_another_organization_is_given_no_device(world: World) -> None:
    stage, admin = await prepare(world), await world.client("admin")
    given = await handing_over(world, stage.device, "other-owner", 1)
    before = await world.fingerprint()

    answer = await mutate(admin, "handOverDevice", given)

    assert [(one["code"], one["field"]) for one in answer.data["handOverDevice"]["errors"]] == [
        ("NOT_FOUND", ["input", "userId"])
    ]
    assert await world.fingerprint() == before


async def test_somebody_who_saw_an_older_version_hands_nothing_over(world: World) -> None:
    stage, admin = await prepare(world), await world.client("admin")
    await enrolled(world, stage.device)
    before = await world.fingerprint()

    answer = await mutate(admin, "handOverDevice", await handing_over(world, stage.device, "viewer", 1))

    assert [one["code"] for one in answer.data["handOverDevice"]["errors"]] == ["CONFLICT"]
    assert await world.fingerprint() == before
