"""Rewriting the places of what is there, whoever changes it meanwhile, and whatever breaks off."""

import asyncio
from typing import Any
from uuid import UUID

from auth.action import Action
from fieldward.cli.environment import operator
from fieldward.jobs import build_jobs
from fieldward.settings import Settings
from models.place import cell_latitude, cell_longitude
from resolvers.account import member_viewer
from resolvers.change import Change, Intent, commit_change
from resolvers.location_rewrite import REWRITE_LOCATIONS, LocationRewrite
from resolvers.record import update_record
from resolvers.trail import Actor
from tests.support.access import behind_the_triggers
from tests.support.feed import cursor_of, page
from tests.support.location import (
    CELL,
    DIGITS,
    EXACT,
    add_record,
    ask,
    change_record,
    declare,
    make_sensitive,
    places,
    project_of,
    rewrite,
    told_where,
)
from tests.support.world import Client, World


async def test_what_is_there_is_rewritten_once_and_as_nobodys_doing(world: World) -> None:
    await add_record(world)
    await world.client("manager")
    before, since = await places(world), await world.now()
    others = await places(world, "PARKS")

    assert await declare(world) == []
    project = await project_of(world)
    assert (project["locationsAreSensitive"], project["locationsRewriting"]) == (True, True)
    await rewrite(world, batch=50)

    project = await project_of(world)
    assert (project["locationsAreSensitive"], project["locationsRewriting"]) == (True, False)
    for row_id, (latitude, longitude, is_coarse, sealed, version, hands) in (await places(world)).items():
        was = before[row_id]
        assert latitude == (None if was[0] is None else cell_latitude(was[0]))
        assert longitude == (None if was[1] is None else cell_longitude(was[1]))
        assert is_coarse
        assert sealed == (was[0] is not None or was[1] is not None)
        assert (version, hands) == was[4:]
    assert await places(world, "PARKS") == others
    entries = await world.entries(since=since)
    assert {one["action"] for one in entries[1:]} == {"project.rewrite_locations"}
    assert entries[0]["action"] == "project.set_location_sensitivity"
    for entry in entries[1:]:
        assert (entry["kind"], entry["outcome"], entry["channel"]) == ("CHANGE", "DONE", "JOB")
        assert entry["user_id"] is None
        assert entry["membership_id"] is None
    changed = await world.sql(
        "select c.entity_id, count(*) as times from change c join audit_entry e on e.id = c.entry_id"
        " where e.action = 'project.rewrite_locations' and c.entity = 'record' group by 1"
    )
    assert {row["entity_id"]: row["times"] for row in changed} == dict.fromkeys(before, 1)
    # What is kept of the places from before is in the trail alone.
    assert set(await told_where(world, *DIGITS)) == {"change"}
    # There is nothing left: no step, and no entry.
    since = await world.now()
    assert await rewrite(world) == 0
    assert await world.entries(since=since) == []


async def test_switched_off_again_every_place_is_as_it_was(world: World) -> None:
    # Of a version before, half a place may be there.
    half = UUID((await add_record(world))["id"].partition(":")[2])
    await behind_the_triggers(world, "record", "latitude = null", "id = $1", half)
    before = await places(world)
    await make_sensitive(world)
    later = await add_record(world)

    assert await declare(world, sensitive=False) == []

    # What is still sealed is still shown as its cell, and told to those who may know.
    assert (await ask(await world.client("viewer"), later["id"])).body["data"]["record"]["latitude"] == CELL["latitude"]
    assert (await ask(await world.client("manager"), later["id"])).data["record"]["exactLocation"] == EXACT
    await rewrite(world)
    after = await places(world)
    assert {row_id: after[row_id] for row_id in before} == before
    shown = (await ask(await world.client("viewer"), later["id"], "latitude longitude locationIsCoarse")).data["record"]
    assert shown == {**EXACT, "locationIsCoarse": False}
    assert await world.value("select count(*) from record where exact_location is not null") == 0


async def test_a_rewrite_that_was_cut_off_goes_on_where_it_was(world: World) -> None:
    assert await declare(world) == []

    assert await rewrite(world, batch=20, most=2) == 2
    half = sum(one[2] for one in (await places(world)).values())
    await rewrite(world, batch=20)

    assert half == 40
    assert all(one[2] for one in (await places(world)).values())
    assert (await project_of(world))["locationsRewriting"] is False
    times = await world.sql(
        "select count(*) as times from change c join audit_entry e on e.id = c.entry_id"
        " where e.action = 'project.rewrite_locations' and c.entity = 'record' group by c.entity_id"
    )
    assert {row["times"] for row in times} == {1}


async def test_several_processes_rewrite_together_and_nothing_twice(world: World) -> None:
    assert await declare(world) == []

    await asyncio.gather(*(rewrite(world, batch=7) for _ in range(3)))
    await rewrite(world)

    kept = await places(world)
    assert all(one[2] for one in kept.values())
    times = await world.sql(
        "select c.entity_id, count(*) as times from change c join audit_entry e on e.id = c.entry_id"
        " where e.action = 'project.rewrite_locations' and c.entity = 'record' group by 1"
    )
    assert {row["entity_id"]: row["times"] for row in times} == dict.fromkeys(kept, 1)
    assert (await project_of(world))["locationsRewriting"] is False


async def test_the_background_finds_the_organization_by_itself(world: World) -> None:
    assert await declare(world) == []
    job = build_jobs(world.services, Settings())[REWRITE_LOCATIONS]

    while await job():
        pass

    assert (await project_of(world))["locationsRewriting"] is False
    assert all(one[2] for one in (await places(world)).values())


async def test_it_can_be_taken_back_in_the_middle(world: World) -> None:
    before = await places(world)
    assert await declare(world) == []
    job, organization = LocationRewrite(batch=20), await world.organization_id("clearwater")
    for _ in range(3):
        assert await job.step(organization)

    assert await declare(world, sensitive=False) == []
    while await job.step(organization):
        pass

    assert await places(world) == before
    project = await project_of(world)
    assert (project["locationsAreSensitive"], project["locationsRewriting"]) == (False, False)


async def test_who_keeps_a_copy_is_told_when_it_is_taken_back_in_the_middle(world: World) -> None:
    viewer, stranger, owner = [await world.client(one) for one in ("viewer", "other-owner", "owner")]
    record = (await add_record(world))["id"]
    start, elsewhere, whole = await cursor_of(viewer), await cursor_of(stranger), await cursor_of(owner)
    assert await declare(world) == []

    withheld, after = await _next(viewer, start)
    assert withheld is True
    assert (await ask(viewer, record)).body["data"]["record"]["latitude"] is None
    assert (await _next(viewer, after))[0] is False
    assert await declare(world, sensitive=False) == []
    shown, end = await _next(viewer, after)

    assert shown is True
    assert (await ask(viewer, record)).body["data"]["record"]["latitude"] == EXACT["latitude"]
    await rewrite(world)
    assert (await _next(viewer, end))[0] is False
    # Whoever asks for nothing between may have read it, too.
    assert (await _next(viewer, start))[0] is True
    # It is said at the change that it is, however small the pages are, and to who sees the project alone.
    assert await world.value("select count(*) from project where locations_rewriting") == 0
    said, after = [], start
    for _ in range(4):
        one, after = await _next(viewer, after, first=1)
        said.append(one)
    assert said == [True, True, False, False]
    assert (await _next(stranger, elsewhere))[0] is False
    parks = f"Project:{await world.project_id('PARKS')}"
    assert (await _next(owner, whole, project=parks))[0] is False
    assert (await _next(owner, whole))[0] is True


async def _next(client: Client, after: str, **more: Any) -> tuple[bool, str]:
    """Return whether the next page says that other things are shown, and the cursor to go on from."""
    answer = await page(client, after, **more)
    told = answer.body["data"]["changes"]
    return told["accessChanged"], told["cursor"]


async def test_a_record_that_somebody_is_changing_is_rewritten_after_them(world: World) -> None:
    record = UUID((await add_record(world))["id"].partition(":")[2])
    assert await declare(world) == []
    holding, go_on = asyncio.Event(), asyncio.Event()

    async def update(change: Change) -> UUID:
        row_id = await update_record(
            change, record_id=record, expected_version=1, values={"site_name": "Well"}, measurements=None
        )
        holding.set()
        await go_on.wait()
        return row_id

    viewer = await member_viewer("clearwater", email="manager@clearwater.example")
    actor = Actor(viewer.organization_id, operator().origin, viewer)
    updating = asyncio.create_task(commit_change(Intent(Action.RECORD_UPDATE, actor, entity="record"), update))
    await holding.wait()

    await rewrite(world)

    kept = await places(world)
    assert {row_id for row_id, one in kept.items() if not one[2]} == {record}
    assert (await project_of(world))["locationsRewriting"] is True
    go_on.set()
    await updating
    await rewrite(world)
    row = (await world.sql("select * from record where id = $1", record))[0]
    assert (row["site_name"], row["version"], row["latitude"], row["location_is_coarse"]) == ("Well", 2, 51.45, True)
    assert (await ask(await world.client("manager"), f"Record:{record}")).data["record"]["exactLocation"] == EXACT
    assert (await project_of(world))["locationsRewriting"] is False


async def test_updates_and_the_rewrite_at_once_lose_nothing(world: World) -> None:
    made = [(await add_record(world, siteCode=f"WELL-{n}"))["id"] for n in range(12)]
    client = await world.client("collector")
    assert await declare(world) == []

    payloads, *_ = await asyncio.gather(
        asyncio.gather(*(change_record(client, one, 1, latitude=10 + n / 7) for n, one in enumerate(made))),
        rewrite(world, batch=3),
        rewrite(world, batch=5),
    )
    await rewrite(world)

    assert [one["errors"] for one in payloads] == [[]] * len(made)
    for n, one in enumerate(made):
        shown = (await ask(client, one)).data["record"]
        assert shown["exactLocation"] == {"latitude": 10 + n / 7, "longitude": EXACT["longitude"]}
        assert (shown["latitude"], shown["longitude"]) == (cell_latitude(10 + n / 7), CELL["longitude"])
