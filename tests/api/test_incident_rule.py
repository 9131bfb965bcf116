"""Each rule over the trail finds what it is for, through the API, and nothing just below, or of somebody else."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from auth.principal import SYSTEM_ID
from tests.support.device import SoftwareDevice, enrolled
from tests.support.factor import add_passkey, done
from tests.support.incident import evidence_of, just, look_through, refuse
from tests.support.mutation import mutate, prepare
from tests.support.passkey import Passkey
from tests.support.world import Answer, Client, World

REFRESH = "mutation($input: RefreshSessionInput!) { refreshSession(input: $input) { refreshToken errors { code } } }"


async def _member(world: World, key: str) -> UUID:
    return await world.member_id(key)


async def _older(world: World, by: timedelta) -> None:
    """Let all that is in the trail have been longer ago."""
    await world.sql("alter table audit_entry disable trigger refuse")
    await world.sql("update audit_entry set at = at - $1::interval", by)
    await world.sql("alter table audit_entry enable always trigger refuse")


async def test_what_happens_every_day_is_no_incident(world: World) -> None:
    stage = await prepare(world)
    manager = await world.client("manager")
    await manager.run("{ records(first: 100) { nodes { collector comment } } }")
    await mutate(await world.client("viewer"), "deleteRecord", {"id": stage.draft, "expectedVersion": 1, "reason": "?"})
    await world.anonymous.run("{ projects { nodes { id } } }")
    given = {"input": {"refreshToken": (await world.sign_in("manager")).data["signIn"]["refreshToken"]}}
    assert (await world.anonymous.run(REFRESH, given)).data["refreshSession"]["errors"] == []

    assert await look_through(world) == []


async def test_the_reuse_of_a_refresh_token_is_an_incident_of_its_person(world: World) -> None:
    first = (await world.sign_in("manager")).data["signIn"]
    for _ in range(2):
        await world.anonymous.run(REFRESH, {"input": {"refreshToken": first["refreshToken"]}})

    (found,) = await look_through(world)

    assert (found["rule"], found["severity"], found["status"]) == ("refresh_reuse", "HIGH", "OPEN")
    assert found["organization_id"] == await world.organization_id("clearwater")
    assert found["membership_id"] == await _member(world, "manager")
    assert found["count"] == 1
    (entry_id,) = await evidence_of(world, found)
    (entry,) = await world.sql("select action, outcome, error_code from audit_entry where id = $1", entry_id)
    assert tuple(entry) == ("session.refresh", "DENIED", "REFRESH_REUSED")


async def test_a_refresh_token_of_a_session_that_is_over_is_no_reuse(world: World) -> None:
    payload = (await world.sign_in("manager")).data["signIn"]
    await mutate(Client(world.http, payload["accessToken"]), "signOut", {})

    refused = await world.anonymous.run(REFRESH, {"input": {"refreshToken": payload["refreshToken"]}})

    assert refused.codes == ["UNAUTHENTICATED"]
    assert await look_through(world) == []


async def test_whoever_comes_by_a_blocked_device_is_an_incident_of_the_device(world: World) -> None:
    stage = await prepare(world)
    admin = await world.client("admin")
    phone = await enrolled(world, stage.device)
    signed_in = (await phone.sign_in(world, "member")).data["signIn"]
    blocked = {"id": stage.device, "expectedVersion": 2, "reason": "Left on the bus."}
    assert (await mutate(admin, "blockDevice", blocked)).data["blockDevice"]["errors"] == []
    assert await look_through(world) == []

    assert (await Client(world.http, signed_in["accessToken"]).run("{ viewer { role } }")).codes == ["UNAUTHENTICATED"]
    await phone.refresh(world, signed_in["refreshToken"])
    await phone.sign_in(world, "member")

    (found,) = await look_through(world)
    assert (found["rule"], found["severity"], found["count"]) == ("blocked_device", "HIGH", 3)
    assert found["device_id"] == UUID(stage.device.removeprefix("Device:"))
    assert found["membership_id"] == await _member(world, "member")
    entries = await world.sql(
        "select action, outcome, error_code from audit_entry where id = any($1) order by at",
        await evidence_of(world, found),
    )
    assert [tuple(one) for one in entries] == [
        ("session.authenticate", "DENIED", "DEVICE_BLOCKED"),
        ("session.refresh", "DENIED", "DEVICE_BLOCKED"),
        ("session.sign_in", "DENIED", "DEVICE_BLOCKED"),
    ]


async def test_a_device_that_is_let_in_again_or_is_nobodys_is_no_incident(world: World) -> None:
    stage = await prepare(world)
    admin = await world.client("admin")
    free = {"id": stage.blocked_device, "expectedVersion": 2, "reason": "Found."}
    assert (await mutate(admin, "unblockDevice", free)).data["unblockDevice"]["errors"] == []

    phone = await enrolled(world, stage.blocked_device)
    assert (await phone.sign_in(world, "member")).data["signIn"]["errors"] == []
    assert (await world.sign_in("viewer", deviceId=stage.device)).codes == ["UNAUTHENTICATED"]

    assert await look_through(world) == []


async def _sign_in_by(world: World, passkey: Passkey) -> Answer:
    asked = await done(world.anonymous, "beginPasskeySignIn", {}, "token options")
    given = {"challenge": asked["token"], "passkey": passkey.get(asked["options"])}
    return await mutate(world.anonymous, "signInWithPasskey", given, "accessToken")


async def test_a_passkey_of_which_there_are_two_is_an_incident_of_its_person(world: World) -> None:
    passkey = await add_passkey(world, "manager", count=10)
    assert (await _sign_in_by(world, passkey)).data["signInWithPasskey"]["accessToken"]
    passkey.count = 5

    assert (await _sign_in_by(world, passkey)).codes == ["UNAUTHENTICATED"]

    (found,) = await look_through(world)
    assert (found["rule"], found["severity"], found["count"]) == ("cloned_passkey", "HIGH", 1)
    assert found["organization_id"] == await world.organization_id("clearwater")
    assert found["membership_id"] == await _member(world, "manager")


async def test_a_passkey_that_counts_on_or_counts_nothing_is_no_incident(world: World) -> None:
    for key, count in (("manager", 10), ("viewer", 0)):
        passkey = await add_passkey(world, key, count=count)
        for _ in range(2):
            passkey.count += count
            assert (await _sign_in_by(world, passkey)).data["signInWithPasskey"]["accessToken"]

    assert await look_through(world) == []


async def test_a_refresh_token_without_its_devices_key_is_an_incident_of_the_device(world: World) -> None:
    stage = await prepare(world)
    phone = await enrolled(world, stage.device)
    token = (await phone.sign_in(world, "member")).data["signIn"]["refreshToken"]
    stolen = [SoftwareDevice().proof("refresh", token), None]
    for proof in stolen:
        assert (await phone.refresh(world, token, deviceProof=proof)).codes == ["UNAUTHENTICATED"]
    assert await look_through(world, just(device_proofs=3)) == []

    await phone.refresh(world, token, deviceProof=stolen[0])

    (found,) = await look_through(world, just(device_proofs=3))
    assert (found["rule"], found["severity"], found["count"]) == ("device_proofs", "HIGH", 3)
    assert found["device_id"] == phone.row_id
    assert found["membership_id"] == await _member(world, "member")


async def test_a_device_whose_clock_is_off_or_that_is_asked_to_sign_in_is_no_stolen_token(world: World) -> None:
    stage = await prepare(world)
    phone = await enrolled(world, stage.device)
    token = (await phone.sign_in(world, "member")).data["signIn"]["refreshToken"]
    for _ in range(2):
        await phone.refresh(world, token, deviceProof=phone.proof("refresh", token, iat=1_700_000_000))
        await phone.sign_in(world, "member", deviceProof=SoftwareDevice().sign_in_proof(world, "member"))

    assert await look_through(world, just(device_proofs=1)) == []


async def _fail_to_sign_in(world: World, email: str, times: int) -> None:
    query = "mutation($input: SignInInput!) { signIn(input: $input) { errors { code } } }"
    for _ in range(times):
        given = {"email": email, "password": "not the password at all"}
        assert (await world.anonymous.run(query, {"input": given})).codes == ["UNAUTHENTICATED"]


@pytest.mark.parametrize("email", ["manager@clearwater.example", "nobody@nowhere.example"])
async def test_guessing_a_password_is_an_incident_of_the_installation(world: World, email: str) -> None:
    await _fail_to_sign_in(world, email, 4)
    assert await look_through(world, just(sign_in_failures=5)) == []

    await _fail_to_sign_in(world, f" {email.upper()}", 1)

    (found,) = await look_through(world, just(sign_in_failures=5))
    assert (found["rule"], found["severity"], found["count"]) == ("sign_in_failures", "HIGH", 5)
    assert found["organization_id"] == SYSTEM_ID
    assert found["user_id"] is None
    assert len(await evidence_of(world, found)) == 5


async def test_failures_of_different_accounts_are_not_counted_together(world: World) -> None:
    for number in range(6):
        await _fail_to_sign_in(world, f"a{number}@nowhere.example", 1)

    assert await look_through(world, just(sign_in_failures=5)) == []


async def test_failures_from_before_the_window_are_not_counted(world: World) -> None:
    await _fail_to_sign_in(world, "manager@clearwater.example", 4)
    await _older(world, timedelta(minutes=15))
    await _fail_to_sign_in(world, "manager@clearwater.example", 4)

    assert await look_through(world, just(sign_in_failures=5)) == []


async def _be_refused(client: Client, record: str, times: int) -> None:
    for _ in range(times):
        answer = await mutate(client, "deleteRecord", {"id": record, "expectedVersion": 1, "reason": "?"})
        assert [one["code"] for one in answer.data["deleteRecord"]["errors"]] == ["FORBIDDEN"]


async def test_a_burst_of_refusals_is_an_incident_of_the_person(world: World) -> None:
    stage = await prepare(world)
    viewer, reviewer = await world.client("viewer"), await world.client("reviewer")
    await _be_refused(viewer, stage.draft, 4)
    await _be_refused(reviewer, stage.draft, 4)
    assert await look_through(world, just(denials=5)) == []

    await _be_refused(viewer, stage.draft, 2)

    (found,) = await look_through(world, just(denials=5))
    assert (found["rule"], found["severity"], found["count"]) == ("denials", "MEDIUM", 6)
    assert found["membership_id"] == await _member(world, "viewer")
    assert found["last_seen_at"] > found["first_seen_at"]


async def test_refusals_that_have_no_entry_of_their_own_are_counted(world: World) -> None:
    stage = await prepare(world)
    await _be_refused(await world.client("viewer"), stage.draft, 25)
    await world.sql("alter table audit_entry disable trigger refuse")
    await world.sql(
        "update audit_entry set repeated = 30 where id = (select id from audit_entry order by at desc limit 1)"
    )
    await world.sql("alter table audit_entry enable always trigger refuse")

    (found,) = await look_through(world, just(denials=50))

    assert (found["rule"], found["count"]) == ("denials", 50)
    assert len(await evidence_of(world, found)) == 20


async def test_refusals_from_before_the_window_are_not_counted(world: World) -> None:
    stage = await prepare(world)
    viewer = await world.client("viewer")
    await _be_refused(viewer, stage.draft, 4)
    await _older(world, timedelta(minutes=10))
    await _be_refused(viewer, stage.draft, 4)

    assert await look_through(world, just(denials=5)) == []


async def test_refusals_of_one_address_are_an_incident_whoever_it_says_it_is(world: World) -> None:
    organization_id = await world.organization_id("clearwater")
    for number in range(4):
        await refuse(organization_id, address="192.0.2.7")
        await refuse(organization_id, address=f"198.51.100.{number}")
    assert await look_through(world, just(denials_from_address=5)) == []

    await refuse(organization_id, address="192.0.2.7")

    (found,) = await look_through(world, just(denials_from_address=5))
    assert (found["rule"], found["severity"], found["count"]) == ("denials_from_address", "MEDIUM", 5)
    assert "192.0.2.7" not in found["key"]


async def test_requests_that_nobody_signed_in_to_are_an_incident_of_the_installation(world: World) -> None:
    for _ in range(6):
        await world.anonymous.run("mutation { signOut { errors { code } } }")

    (found,) = await look_through(world, just(denials_from_address=5))

    assert (found["rule"], found["organization_id"]) == ("denials_from_address", SYSTEM_ID)


async def test_trying_to_give_oneself_more_is_an_incident(world: World) -> None:
    viewer = await world.client("viewer")
    given: dict[str, Any] = {"userId": f"User:{await _member(world, 'viewer')}", "role": "OWNER", "reason": "Please."}
    for _ in range(2):
        await mutate(viewer, "assignOrganizationRole", given)
    assert await look_through(world) == []

    role = {"name": "All", "level": "ORGANIZATION", "permissions": ["AUDIT_READ"], "reason": "Please."}
    await mutate(viewer, "createRole", role)

    (found,) = await look_through(world)
    assert (found["rule"], found["severity"], found["count"]) == ("role_escalation", "HIGH", 3)
    assert found["membership_id"] == await _member(world, "viewer")


async def test_an_owners_mistakes_about_roles_are_no_attempts_at_more(world: World) -> None:
    owner = await world.client("owner")
    for _ in range(4):
        given = {"name": "None", "level": "PROJECT", "permissions": [], "reason": "Oops."}
        answer = await mutate(owner, "createRole", given)
        assert [one["code"] for one in answer.data["createRole"]["errors"]] == ["INVALID_INPUT"]

    assert await look_through(world) == []


async def _read_collectors(world: World, key: str, page: str = "first: 1000") -> int:
    answer = await (await world.client(key)).run(f"{{ records({page}) {{ nodes {{ id collector }} }} }}")
    return sum(one["collector"] is not None for one in answer.data["records"]["nodes"])


async def test_reading_personal_values_of_very_many_rows_is_an_incident(world: World) -> None:
    read = await _read_collectors(world, "manager")
    assert read > 20
    # The same rows once more are not more rows; and somebody else's are theirs.
    await _read_collectors(world, "manager")
    await _read_collectors(world, "reviewer")
    assert await look_through(world, just(personal_rows=read + 2)) == []

    answer = await (await world.client("manager")).run("{ viewer { user { name } } }")
    assert answer.data["viewer"]["user"]["name"]

    (found,) = await look_through(world, just(personal_rows=read + 1))
    assert (found["rule"], found["severity"]) == ("mass_read", "HIGH")
    assert found["membership_id"] == await _member(world, "manager")
    assert found["count"] == read + 1


async def test_what_was_read_before_the_window_is_not_counted(world: World) -> None:
    before = await _read_collectors(world, "manager", "first: 20")
    await _older(world, timedelta(hours=1))
    after = await _read_collectors(world, "manager", "last: 20")
    assert before == after == 20

    assert await look_through(world, just(personal_rows=21)) == []


async def test_confidential_values_of_many_rows_are_not_personal_ones(world: World) -> None:
    manager = await world.client("manager")
    read = (await manager.run("{ records(first: 1000) { nodes { comment } } }")).data["records"]["nodes"]
    assert sum(one["comment"] is not None for one in read) > 10

    assert await look_through(world, just(personal_rows=5)) == []


async def test_a_value_that_does_not_open_is_an_incident_of_its_column(world: World) -> None:
    await world.sql("alter table record disable trigger all")
    await world.sql(
        "update record set comment = set_byte(comment, length(comment) - 1, get_byte(comment, length(comment) - 1) # 1)"
        " where comment is not null"
    )
    await world.sql("alter table record enable trigger all")
    answer = await (await world.client("owner")).run("{ records(first: 1000) { nodes { comment } } }")
    assert "INTERNAL" in answer.codes

    (found,) = await look_through(world)

    assert (found["rule"], found["severity"]) == ("failed_decryption", "CRITICAL")
    assert found["key"] == "column:record.comment"


async def test_a_value_of_somebody_who_was_erased_is_no_incident(world: World) -> None:
    await world.sql("alter table record disable trigger all")
    await world.sql("update record set comment = null")
    await world.sql("alter table record enable trigger all")
    await (await world.client("owner")).run("{ records(first: 1000) { nodes { comment } } }")

    assert await look_through(world) == []


@pytest.mark.parametrize("action", ["audit.verify", "audit.seal"])
async def test_a_trail_that_does_not_verify_is_an_incident(world: World, action: str) -> None:
    organization_id = await world.organization_id("clearwater")
    await _entry(world, organization_id, action, "DONE")
    assert await look_through(world) == []

    await _entry(world, organization_id, action, "FAILED")

    (found,) = await look_through(world)
    assert (found["rule"], found["severity"], found["key"]) == ("verification_failure", "CRITICAL", "organization")


async def _entry(world: World, organization_id: UUID, action: str, outcome: str) -> None:
    await world.sql(
        "insert into audit_entry (id, organization_id, kind, action, outcome, repeated, channel, request_id)"
        " values (gen_random_uuid(), $1, 'ATTEMPT', $2, $3, 0, 'JOB', gen_random_uuid())",
        organization_id,
        action,
        outcome,
    )
