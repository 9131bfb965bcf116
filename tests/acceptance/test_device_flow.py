"""A device from its enrolment to its next user, over HTTP in a server process, with a key made in software."""

from collections.abc import Awaitable, Callable
from typing import Any

from tests.support.device import SoftwareDevice, enrolled, start
from tests.support.factor import done
from tests.support.flow import ME, Flow, detail, incident, refused, said
from tests.support.mutation import mutate
from tests.support.world import Answer, Client, World

REFUSED = ["UNAUTHENTICATED"]
TOKENS = "accessToken refreshToken"


async def _registered(world: World) -> str:
    given = {"userId": f"User:{await world.member_id('collector')}", "platform": "ANDROID", "model": "Pixel 8"}
    made = await done(await world.client("admin"), "registerDevice", given, "device { id }")
    return str(made["device"]["id"])


async def _standing(world: World, device: str, name: str, **more: Any) -> None:
    """Change where a device stands, as the admin does who has just looked at it."""
    admin = await world.client("admin")
    shown = await admin.run("query($id: ID!) { device(id: $id) { version } }", {"id": device})
    given = {"id": device, "expectedVersion": shown.data["device"]["version"], "reason": "Left on the bus.", **more}
    await done(admin, name, given)


async def test_a_device_is_enrolled_by_a_code_once_and_nobody_signs_in_on_it_before(flow: Flow) -> None:
    world = flow.world
    device, admin = await _registered(world), await world.client("admin")
    phone, thief, member = SoftwareDevice(device), SoftwareDevice(device), await world.member_id("collector")
    async with refused(world, ("session.sign_in", "DEVICE_NOT_ENROLLED"), whose=member):
        answer = await phone.sign_in(world, "collector")
        assert (said(answer), detail(answer)) == (REFUSED, "DEVICE_NOT_ENROLLED")
    viewer = await world.client("viewer")
    async with refused(world, ("device.start_enrolment", "NOT_FOUND")):
        assert said(await mutate(viewer, "startDeviceEnrolment", {"id": device})) == ["NOT_FOUND"]

    code = await start(admin, device)
    async with refused(world, ("device.enrol", "DEVICE_PROOF_REFUSED")):
        assert said(await phone.answer(world, code, proof=thief.proof("enrolment", code))) == REFUSED
    assert said(await phone.answer(world, code)) == []
    async with refused(world, ("device.enrol", "UNAUTHENTICATED")):
        assert said(await thief.answer(world, code)) == REFUSED

    client = await phone.client(world, "collector")
    assert (await client.run("{ viewer { session { device { id } } } }")).data == {
        "viewer": {"session": {"device": {"id": device}}}
    }
    async with refused(world, ("session.sign_in", "DEVICE_PROOF_MISSING"), whose=member):
        answer = await world.sign_in("collector", deviceId=device)
        assert (said(answer), detail(answer)) == (REFUSED, "DEVICE_PROOF_MISSING")


async def test_a_refresh_takes_the_devices_proof_and_without_it_spends_nothing(flow: Flow) -> None:
    world, member = flow.world, await flow.world.member_id("collector")
    phone = await enrolled(world, await _registered(world))
    first = (await phone.sign_in(world, "collector")).data["signIn"]
    second = (await phone.refresh(world, first["refreshToken"], appVersion="4.0.1")).data["refreshSession"]
    assert second["errors"] == []
    token = second["refreshToken"]

    wrong = {
        "DEVICE_PROOF_MISSING": None,
        "DEVICE_PROOF_REFUSED": SoftwareDevice().proof("refresh", token),
        "DEVICE_PROOF_STALE": phone.proof("refresh", token, iat=1_700_000_000),
    }
    for noted, proof in wrong.items():
        async with refused(world, ("session.refresh", noted), whose=member):
            answer = await phone.refresh(world, token, deviceProof=proof)
            assert (said(answer), detail(answer)) == (REFUSED, noted)
            assert "fwr_" not in answer.text

    third = (await phone.refresh(world, token)).data["refreshSession"]
    assert (await Client(world.http, third["accessToken"]).run(ME)).data["viewer"] is not None
    shown = await (await world.client("admin")).run(
        "query($id: ID!) { device(id: $id) { appVersion lastSeenAt } }", {"id": phone.id}
    )
    assert shown.data["device"]["appVersion"] == "4.0.1"
    assert shown.data["device"]["lastSeenAt"] is not None


async def test_a_lost_device_is_told_that_it_is_blocked_at_its_next_call_until_it_is_found(flow: Flow) -> None:
    world, member = flow.world, await flow.world.member_id("collector")
    phone = await enrolled(world, await _registered(world))
    tokens = (await phone.sign_in(world, "collector")).data["signIn"]
    client, elsewhere = Client(world.http, tokens["accessToken"]), await world.client("collector")
    await _standing(world, phone.id, "blockDevice")

    asked: tuple[tuple[str, Callable[[], Awaitable[Answer]]], ...] = (
        ("session.authenticate", lambda: client.run(ME)),
        ("session.refresh", lambda: phone.refresh(world, tokens["refreshToken"])),
        ("session.sign_in", lambda: phone.sign_in(world, "collector")),
    )
    for action, ask in asked:
        async with refused(world, (action, "DEVICE_BLOCKED"), whose=member) as noted:
            answer = await ask()
            assert (said(answer), detail(answer)) == (REFUSED, "DEVICE_BLOCKED")
            assert "This device is blocked" in answer.errors[0]["message"]
            assert "Left on the bus" not in answer.text
        assert [one["device_id"] for one in noted.entries] == [phone.row_id]
    record = {"projectId": f"Project:{await world.project_id('CANAL')}", "siteCode": "W-9", "medium": "WATER"}
    denied = ("session.authenticate", "DEVICE_BLOCKED"), ("record.create", "DEVICE_BLOCKED")
    async with refused(world, *denied):
        given = {**record, "collectedAt": "2026-01-02T03:04:05Z"}
        assert said(await mutate(client, "createRecord", given)) == REFUSED
    # The jobs of the server have somebody look.
    assert (await incident(world, "blocked_device"))["status"] == "OPEN"
    # Who has it goes on elsewhere, and on it once it was found: nothing of theirs was spent.
    assert said(await elsewhere.run(ME)) == []
    await _standing(world, phone.id, "unblockDevice", reason="Found.")
    assert said(await phone.refresh(world, tokens["refreshToken"])) == []


async def test_a_device_that_is_handed_over_is_enrolled_anew_and_its_records_keep_it(flow: Flow) -> None:
    world = flow.world
    phone = await enrolled(world, await _registered(world))
    tokens = (await phone.sign_in(world, "collector")).data["signIn"]
    client = Client(world.http, tokens["accessToken"])
    given = {
        "projectId": f"Project:{await world.project_id('CANAL')}",
        "siteCode": "W-9",
        "collectedAt": "2026-01-02T03:04:05Z",
        "medium": "WATER",
    }
    record = (await done(client, "createRecord", given, "record { id device { id } }"))["record"]
    assert record["device"] == {"id": phone.id}
    heir = f"User:{await world.member_id('member')}"
    async with refused(world, ("device.hand_over", "FORBIDDEN")):
        to = {"id": phone.id, "userId": heir, "expectedVersion": 2, "reason": "Yours."}
        assert said(await mutate(client, "handOverDevice", to)) == ["FORBIDDEN"]

    since = await world.now()
    await _standing(world, phone.id, "handOverDevice", userId=heir)

    [entry] = [one for one in await world.entries(since=since) if one["action"] == "device.hand_over"]
    assert (entry["outcome"], entry["entity_ids"]) == ("DONE", [phone.row_id])
    async with refused(world, ("session.authenticate", "UNAUTHENTICATED")):
        assert said(await client.run(ME)) == REFUSED
    async with refused(world, ("session.refresh", "UNAUTHENTICATED")):
        assert said(await phone.refresh(world, tokens["refreshToken"])) == REFUSED
    async with refused(world, ("session.sign_in", "DEVICE_NOT_ENROLLED")):
        assert said(await phone.sign_in(world, "member")) == REFUSED

    now = await enrolled(world, phone.id)
    assert (await (await now.client(world, "member")).run("{ viewer { role } }")).data == {"viewer": {"role": "MEMBER"}}
    async with refused(world, ("session.sign_in", "DEVICE_PROOF_REFUSED")):
        assert said(await phone.sign_in(world, "member")) == REFUSED
    async with refused(world, ("session.sign_in", "UNAUTHENTICATED")):
        assert said(await now.sign_in(world, "collector")) == REFUSED
    manager = await world.client("manager")
    shown = await manager.run("query($id: ID!) { record(id: $id) { device { id } } }", {"id": record["id"]})
    assert await world.value("select device_id from record where site_code = 'W-9'") == phone.row_id
    assert shown.data["record"]["device"] in (None, {"id": phone.id})
