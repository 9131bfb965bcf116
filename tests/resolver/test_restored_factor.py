"""Second factors in a database that came back: nobody gets in by less than they needed last."""

from uuid import UUID

import pytest

from auth.password import NO_PASSWORD
from resolvers.way_in import WaysIn, ways_in
from tests.support.factor import TOKENS, add_passkey, add_totp, challenged
from tests.support.mutation import mutate
from tests.support.restored import noted_once_signed_in, settle, without
from tests.support.world import World


@pytest.fixture
async def noted(world: World) -> WaysIn:
    """What stands, once everybody who is asked for below has signed in."""
    return await noted_once_signed_in(world)


async def test_a_sign_in_that_waits_for_a_second_factor_is_over(world: World) -> None:
    generator = await add_totp(world, "manager")
    half_done = await challenged(world, "manager")

    settled = await settle(world, await ways_in(world.services.keystore))

    assert settled.questions >= 1
    given = {"challenge": half_done["token"], "totp": generator.code(world.services.clock())}
    assert (await mutate(world.anonymous, "completeSignIn", given)).codes == ["UNAUTHENTICATED"]


async def test_a_second_factor_that_was_removed_since_does_not_work(world: World) -> None:
    await add_totp(world, "manager")
    now = await ways_in(world.services.keystore)

    settled = await settle(world, without(now, "factors"))

    assert settled.closed["factors"] == await _confirmed(now)
    assert await world.value("select count(*) from authenticator where confirmed_at is not null") == 0


async def _confirmed(now: WaysIn) -> int:
    return sum(len(kinds["factors"]) for kinds in now.standing.values())


async def test_what_is_newer_than_the_note_stays(world: World, noted: WaysIn) -> None:
    await add_totp(world, "manager")

    settled = await settle(world, noted)

    assert not settled.closed
    assert await world.value("select count(*) from authenticator where confirmed_at is not null") > 0


async def test_who_had_another_second_factor_since_does_not_get_in_by_the_password_alone(world: World) -> None:
    """The database has an app, and the note a passkey that took its place."""
    await add_totp(world, "manager")
    now = await ways_in(world.services.keystore)
    manager = await world.member_id("manager")
    asked = "select id::text from authenticator where membership_id = $1"
    gone = {row["id"] for row in await world.sql(asked, manager)}
    others = [one for kinds in now.standing.values() for one in kinds["factors"] if one not in gone]

    settled = await settle(world, without(now, "factors", but=others))

    assert settled.without_factor == 1
    await _require_shut(world, manager)


async def _require_shut(world: World, manager: UUID) -> None:
    """Require that the manager's password opens nothing, and that no recovery code of theirs is left."""
    assert (await world.sign_in("manager")).codes == ["UNAUTHENTICATED"]
    asked = "select password_hash from user_account u join membership m on m.user_id = u.id where m.id = $1"
    assert await world.value(asked, manager) == NO_PASSWORD
    assert await world.value("select count(*) from authenticator where membership_id = $1", manager) == 0
    assert (await world.sign_in("owner")).data["signIn"]["accessToken"]


async def test_who_added_their_first_second_factor_since_does_not_get_in_by_the_password_alone(world: World) -> None:
    """The database knows of no factor at all."""
    generator = await add_totp(world, "manager")
    now = await ways_in(world.services.keystore)
    manager = await world.member_id("manager")
    await world.sql("alter table authenticator disable trigger change_delete")
    await world.sql("delete from authenticator where membership_id = $1", manager)
    await world.sql("alter table authenticator enable always trigger change_delete")
    assert generator.recovery_codes
    assert (await world.sign_in("manager")).data["signIn"]["accessToken"]

    settled = await settle(world, now)

    assert settled.without_factor == 1
    assert not settled.closed
    await _require_shut(world, manager)


async def test_who_kept_a_second_factor_keeps_the_password(world: World) -> None:
    await add_totp(world, "manager")
    passkey = await add_passkey(world, "manager")
    assert passkey
    now = await ways_in(world.services.keystore)
    asked = "select id from authenticator where kind = 'PASSKEY' and membership_id = $1"
    gone = str(await world.value(asked, await world.member_id("manager")))
    others = [one for kinds in now.standing.values() for one in kinds["factors"] if one != gone]

    settled = await settle(world, without(now, "factors", but=others))

    assert settled.closed == {"factors": 1}
    assert settled.without_factor == 0
    assert await challenged(world, "manager")


async def test_a_recovery_code_that_was_used_since_does_not_work_again(world: World) -> None:
    generator = await add_totp(world, "manager")
    assert generator.recovery_codes
    code = generator.recovery_codes[0]
    before = await ways_in(world.services.keystore)
    given = {"challenge": (await challenged(world, "manager"))["token"], "recoveryCode": code}
    assert (await mutate(world.anonymous, "completeSignIn", given, TOKENS)).data["completeSignIn"]["accessToken"]
    used = await ways_in(world.services.keystore)
    assert await _confirmed(used) == await _confirmed(before) - 1
    # As it was before it was used.
    await world.sql(
        "delete from authenticator_use where id in (select id from authenticator where kind = 'RECOVERY_CODE')"
    )

    settled = await settle(world, used)

    assert settled.closed == {"factors": 1}
    for answer, is_good in ((code, False), (generator.recovery_codes[1], True)):
        given = {"challenge": (await challenged(world, "manager"))["token"], "recoveryCode": answer}
        done_with = await mutate(world.anonymous, "completeSignIn", given, TOKENS)
        assert (done_with.codes == []) is is_good
