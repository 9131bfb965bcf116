"""Objects by their ids, many at once: in their order, null for what is not seen, a statement for each type."""

from typing import Any, Final

import pytest

from schema.query import MOST_NODES
from tests.support.world import Client, World

NODES: Final = """
query($ids: [ID!]!) {
  nodes(ids: $ids) {
    id __typename
    ... on Record { siteCode measurements { value } project { code } }
    ... on Project { code records(first: 2) { nodes { siteCode } } }
    ... on Device { model }
    ... on User { name }
  }
}
"""
UNKNOWN: Final = "0195515a-0000-7000-8000-00000000beef"


async def some_ids(world: World) -> list[str]:
    """Return ids of records, projects and people that an owner sees."""
    owner = await world.client("owner")
    data = (
        await owner.run(
            "{ records(first: 5) { nodes { id } } projects { nodes { id } } users(first: 3) { nodes { id } } }"
        )
    ).data
    return [node["id"] for name in ("users", "records", "projects") for node in data[name]["nodes"]]


async def ask(client: Client, ids: list[str]) -> list[Any]:
    """Return the nodes of the ids."""
    found: list[Any] = (await client.run(NODES, {"ids": ids})).data["nodes"]
    return found


async def test_nodes_come_in_the_order_of_their_ids_whatever_their_types(world: World) -> None:
    owner, ids = await world.client("owner"), await some_ids(world)

    for asked in (ids, ids[::-1], [ids[3], ids[3], ids[0]]):
        assert [node["id"] for node in await ask(owner, asked)] == asked
    alone = "query($id: ID!) { node(id: $id) { id ... on Record { siteCode } } }"
    for one, node in zip(ids, await ask(owner, ids), strict=True):
        assert (await owner.run(alone, {"id": one})).data["node"].items() <= node.items()


@pytest.mark.parametrize("who", ["manager", "viewer", "member", "other-owner"])
async def test_what_is_not_seen_is_null_as_what_never_was(world: World, who: str) -> None:
    ids = await some_ids(world)
    client = await world.client(who)
    listed = (
        await client.run(
            "{ records(first: 1000) { nodes { id } } projects { nodes { id } } users(first: 100) { nodes { id } } }"
        )
    ).data
    seen = {node["id"] for page in listed.values() for node in page["nodes"]}
    asked = [f"Record:{UNKNOWN}", *ids, f"Nothing:{UNKNOWN}", f"Query:{UNKNOWN}", f"Change:{UNKNOWN}"]

    nodes = await ask(client, asked)

    assert [node and node["id"] for node in nodes] == [one if one in seen else None for one in asked]


async def test_nobody_gets_a_node_without_signing_in(world: World) -> None:
    answer = await world.anonymous.run(NODES, {"ids": await some_ids(world)})

    assert answer.codes == ["UNAUTHENTICATED"]
    assert not answer.body["data"]


@pytest.mark.parametrize(
    ("ids", "path"),
    [
        (["Record:x"], ["ids", "0"]),
        ([f"Record:{UNKNOWN}", UNKNOWN], ["ids", "1"]),
        ([f"Record:{UNKNOWN}"] * (MOST_NODES + 1), ["ids"]),
    ],
)
async def test_what_is_no_id_and_too_many_of_them_are_refused(world: World, ids: list[str], path: list[str]) -> None:
    answer = await (await world.client("owner")).run(NODES, {"ids": ids})

    assert answer.codes == ["INVALID_INPUT"]
    assert answer.errors[0]["extensions"]["field"] == path


async def test_no_ids_are_no_nodes(world: World) -> None:
    assert await ask(await world.client("owner"), []) == []


async def test_nodes_cost_a_statement_for_each_type_however_many_they_are(world: World) -> None:
    ids = await some_ids(world)
    owner = await world.client("owner")
    records = (await owner.run("{ records(first: 60) { nodes { id } } }")).data["records"]["nodes"]
    projects = [one for one in ids if one.startswith("Project:")]

    few = await world.inside("owner", NODES, {"ids": [records[0]["id"], projects[0]]})
    many = await world.inside("owner", NODES, {"ids": [*(one["id"] for one in records), *projects]})

    # The records with what they lead to, the projects, and the projects' records.
    assert few.reader.statements == many.reader.statements == 3


async def test_pages_under_many_nodes_count_as_what_they_are(world: World) -> None:
    ids = [f"Project:{await world.project_id('CANAL')}"] * MOST_NODES
    query = "query($ids: [ID!]!) { nodes(ids: $ids) { ... on Project { records(first: 1000) { nodes { %s } } } } }"
    client = await world.client("owner")

    assert (await client.run(query % "id", {"ids": ids[:2]})).data
    assert (await client.run(query % "measurements { value }", {"ids": ids})).codes == ["TOO_COMPLEX"]
    text = "[" + ", ".join(f'"{one}"' for one in ids) + "]"
    default = f"query($ids: [ID!]! = {text}) " + query.partition(") ")[2]
    assert (await client.run(default % "measurements { value }")).codes == ["TOO_COMPLEX"]
    assert (await client.run(default % "measurements { value }", {"ids": ids[:2]})).data
    below = "... on Project { records(first: 1000) { nodes { project { records { nodes { id } } } } } }"
    assert (await client.run(f"{{ nodes(ids: {text}) {{ {below} }} }}")).codes == ["TOO_COMPLEX"]
