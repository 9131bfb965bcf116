"""Nobody climbs by a role of the organization's own, and nobody writes by it what they can't read."""

import asyncio
from typing import Any

import pytest

from auth.errors import ForbiddenError
from auth.permission import Permission as P
from auth.principal import Channel, Origin
from auth.role import PROJECT_LEVEL, PROJECT_ROLES, ProjectRole
from models.base import new_id
from models.membership import MembershipStatus
from resolvers.account import member_viewer, set_member_status
from resolvers.trail import Actor
from tests.support.access import (
    codes,
    content,
    define_role,
    give_in_project,
    in_organization,
    in_project,
    names,
    person_with,
    put_into_the_past,
    refusals,
    until_waiting,
)
from tests.support.world import World, connect

LOOKS = frozenset({P.PROJECT_READ, P.RECORD_READ})
BRINGS = LOOKS | {P.RECORD_CREATE}
RECORD = {"siteCode": "W-1", "collectedAt": "2026-01-02T03:04:05Z", "medium": "WATER"}


@pytest.mark.parametrize("beyond", [P.AUDIT_READ_PERSONAL, P.AUDIT_READ_CONFIDENTIAL])
async def test_nobody_defines_changes_or_deletes_a_role_above_their_own(world: World, beyond: P) -> None:
    owner, admin = await world.client("owner"), await world.client("admin")
    above = await define_role(owner, {P.AUDIT_READ, beyond}, level="ORGANIZATION", name="Above")
    below = await define_role(owner, {P.AUDIT_READ}, level="ORGANIZATION", name="Below")
    before = await content(world)
    more, less = names({P.AUDIT_READ, beyond}), names({P.AUDIT_READ})

    refused = [
        await refusals(admin, "createRole", {"name": "Mine", "level": "ORGANIZATION", "permissions": more}),
        await refusals(admin, "updateRole", {"id": below, "expectedVersion": 1, "permissions": more}),
        await refusals(admin, "updateRole", {"id": above, "expectedVersion": 1, "permissions": less}),
        await refusals(admin, "updateRole", {"id": above, "expectedVersion": 1, "name": "Renamed"}),
        await refusals(admin, "deleteRole", {"id": above, "expectedVersion": 1}),
        await refusals(admin, "assignOrganizationRole", await in_organization(world, "member", customRoleId=above)),
    ]

    at = ["input", "permissions"]
    paths = [at, at, at, at, ["input", "id"], ["input", "customRoleId"]]
    assert [[(error["code"], error["field"]) for error in errors] for errors in refused] == [
        [("FORBIDDEN", path)] for path in paths
    ]
    assert {error["permission"] for errors in refused for error in errors} == {str(beyond)}
    assert await content(world) == before


async def test_nobody_changes_a_role_that_they_hold(world: World) -> None:
    held = await person_with(world, "member", {P.ROLE_READ, P.ROLE_DEFINE, *LOOKS}, level="ORGANIZATION")
    client = await world.client("member")
    fewer = {"id": held, "expectedVersion": 1, "permissions": names({P.ROLE_READ, P.ROLE_DEFINE})}

    errors = await refusals(client, "updateRole", fewer)

    assert [(error["code"], error["field"]) for error in errors] == [("FORBIDDEN", ["input", "id"])]
    assert await codes(client, "deleteRole", {"id": held, "expectedVersion": 1}) == ["CONFLICT"]
    # What they may define is theirs to define all the same, within what they hold.
    assert await define_role(client, LOOKS, name="Looks")
    beyond = {"name": "Beyond", "level": "PROJECT", "permissions": names(BRINGS)}
    assert await codes(client, "createRole", beyond) == ["FORBIDDEN"]


@pytest.mark.parametrize("is_over", [False, True])
async def test_nobody_changes_a_role_that_they_hold_in_a_project_or_held(world: World, is_over: bool) -> None:
    held = await person_with(world, "admin", LOOKS, level="PROJECT")
    if is_over:
        await put_into_the_past(world, "project_membership", "expires_at", "custom_role_id is not null")
    given = {"id": held, "expectedVersion": 1, "permissions": names(BRINGS)}

    assert await codes(await world.client("admin"), "updateRole", given) == ["FORBIDDEN"]


async def test_who_assigns_by_a_role_of_the_organizations_own_raises_nobody_above_themselves(world: World) -> None:
    owner = await world.client("owner")
    holds = {P.MEMBERSHIP_READ, P.MEMBERSHIP_ASSIGN, *LOOKS}
    await person_with(world, "member", holds, level="ORGANIZATION")
    equal = await define_role(owner, holds, level="ORGANIZATION", name="Equal")
    above = await define_role(owner, holds | {P.AUDIT_READ}, level="ORGANIZATION", name="Above")
    client, before = await world.client("member"), await content(world)

    for whose, role in (
        ("viewer", {"role": "OWNER"}),
        ("viewer", {"role": "ADMIN"}),
        ("viewer", {"role": "AUDITOR"}),
        ("viewer", {"customRoleId": above}),
        ("auditor", {"role": "MEMBER"}),
        ("owner", {"role": "MEMBER"}),
        ("admin", {"customRoleId": equal}),
        ("member", {"role": "MEMBER"}),
        ("member", {"customRoleId": equal}),
        ("member", {"customRoleId": above}),
    ):
        given = await in_organization(world, whose, **role)
        assert await codes(client, "assignOrganizationRole", given) == ["FORBIDDEN"], (whose, role)
    for whose in ("owner", "admin", "auditor", "member"):
        given = await in_organization(world, whose)
        assert await codes(client, "removeOrganizationRole", given) == ["FORBIDDEN"], whose
    given = await in_project(world, "viewer", role="MANAGER")
    assert await codes(client, "assignProjectRole", given) == ["FORBIDDEN"]
    assert await content(world) == before

    assert (
        await refusals(client, "assignOrganizationRole", await in_organization(world, "viewer", customRoleId=equal))
        == []
    )
    assert await refusals(client, "removeOrganizationRole", await in_organization(world, "viewer")) == []


async def test_who_assigns_in_a_project_by_a_role_gives_there_what_they_hold_there(world: World) -> None:
    owner = await world.client("owner")
    holds = {
        P.PROJECT_MEMBERSHIP_READ,
        P.PROJECT_MEMBERSHIP_ASSIGN,
        P.RECORD_READ_CONFIDENTIAL,
        *PROJECT_ROLES[ProjectRole.VIEWER],
    }
    await person_with(world, "member", holds, level="PROJECT")
    await give_in_project(world, "member", code="PARKS", role="VIEWER")
    equal = await define_role(owner, holds, name="Equal")
    above = await define_role(owner, holds | {P.RECORD_READ_PERSONAL}, name="Above")
    client, before = await world.client("member"), await content(world)

    for whose, code, role, expected in (
        ("auditor", "CANAL", {"role": "COLLECTOR"}, "FORBIDDEN"),
        ("auditor", "CANAL", {"role": "MANAGER"}, "FORBIDDEN"),
        ("auditor", "CANAL", {"customRoleId": above}, "FORBIDDEN"),
        ("manager", "CANAL", {"role": "VIEWER"}, "FORBIDDEN"),
        ("member", "CANAL", {"role": "VIEWER"}, "FORBIDDEN"),
        ("auditor", "PARKS", {"role": "VIEWER"}, "FORBIDDEN"),
        ("auditor", "LAKES", {"role": "VIEWER"}, "NOT_FOUND"),
        ("other-owner", "CANAL", {"role": "VIEWER"}, "NOT_FOUND"),
    ):
        given = await in_project(world, whose, code, **role)
        assert await codes(client, "assignProjectRole", given) == [expected], (whose, code, role)
    assert await codes(client, "removeProjectRole", await in_project(world, "manager")) == ["FORBIDDEN"]
    assert await codes(client, "assignOrganizationRole", await in_organization(world, "auditor", role="MEMBER")) != []
    assert await content(world) == before

    for role in ({"role": "VIEWER"}, {"customRoleId": equal}):
        assert await refusals(client, "assignProjectRole", await in_project(world, "auditor", **role)) == []
    assert await refusals(client, "removeProjectRole", await in_project(world, "auditor")) == []


async def test_a_role_is_not_given_while_it_is_raised_above_who_gives_it(world: World) -> None:
    """What a role can do is decided and committed under its lock: raised meanwhile, it is judged as what it became."""
    owner, manager = await world.client("owner"), await world.client("manager")
    role = await define_role(owner, LOOKS)
    connection = await connect(world.superuser)
    try:
        transaction = connection.transaction()
        await transaction.start()
        await connection.execute("select 1 from custom_role where id = $1 for update", role.removeprefix("CustomRole:"))
        raising = asyncio.create_task(
            refusals(owner, "updateRole", {"id": role, "expectedVersion": 1, "permissions": names(PROJECT_LEVEL)})
        )
        await until_waiting(world, 1)
        giving = asyncio.create_task(
            refusals(manager, "assignProjectRole", await in_project(world, "member", customRoleId=role))
        )
        await until_waiting(world, 2)
        await transaction.rollback()
    finally:
        await connection.close()

    assert await raising == []
    assert [error["code"] for error in await giving] == ["FORBIDDEN"]


async def test_who_is_made_an_owner_meanwhile_is_not_suspended_by_an_admin(world: World) -> None:
    """An admin may suspend a member; while that begins, the member is made an owner, whom no admin suspends."""
    owner, member = await world.client("owner"), await world.member_id("member")
    admin = await member_viewer("clearwater", email="admin@clearwater.example")
    actor = Actor(admin.organization_id, Origin(channel=Channel.COMMAND, request_id=new_id()), admin)
    raised = await in_organization(world, "member", role="OWNER")
    connection = await connect(world.superuser)
    try:
        transaction = connection.transaction()
        await transaction.start()
        await connection.execute("select 1 from membership where id = $1 for update", member)
        raising = asyncio.create_task(refusals(owner, "assignOrganizationRole", raised))
        await until_waiting(world, 1)
        suspending = asyncio.create_task(
            set_member_status(
                actor,
                organization_id=admin.organization_id,
                membership_id=member,
                status=MembershipStatus.SUSPENDED,
                reason="Left.",
            )
        )
        await until_waiting(world, 2)
        await transaction.rollback()
    finally:
        await connection.close()

    assert await raising == []
    with pytest.raises(ForbiddenError):
        await suspending
    row = (await world.sql("select role, status from membership where id = $1", member))[0]
    assert (row["role"], row["status"]) == ("OWNER", "ACTIVE")


async def test_a_role_taken_away_while_an_operation_runs_counts_for_its_mutations_to_come(world: World) -> None:
    """The first mutation of the operation waits for a row; meanwhile the role goes; the second is refused."""
    await person_with(world, "member", LOOKS | {P.PROJECT_UPDATE, P.RECORD_CREATE}, level="PROJECT")
    client, project = await world.client("member"), await world.project_id("CANAL")
    records = await world.value("select count(*) from record")
    query = """
      mutation($u: UpdateProjectInput!, $c: CreateRecordInput!) {
        updateProject(input: $u) { project { name } errors { code } }
        createRecord(input: $c) { record { id } errors { code } }
      }"""
    given = {
        "u": {"id": str(project), "expectedVersion": 1, "name": "Renamed"},
        "c": {"projectId": str(project), **RECORD},
    }
    connection = await connect(world.superuser)
    try:
        transaction = connection.transaction()
        await transaction.start()
        await connection.execute("select 1 from project where id = $1 for update", project)
        running = asyncio.create_task(client.run(query, given))
        await until_waiting(world, 1)
        # As the table's owner sees to it behind the API: the API's own removal would wait for the same row.
        await world.sql("alter table project_membership disable trigger user")
        await world.sql("delete from project_membership where custom_role_id is not null")
        await transaction.rollback()
    finally:
        await connection.close()

    data = (await running).data
    # It was decided before the role went, and done; what it is called now is not for who has no role any more.
    assert data["updateProject"]["errors"] == []
    assert [error["code"] for error in data["createRecord"]["errors"]] == ["NOT_FOUND"]
    assert await world.value("select count(*) from record") == records


# ------------------------------------------------------------------ writing what one can't read


@pytest.mark.parametrize(
    ("value", "permission", "path"),
    [
        ({"collector": "Cleo Cole"}, P.RECORD_READ_PERSONAL, ["collector"]),
        ({"comment": "Cap was loose."}, P.RECORD_READ_CONFIDENTIAL, ["comment"]),
        ({"measurements": [{"characteristic": "pH"}, {"characteristic": "pH", "comment": "Drift."}]}, None, []),
    ],
)
async def test_what_one_may_not_read_one_does_not_write(
    world: World, value: dict[str, Any], permission: P | None, path: list[str]
) -> None:
    await person_with(world, "member", BRINGS | {P.RECORD_UPDATE}, level="PROJECT")
    client, project = await world.client("member"), str(await world.project_id("CANAL"))
    permission, path = permission or P.RECORD_READ_CONFIDENTIAL, path or ["measurements", "1", "comment"]
    existing = await world.sql("select id, version from record where project_id = $1 order by id limit 1", project)
    before = await content(world)

    create = await refusals(client, "createRecord", {"projectId": project, **RECORD, **value})
    update = await refusals(
        client,
        "updateRecord",
        {"id": str(existing[0]["id"]), "expectedVersion": existing[0]["version"], "siteName": "New", **value},
    )

    for errors in (create, update):
        assert [(error["code"], error["permission"], error["field"]) for error in errors] == [
            ("FORBIDDEN", str(permission), ["input", *path])
        ]
    assert await content(world) == before
    assert await refusals(client, "createRecord", {"projectId": project, **RECORD}) == []


async def test_what_one_may_not_read_one_does_not_take_away_either(world: World) -> None:
    await person_with(world, "member", BRINGS | {P.RECORD_UPDATE}, level="PROJECT")
    client = await world.client("member")
    record = (
        await world.sql(
            "select id, version from record where project_id = $1 and comment is not null limit 1",
            await world.project_id("CANAL"),
        )
    )[0]

    for name in ("comment", "collector"):
        given = {"id": str(record["id"]), "expectedVersion": record["version"], name: None}
        errors = await refusals(client, "updateRecord", given)
        assert [(error["code"], error["field"]) for error in errors] == [("FORBIDDEN", ["input", name])]
