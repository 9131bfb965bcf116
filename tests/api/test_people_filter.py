"""Who and what may do things is found by filter: roles of an organization's own, programs, and members of a project."""

from typing import Any

import pytest

from auth.permission import Permission as P
from tests.support.access import REASON, define_role, make_program, person_with, refusals
from tests.support.world import Client, World

LOOKS = frozenset({P.PROJECT_READ, P.RECORD_READ})
ROLES = """
query($f: CustomRoleFilter, $d: OrderDirection) {
  roles(filter: $f, direction: $d) { totalCount nodes { id name level } }
}
"""
PROGRAMS = """
query($f: ServiceAccountFilter, $d: OrderDirection) {
  serviceAccounts(filter: $f, direction: $d) { totalCount nodes { id name createdBy { id } revokedAt } }
}
"""
MEMBERS = """
query($f: ProjectMemberFilter, $id: ID!, $d: OrderDirection) {
  project(id: $id) { members(filter: $f, direction: $d) {
    totalCount nodes { id role customRole { id } user { id } }
  } }
}
"""


async def _roles(client: Client, given: dict[str, Any] | None = None, direction: str = "ASC") -> list[str]:
    found = (await client.run(ROLES, {"f": given, "d": direction})).data["roles"]
    assert found["totalCount"] == len(found["nodes"])
    return [one["name"] for one in found["nodes"]]


async def _programs(client: Client, given: dict[str, Any] | None = None, direction: str = "ASC") -> list[Any]:
    found = (await client.run(PROGRAMS, {"f": given, "d": direction})).data["serviceAccounts"]
    assert found["totalCount"] == len(found["nodes"])
    return list(found["nodes"])


async def _members(world: World, client: Client, given: dict[str, Any] | None = None, code: str = "CANAL") -> list[Any]:
    project = f"Project:{await world.project_id(code)}"
    found = (await client.run(MEMBERS, {"f": given, "id": project, "d": "DESC"})).data["project"]["members"]
    assert found["totalCount"] == len(found["nodes"])
    return list(found["nodes"])


async def test_roles_are_found_by_name_and_by_where_they_are_given(world: World) -> None:
    owner = await world.client("owner")
    before = set(await _roles(owner))
    for name, level in (("Filter A", "PROJECT"), ("Filter B", "ORGANIZATION"), ("Other", "PROJECT")):
        await define_role(owner, LOOKS, level=level, name=name)
    named = {"name": {"startsWith": "Filter"}}

    assert set(await _roles(owner)) == {*before, "Filter A", "Filter B", "Other"}
    assert await _roles(owner, named) == ["Filter A", "Filter B"]
    assert await _roles(owner, named, "DESC") == ["Filter B", "Filter A"]
    assert await _roles(owner, {**named, "level": {"eq": "ORGANIZATION"}}) == ["Filter B"]
    assert await _roles(owner, {**named, "not": {"level": {"eq": "ORGANIZATION"}}}) == ["Filter A"]
    assert await _roles(owner, {"createdAt": {"lt": "2000-01-01T00:00:00Z"}}) == []


async def test_programs_are_found_by_who_made_them_and_by_whether_they_are_good(world: World) -> None:
    owner = await world.client("owner")
    first, second = await make_program(world, LOOKS), await make_program(world, LOOKS)
    assert await refusals(owner, "revokeServiceAccount", {"id": first.id, "expectedVersion": 1, "reason": REASON}) == []
    ours = {"id": {"in": [first.id, second.id]}}
    creator = (await _programs(owner, ours))[0]["createdBy"]["id"]

    assert [one["id"] for one in await _programs(owner, ours)] == [first.id, second.id]
    assert [one["id"] for one in await _programs(owner, ours, "DESC")] == [second.id, first.id]
    assert [one["id"] for one in await _programs(owner, {**ours, "revokedAt": {"isNull": True}})] == [second.id]
    assert [one["id"] for one in await _programs(owner, {**ours, "revokedAt": {"gt": "2000-01-01T00:00:00Z"}})] == [
        first.id
    ]
    assert len(await _programs(owner, {**ours, "createdById": {"eq": creator}})) == 2
    assert await _programs(owner, {**ours, "createdById": {"ne": creator}}) == []


async def test_members_are_found_by_person_and_by_role(world: World) -> None:
    owner = await world.client("owner")
    role = await person_with(world, "member", LOOKS, level="PROJECT")
    every = await _members(world, owner)
    (own,) = [one for one in every if one["customRole"]]
    managers = [one["id"] for one in every if one["role"] == "MANAGER"]

    assert managers
    assert [one["id"] for one in await _members(world, owner, {"role": {"eq": "MANAGER"}})] == managers
    assert await _members(world, owner, {"customRoleId": {"eq": role}}) == [own]
    assert await _members(world, owner, {"role": {"isNull": True}}) == [own]
    assert await _members(world, owner, {"userId": {"eq": own["user"]["id"]}}) == [own]
    assert len(await _members(world, owner, {"userId": {"ne": own["user"]["id"]}})) == len(every) - 1
    assert await _members(world, owner, {"expiresAt": {"isNull": False}}) == []


@pytest.mark.parametrize("given", [{"userId": {"ne": None}}, {"not": {"or": [{"userId": {"isNull": True}}]}}])
async def test_who_does_not_see_the_people_finds_no_member_by_one(world: World, given: dict[str, Any]) -> None:
    client = await world.client("collector")
    project = f"Project:{await world.project_id('CANAL')}"

    answer = await client.run(MEMBERS, {"f": given, "id": project, "d": "ASC"})

    assert answer.codes == ["FORBIDDEN"]
    assert answer.errors[0]["extensions"]["field"][-1] == "userId"
    assert "members" not in (answer.body["data"]["project"] or {})


async def test_who_does_not_see_the_people_finds_no_program_by_who_made_it(world: World) -> None:
    await person_with(world, "member", {P.SERVICE_ACCOUNT_READ}, level="ORGANIZATION")
    client = await world.client("member")
    await make_program(world, LOOKS)

    answer = await client.run(PROGRAMS, {"f": {"createdById": {"ne": None}}, "d": "ASC"})

    assert answer.codes == ["FORBIDDEN"]
    assert not answer.body["data"]["serviceAccounts"]
    assert await _programs(client)


async def test_who_may_not_read_them_finds_none(world: World) -> None:
    await make_program(world, LOOKS)
    stranger, member = await world.client("other-owner"), await world.client("member")

    for client in (stranger, member):
        assert await _programs(client, {"name": {"ne": ""}}) == []
