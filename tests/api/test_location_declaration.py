"""Declaring locations sensitive: by whom, and that it counts from that moment."""

from typing import Any

import pytest

from auth.permission import Permission as P
from models.aggregation import Aggregation, Function, Key, Measure, fetch_groups
from models.condition import Condition, Operator
from models.inventory import entity_of
from models.place import cell_latitude
from models.reading import OneStatement
from models.record import Record
from models.transaction import Tenant
from resolvers.account import member_viewer
from tests.support.access import define_role, give_in_project
from tests.support.location import (
    CELL,
    READERS,
    add_record,
    ask,
    declare,
    make_sensitive,
    places,
    project_of,
    rewrite,
)
from tests.support.world import World


async def test_from_the_moment_it_is_declared_nobody_is_shown_a_place_that_is_still_plain(world: World) -> None:
    record = (await add_record(world))["id"]
    before = await places(world)
    assert sum(1 for one in before.values() if one[0] is not None) > 1

    assert await declare(world) == []

    for who in (*READERS, "viewer"):
        client = await world.client(who)
        shown = (await ask(client, record)).body["data"]["record"]
        assert (shown["latitude"], shown["longitude"], shown["locationIsCoarse"]) == (None, None, False)
        page = (
            await client.run(
                "query($p: ID!) { project(id: $p) { records(first: 1000) { nodes { latitude longitude } } } }",
                {"p": f"Project:{await world.project_id('CANAL')}"},
            )
        ).data["project"]["records"]["nodes"]
        assert len(page) == len(before)
        assert not any(one["latitude"] or one["longitude"] for one in page)
        query = "query($f: RecordFilter) { records(filter: $f, first: 1000) { nodes { project { code } } } }"
        for bounds in ({"latitude": {"gte": -90}}, {"longitude": {"lt": 180}}):
            found = (await client.run(query, {"f": bounds})).data["records"]["nodes"]
            assert not any(one["project"]["code"] == "CANAL" for one in found)
    # New ones are shown as they will be.
    assert (await add_record(world))["latitude"] == CELL["latitude"]
    # Other projects are as they were.
    assert all(one[0] is None or not one[2] for one in (await places(world, "PARKS")).values())


async def test_while_it_is_declared_and_not_done_aggregates_take_no_place_either(world: World) -> None:
    viewer, entity = await member_viewer("clearwater", email="owner@clearwater.example"), entity_of(Record)
    project = await world.project_id("CANAL")
    for n in range(5):
        await add_record(world, latitude=50 + n / 7)

    async def computed(*conditions: Condition) -> tuple[Any, ...]:
        aggregation = Aggregation(
            entity,
            keys=[],
            measures=[Measure(Function.MAX, "latitude"), Measure(Function.COUNT, "longitude"), Measure(Function.COUNT)],
            conditions=[Condition("project_id", Operator.EQUALS, project), *conditions],
            limit=10,
        )
        grouped = Aggregation(entity, [Key("latitude")], [], 5, aggregation.conditions)
        async with OneStatement(Tenant(viewer.organization_id)) as connection:
            [group] = await fetch_groups(connection, viewer, aggregation)
            keys = await fetch_groups(connection, viewer, grouped)
            return (*group.measures, {one.keys[0] for one in keys})

    most, count, rows, keys = await computed()
    assert most is not None
    assert count > 5
    assert keys != {None}

    assert await declare(world) == []

    assert await computed() == (None, 0, rows, {None})
    assert await computed(Condition("latitude", Operator.EQUALS, None)) == (None, 0, rows, {None})
    assert await computed(Condition("latitude", Operator.IN, [most])) == (None, 0, 0, set())
    await rewrite(world)
    most_by_cell, count_by_cell, _, _ = await computed()
    assert most_by_cell == cell_latitude(most)
    assert count_by_cell == count


@pytest.mark.parametrize("who", ["owner", "admin", "manager"])
async def test_who_manages_the_project_declares_it_with_a_reason(world: World, who: str) -> None:
    await world.client(who)
    since = await world.now()

    assert await declare(world, who=who) == []

    [entry] = await world.entries(since=since)
    assert (entry["kind"], entry["action"]) == ("CHANGE", "project.set_location_sensitivity")
    assert entry["reason"] is not None
    assert await declare(world, who=who, sensitive=False) == []


@pytest.mark.parametrize(
    ("who", "code"),
    [("viewer", "FORBIDDEN"), ("collector", "FORBIDDEN"), ("member", "NOT_FOUND"), ("other-owner", "NOT_FOUND")],
)
async def test_nobody_else_declares_it(world: World, who: str, code: str) -> None:
    await world.client(who)
    since, before = await world.now(), await world.fingerprint()

    errors = await declare(world, who=who)

    assert [error["code"] for error in errors] == [code]
    assert await world.fingerprint() == before
    [entry] = await world.entries(since=since)
    assert (entry["kind"], entry["action"], entry["outcome"], entry["error_code"]) == (
        "ATTEMPT",
        "project.set_location_sensitivity",
        "DENIED",
        code,
    )


async def test_who_does_not_read_the_places_does_not_lay_them_open(world: World) -> None:
    held = [P.PROJECT_READ, P.PROJECT_UPDATE, P.RECORD_READ]
    role = await define_role(await world.client("owner"), held)
    await give_in_project(world, "member", customRoleId=role)
    assert await declare(world, who="member") == []
    since, before = await world.now(), await world.fingerprint()

    errors = await declare(world, who="member", sensitive=False)

    assert [(error["code"], error["permission"], error["field"]) for error in errors] == [
        ("FORBIDDEN", "record:read_confidential", ["input", "sensitive"])
    ]
    assert await world.fingerprint() == before
    [entry] = await world.entries(since=since)
    assert (entry["kind"], entry["outcome"]) == ("ATTEMPT", "DENIED")


async def test_it_is_not_declared_without_a_reason_or_on_an_older_version(world: World) -> None:
    await world.client("manager")
    before = await world.fingerprint()

    assert [error["code"] for error in await declare(world, reason=" ")] == ["INVALID_INPUT"]
    assert [error["code"] for error in await declare(world, expectedVersion=7)] == ["CONFLICT"]

    assert await world.fingerprint() == before


async def test_to_declare_what_is_so_already_rewrites_nothing(world: World) -> None:
    assert await declare(world, sensitive=False) == []

    assert (await project_of(world))["locationsRewriting"] is False
    await make_sensitive(world)
    kept = await places(world)
    assert await declare(world) == []
    assert await rewrite(world) == 0
    assert await places(world) == kept
