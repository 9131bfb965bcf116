"""Files that come again for records whose results somebody corrected, or took away, by hand."""

from typing import Any

import pytest

from tests.api.test_import_contradiction import results, sheet, take, the_record
from tests.support.importing import counts, fresh_project
from tests.support.mutation import mutate
from tests.support.world import World
from tests.support.wqx import a_file, a_row

IRON = {"CHARACTERISTIC": "Iron", "VALUE": "5"}
PH = {"CHARACTERISTIC": "pH", "VALUE": "7"}


def sheet_of(*rows: dict[str, str]) -> bytes:
    """Return a file with so many results of one visit."""
    return a_file(*(a_row(**row) for row in rows)).getvalue().encode()


async def correct(world: World, code: str, *stand: dict[str, Any]) -> None:
    """Have these be the record's results, by hand."""
    record = await the_record(world, code)
    given = {"id": f"Record:{record['id']}", "expectedVersion": record["version"], "measurements": list(stand)}
    changed = await mutate(await world.client("owner"), "updateRecord", given)
    assert changed.data["updateRecord"]["errors"] == []


async def values(world: World, code: str) -> list[tuple[str, float]]:
    """Return what stands in the project: characteristics and values."""
    rows = await world.sql(
        "select characteristic, value from measurement where project_id = $1 order by 1, 2",
        await world.project_id(code),
    )
    return [tuple(row) for row in rows]


async def test_what_was_corrected_by_hand_is_not_brought_in_again_beside_it(world: World) -> None:
    code = await fresh_project(world)
    await take(world, code, sheet_of(IRON, PH))
    stand = [{"characteristic": "Iron", "value": 6.0}, {"characteristic": "pH", "value": 7.0}]
    await correct(world, code, *stand)
    before = await the_record(world, code)

    assert counts(await take(world, code, sheet_of(IRON, PH))) == (0, 2, 0, 0)
    # Where the source corrects it as well, it is that result still, and what somebody said here stands.
    assert counts(await take(world, code, sheet_of({**IRON, "VALUE": "6.1"}, PH))) == (0, 2, 0, 0)

    assert await values(world, code) == [("Iron", 6.0), ("pH", 7.0)]
    assert await the_record(world, code) == before


async def test_of_replicates_each_is_told_that_was_corrected_and_a_new_one_comes_in(world: World) -> None:
    code = await fresh_project(world)
    replicates = [IRON, {**IRON, "VALUE": "5.5"}]
    await take(world, code, sheet_of(*replicates))
    await correct(world, code, {"characteristic": "Iron", "value": 4.0}, {"characteristic": "Iron", "value": 5.5})

    assert counts(await take(world, code, sheet_of(*replicates, {**IRON, "VALUE": "9"}))) == (1, 2, 0, 0)

    assert await values(world, code) == [("Iron", 4.0), ("Iron", 5.5), ("Iron", 9.0)]


async def test_what_was_taken_away_by_hand_stays_away_however_often_the_record_is_changed(world: World) -> None:
    code = await fresh_project(world)
    await take(world, code, sheet_of(IRON, PH))
    for value in (6.0, 6.5, 6.0):
        await correct(world, code, {"characteristic": "Iron", "value": value})

    assert counts(await take(world, code, sheet_of(PH, IRON))) == (0, 2, 0, 0)
    assert counts(await take(world, code, sheet_of(PH, IRON, {**PH, "CHARACTERISTIC": "Zinc"}))) == (1, 2, 0, 0)

    assert await values(world, code) == [("Iron", 6.0), ("Zinc", 7.0)]


@pytest.mark.parametrize("by_hand", [False, True])
async def test_a_record_that_was_deleted_comes_again_with_all_of_its_results(world: World, by_hand: bool) -> None:
    code = await fresh_project(world)
    await take(world, code, sheet_of(IRON, PH))
    if by_hand:
        await correct(world, code, {"characteristic": "pH", "value": 7.5})
    record = await the_record(world, code)
    given = {"id": f"Record:{record['id']}", "expectedVersion": record["version"], "reason": "Of another client."}
    gone = await mutate(await world.client("owner"), "deleteRecord", given)
    assert gone.data["deleteRecord"]["errors"] == []

    # First one of them, and the other later: nobody took that away since the record is there again.
    assert counts(await take(world, code, sheet_of(PH))) == (1, 0, 0, 0)
    assert counts(await take(world, code, sheet_of(IRON, PH))) == (1, 1, 0, 0)
    assert counts(await take(world, code, sheet_of(IRON, PH))) == (0, 2, 0, 0)

    assert await values(world, code) == [("Iron", 5.0), ("pH", 7.0)]


async def test_what_is_of_another_record_says_nothing(world: World) -> None:
    code = await fresh_project(world)
    await take(world, code, sheet(**PH))
    await correct(world, code)

    assert counts(await take(world, code, sheet(**{**PH, "ACTIVITY": "ANOTHER"}))) == (1, 0, 0, 0)
    assert await results(world, code) == 1
