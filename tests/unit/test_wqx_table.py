"""Faulty rows and faulty files: each costs itself alone, and says where and why."""

import csv
import io
from decimal import Decimal

import pytest

from auth.errors import Code
from models.measurement import Measurement
from models.record import Record
from resolvers import wqx_row, wqx_table
from resolvers.wqx import WqxFormatError, as_text, read_results
from resolvers.wqx_table import Column
from tests.support.wqx import (
    HEADER,
    PROJECT,
    a_file,
    a_row,
    read,
    the_measurement,
    the_record,
    the_rejection,
    unreadable_in,
)


@pytest.mark.parametrize(
    ("cells", "column"),
    [
        ({"ORGANIZATION": " "}, Column.ORGANIZATION),
        ({"ACTIVITY": ""}, Column.ACTIVITY),
        ({"SITE": "\t"}, Column.SITE),
        ({"CHARACTERISTIC": ""}, Column.CHARACTERISTIC),
        ({"VALUE": ""}, Column.VALUE),
        ({"LIMIT": "<1"}, Column.LIMIT),
        ({"LATITUDE": "91", "LONGITUDE": "0"}, Column.LATITUDE),
        ({"LATITUDE": "0", "LONGITUDE": "-180.1"}, Column.LONGITUDE),
        ({"LATITUDE": "27.5"}, Column.LONGITUDE),
        ({"SITE_LONGITUDE": "27.5"}, Column.SITE_LATITUDE),
        ({"SITE_LATITUDE": "north", "SITE_LONGITUDE": "1"}, Column.SITE_LATITUDE),
        ({"SITE": "x" * 65}, Column.SITE),
        ({"VALUE": "x" * 61}, Column.VALUE),
        ({"ANALYTICAL_METHOD_NAME": "x" * 301}, Column.ANALYTICAL_METHOD),
        ({"SAMPLING_METHOD_NAME": "x" * 201}, Column.SAMPLING_METHOD),
        ({"RESULT_COMMENT": "x" * 10_001}, Column.RESULT_COMMENT),
    ],
)
def test_a_row_that_can_become_nothing_is_rejected_with_its_column(cells: dict[str, str], column: Column) -> None:
    file = read(a_file(a_row(**cells), a_row(ACTIVITY="the next")))

    assert [(one.line, one.column) for one in file.rejections] == [(2, column)]
    assert [record.line for record in file.records] == [3]
    assert len(file.rejections[0].value) <= 80


def test_the_first_fault_is_the_one_told() -> None:
    faults = {
        "ORGANIZATION": "",
        "ACTIVITY": "",
        "SITE": "",
        "DATE": "",
        "TIME": "noon",
        "LATITUDE": "x",
        "CHARACTERISTIC": "",
        "VALUE": "",
        "LIMIT": "x",
        "UNIT": "x" * 41,
    }
    expected = list(faults)

    told = []
    while faults:
        told.append(Column(the_rejection(read(a_file(a_row(**faults)))).column).name)
        if told[-1] not in faults:
            break
        del faults[told[-1]]

    # An empty longitude beside a bad latitude is found after it, and both are mended together here.
    assert told == expected[: expected.index("LATITUDE") + 1] + expected[expected.index("CHARACTERISTIC") :]


@pytest.mark.parametrize("character", ["\0", "\x1b", "\x7f", "\x85", "\ud800"])
@pytest.mark.parametrize("column", [Column.ACTIVITY, Column.RESULT_COMMENT, Column.VALUE])
def test_a_character_that_is_no_text_rejects_its_row_and_is_not_told_on(character: str, column: Column) -> None:
    rejection = the_rejection(read(a_file(a_row(**{column.name: f"a{character}b"}))))

    assert rejection.column == column
    assert rejection.value == "a\ufffdb"
    assert rejection.reason == "holds a control character or bytes that are not UTF-8"


def test_bytes_that_are_not_utf_8_reject_their_row_alone() -> None:
    good, bad = (a_file(a_row(RESULT_COMMENT=text)).read().encode() for text in ("20 ºC", "20 oC"))
    data = good + bad.split(b"\n", 1)[1].replace(b"20 oC", b"20 \xbaC")

    file = read_results(as_text(io.BytesIO(data)), project_id=PROJECT)

    assert file.records[0].measurements[0].comment == "20 ºC"
    assert [(one.line, one.column, one.value) for one in file.rejections] == [(3, Column.RESULT_COMMENT, "20 \ufffdC")]


def test_tabs_and_line_ends_in_a_comment_are_kept_and_counted() -> None:
    comment = "first line\nsecond\tline\r\nthird"

    file = read(a_file(a_row(RESULT_COMMENT=comment), a_row(VALUE="", ACTIVITY="the next")))

    assert file.records[0].measurements[0].comment == comment
    assert [one.line for one in file.rejections] == [5]


def test_empty_rows_are_blank_and_nothing_else() -> None:
    text = (
        a_file(a_row()).read() + "\n" + "," * (len(HEADER) - 1) + "\n , ,\n" + a_file(a_row()).read().split("\n", 1)[1]
    )

    file = read(text)

    assert (file.counts.rows, file.counts.blank, file.counts.measurements) == (5, 3, 2)
    assert [one.line for one in the_record(file).measurements] == [2, 6]


def test_a_row_with_too_many_or_too_few_cells_is_rejected() -> None:
    header, good, _ = a_file(a_row()).read().split("\n")

    file = read("\n".join([header, good + ",more", good.rsplit(",", 1)[0], "STF_WQX"]))

    count = len(HEADER)
    assert [(one.line, one.column, one.reason) for one in file.rejections] == [
        (2, "", f"has {count + 1} cells where the header has {count}"),
        (3, "", f"has {count - 1} cells where the header has {count}"),
        (4, "", f"has 1 cells where the header has {count}"),
    ]


def test_a_quote_in_the_wrong_place_costs_its_row_and_no_other() -> None:
    header, good, _ = a_file(a_row()).read().split("\n")

    file = read("\n".join([header, good, good.replace("Water", '"Wa"ter'), good]))

    assert [one.line for one in unreadable_in(file)] == [3]
    assert file.counts.measurements == 2


def test_a_quote_that_never_closes_is_one_rejection_that_says_how_far_it_reached() -> None:
    header, good, _ = a_file(a_row()).read().split("\n")

    file = read("\n".join([header, good, good.replace("Water", '"Water'), good, good]))

    [rejection] = unreadable_in(file)
    assert rejection.line == 3
    assert rejection.reason.endswith(", up to line 5")
    assert file.counts.rows == 2


def test_a_cell_beyond_the_limit_of_the_csv_module_costs_its_row_alone_and_leaves_the_limit() -> None:
    limit = csv.field_size_limit()
    before, after = a_row(ACTIVITY="before"), a_row(ACTIVITY="after")

    file = read(a_file(before, a_row(RESULT_COMMENT="x" * (limit + 1)), after))

    assert [record.source_key for record in file.records] == ["STF_WQX/before", "STF_WQX/after"]
    assert [one.line for one in file.rejections] == [3]
    assert csv.field_size_limit() == limit


def test_an_endless_line_costs_bounded_memory_and_its_row_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wqx_table, "_ROW_LIMIT", 5_000)
    header, good, _ = a_file(a_row()).read().split("\n")
    taken: list[int] = []

    class Watched(io.StringIO):
        def readline(self, size: int | None = -1, /) -> str:  # type: ignore[override]  # text has one of its own
            taken.append(size or -1)
            return super().readline(size or -1)

    for endless in ("x" * 23_456, ",".join(["y"] * 9_000), '"' + "z\n" * 4_000):
        text = Watched("\n".join([header, endless, good]), newline="")
        file = read_results(text, project_id=PROJECT)
        assert (file.rejections[0].line, file.rejections[0].reason) == (2, "is longer than 5000 characters")
        assert file.counts.measurements == 1

    assert set(taken) == {5_001}


def test_a_file_of_more_columns_than_any_table_has_is_refused() -> None:
    most = wqx_table.MOST_COLUMNS
    extra = [f"c{number}" for number in range(most - len(HEADER))]

    read(a_file(a_row(), header=[*HEADER, *extra]))
    with pytest.raises(WqxFormatError, match="more than 2000 columns"):
        read(a_file(a_row(), header=[*HEADER, *extra, "one more"]))


def test_the_columns_may_come_in_any_order_with_others_between() -> None:
    header = ["Extra", *reversed(HEADER), "Extra"]

    assert the_measurement(read(a_file(a_row(), header=header))).value == Decimal("111.0")


def test_a_byte_order_mark_and_windows_line_ends_change_nothing() -> None:
    plain = a_file(a_row(), a_row(VALUE="", ACTIVITY="x")).read()

    marked = read("\ufeff" + plain.replace("\n", "\r\n"))

    assert marked == read(plain)
    assert read("\ufeff" + plain.replace(HEADER[0], f'"{HEADER[0]}"')) == read(plain)


def test_without_the_columns_of_the_place_there_is_none() -> None:
    header = [column for column in HEADER if column not in wqx_table.OPTIONAL]

    record = the_record(read(a_file(a_row(SITE_LATITUDE="1", SITE_LONGITUDE="1"), header=header)))

    assert (record.latitude, record.longitude, record.site_name) == (None, None, None)


@pytest.mark.parametrize("missing", [column for column in Column if column not in wqx_table.OPTIONAL])
def test_a_file_without_a_column_is_refused_by_its_name(missing: Column) -> None:
    header = [column for column in HEADER if column != missing]

    with pytest.raises(WqxFormatError) as error:
        read(a_file(a_row(), header=header))

    assert error.value.code is Code.INVALID_INPUT
    assert error.value.message == f"The header lacks {missing}."


@pytest.mark.parametrize("text", ["", "\n", "a,b,c\n1,2,3\n", '"', "\ufeff", "\0", "OrganizationIdentifier", "{}"])
def test_what_is_no_result_file_is_refused(text: str) -> None:
    with pytest.raises(WqxFormatError):
        read(text)


def test_a_header_that_names_a_column_twice_is_refused() -> None:
    with pytest.raises(WqxFormatError, match="more than one ResultMeasureValue"):
        read(a_file(a_row(), header=[*HEADER, Column.VALUE]))


def test_a_stream_that_does_not_decode_is_refused() -> None:
    data = io.TextIOWrapper(io.BytesIO(a_file(a_row()).read().encode() + b"\xff\n"), encoding="utf-8", newline="")

    with pytest.raises(WqxFormatError, match="UTF-8"):
        read_results(data, project_id=PROJECT)


def test_no_text_that_is_accepted_is_longer_than_its_column() -> None:
    stored = {
        (Record, "site_code"): Column.SITE,
        (Record, "site_name"): Column.SITE_NAME,
        (Record, "collector"): Column.CONDUCTING_ORGANIZATION,
        (Measurement, "characteristic"): Column.CHARACTERISTIC,
        (Measurement, "fraction"): Column.FRACTION,
        (Measurement, "value_reported"): Column.VALUE,
        (Measurement, "qualifier"): Column.QUALIFIER,
        (Measurement, "detection_condition"): Column.DETECTION_CONDITION,
        (Measurement, "detection_limit_unit"): Column.LIMIT_UNIT,
        (Measurement, "detection_limit_type"): Column.LIMIT_TYPE,
        (Measurement, "result_status"): Column.RESULT_STATUS,
        (Measurement, "value_type"): Column.VALUE_TYPE,
    }
    for (model, name), column in stored.items():
        assert wqx_row.WIDTHS[column] <= model._meta.fields_map[name].max_length  # type: ignore[attr-defined]
