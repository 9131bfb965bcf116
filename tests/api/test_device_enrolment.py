"""Enrolling a device: who may give a code, what answers it, and what is refused."""

import asyncio
import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

import pytest

from auth.device_proof import DeviceKey
from auth.principal import SYSTEM_ID
from resolvers.challenge import MOST_ATTEMPTS
from resolvers.device_enrolment import CODE_LIFETIME
from schema.device_enrolment import _uri
from schema.qr import qr_svg
from tests.support.device import ENROLLED, SoftwareDevice, enrolled, start
from tests.support.mutation import mutate, prepare
from tests.support.world import Answer, World

STARTED = "code uri qr expiresAt"
SHOWN = "query($id: ID!) { device(id: $id) { enrolledAt keyThumbprint appVersion lastSeenAt version } }"
OVER = "This code is not valid, or not any more. Ask for a new one."


def denials(entries: list[Any]) -> list[tuple[Any, ...]]:
    return [(one["action"], one["outcome"], one["error_code"]) for one in entries]


async def assert_refused(world: World, answer: Answer, since: Any, before: dict[str, str], noted: str) -> Any:
    """Require that an enrolment was refused, changed nothing and left its one entry; return that."""
    assert answer.body["data"] == {"enrolDevice": None}
    assert answer.codes == ["UNAUTHENTICATED"]
    assert await world.fingerprint() == before
    entries = await world.entries(since=since)
    assert denials(entries) == [("device.enrol", "DENIED", noted)]
    return entries[0]


async def test_a_code_is_shown_once_and_is_good_for_ten_minutes(world: World) -> None:
    stage, admin = await prepare(world), await world.client("admin")
    since = await world.now()

    answer = await mutate(admin, "startDeviceEnrolment", {"id": stage.device}, STARTED)

    started = answer.data["startDeviceEnrolment"]
    assert started["uri"] == f"https://fieldward.example/account?audience=fieldward-api#enrol={started['code']}"
    assert started["qr"].startswith("<svg ")
    assert "<script" not in started["qr"]
    kept = await world.sql("select * from challenge where kind = 'DEVICE_ENROLMENT'")
    assert [one["device_id"] for one in kept] == [UUID(stage.device.removeprefix("Device:"))]
    assert kept[0]["expires_at"] - kept[0]["created_at"] == CODE_LIFETIME == timedelta(minutes=10)
    plain = started["code"].replace("-", "")
    for table in await world.sql("select tablename from pg_tables where schemaname = 'public'"):
        dump = await world.value(f"select coalesce(string_agg(t::text, ''), '') from {table['tablename']} t")
        assert started["code"] not in dump
        assert plain not in dump
        assert plain.encode().hex() not in dump
    entries = await world.entries(since=since)
    assert [(one["kind"], one["action"], one["entity_ids"]) for one in entries] == [
        ("CHANGE", "device.start_enrolment", [UUID(stage.device.removeprefix("Device:"))])
    ]


def test_where_the_service_knows_its_address_the_code_is_in_the_fragment_of_a_link() -> None:
    assert _uri("https://fieldward.example/", "7K4M-Q2ZD-0XHW", audience="https://api.example") == (
        "https://fieldward.example/account?audience=https%3A%2F%2Fapi.example#enrol=7K4M-Q2ZD-0XHW"
    )


def test_where_it_knows_none_the_code_stands_alone_with_the_audience() -> None:
    assert _uri(None, "7K4M-Q2ZD-0XHW", audience="fieldward-api") == (
        "fieldward-enrol:7K4M-Q2ZD-0XHW?audience=fieldward-api"
    )


async def test_the_link_alone_tells_an_app_all_that_it_needs_to_be_enrolled(world: World) -> None:
    stage, admin = await prepare(world), await world.client("admin")
    started = await mutate(admin, "startDeviceEnrolment", {"id": stage.device}, "uri qr")
    shown = started.data["startDeviceEnrolment"]

    told = urlsplit(shown["uri"])
    code = told.fragment.removeprefix("enrol=") or told.path
    device = SoftwareDevice()
    proof = device.proof("enrolment", code, aud=parse_qs(told.query)["audience"][0])
    given = {"code": code, "publicKey": json.dumps(device.jwk), "proof": proof}

    answer = await mutate(world.anonymous, "enrolDevice", given, ENROLLED)

    assert answer.data["enrolDevice"] == {"deviceId": stage.device, "errors": []}
    assert shown["qr"] == qr_svg(shown["uri"])


async def test_a_device_answers_the_code_with_its_key(world: World) -> None:
    stage, admin = await prepare(world), await world.client("admin")
    device, code = SoftwareDevice(), await start(admin, stage.device)
    since = await world.now()

    answer = await device.answer(world, code, appVersion="3.1.0")

    assert answer.data["enrolDevice"] == {"deviceId": stage.device, "errors": []}
    shown = (await admin.run(SHOWN, {"id": stage.device})).data["device"]
    assert shown["keyThumbprint"] == DeviceKey.from_jwk(json.dumps(device.jwk)).thumbprint
    assert (shown["appVersion"], shown["version"]) == ("3.1.0", 2)
    assert shown["enrolledAt"] == shown["lastSeenAt"] is not None
    (entry,) = await world.entries(since=since)
    row_id = UUID(stage.device.removeprefix("Device:"))
    assert (entry["kind"], entry["action"], entry["outcome"]) == ("CHANGE", "device.enrol", "DONE")
    assert (entry["device_id"], entry["entity_ids"]) == (row_id, [row_id])
    assert entry["membership_id"] == await world.member_id("member")
    assert entry["organization_id"] == await world.organization_id("clearwater")
    changes = await world.sql("select entity, columns::text from change where entry_id = $1", entry["id"])
    assert [one["entity"] for one in changes] == ["device"]
    assert all(f'"{name}"' in changes[0]["columns"] for name in ("public_key", "enrolled_at", "app_version"))


async def test_a_code_is_read_however_it_is_typed(world: World) -> None:
    stage = await prepare(world)
    code = await start(await world.client("admin"), stage.device)
    typed = f" {code.lower().replace('1', 'l').replace('0', 'O').replace('-', ' ')} "

    assert (await SoftwareDevice().answer(world, typed)).data["enrolDevice"]["deviceId"] == stage.device


async def test_who_is_signed_in_enrols_no_other_way(world: World) -> None:
    """The code says whose device it is; whoever holds a token of somebody else's acts as the device all the same."""
    stage = await prepare(world)
    device, code = SoftwareDevice(), await start(await world.client("admin"), stage.device)
    stranger = await world.client("other-owner")
    since = await world.now()

    given = {"code": code, "publicKey": json.dumps(device.jwk), "proof": device.proof("enrolment", code)}
    answer = await mutate(stranger, "enrolDevice", given, ENROLLED)

    assert answer.data["enrolDevice"]["deviceId"] == stage.device
    (entry,) = await world.entries(since=since)
    assert entry["membership_id"] == await world.member_id("member")
    assert entry["session_id"] is None


async def test_a_device_that_is_enrolled_anew_has_another_key_and_is_signed_out(world: World) -> None:
    stage = await prepare(world)
    first = await enrolled(world, stage.device)
    client = await first.client(world, "member")
    elsewhere = await world.client("member")

    second = await enrolled(world, stage.device)

    assert (await client.run("{ viewer { role } }")).codes == ["UNAUTHENTICATED"]
    assert (await elsewhere.run("{ viewer { role } }")).data == {"viewer": {"role": "MEMBER"}}
    assert (await first.sign_in(world, "member")).errors[0]["extensions"]["detail"] == "DEVICE_PROOF_REFUSED"
    assert (await second.sign_in(world, "member")).data["signIn"]["errors"] == []


async def test_a_code_works_once(world: World) -> None:
    stage = await prepare(world)
    device, code = SoftwareDevice(), await start(await world.client("admin"), stage.device)
    assert (await device.answer(world, code)).data["enrolDevice"]["errors"] == []
    since, before = await world.now(), await world.fingerprint()

    answer = await SoftwareDevice().answer(world, code)

    await assert_refused(world, answer, since, before, "UNAUTHENTICATED")
    assert answer.errors[0]["message"] == OVER


async def test_a_newer_code_ends_the_one_before_and_no_other_devices(world: World) -> None:
    stage, admin = await prepare(world), await world.client("admin")
    given = {"userId": stage.person, "platform": "IOS", "model": "iPhone 15"}
    another = (await mutate(admin, "registerDevice", given, "device { id }")).data["registerDevice"]["device"]["id"]
    elsewhere = await start(admin, another)
    old = await start(admin, stage.device)
    new = await start(admin, stage.device)
    since, before = await world.now(), await world.fingerprint()

    answer = await SoftwareDevice().answer(world, old)

    await assert_refused(world, answer, since, before, "UNAUTHENTICATED")
    assert (await SoftwareDevice().answer(world, new)).data["enrolDevice"]["deviceId"] == stage.device
    assert (await SoftwareDevice().answer(world, elsewhere)).data["enrolDevice"]["deviceId"] == another


async def test_a_code_that_is_ten_minutes_old_is_over(world: World) -> None:
    stage = await prepare(world)
    code = await start(await world.client("admin"), stage.device)
    await world.sql("update challenge set expires_at = clock_timestamp() where kind = 'DEVICE_ENROLMENT'")
    since, before = await world.now(), await world.fingerprint()

    await assert_refused(world, await SoftwareDevice().answer(world, code), since, before, "UNAUTHENTICATED")


@pytest.mark.parametrize("code", ["0000-0000-0000", "", "not a code", "7K4M-Q2ZD-0XHW" * 100, "ÄÖÜß-İı①②-0000"])
async def test_a_guessed_code_is_answered_as_one_that_is_over(world: World, code: str) -> None:
    stage = await prepare(world)
    await start(await world.client("admin"), stage.device)
    since, before = await world.now(), await world.fingerprint()

    device = SoftwareDevice()
    proof = device.proof("enrolment", "0000-0000-0000")
    answer = await device.answer(world, code, proof=proof)

    entry = await assert_refused(world, answer, since, before, "UNAUTHENTICATED")
    assert answer.errors[0]["message"] == OVER
    assert (entry["organization_id"], entry["membership_id"], entry["device_id"]) == (SYSTEM_ID, None, None)


async def test_a_code_of_another_organization_enrols_that_ones_device_alone(world: World) -> None:
    """A code names its device and organization by itself: there is nothing else that could be enrolled with it."""
    stage, stranger = await prepare(world), await world.client("other-owner")
    before = await world.value("select md5(t::text) from device t where id = $1", UUID(stage.device[7:]))
    theirs = f"User:{await world.member_id('other-owner')}"
    given = {"userId": theirs, "platform": "IOS", "model": "iPhone 15"}
    foreign = (await mutate(stranger, "registerDevice", given, "device { id }")).data["registerDevice"]["device"]["id"]
    code = await start(stranger, foreign)
    since = await world.now()

    answer = await SoftwareDevice().answer(world, code)

    assert answer.data["enrolDevice"]["deviceId"] == foreign
    assert await world.value("select md5(t::text) from device t where id = $1", UUID(stage.device[7:])) == before
    assert {one["organization_id"] for one in await world.entries(since=since)} == {
        await world.organization_id("suncoast")
    }


async def test_the_device_of_another_organization_is_not_there_to_be_enrolled(world: World) -> None:
    stage, stranger = await prepare(world), await world.client("other-owner")
    since, before = await world.now(), await world.fingerprint()

    answer = await mutate(stranger, "startDeviceEnrolment", {"id": stage.device}, STARTED)

    assert answer.data["startDeviceEnrolment"]["code"] is None
    assert [one["code"] for one in answer.data["startDeviceEnrolment"]["errors"]] == ["NOT_FOUND"]
    assert await world.fingerprint() == before
    assert await world.value("select count(*) from challenge") == 0
    assert denials(await world.entries(since=since)) == [("device.start_enrolment", "DENIED", "NOT_FOUND")]


@pytest.mark.parametrize(("who", "code"), [("member", "FORBIDDEN"), ("viewer", "NOT_FOUND"), ("auditor", "FORBIDDEN")])
async def test_who_may_not_register_devices_gets_no_code(world: World, who: str, code: str) -> None:
    """Not for the device that is one's own, either: `member` has this one."""
    stage, client = await prepare(world), await world.client(who)
    since, before = await world.now(), await world.fingerprint()

    answer = await mutate(client, "startDeviceEnrolment", {"id": stage.device}, STARTED)

    assert answer.data["startDeviceEnrolment"]["code"] is None
    assert [one["code"] for one in answer.data["startDeviceEnrolment"]["errors"]] == [code]
    assert await world.fingerprint() == before
    assert await world.value("select count(*) from challenge") == 0
    assert denials(await world.entries(since=since)) == [("device.start_enrolment", "DENIED", code)]


async def test_a_blocked_device_gets_no_code(world: World) -> None:
    stage, admin = await prepare(world), await world.client("admin")
    since, before = await world.now(), await world.fingerprint()

    answer = await mutate(admin, "startDeviceEnrolment", {"id": stage.blocked_device}, STARTED)

    assert [one["code"] for one in answer.data["startDeviceEnrolment"]["errors"]] == ["CONFLICT"]
    assert await world.fingerprint() == before
    assert await world.value("select count(*) from challenge") == 0
    assert denials(await world.entries(since=since)) == [("device.start_enrolment", "FAILED", "CONFLICT")]


async def test_a_device_that_was_blocked_meanwhile_is_not_enrolled_and_told_so(world: World) -> None:
    stage, admin = await prepare(world), await world.client("admin")
    code = await start(admin, stage.device)
    blocked = {"id": stage.device, "expectedVersion": 1, "reason": "Lost."}
    assert (await mutate(admin, "blockDevice", blocked)).data["blockDevice"]["errors"] == []
    since, before = await world.now(), await world.fingerprint()

    answer = await SoftwareDevice().answer(world, code)

    await assert_refused(world, answer, since, before, "DEVICE_BLOCKED")
    assert answer.errors[0]["extensions"] == {"code": "UNAUTHENTICATED", "detail": "DEVICE_BLOCKED"}


@pytest.mark.parametrize("status", ["SUSPENDED", "REMOVED"])
async def test_whose_member_can_not_get_in_is_given_no_code_and_none_is_answered(world: World, status: str) -> None:
    stage, admin = await prepare(world), await world.client("admin")
    code = await start(admin, stage.device)
    member_id = await world.member_id("member")
    await world.sql("alter table membership disable trigger all")
    await world.sql(f"update membership set status = '{status}' where id = $1", member_id)
    since, before = await world.now(), await world.fingerprint()

    again = await mutate(admin, "startDeviceEnrolment", {"id": stage.device}, STARTED)

    assert [one["code"] for one in again.data["startDeviceEnrolment"]["errors"]] == ["CONFLICT"]
    assert denials(await world.entries(since=since)) == [("device.start_enrolment", "FAILED", "CONFLICT")]
    since = await world.now()
    await assert_refused(world, await SoftwareDevice().answer(world, code), since, before, "UNAUTHENTICATED")


Forge = Callable[[SoftwareDevice, str], str]
FORGED: dict[str, tuple[Forge, str]] = {
    "for another code": (lambda device, _: device.proof("enrolment", "7K4M-Q2ZD-0XHW"), "DEVICE_PROOF_REFUSED"),
    "for a refresh": (lambda device, code: device.proof("refresh", code), "DEVICE_PROOF_REFUSED"),
    "by another key": (lambda _, code: SoftwareDevice().proof("enrolment", code), "DEVICE_PROOF_REFUSED"),
    "for another audience": (lambda device, code: device.proof("enrolment", code, aud="x"), "DEVICE_PROOF_REFUSED"),
    "of last week": (lambda device, code: device.proof("enrolment", code, iat=1_700_000_000), "DEVICE_PROOF_STALE"),
    "none": (lambda *_: "", "DEVICE_PROOF_REFUSED"),
}


@pytest.mark.parametrize("name", FORGED)
async def test_a_code_without_the_proof_of_the_key_enrols_nothing(world: World, name: str) -> None:
    stage = await prepare(world)
    device, code = SoftwareDevice(), await start(await world.client("admin"), stage.device)
    since, before = await world.now(), await world.fingerprint()
    forge, noted = FORGED[name]

    answer = await device.answer(world, code, proof=forge(device, code))

    entry = await assert_refused(world, answer, since, before, noted)
    assert answer.errors[0]["extensions"]["detail"] == noted
    assert entry["device_id"] == UUID(stage.device.removeprefix("Device:"))
    assert entry["membership_id"] == await world.member_id("member")
    # The device itself is still in time.
    assert (await device.answer(world, code)).data["enrolDevice"]["errors"] == []


async def test_some_wrong_proofs_end_the_code(world: World) -> None:
    stage = await prepare(world)
    device, code = SoftwareDevice(), await start(await world.client("admin"), stage.device)
    for _ in range(MOST_ATTEMPTS):
        await device.answer(world, code, proof=device.proof("refresh", code))
    since, before = await world.now(), await world.fingerprint()

    await assert_refused(world, await device.answer(world, code), since, before, "UNAUTHENTICATED")


@pytest.mark.parametrize(
    ("given", "at"),
    [
        ({"publicKey": "{}"}, ["input", "publicKey"]),
        ({"publicKey": "no JSON"}, ["input", "publicKey"]),
        ({"appVersion": "1" * 41}, ["input", "appVersion"]),
        ({"appVersion": " "}, ["input", "appVersion"]),
    ],
)
async def test_what_does_not_fit_is_said_and_leaves_the_code_as_it_is(
    world: World, given: dict[str, Any], at: list[str]
) -> None:
    stage = await prepare(world)
    device, code = SoftwareDevice(), await start(await world.client("admin"), stage.device)
    since, before = await world.now(), await world.fingerprint()

    answer = await device.answer(world, code, **given)

    errors = answer.data["enrolDevice"]["errors"]
    assert [(one["code"], one["field"]) for one in errors] == [("INVALID_INPUT", at)]
    assert await world.fingerprint() == before
    assert denials(await world.entries(since=since)) == [("device.enrol", "FAILED", "INVALID_INPUT")]
    assert (await device.answer(world, code)).data["enrolDevice"]["errors"] == []


async def test_of_two_devices_that_answer_at_once_one_is_enrolled(world: World) -> None:

    stage = await prepare(world)
    code = await start(await world.client("admin"), stage.device)

    answers = await asyncio.gather(*(SoftwareDevice().answer(world, code) for _ in range(4)))

    assert sum(not one.errors for one in answers) == 1
