"""Results of files that grow and are corrected: which one a result is, in either layout, whatever comes beside it."""

import io
import random

import pytest

from models.inventory import entity_of
from models.measurement import Measurement
from resolvers.wqx import WqxFile, read_results
from resolvers.wqx_layout import WQX3
from resolvers.wqx_table import Column
from resolvers.wqx_value import identity_of
from tests.support.importing import as_wqx3, demo_file
from tests.support.wqx import PROJECT, a_file, a_row, ids_of, read


def by_value(*rows: dict[str, str]) -> dict[str | None, set[str]]:
    """Return the ids of the results of a file by what they say."""
    found: dict[str | None, set[str]] = {}
    for record in read(a_file(*rows)).records:
        for one in record.measurements:
            found.setdefault(one.value_reported, set()).add(str(one.id))
    return found


def newer(content: bytes) -> WqxFile:
    """Read a file of the older layout in the newer one."""
    text = io.StringIO(as_wqx3(content).decode(), newline="")
    return read_results(text, project_id=PROJECT, layout=WQX3)


def test_a_result_keeps_its_id_whatever_comes_beside_it() -> None:
    rows = [a_row(VALUE=f"7.{number}") for number in range(40)]
    whole = by_value(*rows)
    draw = random.Random(7)  # noqa: S311  (a test's)

    for _ in range(50):
        some = draw.sample(rows, draw.randint(1, len(rows)))
        assert by_value(*some).items() <= whole.items()

    assert len(set.union(*whole.values())) == 40


def test_results_that_are_alike_are_as_many_as_there_are() -> None:
    one, two, three = (by_value(*[a_row()] * count)["111.0"] for count in (1, 2, 3))

    assert one < two < three
    assert (len(one), len(two), len(three)) == (1, 2, 3)


def test_results_of_one_identity_have_ids_that_begin_alike_and_others_do_not() -> None:
    [record] = read(a_file(a_row(VALUE="1"), a_row(VALUE="2"), a_row(UNIT="mg/l"), a_row(CHARACTERISTIC="pH"))).records

    first, second, *others = (identity_of(one.id) for one in record.measurements)

    assert first == second
    assert len({first, *others}) == 3


APART = {
    "SPECIATION": ("as N", "as NO3"),
    "RESULT_DEPTH": ("0.5", "10"),
    "RESULT_DEPTH_UNIT": ("m", "ft"),
    "RESULT_DEPTH_REFERENCE": ("Surface", "Bottom"),
    "TAXON": ("Salmo trutta", "Perca fluviatilis"),
    "TISSUE": ("Liver", "Fillet"),
    "WEIGHT_BASIS": ("Dry", "Wet"),
    "TIME_BASIS": ("1 Day", "5 Day"),
    "TEMPERATURE_BASIS": ("20 Deg C", "25 Deg C"),
    "PARTICLE_SIZE_BASIS": ("< 63 um", "< 2 mm"),
}
"""By what results of one characteristic are others, with two things that may be said of each."""


@pytest.mark.parametrize("name", APART)
def test_what_wqx_tells_results_apart_by_is_of_the_identity_in_both_layouts(name: str) -> None:
    rows = [a_row(), *(a_row(**{name: one}) for one in APART[name])]
    text = a_file(*rows).getvalue()
    [record], [in_newer] = read(text).records, newer(text.encode()).records

    assert len({identity_of(one.id) for one in record.measurements}) == 3
    assert [one.id for one in in_newer.measurements] == [one.id for one in record.measurements]


def test_a_file_without_the_columns_of_depth_and_the_like_gives_the_same_ids_as_with_them_empty() -> None:
    header = [name for name in a_row() if name not in {Column[one] for one in APART}]

    assert ids_of(read(a_file(a_row(), header=header))) == ids_of(read(a_file(a_row())))


def test_what_is_said_of_the_visit_or_of_a_review_does_not_change_which_one_it_is() -> None:
    before = by_value(a_row(VALUE="1"), a_row(VALUE="2"))

    after = by_value(*(a_row(VALUE=one, RESULT_STATUS="Final", ACTIVITY_COMMENT="Rain.") for one in "12"))

    assert after == before


def test_an_id_says_nothing_of_what_is_sealed() -> None:
    said = [a_row(RESULT_COMMENT=one, ORGANIZATION_NAME=one, ACTIVITY_COMMENT=one) for one in ("Calm.", "Storm.")]

    assert by_value(said[0]) == by_value(said[1])
    sealed = {name for name, column in entity_of(Measurement).columns.items() if column.is_sealed}
    assert sealed == {"comment", "source_row"}


def test_replicates_have_the_same_ids_in_both_layouts() -> None:
    values = [str(number) for number in range(30)]
    text = a_file(*(a_row(VALUE=one) for one in values)).getvalue()

    found = {one.value_reported: one.id for record in newer(text.encode()).records for one in record.measurements}

    assert {value: {str(made)} for value, made in found.items()} == by_value(*(a_row(VALUE=one) for one in values))


def test_each_row_of_the_real_file_has_its_id_in_both_layouts_and_in_any_part_of_the_file() -> None:
    content = demo_file()
    older = {one.line: one.id for record in read(content.decode("utf-8-sig")).records for one in record.measurements}
    assert len(set(older.values())) == len(older) == 240

    assert {one.line: one.id for record in newer(content).records for one in record.measurements} == older

    header, *lines = content.decode("utf-8-sig").splitlines(keepends=True)
    for part in range(3):
        kept = [line for number, line in enumerate(lines) if number % 3 != part]
        ids = {one.id for record in read("".join([header, *kept])).records for one in record.measurements}
        assert ids <= set(older.values())
        assert len(ids) == sum(2 + number in older for number in range(len(lines)) if number % 3 != part)
