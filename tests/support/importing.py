"""Imports through the API: files made, sent and run, as a client and the server's job do it."""

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import httpx

from fieldward.demo.load import RESULTS
from fieldward.embedded import Endpoint
from resolvers.import_running import ImportRunning
from resolvers.wqx_layout import WQX3
from tests.support.entry import insert_entry
from tests.support.world import Client, World, connect
from tests.support.wqx import a_file, a_row

COLUMNS: Final = Path("tests/data/wqx/wqx3-result-columns.csv")

CREATE: Final = """
mutation($input: CreateImportInput!) {
  createImport(input: $input) { dataImport { id uploadPath status } errors { code message field permission } }
}
"""
START: Final = """
mutation($input: StartImportInput!) {
  startImport(input: $input) { dataImport { id status } errors { code message field permission } }
}
"""
CANCEL: Final = """
mutation($input: CancelImportInput!) {
  cancelImport(input: $input) { dataImport { id status } errors { code message permission } }
}
"""
SHOW: Final = """
query($id: ID!, $fate: [ImportRowFate!], $first: Int, $after: String) {
  dataImport(id: $id) {
    id kind status fileName size dryRun totalRows createdRows knownRows rejectedRows blankRows recordsCreated
    errorCode errorMessage project { code }
    progress { receivedBytes totalRows doneRows createdRows knownRows rejectedRows blankRows recordsCreated }
    rows(fate: $fate, first: $first, after: $after) {
      nodes { line fate column reason } pageInfo { hasNextPage endCursor }
    }
    viewerCan { upload start cancel }
  }
}
"""
CREATE_MAPPING: Final = """
mutation($input: CreateImportMappingInput!) {
  createImportMapping(input: $input) {
    importMapping { id name version mapping { columns { column field } delimiter } }
    errors { code message field }
  }
}
"""

FIELD_SHEET: Final[dict[str, Any]] = {
    "columns": [{"column": "Stelle", "field": "SITE_CODE"}, {"column": "Zeit", "field": "COLLECTED_AT"}],
    "constants": [{"field": "MEDIUM", "value": "Water"}],
    "results": [
        {"column": "T", "characteristic": "Temperature, water", "unit": "deg C"},
        {"column": "pH", "characteristic": "pH"},
    ],
    "delimiter": "SEMICOLON",
    "decimalComma": True,
    "dateOrder": "DMY",
    "timeZone": "Europe/Berlin",
    "missing": ["NA"],
}
"""A table as a spreadsheet in Germany writes it: wide, with semicolons and commas."""


def demo_file() -> bytes:
    """Return the real file that the demo is made of."""
    return RESULTS.read_bytes()


@dataclass(frozen=True)
class Made:
    """An import that was made: its id, and where its file goes."""

    id: str
    path: str


async def make(
    client: Client, project_id: Any, content: bytes, *, kind: str = "WQX_CSV", mapping: str | None = None, **more: Any
) -> Made:
    """Make an import for a file."""
    given = {
        "projectId": f"Project:{project_id}",
        "kind": kind,
        "fileName": "results.csv",
        "size": len(content),
        **more,
    }
    if mapping is not None:
        given["mappingId"] = mapping
    payload = (await client.run(CREATE, {"input": given})).data["createImport"]
    assert payload["errors"] == [], payload
    return Made(payload["dataImport"]["id"], payload["dataImport"]["uploadPath"])


async def send(client: Client, path: str, content: bytes, *, offset: int = 0, **headers: str) -> httpx.Response:
    """Send bytes of a file."""
    sent = {"upload-offset": str(offset), **headers}
    if client.token:
        sent["authorization"] = f"Bearer {client.token}"
    return await client.http.put(path, content=content, headers=sent)


async def start(client: Client, made: Made, *, dry_run: bool = False) -> dict[str, Any]:
    """Start an import, and return the payload."""
    answer = await client.run(START, {"input": {"id": made.id, "dryRun": dry_run}})
    payload: dict[str, Any] = answer.data["startImport"]
    return payload


async def show(client: Client, made: Made, **more: Any) -> dict[str, Any]:
    """Return what the API shows of an import."""
    found: dict[str, Any] = (await client.run(SHOW, {"id": made.id, **more})).data["dataImport"]
    return found


async def run_to_the_end(running: ImportRunning | None = None) -> None:
    """Do what the job does, until there is no more to do."""
    running = running or ImportRunning()
    while await running.step():
        pass


async def uploaded(world: World, key: str, code: str, content: bytes, **more: Any) -> Made:
    """Make an import as somebody, and send its file."""
    client = await world.client(key)
    made = await make(client, await world.project_id(code), content, **more)
    response = await send(client, made.path, content)
    assert response.status_code == 200, response.text
    return made


def counts(shown: Mapping[str, Any]) -> tuple[int, int, int, int]:
    """Return how many rows were created, known, rejected and blank."""
    return tuple(shown[f"{one}Rows"] for one in ("created", "known", "rejected", "blank"))


NEW_PROJECT: Final = """
mutation($input: CreateProjectInput!) { createProject(input: $input) { project { id } errors { code message } } }
"""


async def fresh_project(world: World, code: str = "FRESH") -> str:
    """Make an empty project as the owner, and return its code."""
    owner = await world.client("owner")
    payload = (await owner.run(NEW_PROJECT, {"input": {"code": code, "name": "Fresh"}})).data["createProject"]
    assert payload["errors"] == [], payload
    return code


def as_wqx3(content: bytes) -> bytes:
    """Return a file of the older layout in the newer one: the same cells under the other names, all 181 of them."""
    with COLUMNS.open(encoding="utf-8") as file:
        header = [line.strip() for line in file if not line.startswith("#")][1:]
    names = {str(column): name for column, name in WQX3.names.items()}
    rows = csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline=""))
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, header, restval="", lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({names[name]: cell for name, cell in row.items() if name in names})
    return text.getvalue().encode()


def many_rows(count: int, *, characteristic: str = "Conductivity") -> bytes:
    """Return a file of so many rows, each of an activity of its own."""
    rows = (
        a_row(ACTIVITY=f"A-{number:07}", SITE=f"S-{number:07}", CHARACTERISTIC=characteristic)
        for number in range(count)
    )
    return a_file(*rows).getvalue().encode()


async def age(world: World, made: Made, *, days: int = 8) -> None:
    """Have an import and what was sent of its file be so old, with an entry of the trail as every change has."""
    organization = await world.organization_id("clearwater")
    superuser = await connect(world.superuser)
    try:
        async with superuser.transaction():
            await superuser.execute("select set_config('fieldward.organization_id', $1, true)", str(organization))
            await insert_entry(superuser, organization)
            for table, column in (("data_import", "id"), ("import_chunk", "import_id")):
                await superuser.execute(
                    f"update {table} set created_at = created_at - make_interval(days => $2) where {column} = $1",
                    UUID(made.id.partition(":")[2]),
                    days,
                )
    finally:
        await superuser.close()


async def fill_imports(world: World) -> None:
    """Have imports of each kind of row: one that was looked through and whose file is there, one that waits for its
    file, and a mapping.
    """
    manager = await world.client("manager")
    project = await world.project_id("CANAL")
    await make(manager, project, many_rows(1))
    given = {"projectId": f"Project:{project}", "name": "Field sheet", "mapping": FIELD_SHEET}
    await manager.run(CREATE_MAPPING, {"input": given})
    made = await uploaded(world, "manager", "CANAL", many_rows(3))
    await start(manager, made, dry_run=True)
    await run_to_the_end()


async def an_import(superuser: Endpoint, organization: UUID, project: str) -> UUID:
    """Make an import whose file is said to be there, past the API, and return its id."""
    connection = await connect(superuser)
    try:
        async with connection.transaction():
            await connection.execute("select set_config('fieldward.organization_id', $1, true)", str(organization))
            await insert_entry(connection, organization)
            made: UUID = await connection.fetchval(
                "insert into data_import (id, organization_id, created_at, project_id, kind, status, file_name, size,"
                " run, is_dry_run)"
                " values (gen_random_uuid(), $1, now(), $2, 'WQX_CSV', 'UPLOADED', 'made.csv', 1, 0, false)"
                " returning id",
                organization,
                UUID(project.partition(":")[2]),
            )
            return made
    finally:
        await connection.close()
