"""Imports under attack: ids that were made for them before, files that are sent twice at once, what never ends."""

import asyncio
import io
import json
from typing import Any

import httpx

from resolvers.activity_stream import look_through, read_batches
from resolvers.import_running import ImportRunning
from resolvers.site_import import _NO_TIME
from resolvers.wqx_layout import LEGACY
from resolvers.wqx_table import as_text
from resolvers.wqx_value import stable_id
from tests.support.importing import (
    counts,
    fresh_project,
    make,
    many_rows,
    run_to_the_end,
    send,
    show,
    start,
    uploaded,
)
from tests.support.mutation import mutate
from tests.support.world import World, connect


def sites_file(*codes: str, kind: str = "Well") -> bytes:
    """Return a file of sites."""
    features = [{"type": "Feature", "geometry": None, "properties": {"code": one, "kind": kind}} for one in codes]
    return json.dumps({"type": "FeatureCollection", "features": features}).encode()


async def test_a_record_under_an_id_that_an_import_will_make_keeps_no_other_project_s_rows(world: World) -> None:
    owner, manager = await world.client("owner"), await world.client("manager")
    content = many_rows(3)
    code = await fresh_project(world)
    project, canal = await world.project_id(code), await world.project_id("CANAL")

    def again() -> Any:
        return as_text(io.BytesIO(content))

    (batch,) = read_batches(again, LEGACY, look_through(again(), LEGACY), project)
    wanted = batch.records[1].id
    given = {
        "id": f"Record:{wanted}",
        "projectId": f"Project:{canal}",
        "siteCode": "TRAP",
        "collectedAt": "2026-01-02T03:04:05Z",
        "medium": "WATER",
        "measurements": [],
    }
    made = await mutate(manager, "createRecord", given, "record { id }")
    assert made.data["createRecord"]["errors"] == []
    trap = await world.sql("select * from record where id = $1", wanted)

    for dry_run in (True, False):
        sheet = await uploaded(world, "owner", code, content)
        await start(owner, sheet, dry_run=dry_run)
        await run_to_the_end()
        shown = await show(owner, sheet, first=10)

        assert shown["status"] == ("CHECKED" if dry_run else "DONE")
        assert counts(shown) == (2, 0, 1, 0)
        (rejected,) = (one for one in shown["rows"]["nodes"] if one["fate"] == "REJECTED")
        assert rejected["reason"] == "has an id that something else of the organization has"
    assert await world.sql("select * from record where id = $1", wanted) == trap
    assert await world.value("select count(*) from measurement where record_id = $1", wanted) == 0


async def test_a_site_under_an_id_that_an_import_will_make_stops_no_other_project_s_import(world: World) -> None:
    owner, manager = await world.client("owner"), await world.client("manager")
    code = await fresh_project(world)
    organization, project = await world.organization_id("clearwater"), await world.project_id(code)
    wanted = stable_id(_NO_TIME, (b"site", organization.bytes, project.bytes, "W-2"))
    canal = await world.project_id("CANAL")
    given = {"id": f"Site:{wanted}", "projectId": f"Project:{canal}", "code": "TRAP", "name": "Trap"}
    made = await mutate(manager, "createSite", given, "site { id }")
    assert made.data["createSite"]["errors"] == []

    for dry_run in (True, False):
        sheet = await uploaded(world, "owner", code, sites_file("W-1", "W-2", "W-3"), kind="GEOJSON_SITES")
        await start(owner, sheet, dry_run=dry_run)
        running = ImportRunning()
        for _ in range(10):
            await running.step()
        shown = await show(owner, sheet, first=10)

        assert (shown["status"], counts(shown)) == ("CHECKED" if dry_run else "DONE", (2, 0, 1, 0))
    assert await world.value("select code from site where id = $1", wanted) == "TRAP"


async def test_an_import_that_goes_with_nothing_ends_and_is_not_tried_for_ever(world: World) -> None:
    owner = await world.client("owner")
    code = await fresh_project(world)
    superuser = await connect(world.superuser)
    await superuser.execute("create unique index on site (organization_id, kind)")
    await superuser.close()
    sheet = await uploaded(world, "owner", code, sites_file("W-1", "W-2"), kind="GEOJSON_SITES")
    await start(owner, sheet)
    running = ImportRunning()

    for _ in range(4):
        await running.step()

    shown = await show(owner, sheet)
    assert (shown["status"], shown["errorCode"]) == ("FAILED", "INTERNAL")
    assert not await running.step()


async def test_bytes_that_are_sent_twice_at_once_are_stored_once(world: World) -> None:
    manager = await world.client("manager")
    content = many_rows(2)
    made = await make(manager, await world.project_id("CANAL"), content)
    superuser = await connect(world.superuser)
    held = superuser.transaction()
    await held.start()
    await superuser.execute("select 1 from data_import for update")
    sent = [asyncio.create_task(send(manager, made.path, content)) for _ in range(3)]
    # All of them have looked, and wait to write.
    while await world.value("select count(*) from pg_stat_activity where wait_event_type = 'Lock'") < 3:  # noqa: ASYNC110
        await asyncio.sleep(0.02)
    await held.rollback()
    await superuser.close()
    answers: list[httpx.Response] = await asyncio.gather(*sent)

    assert sorted(one.status_code for one in answers) == [200, 409, 409]
    refused = [one for one in answers if one.status_code == 409]
    assert {one.headers.get("upload-offset", str(len(content))) for one in refused} == {str(len(content))}
    assert await world.value("select count(*) from import_chunk") == 1
    assert (await show(manager, made))["status"] == "UPLOADED"
