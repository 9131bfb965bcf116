"""A later file that says of a visit what is not what is stored of it: its rows are rejected, and not attached to it."""

from typing import Any

import pytest

from tests.support.importing import (
    CREATE_MAPPING,
    FIELD_SHEET,
    as_wqx3,
    counts,
    fresh_project,
    run_to_the_end,
    show,
    start,
    uploaded,
)
from tests.support.location import declare, rewrite
from tests.support.mutation import mutate
from tests.support.world import World
from tests.support.wqx import a_file, a_row

CONTRADICTS = "contradicts what is stored of the same activity"
VISIT = {
    "LATITUDE": "27.5",
    "LONGITUDE": "-82.25",
    "ACTIVITY_TYPE": "Sample-Routine",
    "SAMPLING_METHOD": "G",
}
OTHERWISE = {
    "site": ({"SITE": "ELSEWHERE"}, "MonitoringLocationIdentifier", "Location_Identifier"),
    "type": ({"ACTIVITY_TYPE": "Field Blank"}, "ActivityTypeCode", "Activity_TypeCode"),
    "medium": ({"MEDIUM": "Sediment"}, "ActivityMediaName", "Activity_Media"),
    "method": (
        {"SAMPLING_METHOD": "H"},
        "SampleCollectionMethod/MethodIdentifier",
        "SampleCollectionMethod_Identifier",
    ),
}


def sheet(**cells: str) -> bytes:
    """Return a file of one row of one visit."""
    return a_file(a_row(**{**VISIT, **cells})).getvalue().encode()


async def take(world: World, code: str, content: bytes, **more: Any) -> dict[str, Any]:
    """Import a file after a dry run that foresaw the same, and return what the API shows of it."""
    owner = await world.client("owner")
    made = await uploaded(world, "owner", code, content, **more)
    shown: list[dict[str, Any]] = []
    for dry_run in (True, False):
        assert (await start(owner, made, dry_run=dry_run))["errors"] == []
        await run_to_the_end()
        shown.append(await show(owner, made, first=10))
    assert shown[0]["rows"]["nodes"] == shown[1]["rows"]["nodes"]
    return shown[1]


async def the_record(world: World, code: str) -> Any:
    [record] = await world.sql("select * from record where project_id = $1", await world.project_id(code))
    return record


async def results(world: World, code: str) -> int:
    counted: int = await world.value(
        "select count(*) from measurement where project_id = $1", await world.project_id(code)
    )
    return counted


@pytest.mark.parametrize("what", OTHERWISE)
@pytest.mark.parametrize("kind", ["WQX_CSV", "WQX3_CSV"])
async def test_a_row_of_a_later_file_that_contradicts_the_record_is_rejected_with_its_column(
    world: World, what: str, kind: str
) -> None:
    code = await fresh_project(world)
    cells, older, newer = OTHERWISE[what]
    await take(world, code, sheet())
    before = await the_record(world, code)

    for more in ({}, {"CHARACTERISTIC": "pH", "VALUE": "7"}):
        content = sheet(**cells, **more)
        shown = await take(world, code, as_wqx3(content) if kind == "WQX3_CSV" else content, kind=kind)

        [row] = shown["rows"]["nodes"]
        column = newer if kind == "WQX3_CSV" else older
        assert (row["fate"], row["column"], row["reason"]) == ("REJECTED", column, CONTRADICTS)

    assert await the_record(world, code) == before
    assert await results(world, code) == 1
    assert counts(await take(world, code, as_wqx3(sheet()), kind="WQX3_CSV")) == (0, 1, 0, 0)


async def test_a_site_that_was_measured_again_leaves_its_old_visits_as_they_are(world: World) -> None:
    code = await fresh_project(world)
    await take(world, code, sheet())
    before = await the_record(world, code)

    assert counts(await take(world, code, sheet(LONGITUDE="-82.2501"))) == (0, 1, 0, 0)

    assert await the_record(world, code) == before


async def test_it_is_still_rejected_after_results_came_to_the_record(world: World) -> None:
    code = await fresh_project(world)
    await take(world, code, sheet())
    assert counts(await take(world, code, sheet(CHARACTERISTIC="pH", VALUE="7"))) == (1, 0, 0, 0)
    assert (await the_record(world, code))["version"] == 2

    assert counts(await take(world, code, sheet(SITE="ELSEWHERE", CHARACTERISTIC="Iron"))) == (0, 0, 1, 0)


async def test_a_record_that_somebody_corrected_is_contradicted_by_no_file(world: World) -> None:
    code = await fresh_project(world)
    await take(world, code, sheet())
    record = f"Record:{(await the_record(world, code))['id']}"
    changed = await mutate(
        await world.client("owner"),
        "updateRecord",
        {"id": record, "expectedVersion": 1, "siteCode": "W-9", "medium": "SOIL"},
        "record { id }",
    )
    assert changed.data["updateRecord"]["errors"] == []

    assert counts(await take(world, code, sheet())) == (0, 1, 0, 0)
    assert counts(await take(world, code, sheet(CHARACTERISTIC="pH", VALUE="7"))) == (1, 0, 0, 0)
    assert (await the_record(world, code))["site_code"] == "W-9"


async def test_a_record_that_was_only_submitted_is_known_again_and_contradicted(world: World) -> None:
    code = await fresh_project(world)
    await take(world, code, sheet())
    record = f"Record:{(await the_record(world, code))['id']}"
    sent = await mutate(await world.client("owner"), "submitRecord", {"id": record, "expectedVersion": 1}, "record{id}")
    assert sent.data["submitRecord"]["errors"] == []

    assert counts(await take(world, code, sheet())) == (0, 1, 0, 0)
    assert counts(await take(world, code, sheet(SITE="ELSEWHERE"))) == (0, 0, 1, 0)


async def test_what_a_later_file_says_first_or_leaves_out_contradicts_nothing(world: World) -> None:
    code = await fresh_project(world)
    less = a_file(a_row(SITE_NAME="Old mill")).getvalue().encode()
    more = a_file(a_row(**VISIT, SITE_NAME="New mill", ACTIVITY_COMMENT="Rain.")).getvalue().encode()

    assert counts(await take(world, code, less)) == (1, 0, 0, 0)
    assert counts(await take(world, code, more)) == (0, 1, 0, 0)
    assert counts(await take(world, code, less)) == (0, 1, 0, 0)

    record = await the_record(world, code)
    assert (record["latitude"], record["comment"], record["activity_type"]) == (None, None, None)


async def test_where_places_are_sealed_the_same_file_is_known_and_another_site_is_not(world: World) -> None:
    code = await fresh_project(world)
    await take(world, code, sheet())
    assert await declare(world, who="owner", code=code) == []
    await rewrite(world)
    assert (await the_record(world, code))["location_is_coarse"]

    assert counts(await take(world, code, sheet())) == (0, 1, 0, 0)
    assert counts(await take(world, code, sheet(SITE="ELSEWHERE"))) == (0, 0, 1, 0)


async def test_in_a_table_with_a_mapping_it_is_the_table_s_column(world: World) -> None:
    code, owner = await fresh_project(world), await world.client("owner")
    columns: Any = FIELD_SHEET["columns"]
    mapping = {**FIELD_SHEET, "columns": [*columns, {"column": "Probe", "field": "ACTIVITY"}]}
    given = {"projectId": f"Project:{await world.project_id(code)}", "name": "Sheet", "mapping": mapping}
    made = (await owner.run(CREATE_MAPPING, {"input": given})).data["createImportMapping"]["importMapping"]["id"]
    header = "Stelle;Zeit;Probe;T;pH\n"
    first, other = (f"{site};1.6.2024 8:00;P1;4,5;\n" for site in ("W-1", "W-2"))

    within = await take(world, code, (header + first + other).encode(), kind="CSV", mapping=made)
    later = await take(world, code, (header + other).encode(), kind="CSV", mapping=made)

    for shown, why in ((within, "contradicts an earlier row of the same activity"), (later, CONTRADICTS)):
        [row] = [one for one in shown["rows"]["nodes"] if one["fate"] == "REJECTED"]
        assert (row["column"], row["reason"]) == ("Stelle", why)
