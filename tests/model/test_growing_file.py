"""Files that come again with more in them, with less, or corrected: nothing is lost, nothing is stored twice."""

import csv
import io
from itertools import pairwise, permutations

import pytest

from fieldward.cli.environment import operator
from models.data_import import RowFate
from resolvers.account import member_viewer
from resolvers.import_report import Fate
from resolvers.record_import import import_results
from resolvers.trail import Actor
from resolvers.wqx_layout import LEGACY, WQX3, Layout
from tests.support.importing import as_wqx3, demo_file, fresh_project
from tests.support.world import World
from tests.support.wqx import a_file, a_row

C, K = RowFate.CREATED, RowFate.KNOWN


class Project:
    """An empty project, and the files that are imported into it. `content`: of the older layout."""

    def __init__(self, world: World, code: str) -> None:
        self._world = world
        self._code = code

    async def take(self, content: bytes, layout: Layout = LEGACY) -> list[RowFate]:
        """Import a file, and return what became of its rows, which a dry run told before."""
        foreseen = await self._run(content, layout, is_dry_run=True)
        done = await self._run(content, layout, is_dry_run=False)
        assert done == foreseen
        return [one.fate for one in done]

    async def take_values(self, *values: str, layout: Layout = LEGACY) -> str:
        """Import a file of one activity with results of one identity, and return their fates by their first letters."""
        fates = await self.take(values_file(*values), layout)
        return "".join(one[0] for one in fates)

    async def values(self) -> list[str]:
        """Return the values that are stored."""
        rows = await self._world.sql(
            "select value_reported from measurement where project_id = $1 order by 1",
            await self._world.project_id(self._code),
        )
        return [row["value_reported"] for row in rows]

    async def _run(self, content: bytes, layout: Layout, *, is_dry_run: bool) -> list[Fate]:
        viewer = await member_viewer("clearwater", email=self._world.email("owner"))
        text = as_wqx3(content) if layout is WQX3 else content
        told: list[Fate] = []
        await import_results(
            Actor(viewer.organization_id, operator().origin, viewer),
            viewer,
            io.StringIO(text.decode("utf-8-sig"), newline=""),
            project_id=await self._world.project_id(self._code),
            layout=layout,
            is_dry_run=is_dry_run,
            tell=told.extend,
        )
        return told


def values_file(*values: str) -> bytes:
    return a_file(*(a_row(VALUE=one) for one in values)).getvalue().encode()


async def a_project(world: World, code: str = "FRESH") -> Project:
    """Make an empty project."""
    return Project(world, await fresh_project(world, code))


@pytest.mark.parametrize("layout", [LEGACY, WQX3], ids=["older", "newer"])
async def test_each_result_that_is_added_is_stored_and_none_again(world: World, layout: Layout) -> None:
    for number, (one, two, three) in enumerate(permutations(["7.1", "7.2", "7.3"])):
        project = await a_project(world, f"P{number}")

        assert await project.take_values(one) == "C"
        assert await project.take_values(one, two, layout=layout) == "KC"
        assert await project.take_values(three, two, one) == "CKK"
        assert await project.take_values(two, one, three, layout=layout) == "KKK"

        assert await project.values() == ["7.1", "7.2", "7.3"]


async def test_the_only_result_of_its_kind_stays_that_whatever_its_value_is(world: World) -> None:
    project = await a_project(world)

    fates = [await project.take_values(one) for one in ("7.1", "7.3", "7.1")]

    assert fates == ["C", "K", "K"]
    assert await project.values() == ["7.1"]


async def test_of_several_results_each_is_told_by_its_value(world: World) -> None:
    project = await a_project(world)
    await project.take_values("7.1", "7.2")

    assert await project.take_values("7.2") == "K"
    assert await project.take_values("7.1", "7.25") == "KC"
    assert await project.take_values("7.3") == "C"
    assert await project.take_values("7.3", "7.25", "7.2", "7.1") == "KKKK"
    assert await project.values() == ["7.1", "7.2", "7.25", "7.3"]


async def test_equal_results_are_stored_as_often_as_a_file_has_them(world: World) -> None:
    project = await a_project(world)

    assert await project.take_values("7.1") == "C"
    assert sorted(await project.take_values("7.1", "7.1", "7.1")) == ["C", "C", "K"]
    assert await project.take_values("7.1", "7.1") == "KK"
    assert await project.values() == ["7.1"] * 3


async def test_a_result_of_another_kind_beside_it_does_not_change_what_it_is(world: World) -> None:
    project = await a_project(world)
    await project.take_values("7.1")

    fates = await project.take(a_file(a_row(VALUE="7.3"), a_row(VALUE="5", UNIT="mg/l")).getvalue().encode())

    assert fates == [K, C]
    assert await project.values() == ["5", "7.1"]


@pytest.mark.parametrize(
    "apart",
    [
        {"SPECIATION": ("as N", "as NO3")},
        {"RESULT_DEPTH": ("1", "2"), "RESULT_DEPTH_UNIT": ("m", "m")},
        {"TAXON": ("Salmo trutta", "Perca fluviatilis")},
    ],
    ids=["speciation", "depth", "taxon"],
)
@pytest.mark.parametrize("later", [LEGACY, WQX3], ids=["older", "newer"])
async def test_of_another_form_depth_or_taxon_it_is_another_result_in_a_later_file_too(
    world: World, apart: dict[str, tuple[str, str]], later: Layout
) -> None:
    project = await a_project(world)
    first, second = (
        a_file(a_row(VALUE=value, **{name: said[index] for name, said in apart.items()})).getvalue().encode()
        for index, value in enumerate(("10", "44.3"))
    )

    assert await project.take(first) == [C]
    assert await project.take(second, later) == [C]
    assert await project.take(first, later) == await project.take(second) == [K]
    assert await project.values() == ["10", "44.3"]


@pytest.mark.parametrize(("first", "second"), [(LEGACY, WQX3), (WQX3, LEGACY)], ids=["older first", "newer first"])
async def test_the_real_file_grows_in_either_layout(world: World, first: Layout, second: Layout) -> None:
    project = await a_project(world)
    header, *lines = demo_file().decode("utf-8-sig").splitlines(keepends=True)
    ends = [0, 60, 61, 150, len(lines)]

    for layout, (start, end) in zip((first, second, second, first), pairwise(ends), strict=True):
        fates = await project.take("".join([header, *lines[:end]]).encode(), layout)
        told = [one for one in fates if one is not RowFate.REJECTED]
        assert K not in fates[start:], "a result is taken for another one"
        assert C not in fates[:start], "a result is stored twice"
        assert told

    assert await project.take(demo_file(), second) == [
        K if row["ActivityIdentifier"] else RowFate.REJECTED
        for row in csv.DictReader(io.StringIO(demo_file().decode("utf-8-sig"), newline=""))
    ]
    assert len(await project.values()) == 240
