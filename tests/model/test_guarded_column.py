"""Lists and series below GraphQL: a row is in them only where every column that is touched may be read."""

from datetime import UTC, datetime
from uuid import UUID

import pytest

from auth.principal import Viewer
from models.aggregation import Joined, Key
from models.condition import Condition, Not, Operator
from models.inventory import Entity, entity_of
from models.listing import Listing, fetch_count, fetch_listing
from models.measurement import Measurement
from models.order import Order
from models.reading import Snapshot
from models.record import Record
from models.series import SeriesOver, fetch_series
from models.transaction import Tenant
from tests.support.guarded import viewer_of_halves, with_guarded
from tests.support.world import World

RECORD, MEASUREMENT = entity_of(Record), entity_of(Measurement)
GUARDED = with_guarded(RECORD, "site_code")
ANY = Not(Condition("site_code", Operator.EQUALS, "nowhere"))


def tenant_of(viewer: Viewer) -> Tenant:
    """Return the tenant that a viewer reads."""
    return Tenant(organization_id=viewer.organization_id, user_id=viewer.user_id)


@pytest.mark.parametrize(
    "listing",
    [
        Listing(entity=GUARDED, columns=(), order=Order("site_code"), limit=1000),
        Listing(entity=GUARDED, columns=(), order=Order("medium", then=Order("site_code")), limit=1000),
        Listing(entity=GUARDED, columns=(), order=Order("id"), limit=1000, conditions=[ANY]),
    ],
    ids=["ordered by it", "ordered by it at last", "filtered by it"],
)
async def test_a_row_is_listed_only_where_what_orders_and_filters_may_be_read(world: World, listing: Listing) -> None:
    viewer = await viewer_of_halves(world)
    everything = Listing(entity=GUARDED, columns=(), order=Order("id"), limit=1000)

    async with Snapshot(tenant_of(viewer)) as connection:
        rows, seen = [await fetch_listing(connection, viewer, one) for one in (listing, everything)]
        counted = await fetch_count(connection, viewer, listing)

    canal, parks = [await world.project_id(code) for code in ("CANAL", "PARKS")]
    assert {row["project_id"] for row in seen} == {canal, parks}
    assert [row["id"] for row in seen if row["project_id"] == canal] == sorted(row["id"] for row in rows)
    assert counted == {None: len(rows)}


@pytest.mark.parametrize("touched", ["value", "fraction", "collected_at", "site_code"])
async def test_a_value_is_in_a_series_only_where_all_that_is_touched_may_be_read(world: World, touched: str) -> None:
    viewer = await viewer_of_halves(world)
    values, records = MEASUREMENT, RECORD
    if touched in {"value", "fraction"}:
        values = with_guarded(values, touched)
    else:
        records = with_guarded(records, touched)

    canal, parks = [await world.project_id(code) for code in ("CANAL", "PARKS")]
    assert await _projects_of_series(viewer, MEASUREMENT, RECORD) == {canal, parks}
    assert await _projects_of_series(viewer, values, records) == {canal}


async def _projects_of_series(viewer: Viewer, values: Entity, records: Entity) -> set[UUID]:
    asked = SeriesOver(
        entity=values,
        parent=Joined(records, "record_id"),
        keys=[Key("project_id"), Key("fraction"), Key("site_code", of_parent=True)],
        value="value",
        moment="collected_at",
        start=datetime(1900, 1, 1, tzinfo=UTC),
        end=datetime(2100, 1, 1, tzinfo=UTC),
        width=10,
        most=100_000,
    )
    async with Snapshot(tenant_of(viewer)) as connection:
        return {one.keys[0] for one in (await fetch_series(connection, viewer, asked)).series}
