"""Builders of result files of the Water Quality Portal, and what to expect of them."""

import csv
import io
from typing import Final
from uuid import UUID

from resolvers.wqx import Rejection, ReportedMeasurement, ReportedRecord, WqxFile, read_results
from resolvers.wqx_table import Column

PROJECT: Final = UUID("0195515a-0000-7000-8000-000000000002")
HEADER: Final = [column.value for column in Column]

ROW: Final = {
    Column.ORGANIZATION: "STF_WQX",
    Column.ORGANIZATION_NAME: "Seminole Tribe of Florida",
    Column.ACTIVITY: "STF_WQX-1",
    Column.MEDIUM: "Water",
    Column.DATE: "2014-09-29",
    Column.SITE: "STF_WQX-TMS01",
    Column.CHARACTERISTIC: "Conductivity",
    Column.VALUE: "111.0",
    Column.UNIT: "umho/cm",
}


def a_row(**cells: str) -> dict[str, str]:
    """Return a good row, with the cells named as the members of `Column` in place of its own."""
    return {column.value: cells.get(column.name, ROW.get(column, "")) for column in Column}


def a_file(*rows: dict[str, str], header: list[str] = HEADER) -> io.StringIO:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, header, extrasaction="ignore", restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    text.seek(0)
    return text


def read(stream: str | io.StringIO, *, project: UUID = PROJECT) -> WqxFile:
    text = io.StringIO(stream, newline="") if isinstance(stream, str) else stream
    return read_results(text, project_id=project)


def the_record(file: WqxFile) -> ReportedRecord:
    assert file.rejections == ()
    [record] = file.records
    return record


def the_measurement(file: WqxFile) -> ReportedMeasurement:
    [measurement] = the_record(file).measurements
    return measurement


def the_rejection(file: WqxFile) -> Rejection:
    assert file.records == ()
    [rejection] = file.rejections
    return rejection


def ids_of(file: WqxFile) -> set[UUID]:
    return {record.id for record in file.records} | {one.id for record in file.records for one in record.measurements}


def unreadable_in(file: WqxFile) -> list[Rejection]:
    return [one for one in file.rejections if one.reason.startswith("cannot be read as CSV")]
