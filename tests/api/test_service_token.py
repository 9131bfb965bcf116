"""A program's token is shown once, kept nowhere, and made within what its maker may do."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from auth.opaque_token import ServiceToken
from auth.permission import Permission as P
from auth.role import SERVICE_ACCOUNT_LEVEL
from models.base import new_id
from tests.support.access import (
    codes,
    content,
    make_program,
    program_input,
    refusals,
)
from tests.support.mutation import mutate
from tests.support.world import Client, World

LOOKS = frozenset({P.PROJECT_READ, P.RECORD_READ})
BRINGS = LOOKS | {P.RECORD_CREATE}
RECORD = {"siteCode": "W-1", "collectedAt": "2026-01-02T03:04:05Z", "medium": "WATER"}
ALIVE = "{ viewer { permissions } projects { nodes { code } } }"


async def _is_refused(client: Client) -> bool:
    answer = await client.run(ALIVE)
    if not answer.errors:
        return False
    assert answer.codes == ["UNAUTHENTICATED"] * 2
    assert answer.body["data"] == {"viewer": None, "projects": None}
    return True


async def test_a_token_with_one_character_changed_is_refused_without_a_look_up(world: World) -> None:
    program = await make_program(world, LOOKS)
    assert re.fullmatch("fws_[A-Za-z0-9_-]{92}", program.token)
    await world.sql("alter table service_account rename to service_account_away")

    for index in (4, 20, 40, 60, 80, 95):
        token = program.token
        changed = token[:index] + ("A" if token[index] != "A" else "B") + token[index + 1 :]
        answer = await Client(world.http, changed).run(ALIVE)
        # Had it been looked up, the missing table would have made it another error.
        assert answer.codes == ["UNAUTHENTICATED"] * 2
    assert (await program.client.run(ALIVE)).codes != ["UNAUTHENTICATED"] * 2


@pytest.mark.parametrize("text", ["fws_", "fws_A", "fws_" + "A" * 92, "FWS_" + "A" * 92, "fws_" + "é" * 92])
async def test_what_is_no_token_gets_nothing_and_leaves_nothing(world: World, text: str) -> None:
    since = await world.now()
    response = await world.http.post(
        "/graphql",
        json={"query": ALIVE},
        headers={b"authorization": b"Bearer " + text.encode()},
    )

    assert [error["extensions"]["code"] for error in response.json()["errors"]] == ["UNAUTHENTICATED"] * 2
    assert await world.entries(since=since) == []


async def test_a_token_of_an_account_that_never_was_leaves_nothing_in_anybodys_trail(world: World) -> None:
    since = await world.now()
    clearwater, suncoast = [await world.organization_id(slug) for slug in ("clearwater", "suncoast")]
    known = ServiceToken.parse((await make_program(world, LOOKS)).token)
    strangers = [
        ServiceToken.new(clearwater, new_id()),
        ServiceToken.new(new_id(), new_id()),
        ServiceToken.new(suncoast, known.token_id),
        ServiceToken(suncoast, known.token_id, known.secret),
    ]

    for token in strangers:
        assert await _is_refused(Client(world.http, token.encode()))

    assert [one["action"] for one in await world.entries(since=since, kinds=["ATTEMPT"])] == []


async def test_a_token_is_in_no_table_no_log_and_no_answer_but_its_first(
    world: World, capfd: pytest.CaptureFixture[str]
) -> None:
    program = await make_program(world, LOOKS)
    await program.client.run(ALIVE)
    admin = await world.client("admin")
    assert await codes(admin, "revokeServiceAccount", {"id": program.id, "expectedVersion": 1}) == []
    await program.client.run(ALIVE)
    owner = await world.client("owner")
    shown = await owner.run(
        "{ serviceAccounts { nodes { id name permissions projectIds expiresAt createdBy { name } } }"
        " auditEntries(first: 50) { nodes { action changes { columns { column before after } } } } }"
    )

    secret = ServiceToken.parse(program.token).secret
    forms = [program.token, program.token[4:], program.token[48:88], secret.hex()]
    dumps = [shown.text, *capfd.readouterr()]
    dumps += [
        await world.value(f"select coalesce(string_agg(t::text, ''), '') from {table['tablename']} t")
        for table in await world.sql("select tablename from pg_tables where schemaname = 'public'")
    ]
    for dump in dumps:
        assert not [form for form in forms if form in dump]
    digest = ServiceToken.parse(program.token).digest().hex()
    assert not [dump for dump in dumps[:3] if digest in dump]
    changed = await world.value("select string_agg(columns::text, '') from change where entity = 'service_account'")
    assert digest not in changed


async def test_a_token_sent_as_a_refresh_token_or_the_other_way_round_is_none(world: World) -> None:
    program = await make_program(world, LOOKS)
    payload = (await world.sign_in("manager")).data["signIn"]
    refresh = "mutation($input: RefreshSessionInput!) { refreshSession(input: $input) { accessToken } }"

    for client in (world.anonymous, program.client):
        answer = await client.run(refresh, {"input": {"refreshToken": program.token}})
        assert answer.codes == ["UNAUTHENTICATED"]
    assert (await Client(world.http, payload["refreshToken"]).run(ALIVE)).codes == ["UNAUTHENTICATED"] * 2
    swapped = "fws_" + payload["refreshToken"].removeprefix("fwr_")
    assert (await Client(world.http, swapped).run(ALIVE)).codes == ["UNAUTHENTICATED"] * 2


async def test_a_program_refreshes_somebodys_session_in_their_name_alone(world: World) -> None:
    program = await make_program(world, LOOKS)
    payload = (await world.sign_in("manager")).data["signIn"]
    refresh = "mutation($input: RefreshSessionInput!) { refreshSession(input: $input) { accessToken } }"
    since = await world.now()

    answer = await program.client.run(refresh, {"input": {"refreshToken": payload["refreshToken"]}})

    assert answer.data["refreshSession"]["accessToken"]
    entry = (await world.entries(since=since))[0]
    assert (entry["membership_id"], entry["service_account_id"]) == (await world.member_id("manager"), None)


async def test_a_program_that_signs_out_ends_nobodys_session(world: World) -> None:
    program = await make_program(world, LOOKS)
    owner = await world.client("owner")
    sessions = "select count(*) from session where revoked_at is not null"
    before = await world.value(sessions)

    answer = await program.client.run("mutation { signOut { errors { code } } }")

    assert answer.data["signOut"]["errors"] == [{"code": "FORBIDDEN"}]

    assert await world.value(sessions) == before
    assert not await _is_refused(program.client)
    assert (await owner.run("{ viewer { role } }")).data == {"viewer": {"role": "OWNER"}}


# ------------------------------------------------------------------ how it is made


WRONG: dict[str, tuple[dict[str, Any], list[str]]] = {
    "a blank name": ({"name": " "}, ["name"]),
    "a name too long": ({"name": "x" * 101}, ["name"]),
    "no permission": ({"permissions": []}, ["permissions"]),
    "an unknown permission": ({"permissions": ["SUDO"]}, ["permissions", "0"]),
    "an end that is over": ({"expiresAt": "2020-01-01T00:00:00Z"}, ["expiresAt"]),
    "no end": ({"expiresAt": None}, ["expiresAt"]),
    "an end without an offset": ({"expiresAt": "2027-01-01T00:00:00"}, ["expiresAt"]),
    "an end at the end of time": ({"expiresAt": "9999-12-31T23:59:59-12:00"}, ["expiresAt"]),
    "no id of a project": ({"projectIds": ["nonsense"]}, ["projectIds", "0"]),
    "the id of something else": ({"projectIds": [f"Record:{new_id()}"]}, ["projectIds", "0"]),
    "too many projects": ({"projectIds": [f"Project:{new_id()}"] * 101}, ["projectIds"]),
    "no reason": ({"reason": None}, ["reason"]),
}


@pytest.mark.parametrize("wrong", WRONG)
async def test_a_program_is_not_made_from_what_is_wrong(world: World, wrong: str) -> None:
    changed, path = WRONG[wrong]
    owner, before = await world.client("owner"), await content(world)

    answer = await mutate(owner, "createServiceAccount", {**program_input(LOOKS), **changed}, "token")

    payload = (answer.body.get("data") or {}).get("createServiceAccount") or {"errors": [], "token": None}
    refused = [(error["extensions"]["code"], error["extensions"].get("field")) for error in answer.errors]
    refused += [(error["code"], error["field"]) for error in payload["errors"]]
    assert refused == [("INVALID_INPUT", ["input", *path])]
    assert payload["token"] is None
    assert await content(world) == before


async def test_a_program_lives_for_a_year_at_the_most(world: World) -> None:
    owner = await world.client("owner")
    for days, expected in ((365, []), (367, ["INVALID_INPUT"])):
        end = (datetime.now(UTC) + timedelta(days=days)).isoformat()
        assert await codes(owner, "createServiceAccount", {**program_input(LOOKS), "expiresAt": end}) == expected


@pytest.mark.parametrize("permission", sorted(frozenset(P) - SERVICE_ACCOUNT_LEVEL))
async def test_what_is_peoples_business_is_not_for_programs(world: World, permission: P) -> None:
    owner, before = await world.client("owner"), await content(world)

    errors = await refusals(owner, "createServiceAccount", program_input({permission, *LOOKS}))

    assert [(error["code"], error["field"]) for error in errors] == [("INVALID_INPUT", ["input", "permissions"])]
    assert f"{permission} is not for programs" in errors[0]["message"]
    assert await content(world) == before


@pytest.mark.parametrize("who", ["auditor", "manager", "member"])
async def test_who_may_not_make_programs_makes_none(world: World, who: str) -> None:
    client, before = await world.client(who), await content(world)

    assert await codes(client, "createServiceAccount", program_input({P.ORGANIZATION_READ})) == ["FORBIDDEN"]
    assert await content(world) == before


async def test_an_admins_program_reads_no_addresses_of_the_trail(world: World) -> None:
    admin = await world.client("admin")
    for permission in (P.AUDIT_READ_PERSONAL, P.AUDIT_READ_CONFIDENTIAL):
        given = program_input({P.AUDIT_READ, permission})
        assert await codes(admin, "createServiceAccount", given) == ["FORBIDDEN"]

    program = await make_program(world, {P.AUDIT_READ, P.AUDIT_READ_PERSONAL})
    query = "{ auditEntries(first: 5) { nodes { action ipAddress } } }"
    assert any(node["ipAddress"] for node in (await program.client.run(query)).data["auditEntries"]["nodes"])
