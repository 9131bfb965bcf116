"""Timelines: what somebody saw and changed, who ever read or changed an object, and who looked at the trail."""

from typing import Any
from uuid import UUID

import pytest

from auth.permission import Permission as P
from models.base import new_id
from tests.support.access import make_program
from tests.support.history import COMMENTS, THEN, Past, make_past
from tests.support.mutation import mutate
from tests.support.world import Client, World

TIMELINE = """
query Timeline($filter: AuditEntryFilter!) {
  auditEntries(first: 1000, direction: ASC, filter: $filter) {
    totalCount
    nodes {
      kind action outcome entity field entityIds user { id } serviceAccount { id } requestId sessionId
      changes { entity entityId operation }
    }
  }
}
"""


async def timeline(client: Client, **given: Any) -> list[dict[str, Any]]:
    """Return the entries that a filter leaves, from the first on."""
    page = (await client.run(TIMELINE, {"filter": given})).data["auditEntries"]
    assert page["totalCount"] == len(page["nodes"])
    nodes: list[dict[str, Any]] = page["nodes"]
    return nodes


def until(past: Past) -> dict[str, str]:
    """Return the time of all that was done so far, so that the questions themselves are no part of the answer."""
    return {"gte": past.moments[0].isoformat(), "lt": past.moments[-1].isoformat()}


async def test_what_somebody_saw_and_changed_is_one_query(world: World) -> None:
    reviewer = await world.client("reviewer")
    past = await make_past(world)
    await reviewer.run("query($id: ID!) { record(id: $id) { comment collector } }", {"id": past.record})
    past.moments.append(await world.now())

    entries = await timeline(
        await world.client("auditor"), userId={"eq": f"User:{await world.member_id('reviewer')}"}, at=until(past)
    )

    assert [(one["action"], one["field"]) for one in entries] == [
        ("record.approve", None),
        ("field.read", "collector"),
        ("field.read", "comment"),
    ]
    assert entries[0]["changes"] == [{"entity": "record", "entityId": str(past.row_id), "operation": "UPDATE"}]
    assert entries[1]["entityIds"] == [str(past.row_id)]


async def test_who_ever_read_or_changed_an_object_is_one_query(world: World) -> None:
    past = await make_past(world)
    manager, viewer = await world.client("manager"), await world.client("viewer")
    # By itself, in a list, by its measurement, as it was; and by who may not read what is confidential.
    await manager.run("query($id: ID!) { record(id: $id) { comment collector } }", {"id": past.record})
    await manager.run("{ records(first: 1000) { nodes { measurements { comment } } } }")
    await manager.run(THEN, {"id": past.record, "at": past.moments[1].isoformat()})
    await viewer.run("query($id: ID!) { record(id: $id) { comment } }", {"id": past.record})
    given = {"id": past.record, "expectedVersion": 1, "reason": "No."}
    await mutate(viewer, "deleteRecord", given)
    past.moments.append(await world.now())

    entries = await timeline(await world.client("auditor"), entityIds={"has": past.record}, at=until(past))

    told = [(one["kind"], one["action"], one["entity"], one["field"]) for one in entries]
    assert told[:6] == [
        ("CHANGE", action, "record", None)
        for action in ("record.create", *["record.update"] * 3, "record.submit", "record.approve")
    ]
    reads = {one for one in told[6:] if one[0] == "READ"}
    assert reads == {
        *(("READ", "field.read", "record", field) for field in ("comment", "collector")),
        ("READ", "field.read", "measurement", "comment"),
    }
    # What is read now, and what was: measurements that are no more are still its own.
    assert len([one for one in told if one == ("READ", "field.read", "measurement", "comment")]) == 2
    assert told[-1] == ("ATTEMPT", "record.delete", "record", None)
    collector, manager_id, viewer_id = [
        f"User:{await world.member_id(who)}" for who in ("collector", "manager", "viewer")
    ]
    assert {one["user"]["id"] for one in entries if one["kind"] == "READ"} == {manager_id}
    assert entries[0]["user"]["id"] == collector
    assert entries[-1]["user"]["id"] == viewer_id


async def test_entries_about_another_object_are_left_out(world: World) -> None:
    past, other = await make_past(world), await make_past(world)
    auditor = await world.client("auditor")

    mine = await timeline(auditor, entityIds={"has": past.record})
    others = await timeline(auditor, entityIds={"has": other.record})

    assert len(mine) == len(others) == 6
    for entries, row_id in ((mine, past.row_id), (others, other.row_id)):
        assert all(one["entityIds"] in (None, [str(row_id)]) for one in entries)
    for unknown in (f"Record:{new_id()}", f"Nothing:{past.row_id}", f"Project:{past.row_id}"):
        assert await timeline(auditor, entityIds={"has": unknown}) == []
    answer = await auditor.run(TIMELINE, {"filter": {"entityIds": {"has": "nonsense"}}})
    assert answer.codes == ["INVALID_INPUT"]


async def test_who_read_a_person_s_data_is_found_by_the_person(world: World) -> None:
    owner, auditor = await world.client("owner"), await world.client("auditor")
    person = f"User:{await world.member_id('reviewer')}"
    since = (await world.now()).isoformat()
    await owner.run("query($id: ID!) { user(id: $id) { name email } }", {"id": person})
    until = (await world.now()).isoformat()

    entries = await timeline(auditor, entityIds={"has": person}, at={"gte": since, "lt": until})

    assert [(one["entity"], one["field"]) for one in entries] == [("membership", "name"), ("user_account", "email")]


@pytest.mark.parametrize("who", ["anonymous", "member", "viewer", "manager", "other-owner"])
async def test_who_may_not_read_the_trail_is_told_nothing_of_an_object(world: World, who: str) -> None:
    past = await make_past(world)
    client = world.anonymous if who == "anonymous" else await world.client(who)

    answer = await client.run(TIMELINE, {"filter": {"entityIds": {"has": past.record}}})

    shown = answer.body["data"]["auditEntries"]
    assert shown == (None if who == "anonymous" else {"totalCount": 0, "nodes": []})
    assert str(past.row_id) not in answer.text


async def test_entries_are_found_by_program_sign_in_request_and_field(world: World) -> None:
    past = await make_past(world)
    program = await make_program(world, [P.PROJECT_READ, P.RECORD_READ, P.RECORD_READ_CONFIDENTIAL])
    await program.client.run(
        "query($id: ID!) { record(id: $id) { comment exactLocation { latitude } } }", {"id": past.record}
    )
    await (await world.client("reviewer")).run("{ records(first: 5) { nodes { id comment } } }")
    auditor = await world.client("auditor")
    every = await timeline(auditor, at={"lt": (await world.now()).isoformat()})
    sessions = {one["sessionId"] for one in every if one["user"]} - {None}
    reviewer = f"User:{await world.member_id('reviewer')}"

    by_program = await timeline(auditor, serviceAccountId={"eq": program.id})
    assert {one["serviceAccount"]["id"] for one in by_program} == {program.id}
    assert [one["action"] for one in by_program] == ["field.read"]
    # What a program did is told of the program, and not of who made it.
    assert by_program[0]["user"] is None
    (session,) = {one["sessionId"] for one in every if one["user"] and one["user"]["id"] == reviewer} - {None}
    by_session = await timeline(auditor, sessionId={"eq": session})
    assert by_session == [one for one in every if one["sessionId"] == session]
    assert len(sessions) > 1
    request = next(one["requestId"] for one in every if one["action"] == "record.approve")
    by_request = await timeline(auditor, requestId={"in": [request]})
    assert by_request == [one for one in every if one["requestId"] == request]
    by_field = await timeline(auditor, field={"eq": "comment"})
    assert by_field
    assert {one["field"] for one in by_field} == {"comment"}
    answer = await auditor.run(TIMELINE, {"filter": {"sessionId": {"eq": "nonsense"}}})
    assert answer.codes == ["INVALID_INPUT"]
    assert "nonsense" not in answer.text


# ---------------------------------------------------------------- who looks at the trail

WAYS = ["", " # __schema", " query Other { __schema { queryType { name } } }"]
"""What stands behind an operation. What asks for the schema, or seems to, is run by an executor of its own."""


async def looked(world: World, since: Any) -> list[Any]:
    """Return the entries of looking at the trail."""
    return [one for one in await world.entries(since=since, kinds=["READ"]) if one["action"] == "audit.read"]


@pytest.mark.parametrize("behind", WAYS)
async def test_who_reads_the_trail_leaves_one_entry_with_all_that_they_were_shown(world: World, behind: str) -> None:
    await make_past(world)
    auditor = await world.client("auditor")
    since = await world.now()

    answer = await auditor.run(
        "query This { a: auditEntries(first: 3) { nodes { id } }"
        f" b: auditEntries(first: 5) {{ edges {{ node {{ id changes {{ entity }} }} }} }} }}{behind}",
        operationName="This",
    )

    (entry,) = await looked(world, since)
    assert (entry["entity"], entry["field"], entry["outcome"]) == ("audit_entry", None, "DONE")
    assert entry["membership_id"] == await world.member_id("auditor")
    shown = [edge["node"]["id"] for edge in answer.data["b"]["edges"]]
    assert {f"AuditEntry:{one}" for one in entry["entity_ids"]} == set(shown)
    assert len(entry["entity_ids"]) == len(shown) == 5


@pytest.mark.parametrize("behind", WAYS)
async def test_an_entry_that_is_looked_up_by_its_id_was_read(world: World, behind: str) -> None:
    auditor = await world.client("auditor")
    found = await world.value(
        "select id from audit_entry where organization_id = $1 limit 1", await world.organization_id("clearwater")
    )
    since = await world.now()

    for query in (
        "query This($id: ID!) { node(id: $id) { id } }",
        "query This($id: ID!) { node(id: $id) { ... on AuditEntry { action } } }",
        "query This($id: ID!) { node: nodes(ids: [$id]) { ... on AuditEntry { action changes { entity } } } }",
    ):
        assert (await auditor.run(query + behind, {"id": f"AuditEntry:{found}"}, operationName="This")).data["node"]

    assert [one["entity_ids"] for one in await looked(world, since)] == [[found], [found], [found]]


async def test_who_counts_entries_or_finds_none_looked_at_the_trail_too(world: World) -> None:
    auditor = await world.client("auditor")
    since = await world.now()

    await auditor.run("{ auditEntries { totalCount } }")
    await auditor.run('{ auditEntries(filter: {action: {eq: "nothing"}}) { nodes { id } } }')

    assert [one["entity_ids"] for one in await looked(world, since)] == [None, None]


async def test_who_is_shown_nothing_of_the_trail_leaves_no_entry(world: World) -> None:
    found = await world.value("select id from audit_entry limit 1")
    since = await world.now()

    for who in ("viewer", "manager", "member"):
        client = await world.client(who)
        answer = await client.run(
            "query($id: ID!) { auditEntries { totalCount nodes { id } } node(id: $id) { id } }",
            {"id": f"AuditEntry:{found}"},
        )
        assert answer.data == {"auditEntries": {"totalCount": 0, "nodes": []}, "node": None}

    assert await looked(world, since) == []


@pytest.mark.parametrize("behind", WAYS)
async def test_if_it_cannot_be_entered_that_somebody_looks_nothing_of_the_trail_is_shown(
    world: World, behind: str
) -> None:
    auditor = await world.client("auditor")
    found = await world.value(
        "select id from audit_entry where organization_id = $1 limit 1", await world.organization_id("clearwater")
    )
    await world.sql("revoke insert on audit_entry from fieldward_service")
    try:
        answers = [
            await auditor.run(query + behind, operationName="This")
            for query in (
                "query This { auditEntries(first: 3) { totalCount nodes { action at } } }",
                f'query This {{ node(id: "AuditEntry:{found}") {{ ... on AuditEntry {{ action at }} }} }}',
            )
        ]
    finally:
        await world.sql("grant insert on audit_entry to fieldward_service")

    assert [(one.body["data"], one.codes) for one in answers] == [(None, ["INTERNAL"])] * 2


async def test_looking_at_all_pages_of_the_trail_adds_an_entry_for_each_page(world: World) -> None:
    auditor = await world.client("auditor")
    before, since = (await world.now()).isoformat(), await world.now()
    query = """
    query($at: DateTime!, $after: String) {
      auditEntries(first: 10, after: $after, direction: ASC, filter: {at: {lt: $at}}) {
        pageInfo { hasNextPage endCursor }
        nodes { id }
      }
    }
    """
    shown: list[str] = []
    pages, after = 0, None
    while True:
        page = (await auditor.run(query, {"at": before, "after": after})).data["auditEntries"]
        shown += [one["id"] for one in page["nodes"]]
        pages += 1
        if not page["pageInfo"]["hasNextPage"]:
            break
        after = page["pageInfo"]["endCursor"]

    entries = await looked(world, since)
    assert len(entries) == pages > 2
    assert [f"AuditEntry:{one}" for entry in entries for one in entry["entity_ids"]] == shown
    assert len(set(shown)) == len(shown)


async def test_who_looked_at_an_entry_is_found_by_the_entry(world: World) -> None:
    past = await make_past(world)
    auditor, owner = await world.client("auditor"), await world.client("owner")
    await auditor.run(TIMELINE, {"filter": {"entityIds": {"has": past.record}}})
    entry = await world.value("select id from audit_entry where action = 'record.approve' order by at desc limit 1")

    entries = await timeline(owner, entityIds={"has": f"AuditEntry:{entry}"})

    assert [(one["action"], one["user"]["id"]) for one in entries] == [
        ("audit.read", f"User:{await world.member_id('auditor')}")
    ]
    assert COMMENTS[0] not in str(entries)
    assert UUID(entries[0]["requestId"])
