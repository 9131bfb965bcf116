"""What attackers tried later: each stays tried."""

import asyncio
from typing import Any

import pytest
from tortoise.connection import get_connection

from models.pool import Purpose, pool_for
from schema.operation import MOST_CHOICES
from tests.support.access import later, until_waiting
from tests.support.mutation import mutate
from tests.support.world import Client, World, connect

NESTED = "query($n: Int) { records(first: $n) { nodes { project { records(first: $n) { nodes { id } } } } } }"


def connections_in_use() -> int:
    """Return how many connections of those for requests somebody holds."""
    pool: Any = get_connection("default")._pool
    changing = int(pool.get_size() - pool.get_idle_size()) if pool else 0
    return changing + pool_for(Purpose.READING).in_use


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

    kept = world.api.operations._kept[query].operation("A")._affordable
    assert list(kept) == [()]


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

    assert 0 < len(world.api.operations._kept[query].operation(None)._choices) <= MOST_CHOICES


async def test_who_waits_to_give_a_role_gives_it_with_what_they_may_do_by_then(world: World) -> None:
    """The admin's request waits for the organization, and is let on after the owner's, which makes them a member."""
    owner, admin = await world.client("owner"), await world.client("admin")
    target, demoted = [f"User:{await world.member_id(key)}" for key in ("member", "admin")]
    project = f"Project:{await world.project_id('CANAL')}"
    role = (
        await mutate(
            owner,
            "createRole",
            {"name": "Looks on", "level": "PROJECT", "permissions": ["PROJECT_READ"], "reason": "Set up."},
            "role { id }",
        )
    ).data["createRole"]["role"]["id"]
    tried = {
        "assignOrganizationRole": {"userId": target, "role": "ADMIN", "reason": "Mine."},
        "assignProjectRole": {"userId": target, "projectId": project, "role": "MANAGER", "reason": "Mine."},
        "updateRole": {"id": role, "expectedVersion": 1, "permissions": ["PROJECT_READ"], "reason": "Mine."},
    }
    since = await world.now()
    holder = await connect(world.superuser)
    try:
        async with holder.transaction():
            await holder.execute("select 1 from organization where slug = 'clearwater' for update")
            given = {"userId": demoted, "role": "MEMBER", "reason": "Left."}
            first = asyncio.create_task(mutate(owner, "assignOrganizationRole", given))
            await until_waiting(world, 1)
            rest = [asyncio.create_task(mutate(admin, name, given)) for name, given in tried.items()]
            await until_waiting(world, 1 + len(rest))
    finally:
        await holder.close()

    assert (await first).data["assignOrganizationRole"]["errors"] == []
    for name, answer in zip(tried, await asyncio.gather(*rest), strict=True):
        assert {error["code"] for error in answer.data[name]["errors"]} <= {"FORBIDDEN", "NOT_FOUND"}, name
        assert answer.data[name]["errors"], name
    done = [one["action"] for one in await world.entries(since=since, kinds=("CHANGE",))]
    assert done == ["membership.assign_role"]


async def test_looking_as_another_shows_no_roles_of_theirs_that_one_does_not_see(world: World) -> None:
    owner = await world.client("owner")
    looker, person = [f"User:{await world.member_id(key)}" for key in ("member", "collector")]
    permissions = ["ACCESS_READ", "ACCESS_RUN_AS", "MEMBERSHIP_READ"]
    given = {"name": "Looks", "level": "ORGANIZATION", "permissions": permissions, "reason": "Set up."}
    role = (await mutate(owner, "createRole", given, "role { id }")).data["createRole"]["role"]["id"]
    await mutate(owner, "assignOrganizationRole", {"userId": looker, "customRoleId": role, "reason": "Set up."})
    query = b'{"query": "{ viewer { projectRoles { role expiresAt } } }"}'

    shown = {}
    for key in ("member", "owner"):
        answer = await (await world.client(key)).post(query, **{"fieldward-run-as": person})
        shown[key] = [one["role"] for one in answer.data["viewer"]["projectRoles"]]

    assert shown == {"member": [], "owner": ["COLLECTOR"]}
    own = await (await world.client("collector")).post(query)
    assert [one["role"] for one in own.data["viewer"]["projectRoles"]] == ["COLLECTOR"]


async def test_a_programs_cursor_is_no_other_programs(world: World) -> None:
    owner = await world.client("owner")
    programs = []
    for name in ("One", "Other"):
        given = {
            "name": name,
            "permissions": ["PROJECT_READ", "RECORD_READ"],
            "expiresAt": later(days=1),
            "reason": "Set up.",
        }
        made = await mutate(owner, "createServiceAccount", given, "token")
        programs.append(Client(world.http, made.data["createServiceAccount"]["token"]))
    first = await programs[0].run("{ records(first: 1) { pageInfo { endCursor } } }")
    cursor = {"after": first.data["records"]["pageInfo"]["endCursor"]}
    query = "query($after: String) { records(first: 1, after: $after) { nodes { id } } }"

    assert len((await programs[0].run(query, cursor)).data["records"]["nodes"]) == 1
    assert (await programs[1].run(query, cursor)).codes == ["INVALID_INPUT"]


@pytest.mark.parametrize(
    "query",
    [
        "{ " + "records { nodes { project { records { nodes { id } } } } } " * 230 + "}",
        "{ " + " ".join(f"...F{i}" for i in range(300)) + " } "
        + " ".join(f"fragment F{i} on Query {{ viewer {{ role }} }}" for i in range(300)),
    ],
)  # fmt: skip
async def test_what_is_selected_over_and_over_is_not_compared_for_long(world: World, query: str) -> None:
    """Refused for the work of comparing, and not, a second of the server's time later, for what they ask for."""
    answer = await world.anonymous.run(query)

    assert answer.codes == ["TOO_COMPLEX"]


async def test_nobody_gives_a_role_for_longer_than_they_have_it(world: World) -> None:
    """Else two who were let in for an hour would let each other in for good."""
    owner = await world.client("owner")
    guest, friend = [f"User:{await world.member_id(key)}" for key in ("member", "viewer")]
    ends = later(hours=1)
    given = {"userId": guest, "role": "ADMIN", "expiresAt": ends, "reason": "An hour."}
    assert (await mutate(owner, "assignOrganizationRole", given)).data["assignOrganizationRole"]["errors"] == []
    held = {"name": "Held", "level": "PROJECT", "permissions": ["PROJECT_READ"], "reason": "Set up."}
    role = (await mutate(owner, "createRole", held, "role { id }")).data["createRole"]["role"]["id"]
    client = await world.client("member")
    project = f"Project:{await world.project_id('CANAL')}"
    widened = {"id": role, "expectedVersion": 1, "permissions": ["PROJECT_READ", "PROJECT_UPDATE"], "reason": "Mine."}

    tried: list[tuple[str, dict[str, Any], list[str]]] = [
        ("assignOrganizationRole", {"userId": friend, "role": "ADMIN"}, ["FORBIDDEN"]),
        ("assignOrganizationRole", {"userId": friend, "role": "ADMIN", "expiresAt": later(hours=2)}, ["FORBIDDEN"]),
        ("assignProjectRole", {"userId": guest, "projectId": project, "role": "MANAGER"}, ["FORBIDDEN"]),
        ("assignProjectRole", {"userId": friend, "projectId": project, "role": "MANAGER"}, ["FORBIDDEN"]),
        ("updateRole", widened, ["FORBIDDEN"]),
        ("assignOrganizationRole", {"userId": friend, "role": "ADMIN", "expiresAt": ends}, []),
    ]
    for name, sent, codes in tried:
        answer = await mutate(client, name, {"reason": "Mine.", **sent})
        assert [error["code"] for error in answer.data[name]["errors"]] == codes, (name, sent)


async def test_an_error_below_a_link_blanks_the_link_and_no_more(world: World) -> None:
    client = await world.client("manager")
    query = "{ records(first: 2) { nodes { id project { records(first: -1) { nodes { id } } } } } }"

    answers = [await client.run(text) for text in (query, f"{query} # __schema, so that rows are completed one by one")]

    assert [list(node) for node in answers[0].body["data"]["records"]["nodes"]] == [["id", "project"]] * 2
    assert answers[0].codes == ["INVALID_INPUT"] * 2
    assert answers[0].body == answers[1].body
