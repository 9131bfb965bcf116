"""What an export holds at once: bounded by bytes, and not by the number of rows alone. The file is the same."""

import csv
import io
import zipfile
from collections.abc import Sequence
from typing import Any

import pytest

from models.inventory import entity_of
from models.listing import Listing, fetch_listing, fetch_weights
from models.measurement import Measurement
from models.order import Order
from models.reading import Snapshot
from models.transaction import Tenant
from resolvers import archive as archive_module
from resolvers import export_parquet, export_weight, person_archive
from resolvers.account import member_viewer
from resolvers.export_csv import CsvWriter
from resolvers.export_parquet import ParquetWriter
from resolvers.export_weight import OF_A_ROW, fitting
from resolvers.export_writer import ExportedRecord
from tests.support.export import exporting, look, make, take, work
from tests.support.mutation import mutate
from tests.support.world import Client, World

MOST = 30_000
LONG = "A long remark. " * 600


@pytest.fixture(autouse=True)
def little_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export_weight, "MOST_WEIGHT", MOST)
    monkeypatch.setattr(archive_module, "MOST_WEIGHT", MOST)


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[Sequence[ExportedRecord]]:
    """Collects the batches that are written as CSV."""
    batches: list[Sequence[ExportedRecord]] = []
    records = CsvWriter.records

    def noted(self: CsvWriter, batch: Sequence[ExportedRecord]) -> bytes:
        batches.append(batch)
        return records(self, batch)

    monkeypatch.setattr(CsvWriter, "records", noted)
    return batches


async def add_heavy(world: World, *, results: int) -> str:
    """Make a record of long texts in the first project, and return its id."""
    given = {
        "projectId": f"Project:{await world.project_id('CANAL')}",
        "siteCode": "HEAVY",
        "collectedAt": "2026-01-02T03:04:05Z",
        "medium": "WATER",
        "comment": LONG,
        "measurements": [{"characteristic": "pH", "value": number, "comment": LONG} for number in range(results)],
    }
    payload = (await mutate(await world.client("collector"), "createRecord", given, "record { id }")).data
    return str(payload["createRecord"]["record"]["id"]).partition(":")[2]


def test_a_batch_is_what_fits_and_one_row_at_the_least() -> None:
    assert fitting([]) == 0
    assert fitting([10 * MOST]) == 1
    assert fitting([10 * MOST, 1]) == 1
    assert fitting([MOST // 2, MOST // 2, 1]) == 2
    assert fitting([1] * 100) == 100


async def test_a_batch_holds_no_more_than_fits_and_the_file_is_the_same(
    world: World, written: list[Sequence[ExportedRecord]], monkeypatch: pytest.MonkeyPatch
) -> None:
    heavy = {await add_heavy(world, results=results) for results in (1, 12, 3, 1)}
    manager = await world.client("manager")

    parts = await make(world, manager)
    batches = list(written)
    written.clear()
    monkeypatch.setattr(export_weight, "MOST_WEIGHT", 1 << 40)
    whole = await make(world, manager)

    assert parts.content == whole.content
    assert len(written) == 1
    assert len(batches) > 4
    ids = [str(one.values["id"]) for batch in batches for one in batch]
    assert len(set(ids)) == len(ids)
    assert heavy < set(ids)
    for batch in batches:
        assert len(batch) == 1 or sum(one.weight for one in batch) <= MOST
        for one in batch:
            # What is reckoned is no less than the texts that it is about.
            said = [str(one.values["comment"] or ""), *(str(each["comment"] or "") for each in one.measurements)]
            assert one.weight >= len(said[0]) * len(one.measurements) + sum(map(len, said[1:])) + OF_A_ROW
    rows = list(csv.DictReader(io.StringIO(whole.content.decode(), newline="")))
    assert sum(row["record_comment"] == LONG for row in rows) == 17


async def test_what_a_filter_of_results_leaves_out_weighs_nothing(
    world: World, written: list[Sequence[ExportedRecord]]
) -> None:
    for _ in range(3):
        await add_heavy(world, results=12)

    shown = await make(
        world, await world.client("manager"), filter={"siteCode": {"eq": "HEAVY"}}, measurements={"value": {"eq": 7}}
    )

    assert shown.shown["measurements"] == 3
    assert [len(batch) for batch in written] == [1, 1, 1]
    assert {len(one.measurements) for batch in written for one in batch} == {1}


async def test_parquet_is_held_back_by_weight_too(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    held: list[int] = []
    monkeypatch.setattr(export_parquet, "MOST_HELD", 4 * MOST)
    write = ParquetWriter._write

    def noted(self: ParquetWriter, rows: Sequence[Sequence[Any]]) -> None:
        held.append(len(rows))
        write(self, rows)

    monkeypatch.setattr(ParquetWriter, "_write", noted)
    for _ in range(4):
        await add_heavy(world, results=12)

    made = await make(world, await world.client("manager"), "PARQUET")

    assert len(held) > 3
    assert sum(held) >= made.shown["measurements"]
    assert made.content.endswith(b"PAR1")


async def archive_of(world: World, client: Client, mutation: str) -> zipfile.ZipFile:
    """Have an archive made, and return it."""
    export_id = (await mutate(client, mutation, {"reason": "We move."}, "export { id }")).data[mutation]["export"]["id"]
    await work(exporting(world))
    shown = await look(client, export_id)
    assert shown["status"] == "READY", shown
    return zipfile.ZipFile(io.BytesIO((await take(client, export_id, shown["fileName"])).content))


@pytest.mark.parametrize(
    ("mutation", "who", "name"),
    [("createArchive", "admin", "measurement.jsonl"), ("exportMyData", "collector", "measurements.json")],
)
async def test_so_it_is_with_archives(
    world: World, mutation: str, who: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for results in (1, 12, 3):
        await add_heavy(world, results=results)
    client, read = await world.client(who), []

    async def noted(connection: Any, viewer: Any, listing: Listing) -> Any:
        rows = await fetch_listing(connection, viewer, listing)
        if listing.entity is entity_of(Measurement):
            read.append(len(rows))
        return rows

    for module in (archive_module, person_archive):
        monkeypatch.setattr(module, "fetch_listing", noted)
    parts = await archive_of(world, client, mutation)
    batches = list(read)
    read.clear()
    for module in (export_weight, archive_module):
        monkeypatch.setattr(module, "MOST_WEIGHT", 1 << 40)
    whole = await archive_of(world, client, mutation)

    assert parts.read(name) == whole.read(name)
    assert len([one for one in batches if one]) >= 3 > len([one for one in read if one])
    assert parts.read(name).count(LONG.encode()) == 16


async def test_weights_are_those_of_what_is_stored(world: World) -> None:
    record = await add_heavy(world, results=2)
    viewer = await member_viewer("clearwater", email=world.email("manager"))
    listing = Listing(
        entity=entity_of(Measurement),
        columns=("comment", "source_row", "unit"),
        order=Order("position"),
        limit=1,
        parent_column="record_id",
        parents=[(await world.value("select id from record where site_code = 'HEAVY'"))],
    )

    async with Snapshot(Tenant(organization_id=viewer.organization_id)) as connection:
        found = await fetch_weights(connection, viewer, listing)

    stored = await world.value(
        "select sum(octet_length(comment)) from measurement where record_id = $1::text::uuid", record
    )
    assert [(str(row_id), count, weight) for row_id, count, weight in found] == [(record, 2, stored)]
    assert stored > 2 * len(LONG)
