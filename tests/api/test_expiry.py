"""What was given until a moment gives nothing from that moment on, and nobody has to do anything for it."""

import asyncio
from typing import Any

import pytest

from auth.permission import Permission as P
from auth.role import ORGANIZATION_ROLES, PROJECT_ROLES, OrganizationRole, ProjectRole
from tests.support.access import (
    codes,
    content,
    give_in_organization,
    give_in_project,
    in_organization,
    in_project,
    later,
    names,
    permissions_of,
    person_with,
    put_into_the_past,
    refusals,
)
from tests.support.world import World

LOOKS = frozenset({P.PROJECT_READ, P.RECORD_READ})
EVERYBODY = set(names(ORGANIZATION_ROLES[OrganizationRole.MEMBER]))
SEEN = "{ projects { nodes { code records(first: 5) { nodes { siteCode comment } } } } records { totalCount } }"
NOTHING = {"projects": {"nodes": []}, "records": {"totalCount": 0}}
RECORD = {"siteCode": "W-1", "collectedAt": "2026-01-02T03:04:05Z", "medium": "WATER"}


async def test_a_role_in_a_project_ends_by_itself(world: World) -> None:
    client, project = await world.client("member"), await world.project_id("CANAL")
    await give_in_project(world, "member", role="COLLECTOR", expiresAt=later(seconds=1.5))
    shown = (await client.run(SEEN)).data
    assert shown["projects"]["nodes"][0]["records"]["nodes"]

    await asyncio.sleep(1.6)

    assert (await client.run(SEEN)).data == NOTHING
    assert await permissions_of(client, project) == EVERYBODY
    assert await codes(client, "createRecord", {"projectId": str(project), **RECORD}) == ["NOT_FOUND"]


async def test_a_role_in_the_organization_ends_by_itself(world: World) -> None:
    client = await world.client("member")
    await give_in_organization(world, "member", role="ADMIN", expiresAt=later(seconds=1.5))
    assert (await client.run(SEEN)).data["records"]["totalCount"] > 80

    await asyncio.sleep(1.6)

    assert (await client.run(SEEN)).data == NOTHING
    assert await permissions_of(client) == EVERYBODY
    assert await codes(client, "createProject", {"code": "MINE", "name": "Mine"}) == ["FORBIDDEN"]


@pytest.mark.parametrize("level", ["PROJECT", "ORGANIZATION"])
async def test_a_role_of_the_organizations_own_that_is_over_gives_nothing(world: World, level: str) -> None:
    await person_with(world, "member", LOOKS, level=level, expiresAt=later(days=1))
    client = await world.client("member")
    assert (await client.run("{ records { totalCount } }")).data["records"]["totalCount"] > 0
    table, column = {
        "PROJECT": ("project_membership", "expires_at"),
        "ORGANIZATION": ("membership", "role_expires_at"),
    }[level]

    await put_into_the_past(world, table, column, "custom_role_id is not null")

    assert (await client.run(SEEN)).data == NOTHING
    assert await permissions_of(client, await world.project_id("CANAL")) == EVERYBODY


@pytest.mark.parametrize("role", ["OWNER", "ADMIN", "AUDITOR"])
async def test_who_was_something_in_the_organization_is_a_member_and_nothing_else(world: World, role: str) -> None:
    client, member = await world.client("member"), await world.member_id("member")
    await give_in_organization(world, "member", role=role, expiresAt=later(days=1))
    viewer = "{ viewer { role can(permission: MEMBERSHIP_READ) } users { nodes { id } } auditEntries { nodes { id } } }"
    assert (await client.run(viewer)).data["viewer"] == {"role": role, "can": True}

    await put_into_the_past(world, "membership", "role_expires_at", "id = $1", member)

    data = (await client.run(viewer)).data
    assert data["viewer"] == {"role": "MEMBER", "can": False}
    assert [node["id"] for node in data["users"]["nodes"]] == [f"User:{member}"]
    assert data["auditEntries"]["nodes"] == []
    stranger = await in_organization(world, "viewer", role="ADMIN")
    assert await codes(client, "assignOrganizationRole", stranger) == ["NOT_FOUND"]


async def test_an_owner_whose_time_is_over_makes_no_owners_and_is_raised_by_owners_alone(world: World) -> None:
    member = await world.member_id("member")
    await give_in_organization(world, "member", role="OWNER", expiresAt=later(days=1))
    await put_into_the_past(world, "membership", "role_expires_at", "id = $1", member)
    admin = await world.client("admin")

    again = await in_organization(world, "member", role="OWNER", expiresAt=later(days=1))
    assert await codes(admin, "assignOrganizationRole", again) == ["FORBIDDEN"]
    assert await codes(admin, "assignOrganizationRole", await in_organization(world, "member", role="ADMIN")) == []


@pytest.mark.parametrize("moment", [{"seconds": -1}, {"days": -400}])
async def test_nothing_is_given_until_a_moment_that_is_over(world: World, moment: dict[str, float]) -> None:
    owner = await world.client("owner")
    before = await content(world)

    for name, given in {
        "assignProjectRole": await in_project(world, "viewer", role="COLLECTOR", expiresAt=later(**moment)),
        "assignOrganizationRole": await in_organization(world, "viewer", role="ADMIN", expiresAt=later(**moment)),
    }.items():
        errors = await refusals(owner, name, given)
        assert [(error["code"], error["field"]) for error in errors] == [("INVALID_INPUT", ["input", "expiresAt"])]
    assert await content(world) == before


async def test_what_was_over_is_given_again_and_what_has_an_end_is_given_for_good(world: World) -> None:
    owner, client = await world.client("owner"), await world.client("member")
    await give_in_project(world, "member", role="VIEWER", expiresAt=later(days=1))
    same = await in_project(world, "member", role="VIEWER")
    assert await codes(owner, "assignProjectRole", same) == []
    assert await codes(owner, "assignProjectRole", same) == ["CONFLICT"]

    await put_into_the_past(
        world, "project_membership", "expires_at", "membership_id = $1", await world.member_id("member")
    )

    assert (await client.run(SEEN)).data == NOTHING
    await give_in_project(world, "member", role="VIEWER", expiresAt=later(days=1))
    assert (await client.run("{ records { totalCount } }")).data["records"]["totalCount"] > 0


async def test_a_manager_gives_what_ends_and_an_end_that_is_over_is_no_obstacle(world: World) -> None:
    """Who once was a manager there is, once that is over, somebody whom a lesser manager may give a role."""
    lesser = {P.PROJECT_MEMBERSHIP_READ, P.PROJECT_MEMBERSHIP_ASSIGN, *PROJECT_ROLES[ProjectRole.VIEWER]}
    await person_with(world, "member", lesser, level="PROJECT")
    await give_in_project(world, "auditor", role="MANAGER", expiresAt=later(days=1))
    client = await world.client("member")
    given = await in_project(world, "auditor", role="VIEWER", expiresAt=later(hours=1))
    assert await codes(client, "assignProjectRole", given) == ["FORBIDDEN"]

    await put_into_the_past(world, "project_membership", "expires_at", "role = 'MANAGER' and expires_at is not null")

    assert await codes(client, "assignProjectRole", given) == []


# ------------------------------------------------------------------ the last owner


async def test_an_owner_for_a_time_is_not_the_one_who_is_left(world: World) -> None:
    await give_in_organization(world, "admin", role="OWNER", expiresAt=later(days=1))
    second = await world.client("admin")
    before = await content(world)

    for name, given in (
        ("assignOrganizationRole", await in_organization(world, "owner", role="ADMIN")),
        ("assignOrganizationRole", await in_organization(world, "owner", role="OWNER", expiresAt=later(days=30))),
        ("removeOrganizationRole", await in_organization(world, "owner")),
    ):
        errors = await refusals(second, name, given)
        assert [(error["code"], error["field"]) for error in errors] == [("CONFLICT", ["input", "userId"])]
    assert await content(world) == before

    # Once both are owners for good, each may be given an end, and one of them only.
    await give_in_organization(world, "admin", role="OWNER")
    for_a_time = await in_organization(world, "owner", role="OWNER", expiresAt=later(days=30))
    assert await codes(second, "assignOrganizationRole", for_a_time) == []
    other = await in_organization(world, "admin", role="MEMBER")
    assert await codes(await world.client("owner"), "assignOrganizationRole", other) == ["CONFLICT"]


async def test_two_owners_who_give_each_other_an_end_at_once_leave_one_for_good(world: World) -> None:
    await give_in_organization(world, "admin", role="OWNER")
    owner, admin = await world.client("owner"), await world.client("admin")
    ends: list[Any] = [
        await in_organization(world, whose, role="OWNER", expiresAt=later(days=30)) for whose in ("admin", "owner")
    ]

    results = await asyncio.gather(
        codes(owner, "assignOrganizationRole", ends[0]), codes(admin, "assignOrganizationRole", ends[1])
    )

    assert sorted(results) == [[], ["CONFLICT"]]
    left = "select count(*) from membership where organization_id = $1 and role = 'OWNER' and role_expires_at is null"
    assert await world.value(left, await world.organization_id("clearwater")) == 1


# ------------------------------------------------------------------ what is shown of it


async def test_an_end_is_shown_to_its_person_and_to_who_assigns(world: World) -> None:
    end = "2199-01-02T03:04:05+00:00"
    await give_in_project(world, "member", role="VIEWER", expiresAt=end)
    await give_in_organization(world, "member", role="AUDITOR", expiresAt=end)
    client, manager = await world.client("member"), await world.client("manager")

    own = await client.run("{ viewer { user { roleExpiresAt } projectRoles { role expiresAt } } }")
    theirs = await manager.run("{ projects { nodes { members { nodes { role expiresAt } } } } }")

    assert own.data["viewer"]["user"] == {"roleExpiresAt": end}
    assert own.data["viewer"]["projectRoles"] == [{"role": "VIEWER", "expiresAt": end}]
    members = theirs.data["projects"]["nodes"][0]["members"]["nodes"]
    assert {"role": "VIEWER", "expiresAt": end} in members
    assert sum(member["expiresAt"] is not None for member in members) == 1
