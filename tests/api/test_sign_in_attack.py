"""Ways round a demand for a proof that were found by looking for them: each is closed, and stays closed."""

from dataclasses import replace

from auth.opaque_token import RefreshToken
from auth.permission import Permission as P
from tests.api.test_fresh_sign_in import STANDS, grow_stale, session_of
from tests.api.test_password_change import CHANGE, NEW, REFRESH, _join_suncoast, change
from tests.api.test_service_account_token import issue
from tests.support.access import make_program
from tests.support.browser import Browser
from tests.support.factor import add_totp, done
from tests.support.mutation import mutate
from tests.support.people import accept, invite, link_of
from tests.support.world import Client, World, json_body

ME = "{ viewer { role } }"
PROJECTS = "{ projects { nodes { code } } }"
KNOWN = "select password_hash from user_account u join membership m on m.user_id = u.id where m.id = $1"


async def errors_of(client: Client, name: str, given: dict[str, object]) -> list[str]:
    """Return the codes of what a mutation refuses."""
    answer = await mutate(client, name, given)
    return answer.codes or [one["code"] for one in answer.data[name]["errors"]]


async def test_beside_a_second_factor_a_changed_password_makes_no_old_sign_in_fresh(world: World) -> None:
    generator, client = await add_totp(world, "manager"), await world.client("manager")
    session, member = await session_of(world, "manager"), await world.member_id("manager")
    before = await world.value(KNOWN, member)
    await grow_stale(world)
    since = await world.now()

    answer = await change(client)

    assert [one["code"] for one in answer.data["changePassword"]["errors"]] == ["REAUTHENTICATE"]
    assert (await world.sql(STANDS, session))[0][0] is False
    assert await world.value(KNOWN, member) == before
    assert await errors_of(client, "removeAuthenticator", {"id": generator.id}) == ["REAUTHENTICATE"]
    [first, *_] = await world.entries(since=since)
    assert (first["kind"], first["action"], first["outcome"], first["error_code"]) == (
        *("ATTEMPT", "user.change_password", "FAILED"),
        "REAUTHENTICATE",
    )
    code = generator.code(world.services.clock())
    await done(client, "reauthenticate", {"password": client.password, "totp": code})
    assert (await change(client)).data["changePassword"]["errors"] == []


async def test_a_session_from_before_the_second_factor_changes_nothing_that_one_signs_in_with(world: World) -> None:
    first = (await world.sign_in("manager")).data["signIn"]
    thief = Client(world.http, first["accessToken"], password=world.password("manager"))
    generator = await add_totp(world, "manager")
    before, since = await world.fingerprint(), await world.now()

    refused = {
        "beginTotp": await errors_of(thief, "beginTotp", {}),
        "beginPasskeyRegistration": await errors_of(thief, "beginPasskeyRegistration", {}),
        "renewRecoveryCodes": await errors_of(thief, "renewRecoveryCodes", {}),
        "renameAuthenticator": await errors_of(thief, "renameAuthenticator", {"id": generator.id, "name": "Mine"}),
        "removeAuthenticator": await errors_of(thief, "removeAuthenticator", {"id": generator.id}),
    }
    changed = await change(thief)

    assert set(map(tuple, refused.values())) == {("REAUTHENTICATE",)}
    assert [one["code"] for one in changed.data["changePassword"]["errors"]] == ["REAUTHENTICATE"]
    assert await world.fingerprint() == before
    entries = await world.entries(since=since)
    assert [(one["kind"], one["outcome"], one["error_code"]) for one in entries] == [
        ("ATTEMPT", "FAILED", "REAUTHENTICATE")
    ] * 6
    code = generator.code(world.services.clock())
    await done(thief, "reauthenticate", {"password": thief.password, "totp": code})
    assert await errors_of(thief, "renewRecoveryCodes", {}) == []


async def test_a_stolen_refresh_token_that_was_refreshed_twice_is_known_by_its_owner_coming_late(world: World) -> None:
    stolen = (await world.sign_in("manager")).data["signIn"]["refreshToken"]
    thiefs = stolen
    for _ in range(3):
        answer = await world.anonymous.run(REFRESH, {"input": {"refreshToken": thiefs}})
        thiefs = answer.data["refreshSession"]["refreshToken"]
    since = await world.now()

    owners = await world.anonymous.run(REFRESH, {"input": {"refreshToken": stolen}})

    assert owners.codes == ["UNAUTHENTICATED"]
    late = await world.anonymous.run(REFRESH, {"input": {"refreshToken": thiefs}})
    assert late.codes == ["UNAUTHENTICATED"]
    entries = await world.entries(since=since)
    assert [(one["kind"], one["action"], one["outcome"], one["error_code"]) for one in entries] == [
        ("CHANGE", "session.refresh", "DONE", None),
        ("ATTEMPT", "session.refresh", "DENIED", "REFRESH_REUSED"),
        ("ATTEMPT", "session.refresh", "DENIED", "UNAUTHENTICATED"),
    ]


async def test_a_refresh_token_that_was_made_up_ends_no_session(world: World) -> None:
    good = (await world.sign_in("manager")).data["signIn"]["refreshToken"]
    made_up = replace(RefreshToken.parse(good), secret=bytes(32)).encode()

    refused = await world.anonymous.run(REFRESH, {"input": {"refreshToken": made_up}})

    assert refused.codes == ["UNAUTHENTICATED"]
    going_on = await world.anonymous.run(REFRESH, {"input": {"refreshToken": good}})
    assert going_on.data["refreshSession"]["errors"] == []


async def test_who_is_suspended_does_not_come_back_by_a_token_that_they_were_shown(world: World) -> None:
    program = await make_program(world, {P.PROJECT_READ})
    _, shown_to_admin, _ = await issue(world, program, by="admin")
    owner, admin = await world.client("owner"), f"User:{await world.member_id('admin')}"
    assert not (await shown_to_admin.run(PROJECTS)).errors
    since = await world.now()
    await done(owner, "suspendUser", {"userId": admin, "reason": "Under investigation."})

    refused = await shown_to_admin.run(PROJECTS)

    assert refused.codes == ["UNAUTHENTICATED"]
    assert refused.body["data"] == {"projects": None}
    assert not (await program.client.run(PROJECTS)).errors
    [entry] = [one for one in await world.entries(since=since) if one["action"] == "service_account.authenticate"]
    assert (entry["kind"], entry["outcome"], entry["error_code"]) == ("ATTEMPT", "DENIED", "UNAUTHENTICATED")
    await done(owner, "reinstateUser", {"userId": admin, "reason": "Nothing was found."})
    assert not (await shown_to_admin.run(PROJECTS)).errors


async def test_by_the_link_of_an_invitation_a_password_is_guessed_no_faster_than_by_signing_in(world: World) -> None:
    email, password = world.email("other-owner"), world.password("other-owner")
    token = await link_of(world, await invite(await world.client("admin"), email))
    for _ in range(11):
        assert (await accept(world, token, "not the password of this account")).codes == ["UNAUTHENTICATED"]
    # A second of waiting is less than what a loaded machine takes for what follows.
    await world.sql("update throttle set free_at = free_at + interval '1 minute' where failures > 10")
    since = await world.now()

    held_up = await accept(world, token, password)
    signing_in = await world.sign_in("other-owner")

    assert [one["code"] for one in held_up.data["acceptInvitation"]["errors"]] == ["RATE_LIMITED"]
    assert [one["code"] for one in signing_in.data["signIn"]["errors"]] == ["RATE_LIMITED"]
    assert await world.value("select count(*) from invitation where status = 'PENDING'") == 1
    entries = await world.entries(since=since)
    assert [(one["action"], one["outcome"], one["error_code"]) for one in entries] == [
        ("invitation.accept", "DENIED", "THROTTLED"),
        ("session.sign_in", "DENIED", "THROTTLED"),
    ]


async def test_a_lost_factor_is_removed_also_when_its_person_left_where_it_was_added(world: World) -> None:
    generator = await add_totp(world, "manager")
    await _join_suncoast(world)
    owner, clearwater = await world.client("owner"), await world.organization_id("clearwater")
    user = f"User:{await world.member_id('manager')}"
    query = "mutation($input: SignInInput!) { signIn(input: $input) { accessToken challenge { token } } }"
    said = {"input": {**world.credentials("manager"), "organization": "suncoast"}}
    challenge = (await world.anonymous.run(query, said)).data["signIn"]["challenge"]["token"]
    given = {"challenge": challenge, "totp": generator.code(world.services.clock())}
    client = Client(world.http, (await done(world.anonymous, "completeSignIn", given, "accessToken"))["accessToken"])
    assert await errors_of(client, "removeAuthenticator", {"id": generator.id}) == ["CONFLICT"]
    await done(owner, "removeUser", {"userId": user, "reason": "Left."})
    since = await world.now()

    # Where the database goes away in between, nobody is told that it is gone, by the same key neither.
    await world.sql(
        "create function away() returns trigger language plpgsql as"
        " $$ begin raise exception 'away' using errcode = 'admin_shutdown'; end $$"
    )
    await world.sql(
        "create trigger away before delete on authenticator for each row when (old.kind = 'TOTP')"
        " execute function away()"
    )
    remove = "mutation($input: RemoveAuthenticatorInput!) { removeAuthenticator(input: $input) { errors { code } } }"
    body = json_body({"query": remove, "variables": {"input": {"id": generator.id}}})
    key = {"idempotency-key": "e9a3c1f0-2b64-4d7e-8f55-1c0f6d7a9b21"}
    unknown = await client.post(body, **key)
    assert (unknown.codes, unknown.body["data"]) == (["UNKNOWN_OUTCOME"], {"removeAuthenticator": None})
    assert await world.value("select count(*) from authenticator where kind = 'TOTP'") == 1
    await world.sql("drop trigger away on authenticator")
    since = await world.now()

    again = await client.post(body, **key)

    assert again.data == {"removeAuthenticator": {"errors": []}}
    assert await world.value("select count(*) from authenticator where kind = 'TOTP'") == 0
    signed_in = (await world.anonymous.run(query, said)).data["signIn"]
    assert signed_in["challenge"] is None
    assert signed_in["accessToken"]
    entries = [one for one in await world.entries(since=since) if one["action"] == "authenticator.remove"]
    assert {one["organization_id"] for one in entries} == {clearwater, await world.organization_id("suncoast")}
    assert {(one["kind"], one["outcome"]) for one in entries} == {("CHANGE", "DONE")}
    [there] = [one for one in entries if one["organization_id"] == clearwater]
    told = await world.sql("select operation, entity from change where entry_id = $1", there["id"])
    assert [tuple(one) for one in told] == [("DELETE", "authenticator")]


async def test_a_cookie_that_was_copied_is_worth_nothing_after_the_password_was_changed(world: World) -> None:
    browser = Browser(world.http)
    await browser.sign_in(world, "manager")
    copied = Browser(world.http, dict(browser.cookies))
    given = {"currentPassword": world.password("manager"), "newPassword": NEW}

    answer = await browser.run(CHANGE, {"input": given})

    assert answer.data["changePassword"]["errors"] == []
    assert (await copied.run(ME)).codes == ["UNAUTHENTICATED"]
    assert (await browser.run(ME)).data == {"viewer": {"role": "MEMBER"}}
