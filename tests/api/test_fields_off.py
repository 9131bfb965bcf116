"""Fields that a project does without: neither asked nor kept, whoever brings them."""

from typing import Any

import pytest

from models.inventory import entity_of, switched_columns
from models.measurement import Measurement
from models.record import Record
from models.record_field import RecordField
from resolvers.field_emptying import FieldEmptying
from tests.support.feed import a_record, cursor_of, pull
from tests.support.importing import START, counts, run_to_the_end, show, uploaded
from tests.support.keeping import hold, lift
from tests.support.mutation import mutate, prepare
from tests.support.trail import seal_all, verified
from tests.support.world import Client, World
from tests.support.wqx import a_file, a_row

REASON = "We need no names."
SHOWN = "project { fieldsOff fieldsEmptying version }"
RECORD = {"siteCode": "W-9", "collectedAt": "2026-02-03T04:05:06Z", "medium": "WATER"}
GIVEN: dict[str, tuple[str, Any]] = {
    "SITE_NAME": ("siteName", "Weir"),
    "LOCATION": ("latitude", 51.5),
    "ACTIVITY_TYPE": ("activityType", "Sample-Routine"),
    "METHOD": ("method", "Grab"),
    "COLLECTOR": ("collector", "Nadia Noor"),
    "COMMENT": ("comment", "The gate was open."),
}
WITH = {"LOCATION": {"longitude": -0.3}}
"""What goes with it."""
MEASURED = {"MEASUREMENT_METHOD": "method", "MEASUREMENT_COMMENT": "comment"}


async def switch(world: World, *off: str, by: str = "manager", empty: bool = False, code: str = "CANAL") -> Any:
    """Switch fields off as somebody, and return the payload."""
    project = await world.project_id(code)
    version = await world.value("select version from project where id = $1", project)
    given = {
        "id": f"Project:{project}",
        "expectedVersion": version,
        "fieldsOff": list(off),
        "emptyKept": empty,
        "reason": REASON,
    }
    answer = await mutate(await world.client(by), "setProjectFields", given, SHOWN)
    return answer.data["setProjectFields"]


async def empty_all(world: World) -> None:
    """Do what the background job does, until it is through."""
    emptying = FieldEmptying(batch=7)
    with world.services.keyring.activate():
        while await emptying.step(await world.organization_id("clearwater")):
            pass


@pytest.mark.parametrize("off", sorted(GIVEN))
async def test_who_gives_what_is_switched_off_is_told_which_field(world: World, off: str) -> None:
    project = f"Project:{await world.project_id('CANAL')}"
    assert (await switch(world, off))["project"]["fieldsOff"] == [off]
    collector, (name, value) = await world.client("collector"), GIVEN[off]
    since, before = await world.now(), await world.fingerprint()

    refused = await mutate(collector, "createRecord", {**RECORD, "projectId": project, name: value})

    [error] = refused.data["createRecord"]["errors"]
    assert (error["code"], error["field"]) == ("INVALID_INPUT", ["input", name])
    assert error["message"] == f"Expected none: {name} is switched off in this project."
    assert await world.fingerprint() == before
    [entry] = await world.entries(since=since)
    assert (entry["action"], entry["outcome"]) == ("record.create", "FAILED")
    made = await mutate(collector, "createRecord", {**RECORD, "projectId": project, name: None}, "record { id }")
    record = made.data["createRecord"]["record"]["id"]
    changed = await mutate(collector, "updateRecord", {"id": record, "expectedVersion": 1, name: value})
    [error] = changed.data["updateRecord"]["errors"]
    assert (error["code"], error["field"]) == ("INVALID_INPUT", ["input", name])
    # In another project nothing is switched off.
    other = f"Project:{await world.value('select id from project where code <> $1 limit 1', 'CANAL')}"
    owner = await world.client("owner")
    if (await mutate(owner, "createRecord", {**RECORD, "projectId": other}, "record { id }")).data["createRecord"][
        "record"
    ]:
        done = await mutate(owner, "createRecord", {**RECORD, "projectId": other, **WITH.get(off, {}), name: value})
        assert done.data["createRecord"]["errors"] == []


@pytest.mark.parametrize("off", sorted(MEASURED))
async def test_so_it_is_with_results(world: World, off: str) -> None:
    project = f"Project:{await world.project_id('CANAL')}"
    await switch(world, off)
    results = [{"characteristic": "pH", "value": 7.0}, {"characteristic": "pH", MEASURED[off]: "Meter"}]

    given = {**RECORD, "projectId": project, "measurements": results}
    [error] = (await mutate(await world.client("collector"), "createRecord", given)).data["createRecord"]["errors"]

    assert (error["code"], error["field"]) == ("INVALID_INPUT", ["input", "measurements", "1", MEASURED[off]])


async def test_forms_are_told_what_is_off_and_by_whom_it_may_be_switched(world: World) -> None:
    project = f"Project:{await world.project_id('CANAL')}"
    for by in ("reviewer", "collector", "viewer", "auditor", "member", "other-owner"):
        await world.client(by)
        before = await world.fingerprint()
        [error] = (await switch(world, "COMMENT", by=by))["errors"]
        assert error["code"] in {"FORBIDDEN", "NOT_FOUND"}
        assert await world.fingerprint() == before
    assert (await switch(world, "COMMENT", "COLLECTOR"))["errors"] == []

    for by in ("owner", "manager", "collector", "viewer", "auditor"):
        answer = await (await world.client(by)).run(f'{{ project(id: "{project}") {{ fieldsOff }} }}')
        assert answer.data["project"]["fieldsOff"] == ["COLLECTOR", "COMMENT"]
    assert (await switch(world))["project"]["fieldsOff"] == []


async def test_what_was_kept_stays_unless_it_is_said_to_be_emptied(world: World) -> None:
    project = f"Project:{await world.project_id('CANAL')}"
    given = {**RECORD, "projectId": project, "collector": "Nadia Noor"}
    made = await mutate(await world.client("collector"), "createRecord", given, "record { id }")
    named = made.data["createRecord"]["record"]["id"].removeprefix("Record:")
    kept = "select count(*) from record r join project p on p.id = r.project_id where p.code = 'CANAL' and "
    before = await world.value(f"{kept} collector is not null")
    assert before > 0
    await switch(world, "COLLECTOR")
    await empty_all(world)
    assert await world.value(f"{kept} collector is not null") == before
    others = await world.value("select count(*) from record where collector is not null") - before
    since = await world.now()
    versions = await world.sql(f"{kept.replace('count(*)', 'r.id, r.version, r.status')} true order by 1")

    assert (await switch(world, "COLLECTOR", empty=True))["project"]["fieldsEmptying"] is True
    await empty_all(world)

    columns = "num_nonnulls(collector, collector_index, collector_pseudonym) > 0"
    assert await world.value(f"{kept} {columns}") == 0
    # By the digest of what it was made from, a name could still be tried.
    digest = "select creation_digest is null from record where id = $1::uuid"
    assert await world.value(digest, named)
    assert await world.value("select count(*) from record where collector is not null") == others
    assert await world.sql(f"{kept.replace('count(*)', 'r.id, r.version, r.status')} true order by 1") == versions
    assert await world.value("select fields_emptying from project where code = 'CANAL'") is None
    # The row of a file repeats what the file said.
    assert (
        await world.value(
            "select count(*) from measurement m join project p on p.id = m.project_id"
            " where p.code = 'CANAL' and m.source_row is not null"
        )
        == 0
    )
    acts = {one["action"] for one in await world.entries(since=since)}
    assert acts == {"project.set_fields", "project.empty_fields"}
    await seal_all(world.services)
    found = await verified(world)
    assert [one for one in found.findings if one.table in {"record", "measurement", "project"}] == []


@pytest.mark.parametrize("first", [1, 3, 50])
async def test_a_copy_that_follows_the_feed_loses_what_results_lose(world: World, first: int) -> None:
    manager, stranger = await world.client("manager"), await world.client("other-owner")
    project, three = f"Project:{await world.project_id('CANAL')}", ("pH", "Lead", "Zinc")
    records = [
        await a_record(manager, project, measurements=[{"characteristic": one, **given} for one in three])
        for given in ({"comment": "By the fence."}, {"method": "Meter"}, {"comment": "Again."}, {"comment": "Late."})
    ]
    start, stranger_start = await cursor_of(manager), await cursor_of(stranger)
    copy = {one: await _results(manager, one) for one in records}
    versions = await world.sql("select id, version from record order by 1")
    await switch(world, "MEASUREMENT_COMMENT", empty=True)
    await empty_all(world)
    # Of each batch a record is told once, whatever of it was emptied in that.
    lossy = await world.sql(
        "select distinct e.id, c.part_of_id from change c join audit_entry e on e.id = c.entry_id"
        " where e.action = 'project.empty_fields' and c.entity = 'measurement'"
    )

    changes, end = await pull(manager, start, first=first, types=["RECORD"])

    assert {one["kind"] for one in changes} == {"UPDATED"}
    ids = [one["id"] for one in changes]
    assert set(ids) == {f"Record:{row['part_of_id']}" for row in lossy}
    assert {records[0], records[2], records[3]} <= set(ids)
    assert records[1] not in ids
    assert len(ids) == len(set(ids)) if first == 50 else len(ids) <= len(lossy)
    for one in ids:
        copy[one] = await _results(manager, one)
    assert [copy[one] for one in records] == [await _results(manager, one) for one in records]
    assert "fence" not in str(copy)
    assert (await pull(manager, end))[0] == []
    assert await world.sql("select id, version from record order by 1") == versions
    assert (await pull(stranger, stranger_start))[0] == []


async def _results(client: Client, record: str) -> Any:
    """Return a record's results, as they are read now."""
    query = "query($id: ID!) { record(id: $id) { measurements { id method comment } } }"
    return (await client.run(query, {"id": record})).data["record"]["measurements"]


async def test_what_is_held_is_emptied_once_the_hold_is_lifted(world: World) -> None:
    stage = await prepare(world)
    manager = await world.client("manager")
    given = {"id": stage.draft, "expectedVersion": 1, "comment": "Seen."}
    await mutate(manager, "updateRecord", given)
    held = await hold(world, stage.draft)
    comment = "select comment is not null from record where id = $1::uuid"
    await switch(world, "COMMENT", empty=True)
    await empty_all(world)
    assert await world.value(comment, stage.draft.removeprefix("Record:"))
    assert await world.value("select fields_emptying from project where code = 'CANAL'")

    await lift(world, held)
    await empty_all(world)

    assert not await world.value(comment, stage.draft.removeprefix("Record:"))
    assert await world.value("select fields_emptying from project where code = 'CANAL'") is None


async def test_to_empty_takes_the_right_to_delete(world: World) -> None:
    given = {
        "name": "Settings",
        "level": "PROJECT",
        "permissions": ["PROJECT_READ", "PROJECT_UPDATE", "RECORD_READ"],
        "reason": REASON,
    }
    role = (await mutate(await world.client("owner"), "createRole", given, "role { id }")).data["createRole"]["role"]
    assigned = {
        "userId": f"User:{await world.member_id('member')}",
        "projectId": f"Project:{await world.project_id('CANAL')}",
        "customRoleId": role["id"],
        "reason": REASON,
    }
    await mutate(await world.client("owner"), "assignProjectRole", assigned)

    [error] = (await switch(world, "COMMENT", by="member", empty=True))["errors"]

    assert (error["code"], error["permission"]) == ("FORBIDDEN", "record:delete")
    assert (await switch(world, "COMMENT", by="member"))["errors"] == []


async def test_rows_of_a_file_that_have_it_are_rejected_or_lose_it_as_was_chosen(world: World) -> None:
    await switch(world, "COMMENT")
    content = a_file(
        *(
            a_row(ACTIVITY=f"A-{one}", SITE=f"S-{one}", ACTIVITY_COMMENT="Cap was loose." if one else "")
            for one in range(3)
        )
    )
    sheet = content.getvalue().encode()

    looked = await _imported(world, sheet, dryRun=True)
    rejected = await _imported(world, sheet, dryRun=False)

    for shown in (looked, rejected):
        assert counts(shown) == (1, 0, 2, 0)
        refused = [one for one in shown["rows"]["nodes"] if one["fate"] == "REJECTED"]
        assert {(one["column"], one["reason"]) for one in refused} == {
            ("ActivityCommentText", "is switched off in this project")
        }
    dropped = await _imported(world, sheet, dryRun=False, dropSwitchedOff=True)
    assert counts(dropped) == (2, 1, 0, 0)
    ids = [
        row["id"] for row in await world.sql("select id from record where site_code = any($1)", ["S-0", "S-1", "S-2"])
    ]
    assert len(ids) == 3
    assert await world.value("select bool_and(comment is null) from record where id = any($1)", ids)
    assert await world.value("select bool_and(source_row is null) from measurement where record_id = any($1)", ids)


async def _imported(world: World, content: bytes, **how: Any) -> Any:
    """Import a file as the manager, and return what is shown of it."""
    client, made = await world.client("manager"), await uploaded(world, "manager", "CANAL", content)
    payload = (await client.run(START, {"input": {"id": made.id, **how}})).data["startImport"]
    assert payload["errors"] == []
    with world.services.keyring.activate():
        await run_to_the_end()
    return await show(client, made, first=10)


async def test_the_device_that_it_was_made_on_is_not_kept_where_that_is_off(world: World) -> None:
    stage = await prepare(world)
    await switch(world, "DEVICE")
    collector = await world.client("collector")
    given = {**RECORD, "projectId": stage.project, "deviceId": stage.device}
    [error] = (await mutate(collector, "createRecord", given)).data["createRecord"]["errors"]
    assert (error["code"], error["field"]) == ("INVALID_INPUT", ["input", "deviceId"])


def test_every_field_that_can_be_switched_off_is_declared_by_a_column_that_can_be_empty() -> None:
    columns = [
        column for model in (Record, Measurement) for column in entity_of(model).columns.values() if column.switch
    ]

    assert {column.switch for column in columns} == set(RecordField)
    assert all(column.is_nullable for column in columns)
    # What a column is found or masked by goes with it.
    for column in columns:
        beside = {column.masked_by, column.search.index_column if column.search else None} - {None}
        assert beside <= {one.name for one in columns if one.switch is column.switch}
    assert [one.name for one in switched_columns(entity_of(Measurement), [RecordField.COLLECTOR])] == ["source_row"]
    assert switched_columns(entity_of(Record), []) == ()
