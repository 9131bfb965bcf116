"""What attackers tried later: each stays tried."""

import asyncio
from typing import Any

from tortoise.connection import get_connection

from schema.operation import MOST_CHOICES
from tests.support.world import World

NESTED = "query($n: Int) { records(first: $n) { nodes { project { records(first: $n) { nodes { id } } } } } }"


def connections_in_use() -> int:
    """Return how many connections of the pool of requests somebody holds."""
    pool: Any = get_connection("default")._pool
    return int(pool.get_size() - pool.get_idle_size())


async def test_an_operation_that_fails_leaves_nothing_behind_that_reads_on(world: World) -> None:
    """`b` fails at once and blanks the project, while `a` and all that is under it would read for long."""
    client = await world.client("manager")
    query = """
        query($p: ID!) {
          project(id: $p) {
            a: records(first: 50) { nodes { measurements { id } project { records(first: 9) { nodes {
              measurements { value } } } } } }
            b: records(first: -1) { nodes { id } }
          }
        }
    """

    for _ in range(12):
        answer = await client.run(query, {"p": str(await world.project_id("CANAL"))})
        assert answer.codes == ["INVALID_INPUT"]
        assert answer.body["data"] == {"project": None}

    await asyncio.sleep(0.2)
    assert connections_in_use() == 0
    assert (await client.run("{ viewer { role } }")).data == {"viewer": {"role": "MEMBER"}}


async def test_the_size_of_a_page_counts_where_it_is_written_as_a_fraction(world: World) -> None:
    client = await world.client("manager")

    for size in (1000, 1000.0):
        assert (await client.run(NESTED, {"n": size})).codes == ["TOO_COMPLEX"]
    assert len((await client.run(NESTED, {"n": 2.0})).data["records"]["nodes"]) == 2


async def test_variables_that_nobody_declared_are_not_kept(world: World) -> None:
    client = await world.client("manager")
    query = "query A { viewer { role } } " + NESTED.replace("query(", "query B(")
    world.api.operations._kept.pop(query, None)

    for sent in ({f"v{i}": i for i in range(5000)}, {"n": [1]}, {"n": 10**400}):
        answer = await client.run(query, sent, operationName="A")
        assert answer.data == {"viewer": {"role": "MEMBER"}}

    kept = world.api.operations._kept[query]._affordable
    assert [sizes for _, sizes in kept] == [()]


async def test_what_is_left_out_in_how_many_ways_fills_no_memory(world: World) -> None:
    client = await world.client("manager")
    names = [f"b{i}" for i in range(5)]
    declared = ", ".join(f"${name}: Boolean!" for name in names)
    fields = " ".join(f"{name}: siteCode @include(if: ${name})" for name in names)
    query = f"query({declared}) {{ records(first: 1) {{ nodes {{ id {fields} }} }} }}"

    for chosen in range(2 ** len(names)):
        asked = {name: bool(chosen >> i & 1) for i, name in enumerate(names)}
        node = (await client.run(query, asked)).data["records"]["nodes"][0]
        assert set(node) == {"id", *(name for name in names if asked[name])}

    assert 0 < len(world.api.operations._kept[query].completions) <= MOST_CHOICES
