"""Aggregation below GraphQL: each row counts only where every column that is touched may be read, whoever asks."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from auth.permission import Permission
from auth.principal import Viewer
from models.aggregation import Aggregation, Bucket, Function, Group, Joined, Key, Measure, fetch_groups
from models.condition import Condition, Operator
from models.inventory import Entity, entity_of
from models.measurement import Measurement
from models.reading import Snapshot
from models.record import Record
from models.transaction import Tenant
from resolvers.account import member_viewer
from tests.support.guarded import viewer_of_halves, with_guarded
from tests.support.world import World

RECORD, MEASUREMENT = entity_of(Record), entity_of(Measurement)
COUNT = Measure(Function.COUNT)


def _aggregation(entity: Entity, *keys: Key, measures: Sequence[Measure] = (COUNT,), **more: Any) -> Aggregation:
    return Aggregation(entity=entity, keys=keys, measures=measures, limit=1000, **more)


async def _groups(viewer: Viewer, aggregation: Aggregation) -> list[Group]:
    async with Snapshot(Tenant(organization_id=viewer.organization_id, user_id=viewer.user_id)) as connection:
        return await fetch_groups(connection, viewer, aggregation)


async def _per_project(viewer: Viewer, aggregation: Aggregation) -> dict[UUID, int]:
    return {group.keys[0]: group.measures[0] for group in await _groups(viewer, aggregation)}


async def _counted(world: World, table: str, *codes: str) -> dict[UUID, int]:
    rows = await world.sql(
        f"select t.project_id, count(*) as total from {table} t join project p on p.id = t.project_id"
        " where p.code = any($1) group by 1",
        list(codes),
    )
    assert len(rows) == len(codes)
    return {row["project_id"]: row["total"] for row in rows}


async def test_a_row_counts_only_in_the_project_where_the_columns_touched_may_be_read(world: World) -> None:
    viewer = await viewer_of_halves(world)
    both, canal = await _counted(world, "record", "CANAL", "PARKS"), await _counted(world, "record", "CANAL")
    guarded = with_guarded(RECORD, "collected_at")
    project, moment = Key("project_id"), Measure(Function.MAX, "collected_at")
    condition = Condition("collected_at", Operator.LESS_THAN, await world.now())

    assert await _per_project(viewer, _aggregation(RECORD, project, measures=(COUNT, moment))) == both
    # What is not touched asks for nothing.
    assert await _per_project(viewer, _aggregation(guarded, project)) == both
    # By a measure, by a key, by a filter: each alone.
    assert await _per_project(viewer, _aggregation(guarded, project, measures=(COUNT, moment))) == canal
    assert await _per_project(viewer, _aggregation(guarded, project, conditions=[condition])) == canal
    by_year = await _groups(viewer, _aggregation(guarded, project, Key("collected_at", Bucket.YEAR)))
    assert {group.keys[0]: 0 for group in by_year}.keys() == canal.keys()
    assert sum(group.measures[0] for group in by_year) == sum(canal.values())
    # Without a key there is one number: of the rows that may be read.
    (whole,) = await _groups(viewer, _aggregation(guarded, measures=(COUNT, moment)))
    assert whole.measures[0] == sum(canal.values())


async def test_a_row_counts_only_where_its_parents_columns_may_be_read(world: World) -> None:
    viewer = await viewer_of_halves(world)
    both = await _counted(world, "measurement", "CANAL", "PARKS")
    canal = await _counted(world, "measurement", "CANAL")
    guarded = with_guarded(RECORD, "medium")
    project, medium = Key("project_id"), Key("medium", of_parent=True)
    condition = Condition("medium", Operator.IN, ["WATER", "SEDIMENT", "SOIL", "AIR", "BIOLOGICAL", "OTHER"])

    assert await _per_project(viewer, _aggregation(MEASUREMENT, project, parent=Joined(RECORD, "record_id"))) == both
    assert await _per_project(viewer, _aggregation(MEASUREMENT, project, parent=Joined(guarded, "record_id"))) == both
    by_medium = await _groups(viewer, _aggregation(MEASUREMENT, project, medium, parent=Joined(guarded, "record_id")))
    assert {group.keys[0] for group in by_medium} == canal.keys()
    assert sum(group.measures[0] for group in by_medium) == sum(canal.values())
    filtered = Joined(guarded, "record_id", [condition])
    assert await _per_project(viewer, _aggregation(MEASUREMENT, project, parent=filtered)) == canal


async def test_the_parent_must_be_visible_too(world: World) -> None:
    """A child in sight whose parent is not: the two tables' read permissions are asked for each on its own."""
    viewer = await viewer_of_halves(world)
    hidden = replace(RECORD, read=Permission.RECORD_READ_PERSONAL)

    counted = await _per_project(
        viewer, _aggregation(MEASUREMENT, Key("project_id"), parent=Joined(hidden, "record_id"))
    )

    assert counted == await _counted(world, "measurement", "CANAL")


@pytest.mark.parametrize("column", ["comment", "collector", "collector_index", "creation_digest", "no_such", "id; --"])
async def test_what_is_encrypted_secret_or_unknown_is_no_key_and_no_measure(world: World, column: str) -> None:
    viewer = await viewer_of_halves(world)
    condition = Condition(column, Operator.EQUALS, "x")

    for refused in (
        _aggregation(RECORD, Key(column)),
        _aggregation(RECORD, measures=[Measure(Function.COUNT, column)]),
        _aggregation(RECORD, measures=[Measure(Function.MAX, column)]),
        _aggregation(RECORD, conditions=[condition]),
        _aggregation(MEASUREMENT, Key(column, of_parent=True), parent=Joined(RECORD, "record_id")),
        _aggregation(MEASUREMENT, parent=Joined(RECORD, "record_id", [condition])),
    ):
        with pytest.raises(LookupError):
            await _groups(viewer, refused)


@pytest.mark.parametrize(
    "refused",
    [
        _aggregation(RECORD, measures=[Measure(Function.SUM, "site_code")]),
        _aggregation(RECORD, measures=[Measure(Function.MEDIAN, "collected_at")]),
        _aggregation(RECORD, measures=[Measure(Function.SUM)]),
        _aggregation(RECORD, Key("site_code", Bucket.DAY)),
        _aggregation(MEASUREMENT, Key("medium", of_parent=True)),
        _aggregation(RECORD, measures=[]),
    ],
    ids=["a sum of texts", "a median of moments", "a sum of nothing", "days of texts", "no parent", "nothing"],
)
async def test_what_makes_no_statement_is_refused_before_the_database_is_asked(
    world: World, refused: Aggregation
) -> None:
    viewer = await viewer_of_halves(world)
    async with Snapshot(Tenant(organization_id=viewer.organization_id)) as connection:
        with pytest.raises(LookupError):
            await fetch_groups(connection, viewer, refused)
        assert await connection.fetchval("select 1") == 1


async def test_groups_come_in_the_order_of_their_keys_and_those_without_a_value_last(world: World) -> None:
    viewer = await member_viewer("clearwater", email="owner@clearwater.example")
    await world.sql("alter table measurement disable trigger all")
    await world.sql("update measurement set fraction = null where id in (select id from measurement limit 30)")

    groups = await _groups(viewer, _aggregation(MEASUREMENT, Key("fraction"), Key("characteristic")))

    keys = [group.keys for group in groups]
    assert keys == sorted(keys, key=lambda one: (one[0] is None, one[0] or "", one[1]))
    assert keys[0][0] is not None
    assert keys[-1][0] is None


async def test_a_viewer_in_a_transaction_of_another_tenant_counts_nothing(world: World) -> None:
    viewer = await member_viewer("suncoast", email="owner@suncoast.example")
    counted = _aggregation(MEASUREMENT, Key("project_id"), Key("medium", of_parent=True))

    async with Snapshot(Tenant(organization_id=await world.organization_id("clearwater"))) as connection:
        joined = await fetch_groups(connection, viewer, replace(counted, parent=Joined(RECORD, "record_id")))
        (whole,) = await fetch_groups(connection, viewer, _aggregation(RECORD))

    assert joined == []
    assert whole.measures == (0,)


async def test_the_database_is_asked_once(world: World) -> None:
    viewer = await viewer_of_halves(world)
    asked: list[str] = []
    aggregation = _aggregation(
        MEASUREMENT,
        Key("unit"),
        Key("medium", of_parent=True),
        measures=[COUNT, Measure(Function.MEDIAN, "value"), Measure(Function.SUM, "value")],
        parent=Joined(RECORD, "record_id"),
    )

    async with Snapshot(Tenant(organization_id=viewer.organization_id)) as connection:
        # The first time the driver asks for the types of the arguments, once for each connection.
        await fetch_groups(connection, viewer, aggregation)
        raw: asyncpg.Connection = connection
        with raw.query_logger(lambda query: asked.append(query.query)):
            await fetch_groups(connection, viewer, aggregation)
        # The driver calls its loggers in the next turn of the loop.
        await asyncio.sleep(0)

    assert len(asked) == 1


@pytest.mark.parametrize(
    ("operator", "value"),
    [
        (Operator.EQUALS, "Ana Ruiz"),
        (Operator.IN, ["Ana Ruiz"]),
        (Operator.IN, [b"0123456789abcdef", "Ana Ruiz"]),
        (Operator.IN, [None]),
        (Operator.STARTS_WITH, b"0123"),
        (Operator.AT_LEAST, b"0123456789abcdef"),
        (Operator.LESS_THAN, b"0123456789abcdef"),
    ],
)
async def test_a_searchable_column_is_compared_by_blind_indexes_for_equality_alone(
    world: World, operator: Operator, value: Any
) -> None:
    viewer = await viewer_of_halves(world)

    with pytest.raises(LookupError, match=r"record\.collector is found by the blind index") as refused:
        await _groups(viewer, _aggregation(RECORD, conditions=[Condition("collector", operator, value)]))

    assert "Ruiz" not in str(refused.value)
