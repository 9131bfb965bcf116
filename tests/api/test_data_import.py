"""Imports through the API: made, sent, looked through by a dry run, run in the background, and read again."""

from pathlib import Path
from typing import Any

import pytest

from resolvers.import_running import ImportRunning
from schema.cookie import SESSION
from tests.support.access import give_in_project
from tests.support.browser import OWN_PAGE, Browser
from tests.support.importing import (
    CANCEL,
    CREATE,
    CREATE_MAPPING,
    FIELD_SHEET,
    SHOW,
    age,
    as_wqx3,
    counts,
    demo_file,
    fresh_project,
    make,
    many_rows,
    run_to_the_end,
    send,
    show,
    start,
    uploaded,
)
from tests.support.world import World
from tests.support.wqx import a_file, a_row

PORTAL = Path("tests/data/wqx")
RESULT = ("characteristic", "value", "unit")
OF_PROJECT = (
    "query($filter: RecordFilter) { records(first: 10, filter: $filter) {"
    " nodes { siteCode collectedAt measurements { characteristic value unit } } } }"
)
SHEET = (
    "\ufeffStelle;Zeit;T;pH;Notiz\r\n"
    'A-1;01.02.2024 8:30;3,5;7,1;"über\r\nzwei Zeilen"\r\n'
    "A-1;01.02.2024 09:30;NA;=7+1;\r\n"
    ";;;;\r\n"
    "A-2;31.03.2024 02:30;4;7;\r\n"
    "A-2;1.4.2024;NA;NA;\r\n"
).encode()


async def test_a_dry_run_shows_every_row_s_fate_and_writes_nothing(world: World) -> None:
    owner = await world.client("owner")
    made = await uploaded(world, "owner", await fresh_project(world), demo_file())
    await start(owner, made, dry_run=True)
    before = await world.fingerprint()

    await run_to_the_end()
    shown = await show(owner, made, first=1000)

    assert (shown["status"], shown["dryRun"], shown["errorCode"]) == ("CHECKED", True, None)
    assert counts(shown) == (240, 0, 6, 0)
    assert shown["progress"]["doneRows"] == shown["totalRows"] == 246
    lines = [row["line"] for row in shown["rows"]["nodes"]]
    assert len(lines) == len(set(lines)) == 246
    after = await world.fingerprint()
    assert {name for name in before if before[name] != after[name]} == {"data_import", "audit_entry", "change"} & set(
        before
    ) | {"data_import"}


async def test_an_import_does_what_its_dry_run_said(world: World) -> None:
    owner = await world.client("owner")
    made = await uploaded(world, "owner", await fresh_project(world), demo_file())
    await start(owner, made, dry_run=True)
    await run_to_the_end()
    foreseen = await show(owner, made, first=1000)

    await start(owner, made)
    await run_to_the_end()
    shown = await show(owner, made, first=1000)

    assert shown["status"] == "DONE"
    assert shown["rows"] == {**foreseen["rows"], "pageInfo": shown["rows"]["pageInfo"]}
    assert counts(shown) == counts(foreseen)
    assert shown["recordsCreated"] == foreseen["recordsCreated"] == 179
    project = await world.project_id("FRESH")
    assert await world.value("select count(*) from measurement where project_id = $1", project) == 240
    assert await world.value("select count(*) from import_chunk") == 0


async def test_a_file_that_comes_twice_changes_nothing(world: World) -> None:
    owner = await world.client("owner")
    code = await fresh_project(world)
    for _ in range(2):
        made = await uploaded(world, "owner", code, demo_file())
        await start(owner, made)
        await run_to_the_end()

    assert counts(await show(owner, made)) == (0, 240, 6, 0)
    project = await world.project_id(code)
    assert await world.value("select count(*) from record where project_id = $1", project) == 179


async def test_the_fates_of_rows_are_paged_and_asked_for_by_kind(world: World) -> None:
    owner = await world.client("owner")
    made = await uploaded(world, "owner", await fresh_project(world), demo_file())
    await start(owner, made, dry_run=True)
    await run_to_the_end()
    whole = (await show(owner, made, first=1000))["rows"]["nodes"]

    paged: list[Any] = []
    after = None
    while True:
        page = (await show(owner, made, first=100, after=after))["rows"]
        paged += page["nodes"]
        after = page["pageInfo"]["endCursor"]
        if not page["pageInfo"]["hasNextPage"]:
            break
    rejected = (await show(owner, made, fate=["REJECTED"], first=1000))["rows"]["nodes"]

    assert paged == whole
    assert rejected == [row for row in whole if row["fate"] == "REJECTED"]
    assert {row["column"] for row in rejected} == {"ActivityIdentifier"}
    assert (await show(owner, made, fate=[]))["rows"]["nodes"] == []


async def test_a_file_comes_in_several_requests(world: World) -> None:
    owner = await world.client("owner")
    content = demo_file()
    made = await make(owner, await world.project_id(await fresh_project(world)), content)

    first = await send(owner, made.path, content[:50_000])
    wrong = await send(owner, made.path, content[60_000:], offset=60_000)
    authorized = {"authorization": f"Bearer {owner.token}"}
    where = await owner.http.get(made.path, headers=authorized)
    rest = await send(owner, made.path, content[50_000:], offset=50_000)

    assert (first.status_code, first.json()["received"]) == (200, 50_000)
    assert (wrong.status_code, wrong.headers["upload-offset"]) == (409, "50000")
    assert where.headers["upload-offset"] == "50000"
    assert rest.json() == {"received": len(content), "size": len(content), "status": "UPLOADED"}
    await start(owner, made)
    await run_to_the_end()
    assert counts(await show(owner, made)) == (240, 0, 6, 0)


async def test_a_file_is_ciphertext_in_the_database(world: World) -> None:
    await uploaded(world, "owner", await fresh_project(world), demo_file())

    [row] = await world.sql("select content from import_chunk")
    stored = bytes(row["content"])
    assert b"Seminole" not in stored
    assert await world.value("select count(*) from change where columns::text like '%Seminole%'") == await world.value(
        "select count(*) from change where columns::text like '%Seminole%' and entity <> 'import_chunk'"
    )


async def test_the_newer_layout_says_the_same_as_the_older_one(world: World) -> None:
    owner = await world.client("owner")
    code = await fresh_project(world)
    made = await uploaded(world, "owner", code, demo_file())
    await start(owner, made)
    await run_to_the_end()

    newer = await uploaded(world, "owner", code, as_wqx3(demo_file()), kind="WQX3_CSV")
    await start(owner, newer, dry_run=True)
    await run_to_the_end()

    shown = await show(owner, newer, fate=["REJECTED"], first=1000)
    assert counts(shown) == (0, 240, 6, 0)
    assert {row["column"] for row in shown["rows"]["nodes"]} == {"Activity_ActivityIdentifier"}


@pytest.mark.parametrize("order", [(0, 1), (1, 0)], ids=["the newer first", "the older first"])
async def test_what_the_portal_answers_in_both_layouts_is_the_same(world: World, order: tuple[int, int]) -> None:
    """Files of the portal's own, and none that we made by the names that we know."""
    owner = await world.client("owner")
    code = await fresh_project(world)
    files = [("WQX3_CSV", "wqx3-results.csv"), ("WQX_CSV", "older-results.csv")]
    found = []
    for kind, name in (files[one] for one in order):
        made = await uploaded(world, "owner", code, (PORTAL / name).read_bytes(), kind=kind)
        await start(owner, made)
        await run_to_the_end()
        found.append(counts(await show(owner, made)))

    assert found == [(5, 0, 0, 0), (0, 5, 0, 0)]
    answer = await owner.run(OF_PROJECT, {"filter": {"projectId": {"eq": f"Project:{await world.project_id(code)}"}}})
    records = answer.data["records"]["nodes"]
    assert {one["siteCode"] for one in records} == {"WIDNR_WQX-10032762"}
    assert sorted(
        (one["collectedAt"][:16], *(result[name] for result in one["measurements"] for name in RESULT))
        for one in records
    ) == [
        ("2011-05-09T17:20", "Specific conductance", 1000.0, "uS/cm"),
        ("2011-06-05T19:45", "Specific conductance", 800.0, "uS/cm"),
        ("2011-07-06T13:35", "Specific conductance", 860.0, "uS/cm"),
        ("2011-08-08T18:55", "Specific conductance", 471.0, "uS/cm"),
        ("2011-09-11T21:10", "Specific conductance", 750.0, "uS/cm"),
    ]


async def test_a_place_in_an_old_datum_is_the_standardized_one_or_none_is_taken(world: World) -> None:
    owner, code = await world.client("owner"), await fresh_project(world)
    place = {"LATITUDE": "47.5", "LONGITUDE": "-122.3", "DATUM": "NAD27"}
    standard = {"STANDARD_LATITUDE": "47.49979", "STANDARD_LONGITUDE": "-122.30129", "STANDARD_DATUM": "NAD83"}
    content = a_file(a_row(ACTIVITY="A-1", **place, **standard), a_row(ACTIVITY="A-2", **place)).getvalue().encode()
    made = await uploaded(world, "owner", code, as_wqx3(content), kind="WQX3_CSV")
    await start(owner, made)

    await run_to_the_end()
    shown = await show(owner, made, fate=["REJECTED"], first=10)

    assert counts(shown) == (1, 0, 1, 0)
    assert [one["column"] for one in shown["rows"]["nodes"]] == ["ActivityLocation_HorzCoordReferenceSystemDatum"]
    [stored] = await world.sql(
        "select latitude, longitude from record where project_id = $1", await world.project_id(code)
    )
    assert tuple(stored) == (47.49979, -122.30129)


async def test_a_table_is_imported_by_a_saved_mapping(world: World) -> None:
    owner = await world.client("owner")
    code = await fresh_project(world)
    project = await world.project_id(code)
    given = {"projectId": f"Project:{project}", "name": "Field sheet", "mapping": FIELD_SHEET}
    mapping = (await owner.run(CREATE_MAPPING, {"input": given})).data["createImportMapping"]["importMapping"]
    assert mapping["mapping"]["delimiter"] == "SEMICOLON"

    made = await uploaded(world, "owner", code, SHEET, kind="CSV", mapping=mapping["id"])
    await start(owner, made)
    await run_to_the_end()

    shown = await show(owner, made)
    assert shown["rows"]["nodes"] == [
        {"line": 2, "fate": "CREATED", "column": None, "reason": None},
        {"line": 4, "fate": "CREATED", "column": None, "reason": None},
        {"line": 5, "fate": "BLANK", "column": None, "reason": None},
        {
            "line": 6,
            "fate": "REJECTED",
            "column": "Zeit",
            "reason": "is a time that there was not on that day in its time zone: say the offset",
        },
        {"line": 7, "fate": "REJECTED", "column": None, "reason": "has no result"},
    ]
    rows = await world.sql(
        "select r.site_code, r.collected_at, r.medium, m.characteristic, m.value, m.value_reported, m.unit"
        " from record r join measurement m on m.record_id = r.id where r.project_id = $1"
        " order by r.collected_at, m.position",
        project,
    )
    assert [tuple(row)[3:] for row in rows] == [
        ("Temperature, water", 3.5, "3,5", "deg C"),
        ("pH", 7.1, "7,1", None),
        # What looks like a formula is data as any other.
        ("pH", None, "=7+1", None),
    ]
    assert [row["collected_at"].isoformat() for row in rows[1:]] == [
        "2024-02-01T07:30:00+00:00",
        "2024-02-01T08:30:00+00:00",
    ]
    assert {row["medium"] for row in rows} == {"WATER"}


async def test_a_file_that_is_none_of_its_kind_fails_and_can_be_called_off(world: World) -> None:
    owner = await world.client("owner")
    made = await uploaded(world, "owner", await fresh_project(world), b"Site,Date\nA,2024-01-01\n")
    await start(owner, made)
    await run_to_the_end()

    shown = await show(owner, made)
    assert (shown["status"], shown["errorCode"]) == ("FAILED", "INVALID_INPUT")
    assert shown["errorMessage"].startswith("The header lacks OrganizationIdentifier")
    assert shown["viewerCan"] == {"upload": False, "start": True, "cancel": True}

    cancelled = (await owner.run(CANCEL, {"input": {"id": made.id}})).data["cancelImport"]
    assert cancelled == {"dataImport": {"id": made.id, "status": "CANCELLED"}, "errors": []}
    assert await world.value("select count(*) from import_chunk") == 0
    assert (await start(owner, made))["errors"][0]["code"] == "CONFLICT"


@pytest.mark.parametrize("dry_run", [True, False], ids=["a dry run", "an import"])
async def test_a_file_with_a_header_alone_has_no_rows(world: World, dry_run: bool) -> None:
    owner = await world.client("owner")
    made = await uploaded(world, "owner", await fresh_project(world), a_file().getvalue().encode())
    await start(owner, made, dry_run=dry_run)
    assert (await show(owner, made))["progress"]["totalRows"] is None

    await run_to_the_end()

    shown = await show(owner, made)
    assert (shown["status"], shown["totalRows"]) == ("CHECKED" if dry_run else "DONE", 0)
    assert (shown["progress"]["totalRows"], shown["progress"]["doneRows"]) == (0, 0)


async def test_what_is_called_off_in_the_middle_says_how_far_it_came(world: World) -> None:
    owner = await world.client("owner")
    made = await uploaded(world, "owner", await fresh_project(world), many_rows(1_200))
    await start(owner, made)
    running = ImportRunning()
    await running.step()

    cancelled = (await owner.run(CANCEL, {"input": {"id": made.id}})).data["cancelImport"]
    await run_to_the_end(running)

    shown = await show(owner, made)
    assert (cancelled["errors"], shown["status"]) == ([], "CANCELLED")
    assert (shown["totalRows"], counts(shown), shown["recordsCreated"]) == (1_200, (500, 0, 0, 0), 500)
    assert counts(shown["progress"]) == counts(shown)


async def test_what_a_process_left_undone_another_goes_on_with(world: World) -> None:
    owner = await world.client("owner")
    made = await uploaded(world, "owner", await fresh_project(world), many_rows(1_200))
    await start(owner, made)

    await ImportRunning().step()
    done = (await show(owner, made))["progress"]
    await run_to_the_end(ImportRunning())
    shown = await show(owner, made, first=0)

    assert (done["doneRows"], done["totalRows"]) == (500, 1_200)
    assert (shown["status"], counts(shown)) == ("DONE", (1_200, 0, 0, 0))
    project = await world.project_id("FRESH")
    assert await world.value("select count(*) from record where project_id = $1", project) == 1_200
    entries = await world.value("select count(*) from audit_entry where action = 'record.import' and channel = 'JOB'")
    assert entries == 3


async def test_two_processes_do_a_batch_once(world: World) -> None:
    owner = await world.client("owner")
    made = await uploaded(world, "owner", await fresh_project(world), many_rows(1_200))
    await start(owner, made)
    one, other = ImportRunning(), ImportRunning()

    await one.step()
    await other.step()
    await one.step()
    await run_to_the_end(other)

    assert counts(await show(owner, made)) == (1_200, 0, 0, 0)


async def test_who_may_not_any_more_imports_no_further_row(world: World) -> None:
    owner = await world.client("owner")
    manager = await world.client("manager")
    made = await uploaded(world, "manager", "CANAL", many_rows(1_200))
    await start(manager, made)
    running = ImportRunning()
    await running.step()
    before = await world.value("select count(*) from record")

    person, project = await world.member_id("manager"), await world.project_id("CANAL")
    given = {"userId": f"User:{person}", "projectId": f"Project:{project}", "reason": "Moved on."}
    taken = await owner.run(
        "mutation($input: RemoveProjectRoleInput!) { removeProjectRole(input: $input) { errors { code } } }",
        {"input": given},
    )
    assert taken.data["removeProjectRole"]["errors"] == []
    since = await world.now()
    await run_to_the_end(running)

    assert await world.value("select count(*) from record") == before
    shown = await show(owner, made, first=0)
    assert (shown["status"], shown["errorCode"], shown["createdRows"]) == ("FAILED", "FORBIDDEN", 500)
    assert shown["errorMessage"] == "Whoever started it may not import into this project any more."
    denied = [row for row in await world.entries(since=since) if row["outcome"] == "DENIED"]
    assert [(row["action"], row["channel"]) for row in denied] == [("record.import", "JOB")]
    assert (await manager.run(SHOW, {"id": made.id})).data["dataImport"] is None


@pytest.mark.parametrize("dry_run", [True, False], ids=["a dry run", "an import"])
async def test_who_sees_the_project_and_may_not_import_any_more_gets_no_further(world: World, dry_run: bool) -> None:
    owner, manager = await world.client("owner"), await world.client("manager")
    made = await uploaded(world, "manager", "CANAL", many_rows(1_200))
    await start(manager, made, dry_run=dry_run)
    running = ImportRunning()
    await running.step()
    before = await world.value("select count(*) from record")

    await give_in_project(world, "manager", role="VIEWER")
    await run_to_the_end(running)

    assert await world.value("select count(*) from record") == before
    shown = await show(owner, made, first=0)
    assert (shown["status"], shown["errorCode"], shown["createdRows"]) == ("FAILED", "FORBIDDEN", 500)


async def test_new_results_of_a_record_under_review_are_refused(world: World) -> None:
    owner = await world.client("owner")
    code = await fresh_project(world)
    made = await uploaded(world, "owner", code, many_rows(2))
    await start(owner, made)
    await run_to_the_end()
    record = await world.value(
        "select id from record where project_id = $1 order by site_code limit 1", await world.project_id(code)
    )
    submit = "mutation($i: RecordVersionInput!) { submitRecord(input: $i) { errors { code message } } }"
    given = {"id": f"Record:{record}", "expectedVersion": 1}
    assert (await owner.run(submit, {"i": given})).data["submitRecord"]["errors"] == []

    more = await uploaded(world, "owner", code, many_rows(2, characteristic="pH"))
    await start(owner, more, dry_run=True)
    await run_to_the_end()
    foreseen = await show(owner, more)
    await start(owner, more)
    await run_to_the_end()

    shown = await show(owner, more)
    assert foreseen["rows"]["nodes"] == shown["rows"]["nodes"]
    assert [(row["fate"], row["reason"]) for row in shown["rows"]["nodes"]] == [
        ("REJECTED", "is of a record that is under review or approved"),
        ("CREATED", None),
    ]
    rows = await world.sql(
        "select r.version, r.status, count(m.*) as n from record r join measurement m on m.record_id = r.id"
        " where r.project_id = $1 group by r.version, r.status, r.site_code order by r.site_code",
        await world.project_id(code),
    )
    assert [tuple(row) for row in rows] == [(2, "SUBMITTED", 1), (2, "DRAFT", 2)]


async def test_a_record_gets_no_more_results_than_it_shows_whatever_file_they_are_in(world: World) -> None:
    owner = await world.client("owner")
    code = await fresh_project(world)

    def results(kind: str, count: int) -> bytes:
        rows = [a_row(CHARACTERISTIC=f"{kind} {number}", VALUE="1") for number in range(count)]
        return a_file(*rows).getvalue().encode()

    fates = []
    for content in (results("A", 400), results("B", 101), results("B", 101), results("C", 100), results("D", 1)):
        made = await uploaded(world, "owner", code, content)
        await start(owner, made, dry_run=True)
        await run_to_the_end()
        foreseen = counts(await show(owner, made))
        await start(owner, made)
        await run_to_the_end()
        shown = await show(owner, made)
        assert foreseen == counts(shown)
        fates.append((counts(shown), {row["reason"] for row in shown["rows"]["nodes"]}))

    full = "is of an activity that would have more than 500 results with those that are there"
    assert fates == [
        ((400, 0, 0, 0), {None}),
        ((0, 0, 101, 0), {full}),
        ((0, 0, 101, 0), {full}),
        ((100, 0, 0, 0), {None}),
        ((0, 0, 1, 0), {full}),
    ]
    record = await world.value("select id from record where project_id = $1", await world.project_id(code))
    assert await world.value("select count(*) from measurement where record_id = $1", record) == 500
    query = "query($id: ID!) { record(id: $id) { measurements { id } } }"
    assert len((await owner.run(query, {"id": f"Record:{record}"})).data["record"]["measurements"]) == 500


async def test_who_may_not_import_gets_nowhere(world: World) -> None:
    owner = await world.client("owner")
    canal = await world.project_id("CANAL")
    made = await make(owner, canal, b"abc")
    before = await world.value("select count(*) from data_import")
    given = {"projectId": f"Project:{canal}", "kind": "WQX_CSV", "fileName": "x.csv", "size": 3}
    for key, code in (("collector", "FORBIDDEN"), ("viewer", "FORBIDDEN"), ("other-owner", "NOT_FOUND")):
        client = await world.client(key)
        since = await world.now()
        payload = (await client.run(CREATE, {"input": given})).data["createImport"]
        assert [one["code"] for one in payload["errors"]] == [code], key
        response = await send(client, made.path, b"abc")
        assert response.status_code == 404, key
        assert response.json()["errors"][0]["extensions"]["code"] == "NOT_FOUND"
        assert [row["action"] for row in await world.entries(since=since)] == [
            "data_import.create",
            "data_import.upload",
        ]
        assert (await client.run(SHOW, {"id": made.id})).data["dataImport"] is None
        assert (await start(client, made))["errors"][0]["code"] == "NOT_FOUND"
    anonymous = await send(world.anonymous, made.path, b"abc")
    assert anonymous.status_code == 401
    assert await world.value("select count(*) from data_import") == before
    assert await world.value("select count(*) from import_chunk") == 0


async def test_an_auditor_sees_imports_and_starts_none(world: World) -> None:
    made = await uploaded(world, "owner", "CANAL", many_rows(1))
    auditor = await world.client("auditor")

    shown = await show(auditor, made)
    refused = await start(auditor, made)

    assert (shown["status"], shown["viewerCan"]) == ("UPLOADED", {"upload": False, "start": False, "cancel": False})
    assert refused["errors"][0]["permission"] == "record:import"


async def test_a_file_longer_than_announced_is_refused(world: World) -> None:
    owner = await world.client("owner")
    made = await make(owner, await world.project_id("CANAL"), b"abc")

    response = await send(owner, made.path, b"abcd")

    assert response.status_code == 409
    assert await world.value("select count(*) from import_chunk") == 0
    given = {"projectId": f"Project:{await world.project_id('CANAL')}", "kind": "WQX_CSV", "fileName": "x"}
    for size in (0, 2**31 - 1):
        payload = (await owner.run(CREATE, {"input": {**given, "size": size}})).data["createImport"]
        assert [one["code"] for one in payload["errors"]] == ["INVALID_INPUT"]


async def test_a_browser_s_cookie_sends_files_from_our_own_page_alone(world: World) -> None:
    browser = Browser(world.http)
    await browser.sign_in(world, "owner")
    owner = await world.client("owner")
    made = await make(owner, await world.project_id("CANAL"), b"abc")
    cookie = f"{SESSION}={browser.session}"

    foreign = await world.http.put(made.path, content=b"abc", headers={"cookie": cookie})
    own = await world.http.put(made.path, content=b"abc", headers={"cookie": cookie, **OWN_PAGE})

    assert (foreign.status_code, own.status_code) == (401, 200)


async def test_files_that_nobody_imports_are_forgotten(world: World) -> None:
    owner = await world.client("owner")
    made = await uploaded(world, "owner", "CANAL", b"abc")
    await run_to_the_end()
    assert (await show(owner, made))["status"] == "UPLOADED"
    await age(world, made)

    await run_to_the_end()

    assert (await show(owner, made))["status"] == "EXPIRED"
    assert await world.value("select count(*) from import_chunk") == 0


async def test_a_file_is_kept_for_a_week_from_when_the_last_of_it_came(world: World) -> None:
    owner = await world.client("owner")
    made = await make(owner, await world.project_id("CANAL"), b"abcdef")
    await age(world, made, days=6)
    assert (await send(owner, made.path, b"abc")).status_code == 200
    await age(world, made, days=6)

    await run_to_the_end()
    assert (await show(owner, made))["status"] == "OPEN"
    assert (await send(owner, made.path, b"def", offset=3)).json()["status"] == "UPLOADED"
    await age(world, made, days=6)
    await run_to_the_end()
    assert (await show(owner, made))["status"] == "UPLOADED"
    await age(world, made, days=2)
    await run_to_the_end()

    assert (await show(owner, made))["status"] == "EXPIRED"
    assert await world.value("select count(*) from import_chunk") == 0
