"""An archive of an organization that goes on working while it is written: all of it is as of one moment."""

import asyncio
from typing import Any

import asyncpg
import pytest

from auth.errors import ForbiddenError
from auth.role import OrganizationRole
from fieldward.cli.environment import operator
from models.errors import UnavailableError
from models.listing import Listing, fetch_listing
from models.row import Row
from resolvers.account import NewPerson, create_person
from tests.model.test_archive import archive_of, empty_organization, put_in, tables_of
from tests.support.export import exporting, look, take, work
from tests.support.location import CELL, EXACT, add_record, declare, rewrite
from tests.support.mutation import mutate
from tests.support.scene import done
from tests.support.world import Client, World

KEEPING = "from pg_stat_activity where application_name = 'fieldward keeping' and state like 'idle in transaction%'"
MEASURED = {"characteristic": "pH", "value": 7.1, "valueReported": "7.1", "unit": "None"}
SAMPLE = {"siteCode": "WELL-1", "collectedAt": "2026-01-02T03:04:05Z", "medium": "WATER", "measurements": [MEASURED]}


class Working:
    """Somebody works while an archive is written: before each second batch that is read, whatever table it is of."""

    def __init__(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        self.done = 0
        self._batches = 0
        self._world = world
        monkeypatch.setattr("resolvers.archive.fetch_listing", self._after_a_change)

    async def _after_a_change(self, connection: asyncpg.Connection, viewer: Any, listing: Listing) -> list[Row]:
        self._batches += 1
        if self._batches % 2 == 0:
            await self._change()
            self.done += 1
        return await fetch_listing(connection, viewer, listing)

    async def _change(self) -> None:
        world, owner = self._world, await self._world.client("owner")
        name = f"new{self.done}"
        person = NewPerson(f"{name}@clearwater.example", "correct horse battery", "New", OrganizationRole.MEMBER)
        organization_id = await world.organization_id("clearwater")
        await create_person(world.services, operator(), organization_id=organization_id, new=person)
        project = await _made(owner, "createProject", "project", {"code": name.upper(), "name": "New"})
        for where in (project, f"Project:{await world.project_id('CANAL')}"):
            await _made(owner, "createRecord", "record", {"projectId": where, **SAMPLE})
        gone = await world.value("select id from record where status = 'DRAFT' and site_code != 'WELL-1' limit 1")
        if gone is not None:
            given = {"id": f"Record:{gone}", "expectedVersion": 1, "reason": "A mistake."}
            await done(owner, "deleteRecord", given)


async def _made(client: Client, name: str, what: str, given: dict[str, Any]) -> str:
    payload = (await mutate(client, name, given, f"{what} {{ id }}")).data[name]
    assert payload["errors"] == []
    return str(payload[what]["id"])


async def begun(world: World, monkeypatch: pytest.MonkeyPatch, job: Any) -> str:
    """Have an archive of the admin's begun by a job, a batch or two, and return its id."""
    export_id = await _made(await world.client("admin"), "createArchive", "export", {"reason": "We move."})
    monkeypatch.setattr("resolvers.export_job.SLICE_S", 0.001)
    assert await job.step()
    return export_id


async def test_what_is_committed_while_it_is_written_is_not_in_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {
        name: {str(row["id"]) for row in await world.sql(f"select id from {name} where organization_id = $1", one)}
        for one in [await world.organization_id("clearwater")]
        for name in ("record", "measurement", "membership", "project")
    }
    working = Working(world, monkeypatch)

    content = await archive_of(world, "clearwater", world.email("owner"))

    assert working.done > 10
    tables = tables_of(content)
    assert {name: set(tables[name]) for name in before} == before
    assert (await put_in(await empty_organization(world), content)).put_in["measurement"] == len(before["measurement"])


async def test_one_of_the_background_is_of_one_moment_too(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    admin, working = await world.client("admin"), Working(world, monkeypatch)
    export_id = await _made(admin, "createArchive", "export", {"reason": "We move."})

    await work(exporting(world, batch=30))

    shown = await look(admin, export_id)
    assert shown["status"] == "READY", shown
    assert working.done > 10
    content = (await take(admin, export_id, shown["fileName"])).content
    put = (await put_in(await empty_organization(world), content)).put_in
    assert put["record"] == shown["records"] > 0
    await _nothing_is_kept(world)


async def test_rights_are_those_of_the_present(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    job = exporting(world, batch=1)
    export_id = await begun(world, monkeypatch, job)
    given = {"userId": f"User:{await world.member_id('admin')}", "role": "MEMBER", "reason": "Less."}
    await done(await world.client("owner"), "assignOrganizationRole", given)

    await work(job)

    shown = await look(await world.client("owner"), export_id)
    assert (shown["status"], shown["errorCode"]) == ("REVOKED", "RIGHTS_SHRANK")
    await _nothing_is_kept(world)
    with pytest.raises(ForbiddenError):
        await archive_of(world, "clearwater", world.email("admin"))


async def test_an_archive_whose_moment_is_lost_is_begun_anew(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    admin, job = await world.client("admin"), exporting(world, batch=1)
    export_id = await begun(world, monkeypatch, job)
    assert await world.value(f"select count(pg_terminate_backend(pid)) {KEEPING}") == 1

    with pytest.raises(UnavailableError):
        await work(job)
    await world.sql("update data_export_progress set claimed_until = now()")
    await work(exporting(world))

    assert (await look(admin, export_id))["status"] == "READY"
    assert await world.value("select attempts from data_export_progress") == 2


async def test_one_that_is_cancelled_keeps_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    job = exporting(world, batch=1)
    export_id = await begun(world, monkeypatch, job)
    assert await world.value(f"select count(*) {KEEPING}") == 1

    await done(await world.client("admin"), "cancelExport", {"id": export_id})

    await work(job)
    await _nothing_is_kept(world)


async def test_a_table_that_is_rebuilt_meanwhile_ends_it(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async def rebuilt(connection: asyncpg.Connection, viewer: Any, listing: Listing) -> list[Row]:
        rows = await fetch_listing(connection, viewer, listing)
        # Of a table that was written anew, nothing is seen as of a moment before that.
        return [] if listing.entity.name == "measurement" else rows

    monkeypatch.setattr("resolvers.archive.fetch_listing", rebuilt)

    with pytest.raises(UnavailableError, match="rebuilt"):
        await archive_of(world, "clearwater", world.email("owner"))

    await _nothing_is_kept(world)


async def _nothing_is_kept(world: World) -> None:
    for _ in range(100):
        if await world.value(f"select count(*) {KEEPING}") == 0:
            return
        await asyncio.sleep(0.02)
    raise AssertionError("A moment is still kept.")


async def test_one_waits_while_places_are_withheld_and_has_them_afterwards(world: World) -> None:
    """While they are being rewritten nobody is shown them: an archive of that moment would have lost them."""
    record = await add_record(world)
    assert await declare(world) == []
    owner = await world.client("owner")
    with pytest.raises(UnavailableError, match="being rewritten"):
        await archive_of(world, "clearwater", world.email("owner"))
    answer = await mutate(owner, "createArchive", {"reason": "We move."}, "export { id }")
    export_id = answer.data["createArchive"]["export"]["id"]
    answer = await mutate(owner, "exportMyData", {}, "export { id }")
    own_id = answer.data["exportMyData"]["export"]["id"]

    job = exporting(world)
    await work(job)
    before = [(await look(owner, one))["status"] for one in (export_id, own_id)]
    await rewrite(world)
    await work(job)
    after = await look(owner, export_id)

    assert before == ["PENDING", "PENDING"]
    assert [after["status"], (await look(owner, own_id))["status"]] == ["READY", "READY"]
    content = (await take(owner, export_id, after["fileName"])).content
    row = tables_of(content)["record"][record["id"].removeprefix("Record:")]
    assert (row["exact_location"], row["latitude"]) == (EXACT, CELL["latitude"])


async def test_what_is_one_s_own_is_not_gone_on_with_once_places_are_withheld(world: World) -> None:
    manager = await world.client("manager")
    await add_record(world, "manager")
    export_id = (await mutate(manager, "exportMyData", {}, "export { id }")).data["exportMyData"]["export"]["id"]
    job = exporting(world, batch=1)
    claimed = await job._claim(await world.organization_id("clearwater"))
    assert claimed is not None
    assert await job._advance_by_one(claimed)

    assert await declare(world) == []

    with pytest.raises(UnavailableError, match="being rewritten"):
        await job._advance_by_one(claimed)
    claimed.source.close()
    assert (await look(manager, export_id))["status"] == "PENDING"
