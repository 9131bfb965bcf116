"""The Water Quality Portal's results: the real file, stable ids, rows into records, and that no row is lost."""

import csv
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Final
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resolvers.wqx import Rejection, WqxFile, WqxFormatError, as_text, read_results
from resolvers.wqx_table import Column
from resolvers.wqx_value import identity_of
from tests.support.wqx import (
    PROJECT,
    a_file,
    a_row,
    ids_of,
    read,
    the_measurement,
    the_record,
    the_rejection,
)

REAL: Final = Path(__file__).parents[2] / "fieldward" / "demo" / "water-quality-results.csv"


def contents_of(file: WqxFile) -> dict[UUID, tuple[str | None, ...]]:
    """Return by id what tells a result from another, so that two readings can be compared."""
    return {
        one.id: (record.source_key, one.characteristic, one.fraction, one.value_reported, one.comment)
        for record in file.records
        for one in record.measurements
    }


@pytest.fixture(scope="module")
def real() -> WqxFile:
    with as_text(REAL.open("rb")) as text:
        return read_results(text, project_id=PROJECT)


def test_the_real_file_gives_what_counting_its_rows_by_hand_gives(real: WqxFile) -> None:
    with REAL.open(encoding="utf-8", newline="") as source:
        rows = list(csv.DictReader(source))
    good = [
        row
        for row in rows
        if row["ActivityIdentifier"]
        and row["MonitoringLocationIdentifier"]
        and (row["ResultMeasureValue"] or row["ResultDetectionConditionText"])
    ]
    activities = {(row["OrganizationIdentifier"], row["ActivityIdentifier"]) for row in good}

    counts = real.counts

    assert (counts.rows, counts.records, counts.measurements, counts.rejected, counts.blank) == (246, 179, 240, 6, 0)
    assert counts.rows == len(rows)
    assert counts.records == len(activities) == len(real.records)
    assert counts.measurements == len(good) == sum(len(record.measurements) for record in real.records)
    assert counts.rejected == len(rows) - len(good) == len(real.rejections)


def test_every_cell_of_the_real_file_comes_back_at_its_line(real: WqxFile) -> None:
    with REAL.open(encoding="utf-8", newline="") as source:
        rows = dict(enumerate(csv.DictReader(source), 2))  # no cell of this file spans lines

    for record in real.records:
        for one in record.measurements:
            row = rows.pop(one.line)
            assert record.source_key == f"{row['OrganizationIdentifier']}/{row['ActivityIdentifier']}"
            assert record.site_code == row["MonitoringLocationIdentifier"]
            assert (record.comment or "") == row["ActivityCommentText"]
            assert (one.value_reported or "") == row["ResultMeasureValue"]
            assert (one.comment or "") == row["ResultCommentText"].strip()
            assert (one.unit or "") == row["ResultMeasure/MeasureUnitCode"]
            assert (one.value is None) == (row["ResultMeasureValue"] == "")
            assert one.value is None or one.value == Decimal(row["ResultMeasureValue"])
    assert sorted(rows) == sorted(rejection.line for rejection in real.rejections)


def test_the_six_rows_of_the_real_file_without_an_activity_are_told_by_line(real: WqxFile) -> None:
    assert [(one.line, one.column, one.reason) for one in real.rejections] == [
        (line, "ActivityIdentifier", "is missing") for line in range(242, 248)
    ]


def test_the_real_file_has_its_times_in_utc_with_summer_time_minded(real: WqxFile) -> None:
    by_key = {record.source_key: record for record in real.records}

    first = by_key["STF_WQX/STF_WQX-11359"]
    assert first.collected_at == datetime(2014, 9, 29, 16, 25, tzinfo=UTC)
    assert first.collected_at_reported == "2014-09-29 12:25:00 EDT"
    assert first.collector == "Seminole Tribe of Florida (Tribal)"
    assert first.method == "STF_WQX G: Grab Sample-Grabber Bottle"
    assert first.measurements[0].method == "APHA 2510: Conductivity in Water"


def test_the_real_file_keeps_what_was_not_detected(real: WqxFile) -> None:
    hidden = [one for record in real.records for one in record.measurements if one.value_reported is None]

    assert [(one.line, one.value, one.detection_condition) for one in hidden] == [
        (213, None, "Not Detected"),
        (219, None, "Not Detected"),
    ]


def test_the_real_file_tells_blanks_and_what_nitrogen_is_counted_as(real: WqxFile) -> None:
    kinds = [record.activity_type for record in real.records]
    assert kinds.count("Quality Control Sample-Equipment Blank") == 10
    assert [one.speciation for record in real.records for one in record.measurements].count("as N") == 8


def test_reading_the_real_file_again_gives_the_same_ids_and_all_differ(real: WqxFile) -> None:
    again = read(REAL.read_text(encoding="utf-8"))

    assert again == real
    assert len(ids_of(real)) == real.counts.records + real.counts.measurements


def test_the_lines_of_the_real_file_in_another_order_give_the_same_ids_to_the_same_results(real: WqxFile) -> None:
    header, *lines = REAL.read_text(encoding="utf-8").splitlines(keepends=True)

    backwards = read("".join([header, *reversed(lines)]))

    assert contents_of(backwards) == contents_of(real)
    assert ids_of(backwards) == ids_of(real)


def test_an_id_is_of_version_7_and_starts_with_the_milliseconds_of_the_collection(real: WqxFile) -> None:
    for record in real.records:
        for made in (record.id, *(one.id for one in record.measurements)):
            assert made.version == 7
            assert made.variant == "specified in RFC 4122"
            assert made.int >> 80 == int(record.collected_at.timestamp() * 1000)


def test_a_collection_before_1970_has_an_id_of_the_first_millisecond() -> None:
    record = the_record(read(a_file(a_row(DATE="1969-12-31"))))

    assert record.id.int >> 80 == 0
    assert record.collected_at == datetime(1969, 12, 31, tzinfo=UTC)


def test_of_another_day_it_is_another_record_also_before_1970() -> None:
    for days in (("1969-12-31", "1969-12-30"), ("1970-01-01", "1969-12-31"), ("1970-01-01", "1970-01-02")):
        one, other = (ids_of(read(a_file(a_row(DATE=day)))) for day in days)
        assert not one & other
        assert one == ids_of(read(a_file(a_row(DATE=days[0]))))


def test_the_same_file_in_another_project_has_other_ids() -> None:
    assert not ids_of(read(a_file(a_row()))) & ids_of(read(a_file(a_row()), project=UUID(int=5)))


def test_parts_of_an_identity_cannot_run_into_each_other() -> None:
    one = read(a_file(a_row(ORGANIZATION="A", ACTIVITY="BC")))
    other = read(a_file(a_row(ORGANIZATION="AB", ACTIVITY="C")))
    assert not ids_of(one) & ids_of(other)

    one = read(a_file(a_row(ORGANIZATION="A/B", ACTIVITY="C")))
    other = read(a_file(a_row(ORGANIZATION="A", ACTIVITY="B/C")))
    assert the_record(one).source_key != the_record(other).source_key


def test_a_corrected_value_keeps_its_identity_and_another_fraction_has_another() -> None:
    before = identity_of(the_measurement(read(a_file(a_row(VALUE="1.5")))).id)

    assert identity_of(the_measurement(read(a_file(a_row(VALUE="1.6", RESULT_COMMENT="corrected")))).id) == before
    for changed in (
        {"CHARACTERISTIC": "Nitrogen"},
        {"FRACTION": "Total"},
        {"UNIT": "uS/cm"},
        {"ANALYTICAL_METHOD": "2510"},
        {"VALUE_TYPE": "Estimated"},
        {"STATISTICAL_BASE": "Mean"},
    ):
        assert identity_of(the_measurement(read(a_file(a_row(**changed)))).id) != before


def test_equal_rows_are_two_measurements_with_two_ids() -> None:
    file = read(a_file(a_row(), a_row()))

    assert len(the_record(file).measurements) == 2
    assert len(ids_of(file)) == 3


def test_rows_of_one_activity_are_one_record_in_the_order_of_the_file() -> None:
    file = read(
        a_file(
            a_row(CHARACTERISTIC="pH", VALUE="7.4"),
            a_row(ACTIVITY="STF_WQX-2"),
            a_row(CHARACTERISTIC="Nitrogen", VALUE="0.2"),
        )
    )

    assert [record.source_key for record in file.records] == ["STF_WQX/STF_WQX-1", "STF_WQX/STF_WQX-2"]
    assert [(one.line, one.characteristic) for one in file.records[0].measurements] == [(2, "pH"), (4, "Nitrogen")]
    assert file.records[0].line == 2


def test_the_same_activity_id_of_two_organizations_is_two_records() -> None:
    assert read(a_file(a_row(), a_row(ORGANIZATION="USGS-FL"))).counts.records == 2


def test_cells_of_columns_with_one_name_or_none_are_all_kept() -> None:
    row = a_row()
    header = ",".join([*row, "Foo", "Foo", "Foo (2)", "", " Foo ", "", "column 999", "column 999"])
    cells = ",".join([*row.values(), *"abcdefgh"])

    source = the_measurement(read(f"{header}\n{cells}\n")).source

    first = len(row) + 1
    assert {name: cell for name, cell in source.items() if cell in set("abcdefgh")} == {
        "Foo": "a",
        "Foo (3)": "b",
        "Foo (2)": "c",
        f"column {first + 3}": "d",
        "Foo (4)": "e",
        f"column {first + 5}": "f",
        "column 999": "g",
        "column 999 (2)": "h",
    }


PLACE = {"LATITUDE": "47.5", "LONGITUDE": "-122.3"}
STANDARD = {"STANDARD_LATITUDE": "47.49979", "STANDARD_LONGITUDE": "-122.30129", "STANDARD_DATUM": "NAD83"}


@pytest.mark.parametrize("datum", ["", " ", "WGS84", "wgs 84", "World Geodetic System 1984", "NAD83", "Nad-83"])
def test_a_place_without_a_datum_or_in_one_that_agrees_is_taken_as_it_is(datum: str) -> None:
    record = the_record(read(a_file(a_row(**PLACE, **STANDARD, DATUM=datum))))

    assert (str(record.latitude), str(record.longitude)) == ("47.5", "-122.3")


@pytest.mark.parametrize("datum", ["NAD27", "UNKWN", "OTHER", "WGS72", "NAD8"])
def test_a_place_in_another_datum_is_the_standardized_one_or_the_row_is_rejected(datum: str) -> None:
    record = the_record(read(a_file(a_row(**PLACE, **STANDARD, DATUM=datum))))
    assert (str(record.latitude), str(record.longitude)) == ("47.49979", "-122.30129")

    for without in ({}, {**STANDARD, "STANDARD_DATUM": "NAD27"}, {**STANDARD, "STANDARD_DATUM": ""}):
        told = the_rejection(read(a_file(a_row(**PLACE, **without, DATUM=datum))))
        assert told.column == Column.DATUM
        assert told.reason == "is neither WGS84 nor NAD83, and there is no standardized place in one of them"


def test_the_datum_of_a_site_is_judged_where_the_site_s_place_is_taken() -> None:
    site = {"SITE_LATITUDE": "47.5", "SITE_LONGITUDE": "-122.3", "SITE_DATUM": "NAD27"}
    standard = {f"SITE_{name}": said for name, said in STANDARD.items()}

    assert the_rejection(read(a_file(a_row(**site)))).column == Column.SITE_DATUM
    assert str(the_record(read(a_file(a_row(**site, **standard)))).latitude) == "47.49979"
    assert str(the_record(read(a_file(a_row(**PLACE, **site)))).latitude) == "47.5"
    assert the_record(read(a_file(a_row(SITE_DATUM="NAD27", DATUM="NAD27")))).latitude is None


@pytest.mark.parametrize(
    ("changed", "column", "value"),
    [
        ({"SITE": "ELSEWHERE"}, Column.SITE, "ELSEWHERE"),
        ({"DATE": "2014-09-30"}, Column.DATE, "2014-09-30 12:00 EST"),
        ({"TIME": "12:01"}, Column.TIME, "2014-09-29 12:01 EST"),
        ({"ZONE": "EDT"}, Column.TIME, "2014-09-29 12:00 EDT"),
        ({"MEDIUM": "Air"}, Column.MEDIUM, "Air"),
        ({"ACTIVITY_COMMENT": "dry"}, Column.ACTIVITY_COMMENT, "dry"),
        ({"LATITUDE": "27", "LONGITUDE": "-82"}, Column.LATITUDE, "27 -82"),
    ],
)
def test_a_row_that_contradicts_its_activity_is_rejected_and_the_earlier_stays(
    changed: dict[str, str], column: Column, value: str
) -> None:
    agreed = {
        "TIME": "12:00",
        "ZONE": "EST",
        "ACTIVITY_COMMENT": "after rain",
        "LATITUDE": "27.5",
        "LONGITUDE": "-82",
    }

    file = read(a_file(a_row(**agreed), a_row(**{**agreed, **changed}, VALUE="2"), a_row(**agreed, VALUE="3")))

    assert file.rejections == (Rejection(3, column, "contradicts an earlier row of the same activity", value),)
    assert [one.value_reported for one in file.records[0].measurements] == ["111.0", "3"]


def test_what_one_row_leaves_empty_of_its_activity_another_fills_in() -> None:
    first = a_row(MEDIUM="", DATE="09/29/2014")
    second = a_row(ACTIVITY_COMMENT="after rain", LATITUDE="27.5", LONGITUDE="-82", SITE_NAME="Canal bridge")

    record = the_record(read(a_file(first, second)))

    assert (record.medium, record.comment, record.site_name) == ("Water", "after rain", "Canal bridge")
    assert (record.latitude, record.longitude) == (Decimal("27.5"), Decimal(-82))
    assert record.collected_at_reported == "09/29/2014"


def test_who_collected_is_the_conducting_organization_or_else_the_providing_one() -> None:
    assert the_record(read(a_file(a_row(CONDUCTING_ORGANIZATION="USGS")))).collector == "USGS"
    assert the_record(read(a_file(a_row()))).collector == "Seminole Tribe of Florida"
    assert the_record(read(a_file(a_row(ORGANIZATION_NAME="")))).collector is None


@pytest.mark.parametrize(
    ("context", "identifier", "name", "said"),
    [
        ("APHA", "2510", "Conductivity in Water", "APHA 2510: Conductivity in Water"),
        ("NARS", "NCA Water Sample", "NCA Water Sample", "NARS NCA Water Sample"),
        ("USGS", "USGS", "USGS", "USGS"),
        ("", "", "By hand", "By hand"),
        ("", "G", "", "G"),
        ("", " ", "", None),
    ],
)
def test_a_method_is_one_line_that_repeats_nothing(context: str, identifier: str, name: str, said: str | None) -> None:
    file = read(
        a_file(
            a_row(
                SAMPLING_METHOD_CONTEXT=context,
                SAMPLING_METHOD=identifier,
                SAMPLING_METHOD_NAME=name,
                ANALYTICAL_METHOD_CONTEXT=context,
                ANALYTICAL_METHOD=identifier,
                ANALYTICAL_METHOD_NAME=name,
            )
        )
    )

    assert the_record(file).method == the_measurement(file).method == said


_SOME_CELL = st.one_of(
    st.sampled_from(["", " ", "1", "<0.5", "2014-09-29", "10/28/2021", "EST", "12:00", "Water", "\0", '"', "\n", "é"]),
    st.text(st.characters(exclude_characters="\r"), max_size=12),  # the writer would not quote it
)
_SOME_ROW = st.fixed_dictionaries(
    {},
    optional={column.name: _SOME_CELL for column in Column},
)


@given(st.lists(st.one_of(st.text(max_size=200), _SOME_ROW), max_size=6))
def test_every_row_of_any_text_is_a_measurement_a_rejection_or_a_blank(parts: list[str | dict[str, str]]) -> None:
    text = a_file().read()
    for part in parts:
        text += part + "\n" if isinstance(part, str) else a_file(a_row(**part)).read().split("\n", 1)[1]

    file = read(text)

    counts = file.counts
    assert counts.rows == counts.measurements + counts.rejected + counts.blank
    assert counts.measurements == sum(len(record.measurements) for record in file.records)
    assert (counts.records, counts.rejected) == (len(file.records), len(file.rejections))
    assert len(ids_of(file)) == counts.records + counts.measurements
    lines = [one.line for record in file.records for one in record.measurements]
    lines += [one.line for one in file.rejections]
    assert len(set(lines)) == len(lines)
    for rejection in file.rejections:
        f"{rejection.column}{rejection.reason}{rejection.value}".encode()
        assert "\0" not in rejection.value


@given(st.lists(_SOME_ROW, max_size=6))
def test_rows_well_written_are_all_counted_one_by_one(rows: list[dict[str, str]]) -> None:
    file = read(a_file(*(a_row(**row) for row in rows)))

    assert file.counts.rows == len(rows)


@given(st.text())
def test_any_text_without_a_header_is_refused_and_raises_nothing_else(text: str) -> None:
    with pytest.raises(WqxFormatError):
        read(text)
