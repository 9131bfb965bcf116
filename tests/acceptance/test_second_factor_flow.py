"""Second factors and fresh sign-ins, over HTTP in a server process."""

from typing import Any

from tests.support.access import behind_the_triggers
from tests.support.factor import add_totp, challenged, done
from tests.support.flow import Flow, refused, said
from tests.support.mutation import mutate
from tests.support.world import Answer, Client, World

WRONG = ("session.sign_in", "UNAUTHENTICATED")
DEMAND = {"demandsSecondFactor": True, "reason": "A client asks for it."}
ROLE = {"name": "Looks on", "level": "PROJECT", "permissions": ["PROJECT_READ"], "reason": "Set up."}
SHOWN = "accessToken"


async def _complete(world: World, challenge: dict[str, Any], **answer: str) -> Answer:
    return await mutate(world.anonymous, "completeSignIn", {"challenge": challenge["token"], **answer}, SHOWN)


async def _signed_in(world: World, challenge: dict[str, Any], **answer: str) -> Client:
    payload = (await _complete(world, challenge, **answer)).data["completeSignIn"]
    assert payload["errors"] == [], payload
    return Client(world.http, payload["accessToken"], password=world.password("manager"))


async def test_a_sign_in_takes_both_steps_and_each_code_once(flow: Flow) -> None:
    world, member = flow.world, await flow.world.member_id("manager")
    generator, address = await add_totp(world, "manager"), world.email("manager")
    first, second = await challenged(world, "manager"), await challenged(world, "manager")
    assert first["methods"] == ["TOTP", "RECOVERY_CODE"]
    opened = await world.value("select count(*) from session where membership_id = $1", member)
    # The right password alone has given nothing that opens anything.
    half = Client(world.http, first["token"])
    assert said(await half.run("{ projects { nodes { id } } }")) == ["UNAUTHENTICATED"]
    async with refused(world, ("authenticator.begin", "UNAUTHENTICATED")):
        assert said(await mutate(half, "beginTotp", {})) == ["UNAUTHENTICATED"]

    code = generator.code(world.services.clock())
    client = await _signed_in(world, first, totp=code)
    assert (await client.run("{ viewer { session { factors } } }")).data["viewer"]["session"] == {
        "factors": ["PASSWORD", "TOTP"]
    }

    codes = generator.recovery_codes or []
    for noted, challenge, answer in (
        (WRONG, second, {"totp": "000000"}),
        (("session.sign_in", "PROOF_REUSED"), second, {"totp": code}),
        (WRONG, second, {"recoveryCode": "ABCD-EFGH-JKMN-PQRS"}),
        # The question of the sign-in that went well is answered no more.
        (WRONG, first, {"totp": generator.code(world.services.clock(), steps=1)}),
    ):
        async with refused(world, noted):
            refusal = await _complete(world, challenge, **answer)
            assert said(refusal) == ["UNAUTHENTICATED"]
            assert refusal.body["data"] == {"completeSignIn": None}
    assert await world.value("select count(*) from session where membership_id = $1", member) == opened + 1

    await _signed_in(world, second, recoveryCode=codes[0].lower())
    third = await challenged(world, "manager")
    async with refused(world, WRONG, whose=member):
        assert said(await _complete(world, third, recoveryCode=codes[0])) == ["UNAUTHENTICATED"]
    newest = await _signed_in(world, third, recoveryCode=codes[1])
    left = await newest.run("{ viewer { recoveryCodesLeft } }")
    assert left.data == {"viewer": {"recoveryCodesLeft": 8}}
    assert await flow.subjects_to(address, 3) == [
        "A second factor was added to your account in Fieldward",
        *["A recovery code was used to sign in to Fieldward"] * 2,
    ]


async def test_what_is_sensitive_takes_a_fresh_sign_in_with_both_factors(flow: Flow) -> None:
    world, owner = flow.world, await flow.world.client("owner")
    generator, member = await add_totp(world, "owner"), await world.member_id("owner")
    await behind_the_triggers(world, "session", "authenticated_at = authenticated_at - interval '1 hour'", "true")

    async with refused(world, ("role.create", "REAUTHENTICATE"), outcome="FAILED", whose=member):
        assert said(await mutate(owner, "createRole", ROLE)) == ["REAUTHENTICATE"]
    async with refused(world, ("session.reauthenticate", "INVALID_INPUT"), outcome="FAILED", whose=member):
        assert said(await mutate(owner, "reauthenticate", {"password": owner.password})) == ["INVALID_INPUT"]
    await done(owner, "createProject", {"code": "NEW-1", "name": "Not sensitive"})

    proof = {"password": owner.password, "totp": generator.code(world.services.clock())}
    await done(owner, "reauthenticate", proof)
    await done(owner, "createRole", ROLE)
    async with refused(world, ("session.reauthenticate", "PROOF_REUSED"), whose=member, is_counted=True):
        assert said(await mutate(owner, "reauthenticate", proof)) == ["FORBIDDEN"]


async def test_who_has_to_add_a_factor_does_nothing_else_until_then(flow: Flow) -> None:
    world = flow.world
    owner, manager = await world.client("owner"), await world.client("manager")
    member = await world.member_id("manager")
    async with refused(world, ("organization.set_sign_in_policy", "FORBIDDEN")):
        assert said(await mutate(owner, "setSignInPolicy", DEMAND)) == ["FORBIDDEN"]
    await add_totp(world, "owner")
    await done(owner, "setSignInPolicy", DEMAND)

    record = {"projectId": f"Project:{await world.project_id('CANAL')}", "siteCode": "W-9", "medium": "WATER"}
    given = {**record, "collectedAt": "2026-01-02T03:04:05Z"}
    async with refused(world, ("record.create", "FORBIDDEN"), whose=member):
        answer = await mutate(manager, "createRecord", given)
        assert said(answer) == ["FORBIDDEN"]
        assert "beginTotp" in answer.data["createRecord"]["errors"][0]["message"]
    for query in ("{ projects { nodes { id } } }", "{ records { nodes { id } } }", "{ organization { name } }"):
        refusal = await manager.run(query)
        assert said(refusal) == ["FORBIDDEN"]
        assert "beginTotp" in refusal.errors[0]["message"]
    assert (await manager.run("{ viewer { mustAddSecondFactor } }")).data == {"viewer": {"mustAddSecondFactor": True}}

    generator = await add_totp(world, "manager")
    assert (await manager.run("{ projects { nodes { code } } }")).data["projects"]["nodes"] == [{"code": "CANAL"}]
    await done(manager, "createRecord", given)
    async with refused(world, ("authenticator.remove", "CONFLICT"), outcome="FAILED", whose=member):
        assert said(await mutate(manager, "removeAuthenticator", {"id": generator.id})) == ["CONFLICT"]
