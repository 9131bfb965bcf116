"""Roles of an organization's own give what they are made of, where they are given; nobody climbs by them."""

import asyncio
from typing import Any

import pytest

from auth.permission import Permission as P
from auth.role import (
    ORGANIZATION_LEVEL,
    ORGANIZATION_ROLES,
    PROJECT_LEVEL,
    PROJECT_ROLES,
    OrganizationRole,
    ProjectRole,
)
from models.base import new_id
from tests.support.access import (
    REASON,
    codes,
    content,
    define_role,
    give_in_organization,
    give_in_project,
    in_organization,
    in_project,
    names,
    permissions_of,
    person_with,
    put_into_the_past,
    refusals,
)
from tests.support.mutation import mutate
from tests.support.world import World

EVERYBODY = set(names(ORGANIZATION_ROLES[OrganizationRole.MEMBER]))
LOOKS = frozenset({P.PROJECT_READ, P.RECORD_READ})
BRINGS = LOOKS | {P.RECORD_CREATE}
RECORD = {"siteCode": "W-1", "collectedAt": "2026-01-02T03:04:05Z", "medium": "WATER"}


async def test_a_role_in_a_project_gives_its_permissions_there_and_nothing_elsewhere(world: World) -> None:
    await person_with(world, "member", LOOKS | {P.RECORD_READ_CONFIDENTIAL}, level="PROJECT")
    client = await world.client("member")
    records = "records(first: 50) { nodes { siteCode comment collector } }"

    answer = await client.run(f"{{ projects {{ nodes {{ code {records} }} }} {records} users {{ nodes {{ id }} }} }}")

    data = answer.data
    assert [node["code"] for node in data["projects"]["nodes"]] == ["CANAL"]
    shown = data["projects"]["nodes"][0]["records"]["nodes"]
    assert any(node["comment"] for node in shown)
    assert any(node["collector"] for node in shown)
    assert all(node["collector"] is None or node["collector"].startswith("person-") for node in shown)
    assert {node["siteCode"] for node in data["records"]["nodes"]} == {node["siteCode"] for node in shown}
    assert len(data["users"]["nodes"]) == 1
    assert await permissions_of(client) == EVERYBODY
    here = EVERYBODY | set(names(LOOKS | {P.RECORD_READ_CONFIDENTIAL}))
    assert await permissions_of(client, await world.project_id("CANAL")) == here
    assert await permissions_of(client, await world.project_id("PARKS")) == EVERYBODY
    assert await permissions_of(client, await world.project_id("LAKES")) == EVERYBODY


async def test_each_permission_is_given_alone_and_counts_from_the_next_request_on(world: World) -> None:
    """A role is changed permission by permission, and its holder has exactly that each time."""
    owner, client = await world.client("owner"), await world.client("member")
    project, other = await world.project_id("CANAL"), await world.project_id("PARKS")
    role = await person_with(world, "member", LOOKS, level="PROJECT")

    for version, permission in enumerate(sorted(PROJECT_LEVEL), 1):
        made_of = _sensible(permission)
        given = {"id": role, "expectedVersion": version, "permissions": names(made_of)}
        assert await refusals(owner, "updateRole", given) == []
        assert await permissions_of(client, project) == EVERYBODY | set(names(made_of))
        assert await permissions_of(client, other) == EVERYBODY
        assert await permissions_of(client) == EVERYBODY


async def test_a_role_in_the_organization_counts_in_every_project_of_it(world: World) -> None:
    owner, client = await world.client("owner"), await world.client("member")
    project = await world.project_id("PARKS")
    role = await person_with(world, "member", {P.ORGANIZATION_READ}, level="ORGANIZATION")

    for version, permission in enumerate(sorted(ORGANIZATION_LEVEL), 1):
        made_of = _sensible(permission)
        given = {"id": role, "expectedVersion": version, "permissions": names(made_of)}
        assert await refusals(owner, "updateRole", given) == []
        assert await permissions_of(client) == EVERYBODY | set(names(made_of))
        assert await permissions_of(client, project) == EVERYBODY | set(names(made_of))

    given = {"id": role, "expectedVersion": version + 1, "permissions": names(LOOKS)}
    assert await refusals(owner, "updateRole", given) == []
    answer = await client.run("{ projects { nodes { code records(first: 9) { nodes { comment } } } } viewer { role } }")
    assert sorted(node["code"] for node in answer.body["data"]["projects"]["nodes"]) == ["CANAL", "PARKS"]
    assert answer.codes == ["FORBIDDEN"]
    assert all(
        record["comment"] is None
        for node in answer.body["data"]["projects"]["nodes"]
        for record in node["records"]["nodes"]
    )
    assert answer.body["data"]["viewer"] == {"role": "MEMBER"}


def _sensible(permission: P) -> set[P]:
    """Return the permission beside the reading that it takes."""
    return {permission} | {one for one in P if one == f"{permission.noun}:read"}


async def test_a_role_of_one_project_and_one_of_the_organization_add_up_there_alone(world: World) -> None:
    owner = await world.client("owner")
    looks = await define_role(owner, LOOKS, level="ORGANIZATION", name="Looks")
    writes = await define_role(owner, BRINGS, name="Brings")
    await give_in_organization(world, "member", customRoleId=looks)
    await give_in_project(world, "member", customRoleId=writes)
    client = await world.client("member")

    for code, expected in {"CANAL": [], "PARKS": ["FORBIDDEN"]}.items():
        given = {"projectId": str(await world.project_id(code)), **RECORD}
        assert await codes(client, "createRecord", given) == expected


async def test_a_permission_taken_out_of_a_role_is_refused_at_the_next_request(world: World) -> None:
    role = await person_with(world, "member", BRINGS, level="PROJECT")
    client = await world.client("member")
    given = {"projectId": str(await world.project_id("CANAL")), **RECORD}
    assert await codes(client, "createRecord", given) == []
    taken = {"id": role, "expectedVersion": 1, "permissions": names(LOOKS)}
    assert await refusals(await world.client("admin"), "updateRole", taken) == []

    assert await codes(client, "createRecord", given) == ["FORBIDDEN"]


# ------------------------------------------------------------------ who defines what


@pytest.mark.parametrize("who", ["auditor", "manager", "member"])
async def test_who_may_not_define_roles_defines_changes_and_deletes_none(world: World, who: str) -> None:
    role = await define_role(await world.client("owner"), LOOKS)
    client, before = await world.client(who), await content(world)

    new = {"name": "Mine", "level": "PROJECT", "permissions": names(LOOKS)}
    assert await codes(client, "createRole", new) == ["FORBIDDEN"]
    assert await codes(client, "updateRole", {"id": role, "expectedVersion": 1, "name": "Mine"}) == ["FORBIDDEN"]
    assert await codes(client, "deleteRole", {"id": role, "expectedVersion": 1}) == ["FORBIDDEN"]

    assert await content(world) == before


async def test_a_role_is_given_at_its_own_level_alone(world: World) -> None:
    owner = await world.client("owner")
    here = await define_role(owner, LOOKS, name="Here")
    everywhere = await define_role(owner, LOOKS, name="Everywhere", level="ORGANIZATION")
    before = await content(world)

    refused = [
        await refusals(owner, "assignOrganizationRole", await in_organization(world, "member", customRoleId=here)),
        await refusals(owner, "assignProjectRole", await in_project(world, "member", customRoleId=everywhere)),
    ]

    for errors in refused:
        assert [(error["code"], error["field"]) for error in errors] == [("INVALID_INPUT", ["input", "customRoleId"])]
    assert await content(world) == before


@pytest.mark.parametrize("both", [True, False])
async def test_exactly_one_role_is_given(world: World, both: bool) -> None:
    owner = await world.client("owner")
    here = await define_role(owner, LOOKS, name="Here")
    everywhere = await define_role(owner, LOOKS, name="Everywhere", level="ORGANIZATION")
    organization = {"role": "ADMIN", "customRoleId": everywhere} if both else {}
    project = {"role": "VIEWER", "customRoleId": here} if both else {}

    for name, given in {
        "assignOrganizationRole": await in_organization(world, "member", **organization),
        "assignProjectRole": await in_project(world, "member", **project),
    }.items():
        errors = await refusals(owner, name, given)
        assert [(error["code"], error["field"]) for error in errors] == [("INVALID_INPUT", ["input", "role"])]


async def test_a_role_of_another_organization_is_one_that_never_was(world: World) -> None:
    stranger, owner = await world.client("other-owner"), await world.client("owner")
    here = await define_role(stranger, LOOKS, name="Here")
    everywhere = await define_role(stranger, LOOKS, name="Everywhere", level="ORGANIZATION")
    before = await content(world)

    for foreign, unused in ((here, f"CustomRole:{new_id()}"), (everywhere, f"CustomRole:{new_id()}")):
        answers = []
        for role in (foreign, unused):
            read = await owner.run("query($r: ID!) { role(id: $r) { name } node(id: $r) { id } }", {"r": role})
            by_level = [
                await refusals(owner, "assignProjectRole", await in_project(world, "member", customRoleId=role)),
                await refusals(
                    owner, "assignOrganizationRole", await in_organization(world, "member", customRoleId=role)
                ),
            ]
            changed = await refusals(owner, "updateRole", {"id": role, "expectedVersion": 1, "name": "Mine"})
            deleted = await refusals(owner, "deleteRole", {"id": role, "expectedVersion": 1})
            answers.append((read.data, by_level, changed, deleted))
            assert read.data == {"role": None, "node": None}
            assert {error["code"] for errors in (*by_level, changed, deleted) for error in errors} == {"NOT_FOUND"}
        assert answers[0] == answers[1]
    assert await content(world) == before
    listed = await owner.run("{ roles { nodes { name } } }")
    assert not {"Here", "Everywhere"} & {node["name"] for node in listed.data["roles"]["nodes"]}


# ------------------------------------------------------------------ the life of a role


async def test_a_role_that_somebody_has_stays_and_it_is_said_how_many_have_it(world: World) -> None:
    owner = await world.client("owner")
    role = await define_role(owner, LOOKS)
    gone = {"id": role, "expectedVersion": 1}
    for whose, said in {"member": "to 1 person:", "auditor": "to 2 people:"}.items():
        await give_in_project(world, whose, customRoleId=role)
        errors = await refusals(owner, "deleteRole", gone)
        assert [error["code"] for error in errors] == ["CONFLICT"]
        assert said in errors[0]["message"]
    await give_in_project(world, "member", code="PARKS", customRoleId=role)
    assert "to 2 people:" in (await refusals(owner, "deleteRole", gone))[0]["message"]

    for whose, code in (("member", "PARKS"), ("auditor", "CANAL")):
        assert await refusals(owner, "removeProjectRole", await in_project(world, whose, code)) == []
    assert "to 1 person:" in (await refusals(owner, "deleteRole", gone))[0]["message"]
    await give_in_project(world, "member", role="VIEWER")

    answer = await mutate(owner, "deleteRole", {**gone, "reason": REASON}, "deletedId")
    assert answer.data["deleteRole"] == {"deletedId": role, "errors": []}
    assert (await owner.run("query($r: ID!) { role(id: $r) { name } }", {"r": role})).data == {"role": None}
    assert await codes(owner, "deleteRole", gone) == ["NOT_FOUND"]


async def test_a_role_in_the_organization_that_somebody_has_stays_also_once_it_is_over(world: World) -> None:
    owner = await world.client("owner")
    role = await person_with(world, "member", LOOKS, level="ORGANIZATION")
    await put_into_the_past(world, "membership", "role_expires_at", "custom_role_id is not null")

    errors = await refusals(owner, "deleteRole", {"id": role, "expectedVersion": 1})

    assert [error["code"] for error in errors] == ["CONFLICT"]
    assert await refusals(owner, "removeOrganizationRole", await in_organization(world, "member")) == []
    assert await codes(owner, "deleteRole", {"id": role, "expectedVersion": 1}) == []


async def test_a_name_is_taken_once_in_an_organization(world: World) -> None:
    owner, stranger = await world.client("owner"), await world.client("other-owner")
    role = await define_role(owner, LOOKS, name="Taken")
    other = await define_role(owner, LOOKS, name="Free")
    assert await define_role(stranger, LOOKS, name="Taken")

    refused = [
        await refusals(owner, "createRole", {"name": " Taken ", "level": "PROJECT", "permissions": names(LOOKS)}),
        await refusals(owner, "updateRole", {"id": other, "expectedVersion": 1, "name": "Taken"}),
    ]

    for errors in refused:
        assert [(error["code"], error["field"]) for error in errors] == [("CONFLICT", ["input", "name"])]
    assert await refusals(owner, "updateRole", {"id": role, "expectedVersion": 1, "name": "Taken"}) == []


async def test_a_change_names_the_version_that_it_saw(world: World) -> None:
    owner = await world.client("owner")
    role = await define_role(owner, LOOKS)
    assert await refusals(owner, "updateRole", {"id": role, "expectedVersion": 1, "name": "Second"}) == []

    for name in ("updateRole", "deleteRole"):
        errors = await refusals(owner, name, {"id": role, "expectedVersion": 1})
        assert [(error["code"], error["field"]) for error in errors] == [("CONFLICT", ["input", "expectedVersion"])]


WRONG: dict[str, tuple[dict[str, Any], list[str]]] = {
    "a blank name": ({"name": "  "}, ["name"]),
    "a name too long": ({"name": "x" * 65}, ["name"]),
    "a name with a NUL byte": ({"name": "a\x00b"}, ["name"]),
    "a description too long": ({"description": "x" * 501}, ["description"]),
    "no permission": ({"permissions": []}, ["permissions"]),
    "no list": ({"permissions": None}, ["permissions"]),
    "an unknown permission": ({"permissions": ["RECORD_READ", "SUDO"]}, ["permissions", "1"]),
    "a permission by its stored name": ({"permissions": ["record:read"]}, ["permissions", "0"]),
    "what a project has no use for": ({"permissions": ["AUDIT_READ"]}, ["permissions"]),
    "making projects in a project": ({"permissions": ["PROJECT_READ", "PROJECT_CREATE"]}, ["permissions"]),
    "a doing without its reading": ({"permissions": ["RECORD_CREATE"]}, ["permissions"]),
    "a deeper reading without the first": ({"permissions": ["RECORD_READ_PERSONAL"]}, ["permissions"]),
    "no reason": ({"reason": None}, ["reason"]),
    "a blank reason": ({"reason": " "}, ["reason"]),
}
WRONG_OF_NEW: dict[str, tuple[dict[str, Any], list[str]]] = {
    "an unknown level": ({"level": "WORLD"}, ["level"]),
    "an id of version 4": ({"id": "6f1f1d5c-8a5e-4b5e-9a55-0d9f1f5b7a11"}, ["id"]),
    "the id of something else": ({"id": f"Record:{new_id()}"}, ["id"]),
}


@pytest.mark.parametrize("wrong", WRONG | WRONG_OF_NEW)
async def test_a_role_is_not_defined_from_what_is_wrong(world: World, wrong: str) -> None:
    changed, path = (WRONG | WRONG_OF_NEW)[wrong]
    given = {"name": "Own", "level": "PROJECT", "permissions": names(LOOKS), "reason": REASON, **changed}
    owner, before = await world.client("owner"), await content(world)

    assert await _wrong(owner, "createRole", given) == [("INVALID_INPUT", ["input", *path])]
    assert await content(world) == before


@pytest.mark.parametrize("wrong", WRONG)
async def test_a_role_is_not_changed_into_what_is_wrong(world: World, wrong: str) -> None:
    changed, path = WRONG[wrong]
    owner = await world.client("owner")
    role, before = await define_role(owner, LOOKS), await content(world)
    given = {"id": role, "expectedVersion": 1, "reason": REASON, **changed}

    assert await _wrong(owner, "updateRole", given) == [("INVALID_INPUT", ["input", *path])]
    assert await content(world) == before


async def _wrong(client: Any, name: str, given: dict[str, Any]) -> list[tuple[str, Any]]:
    """Return codes and paths, wherever the refusal stands."""
    answer = await mutate(client, name, given)
    refused = [(error["extensions"]["code"], error["extensions"].get("field")) for error in answer.errors]
    payload = (answer.body.get("data") or {}).get(name) or {"errors": []}
    return refused + [(error["code"], error["field"]) for error in payload["errors"]]


async def test_a_repeated_definition_makes_one_role_and_another_content_is_a_conflict(world: World) -> None:
    owner, stranger = await world.client("owner"), await world.client("other-owner")
    row_id = str(new_id())
    given = {"id": row_id, "name": "Once", "level": "PROJECT", "permissions": names(BRINGS), "reason": REASON}

    first = await mutate(owner, "createRole", given, "role { id name permissions version }")
    shuffled = {**given, "permissions": [*reversed(given["permissions"]), "RECORD_READ"]}
    again = await mutate(owner, "createRole", shuffled, "role { id name permissions version }")
    at_once = await asyncio.gather(*(mutate(owner, "createRole", given, "role { id }") for _ in range(3)))

    assert first.data == again.data
    assert first.data["createRole"]["role"]["id"] == f"CustomRole:{row_id}"
    assert {answer.data["createRole"]["role"]["id"] for answer in at_once} == {f"CustomRole:{row_id}"}
    for other in (
        {"name": "Twice"},
        {"permissions": names(LOOKS)},
        {"description": "Other."},
        {"level": "ORGANIZATION"},
    ):
        assert await codes(owner, "createRole", {**given, **other}) == ["CONFLICT"]
    assert await world.value("select count(*) from custom_role where id = $1", row_id) == 1
    # An id that another tenant uses is one that nobody uses.
    assert await codes(stranger, "createRole", given) == []


async def test_a_role_of_the_organizations_own_shows_as_what_it_is(world: World) -> None:
    role = await person_with(world, "member", LOOKS, level="ORGANIZATION")
    here = await define_role(await world.client("owner"), BRINGS, name="Brings", description="For the field.")
    await give_in_project(world, "member", customRoleId=here)

    answer = await (await world.client("member")).run(
        "{ viewer { role customRole { id name permissions } user { role customRole { id } }"
        " projectRoles { role project { code } customRole { name level description permissions version } } } }"
    )

    viewer = answer.data["viewer"]
    assert (viewer["role"], viewer["customRole"]) == (
        "MEMBER",
        {"id": role, "name": "Of member", "permissions": names(LOOKS)},
    )
    assert viewer["user"] == {"role": "MEMBER", "customRole": {"id": role}}
    assert viewer["projectRoles"] == [
        {
            "role": None,
            "project": {"code": "CANAL"},
            "customRole": {
                "name": "Brings",
                "level": "PROJECT",
                "description": "For the field.",
                "permissions": names(BRINGS),
                "version": 1,
            },
        }
    ]


async def test_a_role_of_ones_own_making_equals_the_built_in_one_of_the_same_permissions(world: World) -> None:
    """The same grants, whatever they are called, give the same answers."""
    await person_with(world, "member", PROJECT_ROLES[ProjectRole.COLLECTOR], level="PROJECT")
    query = "{ records(first: 100) { nodes { siteCode comment collector measurements { value comment } } } }"

    own, built_in = [await (await world.client(who)).run(query) for who in ("member", "collector")]

    assert own.data == built_in.data
