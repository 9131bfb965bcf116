"""Imports of sites through the API: uploaded, looked through, run in the background, by whoever may still."""

import json
from typing import Any

import asyncpg
import pytest

from auth.permission import Permission as P
from resolvers.import_running import ImportRunning
from tests.model.test_site_import import a_file
from tests.support.access import person_with
from tests.support.importing import CANCEL, CREATE, Made, counts, make, run_to_the_end, send, show, start, uploaded
from tests.support.location import make_sensitive
from tests.support.world import World

KIND = "GEOJSON_SITES"


async def sent(world: World, content: bytes, key: str = "manager", code: str = "CANAL") -> Made:
    """Make an import of sites as somebody, and send its file."""
    return await uploaded(world, key, code, content, kind=KIND)


def mixed() -> bytes:
    """Return a file with sites, one that is there twice, and one that is a line."""
    collection = json.loads(a_file("A", "B", "A").getvalue())
    line = {"type": "LineString", "coordinates": [[0, 0], [1, 1]]}
    collection["features"].insert(1, {"type": "Feature", "geometry": line, "properties": {"code": "L"}})
    return json.dumps(collection).encode()


async def codes(world: World) -> list[str]:
    """Return the codes of the sites of the first project."""
    rows = await world.sql("select code from site where project_id = $1 order by 1", await world.project_id("CANAL"))
    return [row["code"] for row in rows]


async def test_a_dry_run_tells_every_feature_s_fate_and_the_import_does_the_same(world: World) -> None:
    manager = await world.client("manager")
    made = await sent(world, mixed())

    await start(manager, made, dry_run=True)
    await run_to_the_end()
    foreseen = await show(manager, made)
    before = await codes(world)
    await start(manager, made)
    await run_to_the_end()
    shown = await show(manager, made)

    assert (foreseen["status"], foreseen["kind"], counts(foreseen)) == ("CHECKED", KIND, (2, 0, 2, 0))
    assert before == []
    assert [tuple(row.values()) for row in shown["rows"]["nodes"]] == [
        (1, "CREATED", None, None),
        (2, "REJECTED", "geometry", "is no Point"),
        (3, "CREATED", None, None),
        (4, "REJECTED", "code", "has the code of feature 1"),
    ]
    assert shown["rows"]["nodes"] == foreseen["rows"]["nodes"]
    assert (shown["status"], counts(shown), shown["totalRows"]) == ("DONE", (2, 0, 2, 0), 4)
    assert (shown["progress"]["doneRows"], shown["recordsCreated"]) == (4, 0)
    assert await codes(world) == ["A", "B"]
    assert await world.value("select count(*) from import_chunk") == 0


async def test_a_file_that_comes_twice_makes_no_site_twice_and_changes_none(world: World) -> None:
    manager = await world.client("manager")
    for content in (a_file("A", "B"), a_file("A", "B", "C", name="Another")):
        made = await sent(world, content.getvalue())
        await start(manager, made)
        await run_to_the_end()

    assert counts(await show(manager, made)) == (1, 2, 0, 0)
    assert await world.value("select name from site where code = 'A'") == "Site A"


async def test_each_batch_is_a_change_of_who_started_it_and_one_process_goes_on_where_another_ended(
    world: World,
) -> None:
    manager, since = await world.client("manager"), await world.now()
    made = await sent(world, a_file(*(f"W-{number}" for number in range(1_100))).getvalue())
    await start(manager, made)
    await ImportRunning().step()
    halfway = await show(manager, made)

    await run_to_the_end()

    assert (halfway["status"], halfway["progress"]["doneRows"], halfway["progress"]["totalRows"]) == (
        "RUNNING",
        500,
        1_100,
    )
    assert counts(await show(manager, made)) == (1_100, 0, 0, 0)
    entries = [entry for entry in await world.entries(since=since) if entry["action"] == "site.import"]
    assert [len(entry["entity_ids"]) for entry in entries] == [500, 500, 100]
    assert {(entry["membership_id"], entry["channel"]) for entry in entries} == {
        (await world.member_id("manager"), "JOB")
    }


async def test_sites_of_a_sensitive_project_keep_their_places_to_themselves(world: World) -> None:
    await make_sensitive(world)
    made = await sent(world, a_file("A").getvalue())

    await start(await world.client("manager"), made)
    await run_to_the_end()

    [row] = await world.sql("select latitude, location_is_coarse, exact_location from site where code = 'A'")
    assert row["location_is_coarse"]
    assert row["latitude"] != 51.5
    assert row["exact_location"] is not None


async def test_who_may_not_any_more_makes_no_further_site(world: World) -> None:
    owner, manager = await world.client("owner"), await world.client("manager")
    made = await sent(world, a_file(*(f"W-{number}" for number in range(600))).getvalue())
    await start(manager, made)
    running = ImportRunning()
    await running.step()
    given = {
        "userId": f"User:{await world.member_id('manager')}",
        "projectId": f"Project:{await world.project_id('CANAL')}",
        "role": "COLLECTOR",
        "reason": "Moved on.",
    }
    answer = await owner.run(
        "mutation($input: AssignProjectRoleInput!) { assignProjectRole(input: $input) { errors { code } } }",
        {"input": given},
    )
    assert answer.data["assignProjectRole"]["errors"] == []
    since = await world.now()

    await run_to_the_end(running)

    assert len(await codes(world)) == 500
    shown = await show(owner, made, first=0)
    assert (shown["status"], shown["errorCode"], shown["createdRows"]) == ("FAILED", "FORBIDDEN", 500)
    denied = [row for row in await world.entries(since=since) if row["outcome"] == "DENIED"]
    assert [(row["action"], row["channel"]) for row in denied] == [("site.import", "JOB")]


@pytest.mark.parametrize(
    ("permissions", "missing"),
    [
        ({P.RECORD_IMPORT, P.RECORD_READ, P.RECORD_READ_CONFIDENTIAL, P.RECORD_READ_PERSONAL}, "site:create"),
        ({P.SITE_CREATE}, "record:import"),
    ],
)
async def test_sites_are_imported_by_who_may_import_and_make_sites(
    world: World, permissions: set[P], missing: str
) -> None:
    able = {P.PROJECT_READ, P.SITE_READ, P.DATA_IMPORT_READ, *permissions}
    await person_with(world, "member", able, level="PROJECT")
    member, project = await world.client("member"), await world.project_id("CANAL")
    given = {"projectId": f"Project:{project}", "kind": KIND, "fileName": "sites.geojson", "size": 3}
    before, since = await world.value("select count(*) from data_import"), await world.now()

    refused = (await member.run(CREATE, {"input": given})).data["createImport"]["errors"]

    assert [(one["code"], one["permission"]) for one in refused] == [("FORBIDDEN", missing)]
    assert await world.value("select count(*) from data_import") == before
    denied = [entry for entry in await world.entries(since=since) if entry["outcome"] == "DENIED"]
    assert [entry["action"] for entry in denied] == ["data_import.create"]
    made = await sent(world, a_file("A").getvalue())
    shown = await show(member, made)
    assert not shown["viewerCan"]["start"]
    assert [one["permission"] for one in (await start(member, made))["errors"]] == [missing]


@pytest.mark.parametrize(
    ("who", "code"), [("viewer", "FORBIDDEN"), ("member", "NOT_FOUND"), ("other-owner", "NOT_FOUND")]
)
async def test_who_makes_no_sites_imports_none(world: World, who: str, code: str) -> None:
    given = {"projectId": f"Project:{await world.project_id('CANAL')}", "kind": KIND, "fileName": "x", "size": 3}

    payload = (await (await world.client(who)).run(CREATE, {"input": given})).data["createImport"]

    assert [one["code"] for one in payload["errors"]] == [code]
    assert await world.value("select count(*) from data_import") == 0


@pytest.mark.parametrize(
    "content",
    [b"{", b"[]", b'{"type": "FeatureCollection"}', b"\xff\xfe", b'{"type": "FeatureCollection", "features": 1}'],
)
async def test_what_is_no_collection_of_features_ends_the_import_and_says_why(world: World, content: bytes) -> None:
    manager = await world.client("manager")
    made = await sent(world, content)

    await start(manager, made)
    await run_to_the_end()

    shown = await show(manager, made)
    assert (shown["status"], shown["errorCode"]) == ("FAILED", "INVALID_INPUT")
    assert shown["errorMessage"].startswith("Expected ")
    assert await codes(world) == []
    assert (await manager.run(CANCEL, {"input": {"id": made.id}})).data["cancelImport"]["errors"] == []


async def test_a_file_without_features_is_done_at_once(world: World) -> None:
    manager = await world.client("manager")
    made = await sent(world, a_file().getvalue())

    await start(manager, made)
    await run_to_the_end()

    shown = await show(manager, made)
    assert (shown["status"], shown["totalRows"], counts(shown)) == ("DONE", 0, (0, 0, 0, 0))
    assert shown["progress"]["totalRows"] == 0


async def test_a_file_of_sites_that_no_reader_takes_is_refused_before_it_is_sent(world: World) -> None:
    manager = await world.client("manager")
    given: dict[str, Any] = {"projectId": f"Project:{await world.project_id('CANAL')}", "kind": KIND, "fileName": "x"}

    payload = (await manager.run(CREATE, {"input": {**given, "size": 64 * 1024 * 1024 + 1}})).data["createImport"]

    assert [(one["code"], one["field"]) for one in payload["errors"]] == [("INVALID_INPUT", ["input", "size"])]
    made = await make(manager, await world.project_id("CANAL"), b"abc", kind=KIND)
    assert (await send(manager, made.path, b"abc")).status_code == 200


def named_otherwise() -> bytes:
    """Return a file whose properties have the names that an office in the Netherlands gives them."""
    properties = {
        "putcode": "B-7",
        "naam": "Put bij de poort",
        "soort": "Well",
        "code": "X",
        "description": "Not this.",
    }
    point = {"type": "Point", "coordinates": [5.1, 52.1]}
    return json.dumps(
        {
            "type": "FeatureCollection",
            "features": [
                {"type": "Feature", "geometry": point, "properties": properties},
                {"type": "Feature", "geometry": point, "properties": {"code": "Y", "naam": "Without"}},
            ],
        }
    ).encode()


async def test_sites_are_read_from_properties_of_other_names(world: World) -> None:
    manager = await world.client("manager")
    named = {"code": "putcode", "name": "naam", "kind": "soort"}
    content = named_otherwise()
    made = await make(manager, await world.project_id("CANAL"), content, kind=KIND, siteProperties=named)
    assert (await send(manager, made.path, content)).status_code == 200

    await start(manager, made)
    await run_to_the_end()

    shown = await show(manager, made)
    assert (shown["status"], counts(shown)) == ("DONE", (1, 0, 1, 0))
    assert [(one["line"], one["column"]) for one in shown["rows"]["nodes"] if one["fate"] == "REJECTED"] == [
        (2, "putcode")
    ]
    (site,) = await world.sql("select code, name, kind, description from site where code = 'B-7'")
    assert (site["name"], site["kind"]) == ("Put bij de poort", "Well")
    query = "query($id: ID!) { dataImport(id: $id) { mapping } }"
    mapping = (await manager.run(query, {"id": made.id})).data["dataImport"]["mapping"]
    assert json.loads(mapping) == {**named, "description": "description"}


@pytest.mark.parametrize(
    ("kind", "properties", "field"),
    [
        ("WQX_CSV", {}, ["input", "siteProperties"]),
        ("WQX3_CSV", {"code": "a"}, ["input", "siteProperties"]),
        (KIND, {"code": ""}, ["input", "siteProperties", "code"]),
        (KIND, {"kind": "k" * 201}, ["input", "siteProperties", "kind"]),
    ],
)
async def test_properties_that_make_no_sense_are_refused_and_nothing_is_made(
    world: World, kind: str, properties: dict[str, str], field: list[str]
) -> None:
    manager = await world.client("manager")
    given = {"projectId": f"Project:{await world.project_id('CANAL')}", "kind": kind, "fileName": "a", "size": 9}

    payload = (await manager.run(CREATE, {"input": {**given, "siteProperties": properties}})).data["createImport"]

    assert [(one["code"], one["field"]) for one in payload["errors"]] == [("INVALID_INPUT", field)]
    assert await world.value("select count(*) from data_import") == 0


async def test_a_mapping_stays_with_the_kinds_that_take_one(world: World) -> None:
    """The database holds to it too, whoever writes."""
    manager = await world.client("manager")
    await make(manager, await world.project_id("CANAL"), b"a,b", kind="WQX_CSV")

    with pytest.raises(asyncpg.CheckViolationError, match="data_import_mapped"):
        await world.sql("update data_import set mapping = '{}'")
