"""An administrator takes the second factors off somebody who lost them: who may, of whom, and what ends with them."""

from datetime import timedelta
from typing import Any

import pytest

from tests.support.factor import Generator, add_totp, challenged, done
from tests.support.mail import send_mail, taking_mail, text_of, token_in
from tests.support.mutation import mutate
from tests.support.world import Answer, Client, World

NEW = "gravel psalm otter kiln"
ME = "{ viewer { user { id } mustAddSecondFactor } }"


async def reset(client: Client, world: World, key: str, reason: str = "Lost the phone and the codes.") -> Answer:
    given = {"userId": f"User:{await world.member_id(key)}", "reason": reason}
    return await mutate(client, "resetSecondFactors", given, "user { id }")


async def _user_id(world: World, key: str) -> Any:
    return await world.value("select user_id from membership where id = $1", await world.member_id(key))


async def _factors(world: World) -> int:
    """Return how many there are, codes among them. Nobody has one but who adds it here."""
    found: int = await world.value("select count(*) from authenticator")
    return found


async def _shorten(world: World, key: str) -> None:
    """Have somebody's password be one that does only beside a second factor."""
    await world.sql("alter table user_account disable trigger all")
    await world.sql("update user_account set password_is_long = false where id = $1", await _user_id(world, key))
    await world.sql("alter table user_account enable trigger all")


async def _join(world: World, key: str, slug: str, status: str) -> None:
    """Make somebody a member of another organization, too."""
    await world.sql("alter table membership disable trigger all")
    await world.sql(
        "insert into membership (id, organization_id, user_id, role, name, status, version, created_at)"
        " select gen_random_uuid(), $1, user_id, role, name, $3, 1, now() from membership where id = $2",
        await world.organization_id(slug),
        await world.member_id(key),
        status,
    )


async def _lost(world: World, key: str = "manager") -> tuple[Client, Generator]:
    """Return a client of somebody who adds a second factor, signed in before."""
    client = await world.client(key)
    return client, await add_totp(world, key)


async def test_a_reset_takes_every_factor_ends_every_sign_in_and_tells_the_person(world: World) -> None:
    person, generator = await _lost(world)
    half_done, user = await challenged(world, "manager"), f"User:{await world.member_id('manager')}"
    admin, since = await world.client("admin"), await world.now()

    with taking_mail(world) as box:
        answer = await reset(admin, world, "manager")
        await send_mail(world)
        said = [(message["subject"], text_of(message)) for message in box.messages]
        recipients = box.recipients

    assert answer.data["resetSecondFactors"] == {"user": {"id": user}, "errors": []}
    assert await _factors(world) == 0
    assert (await person.run(ME)).codes == ["UNAUTHENTICATED"]
    answers: list[dict[str, str]] = [
        {"totp": generator.code(world.services.clock())},
        {"recoveryCode": (generator.recovery_codes or [])[0]},
    ]
    for one in answers:
        given = {"challenge": half_done["token"], **one}
        assert (await mutate(world.anonymous, "completeSignIn", given)).codes == ["UNAUTHENTICATED"]
    assert (await world.sign_in("manager")).data["signIn"]["accessToken"]
    entry = (await world.entries(since=since))[0]
    assert (entry["kind"], entry["action"], entry["outcome"]) == ("CHANGE", "authenticator.reset", "DONE")
    assert entry["membership_id"] == await world.member_id("admin")
    assert recipients[-1] == [world.email("manager")]
    assert said[-1][0] == "A second factor was removed from your account in Fieldward"


async def test_where_a_second_factor_is_demanded_they_add_one_at_the_next_sign_in(world: World) -> None:
    await _lost(world)
    admin = await world.client("admin")
    await world.sql("alter table organization disable trigger all")
    await reset(admin, world, "manager")
    await world.sql("update organization set demands_second_factor = true")

    token = (await world.sign_in("manager")).data["signIn"]["accessToken"]

    person = Client(world.http, token)
    assert (await person.run(ME)).data["viewer"]["mustAddSecondFactor"] is True
    assert (await person.run("{ projects { nodes { id } } }")).codes == ["FORBIDDEN"]


async def test_a_password_that_is_too_short_to_stand_alone_ends_and_a_link_sets_another(world: World) -> None:
    await _lost(world)
    await _shorten(world, "manager")
    admin = await world.client("admin")

    with taking_mail(world) as box:
        assert (await reset(admin, world, "manager")).data["resetSecondFactors"]["errors"] == []
        await send_mail(world)
        token = token_in(next(one for one in box.messages if one["subject"].startswith("Set a new password")))

    assert (await world.sign_in("manager")).codes == ["UNAUTHENTICATED"]
    short = await mutate(world.anonymous, "resetPassword", {"token": token, "newPassword": "kelp vow trio"})
    assert [one["code"] for one in short.data["resetPassword"]["errors"]] == ["INVALID_INPUT"]
    await done(world.anonymous, "resetPassword", {"token": token, "newPassword": NEW})
    assert (await world.sign_in("manager", password=NEW)).data["signIn"]["accessToken"]


@pytest.mark.parametrize(
    ("who", "whom", "code"),
    [
        ("admin", "owner", "FORBIDDEN"),
        ("admin", "admin", "FORBIDDEN"),
        ("manager", "member", "NOT_FOUND"),
        ("auditor", "member", "FORBIDDEN"),
        ("other-owner", "member", "NOT_FOUND"),
    ],
)
async def test_nobody_resets_who_can_do_more_oneself_or_a_stranger(
    world: World, who: str, whom: str, code: str
) -> None:
    client = await world.client(who)
    await add_totp(world, whom)
    before, since = await world.fingerprint(), await world.now()

    answer = await reset(client, world, whom)

    assert [one["code"] for one in answer.data["resetSecondFactors"]["errors"]] == [code]
    assert await world.fingerprint() == before
    [entry] = await world.entries(since=since)
    assert (entry["kind"], entry["action"], entry["outcome"], entry["error_code"]) == (
        "ATTEMPT",
        "authenticator.reset",
        "DENIED",
        code,
    )


@pytest.mark.parametrize("status", ["ACTIVE", "SUSPENDED"])
async def test_who_belongs_to_another_organization_as_well_is_not_reset_by_one_of_them(
    world: World, status: str
) -> None:
    await _lost(world)
    await _join(world, "manager", "suncoast", status)
    await _refused_as_used_elsewhere(world)


async def test_who_added_a_factor_in_another_organization_is_not_reset(world: World) -> None:
    await _lost(world)
    await _join(world, "manager", "suncoast", "REMOVED")
    await world.sql("alter table authenticator disable trigger all")
    await world.sql("alter table authenticator_use disable trigger all")
    await world.sql(
        "update authenticator set organization_id = $1, membership_id ="
        " (select id from membership where organization_id = $1 and user_id = $2) where kind = 'TOTP' and user_id = $2",
        await world.organization_id("suncoast"),
        await _user_id(world, "manager"),
    )
    await _refused_as_used_elsewhere(world)


async def _refused_as_used_elsewhere(world: World) -> None:
    admin = await world.client("admin")
    before, since = await world.fingerprint(), await world.now()

    [error] = (await reset(admin, world, "manager")).data["resetSecondFactors"]["errors"]

    assert (error["code"], error["field"]) == ("CONFLICT", ["input", "userId"])
    assert "another organization" in error["message"]
    assert "suncoast" not in error["message"].lower()
    assert await world.fingerprint() == before
    assert await _factors(world) == 11
    [entry] = await world.entries(since=since)
    assert (entry["action"], entry["outcome"], entry["error_code"]) == ("authenticator.reset", "FAILED", "CONFLICT")


async def test_who_left_another_organization_long_ago_can_be_reset(world: World) -> None:
    await _lost(world)
    await _join(world, "manager", "suncoast", "REMOVED")

    answer = await reset(await world.client("admin"), world, "manager")

    assert answer.data["resetSecondFactors"]["errors"] == []
    assert await _factors(world) == 0


async def test_without_a_second_factor_there_is_nothing_to_reset(world: World) -> None:
    person = await world.client("manager")

    answer = await reset(await world.client("admin"), world, "manager")

    assert [one["code"] for one in answer.data["resetSecondFactors"]["errors"]] == ["CONFLICT"]
    assert (await person.run(ME)).data["viewer"]["user"]["id"]


async def test_a_reset_asks_for_a_fresh_sign_in(world: World) -> None:
    await _lost(world)
    admin = await world.client("admin")
    await world.sql("alter table session disable trigger all")
    await world.sql("update session set authenticated_at = authenticated_at - $1::interval", timedelta(hours=1))

    answer = await reset(admin, world, "manager")

    assert [one["code"] for one in answer.data["resetSecondFactors"]["errors"]] == ["REAUTHENTICATE"]
    assert await _factors(world) == 11
