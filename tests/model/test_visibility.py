"""What the models show of another tenant: nothing by the helper, and nothing to a query that forgets the helper."""

import pytest

from models.inventory import Entity, entities
from models.listing import Listing, fetch_by_id, fetch_listing
from models.order import Order
from models.reading import Snapshot
from models.transaction import Tenant
from resolvers.account import member_viewer
from tests.support.filling import fill
from tests.support.world import World

LISTED = [entity for entity in entities() if entity.placement is not None and entity.placement.tenant_column]
ORDERS = {"change": "id", "audit_entry": "id"}


@pytest.mark.parametrize("entity", LISTED, ids=lambda one: one.name)
async def test_an_owner_lists_all_of_their_tenant_and_nothing_of_another(world: World, entity: Entity) -> None:
    for slug in ("clearwater", "suncoast"):
        await world.client("owner" if slug == "clearwater" else "other-owner")
        viewer = await member_viewer(slug, email=f"owner@{slug}.example")
        tenant = Tenant(organization_id=viewer.organization_id, user_id=viewer.user_id)
        order = Order(ORDERS.get(entity.name, "created_at"))
        assert entity.placement is not None
        expected = await world.sql(
            f"select id from {entity.name} where {entity.placement.tenant_column} = $1", viewer.organization_id
        )

        async with Snapshot(tenant) as connection:
            rows = await fetch_listing(
                connection, viewer, Listing(entity=entity, columns=(), order=order, limit=10_000)
            )

        assert {row["id"] for row in rows} == {row["id"] for row in expected}


@pytest.mark.parametrize("entity", LISTED, ids=lambda one: one.name)
async def test_a_foreign_id_is_not_found_and_a_query_that_forgets_its_filter_sees_nothing_of_it(
    world: World, entity: Entity
) -> None:
    await fill(world, entity.name)
    viewer = await member_viewer("suncoast", email="owner@suncoast.example")
    assert entity.placement is not None
    column = entity.placement.tenant_column
    foreign = await world.value(
        f"select id from {entity.name} where {column} = $1 limit 1", await world.organization_id("clearwater")
    )

    async with Snapshot(Tenant(organization_id=viewer.organization_id, user_id=viewer.user_id)) as connection:
        if entity.name != "change":
            assert await fetch_by_id(connection, viewer, entity, ("id",), [foreign]) == {}
        forgetful = await connection.fetch(f"select {column} as tenant from {entity.name}")

    assert {row["tenant"] for row in forgetful} <= {viewer.organization_id}


async def test_a_viewer_of_one_tenant_in_a_transaction_of_another_sees_nothing(world: World) -> None:
    """Both walls stand alone: the helper asks for one tenant, the database shows another, and nothing is both."""
    viewer = await member_viewer("suncoast", email="owner@suncoast.example")
    entity = next(one for one in entities() if one.name == "record")

    async with Snapshot(Tenant(organization_id=await world.organization_id("clearwater"))) as connection:
        rows = await fetch_listing(
            connection, viewer, Listing(entity=entity, columns=(), order=Order("created_at"), limit=10)
        )

    assert rows == []
