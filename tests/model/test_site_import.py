"""The import of sites: as the viewer, once, with a dry run that says the same and writes nothing."""

import io
import json
from typing import Any

import pytest

from auth.errors import ForbiddenError, NotFoundError
from fieldward.cli.environment import operator
from models.data_import import RowFate
from models.errors import ConflictError, InvalidInputError
from resolvers.account import member_viewer
from resolvers.site_import import SiteImportReport, import_sites
from resolvers.trail import Actor
from tests.support.location import make_sensitive
from tests.support.world import World


def a_file(*codes: str, **more: Any) -> io.BytesIO:
    """Return a file with a site of each code; an empty one is no site."""
    features = [
        {
            "type": "Feature",
            "geometry": {"type": "Point", "coordinates": [-0.25 - index / 1000, 51.5]},
            "properties": {"code": code, "name": f"Site {code}", **more},
        }
        for index, code in enumerate(codes)
    ]
    return io.BytesIO(json.dumps({"type": "FeatureCollection", "features": features}).encode())


async def bring(
    world: World, stream: io.BytesIO, who: str = "manager", *, project: str = "CANAL", **more: Any
) -> SiteImportReport:
    """Import a file as somebody."""
    organization = "suncoast" if who.startswith("other") else "clearwater"
    viewer = await member_viewer(organization, email=world.email(who))
    actor = Actor(viewer.organization_id, operator().origin, viewer)
    return await import_sites(actor, viewer, stream, project_id=await world.project_id(project), **more)


async def sites(world: World) -> dict[str, Any]:
    """Return the sites by code."""
    return {row["code"]: dict(row) for row in await world.sql("select * from site")}


async def test_a_file_becomes_sites_each_change_with_its_entry(world: World) -> None:
    done: list[tuple[int, int]] = []
    codes = [f"W-{number}" for number in range(1100)]
    report = await bring(world, a_file(*codes, ""), progress=lambda now, most: done.append((now, most)))

    assert (report.features, report.sites_created, report.sites_known, len(report.rejections)) == (1101, 1100, 0, 1)
    assert report.fates == {**dict.fromkeys(range(1, 1101), RowFate.CREATED), 1101: RowFate.REJECTED}
    assert done == [(500, 1100), (1000, 1100), (1100, 1100)]
    assert len(await sites(world)) == 1100
    told = await world.sql(
        "select e.id, count(*) from change c join audit_entry e on e.id = c.entry_id where e.action = 'site.import'"
        " and c.entity = 'site' group by 1 order by 2"
    )
    assert [row["count"] for row in told] == [100, 500, 500]


async def test_a_file_imported_twice_changes_nothing_whatever_became_of_the_sites(world: World) -> None:
    await bring(world, a_file("A", "B", "C"))
    await world.sql("alter table site disable trigger all")
    await world.sql("update site set code = 'RENAMED' where code = 'B'")
    before = await sites(world)

    report = await bring(world, a_file("A", "B", "C", "D"))

    assert (report.sites_created, report.sites_known) == (1, 3)
    after = await sites(world)
    assert after.pop("D")
    assert after == before


async def test_a_dry_run_says_the_same_and_writes_nothing(world: World) -> None:
    await bring(world, a_file("A"))
    entries = await world.value("select count(*) from audit_entry")

    dry = await bring(world, a_file("A", "B", "B"), dry_run=True)

    assert await world.value("select count(*) from audit_entry") == entries
    assert set(await sites(world)) == {"A"}
    wet = await bring(world, a_file("A", "B", "B"))
    assert dry == wet
    assert dry.fates == {1: RowFate.KNOWN, 2: RowFate.CREATED, 3: RowFate.REJECTED}


async def test_places_of_a_sensitive_project_are_sealed(world: World) -> None:
    await make_sensitive(world)
    await bring(world, a_file("A"))

    site = (await sites(world))["A"]
    assert (site["latitude"], site["longitude"], site["location_is_coarse"]) == (51.55, -0.25, True)
    assert len(site["exact_location"]) > 60


@pytest.mark.parametrize("dry_run", [False, True])
@pytest.mark.parametrize(
    ("who", "error"),
    [
        ("collector", ForbiddenError),
        ("reviewer", ForbiddenError),
        ("viewer", ForbiddenError),
        ("auditor", ForbiddenError),
        ("member", NotFoundError),
        ("other-owner", NotFoundError),
    ],
)
async def test_who_may_not_make_sites_imports_none(
    world: World, who: str, error: type[Exception], dry_run: bool
) -> None:
    with pytest.raises(error):
        await bring(world, a_file("A"), who, dry_run=dry_run)

    assert await sites(world) == {}
    attempts = await world.value("select count(*) from audit_entry where kind = 'ATTEMPT' and action = 'site.import'")
    assert attempts == (0 if dry_run else 1)


@pytest.mark.parametrize("dry_run", [False, True])
async def test_an_archived_project_takes_no_sites(world: World, dry_run: bool) -> None:
    await world.sql("alter table project disable trigger all")
    await world.sql("update project set status = 'ARCHIVED' where code = 'CANAL'")

    with pytest.raises(ConflictError):
        await bring(world, a_file("A"), dry_run=dry_run)
    assert await sites(world) == {}


async def test_a_file_that_is_none_is_refused_before_anything_is_asked_for(world: World) -> None:
    with pytest.raises(InvalidInputError):
        await bring(world, io.BytesIO(b"latitude,longitude\n"))
