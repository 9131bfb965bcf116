"""What becomes of imports and exports at work, once who started them is suspended, or their device blocked."""

from collections.abc import Awaitable, Callable
from typing import Final
from uuid import UUID

import pytest

from resolvers import export_job
from resolvers.import_running import ImportRunning
from tests.support.device import enrolled
from tests.support.export import ask, exporting, look, take, work
from tests.support.importing import make as make_import
from tests.support.importing import many_rows, run_to_the_end, send, show, start
from tests.support.mutation import mutate
from tests.support.world import Client, World

HOWS: Final = ["suspended", "blocked"]
CODES: Final = {"suspended": "UNAUTHENTICATED", "blocked": "DEVICE_BLOCKED"}
"""What an export says why it ended. An import says what who started it would be answered: UNAUTHENTICATED of both."""

Revoke = Callable[[], Awaitable[None]]


async def _manager(world: World, how: str) -> tuple[Client, Revoke]:
    """Return the manager's client, and what takes their rights."""
    admin, person = await world.client("admin"), f"User:{await world.member_id('manager')}"

    async def done(name: str, given: dict[str, object]) -> None:
        payload = (await mutate(admin, name, given)).data[name]
        assert payload["errors"] == [], payload

    if how == "suspended":
        return await world.client("manager"), lambda: done("suspendUser", {"userId": person, "reason": "Away."})
    given = {"userId": person, "platform": "ANDROID", "model": "Pixel 8"}
    registered = await mutate(admin, "registerDevice", given, "device { id }")
    device = str(registered.data["registerDevice"]["device"]["id"])
    client = await (await enrolled(world, device)).client(world, "manager")
    return client, lambda: done("blockDevice", {"id": device, "expectedVersion": 2, "reason": "Lost."})


@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize("dry_run", [True, False], ids=["a dry run", "an import"])
async def test_an_import_at_work_ends_and_writes_no_further_row(world: World, how: str, dry_run: bool) -> None:
    manager, revoke = await _manager(world, how)
    content = many_rows(1_200)
    made = await make_import(manager, await world.project_id("CANAL"), content)
    assert (await send(manager, made.path, content)).status_code == 200
    await start(manager, made, dry_run=dry_run)
    running = ImportRunning()
    assert await running.step()
    before, since = await world.value("select count(*) from record"), await world.now()

    await revoke()
    await run_to_the_end(running)

    assert await world.value("select count(*) from record") == before
    shown = await show(await world.client("owner"), made, first=0)
    assert (shown["status"], shown["errorCode"], shown["createdRows"]) == ("FAILED", "UNAUTHENTICATED", 500)
    ended = [row for row in await world.entries(since=since) if row["channel"] == "JOB"]
    assert [(row["action"], row["outcome"], row["entity_ids"]) for row in ended] == [
        ("data_import.finish", "DONE", [UUID(made.id.partition(":")[2])])
    ]
    refused = await send(manager, made.path, b"x", offset=len(content))
    assert (refused.status_code, "A-0000001" in refused.text) == (401, False)


@pytest.mark.parametrize("how", HOWS)
async def test_an_export_at_work_is_given_to_nobody(world: World, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    monkeypatch.setattr(export_job, "SLICE_S", 0.02)
    monkeypatch.setattr(export_job, "MOVES_EVERY_S", 0.0)
    monkeypatch.setattr("resolvers.export_file.PIECE_SIZE", 2000)
    monkeypatch.setattr("resolvers.export_file.PIECES_AT_ONCE", 0)
    manager, revoke = await _manager(world, how)
    export_id, job = await ask(manager), exporting(world, batch=1)
    while not await world.value("select count(*) from data_export_piece"):
        assert await job.step()
    since = await world.now()

    await revoke()
    await work(job)

    shown = await look(await world.client("owner"), export_id)
    assert (shown["status"], shown["errorCode"], shown["fileName"]) == ("REVOKED", CODES[how], None)
    assert await world.value("select count(*) from data_export_piece") == 0
    for name in ("manifest.json", "records.csv"):
        refused = await take(manager, export_id, name)
        assert (refused.status_code, "siteCode" in refused.text) == (401, False)
    ended = [row for row in await world.entries(since=since) if row["channel"] == "JOB"]
    assert [(row["action"], row["outcome"], row["entity_ids"]) for row in ended] == [
        ("export.finish", "DONE", [UUID(export_id.removeprefix("Export:"))])
    ]
