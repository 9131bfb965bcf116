"""Passkeys: added, as a second factor, and alone; and every way in which one is not what it says."""

import asyncio
import json
from typing import Any

import pytest

from tests.support.factor import a_passkey, add_passkey, challenged, done
from tests.support.mutation import mutate
from tests.support.passkey import BACKED_UP, BACKUP_ELIGIBLE, PRESENT, VERIFIED, Passkey, decoded
from tests.support.world import Answer, Client, World

SHOWN = "accessToken refreshToken"
MINE = "{ viewer { recoveryCodesLeft authenticators { kind name lastUsedAt } } }"
LIES: dict[str, dict[str, Any]] = {
    "a page of another site": {"origin": "https://fieldward.example.evil"},
    "the same page in a frame of another site": {"cross_origin": True},
    "another domain": {"rp_id": "evil.example"},
    "not unlocked": {"flags": PRESENT},
    "nobody there": {"flags": VERIFIED},
    "a backup that can't be": {"flags": PRESENT | VERIFIED | BACKED_UP},
}


async def in_two_steps(world: World, key: str, passkey: Passkey) -> Answer:
    """Sign somebody in by their password and what the passkey answers."""
    challenge = await challenged(world, key)
    given = {"challenge": challenge["token"], "passkey": passkey.get(challenge["passkeyOptions"])}
    return await mutate(world.anonymous, "completeSignIn", given, SHOWN)


async def asked(world: World) -> dict[str, Any]:
    """Return what a passkey is asked that signs in alone."""
    found: dict[str, Any] = await done(world.anonymous, "beginPasskeySignIn", {}, "token options")
    return found


async def alone(world: World, passkey: Passkey, question: dict[str, Any] | None = None, **more: Any) -> Answer:
    """Sign in by a passkey alone."""
    question = question or await asked(world)
    given = {"challenge": question["token"], "passkey": passkey.get(question["options"]), **more}
    return await mutate(world.anonymous, "signInWithPasskey", given, SHOWN)


async def test_a_passkey_is_asked_for_that_is_unlocked_and_found_by_itself(world: World) -> None:
    passkey, client = await add_passkey(world, "manager"), await world.client("manager")

    options = json.loads((await done(client, "beginPasskeyRegistration", {}, "options"))["options"])

    assert options["rp"] == {"name": "Fieldward", "id": "fieldward.example"}
    assert options["authenticatorSelection"]["residentKey"] == "required"
    assert options["authenticatorSelection"]["userVerification"] == "required"
    assert options["attestation"] == "none"
    assert [decoded(one["id"]) for one in options["excludeCredentials"]] == [passkey.credential]
    assert len(decoded(options["challenge"])) >= 16


async def test_the_first_passkey_brings_recovery_codes_and_is_a_second_factor(world: World) -> None:
    passkey = await add_passkey(world, "manager")

    signed_in = await in_two_steps(world, "manager", passkey)

    client = Client(world.http, signed_in.data["completeSignIn"]["accessToken"])
    shown = (await client.run(MINE)).data["viewer"]
    assert shown["recoveryCodesLeft"] == 10
    assert [(one["kind"], one["name"]) for one in shown["authenticators"]] == [("PASSKEY", "My key")]
    assert await world.value("select factors from session order by created_at desc limit 1") == ["PASSKEY", "PASSWORD"]


@pytest.mark.parametrize("flags", [PRESENT | VERIFIED, PRESENT | VERIFIED | BACKUP_ELIGIBLE | BACKED_UP])
async def test_a_passkey_signs_in_alone_by_one_entry(world: World, flags: int) -> None:
    passkey = await add_passkey(world, "manager", flags=flags)
    since = await world.now()

    payload = (await alone(world, passkey)).data["signInWithPasskey"]

    client = Client(world.http, payload["accessToken"])
    assert (await client.run("{ viewer { role } }")).data == {"viewer": {"role": "MEMBER"}}
    assert await world.value("select factors from session order by created_at desc limit 1") == ["PASSKEY"]
    entries = await world.entries(since=since)
    assert [(one["kind"], one["action"], one["outcome"]) for one in entries] == [("CHANGE", "session.sign_in", "DONE")]
    assert entries[0]["membership_id"] == await world.member_id("manager")


async def test_a_passkey_that_counts_nothing_signs_in_each_time(world: World) -> None:
    passkey = await add_passkey(world, "manager", steps=0)

    for _ in range(2):
        assert (await alone(world, passkey)).data["signInWithPasskey"]["accessToken"]


async def test_a_question_is_answered_by_a_passkey_once(world: World) -> None:
    passkey, question = await add_passkey(world, "manager"), await asked(world)

    answers = await asyncio.gather(*(alone(world, passkey, question) for _ in range(4)))

    assert sum(not answer.errors for answer in answers) == 1


async def test_a_question_that_is_over_is_answered_no_more(world: World) -> None:
    passkey, question = await add_passkey(world, "manager"), await asked(world)
    await world.sql("update challenge set expires_at = clock_timestamp()")

    assert (await alone(world, passkey, question)).codes == ["UNAUTHENTICATED"]


async def test_the_answer_to_another_question_is_wrong(world: World) -> None:
    passkey, one, other = await add_passkey(world, "manager"), await asked(world), await asked(world)

    assert (await alone(world, passkey, {"token": one["token"], "options": other["options"]})).codes == [
        "UNAUTHENTICATED"
    ]


@pytest.mark.parametrize("lie", LIES)
async def test_a_passkey_that_lies_is_not_added(world: World, lie: str) -> None:
    client, passkey = await world.client("manager"), a_passkey(world, **LIES[lie])
    question = await done(client, "beginPasskeyRegistration", {}, "token options")
    before, since = await world.fingerprint(), await world.now()

    given = {"challenge": question["token"], "passkey": passkey.create(question["options"])}
    answer = await mutate(client, "registerPasskey", given)

    assert [(one["code"], one["field"]) for one in answer.data["registerPasskey"]["errors"]] == [
        ("INVALID_INPUT", ["input", "passkey"])
    ]
    assert await world.fingerprint() == before
    entries = await world.entries(since=since)
    assert [(one["kind"], one["action"], one["outcome"]) for one in entries] == [
        ("ATTEMPT", "authenticator.add", "FAILED")
    ]


@pytest.mark.parametrize("lie", LIES)
async def test_a_passkey_that_lies_signs_nobody_in(world: World, lie: str) -> None:
    passkey = await add_passkey(world, "manager")
    for name, value in LIES[lie].items():
        setattr(passkey, name, value)
    since, sessions = await world.now(), await world.value("select count(*) from session")

    answers = [await alone(world, passkey), await in_two_steps(world, "manager", passkey)]

    assert [answer.codes for answer in answers] == [["UNAUTHENTICATED"]] * 2
    assert await world.value("select count(*) from session") == sessions
    entries = await world.entries(since=since)
    assert [(one["kind"], one["action"], one["outcome"]) for one in entries] == [
        ("ATTEMPT", "session.sign_in", "DENIED"),
        ("CHANGE", "session.challenge", "DONE"),
        ("ATTEMPT", "session.sign_in", "DENIED"),
    ]


async def test_a_count_that_goes_back_is_refused_and_named_in_the_trail(world: World) -> None:
    passkey = await add_passkey(world, "manager", count=10)
    assert (await alone(world, passkey)).data["signInWithPasskey"]["accessToken"]
    passkey.count = 5
    since, sessions = await world.now(), await world.value("select count(*) from session")

    answers = [await alone(world, passkey), await in_two_steps(world, "manager", passkey)]

    assert [answer.codes for answer in answers] == [["UNAUTHENTICATED"]] * 2
    assert await world.value("select count(*) from session") == sessions
    entries = await world.entries(since=since, kinds=("ATTEMPT",))
    assert [(one["action"], one["outcome"], one["error_code"]) for one in entries] == [
        ("session.sign_in", "DENIED", "PASSKEY_CLONED")
    ] * 2
    assert entries[0]["membership_id"] == await world.member_id("manager")


async def test_the_passkey_of_another_person_is_not_mine(world: World) -> None:
    await add_passkey(world, "manager")
    others = await add_passkey(world, "viewer")

    in_two = await in_two_steps(world, "manager", others)
    others.user_handle = a_handle = (await add_passkey(world, "owner")).user_handle
    by_another_name = await alone(world, others)

    assert a_handle is not None
    assert in_two.codes == by_another_name.codes == ["UNAUTHENTICATED"]


async def test_a_passkey_that_nobody_registered_signs_nobody_in(world: World) -> None:
    registered, stranger = await add_passkey(world, "manager"), a_passkey(world)
    stranger.user_handle = registered.user_handle
    forged = a_passkey(world, credential=registered.credential, user_handle=registered.user_handle)
    nameless = await add_passkey(world, "viewer")
    nameless.user_handle = None

    for passkey in (stranger, forged, nameless):
        assert (await alone(world, passkey)).codes == ["UNAUTHENTICATED"]


async def test_a_passkey_is_registered_once(world: World) -> None:
    passkey, client = await add_passkey(world, "manager"), await world.client("viewer")
    question = await done(client, "beginPasskeyRegistration", {}, "token options")

    given = {"challenge": question["token"], "passkey": passkey.create(question["options"])}
    answer = await mutate(client, "registerPasskey", given)

    assert [one["code"] for one in answer.data["registerPasskey"]["errors"]] == ["CONFLICT"]


async def test_what_one_session_asked_no_other_answers(world: World) -> None:
    mine, others = await world.client("manager"), await world.client("viewer")
    second = Client(world.http, (await world.sign_in("manager")).data["signIn"]["accessToken"])
    question = await done(mine, "beginPasskeyRegistration", {}, "token options")
    given = {"challenge": question["token"], "passkey": a_passkey(world).create(question["options"])}
    before = await world.fingerprint()

    for client in (others, second):
        answer = await mutate(client, "registerPasskey", given)
        assert [one["code"] for one in answer.data["registerPasskey"]["errors"]] == ["CONFLICT"]

    assert await world.fingerprint() == before
    await done(mine, "registerPasskey", given)
    again = await mutate(mine, "registerPasskey", given)
    assert [one["code"] for one in again.data["registerPasskey"]["errors"]] == ["CONFLICT"]


async def test_who_is_suspended_is_not_let_in_by_a_passkey(world: World) -> None:
    passkey, member = await add_passkey(world, "manager"), await world.member_id("manager")
    await world.sql("alter table membership disable trigger all")
    await world.sql("update membership set status = 'SUSPENDED' where id = $1", member)

    answer = await alone(world, passkey)

    assert answer.codes == ["UNAUTHENTICATED"]


async def test_who_belongs_to_several_organizations_answers_once_and_names_one(world: World) -> None:
    passkey, member = await add_passkey(world, "manager"), await world.member_id("manager")
    await world.sql("alter table membership disable trigger all")
    await world.sql(
        "insert into membership (id, organization_id, user_id, role, name, status, version, created_at)"
        " select gen_random_uuid(), $1, user_id, role, name, status, 1, now() from membership where id = $2",
        await world.organization_id("suncoast"),
        member,
    )
    question = await asked(world)
    given = {"challenge": question["token"], "passkey": passkey.get(question["options"])}

    unnamed = await mutate(world.anonymous, "signInWithPasskey", given, SHOWN)
    named = await mutate(world.anonymous, "signInWithPasskey", {**given, "organization": "suncoast"}, SHOWN)

    assert [one["field"] for one in unnamed.data["signInWithPasskey"]["errors"]] == [["input", "organization"]]
    client = Client(world.http, named.data["signInWithPasskey"]["accessToken"])
    assert (await client.run("{ organization { slug } }")).data == {"organization": {"slug": "suncoast"}}


@pytest.mark.parametrize(
    "said",
    ["", "null", "[]", "{}", "[" * 15_000, "x" * 30_000, '{"id": 1}', '{"id":"a","rawId":"a","type":"public-key"}'],
)
async def test_what_is_no_passkey_is_refused_and_breaks_nothing(world: World, said: str) -> None:
    await add_passkey(world, "manager")
    client, question, challenge = await world.client("manager"), await asked(world), await challenged(world, "manager")
    registering = await done(client, "beginPasskeyRegistration", {}, "token")

    by_itself = {"challenge": question["token"], "passkey": said}
    assert (await mutate(world.anonymous, "signInWithPasskey", by_itself)).codes == ["UNAUTHENTICATED"]
    as_second = {"challenge": challenge["token"], "passkey": said}
    assert (await mutate(world.anonymous, "completeSignIn", as_second)).codes == ["UNAUTHENTICATED"]
    added = await mutate(client, "registerPasskey", {"challenge": registering["token"], "passkey": said})
    assert [one["code"] for one in added.data["registerPasskey"]["errors"]] == ["INVALID_INPUT"]
