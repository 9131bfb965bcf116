"""The history of a record: who is told which versions, and what of each."""

from datetime import datetime
from typing import Any
from uuid import UUID

import pytest

from auth.permission import Permission as P
from fieldward.cli.environment import operator
from models.base import new_id
from resolvers.erasure import erase_name
from tests.conftest import Template
from tests.support.access import make_program, person_with
from tests.support.history import (
    COLLECTORS,
    COMMENTS,
    CONFIDENTIAL,
    DIGITS,
    HISTORY,
    MEASURED,
    REASON,
    by_script,
    columns_of,
    done,
    history_of,
    make_past,
)
from tests.support.location import make_sensitive
from tests.support.mutation import mutate
from tests.support.priced import fresh_process
from tests.support.world import Client, World

MADE_AGAIN = """
insert into record select p.* from record r, lateral jsonb_populate_record(r, jsonb_build_object('id', $1::uuid)) p
 where r.id = $2
"""
"""Makes a record under an id that another one had, like a third."""

ACTIONS = [
    "record.create",
    "record.update",
    "record.update",
    "record.update",
    "record.submit",
    "record.approve",
]
WHY = "query($id: ID!) { record(id: $id) { history(direction: ASC) { nodes { reason } } } }"
PEOPLE = ("created_by_id", "reviewed_by_id", "contributor_ids", "device_id")


@pytest.mark.parametrize("who", ["owner", "auditor", "manager", "reviewer", "collector"])
async def test_who_reads_a_record_whole_is_told_each_version_and_all_that_changed(world: World, who: str) -> None:
    past = await make_past(world)

    versions = await history_of(await world.client(who), past.record)

    assert [one["action"] for one in versions] == ACTIONS
    assert [one["version"] for one in versions] == [1, 2, 3, 4, 5, 6]
    assert {one["channel"] for one in versions} == {"API"}
    times = [datetime.fromisoformat(one["at"]) for one in versions]
    assert all(
        before < at < after for before, at, after in zip(past.moments[:-1], times, past.moments[1:], strict=True)
    )
    assert columns_of(versions[0])["comment"] == (None, COMMENTS[0])
    changed = columns_of(versions[1])
    assert changed["comment"] == COMMENTS
    assert changed["collector"] == COLLECTORS
    assert changed["site_code"] == ("W-1", "W-2")
    assert columns_of(versions[3], "measurement", "DELETE")["comment"] == (MEASURED[0], None)
    assert columns_of(versions[3], "measurement", "INSERT")["comment"] == (None, MEASURED[1])
    assert columns_of(versions[5])["status"] == ("SUBMITTED", "APPROVED")


async def test_a_change_that_is_reverted_and_its_reverting_are_both_told(world: World) -> None:
    past = await make_past(world)

    versions = await history_of(await world.client("reviewer"), past.record)

    assert columns_of(versions[1])["site_code"] == ("W-1", "W-2")
    assert columns_of(versions[2])["site_code"] == ("W-2", "W-1")


async def test_who_may_not_read_a_column_is_not_told_that_it_changed(world: World) -> None:
    past = await make_past(world)

    answer = await (await world.client("viewer")).run(HISTORY, {"id": past.record})

    versions = answer.data["record"]["history"]["nodes"]
    assert [one["action"] for one in versions] == ACTIONS
    assert columns_of(versions[1]) == {"site_code": ("W-1", "W-2"), "version": ("1", "2")}
    assert columns_of(versions[5]).keys() == {"status", "reviewed_at", "review_meaning", "version"}
    told = {name for one in versions for entity in ("record", "measurement") for name in columns_of(one, entity)}
    assert told.isdisjoint({"comment", "collector", "exact_location", "review_reason", "reviewer", *PEOPLE})
    for secret in (*CONFIDENTIAL, *COLLECTORS, REASON):
        assert secret not in answer.text


async def test_who_somebody_is_is_told_to_who_sees_the_organization_s_people(world: World) -> None:
    past = await make_past(world)
    collector, reviewer = await world.member_id("collector"), await world.member_id("reviewer")

    for who, sees in (("auditor", True), ("manager", False), ("viewer", False)):
        answer = await (await world.client(who)).run(HISTORY, {"id": past.record})
        versions = answer.data["record"]["history"]["nodes"]
        assert [one["user"] for one in versions] == [
            {"name": name} if sees else None for name in ["Cleo Cole"] * 5 + ["Rafi Reyes"]
        ]
        assert (str(collector) in answer.text) is sees
        assert (str(reviewer) in answer.text) is sees
    # Who is not told who others are is told of themselves, and the other's id stays out of the rows.
    own = await (await world.client("collector")).run(HISTORY, {"id": past.record})
    assert own.data["record"]["history"]["nodes"][0]["user"] == {"name": "Cleo Cole"}
    assert str(reviewer) not in own.text


@pytest.mark.parametrize("who", ["anonymous", "member", "other-owner"])
async def test_who_does_not_see_the_record_is_told_nothing(world: World, who: str) -> None:
    past = await make_past(world)
    client = world.anonymous if who == "anonymous" else await world.client(who)
    since = await world.now()

    answer = await client.run(HISTORY, {"id": past.record})

    assert answer.body["data"] == {"record": None}
    assert answer.codes == (["UNAUTHENTICATED"] if who == "anonymous" else [])
    assert "W-1" not in answer.text
    assert await world.entries(since=since, kinds=["READ"]) == []


async def test_a_reason_is_told_as_the_trail_tells_it(world: World) -> None:
    past = await make_past(world)

    for who in ("owner", "auditor"):
        answer = await (await world.client(who)).run(WHY, {"id": past.record})
        assert [one["reason"] for one in answer.data["record"]["history"]["nodes"]] == [
            *(None, None, REASON, None, None),
            "Plausible.",
        ]
    for who in ("admin", "manager", "viewer"):
        answer = await (await world.client(who)).run(WHY, {"id": past.record})
        assert answer.codes == ["FORBIDDEN"]
        assert answer.errors[0]["extensions"]["permission"] == "audit:read_confidential"
        assert {one["reason"] for one in answer.body["data"]["record"]["history"]["nodes"]} == {None}
        assert REASON not in answer.text


async def test_a_reason_is_not_told_to_who_does_not_read_the_trail(world: World) -> None:
    past = await make_past(world)
    program = await make_program(world, [P.PROJECT_READ, P.RECORD_READ, P.AUDIT_READ_CONFIDENTIAL])

    answer = await program.client.run(WHY, {"id": past.record})

    assert {one["reason"] for one in answer.data["record"]["history"]["nodes"]} == {None}


async def test_what_is_read_through_the_history_is_in_the_read_log_as_read_of_the_row(world: World) -> None:
    past = await make_past(world)
    client = await world.client("auditor")
    since = await world.now()

    versions = await history_of(client, past.record)
    await client.run(WHY, {"id": past.record})

    entries = await world.entries(since=since, kinds=["READ"])
    read = {(one["entity"], one["field"]): set(one["entity_ids"]) for one in entries}
    assert read["record", "comment"] == read["record", "collector"] == {past.row_id}
    changed = {
        UUID(change["entityId"])
        for one in versions
        for change in one["changes"]
        if any(column["column"] == "comment" for column in change["columns"]) and change["entity"] == "measurement"
    }
    assert read["measurement", "comment"] == changed
    assert len(changed) == 2
    why = {UUID(versions[2]["entryId"]), UUID(versions[5]["entryId"])}
    assert read["audit_entry", "reason"] == why
    # The history is the record's: it is no reading of the trail.
    assert {one["action"] for one in entries} == {"field.read"}


async def test_if_the_read_log_cannot_be_written_no_history_is_shown(world: World) -> None:
    past = await make_past(world)
    client = await world.client("manager")
    await world.sql("revoke insert on audit_entry from fieldward_service")
    try:
        answer = await client.run(HISTORY, {"id": past.record})
    finally:
        await world.sql("grant insert on audit_entry to fieldward_service")

    assert answer.body["data"] is None
    assert answer.codes == ["INTERNAL"]
    assert not any(secret in answer.text for secret in CONFIDENTIAL)


async def test_places_of_before_are_told_by_their_cells_once_they_are_sensitive(world: World) -> None:
    past = await make_past(world)
    await make_sensitive(world)

    for who, exact in (("viewer", False), ("manager", True)):
        answer = await (await world.client(who)).run(HISTORY, {"id": past.record})
        first, *_, last = answer.data["record"]["history"]["nodes"]
        latitude = "51.47873" if exact else "51.45"
        assert columns_of(first)["latitude"] == (None, latitude)
        assert last["action"] == "project.rewrite_locations"
        # It changed nothing of what the record says.
        assert last["version"] == 6
        assert ("exact_location" in columns_of(last)) is exact
        assert any(digits in answer.text for digits in DIGITS) is exact


async def test_a_name_that_was_erased_is_in_no_version(world: World, template: Template) -> None:
    past = await make_past(world)
    await erase_name(world.services, operator(), slug="clearwater", names=[COLLECTORS[0]], reason="Asked for it")

    owner = await world.client("owner")
    async with fresh_process(world, template) as http:
        answer = await Client(http, owner.token).run(HISTORY, {"id": past.record})

    versions = answer.data["record"]["history"]["nodes"]
    assert columns_of(versions[0])["collector"] == (None, None)
    assert columns_of(versions[1])["collector"] == (None, COLLECTORS[1])
    assert COLLECTORS[0] not in answer.text


async def test_who_reads_part_of_a_record_is_told_that_part(world: World) -> None:
    past = await make_past(world)
    await person_with(world, "member", [P.PROJECT_READ, P.RECORD_READ, P.RECORD_READ_PERSONAL], level="PROJECT")

    answer = await (await world.client("member")).run(HISTORY, {"id": past.record})

    versions = answer.data["record"]["history"]["nodes"]
    assert columns_of(versions[1]) == {
        "collector": COLLECTORS,
        "site_code": ("W-1", "W-2"),
        "version": ("1", "2"),
    }
    assert not any(secret in answer.text for secret in CONFIDENTIAL)


async def test_the_history_of_a_deleted_record_is_in_the_trail_alone(world: World) -> None:
    past = await make_past(world)
    manager = await world.client("manager")
    given = {"id": past.record, "expectedVersion": 6, "reason": "Entered twice."}
    await mutate(manager, "deleteRecord", given)

    assert (await manager.run(HISTORY, {"id": past.record})).data == {"record": None}
    answer = await (await world.client("auditor")).run(
        "query($id: ID!) { auditEntries(direction: ASC, filter: {entityIds: {has: $id}, kind: {eq: CHANGE}})"
        " { nodes { action } } }",
        {"id": past.record},
    )
    assert [one["action"] for one in answer.data["auditEntries"]["nodes"]] == [*ACTIONS, "record.delete"]


async def test_a_record_that_was_made_again_under_its_id_shows_its_life_in_that_project_alone(world: World) -> None:
    past = await make_past(world)
    manager, owner = await world.client("manager"), await world.client("owner")
    await mutate(manager, "deleteRecord", {"id": past.record, "expectedVersion": 6, "reason": "Entered twice."})
    given = {
        "id": f"Record:{new_id()}",
        "projectId": f"Project:{await world.project_id('PARKS')}",
        "siteCode": "P-1",
        "collectedAt": "2026-01-02T03:04:05Z",
        "medium": "WATER",
    }
    await done(owner, "createRecord", given)
    # Nobody makes it again under its id by the API, which refuses that. An import does, whose ids are computed.
    async with by_script(world) as (connection, _):
        await connection.execute(MADE_AGAIN, past.row_id, UUID(given["id"].partition(":")[2]))

    answer = await owner.run(HISTORY, {"id": past.record})

    assert [one["action"] for one in answer.data["record"]["history"]["nodes"]] == ["test"]
    assert not any(secret in answer.text for secret in CONFIDENTIAL)


async def test_what_a_script_does_to_a_measurement_alone_is_a_version_of_its_record(world: World) -> None:
    past = await make_past(world)
    async with by_script(world) as (connection, entry):
        await connection.execute("update measurement set value = 9.5 where record_id = $1", past.row_id)

    last = (await history_of(await world.client("viewer"), past.record))[-1]

    assert last["entryId"] == str(entry)
    assert (last["action"], last["channel"], last["version"]) == ("test", "JOB", 6)
    assert columns_of(last, "measurement") == {"value": ("8.5", "9.5")}


async def test_versions_stand_in_the_order_of_the_changes_and_not_of_when_their_transactions_began(
    world: World,
) -> None:
    past = await make_past(world)
    manager = await world.client("manager")
    async with by_script(world) as (slow, entry):
        given = {"id": past.record, "expectedVersion": 6, "siteCode": "W-9", "reason": REASON}
        await done(manager, "updateRecord", given)
        await slow.execute("update record set site_name = 'Weir' where id = $1", past.row_id)

    *_, before, last = await history_of(await world.client("viewer"), past.record)

    assert last["entryId"] == str(entry)
    assert last["at"] < before["at"]
    answer = await (await world.client("viewer")).run(
        "query($id: ID!, $a: DateTime!, $b: DateTime!) {"
        " a: recordAsOf(id: $id, at: $a) { siteCode siteName } b: recordAsOf(id: $id, at: $b) { siteCode siteName } }",
        {"id": past.record, "a": last["at"], "b": before["at"]},
    )
    # Never the second without the first: the record was at no moment as they would be in that order.
    assert answer.data == {
        "a": {"siteCode": "W-1", "siteName": None},
        "b": {"siteCode": "W-9", "siteName": "Weir"},
    }


@pytest.mark.parametrize("size", [1, 2, 4, 50])
async def test_pages_of_versions_forwards_and_backwards_are_the_history(world: World, size: int) -> None:
    past = await make_past(world)
    client = await world.client("viewer")
    wanted = [one["entryId"] for one in await history_of(client, past.record)]

    for given, bound, more, cursor, falls in (
        ("first", "after", "hasNextPage", "endCursor", False),
        ("first", "after", "hasNextPage", "endCursor", True),
        ("last", "before", "hasPreviousPage", "startCursor", True),
    ):
        found: list[str] = []
        place, way = None, "DESC" if falls else "ASC"
        while True:
            answer = await client.run(
                f"query($id: ID!, $c: String) {{ record(id: $id) {{ history({given}: {size}, {bound}: $c,"
                f" direction: {way}) {{ pageInfo {{ {more} {cursor} }} nodes {{ entryId }} }} }} }}",
                {"id": past.record, "c": place},
            )
            page = answer.data["record"]["history"]
            ids = [one["entryId"] for one in page["nodes"]]
            found = [*ids, *found] if given == "last" else [*found, *ids]
            if not page["pageInfo"][more]:
                break
            place = page["pageInfo"][cursor]
        assert found == (wanted[::-1] if falls else wanted)


async def test_the_histories_of_a_page_of_records_are_one_statement(world: World) -> None:
    await make_past(world)
    query = "query($n: Int) { records(first: $n) { nodes { history { nodes { action changes { entity } } } } } }"

    one = await world.inside("manager", query, {"n": 1})
    many = await world.inside("manager", query, {"n": 50})

    assert one.reader.statements == many.reader.statements == 2


async def test_a_record_that_there_is_not_has_no_history(world: World) -> None:
    answer: Any = await (await world.client("owner")).run(HISTORY, {"id": f"Record:{new_id()}"})

    assert answer.data == {"record": None}
