"""What somebody would try against what goes in and out: exports, imports, links, quotas."""

import csv
import io
from typing import Any

import pytest

from tests.api.test_export_download import attempts, link_to, refused
from tests.api.test_location import declare, rewrite
from tests.support.export import make, take
from tests.support.importing import CREATE_MAPPING, FIELD_SHEET
from tests.support.world import World


@pytest.mark.parametrize("form", ["CSV", "GEOJSON"])
async def test_places_that_became_sensitive_do_not_leave_in_a_file_of_before(world: World, form: str) -> None:
    viewer, manager = await world.client("viewer"), await world.client("manager")
    theirs, managers = await make(world, viewer, form), await make(world, manager, form)
    url = await link_to(viewer, theirs)
    assert await declare(world) == []
    since = await world.now()

    for response in (await take(viewer, theirs.shown["id"], theirs.shown["fileName"]), await world.http.get(url)):
        refused(response, 403, "FORBIDDEN")
        assert response.json()["errors"][0]["extensions"]["permission"] == "record:read_confidential"
    assert await attempts(world, since) == [("export.download", "DENIED", "FORBIDDEN")] * 2
    # Who may read the exact places takes them still; and what is made from now on holds cells, for whoever asks.
    assert (await take(manager, managers.shown["id"], managers.shown["fileName"])).content == managers.content
    await rewrite(world)
    refused(await take(viewer, theirs.shown["id"], theirs.shown["fileName"]), 403, "FORBIDDEN")
    again = await make(world, viewer)
    rows = list(csv.DictReader(io.StringIO(again.content.decode(), newline="")))
    assert {row["record_location_is_coarse"] for row in rows if row["project_code"] == "CANAL"} == {"true"}


@pytest.mark.parametrize("field", ["COLLECTOR", "COMMENT", "RESULT_COMMENT", "LATITUDE", "LONGITUDE"])
async def test_a_mapping_keeps_nothing_in_plain_that_records_keep_sealed(world: World, field: str) -> None:
    manager, project = await world.client("manager"), await world.project_id("CANAL")
    constants = [{"field": one, "value": "51.2345"} for one in {field, *_beside(field)}]
    given: dict[str, Any] = {
        "projectId": f"Project:{project}",
        "name": "Sheet",
        "mapping": {**FIELD_SHEET, "constants": constants},
    }

    payload = (await manager.run(CREATE_MAPPING, {"input": given})).data["createImportMapping"]

    assert [(one["code"], one["field"][:3]) for one in payload["errors"]] == [
        ("INVALID_INPUT", ["input", "mapping", "constants"])
    ]
    assert await world.value("select count(*) from import_mapping") == 0
    assert await world.value("select count(*) from change where columns::text like '%51.2345%'") == 0


def _beside(field: str) -> set[str]:
    return {"LATITUDE", "LONGITUDE"} if field in {"LATITUDE", "LONGITUDE"} else set()
