"""Pulling what changed: what is told, to whom, and from which cursors on."""

from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import pytest

from auth.permission import Permission as P
from auth.principal import Viewer
from models.base import new_id
from models.encryption.owner import index_owner
from resolvers.account import member_viewer
from resolvers.feed import Position, open_position, seal_position
from resolvers.key_rotation import reseal, rotate_data_keys
from resolvers.trail_expiry import TrailExpiry
from tests.support.access import give_in_project, in_project, make_program, refusals
from tests.support.feed import a_record, cursor_of, deleted, page, pull, renamed, told
from tests.support.mutation import mutate, prepare
from tests.support.retention import age, decide, expiring_actor, seal
from tests.support.trail import an_actor
from tests.support.world import World

READERS = ["owner", "admin", "auditor", "manager", "reviewer", "collector", "viewer"]
"""Who sees the first project."""


async def canal(world: World) -> str:
    """Return the first project's id."""
    return f"Project:{await world.project_id('CANAL')}"


@pytest.mark.parametrize("key", READERS)
async def test_who_sees_a_project_is_told_what_was_made_changed_and_deleted_in_it(world: World, key: str) -> None:
    client, manager, project = await world.client(key), await world.client("manager"), await canal(world)
    old = await a_record(manager, project)
    start = await cursor_of(client)

    new = await a_record(manager, project)
    await renamed(manager, old, "Weir")
    first, after = await pull(client, start, denied=["FORBIDDEN"])
    await deleted(manager, old, version=2)
    second, end = await pull(client, after)

    assert told(first) == [("CREATED", new), ("UPDATED", old)]
    assert [one["record"]["id"] for one in first] == [new, old]
    assert first[1]["record"]["siteName"] == "Weir"
    assert told(second) == [("DELETED", old)]
    assert second[0]["record"] is None
    assert (await pull(client, end))[0] == []
    # Whoever was away for all of it is told how it ended.
    changes, _ = await pull(client, start, denied=["FORBIDDEN"])
    assert told(changes) == [("CREATED", new), ("DELETED", old)]


@pytest.mark.parametrize("key", ["member", "other-owner"])
async def test_who_does_not_see_a_project_is_told_nothing_of_it(world: World, key: str) -> None:
    client, manager, project = await world.client(key), await world.client("manager"), await canal(world)
    start = await cursor_of(client)

    made = await a_record(manager, project)
    await renamed(manager, made, "Weir")
    await deleted(manager, made, version=2)

    changes, _ = await pull(client, start)
    assert changes == []
    answer = await page(client, start, project=project)
    assert answer.data["changes"]["changes"] == []
    assert made.removeprefix("Record:") not in answer.text


async def test_nobody_is_told_anything_without_a_sign_in(world: World) -> None:
    answer = await page(world.anonymous, None)

    assert answer.codes == ["UNAUTHENTICATED"]
    assert answer.body["data"]["changes"] is None


async def test_what_changed_is_guarded_field_by_field_and_its_reading_is_in_the_trail(world: World) -> None:
    viewer, manager, project = await world.client("viewer"), await world.client("manager"), await canal(world)
    starts = await cursor_of(viewer), await cursor_of(manager)
    made = await a_record(manager, project, comment="By the fence.")
    since = await world.now()

    denied = await page(viewer, starts[0])
    shown, _ = await pull(manager, starts[1])

    assert denied.codes == ["FORBIDDEN"]
    assert [one["record"]["comment"] for one in denied.body["data"]["changes"]["changes"]] == [None]
    assert "fence" not in denied.text
    assert shown[0]["record"]["comment"] == "By the fence."
    (read,) = await world.entries(since=since, kinds=["READ"])
    assert (read["field"], read["entity_ids"]) == ("comment", [UUID(made.removeprefix("Record:"))])
    assert read["membership_id"] == await world.member_id("manager")


async def test_a_program_is_told_of_its_projects_alone(world: World) -> None:
    program = await make_program(world, {P.PROJECT_READ, P.RECORD_READ}, ["PARKS"])
    owner, start = await world.client("owner"), await cursor_of(program.client)
    parks = f"Project:{await world.project_id('PARKS')}"

    await a_record(owner, await canal(world))
    inside = await a_record(owner, parks)

    changes, _ = await pull(program.client, start, denied=["FORBIDDEN"])
    assert told(changes) == [("CREATED", inside)]


async def test_types_and_a_project_narrow_what_is_told(world: World) -> None:
    stage = await prepare(world)
    admin, owner = await world.client("admin"), await world.client("owner")
    start = await cursor_of(owner)
    parks = f"Project:{await world.project_id('PARKS')}"
    in_canal, in_parks = await a_record(owner, stage.project), await a_record(owner, parks)
    await mutate(admin, "blockDevice", {"id": stage.device, "expectedVersion": 1, "reason": "Lost."})
    version = (await owner.run("query($p: ID!) { project(id: $p) { version } }", {"p": parks})).data["project"][
        "version"
    ]
    await mutate(owner, "updateProject", {"id": parks, "expectedVersion": version, "name": "All parks"})

    everything, _ = await pull(owner, start)

    assert told(everything) == [
        ("CREATED", in_canal),
        ("CREATED", in_parks),
        ("UPDATED", stage.device),
        ("UPDATED", parks),
    ]
    assert everything[2]["device"]["model"] == "Pixel 8"
    assert everything[3]["project"]["name"] == "All parks"
    assert told((await pull(owner, start, types=["DEVICE"]))[0]) == [("UPDATED", stage.device)]
    assert told((await pull(owner, start, types=["RECORD", "PROJECT"]))[0]) == told(
        [one for one in everything if one["type"] != "DEVICE"]
    )
    assert told((await pull(owner, start, project=parks))[0]) == [("CREATED", in_parks), ("UPDATED", parks)]


async def test_who_loses_a_device_to_somebody_else_is_told_and_not_shown_it(world: World) -> None:
    stage = await prepare(world)
    admin, member, collector = [await world.client(key) for key in ("admin", "member", "collector")]
    starts = [await cursor_of(one) for one in (member, collector)]
    given = {
        "id": stage.device,
        "userId": f"User:{await world.member_id('collector')}",
        "expectedVersion": 1,
        "reason": "Another shift.",
    }
    assert (await mutate(admin, "handOverDevice", given)).data["handOverDevice"]["errors"] == []

    before, _ = await pull(member, starts[0])
    now, _ = await pull(collector, starts[1])

    assert [(one["kind"], one["id"], one["device"]) for one in before] == [("UPDATED", stage.device, None)]
    assert [(one["kind"], one["id"], one["device"]["model"]) for one in now] == [("UPDATED", stage.device, "Pixel 8")]
    assert (await pull(await world.client("viewer"), await cursor_of(await world.client("viewer"))))[0] == []


@pytest.mark.parametrize("first", [1, 2, 3, 7])
async def test_pages_of_any_size_hold_each_change_once(world: World, first: int) -> None:
    manager, project = await world.client("manager"), await canal(world)
    start = await cursor_of(manager)
    made = [await a_record(manager, project) for _ in range(7)]
    for record in made[:3]:
        await renamed(manager, record, "Again")

    changes, _ = await pull(manager, start, first=first)

    assert {one["id"] for one in changes} == set(made)
    assert len(changes) == len({(one["id"], one["at"]) for one in changes})
    assert {one["id"] for one in changes if one["record"]["siteName"] == "Again"} == set(made[:3])


@pytest.mark.parametrize(("first", "code"), [(0, None), (1000, None), (1001, "INVALID_INPUT"), (-1, "INVALID_INPUT")])
async def test_a_page_has_a_size_that_one_can_have(world: World, first: int, code: str | None) -> None:
    manager = await world.client("manager")
    start = await cursor_of(manager)
    await a_record(manager, await canal(world))

    answer = await page(manager, start, first=first)

    assert answer.codes == ([] if code is None else [code])
    if first == 0:
        assert answer.data["changes"]["changes"] == []
        assert answer.data["changes"]["hasMore"] is True
        assert len((await pull(manager, answer.data["changes"]["cursor"]))[0]) == 1


async def test_what_one_may_read_becoming_another_is_said_once(world: World) -> None:
    member, project = await world.client("member"), await canal(world)
    start = await cursor_of(member)
    await give_in_project(world, "member", role="VIEWER")

    became = (await page(member, start)).data["changes"]
    after = (await page(member, became["cursor"])).data["changes"]
    assert (became["accessChanged"], after["accessChanged"]) == (True, False)

    seen = await a_record(await world.client("manager"), project)
    given = await in_project(world, "member")
    assert await refusals(await world.client("owner"), "removeProjectRole", given) == []
    lost = await page(member, after["cursor"])
    assert lost.data["changes"]["accessChanged"] is True
    assert seen not in lost.text


# ------------------------------------------------------------------ cursors


@pytest.mark.parametrize("cursor", ["", "x", "é", "AAAA" * 30, "=" * 40])
async def test_what_is_no_cursor_is_refused(world: World, cursor: str) -> None:
    answer = await page(await world.client("manager"), cursor)

    assert answer.codes == ["INVALID_INPUT"]
    assert answer.errors[0]["extensions"]["field"] == ["after"]


async def test_a_cursor_is_good_for_whom_it_was_made_alone_and_not_as_another_kind_of_cursor(world: World) -> None:
    manager, viewer, other = [await world.client(key) for key in ("manager", "viewer", "other-owner")]
    listed = await manager.run("{ records(first: 1) { pageInfo { endCursor } } }")
    in_list, in_feed = listed.data["records"]["pageInfo"]["endCursor"], await cursor_of(manager)

    for client, cursor in ((viewer, in_feed), (other, in_feed), (manager, in_list), (manager, in_feed[:-2])):
        assert (await page(client, cursor)).codes == ["INVALID_INPUT"]
    query = "query($c: String) { records(after: $c) { nodes { id } } }"
    assert (await manager.run(query, {"c": in_feed})).codes == ["INVALID_INPUT"]


@pytest.mark.parametrize("where", ["another server's", "not in the trail", "of a transaction that is still to come"])
async def test_a_cursor_of_another_past_asks_for_everything_anew(world: World, where: str) -> None:
    manager = await world.client("manager")
    viewer, position = await _opened(world, await cursor_of(manager))
    place = position.place
    lost = {
        "another server's": replace(place, cluster=place.cluster + 1),
        "not in the trail": replace(place, entry_id=new_id()),
        "of a transaction that is still to come": replace(place, transaction=place.transaction + 1_000_000),
    }

    answer = await page(manager, seal_position(viewer, replace(position, place=lost[where])))

    assert answer.codes == ["CONFLICT"]
    assert answer.errors[0]["extensions"]["detail"] == "SYNC_ANEW"
    assert answer.body["data"]["changes"] is None
    assert (await page(manager, seal_position(viewer, position))).errors == []


async def test_what_was_let_go_of_since_a_cursor_asks_for_everything_anew(world: World) -> None:
    manager, project = await world.client("manager"), await canal(world)
    organization = await world.organization_id("clearwater")
    gone = await a_record(manager, project)
    start = await cursor_of(manager)
    await deleted(manager, gone)
    assert told((await pull(manager, start))[0]) == [("DELETED", gone)]

    await age(world, 200, "organization_id = $1", organization)
    await decide(world, "CHANGE", 90)
    await seal(world, days=100)
    # The cursor is as old as what it was made beside.
    start = await _aged(world, start, days=200)
    assert told((await pull(manager, start))[0])[0] == ("DELETED", gone)
    assert [one.entries > 0 for one in await TrailExpiry().step(await expiring_actor(world))] == [True]

    answer = await page(manager, start)
    assert answer.codes == ["CONFLICT"]
    assert answer.errors[0]["extensions"]["detail"] == "SYNC_ANEW"


class TestRotation:
    """With a keystore of its own, whose keys are replaced."""

    @pytest.fixture
    def keystore_database(self, own_keystore: str) -> str:
        return own_keystore

    async def test_a_cursor_outlives_it_and_what_is_sealed_anew_is_no_change(self, world: World) -> None:
        manager, project = await world.client("manager"), await canal(world)
        start = await cursor_of(manager)
        made = await a_record(manager, project, comment="Before.")
        changes, after = await pull(manager, start)
        assert told(changes) == [("CREATED", made)]

        services, actor = world.services, an_actor(UUID(int=0))
        await rotate_data_keys(services.keyring, services.keystore, actor)
        assert (await reseal(services.keystore, actor, lifetime_s=1)).values > 0

        assert (await pull(manager, after))[0] == []
        await renamed(manager, made, "After")
        changes, _ = await pull(manager, after)
        assert told(changes) == [("UPDATED", made)]
        assert changes[0]["record"]["comment"] == "Before."


async def _opened(world: World, cursor: str) -> tuple[Viewer, Position]:
    """Return the manager, and what a cursor of theirs holds."""
    viewer = await member_viewer("clearwater", email="manager@clearwater.example")
    await world.services.keyring.load([index_owner(viewer.organization_id)])
    return viewer, open_position(viewer, cursor)


async def _aged(world: World, cursor: str, *, days: float) -> str:
    """Return the manager's cursor as if it had been given so long ago."""
    viewer, position = await _opened(world, cursor)
    place = replace(position.place, at=position.place.at - timedelta(days=days))
    return seal_position(viewer, replace(position, place=place))


async def test_more_changes_take_no_more_statements(world: World) -> None:
    manager, project = await world.client("manager"), await canal(world)
    query = """query($after: String) { changes(after: $after) { cursor changes {
      id record { comment project { name } measurements { value } } device { model } project { name } } } }"""
    start = await cursor_of(manager)
    counted = []
    for _ in range(2):
        for _ in range(4):
            await a_record(manager, project, comment="Noted.", measurements=[{"characteristic": "pH"}])
        context = await world.inside("manager", query, {"after": start})
        counted.append(context.reader.statements)

    assert counted[0] == counted[1] <= 5
