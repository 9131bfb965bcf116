"""Tables of somebody's own, read by a mapping: what is taken, what is refused, and that nothing is guessed."""

import io
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from models.errors import InvalidInputError
from resolvers.csv_layout import CsvLayout
from resolvers.csv_mapping import (
    CsvMapping,
    Delimiter,
    Encoding,
    ImportField,
    MappedColumn,
    MappedConstant,
    ResultColumn,
    require_sound,
)
from resolvers.csv_mapping_text import mapping_from, mapping_text
from resolvers.csv_moment import DateOrder
from resolvers.wqx import WqxFile, read_results
from resolvers.wqx_table import WqxFormatError, as_text
from tests.support.wqx import PROJECT

F = ImportField
LONG = CsvMapping(
    columns=[
        MappedColumn("site", F.SITE_CODE),
        MappedColumn("day", F.DATE),
        MappedColumn("time", F.TIME),
        MappedColumn("zone", F.TIME_ZONE),
        MappedColumn("what", F.CHARACTERISTIC),
        MappedColumn("value", F.VALUE),
        MappedColumn("unit", F.UNIT),
        MappedColumn("who", F.COLLECTOR),
    ],
    time_zone="Europe/Berlin",
)
HEADER = "site,day,time,zone,what,value,unit,who\n"


def read(text: str, mapping: CsvMapping = LONG) -> WqxFile:
    require_sound(mapping, at=("mapping",))
    return read_results(io.StringIO(text, newline=""), project_id=PROJECT, layout=CsvLayout(mapping))


def one_moment(day: str, time: str, zone: str = "", *, order: DateOrder = DateOrder.YMD) -> datetime:
    file = read(f"{HEADER}A,{day},{time},{zone},pH,7,,\n", replace(LONG, date_order=order))
    assert file.rejections == ()
    return file.records[0].collected_at


def one_fault(row: str, mapping: CsvMapping = LONG) -> tuple[str, str]:
    file = read(HEADER + row, mapping)
    assert file.records == ()
    return file.rejections[0].column, file.rejections[0].reason


def test_rows_of_one_site_and_moment_are_one_record() -> None:
    file = read(f"{HEADER}A,2024-07-01,8:00,,pH,7.1,,Ada\nA,2024-07-01,08:00:00,,Temp,9,deg C,Ada\n")

    assert len(file.records) == 1
    record = file.records[0]
    assert record.collected_at == datetime(2024, 7, 1, 6, tzinfo=UTC)
    assert [(one.characteristic, one.value_reported, one.unit) for one in record.measurements] == [
        ("pH", "7.1", None),
        ("Temp", "9", "deg C"),
    ]
    # Who collected is in the record alone, under the name's own key.
    assert record.collector == "Ada"
    assert all("who" not in one.source for one in record.measurements)


@pytest.mark.parametrize(
    ("day", "time", "zone", "order", "expected"),
    [
        ("2024-01-02", "", "EST", DateOrder.YMD, datetime(2024, 1, 2, tzinfo=UTC)),
        ("02.01.2024", "23:30", "", DateOrder.DMY, datetime(2024, 1, 2, 22, 30, tzinfo=UTC)),
        ("1/2/2024", "1:05 pm", "America/New_York", DateOrder.MDY, datetime(2024, 1, 2, 18, 5, tzinfo=UTC)),
        ("2024-01-02", "12:00 AM", "UTC", DateOrder.YMD, datetime(2024, 1, 2, tzinfo=UTC)),
        ("2024-01-02", "08:30:15.5+01:00", "", DateOrder.YMD, datetime(2024, 1, 2, 7, 30, 15, 500_000, tzinfo=UTC)),
        ("2024-01-02", '"1:05:00,000001 pm"', "UTC", DateOrder.YMD, datetime(2024, 1, 2, 13, 5, 0, 1, tzinfo=UTC)),
        ("2024-01-02", "08:30:15.123456000", "UTC", DateOrder.YMD, datetime(2024, 1, 2, 8, 30, 15, 123456, tzinfo=UTC)),
        ("2024-01-02", "08:30", "-0330", DateOrder.YMD, datetime(2024, 1, 2, 12, tzinfo=UTC)),
        ("2024-01-02", "08:30+01:00", "Europe/Paris", DateOrder.YMD, datetime(2024, 1, 2, 7, 30, tzinfo=UTC)),
        ("2024-10-27", "02:30+01:00", "Europe/Paris", DateOrder.YMD, datetime(2024, 10, 27, 1, 30, tzinfo=UTC)),
        ("2024-10-27", "02:30+02:00", "Europe/Paris", DateOrder.YMD, datetime(2024, 10, 27, 0, 30, tzinfo=UTC)),
    ],
)
def test_a_moment_is_read_as_the_mapping_says(
    day: str, time: str, zone: str, order: DateOrder, expected: datetime
) -> None:
    assert one_moment(day, time, zone, order=order) == expected


@pytest.mark.parametrize(
    ("row", "column", "reason"),
    [
        (",2024-01-02,,,pH,7,,", "site", "is missing"),
        ("A,,,,pH,7,,", "day", "is missing"),
        ("A,24-01-02,,,pH,7,,", "day", "is not a date in the order YMD"),
        ("A,2024-02-30,,,pH,7,,", "day", "is not a day of the calendar"),
        ("A,0024-02-03,,,pH,7,,", "day", "is not between the years"),
        ("A,2024-01-02,25:00,,pH,7,,", "time", "is not a time of the day"),
        ("A,2024-01-02,13:00 pm,,pH,7,,", "time", "is not a time of the day"),
        ("A,2024-01-02,08:30:15.1234567,,pH,7,,", "time", "has more than six digits behind the second"),
        ("A,2024-03-31,02:30,,pH,7,,", "time", "is a time that there was not"),
        ("A,2024-10-27,02:30,,pH,7,,", "time", "is a time that there was twice"),
        ("A,2024-01-02,08:00,Mars/Olympus,pH,7,,", "zone", "is not a time zone that is known"),
        ("A,2024-01-02,08:00,+15:00,pH,7,,", "zone", "is not a time zone that is known"),
        ("A,2024-01-02,08:00+01:00,Mars/Olympus,pH,7,,", "zone", "is not a time zone that is known"),
        ("A,2024-01-02,,Mars/Olympus,pH,7,,", "zone", "is not a time zone that is known"),
        ("A,2024-01-02,08:00+01:00,America/New_York,pH,7,,", "time", "says another offset than the row's time zone"),
        ("A,2024-07-02,08:00Z,-0400,pH,7,,", "time", "says another offset than the row's time zone"),
        ("A,2024-07-02,08:00Z,EDT,pH,7,,", "zone", "is an abbreviation that is not of the mapping's time zone"),
        ("A,2024-03-31,02:30+01:00,Europe/Paris,pH,7,,", "time", "says another offset than the row's time zone"),
        ("A,2024-01-02,,,,7,,", "what", "is missing"),
        ("A,2024-01-02,,,pH,,,", "", "has no result"),
        (f"{'A' * 65},2024-01-02,,,pH,7,,", "site", "is longer than 64 characters"),
        (f"A,2024-01-02,,,pH,{'7' * 61},,", "value", "is longer than 60 characters"),
    ],
)
def test_a_fault_names_the_file_s_own_column(row: str, column: str, reason: str) -> None:
    named, told = one_fault(row)

    assert named == column
    assert told.startswith(reason)


@pytest.mark.parametrize(
    ("zone", "time", "code", "expected"),
    [
        ("UTC", "2024-07-02 08:00", "CST", 14),
        ("UTC", "2024-07-02 12:00", "GST", 2),
        ("America/Chicago", "2024-07-02 08:00", "CDT", 13),
        # A logger that is left on standard time.
        ("America/Chicago", "2024-07-02 08:00", "cst", 14),
        ("America/Chicago", "2024-11-03 01:30", "CST", 7.5),
        ("America/Chicago", "2024-11-03 01:30", "CDT", 6.5),
        ("America/Bogota", "2024-07-02 08:00", "EST", 13),
        ("Australia/Sydney", "2024-01-02 12:00", "GST", 2),
        ("Asia/Dubai", "2024-07-02 08:00", "UTC", 8),
        ("Asia/Dubai", "2024-07-02 08:00", "z", 8),
        ("Asia/Dubai", "2024-07-02 08:00", "GMT", 8),
        ("Asia/Dubai", "2024-07-02 08:00", "+04:00", 4),
        ("Asia/Dubai", "2024-07-02 08:00", "America/Chicago", 13),
        ("Asia/Dubai", "2024-07-02 08:00", "CST6CDT", 13),
        ("Asia/Dubai", "2024-07-02 08:00-05:00", "CDT", 13),
    ],
)
def test_an_abbreviation_of_a_time_zone_is_read_where_the_mapping_s_own_zone_bears_it_out(
    zone: str, time: str, code: str, expected: float
) -> None:
    day, _, clock = time.partition(" ")

    [record] = read(f"{HEADER}A,{day},{clock},{code},pH,7,,\n", replace(LONG, time_zone=zone)).records

    assert record.collected_at == datetime.fromisoformat(f"{day}T00:00Z") + timedelta(hours=expected)


@pytest.mark.parametrize(
    ("zone", "time", "code"),
    [
        ("Asia/Dubai", "08:00", "GST"),
        ("Asia/Dubai", "08:00", "CST"),
        ("Asia/Dubai", "08:00+04:00", "GST"),
        ("Asia/Shanghai", "08:00", "CST"),
        ("Asia/Manila", "08:00", "PST"),
        ("Australia/Sydney", "08:00", "EST"),
        ("America/Phoenix", "08:00", "MDT"),
        ("America/Chicago", "08:00", "PST"),
        # What Cuba calls so is an hour away, though it has the offset that the United States do.
        ("America/Havana", "08:00", "CDT"),
        ("Etc/UTC", "08:00", "EST"),
    ],
)
def test_an_abbreviation_that_means_another_time_zone_elsewhere_is_rejected(zone: str, time: str, code: str) -> None:
    column, reason = one_fault(f"A,2024-07-02,{time},{code},pH,7,,\n", replace(LONG, time_zone=zone))

    assert column == "zone"
    assert reason == (
        "is an abbreviation that is not of the mapping's time zone: write an offset, or a name such as America/Chicago"
    )


@pytest.mark.parametrize("cell", ["08:00" + " " * 9_900 + "x", "08:00 a" + " " * 9_900 + "m"])
def test_a_time_with_any_number_of_blanks_takes_no_time(cell: str) -> None:
    before = time.process_time()

    assert one_fault(f"A,2024-01-02,{cell},,pH,7,,\n" * 50) == ("time", "is not a time as HH:MM or HH:MM:SS")

    assert time.process_time() - before < 2


def test_a_comma_is_a_point_only_where_that_was_said() -> None:
    mapping = replace(LONG, decimal_comma=True)
    values = {"3,5": 3.5, "1.234,5": None, "7.1": None, "-0,25": -0.25, "7": 7.0}

    for text, expected in values.items():
        [record] = read(f'{HEADER}A,2024-01-02,,,pH,"{text}",,\n', mapping).records
        [measurement] = record.measurements
        assert (measurement.value is None) is (expected is None), text
        assert expected is None or float(measurement.value or 0) == expected
        assert measurement.value_reported == text


def test_one_faulty_cell_of_a_wide_row_rejects_the_row_and_no_half_of_it() -> None:
    wide = CsvMapping(
        columns=[MappedColumn("s", F.SITE_CODE), MappedColumn("t", F.COLLECTED_AT)],
        results=[ResultColumn("a", "A"), ResultColumn("b", "B")],
    )

    file = read(f"s,t,a,b\nX,2024-01-02T08:00Z,1,{'2' * 61}\nY,2024-01-02 08:00,,2\n", wide)

    assert [(one.line, one.column) for one in file.rejections] == [(2, "b")]
    assert [(one.site_code, len(one.measurements)) for one in file.records] == [("Y", 1)]


def test_cells_of_columns_with_one_name_that_no_mapping_names_are_all_kept() -> None:
    wide = CsvMapping(
        columns=[MappedColumn("s", ImportField.SITE_CODE), MappedColumn("t", ImportField.COLLECTED_AT)],
        results=[ResultColumn("a", "Iron")],
    )

    [record] = read("s,n,t,,n,a\nX,one,2024-01-02T08:00Z,two,three,1\n", wide).records

    assert record.measurements[0].source == {
        "s": "X",
        "n": "one",
        "t": "2024-01-02T08:00Z",
        "column 4": "two",
        "n (2)": "three",
        "a": "1",
    }


def test_the_same_table_gives_the_same_ids_whatever_the_order_of_its_rows() -> None:
    rows = [f"{site},2024-01-0{day},,,pH,7.{day},,\n" for site in "AB" for day in range(1, 4)]

    straight, turned = read(HEADER + "".join(rows)), read(HEADER + "".join(reversed(rows)))

    assert {one.id for one in straight.records} == {one.id for one in turned.records}


def test_readings_of_one_second_are_records_of_their_own() -> None:
    row = "A,2024-01-02,08:30:15{},UTC,pH,7,,\n"

    alone = read(HEADER + row.format(""))
    together = read(HEADER + "".join(map(row.format, ("", ".0", ".1", ".6", ".6001", ".6002"))))

    assert [one.collected_at.microsecond for one in together.records] == [0, 100_000, 600_000, 600_100, 600_200]
    assert len({one.id for one in together.records}) == 5
    assert len({one.id for record in together.records for one in record.measurements}) == 6
    # What has no fraction is what it was before fractions were read.
    assert together.records[0].id == alone.records[0].id == UUID("018cc94b-75d8-7be0-ae78-265523f07fbc")
    assert alone.records[0].measurements[0].id == UUID("018cc94b-75d8-760f-8a8b-bf0807997025")


@pytest.mark.parametrize("clock", ["08:30:15.6001", "08:30:15.6002"])
def test_an_activity_of_another_moment_is_another_record_also_within_a_millisecond(clock: str) -> None:
    mapping = replace(LONG, columns=[*LONG.columns, MappedColumn("visit", F.ACTIVITY)])
    header = HEADER.replace("\n", ",visit\n")

    [there], [later] = (
        read(f"{header}A,2024-01-02,{time},UTC,pH,7,,,V-1\n", mapping).records for time in ("08:30:15.600", clock)
    )

    assert there.id.int >> 80 == later.id.int >> 80
    assert there.id != later.id
    assert there.measurements[0].id != later.measurements[0].id


def test_of_several_results_of_one_kind_each_keeps_its_id_when_another_of_its_row_is_corrected() -> None:
    wide = CsvMapping(
        columns=[MappedColumn("s", F.SITE_CODE), MappedColumn("t", F.COLLECTED_AT)],
        results=[ResultColumn("a", "A"), ResultColumn("b", "B")],
    )
    given = "s,t,a,b,n\nX,2024-01-02T08:00Z,1,{},1\nX,2024-01-02T08:00Z,2,4,{}\n"

    before, after = (read(given.format(*cells), wide).records[0].measurements for cells in ((3, 2), (5, 9)))

    said = [(one.characteristic, one.value_reported, one.id) for one in before]
    assert [one for one in said if one not in [(m.characteristic, m.value_reported, m.id) for m in after]] == [said[1]]


WIDE = CsvMapping(
    columns=[MappedColumn("s", F.SITE_CODE), MappedColumn("t", F.COLLECTED_AT)],
    results=[ResultColumn("a", "A"), ResultColumn("b", "B")],
)
OF_A_RESULT = [one for one in list(F)[list(F).index(F.CHARACTERISTIC) :] if one not in {F.CHARACTERISTIC, F.VALUE}]
OF_VALUE = [one for one in OF_A_RESULT if one.startswith("DETECTION_")]


@pytest.mark.parametrize("field", [one for one in OF_A_RESULT if one not in OF_VALUE])
def test_what_a_row_says_of_results_is_said_of_each_in_a_column_of_its_own(field: F) -> None:
    mapping = replace(WIDE, columns=[*WIDE.columns, MappedColumn("x", field)])

    [record] = read("s,t,x,a,b\nX,2024-01-02T08:00Z,said,1,2\n", mapping).records

    told = [
        (one.fraction, one.unit, one.qualifier, one.method, one.result_status, one.value_type, one.comment)
        for one in record.measurements
    ]
    assert [one.count("said") for one in told] == [1, 1]


@pytest.mark.parametrize("field", OF_VALUE)
def test_a_condition_or_limit_is_refused_where_no_result_would_have_it(field: F) -> None:
    one = MappedColumn("x", field)
    beside_a_value = [MappedColumn("what", F.CHARACTERISTIC), MappedColumn("value", F.VALUE), one]

    require_sound(replace(WIDE, columns=[*WIDE.columns, *beside_a_value]), at=("mapping",))
    for said, place in (
        ({"columns": [*WIDE.columns, one]}, ("columns", 2)),
        ({"constants": [MappedConstant(field, "0.25")]}, ("constants", 0)),
    ):
        with pytest.raises(InvalidInputError) as raised:
            require_sound(replace(WIDE, **said), at=("mapping",))

        assert raised.value.field == ("mapping", *place, "field")
        assert raised.value.message == f"Expected no {field} without VALUE: it is said of the result in VALUE alone."


@pytest.mark.parametrize(
    ("encoding", "codec"),
    [(Encoding.UTF_16, "utf-16"), (Encoding.WINDOWS_1252, "cp1252"), (Encoding.UTF_8, "utf-8-sig")],
)
def test_a_file_is_read_in_its_encoding(encoding: Encoding, codec: str) -> None:
    layout = CsvLayout(replace(LONG, encoding=encoding, delimiter=Delimiter.TAB))
    content = f"{HEADER}Ä,2024-01-02,,,pH,7,,\n".replace(",", "\t").encode(codec)

    file = read_results(as_text(io.BytesIO(content), layout.encoding), project_id=PROJECT, layout=layout)

    assert [one.site_code for one in file.records] == ["Ä"]


def test_bytes_that_are_not_of_the_encoding_are_faults_of_their_rows() -> None:
    content = HEADER.encode() + b"\xc4,2024-01-02,,,pH,7,,\nB,2024-01-02,,,pH,7,,\n"

    file = read_results(as_text(io.BytesIO(content)), project_id=PROJECT, layout=CsvLayout(LONG))

    assert [(one.line, one.column) for one in file.rejections] == [(2, "site")]
    assert [one.site_code for one in file.records] == ["B"]


def test_a_header_without_a_mapped_column_is_refused_by_its_name() -> None:
    with pytest.raises(WqxFormatError, match="The header lacks who"):
        read("site,day,time,zone,what,value,unit\n")


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"columns": LONG.columns[1:]}, ("columns",)),
        ({"columns": [*LONG.columns, MappedColumn("x", F.SITE_CODE)]}, ("columns", 8, "field")),
        ({"columns": [*LONG.columns, MappedColumn("x", F.COLLECTED_AT)]}, ("columns",)),
        ({"columns": [*LONG.columns, MappedColumn("x", F.LATITUDE)]}, ("columns",)),
        ({"columns": [one for one in LONG.columns if one.field is not F.VALUE]}, ("columns",)),
        ({"columns": [one for one in LONG.columns if one.field not in {F.VALUE, F.CHARACTERISTIC}]}, ("columns",)),
        ({"columns": [*LONG.columns, MappedColumn(" ", F.COMMENT)]}, ("columns", 8, "column")),
        ({"constants": [MappedConstant(F.UNIT, "mg/l")]}, ("constants", 0, "field")),
        ({"constants": [MappedConstant(F.COMMENT, "Nest")]}, ("constants", 0, "field")),
        ({"constants": [MappedConstant(F.RESULT_COMMENT, "Nest")]}, ("constants", 0, "field")),
        ({"constants": [MappedConstant(F.MEDIUM, "x" * 41)]}, ("constants", 0, "value")),
        ({"results": [ResultColumn("a", "A"), ResultColumn("a ", "B")]}, ("results", 1, "column")),
        ({"results": [ResultColumn("a", "A" * 121)]}, ("results", 0, "characteristic")),
        ({"time_zone": "Mars/Olympus"}, ("timeZone",)),
        ({"missing": [""]}, ("missing", 0)),
    ],
)
def test_a_mapping_that_is_not_sound_is_refused_at_its_place(
    change: dict[str, object], place: tuple[str | int, ...]
) -> None:
    with pytest.raises(InvalidInputError) as raised:
        require_sound(replace(LONG, **change), at=("input", "mapping"))  # type: ignore[arg-type]

    assert raised.value.field == ("input", "mapping", *place)


def test_a_mapping_comes_back_from_its_text() -> None:
    whole = replace(
        LONG,
        results=[ResultColumn("a", "A", "mg/l", "Total", "EPA 1")],
        constants=[MappedConstant(F.MEDIUM, "Water")],
        missing=["NA"],
        decimal_comma=True,
    )

    assert mapping_from(mapping_text(whole)) == whole


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"columns": 1}', '{"columns": [], "delimiter": "?"}', '{"colums": []}']
)
def test_what_is_no_mapping_is_refused(text: str) -> None:
    with pytest.raises(InvalidInputError):
        mapping_from(text)
