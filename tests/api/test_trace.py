"""The trace of an operation: for those who may read it, when they ask, and the same for ten rows and a thousand."""

from typing import Any

import pytest

from tests.support.scene import Looking, as_superuser
from tests.support.world import World, json_body

ROWS = """
query($project: ID!, $first: Int) {
  project(id: $project) {
    code
    records(first: $first) { nodes { siteCode status comment collector measurements { characteristic } } }
  }
}
"""
TRACE = {"trace": True}


async def rows(world: World) -> str:
    """Put a thousand records more into a project and return its id."""
    project = await world.project_id("CANAL")
    await world.sql("alter table record disable trigger all")
    await world.sql(
        "insert into record select p.* from public.record r, generate_series(1, 1000) n,"
        " lateral jsonb_populate_record(r, jsonb_build_object("
        "   'id', md5(n::text)::uuid, 'comment', null, 'collector', null, 'creation_digest', null)) p"
        " where r.id = (select id from record where project_id = $1 limit 1)",
        project,
    )
    await world.sql("alter table record enable trigger all")
    return f"Project:{project}"


@pytest.mark.parametrize("who", ["owner", "admin", "auditor"])
async def test_a_decision_is_made_once_for_each_guard_and_not_for_each_row(world: World, who: str) -> None:
    client, project = await world.client(who), await rows(world)

    traces = {}
    for first in (10, 1000):
        answer = await client.run(ROWS, {"project": project, "first": first}, extensions=TRACE)
        assert len(answer.data["project"]["records"]["nodes"]) == first
        traces[first] = answer.body["extensions"]["trace"]

    asked = {"project:read", "record:read", "record:read_confidential", "record:read_personal"}
    assert traces[1000]["decided"] == [
        {"permission": permission, "scope": project, "own": False, "allowed": True} for permission in sorted(asked)
    ]
    assert traces[1000]["decisions"] == len(asked)
    assert traces[10] == traces[1000]
    assert 0 < traces[10]["statements"] < 10


async def test_what_was_denied_is_in_the_trace_once(world: World) -> None:
    project = await rows(world)
    owner = Looking(await world.client("owner"), f"VIEWER@{project}")

    answer = await owner.run(ROWS, {"project": project, "first": 1000}, extensions=TRACE)

    decided = answer.body["extensions"]["trace"]["decided"]
    assert {one["permission"]: one["allowed"] for one in decided} == {
        "project:read": True,
        "record:read": True,
        "record:read_confidential": False,
        "record:read_personal": False,
    }
    assert answer.body["extensions"]["trace"]["decisions"] == 4
    assert answer.body["extensions"]["runAs"]["readOnly"] is True
    assert answer.codes == ["FORBIDDEN"]


async def test_decisions_about_ones_own_are_told_apart(world: World) -> None:
    admin = await world.client("admin")

    answer = await admin.run("{ users(first: 50) { nodes { name } } }", extensions=TRACE)

    decided = answer.body["extensions"]["trace"]["decided"]
    assert [(one["permission"], one["scope"], one["own"]) for one in decided] == [
        ("membership:read_personal", "ORGANIZATION", False),
        ("membership:read_personal", "ORGANIZATION", True),
    ]


@pytest.mark.parametrize(
    "extensions", [None, {}, {"trace": False}, {"trace": None}, {"trace": "true"}, {"trace": 1}, {"Trace": True}]
)
async def test_there_is_no_trace_unless_it_was_asked_for(world: World, extensions: Any) -> None:
    admin = await world.client("admin")

    answer = await admin.run("{ projects { nodes { code } } }", extensions=extensions)

    assert answer.data["projects"]["nodes"]
    assert "extensions" not in answer.body


@pytest.mark.parametrize("extensions", ["trace", 5, True, ["trace"], [["trace", True]]])
async def test_what_is_no_map_of_extensions_is_refused(
    world: World, capfd: pytest.CaptureFixture[str], extensions: Any
) -> None:
    admin = await world.client("admin")
    capfd.readouterr()

    answer = await admin.run("{ projects { nodes { code } } }", extensions=extensions)

    assert answer.status == 400
    assert answer.codes == ["INVALID_INPUT"]
    assert "unexpected" not in "".join(capfd.readouterr())


@pytest.mark.parametrize("who", ["manager", "reviewer", "collector", "viewer", "member"])
async def test_who_may_not_read_decisions_gets_the_same_answer_without_a_trace(world: World, who: str) -> None:
    client = await world.client(who)
    query = "{ viewer { role } projects { nodes { code records(first: 3) { nodes { id comment } } } } }"

    asked = await client.run(query, extensions=TRACE)
    unasked = await client.run(query)

    assert "extensions" not in asked.body
    assert asked.body == unasked.body


async def test_nobody_gets_no_trace(world: World) -> None:
    answer = await world.anonymous.run("{ viewer { role } }", extensions=TRACE)

    assert answer.body == {"data": {"viewer": None}}


async def test_the_trace_is_of_who_really_asks(world: World) -> None:
    query = "{ viewer { can(permission: ACCESS_READ) } }"

    answer = await Looking(await world.client("admin"), "MEMBER").run(query, extensions=TRACE)

    assert answer.data == {"viewer": {"can": False}}
    assert answer.body["extensions"]["trace"]["decided"] == [
        {"permission": "access:read", "scope": "ORGANIZATION", "own": False, "allowed": False}
    ]


async def test_a_role_that_was_taken_away_takes_the_trace_with_it(world: World) -> None:
    auditor = await world.client("auditor")
    member_id = await world.member_id("auditor")
    assert "trace" in (await auditor.run("{ viewer { role } }", extensions=TRACE)).body["extensions"]

    await as_superuser(world, "membership", "set role = 'MEMBER' where id = $1", member_id)

    assert "extensions" not in (await auditor.run("{ viewer { role } }", extensions=TRACE)).body


async def test_an_operation_that_fails_is_traced_without_a_value(world: World) -> None:
    admin = await world.client("admin")

    answer = await admin.post(
        json_body(
            {
                "query": "query($id: ID!) { record(id: $id) { nope } }",
                "variables": {"id": "secret"},
                "extensions": TRACE,
            }
        )
    )

    assert answer.errors
    assert "secret" not in answer.text
