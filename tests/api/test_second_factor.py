"""Codes of an app and recovery codes: added, used once each, and taken away; and sign-ins in two steps."""

import asyncio
import dataclasses
from datetime import timedelta
from typing import Any

import pytest

from auth.recovery_code import normal_recovery_code
from resolvers.challenge import MOST_ATTEMPTS
from resolvers.key_verification import verify_values
from resolvers.sign_in import MOST_WRONG_ANSWERS
from tests.api.test_mutation_audit import OWN
from tests.support.device import enrolled
from tests.support.factor import Generator, add_totp, challenged, done
from tests.support.mutation import mutate, prepare, takes
from tests.support.world import Answer, Client, World

SHOWN = "accessToken refreshToken"
MINE = "{ viewer { mustAddSecondFactor recoveryCodesLeft authenticators { id kind name lastUsedAt } } }"


async def complete(world: World, challenge: dict[str, Any], **answer: Any) -> Answer:
    """Answer a challenge."""
    return await mutate(world.anonymous, "completeSignIn", {"challenge": challenge["token"], **answer}, SHOWN)


async def test_a_generator_is_added_by_its_code_and_its_secret_is_shown_once(world: World) -> None:
    client, since = await world.client("manager"), await world.now()

    begun = await done(client, "beginTotp", {}, "authenticatorId secret uri qr")
    unconfirmed = (await client.run(MINE)).data["viewer"]["authenticators"]
    generator = Generator(begun["authenticatorId"], begun["secret"], None)
    wrong = await mutate(client, "confirmTotp", {"id": generator.id, "code": "000000"})
    given = {"id": generator.id, "code": generator.code(world.services.clock()), "name": "My phone"}
    confirmed = await done(client, "confirmTotp", given, "recoveryCodes")

    assert generator.secret in begun["uri"]
    assert begun["qr"].startswith("<svg")
    assert unconfirmed == []
    assert wrong.data["confirmTotp"]["errors"][0]["field"] == ["input", "code"]
    assert len(set(confirmed["recoveryCodes"])) == 10
    shown = (await client.run(MINE)).data["viewer"]
    assert shown["recoveryCodesLeft"] == 10
    assert [(one["id"], one["kind"], one["name"]) for one in shown["authenticators"]] == [
        (generator.id, "TOTP", "My phone")
    ]
    entries = await world.entries(since=since)
    assert [(one["kind"], one["action"], one["outcome"]) for one in entries] == [
        ("CHANGE", "authenticator.begin", "DONE"),
        ("ATTEMPT", "authenticator.add", "FAILED"),
        ("CHANGE", "authenticator.add", "DONE"),
    ]
    for table in await world.sql("select tablename from pg_tables where schemaname = 'public'"):
        dump = await world.value(f"select coalesce(string_agg(t::text, ''), '') from {table['tablename']} t")
        assert generator.secret not in dump
        assert not any(code in dump or normal_recovery_code(code) in dump for code in confirmed["recoveryCodes"])


async def test_every_value_opens_where_somebody_has_a_second_factor(world: World) -> None:
    await add_totp(world, "manager")

    found = await verify_values(world.services.keystore)

    assert found.broken == []
    assert found.opened > 0


async def test_with_a_second_factor_the_password_alone_opens_nothing(world: World) -> None:
    generator = await add_totp(world, "manager")
    since, sessions = await world.now(), await world.value("select count(*) from session")

    challenge = await challenged(world, "manager")

    assert challenge["methods"] == ["TOTP", "RECOVERY_CODE"]
    assert challenge["passkeyOptions"] is None
    assert await world.value("select count(*) from session") == sessions
    assert (await Client(world.http, challenge["token"]).run("{ organization { name } }")).codes == ["UNAUTHENTICATED"]
    signed_in = await complete(world, challenge, totp=generator.code(world.services.clock()))
    token = signed_in.data["completeSignIn"]["accessToken"]
    assert (await Client(world.http, token).run("{ viewer { role } }")).data == {"viewer": {"role": "MEMBER"}}
    entries = await world.entries(since=since)
    assert [(one["kind"], one["action"], one["outcome"]) for one in entries] == [
        ("CHANGE", "session.challenge", "DONE"),
        ("CHANGE", "session.sign_in", "DONE"),
    ]
    factors = await world.value("select factors from session order by created_at desc limit 1")
    assert factors == ["PASSWORD", "TOTP"]


async def test_a_wrong_password_is_answered_alike_with_and_without_a_second_factor(world: World) -> None:
    await add_totp(world, "manager")

    answers = [await world.sign_in(key, password="wrong but long enough") for key in ("manager", "viewer")]

    assert answers[0].body == answers[1].body
    assert answers[0].codes == ["UNAUTHENTICATED"]


@pytest.mark.parametrize(
    "answer", [{"totp": "000000"}, {"totp": ""}, {"recoveryCode": "ABCD-EFGH-JKMN-PQRS-TVWX-YZ01"}]
)
async def test_a_wrong_answer_opens_nothing_and_leaves_an_entry(world: World, answer: dict[str, str]) -> None:
    await add_totp(world, "manager")
    challenge = await challenged(world, "manager")
    since, sessions = await world.now(), await world.value("select count(*) from session")

    refused = await complete(world, challenge, **answer)

    assert refused.codes == ["UNAUTHENTICATED"]
    assert refused.body["data"] == {"completeSignIn": None}
    assert await world.value("select count(*) from session") == sessions
    assert await world.value("select attempts from challenge order by created_at desc limit 1") == 1
    entries = await world.entries(since=since)
    assert [(one["kind"], one["action"], one["outcome"]) for one in entries] == [
        ("ATTEMPT", "session.sign_in", "DENIED")
    ]
    assert entries[0]["membership_id"] == await world.member_id("manager")


async def test_too_many_wrong_answers_end_the_challenge(world: World) -> None:
    generator = await add_totp(world, "manager")
    challenge = await challenged(world, "manager")
    for _ in range(MOST_ATTEMPTS):
        await complete(world, challenge, totp="000000")

    answer = await complete(world, challenge, totp=generator.code(world.services.clock()))

    assert answer.codes == ["UNAUTHENTICATED"]
    assert "Begin again" in answer.errors[0]["message"]


async def test_who_has_the_password_does_not_guess_on_at_the_second_factor(world: World) -> None:
    await add_totp(world, "manager")
    for _ in range(MOST_WRONG_ANSWERS // MOST_ATTEMPTS):
        challenge = await challenged(world, "manager")
        for _ in range(MOST_ATTEMPTS):
            await complete(world, challenge, totp="000000")
        # Whoever has many networks is not held up by what is counted for each.
        await world.sql("delete from throttle")
    since, before = await world.now(), await world.value("select count(*) from challenge")

    answer = await world.sign_in("manager")

    assert [one["code"] for one in answer.data["signIn"]["errors"]] == ["RATE_LIMITED"]
    assert answer.data["signIn"]["accessToken"] is None
    assert await world.value("select count(*) from challenge") == before
    entries = await world.entries(since=since)
    assert [(one["kind"], one["action"], one["error_code"]) for one in entries] == [
        ("ATTEMPT", "session.sign_in", "RATE_LIMITED")
    ]
    await world.sql("update challenge set created_at = created_at - $1::interval", timedelta(hours=2))
    assert (await challenged(world, "manager"))["methods"] == ["TOTP", "RECOVERY_CODE"]


@pytest.mark.parametrize("name", sorted(OWN))
async def test_who_is_not_signed_in_changes_nobodys_factors(world: World, name: str) -> None:
    generator = await add_totp(world, "manager")
    possible = {"id": generator.id, "code": "000000", "name": "x", "challenge": "x", "passkey": "x"}
    given = {field: value for field, value in possible.items() if takes(name, field)}
    since, before = await world.now(), await world.fingerprint()

    answer = await mutate(world.anonymous, name, given)

    assert answer.codes == ["UNAUTHENTICATED"]
    assert await world.fingerprint() == before
    entries = await world.entries(since=since)
    assert [(one["kind"], one["outcome"], one["user_id"]) for one in entries] == [("ATTEMPT", "DENIED", None)]


async def test_not_exactly_one_answer_is_none(world: World) -> None:
    generator = await add_totp(world, "manager")
    challenge, code = await challenged(world, "manager"), generator.code(world.services.clock())

    for answer in ({}, {"totp": code, "recoveryCode": "ABCD-EFGH-JKMN-PQRS-TVWX-YZ01"}):
        payload = (await complete(world, challenge, **answer)).data["completeSignIn"]
        assert [one["code"] for one in payload["errors"]] == ["INVALID_INPUT"]
        assert payload["accessToken"] is None


async def test_a_code_signs_in_once_and_not_again_in_its_step(world: World) -> None:
    generator = await add_totp(world, "manager")
    code = generator.code(world.services.clock())
    first, second = await challenged(world, "manager"), await challenged(world, "manager")
    assert (await complete(world, first, totp=code)).data["completeSignIn"]["accessToken"]
    since, sessions = await world.now(), await world.value("select count(*) from session")

    again = await complete(world, second, totp=code)

    assert again.codes == ["UNAUTHENTICATED"]
    assert await world.value("select count(*) from session") == sessions
    entries = await world.entries(since=since)
    assert [(one["action"], one["error_code"]) for one in entries] == [("session.sign_in", "PROOF_REUSED")]


async def test_a_code_before_the_newest_one_used_is_refused(world: World) -> None:
    generator = await add_totp(world, "manager", steps=0)
    older = generator.code(world.services.clock(), steps=-1)
    since, sessions = await world.now(), await world.value("select count(*) from session")

    refused = await complete(world, await challenged(world, "manager"), totp=older)

    assert refused.codes == ["UNAUTHENTICATED"]
    assert await world.value("select count(*) from session") == sessions
    assert (await world.entries(since=since))[-1]["error_code"] == "PROOF_REUSED"


async def test_of_many_at_once_one_is_signed_in_by_a_code(world: World) -> None:
    generator = await add_totp(world, "manager")
    code = generator.code(world.services.clock())
    challenges = [await challenged(world, "manager") for _ in range(5)]

    answers = await asyncio.gather(*(complete(world, one, totp=code) for one in challenges))

    assert sum(not answer.errors for answer in answers) == 1


async def test_a_challenge_is_answered_once(world: World) -> None:
    generator = await add_totp(world, "manager")
    challenge = await challenged(world, "manager")
    first = await complete(world, challenge, totp=generator.code(world.services.clock()))
    assert first.data["completeSignIn"]["accessToken"]

    second = await complete(world, challenge, recoveryCode=(generator.recovery_codes or [])[0])

    assert second.codes == ["UNAUTHENTICATED"]


async def test_a_challenge_that_is_over_is_answered_no_more(world: World) -> None:
    generator = await add_totp(world, "manager")
    challenge = await challenged(world, "manager")
    await world.sql("update challenge set expires_at = clock_timestamp()")

    answer = await complete(world, challenge, totp=generator.code(world.services.clock()))

    assert answer.codes == ["UNAUTHENTICATED"]


async def test_the_code_of_another_person_is_wrong(world: World) -> None:
    await add_totp(world, "manager")
    other = await add_totp(world, "viewer")

    answer = await complete(world, await challenged(world, "manager"), totp=other.code(world.services.clock()))

    assert answer.codes == ["UNAUTHENTICATED"]


@pytest.mark.parametrize(
    "statement",
    [
        "update membership set status = 'SUSPENDED' where id = $1",
        "update user_account set status = 'SUSPENDED' where id = (select user_id from membership where id = $1)",
        "update user_account set sessions_valid_from = now() + interval '1 second'"
        " where id = (select user_id from membership where id = $1)",
        "update organization set status = 'SUSPENDED'"
        " where id = (select organization_id from membership where id = $1)",
    ],
)
async def test_who_was_sent_away_between_the_steps_is_not_let_in(world: World, statement: str) -> None:
    generator, member = await add_totp(world, "manager"), await world.member_id("manager")
    challenge = await challenged(world, "manager")
    for table in ("membership", "user_account", "organization"):
        await world.sql(f"alter table {table} disable trigger all")
    await world.sql(statement, member)
    sessions = await world.value("select count(*) from session")

    answer = await complete(world, challenge, totp=generator.code(world.services.clock()))

    assert answer.codes == ["UNAUTHENTICATED"]
    assert await world.value("select count(*) from session") == sessions
    assert await world.value("select count(*) from authenticator_use where step is not null") == 1


async def test_a_device_that_is_blocked_between_the_steps_is_refused_and_says_so(world: World) -> None:
    stage = await prepare(world)
    generator, device = await add_totp(world, "member"), await enrolled(world, stage.device)
    query = "mutation($input: SignInInput!) { signIn(input: $input) { challenge { token } errors { code } } }"
    proof = device.sign_in_proof(world, "member")
    said = {"input": {**world.credentials("member"), "deviceId": device.id, "deviceProof": proof}}
    challenge = (await world.anonymous.run(query, said)).data["signIn"]["challenge"]
    given = {"id": device.id, "expectedVersion": 2, "reason": "Left on the bus."}
    await done(await world.client("admin"), "blockDevice", given)
    sessions = await world.value("select count(*) from session")

    answer = await complete(world, challenge, totp=generator.code(world.services.clock()))

    assert answer.codes == ["UNAUTHENTICATED"]
    assert "device is blocked" in answer.errors[0]["message"]
    assert await world.value("select count(*) from session") == sessions


async def test_a_recovery_code_signs_in_once_and_its_person_is_told(world: World) -> None:
    codes = (await add_totp(world, "manager")).recovery_codes or []

    first = await complete(world, await challenged(world, "manager"), recoveryCode=codes[0].lower())
    again = await complete(world, await challenged(world, "manager"), recoveryCode=codes[0])
    another = await complete(world, await challenged(world, "manager"), recoveryCode=codes[1])

    client = Client(world.http, first.data["completeSignIn"]["accessToken"])
    assert (await client.run(MINE)).data["viewer"]["recoveryCodesLeft"] == 8
    assert again.codes == ["UNAUTHENTICATED"]
    assert another.data["completeSignIn"]["accessToken"]
    kinds = [row["kind"] for row in await world.sql("select kind from outgoing_mail order by created_at")]
    assert kinds == ["AUTHENTICATOR_ADDED", "RECOVERY_CODE_USED", "RECOVERY_CODE_USED"]


async def test_of_many_at_once_one_is_signed_in_by_a_recovery_code(world: World) -> None:
    code = ((await add_totp(world, "manager")).recovery_codes or [])[0]
    challenges = [await challenged(world, "manager") for _ in range(4)]

    answers = await asyncio.gather(*(complete(world, one, recoveryCode=code) for one in challenges))

    assert sum(not answer.errors for answer in answers) == 1


async def test_new_recovery_codes_take_the_place_of_the_old(world: World) -> None:
    old = (await add_totp(world, "manager")).recovery_codes or []
    client = await world.client("manager")

    new = (await done(client, "renewRecoveryCodes", {}, "recoveryCodes"))["recoveryCodes"]

    assert not set(new) & set(old)
    assert (await complete(world, await challenged(world, "manager"), recoveryCode=old[0])).codes == ["UNAUTHENTICATED"]
    assert (await complete(world, await challenged(world, "manager"), recoveryCode=new[0])).data["completeSignIn"][
        "accessToken"
    ]


async def test_without_a_second_factor_there_are_no_recovery_codes(world: World) -> None:
    answer = await mutate(await world.client("manager"), "renewRecoveryCodes", {})

    assert [one["code"] for one in answer.data["renewRecoveryCodes"]["errors"]] == ["CONFLICT"]


async def test_an_authenticator_is_renamed_and_removed_by_its_person(world: World) -> None:
    generator, client = await add_totp(world, "manager"), await world.client("manager")

    await done(client, "renameAuthenticator", {"id": generator.id, "name": "Old phone"})
    renamed = (await client.run(MINE)).data["viewer"]["authenticators"]
    await done(client, "removeAuthenticator", {"id": generator.id})

    assert [one["name"] for one in renamed] == ["Old phone"]
    assert (await client.run(MINE)).data["viewer"]["authenticators"] == []
    assert await world.value("select count(*) from authenticator") == 0
    assert (await world.sign_in("manager")).data["signIn"]["accessToken"]


async def test_somebody_elses_authenticator_is_no_authenticator_of_mine(world: World) -> None:
    generator, owner = await add_totp(world, "manager"), await world.client("owner")
    before, since = await world.fingerprint(), await world.now()

    for name, given in (("removeAuthenticator", {}), ("renameAuthenticator", {"name": "Mine"})):
        answer = await mutate(owner, name, {"id": generator.id, **given})
        assert [one["code"] for one in answer.data[name]["errors"]] == ["NOT_FOUND"]

    assert await world.fingerprint() == before
    entries = await world.entries(since=since)
    assert [(one["kind"], one["outcome"]) for one in entries] == [("ATTEMPT", "DENIED")] * 2
    assert (await owner.run(MINE)).data["viewer"]["authenticators"] == []


async def test_the_last_factor_stays_while_the_password_is_too_short_to_stand_alone(world: World) -> None:
    generator, client = await add_totp(world, "manager"), await world.client("manager")
    await world.sql("alter table user_account disable trigger all")
    await world.sql("update user_account set password_is_long = false")
    before = await world.fingerprint()

    refused = await mutate(client, "removeAuthenticator", {"id": generator.id})

    assert [one["code"] for one in refused.data["removeAuthenticator"]["errors"]] == ["CONFLICT"]
    assert await world.fingerprint() == before
    another = await add_totp(world, "manager")
    await done(client, "removeAuthenticator", {"id": another.id})


async def test_the_last_factor_stays_while_the_organization_demands_one(world: World) -> None:
    generator, client = await add_totp(world, "owner"), await world.client("owner")
    await done(client, "setSignInPolicy", {"demandsSecondFactor": True, "reason": "A client asks for it."})
    before = await world.fingerprint()

    refused = await mutate(client, "removeAuthenticator", {"id": generator.id})

    assert [one["code"] for one in refused.data["removeAuthenticator"]["errors"]] == ["CONFLICT"]
    assert await world.fingerprint() == before


async def test_a_factor_that_was_added_counts_in_every_organization(world: World) -> None:
    generator = await add_totp(world, "manager")
    await _join(world, "manager", "suncoast")
    query = "mutation($input: SignInInput!) { signIn(input: $input) { challenge { token } errors { code } } }"
    said = {"input": {**world.credentials("manager"), "organization": "suncoast"}}
    challenge = (await world.anonymous.run(query, said)).data["signIn"]["challenge"]

    signed_in = await complete(world, challenge, totp=generator.code(world.services.clock()))

    client = Client(world.http, signed_in.data["completeSignIn"]["accessToken"])
    assert (await client.run("{ organization { slug } }")).data == {"organization": {"slug": "suncoast"}}
    assert [one["id"] for one in (await client.run(MINE)).data["viewer"]["authenticators"]] == [generator.id]
    refused = await mutate(client, "removeAuthenticator", {"id": generator.id})
    assert [one["code"] for one in refused.data["removeAuthenticator"]["errors"]] == ["CONFLICT"]
    codes = (await done(client, "renewRecoveryCodes", {}, "recoveryCodes"))["recoveryCodes"]
    old = (generator.recovery_codes or [])[0]
    challenge = (await world.anonymous.run(query, said)).data["signIn"]["challenge"]
    assert (await complete(world, challenge, recoveryCode=old)).codes == ["UNAUTHENTICATED"]
    assert (await complete(world, challenge, recoveryCode=codes[0])).data["completeSignIn"]["accessToken"]


async def test_a_generator_that_was_begun_long_ago_is_not_confirmed(world: World) -> None:
    client = await world.client("manager")
    begun = await done(client, "beginTotp", {}, "authenticatorId secret")
    await world.sql("alter table authenticator disable trigger all")
    await world.sql("update authenticator set created_at = now() - $1::interval", timedelta(hours=2))
    code = Generator(begun["authenticatorId"], begun["secret"], None).code(world.services.clock())

    answer = await mutate(client, "confirmTotp", {"id": begun["authenticatorId"], "code": code})

    assert [one["code"] for one in answer.data["confirmTotp"]["errors"]] == ["CONFLICT"]


async def test_a_secret_and_codes_are_not_printed() -> None:
    from resolvers.authenticator import BegunTotp
    from resolvers.second_factor import Answer as Given

    hidden = {"secret", "uri", "qr", "totp", "recovery_code", "passkey"}
    shown = {one.name for kind in (BegunTotp, Given) for one in dataclasses.fields(kind) if one.repr}

    assert not shown & hidden


async def _join(world: World, key: str, slug: str) -> None:
    """Make somebody a member of another organization, too."""
    member = await world.member_id(key)
    await world.sql("alter table membership disable trigger all")
    await world.sql(
        "insert into membership (id, organization_id, user_id, role, name, status, version, created_at)"
        " select gen_random_uuid(), $1, user_id, role, name, status, 1, now() from membership where id = $2",
        await world.organization_id(slug),
        member,
    )
