"""A program may do what its creator may do now, within its token's scope, and for as long as that is good."""

from typing import Any

import pytest

from auth.opaque_token import ServiceToken
from auth.permission import Permission as P
from models.base import new_id
from models.membership import MembershipStatus
from resolvers.account import member_viewer, set_member_status
from resolvers.trail import Actor
from tests.support.access import (
    REASON,
    behind_the_triggers,
    codes,
    content,
    give_in_organization,
    give_in_project,
    in_organization,
    in_project,
    later,
    make_program,
    names,
    permissions_of,
    person_with,
    program_input,
    put_into_the_past,
    refusals,
)
from tests.support.mutation import mutate
from tests.support.world import Client, World

LOOKS = frozenset({P.PROJECT_READ, P.RECORD_READ})
BRINGS = LOOKS | {P.RECORD_CREATE}
MAKES = {P.SERVICE_ACCOUNT_READ, P.SERVICE_ACCOUNT_CREATE}
RECORD = {"siteCode": "W-1", "collectedAt": "2026-01-02T03:04:05Z", "medium": "WATER"}
SEEN = "{ projects { nodes { code } } records(first: 500) { nodes { siteCode } } }"
ALIVE = "{ viewer { permissions } projects { nodes { code } } }"


async def _is_refused(client: Client) -> bool:
    answer = await client.run(ALIVE)
    if not answer.errors:
        return False
    assert answer.codes == ["UNAUTHENTICATED"] * 2
    assert answer.body["data"] == {"viewer": None, "projects": None}
    return True


# ------------------------------------------------------------------ its scope


async def test_a_program_has_its_scope_and_nothing_else(world: World) -> None:
    project = await world.project_id("CANAL")
    program = await make_program(world, LOOKS, ["CANAL"])
    records = "records(first: 500) { nodes { siteCode comment collector } totalCount }"

    answer = await program.client.run(
        f"{{ projects {{ nodes {{ code }} }} {records} users {{ nodes {{ id }} }} devices {{ nodes {{ id }} }}"
        " auditEntries { nodes { id } } serviceAccounts { nodes { id } } }"
    )

    data = answer.body["data"]
    assert answer.codes == ["FORBIDDEN"]
    assert answer.errors[0]["path"][-1] == "comment"
    assert answer.errors[0]["extensions"]["permission"] == "record:read_confidential"
    assert [node["code"] for node in data["projects"]["nodes"]] == ["CANAL"]
    assert data["records"]["totalCount"] == await world.value(
        "select count(*) from record where project_id = $1", project
    )
    assert all(node["comment"] is None for node in data["records"]["nodes"])
    assert all((node["collector"] or "person-").startswith("person-") for node in data["records"]["nodes"])
    for nothing in ("users", "devices", "auditEntries", "serviceAccounts"):
        assert data[nothing]["nodes"] == []
    assert await permissions_of(program.client, project) == set(names(LOOKS))
    assert await permissions_of(program.client, await world.project_id("PARKS")) == set()
    assert await permissions_of(program.client) == set()


async def test_rows_of_other_projects_are_for_a_program_what_never_was(world: World) -> None:
    program = await make_program(world, LOOKS, ["CANAL"])
    parks = await world.project_id("PARKS")
    record = await world.value("select id from record where project_id = $1 limit 1", parks)
    query = (
        "query($p: ID!, $r: ID!, $pn: ID!, $rn: ID!) { project(id: $p) { code } record(id: $r) { siteCode }"
        " a: node(id: $pn) { id } b: node(id: $rn) { id }"
        " records(filter: {projectId: {eq: $p}}) { totalCount } recordGroups(filter: {projectId: {eq: $p}}) { count } }"
    )

    answers = [
        (await program.client.run(query, {"p": str(p), "r": str(r), "pn": f"Project:{p}", "rn": f"Record:{r}"})).data
        for p, r in ((parks, record), (new_id(), new_id()))
    ]

    assert answers[0] == answers[1]
    assert (answers[0]["project"], answers[0]["record"], answers[0]["a"], answers[0]["b"]) == (None, None, None, None)


async def test_a_program_that_names_no_projects_sees_what_its_creator_sees(world: World) -> None:
    program = await make_program(world, LOOKS)
    owner = await world.client("owner")

    assert (await program.client.run(SEEN)).data == (await owner.run(SEEN)).data

    created = await mutate(owner, "createProject", {"code": "NEW", "name": "New"})
    assert created.data["createProject"]["errors"] == []
    codes_seen = [node["code"] for node in (await program.client.run(SEEN)).data["projects"]["nodes"]]
    assert sorted(codes_seen) == ["CANAL", "NEW", "PARKS"]


async def test_a_program_of_no_projects_at_all_is_not_made(world: World) -> None:
    answer = await mutate(await world.client("admin"), "createServiceAccount", program_input(LOOKS, []))

    errors = answer.data["createServiceAccount"]["errors"]
    assert [(error["code"], error["field"]) for error in errors] == [("INVALID_INPUT", ["input", "projectIds"])]


async def test_a_program_reads_what_it_was_given_to_read(world: World) -> None:
    program = await make_program(world, LOOKS | {P.RECORD_READ_CONFIDENTIAL, P.RECORD_READ_PERSONAL}, ["CANAL"])
    since = await world.now()

    answer = await program.client.run("{ records(first: 500) { nodes { id comment collector } } }")

    shown = answer.data["records"]["nodes"]
    assert any(node["comment"] for node in shown)
    assert any(node["collector"] and not node["collector"].startswith("person-") for node in shown)
    # Who saw it is in the trail, as the program that it was.
    entries = await world.entries(since=since, kinds=["READ"])
    by_field = {entry["field"]: entry for entry in entries}
    assert set(by_field) == {"comment", "collector"}
    for field, entry in by_field.items():
        assert f"ServiceAccount:{entry['service_account_id']}" == program.id
        assert (entry["user_id"], entry["membership_id"], entry["session_id"]) == (None, None, None)
        assert set(map(str, entry["entity_ids"])) == {
            node["id"].removeprefix("Record:") for node in shown if node[field] is not None
        }
    auditor = await world.client("auditor")
    trail = await auditor.run(
        "{ auditEntries(filter: {kind: {eq: READ}}) {"
        " nodes { action field user { name } serviceAccount { id name } } } }"
    )
    named = {"action": "field.read", "user": None, "serviceAccount": {"id": program.id, "name": "Pull"}}
    by_program = [node for node in trail.data["auditEntries"]["nodes"] if node["serviceAccount"]]
    assert sorted(by_program, key=lambda one: one["field"]) == [
        {**named, "field": field} for field in ("collector", "comment")
    ]


async def test_a_program_is_a_viewer_without_a_person(world: World) -> None:
    program = await make_program(world, {*LOOKS, P.SERVICE_ACCOUNT_READ})
    query = (
        "{ viewer { user { id } serviceAccount { id name permissions projectIds } role customRole { id }"
        " projectRoles { role } organization { slug } permissions can(permission: RECORD_CREATE) } }"
    )

    assert (await program.client.run(query)).data["viewer"] == {
        "user": None,
        "serviceAccount": {
            "id": program.id,
            "name": "Pull",
            "permissions": names({*LOOKS, P.SERVICE_ACCOUNT_READ}),
            "projectIds": None,
        },
        "role": None,
        "customRole": None,
        "projectRoles": [],
        "organization": None,
        "permissions": names({*LOOKS, P.SERVICE_ACCOUNT_READ}),
        "can": False,
    }


# ------------------------------------------------------------------ its creator


async def test_a_program_follows_its_creator_down(world: World) -> None:
    await give_in_organization(world, "member", role="ADMIN")
    program = await make_program(world, BRINGS, by="member")
    assert len((await program.client.run(SEEN)).data["projects"]["nodes"]) == 2

    assert (
        await codes(await world.client("owner"), "removeOrganizationRole", await in_organization(world, "member")) == []
    )

    assert (await program.client.run(SEEN)).data == {"projects": {"nodes": []}, "records": {"nodes": []}}
    assert await permissions_of(program.client, await world.project_id("CANAL")) == set()
    given = {"projectId": str(await world.project_id("CANAL")), **RECORD}
    assert await codes(program.client, "createRecord", given) == ["NOT_FOUND"]


@pytest.mark.parametrize("is_over", [False, True])
async def test_a_program_follows_its_creator_out_of_a_project(world: World, is_over: bool) -> None:
    await person_with(world, "member", MAKES, level="ORGANIZATION")
    await give_in_project(world, "member", role="COLLECTOR", expiresAt=later(days=1))
    await give_in_project(world, "member", code="PARKS", role="VIEWER")
    program = await make_program(world, BRINGS, ["CANAL"], by="member")
    given = {"projectId": str(await world.project_id("CANAL")), **RECORD}
    assert await codes(program.client, "createRecord", given) == []

    if is_over:
        await put_into_the_past(world, "project_membership", "expires_at", "expires_at is not null")
    else:
        assert await codes(await world.client("manager"), "removeProjectRole", await in_project(world, "member")) == []

    assert (await program.client.run(SEEN)).data == {"projects": {"nodes": []}, "records": {"nodes": []}}
    assert await codes(program.client, "createRecord", given) == ["NOT_FOUND"]


async def test_a_program_has_no_more_than_its_creator_has_there(world: World) -> None:
    await person_with(world, "member", MAKES, level="ORGANIZATION")
    await give_in_project(world, "member", role="VIEWER")
    client = await world.client("member")
    here = [f"Project:{await world.project_id('CANAL')}"]
    before = await content(world)

    refused = [
        await refusals(client, "createServiceAccount", program_input(BRINGS, here)),
        await refusals(client, "createServiceAccount", program_input(LOOKS)),
    ]
    foreign = [
        await refusals(client, "createServiceAccount", program_input(LOOKS, [*here, f"Project:{one}"]))
        for one in (await world.project_id("PARKS"), await world.project_id("LAKES"), new_id())
    ]

    assert [[(e["code"], e["field"], e["permission"]) for e in errors] for errors in refused] == [
        [("FORBIDDEN", ["input", "permissions"], "record:create")],
        [("FORBIDDEN", ["input", "permissions"], "project:read")],
    ]
    assert [[(e["code"], e["field"]) for e in errors] for errors in foreign] == [
        [("NOT_FOUND", ["input", "projectIds", "1"])]
    ] * 3
    assert foreign[0] == foreign[1] == foreign[2]
    assert await content(world) == before


async def test_the_owners_project_ids_are_of_their_own_tenant(world: World) -> None:
    owner = await world.client("owner")
    given = program_input(LOOKS, [f"Project:{await world.project_id('LAKES')}"])

    errors = await refusals(owner, "createServiceAccount", given)

    assert [(error["code"], error["field"]) for error in errors] == [("NOT_FOUND", ["input", "projectIds", "0"])]


async def test_a_program_of_a_suspended_creator_is_refused_and_comes_back_with_them(world: World) -> None:
    program = await make_program(world, LOOKS, by="admin")
    operator = await member_viewer("clearwater", email="owner@clearwater.example")
    context = await world.inside("owner", "{ viewer { role } }")
    actor = Actor(operator.organization_id, context.actor.origin, operator)
    admin = await world.member_id("admin")

    for status, refused in ((MembershipStatus.SUSPENDED, True), (MembershipStatus.ACTIVE, False)):
        await set_member_status(
            actor, organization_id=operator.organization_id, membership_id=admin, status=status, reason="Left."
        )
        assert await _is_refused(program.client) is refused


# ------------------------------------------------------------------ its end


async def test_a_revoked_program_is_refused_at_the_next_request_and_that_is_in_the_trail(world: World) -> None:
    program = await make_program(world, LOOKS)
    admin = await world.client("admin")
    assert not await _is_refused(program.client)
    given = {"id": program.id, "expectedVersion": 1}

    shown = "serviceAccount { revokedAt revokedBy { name } version }"
    answer = await mutate(admin, "revokeServiceAccount", {**given, "reason": REASON}, shown)

    account = answer.data["revokeServiceAccount"]["serviceAccount"]
    assert account["revokedAt"] is not None
    assert (account["revokedBy"], account["version"]) == ({"name": "Adam Adler"}, 2)
    since = await world.now()
    assert await _is_refused(program.client)
    assert await codes_of(program.client, "createRecord") == ["UNAUTHENTICATED"]
    entries = await world.entries(since=since)
    assert [(one["action"], one["outcome"], one["error_code"]) for one in entries][:2] == [
        ("service_account.authenticate", "DENIED", "UNAUTHENTICATED")
    ] * 2
    assert [str(one) for one in entries[0]["entity_ids"]] == [program.id.removeprefix("ServiceAccount:")]
    assert entries[0]["organization_id"] == await world.organization_id("clearwater")
    again = await refusals(admin, "revokeServiceAccount", {**given, "expectedVersion": 2})
    assert [(error["code"], error["field"]) for error in again] == [("CONFLICT", ["input", "id"])]


async def codes_of(client: Client, name: str) -> list[str]:
    """Return the codes of a mutation that is refused as a whole."""
    given: dict[str, Any] = {"projectId": str(new_id()), **RECORD}
    return (await mutate(client, name, given)).codes


@pytest.mark.parametrize("what", ["expiry", "secret", "organization", "person"])
async def test_a_program_is_refused_once_anything_that_it_hangs_on_is_not_good(world: World, what: str) -> None:
    program = await make_program(world, LOOKS)
    token = program.token
    assert not await _is_refused(program.client)
    if what == "expiry":
        await put_into_the_past(world, "service_account", "expires_at", "name = 'Pull'")
    elif what == "secret":
        known = ServiceToken.parse(token)
        token = ServiceToken.new(known.organization_id, known.token_id).encode()
    elif what == "organization":
        await behind_the_triggers(world, "organization", "status = 'SUSPENDED'", "slug = 'clearwater'")
    else:
        account = "id = (select user_id from membership where role = 'OWNER' and organization_id = $1)"
        tenant = await world.organization_id("clearwater")
        await behind_the_triggers(world, "user_account", "status = 'SUSPENDED'", account, tenant)
    since = await world.now()

    assert await _is_refused(Client(world.http, token))

    entries = await world.entries(since=since)
    assert [(one["action"], one["outcome"]) for one in entries] == [("service_account.authenticate", "DENIED")]
    assert [f"ServiceAccount:{one}" for one in entries[0]["entity_ids"]] == [program.id]


@pytest.mark.parametrize("who", ["auditor", "manager", "member", "other-owner"])
async def test_who_may_not_end_a_program_does_not(world: World, who: str) -> None:
    program = await make_program(world, LOOKS)
    expected = "FORBIDDEN" if who == "auditor" else "NOT_FOUND"

    given = {"id": program.id, "expectedVersion": 1}
    assert await codes(await world.client(who), "revokeServiceAccount", given) == [expected]
    assert not await _is_refused(program.client)
