"""No list costs more statements for more rows, nor for more parents: each that the schema has, wherever it stands."""

from collections.abc import Iterator
from typing import Any

import pytest
from graphql import GraphQLObjectType, get_named_type, is_leaf_type, is_list_type, is_required_argument

from schema.api import build_api
from schema.field import TYPES
from tests.support.world import World

_CORE = build_api()._schema
_FEED = "changes"
"""What changed since a cursor is no page of rows: `tests/api/test_feed.py` counts what it takes."""
_WHO = {
    "auditEntries": "auditor",
    **dict.fromkeys(("history", "members", "roles", "serviceAccounts", "users"), "owner"),
}


def _leaves(of: GraphQLObjectType) -> str:
    """Return what is selected of a row: all of its leaves."""
    return " ".join(
        name for name, one in of.fields.items() if is_leaf_type(get_named_type(one.type)) and not _takes(one)
    )


def _takes(field: Any) -> bool:
    return any(is_required_argument(argument) for argument in field.args.values())


def _places() -> Iterator[tuple[str, str]]:
    """Yield a query for each page at the root, and for each page and list below its rows, with who asks it.

    `%d` stands for how many rows the page at the root has.
    """
    assert _CORE.query_type is not None
    for root, field in _CORE.query_type.fields.items():
        page: Any = get_named_type(field.type)
        if "first" not in field.args or "nodes" not in page.fields or root == _FEED:
            continue
        rows: Any = get_named_type(page.fields["nodes"].type)
        who = _WHO.get(root, "manager")
        yield f"{{ {root}(first: %d) {{ nodes {{ {_leaves(rows)} }} }} }}", who
        for name, below in rows.fields.items():
            target: Any = get_named_type(below.type)
            if is_leaf_type(target) or _takes(below):
                continue
            if "first" in below.args:
                inner: Any = get_named_type(target.fields["nodes"].type)
                selected = f"{name}(first: 3) {{ nodes {{ {_leaves(inner)} }} totalCount }}"
            elif is_list_type(below.type) or TYPES.get(target.name) is not None:
                selected = f"{name} {{ {_leaves(target) or '__typename'} }}"
            else:
                continue
            yield f"{{ {root}(first: %d) {{ nodes {{ id {selected} }} }} }}", _WHO.get(name, who)


PLACES = list(_places())


def test_every_page_of_the_schema_is_asked_for() -> None:
    roots = (
        {
            name
            for name, field in _CORE.query_type.fields.items()
            if "first" in field.args and "nodes" in getattr(get_named_type(field.type), "fields", {})
        }
        - {_FEED}
        if _CORE.query_type
        else set()
    )

    assert {query.split("(")[0].strip("{ ") for query, _ in PLACES} == roots
    assert len(PLACES) > 3 * len(roots)


@pytest.mark.parametrize(
    ("query", "who"), PLACES, ids=[query.replace("(first: %d) { nodes", "") for query, _ in PLACES]
)
async def test_more_rows_take_no_more_statements(world: World, query: str, who: str) -> None:
    await (await world.client(who)).run(query % 100)

    few, many = [(await world.inside(who, query % size)).reader.statements for size in (2, 100)]

    # The first rows may lead to nothing that a statement would be for; four rows with one each are found.
    assert many <= few + 1
