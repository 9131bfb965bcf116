"""People are told by mail that somebody else may be signing in as them, and are not flooded."""

import asyncio
from datetime import timedelta
from typing import Any

from resolvers.challenge import MOST_ATTEMPTS
from tests.support.factor import add_totp, challenged
from tests.support.mail import send_mail, taking_mail, text_of
from tests.support.mutation import mutate
from tests.support.world import Answer, World

SUBJECT = "Somebody may be signing in to Fieldward as you"
UNUSUAL = "select * from outgoing_mail where kind = 'SIGN_IN_UNUSUAL'"


async def answer_wrong(world: World, challenge: dict[str, Any], times: int) -> None:
    for _ in range(times):
        given = {"challenge": challenge["token"], "recoveryCode": "0" * 24}
        assert (await mutate(world.anonymous, "completeSignIn", given)).codes == ["UNAUTHENTICATED"]


async def reuse(world: World, key: str) -> Answer:
    """Use a refresh token twice, and return what came the second time."""
    given = {"refreshToken": (await world.sign_in(key)).data["signIn"]["refreshToken"]}
    answers = [await mutate(world.anonymous, "refreshSession", given) for _ in range(2)]
    return answers[1]


async def test_who_has_the_password_and_not_the_second_factor_is_told_of_to_its_person(world: World) -> None:
    await add_totp(world, "manager")
    challenge = await challenged(world, "manager")

    await answer_wrong(world, challenge, MOST_ATTEMPTS - 1)
    assert await world.sql(UNUSUAL) == []
    with taking_mail(world) as box:
        await answer_wrong(world, challenge, 1)
        await send_mail(world)
        told = [
            (to, text_of(message))
            for to, message in zip(box.recipients, box.messages, strict=True)
            if message["subject"] == SUBJECT
        ]

    [(to, said)] = told
    assert to == [world.email("manager")]
    assert "https://fieldward.example/account" in said
    [mail] = await world.sql(UNUSUAL)
    assert (mail["state"], mail["email_index"]) == ("SENT", None)


async def test_a_refresh_token_that_is_used_twice_is_told_of_to_its_person(world: World) -> None:
    with taking_mail(world) as box:
        assert (await reuse(world, "manager")).codes == ["UNAUTHENTICATED"]
        await send_mail(world)
        subjects = [message["subject"] for message in box.messages]
        recipients = box.recipients

    assert subjects == [SUBJECT]
    assert recipients == [[world.email("manager")]]


async def test_nobody_is_told_twice_in_a_day_and_everybody_is_told_for_themselves(world: World) -> None:
    await asyncio.gather(*(reuse(world, "manager") for _ in range(3)))
    assert len(await world.sql(UNUSUAL)) == 1

    await reuse(world, "viewer")
    assert len(await world.sql(UNUSUAL)) == 2

    await world.sql("update outgoing_mail set created_at = created_at - $1::interval", timedelta(days=1))
    await reuse(world, "manager")
    assert len(await world.sql(UNUSUAL)) == 3


async def test_a_wrong_password_and_a_code_that_was_mistyped_tell_nobody(world: World) -> None:
    generator = await add_totp(world, "manager")
    for _ in range(MOST_ATTEMPTS):
        await world.sign_in("manager", password="wrong but long enough")
    challenge = await challenged(world, "manager")

    await answer_wrong(world, challenge, 2)
    given = {"challenge": challenge["token"], "totp": generator.code(world.services.clock())}
    signed_in = await mutate(world.anonymous, "completeSignIn", given, "accessToken")

    assert signed_in.data["completeSignIn"]["accessToken"]
    assert await world.sql(UNUSUAL) == []
