"""Exports in tests: asked for through the API, made by the job, taken over HTTP."""

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import httpx

from resolvers.export_job import Exporting
from tests.support.mutation import Stage, mutate, prepare
from tests.support.world import Client, World

SHOWN = (
    "export { id status format filter records measurements fileName mediaType size sha256 manifest errorCode"
    " finishedAt expiresAt progress { rowsTotal rowsDone } }"
)


def exporting(world: World, *, lifetime: timedelta = timedelta(hours=1), batch: int | None = None) -> Exporting:
    """Return what makes exports."""
    return Exporting(world.services, lifetime=lifetime, batch=batch)


async def ask(client: Client, form: str = "CSV", **given: Any) -> str:
    """Ask for an export and return its id."""
    answer = await mutate(client, "createExport", {"format": form, **given}, "export { id status }")
    payload = answer.data["createExport"]
    assert payload["errors"] == [], payload
    assert payload["export"]["status"] == "PENDING"
    return str(payload["export"]["id"])


async def work(job: Exporting, *, most: int = 1000) -> None:
    """Have the job do all that there is to do."""
    for _ in range(most):
        if not await job.step():
            return
    raise AssertionError("The job does not come to an end.")


async def look(client: Client, export_id: str) -> Any:
    """Return the export as the client is shown it."""
    fields = SHOWN.removeprefix("export ")
    return (await client.run(f"query Q($id: ID!) {{ export(id: $id) {fields} }}", {"id": export_id})).data["export"]


async def take(client: Client, export_id: str, name: str, **headers: str) -> httpx.Response:
    """Return what is answered to who takes a file of an export."""
    sent = {"authorization": f"Bearer {client.token}", **headers} if client.token else headers
    return await client.http.get(f"/exports/{export_id.removeprefix('Export:')}/{name}", headers=sent)


@dataclass(frozen=True)
class Made:
    """An export that was made, and its file."""

    shown: Any
    content: bytes


async def make(world: World, client: Client, form: str = "CSV", *, batch: int | None = None, **given: Any) -> Made:
    """Ask for an export, have it made, and take it."""
    export_id = await ask(client, form, **given)
    await work(exporting(world, batch=batch))
    shown = await look(client, export_id)
    assert shown["status"] == "READY", shown
    response = await take(client, export_id, shown["fileName"])
    assert response.status_code == 200, response.text
    return Made(shown, response.content)


async def prepare_with_export(world: World) -> Stage:
    """Make the stage, with an export of the manager's that is ready, and one that waits."""
    return await with_export(world, await prepare(world))


async def with_export(world: World, stage: Stage) -> Stage:
    """Return the stage with an export of the manager's that is ready, and one that waits."""
    manager = await world.client("manager")
    made = await make(world, manager)
    return replace(stage, export=made.shown["id"], pending_export=await ask(manager))
