"""Projects through the API, as each principal."""

from tests.support.world import World


async def test_a_manager_sees_the_project_they_manage_and_no_other(world: World) -> None:
    client = await world.client("manager")

    answer = await client.run("{ projects { nodes { code name } totalCount } }")

    assert [node["code"] for node in answer.data["projects"]["nodes"]] == ["CANAL"]
    assert answer.data["projects"]["totalCount"] == 1
