"""Exports: what is in the file, for whom, and what becomes of it."""

import csv
import io
import json
from datetime import timedelta
from hashlib import sha256
from typing import Any
from uuid import UUID

import pyarrow.parquet
import pytest

from auth.permission import Permission as P
from fieldward.cli.environment import operator
from models.base import new_id
from models.encryption.keystore import StoredKey
from models.encryption.owner import export_owner
from resolvers.erasure import erase_person
from resolvers.export_csv import unguarded
from tests.support.access import define_role, give_in_project, make_program, person_with
from tests.support.export import ask, exporting, look, make, take, work
from tests.support.location import add_record
from tests.support.mutation import mutate
from tests.support.people import a_person
from tests.support.world import Client, World

RECORDS = (
    "query($after: String) { records(first: 1000, after: $after) { nodes { id siteCode comment collector status"
    " project { code } measurements { characteristic valueReported comment } } } }"
)


def rows_of(content: bytes) -> list[dict[str, str]]:
    """Return the rows of a CSV file, read without any code of ours."""
    return list(csv.DictReader(io.StringIO(content.decode(), newline="")))


async def records_of(client: Client) -> list[dict[str, Any]]:
    """Return the records that a query shows, whatever it denies."""
    nodes: list[dict[str, Any]] = (await client.run(RECORDS)).body["data"]["records"]["nodes"]
    return nodes


@pytest.mark.parametrize("who", ["owner", "manager", "collector", "reviewer", "viewer"])
async def test_a_file_says_what_a_query_says_to_the_same_person(world: World, who: str) -> None:
    client = await world.client(who)
    shown = await records_of(client)

    made = await make(world, client, batch=17)

    rows = rows_of(made.content)
    by_record: dict[str, list[dict[str, str]]] = {}
    for row in rows:
        by_record.setdefault(f"Record:{row['record_id']}", []).append(row)
    assert set(by_record) == {one["id"] for one in shown}
    for one in shown:
        found = by_record[one["id"]]
        assert {row["project_code"] for row in found} == {one["project"]["code"]}
        for name, column in (("siteCode", "site_code"), ("collector", "collector"), ("comment", "comment")):
            # What may be read nowhere is no column.
            assert {unguarded(row.get(f"record_{column}", "")) for row in found} == {one[name] or ""}
        reported = [unguarded(row["measurement_value_reported"]) for row in found if row["measurement_id"]]
        assert reported == [measured["valueReported"] or "" for measured in one["measurements"]]
    assert made.shown["records"] == len(shown)
    assert made.shown["measurements"] == sum(len(one["measurements"]) for one in shown)


async def test_who_may_export_one_project_and_only_see_another_gets_the_one(world: World) -> None:
    role = await define_role(await world.client("owner"), [P.PROJECT_READ, P.RECORD_READ], name="Looks on")
    await give_in_project(world, "viewer", code="PARKS", customRoleId=role)
    viewer = await world.client("viewer")
    shown = await records_of(viewer)
    assert {one["project"]["code"] for one in shown} == {"CANAL", "PARKS"}

    made = await make(world, viewer)

    wanted = {one["id"] for one in shown if one["project"]["code"] == "CANAL"}
    assert {f"Record:{row['record_id']}" for row in rows_of(made.content)} == wanted
    assert made.shown["records"] == len(wanted)


async def test_a_viewer_gets_pseudonyms_and_no_secrets(world: World) -> None:
    names = {one["collector"] for one in await records_of(await world.client("manager"))} - {None}
    comments = {one["comment"] for one in await records_of(await world.client("manager"))} - {None}
    assert names
    assert comments

    made = await make(world, await world.client("viewer"))

    assert not any(name.encode() in made.content for name in names | comments)
    rows = rows_of(made.content)
    assert {row["record_collector"][:7] for row in rows} <= {"person-", ""}
    assert "record_comment" not in rows[0]
    left_out = json.loads(made.shown["manifest"])["left_out"]
    assert left_out["record"]["comment"] == "record:read_confidential"
    assert left_out["measurement"]["source_row"] == "record:read_confidential"


async def test_what_was_read_is_in_the_trail_with_its_rows(world: World) -> None:
    manager, since = await world.client("manager"), await world.now()

    made = await make(world, manager, batch=50)

    entries = await world.entries(since=since, kinds=["READ"])
    member = await world.member_id("manager")
    seen: dict[str, set[UUID]] = {entry["field"]: set() for entry in entries if entry["entity"] == "record"}
    for entry in entries:
        assert entry["membership_id"] == member
        if entry["entity"] == "record":
            seen[entry["field"]] |= set(entry["entity_ids"])
    shown = await records_of(manager)
    assert len(seen["comment"]) == sum(1 for one in shown if one["comment"] is not None)
    assert len(seen["collector"]) == sum(1 for one in shown if one["collector"] is not None)
    assert any(entry["action"] == "export.download" for entry in entries)
    assert made.shown["status"] == "READY"


async def test_the_manifest_says_what_when_by_whom_and_with_which_digest(world: World) -> None:
    manager = await world.client("manager")

    made = await make(
        world, manager, filter={"status": {"in": ["SUBMITTED", "DRAFT"]}, "siteCode": {"startsWith": "2"}}
    )

    said = json.loads(made.shown["manifest"])
    assert said["filter"] == {"siteCode": {"startsWith": "2"}, "status": {"in": ["SUBMITTED", "DRAFT"]}}
    assert said["author"] == {"id": f"User:{await world.member_id('manager')}", "name": "Mara Mann"}
    (file,) = said["files"]
    assert file["sha256"] == made.shown["sha256"] == sha256(made.content).hexdigest()
    assert file["bytes"] == made.shown["size"] == len(made.content)
    assert said["counts"] == {"records": made.shown["records"], "measurements": made.shown["measurements"]}
    response = await take(manager, made.shown["id"], "manifest.json")
    assert response.json() == said
    assert response.headers["cache-control"] == "no-store"


async def test_a_filter_narrows_as_in_a_query(world: World) -> None:
    manager = await world.client("manager")
    nodes = (await manager.run("{ records(first: 1000) { nodes { id siteCode } } }")).data["records"]["nodes"]
    site = nodes[0]["siteCode"]

    made = await make(world, manager, filter={"siteCode": {"eq": site}})

    expected = {one["id"].removeprefix("Record:") for one in nodes if one["siteCode"] == site}
    assert {row["record_id"] for row in rows_of(made.content)} == expected


@pytest.mark.parametrize("form", ["CSV", "GEOJSON", "PARQUET", "WQX_XML"])
async def test_measurements_are_narrowed_too_and_records_without_any_are_left_out(world: World, form: str) -> None:
    manager = await world.client("manager")
    several = [{"characteristic": one, "value": 7.5, "valueReported": "7.5"} for one in ("pH", "Nitrogen", "Iron")]
    await add_record(world, measurements=several)
    records = await records_of(manager)
    wanted = {
        one["id"]: [each["valueReported"] for each in one["measurements"] if each["characteristic"] == "Nitrogen"]
        for one in records
    }
    wanted = {record: values for record, values in wanted.items() if values}
    assert 0 < len(wanted) < len(records)
    assert sum(map(len, wanted.values())) < sum(len(one["measurements"]) for one in records if one["id"] in wanted)
    given = {"characteristic": {"eq": "Nitrogen"}}
    since = await world.now()

    made = await make(world, manager, form, batch=17, measurements=given)

    assert (made.shown["records"], made.shown["measurements"]) == (len(wanted), sum(map(len, wanted.values())))
    assert json.loads(made.shown["manifest"])["filter"] == {"measurements": given}
    if form == "CSV":
        found: dict[str, list[str]] = {}
        for row in rows_of(made.content):
            found.setdefault(f"Record:{row['record_id']}", []).append(unguarded(row["measurement_value_reported"]))
        assert found == {record: [one or "" for one in values] for record, values in wanted.items()}
    # What was left out was not read either.
    read = [one for one in await world.entries(since=since, kinds=["READ"]) if one["entity"] == "record"]
    assert {f"Record:{each}" for one in read for each in one["entity_ids"]} <= set(wanted)


async def test_filters_of_records_and_of_measurements_go_together_and_may_find_nothing(world: World) -> None:
    viewer = await world.client("viewer")
    site = next(one["siteCode"] for one in await records_of(viewer) if one["measurements"])
    of_records, of_measurements = {"siteCode": {"eq": site}}, {"not": {"unit": {"isNull": True}}}

    made = await make(world, viewer, filter=of_records, measurements=of_measurements)
    nothing = await make(world, viewer, measurements={"characteristic": {"eq": "There is none of it"}})
    every = await make(world, viewer, measurements={})

    assert {row["record_site_code"] for row in rows_of(made.content)} == {site}
    assert all(row["measurement_unit"] for row in rows_of(made.content))
    assert json.loads(made.shown["manifest"])["filter"] == {**of_records, "measurements": of_measurements}
    assert (nothing.shown["records"], rows_of(nothing.content)) == (0, [])
    assert every.shown["records"] == len(await records_of(viewer))


async def test_words_are_searched_as_in_a_query(world: World) -> None:
    manager = await world.client("manager")
    query = '{ records(search: "USGS", filter: {medium: {eq: WATER}}, first: 1000) { nodes { id } } }'
    found = (await manager.run(query)).data["records"]["nodes"]
    every = (await manager.run("{ records(first: 1000) { nodes { id } } }")).data["records"]["nodes"]

    made = await make(world, manager, search="USGS", filter={"medium": {"eq": "WATER"}})
    blank = await make(world, manager, search=" ")

    assert 0 < len(found) < len(every)
    assert {f"Record:{row['record_id']}" for row in rows_of(made.content)} == {one["id"] for one in found}
    assert json.loads(made.shown["filter"]) == {"medium": {"eq": "WATER"}, "search": "USGS"}
    assert json.loads(made.shown["manifest"])["filter"] == json.loads(made.shown["filter"])
    assert {f"Record:{row['record_id']}" for row in rows_of(blank.content)} == {one["id"] for one in every}
    assert blank.shown["filter"] is None
    too_long = await mutate(manager, "createExport", {"format": "CSV", "search": "x" * 1000}, "export { id }")
    assert [one["code"] for one in too_long.data["createExport"]["errors"]] == ["INVALID_INPUT"]


async def test_a_search_for_a_collector_finds_what_a_query_finds(world: World) -> None:
    manager = await world.client("manager")
    shown = await records_of(manager)
    name = next(one["collector"] for one in shown if one["collector"])

    made = await make(world, manager, filter={"collector": {"eq": name}})

    expected = {one["id"].removeprefix("Record:") for one in shown if one["collector"] == name}
    assert {row["record_id"] for row in rows_of(made.content)} == expected
    stored = await world.sql("select * from data_export")
    assert all(name.encode() not in repr(row).encode() for row in stored)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ({"collector": {"eq": "Ana Lind"}}, {"collector": {"eq": "…"}}),
        ({"collector": {"notIn": ["Ana Lind", "Ana Brook"]}}, {"collector": {"notIn": ["…", "…"]}}),
        ({"collector": {"eq": None}}, {"collector": {"eq": None}}),
        ({"collector": {"isNull": False}}, {"collector": {"isNull": False}}),
        (
            {"or": [{"siteCode": {"eq": "Ana"}}, {"not": {"collector": {"in": ["Ana Lind"]}}}]},
            {"or": [{"siteCode": {"eq": "Ana"}}, {"not": {"collector": {"in": ["…"]}}}]},
        ),
    ],
)
async def test_which_collector_was_asked_for_is_told_to_nobody_who_reads_the_filter(
    world: World, given: Any, kept: Any
) -> None:
    manager, auditor = await world.client("manager"), await world.client("auditor")

    made = await make(world, manager, filter=given)

    seen = await look(auditor, made.shown["id"])
    for shown in (made.shown, seen):
        assert json.loads(shown["filter"]) == json.loads(shown["manifest"])["filter"] == kept
        assert "Ana L" not in shown["filter"] + shown["manifest"]
    file = (await take(manager, made.shown["id"], "manifest.json")).text
    assert json.loads(file)["filter"] == kept


async def test_an_author_s_name_is_told_to_who_may_read_names(world: World) -> None:
    manager = await world.client("manager")
    made = await make(world, manager, filter={"siteCode": {"startsWith": "F-"}})
    program = await make_program(world, {P.EXPORT_READ, P.EXPORT_READ_CONFIDENTIAL})
    whole = json.loads(made.shown["manifest"])
    assert whole["author"]["name"] == "Mara Mann"

    for who in ("owner", "auditor"):
        assert json.loads((await look(await world.client(who), made.shown["id"]))["manifest"]) == whole
    seen = json.loads((await look(program.client, made.shown["id"]))["manifest"])

    assert seen == {**whole, "author": {"id": whole["author"]["id"], "name": None}}


async def test_who_asks_again_for_another_collector_asks_for_something_else(world: World) -> None:
    manager = await world.client("manager")
    given = {"format": "CSV", "id": f"Export:{new_id()}"}
    refused = []
    for name in ("Ana Lind", "Ana Lind", "Ana Brook"):
        asked = {**given, "filter": {"collector": {"eq": name}}}
        answer = await mutate(manager, "createExport", asked, "export { id }")
        refused.append([one["code"] for one in answer.data["createExport"]["errors"]])

    assert refused == [[], [], ["CONFLICT"]]


async def test_geojson_is_a_collection_of_features_with_longitude_first(world: World) -> None:
    manager = await world.client("manager")
    nodes = (await manager.run("{ records(first: 1000) { nodes { id latitude longitude } } }")).data["records"]["nodes"]

    made = await make(world, manager, "GEOJSON", batch=40)

    collection = json.loads(made.content)
    places = {one["id"]: one["geometry"] for one in collection["features"]}
    assert collection["type"] == "FeatureCollection"
    assert len(places) == len(nodes) == made.shown["records"]
    for one in nodes:
        place = places[one["id"].removeprefix("Record:")]
        expected = [one["longitude"], one["latitude"]]
        assert place == ({"type": "Point", "coordinates": expected} if None not in expected else None)
    assert sum(len(one["properties"]["measurements"]) for one in collection["features"]) == made.shown["measurements"]


async def test_parquet_has_the_rows_of_the_csv(world: World) -> None:
    manager = await world.client("manager")

    made, plain = await make(world, manager, "PARQUET", batch=40), await make(world, manager)

    table = pyarrow.parquet.read_table(io.BytesIO(made.content))
    rows = rows_of(plain.content)
    assert table.column_names == list(rows[0])
    assert table.num_rows == len(rows)
    assert [one or "" for one in table["record_id"].to_pylist()] == [row["record_id"] for row in rows]
    values = table["measurement_value"].to_pylist()
    assert values == [float(row["measurement_value"]) if row["measurement_value"] else None for row in rows]
    assert str(table.schema.field("record_collected_at").type) == "timestamp[us, tz=UTC]"


async def test_formulas_run_in_no_spreadsheet_and_come_back(world: World) -> None:
    manager = await world.client("manager")
    project = f"Project:{await world.project_id('CANAL')}"
    texts = ["=1+1", "+SUM(A1)", "-2+3", "@cmd", "\t=1", "'quoted", "＝1", 'a "b", c\r\nd', "-5.5"]
    for place, text in enumerate(texts):
        given = {
            "projectId": project,
            "siteCode": f"F-{place}",
            "collectedAt": "2026-01-02T03:04:05Z",
            "medium": "WATER",
            "comment": text,
        }
        assert (await mutate(manager, "createRecord", given)).data["createRecord"]["errors"] == []

    made = await make(world, manager, filter={"siteCode": {"startsWith": "F-"}})

    cells = {row["record_site_code"]: row["record_comment"] for row in rows_of(made.content)}
    assert len(cells) == len(texts)
    for place, text in enumerate(texts):
        cell = cells[f"F-{place}"]
        assert unguarded(cell) == text
        assert cell == "-5.5" or cell[0] not in "=+-@\t＝"


async def test_nothing_of_a_file_is_readable_in_the_database(world: World) -> None:
    manager = await world.client("manager")

    made = await make(world, manager)

    pieces = await world.sql("select content from data_export_piece order by position")
    assert sum(len(row["content"]) - 45 for row in pieces) == len(made.content)
    stored = b"".join(row["content"] for row in pieces)
    assert b"record_site_code" not in stored
    assert not any(one["siteCode"].encode() in stored for one in await records_of(manager))


async def test_who_may_export_nothing_is_refused_with_an_entry(world: World) -> None:
    for who, code in (("member", "FORBIDDEN"), ("auditor", "FORBIDDEN")):
        client, since = await world.client(who), await world.now()

        answer = await mutate(client, "createExport", {"format": "CSV"}, "export { id }")

        (error,) = answer.data["createExport"]["errors"]
        assert error["code"] == code
        (entry,) = await world.entries(since=since)
        assert (entry["action"], entry["outcome"]) == ("export.create", "DENIED")
    answer = await mutate(world.anonymous, "createExport", {"format": "CSV"}, "export { id }")
    assert answer.codes == ["UNAUTHENTICATED"]
    assert await world.value("select count(*) from data_export") == 0


async def test_another_tenant_s_export_holds_another_tenant_s_records(world: World) -> None:
    made = await make(world, await world.client("other-owner"))

    assert {row["project_code"] for row in rows_of(made.content)} == {"LAKES"}


async def test_an_export_made_by_many_attempts_under_the_same_id_is_one(world: World) -> None:
    manager = await world.client("manager")
    given = {"id": "0198c1de-0000-7000-8000-000000000001"}

    first, second = [await ask(manager, **given) for _ in range(2)]

    assert first == second
    other = await mutate(manager, "createExport", {"format": "PARQUET", **given}, "export { id }")
    assert [one["code"] for one in other.data["createExport"]["errors"]] == ["CONFLICT"]


async def test_too_many_at_work_are_refused(world: World) -> None:
    manager = await world.client("manager")
    for _ in range(5):
        await ask(manager)

    answer = await mutate(manager, "createExport", {"format": "CSV"}, "export { id }")

    assert [one["code"] for one in answer.data["createExport"]["errors"]] == ["CONFLICT"]


async def test_progress_is_told_while_it_is_made(world: World) -> None:
    manager = await world.client("manager")
    export_id = await ask(manager)
    job = exporting(world, batch=10)

    await work(job)

    progress = (await look(manager, export_id))["progress"]
    assert progress["rowsTotal"] == progress["rowsDone"] > 0


async def test_rights_that_shrink_while_it_is_made_end_it(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("resolvers.export_job.SLICE_S", 0.02)
    manager = await world.client("manager")
    export_id = await ask(manager)
    job = exporting(world, batch=1)
    assert await job.step()
    member, project = await world.member_id("manager"), await world.project_id("CANAL")
    given = {"userId": f"User:{member}", "projectId": f"Project:{project}", "role": "VIEWER", "reason": "Less."}
    assert (await mutate(await world.client("owner"), "assignProjectRole", given)).data["assignProjectRole"][
        "errors"
    ] == []

    await work(job)

    shown = await look(manager, export_id)
    assert (shown["status"], shown["errorCode"]) == ("REVOKED", "RIGHTS_SHRANK")
    assert await world.value("select count(*) from data_export_piece") == 0
    assert (await take(manager, export_id, "manifest.json")).status_code == 404


async def test_somebody_who_is_suspended_gets_no_file(world: World) -> None:
    manager = await world.client("manager")
    export_id = await ask(manager)
    given = {"userId": f"User:{await world.member_id('manager')}", "reason": "Away."}
    assert (await mutate(await world.client("admin"), "suspendUser", given)).data["suspendUser"]["errors"] == []

    await work(exporting(world))

    shown = await look(await world.client("owner"), export_id)
    assert (shown["status"], shown["errorCode"]) == ("REVOKED", "UNAUTHENTICATED")


async def test_a_cancelled_export_leaves_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("resolvers.export_job.SLICE_S", 0.02)
    manager = await world.client("manager")
    export_id, job = await ask(manager), exporting(world, batch=1)
    assert await job.step()

    answer = await mutate(manager, "cancelExport", {"id": export_id}, "export { status }")

    assert answer.data["cancelExport"] == {"export": {"status": "CANCELLED"}, "errors": []}
    await work(job)
    assert (await look(manager, export_id))["status"] == "CANCELLED"
    assert await world.value("select count(*) from data_export_piece") == 0


async def test_a_file_that_is_over_is_gone_and_its_key_with_it(world: World) -> None:
    manager = await world.client("manager")
    export_id, job = await ask(manager), exporting(world, lifetime=timedelta(milliseconds=1))
    await work(job)
    name = await world.value("select file_name from data_export")

    await work(job)

    assert (await look(manager, export_id))["status"] == "EXPIRED"
    assert (await take(manager, export_id, name)).status_code == 404
    assert await world.value("select count(*) from data_export_piece") == 0
    assert await world.value("select count(*) from data_export_progress where swept_at is null") == 0
    keys = await _keys(world, export_id)
    assert keys == []


async def test_what_is_deleted_is_gone_at_once(world: World) -> None:
    manager = await world.client("manager")
    made = await make(world, manager)

    answer = await mutate(manager, "deleteExport", {"id": made.shown["id"]}, "export { status }")

    assert answer.data["deleteExport"] == {"export": {"status": "DELETED"}, "errors": []}
    assert (await take(manager, made.shown["id"], made.shown["fileName"])).status_code == 404
    again = await mutate(manager, "deleteExport", {"id": made.shown["id"]}, "export { status }")
    assert [one["code"] for one in again.data["deleteExport"]["errors"]] == ["CONFLICT"]


async def test_others_see_of_an_export_what_their_role_says(world: World) -> None:
    manager = await world.client("manager")
    made = await make(world, manager)
    seen = {}
    for who in ("owner", "auditor", "collector", "other-owner"):
        answer = await (await world.client(who)).run("{ exports { nodes { id status viewerCan { take delete } } } }")
        seen[who] = answer.data["exports"]["nodes"]

    one = {"id": made.shown["id"], "status": "READY"}
    assert seen["owner"] == [{**one, "viewerCan": {"take": False, "delete": True}}]
    assert seen["auditor"] == [{**one, "viewerCan": {"take": False, "delete": False}}]
    assert seen["collector"] == seen["other-owner"] == []


async def test_a_program_exports_what_its_token_is_for(world: World) -> None:
    program = await make_program(
        world, [P.PROJECT_READ, P.RECORD_READ, P.RECORD_EXPORT, P.EXPORT_READ, P.EXPORT_READ_CONFIDENTIAL]
    )

    made = await make(world, program.client)

    assert "record_comment" not in rows_of(made.content)[0]
    shown = await look(await world.client("owner"), made.shown["id"])
    assert json.loads(shown["manifest"])["author"] == {
        "id": f"ServiceAccount:{program.id.removeprefix('ServiceAccount:')}",
        "name": None,
    }


async def test_a_role_without_the_permission_to_export_finds_nothing_to_export(world: World) -> None:
    await person_with(world, "member", [P.PROJECT_READ, P.RECORD_READ], level="PROJECT")
    member = await world.client("member")
    assert await records_of(member)

    answer = await mutate(member, "createExport", {"format": "CSV"}, "export { id }")

    (error,) = answer.data["createExport"]["errors"]
    assert (error["code"], error["permission"]) == ("FORBIDDEN", "record:export")


async def _keys(world: World, export_id: str) -> list[StoredKey]:
    """Return the keys of an export's file: what its row says has one of its own."""
    owner = export_owner(await world.organization_id("clearwater"), UUID(export_id.removeprefix("Export:")))
    return [key for key in await world.services.keystore.keys_of([owner]) if key.owner == owner]


async def test_erasing_somebody_ends_every_export_of_their_organization(world: World) -> None:
    manager = await world.client("manager")
    made, waiting = await make(world, manager), await ask(manager)
    assert await _keys(world, made.shown["id"])

    _, email = await a_person(world)
    await erase_person(world.services, operator(), email=email, reason="They asked for it.")

    assert await _keys(world, made.shown["id"]) == []
    assert (await take(manager, made.shown["id"], made.shown["fileName"])).status_code == 404
    assert (await look(manager, made.shown["id"]))["status"] == "EXPIRED"
    assert (await look(manager, waiting))["status"] == "CANCELLED"
    await work(exporting(world))
    assert await world.value("select count(*) from data_export_piece") == 0
