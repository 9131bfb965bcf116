"""The page on lists: each of its queries is answered, and its numbers are those of the code."""

import re
from pathlib import Path
from typing import Final

import pytest

from models.inventory import entity_of
from models.record import Record
from models.site import Site
from schema.filter import DEEPEST, MOST_COMPARISONS
from schema.order import MOST_KEYS
from schema.query import MOST_NODES
from tests.support.world import World

PAGE: Final = (Path(__file__).resolve().parents[2] / "docs" / "lists.md").read_text()
QUERIES: Final = re.findall(r"```graphql\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.parametrize("query", QUERIES)
async def test_each_query_is_answered(world: World, query: str) -> None:
    answer = await (await world.client("manager")).run(query)

    assert answer.errors == []
    assert all(one is not None for one in answer.body["data"].values())


def test_the_page_has_queries_and_names_the_limits() -> None:
    assert len(QUERIES) == 4
    assert (DEEPEST, MOST_COMPARISONS, MOST_KEYS, MOST_NODES) == (5, 50, 4, 100)
    for words in ("five levels", "fifty comparisons", "four keys", "hundred"):
        assert words in PAGE


def test_the_page_names_what_is_searched() -> None:
    assert [column.name for column in entity_of(Record).word_columns] == [
        "site_code",
        "site_name",
        "activity_type",
        "method",
    ]
    assert [column.name for column in entity_of(Site).word_columns] == ["code", "name", "kind", "description"]
    assert "sites (code, name, kind, description)" in PAGE
