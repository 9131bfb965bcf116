"""A program from its first token to its last, over HTTP in a server process."""

import asyncio
from typing import Any
from uuid import UUID

import httpx

from auth.opaque_token import ServiceToken
from auth.permission import Permission as P
from tests.support.access import REASON, Program, later, make_program, program_input
from tests.support.factor import done
from tests.support.flow import Flow, refused, said, until
from tests.support.mutation import mutate
from tests.support.world import Client, World

BRINGS = frozenset({P.PROJECT_READ, P.RECORD_READ, P.RECORD_CREATE})
PROJECTS = "{ projects { nodes { code } } }"
REFUSED = ["UNAUTHENTICATED"]
DENIED = ("service_account.authenticate", "UNAUTHENTICATED")
TOKENS = "query($id: ID!) { serviceAccount(id: $id) { tokens { id hint revokedAt lastUse { usedAt usedFrom } } } }"


def _token_id(token: str) -> str:
    return f"ServiceAccountToken:{ServiceToken.parse(token).token_id}"


async def _grant(world: World, program: Program, secret: str, **form: str) -> httpx.Response:
    identity = program.id.removeprefix("ServiceAccount:"), secret
    return await world.http.post("/oauth/token", data={"grant_type": "client_credentials", **form}, auth=identity)


async def test_a_program_goes_over_to_another_token_while_it_calls_without_a_pause(flow: Flow) -> None:
    world, owner = flow.world, await flow.world.client("owner")
    program = await make_program(world, BRINGS, ["CANAL"])
    given = {"id": program.id, "expiresAt": later(days=20), "reason": REASON}
    calling, answered = [program.token], 0
    is_over = asyncio.Event()

    async def call() -> None:
        nonlocal answered
        while not is_over.is_set():
            answer = await Client(world.http, calling[0]).run(PROJECTS)
            assert answer.data["projects"]["nodes"] == [{"code": "CANAL"}]
            answered += 1

    async with asyncio.TaskGroup() as group:
        group.create_task(call())
        second = (await done(owner, "issueServiceAccountToken", given, "token"))["token"]
        async with refused(world, ("service_account.issue_token", "CONFLICT"), outcome="FAILED"):
            assert said(await mutate(owner, "issueServiceAccountToken", given)) == ["CONFLICT"]
        calling[0] = second
        seen = answered

        async def has_gone_over() -> bool:
            return answered >= seen + 3

        await until(has_gone_over)
        await done(owner, "revokeServiceAccountToken", {"id": _token_id(program.token), "reason": REASON})
        is_over.set()

    async with refused(world, DENIED) as noted:
        answer = await program.client.run(PROJECTS)
        assert (said(answer), answer.body["data"]) == (REFUSED, {"projects": None})
    assert {f"ServiceAccount:{one['entity_ids'][0]}" for one in noted.entries} == {program.id}
    assert (await Client(world.http, second).run(PROJECTS)).data["projects"]["nodes"] == [{"code": "CANAL"}]


async def test_a_program_does_what_its_scope_names_and_nothing_beside(flow: Flow) -> None:
    world = flow.world
    program = await make_program(world, BRINGS, ["CANAL"])
    record = {"siteCode": "W-9", "collectedAt": "2026-01-02T03:04:05Z", "medium": "WATER"}
    canal, parks = [f"Project:{await world.project_id(code)}" for code in ("CANAL", "PARKS")]

    await done(program.client, "createRecord", {"projectId": canal, **record})
    async with refused(world, ("record.create", "NOT_FOUND")) as noted:
        assert said(await mutate(program.client, "createRecord", {"projectId": parks, **record})) == ["NOT_FOUND"]
    assert {f"ServiceAccount:{one['service_account_id']}" for one in noted.entries} == {program.id}
    longer = {"id": program.id, "expiresAt": later(days=1), "reason": REASON}
    for name, action, given, code in (
        ("createProject", "project.create", {"code": "NEW-1", "name": "New"}, "FORBIDDEN"),
        ("issueServiceAccountToken", "service_account.issue_token", longer, "NOT_FOUND"),
    ):
        async with refused(world, (action, code)):
            assert said(await mutate(program.client, name, given)) == [code]


async def test_a_call_from_another_network_is_refused_whatever_it_says_of_itself(flow: Flow) -> None:
    world, owner = flow.world, await flow.world.client("owner")
    given = {**program_input(BRINGS), "networks": ["192.0.2.0/24"]}
    made = await done(owner, "createServiceAccount", given, "token serviceAccount { id }")
    program = Program(made["serviceAccount"]["id"], made["token"], Client(world.http, made["token"]))

    async with refused(world, ("service_account.authenticate", "FOREIGN_NETWORK")) as noted:
        assert said(await program.client.run(PROJECTS)) == REFUSED
    assert {f"ServiceAccount:{one['entity_ids'][0]}" for one in noted.entries} == {program.id}
    async with refused(world, ("service_account.authenticate", "FOREIGN_NETWORK")):
        elsewhere = {"x-forwarded-for": "192.0.2.7", "forwarded": "for=192.0.2.7"}
        body = b'{"query": "{ projects { nodes { code } } }"}'
        assert said(await program.client.post(body, **elsewhere)) == REFUSED
    async with refused(world, ("service_account.authenticate", "FOREIGN_NETWORK")):
        answer = await _grant(world, program, program.token)
        assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")
    assert await world.sql("select 1 from service_account_use") == []


async def test_a_token_that_was_granted_is_good_until_what_it_was_had_by_is_revoked(flow: Flow) -> None:
    world, owner = flow.world, await flow.world.client("owner")
    program = await make_program(world, BRINGS, ["CANAL"])
    granted = (await _grant(world, program, program.token, scope="record:read project:read")).json()
    client = Client(world.http, granted["access_token"])
    assert (await client.run(PROJECTS)).data["projects"]["nodes"] == [{"code": "CANAL"}]
    assert (granted["token_type"], granted["expires_in"], granted["scope"]) == (
        "Bearer",
        300,
        "project:read record:read",
    )

    record = {"siteCode": "W-9", "collectedAt": "2026-01-02T03:04:05Z", "medium": "WATER"}
    given = {"projectId": f"Project:{await world.project_id('CANAL')}", **record}
    async with refused(world, ("record.create", "FORBIDDEN")):
        assert said(await mutate(client, "createRecord", given)) == ["FORBIDDEN"]
    wrong = ServiceToken.new(await world.organization_id("clearwater"), ServiceToken.parse(program.token).token_id)
    for secret, noted, code in (
        (wrong.encode(), DENIED, "invalid_client"),
        (program.token, ("service_account.authenticate", "FORBIDDEN"), "invalid_scope"),
    ):
        async with refused(world, noted):
            refusal = await _grant(world, program, secret, scope="audit:read")
            assert refusal.json()["error"] == code
            assert "access_token" not in refusal.text

    await done(owner, "revokeServiceAccountToken", {"id": _token_id(program.token), "reason": REASON})
    for ask in (client, program.client):
        async with refused(world, DENIED):
            assert said(await ask.run(PROJECTS)) == REFUSED
    async with refused(world, DENIED):
        assert (await _grant(world, program, program.token)).json()["error"] == "invalid_client"


async def test_when_a_token_was_last_used_and_from_where_is_shown_soon_after(flow: Flow) -> None:
    world, admin = flow.world, await flow.world.client("admin")
    program = await make_program(world, BRINGS)
    [unused] = await _tokens(admin, program)
    assert unused["lastUse"] is None
    since = await world.now()
    await program.client.run(PROJECTS)

    async def last_use() -> Any:
        return (await _tokens(admin, program))[0]["lastUse"]

    used = await until(last_use)

    assert used["usedFrom"] == "127.0.0.1"
    query = "select used_at >= $1 from service_account_use where id = $2"
    assert await world.value(query, since, UUID(unused["id"].partition(":")[2]))
    assert program.token.endswith(unused["hint"])


async def _tokens(client: Client, program: Program) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await client.run(TOKENS, {"id": program.id})).data["serviceAccount"]["tokens"]
    return found
