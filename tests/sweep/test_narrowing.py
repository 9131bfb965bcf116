"""Every filter with every operator, every order and every way to page, as every principal.

A row is found by a column only where the page says that the column is filtered by; what is found and what is counted
are the same rows; an order shows the same rows in the order of the column; pages forwards and backwards are the list.
"""

import asyncio
from collections.abc import Iterator
from functools import partial
from typing import Any
from uuid import UUID

import pytest
from graphql import GraphQLField, GraphQLInputObjectType, get_named_type

from tests.support.world import connect
from tests.sweep.conftest import Tally
from tests.sweep.contract import Contract, enum_of, filters_of, is_connection, row_type
from tests.sweep.facts import NEWEST_FIRST, NODELESS, ONE_ORDER, TABLES, Facts, Row, literal, until
from tests.sweep.narrowing import Narrowing, narrowings
from tests.sweep.principal import Principal
from tests.sweep.stage import INSIDE, Cast

LEAST_FILTERS, LEAST_ORDERS, LEAST_PAGES = 130, 25, 20
AT_ONCE, GROUPS_AT_ONCE, ORDERS_AT_ONCE = 60, 18, 8
"""Aliases of one operation: the limits are 100, and 100 000 rows, at which a list of groups counts for 5 000, and a
total for 500.
"""

BELOW_PROJECTS = "projects(first: 50) { nodes { id "


@pytest.mark.parametrize("key", INSIDE)
def test_every_filter_finds_and_counts_what_the_page_lets_be_found(
    cast: Cast, contract: Contract, facts: Facts, tally: Tally, key: str
) -> None:
    who = cast.principals[key]
    asked: list[tuple[str, str, Narrowing]] = []
    for name, target, field in _narrowed(contract):
        for one in narrowings(facts, who, contract, target, field):
            rest = "{ count }" if "Groups" in name else "{ totalCount nodes { id } }"
            first = "" if "Groups" in name else f"first: {_most(target)}, "
            asked.append((f"{name}({first}{one.text}) {rest}", target, one))
            tally.note("filters", key, name, f"{one.name} {one.wanted}")
    lists = [one for one in asked if "Groups" not in one[0]]
    groups = [one for one in asked if "Groups" in one[0]]
    batches = [*_batches(lists, AT_ONCE), *_batches(groups, GROUPS_AT_ONCE)]
    queries = ["{ " + " ".join(f"f{i}: {text}" for i, (text, _, _) in enumerate(batch)) + " }" for batch in batches]

    findings = []
    for batch, reply in zip(batches, who.caller.run_all(queries), strict=True):
        refused = {error["path"][0]: error["extensions"] for error in reply.errors if error.get("path")}
        if len(refused) != len(reply.errors):
            findings.append(f"{key}: {reply.errors[:2]}")
        for index, (text, target, one) in enumerate(batch):
            shown: Any = (reply.data or {}).get(f"f{index}")
            told = refused.get(f"f{index}")
            if one.is_refused or told is not None:
                if not one.is_refused or shown is not None or (told or {}).get("code") != "FORBIDDEN":
                    findings.append(f"{key} {text}: expected {'FORBIDDEN' if one.is_refused else 'rows'}, got {told}")
                continue
            expected = [str(row["id"]) for row in facts.visible(who, target) if _is_left(facts, who, target, row, one)]
            if "Groups" in text:
                got: Any = shown[0]["count"] if shown else shown
                wanted: Any = len(expected)
            else:
                got = sorted(node["id"].partition(":")[2] for node in shown["nodes"]), shown["totalCount"]
                wanted = sorted(expected), len(expected)
            if got != wanted:
                findings.append(f"{key} {text}: expected {wanted}, got {got}"[:600])

    assert not findings, f"{len(findings)} filters differ from the page:\n" + "\n".join(findings[:20])
    assert tally.of("filters", key) >= LEAST_FILTERS


@pytest.mark.parametrize("key", INSIDE)
def test_every_order_shows_the_same_rows_in_the_order_of_the_column(
    cast: Cast, contract: Contract, facts: Facts, tally: Tally, orders: dict[tuple[str, str], list[Any]], key: str
) -> None:
    who = cast.principals[key]
    asked = list(_ordered(contract, facts))
    texts = [f"o{i}: {text}" for i, (text, *_) in enumerate(asked)]
    queries = ["{ " + " ".join(batch) + " }" for batch in _batches(texts, ORDERS_AT_ONCE)]

    answers: dict[str, Any] = {}
    for reply in who.caller.run_all(queries):
        assert not reply.errors, reply.errors[:3]
        answers |= reply.data
    findings = []
    for index, (text, target, column, is_descending) in enumerate(asked):
        seen = {row["id"] for row in facts.visible(who, target) if _is_ordered_by(facts, who, target, column, row)}
        wanted = [str(one) for one in orders[target, column] if one in seen]
        if is_descending:
            # What has no value comes last, whichever way.
            falling = wanted[::-1]
            wanted = sorted(falling, key=partial(_lacks, facts, target, column))
        shown: Any = answers[f"o{index}"]
        inner = text.removeprefix(BELOW_PROJECTS).partition("(")[0] if text.startswith(BELOW_PROJECTS) else ""
        parents: list[Any] = shown["nodes"] if inner else [None]
        got = [
            node["id"].partition(":")[2]
            for parent in parents
            for node in (shown if parent is None else parent[inner])["nodes"]
        ]
        if parents != [None]:
            by_project = [facts.rows[target][UUID(one)]["project_id"] for one in wanted]
            of_parents = [UUID(parent["id"].partition(":")[2]) for parent in parents]
            wanted = [
                one for parent in of_parents for one, lies in zip(wanted, by_project, strict=True) if lies == parent
            ]
        if got != wanted:
            findings.append(f"{key} {text}: expected {wanted}, got {got}"[:600])
        tally.note("orders", key, text)

    assert not findings, "\n".join(findings[:20])
    assert tally.of("orders", key) >= LEAST_ORDERS


@pytest.mark.parametrize("key", INSIDE)
def test_pages_forwards_and_backwards_are_the_list_and_another_s_cursors_lead_nowhere_else(
    cast: Cast, contract: Contract, facts: Facts, tally: Tally, foreign: dict[str, str], key: str
) -> None:
    who = cast.principals[key]
    lists = list(_lists(contract, facts))
    wanted = {
        name: [str(row["id"]) for row in facts.visible(who, target)][:: -1 if target in NEWEST_FIRST else 1]
        for name, target, _ in lists
    }
    findings = []

    for way, cursor, more in (
        ("first", ("after", "endCursor"), "hasNextPage"),
        ("last", ("before", "startCursor"), "hasPreviousPage"),
    ):
        got = _paged(who, lists, {name: max(1, -(-len(ids) // 3)) for name, ids in wanted.items()}, way, cursor, more)
        for name, _, _ in lists:
            tally.note("pages", key, name, way)
            if got[name] != wanted[name]:
                findings.append(f"{key} {name}({way}, {cursor[0]}): expected {wanted[name]}, got {got[name]}"[:600])
    query = " ".join(
        f"{name}(first: 200, after: {literal(foreign[name])}{more}) {{ nodes {{ id }} }}" for name, _, more in lists
    )
    reply = who.caller.run(f"{{ {query} }}")
    codes = {error["path"][0]: error["extensions"]["code"] for error in reply.errors}
    for name, _, _ in lists:
        tally.note("pages", key, name, "another's cursor")
        shown: Any = (reply.data or {}).get(name)
        nodes = shown["nodes"] if shown else []
        strangers = {node["id"].partition(":")[2] for node in nodes} - set(wanted[name])
        if strangers or (shown is None and codes.get(name) != "INVALID_INPUT"):
            findings.append(f"{key} {name}(after: another's): expected INVALID_INPUT or own rows, got {shown}"[:300])

    assert not findings, "\n".join(findings[:20])
    assert tally.of("pages", key) >= LEAST_PAGES


@pytest.fixture(scope="module")
def orders(cast: Cast, contract: Contract, facts: Facts) -> dict[tuple[str, str], list[Any]]:
    """The ids of every table in the order of each column that a list is ordered by, as the database orders them."""

    async def read() -> dict[tuple[str, str], list[Any]]:
        connection = await connect(cast.superuser)
        try:
            return {
                (target, column): [
                    row["id"]
                    for row in await connection.fetch(f'select id from "{TABLES[target].name}" order by {column}, id')
                ]
                for _, target, column, _ in _ordered(contract, facts)
            }
        finally:
            await connection.close()

    return asyncio.run(read())


@pytest.fixture(scope="module")
def foreign(cast: Cast, contract: Contract, facts: Facts) -> dict[str, str]:
    """A cursor of each list, as the maker of every program, who sees all of it, was given it."""
    lists = list(_lists(contract, facts))
    query = " ".join(f"{name}(first: 1{more}) {{ pageInfo {{ endCursor }} }}" for name, _, more in lists)
    data = cast.principals["owner"].caller.run(f"{{ {query} }}").data
    return {name: data[name]["pageInfo"]["endCursor"] for name, _, _ in lists}


def _narrowed(contract: Contract) -> Iterator[tuple[str, str, GraphQLField]]:
    """Yield every entry that is narrowed, with the type of its rows."""
    for name, field in contract.query.items():
        # Series are narrowed as groups are, by the same filters: `tests/api/test_measurement_series.py` tries them.
        if filters_of(field) and "width" not in field.args:
            yield name, row_type(field).removesuffix("Group"), field


def _lists(contract: Contract, facts: Facts) -> Iterator[tuple[str, str, str]]:
    """Yield the lists of the entries: name, type of the rows, and what to add to the arguments."""
    for name, field in contract.query.items():
        if is_connection(field):
            yield name, row_type(field), until(facts, row_type(field))


def _most(target: str) -> int:
    """Return how many rows to ask for: more than there are. The trail has grown while others asked."""
    return 1000 if target == "AuditEntry" else 200


def _ordered(contract: Contract, facts: Facts) -> Iterator[tuple[str, str, str, bool]]:
    """Yield every list in every order: the text that asks, the type of the rows, the column, whether it falls."""
    for parent, name, field in contract.lists():
        target = row_type(field)
        if target in NODELESS:
            # A history's order is held to in tests/api/test_record_history.py.
            continue
        for text, column, falls in _ways(field, target):
            asked = f"{name}(first: {_most(target)}, {text}{until(facts, target)}) {{ nodes {{ id }} }}"
            if parent == "Project":
                asked = f"{BELOW_PROJECTS}{asked} }} }}"
            yield asked, target, column, falls


def _ways(field: GraphQLField, target: str) -> Iterator[tuple[str, str, bool]]:
    """Yield the ways to order a list: the argument, the column, whether it falls."""
    if "direction" in field.args:
        for way in enum_of(field.args["direction"]):
            yield f"direction: {way}", ONE_ORDER[target], way == "DESC"
    if "orderBy" in field.args:
        given = get_named_type(field.args["orderBy"].type)
        assert isinstance(given, GraphQLInputObjectType)
        for by in enum_of(given.fields["field"]):
            for way in enum_of(given.fields["direction"]):
                yield f"orderBy: {{field: {by}, direction: {way}}}", by.lower(), way == "DESC"


def _is_ordered_by(facts: Facts, who: Principal, target: str, column: str, row: Row) -> bool:
    """Return whether the page lets somebody find the row in an order of the column."""
    first, *rest = column.split("_")
    said = facts.page.fields[target][first + "".join(map(str.title, rest))]
    letter = "o" if target not in ONE_ORDER else "r"
    return letter in facts.letters(who, said, row)


def _lacks(facts: Facts, target: str, column: str, row_id: str) -> bool:
    """Return whether a row has no value in a column."""
    return facts.rows[target][UUID(row_id)][column] is None


def _is_left(facts: Facts, who: Principal, target: str, row: Row, one: Narrowing) -> bool:
    """Return whether a row is left by a narrowing: by its own column, or by one of the record that it belongs to."""
    if one.said.type_name == target:
        return one.leaves(facts, who, row)
    record = facts.rows["Record"][row["record_id"]]
    return facts.sees(who, "Record", record) and one.leaves(facts, who, record)


def _paged(
    who: Principal,
    lists: list[tuple[str, str, str]],
    sizes: dict[str, int],
    way: str,
    cursor: tuple[str, str],
    more: str,
) -> dict[str, list[str]]:
    """Return what all pages of each list show together, one after the other."""
    found: dict[str, list[str]] = {name: [] for name, _, _ in lists}
    cursors: dict[str, str | None] = dict.fromkeys(found)
    while cursors:
        parts = []
        for name, _, narrowed in lists:
            if name in cursors:
                at = f", {cursor[0]}: {literal(cursors[name])}" if cursors[name] else ""
                page = f"pageInfo {{ {more} {cursor[1]} }} edges {{ cursor node {{ id }} }}"
                parts.append(f"{name}({way}: {sizes[name]}{at}{narrowed}) {{ {page} }}")
        reply = who.caller.run(f"{{ {' '.join(parts)} }}")
        assert not reply.errors, reply.errors[:2]
        for name in list(cursors):
            page = reply.data[name]
            ids = [edge["node"]["id"].partition(":")[2] for edge in page["edges"]]
            found[name] = [*found[name], *ids] if way == "first" else [*ids, *found[name]]
            cursors[name] = page["pageInfo"][cursor[1]]
            if not page["pageInfo"][more]:
                del cursors[name]
            else:
                assert ids, f"{who} {name}: a page is empty and says that there is more"
    return found


def _batches(asked: list[Any], size: int) -> Iterator[list[Any]]:
    for start in range(0, len(asked), size):
        yield asked[start : start + size]
