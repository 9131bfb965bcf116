"""Groups: the numbers of plain SQL, over the rows that the viewer sees and no others, in one statement."""

from typing import Any

import pytest

from schema.aggregate import MOST_GROUPS
from tests.support.world import World

RECORDS = """
query($filter: RecordFilter, $by: [RecordGroupKey!]! = [], $bucket: TimeBucket) {
  recordGroups(filter: $filter, by: $by, bucket: $bucket) {
    projectId siteCode status medium collectedAt count collectedAtMin collectedAtMax
  }
}
"""
MEASUREMENTS = """
query($filter: MeasurementFilter, $record: RecordFilter, $by: [MeasurementGroupKey!]! = [], $bucket: TimeBucket) {
  measurementGroups(filter: $filter, record: $record, by: $by, bucket: $bucket) {
    projectId siteCode medium collectedAt characteristic fraction unit
    count valueCount valueMin valueMax valueSum valueAvg
    valueP05 valueP10 valueP25 valueMedian valueP75 valueP90 valueP95
  }
}
"""
COUNTS = """
{ recordGroups { count } byProject: recordGroups(by: PROJECT) { projectId count }
  measurementGroups { count } perProject: measurementGroups(by: PROJECT) { projectId count } }
"""
STATISTICS = """
  count(*) as "count", count(value) as "valueCount", min(value) as "valueMin", max(value) as "valueMax",
  sum(value) as "valueSum", avg(value) as "valueAvg",
  percentile_cont(0.05) within group (order by value) as "valueP05",
  percentile_cont(0.1) within group (order by value) as "valueP10",
  percentile_cont(0.25) within group (order by value) as "valueP25",
  percentile_cont(0.5) within group (order by value) as "valueMedian",
  percentile_cont(0.75) within group (order by value) as "valueP75",
  percentile_cont(0.9) within group (order by value) as "valueP90",
  percentile_cont(0.95) within group (order by value) as "valueP95"
"""
KEYS = {
    "PROJECT": ("projectId", "'Project:' || r.project_id"),
    "SITE_CODE": ("siteCode", "r.site_code"),
    "STATUS": ("status", "r.status"),
    "MEDIUM": ("medium", "r.medium"),
    "CHARACTERISTIC": ("characteristic", "m.characteristic"),
    "FRACTION": ("fraction", "m.fraction"),
    "UNIT": ("unit", "m.unit"),
}


def _start_of(bucket: str) -> str:
    """Return the start of a moment's bucket, in other words than the code's."""
    return f"date_trunc('{bucket}', r.collected_at at time zone 'UTC') at time zone 'UTC'"


def _shown(row: Any) -> dict[str, Any]:
    """Return a row of SQL as the API shows it; numbers, whose last digits hang on the order of adding, nearly."""
    return {
        name: value.isoformat()
        if hasattr(value, "isoformat")
        else pytest.approx(value, rel=1e-12)
        if isinstance(value, float)
        else value
        for name, value in row.items()
    }


def _only(groups: list[dict[str, Any]], names: Any) -> list[dict[str, Any]]:
    """Return the groups with these fields; every other key must be null."""
    names = set(names)
    fields = {"projectId", "siteCode", "status", "medium", "collectedAt", "characteristic", "fraction", "unit"}
    assert all(group.get(other) is None for group in groups for other in fields - names)
    return [{name: group[name] for name in names} for group in groups]


@pytest.mark.parametrize(
    "by", [["PROJECT"], ["SITE_CODE"], ["STATUS"], ["MEDIUM"], ["MEDIUM", "PROJECT"], ["PROJECT", "SITE_CODE"]]
)
async def test_records_are_counted_as_plain_sql_counts_them(world: World, by: list[str]) -> None:
    columns = ", ".join(f'{KEYS[one][1]} as "{KEYS[one][0]}"' for one in by)
    places = ", ".join(str(index + 1) for index in range(len(by)))
    expected = await world.sql(
        f'select {columns}, count(*) as "count", min(collected_at) as "collectedAtMin",'
        f' max(collected_at) as "collectedAtMax" from record r where organization_id = $1'
        f" group by {places} order by {places}",
        await world.organization_id("clearwater"),
    )

    groups = (await (await world.client("owner")).run(RECORDS, {"by": by})).data["recordGroups"]

    assert len(expected) > 0
    assert _only(groups, expected[0].keys()) == [_shown(row) for row in expected]


@pytest.mark.parametrize("bucket", ["HOUR", "DAY", "WEEK", "MONTH", "QUARTER", "YEAR"])
async def test_moments_are_grouped_by_the_beginning_of_their_bucket_in_utc(world: World, bucket: str) -> None:
    # Half an hour before a year, a month and, being a Sunday, a week begin in UTC.
    await _insert_records(world, "EDGE", 1, at="2023-12-31T23:30:00Z")
    expected = await world.sql(
        f'select {_start_of(bucket)} as "collectedAt", r.medium, count(*) as "count" from record r'
        " where organization_id = $1 group by 1, 2 order by 1, 2",
        await world.organization_id("clearwater"),
    )

    variables = {"by": ["COLLECTED_AT", "MEDIUM"], "bucket": bucket}
    groups = (await (await world.client("owner")).run(RECORDS, variables)).data["recordGroups"]

    assert _only(groups, ("collectedAt", "medium", "count")) == [_shown(row) for row in expected]
    start = {
        "HOUR": "2023-12-31T23",
        "DAY": "2023-12-31T00",
        "WEEK": "2023-12-25T00",
        "MONTH": "2023-12-01T00",
        "QUARTER": "2023-10-01T00",
        "YEAR": "2023-01-01T00",
    }[bucket]
    assert f"{start}:00:00+00:00" in {group["collectedAt"] for group in groups}


@pytest.mark.parametrize(
    "by",
    [
        ["UNIT"],
        ["CHARACTERISTIC", "UNIT"],
        ["PROJECT", "CHARACTERISTIC", "FRACTION", "UNIT"],
        ["UNIT", "SITE_CODE", "MEDIUM"],
    ],
)
async def test_statistics_are_those_of_plain_sql(world: World, by: list[str]) -> None:
    # Results below the limit of detection, and some without a unit: the demo has neither.
    await world.sql("alter table measurement disable trigger all")
    first = "select id from measurement order by id limit 40"
    await world.sql(f"update measurement set value = null where id in ({first})")
    await world.sql(
        "update measurement set unit = null where id in (select id from measurement order by id desc limit 9)"
    )
    columns = ", ".join(f'{KEYS[one][1]} as "{KEYS[one][0]}"' for one in by)
    places = ", ".join(str(index + 1) for index in range(len(by)))
    expected = await world.sql(
        f"select {columns}, {STATISTICS} from measurement m join record r on r.id = m.record_id"
        f" where m.organization_id = $1 group by {places} order by {places}",
        await world.organization_id("clearwater"),
    )

    groups = (await (await world.client("owner")).run(MEASUREMENTS, {"by": by})).data["measurementGroups"]

    assert any(row["valueCount"] < row["count"] for row in expected)
    assert any(row["unit"] is None for row in expected)
    assert any(row["valueMin"] != row["valueMax"] for row in expected)
    assert _only(groups, expected[0].keys()) == [_shown(row) for row in expected]


async def test_filters_of_both_tables_and_a_bucket_go_together(world: World) -> None:
    expected = await world.sql(
        f'select {_start_of("year")} as "collectedAt", m.unit, {STATISTICS}'
        " from measurement m join record r on r.id = m.record_id join project p on p.id = r.project_id"
        " where p.code = 'CANAL' and r.medium = 'WATER' and r.collected_at < '2004-06-01Z'"
        " and m.detection_condition is null and m.unit like 'mg/l%' group by 1, 2 order by 1, 2"
    )

    answer = await (await world.client("manager")).run(
        MEASUREMENTS,
        {
            "filter": {"detectionCondition": {"eq": None}, "unit": {"startsWith": "mg/l"}},
            "record": {
                "projectId": {"eq": f"Project:{await world.project_id('CANAL')}"},
                "medium": {"eq": "WATER"},
                "collectedAt": {"lt": "2004-06-01T00:00:00Z"},
            },
            "by": ["COLLECTED_AT", "UNIT"],
            "bucket": "YEAR",
        },
    )

    assert len(expected) > 0
    assert _only(answer.data["measurementGroups"], expected[0].keys()) == [_shown(row) for row in expected]


@pytest.mark.parametrize(
    ("principal", "codes"),
    [
        ("owner", {"CANAL", "PARKS"}),
        ("auditor", {"CANAL", "PARKS"}),
        ("viewer", {"CANAL"}),
        ("collector", {"CANAL"}),
        ("member", set()),
        ("other-owner", {"LAKES"}),
    ],
)
async def test_what_the_viewer_does_not_see_does_not_count(world: World, principal: str, codes: set[str]) -> None:
    async def counted(table: str) -> dict[str, int]:
        rows = await world.sql(
            f"select t.project_id, count(*) as total from {table} t join project p on p.id = t.project_id"
            " where p.code = any($1) group by 1",
            list(codes),
        )
        return {f"Project:{row['project_id']}": row["total"] for row in rows}

    data = (await (await world.client(principal)).run(COUNTS)).data

    for whole, parts, table in (
        ("recordGroups", "byProject", "record"),
        ("measurementGroups", "perProject", "measurement"),
    ):
        expected = await counted(table)
        assert len(expected) == len(codes)
        assert {group["projectId"]: group["count"] for group in data[parts]} == expected
        assert data[whole] == [{"count": sum(expected.values())}]


@pytest.mark.parametrize("principal", ["owner", "viewer", "member"])
async def test_asking_for_another_tenants_project_answers_as_for_one_that_never_was(
    world: World, principal: str
) -> None:
    client = await world.client(principal)
    foreign = await world.project_id("LAKES")
    never = "01890000-0000-7000-8000-000000000000"

    for query, name in ((RECORDS, "filter"), (MEASUREMENTS, "filter"), (MEASUREMENTS, "record")):
        by = ["PROJECT", *(["UNIT"] if query is MEASUREMENTS else [])]
        answers = [
            await client.run(query, {"by": by, name: {"projectId": {"eq": str(one)}}}) for one in (foreign, never)
        ]
        assert answers[0].text == answers[1].text
        assert next(iter(answers[0].data.values())) == []


async def test_values_beyond_a_limit_are_counted(world: World) -> None:
    viewer = await world.client("viewer")
    query = """
    query($above: MeasurementFilter, $none: MeasurementFilter) {
      every: measurementGroups(by: [CHARACTERISTIC, UNIT]) { characteristic unit count valueCount valueMedian }
      above: measurementGroups(by: [CHARACTERISTIC, UNIT], filter: $above) { characteristic unit count valueMin }
      none: measurementGroups(filter: $none) { count } }
    """
    groups = (await viewer.run(query)).data["every"]
    most = max((one for one in groups if one["unit"]), key=lambda one: one["valueCount"])
    of_it = {"characteristic": {"eq": most["characteristic"]}, "unit": {"eq": most["unit"]}}

    said = await viewer.run(
        query, {"above": {**of_it, "value": {"gt": most["valueMedian"]}}, "none": {"value": {"isNull": True}}}
    )

    (above,) = said.data["above"]
    assert 0 < above["count"] < most["valueCount"]
    assert above["valueMin"] > most["valueMedian"]
    without = sum(one["count"] - one["valueCount"] for one in said.data["every"])
    assert [one["count"] for one in said.data["none"]] == [without]
    assert without > 0


async def test_who_is_not_signed_in_counts_nothing(world: World) -> None:
    for query in ("{ recordGroups { count } }", "{ measurementGroups { count } }"):
        answer = await world.anonymous.run(query)
        assert answer.codes == ["UNAUTHENTICATED"]
        assert not any((answer.body.get("data") or {}).values())


@pytest.mark.parametrize(
    "query",
    [
        "{ recordGroups(by: [PROJECT, SITE_CODE, STATUS, MEDIUM]) { projectId siteCode count collectedAtMax } }",
        "{ measurementGroups(by: [PROJECT, SITE_CODE, CHARACTERISTIC, UNIT]) { siteCode count valueAvg valueMedian } }",
        '{ measurementGroups(record: {siteCode: {startsWith: "USGS"}}) { count } }',
    ],
)
async def test_groups_cost_one_statement(world: World, query: str) -> None:
    assert (await world.inside("owner", query)).reader.statements == 1


async def test_fields_are_found_through_fragments_and_under_other_names(world: World) -> None:
    client = await world.client("owner")
    plain = "{ measurementGroups(by: UNIT) { unit valueMax valueMin } }"
    nested = """
    { measurementGroups(by: UNIT) { ...Units largest: valueMax } }
    fragment Units on MeasurementGroup { unit ... on MeasurementGroup { smallest: valueMin } }
    """

    expected = (await client.run(plain)).data["measurementGroups"]
    groups = (await client.run(nested)).data["measurementGroups"]

    assert any(group["valueMin"] is not None for group in expected)
    assert groups == [
        {"unit": one["unit"], "smallest": one["valueMin"], "largest": one["valueMax"]} for one in expected
    ]


@pytest.mark.parametrize(
    ("query", "variables", "path"),
    [
        (RECORDS, {"by": ["COLLECTED_AT"]}, ["bucket"]),
        (RECORDS, {"by": ["STATUS"], "bucket": "DAY"}, ["bucket"]),
        (RECORDS, {"by": ["STATUS", "STATUS"]}, ["by"]),
        (RECORDS, {"by": ["COMMENT"]}, ["by", "0"]),
        (RECORDS, {"by": ["CREATED_BY"]}, ["by", "0"]),
        (RECORDS, {"by": ["COLLECTED_AT"], "bucket": "HOUR'"}, ["bucket"]),
        (RECORDS, {"filter": {"projectId": {"eq": "nonsense"}}}, ["filter", "projectId", "eq"]),
        (RECORDS, {"filter": {"comment": {"eq": "secret"}}}, ["filter", "comment"]),
        (MEASUREMENTS, {"by": ["CHARACTERISTIC"]}, ["by"]),
        (MEASUREMENTS, {}, ["by"]),
        (MEASUREMENTS, {"by": ["UNIT", "COLLECTED_AT"]}, ["bucket"]),
        (MEASUREMENTS, {"by": ["UNIT", "VALUE"]}, ["by", "1"]),
        (MEASUREMENTS, {"by": ["UNIT"], "filter": {"sourceRow": {"eq": "x"}}}, ["filter", "sourceRow"]),
        (MEASUREMENTS, {"by": ["UNIT"], "filter": {"unit": {"in": ["\x00"]}}}, ["filter", "unit", "in", "0"]),
        (MEASUREMENTS, {"by": ["UNIT"], "record": {"projectId": {"in": ["x"]}}}, ["record", "projectId", "in"]),
    ],
)
async def test_what_makes_no_sense_is_refused_with_its_argument(
    world: World, query: str, variables: dict[str, Any], path: list[str]
) -> None:
    answer = await (await world.client("owner")).run(query, variables)

    assert answer.codes == ["INVALID_INPUT"]
    assert answer.errors[0]["extensions"]["field"] == path


@pytest.mark.parametrize(
    "field",
    [
        *("valueMin", "valueMax", "valueSum", "valueAvg", "valueMedian"),
        *("valueP05", "valueP10", "valueP25", "valueP75", "valueP90", "valueP95"),
    ],
)
async def test_values_of_different_units_are_not_put_together(world: World, field: str) -> None:
    client = await world.client("owner")
    query = f"{{ measurementGroups(by: CHARACTERISTIC) {{ characteristic count {field} }} }}"

    refused = await client.run(query)
    counted = await client.run(query.replace(field, "valueCount"))

    assert refused.codes == ["INVALID_INPUT"]
    assert refused.errors[0]["message"] == f"Expected UNIT among the keys: {field} is not computed across it."
    assert len(counted.data["measurementGroups"]) > 1


@pytest.mark.parametrize("query", ["recordGroups(filter: %s) { count }", "measurementGroups(record: %s) { count }"])
async def test_who_does_not_see_the_people_counts_nobodys_records(world: World, query: str) -> None:
    manager, owner = await world.client("manager"), await world.client("owner")
    member = await world.member_id("collector")
    text = "{ %s }" % (query % f'{{createdById: {{eq: "User:{member}"}}}}')

    refused = await manager.run(text)

    assert refused.codes == ["FORBIDDEN"]
    assert refused.errors[0]["extensions"]["field"] == [query.partition("(")[2].partition(":")[0], "createdById"]
    assert (await owner.run(text)).data is not None


async def test_no_more_groups_than_allowed_and_never_a_part_of_them(world: World) -> None:
    client = await world.client("owner")
    variables = {"by": ["SITE_CODE"], "filter": {"siteCode": {"startsWith": "MANY-"}}}
    await _insert_records(world, "MANY-", MOST_GROUPS + 1)

    refused = await client.run(RECORDS, variables)
    await world.sql("delete from record where site_code = 'MANY-1'")
    whole = await client.run(RECORDS, variables)

    assert refused.codes == ["INVALID_INPUT"]
    assert refused.errors[0]["extensions"]["field"] == ["by"]
    assert refused.body["data"] == {"recordGroups": None}
    assert len(whole.data["recordGroups"]) == MOST_GROUPS


async def test_values_at_the_end_of_what_a_number_holds_break_nothing(world: World) -> None:
    await _insert_records(world, "HUGE", 1)
    await world.sql(
        "insert into measurement (id, organization_id, created_at, project_id, record_id, position, characteristic,"
        " value, unit) select gen_random_uuid(), organization_id, now(), project_id, id, n, 'Huge', v, 'u' from record,"
        " unnest(array[1e308, 1e308, 1.5e308]) with ordinality as given(v, n) where site_code = 'HUGE1'"
    )

    variables = {"by": ["UNIT"], "filter": {"characteristic": {"eq": "Huge"}}}
    (group,) = (await (await world.client("owner")).run(MEASUREMENTS, variables)).data["measurementGroups"]

    assert group["valueSum"] is None
    assert group["valueAvg"] == pytest.approx(1e308 + 0.5e308 / 3)
    assert (group["valueMin"], group["valueMedian"], group["valueMax"]) == (1e308, 1e308, 1.5e308)


async def test_groups_are_reckoned_at_the_rows_that_they_may_read(world: World) -> None:
    client = await world.client("owner")

    def query(count: int) -> str:
        return "{" + " ".join(f"g{index}: recordGroups {{ count }}" for index in range(count)) + "}"

    assert (await client.run(query(21))).codes == ["TOO_COMPLEX"]
    assert len((await client.run(query(20))).data) == 20


async def _insert_records(world: World, site: str, count: int, *, at: str = "2024-01-01T00:00:00Z") -> None:
    """Write records of numbered sites beside the audit trail, as only the superuser can."""
    await world.sql("alter table record disable trigger all")
    await world.sql("alter table measurement disable trigger all")
    await world.sql(
        "insert into record (id, organization_id, created_at, project_id, site_code, collected_at, received_at, medium,"
        " status, contributor_ids, version, location_is_coarse)"
        " select gen_random_uuid(), organization_id, now(), id, $1 || n,"
        " $3::text::timestamptz, now(), 'WATER', 'DRAFT', '{}', 1, false"
        " from project, generate_series(1, $2::int) n where code = 'CANAL'",
        site,
        count,
        at,
    )
