"""Roles are given and taken by those who may, never upwards, never one's own, and the last owner stays."""

import asyncio
from typing import Any

import pytest

from tests.support.mutation import mutate
from tests.support.world import Client, World

REASON = "Because."


async def _assign(world: World, client: Client, whose: str, role: str) -> Any:
    given = {"userId": f"User:{await world.member_id(whose)}", "role": role, "reason": REASON}
    return (await mutate(client, "assignOrganizationRole", given)).data["assignOrganizationRole"]["errors"]


async def _assign_in_project(world: World, client: Client, whose: str, role: str, code: str = "CANAL") -> Any:
    given = {
        "userId": f"User:{await world.member_id(whose)}",
        "projectId": f"Project:{await world.project_id(code)}",
        "role": role,
        "reason": REASON,
    }
    return (await mutate(client, "assignProjectRole", given)).data["assignProjectRole"]["errors"]


@pytest.mark.parametrize(
    ("who", "whose", "role", "code"),
    [
        ("owner", "owner", "ADMIN", "FORBIDDEN"),
        ("owner", "owner", "MEMBER", "FORBIDDEN"),
        ("admin", "admin", "OWNER", "FORBIDDEN"),
        ("admin", "member", "OWNER", "FORBIDDEN"),
        ("admin", "owner", "MEMBER", "FORBIDDEN"),
        ("admin", "member", "AUDITOR", "FORBIDDEN"),
        ("auditor", "member", "ADMIN", "FORBIDDEN"),
        ("manager", "member", "ADMIN", "NOT_FOUND"),
        ("member", "member", "OWNER", "FORBIDDEN"),
        ("owner", "admin", "ADMIN", "CONFLICT"),
    ],
)
async def test_a_role_in_the_organization_that_may_not_be_given(
    world: World, who: str, whose: str, role: str, code: str
) -> None:
    client = await world.client(who)
    before = await world.value("select md5(string_agg(id::text || role, '' order by id)) from membership")

    errors = await _assign(world, client, whose, role)

    assert [error["code"] for error in errors] == [code]
    assert await world.value("select md5(string_agg(id::text || role, '' order by id)) from membership") == before


@pytest.mark.parametrize(
    ("who", "whose", "role", "code"),
    [
        ("manager", "manager", "VIEWER", "FORBIDDEN"),
        ("reviewer", "member", "VIEWER", "FORBIDDEN"),
        ("viewer", "viewer", "MANAGER", "FORBIDDEN"),
        ("member", "member", "VIEWER", "NOT_FOUND"),
        ("auditor", "member", "VIEWER", "FORBIDDEN"),
        ("other-owner", "other-owner", "MANAGER", "NOT_FOUND"),
    ],
)
async def test_a_role_in_a_project_that_may_not_be_given(
    world: World, who: str, whose: str, role: str, code: str
) -> None:
    client = await world.client(who)
    before = await world.fingerprint()

    errors = await _assign_in_project(world, client, whose, role)

    assert [error["code"] for error in errors] == [code]
    after = await world.fingerprint()
    assert after["project_membership"] == before["project_membership"]


async def test_a_manager_of_one_project_gives_nothing_in_another(world: World) -> None:
    client = await world.client("manager")

    errors = await _assign_in_project(world, client, "member", "VIEWER", code="PARKS")

    assert [error["code"] for error in errors] == ["NOT_FOUND"]


async def test_rights_of_one_project_are_no_rights_in_another(world: World) -> None:
    owner, manager = await world.client("owner"), await world.client("manager")
    assert await _assign_in_project(world, owner, "manager", "VIEWER", code="PARKS") == []

    answer = await manager.run("{ projects { nodes { code records(first: 50) { nodes { comment collector } } } } }")

    by_code = {node["code"]: node["records"]["nodes"] for node in answer.body["data"]["projects"]["nodes"]}
    assert answer.codes == ["FORBIDDEN"]
    assert answer.errors[0]["path"][2] == list(by_code).index("PARKS")
    assert all(node["comment"] is None and node["collector"].startswith("person-") for node in by_code["PARKS"])
    assert any(node["comment"] for node in by_code["CANAL"])
    assert not any((node["collector"] or "").startswith("person-") for node in by_code["CANAL"])


async def test_a_record_of_a_project_where_one_only_looks_is_not_changed(world: World) -> None:
    owner, manager = await world.client("owner"), await world.client("manager")
    assert await _assign_in_project(world, owner, "manager", "VIEWER", code="PARKS") == []
    record = await world.value("select id from record where project_id = $1 limit 1", await world.project_id("PARKS"))

    for name, given in {
        "updateRecord": {"siteName": "Mine"},
        "deleteRecord": {"reason": REASON},
        "submitRecord": {},
    }.items():
        answer = await mutate(manager, name, {"id": str(record), "expectedVersion": 1, **given})
        assert [error["code"] for error in answer.data[name]["errors"]] == ["FORBIDDEN"]


async def test_the_last_owner_stays_also_when_two_go_at_once(world: World) -> None:
    owner = await world.client("owner")
    assert await _assign(world, owner, "admin", "OWNER") == []
    admin = await world.client("admin")

    results = await asyncio.gather(_assign(world, owner, "admin", "MEMBER"), _assign(world, admin, "owner", "MEMBER"))

    codes = sorted(error["code"] for errors in results for error in errors)
    assert len(codes) == 1
    left = await world.value(
        "select count(*) from membership where organization_id = $1 and role = 'OWNER'",
        await world.organization_id("clearwater"),
    )
    assert left == 1


async def test_the_four_eyes_of_a_review_are_two_persons(world: World) -> None:
    manager = await world.client("manager")
    given = {
        "projectId": str(await world.project_id("CANAL")),
        "siteCode": "W-1",
        "collectedAt": "2026-01-02T03:04:05Z",
        "medium": "WATER",
    }
    created = (await mutate(manager, "createRecord", given, "record { id }")).data["createRecord"]["record"]["id"]
    assert (await mutate(manager, "submitRecord", {"id": created, "expectedVersion": 1})).data["submitRecord"][
        "errors"
    ] == []

    answer = await mutate(manager, "approveRecord", {"id": created, "expectedVersion": 2})

    assert [error["code"] for error in answer.data["approveRecord"]["errors"]] == ["FORBIDDEN"]


async def test_an_approved_record_changes_with_a_reason_only_and_is_a_draft_again(world: World) -> None:
    collector, reviewer, manager = [await world.client(who) for who in ("collector", "reviewer", "manager")]
    given = {
        "projectId": str(await world.project_id("CANAL")),
        "siteCode": "W-1",
        "collectedAt": "2026-01-02T03:04:05Z",
        "medium": "WATER",
    }
    created = (await mutate(collector, "createRecord", given, "record { id }")).data["createRecord"]["record"]["id"]
    at = {"id": created}
    await mutate(collector, "submitRecord", {**at, "expectedVersion": 1})
    await mutate(reviewer, "approveRecord", {**at, "expectedVersion": 2})
    change = {**at, "expectedVersion": 3, "siteName": "Renamed"}

    by_collector = await mutate(collector, "updateRecord", {**change, "reason": REASON})
    without = await mutate(manager, "updateRecord", change)
    with_reason = await mutate(manager, "updateRecord", {**change, "reason": REASON}, "record { status version }")

    assert [error["code"] for error in by_collector.data["updateRecord"]["errors"]] == ["FORBIDDEN"]
    assert [error["field"] for error in without.data["updateRecord"]["errors"]] == [["input", "reason"]]
    assert with_reason.data["updateRecord"]["record"] == {"status": "DRAFT", "version": 4}


async def test_an_archived_project_takes_no_change(world: World) -> None:
    owner, collector = await world.client("owner"), await world.client("collector")
    project = str(await world.project_id("CANAL"))
    await mutate(owner, "archiveProject", {"id": project, "expectedVersion": 1, "reason": REASON})
    given = {"projectId": project, "siteCode": "W", "collectedAt": "2026-01-02T03:04:05Z", "medium": "WATER"}

    created = await mutate(collector, "createRecord", given)
    again = await mutate(owner, "archiveProject", {"id": project, "expectedVersion": 2, "reason": REASON})

    assert [error["code"] for error in created.data["createRecord"]["errors"]] == ["CONFLICT"]
    assert [error["code"] for error in again.data["archiveProject"]["errors"]] == ["CONFLICT"]
    answer = await collector.run("{ projects { nodes { status records(first: 1) { nodes { siteCode } } } } }")
    assert answer.data["projects"]["nodes"][0]["status"] == "ARCHIVED"
    assert answer.data["projects"]["nodes"][0]["records"]["nodes"]
