"""Two live tokens of a program, from where they may come, when they were used, and that somebody is told in time."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest

from auth.opaque_token import ServiceToken
from auth.permission import Permission as P
from auth.principal import Channel, Origin
from fieldward.database import Databases
from fieldward.web.app import build_app
from models.base import new_id
from resolvers.program import authenticate_service_account
from resolvers.token_expiry import warn_of_expiry
from tests.conftest import Template
from tests.support.access import (
    REASON,
    Program,
    behind_the_triggers,
    codes,
    content,
    in_organization,
    later,
    make_program,
    person_with,
    program_input,
    refusals,
)
from tests.support.mutation import mutate
from tests.support.world import Client, World

LOOKS = frozenset({P.PROJECT_READ, P.RECORD_READ})
ALIVE = "{ viewer { permissions } projects { nodes { code } } }"
TOKENS = (
    "{ serviceAccounts { nodes { id networks tokens {"
    " id hint expiresAt revokedAt expiresSoon lastUse { usedAt usedFrom } createdBy { name } revokedBy { name } } } } }"
)


async def issue(
    world: World, program: Program, *, by: str = "owner", **more: Any
) -> tuple[str, Client, dict[str, Any]]:
    """Issue a token and return its text, a client that has it, and what is shown of it."""
    given = {"id": program.id, "expiresAt": later(days=20), "reason": REASON, **more}
    answer = await mutate(
        await world.client(by), "issueServiceAccountToken", given, "token serviceAccountToken { id hint expiresAt }"
    )
    payload = answer.data["issueServiceAccountToken"]
    assert payload["errors"] == []
    return payload["token"], Client(world.http, payload["token"]), payload["serviceAccountToken"]


async def tokens_of(world: World, program: Program) -> list[dict[str, Any]]:
    """Return what an admin sees of the program's tokens, the newest first."""
    nodes = (await (await world.client("admin")).run(TOKENS)).data["serviceAccounts"]["nodes"]
    found: list[dict[str, Any]] = next(node for node in nodes if node["id"] == program.id)["tokens"]
    return found


async def is_refused(client: Client) -> bool:
    """Return whether nothing at all is answered."""
    answer = await client.run(ALIVE)
    if not answer.errors:
        return False
    assert answer.codes == ["UNAUTHENTICATED"] * 2
    assert answer.body["data"] == {"viewer": None, "projects": None}
    return True


async def test_a_program_goes_over_to_a_second_token_without_a_pause(world: World) -> None:
    program = await make_program(world, LOOKS)
    text, second, shown = await issue(world, program)

    assert text != program.token
    assert (await second.run(ALIVE)).data == (await program.client.run(ALIVE)).data
    assert text.endswith(shown["hint"])
    newest, first = await tokens_of(world, program)
    assert (newest["id"], newest["hint"]) == (shown["id"], shown["hint"])
    assert program.token.endswith(first["hint"])

    given = {"id": first["id"], "reason": REASON}
    answer = await mutate(
        await world.client("admin"), "revokeServiceAccountToken", given, "serviceAccountToken { revokedBy { name } }"
    )
    assert answer.data["revokeServiceAccountToken"]["serviceAccountToken"] == {"revokedBy": {"name": "Adam Adler"}}
    since = await world.now()
    assert await is_refused(program.client)
    assert not await is_refused(second)
    entries = await world.entries(since=since)
    assert [(one["action"], one["outcome"]) for one in entries] == [("service_account.authenticate", "DENIED")]
    again = await refusals(await world.client("admin"), "revokeServiceAccountToken", given)
    assert [(error["code"], error["field"]) for error in again] == [("CONFLICT", ["input", "id"])]
    # There is room for another one.
    await issue(world, program)


async def test_two_tokens_are_good_at_a_time_however_many_ask_at_once(world: World) -> None:
    program = await make_program(world, LOOKS)
    owner = await world.client("owner")
    given = {"id": program.id, "expiresAt": later(days=1)}

    answers = await asyncio.gather(*(codes(owner, "issueServiceAccountToken", given) for _ in range(6)))

    assert sorted(answers) == [[], *[["CONFLICT"]] * 5]
    assert len(await tokens_of(world, program)) == 2
    # One that is over makes room.
    await behind_the_triggers(
        world,
        "service_account_token",
        "expires_at = clock_timestamp() - interval '1 s'",
        "expires_at < now() + interval '2 d'",
    )
    assert await codes(owner, "issueServiceAccountToken", given) == []


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"expiresAt": later(days=31)}, ("INVALID_INPUT", ["input", "expiresAt"])),
        ({"expiresAt": "2020-01-01T00:00:00Z"}, ("INVALID_INPUT", ["input", "expiresAt"])),
        ({"id": f"ServiceAccount:{new_id()}"}, ("NOT_FOUND", ["input", "id"])),
        ({"reason": " "}, ("INVALID_INPUT", ["input", "reason"])),
    ],
)
async def test_a_token_is_not_made_from_what_is_wrong(
    world: World, given: dict[str, Any], expected: tuple[str, list[str]]
) -> None:
    program = await make_program(world, LOOKS)
    before = await content(world)

    errors = await refusals(
        await world.client("owner"),
        "issueServiceAccountToken",
        {"id": program.id, "expiresAt": later(days=1), "reason": REASON, **given},
    )

    assert [(error["code"], error["field"]) for error in errors] == [expected]
    assert await content(world) == before


async def test_an_account_that_has_ended_gets_no_token(world: World) -> None:
    program = await make_program(world, LOOKS)
    owner = await world.client("owner")
    assert await codes(owner, "revokeServiceAccount", {"id": program.id, "expectedVersion": 1}) == []

    assert await codes(owner, "issueServiceAccountToken", {"id": program.id, "expiresAt": later(days=1)}) == [
        "CONFLICT"
    ]


async def test_nobody_gets_a_token_for_more_than_they_may_do(world: World) -> None:
    of_owner = await make_program(world, {P.AUDIT_READ, P.AUDIT_READ_PERSONAL})
    of_all = await make_program(world, LOOKS)
    await person_with(world, "member", {P.SERVICE_ACCOUNT_READ, P.SERVICE_ACCOUNT_CREATE}, level="ORGANIZATION")
    before = await content(world)

    errors = await refusals(
        await world.client("admin"), "issueServiceAccountToken", {"id": of_owner.id, "expiresAt": later(days=1)}
    )
    assert [(error["code"], error["permission"]) for error in errors] == [("FORBIDDEN", "audit:read_personal")]
    given = {"id": of_all.id, "expiresAt": later(days=1)}
    assert await codes(await world.client("member"), "issueServiceAccountToken", given) == ["FORBIDDEN"]
    for who, expected in (("auditor", "FORBIDDEN"), ("manager", "NOT_FOUND"), ("other-owner", "NOT_FOUND")):
        assert await codes(await world.client(who), "issueServiceAccountToken", given) == [expected]
        (token,) = await tokens_of(world, of_all)
        assert await codes(await world.client(who), "revokeServiceAccountToken", {"id": token["id"]}) == [expected]
    assert await content(world) == before


async def test_a_program_makes_and_ends_no_tokens(world: World) -> None:
    program = await make_program(world, {*LOOKS, P.SERVICE_ACCOUNT_READ})
    (token,) = await tokens_of(world, program)

    assert await codes(program.client, "issueServiceAccountToken", {"id": program.id, "expiresAt": later(days=1)}) == [
        "FORBIDDEN"
    ]
    assert await codes(program.client, "revokeServiceAccountToken", {"id": token["id"]}) == ["FORBIDDEN"]
    assert not await is_refused(program.client)


# ------------------------------------------------------------------ from where


async def test_networks_are_kept_in_one_spelling(world: World) -> None:
    given = {**program_input(LOOKS), "networks": ["2001:DB8::/32", "192.0.2.9", "192.0.2.9/32"]}

    answer = await mutate(await world.client("owner"), "createServiceAccount", given, "serviceAccount { networks }")

    assert answer.data["createServiceAccount"]["serviceAccount"]["networks"] == ["192.0.2.9/32", "2001:db8::/32"]


@pytest.mark.parametrize(
    ("networks", "path"),
    [
        ([], []),
        (["192.0.2.1/24"], ["0"]),
        (["192.0.2.0/24", "nonsense"], ["1"]),
        ([f"192.0.2.{n}" for n in range(21)], []),
    ],
)
async def test_what_is_no_network_makes_no_program(world: World, networks: list[str], path: list[str]) -> None:
    owner, before = await world.client("owner"), await content(world)

    errors = await refusals(owner, "createServiceAccount", {**program_input(LOOKS), "networks": networks})

    assert [(error["code"], error["field"]) for error in errors] == [("INVALID_INPUT", ["input", "networks", *path])]
    assert await content(world) == before


async def _from(world: World, template: Template, address: str, token: str) -> tuple[Any, Client]:
    reached = Databases({**world.service.dsn_parameters()}, {**world.keystore.dsn_parameters()})
    app = build_app(template.settings, reached, api=world.api)
    http = httpx.AsyncClient(transport=httpx.ASGITransport(app, client=(address, 1)), base_url="http://fieldward.test")
    return http, Client(http, token)


@pytest.mark.parametrize(
    ("address", "is_let_in"),
    [
        ("192.0.2.7", True),
        ("::ffff:192.0.2.7", True),
        ("2001:db8::5", True),
        ("198.51.100.7", False),
        ("2001:db9::5", False),
    ],
)
async def test_a_call_from_elsewhere_is_refused_and_the_trail_says_so(
    world: World, template: Template, address: str, is_let_in: bool
) -> None:
    given = {**program_input(LOOKS), "networks": ["192.0.2.0/24", "2001:db8::/32"]}
    made = await mutate(await world.client("owner"), "createServiceAccount", given, "token serviceAccount { id }")
    payload = made.data["createServiceAccount"]
    since, before = await world.now(), await content(world)

    http, client = await _from(world, template, address, payload["token"])
    async with http:
        # What a header says of the address is nobody's word.
        http.headers["x-forwarded-for"] = "192.0.2.7"
        http.headers["forwarded"] = "for=192.0.2.7"
        assert await is_refused(client) is not is_let_in

    entries = await world.entries(since=since)
    said = [(one["kind"], one["action"], one["outcome"], one["error_code"]) for one in entries]
    assert said == ([] if is_let_in else [("ATTEMPT", "service_account.authenticate", "DENIED", "FOREIGN_NETWORK")])
    assert all(f"ServiceAccount:{one['entity_ids'][0]}" == payload["serviceAccount"]["id"] for one in entries)
    assert await content(world) == before


# ------------------------------------------------------------------ last used


async def test_the_last_use_is_noted_with_its_address_and_told_afterwards(world: World) -> None:
    program = await make_program(world, LOOKS)
    (token,) = await tokens_of(world, program)
    assert token["lastUse"] is None
    organization, token_id = await world.organization_id("clearwater"), UUID(token["id"].partition(":")[2])
    uses, now = world.services.token_uses, datetime.now(UTC)

    # The newest counts, whoever writes last; what is no token is no use of one.
    for second in (2, 1):
        uses.note(organization, token_id, now + timedelta(seconds=second), f"192.0.2.{second}")
        uses.note(organization, new_id(), now, None)
        uses.note(await world.organization_id("suncoast"), token_id, now, "198.51.100.1")
        assert await uses.write() is False

    (token,) = await tokens_of(world, program)
    assert token["lastUse"]["usedFrom"] == "192.0.2.2"
    assert datetime.fromisoformat(token["lastUse"]["usedAt"]) == now + timedelta(seconds=2)
    assert len(await world.sql("select 1 from service_account_use")) == 1


async def test_a_use_is_noted_and_no_request_writes_it(world: World) -> None:
    program = await make_program(world, LOOKS)
    token = ServiceToken.parse(program.token)
    origin = Origin(channel=Channel.API, request_id=new_id(), ip_address="192.0.2.5")

    await authenticate_service_account(world.services, origin, token=token)

    assert await world.sql("select 1 from service_account_use") == []
    await world.services.token_uses.write()
    (noted,) = await world.sql("select id, used_from from service_account_use")
    assert tuple(noted) == (token.token_id, "192.0.2.5")


async def test_what_can_not_be_written_is_kept_and_the_newest_counts(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = await make_program(world, LOOKS)
    (token,) = await tokens_of(world, program)
    token_id = token["id"].removeprefix("ServiceAccountToken:")
    row = (await world.sql("select id, organization_id from service_account_token where id = $1::uuid", token_id))[0]
    uses, now = world.services.token_uses, datetime.now(UTC)
    uses.note(row["organization_id"], row["id"], now, "192.0.2.1")
    await world.sql("alter table service_account_use rename to away")
    with pytest.raises(Exception, match="service_account_use"):
        await uses.write()
    await world.sql("alter table away rename to service_account_use")

    await uses.write()

    (found,) = await world.sql("select * from service_account_use")
    assert (found["id"], found["used_at"], found["used_from"]) == (row["id"], now, "192.0.2.1")


# ------------------------------------------------------------------ told in time


async def _warned(world: World) -> list[Any]:
    await warn_of_expiry(await world.organization_id("clearwater"))
    return await world.sql("select * from outgoing_mail where kind = 'TOKEN_EXPIRES' order by created_at")


async def _move(world: World, days: float) -> None:
    """Let days pass for tokens and letters."""
    await behind_the_triggers(
        world,
        "service_account_token",
        f"expires_at = expires_at - interval '{days} d', created_at = created_at - interval '{days} d'",
        "true",
    )
    await world.sql(f"update outgoing_mail set created_at = created_at - interval '{days} d'")


async def test_its_maker_is_told_fourteen_days_before_a_token_expires_and_three_and_once_each(world: World) -> None:
    program = await make_program(world, LOOKS, by="admin")
    owned = f"service_account_id <> '{program.id.removeprefix('ServiceAccount:')}'"
    await behind_the_triggers(world, "service_account_token", "revoked_at = now()", owned)
    assert await _warned(world) == []
    assert (await tokens_of(world, program))[0]["expiresSoon"] is False

    await _move(world, 16.5)
    first = await _warned(world)
    assert await _warned(world) == first
    assert (await tokens_of(world, program))[0]["expiresSoon"] is True
    await _move(world, 5)
    assert len(await _warned(world)) == 1
    await _move(world, 6)
    await asyncio.gather(*(_warned(world) for _ in range(3)))
    both = await _warned(world)
    await _move(world, 2)
    assert len(await _warned(world)) == len(both) == 2
    token_id = (await tokens_of(world, program))[0]["id"].removeprefix("ServiceAccountToken:")
    admin = await world.value("select user_id from membership where id = $1", await world.member_id("admin"))
    assert [(str(one["about"]), one["user_id"], one["state"]) for one in both] == [(token_id, admin, "PENDING")] * 2


@pytest.mark.parametrize("what", ["token", "account", "maker"])
async def test_of_what_has_ended_nobody_is_warned(world: World, what: str) -> None:
    program = await make_program(world, LOOKS, by="admin")
    owned = f"service_account_id <> '{program.id.removeprefix('ServiceAccount:')}'"
    await behind_the_triggers(world, "service_account_token", "revoked_at = now()", owned)
    owner = await world.client("owner")
    if what == "token":
        (token,) = await tokens_of(world, program)
        assert await codes(owner, "revokeServiceAccountToken", {"id": token["id"]}) == []
    elif what == "account":
        assert await codes(owner, "revokeServiceAccount", {"id": program.id, "expectedVersion": 1}) == []
    else:
        member = (await in_organization(world, "admin"))["userId"].removeprefix("User:")
        await behind_the_triggers(world, "membership", "status = 'SUSPENDED'", f"id = '{member}'")

    await _move(world, 20)

    assert await _warned(world) == []
