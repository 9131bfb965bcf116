"""The import of the real file, counted against the file itself, and what happens to it the second time."""

import csv
import json
from collections import Counter
from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import Any, TextIO

import pytest

from auth.errors import ForbiddenError, NotFoundError
from fieldward.cli.environment import operator
from fieldward.demo.load import RESULTS
from fieldward.demo.people import PROJECTS
from models.errors import InvalidInputError
from resolvers.account import member_viewer
from resolvers.csv_layout import CsvLayout
from resolvers.csv_mapping_text import mapping_from
from resolvers.record_import import import_results
from resolvers.trail import Actor
from resolvers.wqx_table import Column
from tests.conftest import Template
from tests.support.world import World
from tests.support.wqx import a_file, a_row


def file_rows() -> list[dict[str, str]]:
    """Return the file's rows, read without any code of ours."""
    with RESULTS.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


async def test_every_row_of_the_file_became_a_measurement_or_a_rejection(world: World, template: Template) -> None:
    rows = file_rows()
    with_activity = [row for row in rows if row["ActivityIdentifier"]]
    reports = template.report.imports.values()

    assert sum(report.rows for report in reports) == len(rows) == 246
    assert sum(len(report.rejections) for report in reports) == len(rows) - len(with_activity) == 6
    assert sum(report.measurements_created for report in reports) == len(with_activity) == 240
    activities = {(row["OrganizationIdentifier"], row["ActivityIdentifier"]) for row in with_activity}
    assert sum(report.records_created for report in reports) == len(activities) == 179
    assert await world.value("select count(*) from record where collected_at_reported is not null") == 179
    assert await world.value("select count(*) from measurement where source_row is not null") == 240
    assert all(one.column == "ActivityIdentifier" and one.reason for report in reports for one in report.rejections)


async def test_the_file_is_spread_over_two_organizations(world: World) -> None:
    counted = {
        row["code"]: row["n"]
        for row in await world.sql(
            "select p.code, count(m.id) as n from project p join measurement m on m.project_id = p.id"
            " where m.source_row is not null group by 1"
        )
    }
    providers = Counter(row["OrganizationIdentifier"] for row in file_rows() if row["ActivityIdentifier"])

    assert counted == {one.code: sum(providers[name] for name in one.providers) for one in PROJECTS}
    assert await world.value("select count(distinct organization_id) from record") == 2


async def test_values_come_back_as_they_were_reported(world: World) -> None:
    client = await world.client("manager")
    answer = await client.run(
        "{ records(first: 1000) { nodes { siteCode collectedAtReported activityType comment"
        " measurements { value valueReported unit detectionCondition detectionLimit comment sourceRow } } } }"
    )

    shown: list[dict[str, Any]] = [
        {**one, "record": record}
        for record in answer.data["records"]["nodes"]
        for one in record["measurements"]
        if one["sourceRow"]
    ]
    expected = [row for row in file_rows() if row["OrganizationIdentifier"] in PROJECTS[0].providers]
    by_row = {json.dumps(json.loads(one["sourceRow"]), sort_keys=True): one for one in shown}
    assert len(shown) == len(expected)
    for row in expected:
        collector = "ActivityConductingOrganizationText"
        said = collector if row[collector].strip() else "OrganizationFormalName"
        kept = {name: cell for name, cell in row.items() if cell.strip() and name != said}
        one = by_row[json.dumps(kept, sort_keys=True)]
        assert (one["valueReported"] or "") == row["ResultMeasureValue"]
        assert one["value"] == (float(row["ResultMeasureValue"]) if row["ResultMeasureValue"] else None)
        assert (one["detectionCondition"] or "") == row["ResultDetectionConditionText"]
        assert (one["comment"] or "") == row["ResultCommentText"]
        assert (one["record"]["comment"] or "") == row["ActivityCommentText"]
        assert one["record"]["siteCode"] == row["MonitoringLocationIdentifier"]
        assert one["record"]["activityType"] == row["ActivityTypeCode"]


async def test_times_are_moved_from_the_zone_they_were_reported_in(world: World) -> None:
    client = await world.client("manager")

    answer = await client.run("{ records(first: 1000) { nodes { collectedAt collectedAtReported } } }")

    times = {node["collectedAtReported"]: node["collectedAt"] for node in answer.data["records"]["nodes"]}
    assert times["2014-09-29 12:25:00 EDT"] == "2014-09-29T16:25:00+00:00"
    assert times["2004-02-18 14:04:00 EST"] == "2004-02-18T19:04:00+00:00"


async def _import(world: World, who: str, project: str, *, file: TextIO | None = None, **more: Any) -> Any:
    slug = next(one.organization for one in PROJECTS if one.code == project)
    email = f"{who}@{slug}.example"
    viewer = await member_viewer(slug, email=email)
    actor = Actor(viewer.organization_id, operator().origin, viewer)
    with file or RESULTS.open(encoding="utf-8-sig", newline="") as stream:
        return await import_results(actor, viewer, stream, project_id=await world.project_id(project), **more)


async def test_importing_it_twice_changes_nothing(world: World) -> None:
    first = await _import(world, "owner", "LAKES")
    before = await world.fingerprint()

    second = await _import(world, "owner", "LAKES")

    assert first.records_created > 0
    assert (second.records_created, second.measurements_created) == (0, 0)
    assert (second.records_known, second.measurements_known, len(second.rejections)) == (179, 240, 6)
    assert await world.fingerprint() == before


@pytest.mark.parametrize("is_dry_run", [True, False])
async def test_nothing_was_sampled_in_the_future(world: World, *, is_dry_run: bool) -> None:
    today = datetime.now(UTC).date()
    days = {name: str(today + timedelta(days=ahead)) for name, ahead in (("today", 0), ("near", 1), ("far", 3))}
    rows = [a_row(ACTIVITY=f"A-{name}", DATE=day) for name, day in days.items()]
    rows += [a_row(ACTIVITY="A-far", DATE=days["far"], CHARACTERISTIC="pH", UNIT="None")]

    report = await _import(world, "manager", "CANAL", file=a_file(*rows), is_dry_run=is_dry_run)

    assert (report.created, report.rejected) == (2, 2)
    assert [(one.line, one.column, one.reason, one.value) for one in report.rejections] == [
        (line, Column.DATE, "lies in the future", days["far"]) for line in (4, 5)
    ]
    assert await world.value("select count(*) from record where collected_at > now() + interval '1 day'") == 0


async def test_a_table_with_a_mapping_has_nothing_of_the_future_either(world: World) -> None:
    mapping = """
        {"columns": [{"column": "well", "field": "SITE_CODE"}, {"column": "on", "field": "DATE"}],
         "results": [{"column": "ph", "characteristic": "pH"}]}
    """
    table = StringIO("well,on,ph\nW-1,2014-09-29,7\nW-1,2062-09-29,7\n", newline="")

    report = await _import(world, "manager", "CANAL", file=table, layout=CsvLayout(mapping_from(mapping)))

    assert report.created == 1
    assert [(one.line, one.column, one.value) for one in report.rejections] == [(3, "on", "2062-09-29")]


async def test_who_may_not_import_imports_nothing(world: World) -> None:
    before = await world.fingerprint()
    since = await world.now()

    for who, expected in (("viewer", ForbiddenError), ("collector", ForbiddenError), ("member", NotFoundError)):
        with pytest.raises(expected):
            await _import(world, who, "CANAL")

    assert await world.fingerprint() == before
    entries = await world.entries(since=since)
    assert [(one["action"], one["outcome"], one["channel"]) for one in entries] == [
        ("record.import", "DENIED", "COMMAND")
    ] * 3


async def test_a_file_that_is_no_result_file_is_refused_whole(world: World, tmp_path: Any) -> None:
    file = tmp_path / "other.csv"
    file.write_text("a,b\n1,2\n")
    viewer = await member_viewer("clearwater", email="owner@clearwater.example")
    actor = Actor(viewer.organization_id, operator().origin, viewer)
    before = await world.fingerprint()

    with file.open() as stream, pytest.raises(Exception, match="ActivityIdentifier") as caught:
        await import_results(actor, viewer, stream, project_id=await world.project_id("CANAL"))

    assert getattr(caught.value, "code", None) == InvalidInputError.code
    assert await world.fingerprint() == before
