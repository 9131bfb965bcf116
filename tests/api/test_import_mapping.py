"""Mappings that say what a table has no place for: refused when they are saved, and when older ones are run."""

import json
from typing import Any, Final
from uuid import UUID

import pytest

from tests.support.entry import insert_entry
from tests.support.importing import CREATE_MAPPING, FIELD_SHEET, fresh_project, run_to_the_end, show, start, uploaded
from tests.support.world import World, connect

UPDATE_MAPPING: Final = """
mutation($input: UpdateImportMappingInput!) {
  updateImportMapping(input: $input) { importMapping { id version } errors { code message field } }
}
"""
READ_MAPPING: Final = (
    "query($id: ID!) { importMapping: node(id: $id) { ... on ImportMapping { mapping { columns { field } } } } }"
)
UNSOUND: Final[dict[str, Any]] = {
    **FIELD_SHEET,
    "columns": [*FIELD_SHEET["columns"], {"column": "Grenze", "field": "DETECTION_LIMIT"}],
}
REASON: Final = "Expected no DETECTION_LIMIT without VALUE: it is said of the result in VALUE alone."


async def _saved(world: World, code: str) -> tuple[Any, str]:
    owner = await world.client("owner")
    given = {"projectId": f"Project:{await world.project_id(code)}", "name": "Sheet", "mapping": FIELD_SHEET}
    return owner, (await owner.run(CREATE_MAPPING, {"input": given})).data["createImportMapping"]["importMapping"]["id"]


async def _make_unsound(world: World, mapping_id: str) -> None:
    """Have a mapping be one that was saved before it was refused."""
    organization = await world.organization_id("clearwater")
    text = json.dumps(UNSOUND)
    superuser = await connect(world.superuser)
    try:
        async with superuser.transaction():
            await superuser.execute("select set_config('fieldward.organization_id', $1, true)", str(organization))
            await insert_entry(superuser, organization)
            row_id = UUID(mapping_id.partition(":")[2])
            await superuser.execute("update import_mapping set mapping = $2 where id = $1", row_id, text)
    finally:
        await superuser.close()


async def test_a_mapping_of_columns_that_no_result_of_its_own_column_has_is_refused(world: World) -> None:
    code = await fresh_project(world)
    owner, mapping_id = await _saved(world, code)
    new = {"projectId": f"Project:{await world.project_id(code)}", "name": "Another", "mapping": UNSOUND}
    before = await world.fingerprint()

    created = (await owner.run(CREATE_MAPPING, {"input": new})).data["createImportMapping"]
    change = {"id": mapping_id, "expectedVersion": 1, "mapping": UNSOUND}
    updated = (await owner.run(UPDATE_MAPPING, {"input": change})).data["updateImportMapping"]

    for payload in (created, updated):
        assert payload["importMapping"] is None
        assert payload["errors"] == [
            {"code": "INVALID_INPUT", "message": REASON, "field": ["input", "mapping", "columns", "2", "field"]}
        ]
    after = await world.fingerprint()
    assert after["import_mapping"] == before["import_mapping"]


@pytest.mark.parametrize("dry_run", [True, False], ids=["a dry run", "an import"])
async def test_an_import_by_a_mapping_from_before_fails_and_says_why(world: World, dry_run: bool) -> None:
    code = await fresh_project(world)
    owner, mapping_id = await _saved(world, code)
    await _make_unsound(world, mapping_id)
    table = b"Stelle;Zeit;T;pH;Grenze\nA-1;01.02.2024 8:30;3,5;7,1;0,1\n"

    made = await uploaded(world, "owner", code, table, kind="CSV", mapping=mapping_id)
    await start(owner, made, dry_run=dry_run)
    await run_to_the_end()

    shown = await show(owner, made)
    assert (shown["status"], shown["errorCode"], shown["errorMessage"]) == ("FAILED", "INVALID_INPUT", REASON)
    assert shown["rows"]["nodes"] == []
    assert await world.value("select count(*) from record where project_id = $1", await world.project_id(code)) == 0
    # It is shown as it is, to be mended.
    answer = (await owner.run(READ_MAPPING, {"id": mapping_id})).data["importMapping"]
    assert [one["field"] for one in answer["mapping"]["columns"]] == ["SITE_CODE", "COLLECTED_AT", "DETECTION_LIMIT"]
