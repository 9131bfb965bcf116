"""The sites of an export: those of the records that the viewer may read, at the places that they are shown."""

from typing import Any

import pytest

from models.condition import Condition, Operator
from models.reading import Snapshot
from models.transaction import Tenant
from resolvers.account import member_viewer
from resolvers.export_site import export_sites
from resolvers.export_writer import ExportedSite
from tests.api.test_site import a_site
from tests.support.location import CELL, EXACT, add_record, declare, make_sensitive
from tests.support.world import World


async def found(world: World, who: str = "manager", *conditions: Condition) -> dict[str, ExportedSite]:
    """Return what an export of somebody's has, by code."""
    organization = "suncoast" if who.startswith("other") else "clearwater"
    viewer = await member_viewer(organization, email=world.email(who))
    async with Snapshot(Tenant(organization_id=viewer.organization_id, user_id=viewer.user_id)) as connection:
        sites = await export_sites(connection, viewer, conditions)
    assert len({(one.project_id, one.code) for one in sites}) == len(sites)
    return {one.code: one for one in sites}


async def codes(world: World, *projects: str) -> set[str]:
    """Return the codes of the sites of all records of some projects."""
    rows = await world.sql(
        "select distinct site_code from record r join project p on p.id = r.project_id where p.code = any($1)",
        list(projects),
    )
    return {row["site_code"] for row in rows}


async def test_a_site_is_told_as_the_project_has_it_and_as_its_records_have_it_where_there_is_none(
    world: World,
) -> None:
    await add_record(world)
    await add_record(world, siteCode="WELL-2", siteName="By record", latitude=51.5)
    await a_site(world, name="The well", latitude=51.4)
    await a_site(world, code="WELL-3", name="Without records")

    sites = await found(world)

    assert set(sites) == await codes(world, "CANAL")
    assert (sites["WELL-1"].name, sites["WELL-1"].kind, sites["WELL-1"].latitude) == ("The well", "Well", 51.4)
    assert (sites["WELL-2"].name, sites["WELL-2"].kind, sites["WELL-2"].latitude) == ("By record", None, 51.5)


async def test_a_site_without_a_place_has_that_of_its_newest_record_that_has_one(world: World) -> None:
    await add_record(world, collectedAt="2026-01-01T00:00:00Z", latitude=1.5, longitude=2.5)
    await add_record(world, collectedAt="2026-01-02T00:00:00Z")
    await add_record(world, collectedAt="2026-01-03T00:00:00Z", latitude=None, longitude=None)
    await a_site(world, latitude=None, longitude=None)

    site = (await found(world))["WELL-1"]

    assert (site.latitude, site.longitude) == tuple(EXACT.values())
    assert site.name == "Well at the gate"


@pytest.mark.parametrize(
    ("who", "projects"),
    [("owner", ("CANAL", "PARKS")), ("viewer", ("CANAL",)), ("member", ()), ("other-owner", ("LAKES",))],
)
async def test_only_sites_of_records_that_are_seen_are_told(world: World, who: str, projects: tuple[str, ...]) -> None:
    assert set(await found(world, who)) == await codes(world, *projects)


async def test_the_conditions_of_the_export_hold_for_its_sites(world: World) -> None:
    await add_record(world)

    sites = await found(world, "manager", Condition("site_code", Operator.STARTS_WITH, "WELL-"))

    assert set(sites) == {"WELL-1"}


@pytest.mark.parametrize("who", ["owner", "viewer"])
async def test_a_sensitive_place_is_told_by_its_cell(world: World, who: str) -> None:
    await a_site(world)
    await make_sensitive(world)
    await add_record(world)

    site = (await found(world, who))["WELL-1"]

    assert (site.latitude, site.longitude, site.is_coarse) == (*CELL.values(), True)


async def test_a_place_that_waits_for_its_cell_is_told_to_nobody(world: World) -> None:
    await a_site(world)
    await add_record(world)
    await declare(world)

    told: Any = (await found(world))["WELL-1"]

    assert (told.latitude, told.longitude) == (None, None)
