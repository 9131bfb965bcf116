"""The cells of a result: what is a number, what is a moment, and what is neither."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from resolvers.wqx_table import Column
from tests.support.wqx import (
    a_file,
    a_row,
    read,
    the_measurement,
    the_record,
    the_rejection,
)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0", "0"),
        ("-0.0", "0"),
        ("+5", "5"),
        (".5", "0.5"),
        ("5.", "5"),
        ("1.20", "1.20"),
        ("1e-3", "0.001"),
        ("2.5E+10", "2.5e10"),
        ("9.9e99", "9.9e99"),
    ],
)
def test_a_plain_number_is_a_number(text: str, value: str) -> None:
    one = the_measurement(read(a_file(a_row(VALUE=text))))

    assert one.value == Decimal(value)
    assert one.value_reported == text


@pytest.mark.parametrize(
    "text",
    [
        "Not reported",
        "<0.5",
        "> 2400",
        "ND",
        "1,000",
        "1 000",
        "1_000",
        "0,5",
        "1.2.3",
        "--1",
        "e5",
        ".",
        "0x1F",
        "NaN",
        "Infinity",
        "-inf",
        "1e100",
        "1e999",
        "1e9999",
        "1e-101",
        "0e9999",
        "٣",
        "１２",
        "1" * 41,
        "=1+1",
    ],
)
def test_a_text_value_keeps_its_text_and_no_number(text: str) -> None:
    one = the_measurement(read(a_file(a_row(VALUE=text))))

    assert one.value is None
    assert one.value_reported == text


def test_a_value_is_kept_with_the_spaces_it_was_reported_with() -> None:
    one = the_measurement(read(a_file(a_row(VALUE=" 7.4 "))))

    assert (one.value, one.value_reported) == (Decimal("7.4"), " 7.4 ")


def test_a_result_below_detection_has_its_condition_and_limit_and_no_value() -> None:
    one = the_measurement(
        read(
            a_file(
                a_row(
                    VALUE=" ",
                    DETECTION_CONDITION="Not Detected",
                    LIMIT="0.022",
                    LIMIT_UNIT="mg/l",
                    LIMIT_TYPE="Lower Reporting Limit",
                )
            )
        )
    )

    assert (one.value, one.value_reported, one.detection_condition) == (None, None, "Not Detected")
    assert (one.detection_limit, one.detection_limit_unit) == (Decimal("0.022"), "mg/l")
    assert one.detection_limit_type == "Lower Reporting Limit"


@pytest.mark.parametrize(
    ("date", "time", "zone", "at", "reported"),
    [
        ("2014-09-29", "", "", "2014-09-29T00:00:00", "2014-09-29"),
        ("2014-09-29", "", "EDT", "2014-09-29T00:00:00", "2014-09-29"),
        ("9/5/2014", "", "", "2014-09-05T00:00:00", "9/5/2014"),
        ("10/28/2021", "", "", "2021-10-28T00:00:00", "10/28/2021"),
        ("2014-09-29", "12:25:30", "EDT", "2014-09-29T16:25:30", "2014-09-29 12:25:30 EDT"),
        ("2014-12-31", "23:30", "HST", "2015-01-01T09:30:00", "2014-12-31 23:30 HST"),
        ("2015-01-01", "05:00", "ChST", "2014-12-31T19:00:00", "2015-01-01 05:00 ChST"),
        ("2015-01-01", "05:00", "GST", "2014-12-31T19:00:00", "2015-01-01 05:00 GST"),
        ("2016-02-29", "00:00", "z", "2016-02-29T00:00:00", "2016-02-29 00:00 z"),
        ("1800-01-01", "00:00", "GST", "1799-12-31T14:00:00", "1800-01-01 00:00 GST"),
    ],
)
def test_a_moment_is_placed_in_utc_beside_its_own_words(
    date: str, time: str, zone: str, at: str, reported: str
) -> None:
    record = the_record(read(a_file(a_row(DATE=date, TIME=time, ZONE=zone))))

    assert record.collected_at == datetime.fromisoformat(at).replace(tzinfo=UTC)
    assert record.collected_at.tzinfo is UTC
    assert record.collected_at_reported == reported


@pytest.mark.parametrize(
    ("zone", "hours"),
    {
        "UTC": 0, "GMT": 0, "ADT": 3, "AST": 4, "EDT": 4, "EST": 5, "CDT": 5, "CST": 6, "MDT": 6, "MST": 7,
        "PDT": 7, "PST": 8, "AKDT": 8, "AKST": 9, "HDT": 9, "HST": 10,
    }.items(),
)  # fmt: skip
def test_a_zone_is_as_far_from_utc_as_its_name_says(zone: str, hours: int) -> None:
    record = the_record(read(a_file(a_row(TIME="01:00", ZONE=zone))))

    assert record.collected_at == datetime(2014, 9, 29, 1 + hours, tzinfo=UTC)


@pytest.mark.parametrize(
    ("cells", "column"),
    [
        ({"DATE": ""}, Column.DATE),
        ({"DATE": "yesterday"}, Column.DATE),
        ({"DATE": "0000-01-01"}, Column.DATE),
        ({"DATE": "01/01/0000"}, Column.DATE),
        ({"DATE": "0214-09-29"}, Column.DATE),
        ({"DATE": "9999-12-31"}, Column.DATE),
        ({"DATE": "1799-12-31"}, Column.DATE),
        ({"DATE": "2101-01-01"}, Column.DATE),
        ({"DATE": "2015-02-29"}, Column.DATE),
        ({"DATE": "28/10/2021"}, Column.DATE),
        ({"DATE": "10/28/21"}, Column.DATE),
        ({"DATE": "2014-09-29T12:00"}, Column.DATE),
        ({"DATE": "20140929"}, Column.DATE),
        ({"DATE": "２０１４-09-29"}, Column.DATE),
        ({"TIME": "25:00"}, Column.TIME),
        ({"TIME": "12:60"}, Column.TIME),
        ({"TIME": "24:00:00"}, Column.TIME),
        ({"TIME": "noon"}, Column.TIME),
        ({"TIME": "12:00 PM"}, Column.TIME),
        ({"TIME": "12:00"}, Column.ZONE),
        ({"TIME": "12:00", "ZONE": "XYZ"}, Column.ZONE),
        ({"TIME": "12:00", "ZONE": "America/New_York"}, Column.ZONE),
        ({"TIME": "12:00", "ZONE": "BST"}, Column.ZONE),
    ],
)
def test_a_moment_in_doubt_rejects_its_row(cells: dict[str, str], column: Column) -> None:
    rejection = the_rejection(read(a_file(a_row(**cells))))

    assert (rejection.line, rejection.column) == (2, column)
    assert rejection.value == cells.get(column.name, "")
