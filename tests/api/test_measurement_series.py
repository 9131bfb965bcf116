"""Series: what plain SQL computes of each span of time, of the rows that the viewer sees, in one statement."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from schema.measurement_series import MOST_POINTS, MOST_SERIES
from tests.support.world import World

SERIES = """
query($characteristic: String!, $start: DateTime!, $end: DateTime!, $width: Int! = 500, $filter: MeasurementFilter,
      $record: RecordFilter) {
  measurementSeries(characteristic: $characteristic, start: $start, end: $end, width: $width, filter: $filter,
                    record: $record) {
    projectId siteCode medium fraction unit count spanSeconds points { at count min max mean first last }
  }
}
"""
START = datetime.fromisoformat("2024-01-01T00:00:00+00:00")
END = START + timedelta(days=10)
WINDOW = {"characteristic": "Level", "start": START.isoformat(), "end": END.isoformat()}
EVER = {"characteristic": "Nitrogen", "start": "1900-01-01T00:00:00Z", "end": "2100-01-01T00:00:00Z"}


async def _insert(
    world: World, site: str, *, every: str, values: str = "n", unit: str = "'m'", of: str = "CANAL"
) -> None:
    """Write readings of a site over ten days, beside the audit trail, as only the superuser can."""
    for table in ("record", "measurement"):
        await world.sql(f"alter table {table} disable trigger all")
    await world.sql(
        "insert into record (id, organization_id, created_at, project_id, site_code, collected_at, received_at, medium,"
        " status, contributor_ids, version, location_is_coarse)"
        " select gen_random_uuid(), organization_id, now(), id, $1, at, now(), 'WATER', 'DRAFT', '{}', 1, false"
        f" from project, generate_series($2::timestamptz, $3::timestamptz, interval '{every}') at where code = $4",
        site,
        START,
        END,
        of,
    )
    await world.sql(
        "insert into measurement (id, organization_id, created_at, project_id, record_id, position, characteristic,"
        f" value, unit) select gen_random_uuid(), organization_id, now(), project_id, id, 0, 'Level', {values}, {unit}"
        " from (select *, row_number() over (order by collected_at) as n from record where site_code = $1) r",
        site,
    )


async def _series(world: World, who: str = "owner", **variables: Any) -> list[dict[str, Any]]:
    answer = await (await world.client(who)).run(SERIES, {**WINDOW, **variables})
    found: list[dict[str, Any]] = answer.data["measurementSeries"]
    return found


async def test_a_long_series_is_what_plain_sql_says_of_each_span(world: World) -> None:
    await _insert(world, "LONG", every="7 minutes", values="100 * sin(n) + n % 13")
    expected = await world.sql(
        "select date_bin(interval '4 hours', r.collected_at, $1) as at, count(*), min(value), max(value),"
        " avg(value) as mean, (array_agg(value order by r.collected_at))[1] as first,"
        " (array_agg(value order by r.collected_at desc))[1] as last"
        " from measurement m join record r on r.id = m.record_id"
        " where r.site_code = 'LONG' and r.collected_at < $2 group by 1 order by 1",
        START,
        END,
    )

    (series,) = await _series(world, width=60)

    assert len(expected) == 60
    assert series["spanSeconds"] == 4 * 3600
    assert series["count"] == sum(row["count"] for row in expected)
    assert series["points"] == [
        {**row, "at": row["at"].isoformat(), "mean": pytest.approx(row["mean"])} for row in map(dict, expected)
    ]


async def test_a_peak_of_one_moment_is_not_lost_in_a_narrow_chart(world: World) -> None:
    await _insert(world, "PEAK", every="1 minute", values="case n when 7777 then 999 when 8888 then -999 else 1 end")

    (series,) = await _series(world, width=10)

    assert len(series["points"]) == 10
    assert max(point["max"] for point in series["points"]) == 999
    assert min(point["min"] for point in series["points"]) == -999


async def test_a_series_with_few_values_is_told_value_by_value(world: World) -> None:
    await _insert(world, "FEW", every="1 day")
    # At the end of the window nothing counts any more: it is the next one's.
    await _insert(world, "MANY", every="1 hour")

    few, many = await _series(world, width=10)

    assert (few["siteCode"], few["spanSeconds"], few["count"]) == ("FEW", None, 10)
    assert [point["at"] for point in few["points"]] == [(START + timedelta(days=n)).isoformat() for n in range(10)]
    assert [{**point, "at": None} for point in few["points"]] == [
        {"at": None, "count": 1, "min": n, "max": n, "mean": n, "first": n, "last": n} for n in range(1, 11)
    ]
    assert (many["siteCode"], many["spanSeconds"], many["count"]) == ("MANY", 86_400, 240)
    assert [point["count"] for point in many["points"]] == [24] * 10


async def test_units_fractions_media_sites_and_projects_are_series_of_their_own(world: World) -> None:
    await _insert(world, "A", every="1 day", unit="case when n % 2 = 0 then 'm' end")
    await _insert(world, "A", every="1 day", of="PARKS", unit="''")
    await world.sql("update record set medium = 'AIR' where site_code = 'A' and collected_at > $1", END - timedelta(1))
    await world.sql(
        "update measurement m set fraction = 'Total' from record r where r.id = m.record_id and r.site_code = 'A'"
        " and r.collected_at = $1",
        START,
    )

    series = await _series(world)

    keys = [(one["projectId"], one["siteCode"], one["medium"], one["fraction"], one["unit"]) for one in series]
    assert len(keys) == len(set(keys))
    assert {key[4] for key in keys} == {"m", "", None}
    assert {key[2] for key in keys} == {"WATER"}
    assert {key[3] for key in keys} == {None, "Total"}
    assert {key[0] for key in keys} == {f"Project:{await world.project_id(one)}" for one in ("CANAL", "PARKS")}


async def test_results_without_a_number_are_no_points(world: World) -> None:
    await _insert(world, "GAPS", every="1 day", values="case when n > 4 then n end")

    (series,) = await _series(world)

    assert [point["first"] for point in series["points"]] == [5, 6, 7, 8, 9, 10]


async def test_two_values_of_one_moment_are_told_the_smaller_first(world: World) -> None:
    await _insert(world, "TWICE", every="20 days", values="7")
    await _insert(world, "TWICE", every="20 days", values="3")

    (raw,) = await _series(world)
    (binned,) = await _series(world, width=1)

    assert sorted(point["first"] for point in raw["points"]) == [point["first"] for point in raw["points"]]
    assert (binned["points"][0]["first"], binned["points"][0]["last"]) == (3, 7)


@pytest.mark.parametrize(
    ("principal", "codes"),
    [
        ("owner", {"CANAL", "PARKS"}),
        ("auditor", {"CANAL", "PARKS"}),
        ("viewer", {"CANAL"}),
        ("collector", {"CANAL"}),
        ("member", set()),
        ("other-owner", set()),
    ],
)
async def test_what_the_viewer_does_not_see_is_in_no_series(world: World, principal: str, codes: set[str]) -> None:
    await _insert(world, "S", every="1 hour")
    await _insert(world, "S", every="1 hour", of="PARKS")

    for width in (24, 500):
        series = await _series(world, principal, width=width)
        assert {one["projectId"] for one in series} == {f"Project:{await world.project_id(one)}" for one in codes}


async def test_filters_of_both_tables_narrow_the_series(world: World) -> None:
    for site in ("A", "B"):
        await _insert(world, site, every="1 hour", unit="case when n < 9 then 'm' else 'cm' end")

    of_site = await _series(world, record={"siteCode": {"eq": "A"}})
    of_unit = await _series(world, filter={"unit": {"eq": "cm"}})
    earlier = await _series(world, record={"collectedAt": {"lt": (START + timedelta(hours=3)).isoformat()}})

    assert {(one["siteCode"], one["unit"]) for one in of_site} == {("A", "m"), ("A", "cm")}
    assert {(one["siteCode"], one["unit"]) for one in of_unit} == {("A", "cm"), ("B", "cm")}
    assert [one["count"] for one in earlier] == [3, 3]


async def test_what_was_imported_is_found_by_its_characteristic(world: World) -> None:
    expected = await world.value(
        "select count(*) from measurement where characteristic = 'Nitrogen' and value is not null"
        " and organization_id = $1",
        await world.organization_id("clearwater"),
    )

    answer = await (await world.client("owner")).run(SERIES, EVER)

    assert expected > 0
    assert sum(one["count"] for one in answer.data["measurementSeries"]) == expected


async def test_more_series_than_an_answer_has_room_for_are_refused_whole(world: World) -> None:
    await _insert(world, "X", every="1 day")
    await world.sql("update record set site_code = 'X' || n from generate_series(1, 1) n where site_code = 'X'")
    await world.sql(
        "update record r set site_code = 'X' || q.n from (select id, row_number() over (order by id) as n from record"
        " where site_code = 'X1') q where q.id = r.id"
    )
    client = await world.client("owner")

    refused = await client.run(SERIES, {**WINDOW, "width": 4000})
    whole = await client.run(SERIES, {**WINDOW, "width": 2000})

    assert refused.codes == ["INVALID_INPUT"]
    assert refused.errors[0]["extensions"]["field"] == ["record"]
    assert refused.errors[0]["message"].startswith("Expected at most 5 series of 4000 points, got 10.")
    assert refused.body["data"] == {"measurementSeries": None}
    assert len(whole.data["measurementSeries"]) == 10
    assert min(MOST_SERIES, MOST_POINTS // 1) == 200


@pytest.mark.parametrize(
    ("variables", "path"),
    [
        ({"width": 0}, ["width"]),
        ({"width": 4001}, ["width"]),
        ({"end": WINDOW["start"]}, ["end"]),
        ({"end": "2023-12-31T23:59:59Z"}, ["end"]),
        ({"characteristic": "a\x00b"}, ["characteristic"]),
        ({"record": {"projectId": {"eq": "nonsense"}}}, ["record", "projectId", "eq"]),
    ],
)
async def test_what_makes_no_sense_is_refused_with_its_argument(
    world: World, variables: dict[str, Any], path: list[str]
) -> None:
    answer = await (await world.client("owner")).run(SERIES, {**WINDOW, **variables})

    assert answer.codes == ["INVALID_INPUT"]
    assert answer.errors[0]["extensions"]["field"] == path


@pytest.mark.parametrize("width", [1, 7, 4000])
@pytest.mark.parametrize("span", [timedelta(microseconds=1), timedelta(days=3, microseconds=7), timedelta(days=70_000)])
async def test_no_series_is_longer_than_it_is_wide(world: World, width: int, span: timedelta) -> None:
    await _insert(world, "W", every="3 hours")

    for series in await _series(world, width=width, end=(START + span).isoformat()):
        assert len(series["points"]) <= width


async def test_values_at_the_end_of_what_a_number_holds_break_nothing(world: World) -> None:
    await _insert(world, "HUGE", every="1 day", values="1.5e308")

    (series,) = await _series(world, width=1)

    assert series["points"][0]["mean"] == 1.5e308


@pytest.mark.parametrize("value", ["0.30000000000000004", "9007199254740993", "-1.2345678901234567e-200", "5e-324"])
async def test_the_mean_of_one_value_is_that_value_to_the_last_digit(world: World, value: str) -> None:
    await _insert(world, "EXACT", every="1 day", values=f"{value}::float8")

    (raw,), (binned,) = await _series(world, width=10), await _series(world, width=1)

    assert {point[one] for point in raw["points"] for one in ("min", "mean", "max", "first")} == {float(value)}
    assert {binned["points"][0][one] for one in ("min", "mean", "max")} == {float(value)}


async def test_who_is_not_signed_in_gets_no_series(world: World) -> None:
    answer = await world.anonymous.run(SERIES, EVER)

    assert answer.codes == ["UNAUTHENTICATED"]
    assert answer.body.get("data") in (None, {"measurementSeries": None})


async def test_who_does_not_see_the_people_has_no_series_of_anybody(world: World) -> None:
    member = await world.member_id("collector")

    answer = await (await world.client("manager")).run(
        SERIES, {**EVER, "record": {"createdById": {"eq": f"User:{member}"}}}
    )

    assert answer.codes == ["FORBIDDEN"]


async def test_series_cost_one_statement(world: World) -> None:
    await _insert(world, "ONE", every="1 hour")

    for width in (10, 4000):
        assert (await world.inside("owner", SERIES, {**WINDOW, "width": width})).reader.statements == 1
