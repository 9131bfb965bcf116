"""Filters: each operator, and what and, or and not make of them, beside the same worked out in Python; and what they
tell those who may not read what they touch.
"""

import random
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any, Final

import pytest
from graphql import GraphQLEnumType, GraphQLInputField, GraphQLInputObjectType, get_named_type

from schema.filter import DEEPEST, MOST_COMPARISONS
from tests.api.test_search import collect
from tests.support.world import Client, World

FIND: Final = "query($f: RecordFilter) { records(filter: $f, first: 1000) { totalCount nodes { id } } }"
ROWS: Final = (
    "{ records(first: 1000) { nodes { id siteCode siteName latitude collectedAt reviewedAt medium status method } } }"
)
COUNT: Final = "query($f: RecordFilter) { recordGroups(filter: $f) { count } }"

OPERATORS: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    "eq": lambda value, given: bool(value == given),
    "ne": lambda value, given: bool(value != given),
    "in": lambda value, given: value in given,
    "notIn": lambda value, given: value not in given,
    "gt": lambda value, given: value is not None and value > given,
    "gte": lambda value, given: value is not None and value >= given,
    "lt": lambda value, given: value is not None and value < given,
    "lte": lambda value, given: value is not None and value <= given,
    "startsWith": lambda value, given: value is not None and value.startswith(given),
    "endsWith": lambda value, given: value is not None and value.endswith(given),
    "contains": lambda value, given: value is not None and given in value,
    "isNull": lambda value, given: (value is None) is given,
}
KINDS: Final[Mapping[str, tuple[str, ...]]] = {
    "text": ("eq", "ne", "in", "notIn", "startsWith", "endsWith", "contains", "isNull"),
    "enum": ("eq", "ne", "in", "notIn", "isNull"),
    "size": ("eq", "ne", "gt", "gte", "lt", "lte", "isNull"),
}
FIELDS: Final[Mapping[str, str]] = {
    "siteCode": "text",
    "siteName": "text",
    "method": "text",
    "medium": "enum",
    "status": "enum",
    "latitude": "size",
    "collectedAt": "size",
    "reviewedAt": "size",
}


def holds(row: Mapping[str, Any], given: Mapping[str, Any]) -> bool:
    """Return whether a row meets a filter: a comparison with what is not there does not hold, and its opposite does."""
    return all(_holds(row, name, one) for name, one in given.items())


def _holds(row: Mapping[str, Any], name: str, given: Any) -> bool:
    if name == "and":
        return all(holds(row, one) for one in given)
    if name == "or":
        return any(holds(row, one) for one in given)
    if name == "not":
        return not holds(row, given)
    folds: Callable[[Any], Any] = _folded if given.get("ignoreCase") else _as_it_is
    return all(
        OPERATORS[operator](folds(row[name]), folds(value))
        for operator, value in given.items()
        if operator != "ignoreCase"
    )


def _folded(value: Any) -> Any:
    if isinstance(value, list):
        return [_folded(one) for one in value]
    return value.lower() if isinstance(value, str) else value


def _as_it_is(value: Any) -> Any:
    return value


def drawn(chance: random.Random, rows: list[Mapping[str, Any]], depth: int) -> dict[str, Any]:
    """Return a filter with values of the rows: a comparison or two, and below the greatest depth other filters."""
    given: dict[str, Any] = {}
    for name in chance.sample(sorted(FIELDS), chance.choice([1, 1, 2])):
        operator = chance.choice(KINDS[FIELDS[name]])
        value = chance.choice(rows)[name]
        given[name] = {operator: _operand(chance, operator, value, [row[name] for row in rows])}
        if FIELDS[name] == "text" and operator != "isNull" and chance.random() < 0.3:
            given[name] = {one: _swapped(value) for one, value in given[name].items()} | {"ignoreCase": True}
    if depth and chance.random() < 0.8:
        word = chance.choice(["and", "or", "not"])
        below = [drawn(chance, rows, depth - 1) for _ in range(1 if word == "not" else chance.randint(1, 3))]
        given = {**(given if chance.random() < 0.5 else {}), word: below[0] if word == "not" else below}
    return given


def _operand(chance: random.Random, operator: str, value: Any, values: list[Any]) -> Any:
    if operator == "isNull":
        return chance.random() < 0.5
    there = sorted({one for one in values if one is not None})
    if operator in {"in", "notIn"}:
        return chance.sample(there, min(2, len(there)))
    if operator in {"eq", "ne"}:
        return value
    value = chance.choice(there) if value is None else value
    if operator in {"startsWith", "endsWith", "contains"}:
        start = chance.randrange(len(value))
        return {"startsWith": value[: start + 1], "endsWith": value[start:], "contains": value[start : start + 3]}[
            operator
        ]
    return value


def _swapped(value: Any) -> Any:
    if isinstance(value, list):
        return [_swapped(one) for one in value]
    return value.swapcase() if isinstance(value, str) else value


async def found(client: Client, given: Any) -> set[str]:
    """Return the ids of the records that a filter finds, which are counted and grouped as many."""
    page = (await client.run(FIND, {"f": given})).data["records"]
    counted = (await client.run(COUNT, {"f": given})).data["recordGroups"][0]["count"]
    ids = {node["id"] for node in page["nodes"]}
    assert len(ids) == page["totalCount"] == counted
    return ids


@pytest.fixture
async def sparse(world: World) -> World:
    """Records of which some lack a name, a method or a latitude, and of different media and cases."""
    await world.sql("alter table record disable trigger user")
    await world.sql("update record set site_name = 'Weir ' || right(site_code, 2) || ' at ' || right(id::text, 2)")
    await world.sql("update record set site_name = null where right(id::text, 1) in ('0', '1', '2', '3')")
    await world.sql("update record set site_name = upper(site_name) where right(id::text, 1) in ('4', '5')")
    await world.sql("update record set latitude = null where right(id::text, 1) in ('2', '3', '4')")
    await world.sql("update record set method = 'Grab 50% _sample\\' where right(id::text, 1) in ('5', '6', '7')")
    await world.sql("update record set medium = 'SOIL' where right(id::text, 1) in ('7', '8', '9')")
    await world.sql("update record set reviewed_at = collected_at + interval '1 day' where right(id::text, 1) > '9'")
    return world


async def test_drawn_filters_find_what_the_same_finds_in_python(sparse: World) -> None:
    client = await sparse.client("manager")
    rows = (await client.run(ROWS)).data["records"]["nodes"]
    assert {None} < {row["siteName"] for row in rows}
    chance = random.Random(20260131)  # noqa: S311  (drawn the same each time)
    told: set[int] = set()
    kinds: set[str] = set()

    for _ in range(150):
        given = drawn(chance, rows, 3)
        expected = {row["id"] for row in rows if holds(row, given)}
        assert await found(client, given) == expected, given
        told.add(len(expected))
        kinds.update(_operators(given))

    assert kinds == {*OPERATORS, "ignoreCase"}
    assert len(told) > 20


def _operators(given: Mapping[str, Any]) -> Iterator[str]:
    for name, one in given.items():
        if name in {"and", "or"}:
            for part in one:
                yield from _operators(part)
        elif name == "not":
            yield from _operators(one)
        else:
            yield from one


async def test_the_opposite_of_a_filter_finds_all_the_others(sparse: World) -> None:
    client = await sparse.client("manager")
    everything = await found(client, {})

    asked: list[dict[str, Any]] = [
        {"siteName": {"eq": "Weir"}},
        {"siteName": {"contains": "a"}, "latitude": {"gt": 27.5}},
        {"or": [{"method": {"startsWith": "Grab 50%"}}, {"reviewedAt": {"isNull": True}}]},
        {"medium": {"in": ["SOIL"]}},
        {"medium": {"in": []}},
    ]
    for given in asked:
        some = await found(client, given)
        others = await found(client, {"not": given})
        assert some | others == everything
        assert not some & others


async def test_characters_that_mean_something_in_patterns_mean_themselves(sparse: World) -> None:
    client = await sparse.client("manager")
    every = await found(client, {"method": {"eq": "Grab 50% _sample\\"}})
    assert every

    for operator, text in (("contains", "50% _"), ("endsWith", "_sample\\"), ("startsWith", "Grab 50%")):
        assert await found(client, {"method": {operator: text}}) == every
    for text in ("% _", "\\"):
        assert await found(client, {"method": {"contains": text}}) == every
    assert await found(client, {"method": {"contains": "Grab%sample"}}) == set()


async def test_a_null_operator_asks_for_nothing_but_equal_and_its_opposite(sparse: World) -> None:
    client = await sparse.client("manager")
    everything = await found(client, {})
    without = await found(client, {"siteName": {"eq": None}})

    nothing = dict.fromkeys(("in", "notIn", "contains", "startsWith", "endsWith", "isNull", "ignoreCase"))
    assert await found(client, {"siteName": nothing, "latitude": {"gt": None}, "and": None, "not": None}) == everything
    assert without == await found(client, {"siteName": {"isNull": True}})
    assert everything - without == await found(client, {"siteName": {"ne": None}})


@pytest.mark.parametrize(
    ("given", "path"),
    [
        ({"and": []}, ["and"]),
        ({"or": []}, ["or"]),
        ({"or": [{"siteCode": {"eq": "A"}}, {}]}, ["or", "1"]),
        ({"not": {}}, ["not"]),
        ({"not": {"siteCode": {}}}, ["not"]),
        ({"and": [{"or": [{"not": {"siteCode": {"contains": None}}}]}]}, ["and", "0", "or", "0", "not"]),
        ({"or": [{"and": [{}]}]}, ["or", "0"]),
        ({"not": {"and": [{}]}}, ["not"]),
        ({"and": [{"not": {"and": [{"and": [{}, {"siteCode": {"contains": None}}]}]}}]}, ["and", "0", "not"]),
        ({"or": [{"projectId": {"ne": "Device:x"}}]}, ["or", "0", "projectId", "ne"]),
        ({"not": {"collector": {"notIn": ["Ana", " "]}}}, ["not", "collector", "notIn", "1"]),
    ],
)
async def test_what_would_ask_for_all_or_nothing_is_refused_with_its_path(
    world: World, given: dict[str, Any], path: list[str]
) -> None:
    answer = await (await world.client("manager")).run(FIND, {"f": given})

    assert answer.codes == ["INVALID_INPUT"]
    assert answer.errors[0]["extensions"]["field"] == ["filter", *path]


async def test_an_empty_part_of_and_asks_for_nothing(world: World) -> None:
    client = await world.client("manager")

    assert await found(client, {"and": [{}, {"siteCode": {"ne": None}}]}) == await found(client, {})


def nested(levels: int) -> dict[str, Any]:
    """Return a filter with so many levels of not."""
    given: dict[str, Any] = {"siteCode": {"eq": "A"}}
    for _ in range(levels):
        given = {"not": given}
    return given


async def test_a_filter_is_so_deep_and_compares_so_much_and_no_more(world: World) -> None:
    client = await world.client("manager")
    one = {"siteCode": {"ne": "A"}}

    assert (await client.run(FIND, {"f": nested(DEEPEST)})).data
    assert (await client.run(FIND, {"f": {"and": [one] * MOST_COMPARISONS}})).data
    for given in (
        nested(DEEPEST + 1),
        nested(400),
        {"and": [one] * (MOST_COMPARISONS + 1)},
        {"or": [one] * 1000},
    ):
        answer = await client.run(FIND, {"f": given})
        assert answer.codes == ["INVALID_INPUT"], given


@pytest.mark.parametrize("levels", [DEEPEST + 1, 150, 3000])
async def test_a_deep_filter_in_the_text_or_in_variables_is_refused(world: World, levels: int) -> None:
    client = await world.client("manager")
    text = "{not: " * levels + '{siteCode: {eq: "A"}}' + "}" * levels
    variables = '{"not": ' * levels + '{"siteCode": {"eq": "A"}}' + "}" * levels

    written = await client.run(f"{{ records(filter: {text}) {{ totalCount }} }}")
    given = await client.post(f'{{"query": "{FIND}", "variables": {{"f": {variables}}}}}'.encode())

    for answer in (written, given):
        assert answer.status < 500
        assert set(answer.codes) <= {"INVALID_INPUT", "TOO_COMPLEX"}
        assert answer.codes


async def test_variables_stand_anywhere_in_a_filter(sparse: World) -> None:
    client = await sparse.client("manager")
    query = """
    query($code: String, $not: RecordFilter, $part: RecordFilter!) {
      records(first: 1000, filter: {or: [{siteCode: {startsWith: $code}}, $part], not: $not}) { nodes { id } }
    }
    """
    given = {"code": "USGS-0230", "part": {"medium": {"eq": "SOIL"}}, "not": {"siteName": {"isNull": True}}}

    answer = await client.run(query, given)

    expected = await found(
        client,
        {"or": [{"siteCode": {"startsWith": "USGS-0230"}}, given["part"]], "siteName": {"isNull": False}},
    )
    assert {node["id"] for node in answer.data["records"]["nodes"]} == expected
    assert expected


# -- what they tell


@pytest.fixture
async def collected(world: World) -> World:
    """Two names in one project and one of them in another."""
    owner = await world.client("owner")
    canal, parks = [await world.project_id(code) for code in ("CANAL", "PARKS")]
    for project, site, name in ((canal, "F-1", "Ana Ruiz"), (canal, "F-2", "Bo"), (parks, "F-3", "Bo")):
        await collect(owner, project, site, name)
    return world


NOT_ANA: Final = {"siteCode": {"startsWith": "F-"}, "not": {"collector": {"eq": "ana ruiz"}}}


@pytest.mark.parametrize(
    ("who", "sites"),
    [
        ("owner", ["F-2", "F-3"]),
        ("manager", ["F-2"]),
        ("collector", ["F-2"]),
        ("viewer", []),
        ("member", []),
        ("other-owner", []),
    ],
)
@pytest.mark.parametrize(
    "given",
    [
        NOT_ANA,
        {"siteCode": {"startsWith": "F-"}, "collector": {"ne": "Ana Ruiz"}},
        {"siteCode": {"startsWith": "F-"}, "collector": {"notIn": ["Ana Ruiz", "Somebody"]}},
        {
            "and": [
                {"siteCode": {"startsWith": "F-"}},
                {"or": [{"collector": {"eq": "Bo"}}, {"collector": {"eq": "x"}}]},
            ]
        },
    ],
)
async def test_the_opposite_finds_a_row_only_where_its_column_may_be_read(
    collected: World, who: str, sites: list[str], given: dict[str, Any]
) -> None:
    client = await collected.client(who)

    answer = await client.run(
        "query($f: RecordFilter) { records(filter: $f) { totalCount nodes { siteCode } } }", {"f": given}
    )

    page = answer.data["records"]
    assert sorted(node["siteCode"] for node in page["nodes"]) == sites
    assert page["totalCount"] == len(sites)


async def test_a_comparison_that_does_not_matter_still_takes_the_reading_of_its_column(collected: World) -> None:
    """Were it otherwise, which of two comparisons found a row would tell the value of one that may not be read."""
    given = {"or": [{"siteCode": {"startsWith": "F-"}}, {"collector": {"eq": "Bo"}}]}

    counts = {who: len(await found(await collected.client(who), given)) for who in ("owner", "manager", "viewer")}

    assert counts == {"owner": 3, "manager": 2, "viewer": 0}


async def test_what_not_finds_by_a_name_is_in_the_read_log(collected: World) -> None:
    client = await collected.client("manager")
    since: datetime = await collected.now()

    await client.run("query($f: RecordFilter) { records(filter: $f) { nodes { siteCode } } }", {"f": NOT_ANA})

    entries = await collected.entries(since=since, kinds=["READ"])
    assert [(one["entity"], one["field"], len(one["entity_ids"])) for one in entries] == [("record", "collector", 1)]


@pytest.mark.parametrize(
    ("given", "path"),
    [
        ({"createdById": {"ne": None}}, ["filter", "createdById"]),
        ({"not": {"createdById": {"isNull": True}}}, ["filter", "not", "createdById"]),
        (
            {"or": [{"siteCode": {"eq": "A"}}, {"and": [{"createdById": {"eq": None}}]}]},
            ["filter", "or", "1", "and", "0", "createdById"],
        ),
    ],
)
async def test_a_filter_by_who_entered_takes_seeing_the_people_wherever_it_stands(
    world: World, given: dict[str, Any], path: list[str]
) -> None:
    answer = await (await world.client("collector")).run(FIND, {"f": given})

    assert answer.codes == ["FORBIDDEN"]
    assert answer.errors[0]["extensions"]["field"] == path
    assert not answer.body["data"]["records"]
    assert (await (await world.client("owner")).run(FIND, {"f": given})).data["records"]


async def test_entries_about_one_of_two_objects_and_about_neither_are_found(world: World) -> None:
    owner = await world.client("owner")
    canal = await world.project_id("CANAL")
    first, second = [await collect(owner, canal, site, None) for site in ("E-1", "E-2")]
    query = (
        "query($f: AuditEntryFilter) { auditEntries(filter: $f, first: 200) { nodes { action changes { entityId } } } }"
    )
    created = {"action": {"eq": "record.create"}}
    either = {"or": [{"entityIds": {"has": first}}, {"entityIds": {"has": second}}]}

    one = (await owner.run(query, {"f": {**created, "entityIds": {"has": first}}})).data["auditEntries"]["nodes"]
    both = (await owner.run(query, {"f": {**created, **either}})).data["auditEntries"]["nodes"]
    neither = (await owner.run(query, {"f": {**created, "not": either}})).data["auditEntries"]["nodes"]
    every = (await owner.run(query, {"f": created})).data["auditEntries"]["nodes"]

    assert (len(one), len(both)) == (1, 2)
    assert len(neither) == len(every) - 2


def test_whatever_compares_a_value_of_an_enum_has_all_of_its_operators(world: World) -> None:
    inputs = [one for one in world.api._schema.type_map.values() if isinstance(one, GraphQLInputObjectType)]
    of_enums = {one.name: set(one.fields) for one in inputs if "eq" in one.fields and _is_enum(one.fields["eq"])}

    assert len(of_enums) > 10
    assert {name: fields for name, fields in of_enums.items() if fields != {"eq", "ne", "in", "notIn", "isNull"}} == {}


def _is_enum(field: GraphQLInputField) -> bool:
    return isinstance(get_named_type(field.type), GraphQLEnumType)


@pytest.mark.parametrize(
    ("entry", "kind", "given"),
    [
        ("exports", "ExportFilter", {"status": {"notIn": ["DELETED"]}, "or": [{"format": {"ne": "ARCHIVE"}}]}),
        (
            "imports",
            "DataImportFilter",
            {"not": {"status": {"isNull": True}}, "createdAt": {"gt": "2020-01-01T00:00:00Z"}},
        ),
        ("importMappings", "ImportMappingFilter", {"name": {"contains": "LAB", "ignoreCase": True}}),
        ("trustedDocuments", "TrustedDocumentFilter", {"clientName": {"endsWith": "board"}}),
        ("sites", "SiteFilter", {"and": [{"kind": {"ne": "Lake"}}, {"code": {"startsWith": "C-"}}]}),
    ],
)
async def test_lists_of_every_kind_take_the_same_operators(
    world: World, entry: str, kind: str, given: dict[str, Any]
) -> None:
    query = f"query($f: {kind}, $n: {kind}) {{ found: {entry}(filter: $f) {{ totalCount }}"
    query += f" others: {entry}(filter: $n) {{ totalCount }} all: {entry} {{ totalCount }} }}"

    answer = await (await world.client("owner")).run(query, {"f": given, "n": {"not": given}})

    assert answer.errors == []
    found, others, every = (answer.data[name]["totalCount"] for name in ("found", "others", "all"))
    assert found + others == every
