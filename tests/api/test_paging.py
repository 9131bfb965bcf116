"""Lists in pages: nothing missed, nothing twice, either way; the same number of statements for any size and depth."""

import base64
from typing import Any

import pytest

from tests.support.world import Client, World

PAGE = """
query($first: Int, $after: String, $last: Int, $before: String, $order: [RecordOrder!]) {
  records(first: $first, after: $after, last: $last, before: $before, orderBy: $order) {
    totalCount
    pageInfo { hasNextPage hasPreviousPage startCursor endCursor }
    edges { cursor node { id siteCode collectedAt createdAt } }
  }
}
"""


async def _walk(client: Client, size: int, **variables: Any) -> list[str]:
    """Return the ids of all pages forwards, in their order."""
    ids: list[str] = []
    after = None
    while True:
        page = (await client.run(PAGE, {"first": size, "after": after, **variables})).data["records"]
        ids += [edge["node"]["id"] for edge in page["edges"]]
        if not page["pageInfo"]["hasNextPage"]:
            assert len(ids) == page["totalCount"]
            return ids
        after = page["pageInfo"]["endCursor"]


@pytest.mark.parametrize("field", ["COLLECTED_AT", "CREATED_AT", "SITE_CODE"])
@pytest.mark.parametrize("direction", ["ASC", "DESC"])
async def test_pages_of_any_size_hold_every_row_once_in_order(world: World, field: str, direction: str) -> None:
    client = await world.client("manager")
    order = {"field": field, "direction": direction}
    key = {"COLLECTED_AT": "collectedAt", "CREATED_AT": "createdAt", "SITE_CODE": "siteCode"}[field]

    whole = (await client.run(PAGE, {"first": 1000, "order": order})).data["records"]
    expected = [edge["node"]["id"] for edge in whole["edges"]]

    keys = [(edge["node"][key], edge["node"]["id"].partition(":")[2]) for edge in whole["edges"]]
    assert keys == sorted(keys, reverse=direction == "DESC")
    assert len(set(expected)) == len(expected) == whole["totalCount"] > 70
    for size in (1, 7, 50):
        assert await _walk(client, size, order=order) == expected


async def test_pages_backwards_hold_the_same_rows(world: World) -> None:
    client = await world.client("manager")
    expected = await _walk(client, 1000)

    ids: list[str] = []
    before = None
    while True:
        page = (await client.run(PAGE, {"last": 9, "before": before})).data["records"]
        ids = [edge["node"]["id"] for edge in page["edges"]] + ids
        if not page["pageInfo"]["hasPreviousPage"]:
            break
        before = page["pageInfo"]["startCursor"]

    assert ids == expected


async def test_a_row_that_comes_or_goes_between_pages_moves_no_other(world: World) -> None:
    client = await world.client("manager")
    expected = await _walk(client, 1000)
    first = (await client.run(PAGE, {"first": 10})).data["records"]
    await world.sql("alter table record disable trigger all")
    await world.sql("delete from record where id = $1", expected[3].partition(":")[2])
    await world.sql("delete from record where id = $1", expected[9].partition(":")[2])

    second = (await client.run(PAGE, {"first": 10, "after": first["pageInfo"]["endCursor"]})).data["records"]

    assert [edge["node"]["id"] for edge in second["edges"]] == expected[10:20]


async def test_a_cursor_is_of_one_person_one_list_and_one_order(world: World) -> None:
    manager, owner = await world.client("manager"), await world.client("owner")
    cursor = (await manager.run(PAGE, {"first": 1})).data["records"]["pageInfo"]["endCursor"]

    for client, variables in (
        (owner, {}),
        (manager, {"order": {"field": "CREATED_AT"}}),
        (manager, {"order": {"field": "COLLECTED_AT", "direction": "DESC"}}),
    ):
        answer = await client.run(PAGE, {"first": 1, "after": cursor, **variables})
        assert answer.codes == ["INVALID_INPUT"]
        assert answer.errors[0]["extensions"]["field"] == ["after"]


async def test_a_cursor_holds_nothing_to_read(world: World) -> None:
    client = await world.client("manager")
    edge = (await client.run(PAGE, {"first": 1, "order": {"field": "SITE_CODE"}})).data["records"]["edges"][0]

    raw = base64.urlsafe_b64decode(edge["cursor"] + "=" * (-len(edge["cursor"]) % 4))
    assert edge["node"]["siteCode"].encode() not in raw
    assert edge["node"]["id"].partition(":")[2].replace("-", "").encode() not in raw.hex().encode()


async def test_filters_narrow_and_count(world: World) -> None:
    client = await world.client("manager")
    project = await world.project_id("CANAL")
    expected = await world.value(
        "select count(*) from record where project_id = $1 and site_code = 'USGS-02306774' and collected_at < $2",
        project,
        (await world.sql("select timestamptz '2004-06-01' as at"))[0]["at"],
    )

    answer = await client.run(
        """
        query($f: RecordFilter) { records(filter: $f, first: 1000) { totalCount nodes { siteCode collectedAt } } }
        """,
        {"f": {"siteCode": {"startsWith": "USGS-0230"}, "collectedAt": {"lt": "2004-06-01T00:00:00Z"}}},
    )

    page = answer.data["records"]
    assert page["totalCount"] == len(page["nodes"]) == expected > 0
    assert all(node["siteCode"] == "USGS-02306774" for node in page["nodes"])


async def test_filters_of_places_cut_a_rectangle(world: World) -> None:
    client = await world.client("manager")
    where = "latitude >= 27.9 and latitude < 28.1 and longitude >= -82.5 and longitude < -82.3"
    expected = await world.value(
        f"select count(*) from record where project_id = $1 and {where}", await world.project_id("CANAL")
    )

    answer = await client.run(
        "query($f: RecordFilter) { records(filter: $f, first: 1000) { totalCount nodes { latitude longitude } } }",
        {"f": {"latitude": {"gte": 27.9, "lt": 28.1}, "longitude": {"gte": -82.5, "lt": -82.3}}},
    )
    everything = (await client.run("{ records { totalCount } }")).data["records"]["totalCount"]

    page = answer.data["records"]
    assert everything > page["totalCount"] == len(page["nodes"]) == expected > 0
    assert all(27.9 <= one["latitude"] < 28.1 and -82.5 <= one["longitude"] < -82.3 for one in page["nodes"])


SMALL_AND_LARGE = [
    ("{ records(first: %d) { nodes { siteCode } } }", 1),
    ("{ records(first: %d) { nodes { siteCode comment collector } } }", 1),
    ("{ records(first: %d) { totalCount nodes { siteCode } } }", 2),
    ("{ records(first: %d) { nodes { measurements { value comment } } } }", 1),
    (
        "{ records(first: %d) { nodes { project { code } createdBy { name } device { model }"
        " measurements { value } } } }",
        1,
    ),
    ("{ projects(first: %d) { nodes { records(first: 20) { totalCount nodes { siteCode } } } } }", 3),
    (
        "{ projects(first: %d) { nodes { members { nodes { user { name email } } }"
        " records(first: 5) { nodes { project { code"
        " records(first: 2) { nodes { measurements { value } } } } } } } } }",
        7,
    ),
    (
        '{ projects(first: %d, search: "canal or parks or a") { nodes {'
        " records(first: 5, filter: {or: [{medium: {eq: WATER}}, {not: {siteName: {isNull: true}}}]},"
        " orderBy: [{field: STATUS}, {field: SITE_NAME, direction: DESC}])"
        " { totalCount nodes { siteCode measurements { value } createdBy { name } } } } } }",
        3,
    ),
    ("{ users(first: %d) { nodes { name email projectRoles { role project { code } } } } }", 3),
    ("{ devices(first: %d) { nodes { user { name } serialNumber } } }", 1),
    ("{ auditEntries(first: %d) { nodes { action user { name } changes { columns { column before after } } } } }", 2),
]


@pytest.mark.parametrize(("query", "statements"), SMALL_AND_LARGE)
async def test_a_page_costs_the_same_number_of_statements_whatever_its_size(
    world: World, query: str, statements: int
) -> None:
    await (await world.client("manager")).run("{ records(first: 1) { nodes { comment } } }")

    counted = {size: (await world.inside("owner", query % size)).reader.statements for size in (1, 5, 100)}

    # A small page may lack what a statement would be for: no device, no project.
    assert counted[100] == statements
    assert max(counted.values()) == statements


async def test_a_guard_is_decided_once_per_scope_however_many_rows(world: World) -> None:
    query = "{ records(first: %d) { nodes { siteCode comment collector measurements { value } } } }"

    small = (await world.inside("manager", query % 1)).decisions
    large = (await world.inside("manager", query % 1000)).decisions

    assert set(small) == set(large)
    assert len(large) == 3


async def test_a_field_that_fails_ends_no_other_that_waits_for_the_same_rows(world: World) -> None:
    client = await world.client("collector")
    query = """
    {
      failing: viewer { projectRoles { project { ...Members records(first: 1, after: "no cursor") { totalCount } } } }
      waiting: viewer { projectRoles { project { ...Members } } }
    }
    fragment Members on Project { members(first: 8) { nodes { user { name } } } }
    """

    answer = await client.run(query)

    assert answer.codes == ["INVALID_INPUT"]
    assert answer.body["data"]["failing"]["projectRoles"] == [{"project": None}]
    members = answer.body["data"]["waiting"]["projectRoles"][0]["project"]["members"]["nodes"]
    assert members == [{"user": {"name": "Cleo Cole"}}]


async def test_a_row_of_which_every_field_is_skipped_is_an_empty_object(world: World) -> None:
    client = await world.client("collector")

    answer = await client.run(
        "{ records(first: 2) { nodes { id @skip(if: true) } edges { node { id @include(if: false) } } } }"
    )

    assert answer.data == {"records": {"nodes": [{}, {}], "edges": [{"node": {}}, {"node": {}}]}}
