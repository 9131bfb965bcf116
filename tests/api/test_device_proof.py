"""The proof of a device's key: demanded at each sign-in and refresh on it, and good for that one alone."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

import jwt
import pytest

from tests.support.device import REFRESH, TYPE, SoftwareDevice, claims_for, enrolled
from tests.support.mutation import mutate, prepare
from tests.support.world import Answer, Client, World

ME = "{ viewer { role } }"
SIGN_IN, REFRESHED = "signIn", "refreshSession"


async def assert_refused(world: World, answer: Answer, since: Any, before: dict[str, str], noted: str) -> None:
    """Require that a sign-in or a refresh was refused, says why, changed nothing and left its one entry."""
    (name,) = answer.body["data"]
    assert answer.body["data"] == {name: None}
    extensions = answer.errors[0]["extensions"]
    assert (extensions["code"], extensions.get("detail")) == ("UNAUTHENTICATED", noted)
    assert "fwr_" not in answer.text
    assert await world.fingerprint() == before
    entries = await world.entries(since=since)
    action = "session.sign_in" if name == SIGN_IN else "session.refresh"
    assert [(one["kind"], one["action"], one["outcome"], one["error_code"]) for one in entries] == [
        ("ATTEMPT", action, "DENIED", noted)
    ]
    assert entries[0]["device_id"] is not None
    assert entries[0]["membership_id"] == await world.member_id("member")
    assert entries[0]["organization_id"] == await world.organization_id("clearwater")


async def signed_in(world: World, phone: SoftwareDevice) -> dict[str, Any]:
    """Sign the device's member in on it."""
    payload: dict[str, Any] = (await phone.sign_in(world, "member")).data[SIGN_IN]
    assert payload["errors"] == []
    return payload


async def test_a_device_without_a_key_can_not_be_signed_in_on(world: World) -> None:
    stage = await prepare(world)
    phone = SoftwareDevice(stage.device)
    await world.client("member")
    since, before = await world.now(), await world.fingerprint()

    answer = await phone.sign_in(world, "member")

    await assert_refused(world, answer, since, before, "DEVICE_NOT_ENROLLED")
    assert "is not enrolled" in answer.errors[0]["message"]


async def test_the_password_alone_opens_nothing_on_a_device(world: World) -> None:
    stage = await prepare(world)
    await enrolled(world, stage.device)
    await world.client("member")
    since, before = await world.now(), await world.fingerprint()

    answer = await world.sign_in("member", deviceId=stage.device)

    await assert_refused(world, answer, since, before, "DEVICE_PROOF_MISSING")


async def test_the_proof_alone_opens_nothing(world: World) -> None:
    stage = await prepare(world)
    phone = await enrolled(world, stage.device)
    since, before = await world.now(), await world.fingerprint()

    answer = await phone.sign_in(world, "member", password="not the password at all")

    assert answer.errors[0]["message"] == "The address or the password is wrong."
    assert await world.fingerprint() == before
    assert [one["outcome"] for one in await world.entries(since=since)] == ["DENIED"]


Forge = Callable[[SoftwareDevice, World], str]


def _unsigned(phone: SoftwareDevice, world: World) -> str:
    claims = claims_for("sign-in", "", world.email("member"))
    return jwt.encode(claims, key="", algorithm="none", headers={"typ": TYPE})


def _own_key_in_header(phone: SoftwareDevice, world: World) -> str:
    thief = SoftwareDevice()
    claims = claims_for("sign-in", "", world.email("member"))
    return jwt.encode(claims, thief.private, algorithm="ES256", headers={"typ": TYPE, "jwk": thief.jwk})


FORGED: dict[str, tuple[Forge, str]] = {
    "another device's": (lambda _, world: SoftwareDevice().sign_in_proof(world, "member"), "DEVICE_PROOF_REFUSED"),
    "for somebody else": (lambda phone, world: phone.sign_in_proof(world, "viewer"), "DEVICE_PROOF_REFUSED"),
    "for another organization": (
        lambda phone, world: phone.sign_in_proof(world, "member", "suncoast"),
        "DEVICE_PROOF_REFUSED",
    ),
    "for a refresh": (lambda phone, world: phone.proof("refresh", world.email("member")), "DEVICE_PROOF_REFUSED"),
    "for another audience": (
        lambda phone, world: phone.proof("sign-in", "", world.email("member"), aud="another-api"),
        "DEVICE_PROOF_REFUSED",
    ),
    "unsigned": (_unsigned, "DEVICE_PROOF_REFUSED"),
    "with its own key in the header": (_own_key_in_header, "DEVICE_PROOF_REFUSED"),
    "old": (
        lambda phone, world: phone.proof("sign-in", "", world.email("member"), iat=1_700_000_000),
        "DEVICE_PROOF_STALE",
    ),
}


@pytest.mark.parametrize("name", FORGED)
async def test_a_wrong_proof_opens_nothing(world: World, name: str) -> None:
    stage = await prepare(world)
    phone = await enrolled(world, stage.device)
    await world.client("member")
    forge, noted = FORGED[name]
    since, before = await world.now(), await world.fingerprint()

    answer = await phone.sign_in(world, "member", deviceProof=forge(phone, world))

    await assert_refused(world, answer, since, before, noted)


async def test_a_proof_signs_in_once(world: World) -> None:
    stage = await prepare(world)
    phone = await enrolled(world, stage.device)
    proof = phone.sign_in_proof(world, "member")
    await world.client("member")
    assert (await phone.sign_in(world, "member", deviceProof=proof)).data[SIGN_IN]["errors"] == []
    since, before = await world.now(), await world.fingerprint()

    replayed = await phone.sign_in(world, "member", deviceProof=proof)

    await assert_refused(world, replayed, since, before, "DEVICE_PROOF_STALE")


async def test_of_one_proof_sent_several_times_at_once_one_signs_in(world: World) -> None:
    stage = await prepare(world)
    phone = await enrolled(world, stage.device)
    proof = phone.sign_in_proof(world, "member")

    answers = await asyncio.gather(*(phone.sign_in(world, "member", deviceProof=proof) for _ in range(4)))

    assert sum(not one.errors for one in answers) == 1


async def test_a_proof_names_the_organization_as_the_sign_in_does(world: World) -> None:
    stage = await prepare(world)
    phone = await enrolled(world, stage.device)

    answer = await phone.sign_in(world, "member", organization="clearwater")

    assert answer.data[SIGN_IN]["errors"] == []


async def test_a_refresh_with_the_devices_proof_goes_on_and_notes_the_app(world: World) -> None:
    stage, admin = await prepare(world), await world.client("admin")
    phone = await enrolled(world, stage.device)
    first = await signed_in(world, phone)
    since = await world.now()

    answer = await phone.refresh(world, first["refreshToken"], appVersion="4.0.1")

    payload = answer.data[REFRESHED]
    assert payload["errors"] == []
    assert (await Client(world.http, payload["accessToken"]).run(ME)).data == {"viewer": {"role": "MEMBER"}}
    row = (await world.sql("select * from device where id = $1", phone.row_id))[0]
    assert (row["app_version"], row["version"]) == ("4.0.1", 2)
    assert row["last_seen_at"] > since
    shown = await admin.run("query($id: ID!) { device(id: $id) { appVersion lastSeenAt } }", {"id": stage.device})
    assert shown.data["device"]["appVersion"] == "4.0.1"
    (entry,) = await world.entries(since=since)
    assert (entry["action"], entry["outcome"], entry["device_id"]) == ("session.refresh", "DONE", phone.row_id)


async def test_what_is_no_version_of_an_app_refreshes_nothing(world: World) -> None:
    stage = await prepare(world)
    phone = await enrolled(world, stage.device)
    token = (await signed_in(world, phone))["refreshToken"]
    before = await world.fingerprint()

    answer = await phone.refresh(world, token, appVersion="4" * 41)

    assert [one["field"] for one in answer.data[REFRESHED]["errors"]] == [["input", "appVersion"]]
    assert await world.fingerprint() == before
    assert (await phone.refresh(world, token)).data[REFRESHED]["errors"] == []


RefreshForge = Callable[[SoftwareDevice, str, str], str | None]
"""From the device, the refresh token, and a good proof for an earlier one."""

FORGED_REFRESH: dict[str, tuple[RefreshForge, str]] = {
    "none": (lambda *_: None, "DEVICE_PROOF_MISSING"),
    "empty": (lambda *_: "", "DEVICE_PROOF_MISSING"),
    "of the refresh before": (lambda _phone, _token, earlier: earlier, "DEVICE_PROOF_REFUSED"),
    "another device's": (lambda _, token, __: SoftwareDevice().proof("refresh", token), "DEVICE_PROOF_REFUSED"),
    "for a sign-in": (lambda phone, token, _: phone.proof("sign-in", "", token), "DEVICE_PROOF_REFUSED"),
    "for another audience": (lambda phone, token, _: phone.proof("refresh", token, aud="x"), "DEVICE_PROOF_REFUSED"),
    "old": (lambda phone, token, _: phone.proof("refresh", token, iat=1_700_000_000), "DEVICE_PROOF_STALE"),
    "unsigned": (
        lambda _, token, __: jwt.encode(claims_for("refresh", token), "", algorithm="none", headers={"typ": TYPE}),
        "DEVICE_PROOF_REFUSED",
    ),
}


@pytest.mark.parametrize("name", FORGED_REFRESH)
async def test_a_stolen_refresh_token_without_the_key_is_worth_nothing_and_burns_nothing(
    world: World, name: str
) -> None:
    stage = await prepare(world)
    phone = await enrolled(world, stage.device)
    spent = (await signed_in(world, phone))["refreshToken"]
    earlier = phone.proof("refresh", spent)
    token = (await phone.refresh(world, spent, deviceProof=earlier)).data[REFRESHED]["refreshToken"]
    await world.client("member")
    forge, noted = FORGED_REFRESH[name]
    since, before = await world.now(), await world.fingerprint()

    answer = await phone.refresh(world, token, deviceProof=forge(phone, token, earlier))

    await assert_refused(world, answer, since, before, noted)
    # The one who has the key goes on with the same token.
    assert (await phone.refresh(world, token)).data[REFRESHED]["errors"] == []


async def test_the_reuse_of_a_refresh_token_ends_the_session_with_or_without_a_proof(world: World) -> None:
    stage = await prepare(world)
    phone = await enrolled(world, stage.device)
    for proof in ({}, {"deviceProof": None}):
        spent = (await signed_in(world, phone))["refreshToken"]
        newest = (await phone.refresh(world, spent)).data[REFRESHED]["refreshToken"]
        since = await world.now()

        answer = await phone.refresh(world, spent, **proof)

        assert answer.codes == ["UNAUTHENTICATED"]
        assert ("ATTEMPT", "REFRESH_REUSED") in [
            (one["kind"], one["error_code"]) for one in await world.entries(since=since)
        ]
        assert (await phone.refresh(world, newest)).codes == ["UNAUTHENTICATED"]


async def test_a_browser_refreshes_without_a_device(world: World) -> None:
    token = (await world.sign_in("member")).data[SIGN_IN]["refreshToken"]

    answer = await world.anonymous.run(REFRESH, {"input": {"refreshToken": token}})

    assert answer.data[REFRESHED]["errors"] == []


async def test_a_blocked_device_is_told_so_at_whatever_it_does(world: World) -> None:
    stage, admin = await prepare(world), await world.client("admin")
    phone = await enrolled(world, stage.device)
    payload = await signed_in(world, phone)
    await world.client("member")
    blocked = {"id": stage.device, "expectedVersion": 2, "reason": "Left on the bus."}
    assert (await mutate(admin, "blockDevice", blocked)).data["blockDevice"]["errors"] == []
    before = await world.fingerprint()

    asked: tuple[tuple[Callable[[], Awaitable[Answer]], str], ...] = (
        (lambda: Client(world.http, payload["accessToken"]).run(ME), "session.authenticate"),
        (lambda: phone.refresh(world, payload["refreshToken"]), "session.refresh"),
        (lambda: phone.refresh(world, payload["refreshToken"], deviceProof=None), "session.refresh"),
        (lambda: phone.sign_in(world, "member"), "session.sign_in"),
    )

    for ask, action in asked:
        since = await world.now()
        answer = await ask()
        assert [one["extensions"]["detail"] for one in answer.errors] == ["DEVICE_BLOCKED"]
        assert "This device is blocked" in answer.errors[0]["message"]
        assert "Left on the bus" not in answer.text
        entries = await world.entries(since=since)
        assert [(one["action"], one["outcome"], one["error_code"]) for one in entries] == [
            (action, "DENIED", "DEVICE_BLOCKED")
        ]
        assert entries[0]["device_id"] == phone.row_id
    assert await world.fingerprint() == before


async def test_a_device_that_is_let_in_again_goes_on_with_its_key(world: World) -> None:
    stage, admin = await prepare(world), await world.client("admin")
    phone = await enrolled(world, stage.device)
    token = (await signed_in(world, phone))["refreshToken"]
    for name, version in (("blockDevice", 2), ("unblockDevice", 3)):
        given = {"id": stage.device, "expectedVersion": version, "reason": "Mislaid, and found."}
        assert (await mutate(admin, name, given)).data[name]["errors"] == []

    assert (await phone.refresh(world, token)).data[REFRESHED]["errors"] == []


async def test_a_record_that_is_made_on_a_device_keeps_it(world: World) -> None:
    stage, admin = await prepare(world), await world.client("admin")
    given = {"userId": f"User:{await world.member_id('collector')}", "platform": "ANDROID", "model": "Pixel 8"}
    made = (await mutate(admin, "registerDevice", given, "device { id }")).data["registerDevice"]["device"]["id"]
    client = await (await enrolled(world, made)).client(world, "collector")
    record = {"projectId": stage.project, "siteCode": "W-5", "collectedAt": "2026-01-02T03:04:05Z", "medium": "WATER"}

    answer = await mutate(client, "createRecord", record, "record { device { id } }")

    assert answer.data["createRecord"]["record"] == {"device": {"id": made}}
    assert await world.value("select device_id from record where site_code = 'W-5'") == UUID(made[7:])
