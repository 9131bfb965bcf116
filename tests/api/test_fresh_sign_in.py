"""Step-up: what takes a fresh sign-in, and how one proves anew who one is; and what demands a second factor."""

from typing import Any

import pytest

from auth.action import Action
from resolvers.identity_proof import MOST_WRONG
from schema.api import build_api
from schema.mutation import TAKES_FRESH, mutation_of
from tests.api.test_mutation_audit import CASES, prepared
from tests.support.factor import add_passkey, add_totp, challenged, done
from tests.support.mutation import mutate, prepare
from tests.support.world import Client, World

REASON = {"reason": "A client asks for it."}
DEMAND = {"demandsSecondFactor": True, **REASON}
FRESH = {
    *("assignOrganizationRole", "removeOrganizationRole", "assignProjectRole", "removeProjectRole"),
    *("createRole", "updateRole", "deleteRole", "createServiceAccount", "revokeServiceAccount", "setTrailRetention"),
    *("setSignInPolicy", "beginTotp", "confirmTotp", "beginPasskeyRegistration", "registerPasskey"),
    *("renewRecoveryCodes", "removeAuthenticator", "resetSecondFactors", "revokeUserSessions", "startPasswordReset"),
    *("inviteUser", "resendInvitation", "suspendUser", "reinstateUser", "removeUser"),
    *("issueServiceAccountToken", "revokeServiceAccountToken", "handOverDevice", "startDeviceEnrolment"),
    *(
        "decideAccessReviewItem",
        "closeAccessReview",
        "registerTrustedDocuments",
        "createArchive",
        "setTrustedDocumentPolicy",
    ),
    *("setRetention", "liftLegalHold", "setProjectFields"),
    *("requestErasure", "requestMyErasure", "confirmErasure", "exportMyData"),
}
STANDS = "select authenticated_at > now() - interval '1 minute', factors from session where id = $1"


async def grow_stale(world: World) -> None:
    """Have everybody have signed in an hour ago."""
    await world.sql("alter table session disable trigger all")
    await world.sql("update session set authenticated_at = authenticated_at - interval '1 hour'")


async def session_of(world: World, key: str) -> Any:
    """Return the id of somebody's newest session."""
    member = await world.member_id(key)
    return await world.value("select id from session where membership_id = $1 order by created_at desc limit 1", member)


def test_what_takes_a_fresh_sign_in_is_declared_and_said() -> None:
    core = build_api()._schema
    assert core.mutation_type is not None
    fields = core.mutation_type.fields

    assert {name for name, field in fields.items() if getattr(mutation_of(field), "fresh", False)} == FRESH
    assert {name for name, field in fields.items() if TAKES_FRESH in (field.description or "")} == FRESH


@pytest.mark.parametrize("name", sorted(FRESH & set(CASES) - {"setSignInPolicy"}))
async def test_an_old_sign_in_does_nothing_sensitive_until_it_is_proved_anew(world: World, name: str) -> None:
    who, given, action, _, _ = CASES[name]
    client, stage = await world.client(who), await prepared(world, name)
    await grow_stale(world)
    since, before = await world.now(), await world.fingerprint()

    refused = await mutate(client, name, given(stage))

    assert [one["code"] for one in refused.data[name]["errors"]] == ["REAUTHENTICATE"]
    assert await world.fingerprint() == before
    entries = await world.entries(since=since)
    assert [(one["kind"], one["action"], one["outcome"], one["error_code"]) for one in entries] == [
        ("ATTEMPT", action, "FAILED", "REAUTHENTICATE")
    ]
    assert entries[0]["membership_id"] == await world.member_id(who)
    await done(client, "reauthenticate", {"password": client.password})
    await done(client, name, given(stage))


async def test_who_may_not_is_not_asked_to_prove_anything(world: World) -> None:
    client = await world.client("viewer")
    await grow_stale(world)

    answer = await mutate(client, "createRole", CASES["createRole"][1](await prepare(world)))

    assert [one["code"] for one in answer.data["createRole"]["errors"]] == ["FORBIDDEN"]


async def test_what_is_not_sensitive_asks_for_nothing(world: World) -> None:
    client = await world.client("owner")
    await grow_stale(world)

    await done(client, "createProject", {"code": "NEW-1", "name": "New"})


async def test_the_password_proves_it_anew_by_one_entry(world: World) -> None:
    client, session = await world.client("manager"), await session_of(world, "manager")
    await grow_stale(world)
    since = await world.now()

    await done(client, "reauthenticate", {"password": client.password})

    assert tuple((await world.sql(STANDS, session))[0]) == (True, ["PASSWORD"])
    entries = await world.entries(since=since)
    assert [(one["kind"], one["action"], one["outcome"]) for one in entries] == [
        ("CHANGE", "session.reauthenticate", "DONE")
    ]


async def test_with_a_second_factor_the_password_alone_proves_nothing(world: World) -> None:
    generator, client = await add_totp(world, "manager"), await world.client("manager")
    session = await session_of(world, "manager")
    await grow_stale(world)

    alone = await mutate(client, "reauthenticate", {"password": client.password})
    stale = (await world.sql(STANDS, session))[0][0]
    both = {"password": client.password, "totp": generator.code(world.services.clock())}
    await done(client, "reauthenticate", both)
    again = await mutate(client, "reauthenticate", both)

    assert [one["code"] for one in alone.data["reauthenticate"]["errors"]] == ["INVALID_INPUT"]
    assert stale is False
    assert tuple((await world.sql(STANDS, session))[0]) == (True, ["PASSWORD", "TOTP"])
    assert [one["code"] for one in again.data["reauthenticate"]["errors"]] == ["FORBIDDEN"]


async def test_a_passkey_alone_proves_it_anew_in_its_session(world: World) -> None:
    passkey, client = await add_passkey(world, "manager"), await world.client("manager")
    session = await session_of(world, "manager")
    question = await done(client, "beginPasskeyProof", {}, "token options")
    given = {"challenge": question["token"], "passkey": passkey.get(question["options"])}
    by_itself = await done(world.anonymous, "beginPasskeySignIn", {}, "token options")
    signing_in = {"challenge": by_itself["token"], "passkey": passkey.get(by_itself["options"])}
    signed_in = await done(world.anonymous, "signInWithPasskey", signing_in, "accessToken")
    another = Client(world.http, signed_in["accessToken"])
    await grow_stale(world)
    passkey.count += 1
    newest = {**given, "passkey": passkey.get(question["options"])}

    elsewhere = await mutate(another, "reauthenticate", newest)
    stale = (await world.sql(STANDS, session))[0][0]
    await done(client, "reauthenticate", newest)
    again = await mutate(client, "reauthenticate", newest)

    assert [one["code"] for one in elsewhere.data["reauthenticate"]["errors"]] == ["CONFLICT"]
    assert stale is False
    assert tuple((await world.sql(STANDS, session))[0]) == (True, ["PASSKEY"])
    assert [one["code"] for one in again.data["reauthenticate"]["errors"]] == ["INVALID_INPUT"]


async def test_wrong_proofs_are_counted_and_end_the_session(world: World) -> None:
    client, since = await world.client("manager"), await world.now()

    answers = [await mutate(client, "reauthenticate", {"password": "wrong but long enough"}) for _ in range(MOST_WRONG)]

    assert [one["code"] for one in answers[0].data["reauthenticate"]["errors"]] == ["FORBIDDEN"]
    assert answers[-1].codes == ["UNAUTHENTICATED"]
    assert (await client.run("{ viewer { role } }")).codes == ["UNAUTHENTICATED"]
    entries = await world.entries(since=since)
    refused = [one for one in entries if one["action"] == Action.SESSION_REAUTHENTICATE]
    assert [(one["kind"], one["outcome"]) for one in refused] == [("ATTEMPT", "DENIED")] * MOST_WRONG


async def test_who_is_not_signed_in_proves_nothing(world: World) -> None:
    answer = await mutate(world.anonymous, "reauthenticate", {"password": world.password("manager")})

    assert answer.codes == ["UNAUTHENTICATED"]


async def test_who_demands_a_second_factor_has_one(world: World) -> None:
    client, before, since = await world.client("owner"), await world.fingerprint(), await world.now()

    refused = await mutate(client, "setSignInPolicy", DEMAND)

    assert [(one["code"], one["field"]) for one in refused.data["setSignInPolicy"]["errors"]] == [
        ("FORBIDDEN", ["input", "demandsSecondFactor"])
    ]
    assert await world.fingerprint() == before
    entries = await world.entries(since=since)
    assert [(one["kind"], one["action"], one["outcome"]) for one in entries] == [
        ("ATTEMPT", "organization.set_sign_in_policy", "DENIED")
    ]
    await add_totp(world, "owner")
    shown = "organization { demandsSecondFactor }"
    assert (await done(client, "setSignInPolicy", DEMAND, shown))["organization"] == {"demandsSecondFactor": True}


async def test_who_has_to_add_a_factor_can_do_that_and_nothing_else(world: World) -> None:
    stage, client = await prepare(world), await world.client("manager")
    await add_totp(world, "owner")
    await done(await world.client("owner"), "setSignInPolicy", DEMAND)
    since, before = await world.now(), await world.fingerprint()

    viewer = await client.run("{ viewer { mustAddSecondFactor authenticators { id } } }")
    roots = [
        await client.run(query)
        for query in (
            "{ organization { name } }",
            "{ projects { nodes { id } } }",
            f'{{ node(id: "{stage.draft}") {{ id }} }}',
            "{ auditEntries(first: 1) { nodes { id } } }",
        )
    ]
    given = {"id": stage.draft, "expectedVersion": 1, **REASON}
    refused = await mutate(client, "deleteRecord", given)

    assert viewer.data == {"viewer": {"mustAddSecondFactor": True, "authenticators": []}}
    assert [answer.codes for answer in roots] == [["FORBIDDEN"]] * len(roots)
    assert all("beginTotp" in answer.errors[0]["message"] for answer in roots)
    assert [one["code"] for one in refused.data["deleteRecord"]["errors"]] == ["FORBIDDEN"]
    assert "beginTotp" in refused.data["deleteRecord"]["errors"][0]["message"]
    assert await world.fingerprint() == before
    entries = await world.entries(since=since)
    assert [(one["action"], one["outcome"]) for one in entries] == [("record.delete", "DENIED")]
    await add_totp(world, "manager")
    shown = await client.run("{ viewer { mustAddSecondFactor } projects { nodes { code } } }")
    assert shown.data["viewer"] == {"mustAddSecondFactor": False}
    assert shown.data["projects"]["nodes"]
    await done(client, "deleteRecord", given)


async def test_a_policy_is_taken_back_by_who_may(world: World) -> None:
    client = await world.client("owner")
    generator = await add_totp(world, "owner")
    await done(client, "setSignInPolicy", DEMAND)
    challenge = await challenged(world, "owner")
    answer = {"challenge": challenge["token"], "totp": generator.code(world.services.clock())}
    signed_in = await done(world.anonymous, "completeSignIn", answer, "accessToken")
    newest = Client(world.http, signed_in["accessToken"])

    again = await mutate(newest, "setSignInPolicy", DEMAND)
    await done(newest, "setSignInPolicy", {"demandsSecondFactor": False, **REASON})

    assert [one["code"] for one in again.data["setSignInPolicy"]["errors"]] == ["CONFLICT"]
