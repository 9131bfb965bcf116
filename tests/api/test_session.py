"""Signing in and what a session is good for, by each way it can be wrong."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest

from auth.password import Parameters, Passwords, Verdict
from auth.token import AccessClaims, SigningKey, issue_access_token
from resolvers.flood import WRITTEN_EACH
from tests.support.device import enrolled
from tests.support.mutation import OPEN_TO_ALL, mutate, prepare
from tests.support.world import Client, World

ME = "{ viewer { role } projects { nodes { code } } }"
REFRESH = """
mutation($input: RefreshSessionInput!) {
  refreshSession(input: $input) { accessToken refreshToken errors { code message field } }
}
"""


async def test_the_right_password_signs_in_and_leaves_one_entry(world: World) -> None:
    since = await world.now()
    payload = (await world.sign_in("manager")).data["signIn"]
    entries = await world.entries(since=since)

    answer = await Client(world.http, payload["accessToken"]).run(ME)

    assert payload["errors"] == []
    assert [(one["kind"], one["action"], one["outcome"]) for one in entries] == [("CHANGE", "session.sign_in", "DONE")]
    assert entries[0]["membership_id"] == await world.member_id("manager")
    assert answer.data == {"viewer": {"role": "MEMBER"}, "projects": {"nodes": [{"code": "CANAL"}]}}


@pytest.mark.parametrize(
    "given",
    [
        {"password": "not the password at all"},
        {"email": "nobody@clearwater.example"},
        {"email": "not an address"},
        {"password": ""},
        {"organization": "suncoast"},
        {"organization": "no-such"},
    ],
)
async def test_everything_wrong_about_a_sign_in_is_answered_the_same(world: World, given: dict[str, Any]) -> None:
    since = await world.now()

    answer = await world.sign_in("manager", **given)

    assert answer.body == {
        "data": {"signIn": None},
        "errors": [
            {
                "message": "The address or the password is wrong.",
                "locations": answer.errors[0]["locations"],
                "path": ["signIn"],
                "extensions": {"code": "UNAUTHENTICATED"},
            }
        ],
    }
    entries = await world.entries(since=since)
    assert [(one["action"], one["outcome"]) for one in entries] == [("session.sign_in", "DENIED")]
    assert await world.value("select count(*) from session where created_at > $1", since) == 0


async def test_an_unknown_address_costs_the_same_work(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    hashed: list[str | None] = []
    verify = Passwords.verify

    def noting(self: Passwords, encoded: str | None, password: str) -> Verdict:
        hashed.append(encoded)
        return verify(self, encoded, password)

    monkeypatch.setattr(Passwords, "verify", noting)

    await world.sign_in("manager", password="wrong but long enough")
    await world.sign_in("manager", email="nobody@clearwater.example", password="wrong but long enough")

    assert len(hashed) == 2
    assert hashed[0] is not None
    assert hashed[1] is None


async def test_no_password_and_no_token_is_in_the_database(world: World) -> None:
    payload = (await world.sign_in("manager")).data["signIn"]

    tables = await world.sql("select tablename from pg_tables where schemaname = 'public'")
    for table in tables:
        dump = await world.value(f"select coalesce(string_agg(t::text, ''), '') from {table['tablename']} t")
        assert world.passwords["manager@clearwater.example"] not in dump
        assert payload["accessToken"] not in dump
        assert payload["refreshToken"] not in dump


async def test_who_belongs_to_several_organizations_is_asked_which_one(world: World) -> None:
    user = await world.value("select user_id from membership m where m.id = $1", await world.member_id("manager"))
    await world.sql("alter table membership disable trigger all")
    await world.sql(
        "insert into membership (id, organization_id, user_id, role, name, status, version, created_at)"
        " select gen_random_uuid(), $1, user_id, role, name, status, 1, now() from membership where user_id = $2",
        await world.organization_id("suncoast"),
        user,
    )

    unnamed = await world.sign_in("manager")
    named = await world.sign_in("manager", organization="suncoast")

    errors = unnamed.data["signIn"]["errors"]
    assert [(error["code"], error["field"]) for error in errors] == [("INVALID_INPUT", ["input", "organization"])]
    answer = await Client(world.http, named.data["signIn"]["accessToken"]).run(
        "{ organization { slug } projects { nodes { code } } }"
    )
    assert answer.data == {"organization": {"slug": "suncoast"}, "projects": {"nodes": []}}


TOKENS = {
    "none at all": "none.at.all",
    "empty parts": "..",
    "very long": "a" * 9000,
}


@pytest.mark.parametrize("name", TOKENS)
async def test_a_token_that_is_none_gets_nothing(world: World, name: str) -> None:
    answer = await _with_token(world, TOKENS[name])

    assert answer.codes == ["UNAUTHENTICATED", "UNAUTHENTICATED"]
    assert answer.body["data"] == {"viewer": None, "projects": None}


async def test_a_token_signed_otherwise_gets_nothing(world: World) -> None:
    good = (await world.sign_in("manager")).data["signIn"]["accessToken"]
    said = jwt.decode(good, options={"verify_signature": False})
    header = jwt.get_unverified_header(good)
    kid = {"kid": header["kid"], "typ": header["typ"]}
    public = world.services.signing_key.public.public_bytes_raw()
    forged = [
        jwt.encode(said, key="", algorithm="none", headers=kid),
        jwt.encode(said, key=public, algorithm="HS256", headers=kid),
        jwt.encode(said, key=public.hex(), algorithm="HS256", headers=kid),
        _signed(SigningKey.generate(), said),
        good[:-4] + ("AAAA" if not good.endswith("AAAA") else "BBBB"),
    ]

    for token in forged:
        answer = await _with_token(world, token)
        assert answer.codes == ["UNAUTHENTICATED", "UNAUTHENTICATED"]


async def test_a_token_of_another_time_or_audience_gets_nothing(world: World) -> None:
    session = (await world.sql("select * from session where membership_id = $1", await world.member_id("manager")))[0]
    claims = AccessClaims(
        user_id=session["user_id"], session_id=session["id"], organization_id=session["organization_id"]
    )
    now, policy = world.services.clock(), world.services.sessions
    good: dict[str, Any] = {"now": now, "issuer": policy.issuer, "audience": policy.audience, "lifetime_s": 300}
    wrong: list[dict[str, Any]] = [
        {"now": now - timedelta(minutes=6)},
        {"now": now + timedelta(minutes=2)},
        {"audience": "somebody else"},
        {"issuer": "somebody else"},
    ]

    assert (await _with_token(world, issue_access_token(world.services.signing_key, claims, **good))).data["viewer"]
    for one in wrong:
        token = issue_access_token(world.services.signing_key, claims, **{**good, **one})
        assert (await _with_token(world, token)).codes == ["UNAUTHENTICATED", "UNAUTHENTICATED"]


async def test_a_refresh_token_works_once_and_its_reuse_ends_the_session(world: World) -> None:
    first = (await world.sign_in("manager")).data["signIn"]
    second = (await world.anonymous.run(REFRESH, {"input": {"refreshToken": first["refreshToken"]}})).data
    since = await world.now()

    reused = await world.anonymous.run(REFRESH, {"input": {"refreshToken": first["refreshToken"]}})

    assert reused.codes == ["UNAUTHENTICATED"]
    newest = second["refreshSession"]
    assert (await _with_token(world, newest["accessToken"])).codes == ["UNAUTHENTICATED"] * 2
    again = await world.anonymous.run(REFRESH, {"input": {"refreshToken": newest["refreshToken"]}})
    assert again.codes == ["UNAUTHENTICATED"]
    entries = await world.entries(since=since)
    assert [(one["kind"], one["action"], one["outcome"]) for one in entries] == [
        ("CHANGE", "session.refresh", "DONE"),
        ("ATTEMPT", "session.refresh", "DENIED"),
        ("ATTEMPT", "session.authenticate", "DENIED"),
        ("ATTEMPT", "session.refresh", "DENIED"),
    ]


@pytest.mark.parametrize("token", ["", "fwr_", "fwr_AAAA", "x" * 5000, "fwr_" + "A" * 91])
async def test_what_is_no_refresh_token_gets_nothing(world: World, token: str) -> None:
    answer = await world.anonymous.run(REFRESH, {"input": {"refreshToken": token}})

    assert answer.codes == ["UNAUTHENTICATED"]


async def test_two_refreshes_at_once_give_one_new_token(world: World) -> None:
    given = {"input": {"refreshToken": (await world.sign_in("manager")).data["signIn"]["refreshToken"]}}

    answers = await asyncio.gather(*(world.anonymous.run(REFRESH, given) for _ in range(4)))

    assert sum(not answer.errors for answer in answers) == 1


async def test_signing_out_ends_the_session_at_once(world: World) -> None:
    payload = (await world.sign_in("manager")).data["signIn"]
    client = Client(world.http, payload["accessToken"])

    signed_out = await mutate(client, "signOut", {})

    assert signed_out.data["signOut"]["errors"] == []
    assert (await client.run(ME)).codes == ["UNAUTHENTICATED"] * 2
    again = await world.anonymous.run(REFRESH, {"input": {"refreshToken": payload["refreshToken"]}})
    assert again.codes == ["UNAUTHENTICATED"]


async def test_a_blocked_devices_next_call_is_refused_and_says_so(world: World) -> None:
    stage = await prepare(world)
    admin = await world.client("admin")
    phone, person = await enrolled(world, stage.device), "member"
    signed_in = (await phone.sign_in(world, person)).data["signIn"]
    client = Client(world.http, signed_in["accessToken"])
    assert (await client.run(ME)).data["viewer"] == {"role": "MEMBER"}
    given = {"id": stage.device, "expectedVersion": 2, "reason": "Left on the bus."}
    blocking = await mutate(admin, "blockDevice", given)
    since = await world.now()

    answer = await client.run(ME)

    assert blocking.data["blockDevice"]["errors"] == []
    assert answer.codes == ["UNAUTHENTICATED"] * 2
    assert "device is blocked" in answer.errors[0]["message"]
    assert {one["extensions"]["detail"] for one in answer.errors} == {"DEVICE_BLOCKED"}
    entries = await world.entries(since=since)
    assert [(one["action"], one["outcome"]) for one in entries] == [("session.authenticate", "DENIED")]
    for refused in (await phone.sign_in(world, person), await phone.refresh(world, signed_in["refreshToken"])):
        assert [one["extensions"] for one in refused.errors] == [
            {"code": "UNAUTHENTICATED", "detail": "DEVICE_BLOCKED"}
        ]
        assert "device is blocked" in refused.errors[0]["message"]
    assert (await world.sign_in(person)).data["signIn"]["errors"] == []


async def test_somebody_elses_device_is_no_device_of_mine(world: World) -> None:
    stage = await prepare(world)
    phone = await enrolled(world, stage.device)
    since, before = await world.now(), await world.fingerprint()

    answer = await phone.sign_in(world, "viewer")

    assert answer.codes == ["UNAUTHENTICATED"]
    assert await world.fingerprint() == before
    entries = await world.entries(since=since)
    assert [(one["action"], one["outcome"], one["error_code"]) for one in entries] == [
        ("session.sign_in", "DENIED", "UNAUTHENTICATED")
    ]


@pytest.mark.parametrize(
    "statement",
    [
        "update membership set status = 'SUSPENDED' where id = $1",
        "update user_account set status = 'SUSPENDED' where id = (select user_id from membership where id = $1)",
        "update organization set status = 'SUSPENDED'"
        " where id = (select organization_id from membership where id = $1)",
        "update session set revoked_at = now() where membership_id = $1",
        "update session set expires_at = now() where membership_id = $1",
    ],
)
async def test_who_is_not_let_in_any_more_is_refused_at_the_next_request(world: World, statement: str) -> None:
    client = await world.client("manager")
    member = await world.member_id("manager")
    for table in ("membership", "user_account", "organization", "session"):
        await world.sql(f"alter table {table} disable trigger all")
    await world.sql(statement, member)

    answer = await client.run(ME)

    assert answer.codes == ["UNAUTHENTICATED"] * 2
    assert answer.body["data"] == {"viewer": None, "projects": None}


async def test_a_role_taken_away_counts_at_the_next_request(world: World) -> None:
    client, manager = await world.client("viewer"), await world.client("manager")
    given = {
        "userId": f"User:{await world.member_id('viewer')}",
        "projectId": f"Project:{await world.project_id('CANAL')}",
        "reason": "Left the project.",
    }
    assert (await client.run(ME)).data["projects"]["nodes"]

    removed = await mutate(manager, "removeProjectRole", given)

    assert removed.data["removeProjectRole"]["errors"] == []
    assert (await client.run(ME)).data["projects"]["nodes"] == []


async def test_who_is_not_signed_in_sees_sign_in_alone(world: World) -> None:
    answer = await world.anonymous.run("{ __schema { mutationType { fields { name } } } }")
    assert {one["name"] for one in answer.data["__schema"]["mutationType"]["fields"]} == OPEN_TO_ALL
    assert (await world.anonymous.run('{ __type(name: "Record") { name } }')).data == {"__type": None}
    assert (await world.anonymous.run("{ viewer { role } }")).data == {"viewer": None}
    for root in (
        "organization { name }",
        "projects { nodes { id } }",
        "records { nodes { id } }",
        "users { nodes { id } }",
    ):
        answer = await world.anonymous.run(f"{{ {root} }}")
        assert answer.codes == ["UNAUTHENTICATED"]


async def _with_token(world: World, token: str) -> Any:
    return await Client(world.http, token).run(ME)


def _signed(key: SigningKey, said: dict[str, Any]) -> str:
    claims = AccessClaims(user_id=said["sub"], session_id=said["sid"], organization_id=said["org"])
    now = datetime.fromtimestamp(said["iat"], UTC)
    return issue_access_token(
        key, claims, now=now, issuer=said["iss"], audience=said["aud"], lifetime_s=said["exp"] - said["iat"]
    )


async def test_a_flood_of_refusals_is_counted_and_does_not_fill_the_trail(world: World) -> None:
    since = await world.now()

    answers = [await world.anonymous.run("mutation { signOut { errors { code } } }") for _ in range(40)]

    assert all(answer.codes == ["UNAUTHENTICATED"] for answer in answers)
    assert len(await world.entries(since=since)) == WRITTEN_EACH


async def test_a_hash_of_another_cost_is_made_anew_at_the_next_sign_in_and_ends_nothing(world: World) -> None:
    client, user_id = await world.client("manager"), await _user_id(world, "manager")
    old = Passwords(Parameters(memory_kib=16, time_cost=2, parallelism=1)).hash(world.password("manager"))
    await world.sql("alter table user_account disable trigger user")
    await world.sql("update user_account set password_hash = $1 where id = $2", old, user_id)
    await world.sql("alter table user_account enable always trigger change_update")

    assert (await world.sign_in("manager", password="not the password at all")).codes == ["UNAUTHENTICATED"]
    unchanged = await world.value("select password_hash from user_account where id = $1", user_id)
    assert (await world.sign_in("manager")).data["signIn"]["errors"] == []

    [row] = await world.sql("select * from user_account where id = $1", user_id)
    assert unchanged == old
    assert row["password_hash"].startswith("$argon2id$v=19$m=8,t=1,p=1$")
    assert row["password_changed_at"] is None
    assert (await client.run(ME)).data["viewer"]["role"] == "MEMBER"
    assert (await world.sign_in("manager")).data["signIn"]["errors"] == []


async def _user_id(world: World, key: str) -> Any:
    return await world.value("select user_id from membership where id = $1", await world.member_id(key))
