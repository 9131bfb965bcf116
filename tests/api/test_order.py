"""Orders of several keys: mixed ways, missing values, pages either way, and cursors that fit one order alone."""

import random
from collections.abc import Mapping, Sequence
from functools import cmp_to_key, partial
from typing import Any, Final

import pytest

from schema.order import MOST_KEYS
from tests.support.world import Client, World

PAGE: Final = """
query($first: Int, $after: String, $last: Int, $before: String, $order: [RecordOrder!]) {
  records(first: $first, after: $after, last: $last, before: $before, orderBy: $order) {
    pageInfo { hasNextPage hasPreviousPage startCursor endCursor }
    nodes { id siteCode siteName medium status method collectedAt createdAt receivedAt reviewedAt }
  }
}
"""
SHOWN: Final = {
    "COLLECTED_AT": "collectedAt",
    "CREATED_AT": "createdAt",
    "RECEIVED_AT": "receivedAt",
    "SITE_CODE": "siteCode",
    "SITE_NAME": "siteName",
    "MEDIUM": "medium",
    "METHOD": "method",
    "STATUS": "status",
    "REVIEWED_AT": "reviewedAt",
}

Keys = Sequence[tuple[str, str]]


@pytest.fixture
async def sparse(world: World) -> World:
    """Records that are alike in much, and of which some lack a name, a method or a review."""
    await world.sql("alter table record disable trigger user")
    await world.sql("update record set site_code = left(site_code, 7), site_name = 'Weir ' || right(id::text, 1)")
    await world.sql("update record set site_name = null where right(id::text, 1) in ('0', '1', '2', '3')")
    await world.sql("update record set method = null where right(id::text, 1) in ('3', '4', '5')")
    await world.sql("update record set medium = 'SOIL' where right(id::text, 1) in ('7', '8', '9')")
    await world.sql("update record set reviewed_at = collected_at + interval '1 day' where right(id::text, 1) > '9'")
    return world


def given_of(keys: Keys) -> list[dict[str, str]]:
    """Return the keys as the API takes them."""
    return [{"field": field, "direction": direction} for field, direction in keys]


async def walk(client: Client, keys: Keys, size: int, *, backwards: bool = False) -> list[Mapping[str, Any]]:
    """Return the rows of all pages, one after the other, in the order of the list."""
    rows: list[Mapping[str, Any]] = []
    cursor, way, at, more, edge = None, "first", "after", "hasNextPage", "endCursor"
    if backwards:
        way, at, more, edge = "last", "before", "hasPreviousPage", "startCursor"
    while True:
        page = (await client.run(PAGE, {way: size, at: cursor, "order": given_of(keys)})).data["records"]
        rows = [*page["nodes"], *rows] if backwards else [*rows, *page["nodes"]]
        if not page["pageInfo"][more]:
            return rows
        cursor = page["pageInfo"][edge]


def compared(keys: Keys, one: Mapping[str, Any], other: Mapping[str, Any]) -> int:
    """Return which of two rows comes first: what has no value comes last, whichever way; the id goes the last way."""
    for field, direction in keys:
        values = one[SHOWN[field]], other[SHOWN[field]]
        if values[0] != values[1]:
            if None in values:
                return 1 if values[0] is None else -1
            return (1 if values[0] > values[1] else -1) * (-1 if direction == "DESC" else 1)
    ids = one["id"], other["id"]
    return (1 if ids[0] > ids[1] else -1) * (-1 if keys[-1][1] == "DESC" else 1)


def drawn(count: int) -> list[Keys]:
    """Return orders of up to four keys, each way."""
    chance = random.Random(20260131)  # noqa: S311  (drawn the same each time)
    orders: list[Keys] = [((field, way),) for field in SHOWN for way in ("ASC", "DESC")]
    for _ in range(count):
        fields = chance.sample(sorted(SHOWN), chance.randint(2, MOST_KEYS))
        orders.append([(field, chance.choice(["ASC", "DESC"])) for field in fields])
    return orders


async def test_every_order_is_the_same_forwards_backwards_and_in_pages_of_any_size(sparse: World) -> None:
    client = await sparse.client("manager")
    # Whatever letters the database's collation puts first: it is asked, for the texts.
    whole = await walk(client, [("COLLECTED_AT", "ASC")], 1000)
    texts = {row[SHOWN[one]] for row in whole for one in SHOWN} - {None}
    ranked = await sparse.sql("select t, row_number() over (order by t) as r from unnest($1::text[]) t", sorted(texts))
    rank = {row["t"]: row["r"] for row in ranked}

    for keys in drawn(25):
        rows = await walk(client, keys, 1000)
        by_rank = [{**row, **{SHOWN[one]: rank.get(row[SHOWN[one]]) for one in SHOWN}} for row in rows]
        assert by_rank == sorted(by_rank, key=cmp_to_key(partial(compared, keys))), keys
        assert len({row["id"] for row in rows}) == len(rows) == len(whole)
        assert await walk(client, keys, 11) == rows, keys
        assert await walk(client, keys, 11, backwards=True) == rows, keys


async def test_a_single_key_may_stand_without_its_list(world: World) -> None:
    client = await world.client("manager")
    query = "query($order: [RecordOrder!]) { records(first: 30, orderBy: $order) { nodes { id } } }"

    bare = await client.run("{ records(first: 30, orderBy: {field: SITE_CODE, direction: DESC}) { nodes { id } } }")
    given = await client.run(query, {"order": {"field": "SITE_CODE", "direction": "DESC"}})
    listed = await client.run(query, {"order": [{"field": "SITE_CODE", "direction": "DESC"}]})

    assert bare.data == given.data == listed.data


async def test_an_empty_order_is_the_list_s_own(world: World) -> None:
    client = await world.client("manager")

    own = await client.run("{ records(first: 30) { nodes { id } } }")

    assert (await client.run("{ records(first: 30, orderBy: []) { nodes { id } } }")).data == own.data
    assert (await client.run("{ records(first: 30, orderBy: null) { nodes { id } } }")).data == own.data


@pytest.mark.parametrize(
    ("keys", "path"),
    [
        ([("SITE_CODE", "ASC"), ("STATUS", "ASC"), ("SITE_CODE", "DESC")], ["orderBy", "0", "field"]),
        ([(one, "ASC") for one in sorted(SHOWN)[: MOST_KEYS + 1]], ["orderBy"]),
    ],
)
async def test_a_key_that_comes_twice_and_too_many_of_them_are_refused(
    world: World, keys: Keys, path: list[str]
) -> None:
    answer = await (await world.client("manager")).run(PAGE, {"first": 1, "order": given_of(keys)})

    assert answer.codes == ["INVALID_INPUT"]
    assert answer.errors[0]["extensions"]["field"] == path


async def test_a_cursor_fits_the_whole_order_that_it_was_given_in(world: World) -> None:
    client = await world.client("manager")
    keys: Keys = [("STATUS", "ASC"), ("COLLECTED_AT", "DESC")]
    page = (await client.run(PAGE, {"first": 1, "order": given_of(keys)})).data["records"]
    cursor = page["pageInfo"]["endCursor"]

    others: list[Keys] = [
        keys[:1],
        keys[::-1],
        [("STATUS", "ASC"), ("COLLECTED_AT", "ASC")],
        [*keys, ("MEDIUM", "ASC")],
    ]
    for other in others:
        answer = await client.run(PAGE, {"first": 1, "after": cursor, "order": given_of(other)})
        assert answer.codes == ["INVALID_INPUT"], other
        assert answer.errors[0]["extensions"]["field"] == ["after"]
    assert (await client.run(PAGE, {"first": 1, "after": cursor, "order": given_of(keys)})).data


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("projects(orderBy: [{{field: STATUS}}, {{field: {0}, direction: DESC}}])", "STARTS_ON ENDS_ON NAME CODE"),
        ("devices(orderBy: [{{field: PLATFORM}}, {{field: {0}, direction: DESC}}])", "LAST_SEEN_AT ENROLLED_AT MODEL"),
        ("users(orderBy: [{{field: STATUS}}, {{field: {0}, direction: DESC}}])", "ROLE CREATED_AT"),
    ],
)
async def test_projects_devices_and_people_go_page_by_page_in_every_order(world: World, query: str, field: str) -> None:
    client = await world.client("owner")
    await world.sql("alter table project disable trigger user")
    await world.sql("update project set starts_on = '2020-02-03' where code = 'PARKS'")

    for one in field.split():
        asked = query.format(one)
        name = asked.partition("(")[0]
        whole = (await client.run(f"{{ {asked} {{ nodes {{ id }} }} }}")).data[name]["nodes"]
        found: list[Any] = []
        after = "null"
        while True:
            text = asked.replace("(", f"(first: 1, after: {after}, ", 1)
            page = (await client.run(f"{{ {text} {{ nodes {{ id }} pageInfo {{ endCursor hasNextPage }} }} }}")).data
            found += page[name]["nodes"]
            if not page[name]["pageInfo"]["hasNextPage"]:
                break
            after = f'"{page[name]["pageInfo"]["endCursor"]}"'
        assert found == whole
        assert len(whole) >= 2 or name == "devices"


async def test_pages_of_several_projects_at_once_go_on_in_an_order_of_several_keys(sparse: World) -> None:
    client = await sparse.client("owner")
    order = "orderBy: [{field: SITE_NAME, direction: DESC}, {field: COLLECTED_AT}]"
    query = f"{{ projects {{ nodes {{ code records(first: 5, {order}) {{ nodes {{ id project {{ code }} }} }} }} }} }}"

    for project in (await client.run(query)).data["projects"]["nodes"]:
        alone = await client.run(
            f"query($id: ID!) {{ records(first: 5, filter: {{projectId: {{eq: $id}}}}, {order})"
            " { nodes { id } } }",
            {"id": f"Project:{await sparse.project_id(project['code'])}"},
        )
        assert [one["id"] for one in project["records"]["nodes"]] == [
            one["id"] for one in alone.data["records"]["nodes"]
        ]
